use super::*;

fn restored(total: Used, runs_open: u64, journal_bytes: u64, payload_bytes: u64) -> Used {
    let mut usage = Usage { runs_open, journal_bytes, payload_bytes, ..Usage::default() };
    usage.total(&total.encode());
    usage.sum()
}

#[test]
fn sums_that_fit_the_runs_stay_as_they_are() {
    let total = Used {
        fuel: 7,
        runs_started: 5,
        runs_ended: 3,
        journal_bytes: 100,
        journal_bytes_removed: 40,
        payload_bytes: 9,
        ..Used::default()
    };
    assert_eq!(restored(total, 2, 60, 9), total);
}

#[test]
fn what_is_open_and_stored_is_what_was_restored_whatever_the_sums_say() {
    let total =
        Used { fuel: 7, runs_started: 5, runs_ended: 5, journal_bytes: 100, payload_bytes: 9, ..Used::default() };
    for (open, journal, payload) in [(0, 0, 0), (1, 80, 3), (9, 500, 70)] {
        for total in [total, Used::default()] {
            let sum = restored(total, open, journal, payload);
            assert_eq!(sum.runs_open(), open);
            assert_eq!((sum.journal_bytes_stored(), sum.payload_bytes_stored()), (journal, payload));
            assert_eq!(sum.fuel, total.fuel);
        }
    }
}

#[test]
fn sums_that_cannot_be_read_count_anew() {
    let mut usage = Usage { runs_open: 1, ..Usage::default() };
    usage.total(b"\xff");
    assert_eq!(usage.sum(), Used { runs_started: 1, ..Used::default() });
}
