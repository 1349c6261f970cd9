//! Storage that fails, and two owners of one run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Kind, Status};
use trackway_storage::{Faults, MemoryStorage, RunQuery, Storage};

use crate::rig::{Rig, TENANT, in_virtual_time};

/// Enough for each kind of fault to meet each kind of frame; more are a matter of a longer run.
const SEEDS: u64 = 25;

#[test]
fn a_run_ends_right_on_storage_that_fails_delays_and_forgets_to_answer() {
    for seed in 0..SEEDS {
        in_virtual_time(async move {
            let faults = Faults {
                refused_permille: 0,
                unknown_stands_permille: 80,
                unknown_lost_permille: 80,
                unknown_late_permille: 80,
                delay_max: Duration::from_millis(20),
                ..Faults::default()
            };
            let storage = Arc::new(MemoryStorage::with_faults(seed, faults));
            let rig = Rig::on(storage, Arc::default(), Duration::from_secs(3)).await;
            rig.deploy("effects").await;
            let plan = r#"{"url": "http://world.test", "steps": 3, "requests": 2, "pause_ms": 40}"#;
            let one = rig.start("effects", "posts", plan).await;
            let other = rig.start("effects", "posts_at_once", plan).await;
            for run in [one, other] {
                assert_eq!(rig.ended(run).await.status, Status::Succeeded, "seed {seed}");
                rig.replays(run).await;
            }
            let mut asked: BTreeMap<String, usize> = BTreeMap::new();
            rig.world.asked().into_iter().filter_map(|contact| contact.key).for_each(|key| {
                *asked.entry(key).or_default() += 1;
            });
            assert!(asked.values().all(|times| *times == 1), "seed {seed}: something was asked twice: {asked:?}");
            assert_eq!(asked.len(), 12, "seed {seed}");
        });
    }
}

#[test]
fn an_owner_that_was_overtaken_lets_go_and_writes_nothing_more() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        rig.world.take(Duration::from_secs(10));
        let plan = r#"{"url": "http://world.test", "steps": 1, "requests": 2}"#;
        let run = rig.start("effects", "posts", plan).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        rig.usurp(run).await;
        let stood = rig.entries(run).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.entries(run).await, stood, "the overtaken owner wrote on");
        assert_eq!(rig.world.asked().len(), 1, "it began no effect after it was overtaken");
        let rig = rig.crash().await;
        assert_eq!(rig.ended(run).await.status, Status::Succeeded);
        rig.replays(run).await;
    });
}

#[test]
fn no_head_says_more_than_the_journal_holds() {
    in_virtual_time(async {
        let faults = Faults { delay_max: Duration::from_millis(50), ..Faults::default() };
        let storage = Arc::new(MemoryStorage::with_faults(1, faults));
        let rig = Rig::on(storage, Arc::default(), Duration::from_secs(3)).await;
        rig.deploy("parallel").await;
        // Long enough for many frames: what is sequenced is far ahead of what is durable.
        let run = rig.start("parallel", "fan_out", r#"{"n": 500}"#).await;
        loop {
            let head = rig.head(run).await;
            let entries = rig.entries(run).await;
            let asked = entries.iter().filter(|entry| matches!(entry.kind, Kind::Asked(_))).count();
            assert!(head.steps as usize <= asked, "{} steps, {asked} on record", head.steps);
            if head.status.has_ended() {
                assert!(matches!(entries[entries.len() - 1].kind, Kind::Finished(_)));
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_start_is_refused_only_if_it_will_never_stand() {
    let refused: usize = (0..SEEDS).map(starts_refused).sum();
    assert!(refused > 0, "no start was refused");
}

/// How many of some starts were refused, on storage that is full now and then and does not always say
/// what became of an append.
fn starts_refused(seed: u64) -> usize {
    let mut refused = 0;
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let faults = Faults { refused_permille: 300, unknown_late_permille: 500, ..Faults::default() };
        let storage = Arc::new(MemoryStorage::with_faults(seed, Faults::default()));
        for record in rig.storage.components(TENANT).await.expect("read") {
            let bytes = rig.storage.component_bytes(TENANT, record.digest).await.expect("read").expect("stored");
            storage.put_component(TENANT, record, bytes).await.expect("stored");
        }
        for deployment in rig.storage.deployments(TENANT).await.expect("read") {
            storage.put_deployment(TENANT, deployment).await.expect("stored");
        }
        let rig = Rig::on(Arc::new(storage.crash_into(faults)), Arc::default(), Duration::from_secs(3)).await;
        let mut started = 0;
        for _ in 0..8 {
            match rig.start_keyed("sleeper", "sleeps", "1", None).await {
                Ok(_) => started += 1,
                Err(_) => refused += 1,
            }
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let stand = rig.storage.heads(TENANT, RunQuery { limit: 100, ..RunQuery::default() }).await.expect("read");
        assert_eq!(stand.len(), started, "seed {seed}: {refused} were refused");
    });
    refused
}
