//! What a person types: the real binary in a folder of its own, judged by its exit code and by what
//! stands on standard output and standard error. It never looks into the process.

mod approval;
mod asking;
mod bad_input;
mod busy;
mod children;
mod continued;
mod control;
mod deployments;
mod disk;
mod entities;
mod erased;
mod fair;
mod floods;
mod follow;
mod grants;
mod guide;
mod masked;
mod newcomer;
mod outputs;
mod progress;
mod questions;
mod quotas;
mod quotas_of_days;
mod redacted;
mod removed;
mod retries;
mod sealed;
mod secrets;
mod shutdown;
mod signals;
mod states;
mod streaming;
mod tenants;
mod tokens;
mod undeployed;
mod updates;
mod wire;
mod witness;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::left::Left;
use crate::rig::guests;
use crate::server::binary;

pub const KEY: &str = "tw_for-tests-only";
/// Longer than anything takes on a busy machine; who waits longer waits for nothing.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A folder of a user who has set nothing.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        // Named so that a disk is found that a killed test left in it (`power/disk.rs`).
        let name = format!("trackway-disk-{}-", std::process::id());
        Place { folder: tempfile::Builder::new().prefix(&name).tempdir().expect("a temporary folder") }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `trackway` with these words, split at spaces.
    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(binary());
        command.args(words.split(' ').filter(|word| !word.is_empty())).current_dir(self.path());
        command.env_remove("TRACKWAY_SERVER").env_remove("TRACKWAY_KEY").env_remove("TRACKWAY_DATA");
        command.env_remove("TRACKWAY_TENANT");
        command.env("XDG_CONFIG_HOME", self.path().join("config")).env("XDG_DATA_HOME", self.path().join("share"));
        // Shared with other builds of guests, so that std and the SDK are not built again.
        command.env("XDG_CACHE_HOME", guests().with_file_name("cache"));
        command.stdin(Stdio::null());
        command
    }
}

#[track_caller]
pub fn run(command: &mut Command) -> Left {
    Left::of(command.output().expect("the binary starts"))
}

/// `trackway server` on a free port.
pub struct Server {
    pub place: Place,
    pub url: String,
    child: Child,
    /// Kept, or the process could not write to it any more.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    pub fn start(place: Place, flags: &str) -> Server {
        Server::start_at(place, "127.0.0.1:0", flags)
    }

    fn start_at(place: Place, address: &str, flags: &str) -> Server {
        Server::start_with(place, address, flags, &[])
    }

    fn start_with(place: Place, address: &str, flags: &str, environment: &[(&str, &str)]) -> Server {
        let mut command = place.command(&format!("server --listen {address} --data data -o id {flags}"));
        command.envs(environment.iter().copied());
        let log = std::fs::File::options().create(true).append(true).open(place.path().join("log")).expect("a log");
        let mut child =
            command.env("TRACKWAY_KEY", KEY).stdout(Stdio::piped()).stderr(log).spawn().expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut url = String::new();
        stdout.read_line(&mut url).expect("its first line");
        let server = Server { place, url: url.trim().to_owned(), child, _stdout: stdout };
        assert!(server.url.starts_with("http"), "the server did not come up:\n{}", server.log());
        server
    }

    fn with_guest(guest: &str, flags: &str) -> Server {
        let server = Server::start(Place::new(), "");
        run(server.trackway("deploy").arg(guests().join(format!("{guest}.wasm"))).args(flags.split_whitespace()))
            .expect(0);
        server
    }

    pub fn trackway(&self, words: &str) -> Command {
        let mut command = self.place.command(words);
        command.env("TRACKWAY_SERVER", &self.url).env("TRACKWAY_KEY", KEY);
        command
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    /// Another process on the same data. This one is killed so long after somebody typed these words.
    fn killed_after(self, words: &str, wait: Duration) -> Server {
        let mut typed = self.trackway(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let begun = Instant::now();
        while begun.elapsed() < wait {
            std::hint::spin_loop();
        }
        signal(&self.child, "KILL");
        typed.wait().expect("it ends");
        Server::start(self.wait().1, "")
    }

    /// Waits for the end of the process; gives back its place.
    fn wait(mut self) -> (Option<i32>, Place) {
        let status = wait_for(&mut self.child);
        let place = std::mem::replace(&mut self.place, Place::new());
        (status.code(), place)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already where a test ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "the process does not end");
        std::thread::sleep(LOOK_EVERY);
    }
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(status.expect("there is a kill").success());
}
