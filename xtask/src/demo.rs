//! The main promise, shown: upload a workflow, run it on real HTTP, kill the host in the middle,
//! start it again, and watch the run finish without repeating a finished step. It fails when the
//! promise is not kept.

use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use trackway_replay::trace::{Recalled, Row, Trace, What};

use crate::pages::Pages;
use crate::process::{self, flush, output, say};
use crate::{guests, tree};

mod host;
mod provider;
mod research;

use host::{Host, LOOK_EVERY, read, show};

/// The slowest page takes four seconds; pages from the internet take what they take.
const MIDDLE_WITHIN: Duration = Duration::from_secs(120);

pub fn demo(arguments: Vec<String>) -> Result<()> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--example", "research"] => research::demo(),
        ["--example", "headlines"] => headlines(Vec::new()),
        ["--example", ..] => bail!("there are demos of the examples `headlines` and `research`"),
        _ => headlines(arguments),
    }
}

fn build() -> Result<()> {
    guests::build()?;
    let mut cargo = Command::new("cargo");
    process::run("building trackway", cargo.args(["build", "--package", "trackway"]).current_dir(tree::root()))
}

fn headlines(urls: Vec<String>) -> Result<()> {
    build()?;
    let pages = Pages::serve()?;
    let own = urls.is_empty();
    let urls = if own { pages.urls() } else { urls };
    let mut host = Host::start(None)?;

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
    tell_effects(&recalled);
    println!("    {} finished steps, 0 of them done again", recalled.steps.len());
    Ok(())
}

fn tell_effects(recalled: &Recalled<'_>) {
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
