//! The world outside, as seen from a run: guest traffic, the clock and randomness of the system.
//! Everything that leaves for a guest leaves through the egress gate here. It never knows storage,
//! the journal or the engine.

mod egress;
mod exchange;

mod address;
mod answer;
mod clock;
mod grants;
mod randomness;
mod request;
mod resolver;
mod tries;

use futures_util::future::BoxFuture;
use std::sync::Arc;
use trackway_replay::{Failure, TenantId, Timestamp};

pub use clock::SystemClock;
pub use egress::Egress;
pub use grants::{Grant, Grants};
pub use randomness::SystemRandomness;
pub use request::HttpRequest;

/// The time, as the worker is handed it.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// Resolves when `now` is at or after `until`.
    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()>;
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

/// Contacts with the world, as the worker is handed them.
pub trait Effects: Send + Sync + 'static {
    /// The answer is the JSON that `wit/README.md` lists under HTTP. Dropping the future breaks the
    /// exchange off.
    fn http(&self, call: HttpCall) -> BoxFuture<'static, Result<String, Failure>>;
}
