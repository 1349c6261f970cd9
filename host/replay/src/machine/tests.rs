//! What the machine promises, one situation at a time. Whole runs stand in `tests/promises`.

use super::{Completion, Decision, FUEL_FACTOR, FUEL_SLACK, FuelRule, Machine, Next, PATCHES_MAX, PatchDecision};
use crate::testing::*;
use crate::{
    Act, Command, Digest, EffectKind, EffectRecord, End, Failure, Fingerprint, Kind, Letter, MessageId, Outcome,
    PUBLISHED_KEYS_MAX, Position, Proof, SpanKind, Timestamp, Topic, Value, code, digest_of_accept_update,
    digest_of_begin, digest_of_cancel, digest_of_end, digest_of_forget, digest_of_http, digest_of_patched,
    digest_of_publish, digest_of_reply,
};

const BUDGET: u64 = 1_000;
const FUEL: u64 = 10;

fn machine() -> Machine {
    Machine::new(Timestamp(0), BUDGET)
}

fn named(name: &str) -> Command {
    Command { act: Act::Call { function: name.into() }, digest: Digest::of(name.as_bytes()), at: None }
}

fn forget(id: u32) -> Command {
    Command { act: Act::Forget { id }, digest: digest_of_forget(id), at: None }
}

fn cancel_of(id: u32) -> Command {
    Command { act: Act::Cancel { id }, digest: digest_of_cancel(id), at: None }
}

fn expect(machine: &mut Machine, command: Command, deliveries: u32) {
    let proof = Proof { digest: command.digest, deliveries, fuel: FUEL };
    machine.expect(command, proof, FuelRule::Exact);
}

fn answer(machine: &mut Machine, position: u64, id: u32) {
    machine.answered(Position(position), Timestamp(position), id, outcome(position));
}

/// The answer that stands at `position`.
fn outcome(position: u64) -> Outcome {
    Outcome::Succeeded(Value::inline(position.to_string()))
}

fn cancelled(machine: &mut Machine, position: u64) {
    machine.cancel_received(Position(position), Timestamp(position), "enough".into());
}

#[derive(Debug, PartialEq)]
enum Got {
    /// The answer of an id, from a position.
    Answer(u32, u64),
    Cancel,
    NothingOpen,
    Wait,
    Diverged,
}

fn check_next(machine: &mut Machine, expected: &[Got]) {
    for expected in expected {
        assert_eq!(machine.would_wait(), *expected == Got::Wait);
        let got = match machine.deliver() {
            Next::Deliver(Completion::Answer { id, outcome: Outcome::Succeeded(Value::Inline(text)) }) => {
                Got::Answer(id, text.parse().expect("an answer is its position"))
            }
            Next::Deliver(Completion::Answer { .. }) => panic!("no such answer was given"),
            Next::Deliver(Completion::Cancel { .. }) => Got::Cancel,
            Next::NothingOpen => Got::NothingOpen,
            Next::Wait => Got::Wait,
            Next::Diverged(_) => Got::Diverged,
        };
        assert_eq!(&got, expected);
    }
}

fn asked(count: u32) -> Machine {
    let mut machine = machine();
    for id in 1..=count {
        assert!(matches!(machine.ask(named("f"), FUEL), Decision::Perform { id: given, .. } if given == id));
    }
    machine
}

#[test]
fn answers_come_in_the_order_of_the_journal() {
    let mut machine = asked(3);
    check_next(&mut machine, &[Got::Wait]);
    answer(&mut machine, 10, 3);
    answer(&mut machine, 11, 1);
    check_next(&mut machine, &[Got::Answer(3, 10), Got::Answer(1, 11), Got::Wait]);
    answer(&mut machine, 12, 2);
    check_next(&mut machine, &[Got::Answer(2, 12), Got::NothingOpen]);
}

#[test]
fn the_first_answer_of_an_id_wins() {
    let mut machine = asked(1);
    answer(&mut machine, 10, 1);
    answer(&mut machine, 11, 1);
    check_next(&mut machine, &[Got::Answer(1, 10), Got::NothingOpen]);
    answer(&mut machine, 12, 1);
    check_next(&mut machine, &[Got::NothingOpen]);

    let mut recalled = self::machine();
    expect(&mut recalled, named("f"), 0);
    answer(&mut recalled, 10, 1);
    answer(&mut recalled, 11, 1);
    assert_eq!(recalled.ask(named("f"), FUEL), Decision::Recall { id: 1 });
    check_next(&mut recalled, &[Got::Answer(1, 10), Got::NothingOpen]);
}

#[test]
fn a_forgotten_id_is_never_delivered() {
    for (before, after) in [(true, false), (false, true), (true, true)] {
        let mut machine = asked(2);
        if before {
            answer(&mut machine, 10, 1);
        }
        assert!(matches!(machine.about(1, forget(1), FUEL), Decision::Perform { id: 1, .. }));
        if after {
            answer(&mut machine, 11, 1);
        }
        answer(&mut machine, 12, 2);
        check_next(&mut machine, &[Got::Answer(2, 12), Got::NothingOpen]);
    }
}

#[test]
fn a_waiting_cancel_does_not_open_anything() {
    let mut machine = machine();
    cancelled(&mut machine, 1);
    check_next(&mut machine, &[Got::NothingOpen, Got::NothingOpen]);
    assert!(!machine.cancel_was_delivered());
    machine.ask(named("f"), FUEL);
    check_next(&mut machine, &[Got::Cancel, Got::Wait]);
    assert!(machine.cancel_was_delivered());
}

#[test]
fn a_cancel_comes_once_and_in_its_place() {
    let mut machine = asked(3);
    answer(&mut machine, 10, 1);
    cancelled(&mut machine, 11);
    answer(&mut machine, 12, 2);
    cancelled(&mut machine, 13);
    check_next(&mut machine, &[Got::Answer(1, 10), Got::Cancel, Got::Answer(2, 12), Got::Wait]);
    cancelled(&mut machine, 14);
    check_next(&mut machine, &[Got::Wait]);
}

#[test]
fn the_guests_time_is_that_of_its_last_delivery() {
    let mut machine = asked(2);
    answer(&mut machine, 10, 1);
    cancelled(&mut machine, 20);
    assert_eq!(machine.now(), Timestamp(0));
    check_next(&mut machine, &[Got::Answer(1, 10)]);
    assert_eq!(machine.now(), Timestamp(10));
    check_next(&mut machine, &[Got::Cancel, Got::Wait]);
    assert_eq!(machine.now(), Timestamp(20));
}

#[test]
fn what_is_about_an_id_that_is_not_open_is_ignored_and_not_counted() {
    let mut machine = asked(1);
    assert_eq!(machine.about(0, forget(0), FUEL), Decision::Ignore);
    assert_eq!(machine.about(2, cancel_of(2), FUEL), Decision::Ignore);
    answer(&mut machine, 10, 1);
    check_next(&mut machine, &[Got::Answer(1, 10)]);
    assert_eq!(machine.about(1, forget(1), FUEL), Decision::Ignore);
    assert_eq!((machine.commands(), machine.ids(), machine.open_count()), (1, 1, 0));
}

#[test]
fn a_cancelled_step_still_completes_once() {
    let mut machine = asked(1);
    assert!(matches!(machine.about(1, cancel_of(1), FUEL), Decision::Perform { id: 1, .. }));
    assert!(machine.is_open(1));
    check_next(&mut machine, &[Got::Wait]);
    answer(&mut machine, 10, 1);
    check_next(&mut machine, &[Got::Answer(1, 10), Got::NothingOpen]);
}

#[test]
fn a_step_is_cancelled_once_unless_more_is_on_record() {
    let mut live = asked(1);
    assert!(matches!(live.about(1, cancel_of(1), FUEL), Decision::Perform { id: 1, .. }));
    assert_eq!(live.about(1, cancel_of(1), FUEL), Decision::Ignore);
    assert_eq!(live.commands(), 2);
    let mut machine = machine();
    expect(&mut machine, named("f"), 0);
    expect(&mut machine, cancel_of(1), 0);
    expect(&mut machine, cancel_of(1), 0);
    machine.ask(named("f"), FUEL);
    for expected in [Decision::Resume { id: 1 }, Decision::Resume { id: 1 }, Decision::Ignore] {
        assert_eq!(machine.about(1, cancel_of(1), FUEL), expected);
    }
}

#[test]
fn a_recalled_cancel_is_taken_up_again_unless_its_step_is_settled() {
    let recalled = |answered: bool, forgotten: bool| {
        let mut machine = machine();
        expect(&mut machine, named("f"), 0);
        expect(&mut machine, cancel_of(1), 0);
        if forgotten {
            expect(&mut machine, forget(1), 0);
        }
        if answered {
            answer(&mut machine, 10, 1);
        }
        (machine.ask(named("f"), FUEL), machine.about(1, cancel_of(1), FUEL))
    };
    let (resume, recall) = (Decision::Resume { id: 1 }, Decision::Recall { id: 1 });
    assert_eq!(recalled(false, false), (resume.clone(), resume));
    assert_eq!(recalled(true, false), (recall.clone(), recall.clone()));
    assert_eq!(recalled(false, true), (recall.clone(), recall));
}

#[test]
fn an_attempt_closes_what_its_function_forgets_again() {
    let http = |name: &str| Command { act: Act::Http, digest: digest_of_http(name, ""), at: None };
    let records: Vec<EffectRecord> = journal([effect(1, 1, 1), effect(1, 1, 2), effect_answered(1, 1, 1)])
        .into_iter()
        .map(|entry| EffectRecord {
            position: entry.position,
            time: entry.time,
            kind: match entry.kind {
                Kind::EffectAsked(asked) => EffectKind::Asked(asked),
                Kind::EffectAnswered(answered) => EffectKind::Answered(answered),
                other => panic!("{} is no effect", other.name()),
            },
        })
        .collect();
    let same = Command { digest: PROOF.digest, ..http("a") };
    let mut machine = machine();
    records.iter().for_each(|record| machine.recall_effect(record, FuelRule::Exact));
    assert_eq!(machine.ask(same.clone(), FUEL), Decision::Recall { id: 1 });
    machine.close(1);
    assert_eq!(machine.ask(same, FUEL), Decision::Resume { id: 2 });
    check_next(&mut machine, &[Got::Wait]);
    answer(&mut machine, 10, 2);
    check_next(&mut machine, &[Got::Answer(2, 10), Got::NothingOpen]);
    assert!(matches!(machine.ask(http("b"), FUEL), Decision::Perform { id: 3, .. }));
    machine.close(3);
    machine.close(3);
    check_next(&mut machine, &[Got::NothingOpen]);
}

#[test]
fn another_effect_than_recorded_is_a_divergence() {
    let mut machine = machine();
    let http = |name: &str| Command { act: Act::Http, digest: digest_of_http(name, ""), at: Some("b.rs:2".into()) };
    expect(&mut machine, Command { at: Some("a.rs:1".into()), ..http("a") }, 0);
    let Decision::Diverged(divergence) = machine.ask(http("b"), FUEL) else { panic!("it is another request") };
    let text = divergence.to_string();
    assert!(text.starts_with("step 1: recorded: http after 0 deliveries"), "{text}");
    assert!(text.contains("(a.rs:1); produced: http") && text.ends_with("(b.rs:2)"), "{text}");
}

#[test]
fn a_wait_where_a_command_is_recorded_is_a_divergence() {
    let mut machine = machine();
    expect(&mut machine, named("f"), 0);
    expect(&mut machine, named("g"), 0);
    machine.ask(named("f"), FUEL);
    answer(&mut machine, 10, 1);
    check_next(&mut machine, &[Got::Diverged]);
    let Next::Diverged(divergence) = machine.deliver() else { panic!("it stays one") };
    assert!(divergence.recorded.starts_with("call `g`") && divergence.produced.starts_with("wait"), "{divergence}");
    assert_eq!((divergence.id, divergence.commands), (Some(2), 1));
}

/// A record that cannot be: its command follows a delivery that is not there.
#[test]
fn a_command_after_a_delivery_that_is_not_on_record_is_a_divergence() {
    let mut machine = machine();
    expect(&mut machine, named("f"), 0);
    expect(&mut machine, named("g"), 1);
    machine.ask(named("f"), FUEL);
    check_next(&mut machine, &[Got::Diverged]);
}

fn finished(deliveries: u32, fuel: u64, out_of_fuel: bool, fuel_rule: FuelRule) -> Machine {
    let mut machine = machine();
    machine.expect_end(Fingerprint { commands: 0, deliveries, fuel }, out_of_fuel, fuel_rule);
    machine
}

#[test]
fn an_end_is_compared_with_the_one_on_record() {
    assert!(finished(0, 20, false, FuelRule::Exact).end(20).is_ok());
    assert!(finished(0, 20, false, FuelRule::Loose).end(50).is_ok());
    let divergence = finished(0, 20, false, FuelRule::Exact).end(21).expect_err("it took another way");
    assert!(divergence.recorded.contains("20 fuel") && divergence.produced.contains("21 fuel"), "{divergence}");
    assert!(finished(1, 20, false, FuelRule::Exact).end(20).is_err());
}

#[test]
fn anything_after_the_recorded_end_is_a_divergence() {
    let mut machine = finished(0, 20, false, FuelRule::Exact);
    let Decision::Diverged(divergence) = machine.ask(named("f"), FUEL) else { panic!("the run had ended") };
    assert!(divergence.recorded.starts_with("the end"), "{divergence}");

    let mut machine = self::machine();
    expect(&mut machine, named("f"), 0);
    machine.expect_end(Fingerprint { commands: 1, deliveries: 0, fuel: 20 }, false, FuelRule::Exact);
    machine.ask(named("f"), FUEL);
    check_next(&mut machine, &[Got::Diverged]);
}

#[test]
fn a_guest_may_use_what_is_on_record_and_no_more() {
    let at = |fuel_rule, recorded_fuel, deliveries| {
        let mut machine = machine();
        let proof = Proof { digest: named("f").digest, deliveries, fuel: recorded_fuel };
        machine.expect(named("f"), proof, fuel_rule);
        machine
    };
    assert_eq!(at(FuelRule::Exact, 100, 0).allowance(0), 101);
    assert_eq!(at(FuelRule::Exact, 100, 0).allowance(40), 61);
    assert_eq!(at(FuelRule::Exact, 100, 0).allowance(500), 0);
    assert_eq!(at(FuelRule::Exact, 100, 1).allowance(0), BUDGET, "it still has a delivery before it");
    assert_eq!(at(FuelRule::Loose, 100, 0).allowance(0), 101 * FUEL_FACTOR + FUEL_SLACK);
    assert_eq!(at(FuelRule::Loose, 100, 1).allowance(0), BUDGET * FUEL_FACTOR + FUEL_SLACK);
    // Forged: no record lets a guest compute for ever.
    assert_eq!(at(FuelRule::Exact, u64::MAX, 0).allowance(0), BUDGET);
    assert_eq!(at(FuelRule::Loose, u64::MAX, 0).allowance(0), BUDGET * FUEL_FACTOR + FUEL_SLACK);
    assert_eq!(machine().allowance(0), BUDGET);
    assert_eq!(machine().allowance(BUDGET + 1), 0);
    assert!(at(FuelRule::Exact, 100, 0).ran_past_record().is_some());
    assert!(machine().ran_past_record().is_none());
}

#[test]
fn a_recorded_end_without_fuel_left_is_reached_again() {
    let mut machine = finished(0, BUDGET, true, FuelRule::Exact);
    assert_eq!(machine.allowance(0), BUDGET);
    assert!(machine.ran_past_record().is_none());
    assert!(machine.end(BUDGET).is_ok());

    let other = finished(0, 20, false, FuelRule::Exact);
    assert_eq!(other.allowance(0), 21);
    assert!(other.ran_past_record().is_some());
}

#[test]
fn a_failed_end_may_take_more_computing_than_was_counted_and_a_success_may_not() {
    let recalled = |end| {
        let fingerprint = Some(Fingerprint { commands: 0, deliveries: 0, fuel: 20 });
        let kind = Kind::Finished(crate::Finished { end, fingerprint, unread: Vec::new() });
        let mut machine = machine();
        machine.recall(&journal([kind])[0], FuelRule::Exact);
        machine
    };
    let mut failed = recalled(End::Failed(Failure::new(code::TRAP, "unreachable").to_value()));
    assert_eq!(failed.allowance(0), BUDGET);
    assert!(failed.ran_past_record().is_none());
    assert!(failed.end(20).is_ok());
    assert!(failed.end(21).is_err(), "what is counted is still compared");
    let succeeded = recalled(End::Succeeded(crate::Value::null()));
    assert_eq!(succeeded.allowance(0), 21);
    assert!(succeeded.ran_past_record().is_some());
}

#[test]
fn a_new_engine_that_counts_more_has_as_much_left_as_the_old_one() {
    let mut machine = machine();
    let proof = Proof { digest: named("f").digest, deliveries: 0, fuel: 900 };
    machine.expect(named("f"), proof, FuelRule::Loose);
    assert_eq!(machine.ask(named("f"), 2_700), Decision::Resume { id: 1 });
    assert_eq!(machine.allowance(2_700), 100);
    answer(&mut machine, 10, 1);
    check_next(&mut machine, &[Got::Answer(1, 10)]);
    assert_eq!(machine.allowance(0), BUDGET, "a delivery begins a new count");
}

#[test]
fn ids_never_wrap() {
    let mut machine = machine();
    machine.ids = u32::MAX;
    machine.deliveries = u32::MAX;
    machine.ask(named("f"), FUEL);
    answer(&mut machine, 10, u32::MAX);
    check_next(&mut machine, &[Got::Answer(u32::MAX, 10), Got::NothingOpen]);
}

#[test]
fn an_end_imposed_from_outside_is_nothing_to_compare() {
    let mut machine = machine();
    let kind = Kind::Finished(crate::Finished {
        end: End::Terminated { reason: "by hand".into() },
        fingerprint: None,
        unread: Vec::new(),
    });
    machine.recall(&journal([kind])[0], FuelRule::Exact);
    assert!(matches!(machine.ask(named("f"), FUEL), Decision::Perform { .. }));
}

fn patch(id: &str) -> Command {
    Command { act: Act::Patched { patch: id.into() }, digest: digest_of_patched(id), at: None }
}

fn expect_loosely(machine: &mut Machine, command: Command, deliveries: u32) {
    let proof = Proof { digest: command.digest, deliveries, fuel: FUEL };
    machine.expect(command, proof, FuelRule::Loose);
}

#[test]
fn a_patch_is_there_where_the_run_comes_for_the_first_time_and_is_recorded_once() {
    let mut machine = machine();
    assert!(matches!(machine.patched(patch("a"), FUEL), PatchDecision::Record(_)));
    assert_eq!(machine.patched(patch("a"), FUEL), PatchDecision::Known(true));
    assert!(matches!(machine.patched(patch("b"), FUEL), PatchDecision::Record(_)));
    assert_eq!(machine.commands(), 2);
}

#[test]
fn a_patch_on_record_is_there_again() {
    let mut machine = machine();
    expect(&mut machine, patch("a"), 0);
    expect(&mut machine, named("f"), 0);
    assert_eq!(machine.patched(patch("a"), FUEL), PatchDecision::Known(true));
    assert_eq!(machine.ask(named("f"), FUEL), Decision::Resume { id: 1 });
    assert!(machine.has_caught_up());
}

#[test]
fn a_patch_is_not_there_where_older_code_passed_and_stays_so_for_the_whole_run() {
    let mut machine = machine();
    expect_loosely(&mut machine, named("f"), 0);
    assert_eq!(machine.patched(patch("a"), FUEL), PatchDecision::Known(false));
    assert_eq!(machine.ask(named("f"), FUEL), Decision::Resume { id: 1 });
    // Live by now: but the first answer counts. Another patch comes to its place for the first time.
    assert_eq!(machine.patched(patch("a"), FUEL), PatchDecision::Known(false));
    assert!(matches!(machine.patched(patch("b"), FUEL), PatchDecision::Record(_)));
}

#[test]
fn a_patch_is_not_there_in_a_finished_run_that_never_asked() {
    let mut machine = machine();
    machine.expect_end(Fingerprint { commands: 0, deliveries: 0, fuel: FUEL }, false, FuelRule::Loose);
    assert_eq!(machine.patched(patch("a"), FUEL), PatchDecision::Known(false));
    assert!(machine.end(FUEL).is_ok());
}

#[test]
fn code_that_does_not_ask_any_more_is_as_if_it_had_the_patch() {
    let mut machine = machine();
    expect_loosely(&mut machine, patch("a"), 0);
    expect_loosely(&mut machine, named("f"), 0);
    expect_loosely(&mut machine, patch("b"), 0);
    assert_eq!(machine.ask(named("f"), FUEL), Decision::Resume { id: 1 });
    assert_eq!(machine.deliver(), Next::Wait);
    assert!(machine.has_caught_up());
    assert_eq!(machine.commands(), 3, "as many as on record");
    assert_eq!(machine.patched(patch("b"), FUEL), PatchDecision::Known(true));
}

#[test]
fn the_same_code_has_to_ask_again_about_a_patch_on_record() {
    let mut machine = machine();
    expect(&mut machine, patch("a"), 0);
    assert!(matches!(machine.ask(named("f"), FUEL), Decision::Diverged(_)));
}

#[test]
fn a_run_asks_about_so_many_patches_only() {
    let mut machine = machine();
    for number in 0..PATCHES_MAX {
        assert!(matches!(machine.patched(patch(&number.to_string()), FUEL), PatchDecision::Record(_)));
    }
    assert_eq!(machine.patched(patch("another"), FUEL), PatchDecision::TooMany);
    assert_eq!(machine.patched(patch("0"), FUEL), PatchDecision::Known(true));
}

fn publish(key: &str, value: &str) -> Command {
    Command { act: Act::Publish { key: key.into() }, digest: digest_of_publish(key, value), at: None }
}

fn accept(update: &str) -> Command {
    Command { act: Act::AcceptUpdate { update: update.into() }, digest: digest_of_accept_update(update, ""), at: None }
}

fn reply(id: u32, answer: Result<&str, &str>) -> Command {
    Command { act: Act::Reply { id }, digest: digest_of_reply(id, answer), at: None }
}

fn update(message: u128, name: &str) -> (Topic, Letter) {
    let (position, time) = (Position(100 + message as u64), Timestamp(0));
    let letter = Letter { message: MessageId(message), position, time, body: Value::inline(message.to_string()) };
    (Topic::Update(name.into()), letter)
}

#[test]
fn what_is_published_is_a_command_that_takes_no_id() {
    let mut machine = machine();
    expect(&mut machine, publish("place", "1"), 0);
    assert_eq!(machine.publish(publish("place", "1"), FUEL), Decision::Recall { id: 0 });
    assert!(machine.has_caught_up());
    assert!(matches!(machine.publish(publish("place", "2"), FUEL), Decision::Perform { id: 0, .. }));
    assert!(matches!(machine.ask(named("f"), FUEL), Decision::Perform { id: 1, .. }));
    assert_eq!((machine.commands(), machine.operations()), (3, 3));
}

#[test]
fn another_value_or_another_key_than_the_recorded_one_diverges() {
    for (key, value) in [("place", "2"), ("other", "1")] {
        let mut machine = machine();
        expect(&mut machine, publish("place", "1"), 0);
        assert!(matches!(machine.publish(publish(key, value), FUEL), Decision::Diverged(_)));
    }
}

#[test]
fn a_run_publishes_under_so_many_keys_only_and_under_each_again() {
    let mut machine = machine();
    for number in 0..PUBLISHED_KEYS_MAX {
        assert!(machine.may_publish(&number.to_string()));
        assert!(matches!(machine.publish(publish(&number.to_string(), "1"), FUEL), Decision::Perform { .. }));
    }
    assert!(!machine.may_publish("another"));
    assert!(machine.may_publish("0"));
}

#[test]
fn an_update_is_answered_once_by_the_id_that_took_it() {
    let mut machine = machine();
    let (topic, letter) = update(7, "move");
    machine.mail_arrived(topic, letter);
    assert!(matches!(machine.ask(accept("move"), FUEL), Decision::Perform { id: 1, .. }));
    assert_eq!(machine.reply(1, reply(1, Ok("1")), FUEL), Decision::Ignore, "it was not delivered yet");
    let outcome = Outcome::Succeeded(Value::inline("7"));
    assert_eq!(machine.deliver(), Next::Deliver(Completion::Answer { id: 1, outcome }));
    assert_eq!(machine.update_of(1), Some(MessageId(7)));
    assert_eq!(machine.reply(2, reply(2, Ok("1")), FUEL), Decision::Ignore, "of no update");
    assert!(matches!(machine.reply(1, reply(1, Err("{}")), FUEL), Decision::Perform { id: 1, .. }));
    assert_eq!(machine.reply(1, reply(1, Ok("1")), FUEL), Decision::Ignore, "it has its answer");
    assert_eq!(machine.update_of(1), None);
}

#[test]
fn an_update_that_has_its_answer_is_not_taken_along_whoever_says_that_it_came_to_nothing() {
    let mut machine = machine();
    for (message, name) in [(7, "move"), (8, "move")] {
        let (topic, letter) = update(message, name);
        machine.mail_arrived(topic, letter);
    }
    for id in [1, 2] {
        assert!(matches!(machine.ask(accept("move"), FUEL), Decision::Perform { .. }), "{id}");
        assert!(matches!(machine.deliver(), Next::Deliver(_)), "{id}");
    }
    assert!(matches!(machine.reply(1, reply(1, Ok("1")), FUEL), Decision::Perform { .. }));
    assert_eq!(machine.mail_left(&[1, 2]), [Position(108)]);
    assert_eq!(machine.mail_left(&[]), [Position(108)], "it has no answer");
}

#[test]
fn an_answer_on_record_has_to_be_given_again() {
    for (answer, agrees) in [(Ok("1"), true), (Ok("2"), false), (Err("1"), false)] {
        let mut machine = machine();
        expect(&mut machine, accept("move"), 0);
        let (topic, letter) = update(7, "move");
        machine.mail_arrived(topic, letter);
        expect(&mut machine, reply(1, Ok("1")), 1);
        assert_eq!(machine.ask(accept("move"), FUEL), Decision::Resume { id: 1 });
        assert!(matches!(machine.deliver(), Next::Deliver(_)));
        let decision = machine.reply(1, reply(1, answer), FUEL);
        assert_eq!(decision == Decision::Recall { id: 1 }, agrees, "{answer:?}");
    }
}

#[test]
fn an_update_is_not_a_signal_of_its_name() {
    let mut machine = machine();
    let (topic, letter) = update(7, "move");
    machine.mail_arrived(topic, letter);
    let receive = Command { act: Act::Receive { signal: "move".into() }, digest: Digest::of(b"receive"), at: None };
    assert!(matches!(machine.ask(receive, FUEL), Decision::Perform { id: 1, .. }));
    assert!(machine.would_wait());
}

#[test]
fn a_span_has_an_id_and_is_never_open() {
    let begin = || Command {
        act: Act::Begin { kind: SpanKind::Tool, name: "search".into() },
        digest: digest_of_begin("tool", "search", "1", ""),
        at: None,
    };
    let end = |id| Command { act: Act::End { id }, digest: digest_of_end(id, Ok("2")), at: None };
    let mut live = machine();
    let Decision::Perform { id: 1, proof: begun } = live.begin_span(begin(), FUEL) else { panic!("it is new") };
    assert!(live.is_span(1) && !live.is_open(1));
    check_next(&mut live, &[Got::NothingOpen]);
    assert!(matches!(live.ask(named("a"), FUEL), Decision::Perform { id: 2, .. }), "ids are shared");
    assert_eq!(live.end_span(2, end(2), FUEL), Decision::Ignore, "no span");
    let Decision::Perform { id: 1, proof: ended } = live.end_span(1, end(1), FUEL) else { panic!("it is new") };
    assert_eq!(live.end_span(1, end(1), FUEL), Decision::Ignore, "it has ended");
    assert_eq!((live.commands(), live.operations()), (3, 3));

    let mut again = machine();
    again.expect(begin(), begun, FuelRule::Exact);
    expect(&mut again, named("a"), 0);
    again.expect(end(1), ended, FuelRule::Exact);
    assert_eq!(again.begin_span(begin(), FUEL), Decision::Recall { id: 1 });
    assert_eq!(again.ask(named("a"), FUEL), Decision::Resume { id: 2 });
    let other = Command { digest: digest_of_end(1, Err("2")), ..end(1) };
    assert!(matches!(again.end_span(1, other, FUEL), Decision::Diverged(_)));
}
