//! What a journal means: entries in, decisions out.
//!
//! This crate only thinks. It never waits, reads a clock, does I/O or iterates a `HashMap`; whoever
//! calls it brings the time and carries out what it decides.
//!
//! In reading order: an [`Entry`] is one fact of a run's journal, a [`Frame`] is how entries stand
//! on disk. [`RunState`] folds entries into what a run is up to. The [`Machine`] holds what a guest
//! does against what is on record. The [`Sequencer`] gives new entries their places.

mod command;
mod divergence;
mod entry;
mod failure;
pub mod fork;
mod form;
mod frame;
mod head;
mod ids;
mod limits;
mod machine;
mod mail;
mod meter;
mod model;
mod promise;
mod random;
mod request;
mod retry;
mod sequencer;
mod state;
#[cfg(test)]
mod testing;
mod text;
mod time;
pub mod trace;
mod value;

pub use command::{Act, Command};
pub use divergence::Divergence;
pub use entry::{
    Answered, Asked, AttemptEmitted, AttemptFailed, AttemptFailedKeeping, AttemptParked, AttemptResumed,
    AttemptStarted, CancelReceived, CancelTaken, ChildEnded, ChildOf, ChildStarted, Claimed, Continued, Cut,
    DeadlineSet, EffectAnswered, EffectAsked, EffectSettled, EffectVerdict, Emitted, End, Entry, Fingerprint, Finished,
    Forgotten, Forked, FuelUsed, GraceSet, Kept, Kind, ModelUsed, Moved, Park, Patched, Paused, Progressed, Proof,
    Published, Replied, Resumed, RetryReceived, Settled, Signalled, SpanBegun, SpanEnded, SpanKind, SpendingTaken,
    Started, StepCancelAsked, StepTimed, Tie, UpdateExpired, UpdateOffered, UpdateReceived, With,
};
pub use failure::{Failure, code, is_code};
pub use form::{FORM_MAX_BYTES, Field, FieldKind, Form};
pub use frame::{FORMAT, Frame, FrameError};
pub use head::{Head, Status, Waiting};
pub use ids::{
    BadId, Digest, EffectId, Epoch, FrameId, MessageId, Position, QuestionId, QuestionName, RunId, StepId, TenantId,
};
pub use limits::{Limits, PUBLISHED_KEYS_MAX, PUBLISHED_MAX_BYTES};
pub use machine::{
    Compared, Completion, Decision, FuelRule, Machine, NOTED_FUEL_MIN, Next, PATCHES_MAX, PatchDecision,
};
pub use mail::{Letter, MAIL_TAKEN_ALONG_MAX, Topic};
pub use meter::{Day, Meter, Used};
pub use model::{Finish, Spending, Usage};
pub use promise::{PromiseToken, Tokens, due_of_promise};
pub use random::{Random, RunRandom, idempotency_key};
pub use request::{
    EffectRequest, EntityAct, EntityVerb, StepRequest, digest_of_accept_update, digest_of_ask_person, digest_of_begin,
    digest_of_call, digest_of_cancel, digest_of_emit, digest_of_end, digest_of_entity, digest_of_forget,
    digest_of_http, digest_of_model, digest_of_patched, digest_of_promise, digest_of_publish, digest_of_receive,
    digest_of_reply, digest_of_sleep, digest_of_start_run,
};
pub use retry::{
    ATTEMPTS_MAX, Ambiguous, Backoff, DEADLINE_MAX_MS, Exhausted, RetryPatch, RetryPolicy, Spent, Verdict,
};
pub use sequencer::{AHEAD_MAX_BYTES, AHEAD_MAX_ENTRIES, LINGER, Sequencer};
pub use state::{
    AttemptState, BadJournal, CancelState, Carried, Claim, EffectKind, EffectRecord, ParkedState, Phase, RULES,
    RunState, StepState, outcome_of,
};
pub use time::Timestamp;
pub use value::{Outcome, Value};
