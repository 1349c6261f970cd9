//! Whether the promise was kept, from what the world was asked and what the journals say. Pure.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use trackway::api::model::Entry;
use trackway_replay::{RunId, Status};

use super::ledger::{Cancel, Ending, Kill, Ledger, Removal, Seen, TAKEN_IN_AFTER, Work};
use super::{
    KILLS_IN_RECALL_MIN, KILLS_WITH_MANY_RUNS_MIN, KILLS_WITH_OPEN_EFFECT_MIN, KILLS_WITH_UNFLUSHED_FRAME_MIN, OF_KILLS,
};
use crate::world::Asked;

/// A kill under a busy host meets as many.
const RUNS_IN_FLIGHT_MIN: usize = 8;

pub struct Verdict {
    pub kills: usize,
    kills_min: usize,
    /// After so many of them a promise was found to be broken.
    pub kills_that_broke: usize,
    /// Kills that met many runs that had begun and not ended.
    with_many_runs: usize,
    with_open_effect: usize,
    with_unflushed_frame: usize,
    in_recall: usize,
    requests: usize,
    /// Requests that were made more than once.
    repeated: usize,
    runs: usize,
    /// Every way in which the promise was broken.
    pub broken: Vec<String>,
}

/// An effect as the journals know it.
struct Effect {
    run: RunId,
    step: u32,
    attempt: u32,
    effect: u32,
    /// Of the process that asked for it.
    epoch: u64,
    key: Option<String>,
    answer: Option<EffectAnswer>,
}

impl Effect {
    fn place(&self) -> String {
        format!("run {} step {}.{}.{}", self.run, self.step, self.attempt, self.effect)
    }
}

struct EffectAnswer {
    epoch: u64,
    nonce: u64,
}

impl Verdict {
    /// When all runs have ended.
    pub fn of(ledger: &Ledger, asked: &[Asked], kills_min: usize) -> Verdict {
        let effects = effects(ledger);
        let broken = broken_at_the_end(ledger, asked);
        // The first process had a single run.
        let kills = ledger.kills.get(1..).unwrap_or_default();
        Verdict {
            kills: kills.len(),
            kills_min,
            kills_that_broke: 0,
            with_many_runs: kills.iter().filter(|kill| in_flight(ledger, kill) >= RUNS_IN_FLIGHT_MIN).count(),
            with_open_effect: kills.iter().filter(|kill| has_open_effect(ledger, &effects, kill)).count(),
            with_unflushed_frame: ledger
                .kills
                .windows(2)
                .filter(|kills| has_unflushed_frame(&asked[kills[0].asked..kills[1].asked], &effects, &kills[1]))
                .count(),
            in_recall: kills.iter().filter(|kill| was_recalling(ledger, kill)).count(),
            requests: asked.len(),
            repeated: asked.len()
                - asked.iter().map(|asked| (&asked.method, &asked.path)).collect::<BTreeSet<_>>().len(),
            runs: ledger.seen.len(),
            broken,
        }
    }

    pub fn has_enough(&self) -> bool {
        let share = |of_thirty: usize| of_thirty * self.kills_min / OF_KILLS;
        self.kills >= self.kills_min
            && self.with_many_runs >= share(KILLS_WITH_MANY_RUNS_MIN)
            && self.with_open_effect >= share(KILLS_WITH_OPEN_EFFECT_MIN)
            && self.with_unflushed_frame >= share(KILLS_WITH_UNFLUSHED_FRAME_MIN)
            && self.in_recall >= share(KILLS_IN_RECALL_MIN)
    }

    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    pub fn check(&self) {
        assert!(self.broken.is_empty(), "the promise was broken:\n{}", self.broken.join("\n"));
        assert!(self.has_enough(), "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} kills, {} of them with {RUNS_IN_FLIGHT_MIN} runs in flight", self.kills, self.with_many_runs)?;
        writeln!(f, "{} with an effect open", self.with_open_effect)?;
        writeln!(f, "{} with a frame unflushed", self.with_unflushed_frame)?;
        writeln!(f, "{} during recall", self.in_recall)?;
        writeln!(f, "{} requests, {} of them repeated, {} runs ended", self.requests, self.repeated, self.runs)?;
        write!(f, "{} promises broken", self.broken.len())
    }
}

/// What can be said when all runs have ended.
pub fn broken_at_the_end(ledger: &Ledger, asked: &[Asked]) -> Vec<String> {
    let effects = effects(ledger);
    let mut broken = broken_at_any_time(ledger, asked, &effects);
    ledger.seen.values().for_each(|seen| end_is_right(seen, ledger, asked, &mut broken));
    nothing_left_before_its_cause(ledger, asked, &effects, &mut broken);
    every_effect_was_answered(asked, &effects, &mut broken);
    broken
}

/// What can be said while runs are still going on. `asked` must be from after the journals were read:
/// what it has of the time since the last kill is no concern of this.
pub fn broken_so_far(ledger: &Ledger, asked: &[Asked]) -> Vec<String> {
    let effects = effects(ledger);
    let mut broken = broken_at_any_time(ledger, asked, &effects);
    let ended = ledger.seen.values().filter(|seen| seen.run.finished_at.is_some());
    ended.for_each(|seen| end_is_right(seen, ledger, asked, &mut broken));
    let killed = ledger.kills.last().map_or(0, |kill| kill.asked);
    nothing_left_before_its_cause(ledger, &asked[..killed], &effects, &mut broken);
    broken
}

fn broken_at_any_time(ledger: &Ledger, asked: &[Asked], effects: &BTreeMap<(String, String), Effect>) -> Vec<String> {
    let gone = ledger.runs.keys().filter(|run| !ledger.seen.contains_key(run) && !ledger.is_removed(**run));
    let mut broken: Vec<_> = gone.map(|run| format!("run {run} was acknowledged and is gone")).collect();
    what_was_removed_stays_gone(ledger, &mut broken);
    ledger.seen.values().for_each(|seen| journal_is_whole(seen, &mut broken));
    acknowledged_entries_stand(ledger, &mut broken);
    nothing_was_done_again(ledger, asked, effects, &mut broken);
    later_effects_follow_from_earlier_ones(asked, &mut broken);
    broken
}

/// One of which nobody was told may stand, and is then held to everything that others are held to.
fn what_was_removed_stays_gone(ledger: &Ledger, broken: &mut Vec<String>) {
    let removed = ledger.removals.iter().filter(|(_, removal)| **removal == Removal::Acknowledged);
    let back = removed.filter(|(run, _)| ledger.seen.contains_key(run));
    broken.extend(back.map(|(run, _)| format!("run {run} was said to be removed and is there")));
}

/// Positions without a gap, epochs and times that never go back, one beginning, one end.
fn journal_is_whole(seen: &Seen, broken: &mut Vec<String>) {
    let id = seen.run.id;
    if seen.journal.first().is_none_or(|first| first.kind != "Started") {
        broken.push(format!("run {id} does not begin with its start"));
    }
    for (place, entry) in seen.journal.iter().enumerate() {
        if entry.position != place as u64 {
            broken.push(format!("run {id}: entry {place} has position {}", entry.position));
        }
        if entry.kind == "Finished" && place + 1 != seen.journal.len() {
            broken.push(format!("run {id}: something follows its end at {place}"));
        }
    }
    for pair in seen.journal.windows(2) {
        if pair[1].epoch < pair[0].epoch || pair[1].time < pair[0].time {
            broken.push(format!("run {id}: epoch or time goes back at {}", pair[1].position));
        }
    }
}

/// By method and URL, which no two effects of this test share.
fn effects(ledger: &Ledger) -> BTreeMap<(String, String), Effect> {
    let mut effects = BTreeMap::new();
    for (run, seen) in &ledger.seen {
        for entry in &seen.journal {
            let Some(request) = entry.request.as_ref().filter(|_| entry.kind == "EffectAsked") else { continue };
            let request: Value = serde_json::from_str(request.get()).expect("a request is JSON");
            let text = |field: &str| request[field].as_str().unwrap_or_default().to_owned();
            let path = text("url").splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
            let effect = Effect {
                run: *run,
                step: entry.step.unwrap_or_default(),
                attempt: entry.attempt.unwrap_or_default(),
                effect: entry.effect.unwrap_or_default(),
                epoch: entry.epoch,
                key: entry.key.clone(),
                answer: None,
            };
            effects.entry((text("method"), path)).or_insert(effect).answer = answer_of(entry, &seen.journal);
        }
    }
    effects
}

fn answer_of(asked: &Entry, journal: &[Entry]) -> Option<EffectAnswer> {
    let same = |entry: &&Entry| {
        entry.kind == "EffectAnswered"
            && (entry.step, entry.attempt, entry.effect) == (asked.step, asked.attempt, asked.effect)
    };
    let answered = journal.iter().find(same)?;
    let output: Value = serde_json::from_str(answered.output.as_ref()?.get()).ok()?;
    let nonce = output["headers"].as_array()?.iter().find(|header| header[0] == crate::world::NONCE)?;
    Some(EffectAnswer { epoch: answered.epoch, nonce: nonce[1].as_str()?.parse().ok()? })
}

/// What stood in the journal when that process was killed.
fn at_kill<'a>(journal: &'a [Entry], kill: &Kill) -> &'a [Entry] {
    let end = journal.iter().position(|entry| entry.epoch > kill.epoch).unwrap_or(journal.len());
    &journal[..end]
}

fn is_in_flight(seen: &Seen, kill: &Kill) -> bool {
    let entries = at_kill(&seen.journal, kill);
    !entries.is_empty() && entries.iter().all(|entry| entry.kind != "Finished")
}

fn in_flight(ledger: &Ledger, kill: &Kill) -> usize {
    ledger.seen.values().filter(|seen| is_in_flight(seen, kill)).count()
}

fn has_open_effect(ledger: &Ledger, effects: &BTreeMap<(String, String), Effect>, kill: &Kill) -> bool {
    effects.values().any(|effect| is_open(ledger, effect, kill))
}

fn is_open(ledger: &Ledger, effect: &Effect, kill: &Kill) -> bool {
    let answered = effect.answer.as_ref().is_some_and(|answer| answer.epoch <= kill.epoch);
    effect.epoch <= kill.epoch && !answered && is_in_flight(&ledger.seen[&effect.run], kill)
}

/// The world had answered, the host had the answer in its hands, and yet the journal had it not: the
/// frame that held it had not been written. `asked` is what that process asked.
fn has_unflushed_frame(asked: &[Asked], effects: &BTreeMap<(String, String), Effect>, kill: &Kill) -> bool {
    asked.iter().any(|asked| {
        let in_hand = asked.answered.is_some_and(|answered| answered + TAKEN_IN_AFTER <= kill.at);
        let effect = effects.get(&(asked.method.clone(), asked.path.clone()));
        let is_lost = |effect: &Effect| effect.answer.as_ref().is_none_or(|answer| answer.epoch > kill.epoch);
        in_hand && effect.is_some_and(is_lost)
    })
}

/// The run was in flight, the process had taken up others, and of this one it wrote nothing: it was
/// still doing again what had been done.
fn was_recalling(ledger: &Ledger, kill: &Kill) -> bool {
    let wrote = |seen: &Seen| seen.journal.iter().any(|entry| entry.epoch == kill.epoch);
    let Some(seen) = kill.recalling.and_then(|run| ledger.seen.get(&run)) else { return false };
    is_in_flight(seen, kill) && !wrote(seen) && ledger.seen.values().any(wrote)
}

fn end_is_right(seen: &Seen, ledger: &Ledger, asked: &[Asked], broken: &mut Vec<String>) {
    let run = &seen.run;
    if let Work::Napping(cancel) = seen.work {
        let is_right = run.status == Status::Cancelled || cancel == Cancel::Unknown && run.status == Status::Succeeded;
        if !is_right {
            broken.push(format!("run {} is {:?}, and it had been cancelled ({cancel:?})", run.id, run.status));
        }
        return;
    }
    if seen.replays_identical != Some(true) {
        broken.push(format!("run {} does not replay as it went", run.id));
    }
    if let Work::Alone(Ending::Fails(code)) = &seen.work {
        let failure = run.failure.as_ref().map(|failure| failure.get().to_owned()).unwrap_or_default();
        if run.status != Status::Failed || !failure.contains(&format!(r#""{code}""#)) {
            broken.push(format!("run {} is {:?} with {failure} instead of failed as {code}", run.id, run.status));
        }
        return;
    }
    if run.status != Status::Succeeded {
        let failure = run.failure.as_ref().map(|failure| failure.get().to_owned());
        return broken.push(format!("run {} is {:?}: {:?} {failure:?}", run.id, run.status, run.message));
    }
    let output = run.output.as_ref().map(|output| output.get().to_owned());
    let expected = match &seen.work {
        Work::Headlines => ledger.headlines.clone(),
        Work::Orders { buyer, batches, orders } => Some(receipts(buyer, *batches, *orders, asked)),
        Work::Alone(Ending::Succeeds(output)) => Some(output.clone()),
        Work::Alone(Ending::Fails(_)) | Work::Napping(_) => None,
    };
    if output != expected {
        broken.push(format!("run {} answers {output:?} instead of {expected:?}", run.id));
    }
}

/// What the shop wrote last on each receipt: an earlier one was lost with its process.
fn receipts(buyer: &str, batches: u64, orders: u64, asked: &[Asked]) -> String {
    let last = |path: String| {
        asked.iter().rev().find(|asked| asked.path == path).map_or_else(String::new, |asked| asked.nonce.to_string())
    };
    let receipts: Vec<_> = (0..batches)
        .flat_map(|batch| (0..orders).map(move |number| format!("{buyer}/{batch}/{number}")))
        .map(|order| {
            let (reserved, paid) = (last(format!("/reserve/{order}")), last(format!("/pay/{order}")));
            format!(r#"{{"reserved":"{reserved}","paid":"{paid}"}}"#)
        })
        .collect();
    format!("[{}]", receipts.join(","))
}

fn acknowledged_entries_stand(ledger: &Ledger, broken: &mut Vec<String>) {
    let text = |entry: &Entry| serde_json::to_string(entry).expect("an entry is JSON");
    for (run, said) in ledger.said.iter().filter(|(run, _)| !ledger.is_removed(**run)) {
        let journal = ledger.seen.get(run).map(|seen| seen.journal.as_slice()).unwrap_or_default();
        let stands = said.len() <= journal.len() && said.iter().zip(journal).all(|(said, is)| text(said) == text(is));
        if !stands {
            broken.push(format!("run {run}: {} entries had been acknowledged and do not all stand", said.len()));
        }
    }
}

/// A request that came in must be on record from the process that made it, or one before. One that
/// is on record only later had left before its cause was durable.
fn nothing_left_before_its_cause(
    ledger: &Ledger,
    asked: &[Asked],
    effects: &BTreeMap<(String, String), Effect>,
    broken: &mut Vec<String>,
) {
    for (place, asked) in asked.iter().enumerate() {
        // The last process was not killed.
        let epoch = ledger.kills.iter().find(|kill| place < kill.asked).map_or(u64::MAX, |kill| kill.epoch);
        match effects.get(&(asked.method.clone(), asked.path.clone())) {
            None => broken.push(format!("request {} {} is in no journal", asked.method, asked.path)),
            Some(effect) if effect.epoch > epoch => broken.push(format!(
                "request {} {} was made under epoch {epoch}, and is on record from epoch {} on",
                asked.method, asked.path, effect.epoch
            )),
            Some(effect) if effect.key != asked.key => broken.push(format!(
                "request {} {} came with key {:?}, on record is {:?}",
                asked.method, asked.path, asked.key, effect.key
            )),
            Some(_) => {}
        }
    }
}

/// Who pays says what was last reserved: a resumed function went on from the answer on record.
fn later_effects_follow_from_earlier_ones(asked: &[Asked], broken: &mut Vec<String>) {
    for (place, paying) in asked.iter().enumerate() {
        let Some(order) = paying.path.strip_prefix("/pay/") else { continue };
        let reserved = format!("/reserve/{order}");
        let last =
            asked[..place].iter().rev().find(|asked| asked.path == reserved).map(|asked| asked.nonce.to_string());
        if last.as_ref() != Some(&paying.body) {
            broken.push(format!("{} was made with {}, last reserved was {last:?}", paying.path, paying.body));
        }
    }
}

/// What is on record is the answer to the last request of its kind.
fn every_effect_was_answered(asked: &[Asked], effects: &BTreeMap<(String, String), Effect>, broken: &mut Vec<String>) {
    for ((method, path), effect) in effects {
        let last = asked.iter().rev().find(|asked| asked.method == *method && asked.path == *path);
        let recorded = effect.answer.as_ref().map(|answer| answer.nonce);
        if recorded.is_none() || recorded != last.map(|asked| asked.nonce) {
            broken.push(format!("{}: {method} {path} is on record with {recorded:?}", effect.place()));
        }
    }
}

/// No request was made after its answer was on record, and there was at most one for each process
/// that was killed with the effect open, and one more.
fn nothing_was_done_again(
    ledger: &Ledger,
    asked: &[Asked],
    effects: &BTreeMap<(String, String), Effect>,
    broken: &mut Vec<String>,
) {
    for ((method, path), effect) in effects {
        let nonces: Vec<u64> = asked
            .iter()
            .filter(|asked| asked.method == *method && asked.path == *path)
            .map(|asked| asked.nonce)
            .collect();
        let recorded = effect.answer.as_ref().map(|answer| answer.nonce);
        if recorded.is_some() && recorded != nonces.last().copied() {
            let place = effect.place();
            broken.push(format!("{place}: {method} {path} is on record with {recorded:?}, the world gave {nonces:?}"));
        }
        let killed_open = ledger.kills.iter().filter(|kill| is_open(ledger, effect, kill)).count();
        if nonces.len() > killed_open + 1 {
            broken.push(format!("{method} {path} was asked {} times, killed open {killed_open} times", nonces.len()));
        }
    }
}
