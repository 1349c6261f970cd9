//! Journals: frames as a disk may give them back, and everything that is folded from their entries,
//! with a guest that does what they say or something else.

use serde_json::Value as Json;
use std::sync::Arc;
use trackway_replay::{
    Answered, Asked, AttemptFailed, AttemptResumed, AttemptStarted, CancelReceived, ChildEnded, ChildOf, ChildStarted,
    Claimed, Command, Cut, Decision, Digest, EffectAnswered, EffectAsked, EffectId, EffectRequest, EffectSettled, End,
    Entry, Epoch, Failure, Fingerprint, Finished, Forgotten, Forked, Frame, FuelRule, Kind, Limits, Machine, MessageId,
    Next, Outcome, Paused, Phase, Position, Proof, RULES, Resumed, RunId, RunState, Sequencer, Signalled, SpanBegun,
    SpanEnded, SpanKind, Started, StepCancelAsked, StepId, StepRequest, Tie, Timestamp, Value, digest_of_call,
    outcome_of, trace,
};

use super::mutate;
use super::target::{Target, gist};
use crate::simulate::dice::Dice;

/// In front of each frame, little endian.
const LENGTH_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 4;
const ENTRIES_DRAWN_MAX: u64 = 40;
/// Steps, attempts and effects are drawn from so few that many of them meet.
const NUMBERS: u64 = 6;
const FUEL: u64 = 1_000;
/// Of journals that are to make sense.
pub const EPOCH_MAX: Epoch = Epoch(1 << 20);

pub struct Journal;

impl Target for Journal {
    fn seeds(&mut self) -> Vec<Vec<u8>> {
        let journals = (0..20).map(|seed| entries(&mut Dice::of(seed, "journal")));
        journals.map(|entries| pack(&frames(&mut Dice::of(1, "frames"), entries))).collect()
    }

    fn mutate(&mut self, dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
        match dice.within(0..=9) {
            0 => mutate::bytes(dice, input, other, &[]),
            1..=4 => {
                let mut parts = split(input);
                if !parts.is_empty() {
                    let place = dice.next() as usize % parts.len();
                    mutate::bytes(dice, &mut parts[place], other, &[]);
                }
                parts.iter_mut().for_each(seal);
                *input = pack(&parts);
            }
            5..=8 => {
                let mut all: Vec<Entry> = read(input).concat();
                let others: Vec<Entry> = read(other).concat();
                for _ in 0..dice.within(1..=4) {
                    change(dice, &mut all, &others);
                }
                if dice.chance(85) {
                    renumber(&mut all);
                }
                *input = pack(&frames(dice, all));
            }
            _ => {
                let all = entries(dice);
                *input = pack(&frames(dice, all));
            }
        }
    }

    fn feed(&mut self, input: &[u8]) -> String {
        let mut all = Vec::new();
        for part in split(input) {
            match Frame::decode(&part) {
                Ok(frame) => {
                    assert_eq!(frame.position(), frame.entries[0].position);
                    let again = Frame::decode(&Frame::encode(&frame.entries));
                    assert_eq!(again.as_ref(), Ok(&frame), "what was read is not what is written of it");
                    all.extend(frame.entries);
                }
                Err(error) => return fold(&all) + &gist(&error.to_string()),
            }
        }
        fold(&all)
    }

    fn rare(&self) -> &'static str {
        "rules"
    }
}

fn split(input: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut rest = input;
    while let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = (u32::from_le_bytes(*length) as usize).min(after.len());
        parts.push(after[..length].to_vec());
        rest = &after[length..];
    }
    parts
}

fn pack(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.iter().flat_map(|part| (part.len() as u32).to_le_bytes().into_iter().chain(part.iter().copied())).collect()
}

/// Gives a frame the checksum of what it holds, so that what is wrong with it is read.
fn seal(frame: &mut Vec<u8>) {
    if frame.len() > CHECKSUM_BYTES {
        frame.truncate(frame.len() - CHECKSUM_BYTES);
        frame.extend(crc32c::crc32c(frame).to_le_bytes());
    }
}

fn read(input: &[u8]) -> Vec<Vec<Entry>> {
    split(input).iter().filter_map(|part| Frame::decode(part).ok()).map(|frame| frame.entries).collect()
}

/// Cuts a journal into frames anywhere.
fn frames(dice: &mut Dice, entries: Vec<Entry>) -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<Entry>> = Vec::new();
    for entry in entries {
        match frames.last_mut() {
            Some(frame) if frame[0].epoch == entry.epoch && dice.chance(70) => frame.push(entry),
            _ => frames.push(vec![entry]),
        }
    }
    frames.iter().map(|frame| Frame::encode(frame)).collect()
}

fn renumber(entries: &mut [Entry]) {
    let (mut epoch, mut time) = (Epoch(1), Timestamp(0));
    for (place, entry) in entries.iter_mut().enumerate() {
        epoch = match entry.kind {
            Kind::Claimed(_) if entry.epoch <= epoch => Epoch(epoch.0 + u64::from(place > 1)).min(EPOCH_MAX),
            _ => epoch.max(entry.epoch.min(EPOCH_MAX)),
        };
        time = time.max(entry.time);
        (entry.position, entry.epoch, entry.time) = (Position(place as u64), epoch, time);
    }
}

pub fn change(dice: &mut Dice, all: &mut Vec<Entry>, others: &[Entry]) {
    let place = dice.next() as usize % all.len().max(1);
    let Some(entry) = all.get(place).cloned() else { return };
    match dice.within(0..=6) {
        0 => drop(all.remove(place)),
        1 => all.insert(place, entry),
        2 => {
            let to = dice.next() as usize % all.len();
            all.swap(place, to);
        }
        3 if !others.is_empty() => {
            let from = dice.next() as usize % others.len();
            all.splice(place.., others[from..].iter().cloned());
        }
        4 => all[place].time = Timestamp(dice.next() >> dice.within(0..=63)),
        _ => {
            let mut json = serde_json::to_value(&entry.kind).expect("entries are data");
            mutate::json_value(dice, &mut json, &WORDS);
            numbers(dice, &mut json);
            if let Ok(kind) = serde_json::from_value(json) {
                all[place].kind = kind;
            }
        }
    }
}

const WORDS: [&str; 9] = [
    "Inline",
    "{\"code\":\"PANIC\",\"message\":\"x\",\"retryable\":true}",
    "{}",
    "[",
    "Cancelled",
    "http",
    "step",
    "null",
    "\"\"",
];

/// Numbers in an entry become others that fit their field.
pub fn numbers(dice: &mut Dice, json: &mut Json) {
    match json {
        Json::Number(number) if dice.chance(10) => {
            let edge = *dice.one_of(&[0, 1, 2, 3, u64::from(u32::MAX), u64::MAX, u64::MAX - 1, 1 << 63]);
            *number = edge.into();
        }
        Json::Array(list) => list.iter_mut().for_each(|item| numbers(dice, item)),
        Json::Object(map) => map.values_mut().for_each(|item| numbers(dice, item)),
        Json::Number(_) | Json::Null | Json::Bool(_) | Json::String(_) => {}
    }
}

/// A journal that makes sense, of a run of its own.
pub fn entries_of(dice: &mut Dice, run: RunId, component: Digest) -> Vec<Entry> {
    let mut all = entries(dice);
    if let Some(Entry { kind: Kind::Started(started), .. }) = all.first_mut() {
        (started.run, started.component) = (run, component);
    }
    let wants = |kind: &Kind| matches!(kind.value(), Some(Value::Stored { .. }));
    let whole = (1..=all.len()).take_while(|end| RunState::of(&all[..*end]).is_ok() && !wants(&all[*end - 1].kind));
    all.truncate(whole.last().unwrap_or(1));
    all
}

/// A journal of any entries in any order after a start; many of them make sense.
fn entries(dice: &mut Dice) -> Vec<Entry> {
    let mut all = Vec::new();
    for place in 0..dice.within(1..=ENTRIES_DRAWN_MAX) {
        let kind = match place {
            0 => started(),
            1 => claimed(dice),
            _ => kind(dice),
        };
        let entry = Entry { position: Position(0), epoch: Epoch(0), time: Timestamp(1_000_000 * place), kind };
        all.push(entry.clone());
        renumber(&mut all);
        // Mostly what can follow, so that journals become long.
        if RunState::of(&all).is_err() && dice.chance(95) {
            all.pop();
        }
    }
    all
}

fn proof(dice: &mut Dice) -> Proof {
    Proof {
        digest: digest_of_call("f", "1", ""),
        deliveries: dice.within(0..=3) as u32,
        fuel: dice.within(0..=2 * FUEL),
    }
}

fn started() -> Kind {
    Kind::Started(Box::new(Started {
        run: RunId(1),
        workflow: "w".into(),
        deployment: "d".into(),
        component: Digest([3; 32]),
        input: Value::inline("{}"),
        seed: [1; 32],
        key_seed: [2; 32],
        limits: Limits::default(),
        rules: RULES,
    }))
}

fn claimed(dice: &mut Dice) -> Kind {
    let engine = if dice.chance(50) { "engine" } else { "other" };
    Kind::Claimed(Claimed { worker: "worker".into(), engine: engine.into(), component: Digest([3; 32]) })
}

fn value(dice: &mut Dice) -> Value {
    match dice.within(0..=4) {
        0 => Value::Stored { digest: Digest([9; 32]), size_bytes: dice.next() },
        1 => Value::inline("{\"url\":\"http://a/\",\"method\":\"POST\"}"),
        2 => Value::inline("{\"status\":200,\"tries\":[{\"status\":503},{\"error\":\"x\"}]}"),
        3 => Value::inline("not JSON"),
        _ => Failure::new("PANIC", "it was").to_value(),
    }
}

fn outcome(dice: &mut Dice) -> Outcome {
    if dice.chance(70) { Outcome::Succeeded(value(dice)) } else { Outcome::Failed(value(dice)) }
}

fn kind(dice: &mut Dice) -> Kind {
    let step = StepId(dice.within(1..=NUMBERS) as u32);
    let attempt = dice.within(1..=2) as u32;
    let effect = EffectId(dice.within(1..=2) as u32);
    let now = Timestamp(dice.within(0..=9) * 1_000_000);
    let at: Option<Arc<str>> = dice.chance(30).then(|| "src/lib.rs:1".into());
    match dice.within(0..=32) {
        0 => claimed(dice),
        1..=4 => {
            let signal = || ["s", "t"][step.0 as usize % 2].into();
            let request = if dice.chance(20) {
                StepRequest::Receive { signal: signal(), options: "".into() }
            } else if dice.chance(70) {
                StepRequest::Call { function: "f".into(), input: value(dice), options: "".into() }
            } else if dice.chance(50) {
                StepRequest::StartRun { workflow: "w".into(), input: value(dice), options: "{\"detach\":true}".into() }
            } else {
                StepRequest::Sleep { duration_ms: dice.next() >> dice.within(0..=63), options: "".into() }
            };
            Kind::Asked(Asked { step, request, proof: proof(dice), now, at })
        }
        5..=7 => Kind::AttemptStarted(AttemptStarted { step, attempt }),
        8 => Kind::AttemptResumed(AttemptResumed { step, attempt }),
        9 | 10 => {
            let request = if dice.chance(70) {
                EffectRequest::Http { request: value(dice), options: "{\"label\":\"l\"}".into() }
            } else {
                EffectRequest::Sleep { duration_ms: dice.next(), options: "".into() }
            };
            let request = match request {
                EffectRequest::Http { request, options } if dice.chance(30) => {
                    EffectRequest::Model { model: "openai/m".into(), request, options }
                }
                other => other,
            };
            let key = dice.chance(50).then(|| "key".into());
            Kind::EffectAsked(EffectAsked { step, attempt, effect, request, proof: proof(dice), now, key, at })
        }
        11 | 12 => Kind::EffectAnswered(EffectAnswered { step, attempt, effect, outcome: outcome(dice) }),
        13 => Kind::Failed(AttemptFailed { step, attempt, failure: value(dice), next_at: now }),
        14 | 15 => Kind::Answered(Answered { step, outcome: outcome(dice) }),
        16 => Kind::Forgotten(Forgotten { step, proof: proof(dice) }),
        17 => Kind::StepCancelAsked(StepCancelAsked { step, proof: proof(dice) }),
        26 | 27 => {
            let (message, name) =
                (MessageId(u128::from(dice.within(1..=NUMBERS))), ["s", "t"][step.0 as usize % 2].into());
            Kind::Signalled(Signalled { message, name, payload: value(dice), from: None })
        }
        28 | 29 => {
            let kind = if dice.chance(50) { SpanKind::Agent } else { SpanKind::Tool };
            let options = format!("{{\"span\":{}}}", dice.within(0..=2)).into();
            let (name, input, proof) = ("s".into(), value(dice), proof(dice));
            Kind::SpanBegun(SpanBegun { step, attempt, span: effect, kind, name, input, options, proof, at })
        }
        31 => {
            let form = Value::inline("{\"title\":\"Pay?\",\"timeout_ms\":1000}");
            let request = EffectRequest::AskPerson { form, options: "".into() };
            Kind::EffectAsked(EffectAsked { step, attempt, effect, request, proof: proof(dice), now, key: None, at })
        }
        32 => {
            let request = dice.chance(50).then_some(MessageId(3));
            let (outcome, by) = (outcome(dice), None);
            Kind::EffectSettled(EffectSettled { step, attempt, effect, request, outcome, by })
        }
        30 => {
            let (outcome, proof) = (outcome(dice), proof(dice));
            Kind::SpanEnded(SpanEnded { step, attempt, span: effect, outcome, proof, at })
        }
        18 => Kind::CancelReceived(CancelReceived { message: MessageId(7), reason: "enough".into() }),
        19 => Kind::Paused(Paused { message: MessageId(9), reason: "look".into() }),
        20 => Kind::Resumed(Resumed { message: MessageId(10) }),
        22 => Kind::ChildOf(ChildOf {
            parent: RunId(2),
            step,
            tie: if dice.chance(50) { Tie::Awaited } else { Tie::Detached },
        }),
        23 => {
            let component = Digest([3; 32]);
            Kind::ChildStarted(ChildStarted { step, run: RunId(3), deployment: "d".into(), component })
        }
        24 => {
            let message = MessageId(u128::from(dice.next()));
            Kind::ChildEnded(ChildEnded { message, step, run: RunId(3), outcome: outcome(dice) })
        }
        21 => {
            let cuts = vec![Cut { commands: dice.next(), seed: [3; 32] }];
            Kind::Forked(Box::new(Forked { from: RunId(2), step, entries: dice.within(0..=4), at: now, cuts }))
        }
        _ => {
            let end = match dice.within(0..=3) {
                0 => End::Succeeded(value(dice)),
                1 => End::Failed(value(dice)),
                2 => End::Cancelled { reason: "enough".into() },
                _ => End::Terminated { reason: "enough".into() },
            };
            let fingerprint = dice.chance(80).then_some(Fingerprint { commands: 1, deliveries: 1, fuel: FUEL });
            Kind::Finished(Finished { end, fingerprint, unread: vec![MessageId(8)] })
        }
    }
}

/// Everything that is made of entries, wherever they come from.
fn fold(all: &[Entry]) -> String {
    let traced = trace::trace(all);
    let text = serde_json::to_string(&traced).expect("a trace is JSON");
    serde_json::from_str::<serde::de::IgnoredAny>(&text).expect("a trace is JSON that can be read");
    for row in &traced.rows {
        assert!(row.title().len() < text.len() + 64);
        assert_eq!(row.depth() > 0, row.parent.is_some(), "{row:?}");
        row.step().into_iter().for_each(|step| assert!(traced.step(step).next().is_some()));
    }
    for activation in &traced.activations {
        let recalled = traced.recalled(activation);
        assert!(recalled.steps.len() <= traced.rows.len());
    }
    let wanted = trace::payloads_wanted(all);
    let payloads = wanted.into_iter().map(|digest| (digest, "{\"url\":\"http://b/\",\"status\":7}".into())).collect();
    let with = trace::trace_with(all, &payloads);
    assert_eq!(with.rows.len(), traced.rows.len());
    let guests = guest(all, FuelRule::Exact) + &guest(all, FuelRule::Loose);
    let unplaced = traced.unplaced.len().min(1);
    format!("{} unplaced {unplaced} {guests}", state(all))
}

fn state(all: &[Entry]) -> String {
    let Some((first, rest)) = all.split_first() else { return "nothing".to_owned() };
    let mut state = match RunState::new(first) {
        Ok(state) => state,
        Err(error) => return gist(&error.to_string()),
    };
    for entry in rest {
        let before = state.last();
        if let Err(error) = state.apply(entry) {
            assert_eq!(state.last(), before, "a refused entry changed the state");
            return format!("{} after {}", gist(&error.to_string()), state.status().name());
        }
    }
    let head = state.head();
    assert_eq!(head.status, state.status());
    let (position, time) = state.last();
    let due = state.steps_due(Timestamp(u64::MAX)).count();
    assert!(due <= state.steps().len());
    let mut sequencer = Sequencer::new(position.plus(1), Epoch(u64::MAX), time);
    for (step, open) in state.steps() {
        assert!(state.step(*step).is_some());
        open.due();
        open.deadline();
        if let Phase::Attempting(attempt) = &open.phase {
            attempts(attempt, &state);
            sequencer
                .push(Timestamp(0), Kind::AttemptResumed(AttemptResumed { step: *step, attempt: attempt.attempt }));
        }
    }
    let frame = sequencer.take_frame();
    assert!(frame.is_empty() || Frame::decode(&Frame::encode(&frame)).is_ok());
    if let Some(end) = state.end() {
        outcome_of(end);
    }
    format!("{} {:?} steps {}", head.status.name(), head.waiting, state.steps().len().min(3))
}

fn attempts(attempt: &trackway_replay::AttemptState, state: &RunState) {
    let mut machine = Machine::new(attempt.started, FUEL);
    let rule = |claim: &trackway_replay::Claim| claim.fuel_rule("engine", Digest([3; 32]));
    let rule = state.claims().last().map_or(FuelRule::Loose, rule);
    for record in &attempt.effects {
        machine.recall_effect(record, rule);
    }
    assert!(attempt.open_effects().count() <= attempt.effects.len());
    for record in &attempt.effects {
        if let trackway_replay::EffectKind::Asked(asked) = &record.kind {
            machine.ask(asked.into(), asked.proof.fuel);
            machine.deliver();
        }
    }
    let _ = machine.end(0);
}

/// A guest that gives the commands on record in their order, and takes what there is in between.
fn guest(all: &[Entry], rule: FuelRule) -> String {
    let mut machine = Machine::new(Timestamp(0), FUEL);
    all.iter().for_each(|entry| machine.recall(entry, rule));
    let (mut recalled, mut performed, mut delivered) = (0, 0, 0);
    let mut diverged = false;
    for entry in all {
        machine.allowance(FUEL / 2);
        let (decision, deliveries) = match &entry.kind {
            Kind::Asked(asked) => (machine.ask(Command::from(asked), asked.proof.fuel), asked.proof.deliveries),
            Kind::Forgotten(done) => (machine.about(done.step.0, done.into(), done.proof.fuel), done.proof.deliveries),
            Kind::StepCancelAsked(done) => {
                (machine.about(done.step.0, done.into(), done.proof.fuel), done.proof.deliveries)
            }
            _ => continue,
        };
        match decision {
            Decision::Recall { .. } | Decision::Resume { .. } => recalled += 1,
            Decision::Perform { .. } | Decision::Ignore => performed += 1,
            Decision::Diverged(divergence) => {
                assert!(!divergence.to_string().is_empty());
                diverged = true;
            }
        }
        // No more than there are on record, whatever the record says.
        for _ in 0..deliveries.min(4) {
            match machine.deliver() {
                Next::Deliver(_) => delivered += 1,
                Next::NothingOpen | Next::Wait => break,
                Next::Diverged(_) => {
                    diverged = true;
                    break;
                }
            }
        }
    }
    // Each entry can be delivered once: more would have no end.
    while let Next::Deliver(_) = machine.deliver() {
        delivered += 1;
        assert!(delivered <= all.len(), "deliveries without end");
    }
    machine.ran_past_record();
    machine.would_wait();
    assert!(machine.open_count() as u64 <= u64::from(machine.ids()));
    let end = machine.end(FUEL).is_ok();
    format!("{rule:?} {diverged} {end} {} {} {}", recalled.min(2), performed.min(2), delivered.min(2))
}
