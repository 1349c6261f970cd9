//! Runs that workflows start: each once, its end told once, and none left alone by mistake.

use std::time::Duration;
use trackway_replay::{End, Entry, Kind, RunId, Status, StepId, Tie, Waiting};
use trackway_storage::{InboxBody, RunKey, RunQuery, Sent, Storage};

use crate::rig::{Rig, TENANT, in_virtual_time};

async fn begun(workflow: &str, input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("family").await;
    let run = rig.start("family", workflow, input).await;
    (rig, run)
}

/// The children that the journal of a run names, in the order of their steps.
fn children(entries: &[Entry]) -> Vec<RunKey> {
    let started = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::ChildStarted(started) => Some(RunKey { tenant: TENANT, run: started.run }),
        _ => None,
    });
    started.collect()
}

async fn runs(rig: &Rig) -> Vec<RunId> {
    rig.storage.runs(TENANT, None, 1_000).await.expect("read")
}

async fn of_workflow(rig: &Rig, workflow: &str) -> Vec<RunKey> {
    let query = RunQuery { workflow: Some(workflow.to_owned()), limit: 100, ..RunQuery::default() };
    let heads = rig.storage.heads(TENANT, query).await.expect("read");
    heads.into_iter().map(|head| RunKey { tenant: TENANT, run: head.run }).collect()
}

#[test]
fn a_parent_gets_what_its_children_return_and_each_names_the_other() {
    in_virtual_time(async {
        let (rig, run) = begun("parent", "3").await;
        assert_eq!(rig.output(run).await, "10");
        let entries = rig.entries(run).await;
        let children = children(&entries);
        assert_eq!((children.len(), runs(&rig).await.len()), (3, 4));
        for (step, child) in (1..).zip(children) {
            let own = rig.entries(child).await;
            match own.get(1).map(|entry| &entry.kind) {
                Some(Kind::ChildOf(of)) => {
                    assert_eq!((of.parent, of.step, of.tie), (run.run, StepId(step), Tie::Awaited));
                }
                other => panic!("{other:?}"),
            }
            rig.end(child).await;
        }
        rig.replays(run).await;
    });
}

#[test]
fn a_parent_that_waits_says_so_and_is_woken_from_its_journal() {
    in_virtual_time(async {
        let (rig, run) = begun("waits", "null").await;
        let head = rig.until(run, |head| head.status == Status::Waiting).await;
        assert_eq!((head.waiting, head.due), (Some(Waiting::Child), None));
        let child = children(&rig.entries(run).await)[0];
        // Long enough for both to be evicted.
        tokio::time::sleep(Duration::from_secs(600)).await;
        let rig = rig.crash().await;
        assert_eq!(rig.cancel(child).await, Sent::Delivered);
        assert_eq!(rig.failure(run).await.code, "CANCELLED");
        rig.replays(run).await;
        rig.replays(child).await;
    });
}

#[test]
fn children_of_children_end_before_their_parents() {
    in_virtual_time(async {
        let (rig, run) = begun("deep", "12").await;
        assert_eq!(rig.output(run).await, "12");
        assert_eq!(runs(&rig).await.len(), 13);
        rig.replays(run).await;
    });
}

#[test]
fn a_parent_sees_the_failure_of_its_child_and_of_one_that_there_is_not() {
    in_virtual_time(async {
        let expected = [
            ("no_luck", "NO_LUCK"),
            ("family/no_luck", "NO_LUCK"),
            ("nothing", "UNKNOWN_WORKFLOW"),
            ("nowhere/add", "UNKNOWN_WORKFLOW"),
            ("family/plus_one", "UNKNOWN_WORKFLOW"),
            ("family/add", "8"),
        ];
        for (workflow, code) in expected {
            let (rig, run) = begun("fails", &format!("{workflow:?}")).await;
            assert_eq!(rig.output(run).await, format!("{code:?}"), "{workflow}");
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_run_may_start_one_of_another_deployment_which_is_pinned_when_it_starts() {
    in_virtual_time(async {
        let (rig, run) = begun("fails", "\"sleeper/sleeps\"").await;
        let code = rig.output(run).await;
        assert_eq!(code, "\"UNKNOWN_WORKFLOW\"");
        let component = rig.deploy("sleeper").await;
        let run = rig.start("family", "fails", "\"sleeper/sleeps\"").await;
        assert_eq!(rig.output(run).await, "\"7\"");
        let child = children(&rig.entries(run).await)[0];
        assert_eq!(rig.head(child).await.component, component);
        rig.replays(child).await;
    });
}

#[test]
fn a_detached_child_outlives_its_parent() {
    in_virtual_time(async {
        for workflow in ["detaches", "abandons"] {
            let (rig, run) = begun(workflow, "60000").await;
            rig.output(run).await;
            let child = of_workflow(&rig, "nap").await[0];
            assert!(!rig.head(child).await.status.has_ended(), "{workflow}");
            assert_eq!(rig.output(child).await, "\"slept\"");
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_key_starts_one_run_whoever_asks_for_it() {
    in_virtual_time(async {
        let (rig, first) = begun("detaches_once", "60000").await;
        let second = rig.start("family", "detaches_once", "60000").await;
        assert_eq!(rig.output(first).await, rig.output(second).await);
        assert_eq!(of_workflow(&rig, "nap").await.len(), 1);
        let third = rig.start("family", "detaches_once", "1").await;
        assert_eq!(rig.failure(third).await.code, "KEY_CONFLICT");
        rig.replays(second).await;
    });
}

#[test]
fn a_child_that_nobody_waits_for_any_more_is_cancelled_and_may_clean_up() {
    in_virtual_time(async {
        for workflow in ["ends_first", "drops"] {
            let (rig, run) = begun(workflow, "null").await;
            rig.output(run).await;
            let child = of_workflow(&rig, "cleans_up").await[0];
            assert_eq!(rig.ended(child).await.status, Status::Cancelled, "{workflow}");
            assert!(rig.kinds(child).await.contains(&"Answered 2".to_owned()), "{workflow}: the clean-up step ran");
            rig.replays(child).await;
            rig.replays(run).await;
        }
    });
}

#[test]
fn the_cancel_and_the_end_at_once_of_a_parent_go_down() {
    in_virtual_time(async {
        for at_once in [false, true] {
            let (rig, run) = begun("waits", "null").await;
            rig.until(run, |head| head.status == Status::Waiting).await;
            let child = children(&rig.entries(run).await)[0];
            assert_eq!(if at_once { rig.terminate(run).await } else { rig.cancel(run).await }, Sent::Delivered);
            assert_eq!(rig.ended(run).await.status, Status::Cancelled);
            assert_eq!(rig.ended(child).await.status, Status::Cancelled);
            rig.replays(child).await;
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_stuck_parent_that_is_terminated_takes_its_child_along() {
    in_virtual_time(async {
        let (rig, run) = begun("waits", "null").await;
        rig.until(run, |head| head.status == Status::Waiting).await;
        let child = children(&rig.entries(run).await)[0];
        tokio::time::sleep(Duration::from_secs(600)).await;
        let rig = rig.crash_after_recalls(run, 4).await;
        assert_eq!(rig.terminate(run).await, Sent::Delivered);
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        assert_eq!(rig.ended(child).await.status, Status::Cancelled);
    });
}

#[test]
fn a_parent_hears_of_the_end_of_a_child_whose_journal_cannot_be_read() {
    in_virtual_time(async {
        let (rig, run) = begun("waits", "null").await;
        rig.until(run, |head| head.status == Status::Waiting).await;
        let child = children(&rig.entries(run).await)[0];
        // All that it will write by itself is there.
        rig.until(child, |head| head.status == Status::Sleeping).await;
        let all = rig.entries(child).await.len();
        // Its beginning says who waits for it; without that, the key under which it was started.
        for unreadable in [2..all, 1..all, 0..all] {
            let rig = rig.with_unreadable_child(run, child, unreadable).await;
            rig.until(child, |head| head.status == Status::Stuck).await;
            assert_eq!(rig.head(run).await.status, Status::Waiting);
            assert_eq!(rig.terminate(child).await, Sent::Delivered);
            let failure = rig.failure(run).await;
            assert_eq!(failure.code, "CANCELLED");
            assert!(failure.message.contains("terminated"), "{failure}");
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_parent_that_does_not_wait_takes_no_notice_of_an_end() {
    in_virtual_time(async {
        let (rig, run) = begun("detaches", "80000000").await;
        rig.output(run).await;
        let child = of_workflow(&rig, "nap").await[0];
        let asked =
            rig.entries(run).await.iter().position(|entry| matches!(entry.kind, Kind::Asked(_))).expect("asked");
        // What it asked for stands, and it has not heard of that.
        let rig = rig.cut(run, asked + 1).await;
        for of in [(StepId(1), child.run), (StepId(9), child.run)] {
            let body = InboxBody::ChildEnded { step: of.0, run: of.1 };
            assert_eq!(rig.send(run, body).await, Sent::Delivered);
        }
        rig.output(run).await;
        assert!(!rig.kinds(run).await.contains(&"ChildEnded".to_owned()), "{:?}", rig.kinds(run).await);
        rig.replays(run).await;
    });
}

#[test]
fn a_child_that_ends_after_its_parent_finds_nobody_and_that_is_well() {
    in_virtual_time(async {
        let (rig, run) = begun("abandons", "1000").await;
        rig.output(run).await;
        let before = rig.entries(run).await.len();
        let child = of_workflow(&rig, "nap").await[0];
        rig.output(child).await;
        assert_eq!((rig.entries(run).await.len(), rig.storage.inbox(run).await.expect("read").len()), (before, 0));
    });
}

#[test]
fn an_end_that_is_told_twice_changes_nothing() {
    in_virtual_time(async {
        let (rig, run) = begun("drops", "null").await;
        while !rig.kinds(run).await.contains(&"ChildEnded".to_owned()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let child = children(&rig.entries(run).await)[0];
        let again = trackway_storage::InboxBody::ChildEnded { step: StepId(1), run: child.run };
        assert_eq!(rig.send(run, again).await, Sent::Delivered);
        rig.output(run).await;
        let told = rig.kinds(run).await.iter().filter(|kind| *kind == "ChildEnded").count();
        assert_eq!(told, 2);
        rig.replays(run).await;
    });
}

#[test]
fn values_beside_the_journal_cross_between_parent_and_child() {
    in_virtual_time(async {
        let (rig, run) = begun("large", "200000").await;
        assert_eq!(rig.output(run).await, "200000");
        rig.replays(run).await;
    });
}

#[test]
fn a_held_parent_starts_nothing_and_hears_of_an_end_later() {
    in_virtual_time(async {
        let (rig, run) = begun("parent", "0").await;
        rig.until(run, |head| head.status == Status::Waiting).await;
        rig.send(run, trackway_storage::InboxBody::Pause { reason: "look".into() }).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.head(run).await.status, Status::Paused);
        assert_eq!(runs(&rig).await.len(), 3, "the third child is started later");
        rig.send(run, trackway_storage::InboxBody::Resume).await;
        assert_eq!(rig.output(run).await, "4");
        rig.replays(run).await;
    });
}

#[test]
fn a_restarted_parent_keeps_the_children_that_ended_and_starts_others_for_the_rest() {
    in_virtual_time(async {
        let (rig, run) = begun("parent", "3").await;
        let output = rig.output(run).await;
        let answer = rig.worker().fork(run, StepId(3), None).await.expect("it can be restarted");
        let again = RunKey { tenant: TENANT, run: answer.run };
        assert_eq!(rig.output(again).await, output);
        let (old, new) = (children(&rig.entries(run).await), children(&rig.entries(again).await));
        assert_eq!((&old[..2], old[2] != new[2]), (&new[..2], true));
        rig.replays(again).await;
        // A child that is restarted by hand is nobody's child.
        let answer = rig.worker().fork(old[0], StepId(1), None).await.expect("it can be restarted");
        let alone = RunKey { tenant: TENANT, run: answer.run };
        assert_eq!(rig.output(alone).await, rig.output(old[0]).await);
        assert!(rig.kinds(alone).await.iter().all(|kind| kind != "ChildOf"));
    });
}

#[test]
fn what_is_drawn_before_the_cut_stays_in_a_restarted_run() {
    in_virtual_time(async {
        let (rig, run) = begun("draws", "null").await;
        let drawn = |text: String| serde_json::from_str::<Vec<u64>>(&text).expect("numbers");
        let old = drawn(rig.output(run).await);
        for step in 1..=3 {
            let answer = rig.worker().fork(run, StepId(step), None).await.expect("it can be restarted");
            let again = RunKey { tenant: TENANT, run: answer.run };
            let new = drawn(rig.output(again).await);
            let kept = step as usize - 1;
            assert_eq!(old[..kept], new[..kept], "from step {step}");
            assert!(old[kept..].iter().zip(&new[kept..]).all(|(old, new)| old != new), "from step {step}");
            rig.replays(again).await;
        }
    });
}

/// Every pair of a prefix of the parent's journal and prefixes of the children's that can stand together: the
/// parent's names a child only once that stands, and its end only once that ended.
#[test]
fn a_crash_after_every_entry_of_parent_and_children() {
    in_virtual_time(async {
        let whole = Rig::new().await;
        whole.deploy("family").await;
        let run = whole.start("family", "parent", "3").await;
        let output = whole.output(run).await;
        let journal = whole.entries(run).await;
        let of = children(&journal);
        let mut lengths = Vec::new();
        for child in &of {
            lengths.push(whole.entries(*child).await.len());
        }
        for kept in 1..journal.len() {
            let stood = &journal[..kept];
            let asked = stood.iter().filter(|entry| matches!(entry.kind, Kind::Asked(_))).count();
            let mut possible: Vec<Vec<usize>> = Vec::new();
            for (place, child) in of.iter().enumerate() {
                let is = |wanted: fn(&Kind, RunId) -> bool| stood.iter().any(|entry| wanted(&entry.kind, child.run));
                let ended = is(|kind, run| matches!(kind, Kind::ChildEnded(ended) if ended.run == run));
                let started = is(|kind, run| matches!(kind, Kind::ChildStarted(started) if started.run == run));
                let all = lengths[place];
                possible.push(match (ended, started, place < asked) {
                    (true, ..) => vec![all],
                    (false, true, _) => vec![2, all / 2, all - 1, all],
                    (false, false, true) => vec![0, 2, all],
                    (false, false, false) => vec![0],
                });
            }
            for first in &possible[0] {
                for second in &possible[1] {
                    for third in &possible[2] {
                        let lengths = [*first, *second, *third];
                        let rig = whole.cut_family(run, kept, &of, &lengths).await;
                        assert_eq!(rig.output(run).await, output, "cut after {kept} and {lengths:?}");
                        assert_eq!(runs(&rig).await.len(), 4, "cut after {kept} and {lengths:?}");
                        assert_eq!(rig.entries(run).await[..kept], journal[..kept]);
                        rig.replays(run).await;
                    }
                }
            }
        }
    });
}

#[test]
fn a_crash_after_every_entry_of_a_parent_that_ends_first() {
    in_virtual_time(async {
        let whole = Rig::new().await;
        whole.deploy("family").await;
        let run = whole.start("family", "drops", "null").await;
        whole.output(run).await;
        let child = of_workflow(&whole, "cleans_up").await[0];
        whole.ended(child).await;
        let journal = whole.entries(run).await;
        for kept in 1..journal.len() {
            let has_started = journal[..kept].iter().any(|entry| matches!(entry.kind, Kind::ChildStarted(_)));
            let has_asked = journal[..kept].iter().any(|entry| matches!(entry.kind, Kind::Asked(_)));
            for length in if has_started {
                vec![2, 4]
            } else if has_asked {
                vec![0, 2, 4]
            } else {
                vec![0]
            } {
                let rig = whole.cut_family(run, kept, &[child], &[length]).await;
                // What the frames with these entries sent is not cut off from them.
                if journal[..kept].iter().any(|entry| matches!(entry.kind, Kind::Forgotten(_))) {
                    rig.cancel(child).await;
                }
                rig.output(run).await;
                let only = of_workflow(&rig, "cleans_up").await;
                assert_eq!(only.len(), 1, "cut after {kept} and {length}");
                assert_eq!(rig.ended(only[0]).await.status, Status::Cancelled, "cut after {kept} and {length}");
                rig.replays(run).await;
            }
        }
    });
}

#[test]
fn children_start_once_and_end_once_where_storage_fails_now_and_then() {
    in_virtual_time(async {
        for seed in 0..30 {
            let faults = trackway_storage::Faults {
                delay_max: Duration::from_millis(20),
                unknown_stands_permille: 100,
                unknown_lost_permille: 100,
                unknown_late_permille: 100,
                crash_stands_permille: 500,
                refused_permille: 0,
                ..Default::default()
            };
            let storage = trackway_storage::MemoryStorage::with_faults(seed, faults);
            let rig = Rig::on(std::sync::Arc::new(storage), std::sync::Arc::default(), Duration::from_secs(3)).await;
            rig.deploy("family").await;
            let run = rig.start("family", "parent", "3").await;
            let mut rig = rig;
            if seed % 2 == 0 {
                tokio::time::sleep(Duration::from_millis(seed)).await;
                rig = rig.crash().await;
            }
            assert_eq!(rig.output(run).await, "10", "seed {seed}");
            let entries = rig.entries(run).await;
            let ended = entries.iter().filter(|entry| matches!(entry.kind, Kind::ChildEnded(_))).count();
            assert_eq!((ended, runs(&rig).await.len()), (3, 4), "seed {seed}");
            for child in children(&entries) {
                assert!(matches!(rig.end(child).await.end, End::Succeeded(_)));
            }
            rig.replays(run).await;
        }
    });
}
