//! What a guest computes beside its proofs: before it waits, and before it comes to its end. It is summed up over all turns,
//! so that it is noted once: whoever recalls the guest comes to the same sum, and knows how much of it stands already.

use super::Machine;

/// Fuel that is worth an entry: what computes less is bounded by what it asks for.
pub const NOTED_FUEL_MIN: u64 = 100_000;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beside {
    /// Since the last delivery, as far as anybody knows.
    turn: u64,
    /// Of that, up to the last command.
    proved: u64,
    /// Of the turns before, what no proof tells of.
    before: u64,
    /// Of all that, what stands in the journal.
    noted: u64,
}

impl Beside {
    pub fn computes(&mut self, fuel: u64) {
        self.turn = self.turn.max(fuel);
    }

    pub fn proved(&mut self, fuel: u64) {
        self.computes(fuel);
        self.proved = fuel;
    }

    pub fn delivered(&mut self) {
        let before = self.before.saturating_add(self.turn.saturating_sub(self.proved));
        *self = Beside { before, noted: self.noted, ..Beside::default() };
    }

    pub fn noted(&mut self, fuel: u64) {
        self.noted = self.noted.saturating_add(fuel);
    }

    fn left(&self) -> u64 {
        self.before.saturating_add(self.turn.saturating_sub(self.proved)).saturating_sub(self.noted)
    }
}

impl Machine {
    /// The guest has used so much since its last delivery.
    pub fn computes(&mut self, fuel: u64) {
        self.beside.computes(fuel);
    }

    /// What it has used in all that stands in no proof, and was not noted.
    pub fn fuel_beside(&self) -> u64 {
        self.beside.left()
    }

    /// The same, to be journaled now; where it is enough, and where the guest does nothing again.
    pub fn fuel_to_note(&mut self) -> Option<u64> {
        let fuel = self.beside.left();
        if fuel < NOTED_FUEL_MIN || !self.has_caught_up() || self.end.is_some() {
            return None;
        }
        self.beside.noted(fuel);
        Some(fuel)
    }
}

#[cfg(test)]
mod tests {
    use super::NOTED_FUEL_MIN as MIN;
    use crate::testing::{fuel_used, journal, started};
    use crate::{Act, Command, Decision, Digest, FuelRule, Machine, Next, Outcome, Position, Proof, Timestamp, Value};

    fn call() -> Command {
        Command { act: Act::Call { function: "f".into() }, digest: Digest::of(b"f"), at: None }
    }

    fn answer(machine: &mut Machine, id: u32) {
        let outcome = Outcome::Succeeded(Value::inline("1"));
        machine.answered(Position(u64::from(id)), Timestamp(0), id, outcome);
    }

    /// Two calls, of which the guest takes the answers, and computes after each.
    fn two_turns(machine: &mut Machine, computed: u64) {
        for _ in 0..2 {
            assert!(!matches!(machine.ask(call(), 10), Decision::Diverged(_)));
        }
        for id in 1..=2 {
            answer(machine, id);
            assert!(matches!(machine.deliver(), Next::Deliver(_)));
            machine.computes(computed);
        }
    }

    #[test]
    fn what_stands_in_no_proof_is_noted_once_it_is_worth_it() {
        let mut machine = Machine::new(Timestamp(0), u64::MAX);
        two_turns(&mut machine, MIN / 2 - 1);
        assert_eq!(machine.fuel_to_note(), None);
        machine.computes(MIN / 2 + 1);
        machine.computes(MIN / 2);
        assert_eq!(
            (machine.fuel_beside(), machine.fuel_to_note()),
            (MIN, Some(MIN)),
            "of both turns, never less than before"
        );
        assert_eq!((machine.fuel_beside(), machine.fuel_to_note()), (0, None));
        let mut machine = Machine::new(Timestamp(0), u64::MAX);
        machine.ask(call(), 9 * MIN);
        machine.computes(9 * MIN + 7);
        assert_eq!(machine.fuel_beside(), 7, "a command proves what was used before it");
    }

    #[test]
    fn whoever_recalls_a_guest_notes_only_what_does_not_stand_yet() {
        for noted in [0, MIN, 2 * MIN] {
            let mut machine = Machine::new(Timestamp(0), u64::MAX);
            for entry in journal([started(), fuel_used(None, noted), fuel_used(Some((1, 1)), 5 * MIN)]) {
                machine.recall(&entry, FuelRule::Exact);
            }
            let proof = Proof { digest: call().digest, deliveries: 0, fuel: 10 };
            machine.expect(call(), proof, FuelRule::Exact);
            machine.computes(4 * MIN);
            assert_eq!(machine.fuel_to_note(), None, "it does again what is on record");
            two_turns(&mut machine, MIN);
            let left = (4 * MIN - 10 + 2 * MIN).saturating_sub(noted);
            assert_eq!(machine.fuel_to_note(), (left >= MIN).then_some(left));
        }
    }
}
