//! The promise of agents, shown: a run asks a model several times, the host is killed while it waits for one of the answers, and
//! goes on with that one. Nothing that was answered is asked for, and paid, again.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Instant;
use trackway_replay::trace::{RowStatus, Shown, Trace, What};

use super::host::{Host, KEY_ENV, LOOK_EVERY, read, show};
use super::provider::Scripted;
use super::{MIDDLE_WITHIN, build, tell_effects};
use crate::pages::Pages;
use crate::process::{flush, say};
use crate::tree;

/// The variable with the key of the real provider.
const REAL_KEY_ENV: &str = "OPENAI_API_KEY";
const MODEL: &str = "openai/gpt-4o-mini";

pub fn demo() -> Result<()> {
    build()?;
    let pages = Pages::serve()?;
    let (article, others) =
        pages.urls().split_first().map(|(first, rest)| (first.clone(), rest.to_vec())).context("no pages")?;
    let scripted = match std::env::var_os(REAL_KEY_ENV) {
        Some(_) => None,
        None => Some(Scripted::serve(others)?),
    };
    say("who answers as the model");
    let providers = match &scripted {
        None => {
            println!("    {MODEL}, the real one, with the key in {REAL_KEY_ENV}");
            None
        }
        Some(scripted) => {
            println!(
                "    NOT a model: {REAL_KEY_ENV} is not set, so a scripted server on this machine answers by fixed rules."
            );
            println!("    Set {REAL_KEY_ENV} to see a real one; all else is the same.");
            let prices = "[providers.openai.prices]\n\"*\" = { input = 0.15, output = 0.6 }\n";
            Some(format!("[providers.openai]\nurl = \"{}\"\nkey_env = \"{KEY_ENV}\"\n{prices}", scripted.url()))
        }
    };
    flush();
    let mut host = Host::start(providers.as_deref())?;

    say("upload the workflow");
    let component = tree::guests().join("research.wasm");
    let origin = article.rsplit_once('/').map(|(origin, _)| origin.to_owned()).context("a page has an address")?;
    let mut deploy = host.trackway(&["deploy"]);
    deploy.arg(&component).args(["--name", "research", "--allow-host", &origin, "--allow-model", MODEL]);
    show(&mut deploy)?;

    say("start a run");
    let question =
        "What do footprints, journals and tides have to do with each other? Read the pages that it points to.";
    let input = json!({ "url": article, "question": question }).to_string();
    let run = read(&mut host.trackway(&["run", "research", "-i", &input, "--detach", "-o", "id"]))?.trim().to_owned();
    println!("    run {run}");

    let answered = wait_for_the_middle(&host, &run)?;
    host.kill()?;
    say("kill -9");
    println!("    the host is gone; {answered} calls of the model had their answer, one had not");

    host.start_again()?;
    say("the same host again: the agent goes on by itself");
    show(&mut host.trackway(&["trace", &run, "--follow"]))?;

    say("the trace");
    show(&mut host.trackway(&["trace", &run]))?;
    let trace = host.trace(&run)?;
    let header = trace.run.as_ref().context("the trace has no beginning")?;
    ensure!(header.failure.is_none() && header.output.is_some(), "the run did not succeed: {:?}", header.failure);

    say("what was not asked for, and paid, again");
    let restart = trace.activations.iter().rfind(|activation| activation.restart);
    tell_effects(&trace.recalled(restart.context("the trace knows of no restart")?));
    let spent = trace.totals.spending;
    println!("    {} answers, each paid once", spent.calls);
    if let Some(scripted) = &scripted {
        let keys = scripted.keys();
        let distinct: BTreeSet<&String> = keys.iter().collect();
        println!("    the server was asked {} times, under {} idempotency keys", keys.len(), distinct.len());
        ensure!(distinct.len() as u64 == spent.calls, "an answer was asked for under another key");
        ensure!(keys.len() == distinct.len() + 1, "only the call that was open may be made twice");
    }

    say("the answer");
    if let Some(Shown::Json(output)) = &header.output {
        let report: Value = serde_json::from_str(output.get())?;
        println!("    {}", report["summary"]["answer"].as_str().unwrap_or_default());
    }

    say("proof: the run is executed again from its journal, asking nobody");
    show(&mut host.trackway(&["replay", &run]))?;
    host.stop()
}

/// Looks at the run until two calls of the model were answered and one was not. How many were.
fn wait_for_the_middle(host: &Host, run: &str) -> Result<usize> {
    let begun = Instant::now();
    loop {
        let trace = host.trace(run)?;
        let ended = trace.run.as_ref().is_some_and(|run| run.finished.is_some());
        ensure!(!ended, "the run ended before the host could be killed");
        let (answered, open) = (calls(&trace, true), calls(&trace, false));
        if answered >= 2 && open > 0 {
            return Ok(answered);
        }
        if begun.elapsed() > MIDDLE_WITHIN {
            bail!("the run does not get anywhere: {:?}", trace.totals);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn calls(trace: &Trace, answered: bool) -> usize {
    let models = trace.rows.iter().filter(|row| matches!(row.what, What::Model(_)));
    models.filter(|row| (row.status == RowStatus::Succeeded) == answered).count()
}
