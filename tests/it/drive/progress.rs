//! Functions that say how far they are: the silent ones are broken off, the next attempt knows how far the last
//! one was, and the journal does not grow by chatter.

use std::time::Duration;
use trackway_replay::{Kind, Value, code};
use trackway_storage::RunKey;

use crate::rig::{Rig, in_virtual_time};

async fn started(workflow: &str, input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("timing").await;
    let run = rig.start("timing", workflow, input).await;
    (rig, run)
}

const TEN_PAGES: &str = r#"{"url": "http://world.test", "pages": 10}"#;

fn last_failure(entries: &[trackway_replay::Entry]) -> Option<String> {
    let mut failures = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::Failed(failed) => Some(trackway_replay::Failure::from_value(&failed.failure).code),
        Kind::FailedKeeping(failed) => Some(trackway_replay::Failure::from_value(&failed.failure).code),
        _ => None,
    });
    failures.next_back()
}

fn told(entries: &[trackway_replay::Entry]) -> Vec<String> {
    let told = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::Progressed(progressed) => match &progressed.progress {
            Value::Inline(text) => Some(text.to_string()),
            Value::Stored { .. } => None,
        },
        _ => None,
    });
    told.collect()
}

#[test]
fn an_attempt_that_is_silent_is_broken_off_and_the_next_one_goes_on_from_its_progress() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("timing").await;
        rig.world.take(Duration::from_secs(1));
        let run = rig.start("timing", "imports", TEN_PAGES).await;
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        rig.world.be_silent(true);
        tokio::time::sleep(Duration::from_secs(6)).await;
        rig.world.be_silent(false);
        assert_eq!(rig.output(run).await, "[2,4]");
        let entries = rig.entries(run).await;
        assert_eq!(last_failure(&entries).as_deref(), Some(code::HEARTBEAT_TIMEOUT));
        assert_eq!(rig.world.asked().len(), 5 + 6, "what was told is not done again");
        let trace = trackway_replay::trace::trace(&entries);
        assert!(format!("{trace:?}").contains("HEARTBEAT_TIMEOUT"));
        rig.replays(run).await;
    });
}

#[test]
fn an_attempt_that_says_how_far_it_is_may_take_its_time() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("timing").await;
        rig.world.take(Duration::from_secs(4));
        let run = rig.start("timing", "imports", TEN_PAGES).await;
        assert_eq!(rig.output(run).await, "[1,0]");
        rig.replays(run).await;
    });
}

#[test]
fn silence_counts_only_while_the_attempt_is_held() {
    in_virtual_time(async {
        let (rig, run) = started("dozes", "600").await;
        assert_eq!(rig.output(run).await, "1");
        rig.replays(run).await;
        let rig = Rig::new().await;
        rig.deploy("timing").await;
        rig.world.be_silent(true);
        let run = rig.start("timing", "imports", TEN_PAGES).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let storage = std::sync::Arc::new(rig.storage.crash());
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let rig = Rig::on(storage, std::sync::Arc::default(), Duration::from_secs(3)).await;
        assert_eq!(rig.output(run).await, "[1,0]", "the host was down, the function was not silent");
        rig.replays(run).await;
    });
}

#[test]
fn an_attempt_that_resumes_does_what_is_on_record_and_not_what_it_told() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("timing").await;
        rig.world.script("/page/3", &[500]);
        let run = rig.start("timing", "imports_resuming", TEN_PAGES).await;
        assert_eq!(rig.output(run).await, "[2,0]");
        assert_eq!(rig.world.asked().len(), 11, "only the page that failed is asked for again");
        rig.replays(run).await;
    });
}

#[test]
fn a_function_that_chatters_does_not_flood_the_journal() {
    in_virtual_time(async {
        let (rig, run) = started("chatters", "20000").await;
        assert_eq!(rig.output(run).await, "20000");
        assert!(told(&rig.entries(run).await).len() <= 2, "{:?}", rig.kinds(run).await);
        rig.replays(run).await;
        let (rig, run) = started("chatters", "0").await;
        assert_eq!(rig.failure(run).await.code, code::TOO_LARGE);
    });
}

#[test]
fn what_was_told_before_a_failure_is_always_on_record() {
    in_virtual_time(async {
        let (rig, run) = started("imports", r#"{"url": "http://world.test", "pages": 5, "until": 3}"#).await;
        assert_eq!(rig.output(run).await, "[3,4]");
        let entries = rig.entries(run).await;
        let before_failure: Vec<_> =
            entries.iter().take_while(|entry| !matches!(entry.kind, Kind::Failed(_))).cloned().collect();
        assert_eq!(told(&before_failure).last().map(String::as_str), Some("4"));
    });
}
