//! What an Obelisk server is told of its store, its limits and the work, and how it is asked for a run.
//! It starts nothing.

use anyhow::{Context, Result};
use serde_json::json;
use std::path::{Path, PathBuf};

/// As many as a peer is ever asked for at once: with the 5 that are the default it does half as much.
const BATCH_SIZE: u32 = 256;
/// A second, the default, can be over on a busy machine before a step has run, which then runs again.
const LOCK_EXPIRY_SECONDS: u32 = 10;

/// What it runs of ours: the workflows, and the steps as activities.
pub const MODULES: [&str; 2] = ["runs.wasm", "steps.wasm"];

/// Writes the configuration of a server that keeps everything in `folder`; answers with the paths of its
/// own and of the deployment's.
pub fn configure(folder: &Path, address: &str, modules: &Path) -> Result<[PathBuf; 2]> {
    let paths = ["server.toml", "deployment.toml"].map(|name| folder.join(name));
    for (path, text) in paths.iter().zip([server(folder, address), deployment(modules)]) {
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(paths)
}

/// `synchronous` is what it would be anyway. Its page in the browser, and all that is said about runs that
/// the others do not keep either, is left out: the first would have to be fetched.
fn server(folder: &Path, address: &str) -> String {
    let [data, components, code] = ["data", "components", "code"].map(|name| quoted(&folder.join(name)));
    format!(
        r#"api.listening_addr = "{address}"
webui.enabled = false
external.enabled = false
database.sqlite.directory = {data}
database.sqlite.pragma = {{ journal_mode = "wal", synchronous = "FULL" }}
wasm.cache_directory = {components}
wasm.codegen_cache.directory = {code}
wasm.backtrace.persist = false
log.console.level = "warn"
"#
    )
}

fn deployment(modules: &Path) -> String {
    let [runs, steps] = MODULES.map(|name| quoted(&modules.join(name)));
    let common = format!(
        "logs_store_min_level = \"off\"\nexec.batch_size = {BATCH_SIZE}\n\
         exec.lock_expiry.seconds = {LOCK_EXPIRY_SECONDS}\n"
    );
    format!(
        r#"[[workflow_wasm]]
name = "runs"
location = {runs}
{common}
[[activity_wasm]]
name = "steps"
location = {steps}
forward_stdout = "none"
forward_stderr = "none"
{common}
[[activity_wasm.allowed_host]]
pattern = "http://127.0.0.1:*"
methods = ["POST"]
"#
    )
}

/// A path as TOML has strings, which is as JSON has them.
fn quoted(path: &Path) -> String {
    json!(path.to_string_lossy()).to_string()
}

/// A request that is answered when the run has ended.
pub fn request(workflow: &str, steps: u64, url: &str) -> String {
    let function = format!("bench:work/runs.{}", workflow.replace('_', "-"));
    format!("POST /v1/executions?follow=true\n{}", json!({ "ffqn": function, "params": [steps, url] }))
}

/// Whether the answer is that of a run that ended well: its status is sent before that is known.
pub fn is_good(answer: &str) -> bool {
    answer.contains("\"ok\":")
}
