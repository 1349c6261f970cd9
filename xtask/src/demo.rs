//! The main promise, shown: upload a workflow, run it on real HTTP, kill the host in the middle,
//! start it again, and watch the run finish without repeating a finished step. It fails when the
//! promise is not kept.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trackway_replay::trace::{Row, Trace, What};

use crate::pages::Pages;
use crate::process::{self, flush, output, say};
use crate::{guests, tree};

/// A host that is not up by then will not come up.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// The slowest page takes four seconds; pages from the internet take what they take.
const MIDDLE_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub fn demo(urls: Vec<String>) -> Result<()> {
    guests::build()?;
    process::run(
        "building trackway",
        Command::new("cargo").args(["build", "--package", "trackway"]).current_dir(tree::root()),
    )?;

    let pages = Pages::serve()?;
    let own = urls.is_empty();
    let urls = if own { pages.urls() } else { urls };
    let folder = tree::target().join("demo");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).context("an older demo cannot be removed")?;
    }
    std::fs::create_dir_all(&folder)?;
    let mut host = Host::start(&folder)?;

    say("upload the workflow");
    let component = tree::guests().join("headlines.wasm");
    let mut deploy = host.trackway(&["deploy"]);
    deploy.arg(&component).args(["--name", "headlines"]);
    for origin in origins(&urls)? {
        deploy.args(["--allow-host", &origin]);
    }
    show(&mut deploy)?;

    say(&format!("start a run on {} pages", urls.len()));
    let input = serde_json::json!({ "urls": urls }).to_string();
    let run = read(&mut host.trackway(&["run", "headlines", "-i", &input, "--detach", "-o", "id"]))?.trim().to_owned();
    println!("    run {run}");

    let at_kill = wait_for_the_middle(&host, &run, urls.len())?;
    host.kill()?;
    say("kill -9");
    let totals = at_kill.totals;
    println!("    the host is gone; {} steps had their answer, {} had not", totals.steps_succeeded, totals.steps_open);

    host.start_again()?;
    say("the same host again: the run goes on by itself");
    show(&mut host.trackway(&["trace", &run, "--follow"]))?;

    say("the trace");
    show(&mut host.trackway(&["trace", &run]))?;
    let trace = host.trace(&run)?;
    let header = trace.run.as_ref().context("the trace has no beginning")?;
    ensure!(header.failure.is_none() && header.output.is_some(), "the run did not succeed: {:?}", header.failure);

    say("what was not repeated");
    tell_what_was_not_repeated(&trace, own.then_some(&pages))?;

    say("proof: the run is executed again from its journal, touching nothing");
    show(&mut host.trackway(&["replay", &run]))?;
    host.stop()?;

    say("done. This line puts trackway on your PATH:");
    println!("{}", path_line()?);
    flush();
    Ok(())
}

/// Looks at the run until some of its steps have their answer and some have not.
fn wait_for_the_middle(host: &Host, run: &str, pages: usize) -> Result<Trace> {
    let begun = Instant::now();
    loop {
        let trace = host.trace(run)?;
        let ended = trace.run.as_ref().is_some_and(|run| run.finished.is_some());
        ensure!(!ended, "the run ended before the host could be killed: give it slower pages, or more of them");
        let enough = u32::try_from(pages.div_ceil(3)).unwrap_or(u32::MAX);
        if trace.totals.steps_succeeded >= enough && trace.totals.steps_open > 0 {
            return Ok(trace);
        }
        if begun.elapsed() > MIDDLE_WITHIN {
            bail!("the run does not get anywhere: {:?}", trace.totals);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn tell_what_was_not_repeated(trace: &Trace, pages: Option<&Pages>) -> Result<()> {
    let restart = trace.activations.iter().rfind(|activation| activation.restart);
    let recalled = trace.recalled(restart.context("the trace knows of no restart")?);
    ensure!(!recalled.steps.is_empty(), "no step was finished before the host was killed");
    for step in &recalled.steps {
        println!("    step {:<3} {:<16} finished before the kill, not repeated", step.id, step.title());
        for url in urls_of(trace, step) {
            let Some(pages) = pages else { continue };
            let (asked, needed) = (pages.asked(&url), pages.asks_needed(&url));
            let refused = if needed > 1 { ", the first time it answered 503" } else { "" };
            println!("             {url}  asked for {asked}x in all{refused}");
            ensure!(asked == needed, "{url} was asked for {asked} times instead of {needed}");
        }
    }
    for effect in &recalled.effects {
        println!("    effect {:<8} answered before the kill, not repeated", effect.id);
    }
    for effect in &recalled.open {
        let has_key = match &effect.what {
            What::Http(http) => http.idempotency_key.is_some(),
            What::Model(model) => model.idempotency_key.is_some(),
            _ => false,
        };
        let key = if has_key { ", under the same idempotency key" } else { "" };
        println!("    effect {:<8} was open at the kill: asked for again{key}", effect.id);
    }
    println!("    {} finished steps, 0 of them done again", recalled.steps.len());
    Ok(())
}

fn urls_of(trace: &Trace, step: &Row) -> Vec<String> {
    let rows = trace.rows.iter().filter(|row| row.step() == step.step());
    let url = |row: &Row| match &row.what {
        What::Http(http) => http.url.clone(),
        What::Model(_)
        | What::Call { .. }
        | What::Run { .. }
        | What::Sleep { .. }
        | What::Attempt { .. }
        | What::Receive { .. }
        | What::Question { .. }
        | What::Promise { .. }
        | What::Entity { .. }
        | What::Accept { .. }
        | What::Publish { .. }
        | What::Reply { .. }
        | What::Update { .. }
        | What::Signal { .. }
        | What::Cancel { .. }
        | What::Patch { .. }
        | What::Event { .. }
        | What::Span { .. }
        | What::Move { .. }
        | What::Continue
        | What::Pause { .. } => None,
    };
    rows.filter_map(url).collect()
}

/// `scheme://host:port` of each URL, once.
fn origins(urls: &[String]) -> Result<Vec<String>> {
    let mut origins = Vec::new();
    for url in urls {
        let (scheme, rest) = url.split_once("://").with_context(|| format!("`{url}` is not a URL"))?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let origin = format!("{scheme}://{host}");
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    Ok(origins)
}

/// The line for a shell; tried before it is shown.
fn path_line() -> Result<String> {
    let program = tree::trackway();
    let folder = program.parent().context("a program stands in a folder")?;
    let line = format!("export PATH=\"{}:$PATH\"", folder.display());
    let found = output(Command::new("sh").args(["-c", &format!("{line}; command -v trackway && trackway --version")]))?;
    let is_ours = found.lines().next().is_some_and(|path| Path::new(path) == program);
    ensure!(is_ours && found.contains("trackway 0."), "the line does not work: {found}");
    Ok(line)
}

/// Runs a command as a user would type it, and shows both.
fn show(command: &mut Command) -> Result<()> {
    let words = command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    println!("    $ trackway {words}");
    flush();
    // As on a terminal, also where this program's own output goes to a file.
    let status = command.args(["-o", "text"]).stdin(Stdio::null()).status().context("cannot start trackway")?;
    ensure!(status.success(), "`trackway {words}` ended with {status}");
    Ok(())
}

fn read(command: &mut Command) -> Result<String> {
    output(command.stdin(Stdio::null()))
}

/// A server process of its own, to be killed.
struct Host {
    folder: PathBuf,
    address: String,
    child: Child,
}

impl Host {
    fn start(folder: &Path) -> Result<Host> {
        say("start a host");
        // The same address after the restart, so that nobody has to be told a new one.
        let address = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.to_string();
        let child = Host::spawn(folder, &address)?;
        let mut host = Host { folder: folder.to_owned(), address, child };
        host.wait_until_up()?;
        Ok(host)
    }

    fn spawn(folder: &Path, address: &str) -> Result<Child> {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("host.log"))?;
        let mut command = Command::new(tree::trackway());
        command.args(["server", "--listen", address, "--data"]).arg(folder.join("data"));
        command.arg("--key-file").arg(folder.join("key")).current_dir(folder);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        println!("    $ trackway server --listen {address}");
        flush();
        command.spawn().context("cannot start the host")
    }

    fn start_again(&mut self) -> Result<()> {
        self.child = Host::spawn(&self.folder, &self.address)?;
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
    fn trackway(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(tree::trackway());
        let key = std::fs::read_to_string(self.folder.join("key")).unwrap_or_default();
        let key = key.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
        command.args(arguments).current_dir(&self.folder);
        command.env("TRACKWAY_SERVER", format!("http://{}", self.address)).env("TRACKWAY_KEY", key.trim());
        command
    }

    fn trace(&self, run: &str) -> Result<Trace> {
        let text = read(&mut self.trackway(&["trace", run, "-o", "json"]))?;
        serde_json::from_str(&text).context("the trace is not as this program knows it")
    }

    /// SIGKILL: nothing of it gets to tidy up.
    fn kill(&mut self) -> Result<()> {
        self.child.kill().context("the host cannot be killed")?;
        self.child.wait()?;
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
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
