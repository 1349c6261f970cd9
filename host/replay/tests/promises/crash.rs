//! A run that is cut off anywhere goes on as if nothing had happened.

use proptest::prelude::*;
use trackway_replay::{Completion, Digest, Entry, FuelRule, Kind, Machine, Next, Timestamp};

use crate::toy::{BUDGET, Op, Ran, Saw, Setup, drive, programs, proof_of};

fn setup(program: &[Op], seed: u64, cancel_at: Option<u32>) -> Setup<'_> {
    Setup { program, seed, cancel_at, engine: "first", rate: 1, change: None, record: &[] }
}

fn commands_of(journal: &[Entry]) -> Vec<(&'static str, Digest)> {
    journal.iter().filter_map(|entry| Some((entry.kind.name(), proof_of(&entry.kind)?.digest))).collect()
}

/// Goes on from `record` and holds what comes of it against the run that was never cut.
fn check_goes_on(whole: &Ran, setup: &Setup) -> Ran {
    let again = drive(setup);
    assert_eq!(again.end, whole.end, "another end");
    assert_eq!(again.saw, whole.saw, "the guest saw something else");
    assert_eq!(again.recalled, commands_of(setup.record).len() as u64, "exactly what is on record is recalled");
    assert_eq!(&again.journal[..setup.record.len()], setup.record, "what is written stays as it is");
    assert_eq!(commands_of(&again.journal), commands_of(&whole.journal), "other commands");
    again
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_run_cut_after_any_entry_goes_on_to_the_same_end(
        program in programs(), seed: u64, cancel_at in proptest::option::of(1_u32..30),
    ) {
        let whole = drive(&setup(&program, seed, cancel_at));
        for cut in 1..=whole.journal.len() {
            let record = &whole.journal[..cut];
            check_goes_on(&whole, &Setup { record, ..setup(&program, seed, cancel_at) });
        }
    }

    #[test]
    fn a_run_cut_again_and_again_goes_on_to_the_same_end(
        program in programs(), seed: u64, cancel_at in proptest::option::of(1_u32..30),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 1..6),
    ) {
        let whole = drive(&setup(&program, seed, cancel_at));
        let mut journal = whole.journal.clone();
        for cut in cuts {
            let record = &journal[..1 + cut.index(journal.len())];
            journal = check_goes_on(&whole, &Setup { record, ..setup(&program, seed, cancel_at) }).journal;
        }
    }

    #[test]
    fn a_finished_run_replays_with_every_command_and_delivery_compared(
        program in programs(), seed: u64, cancel_at in proptest::option::of(1_u32..30),
    ) {
        let whole = drive(&setup(&program, seed, cancel_at));
        let again = drive(&Setup { record: &whole.journal, ..setup(&program, seed, cancel_at) });
        prop_assert_eq!(&again.saw, &whole.saw);
        prop_assert_eq!(&again.journal, &whole.journal);
        prop_assert_eq!(again.compared.with_fuel, commands_of(&whole.journal).len() as u64);
        prop_assert_eq!(again.compared.without_fuel, 0);
        let delivered = whole.saw.iter().filter(|saw| matches!(saw, Saw::Delivered { .. })).count();
        prop_assert_eq!(again.compared.deliveries, delivered as u64);
    }

    /// An engine that counts up to three times as much lets an honest guest go on where it was cut.
    #[test]
    fn an_engine_that_counts_otherwise_goes_on_to_the_same_end(
        program in programs(), seed: u64, cut: proptest::sample::Index, rate in 1_u64..=3,
    ) {
        let whole = drive(&setup(&program, seed, None));
        let out_of_fuel = matches!(whole.end, Ok(trackway_replay::End::Failed(_)));
        // Where the new engine counts in the rest of the run, more may be too much.
        let rate = if out_of_fuel { 1 } else { rate };
        let record = &whole.journal[..whole.journal.len() - 1 - cut.index(2).min(whole.journal.len() - 2)];
        let other = Setup { record, engine: "second", rate, ..setup(&program, seed, None) };
        let again = drive(&other);
        if again.end == whole.end {
            prop_assert_eq!(&again.saw, &whole.saw);
        } else {
            // Only what it computed after the record may have been too much for its budget.
            prop_assert!(matches!(again.end, Ok(trackway_replay::End::Failed(_))), "{:?}", again.end);
            prop_assert_eq!(again.recalled, commands_of(record).len() as u64);
        }
        let replayed = drive(&Setup { record: &again.journal, ..other });
        prop_assert_eq!(replayed.end, again.end);
        prop_assert_eq!(replayed.saw, again.saw);
    }

    #[test]
    fn a_cancel_is_delivered_at_most_once_and_an_answer_once(program in programs(), seed: u64, cancel_at in 1_u32..30) {
        let ran = drive(&setup(&program, seed, Some(cancel_at)));
        let mut seen = std::collections::BTreeSet::new();
        for saw in &ran.saw {
            if let Saw::Delivered { completion, .. } = saw {
                let id = match completion {
                    Completion::Answer { id, .. } => *id,
                    Completion::Cancel { .. } => 0,
                };
                prop_assert!(seen.insert(id), "{id} is delivered twice");
            }
        }
        for entry in &ran.journal {
            if let Kind::Forgotten(forgotten) = &entry.kind {
                prop_assert!(!seen.contains(&forgotten.step.0), "a forgotten step is delivered");
            }
        }
    }

    /// What a guest was given from a beginning of the journal it is given from any longer one.
    #[test]
    fn a_longer_journal_delivers_the_same_first(program in programs(), seed: u64, cancel_at in proptest::option::of(1_u32..30)) {
        let whole = drive(&setup(&program, seed, cancel_at));
        let mut before = Vec::new();
        for cut in 1..=whole.journal.len() {
            let delivered = deliveries_of(&whole, cut);
            prop_assert!(delivered.starts_with(&before), "{before:?} became {delivered:?}");
            before = delivered;
        }
    }
}

/// The deliveries to a guest that does what `whole` did, from the first `cut` entries alone.
fn deliveries_of(whole: &Ran, cut: usize) -> Vec<Completion> {
    let mut machine = Machine::new(Timestamp::from_millis(1_000), BUDGET);
    for entry in &whole.journal[..cut] {
        if !matches!(entry.kind, Kind::Finished(_)) && proof_of(&entry.kind).is_none() {
            machine.recall(entry, FuelRule::Exact);
        }
    }
    let mut commands = whole.journal.iter().filter_map(|entry| Some((&entry.kind, proof_of(&entry.kind)?)));
    let mut delivered = Vec::new();
    for saw in &whole.saw {
        match saw {
            Saw::Id(_) => {
                let (kind, proof) = commands.next().expect("each id that was seen was journaled");
                match kind {
                    Kind::Asked(asked) => _ = machine.ask(asked.into(), proof.fuel),
                    Kind::Forgotten(forgotten) => _ = machine.about(forgotten.step.0, forgotten.into(), proof.fuel),
                    Kind::StepCancelAsked(asked) => _ = machine.about(asked.step.0, asked.into(), proof.fuel),
                    Kind::Published(published) => _ = machine.publish(published.into(), proof.fuel),
                    Kind::Replied(replied) => _ = machine.reply(replied.step.0, replied.into(), proof.fuel),
                    _ => {}
                }
            }
            Saw::Delivered { .. } => match machine.deliver() {
                Next::Deliver(completion) => delivered.push(completion),
                _ => return delivered,
            },
            Saw::Ignored | Saw::NothingOpen | Saw::Random(_) => {}
        }
    }
    delivered
}
