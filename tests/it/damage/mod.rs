//! Damage: what a disk did to stored bytes is found and named, nothing of it is silently dropped, and a
//! host whose disk fails ends without losing what it acknowledged. Copies are whole or none.

mod backup;
#[cfg(target_os = "linux")]
mod failing;
mod store;
#[cfg(target_os = "linux")]
mod sync;

use serde_json::json;
use std::path::Path;
use tokio::process::Command;
use trackway::api::model;
use trackway_replay::RunId;

use crate::left::Left;
use crate::server::{KEY, Server, binary};

/// `trackway` with these words, for `server` where there is one.
async fn trackway(folder: &Path, server: Option<&Server>, words: &[&str]) -> Left {
    let mut command = Command::new(binary());
    command.args(words).args(["-o", "json"]).current_dir(folder).env("HOME", folder);
    // Nobody listens at that port: a test must not find a server of somebody else.
    let url = server.map_or("http://127.0.0.1:1", |server| server.url.as_str());
    command.envs([("TRACKWAY_SERVER", url), ("TRACKWAY_KEY", KEY)]).stdin(std::process::Stdio::null());
    Left::of(command.output().await.expect("the binary starts"))
}

/// What a look at everything in a folder without a server came to.
async fn doctor(folder: &Path, data: &Path) -> (i32, model::StoreReport) {
    let data = data.display().to_string();
    let left = trackway(folder, None, &["doctor", "--deep", "--data", &data]).await;
    let report =
        serde_json::from_str(&left.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", left.stdout, left.stderr));
    (left.exit, report)
}

/// Runs that have ended, some of them with values beside their journals: as pieces and as a file.
async fn some_ended_runs(server: &Server) -> Vec<RunId> {
    let mut runs = Vec::new();
    for (workflow, input) in [
        ("parallel/chain", json!({ "n": 12 })),
        ("values/large_output", json!({ "bytes": 1_200_000 })),
        ("values/several", json!([30_000, 30_001, 30_002])),
        ("effects/fails_for_good", json!(null)),
    ] {
        runs.push(server.run(workflow, &input).await);
    }
    for run in &runs {
        assert!(server.wait(*run).await.status.has_ended());
    }
    runs
}
