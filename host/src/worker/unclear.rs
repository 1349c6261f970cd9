//! Effects that were asked for and not answered when their attempt is taken up again: nobody knows whether
//! they were carried out. The policy of the function says what then, or a person. It only journals.

use trackway_replay::{
    Ambiguous, AttemptParked, EffectAnswered, EffectId, EffectVerdict, Failure, Kind, Outcome, Park, StepId,
    StepRequest, Timestamp, code,
};

use super::check::CallOptions;
use super::run::{Inner, Run};

/// Whether the attempt can be taken up: what was unclear is settled, or may be done again.
pub(super) fn is_settled(run: &Run, inner: &mut Inner, clock: Timestamp, step: StepId) -> bool {
    while let Some((attempt, effect, verdict)) = first_unclear(inner, step) {
        let policy = policy_of(run, inner, step);
        let outcome = match (verdict, policy) {
            (Some(EffectVerdict::Repeat), _) | (None, Ambiguous::Repeat) => return true,
            (Some(EffectVerdict::Answer(answer)), _) => Outcome::Succeeded(answer),
            (Some(EffectVerdict::Fail), policy) => Outcome::Failed(failure(policy).to_value()),
            (None, Ambiguous::Fail | Ambiguous::Compensate) => Outcome::Failed(failure(policy).to_value()),
            (None, Ambiguous::Ask) => {
                let (failure, park) = (failure(policy).to_value(), Park::Unclear(effect));
                inner.sequence(clock, Kind::Parked(AttemptParked { step, attempt, failure, park }));
                return false;
            }
        };
        inner.sequence(clock, Kind::EffectAnswered(EffectAnswered { step, attempt, effect, outcome }));
    }
    true
}

/// The first effect without an answer that has an idempotency key: what has none changes nothing.
fn first_unclear(inner: &Inner, step: StepId) -> Option<(u32, EffectId, Option<EffectVerdict>)> {
    let attempt = inner.attempt_state(step)?;
    let unclear = attempt.open_effects().find(|asked| asked.key.is_some())?;
    Some((attempt.attempt, unclear.effect, attempt.verdict.clone()))
}

fn policy_of(run: &Run, inner: &Inner, step: StepId) -> Ambiguous {
    match inner.state.step(step).map(|state| &state.request) {
        Some(StepRequest::Call { function, options, .. }) => {
            let function = run.code.manifest().function(function);
            CallOptions::of(options).ambiguous(function.map(|function| function.ambiguous).unwrap_or_default())
        }
        _ => Ambiguous::Repeat,
    }
}

fn failure(policy: Ambiguous) -> Failure {
    let message = "the host died before the answer came, so nobody knows whether the request was carried out";
    let failure = Failure::permanent(code::AMBIGUOUS, message);
    match policy {
        Ambiguous::Compensate => {
            let details = serde_json::value::to_raw_value(&serde_json::json!({ "compensate": true }));
            Failure { details: details.ok(), ..failure }
        }
        Ambiguous::Repeat | Ambiguous::Fail | Ambiguous::Ask => failure,
    }
}
