//! Who is at the door: the operator, a key of a tenant, or nobody. It says who somebody is and never what they may do.

use axum::http::{HeaderMap, header};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::jwt::Claimed;
use super::keys::Shown;
use super::tries::Tries;
use super::{Keys, Mask, Needs, Tls, Tokens};
use crate::host::{DEFAULT_TENANT, Host, Scopes, Tenant, TenantState, refuse_disabled};
use crate::{Code, Error, Result};

/// Names the tenant that a request is for. Whoever is not the operator can name only their own.
pub const TENANT_HEADER: &str = "trackway-tenant";

/// Lines of the audit log are kept so long where nobody says how long.
pub const KEEP_AUDIT_DEFAULT: Duration = Duration::from_secs(90 * 86_400);

/// Who is let in and how, what they do not get to see, and how long it is known what they did.
#[derive(Debug)]
pub struct Door {
    pub keys: Keys,
    pub mask: Mask,
    /// Of an identity provider, where one is trusted.
    pub tokens: Option<Tokens>,
    /// Without it connections are plain.
    pub tls: Option<Tls>,
    pub keep_audit: Duration,
    tries: Tries,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Who asks, and for which tenant.
#[derive(Debug, Clone)]
pub struct Caller {
    pub who: Who,
    pub tenant: Tenant,
    pub scopes: Scopes,
    pub from: Option<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Whoever runs the server: with a key of the server itself.
    Operator,
    Key {
        id: Arc<str>,
        name: Arc<str>,
    },
    /// Of the identity provider: what it calls whoever asks.
    Token {
        subject: Arc<str>,
    },
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Operator => f.write_str("operator"),
            Who::Key { id, .. } => f.write_str(id),
            Who::Token { subject } => write!(f, "token {subject}"),
        }
    }
}

impl From<Keys> for Door {
    fn from(keys: Keys) -> Door {
        Door::new(keys, Mask::default())
    }
}

impl Door {
    pub fn new(keys: Keys, mask: Mask) -> Door {
        Door { keys, mask, tokens: None, tls: None, keep_audit: KEEP_AUDIT_DEFAULT, tries: Tries::default() }
    }

    /// Who asks with these headers.
    ///
    /// # Errors
    /// `Unauthorized` or `TooManyTries` for nobody; `TenantDisabled`; `NoSuchTenant` for a tenant that the caller
    /// may not name, whether it is there or not.
    pub(super) async fn caller(&self, host: &Host, headers: &HeaderMap, from: Option<IpAddr>) -> Result<Caller> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let named = match headers.get(TENANT_HEADER) {
            Some(value) => Some(value.to_str().map_err(|_| no_such_tenant("?"))?),
            None => None,
        };
        match self.keys.check(text(header::AUTHORIZATION), text(header::HOST))? {
            Shown::Operator => {
                let tenant = host.tenant_named(named.unwrap_or(DEFAULT_TENANT)).await?;
                if tenant.state == TenantState::Deleting {
                    return Err(no_such_tenant(&tenant.name));
                }
                Ok(Caller { who: Who::Operator, tenant, scopes: Scopes::ALL, from })
            }
            Shown::Other(text) if self.tokens.is_some() && Tokens::is_token(text) => {
                let known = self.bearer(host, text).await;
                let (who, tenant, scopes) = known.map_err(|error| match error.code {
                    Code::Unauthorized => self.tries.refuse(from, host.now(), error),
                    _ => error,
                })?;
                name_only(named, &tenant)?;
                refuse_disabled(&tenant)?;
                Ok(Caller { who, tenant, scopes, from })
            }
            Shown::Other(key) => {
                let Some((key, tenant)) = host.authenticate(key).await? else {
                    let error = Error::new(Code::Unauthorized, "the key is not known here")
                        .hint("`trackway dev` saves its key in .trackway/; a server has its own");
                    return Err(self.tries.refuse(from, host.now(), error));
                };
                name_only(named, &tenant)?;
                refuse_disabled(&tenant)?;
                Ok(Caller { who: Who::Key { id: key.id, name: key.name }, tenant, scopes: key.scopes, from })
            }
        }
    }

    /// Whoever shows that token.
    async fn bearer(&self, host: &Host, text: &str) -> Result<(Who, Tenant, Scopes)> {
        let Some(tokens) = &self.tokens else { return Err(nobody()) };
        let Claimed { subject, tenant, scopes } = tokens.check(text, host.now()).await?;
        match host.tenant_named(&tenant).await {
            Ok(tenant) if tenant.state != TenantState::Deleting => {
                Ok((Who::Token { subject: subject.into() }, tenant, scopes))
            }
            Err(error) if error.code != Code::NoSuchTenant => Err(error),
            Ok(_) | Err(_) => Err(nobody()),
        }
    }
}

/// A caller of a tenant may name that one, and no other.
fn name_only(named: Option<&str>, tenant: &Tenant) -> Result<()> {
    match named.filter(|named| **named != *tenant.name) {
        Some(named) => Err(no_such_tenant(named)),
        None => Ok(()),
    }
}

fn nobody() -> Error {
    Error::new(Code::Unauthorized, "the token is of no tenant of this server")
}

impl Caller {
    /// # Errors
    /// `NoScope`.
    pub(super) fn check(&self, needs: Needs) -> Result<()> {
        match (needs, &self.who) {
            (Needs::Nothing, _) | (_, Who::Operator) => Ok(()),
            (Needs::Scope(scope), _) if self.scopes.allow(scope) => Ok(()),
            (Needs::Scope(scope), _) => {
                let has: Vec<&str> = self.scopes.iter().map(|scope| scope.name()).collect();
                let why = format!("this needs the scope `{scope}`; the key has: {}", has.join(", "));
                Err(Error::new(Code::NoScope, why).hint("use another key, or ask for one with that scope"))
            }
            (Needs::Operator, _) => Err(Error::new(Code::NoScope, "only whoever runs the server may do that")
                .hint("it takes a key of the server itself, not one of a tenant")),
        }
    }
}

fn no_such_tenant(name: &str) -> Error {
    Error::new(Code::NoSuchTenant, format!("there is no tenant `{name}`")).hint("`trackway tenants ls` lists them")
}
