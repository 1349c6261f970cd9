//! Tokens of an identity provider: JWTs that it signed, by the keys that it publishes. It decides who somebody is, and
//! trusts nothing in a token before its signature holds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use trackway_replay::Timestamp;

use crate::effects::PublishedKeys;
use crate::host::{Scope, Scopes};
use crate::{Code, Error, Result};

/// Tokens are sent with every request; a head has 64 KiB.
const TOKEN_MAX_BYTES: usize = 16 << 10;
/// So far may the clocks of provider and server be apart.
const SKEW_MAX_SECONDS: i64 = 60;
/// Published keys are asked for again after so long, and at once for a key that is not known, but not more often than
/// this: a token that names a key of its own invention costs the provider nothing.
const REFRESH_AFTER: Duration = Duration::from_secs(600);
const REFRESH_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Where the provider cannot be reached, keys that were read before count on for so long.
const STALE_MAX: Duration = Duration::from_secs(3_600);
/// Of a set of published keys. More are a mistake.
const KEYS_MAX: usize = 100;
const KEYS_MAX_BYTES: usize = 1 << 20;
/// A name that a person can read in the audit log.
const SUBJECT_MAX_BYTES: usize = 256;

/// `[auth.jwt]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSetting {
    /// What `iss` must be, to the letter.
    pub issuer: String,
    /// What `aud` must hold.
    pub audience: String,
    /// Where the provider publishes its keys: an address, or a file.
    pub jwks: String,
    /// The claim that names the tenant.
    #[serde(default = "tenant_claim_default")]
    pub tenant_claim: String,
    /// The claim that holds the scopes: a list, or words with spaces in between.
    #[serde(default = "scopes_claim_default")]
    pub scopes_claim: String,
}

fn tenant_claim_default() -> String {
    "tenant".to_owned()
}

fn scopes_claim_default() -> String {
    "scope".to_owned()
}

/// What a token says of whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub subject: String,
    pub tenant: String,
    pub scopes: Scopes,
}

#[derive(Debug)]
pub struct Tokens {
    setting: JwtSetting,
    source: Source,
    kept: Mutex<Kept>,
    /// One asks the provider at a time.
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum Source {
    Address(PublishedKeys),
    File(PathBuf),
}

#[derive(Debug, Default, Clone)]
struct Kept {
    keys: Arc<Vec<PublicKey>>,
    read: Option<Instant>,
    tried: Option<Instant>,
}

/// The way of signing that a token names. `none`, and everything with a shared secret, is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Rs256,
    Es256,
    EdDsa,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PublicKey {
    id: Option<String>,
    material: Material,
}

/// Each goes with one way of signing, so that no token chooses another one for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The point, uncompressed.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that whoever does not know them must refuse: none is known here.
    #[serde(default)]
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    used_for: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

/// A token that was taken apart; nothing in it counts yet.
struct Token<'a> {
    way: Way,
    key_id: Option<String>,
    signed: &'a str,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

impl Tokens {
    /// # Errors
    /// `BadConfig` for an address that is neither `https` nor of this machine.
    pub fn new(setting: JwtSetting) -> Result<Tokens> {
        let source = match setting.jwks.contains("://") {
            true => Source::Address(PublishedKeys::at(&setting.jwks)?),
            false => Source::File(PathBuf::from(&setting.jwks)),
        };
        Ok(Tokens { setting, source, kept: Mutex::default(), refreshing: tokio::sync::Mutex::default() })
    }

    /// The file that is read again and again, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            Source::Address(_) => None,
            Source::File(path) => Some(path),
        }
    }

    /// Whether a text is meant to be a token.
    pub fn is_token(text: &str) -> bool {
        text.split('.').count() == 3
    }

    /// What the token says, if it is one of the provider and counts now.
    pub async fn check(&self, text: &str, now: Timestamp) -> Result<Claimed> {
        let token = Token::read(text).ok_or_else(|| refused("the token cannot be read"))?;
        let keys = self.keys_for(&token).await?;
        if !keys.iter().any(|key| key.may_have_signed(&token) && key.has_signed(&token)) {
            return Err(refused("no key of the provider has signed the token"));
        }
        let seconds = i64::try_from(now.millis() / 1_000).unwrap_or(i64::MAX);
        self.setting.claimed(&token.claims, seconds)
    }

    /// Keys among which is the one that the token names, if the provider has it.
    async fn keys_for(&self, token: &Token<'_>) -> Result<Arc<Vec<PublicKey>>> {
        let is_known = self.kept().keys.iter().any(|key| key.may_have_signed(token));
        // Whoever shows a key that is known waits for nobody.
        let turn = match is_known {
            true if !is_old(self.kept().read, REFRESH_AFTER) => None,
            true => self.refreshing.try_lock().ok(),
            false => Some(self.refreshing.lock().await),
        };
        if turn.is_some() {
            let is_known = self.kept().keys.iter().any(|key| key.may_have_signed(token));
            let wanted = !is_known || is_old(self.kept().read, REFRESH_AFTER);
            if wanted && is_old(self.kept().tried, REFRESH_AGAIN_AFTER) {
                self.refresh().await;
            }
        }
        let kept = self.kept();
        if is_old(kept.read, STALE_MAX) {
            return Err(Error::new(Code::Unauthorized, "the keys of the identity provider cannot be read now")
                .hint("try again later, or use a key of the tenant"));
        }
        Ok(kept.keys)
    }

    async fn refresh(&self) {
        let read = self.source.read().await;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.tried = Some(Instant::now());
        match read {
            Ok(keys) => {
                kept.keys = Arc::new(keys);
                kept.read = kept.tried;
            }
            Err(why) => tracing::warn!(jwks = self.setting.jwks, why, "the provider's keys cannot be read"),
        }
    }

    fn kept(&self) -> Kept {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As if so much time had passed.
    #[cfg(test)]
    fn age(&self, time: Duration) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = |at: Option<Instant>| at.and_then(|at| at.checked_sub(time));
        (kept.read, kept.tried) = (before(kept.read), before(kept.tried));
    }
}

fn is_old(at: Option<Instant>, age: Duration) -> bool {
    at.is_none_or(|at| at.elapsed() >= age)
}

impl Source {
    async fn read(&self) -> Result<Vec<PublicKey>, String> {
        let bytes = match self {
            Source::Address(published) => published.read(KEYS_MAX_BYTES).await?,
            Source::File(path) => {
                let bytes = tokio::fs::read(path).await.map_err(|error| error.to_string())?;
                if bytes.len() > KEYS_MAX_BYTES {
                    return Err("the file is too large".to_owned());
                }
                bytes
            }
        };
        read_keys(&bytes)
    }
}

/// Keys that are not known here, or are not for signatures, are passed over.
fn read_keys(bytes: &[u8]) -> Result<Vec<PublicKey>, String> {
    let KeySet { keys } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if keys.len() > KEYS_MAX {
        return Err(format!("it holds more than {KEYS_MAX} keys"));
    }
    let known: Vec<PublicKey> =
        keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok()?.public_key()).collect();
    if known.is_empty() { Err("it holds no key that signs by RS256, ES256 or EdDSA".to_owned()) } else { Ok(known) }
}

impl Jwk {
    fn public_key(self) -> Option<PublicKey> {
        if self.used_for.as_deref().is_some_and(|used| used != "sig") {
            return None;
        }
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let (material, way) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", None) => (Material::Rsa { n: bytes(self.n)?, e: bytes(self.e)? }, "RS256"),
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(self.x)?, bytes(self.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                (Material::P256([&[4], x.as_slice(), y.as_slice()].concat()), "ES256")
            }
            ("OKP", Some("Ed25519")) => (Material::Ed25519(bytes(self.x)?), "EdDSA"),
            _ => return None,
        };
        let fits = self.alg.as_deref().is_none_or(|alg| alg == way);
        fits.then_some(PublicKey { id: self.kid, material })
    }
}

impl PublicKey {
    fn way(&self) -> Way {
        match self.material {
            Material::Rsa { .. } => Way::Rs256,
            Material::P256(_) => Way::Es256,
            Material::Ed25519(_) => Way::EdDsa,
        }
    }

    /// A token that names no key may be of any.
    fn may_have_signed(&self, token: &Token<'_>) -> bool {
        self.way() == token.way && (token.key_id.is_none() || token.key_id == self.id)
    }

    fn has_signed(&self, token: &Token<'_>) -> bool {
        let (signed, signature) = (token.signed.as_bytes(), token.signature.as_slice());
        let verified = match &self.material {
            Material::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
            }
            Material::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature),
            Material::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(signed, signature),
        };
        verified.is_ok()
    }
}

impl Token<'_> {
    fn read(text: &str) -> Option<Token<'_>> {
        if text.len() > TOKEN_MAX_BYTES {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header.crit.is_some() {
            return None;
        }
        let way = match header.alg.as_str() {
            "RS256" => Way::Rs256,
            "ES256" => Way::Es256,
            "EdDSA" => Way::EdDsa,
            _ => return None,
        };
        let (claims, signature) = (URL_SAFE_NO_PAD.decode(claims).ok()?, URL_SAFE_NO_PAD.decode(signature).ok()?);
        Some(Token { way, key_id: header.kid, signed, claims, signature })
    }
}

impl JwtSetting {
    /// What signed claims say, if they are for this server and count at that second.
    fn claimed(&self, claims: &[u8], now: i64) -> Result<Claimed> {
        // Names that come twice leave open which one was meant; the last one counts, as everywhere in JSON here.
        let claims: BTreeMap<String, Value> =
            serde_json::from_slice(claims).map_err(|_| refused("the token's claims cannot be read"))?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(self.issuer.as_str()) {
            return Err(refused("the token is of another issuer"));
        }
        let for_us = match claims.get("aud") {
            Some(Value::String(one)) => *one == self.audience,
            Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(self.audience.as_str())),
            Some(_) | None => false,
        };
        if !for_us {
            return Err(refused("the token is not for this server"));
        }
        // Fractions of a second are within what clocks may be apart.
        let time = |name: &str| claims.get(name).map(|time| time.as_f64().map(|seconds| seconds as i64));
        match time("exp") {
            Some(Some(end)) if now < end.saturating_add(SKEW_MAX_SECONDS) => {}
            Some(Some(_)) => return Err(refused("the token has expired")),
            Some(None) | None => return Err(refused("the token says not when it expires")),
        }
        for name in ["nbf", "iat"] {
            match time(name) {
                None => {}
                Some(Some(begin)) if begin <= now.saturating_add(SKEW_MAX_SECONDS) => {}
                Some(_) => return Err(refused("the token does not count yet")),
            }
        }
        let subject = text("sub").filter(|subject| (1..=SUBJECT_MAX_BYTES).contains(&subject.len()));
        let subject = subject.ok_or_else(|| refused("the token says not whose it is"))?.to_owned();
        let tenant = text(&self.tenant_claim).ok_or_else(|| refused("the token names no tenant"))?.to_owned();
        // Words of others stand there too.
        let scope = |word: &str| word.parse::<Scope>().ok();
        let scopes = match claims.get(&self.scopes_claim) {
            Some(Value::String(words)) => words.split(' ').filter_map(scope).collect(),
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).filter_map(scope).collect(),
            Some(_) | None => Scopes::default(),
        };
        Ok(Claimed { subject, tenant, scopes })
    }
}

fn refused(why: &str) -> Error {
    Error::new(Code::Unauthorized, why).hint("get a new token from the identity provider")
}

#[cfg(test)]
mod tests;
