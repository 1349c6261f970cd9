//! The host of a demo: a server process of its own, to be killed, and the command line pointed to it.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trackway_replay::trace::Trace;

use crate::process::{self, flush, output, say};
use crate::tree;

/// A host that is not up by then will not come up.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// How often a demo looks whether something has happened.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs a command as a user would type it, and shows both.
pub fn show(command: &mut Command) -> Result<()> {
    let words = command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    println!("    $ trackway {words}");
    flush();
    // As on a terminal, also where this program's own output goes to a file.
    let status = command.args(["-o", "text"]).stdin(Stdio::null()).status().context("cannot start trackway")?;
    ensure!(status.success(), "`trackway {words}` ended with {status}");
    Ok(())
}

pub fn read(command: &mut Command) -> Result<String> {
    output(command.stdin(Stdio::null()))
}

/// A server process of its own, to be killed.
pub struct Host {
    folder: PathBuf,
    address: String,
    /// A file with providers of models, and what stands in for a key.
    providers: Option<PathBuf>,
    child: Child,
}

/// The variable in which a provider of a demo looks for a key.
pub const KEY_ENV: &str = "TRACKWAY_DEMO_KEY";

impl Host {
    /// In a folder of its own, with nothing of an older demo.
    pub fn start(providers: Option<&str>) -> Result<Host> {
        say("start a host");
        let folder = tree::target().join("demo");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("an older demo cannot be removed")?;
        }
        std::fs::create_dir_all(&folder)?;
        let providers = match providers {
            Some(text) => {
                let file = folder.join("providers.toml");
                std::fs::write(&file, text)?;
                Some(file)
            }
            None => None,
        };
        // The same address after the restart, so that nobody has to be told a new one.
        let address = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.to_string();
        let child = Host::spawn(&folder, &address, providers.as_deref())?;
        let mut host = Host { folder, address, providers, child };
        host.wait_until_up()?;
        Ok(host)
    }

    fn spawn(folder: &Path, address: &str, providers: Option<&Path>) -> Result<Child> {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("host.log"))?;
        let mut command = Command::new(tree::trackway());
        command.args(["server", "--listen", address, "--data"]).arg(folder.join("data"));
        command.arg("--key-file").arg(folder.join("key")).current_dir(folder);
        if let Some(providers) = providers {
            command.arg("--providers").arg(providers).env(KEY_ENV, "none");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        println!("    $ trackway server --listen {address}");
        flush();
        command.spawn().context("cannot start the host")
    }

    pub fn start_again(&mut self) -> Result<()> {
        self.child = Host::spawn(&self.folder, &self.address, self.providers.as_deref())?;
        self.wait_until_up()
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the host ended with {status}:\n{}", self.log());
            }
            if self.trackway(&["runs", "ls"]).output().is_ok_and(|output| output.status.success()) {
                return Ok(());
            }
            ensure!(begun.elapsed() < UP_WITHIN, "the host does not answer:\n{}", self.log());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("host.log")).unwrap_or_default()
    }

    /// The command line, pointed to this host.
    pub fn trackway(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(tree::trackway());
        let key = std::fs::read_to_string(self.folder.join("key")).unwrap_or_default();
        let key = key.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
        command.args(arguments).current_dir(&self.folder);
        command.env("TRACKWAY_SERVER", format!("http://{}", self.address)).env("TRACKWAY_KEY", key.trim());
        command
    }

    pub fn trace(&self, run: &str) -> Result<Trace> {
        let text = read(&mut self.trackway(&["trace", run, "-o", "json"]))?;
        serde_json::from_str(&text).context("the trace is not as this program knows it")
    }

    /// SIGKILL: nothing of it gets to tidy up.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("the host cannot be killed")?;
        self.child.wait()?;
        Ok(())
    }

    pub fn stop(&mut self) -> Result<()> {
        let id = self.child.id().to_string();
        ensure!(process::works(Command::new("kill").args(["-TERM", &id])), "the host cannot be stopped");
        let status = self.child.wait()?;
        ensure!(status.success(), "the host did not stop well ({status}):\n{}", self.log());
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Already gone where everything went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
