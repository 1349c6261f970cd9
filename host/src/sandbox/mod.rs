//! Runs untrusted components: gates, compiles, caches and calls them. Only this module names the
//! engine. It never touches storage or the network, and it decides nothing about a run: every
//! import is handed to a [`GuestHost`].
//!
//! An upload passes [`gate`], is compiled by [`compile`], kept by [`cache`], and says what it holds
//! by `describe` ([`manifest`]). A call ([`code`]) takes a place among [`slots`], gets an instance
//! with the imports of its role ([`imports`], [`guest`]), shares the processors by [`tick`] and [`lane`],
//! and ends with what the guest returned or what [`trap`] makes of its end.

mod advice;
mod cache;
mod code;
mod compile;
mod completion;
mod engine;
mod gate;
mod guest;
mod imports;
mod lane;
mod limits;
mod load;
mod manifest;
mod slots;
mod tick;
mod trap;
mod world;

pub use code::Code;
pub use compile::{COMPILE_ARGUMENT, CompileLimits, Compiler, compile_child_main};
pub use gate::{UPLOAD_BYTES_MAX, check_size};
pub use load::{Admitted, Gated, Options, Sandbox, digest_of};
pub use manifest::{
    CANCEL_GRACE_MS_MAX, FunctionEntry, Manifest, RUN_TIMEOUT_MS_MAX, Sdk, SignalEntry, TIMEOUT_MS_MAX, UpdateEntry,
    WorkflowEntry,
};
pub use slots::{Pressure, SLOTS_DEFAULT};

use std::sync::Arc;
use std::task::{Context, Poll};
use trackway_replay::{Failure, Limits, TenantId};

/// What an instance is for. It decides which interface is live; the other one traps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Workflow,
    Function,
}

/// One operation that a guest starts or ends. Borrowed from the call; nothing is copied on the way.
#[derive(Debug, Clone, Copy)]
pub enum Command<'a> {
    Call { function: &'a str, input: &'a str, options: &'a str, at: Option<&'a str> },
    Http { request: &'a str, options: &'a str, at: Option<&'a str> },
    Model { request: &'a str, options: &'a str, at: Option<&'a str> },
    Sleep { duration_ms: u64, options: &'a str, at: Option<&'a str> },
    StartRun { workflow: &'a str, input: &'a str, options: &'a str, at: Option<&'a str> },
    Receive { signal: &'a str, options: &'a str, at: Option<&'a str> },
    AskPerson { form: &'a str, options: &'a str, at: Option<&'a str> },
    Promise { name: &'a str, options: &'a str, at: Option<&'a str> },
    EntityGet { entity: &'a str, key: &'a str, options: &'a str, at: Option<&'a str> },
    EntitySet { entity: &'a str, key: &'a str, value: &'a str, options: &'a str, at: Option<&'a str> },
    EntityDelete { entity: &'a str, key: &'a str, options: &'a str, at: Option<&'a str> },
    Forget { id: u32 },
    Cancel { id: u32 },
    Patched { patch: &'a str },
    Progress { progress: &'a str },
    Publish { key: &'a str, value: &'a str, at: Option<&'a str> },
    ContinueWith { input: &'a str, unused: &'a [u32] },
    Emit { event: &'a str, data: &'a str, at: Option<&'a str> },
    Delta { event: &'a str, data: &'a str },
    Begin { kind: &'a str, name: &'a str, input: &'a str, options: &'a str, at: Option<&'a str> },
    End { id: u32, outcome: std::result::Result<&'a str, &'a str>, at: Option<&'a str> },
    AcceptUpdate { update: &'a str, options: &'a str, at: Option<&'a str> },
    Reply { id: u32, answer: std::result::Result<&'a str, &'a str>, at: Option<&'a str> },
}

/// The answer to a command. `fuel`: how much the guest may use from here on, where that changes.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    /// 0 for `forget`, `cancel`, `progress`, `emit`, `delta`, `end` and `continue-with`; for `patched` 1 if it is so, else 0.
    pub id: u32,
    pub fuel: Option<u64>,
}

/// What `next` gives to the guest.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub kind: &'static str,
    pub id: u32,
    pub body: Arc<str>,
    /// How much fuel the guest may use from here on, where that changes. Fuel used is counted anew
    /// from a delivery with `refuel`, and goes on from one without (`NOTHING_OPEN`).
    pub fuel: Option<u64>,
    pub refuel: bool,
}

/// The worker wants this instance to end now; it knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

/// The other side of the imports: one object for each instance. `fuel` is what the guest has used
/// since its last delivery, exact at the call.
pub trait GuestHost: Send + 'static {
    fn command(&mut self, command: Command<'_>, fuel: u64) -> Result<Reply, Stop>;

    /// Asked after each command: pending while the guest is too far ahead of storage.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>>;

    /// Ready with the next delivery; pending parks the guest. Polled again after a wake.
    fn poll_next(&mut self, cx: &mut Context<'_>, fuel: u64) -> Poll<Result<Delivery, Stop>>;

    /// It computes, and has used so much since its last delivery. Told now and then.
    fn computes(&mut self, _fuel: u64) {}

    /// Who has it settles the promise of that id. Only of a workflow; of an id that is none it opens nothing.
    fn promise_token(&mut self, _id: u32) -> String {
        String::new()
    }

    fn now_ms(&mut self) -> u64;

    fn random(&mut self, into: &mut [u8]);

    fn log(&mut self, level: &str, message: &str, fields: &str);
}

/// One call of an export.
#[derive(Debug, Clone)]
pub struct GuestCall {
    /// Whose place it takes, and whose turn.
    pub tenant: TenantId,
    pub role: Role,
    /// The workflow or function.
    pub name: Arc<str>,
    pub input: Arc<str>,
    pub context: Arc<str>,
    pub limits: Limits,
    /// Fuel until the first delivery.
    pub fuel: u64,
}

/// How a call ended.
#[derive(Debug)]
pub enum Ended {
    /// What the guest returned: output or failure, as it gave it.
    Returned(Result<String, String>),
    /// The guest trapped, or returned more than `Limits::value_bytes`; classified, with advice where
    /// the cause is known.
    Trapped(Failure),
    /// An import answered [`Stop`].
    Stopped,
    /// The host could not give what it should have: an instance slot, memory. Not the guest's fault.
    HostFailed(crate::Error),
}

#[derive(Debug)]
pub struct End {
    pub how: Ended,
    /// Used since the last delivery.
    pub fuel: u64,
}

#[cfg(test)]
pub(crate) mod tests;
