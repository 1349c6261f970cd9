//! Bits that change and files that are cut off, in everything that a data folder holds.

use serde_json::json;
use std::path::{Path, PathBuf};
use trackway::api::model;
use trackway_replay::{Position, RunId, Status};
use trackway_storage::{RunKey, SledOptions, SledStorage};

use super::{doctor, some_ended_runs, trackway};
use crate::proof;
use crate::server::Server;

/// Places in the files of a store that are damaged, one after the other.
const ROUNDS: u64 = 12;

/// A data folder that was closed well, and what was in it.
struct Sound {
    folder: tempfile::TempDir,
    runs: Vec<(model::Run, Vec<model::Entry>)>,
}

impl Sound {
    async fn new() -> Sound {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Server::start(folder.path(), &[]).await;
        for guest in ["parallel", "values", "effects", "sleeper"] {
            server.deploy(guest, &[]).await;
        }
        let mut runs = some_ended_runs(&server).await;
        runs.push(server.run("sleeper/naps", &json!([1, 3_600_000])).await);
        while server.find(runs[4]).await.expect("it is there").status != Status::Sleeping {
            tokio::task::yield_now().await;
        }
        let mut seen = Vec::new();
        for run in runs {
            seen.push((server.find(run).await.expect("it is there"), server.journal(run).await));
        }
        server.kill().await;
        Sound { folder, runs: seen }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A copy to be spoiled.
    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a temporary folder");
        let status = std::process::Command::new("cp").arg("-a").arg(self.data()).arg(copy.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "cp -a");
        copy
    }
}

fn flip(file: &Path, place: usize, bit: u32) {
    let mut bytes = std::fs::read(file).expect("it is there");
    bytes[place] ^= 1 << bit;
    std::fs::write(file, bytes).expect("written");
}

fn cut_in_half(file: &Path) {
    let bytes = std::fs::read(file).expect("it is there");
    std::fs::write(file, &bytes[..bytes.len() / 2]).expect("written");
}

/// All files below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sound_store_is_found_to_be_so_with_and_without_a_server() {
    let sound = Sound::new().await;
    let (exit, report) = doctor(sound.folder.path(), &sound.data()).await;
    assert_eq!((exit, &report.flaws, report.runs), (0, &Vec::new(), 5));
    let entries: usize = sound.runs.iter().map(|(_, journal)| journal.len()).sum();
    assert_eq!((report.entries, report.components), (entries as u64, 4));
    assert!(report.payloads > 0, "some values stand beside the journals");
    // A server has the folder: it is asked.
    let server = Server::start(sound.folder.path(), &[]).await;
    let data = sound.data().display().to_string();
    let left = trackway(sound.folder.path(), Some(&server), &["doctor", "--deep", "--data", &data]).await.expect(0);
    assert!(left.stderr.contains("a server uses"), "{}", left.stderr);
    assert_eq!(left.json()["runs"], 5);
    server.kill().await;
    proof::checked("sound stores, offline and through a server", 2, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_frame_is_named_and_costs_its_run_only() {
    let sound = Sound::new().await;
    let copy = sound.copy();
    let data = copy.path().join("data");
    let (run, journal) = &sound.runs[0];
    let place = frame_in_the_middle(&data, run.id, journal).await;
    let (exit, report) = doctor(copy.path(), &data).await;
    assert_eq!(exit, 1);
    let of_run: Vec<_> = report.flaws.iter().filter(|flaw| flaw.run == Some(run.id)).collect();
    assert!(of_run.len() == report.flaws.len() && !of_run.is_empty(), "{:?}", report.flaws);
    assert!(of_run.iter().any(|flaw| flaw.what.contains(&format!("position {place}"))), "{of_run:?}");
    assert!(of_run.iter().all(|flaw| !flaw.advice.is_empty()));
    // Views and replay say so, other runs are as they were; a backup names what it could not copy.
    let server = Server::start(copy.path(), &[]).await;
    assert!(server.try_get::<model::Trace>(&format!("runs/{}/trace", run.id)).await.is_none());
    for (other, journal) in &sound.runs[1..] {
        assert_eq!(server.journal(other.id).await.len(), journal.len());
    }
    let file = copy.path().join("copy").display().to_string();
    let left = trackway(copy.path(), Some(&server), &["backup", &file]).await.expect(1);
    assert!(left.stderr.contains("NOT COPIED") && left.stderr.contains(&run.id.to_string()), "{}", left.stderr);
    server.kill().await;
    proof::checked("a damaged frame", 1, 0);
}

/// Flips a bit in the frame that holds the middle entry; a quick host may need no other. Its position.
async fn frame_in_the_middle(data: &Path, run: RunId, journal: &[model::Entry]) -> u64 {
    use trackway_storage::Storage as _;
    let store = SledStorage::open(&data.join("store"), SledOptions::default()).expect("it opens");
    let key = RunKey { tenant: trackway_replay::TenantId::DEFAULT, run };
    let frames = store.frames(key, Position::FIRST, usize::MAX).await.expect("they are there");
    let middle = journal.len() as u64 / 2;
    let frame = frames.iter().rev().find(|frame| frame.position.0 <= middle).expect("the first one is at 0");
    assert!(store.damage_frame(key, frame.position).expect("written"));
    store.close().await.expect("closed");
    frame.position.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_and_missing_values_and_components_are_named() {
    let sound = Sound::new().await;
    let mut checked = 0;
    for part in ["store/payloads", "store/components"] {
        for file in files(&sound.data().join(part)) {
            let inside = file.strip_prefix(sound.data()).expect("it is below").to_owned();
            for how in ["changed", "cut off", "removed"] {
                let copy = sound.copy();
                let target = copy.path().join("data").join(&inside);
                match how {
                    "changed" => flip(&target, std::fs::metadata(&target).expect("there").len() as usize / 2, 3),
                    "cut off" => cut_in_half(&target),
                    _ => std::fs::remove_file(&target).expect("it is there"),
                }
                let (exit, report) = doctor(copy.path(), &copy.path().join("data")).await;
                let name = inside.file_stem().expect("it has a name").to_string_lossy().into_owned();
                assert_eq!(exit, 1, "{} {how}: {report:?}", inside.display());
                assert!(report.flaws.iter().any(|flaw| flaw.what.contains(&name)), "{report:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 0);
    proof::checked("damaged values and components", checked, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bit_of_the_store_itself_changes_without_being_noticed() {
    let sound = Sound::new().await;
    let rounds = proof::rounds(ROUNDS);
    let whole = sound.copy();
    assert_eq!(doctor(whole.path(), &whole.path().join("data")).await.0, 0, "a copy that nobody touched is good");
    let log = sound.data().join("store/store/db");
    let written = std::fs::read(&log).expect("the log of the store");
    // What follows the last byte that was ever written is not in use.
    let used = written.iter().rposition(|byte| *byte != 0).expect("something was written") + 1;
    let (mut harmless, mut named, mut refused) = (0_u64, 0_u64, 0_u64);
    let mut random = proof::seed(7) | 1;
    for round in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let copy = sound.copy();
        let data = copy.path().join("data");
        let log = data.join("store/store/db");
        match round % 6 {
            5 => std::fs::File::options()
                .write(true)
                .open(&log)
                .and_then(|file| file.set_len(random % used as u64))
                .expect("cut off"),
            _ => flip(&log, random as usize % used, (random >> 60) as u32 % 8),
        }
        let left = trackway(copy.path(), None, &["doctor", "--deep", "--data", &data.display().to_string()]).await;
        if left.exit == 1 && left.stdout.is_empty() {
            assert!(left.stderr.contains("[TW04"), "round {round}: {}", left.stderr);
            refused += 1;
        } else if left.exit == 1 {
            named += 1;
        } else {
            // A page that a later one replaced, say. Then everything must be there.
            everything_is_there(&sound, copy.path(), round).await;
            harmless += 1;
        }
    }
    println!("{rounds} places in the log: {refused} refused, {named} named, {harmless} without effect");
    proof::checked("damaged places in the log of a store", rounds, 0);
}

async fn everything_is_there(sound: &Sound, copy: &Path, round: u64) {
    let server = Server::start(copy, &[]).await;
    for (run, journal) in &sound.runs {
        assert!(server.find(run.id).await.is_some(), "round {round}: run {} was dropped", run.id);
        let now = server.journal(run.id).await;
        let text = |entries: &[model::Entry]| serde_json::to_string(entries).expect("JSON");
        assert_eq!(text(&now), text(journal), "round {round}: run {} lost something", run.id);
    }
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_compiled_code_is_made_anew() {
    let sound = Sound::new().await;
    let mut checked = 0;
    for how in ["changed", "cut off", "removed"] {
        let copy = sound.copy();
        let code = files(&copy.path().join("data/code"));
        assert!(!code.is_empty());
        for file in &code {
            match how {
                "changed" => flip(file, std::fs::metadata(file).expect("there").len() as usize / 2, 5),
                "cut off" => cut_in_half(file),
                _ => std::fs::remove_file(file).expect("it is there"),
            }
        }
        let server = Server::start(copy.path(), &[]).await;
        assert!(server.replay(sound.runs[0].0.id).await.identical);
        let run = server.wait(server.run("parallel/parallel", &json!(3)).await).await;
        assert_eq!(run.status, Status::Succeeded);
        if how != "removed" {
            assert!(server.log().contains("cached code refused"), "{}", server.log());
        }
        server.kill().await;
        checked += 1;
    }
    proof::checked("damaged compiled code", checked, 0);
}
