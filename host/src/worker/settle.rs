//! What follows the end of an attempt: the step's answer, another attempt, or a person's word. It only
//! journals; whoever has the step in hand goes on.

use std::sync::Arc;
use trackway_replay::{
    AttemptFailed, AttemptFailedKeeping, AttemptParked, Failure, Kept, Kind, Outcome, Park, Random, RetryPolicy, Spent,
    StepId, StepRequest, Value, Verdict, code,
};

use super::check::CallOptions;
use super::run::{Inner, Run};
use crate::sandbox::Code;

/// How an attempt ended.
pub(super) struct Ending {
    pub result: Result<String, Failure>,
    /// What the next attempt may go on with.
    pub kept: Option<Kept>,
    /// Whose manifest says what follows.
    pub code: Arc<Code>,
}

impl Ending {
    pub fn failed(failure: Failure, code: &Arc<Code>) -> Ending {
        Ending { result: Err(failure), kept: None, code: code.clone() }
    }
}

/// Journals how an attempt ended: the step's answer, when the next attempt begins, or that a person says.
pub(super) fn settle(run: &Arc<Run>, step: StepId, number: u32, ending: Ending) {
    let mut inner = run.lock();
    if !inner.is_live(step, number) {
        return;
    }
    let clock = run.now();
    inner.note_fuel(clock, step);
    inner.attempts.remove(&step);
    match ending.result {
        Ok(output) => {
            let value = inner.value(&output, Value::INLINE_MAX_BYTES);
            inner.answer(clock, step, Outcome::Succeeded(value));
        }
        Err(failure) => {
            let policy = policy_of(&inner, &ending.code, step);
            // An attempt that did not do again what is on record would fail on it again.
            let keeps = policy.as_ref().is_some_and(|policy| policy.resume) && failure.code != code::NOT_RESUMABLE;
            let kept = ending.kept.filter(|_| keeps);
            match verdict(run, &inner, policy, (step, number), &failure) {
                Verdict::RetryAt(next_at) => {
                    let (attempt, failure) = (number, failure.to_value());
                    let kind = match kept {
                        Some(kept) => {
                            Kind::FailedKeeping(AttemptFailedKeeping { step, attempt, failure, next_at, kept })
                        }
                        None => Kind::Failed(AttemptFailed { step, attempt, failure, next_at }),
                    };
                    inner.sequence(clock, kind);
                }
                Verdict::Park => {
                    let park = kept.map_or(Park::Exhausted, Park::ExhaustedKeeping);
                    let parked = AttemptParked { step, attempt: number, failure: failure.to_value(), park };
                    inner.sequence(clock, Kind::Parked(parked));
                }
                Verdict::GiveUp => inner.answer_failed(clock, step, &failure),
            }
        }
    }
    run.poke.notify_one();
}

/// The policy of the step's function in `code`, with what the call says over it.
fn policy_of(inner: &Inner, code: &Code, step: StepId) -> Option<RetryPolicy> {
    match &inner.state.step(step)?.request {
        StepRequest::Call { function, options, .. } => {
            Some(CallOptions::of(options).policy(&code.manifest().function(function)?.retry))
        }
        StepRequest::Sleep { .. }
        | StepRequest::StartRun { .. }
        | StepRequest::Receive { .. }
        | StepRequest::AskPerson { .. }
        | StepRequest::Promise { .. }
        | StepRequest::Entity { .. }
        | StepRequest::AcceptUpdate { .. } => None,
    }
}

fn verdict(
    run: &Run,
    inner: &Inner,
    policy: Option<RetryPolicy>,
    (step, number): (StepId, u32),
    failure: &Failure,
) -> Verdict {
    let draw = Random::of_jitter(run.attempt_seed, step, number).fraction();
    let now = inner.sequencer.last_time().max(run.now());
    let (Some(policy), Some(state)) = (policy, inner.state.step(step)) else { return Verdict::GiveUp };
    let Spent { attempts, since } = state.budget;
    let spent = Spent { attempts: number.saturating_sub(attempts), since: inner.state.own_time(since) };
    policy.judge_before(state.close_by, spent, failure, now, draw)
}
