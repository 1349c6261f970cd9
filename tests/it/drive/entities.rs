//! Entities: each write is done once, whatever happens to the run, and its answer is what became of it then.

use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Kind, Outcome, Status, StepId, TenantId};
use trackway_storage::{EntityQuery, EntityWrite, EntityWritten, Faults, MemoryStorage, RunKey, Sent, Storage};

use super::crash::survives_a_crash_after_every_entry;
use crate::rig::{Rig, in_virtual_time};

const TENANT: TenantId = TenantId::DEFAULT;

async fn started(workflow: &str, input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("entities").await;
    let run = rig.start("entities", workflow, input).await;
    (rig, run)
}

async fn value(storage: &MemoryStorage, name: &str, key: &str) -> Option<String> {
    storage.entity(TENANT, name, key).await.expect("read").map(|entity| entity.value.to_string())
}

/// All that stands, with versions and without times.
async fn all(storage: &MemoryStorage) -> Vec<(String, String, u64, String)> {
    let query = EntityQuery { limit: 1_000, ..EntityQuery::default() };
    let entities = storage.entities(TENANT, query).await.expect("read");
    let shown = |entity: &trackway_storage::Entity| {
        (entity.name.to_string(), entity.key.to_string(), entity.version, entity.value.to_string())
    };
    entities.iter().map(shown).collect()
}

#[test]
fn a_workflow_reads_and_writes_and_is_told_what_came_of_it() {
    in_virtual_time(async {
        let (rig, run) = started("moves", "\"a/b\"").await;
        let told: Vec<String> = serde_json::from_str(&rig.output(run).await).expect("texts");
        let expected = [
            "None",
            "1",
            "VERSION_CONFLICT",
            "2",
            "Some(Versioned { version: 2, value: 2 })",
            "BAD_INPUT",
            "VERSION_CONFLICT",
            "None",
            "VERSION_CONFLICT",
            "4",
        ];
        assert_eq!(told, expected);
        assert_eq!(all(&rig.storage).await, [("moves".into(), "a/b".into(), 4, "3".into())]);
        assert!(rig.storage.receipts(run).await.expect("read").1.is_empty());
        rig.replays(run).await;
    });
}

#[test]
fn what_cannot_be_an_entity_is_refused_by_name() {
    in_virtual_time(async {
        let (rig, run) = started("bad", "null").await;
        let told: Vec<String> = serde_json::from_str(&rig.output(run).await).expect("texts");
        let bad = "BAD_REQUEST";
        assert_eq!(told, [bad, bad, bad, bad, "TOO_LARGE", "done", "VERSION_CONFLICT"]);
        assert_eq!(all(&rig.storage).await.len(), 1);
        rig.replays(run).await;
    });
}

#[test]
fn of_writes_at_once_the_first_one_wins_and_a_read_after_them_sees_it() {
    in_virtual_time(async {
        let (rig, run) = started("at_once", "300").await;
        assert_eq!(rig.output(run).await, "[1,1]");
        rig.replays(run).await;
    });
}

#[test]
fn a_write_that_was_asked_for_is_done_also_where_nobody_waits_for_it() {
    in_virtual_time(async {
        let (rig, run) = started("gives_up", "\"a\"").await;
        assert_eq!(rig.output(run).await, "[7,8]");
        assert!(rig.storage.receipts(run).await.expect("read").1.is_empty());
        rig.replays(run).await;
    });
}

/// The store is cut together with the journal, so it holds what was asked for until then and no more.
#[test]
fn a_crash_after_any_entry_writes_nothing_twice() {
    for (workflow, input) in
        [("counts", r#"{"key": "a", "times": 4}"#), ("moves", "\"a\""), ("at_once", "5"), ("gives_up", "\"a\"")]
    {
        survives_a_crash_after_every_entry("entities", workflow, input);
        in_virtual_time(async {
            let (whole, run) = started(workflow, input).await;
            let output = whole.output(run).await;
            let entities = all(&whole.storage).await;
            let journal = whole.entries(run).await;
            for kept in 1..journal.len() {
                let rig = whole.cut(run, kept).await;
                assert_eq!(rig.output(run).await, output, "{workflow} cut after {kept}");
                assert_eq!(all(&rig.storage).await, entities, "{workflow} cut after {kept}");
                assert!(rig.storage.receipts(run).await.expect("read").1.is_empty());
                rig.replays(run).await;
            }
        });
    }
}

#[test]
fn of_two_runs_that_race_one_is_told_of_a_conflict() {
    in_virtual_time(async {
        let (rig, slow) = started("waits", "\"a\"").await;
        rig.until(slow, |head| head.status == Status::Waiting).await;
        let quick = rig.start("entities", "counts", r#"{"key": "a", "times": 1}"#).await;
        assert_eq!(rig.output(quick).await, "[1]");
        // What a person writes counts as well.
        let rig = rig.crash().await;
        assert_eq!(rig.signal(slow, 1, "go", "null").await, Sent::Delivered);
        assert_eq!(rig.output(slow).await, "\"VERSION_CONFLICT\"");
        assert_eq!(value(&rig.storage, "count", "a").await.as_deref(), Some("1"));
        rig.replays(slow).await;
    });
}

#[test]
fn many_runs_that_count_together_lose_nothing_through_crashes_and_faults() {
    in_virtual_time(async {
        for seed in 0..6 {
            let faults = Faults {
                refused_permille: 50,
                unread_permille: 0,
                unknown_stands_permille: 60,
                unknown_lost_permille: 60,
                unknown_late_permille: 60,
                crash_stands_permille: 500,
                delay_max: Duration::from_millis(3),
            };
            let storage = MemoryStorage::with_faults(seed, Faults::default());
            let mut rig = Rig::on(Arc::new(storage), Arc::default(), Duration::from_secs(3)).await;
            rig.deploy("entities").await;
            let mut runs = Vec::new();
            for _ in 0..5 {
                runs.push(rig.start("entities", "counts", r#"{"key": "all", "times": 6}"#).await);
            }
            for pause in [2, 3, 5] {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                rig = rig.crash_into(faults.clone()).await;
            }
            let mut sums = Vec::new();
            for run in &runs {
                sums.extend(serde_json::from_str::<Vec<u64>>(&rig.output(*run).await).expect("numbers"));
                rig.replays(*run).await;
            }
            sums.sort_unstable();
            assert_eq!(sums, (1..=30).collect::<Vec<u64>>(), "seed {seed}: each sum was one run's");
            assert_eq!(value(&rig.storage, "count", "all").await.as_deref(), Some("30"), "seed {seed}");
        }
    });
}

#[test]
fn whoever_lost_a_run_writes_nothing_for_it() {
    in_virtual_time(async {
        let (rig, run) = started("waits", "\"a\"").await;
        rig.until(run, |head| head.status == Status::Waiting).await;
        rig.signal(run, 1, "go", "null").await;
        // Another owner comes before this one has written anything.
        rig.usurp(run).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(all(&rig.storage).await, Vec::new(), "{:?}", rig.kinds(run).await);
    });
}

#[test]
fn a_replay_touches_nothing() {
    in_virtual_time(async {
        let (rig, run) = started("counts", r#"{"key": "a", "times": 3}"#).await;
        rig.output(run).await;
        let at = rig.head(run).await.changed;
        let write =
            EntityWrite { name: "count".into(), key: "a".into(), if_version: None, value: Some("77".into()), at };
        assert_eq!(rig.storage.write_entity(TENANT, write).await.expect("written"), EntityWritten::Done { version: 4 });
        let before = all(&rig.storage).await;
        rig.replays(run).await;
        assert_eq!(all(&rig.storage).await, before);
    });
}

#[test]
fn a_run_that_is_restarted_from_a_step_keeps_the_answers_and_writes_only_what_comes_after() {
    in_virtual_time(async {
        let (rig, run) = started("counts", r#"{"key": "a", "times": 3}"#).await;
        assert_eq!(rig.output(run).await, "[1,2,3]");
        let steps = rig.entries(run).await.iter().filter(|entry| matches!(entry.kind, Kind::Asked(_))).count() as u32;
        for step in 1..=steps {
            let before: u64 = value(&rig.storage, "count", "a").await.expect("it counts").parse().expect("a number");
            let answer = rig.worker().fork(run, StepId(step), None).await.expect("restarted");
            let again = RunKey { run: answer.run, ..run };
            let sums: Vec<u64> = serde_json::from_str(&rig.output(again).await).expect("numbers");
            let after: u64 = value(&rig.storage, "count", "a").await.expect("it counts").parse().expect("a number");
            // Three steps for each count: it reads, writes, and calls. An update whose read is kept finds that
            // others came since, and tries again.
            let kept = (step as usize - 1 + 1) / 3;
            assert_eq!(sums[..kept], [1, 2, 3][..kept], "from step {step}");
            assert_eq!(after - before, 3 - kept as u64, "from step {step}: {sums:?}");
            rig.replays(again).await;
        }
    });
}

#[test]
fn a_write_without_an_answer_is_done_anew_in_a_restarted_run() {
    in_virtual_time(async {
        let (rig, run) = started("at_once", "3").await;
        rig.output(run).await;
        // All writes are asked for before the read, which is the fourth step.
        let at = rig.head(run).await.changed;
        let write = EntityWrite { name: "at-once".into(), key: "only".into(), if_version: None, value: None, at };
        rig.storage.write_entity(TENANT, write).await.expect("deleted");
        let answer = rig.worker().fork(run, StepId(4), None).await.expect("restarted");
        let again = RunKey { run: answer.run, ..run };
        assert_eq!(rig.output(again).await, "[1,1]");
        assert_eq!(value(&rig.storage, "at-once", "only").await.as_deref(), Some("1"));
        rig.replays(again).await;
    });
}

#[test]
fn a_terminated_run_leaves_its_entities_and_nothing_else() {
    in_virtual_time(async {
        let (rig, run) = started("writes_and_sleeps", "\"a\"").await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        rig.terminate(run).await;
        rig.ended(run).await;
        assert_eq!(value(&rig.storage, "count", "a").await.as_deref(), Some("1"));
        assert!(rig.storage.receipts(run).await.expect("read").1.is_empty());
    });
}

#[test]
fn the_answer_stands_in_the_journal_as_the_guest_gets_it() {
    in_virtual_time(async {
        let (rig, run) = started("counts", r#"{"key": "a", "times": 2}"#).await;
        rig.output(run).await;
        let entries = rig.entries(run).await;
        let answers = entries.iter().filter_map(|entry| match &entry.kind {
            Kind::Answered(answered) => match &answered.outcome {
                Outcome::Succeeded(trackway_replay::Value::Inline(text)) => Some(text.to_string()),
                other => Some(format!("{other:?}")),
            },
            _ => None,
        });
        let expected = ["null", r#"{"version":1}"#, "1", r#"{"version":1,"value":1}"#, r#"{"version":2}"#, "2"];
        assert_eq!(answers.collect::<Vec<_>>(), expected);
    });
}
