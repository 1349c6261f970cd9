//! Entries for tests, one small constructor for each kind.

use std::sync::Arc;

use crate::{
    Answered, Asked, AttemptFailed, AttemptFailedKeeping, AttemptParked, AttemptResumed, AttemptStarted,
    CancelReceived, ChildOf, Claimed, Cut, DeadlineSet, Digest, EffectAnswered, EffectAsked, EffectId, EffectRequest,
    EffectSettled, EffectVerdict, End, Entry, Epoch, Failure, Fingerprint, Finish, Finished, Forgotten, Forked,
    FuelUsed, GraceSet, Kept, Kind, Limits, MessageId, ModelUsed, Outcome, Park, Paused, Position, Progressed, Proof,
    Published, RULES, Replied, Resumed, RetryReceived, RunId, Settled, Signalled, Started, StepCancelAsked, StepId,
    StepRequest, StepTimed, Tie, Timestamp, UpdateReceived, Usage, Value, With, code,
};

pub const PROOF: Proof = Proof { digest: Digest([7; 32]), deliveries: 0, fuel: 10 };

/// Entries 1 ms apart, the first at 1 s, with a new epoch at each claim.
pub fn journal(kinds: impl IntoIterator<Item = Kind>) -> Vec<Entry> {
    let mut epoch = 0;
    let entry = |(place, kind): (usize, Kind)| {
        epoch += u64::from(matches!(kind, Kind::Claimed(_)));
        let time = Timestamp::from_millis(1_000 + place as u64);
        Entry { position: Position(place as u64), epoch: Epoch(epoch), time, kind }
    };
    kinds.into_iter().enumerate().map(entry).collect()
}

pub fn started() -> Kind {
    started_with(Value::inline("[1,2]"), RULES)
}

pub fn started_with(input: Value, rules: u32) -> Kind {
    Kind::Started(Box::new(Started {
        run: RunId(1),
        workflow: "headlines".into(),
        deployment: "news".into(),
        component: Digest([1; 32]),
        input,
        seed: [2; 32],
        key_seed: [3; 32],
        limits: Limits::default(),
        rules,
    }))
}

pub fn claimed() -> Kind {
    Kind::Claimed(Claimed { worker: "w1".into(), engine: "engine 48.0.8".into(), component: Digest([1; 32]) })
}

pub fn call(step: u32) -> Kind {
    let input = Value::inline("{\"b\": 1}");
    asked(step, StepRequest::Call { function: "fetch".into(), input, options: "".into() })
}

/// From 1 s on.
pub fn sleep(step: u32, duration_ms: u64) -> Kind {
    asked(step, StepRequest::Sleep { duration_ms, options: "".into() })
}

/// From 1 s on.
pub fn question(step: u32, timeout_ms: u64) -> Kind {
    let form = Value::inline(format!(r#"{{"title":"Pay?","timeout_ms":{timeout_ms}}}"#));
    asked(step, StepRequest::AskPerson { form, options: "".into() })
}

/// From 1 s on.
pub fn asks_person(step: u32, attempt: u32, effect: u32, timeout_ms: u64) -> Kind {
    let form = Value::inline(format!(r#"{{"title":"Pay?","timeout_ms":{timeout_ms}}}"#));
    let request = EffectRequest::AskPerson { form, options: "".into() };
    let (step, effect, now) = (StepId(step), EffectId(effect), Timestamp::from_millis(1_000));
    Kind::EffectAsked(EffectAsked { step, attempt, effect, request, proof: PROOF, now, key: None, at: None })
}

pub fn settled_effect(step: u32, attempt: u32, effect: u32) -> Kind {
    let (step, effect, outcome) = (StepId(step), EffectId(effect), Outcome::Succeeded(Value::inline("{}")));
    let (request, by) = (Some(MessageId(5)), Some("ann".into()));
    Kind::EffectSettled(EffectSettled { step, attempt, effect, request, outcome, by })
}

pub fn settled(step: u32) -> Kind {
    let outcome = Outcome::Succeeded(Value::inline("{}"));
    Kind::Settled(Settled { step: StepId(step), request: Some(MessageId(5)), outcome, by: Some("ann".into()) })
}

/// From 1 s on.
pub fn promise(step: u32, timeout_ms: u64) -> Kind {
    let options = format!(r#"{{"timeout_ms":{timeout_ms}}}"#).into();
    asked(step, StepRequest::Promise { name: "paid".into(), owner: RunId(1), options })
}

pub fn accept(step: u32, update: &str) -> Kind {
    asked(step, StepRequest::AcceptUpdate { update: update.into(), options: "".into() })
}

/// Brings its own number.
pub fn update(message: u128, name: &str) -> Kind {
    let payload = Value::inline(message.to_string());
    Kind::UpdateReceived(UpdateReceived { message: MessageId(message), name: name.into(), payload })
}

pub fn replied(step: u32, message: u128) -> Kind {
    let outcome = Outcome::Succeeded(Value::inline("1"));
    Kind::Replied(Replied { step: StepId(step), message: MessageId(message), outcome, proof: PROOF, at: None })
}

pub fn published(key: &str, value: &str) -> Kind {
    Kind::Published(Published { key: key.into(), value: Value::inline(value), proof: PROOF, at: None })
}

pub fn receive(step: u32, signal: &str) -> Kind {
    asked(step, StepRequest::Receive { signal: signal.into(), options: "".into() })
}

/// Brings its own number.
pub fn signalled(message: u128, name: &str) -> Kind {
    let payload = Value::inline(message.to_string());
    Kind::Signalled(Signalled { message: MessageId(message), name: name.into(), payload, from: None })
}

pub fn asked(step: u32, request: StepRequest) -> Kind {
    let at = Some(Arc::from("src/lib.rs:41"));
    Kind::Asked(Asked { step: StepId(step), request, proof: PROOF, now: Timestamp::from_millis(1_000), at })
}

pub fn attempt(step: u32, attempt: u32) -> Kind {
    Kind::AttemptStarted(AttemptStarted { step: StepId(step), attempt })
}

pub fn resumed(step: u32, attempt: u32) -> Kind {
    Kind::AttemptResumed(AttemptResumed { step: StepId(step), attempt })
}

pub fn effect(step: u32, attempt: u32, effect: u32) -> Kind {
    let request = EffectRequest::Http { request: Value::inline("{\"url\":\"http://a/\"}"), options: "".into() };
    Kind::EffectAsked(EffectAsked {
        step: StepId(step),
        attempt,
        effect: EffectId(effect),
        request,
        proof: PROOF,
        now: Timestamp::from_millis(1_000),
        key: Some("key".into()),
        at: None,
    })
}

pub fn model_asked(step: u32, attempt: u32, number: u32) -> Kind {
    let request = EffectRequest::Model { model: "openai/m".into(), request: Value::inline("{}"), options: "".into() };
    match effect(step, attempt, number) {
        Kind::EffectAsked(asked) => Kind::EffectAsked(EffectAsked { request, ..asked }),
        other => other,
    }
}

pub fn model_used(step: u32, attempt: u32, effect: u32, tokens: u64, cost_nanousd: Option<u64>) -> Kind {
    let usage = Usage { input_tokens: tokens, output_tokens: 1, cached_tokens: 2, cache_write_tokens: 3 };
    let (provider, model) = ("openai".into(), "m-2".into());
    let (step, effect, finish) = (StepId(step), EffectId(effect), Finish::Stop);
    Kind::ModelUsed(ModelUsed { step, attempt, effect, provider, model, finish, usage, cost_nanousd })
}

pub fn effect_answered(step: u32, attempt: u32, effect: u32) -> Kind {
    let outcome = Outcome::Succeeded(Value::inline("{\"status\":200}"));
    Kind::EffectAnswered(EffectAnswered { step: StepId(step), attempt, effect: EffectId(effect), outcome })
}

pub fn failed(step: u32, attempt: u32, next_at_ms: u64) -> Kind {
    let failure = Failure::new(code::HTTP_CONNECT, "refused").to_value();
    Kind::Failed(AttemptFailed { step: StepId(step), attempt, failure, next_at: Timestamp::from_millis(next_at_ms) })
}

pub fn failed_keeping(step: u32, attempt: u32, next_at_ms: u64, kept: Kept) -> Kind {
    let failure = Failure::new(code::HTTP_CONNECT, "refused").to_value();
    let next_at = Timestamp::from_millis(next_at_ms);
    Kind::FailedKeeping(AttemptFailedKeeping { step: StepId(step), attempt, failure, next_at, kept })
}

pub fn parked(step: u32, attempt: u32, park: Park) -> Kind {
    let failure = Failure::new(code::HTTP_CONNECT, "refused").to_value();
    Kind::Parked(AttemptParked { step: StepId(step), attempt, failure, park })
}

pub fn retry(step: u32, with: Option<&str>, verdict: Option<EffectVerdict>) -> Kind {
    let with = with.map(|name| With { deployment: name.into(), component: Digest([5; 32]) });
    Kind::RetryReceived(RetryReceived { message: MessageId(8), step: StepId(step), with, verdict })
}

pub fn progressed(step: u32, attempt: u32, text: &str) -> Kind {
    Kind::Progressed(Progressed { step: StepId(step), attempt, progress: Value::inline(text) })
}

pub fn deadline(at_ms: u64) -> Kind {
    Kind::DeadlineSet(DeadlineSet { at: Timestamp::from_millis(at_ms) })
}

pub fn timed(step: u32, start_by_ms: Option<u64>, close_by_ms: Option<u64>) -> Kind {
    let at = |millis: Option<u64>| millis.map(Timestamp::from_millis);
    Kind::StepTimed(StepTimed { step: StepId(step), start_by: at(start_by_ms), close_by: at(close_by_ms) })
}

pub fn answered(step: u32) -> Kind {
    Kind::Answered(Answered { step: StepId(step), outcome: Outcome::Succeeded(Value::inline("3")) })
}

pub fn forgotten(step: u32) -> Kind {
    Kind::Forgotten(Forgotten { step: StepId(step), proof: PROOF })
}

pub fn step_cancel(step: u32) -> Kind {
    Kind::StepCancelAsked(StepCancelAsked { step: StepId(step), proof: PROOF })
}

pub fn cancel() -> Kind {
    Kind::CancelReceived(CancelReceived { message: MessageId(9), reason: "enough".into() })
}

pub fn grace(grace_ms: u64) -> Kind {
    Kind::GraceSet(GraceSet { message: MessageId(9), grace_ms })
}

pub fn paused() -> Kind {
    Kind::Paused(Paused { message: MessageId(10), reason: "look at it".into() })
}

pub fn resumed_run() -> Kind {
    Kind::Resumed(Resumed { message: MessageId(11) })
}

/// With a cut after so many commands each.
pub fn forked(cuts: &[u64]) -> Kind {
    let cuts = cuts.iter().map(|commands| Cut { commands: *commands, seed: [*commands as u8; 32] }).collect();
    let at = Timestamp::from_millis(9_000);
    Kind::Forked(Box::new(Forked { from: RunId(3), step: StepId(2), entries: 2, at, cuts }))
}

pub fn child_of() -> Kind {
    Kind::ChildOf(ChildOf { parent: RunId(3), step: StepId(1), tie: Tie::Awaited })
}

pub fn finished(end: End) -> Kind {
    let fingerprint = Some(Fingerprint { commands: 1, deliveries: 1, fuel: 20 });
    Kind::Finished(Finished { end, fingerprint, unread: vec![MessageId(4), MessageId(u128::MAX)] })
}

pub fn succeeded() -> Kind {
    finished(End::Succeeded(Value::inline("\"done\"")))
}

/// Of an attempt, or of the workflow.
pub fn fuel_used(attempt: Option<(u32, u32)>, fuel: u64) -> Kind {
    Kind::FuelUsed(FuelUsed { attempt: attempt.map(|(step, number)| (StepId(step), number)), fuel })
}

/// A journal that holds every kind of entry.
pub fn every_kind() -> Vec<Entry> {
    journal([
        started(),
        deadline(9_000),
        claimed(),
        call(1),
        sleep(2, 250),
        call(3),
        call(4),
        timed(4, Some(8_000), Some(9_000)),
        attempt(1, 1),
        effect(1, 1, 1),
        effect_answered(1, 1, 1),
        claimed(),
        resumed(1, 1),
        failed(1, 1, 2_000),
        forgotten(2),
        step_cancel(3),
        grace(60_000),
        cancel(),
        signalled(1, "paid"),
        receive(5, "paid"),
        question(6, 1_000),
        settled(6),
        promise(7, 1_000),
        settled(7),
        published("place", "3"),
        update(2, "move"),
        fuel_used(None, 2_000_000),
        accept(8, "move"),
        replied(8, 2),
        attempt(1, 2),
        progressed(1, 2, "0.5"),
        fuel_used(Some((1, 2)), 1_000_000),
        failed_keeping(1, 2, 2_000, Kept { answers: 0, last: None }),
        attempt(1, 3),
        parked(1, 3, Park::Exhausted),
        retry(1, Some("news"), None),
        attempt(1, 4),
        model_asked(1, 4, 1),
        model_used(1, 4, 1, 10, Some(7)),
        effect_answered(1, 4, 1),
        answered(1),
        succeeded(),
    ])
}
