use crate::testing::*;
use crate::{
    Asked, Cut, Day, Digest, EffectRequest, End, Entry, Forked, Kind, Meter, Position, Proof, RunId, StepId,
    StepRequest, Timestamp, Used, Value,
};

fn used(entries: &[Entry]) -> Used {
    let (mut meter, mut sum) = (Meter::default(), Used::default());
    entries.iter().for_each(|entry| sum.add(&meter.count(entry)));
    sum
}

fn asked_after(step: u32, deliveries: u32, fuel: u64) -> Kind {
    let proof = Proof { digest: Digest([7; 32]), deliveries, fuel };
    let request = StepRequest::Sleep { duration_ms: 1, options: "".into() };
    Kind::Asked(Asked { step: StepId(step), request, proof, now: Timestamp::default(), at: None })
}

#[test]
fn fuel_counts_once_for_each_turn_however_many_commands_it_has() {
    let turns = [asked_after(1, 0, 10), asked_after(2, 0, 25), answered(1), asked_after(3, 1, 7), asked_after(4, 1, 7)];
    let sum = used(&journal([started(), claimed()].into_iter().chain(turns)));
    assert_eq!((sum.fuel, sum.steps, sum.runs_started, sum.runs_ended), (32, 4, 1, 0));
}

#[test]
fn what_is_counted_in_two_parts_is_what_is_counted_at_once() {
    let kinds =
        [started(), claimed(), asked_after(1, 0, 10), attempt(1, 1), answered(1), asked_after(2, 1, 5), succeeded()];
    let entries = journal(kinds);
    for cut in 0..=entries.len() {
        let mut meter = Meter::default();
        let mut sum = Used::default();
        entries[..cut].iter().for_each(|entry| sum.add(&meter.count(entry)));
        // After a crash the first part is only read, so that it is known where the guest was.
        let mut again = Meter::default();
        entries[..cut].iter().for_each(|entry| _ = again.count(entry));
        entries[cut..].iter().for_each(|entry| sum.add(&again.count(entry)));
        assert_eq!(sum, used(&entries), "cut at {cut}");
    }
}

#[test]
fn copies_of_a_fork_were_used_by_the_run_that_they_come_from() {
    let forked = Forked {
        from: RunId(9),
        step: StepId(2),
        entries: 2,
        at: Timestamp::default(),
        cuts: vec![Cut { commands: 1, seed: [0; 32] }],
    };
    let kinds = [started(), Kind::Forked(Box::new(forked)), asked_after(1, 0, 1_000), answered(1), claimed()];
    let sum = used(&journal(kinds.into_iter().chain([asked_after(2, 1, 3)])));
    assert_eq!((sum.fuel, sum.steps, sum.runs_started), (3, 1, 1));
}

#[test]
fn a_request_counts_with_what_is_sent_and_what_comes_back() {
    let http = |step| {
        let Kind::EffectAsked(asked) = asks_person(step, 1, 1, 5) else { panic!("an effect") };
        let request = EffectRequest::Http { request: Value::inline("12345"), options: "".into() };
        Kind::EffectAsked(crate::EffectAsked { request, ..asked })
    };
    let sum = used(&journal([started(), claimed(), call(1), attempt(1, 1), http(1)]));
    assert_eq!((sum.egress_requests, sum.egress_bytes, sum.attempts), (1, 5, 1));
    let ended = used(&journal([started(), claimed(), finished(End::Terminated { reason: "r".into() })]));
    assert_eq!((ended.runs_started, ended.runs_ended, ended.runs_open()), (1, 1, 0));
}

#[test]
fn sums_are_read_as_they_were_written_and_older_ones_lack_what_came_later() {
    let sum = Used { fuel: u64::MAX, model_cost_nanousd: 7, ..Used::default() };
    assert_eq!(Used::decode(&sum.encode()), Some(sum));
    // A list of one number: 5.
    assert_eq!(Used::decode(&[1, 5]), Some(Used { fuel: 5, ..Used::default() }));
    assert_eq!(Used::decode(&[9]), None);
}

#[test]
fn a_day_ends_at_midnight() {
    let day = Day(20_000);
    assert_eq!(Day::of(day.begin()), day);
    assert_eq!(Day::of(Timestamp(day.next().begin().0 - 1)), day);
    assert_eq!(Position::FIRST, Position(0));
}

#[test]
fn what_was_noted_counts_beside_the_proofs() {
    let kinds = [
        started(),
        claimed(),
        asked_after(1, 0, 10),
        fuel_used(None, 500),
        attempt(1, 1),
        fuel_used(Some((1, 1)), 7_000),
        answered(1),
        asked_after(2, 1, 5),
    ];
    assert_eq!(used(&journal(kinds)).fuel, 10 + 500 + 7_000 + 5);
}
