//! Signals: whoever sends one is told when it stands, and the workflow gets each once, in order,
//! whatever happens in between.

use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Digest, Kind, Status, Value, Waiting};
use trackway_storage::{Faults, InboxBody, MemoryStorage, RunKey, Sent, Storage};

use crate::rig::{Rig, in_virtual_time};

async fn started(workflow: &str, input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("signals").await;
    let run = rig.start("signals", workflow, input).await;
    (rig, run)
}

async fn waits_for_a_signal(rig: &Rig, run: RunKey) {
    rig.until(run, |head| (head.status, head.waiting) == (Status::Waiting, Some(Waiting::Signal))).await;
}

#[test]
fn signals_are_taken_once_and_in_the_order_in_which_they_came() {
    in_virtual_time(async {
        let (rig, run) = started("collects", "4").await;
        waits_for_a_signal(&rig, run).await;
        for number in 1..=4_u32 {
            assert_eq!(rig.signal(run, number.into(), "other", "0").await, Sent::Delivered);
            let message = 100 + u128::from(number);
            assert_eq!(rig.signal(run, message, "number", &number.to_string()).await, Sent::Delivered);
            // The same message again, also when it was read long ago.
            assert_eq!(rig.signal(run, message, "number", &number.to_string()).await, Sent::Delivered);
            assert_eq!(rig.signal(run, message, "number", "77").await, Sent::Differs, "another one under that id");
            tokio::time::sleep(Duration::from_millis(u64::from(number % 2) * 10)).await;
        }
        assert_eq!(rig.output(run).await, "[1,2,3,4]");
        rig.replays(run).await;
    });
}

#[test]
fn a_signal_that_came_before_it_was_wanted_counts() {
    in_virtual_time(async {
        let (rig, run) = started("is_late", "null").await;
        assert_eq!(rig.signal(run, 1, "go", "\"early\"").await, Sent::Delivered);
        assert_eq!(rig.output(run).await, "\"early\"");
        rig.replays(run).await;
    });
}

#[test]
fn a_run_that_waits_for_a_signal_is_evicted_and_woken_by_it() {
    in_virtual_time(async {
        let (rig, run) = started("collects", "2").await;
        waits_for_a_signal(&rig, run).await;
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(rig.signal(run, 1, "number", "1").await, Sent::Delivered);
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        waits_for_a_signal(&rig, run).await;
        let rig = rig.crash().await;
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        waits_for_a_signal(&rig, run).await;
        assert_eq!(rig.signal(run, 2, "number", "2").await, Sent::Delivered);
        assert_eq!(rig.output(run).await, "[1,2]");
        rig.replays(run).await;
    });
}

#[test]
fn what_is_given_up_takes_no_signal_and_loses_none() {
    in_virtual_time(async {
        // Before the workflow gives up, while it does, and after.
        for delays in [[0, 0, 0], [10, 59_999, 60_000], [60_000, 60_000, 60_001], [70_000, 80_000, 90_000]] {
            let (rig, run) = started("gives_up", "null").await;
            let begun = tokio::time::Instant::now();
            for (number, delay) in delays.iter().enumerate() {
                tokio::time::sleep_until(begun + Duration::from_millis(*delay)).await;
                rig.signal(run, number as u128, "number", &(number + 1).to_string()).await;
            }
            // What came while it waited is the first one's; what the second one had is the third one's.
            let output: Vec<u32> = serde_json::from_str(&rig.output(run).await).expect("numbers");
            let expected = if output[0] == 0 { [0, 1, 2] } else { [1_001, 2, 3] };
            assert_eq!(output, expected, "sent at {delays:?}");
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_signal_races_a_timer_and_neither_is_lost() {
    in_virtual_time(async {
        let (rig, run) = started("order", "10").await;
        tokio::time::sleep(Duration::from_secs(150)).await;
        assert_eq!(rig.signal(run, 1, "paid", r#"{"amount": 4}"#).await, Sent::Delivered);
        waits_for_a_signal(&rig, run).await;
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(rig.signal(run, 2, "paid", r#"{"amount": 6}"#).await, Sent::Delivered);
        assert_eq!(rig.output(run).await, "\"paid after 3 reminders\"");
        rig.replays(run).await;
    });
}

#[test]
fn a_signal_just_before_a_deadline_counts_though_nobody_was_there() {
    in_virtual_time(async {
        let (rig, run) = started("order", "10").await;
        waits_for_a_signal(&rig, run).await;
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert_eq!(rig.signal(run, 1, "called-off", "null").await, Sent::Delivered);
        // The process dies before it reads its inbox, and is gone for long.
        let rig = rig.crash_for(Duration::from_secs(3_600)).await;
        assert_eq!(rig.output(run).await, "\"called off with 10 missing\"");
        rig.replays(run).await;
    });
}

#[test]
fn an_ended_run_takes_no_signal_and_one_that_raced_the_end_is_named() {
    in_virtual_time(async {
        for seed in 0..20 {
            let delay_max = Duration::from_millis(20);
            let storage = MemoryStorage::with_faults(seed, Faults { delay_max, ..Faults::default() });
            let rig = Rig::on(Arc::new(storage), Arc::default(), Duration::from_secs(3)).await;
            rig.deploy("signals").await;
            let run = rig.start("signals", "ends", "5").await;
            let mut acknowledged = 0;
            loop {
                match rig.signal(run, acknowledged, "late", "1").await {
                    Sent::Delivered => acknowledged += 1,
                    refused => {
                        assert_eq!(refused, Sent::Ended(Status::Succeeded));
                        break;
                    }
                }
            }
            let told = |kind: &Kind| match kind {
                Kind::Signalled(_) => 1,
                Kind::Finished(finished) => finished.unread.len(),
                _ => 0,
            };
            let on_record: usize = rig.entries(run).await.iter().map(|entry| told(&entry.kind)).sum();
            assert_eq!(on_record as u128, acknowledged, "seed {seed}");
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_large_payload_arrives_whole() {
    in_virtual_time(async {
        let (rig, run) = started("measures", "null").await;
        let text = format!("\"{}\"", "x".repeat(1 << 20));
        let (digest, size_bytes) = (Digest::of(text.as_bytes()), text.len() as u64);
        rig.storage.put_payload(run, digest, text.into()).await.expect("stored");
        let payload = Value::Stored { digest, size_bytes };
        let body = InboxBody::Signal { name: "text".into(), payload, from: None };
        assert_eq!(rig.send_as(run, 1, body).await, Sent::Delivered);
        assert_eq!(rig.output(run).await, (1 << 20).to_string());
        rig.replays(run).await;
    });
}

#[test]
fn a_signal_to_a_stuck_run_is_kept_and_a_cancel_after_it_ends_the_run() {
    in_virtual_time(async {
        let (rig, run) = started("collects", "2").await;
        waits_for_a_signal(&rig, run).await;
        let rig = rig.crash_after_recalls(run, 4).await;
        assert_eq!(rig.signal(run, 1, "number", "1").await, Sent::Delivered);
        rig.until(run, |head| head.status == Status::Stuck).await;
        assert_eq!(rig.signal(run, 2, "number", "2").await, Sent::Delivered);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(rig.head(run).await.status, Status::Stuck);
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        assert_eq!(rig.until(run, |head| head.status.has_ended()).await.status, Status::Cancelled);
        let entries = rig.entries(run).await;
        let Some(Kind::Finished(finished)) = entries.last().map(|entry| &entry.kind) else { panic!("no end") };
        assert_eq!(finished.unread.len(), 2, "nothing is lost without a trace");
    });
}

/// The same signals at the same moments, with a crash after each entry of the run in between.
#[test]
fn a_crash_after_any_entry_changes_nothing() {
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
    let cases: [Case; 3] = [
        ("collects", "3", &[("number", "1"), ("number", "2"), ("number", "3")]),
        ("order", "10", &[("paid", r#"{"amount": 4}"#), ("paid", r#"{"amount": 6}"#)]),
        ("gives_up", "null", &[("number", "1"), ("number", "2"), ("number", "3")]),
    ];
    for (workflow, input, signals) in cases {
        in_virtual_time(async {
            let (whole, run) = started(workflow, input).await;
            for (nth, (name, payload)) in signals.iter().enumerate() {
                tokio::time::sleep(Duration::from_millis(100)).await;
                whole.signal(run, nth as u128, name, payload).await;
            }
            let output = whole.output(run).await;
            let journal = whole.entries(run).await;
            for kept in 1..journal.len() {
                let rig = whole.cut(run, kept).await;
                // Whoever sent them sends them again: what was read is known by its message.
                let read = |message: usize| {
                    journal[..kept].iter().any(|entry| matches!(&entry.kind, Kind::Signalled(signalled) if signalled.message.0 == message as u128))
                };
                for (nth, (name, payload)) in signals.iter().enumerate() {
                    if nth % 2 == 0 || !read(nth) {
                        rig.signal(run, nth as u128, name, payload).await;
                    }
                }
                assert_eq!(rig.output(run).await, output, "{workflow} cut after {kept}");
                assert_eq!(rig.entries(run).await[..kept], journal[..kept], "what stood was changed");
                rig.replays(run).await;
            }
        });
    }
}
