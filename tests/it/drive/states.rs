//! Published state: readable whatever the run does, and never of a timeline that was lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::trace::{What, trace};
use trackway_replay::{Entry, Kind, Position, Status, StepId, Value};
use trackway_storage::{Faults, Landmark, MemoryStorage, RunKey, Storage};

use crate::rig::{Rig, in_virtual_time};

async fn started(workflow: &str, input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("talks").await;
    let run = rig.start("talks", workflow, input).await;
    (rig, run)
}

fn value_at(entries: &[Entry], place: Position) -> (String, Value) {
    match &entries[place.0 as usize].kind {
        Kind::Published(published) => (published.key.to_string(), published.value.clone()),
        other => panic!("{} was not published", other.name()),
    }
}

/// What everybody sees.
async fn shown(rig: &Rig, run: RunKey) -> BTreeMap<String, Value> {
    let states = rig.storage.states(run).await.expect("read");
    let entries = rig.entries(run).await;
    states
        .into_iter()
        .map(|(key, place)| (value_at(&entries, place), key))
        .map(|((named, value), key)| {
            assert_eq!(*key, named);
            (named, value)
        })
        .collect()
}

/// What the journal says of it.
fn folded(entries: &[Entry]) -> BTreeMap<String, Value> {
    let published = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::Published(published) => Some((published.key.to_string(), published.value.clone())),
        _ => None,
    });
    published.collect()
}

#[test]
fn the_last_value_of_each_key_is_there_while_the_run_is_evicted_and_after_its_end() {
    in_virtual_time(async {
        let (rig, run) = started("climbs", "3").await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        assert_eq!(
            shown(&rig, run).await,
            [("from".to_owned(), Value::inline("\"here\"")), ("height".to_owned(), Value::inline("1")),].into()
        );
        // Nothing of the run is in memory any more, then no process is there at all.
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(shown(&rig, run).await["height"], Value::inline("1"));
        let rig = rig.crash().await;
        assert_eq!(shown(&rig, run).await["height"], Value::inline("1"));
        tokio::time::sleep(Duration::from_secs(80)).await;
        assert_eq!(shown(&rig, run).await["height"], Value::inline("2"));
        assert_eq!(rig.output(run).await, "3");
        let after = shown(&rig, run).await;
        assert_eq!(after["height"], Value::inline("3"));
        let Value::Stored { digest, .. } = after["view"] else { panic!("{after:?}") };
        assert_eq!(rig.storage.payload(run, digest).await.expect("read").expect("stored").len(), 200_002);
        rig.replays(run).await;
    });
}

#[test]
fn each_value_is_a_row_of_its_own_with_its_place() {
    in_virtual_time(async {
        let (rig, run) = started("climbs", "2").await;
        rig.ended(run).await;
        let rows = trace(&rig.entries(run).await).rows;
        let told: Vec<_> = rows.iter().filter(|row| matches!(row.what, What::Publish { .. })).collect();
        let titles: Vec<_> = told.iter().map(|row| row.title()).collect();
        assert_eq!(titles, ["publish from", "publish height", "publish height", "publish view"]);
        assert!(told.iter().all(|row| row.at.as_deref().is_some_and(|at| at.contains("src/lib.rs:"))), "{told:?}");
        let places: Vec<_> = told.iter().map(|row| row.id.clone()).collect();
        assert!(places.iter().all(|id| id.starts_with("publish-")) && places.windows(2).all(|two| two[0] != two[1]));
    });
}

#[test]
fn a_run_that_publishes_too_much_fails_with_what_was_too_much() {
    in_virtual_time(async {
        for (how, code, values) in [
            ("name", Some("BAD_REQUEST"), 0),
            ("size", Some("TOO_LARGE"), 0),
            ("keys", Some("TOO_MANY"), 256),
            ("often", None, 300),
        ] {
            let (rig, run) = started("boasts", &format!("\"{how}\"")).await;
            match code {
                Some(code) => assert_eq!(rig.failure(run).await.code, code, "{how}"),
                None => assert_eq!(rig.ended(run).await.status, Status::Succeeded),
            }
            let published = |kind: &Kind| matches!(kind, Kind::Published(_));
            let entries = rig.entries(run).await;
            assert_eq!(entries.iter().filter(|entry| published(&entry.kind)).count(), values, "{how}");
            assert_eq!(shown(&rig, run).await, folded(&entries));
            rig.replays(run).await;
            // The same where it is recalled up to the last moment.
            let rig = rig.cut(run, entries.len() - 1).await;
            assert_eq!(rig.ended(run).await.status.name(), if code.is_some() { "failed" } else { "succeeded" });
            rig.replays(run).await;
        }
    });
}

#[test]
fn what_was_seen_once_is_in_the_journal_for_ever() {
    for seed in 0..30 {
        in_virtual_time(crashed_again_and_again(seed));
    }
}

/// Holds what was seen before each crash against the journal at the end.
async fn crashed_again_and_again(seed: u64) {
    let faults = Faults {
        unknown_stands_permille: 60,
        unknown_lost_permille: 60,
        unknown_late_permille: 60,
        delay_max: Duration::from_millis(30),
        ..Faults::default()
    };
    let storage = Arc::new(MemoryStorage::with_faults(seed, faults));
    let mut rig = Rig::on(storage, Arc::default(), Duration::from_secs(3)).await;
    rig.deploy("talks").await;
    let run = rig.start("talks", "hurries", "60").await;
    let mut seen: BTreeMap<Position, String> = BTreeMap::new();
    for turn in 0..60 {
        for (key, place) in rig.storage.states(run).await.expect("read") {
            seen.insert(place, key.to_string());
        }
        tokio::time::sleep(Duration::from_millis(20 + 13 * ((seed + turn) % 7))).await;
        if turn % 8 == seed % 8 {
            rig = rig.crash().await;
        }
    }
    rig.ended(run).await;
    let entries = rig.entries(run).await;
    assert!(seen.len() > 1, "seed {seed}: hardly anything was seen");
    for (place, key) in &seen {
        assert_eq!(value_at(&entries, *place).0, *key, "seed {seed}: what was shown is not there any more");
    }
    assert_eq!(shown(&rig, run).await, folded(&entries), "seed {seed}");
    rig.replays(run).await;
}

#[test]
fn an_owner_that_was_overtaken_shows_nothing() {
    in_virtual_time(async {
        let (rig, run) = started("climbs", "3").await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.usurp(run).await;
        tokio::time::sleep(Duration::from_secs(70)).await;
        assert_eq!(shown(&rig, run).await["height"], Value::inline("1"), "nothing of its timeline is seen");
        let rig = rig.crash().await;
        assert_eq!(rig.output(run).await, "3");
        assert_eq!(shown(&rig, run).await["height"], Value::inline("3"));
    });
}

#[test]
fn a_restarted_run_begins_with_what_was_published_before_the_cut() {
    in_virtual_time(async {
        let (rig, run) = started("climbs", "3").await;
        rig.until(run, |head| (head.status, head.steps) == (Status::Sleeping, 2)).await;
        // Again from the second sleep on.
        let again = rig.worker().fork(run, StepId(2), None).await.expect("it starts").run;
        let again = RunKey { run: again, ..run };
        rig.until(again, |head| head.status == Status::Sleeping).await;
        assert_eq!(shown(&rig, again).await["height"], Value::inline("2"));
        assert_eq!(shown(&rig, again).await.get("view"), None);
        assert_eq!(rig.output(again).await, "3");
        assert_eq!(shown(&rig, again).await, folded(&rig.entries(again).await));
        rig.replays(again).await;
    });
}

#[test]
fn a_crash_after_any_entry_changes_nothing() {
    in_virtual_time(async {
        let (whole, run) = started("climbs", "2").await;
        assert_eq!(whole.output(run).await, "2");
        let journal = whole.entries(run).await;
        for kept in 1..journal.len() {
            let rig = whole.cut(run, kept).await;
            assert_eq!(shown(&rig, run).await, folded(&journal[..kept]), "cut after {kept}");
            assert_eq!(rig.output(run).await, "2", "cut after {kept}");
            assert_eq!(rig.entries(run).await[..kept], journal[..kept], "what stood was changed");
            assert_eq!(shown(&rig, run).await, folded(&journal), "cut after {kept}");
            assert_eq!(rig.storage.landmark(run, Landmark::State("depth".into())).await.expect("read"), None);
            rig.replays(run).await;
        }
    });
}
