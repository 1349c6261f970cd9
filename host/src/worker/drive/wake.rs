//! What a run wakes for: steps that are open on record, timers that are due, what came into the inbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{
    CancelReceived, ChildEnded, EffectSettled, Failure, GraceSet, Kind, MessageId, Outcome, Paused, Phase, QuestionId,
    Resumed, RetryReceived, Settled, Signalled, StepId, StepRequest, Timestamp, UpdateExpired, UpdateOffered,
    UpdateReceived, Value, code,
};
use trackway_storage::{InboxBody, InboxItem, RunKey};

use super::Driver;
use crate::worker::answers;
use crate::worker::attempt::{self, Begin, OnRecord};
use crate::worker::check;
use crate::worker::child;
use crate::worker::entity;
use crate::worker::reach::in_reach;
use crate::worker::run::{Inner, Run, cancelled};
use crate::worker::times;
use crate::worker::unclear;

/// Effects in flight get so long to end before a run is taken up anew, on other code.
const MOVE_GRACE: Duration = Duration::from_secs(10);

impl Driver {
    /// Takes up what is open on record, once the workflow has done all that is on record.
    pub(super) fn take_up(&mut self) {
        let run = self.active.run.clone();
        let mut inner = run.lock();
        if inner.taken_up || inner.state.is_paused() || !inner.machine.has_caught_up() || run.core.is_draining() {
            return;
        }
        inner.taken_up = true;
        let clock = run.now();
        let open: Vec<StepId> = inner.state.steps().keys().copied().collect();
        open.into_iter().for_each(|step| take_up_step(&run, &mut inner, clock, step));
        let orphans: Vec<_> = inner.state.orphans().iter().map(|(step, it)| (*step, it.clone())).collect();
        for (step, request) in orphans {
            child::launch(&run, &mut inner, step, request);
        }
    }

    /// Looks for what ends a run that is still being recalled, or that computes and never asks.
    pub(super) async fn look_for_end(&mut self) {
        let run = self.active.run.clone();
        {
            let mut inner = run.lock();
            // Afterwards the inbox is read as a whole.
            if inner.taken_up || !std::mem::take(&mut inner.rang) {
                return;
            }
        }
        match in_reach(&run.core, run.key.run, || run.core.storage.inbox(run.key)).await {
            Ok(items) => {
                let mut inner = run.lock();
                inner.terminate = terminate_in(&items).map(|(_, reason)| reason);
                inner.is_to_cancel = items.iter().any(asks_to_cancel);
            }
            Err(error) => {
                tracing::warn!(run = %run.key.run, %error, "the inbox cannot be read; it is tried again");
                run.lock().rang = true;
            }
        }
    }

    /// Copies the inbox into the journal and answers what is due, both in the order of their times;
    /// on a tie the inbox comes first.
    pub(super) async fn read_inbox_and_timers(&mut self) {
        let run = self.active.run.clone();
        let now = run.now();
        let (knocked, is_due) = {
            let mut inner = run.lock();
            // Nothing is appended before the workflow has done all that is on record; one that is held
            // does nothing, and only the inbox can change that.
            if !inner.taken_up && !inner.state.is_paused() {
                return;
            }
            let is_held = run.core.answers.are_under_way(run.key);
            let offer = inner.state.offer_due().map(|(due, _)| due);
            let first = inner.first_timer(is_held).map(|(due, _)| due);
            let is_due = !inner.state.is_paused() && [first, offer].into_iter().flatten().any(|due| due <= now);
            (std::mem::take(&mut inner.knocked), is_due)
        };
        if !knocked && !is_due {
            return;
        }
        // Asked before the inbox is read: an answer that is not on its way any more is there.
        let is_held = run.core.answers.are_under_way(run.key);
        // Read anew before each timer, so that what came in time counts as in time.
        let items = match in_reach(&run.core, run.key.run, || run.core.storage.inbox(run.key)).await {
            Ok(items) => items,
            Err(error) => {
                tracing::warn!(run = %run.key.run, %error, "the inbox cannot be read; it is tried again");
                run.lock().knocked = true;
                return;
            }
        };
        // What ended stands in the journal of the run that did.
        let mut ends = Ends::new();
        for item in &items {
            if let InboxBody::ChildEnded { run: child, .. } = item.body
                && !run.lock().seen.contains(&item.message)
            {
                let child = RunKey { run: child, ..run.key };
                match in_reach(&run.core, run.key.run, || child::end_of(&run.core, child)).await {
                    Ok(end) => {
                        ends.insert(item.message, end);
                    }
                    Err(error) => {
                        tracing::warn!(run = %run.key.run, %error, "the end of a run cannot be read; it is tried again");
                        run.lock().knocked = true;
                        return;
                    }
                }
            }
        }
        let mut inner = run.lock();
        let unseen: Vec<InboxItem> = items.into_iter().filter(|item| !inner.seen.contains(&item.message)).collect();
        let mut items = unseen.into_iter().peekable();
        loop {
            let fires = inner.taken_up && !inner.state.is_paused();
            let due = inner.first_timer(is_held).filter(|(due, _)| fires && *due <= now);
            let offer = inner.state.offer_due().filter(|(due, _)| fires && *due <= now);
            let first = [due.map(|(due, _)| due), offer.map(|(due, _)| due)].into_iter().flatten().min();
            let is_inbox_first = |item: &InboxItem| first.is_none_or(|due| item.arrived <= due);
            if let Some(item) = items.next_if(is_inbox_first) {
                receive(&mut inner, now, item, &mut ends);
                let retried = std::mem::take(&mut inner.retried);
                // At once, also where the clock is behind the journal. Whoever resumes a held run takes them up.
                if inner.taken_up && !inner.state.is_paused() {
                    retried.into_iter().for_each(|step| fire(&run, &mut inner, now, step));
                }
            } else if let Some((due, message)) = offer.filter(|(due, _)| first == Some(*due)) {
                inner.sequence(now.max(due), Kind::UpdateExpired(UpdateExpired { message }));
            } else if let Some((due, step)) = due {
                if inner.expiries.remove(&(due, step)) {
                    answers::expire(&mut inner, now.max(due), due, step);
                    let roused = std::mem::take(&mut inner.retried);
                    roused.into_iter().for_each(|step| fire(&run, &mut inner, now, step));
                } else if inner.deadlines.remove(&(due, step)) {
                    times::expire(&run, &mut inner, now.max(due), step);
                } else {
                    inner.timers.remove(&(due, step));
                    fire(&run, &mut inner, now.max(due), step);
                }
            } else {
                break;
            }
        }
    }
}

/// Takes an open step in hand that nobody has in hand.
fn take_up_step(run: &Arc<Run>, inner: &mut Inner, clock: Timestamp, step: StepId) {
    if let Some(failure) = inner.refused.remove(&step) {
        inner.answer_failed(clock, step, &failure);
        return;
    }
    let Some(state) = inner.state.step(step) else { return };
    if state.cancel_asked {
        inner.remove_timer(step);
        inner.answer_failed(clock, step, &cancelled("the workflow cancelled this step"));
        return;
    }
    let is_in_hand = inner.attempts.contains_key(&step);
    inner.deadlines.extend(state.deadline().map(|by| (by, step)));
    if let Phase::Attempting(attempt) = &state.phase {
        inner.expiries.extend(attempt.question_due().map(|due| (due, step)));
    }
    match &state.phase {
        Phase::Sleeping { due } | Phase::Retrying { next_at: due, .. } if !is_in_hand => {
            let due = *due;
            inner.timers.insert((due, step));
        }
        Phase::Waiting if !is_in_hand => {
            times::set(run, inner, clock, step);
            attempt::launch(run, inner, step, 1, Begin::Anew);
        }
        Phase::Attempting(_) if !is_in_hand && !inner.resting.contains_key(&step) => resume(run, inner, clock, step),
        Phase::Asking { due, .. } | Phase::Promised { due } => {
            let due = *due;
            inner.timers.extend(due.map(|due| (due, step)));
        }
        Phase::Entity => {
            let request = state.request.clone();
            entity::fetch(run, inner, step, request);
        }
        Phase::Child { run: None } => {
            let request = state.request.clone();
            child::launch(run, inner, step, request);
        }
        Phase::Sleeping { .. }
        | Phase::Retrying { .. }
        | Phase::Waiting
        | Phase::Attempting(_)
        | Phase::Parked(_)
        | Phase::Child { .. }
        | Phase::Receiving => {}
        Phase::Accepting => {
            if let StepRequest::AcceptUpdate { update, .. } = &state.request {
                let update = update.clone();
                inner.take_offers(clock, &update);
            }
        }
    }
}

/// Takes up an attempt that is on record, unless a person has to say how.
fn resume(run: &Arc<Run>, inner: &mut Inner, clock: Timestamp, step: StepId) {
    if !unclear::is_settled(run, inner, clock, step) {
        return;
    }
    if let Some(attempt) = inner.attempt_state(step) {
        let (number, on_record) = (attempt.attempt, OnRecord::of(attempt));
        attempt::launch(run, inner, step, number, Begin::After(on_record));
    }
}

pub(super) fn asks_to_cancel(item: &InboxItem) -> bool {
    matches!(item.body, InboxBody::Cancel { .. } | InboxBody::CancelWithin { .. })
}

/// The first message that asks to end the run at once.
pub(in crate::worker) fn terminate_in(items: &[InboxItem]) -> Option<(MessageId, Arc<str>)> {
    items.iter().find_map(|item| match &item.body {
        InboxBody::Terminate { reason } => Some((item.message, check::cut(reason, check::REASON_MAX_BYTES).into())),
        InboxBody::Cancel { .. }
        | InboxBody::CancelWithin { .. }
        | InboxBody::Pause { .. }
        | InboxBody::Resume
        | InboxBody::ChildEnded { .. }
        | InboxBody::Retry { .. }
        | InboxBody::Signal { .. }
        | InboxBody::Answer { .. }
        | InboxBody::AnswerInAttempt { .. }
        | InboxBody::Promise { .. }
        | InboxBody::Move { .. }
        | InboxBody::Update { .. }
        | InboxBody::UpdateWithin { .. } => None,
    })
}

/// How runs that this one started ended, by the message that tells of it.
pub(super) type Ends = BTreeMap<MessageId, Result<Arc<str>, Failure>>;

pub(super) fn receive(inner: &mut Inner, now: Timestamp, item: InboxItem, ends: &mut Ends) {
    inner.seen.insert(item.message);
    let message = item.message;
    let was_paused = inner.state.is_paused();
    let kind = match item.body {
        InboxBody::Cancel { reason } => {
            let reason = check::cut(&reason, check::REASON_MAX_BYTES).into();
            Kind::CancelReceived(CancelReceived { message, reason })
        }
        // To one that is cancelled already it gives another time to end.
        InboxBody::CancelWithin { grace_ms, .. } if inner.state.cancel().is_some() => {
            Kind::GraceSet(GraceSet { message, grace_ms })
        }
        InboxBody::CancelWithin { reason, grace_ms } => {
            inner.sequence(now, Kind::GraceSet(GraceSet { message, grace_ms }));
            let reason = check::cut(&reason, check::REASON_MAX_BYTES).into();
            Kind::CancelReceived(CancelReceived { message, reason })
        }
        // The end itself is what the journal says of it, and names the message.
        InboxBody::Terminate { reason } => {
            let reason = check::cut(&reason, check::REASON_MAX_BYTES).into();
            inner.terminate.get_or_insert(reason);
            return;
        }
        InboxBody::Pause { reason } => {
            let reason = check::cut(&reason, check::REASON_MAX_BYTES).into();
            Kind::Paused(Paused { message, reason })
        }
        InboxBody::ChildEnded { step, run } => {
            // Of a run that is ended as it is, nobody looks at what it waited for.
            let Some(end) = ends.remove(&message) else { return };
            if !child::may_have_started(&inner.state, step, run) {
                let end = inner.end();
                inner.read.push((end, message));
                return;
            }
            let outcome = match end {
                Ok(output) => Outcome::Succeeded(inner.value(&output, Value::INLINE_MAX_BYTES)),
                Err(failure) => Outcome::Failed(failure.to_value()),
            };
            Kind::ChildEnded(ChildEnded { message, step, run, outcome })
        }
        InboxBody::Retry { step, with, verdict } => {
            let phase = inner.state.step(step).map(|state| &state.phase);
            let waits = matches!(phase, Some(Phase::Retrying { .. } | Phase::Parked(_)));
            if waits && !inner.attempts.contains_key(&step) {
                // The timer of a planned attempt gives way to the new one.
                inner.remove_timer(step);
                inner.retried.push(step);
            }
            // One that comes too late stands in the journal all the same.
            Kind::RetryReceived(RetryReceived { message, step, with, verdict })
        }
        // It stands in the journal, and in the inbox only because that was brought back from a backup.
        InboxBody::Signal { .. } | InboxBody::Update { .. } | InboxBody::UpdateWithin { .. }
            if inner.state.has_message(message) =>
        {
            let end = inner.end();
            inner.read.push((end, message));
            return;
        }
        InboxBody::Signal { name, payload, from } => Kind::Signalled(Signalled { message, name, payload, from }),
        InboxBody::Update { name, payload } => Kind::UpdateReceived(UpdateReceived { message, name, payload }),
        InboxBody::UpdateWithin { name, payload, due } => {
            Kind::UpdateOffered(UpdateOffered { message, name, payload, due })
        }
        InboxBody::Answer { step, request, answer, by } => match inner.state.step(step).map(|state| &state.phase) {
            Some(Phase::Asking { due, .. }) if due.is_none_or(|due| item.arrived <= due) => {
                inner.remove_timer(step);
                Kind::Settled(Settled { step, request: Some(request), outcome: Outcome::Succeeded(answer), by })
            }
            // Too late, or nobody waits for it any more.
            Some(_) | None => {
                let end = inner.end();
                inner.read.push((end, message));
                return;
            }
        },
        InboxBody::AnswerInAttempt { step, attempt, effect, request, answer, by } => {
            let question = QuestionId::of_effect(step, attempt, effect);
            let due = inner.state.is_asking(question);
            // Too late, or nobody waits for it any more.
            if due.is_some_and(|due| due.is_none_or(|due| item.arrived <= due)) {
                let outcome = Outcome::Succeeded(answer);
                let settled = EffectSettled { step, attempt, effect, request: Some(request), outcome, by };
                answers::settle(inner, now, settled);
            }
            let end = inner.end();
            inner.read.push((end, message));
            return;
        }
        InboxBody::Promise { step, request, outcome } => match inner.state.step(step).map(|state| &state.phase) {
            Some(Phase::Promised { .. }) => {
                inner.remove_timer(step);
                Kind::Settled(Settled { step, request: Some(request), outcome, by: None })
            }
            // Nobody waits for it any more.
            Some(_) | None => {
                let end = inner.end();
                inner.read.push((end, message));
                return;
            }
        },
        InboxBody::Resume => Kind::Resumed(Resumed { message }),
        // Whoever takes the run up next reads it; this activation only makes way.
        InboxBody::Move { .. } => {
            inner.moving.get_or_insert(now + MOVE_GRACE);
            return;
        }
    };
    let offered = match &kind {
        Kind::UpdateOffered(offered) => Some(offered.name.clone()),
        _ => None,
    };
    inner.sequence(now, kind);
    let end = inner.end();
    inner.read.push((end, message));
    offered.into_iter().for_each(|name| inner.take_offers(now, &name));
    if was_paused && !inner.state.is_paused() {
        inner.go_on();
    }
}

/// A timer is due: a sleep is over, an attempt follows a failed one, or one that rests is resumed.
fn fire(run: &Arc<Run>, inner: &mut Inner, now: Timestamp, step: StepId) {
    match inner.state.step(step).map(|state| &state.phase) {
        Some(Phase::Sleeping { .. }) => inner.answer(now, step, Outcome::Succeeded(Value::null())),
        // A person may have hurried it meanwhile.
        Some(_) if inner.attempts.contains_key(&step) => {}
        Some(Phase::Retrying { attempt, .. }) => {
            let number = attempt + 1;
            attempt::launch(run, inner, step, number, Begin::Anew);
        }
        Some(Phase::Attempting(_)) => {
            inner.rouse(step);
            resume(run, inner, now, step);
        }
        Some(Phase::Asking { .. }) => {
            let outcome = Outcome::Failed(Failure::permanent(code::EXPIRED, "nobody answered in time").to_value());
            inner.sequence(now, Kind::Settled(Settled { step, request: None, outcome, by: None }));
        }
        Some(Phase::Promised { .. }) => {
            let failure = Failure::permanent(code::EXPIRED, "nobody settled the promise in time");
            let outcome = Outcome::Failed(failure.to_value());
            inner.sequence(now, Kind::Settled(Settled { step, request: None, outcome, by: None }));
        }
        Some(
            Phase::Waiting
            | Phase::Parked(_)
            | Phase::Child { .. }
            | Phase::Receiving
            | Phase::Entity
            | Phase::Accepting,
        )
        | None => {}
    }
}
