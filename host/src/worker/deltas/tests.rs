use super::*;
use trackway_replay::{RunId, TenantId};

const ALL: (Position, Position) = (Position::FIRST, Position(u64::MAX));

fn run(id: u128) -> RunKey {
    RunKey { tenant: TenantId::DEFAULT, run: RunId(id) }
}

fn delta(number: u32, cause: u64, size_bytes: usize) -> Delta {
    let data = "x".repeat(size_bytes).into();
    Delta { step: StepId(1), attempt: 1, number, cause: Position(cause), name: "token".into(), data }
}

fn numbers(after: &After) -> Vec<u32> {
    after.deltas.iter().map(|(_, delta)| delta.number).collect()
}

#[test]
fn a_reader_gets_what_came_after_its_place_and_no_more_than_may_be_seen() {
    let deltas = Deltas::default();
    for number in 1..=6 {
        deltas.tell(run(1), delta(number, u64::from(number), 1));
        deltas.tell(run(2), delta(number, 0, 1));
    }
    let after = deltas.after(run(1), 0, (Position(2), Position(4)), 10);
    assert_eq!((numbers(&after), after.is_missing), (vec![2, 3, 4], false));
    let place = after.deltas[1].0;
    assert_eq!(numbers(&deltas.after(run(1), place, ALL, 2)), [4, 5]);
    assert_eq!(deltas.after(run(3), 0, ALL, 10), After::default());
}

#[test]
fn of_a_run_that_tells_much_the_last_is_held_and_a_slow_reader_is_told() {
    let deltas = Deltas::default();
    for number in 1..=1_000 {
        deltas.tell(run(1), delta(number, 0, 4 << 10));
    }
    let slow = deltas.after(run(1), 5, ALL, 1);
    assert!(slow.is_missing && numbers(&slow)[0] > 700, "{:?}", numbers(&slow));
    let quick = deltas.after(run(1), 999, ALL, 10);
    assert_eq!((numbers(&quick), quick.is_missing), (vec![1_000], false));
    assert!(deltas.lock().size_bytes <= RUN_MAX_BYTES);
}

#[test]
fn all_runs_together_hold_no_more_than_the_limit_and_the_silent_ones_go_first() {
    let deltas = Deltas::default();
    let many = (ALL_MAX_BYTES / (16 << 10)) as u128 + 100;
    for id in 0..many {
        deltas.tell(run(id), delta(1, 0, 16 << 10));
        deltas.tell(run(0), delta(id as u32 + 2, 0, 1));
    }
    let hub = deltas.lock();
    assert!(hub.size_bytes <= ALL_MAX_BYTES, "{}", hub.size_bytes);
    assert_eq!(hub.order.len(), hub.runs.len());
    assert_eq!(hub.size_bytes, hub.runs.values().map(|told| told.size_bytes).sum::<usize>());
    assert!(hub.runs.contains_key(&run(0)) && !hub.runs.contains_key(&run(1)) && hub.runs.contains_key(&run(many - 1)));
    drop(hub);
    deltas.tell(run(1), delta(2, 0, 1));
    assert!(deltas.after(run(1), 1, ALL, 9).is_missing, "its first one is gone");
}

#[test]
fn what_belongs_to_a_lost_history_is_not_shown() {
    let deltas = Deltas::default();
    for number in 1..=4 {
        deltas.tell(run(1), delta(number, u64::from(number), 1));
    }
    deltas.cut(run(1), Position(2));
    assert_eq!(numbers(&deltas.after(run(1), 0, ALL, 9)), [1, 2]);
    let hub = deltas.lock();
    assert_eq!(hub.size_bytes, hub.runs[&run(1)].size_bytes);
}

#[tokio::test]
async fn whoever_watches_is_woken_and_leaves_nothing_behind() {
    let deltas = Arc::new(Deltas::default());
    let (watch, other) = (deltas.watch(run(1)), deltas.watch(run(1)));
    let news = watch.news();
    deltas.tell(run(1), delta(1, 0, 1));
    news.await;
    drop((watch, other));
    assert!(deltas.lock().watched.is_empty());
}
