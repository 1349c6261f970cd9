//! `trackway check`: what an upload would say to a component, without a server.

use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use trackway_replay::Digest;

use crate::sandbox::{Admitted, Compiler, Manifest, Options, Sandbox};
use crate::{Code, Error, Result};

use super::exit::{Done, Exit};
use super::output::{Paint, clean};
use super::progress::Progress;
use super::{Context, args, package};

/// One instance is made, for `describe`.
const SLOTS: u32 = 4;

#[derive(Serialize)]
struct Report {
    file: String,
    /// Of the encoded component: as it is known on a server.
    digest: Digest,
    size_bytes: usize,
    /// Its only import is `step`: it cannot touch the world.
    pure: bool,
    wanted_hosts: BTreeSet<String>,
    wanted_models: BTreeSet<String>,
    /// As `describe` returned it.
    manifest: Box<RawValue>,
}

pub async fn check(args: args::Check, context: &Context) -> Done {
    let output = &context.output;
    let file = match args.file {
        Some(file) => file,
        None => package::build(context.config.project()?, output)?.file,
    };
    let bytes = package::read_component(&file)?;
    let progress = Progress::start(output);
    progress.say("compiling");
    let admitted = admit(&bytes).await?;
    drop(progress);
    let manifest = RawValue::from_string(admitted.manifest.text.to_string())
        .map_err(|error| Error::new(Code::BadManifest, error.to_string()))?;
    let report = Report {
        file: file.display().to_string(),
        digest: admitted.digest,
        size_bytes: admitted.bytes.len(),
        pure: admitted.pure,
        wanted_hosts: wanted_hosts(&admitted.manifest),
        wanted_models: wanted_models(&admitted.manifest),
        manifest,
    };
    output.one(&report, &report.digest.to_string(), || text(&report, &admitted.manifest, output.paint))?;
    Ok(Exit::Ok)
}

/// The gates, the compiler in a process of its own, and `describe`, as on a server.
async fn admit(bytes: &[u8]) -> Result<Admitted> {
    let internal = |what: &str, error: std::io::Error| Error::new(Code::Internal, format!("{what}: {error}"));
    let cache = tempfile::tempdir().map_err(|error| internal("no temporary folder", error))?;
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| Error::new(Code::Internal, format!("no random bytes: {error}")))?;
    let sandbox = Sandbox::new(Options {
        cache: cache.path().to_owned(),
        key,
        compiler: Compiler::this_binary().map_err(|error| internal("this program cannot be found", error))?,
        slots: SLOTS,
        cores: 1,
        slow_threads: 0,
    })?;
    sandbox.admit(Arc::from(bytes)).await
}

/// What its functions want to reach.
pub fn wanted_hosts(manifest: &Manifest) -> BTreeSet<String> {
    manifest.functions.iter().flat_map(|function| function.hosts.iter().cloned()).collect()
}

/// The models that its functions want to ask.
pub fn wanted_models(manifest: &Manifest) -> BTreeSet<String> {
    manifest.functions.iter().flat_map(|function| function.models.iter().cloned()).collect()
}

fn text(report: &Report, manifest: &Manifest, paint: Paint) -> String {
    let mut text = format!("{} {}\n", paint.green("fit to be deployed:"), clean(&report.file));
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {} {value}", paint.dim(&format!("{name:<10}")));
    };
    row("component", &format!("{} ({} KiB)", report.digest, report.size_bytes.div_ceil(1024)));
    let purity = "imports nothing but `step`: it cannot touch the world";
    row("pure", if report.pure { purity } else { "no: its functions may touch the world" });
    for workflow in &manifest.workflows {
        row("workflow", &described(&workflow.name, workflow.doc.as_deref(), paint));
    }
    for function in &manifest.functions {
        row("function", &described(&function.name, function.doc.as_deref(), paint));
        let wants: Vec<&str> = function.hosts.iter().chain(&function.models).map(String::as_str).collect();
        if !wants.is_empty() {
            row("", &paint.dim(&format!("  wants {}", clean(&wants.join(", ")))));
        }
    }
    if let Some(sdk) = &manifest.sdk {
        row("made with", &clean(&format!("{} {} ({})", sdk.name, sdk.version, sdk.language)));
    }
    text
}

/// The name, and the first line of what the author says about it.
fn described(name: &str, doc: Option<&str>, paint: Paint) -> String {
    let doc = doc.and_then(|doc| doc.lines().find(|line| !line.trim().is_empty())).unwrap_or_default();
    format!("{}  {}", clean(name), paint.dim(&clean(doc.trim()))).trim_end().to_owned()
}
