//! What a tenant may have at once: more of it waits, and whoever only sleeps gives way.

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use trackway::Code;
use trackway::quota::Quotas;
use trackway::worker::Options;
use trackway_storage::{MemoryStorage, RunKey};

use crate::rig::{Rig, in_virtual_time};

const A_CALL: Duration = Duration::from_secs(60);

fn quotas(said: &[(&str, &str)]) -> Quotas {
    let mut quotas = Quotas::default();
    said.iter().for_each(|(name, limit)| quotas.set_text(name, limit).expect("a quota"));
    quotas
}

/// Every call of the world takes a minute.
async fn rig_with(said: &[(&str, &str)]) -> Rig {
    let options = Options { quotas: quotas(said), ..Options::default() };
    let rig = Rig::with(Arc::new(MemoryStorage::new()), Arc::default(), options).await;
    rig.deploy("raw").await;
    rig.deploy("sleeper").await;
    rig.world.take(A_CALL);
    rig
}

/// So many calls at once of a function with this script.
async fn start_wide(rig: &Rig, calls: usize, function: &Value) -> RunKey {
    let ops = json!([
        ["repeat", calls, [["call", "script", { "ops": function }]]], ["repeat", calls, [["next"]]], ["return", "1"]
    ]);
    rig.start("raw", "script", &json!({ "ops": ops }).to_string()).await
}

fn one_call() -> Value {
    json!([["get", "http://world.test/a"], ["next"], ["return", "1"]])
}

async fn took(rig: &Rig, run: RunKey) -> Duration {
    assert!(!rig.output(run).await.is_empty());
    rig.replays(run).await;
    let entries = rig.entries(run).await;
    entries[entries.len() - 1].time.since(entries[0].time)
}

#[test]
fn no_more_attempts_than_the_quota_says_live_at_once() {
    in_virtual_time(async {
        for said in [("attempts", "2"), ("memory", "1GiB")] {
            let rig = rig_with(&[said]).await;
            let took = took(&rig, start_wide(&rig, 8, &one_call()).await).await;
            assert!(took >= 4 * A_CALL, "{said:?}: eight calls, two at a time, in {took:?}");
            assert!(took < 5 * A_CALL, "{said:?}: two at a time, and not fewer: {took:?}");
        }
        let rig = rig_with(&[]).await;
        assert!(took(&rig, start_wide(&rig, 8, &one_call()).await).await < 2 * A_CALL, "nothing holds them up");
    });
}

#[test]
fn attempts_that_wait_go_on_at_once_when_the_quota_is_raised() {
    in_virtual_time(async {
        let rig = rig_with(&[("attempts", "1")]).await;
        let run = start_wide(&rig, 8, &one_call()).await;
        tokio::time::sleep(A_CALL / 2).await;
        rig.worker().quotas().set(run.tenant, &quotas(&[("attempts", "8")]));
        rig.worker().quotas_changed(run.tenant).await.expect("it is looked at again");
        let took = took(&rig, run).await;
        assert!(took < 2 * A_CALL, "{took:?}");
    });
}

#[test]
fn attempts_that_sleep_give_way_to_others_under_a_quota() {
    in_virtual_time(async {
        let rig = rig_with(&[("attempts", "1")]).await;
        let naps = json!([["sleep", 3_600_000], ["next"], ["return", "1"]]);
        let took = took(&rig, start_wide(&rig, 10, &naps).await).await;
        assert!(took < Duration::from_secs(3_700), "all slept at the same time: {took:?}");
    });
}

#[test]
fn no_more_runs_than_the_quota_says_are_in_hand_and_those_that_sleep_give_way() {
    in_virtual_time(async {
        for said in [("instances", "1"), ("memory", "1MiB")] {
            let rig = rig_with(&[said]).await;
            // It waits for its call, and stays in hand.
            let busy = start_wide(&rig, 1, &one_call()).await;
            let refused = rig.start_keyed("sleeper", "sleeps", "1", None).await.expect_err("one is in hand");
            assert_eq!(
                (refused.code, refused.quota.as_ref().map(|quota| quota.name)),
                (Code::QuotaExceeded, Some(said.0))
            );
            took(&rig, busy).await;
            let mut asleep = Vec::new();
            for _ in 0..10 {
                let start = rig.start("sleeper", "sleeps", "3600000");
                asleep.push(tokio::time::timeout(A_CALL, start).await.expect("those before it gave way"));
            }
            for run in asleep {
                assert!(took(&rig, run).await < Duration::from_secs(3_700));
            }
        }
    });
}
