//! What a journal means: entries in, decisions out.
//!
//! This crate only thinks. It never waits, reads a clock, does I/O or iterates a `HashMap`; whoever
//! calls it brings the time and carries out what it decides.

mod entry;
mod failure;
mod frame;
mod head;
mod ids;
mod limits;
mod request;
mod time;
mod value;

pub use entry::{
    Answered, Asked, AttemptFailed, AttemptResumed, AttemptStarted, CancelReceived, Claimed, EffectAnswered,
    EffectAsked, End, Entry, Fingerprint, Finished, Forgotten, Kind, Proof, Started, StepCancelAsked,
};
pub use failure::{Failure, code};
pub use frame::{FORMAT, Frame, FrameError};
pub use head::{Head, Status, Waiting};
pub use ids::{BadId, Digest, EffectId, Epoch, FrameId, MessageId, Position, RunId, StepId, TenantId};
pub use limits::Limits;
pub use request::{
    EffectRequest, StepRequest, digest_of_call, digest_of_cancel, digest_of_forget, digest_of_http, digest_of_sleep,
};
pub use time::Timestamp;
pub use value::{Outcome, Value};
