//! Somebody who follows what a run tells, over connections that break and processes that die, and goes on
//! each time after what was heard last. What was heard is held against the journal when all is over.

use std::collections::BTreeMap;
use std::time::Duration;
use trackway::Code;
use trackway::host;
use trackway::host::Streamed;
use trackway_replay::{Position, StepId};
use trackway_storage::RunKey;

use super::client::Serving;
use super::dice::Dice;
use super::ledger::Ledger;

/// How long one waits for one more before the connection counts as broken.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Listener<'a> {
    serving: &'a Serving,
    ledger: &'a Ledger,
    dice: Dice,
    run: RunKey,
    heard: Heard,
}

/// What one listener was told, in order.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// What stays: where it stands, and what it says.
    events: Vec<(Position, String)>,
    /// What does not stay, by step and attempt: as it stands after each reset.
    deltas: BTreeMap<(StepId, u32), Vec<String>>,
    /// Everything before was told.
    up_to: Position,
    /// Told that the run has ended.
    has_end: bool,
    flaws: Vec<String>,
    /// In what does not stay.
    gaps: Vec<String>,
}

impl<'a> Listener<'a> {
    pub fn new(serving: &'a Serving, ledger: &'a Ledger, dice: Dice, run: RunKey) -> Listener<'a> {
        Listener { serving, ledger, dice, run, heard: Heard::default() }
    }

    pub async fn listen(mut self, after: Duration) {
        tokio::time::sleep(after).await;
        let mut last = host::Heard::Nothing;
        while !self.hear(&mut last).await {
            tokio::time::sleep(Duration::from_millis(self.dice.within(0..=60))).await;
        }
        self.ledger.lock().heard.push((self.run, self.heard));
    }

    /// One connection; whether it was the last.
    async fn hear(&mut self, last: &mut host::Heard) -> bool {
        let process = self.serving.get();
        let run = self.run.run;
        self.ledger.note(format!("listener of {run} comes back after {last:?}"));
        let mut streamer = match process.ask(PATIENCE, process.host.stream(run, *last)).await {
            Some(Ok(streamer)) => streamer,
            Some(Err(error)) => {
                // One that is removed at this moment has told nothing.
                if error.code == Code::BadRequest && !self.ledger.is_removing(self.run) {
                    self.heard.flaws.push(format!("it was told {last:?}, and then: {error}"));
                }
                return matches!(error.code, Code::NoSuchRun | Code::BadRequest);
            }
            None => return false,
        };
        for _ in 0..self.dice.within(1..=12) {
            let told = match process.ask(PATIENCE, streamer.next()).await {
                Some(Ok(Some(told))) => told,
                Some(Ok(None)) => return true,
                Some(Err(error)) => return error.code == Code::NoSuchRun,
                None => return false,
            };
            self.ledger.note(format!("listener of {run} hears {}", words(&told)));
            *last = self.heard.take(&told).unwrap_or(*last);
            if matches!(told, Streamed::End { .. }) {
                return true;
            }
        }
        false
    }
}

impl Heard {
    /// Takes one more; after what one comes back, if that says so.
    fn take(&mut self, told: &Streamed) -> Option<host::Heard> {
        match told {
            Streamed::Event(event) => {
                self.event(event.position, format!("{} {}", event.name, event.data));
                Some(host::Heard::Entry(event.position))
            }
            Streamed::Delta { heard, delta } => {
                self.delta((delta.step, delta.attempt), delta.number, &delta.data);
                Some(*heard)
            }
            Streamed::Reset { heard, step, attempt, next } => {
                self.reset((*step, *attempt), *next);
                self.passed(*heard)
            }
            Streamed::End { heard } => {
                self.has_end = heard.is_some();
                self.passed(*heard)
            }
        }
    }

    fn passed(&mut self, heard: Option<host::Heard>) -> Option<host::Heard> {
        if let Some(host::Heard::Entry(position)) = heard {
            self.up_to = self.up_to.max(position.plus(1));
        }
        heard
    }

    fn event(&mut self, position: Position, says: String) {
        if position < self.up_to {
            self.flaws.push(format!("it heard what stands at {position} after all before {}", self.up_to));
        }
        self.up_to = self.up_to.max(position.plus(1));
        self.events.push((position, says));
    }

    fn delta(&mut self, by: (StepId, u32), number: u32, says: &str) {
        let pieces = self.deltas.entry(by).or_default();
        if number as usize != pieces.len() + 1 || !says.contains(&format!("\"number\":{number},")) {
            self.gaps.push(format!("piece {number} of {by:?}, {says}, came after {} of them", pieces.len()));
        }
        pieces.truncate((number as usize).saturating_sub(1));
        pieces.push(says.to_owned());
    }

    fn reset(&mut self, by: (StepId, u32), next: u32) {
        self.deltas.entry(by).or_default().truncate((next as usize).saturating_sub(1));
    }

    /// What does not stay, as it was heard last.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.deltas.values().flatten().map(String::as_str)
    }

    /// Pieces of what does not stay that came too early or again, and no reset said so.
    pub fn gaps(&self) -> &[String] {
        &self.gaps
    }

    /// What is wrong with it, if the run told and kept that, in so many entries.
    pub fn flaws(&self, told: &BTreeMap<Position, String>, entries: u64) -> Vec<String> {
        let mut flaws = self.flaws.clone();
        let expected: Vec<_> = told.range(..self.up_to).map(|(position, says)| (*position, says.clone())).collect();
        if self.events != expected {
            flaws.push(format!("of what stands before {} it heard {:?}, not {expected:?}", self.up_to, self.events));
        }
        if self.has_end && self.up_to.0 != entries {
            flaws.push(format!("it was told of the end at {}, and there are {entries} entries", self.up_to));
        }
        flaws
    }
}

fn words(told: &Streamed) -> String {
    match told {
        Streamed::Event(event) => format!("event {} at {}: {}", event.name, event.position, event.data),
        Streamed::Delta { heard, delta } => format!("delta {}.{} {heard:?} {}", delta.step, delta.attempt, delta.data),
        Streamed::Reset { heard, step, attempt, next } => format!("a reset of {step}.{attempt} to {next} {heard:?}"),
        Streamed::End { heard } => format!("the end {heard:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: (StepId, u32) = (StepId(1), 1);

    fn told() -> BTreeMap<Position, String> {
        BTreeMap::from([(Position(3), "page 1".to_owned()), (Position(5), "page 2".to_owned())])
    }

    fn heard(events: &[(u64, &str)]) -> Heard {
        let mut heard = Heard::default();
        events.iter().for_each(|(position, says)| heard.event(Position(*position), (*says).to_owned()));
        heard
    }

    #[test]
    fn all_of_it_once_each_has_no_flaw() {
        assert!(heard(&[(3, "page 1"), (5, "page 2")]).flaws(&told(), 8).is_empty());
        assert!(heard(&[(3, "page 1")]).flaws(&told(), 8).is_empty(), "it may go away");
    }

    #[test]
    fn what_is_missing_doubled_or_another_is_a_flaw() {
        for events in [&[(5, "page 2")][..], &[(3, "page 1"), (3, "page 1")], &[(3, "page 9")], &[(4, "page 1")]] {
            assert!(!heard(events).flaws(&told(), 8).is_empty(), "{events:?}");
        }
        let mut early = heard(&[(3, "page 1")]);
        early.has_end = true;
        assert!(!early.flaws(&told(), 8).is_empty(), "the end came before the last event");
    }

    #[test]
    fn pieces_go_on_where_they_are_unless_a_reset_says_otherwise() {
        let mut heard = Heard::default();
        heard.delta(STEP, 1, "{\"number\":1,}");
        heard.delta(STEP, 2, "{\"number\":2,}");
        heard.reset(STEP, 1);
        heard.delta(STEP, 1, "{\"number\":1,}");
        assert_eq!((heard.gaps.len(), heard.pieces().count()), (0, 1));
        heard.delta(STEP, 1, "{\"number\":1,}");
        heard.delta(STEP, 3, "{\"number\":3,}");
        assert_eq!(heard.gaps.len(), 2, "again, and with a gap");
    }
}
