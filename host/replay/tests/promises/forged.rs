//! Records that no worker wrote: whatever they claim, the machine neither panics nor lets a guest
//! run without a bound, and what it delivers still follows the rules.

use std::collections::BTreeSet;

use proptest::prelude::*;
use trackway_replay::{
    Act, Command, Completion, Decision, Digest, FuelRule, Machine, Next, Outcome, Position, Proof, Timestamp, Value,
};

use crate::toy::BUDGET;

/// The most that any record lets a guest use between two deliveries.
const FUEL_MOST: u64 = BUDGET * 4 + 100_000;

/// One call of the machine, by its owner or by its guest.
#[derive(Debug, Clone)]
enum Move {
    Expect { command: Command, deliveries: u32, fuel: u64, is_exact: bool },
    Answered { position: u64, id: u32 },
    Cancelled { position: u64 },
    ExpectEnd { deliveries: u32, fuel: u64, out_of_fuel: bool },
    Ask { command: Command, fuel: u64 },
    About { command: Command, fuel: u64 },
    Close { id: u32 },
    Deliver,
    End { fuel: u64 },
}

fn numbers() -> impl Strategy<Value = u32> {
    prop_oneof![9 => 0_u32..6, 1 => any::<u32>()]
}

fn fuels() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(10_u64), 2 => 0..BUDGET, 1 => any::<u64>()]
}

fn asks() -> impl Strategy<Value = Command> {
    (0_u8..3).prop_map(|name| {
        let digest = Digest::of(&[name]);
        Command { act: Act::Call { function: format!("f{name}").into() }, digest, at: None }
    })
}

fn abouts() -> impl Strategy<Value = Command> {
    (numbers(), any::<bool>()).prop_map(|(id, is_forget)| {
        let act = if is_forget { Act::Forget { id } } else { Act::Cancel { id } };
        Command { act, digest: Digest::of(b"about"), at: None }
    })
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let expect = (prop_oneof![3 => asks().boxed(), 1 => abouts().boxed()], numbers(), fuels(), any::<bool>());
    let one = prop_oneof![
        3 => expect.prop_map(|(command, deliveries, fuel, is_exact)| Move::Expect { command, deliveries, fuel, is_exact }),
        5 => (0_u64..50, numbers()).prop_map(|(position, id)| Move::Answered { position, id }),
        1 => (0_u64..50).prop_map(|position| Move::Cancelled { position }),
        1 => (numbers(), fuels(), any::<bool>())
            .prop_map(|(deliveries, fuel, out_of_fuel)| Move::ExpectEnd { deliveries, fuel, out_of_fuel }),
        6 => (asks(), fuels()).prop_map(|(command, fuel)| Move::Ask { command, fuel }),
        2 => (abouts(), fuels()).prop_map(|(command, fuel)| Move::About { command, fuel }),
        1 => numbers().prop_map(|id| Move::Close { id }),
        6 => Just(Move::Deliver),
        1 => fuels().prop_map(|fuel| Move::End { fuel }),
    ];
    proptest::collection::vec(one, 0..60)
}

fn rule(is_exact: bool) -> FuelRule {
    if is_exact { FuelRule::Exact } else { FuelRule::Loose }
}

/// Makes the moves one after the other, in whatever order, and holds what must hold after each.
fn check(moves: Vec<Move>) {
    let mut machine = Machine::new(Timestamp(0), BUDGET);
    let (mut settled, mut was_cancelled) = (BTreeSet::new(), false);
    for made in moves {
        match made {
            Move::Expect { command, deliveries, fuel, is_exact } => {
                let proof = Proof { digest: command.digest, deliveries, fuel };
                machine.expect(command, proof, rule(is_exact));
            }
            Move::Answered { position, id } => {
                // Positions are the journal's: no two entries share one.
                let place = position * 1_000 + u64::from(id % 1_000);
                let outcome = Outcome::Succeeded(Value::inline(place.to_string()));
                machine.answered(Position(place), Timestamp(place), id, outcome);
            }
            Move::Cancelled { position } => {
                machine.cancel_received(Position(position * 1_000 + 999), Timestamp(position), "enough".into());
            }
            Move::ExpectEnd { deliveries, fuel, out_of_fuel } => {
                let fingerprint = trackway_replay::Fingerprint { commands: 1, deliveries, fuel };
                machine.expect_end(fingerprint, out_of_fuel, FuelRule::Exact);
            }
            Move::Ask { command, fuel } => {
                let before = machine.ids();
                match machine.ask(command, fuel) {
                    Decision::Diverged(divergence) => assert!(!divergence.to_string().is_empty()),
                    Decision::Recall { id } | Decision::Resume { id } | Decision::Perform { id, .. } => {
                        assert_eq!((id, machine.ids()), (before + 1, before + 1), "ids count up from 1");
                        assert!(machine.is_open(id));
                    }
                    Decision::Ignore => panic!("asking is about no id"),
                }
            }
            Move::About { command, fuel } => {
                let (Act::Forget { id } | Act::Cancel { id }) = command.act else { panic!("it is about an id") };
                let (is_open, is_forget) = (machine.is_open(id), matches!(command.act, Act::Forget { .. }));
                match machine.about(id, command, fuel) {
                    // What was cancelled before is not cancelled again.
                    Decision::Ignore => assert!(!is_open || !is_forget),
                    Decision::Diverged(divergence) => assert!(!divergence.recorded.is_empty()),
                    Decision::Recall { .. } | Decision::Resume { .. } | Decision::Perform { .. } => {
                        assert!(is_open);
                        assert_eq!(machine.is_open(id), !is_forget);
                        settled.extend(is_forget.then_some(id));
                    }
                }
            }
            Move::Close { id } => {
                if machine.is_open(id) {
                    settled.insert(id);
                }
                machine.close(id);
                assert!(!machine.is_open(id));
            }
            Move::Deliver => {
                let (open, would_wait) = (machine.open_count(), machine.would_wait());
                let next = machine.deliver();
                assert_eq!(matches!(next, Next::NothingOpen), open == 0, "with nothing open, and only then");
                assert_eq!(matches!(next, Next::Wait), would_wait);
                match next {
                    Next::Deliver(Completion::Answer { id, .. }) => {
                        assert!(settled.insert(id), "{id} was delivered or forgotten before");
                        assert!(!machine.is_open(id));
                    }
                    Next::Deliver(Completion::Cancel { .. }) => {
                        assert!(!was_cancelled, "the cancel comes once");
                        was_cancelled = true;
                    }
                    Next::NothingOpen | Next::Wait | Next::Diverged(_) => {}
                }
            }
            Move::End { fuel } => _ = machine.end(fuel),
        }
        assert_eq!(machine.cancel_was_delivered(), was_cancelled);
        if machine.compared().without_fuel == 0 {
            assert!(machine.allowance(0) <= FUEL_MOST, "a record allows {}", machine.allowance(0));
        }
        _ = machine.ran_past_record();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn no_record_and_no_guest_brings_the_machine_down(moves in moves()) {
        check(moves);
    }
}
