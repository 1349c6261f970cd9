//! The door through which guest traffic leaves: grants, limits, time, and tries. Nothing of a guest
//! reaches a socket but through here; what a request says is `request`'s, where a name leads
//! `resolver`'s.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::{Certificate, Client, ClientBuilder, redirect, retry};
use std::sync::Arc;
use std::time::Duration;
use trackway_fair::Weights;
use trackway_replay::{Failure, code};

use super::answer::{Try, to_json, with_tries};
use super::exchange::{Broken, Tried, exchange, gate};
use super::mcp;
use super::model::{Models, Providers};
use super::resolver::{GuardedResolver, Lookup, system_lookup};
use super::secret::Purse;
use super::sockets::{PER_TENANT_MAX, Socket, Sockets};
use super::tries::{Standing, Verdict};
use super::{Clock, Effects, HttpCall, ModelAnswer, ModelCall, Vault};
use crate::{Code, Error, Result};

/// Long enough for a lost first packet to be sent three times.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections that are kept to one host: half of those that can be in use. With far fewer, requests
/// to one busy host close and open one connection for each of them.
const IDLE_PER_HOST_MAX: usize = PER_TENANT_MAX / 2;
/// Beyond it an idle connection is closed, so that hosts that were busy a while ago hold no sockets.
const IDLE_MAX: Duration = Duration::from_secs(15);
const USER_AGENT: &str = concat!("trackway/", env!("CARGO_PKG_VERSION"));

/// HTTP and models for guests, over real sockets.
#[derive(Clone)]
pub struct Egress(Arc<Gate>);

struct Gate {
    client: Client,
    clock: Arc<dyn Clock>,
    models: Models,
    vault: Arc<dyn Vault>,
    sockets: Sockets,
}

impl Egress {
    /// Deadlines and waits between tries follow `clock`; connecting follows the system's.
    ///
    /// Servers are trusted by the certificates of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR`
    /// name others), so that an operator's own authority works as in every other program. Where there
    /// are none, `https` fails with a connection error and `http` still works.
    pub fn new(clock: Arc<dyn Clock>, providers: Providers, vault: Arc<dyn Vault>) -> Result<Egress> {
        Egress::with(clock, (system_lookup(), &[]), providers, vault)
    }

    /// The same, whose tenants have such shares. What has left before is not counted.
    pub fn sharing(self, weights: Weights) -> Egress {
        let Gate { client, clock, models, vault, .. } = &*self.0;
        let (client, clock, vault) = (client.clone(), clock.clone(), vault.clone());
        let models = models.sharing(weights.clone());
        Egress(Arc::new(Gate { client, clock, models, vault, sockets: Sockets::new(weights) }))
    }

    fn with(
        clock: Arc<dyn Clock>,
        (lookup, roots): (Lookup, &[Certificate]),
        providers: Providers,
        vault: Arc<dyn Vault>,
    ) -> Result<Egress> {
        let client = client(Some(lookup), roots)?;
        // Where the operator says that a provider is, it may be.
        let models = Models::new(clock.clone(), providers, client.clone(), self::client(None, roots)?);
        let sockets = Sockets::new(Weights::default());
        Ok(Egress(Arc::new(Gate { client, clock, models, vault, sockets })))
    }
}

impl Effects for Egress {
    fn http(&self, call: HttpCall) -> BoxFuture<'static, Result<String, Failure>> {
        let gate = self.0.clone();
        async move { gate.http(&call).await }.boxed()
    }

    fn model(&self, call: ModelCall) -> BoxFuture<'static, Result<ModelAnswer, Failure>> {
        let gate = self.0.clone();
        async move { gate.models.ask(&call).await }.boxed()
    }
}

impl Gate {
    async fn http(&self, call: &HttpCall) -> Result<String, Failure> {
        // Only now, so that what a guest asks for is the same wherever the server has moved to.
        let named = mcp::place(call.request.url(), &call.allow)?;
        let named = named.map(|url| HttpCall { request: call.request.clone().to(url.clone()), ..call.clone() });
        let call = match &named {
            Some(named) => named,
            None => {
                gate(call.request.url(), &call.allow)?;
                call
            }
        };
        let mut purse = Purse::of(call)?;
        // Standing in line is not the other side's time.
        let mut socket = Some(self.sockets.take(call.tenant).await);
        let started = self.clock.now();
        let deadline = started + call.request.timeout;
        let mut timeout = self.clock.wait(call.request.timeout);
        let mut tries = Vec::new();
        loop {
            let tried = tokio::select! {
                biased;
                tried = self.attempt(call, &mut socket, &mut purse) => tried,
                () = &mut timeout => return Err(with_tries(timed_out(call), &tries)),
            };
            let now = self.clock.now();
            let made = tries.len() + 1;
            let repeatable = tried.repeatable && made < call.request.tries_max;
            let standing = Standing { started, now, deadline, tries: made, repeatable };
            let (verdict, told) = match &tried.result {
                Ok(answer) => {
                    (standing.judge_answer(answer.status, &answer.headers), Try::Status(answer.status.as_u16()))
                }
                Err(Broken::Transport(failure)) => (standing.judge_break(), Try::Error(failure.to_string())),
                Err(Broken::ForGood(failure)) => (Verdict::Finish, Try::Error(failure.to_string())),
            };
            match (verdict, tried.result) {
                (Verdict::AgainAt(at), _) => {
                    tries.push(told);
                    // It ends before the deadline.
                    self.clock.wait(at.since(now)).await;
                }
                (Verdict::Finish, Ok(answer)) => return to_json(&answer, &tries),
                (Verdict::Finish, Err(Broken::Transport(failure) | Broken::ForGood(failure))) => {
                    return Err(with_tries(failure, &tries));
                }
            }
        }
    }

    /// Holds its place while there is a socket, not while waiting for the next try.
    async fn attempt(&self, call: &HttpCall, socket: &mut Option<Socket>, purse: &mut Purse) -> Tried {
        let _socket = match socket.take() {
            Some(socket) => socket,
            None => self.sockets.take(call.tenant).await,
        };
        if let Err(failure) = purse.open(&*self.vault, call).await {
            return Tried { result: Err(Broken::ForGood(failure)), repeatable: false };
        }
        let mut tried = exchange(&self.client, call, purse).await;
        // Nobody sees anything of an answer before.
        match &mut tried.result {
            Ok(answer) => purse.redact_answer(answer),
            Err(Broken::Transport(failure) | Broken::ForGood(failure)) => {
                *failure = purse.redact_failure(failure.clone());
            }
        }
        tried
    }
}

fn timed_out(call: &HttpCall) -> Failure {
    let origin = call.request.url().origin().ascii_serialization();
    let millis = call.request.timeout.as_millis();
    Failure::new(code::HTTP_TIMEOUT, format!("`{origin}` gave no complete answer within {millis} ms"))
}

/// Without a lookup of its own it connects to whatever a name leads to.
fn client(lookup: Option<Lookup>, roots: &[Certificate]) -> Result<Client> {
    // An error says that it was installed before, by which it is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let resolver = lookup.map(|lookup| Arc::new(GuardedResolver::new(lookup)));
    let built = builder(resolver.clone()).tls_certs_merge(roots.to_vec()).build().or_else(|error| {
        tracing::warn!(%error, "no root certificates found: `https` requests of guests will fail; install \
            `ca-certificates` or set SSL_CERT_FILE");
        builder(resolver).tls_certs_only(roots.to_vec()).build()
    });
    built.map_err(|error| Error::new(Code::Internal, format!("the HTTP client cannot be made: {error}")))
}

/// Everything that a client does by itself is off: what leaves is what the guest asked for.
fn builder(resolver: Option<Arc<GuardedResolver>>) -> ClientBuilder {
    let builder = match resolver {
        Some(resolver) => Client::builder().dns_resolver(resolver),
        None => Client::builder(),
    };
    builder
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .pool_idle_timeout(IDLE_MAX)
        .user_agent(USER_AGENT)
}

#[cfg(test)]
mod tests;
