//! Bits that change and files that are cut off, in everything that a data folder holds.

use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trackway::api::model;
use trackway_replay::{Position, RunId, Status};
use trackway_storage::{RunKey, SledOptions, SledStorage};

use super::{doctor, some_ended_runs, trackway};
use crate::proof;
use crate::server::Server;

/// Places in the files of a store that are damaged, one after the other.
const ROUNDS: u64 = 12;

/// A data folder whose server was killed, and what was in it.
struct Sound {
    folder: tempfile::TempDir,
    /// Where it is sealed: the file with the keys of its server.
    keys: Option<PathBuf>,
    runs: Vec<(model::Run, Vec<model::Entry>)>,
}

impl Sound {
    async fn new() -> Sound {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Server::start(folder.path(), &[]).await;
        Sound::filled(folder, None, server).await
    }

    /// With a data key beside the store.
    async fn sealed() -> Sound {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let keys = folder.path().join("keys");
        let file = keys.display().to_string();
        let flags = ["--seal", "--secrets-key-file", &file];
        let server = Server::try_start_with(folder.path(), &folder.path().join("data"), &[], &flags).await;
        Sound::filled(folder, Some(keys), server.expect("an empty folder can be opened")).await
    }

    async fn filled(folder: tempfile::TempDir, keys: Option<PathBuf>, server: Server) -> Sound {
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
        Sound { folder, keys, runs: seen }
    }

    /// What a command needs that is to open it, after its other words.
    fn words(&self) -> Vec<String> {
        let keys = self.keys.iter();
        keys.flat_map(|keys| ["--secrets-key-file".to_owned(), keys.display().to_string()]).collect()
    }

    /// Looks at everything in a copy that was spoiled, as `what` says: it is refused, or what is wrong is named, or
    /// nothing is.
    async fn judge(&self, copy: &Path, what: &str) -> Verdict {
        let data = copy.join("data").display().to_string();
        let of_store = self.words();
        let words = ["doctor", "--deep", "--data", &data].into_iter().chain(of_store.iter().map(String::as_str));
        let left = trackway(copy, None, &words.collect::<Vec<_>>()).await;
        if left.exit == 1 && left.stdout.is_empty() {
            assert!(left.stderr.contains("[TW04"), "{what}: {}", left.stderr);
            return Verdict::Refused;
        }
        if left.exit == 1 {
            return Verdict::Named;
        }
        // A page that a later one replaced, say. Then everything must be there.
        assert_eq!(left.exit, 0, "{what}: {}", left.stderr);
        self.everything_is_there(copy, what).await;
        Verdict::Harmless
    }

    async fn everything_is_there(&self, copy: &Path, what: &str) {
        let flags = self.words();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = Server::try_start_with(copy, &copy.join("data"), &[], &flags).await;
        let server = server.unwrap_or_else(|why| panic!("{what}: nothing was found, and it cannot be served: {why}"));
        for (run, journal) in &self.runs {
            assert!(server.find(run.id).await.is_some(), "{what}: run {} was dropped", run.id);
            let now = server.journal(run.id).await;
            let text = |entries: &[model::Entry]| serde_json::to_string(entries).expect("JSON");
            assert_eq!(text(&now), text(journal), "{what}: run {} lost something", run.id);
        }
        server.kill().await;
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

/// What came of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Refused,
    Named,
    Harmless,
}

/// How often which.
#[derive(Default)]
struct Tally(BTreeMap<Verdict, u64>);

impl Tally {
    fn add(&mut self, verdict: Verdict) {
        *self.0.entry(verdict).or_default() += 1;
    }

    fn tell(&self, places: &str) {
        let of = |verdict: Verdict| self.0.get(&verdict).copied().unwrap_or_default();
        let (refused, named, harmless) = (of(Verdict::Refused), of(Verdict::Named), of(Verdict::Harmless));
        println!("{places}: {refused} refused, {named} named, {harmless} without effect");
    }
}

/// Numbers that look random, the same from the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn flip(file: &Path, place: usize, bit: u32) {
    let mut bytes = std::fs::read(file).expect("it is there");
    bytes[place] ^= 1 << bit;
    std::fs::write(file, bytes).expect("written");
}

fn cut_off(file: &Path, size_bytes: usize) {
    let file = std::fs::File::options().write(true).open(file).expect("it is there");
    file.set_len(size_bytes as u64).expect("cut off");
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
    let mut random = Random(proof::seed(7) | 1);
    let mut tally = Tally::default();
    for round in 0..rounds {
        let place = random.next();
        let copy = sound.copy();
        let log = copy.path().join("data/store/store/db");
        match round % 6 {
            5 => cut_off(&log, place as usize % used),
            _ => flip(&log, place as usize % used, (place >> 60) as u32 % 8),
        }
        tally.add(sound.judge(copy.path(), &format!("round {round}")).await);
    }
    tally.tell(&format!("{rounds} places in the log"));
    proof::checked("damaged places in the log of a store", rounds, 0);
}

/// Files of a store that have tests of their own: the log, and what is checked against a digest.
const TRIED_ELSEWHERE: [&str; 3] = ["store/store/db", "store/payloads", "store/components"];
/// There are at least so many others: the format, the counter, a data key, and what the engine has beside its log.
const OTHERS_MIN: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bit_of_what_stands_beside_the_log_changes_without_being_noticed() {
    let sound = Sound::sealed().await;
    let whole = sound.copy();
    assert_eq!(sound.judge(whole.path(), "a copy that nobody touched").await, Verdict::Harmless);
    let inside = |file: PathBuf| file.strip_prefix(sound.data()).expect("it is below").to_owned();
    let is_other = |file: &PathBuf| !TRIED_ELSEWHERE.iter().any(|tried| file.starts_with(tried));
    let is_filled = |file: &PathBuf| std::fs::metadata(sound.data().join(file)).is_ok_and(|file| file.len() > 0);
    let others: Vec<PathBuf> =
        files(&sound.data().join("store")).into_iter().map(inside).filter(is_other).filter(is_filled).collect();
    for part in ["store/format", "store/counter", "store/keys", "store/store/conf"] {
        assert!(others.iter().any(|file| file.starts_with(part)), "there is no {part} among {others:?}");
    }
    assert!(others.len() >= OTHERS_MIN, "{others:?}");
    // Each is changed and cut off at least once.
    let rounds = proof::rounds(ROUNDS).max(2 * others.len() as u64);
    let mut random = Random(proof::seed(7) | 1);
    let mut tally = Tally::default();
    for round in 0..rounds as usize {
        let (file, turn) = (&others[round % others.len()], round / others.len());
        let copy = sound.copy();
        let target = copy.path().join("data").join(file);
        let place = random.next();
        let size_bytes = std::fs::metadata(&target).expect("it is there").len() as usize;
        let how = if turn % 2 == 0 { "changed" } else { "cut off" };
        match how {
            "changed" => flip(&target, place as usize % size_bytes, (place >> 60) as u32 % 8),
            _ => cut_off(&target, place as usize % size_bytes),
        }
        let what = format!("{} {how} at {}", file.display(), place as usize % size_bytes);
        tally.add(sound.judge(copy.path(), &what).await);
    }
    tally.tell(&format!("{rounds} places in {} files beside the log", others.len()));
    proof::checked("damaged places beside the log of a store", rounds, 0);
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
