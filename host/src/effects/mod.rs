//! The world outside, as seen from a run: guest traffic, the clock and randomness of the system.
//! Everything that leaves for a guest leaves through the egress gate here. It never knows storage,
//! the journal or the engine.

mod egress;
mod exchange;

mod address;
mod answer;
mod clock;
mod fields;
mod grants;
mod mcp;
mod model;
mod published;
mod randomness;
mod request;
mod resolver;
mod secret;
mod sockets;
mod tries;

use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Failure, Finish, TenantId, Timestamp, Usage};

pub use clock::SystemClock;
pub use egress::Egress;
pub use grants::{Grant, Grants};
pub use mcp::McpServer;
pub use model::{BUILT_IN, Message, ModelGrant, ModelName, ModelRequest, Price, Protocol, ProviderSetting, Providers};
pub use published::PublishedKeys;
pub use randomness::SystemRandomness;
pub use request::HttpRequest;
pub use secret::{SECRET_MAX_BYTES, Secret, SecretGrant, SecretName, Vault, wanted_names};

/// The time, as the worker is handed it.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// Resolves when `now` is at or after `until`.
    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()>;

    /// How long it has been since some moment, whatever the clock is set to meanwhile.
    fn elapsed(&self) -> Duration;

    /// Resolves when `elapsed` has grown by so much.
    fn wait(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// Randomness, as the worker is handed it.
pub trait Randomness: Send + Sync + 'static {
    fn fill(&self, into: &mut [u8]);
}

/// One HTTP exchange for a function.
#[derive(Debug, Clone)]
pub struct HttpCall {
    pub tenant: TenantId,
    pub allow: Arc<Grants>,
    pub request: HttpRequest,
    /// Sent as `idempotency-key` where present. The caller derives it where [`HttpRequest::wants_key`]
    /// says so, unless [`HttpRequest::author_key`] gives one.
    pub key: Option<Arc<str>>,
}

/// Is told pieces of text as they come.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// One call of a model for a function.
#[derive(Clone)]
pub struct ModelCall {
    pub tenant: TenantId,
    pub allow: Arc<Grants>,
    pub request: ModelRequest,
    /// Sent as `idempotency-key`.
    pub key: Arc<str>,
    /// Told each piece of text at once, if anybody is. Never waits.
    pub told: Option<Tell>,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelAnswer {
    /// The JSON that `wit/README.md` lists under models.
    pub body: String,
    pub used: ModelUse,
}

/// What can be told of an answer without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelUse {
    /// As the operator calls it.
    pub provider: Arc<str>,
    /// As the provider calls it.
    pub model: Arc<str>,
    pub finish: Finish,
    pub usage: Usage,
    /// Absent where nobody knows the price.
    pub cost_nanousd: Option<u64>,
}

/// Contacts with the world, as the worker is handed them.
pub trait Effects: Send + Sync + 'static {
    /// The answer is the JSON that `wit/README.md` lists under HTTP. Dropping the future breaks the
    /// exchange off.
    fn http(&self, call: HttpCall) -> BoxFuture<'static, Result<String, Failure>>;

    /// Dropping the future breaks the call off; the provider may go on, and charge for it.
    fn model(&self, call: ModelCall) -> BoxFuture<'static, Result<ModelAnswer, Failure>>;
}
