//! By when a call has begun and is answered, or fails: times of the wall that stand in the journal. It never
//! counts how long an attempt is held.

use std::sync::Arc;
use trackway_replay::{Failure, Kind, Phase, StepId, StepRequest, StepTimed, Timestamp, code};

use super::check::CallOptions;
use super::run::{Inner, Run};

/// Journals the deadlines of a call that has any and has not begun, once.
pub(super) fn set(run: &Run, inner: &mut Inner, clock: Timestamp, step: StepId) {
    let Some(state) = inner.state.step(step) else { return };
    let StepRequest::Call { function, options, .. } = &state.request else { return };
    let Some(entry) = run.code.manifest().function(function) else { return };
    let options = CallOptions::of(options);
    let (start, close) = (options.schedule_to_start(entry), options.schedule_to_close(entry));
    if (start, close) == (None, None) || (state.start_by, state.close_by) != (None, None) {
        return;
    }
    let since = inner.state.own_time(state.asked);
    let (start_by, close_by) = (start.map(|after| since + after), close.map(|after| since + after));
    inner.sequence(clock, Kind::StepTimed(StepTimed { step, start_by, close_by }));
}

/// The time of a call is over: it fails, whatever it is at.
pub(super) fn expire(run: &Arc<Run>, inner: &mut Inner, now: Timestamp, step: StepId) {
    let Some(state) = inner.state.step(step) else { return };
    let has_not_begun = matches!(state.phase, Phase::Waiting) && state.start_by.is_some_and(|by| by <= now);
    let failure = if has_not_begun {
        Failure::permanent(code::START_TIMEOUT, "no attempt of the step began in time")
    } else {
        Failure::permanent(code::CLOSE_TIMEOUT, "the step had no answer in time")
    };
    inner.remove_timer(step);
    inner.answer_failed(now, step, &failure);
    if inner.attempts.contains_key(&step) {
        inner.abandon(step);
        // What is stopped may be seen outside, so its cause is durable first.
        let end = inner.end();
        run.force(inner, end);
    }
}
