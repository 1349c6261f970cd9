//! Runs that are removed when they were kept long enough.

use std::time::Duration;
use trackway_replay::{Position, RunId, TenantId};
use trackway_storage::{RunKey, SledOptions, SledStorage, Storage};

use super::support::{Server, nap, options_of};
use crate::host::{Host, Retention};

#[tokio::test]
async fn a_run_that_cannot_be_read_keeps_no_other_one_from_being_removed() {
    let server = Server::start().await;
    server.deploy("main", nap(1, "7")).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(server.finish(r#"{"workflow":"nap"}"#).await.parse::<RunId>().expect("an id"));
    }
    let folder = server.stop().await;
    let store = folder.path().join("data/store");
    let store = SledStorage::open(&store, SledOptions::default()).expect("it opens");
    let first = RunKey { tenant: TenantId::DEFAULT, run: runs[0] };
    assert!(store.damage_frame(first, Position::FIRST).expect("it is written"));
    store.close().await.expect("it is closed");
    drop(store);
    let host = Host::open(options_of(&folder)).await.expect("the host opens");
    let all = Retention { all: Some(Duration::ZERO), ..Retention::default() };
    assert_eq!(host.remove_finished(&all).await.expect("the others are removed"), 2);
    assert!(host.head(runs[0]).await.is_ok(), "it is there for whoever looks into it");
    for run in &runs[1..] {
        assert!(host.head(*run).await.is_err());
    }
    host.drain(Duration::ZERO).await.expect("a clean stop");
}
