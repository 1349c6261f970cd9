//! Copies of a store: taken while the host works, whole or refused, and good for going on.

use futures_util::future::join_all;
use serde_json::json;
use std::path::Path;
use trackway::api::model;
use trackway_replay::Status;

use super::{doctor, some_ended_runs, trackway};
use crate::proof;
use crate::server::{KEY, Server};
use crate::world::{Asked, Reply, World};

/// Cut off at so many places, and with so many single bits changed.
const CUTS: u64 = 24;
/// Each with a run at a time, while the backup is made.
const CLIENTS: u32 = 6;

async fn start_with_key(server: &Server, key: &str, workflow: &str, input: serde_json::Value) -> model::Started {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let body = json!({ "workflow": workflow, "input": input }).to_string();
    let request = client.post(format!("{}/v1/runs", server.url)).bearer_auth(KEY).header("idempotency-key", key);
    let response = request.header("content-type", "application/json").body(body).send().await.expect("it answers");
    let text = response.text().await.expect("text");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_busy_host_restores_to_one_that_goes_on() {
    let world = World::start(|asked: &Asked| Reply::ok(asked.nonce.to_string())).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]).await;
    for guest in ["parallel", "values", "effects", "sleeper", "entities"] {
        server.deploy(guest, &[world.origin()]).await;
    }
    // A deployment of several revisions.
    server.deploy("parallel", &[]).await;
    let ended = some_ended_runs(&server).await;
    let keyed = start_with_key(&server, "only-once", "parallel/parallel", json!(3)).await.run.id;
    server.wait(keyed).await;
    let mut before = Vec::new();
    for run in ended.iter().chain([&keyed]) {
        before.push((server.find(*run).await.expect("it is there"), server.journal(*run).await));
    }
    // One sleeps for longer than this test takes, one is between its effects.
    let sleeping = server.run("sleeper/naps", &json!([1, 3_600_000])).await;
    let posts = json!({ "url": world.origin(), "steps": 3, "pause_ms": 3_000 });
    let posting = server.run("effects/posts", &posts).await;
    world.until(|log| !log.is_empty()).await;
    while server.find(posting).await.expect("it is there").status != Status::Sleeping {
        tokio::task::yield_now().await;
    }

    // Others begin and end all the while.
    let load = join_all((0..CLIENTS).map(async |client| {
        loop {
            let run = match client % 3 {
                0 => server.run("parallel/chain", &json!({ "n": 30 })).await,
                1 => server.run("entities/counts", &json!({ "key": "all", "times": 20 })).await,
                _ => server.run("sleeper/naps", &json!([1, 2, 3])).await,
            };
            server.wait(run).await;
        }
    }));
    let file = folder.path().join("copy.trackway").display().to_string();
    let backup = async {
        for _ in 0..3 {
            trackway(folder.path(), Some(&server), &["backup", &file]).await.expect(0);
            // What changes while one looks is no flaw.
            let data = folder.path().join("data").display().to_string();
            trackway(folder.path(), Some(&server), &["doctor", "--deep", "--data", &data]).await.expect(0);
        }
    };
    tokio::select! { () = backup => {}, _ = load => {} }
    server.kill().await;

    let new = folder.path().join("new");
    let restored = trackway(folder.path(), None, &["restore", &file, "--data", &new.display().to_string()]).await;
    let restored = restored.expect(0).json();
    assert!(restored["open"].as_u64().is_some_and(|open| open >= 1), "{restored}");
    let (exit, report) = doctor(folder.path(), &new).await;
    assert_eq!((exit, &report.flaws), (0, &Vec::new()));
    let server = Server::try_start(folder.path(), &new, &[]).await.expect("what was restored can be served");
    for (run, journal) in before {
        let now = server.find(run.id).await.expect("it was restored");
        let text = |run: &model::Run| serde_json::to_string(run).expect("JSON");
        assert_eq!(text(&now), text(&run));
        assert_eq!(server.journal(run.id).await.len(), journal.len());
        assert!(server.replay(run.id).await.identical, "{} does not replay", run.id);
    }
    assert_eq!(server.find(sleeping).await.expect("it is there").status, Status::Sleeping);
    let cancel = json!({ "reason": "enough" });
    assert!(server.try_post::<model::Run>(&format!("runs/{sleeping}/cancel"), &cancel).await.is_some());
    assert_eq!(server.wait(sleeping).await.status, Status::Cancelled);
    let posted = server.wait(posting).await;
    assert_eq!(posted.status, Status::Succeeded, "{posted:?}");
    assert!(server.replay(posting).await.identical);
    let first = world.log().iter().filter(|asked| asked.path == "/step/0/0").count();
    assert_eq!(first, 1, "what was answered before the backup is not asked again");
    counted_once(&server).await;
    let again = start_with_key(&server, "only-once", "parallel/parallel", json!(3)).await;
    assert_eq!((again.run.id, again.existing), (keyed, true));
    // The deployments are there too.
    assert_eq!(server.wait(server.run("parallel/parallel", &json!(3)).await).await.status, Status::Succeeded);
    server.kill().await;
    proof::checked("a backup of a busy host that was restored", 1, 0);
}

/// Runs that counted in one entity while the backup was made go on with it: no two of them ever got the same sum,
/// and the entity knows the last one.
async fn counted_once(server: &Server) {
    let mut sums: Vec<u64> = Vec::new();
    let page: model::RunPage = server.get("runs?workflow=counts&limit=500").await;
    for run in &page.runs {
        let ended = server.wait(run.id).await;
        assert_eq!(ended.status, Status::Succeeded, "{ended:?}");
        assert!(server.replay(run.id).await.identical);
        let output = ended.output.expect("it has one");
        sums.extend(serde_json::from_str::<Vec<u64>>(output.get()).expect("numbers"));
    }
    sums.sort_unstable();
    assert!(sums.len() >= 20 && sums.windows(2).all(|pair| pair[0] < pair[1]), "{sums:?}");
    let entity: model::Entity = server.get("entities/count/all").await;
    assert_eq!(entity.value.get().parse().ok(), sums.last().copied());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_whole_backup_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]).await;
    for guest in ["parallel", "values", "effects"] {
        server.deploy(guest, &[]).await;
    }
    some_ended_runs(&server).await;
    let file = folder.path().join("copy.trackway");
    trackway(folder.path(), Some(&server), &["backup", &file.display().to_string()]).await.expect(0);
    let bytes = std::fs::read(&file).expect("it was written");
    let target = folder.path().join("target");
    let spoiled = folder.path().join("spoiled.trackway");
    let mut checked = 0;
    for cut in 0..CUTS {
        let place = bytes.len() * cut as usize / CUTS as usize;
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (cut % 8);
        for (what, damaged) in [("cut off", &bytes[..place]), ("changed", &flipped)] {
            std::fs::write(&spoiled, damaged).expect("written");
            let words = ["restore", &spoiled.display().to_string(), "--data", &target.display().to_string()];
            let left = trackway(folder.path(), None, &words).await.expect(1);
            assert!(left.stderr.contains("TW04"), "{what} at {place}: {}", left.stderr);
            assert!(is_empty(&target), "{what} at {place}: something was left");
            checked += 1;
        }
    }
    // A folder in use is left alone.
    let data = folder.path().join("data").display().to_string();
    let left =
        trackway(folder.path(), None, &["restore", &file.display().to_string(), "--data", &data]).await.expect(1);
    assert!(left.stderr.contains("not empty"), "{}", left.stderr);
    // Nor is a backup taken for one when its server went away in the middle.
    server.kill().await;
    let other = folder.path().join("other.trackway");
    let dead = trackway(folder.path(), None, &["backup", &other.display().to_string()]).await;
    assert_eq!(dead.exit, 8, "{}", dead.stderr);
    assert!(!other.exists());
    proof::checked("damaged backups that are refused", checked, 0);
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}
