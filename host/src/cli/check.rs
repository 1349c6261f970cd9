//! `trackway check`: what an upload would say to a component, without a server.

use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use trackway_replay::Digest;

use crate::api::model::{Capabilities, Change, Version};
use crate::effects::{Grants, SecretGrant};
use crate::host;
use crate::sandbox::{Admitted, Compiler, Manifest, Options, Sandbox};
use crate::{Code, Error, Result};

use super::client::Client;
use super::exit::{Done, Exit};
use super::output::{Paint, clean};
use super::progress::Progress;
use super::{Context, args, package, plan};

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
    wanted_secrets: BTreeSet<String>,
    wanted_mcp: BTreeSet<String>,
    capabilities: Capabilities,
    /// From what the deployment named by `--against` points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<Change>>,
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
    let (before, granted) = match &args.against {
        Some(name) => current(&context.client(args.connect)?, name).await?,
        None => (None, Vec::new()),
    };
    // With the grants of that version: a deploy without others would be given none.
    let found = host::Capabilities::of(&admitted.manifest, admitted.pure, &granted);
    let changes = args.against.is_some().then(|| found.changes_since(before.as_ref()));
    let manifest = RawValue::from_string(admitted.manifest.text.to_string())
        .map_err(|error| Error::new(Code::BadManifest, error.to_string()))?;
    let report = Report {
        file: file.display().to_string(),
        digest: admitted.digest,
        size_bytes: admitted.bytes.len(),
        pure: admitted.pure,
        wanted_hosts: wanted_hosts(&admitted.manifest),
        wanted_models: wanted_models(&admitted.manifest),
        wanted_secrets: wanted_secrets(&admitted.manifest),
        wanted_mcp: wanted_mcp(&admitted.manifest),
        capabilities: found.into(),
        changes: changes.map(|changes| changes.into_iter().map(Change::from).collect()),
        manifest,
    };
    output.one(&report, &report.digest.to_string(), || text(&report, &admitted.manifest, output.paint))?;
    Ok(Exit::Ok)
}

/// What a deployment points to: what it can reach, and what it was granted.
async fn current(client: &Client, name: &str) -> Result<(Option<host::Capabilities>, Vec<Arc<str>>)> {
    let deployment = client.deployment(name).await?;
    let version = deployment.versions.iter().find(|version| version.version == deployment.current);
    let Some(version) = version else { return Ok((None, Vec::new())) };
    let component = client.component(version.component).await?;
    let granted = granted(version);
    let manifest = Manifest::read(component.manifest.get())?;
    Ok((Some(host::Capabilities::of(&manifest, component.pure, &granted)), granted))
}

/// As they stand in the one list of a version.
fn granted(version: &Version) -> Vec<Arc<str>> {
    let models = version.allow_models.iter().map(|model| Grants::written_model(model));
    let secrets = version.allow_secrets.iter().map(|secret| Grants::written_secret(secret));
    version.allow_hosts.iter().cloned().chain(models).chain(secrets).map(Arc::from).collect()
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

/// The secrets that its functions use, and where to.
pub fn wanted_secrets(manifest: &Manifest) -> BTreeSet<String> {
    manifest
        .functions
        .iter()
        .flat_map(|function| function.secrets.iter().map(|secret| SecretGrant::shown(secret)))
        .collect()
}

/// The MCP servers that its functions ask by their names.
pub fn wanted_mcp(manifest: &Manifest) -> BTreeSet<String> {
    manifest.functions.iter().flat_map(|function| function.mcp.iter().cloned()).collect()
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
        let mcp = function.mcp.iter().map(|name| format!("mcp://{name}"));
        let wants = function.hosts.iter().chain(&function.models).chain(&function.secrets).cloned();
        let wants: Vec<String> = wants.chain(mcp).collect();
        if !wants.is_empty() {
            row("", &paint.dim(&format!("  wants {}", clean(&wants.join(", ")))));
        }
    }
    if let Some(sdk) = &manifest.sdk {
        row("made with", &clean(&format!("{} {} ({})", sdk.name, sdk.version, sdk.language)));
    }
    if !report.capabilities.tools.is_empty() {
        row("tools", &clean(&report.capabilities.tools.join(", ")));
    }
    if let Some(changes) = &report.changes {
        let _ = writeln!(text, "{}", paint.bold("changes since the version that is deployed"));
        text.push_str(&plan::changes(changes, paint));
    }
    text
}

/// The name, and the first line of what the author says about it.
fn described(name: &str, doc: Option<&str>, paint: Paint) -> String {
    let doc = doc.and_then(|doc| doc.lines().find(|line| !line.trim().is_empty())).unwrap_or_default();
    format!("{}  {}", clean(name), paint.dim(&clean(doc.trim()))).trim_end().to_owned()
}
