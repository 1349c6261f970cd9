//! Disks that fail a sync or fill up under a busy host: it says so and ends, or refuses, as is written
//! down, and when the disk works again everything that was acknowledged is there. A host that minds no
//! failed sync shows that the test would notice.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

use super::failing::{Compressed, Failing, Mapped};
use crate::kill::ledger::{Kill, Ledger};
use crate::power::cuts::{self, Load};
use crate::power::disk::Disk;
use crate::proof;
use crate::server::{Environment, Server};
use crate::world::World;

/// Before the disk fails; each round a little longer, so that it meets the store at other places.
const LOAD: Duration = Duration::from_millis(900);
const LOAD_MORE: Duration = Duration::from_millis(173);
/// A host whose disk fails notices at its next write, which is a moment away.
const NOTICES_WITHIN: Duration = Duration::from_secs(60);
/// More show nothing that these do not.
const ROUNDS_MAX: u64 = 20;
/// What a host says between a failed sync and its next write reaches a client or not: a few rounds may
/// be lucky, this many in a row may not.
const CONTROL_ROUNDS_MAX: u64 = 12;
const BALLAST_STEP_BYTES: usize = 1 << 20;
/// A disk that failed or filled up is used for so long.
const USED_ON_FOR: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_because_the_disk_takes_no_more_ends_the_host_and_loses_nothing() {
    syncs_fail("a failed sync on a disk that takes no more writes", Compressed::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_with_an_error_of_the_device_ends_the_host_and_loses_nothing() {
    syncs_fail("a failed sync on a device-mapper error target", Mapped::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_minds_no_failed_sync_is_caught() {
    const WHAT: &str = "that a host that minds no failed sync is caught";
    let Err(why) = Compressed::new() else {
        return control(WHAT, Compressed::new).await;
    };
    let Err(other) = Mapped::new() else {
        return control(WHAT, Mapped::new).await;
    };
    proof::not_run(WHAT, &format!("{why}; {other}"));
}

async fn syncs_fail<D: Failing>(what: &str, disk: fn() -> Result<D, String>) {
    let rounds = proof::rounds(1).min(ROUNDS_MAX);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let disk = match disk() {
            Ok(disk) => disk,
            Err(why) => return proof::not_run(what, &why),
        };
        let ended = until_it_fails(disk, &[], Load::Everything, round).await;
        assert_eq!(ended.signal, Some(libc::SIGABRT), "round {round}: {}", ended.words);
        for part in ["TW0408", "hint:", &ended.data] {
            assert!(ended.words.contains(part), "round {round}: `{part}` is missing in: {}", ended.words);
        }
        assert!(ended.broken.is_empty(), "round {round}: {:#?}", ended.broken);
        acknowledged += ended.acknowledged;
    }
    println!("{what}: {acknowledged} runs were acknowledged, all are there");
    proof::checked(what, rounds, 0);
}

async fn control<D: Failing>(what: &str, disk: fn() -> Result<D, String>) {
    let environment = [("TRACKWAY_LOSE_DATA_FOR_TESTS", "mind-no-failed-sync")];
    for round in 0..CONTROL_ROUNDS_MAX {
        let disk = disk().expect("it could be made a moment ago");
        // Payload files would be synced as well, and end the host.
        let ended = until_it_fails(disk, &environment, Load::SmallOnly, round).await;
        if let Some(why) = ended.broken.first() {
            println!("noticed at failing disk {}: {why}", round + 1);
            return proof::checked(what, 1, 0);
        }
    }
    proof::checked(what, 0, 1);
    panic!("{CONTROL_ROUNDS_MAX} failing disks cost a host nothing that minds no failed sync");
}

/// What became of a host whose disk failed.
struct Ended {
    signal: Option<i32>,
    words: String,
    data: String,
    acknowledged: usize,
    /// When the disk worked again.
    broken: Vec<String>,
}

async fn until_it_fails(mut disk: impl Failing, environment: Environment<'_>, load: Load, round: u64) -> Ended {
    let log = TempDir::new().expect("a temporary folder");
    let data = disk.mount_point().join("data");
    let world = World::start(cuts::shop).await;
    let mut server = cuts::deployed(log.path(), &data, environment, &world).await;
    let mut ledger = Ledger::default();
    let epoch = server.epoch;
    let failing = async {
        tokio::time::sleep(LOAD + LOAD_MORE * (round % 8) as u32).await;
        disk.fail().expect("the disk can be made to fail");
        // The load goes on until the host has met it.
        tokio::time::sleep(USED_ON_FOR).await;
    };
    cuts::load_until(failing, &server, &world, load, &mut ledger, round).await;
    let status = tokio::time::timeout(NOTICES_WITHIN, server.ended()).await.ok();
    // One that minds no failed sync may go on without a word.
    assert!(status.is_some() || !environment.is_empty(), "it ends by itself");
    let mut ended = Ended {
        signal: status.and_then(|status| status.signal()),
        words: server.log(),
        data: data.display().to_string(),
        acknowledged: ledger.runs.len(),
        broken: Vec::new(),
    };
    if status.is_none() {
        tokio::time::timeout(NOTICES_WITHIN, server.bury()).await.expect("it can be killed");
    }
    ledger.kills.push(Kill { epoch, at: Instant::now(), asked: world.log().len(), recalling: None });
    if let Err(why) = disk.heal() {
        ended.broken.push(format!("the file system itself was lost: {why}"));
        return ended;
    }
    match Server::try_start(log.path(), &data, &[]).await {
        Ok(server) => {
            ended.broken = cuts::judge(&mut ledger, &server, &world).await;
            server.bury().await;
        }
        Err(why) => ended.broken.push(format!("the store does not open: {why}")),
    }
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_under_load_costs_nothing_that_was_acknowledged() {
    const WHAT: &str = "a disk that fills up under a busy host";
    let disk = match Disk::new() {
        Ok(disk) => disk,
        Err(why) => return proof::not_run(WHAT, &format!("{why} (it needs root, loop devices and mkfs.ext4)")),
    };
    let log = TempDir::new().expect("a temporary folder");
    let data = disk.mount_point().join("data");
    let ballast = disk.mount_point().join("ballast");
    let world = World::start(cuts::shop).await;
    let server = cuts::deployed(log.path(), &data, &[], &world).await;
    let mut ledger = Ledger::default();
    let epoch = server.epoch;
    let filling = async {
        tokio::time::sleep(LOAD).await;
        fill(&ballast).expect("it can be filled");
        tokio::time::sleep(USED_ON_FOR).await;
    };
    cuts::load_until(filling, &server, &world, Load::Everything, &mut ledger, 0).await;
    let start = serde_json::json!({ "workflow": "parallel/parallel", "input": 3 });
    let refused = server.try_post::<serde_json::Value>("runs", &start).await;
    assert!(refused.is_none(), "a full disk takes no run: {refused:?}");
    // What is there can be read, unless the log itself met the end of the disk: then the host has ended.
    let reads = match server.try_get::<serde_json::Value>("runs?limit=1").await {
        Some(_) => "went on reading",
        None => {
            assert!(server.log().contains("TW040"), "{}", server.log());
            "ended and said why"
        }
    };
    server.bury().await;
    ledger.kills.push(Kill { epoch, at: Instant::now(), asked: world.log().len(), recalling: None });
    std::fs::remove_file(&ballast).expect("it is there");
    let server = Server::try_start(log.path(), &data, &[]).await.expect("the store opens again");
    let broken = cuts::judge(&mut ledger, &server, &world).await;
    assert!(broken.is_empty(), "{broken:#?}");
    println!("{WHAT}: the host {reads}; {} runs were acknowledged, all are there", ledger.runs.len());
    server.bury().await;
    proof::checked(WHAT, 1, 0);
}

/// Writes until there is no room.
fn fill(ballast: &Path) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(ballast)?;
    let block = vec![7; BALLAST_STEP_BYTES];
    loop {
        match file.write_all(&block) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
            other => other?,
        }
    }
}
