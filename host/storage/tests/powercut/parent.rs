//! Starts the writer, cuts the power, and compares what is there with what was acknowledged.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use trackway_replay::{Digest, Position};
use trackway_storage::{Append, Appended, Hardening, Rows, SledStorage, Storage};

use crate::disk::Disk;
use crate::writer::{self, RUNS, frame_id, run_key};

const ROUNDS: u32 = 3;
/// A round without hardening may be lucky, this many in a row may not: about two of three lose.
const CONTROL_ROUNDS_MAX: u32 = 12;
/// How long a round writes; each round a little longer, so that the cut meets sled at other places.
const WRITING: Duration = Duration::from_millis(700);
const WRITING_MORE: Duration = Duration::from_millis(173);
/// A writer that acknowledges nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run() -> ExitCode {
    if let Err(why) =
        Disk::new().and_then(|disk| disk.cut_power().map_err(|error| format!("EXT4_IOC_SHUTDOWN: {error}")))
    {
        println!("NOT RUN: power cut, full disk: {why} (it needs root, loop devices and mkfs.ext4)");
        return ExitCode::SUCCESS;
    }
    let rounds = match std::env::var("TRACKWAY_PROVE_ROUNDS") {
        Ok(text) => text.parse().expect("TRACKWAY_PROVE_ROUNDS is a number"),
        Err(_) => ROUNDS,
    };
    if let Err(why) = crate::full::check() {
        println!("CHECKED a full disk under the store: 0 passed, 1 failed");
        println!("FAILED: full disk: {why}");
        return ExitCode::FAILURE;
    }
    println!("full disk: writes were refused, reads went on, and so did writes with room again");
    println!("CHECKED a full disk under the store: 1 passed, 0 failed");
    let mut failed = 0;
    for round in 1..=rounds {
        let outcome = cut("on", round);
        println!("power cut {round} of {rounds}: {outcome}");
        failed += u32::from(outcome.has_lost());
    }
    // sled says in many lines where it met what the control lost; nobody needs them.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let noticed = (1..=CONTROL_ROUNDS_MAX).any(|round| {
        let outcome = cut("off", round);
        println!("power cut without hardening {round}: {outcome}");
        outcome.has_lost()
    });
    std::panic::set_hook(hook);
    println!("CHECKED power cuts under the store: {} passed, {failed} failed", rounds - failed);
    println!(
        "CHECKED that a store without hardening is caught: {} passed, {} failed",
        u8::from(noticed),
        u8::from(!noticed)
    );
    if failed > 0 {
        println!("FAILED: {failed} of {rounds} power cuts lost acknowledged data");
        return ExitCode::FAILURE;
    }
    if !noticed {
        println!(
            "FAILED: {CONTROL_ROUNDS_MAX} power cuts without hardening lost nothing, so this test would not notice"
        );
        return ExitCode::FAILURE;
    }
    println!("ok: {rounds} power cuts lost nothing; the control without hardening did");
    ExitCode::SUCCESS
}

struct Outcome {
    acknowledged: u64,
    lost: Result<u64, String>,
}

impl Outcome {
    fn has_lost(&self) -> bool {
        self.lost != Ok(0)
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.lost {
            Ok(lost) => write!(f, "{} acknowledged, {lost} lost", self.acknowledged),
            Err(why) => write!(f, "{} acknowledged, and the store cannot be read: {why}", self.acknowledged),
        }
    }
}

fn cut(hardening: &str, round: u32) -> Outcome {
    let disk = Disk::new().unwrap();
    let data = disk.mount_point().join("data");
    let ends = write_until_the_cut(&disk, &data, hardening, WRITING + WRITING_MORE * (round % 8));
    disk.unmount().unwrap();
    disk.mount().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lost = runtime.block_on(count_lost(&data, &ends, hardening));
    Outcome { acknowledged: ends.iter().sum(), lost }
}

/// How many frames of each run were acknowledged.
fn write_until_the_cut(disk: &Disk, data: &Path, hardening: &str, writing: Duration) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--writer".as_ref(), data.as_os_str(), hardening.as_ref()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, acknowledged) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut ends = vec![0; RUNS as usize];
        for line in lines {
            let line = line.unwrap();
            let (run, position) = line.split_once(' ').unwrap();
            ends[run.parse::<usize>().unwrap()] = position.parse::<u64>().unwrap() + 1;
            // Nobody listens after the cut.
            let _ = sender.send(());
        }
        ends
    });
    acknowledged.recv_timeout(PATIENCE).expect("the writer acknowledges something");
    let cut_at = Instant::now() + writing;
    while let Some(left) = cut_at.checked_duration_since(Instant::now()) {
        if acknowledged.recv_timeout(left).is_err() {
            break;
        }
    }
    disk.cut_power().unwrap();
    if hardening == "on" {
        check_last_words(&mut child, data);
    }
    // Already dead, or of no use any more.
    let _ = child.kill();
    child.wait().unwrap();
    // The end of the pipe is the end of its process.
    reader.join().unwrap()
}

/// A process whose disk fails says what and where, and aborts: it must not go on.
fn check_last_words(child: &mut Child, data: &Path) {
    use std::os::unix::process::ExitStatusExt;

    let mut words = String::new();
    child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{words}");
    // Which file it was writing just then is chance: the log, or a large payload.
    for part in ["TW0408", "hint:", &data.display().to_string()] {
        assert!(words.contains(part), "`{part}` is missing in: {words}");
    }
}

async fn count_lost(data: &Path, ends: &[u64], hardening: &str) -> Result<u64, String> {
    let text = |error: trackway_storage::StorageError| error.to_string();
    let store = SledStorage::open(data, writer::options(Hardening::On)).map_err(text)?;
    let mut lost = 0;
    for (run, end) in (0..).zip(ends) {
        let frames = store.frames(run_key(run), Position::FIRST, usize::MAX).await.map_err(text)?;
        let mut whole = 0;
        for (position, frame) in (0..*end).zip(&frames) {
            let mut is_whole = frame.id == frame_id(run, position) && frame.frame == writer::frame(run, position);
            if hardening == "on"
                && let Some(payload) = writer::payload(run, position)
            {
                let read = store.payload(run_key(run), Digest::of(&payload)).await.map_err(text)?;
                is_whole &= read == Some(payload);
            }
            whole += u64::from(is_whole);
        }
        lost += end - whole;
        go_on(&store, run, frames.len() as u64).await?;
    }
    Ok(lost)
}

/// A store that survived can be written.
async fn go_on(store: &SledStorage, run: u64, position: u64) -> Result<(), String> {
    let append = Append {
        run: run_key(run),
        position: Position(position),
        entries: 1,
        previous: position.checked_sub(1).map(|before| frame_id(run, before)),
        id: frame_id(run, position),
        frame: writer::frame(run, position),
        rows: Rows::default(),
    };
    match store.append(append).await {
        Appended::Durable => Ok(()),
        other => Err(format!("run {run} does not go on: {other:?}")),
    }
}
