//! A guest that does something else than is on record is told apart at the first difference.

use proptest::prelude::*;
use trackway_replay::{Divergence, Kind};

use crate::toy::{Change, Op, Ran, Setup, drive, programs, proof_of};

/// A finished run of at least one command, and the place of one of them.
fn finished(program: &[Op], seed: u64, pick: proptest::sample::Index) -> Option<(Ran, u64)> {
    let whole = drive(&setup(program, seed));
    let commands = whole.journal.iter().filter(|entry| proof_of(&entry.kind).is_some()).count();
    (commands > 0).then(|| (whole, pick.index(commands) as u64))
}

fn setup(program: &[Op], seed: u64) -> Setup<'_> {
    Setup { program, seed, cancel_at: None, engine: "first", rate: 1, change: None, record: &[] }
}

fn check_diverges(whole: &Ran, setup: &Setup, commands: u64) -> Divergence {
    let ran = drive(&Setup { record: &whole.journal, ..setup.clone() });
    let divergence = ran.end.expect_err("the difference is found");
    assert_eq!(divergence.commands, commands, "all before agreed, and nothing after was reached: {divergence}");
    assert_eq!(ran.journal, whole.journal, "a divergence writes nothing");
    *divergence
}

fn command_text(kind: &Kind) -> String {
    match kind {
        Kind::Asked(asked) => trackway_replay::Command::from(asked).act.to_string(),
        Kind::Forgotten(forgotten) => format!("forget {}", forgotten.step),
        Kind::StepCancelAsked(asked) => format!("cancel {}", asked.step),
        Kind::Published(published) => format!("publish `{}`", published.key),
        Kind::Replied(replied) => format!("reply {}", replied.step),
        other => panic!("{} is no command", other.name()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn another_command_is_told_at_once_with_what_was_recorded(program in programs(), seed: u64, pick: proptest::sample::Index) {
        let Some((whole, commands)) = finished(&program, seed, pick) else { return Ok(()) };
        let change = Some(Change::Other { commands });
        let divergence = check_diverges(&whole, &Setup { change, ..setup(&program, seed) }, commands);
        let recorded = whole.journal.iter().filter(|entry| proof_of(&entry.kind).is_some()).nth(commands as usize);
        let recorded = command_text(&recorded.expect("it was picked from these").kind);
        prop_assert!(divergence.recorded.starts_with(&recorded), "{divergence}");
        // What is told differs by its content, not by its name.
        let is_told = recorded.starts_with("publish") || recorded.starts_with("reply");
        prop_assert!(is_told || !divergence.produced.starts_with(&format!("{recorded} after")), "{divergence}");
        prop_assert_ne!(divergence.recorded_digest, divergence.produced_digest);
        let has_id = divergence.id.is_some() || recorded.starts_with("publish");
        prop_assert!(divergence.produced_digest.is_some() && has_id, "{divergence}");
    }

    #[test]
    fn one_instruction_more_or_less_is_found_where_the_engine_is_the_same(
        program in programs(), seed: u64, pick: proptest::sample::Index, more in prop_oneof![Just(-1_i64), 1_i64..50],
    ) {
        let Some((whole, commands)) = finished(&program, seed, pick) else { return Ok(()) };
        let change = Some(Change::Fuel { commands, more });
        check_diverges(&whole, &Setup { change, ..setup(&program, seed) }, commands);
    }

    #[test]
    fn another_engine_is_allowed_some_more_but_not_endlessly(program in programs(), seed: u64, pick: proptest::sample::Index) {
        let Some((whole, commands)) = finished(&program, seed, pick) else { return Ok(()) };
        let loose = |more| {
            let change = Some(Change::Fuel { commands, more });
            Setup { change, engine: "second", ..setup(&program, seed) }
        };
        let ran = drive(&Setup { record: &whole.journal, ..loose(40) });
        prop_assert_eq!(&ran.saw, &whole.saw);
        prop_assert_eq!(&ran.end, &whole.end);
        prop_assert_eq!(ran.compared.with_fuel, 0);
        check_diverges(&whole, &loose(1_000_000), commands);
    }

    #[test]
    fn an_end_before_a_recorded_command_is_found(program in programs(), seed: u64, pick: proptest::sample::Index) {
        let Some((whole, commands)) = finished(&program, seed, pick) else { return Ok(()) };
        let change = Some(Change::Stops { commands });
        let divergence = check_diverges(&whole, &Setup { change, ..setup(&program, seed) }, commands);
        prop_assert_eq!(divergence.produced, "the end");
    }
}
