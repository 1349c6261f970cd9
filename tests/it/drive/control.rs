//! What people do to a run: they hold it, let it go on, and start it anew from one of its steps.

use std::sync::Arc;
use std::time::Duration;
use trackway::Code;
use trackway::worker::{Options, Removal};
use trackway_replay::{Entry, Forked, Kind, Status, StepId};
use trackway_storage::{Faults, InboxBody, MemoryStorage, Removed, RunKey, Sent};

use crate::rig::{Rig, TENANT, in_virtual_time};

const POSTS: &str = r#"{"url": "http://world.test", "steps": 3, "requests": 2, "pause_ms": 50}"#;

async fn pause(rig: &Rig, run: RunKey) {
    assert_eq!(rig.send(run, InboxBody::Pause { reason: "look".into() }).await, Sent::Delivered);
}

async fn resume(rig: &Rig, run: RunKey) {
    assert_eq!(rig.send(run, InboxBody::Resume).await, Sent::Delivered);
}

async fn fork(rig: &Rig, run: RunKey, step: u32) -> RunKey {
    let answer = rig.worker().fork(run, StepId(step), None).await.expect("it can be restarted from there");
    RunKey { tenant: TENANT, run: answer.run }
}

fn count(kinds: &[String], name: &str) -> usize {
    kinds.iter().filter(|kind| kind.starts_with(name)).count()
}

#[test]
fn a_held_run_does_nothing_when_its_timer_is_due_and_goes_on_when_it_is_resumed() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let run = rig.start("sleeper", "naps", "[5000, 5000]").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        pause(&rig, run).await;
        let head = rig.until(run, |head| head.status == Status::Paused).await;
        assert_eq!((head.waiting, head.due), (None, None));
        let held = rig.entries(run).await.len();
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(rig.entries(run).await.len(), held);
        resume(&rig, run).await;
        assert_eq!(rig.output(run).await, "2");
        let entries = rig.entries(run).await;
        let took = entries[entries.len() - 1].time.since(entries[0].time);
        assert!((3_605..3_607).contains(&took.as_secs()), "the first nap was over, the second was not: {took:?}");
        rig.replays(run).await;
    });
}

#[test]
fn what_is_under_way_when_a_run_is_held_comes_to_its_end_and_nothing_else_begins() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        rig.world.take(Duration::from_secs(2));
        let run = rig.start("effects", "posts", POSTS).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        pause(&rig, run).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let kinds = rig.kinds(run).await;
        assert_eq!((count(&kinds, "Answered"), count(&kinds, "Asked")), (1, 1), "{kinds:?}");
        assert_eq!(rig.world.asked().len(), 2);
        assert_eq!(rig.head(run).await.status, Status::Paused);
        let rig = rig.crash().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.head(run).await.status, Status::Paused);
        assert_eq!(rig.world.asked().len(), 2);
        resume(&rig, run).await;
        rig.output(run).await;
        assert_eq!(rig.world.asked().len(), 6);
        rig.replays(run).await;
    });
}

#[test]
fn an_attempt_that_a_crash_cut_off_is_not_taken_up_while_its_run_is_held() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        rig.world.be_silent(true);
        let run = rig.start("effects", "posts", POSTS).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        pause(&rig, run).await;
        rig.until(run, |head| head.status == Status::Paused).await;
        let rig = rig.crash().await;
        rig.world.forget();
        rig.world.be_silent(false);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((rig.head(run).await.status, rig.world.asked().len()), (Status::Paused, 0));
        resume(&rig, run).await;
        rig.output(run).await;
        rig.replays(run).await;
    });
}

#[test]
fn no_attempt_follows_a_failed_one_while_its_run_is_held() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        rig.world.take(Duration::from_secs(1));
        rig.world.script("/step/0/0", &[500]);
        let run = rig.start("effects", "posts", POSTS).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        pause(&rig, run).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        let kinds = rig.kinds(run).await;
        assert_eq!((count(&kinds, "Failed"), count(&kinds, "AttemptStarted")), (1, 1), "{kinds:?}");
        resume(&rig, run).await;
        rig.output(run).await;
        rig.replays(run).await;
    });
}

#[test]
fn a_held_run_that_is_cancelled_may_clean_up() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("cancelled").await;
        let run = rig.start("cancelled", "cleans_up", "null").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        pause(&rig, run).await;
        rig.until(run, |head| head.status == Status::Paused).await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        assert!(rig.kinds(run).await.contains(&"Answered 2".to_owned()), "the clean-up step ran");
        rig.replays(run).await;
    });
}

#[test]
fn a_held_run_can_be_terminated() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let run = rig.start("sleeper", "sleeps", "5000").await;
        pause(&rig, run).await;
        rig.until(run, |head| head.status == Status::Paused).await;
        assert_eq!(rig.terminate(run).await, Sent::Delivered);
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        rig.replays(run).await;
    });
}

/// A run that computes on another thread at that moment stops at its next call.
#[test]
fn a_run_that_never_waits_is_held_too() {
    in_virtual_time(async {
        let storage = std::sync::Arc::new(trackway_storage::MemoryStorage::new());
        let rig = Rig::with_lane(storage).await;
        rig.deploy("limits").await;
        let run = rig.start("limits", "never_waits", "null").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        pause(&rig, run).await;
        rig.until(run, |head| head.status == Status::Paused).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let held = rig.entries(run).await.len();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.entries(run).await.len(), held);
        assert_eq!(rig.terminate(run).await, Sent::Delivered);
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
    });
}

#[test]
fn a_crash_after_every_entry_of_a_run_that_was_held_twice() {
    in_virtual_time(async {
        let whole = Rig::new().await;
        whole.deploy("effects").await;
        whole.world.take(Duration::from_secs(2));
        let run = whole.start("effects", "posts", POSTS).await;
        for wait in [1, 3] {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            pause(&whole, run).await;
            whole.until(run, |head| head.status == Status::Paused).await;
            tokio::time::sleep(Duration::from_secs(20)).await;
            resume(&whole, run).await;
        }
        let output = whole.output(run).await;
        let journal = whole.entries(run).await;
        for kept in 1..journal.len() {
            let rig = whole.cut(run, kept).await;
            let held = |entry: &&Entry| matches!(entry.kind, Kind::Paused(_) | Kind::Resumed(_));
            let last = journal[..kept].iter().rfind(held);
            if last.is_some_and(|entry| matches!(entry.kind, Kind::Paused(_))) {
                tokio::time::sleep(Duration::from_secs(60)).await;
                assert_eq!(rig.head(run).await.status, Status::Paused, "cut after {kept}");
                assert_eq!(rig.world.asked(), [], "cut after {kept}");
                resume(&rig, run).await;
            }
            assert_eq!(rig.output(run).await, output, "cut after {kept}");
            assert_eq!(rig.entries(run).await[..kept], journal[..kept]);
            rig.replays(run).await;
        }
    });
}

fn forked(entries: &[Entry]) -> &Forked {
    match entries.get(1).map(|entry| &entry.kind) {
        Some(Kind::Forked(forked)) => forked,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_restarted_from_a_step_keeps_every_answer_before_it_and_asks_again_for_the_rest() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        let run = rig.start("effects", "posts", POSTS).await;
        let output = rig.output(run).await;
        let asked = rig.world.asked();
        // Steps 1, 3 and 5 post; 2, 4 and 6 sleep.
        for (step, kept) in [(1, 0), (2, 2), (3, 2), (4, 4), (5, 4), (6, 6)] {
            rig.world.forget();
            let again = fork(&rig, run, step).await;
            assert_eq!(rig.output(again).await, output, "from step {step}");
            let entries = rig.entries(again).await;
            assert_eq!((forked(&entries).from, forked(&entries).step), (run.run, StepId(step)));
            let urls = |contacts: &[crate::rig::Contact]| -> Vec<String> {
                contacts.iter().map(|contact| contact.url.clone()).collect()
            };
            assert_eq!(urls(&rig.world.asked()), urls(&asked[kept..]), "from step {step}");
            // Whoever answers them must not take them for repetitions of the other run's.
            assert!(rig.world.asked().iter().all(|contact| asked.iter().all(|before| before.key != contact.key)));
            assert_ne!(rig.head(again).await.started, rig.head(run).await.started);
            rig.replays(again).await;
        }
        rig.replays(run).await;
    });
}

#[test]
fn what_a_run_draws_is_the_same_before_the_cut_and_new_after_it() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("impure").await;
        let run = rig.start("impure", "allowed", "null").await;
        let output = rig.output(run).await;
        let again = fork(&rig, run, 1).await;
        assert_ne!(rig.output(again).await, output);
        rig.replays(again).await;
        let twice = fork(&rig, again, 1).await;
        assert_ne!(rig.output(twice).await, rig.output(again).await);
        assert_eq!(forked(&rig.entries(twice).await).cuts.len(), 2);
        rig.replays(twice).await;
    });
}

#[test]
fn values_beside_the_journal_are_kept_by_a_restarted_run() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("values").await;
        let run = rig.start("values", "fan", r#"{"bytes": 100000, "steps": 2}"#).await;
        let output = rig.output(run).await;
        let again = fork(&rig, run, 2).await;
        assert_eq!(rig.output(again).await, output);
        rig.replays(again).await;
    });
}

#[test]
fn a_crash_after_every_entry_of_a_restarted_run_leaves_none_half_copied() {
    in_virtual_time(async {
        let whole = Rig::new().await;
        whole.deploy("effects").await;
        let day = Duration::from_secs(86_400);
        let run = whole.start_within(day, "effects", "posts", POSTS).await;
        whole.ended(run).await;
        let again = fork(&whole, run, 5).await;
        let output = whole.output(again).await;
        let journal = whole.entries(again).await;
        let copied = 1 + forked(&journal).entries as usize;
        assert!(copied > 5);
        let Kind::DeadlineSet(deadline) = &journal[2].kind else { panic!("{:?}", journal[2].kind) };
        assert_eq!(deadline.at, forked(&journal).at + day, "as long as the run before");
        for kept in 3..journal.len() {
            let rig = whole.cut_beside(again, kept, &[run]).await;
            assert_eq!(rig.output(again).await, output, "cut after {kept}");
            let there = rig.entries(again).await;
            let least = kept.max(2 + copied);
            let kinds = |entries: &[Entry]| entries.iter().map(|entry| entry.kind.clone()).collect::<Vec<_>>();
            assert_eq!(kinds(&there[..least]), kinds(&journal[..least]), "cut after {kept}");
            assert!(rig.world.asked().len() <= 2, "cut after {kept}: {:?}", rig.world.asked());
            rig.replays(again).await;
        }
    });
}

#[test]
fn a_run_is_not_removed_while_one_that_was_restarted_from_it_copies_what_it_keeps() {
    in_virtual_time(async {
        let faults = Faults { delay_max: Duration::from_millis(5), ..Faults::default() };
        let rig = Rig::on(Arc::new(MemoryStorage::with_faults(3, faults)), Arc::default(), Duration::ZERO).await;
        rig.deploy("effects").await;
        let run = rig.start("effects", "posts", POSTS).await;
        let output = rig.output(run).await;
        let again = fork(&rig, run, 5).await;
        assert_eq!(rig.worker().remove(run).await.expect("asked"), Removal::Needed(again.run));
        let (mut removed, mut refused) = (false, 0);
        while !removed {
            match rig.worker().remove(run).await.expect("asked") {
                Removal::Done(done) => removed = done == Removed::Gone,
                Removal::Needed(fork) => {
                    assert_eq!(fork, again.run);
                    refused += 1;
                }
            }
        }
        assert!(refused > 0);
        assert_eq!(rig.output(again).await, output, "all that it keeps is its own");
        rig.replays(again).await;
        assert!(rig.worker().fork(run, StepId(5), None).await.is_err());
    });
}

#[test]
fn a_run_that_a_restarted_one_needs_is_not_removed_by_a_later_process_either() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        let run = rig.start("effects", "posts", POSTS).await;
        let output = rig.output(run).await;
        // They take no run up.
        let idle = Options { runs_max: 0, ..Options::default() };
        let idle = Rig::with(Arc::new(rig.storage.join(Faults::default())), rig.world.clone(), idle).await;
        let again = fork(&idle, run, 5).await;
        let idle = idle.crash().await;
        assert_eq!(idle.worker().remove(run).await.expect("asked"), Removal::Needed(again.run));
        let rig = Rig::on(Arc::new(idle.storage.join(Faults::default())), rig.world.clone(), Duration::ZERO).await;
        assert_eq!(rig.output(again).await, output);
        assert_eq!(rig.worker().remove(run).await.expect("asked"), Removal::Done(Removed::Gone));
    });
}

#[test]
fn a_run_whose_source_is_gone_says_so_and_can_be_ended() {
    in_virtual_time(async {
        let whole = Rig::new().await;
        whole.deploy("effects").await;
        let run = whole.start("effects", "posts", POSTS).await;
        whole.ended(run).await;
        let again = fork(&whole, run, 5).await;
        whole.ended(again).await;
        // A backup may hold the one and not the other.
        let rig = whole.cut(again, 2).await;
        let head = rig.until(again, |head| head.status == Status::Stuck).await;
        assert_eq!(head.code.as_deref(), Some(Code::NoSuchRun.text()));
        assert!(head.message.is_some_and(|why| why.contains(&format!("restarted from run {}", run.run))));
        assert_eq!(rig.terminate(again).await, Sent::Delivered);
        assert_eq!(rig.until(again, |head| head.status.has_ended()).await.status, Status::Cancelled);
    });
}

#[test]
fn what_cannot_be_restarted_from_a_step_says_why() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("parallel").await;
        let run = rig.start("parallel", "sequential", "3").await;
        rig.ended(run).await;
        for step in [0, 4] {
            let error = rig.worker().fork(run, StepId(step), None).await.expect_err("there is no such step");
            assert_eq!(error.code, Code::CannotRestart);
        }
    });
}
