//! One journal entry as one flat object.

use trackway_replay::{
    EffectRequest, EffectVerdict, End, EntityAct, Entry, Finished, GraceSet, Kept, Kind, MessageId, Outcome, Park,
    Proof, Spending, Started, StepRequest, Value,
};

use super::{model, raw};

/// Empty where the kind has nothing of the sort.
pub fn entry(entry: &Entry) -> model::Entry {
    let mut view = model::Entry {
        position: entry.position.0,
        epoch: entry.epoch.0,
        time: entry.time.into(),
        kind: entry.kind.name().to_owned(),
        ..model::Entry::default()
    };
    match &entry.kind {
        Kind::Started(started) => show_start(&mut view, started),
        Kind::Claimed(claimed) => {
            view.worker = Some(claimed.worker.to_string());
            view.engine = Some(claimed.engine.to_string());
            view.component = Some(claimed.component);
        }
        Kind::Asked(asked) => {
            view.step = Some(asked.step.0);
            show_step_request(&mut view, &asked.request);
            show_proof(&mut view, &asked.proof);
            view.now = Some(asked.now.into());
            view.at = asked.at.as_deref().map(str::to_owned);
        }
        Kind::AttemptStarted(started) => show_attempt(&mut view, started.step.0, started.attempt),
        Kind::AttemptResumed(resumed) => show_attempt(&mut view, resumed.step.0, resumed.attempt),
        Kind::EffectAsked(asked) => {
            show_attempt(&mut view, asked.step.0, asked.attempt);
            view.effect = Some(asked.effect.0);
            show_effect_request(&mut view, &asked.request);
            show_proof(&mut view, &asked.proof);
            view.now = Some(asked.now.into());
            view.key = asked.key.as_deref().map(str::to_owned);
            view.at = asked.at.as_deref().map(str::to_owned);
        }
        Kind::EffectAnswered(answered) => {
            show_attempt(&mut view, answered.step.0, answered.attempt);
            view.effect = Some(answered.effect.0);
            show_outcome(&mut view, &answered.outcome);
        }
        Kind::ModelUsed(used) => {
            show_attempt(&mut view, used.step.0, used.attempt);
            view.effect = Some(used.effect.0);
            view.provider = Some(used.provider.to_string());
            view.model = Some(used.model.to_string());
            view.finish_reason = Some(used.finish.name().to_owned());
            let mut spending = Spending::default();
            spending.add(used);
            view.spending = Some(spending.into());
        }
        Kind::SpendingTaken(taken) => view.spending = Some(taken.spending.into()),
        Kind::Failed(failed) => {
            show_attempt(&mut view, failed.step.0, failed.attempt);
            show_failure(&mut view, &failed.failure);
            view.next_at = Some(failed.next_at.into());
        }
        Kind::FailedKeeping(failed) => {
            show_attempt(&mut view, failed.step.0, failed.attempt);
            show_failure(&mut view, &failed.failure);
            view.next_at = Some(failed.next_at.into());
            show_kept(&mut view, &failed.kept);
        }
        Kind::Parked(parked) => {
            show_attempt(&mut view, parked.step.0, parked.attempt);
            show_failure(&mut view, &parked.failure);
            match &parked.park {
                Park::Exhausted => {}
                Park::ExhaustedKeeping(kept) => show_kept(&mut view, kept),
                Park::Unclear(effect) => view.effect = Some(effect.0),
            }
        }
        Kind::RetryReceived(retry) => {
            view.step = Some(retry.step.0);
            view.message = Some(message(retry.message));
            view.deployment = retry.with.as_ref().map(|with| with.deployment.to_string());
            view.component = retry.with.as_ref().map(|with| with.component);
            let verdict = retry.verdict.as_ref().map(|verdict| match verdict {
                EffectVerdict::Repeat => "repeat",
                EffectVerdict::Fail => "fail",
                EffectVerdict::Answer(answer) => {
                    show_value(answer, &mut view.output, &mut view.output_stored);
                    "answer"
                }
            });
            view.verdict = verdict.map(str::to_owned);
        }
        Kind::Progressed(progressed) => {
            show_attempt(&mut view, progressed.step.0, progressed.attempt);
            show_value(&progressed.progress, &mut view.progress, &mut view.output_stored);
        }
        Kind::StepTimed(timed) => {
            view.step = Some(timed.step.0);
            view.start_by = timed.start_by.map(Into::into);
            view.close_by = timed.close_by.map(Into::into);
        }
        Kind::DeadlineSet(deadline) => view.deadline_at = Some(deadline.at.into()),
        Kind::Answered(answered) => {
            view.step = Some(answered.step.0);
            show_outcome(&mut view, &answered.outcome);
        }
        Kind::Forgotten(forgotten) => {
            view.step = Some(forgotten.step.0);
            show_proof(&mut view, &forgotten.proof);
        }
        Kind::StepCancelAsked(asked) => {
            view.step = Some(asked.step.0);
            show_proof(&mut view, &asked.proof);
        }
        Kind::CancelReceived(cancel) => {
            view.message = Some(message(cancel.message));
            view.reason = Some(cancel.reason.to_string());
        }
        Kind::GraceSet(set) => {
            view.message = (set.message != GraceSet::FROM_THE_START).then(|| message(set.message));
            view.grace_ms = Some(set.grace_ms);
        }
        Kind::Finished(finished) => show_end(&mut view, finished),
        Kind::Paused(paused) => {
            view.message = Some(message(paused.message));
            view.reason = Some(paused.reason.to_string());
        }
        Kind::Patched(patched) => {
            view.name = Some(patched.id.to_string());
            show_proof(&mut view, &patched.proof);
        }
        Kind::Continued(continued) => {
            show_value(&continued.input, &mut view.input, &mut view.input_stored);
            view.deployment = Some(continued.deployment.to_string());
            view.component = Some(continued.component);
            view.commands = Some(continued.fingerprint.commands);
            view.deliveries = Some(continued.fingerprint.deliveries);
            view.fuel = Some(continued.fingerprint.fuel);
        }
        Kind::Emitted(emitted) => {
            view.name = Some(emitted.name.to_string());
            view.at = emitted.at.as_deref().map(str::to_owned);
            show_value(&emitted.data, &mut view.payload, &mut view.payload_stored);
            show_proof(&mut view, &emitted.proof);
        }
        Kind::AttemptEmitted(emitted) => {
            view.step = Some(emitted.step.0);
            view.attempt = Some(emitted.attempt);
            view.name = Some(emitted.name.to_string());
            view.at = emitted.at.as_deref().map(str::to_owned);
            show_value(&emitted.data, &mut view.payload, &mut view.payload_stored);
            show_proof(&mut view, &emitted.proof);
        }
        Kind::FuelUsed(used) => {
            if let Some((step, attempt)) = used.attempt {
                show_attempt(&mut view, step.0, attempt);
            }
            view.fuel = Some(used.fuel);
        }
        Kind::EffectSettled(settled) => {
            show_attempt(&mut view, settled.step.0, settled.attempt);
            view.effect = Some(settled.effect.0);
            view.message = settled.request.map(message);
            view.by = settled.by.as_deref().map(str::to_owned);
            show_outcome(&mut view, &settled.outcome);
        }
        Kind::SpanBegun(begun) => {
            show_attempt(&mut view, begun.step.0, begun.attempt);
            view.effect = Some(begun.span.0);
            view.span_kind = Some(begun.kind.word().to_owned());
            view.name = Some(begun.name.to_string());
            show_value(&begun.input, &mut view.input, &mut view.input_stored);
            view.options = (!begun.options.is_empty()).then(|| raw(&begun.options));
            show_proof(&mut view, &begun.proof);
            view.at = begun.at.as_deref().map(str::to_owned);
        }
        Kind::SpanEnded(ended) => {
            show_attempt(&mut view, ended.step.0, ended.attempt);
            view.effect = Some(ended.span.0);
            show_outcome(&mut view, &ended.outcome);
            show_proof(&mut view, &ended.proof);
            view.at = ended.at.as_deref().map(str::to_owned);
        }
        Kind::Moved(moved) => {
            view.message = Some(message(moved.message));
            view.deployment = Some(moved.deployment.to_string());
            view.component = Some(moved.component);
        }
        Kind::Resumed(resumed) => view.message = Some(message(resumed.message)),
        Kind::ChildOf(child_of) => {
            view.from = Some(child_of.parent);
            view.step = Some(child_of.step.0);
        }
        Kind::ChildStarted(started) => {
            view.step = Some(started.step.0);
            view.child = Some(started.run);
            view.deployment = Some(started.deployment.to_string());
            view.component = Some(started.component);
        }
        Kind::ChildEnded(ended) => {
            view.message = Some(message(ended.message));
            view.step = Some(ended.step.0);
            view.child = Some(ended.run);
            show_outcome(&mut view, &ended.outcome);
        }
        // The seeds stay out, as those of a start.
        Kind::Forked(forked) => {
            view.from = Some(forked.from);
            view.step = Some(forked.step.0);
            view.commands = forked.cuts.last().map(|cut| cut.commands);
        }
        Kind::Settled(settled) => {
            view.step = Some(settled.step.0);
            view.message = settled.request.map(message);
            view.by = settled.by.as_deref().map(str::to_owned);
            show_outcome(&mut view, &settled.outcome);
        }
        Kind::Signalled(signalled) => {
            view.message = Some(message(signalled.message));
            view.name = Some(signalled.name.to_string());
            view.from = signalled.from;
            show_value(&signalled.payload, &mut view.payload, &mut view.payload_stored);
        }
        Kind::Published(published) => {
            view.name = Some(published.key.to_string());
            show_value(&published.value, &mut view.payload, &mut view.payload_stored);
            show_proof(&mut view, &published.proof);
            view.at = published.at.as_deref().map(str::to_owned);
        }
        Kind::UpdateReceived(update) => {
            view.message = Some(message(update.message));
            view.name = Some(update.name.to_string());
            show_value(&update.payload, &mut view.payload, &mut view.payload_stored);
        }
        Kind::UpdateOffered(offered) => {
            view.message = Some(message(offered.message));
            view.name = Some(offered.name.to_string());
            view.deadline_at = Some(offered.due.into());
            show_value(&offered.payload, &mut view.payload, &mut view.payload_stored);
        }
        Kind::UpdateExpired(expired) => view.message = Some(message(expired.message)),
        Kind::Replied(replied) => {
            view.message = Some(message(replied.message));
            view.step = Some(replied.step.0);
            show_outcome(&mut view, &replied.outcome);
            show_proof(&mut view, &replied.proof);
            view.at = replied.at.as_deref().map(str::to_owned);
        }
    }
    view
}

/// The seeds stay out: who knows them can foretell what the guest will draw.
fn show_start(view: &mut model::Entry, started: &Started) {
    view.run = Some(started.run);
    view.workflow = Some(started.workflow.to_string());
    view.deployment = Some(started.deployment.to_string());
    view.component = Some(started.component);
    view.rules = Some(started.rules);
    show_value(&started.input, &mut view.input, &mut view.input_stored);
}

fn show_attempt(view: &mut model::Entry, step: u32, attempt: u32) {
    view.step = Some(step);
    view.attempt = Some(attempt);
}

fn show_kept(view: &mut model::Entry, kept: &Kept) {
    view.kept_answers = Some(kept.answers);
    view.effect = kept.last.map(|last| last.0);
}

fn show_step_request(view: &mut model::Entry, request: &StepRequest) {
    let options = match request {
        StepRequest::Call { function, input, options } => {
            view.operation = Some("call".to_owned());
            view.function = Some(function.to_string());
            show_value(input, &mut view.input, &mut view.input_stored);
            options
        }
        StepRequest::Sleep { duration_ms, options } => {
            view.operation = Some("sleep".to_owned());
            view.duration_ms = Some(*duration_ms);
            options
        }
        StepRequest::StartRun { workflow, input, options } => {
            view.operation = Some("start-run".to_owned());
            view.workflow = Some(workflow.to_string());
            show_value(input, &mut view.input, &mut view.input_stored);
            options
        }
        StepRequest::Receive { signal, options } => {
            view.operation = Some("receive".to_owned());
            view.name = Some(signal.to_string());
            options
        }
        StepRequest::Entity { entity, key, act, options } => {
            view.operation = Some(act.verb().operation().to_owned());
            view.name = Some(entity.to_string());
            view.key = Some(key.to_string());
            if let EntityAct::Set { value } = act {
                show_value(value, &mut view.input, &mut view.input_stored);
            }
            options
        }
        StepRequest::AskPerson { form, options } => {
            view.operation = Some("ask-person".to_owned());
            show_value(form, &mut view.form, &mut view.input_stored);
            options
        }
        StepRequest::Promise { name, options, .. } => {
            view.operation = Some("promise".to_owned());
            view.name = Some(name.to_string());
            options
        }
        StepRequest::AcceptUpdate { update, options } => {
            view.operation = Some("accept-update".to_owned());
            view.name = Some(update.to_string());
            options
        }
    };
    view.options = (!options.is_empty()).then(|| raw(options));
}

fn show_effect_request(view: &mut model::Entry, request: &EffectRequest) {
    let options = match request {
        EffectRequest::Http { request, options } => {
            view.operation = Some("http".to_owned());
            show_value(request, &mut view.request, &mut view.request_stored);
            options
        }
        EffectRequest::AskPerson { form, options } => {
            view.operation = Some("ask-person".to_owned());
            show_value(form, &mut view.form, &mut view.input_stored);
            options
        }
        EffectRequest::Model { model, request, options } => {
            view.operation = Some("model".to_owned());
            view.model = Some(model.to_string());
            show_value(request, &mut view.request, &mut view.request_stored);
            options
        }
        EffectRequest::Sleep { duration_ms, options } => {
            view.operation = Some("sleep".to_owned());
            view.duration_ms = Some(*duration_ms);
            options
        }
    };
    view.options = (!options.is_empty()).then(|| raw(options));
}

fn show_proof(view: &mut model::Entry, proof: &Proof) {
    view.digest = Some(proof.digest);
    view.deliveries = Some(proof.deliveries);
    view.fuel = Some(proof.fuel);
}

fn show_outcome(view: &mut model::Entry, outcome: &Outcome) {
    match outcome {
        Outcome::Succeeded(output) => {
            view.outcome = Some("succeeded".to_owned());
            show_value(output, &mut view.output, &mut view.output_stored);
        }
        Outcome::Failed(failure) => {
            view.outcome = Some("failed".to_owned());
            show_failure(view, failure);
        }
    }
}

fn show_end(view: &mut model::Entry, finished: &Finished) {
    let outcome = match &finished.end {
        End::Succeeded(output) => {
            show_value(output, &mut view.output, &mut view.output_stored);
            "succeeded"
        }
        End::Failed(failure) => {
            show_failure(view, failure);
            "failed"
        }
        End::Cancelled { reason } => {
            view.reason = Some(reason.to_string());
            "cancelled"
        }
        End::Terminated { reason } => {
            view.reason = Some(reason.to_string());
            "terminated"
        }
    };
    view.outcome = Some(outcome.to_owned());
    if let Some(fingerprint) = &finished.fingerprint {
        view.commands = Some(fingerprint.commands);
        view.deliveries = Some(fingerprint.deliveries);
        view.fuel = Some(fingerprint.fuel);
    }
    view.unread = Some(finished.unread.iter().copied().map(message).collect());
}

/// A failure is always inline.
fn show_failure(view: &mut model::Entry, failure: &Value) {
    if let Value::Inline(text) = failure {
        view.failure = Some(raw(text));
    }
}

fn show_value(
    value: &Value,
    inline: &mut Option<Box<serde_json::value::RawValue>>,
    stored: &mut Option<model::Stored>,
) {
    match value {
        Value::Inline(text) => *inline = Some(raw(text)),
        Value::Stored { digest, size_bytes } => {
            *stored = Some(model::Stored { digest: *digest, size_bytes: *size_bytes });
        }
    }
}

/// Too large for a JSON number.
pub fn message(id: MessageId) -> String {
    format!("{:032x}", id.0)
}
