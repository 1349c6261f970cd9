//! `trackway dev`: server, worker, build, watch and redeploy in one process. A source that does not
//! build never stops it: what was deployed last goes on.

use notify::{RecursiveMode, Watcher as _};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::api::{self, Door, Keys, model};
use crate::effects::SecretGrant;
use crate::host::{Allow, Host, KeySource};
use crate::sandbox::Manifest;
use crate::worker;
use crate::{Code, Error, Result};

use super::check::{wanted_hosts, wanted_mcp, wanted_models, wanted_secrets};
use super::client::Client;
use super::config::{Build, Connection, DevFile, Project, Setting, Source};
use super::exit::{Done, Exit, report};
use super::output::{Output, clean};
use super::server::{address_of, fresh_key, make_secret_keys, open, serve_until_stopped, write_private};
use super::{Context, args, package, sources};

/// Who stops `dev` waits for it.
const GRACE: Duration = Duration::from_secs(2);
/// Editors write a file in several steps; a build begins when they have been quiet for this long.
const QUIET: Duration = Duration::from_millis(150);

pub async fn dev(args: args::Dev, context: &Context) -> Done {
    let output = &context.output;
    super::log_to_stderr("warn");
    let project = context.config.project()?;
    let state = project.state_folder();
    let data = args.data.unwrap_or_else(|| state.join("data"));
    let mask = context.config.mask(args.redact.as_deref())?;
    Host::wait_for_dying_owner(data.clone()).await?;
    let listener = listen(context.config.listen(args.listen), output).await?;
    let providers = context.config.providers(args.providers.as_deref(), |name| std::env::var(name).ok())?;
    let keys = state.join("secrets.key");
    make_secret_keys(&keys, output)?;
    let options = worker::Options { quotas: context.config.quotas(&[])?, ..worker::Options::default() };
    let host = open(data, options, providers, (KeySource::open(&keys)?, false)).await?;
    let server = address_of(&listener)?;
    let key = key(&state.join("key"))?;
    let dev_file = state.join("dev.json");
    let dev = DevFile { server: server.clone(), key: key.clone(), build: Build::Running };
    write_dev_file(&dev_file, &dev)?;

    let paint = output.talk_paint;
    output.say(&format!("{} {}", paint.bold("trackway dev"), paint.cyan(&server)));
    output.say(&format!("  key    {} (found by itself in this folder)", state.join("key").display()));
    let key_setting = Setting { value: key.clone(), source: Source::Dev(dev_file.clone()) };
    let server_setting = Setting { value: server, source: Source::Dev(dev_file.clone()) };
    let client = Client::new(Connection { server: server_setting, key: Some(key_setting) })?;
    let project = project.clone();
    let (hosts, models, secrets) = (args.allow_host, args.allow_model, args.allow_secret);
    let allow = Allow { hosts, models, secrets, mcp: args.mcp };
    let deployer = Deployer { client, project, allow, output: *output, dev_file: dev_file.clone(), dev };
    let door = Door::new(Keys::of([key.as_str()]), mask);
    let watch = !args.no_watch;
    let work = tokio::spawn(async move { deployer.build_and_watch(watch).await });
    let served = serve_until_stopped(host, listener, door, GRACE, output).await;
    work.abort();
    // Ended, or it might write its file again.
    let _ = work.await;
    // The next `dev` writes it anew; a file that stays says `does not run any more` to who reads it.
    let _ = std::fs::remove_file(&dev_file);
    served?;
    output.say("stopped; everything is durable");
    Ok(Exit::Ok)
}

/// The default address may be taken by another project's `dev`: then any free one will do, since
/// commands in this folder find it. An address that somebody wished for is kept or refused.
async fn listen(wanted: Setting<String>, output: &Output) -> Result<TcpListener> {
    match api::bind(&wanted.value).await {
        Err(error) if error.code == Code::PortInUse && wanted.source == Source::Default => {
            output.say(&output.talk_paint.yellow(&format!("{} is in use; taking another port", wanted.value)));
            api::bind("127.0.0.1:0").await
        }
        answer => answer,
    }
}

fn write_dev_file(file: &Path, dev: &DevFile) -> Result<()> {
    let text = serde_json::to_string(dev).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    write_private(file, &text)
}

/// Kept between starts, so that a terminal that has it set goes on working.
fn key(file: &Path) -> Result<String> {
    if let Ok(text) = std::fs::read_to_string(file)
        && !text.trim().is_empty()
    {
        return Ok(text.trim().to_owned());
    }
    let key = fresh_key()?;
    write_private(file, &format!("{key}\n"))?;
    Ok(key)
}

struct Deployer {
    client: Client,
    project: Project,
    allow: Allow<Vec<String>>,
    output: Output,
    dev_file: PathBuf,
    dev: DevFile,
}

impl Deployer {
    async fn build_and_watch(mut self, watch: bool) {
        // Before the first build, so that no change during it is missed.
        let changes = if watch { self.watch() } else { None };
        let mut built = sources::of(&self.project.folder);
        self.build_and_say().await;
        let Some((_watcher, mut changes)) = changes else { return };
        self.output.say(&self.output.talk_paint.dim("watching the sources"));
        while let Some(()) = changes.recv().await {
            let mut quiet = false;
            while !quiet {
                quiet = tokio::time::timeout(QUIET, changes.recv()).await.is_err();
            }
            // What an editor made and took away again has changed nothing.
            let there = sources::of(&self.project.folder);
            let Some(path) = sources::first_change(&built, &there) else { continue };
            self.output.say(&format!("\n{} changed", self.shown(path)));
            built = there;
            self.build_and_say().await;
        }
    }

    async fn build_and_say(&mut self) {
        self.tell(Build::Running);
        match self.build_and_deploy().await {
            Ok(()) => self.tell(Build::Deployed),
            Err(error) => {
                self.tell(Build::Failed);
                self.output.say_raw(&report(&error, self.output.talk_paint));
            }
        }
    }

    /// Tells other commands in this folder how far the build is. They can do without.
    fn tell(&mut self, build: Build) {
        self.dev.build = build;
        if let Err(error) = write_dev_file(&self.dev_file, &self.dev) {
            tracing::warn!(%error, "other commands do not see how far the build is");
        }
    }

    async fn build_and_deploy(&self) -> Result<()> {
        let (project, output) = (self.project.clone(), self.output);
        let building = tokio::task::spawn_blocking(move || {
            let built = package::build(&project, &output)?;
            Ok::<_, Error>((package::read_component(&built.file)?, built.name))
        });
        let built = building.await.map_err(|error| Error::new(Code::Internal, format!("the build: {error}")))?;
        let (bytes, name) = built?;
        let component = self.client.upload(bytes).await?;
        let manifest = Manifest::read(component.manifest.get())?;
        let granted = self.grants(&manifest);
        let there = self.client.deployments().await?.into_iter().find(|deployment| deployment.name == name);
        let current = there
            .as_ref()
            .and_then(|deployment| deployment.versions.iter().find(|version| version.version == deployment.current));
        let same = current.is_some_and(|version| {
            let same = version.allow_hosts == granted.hosts && version.allow_models == granted.models;
            let same = same && version.allow_secrets == granted.secrets && version.allow_mcp == granted.mcp;
            same && version.component == component.digest
        });
        let number = match current.filter(|_| same) {
            Some(version) => version.version,
            None => {
                let deploy = model::Deploy {
                    component: component.digest,
                    allow_hosts: granted.hosts.clone(),
                    allow_models: granted.models.clone(),
                    allow_secrets: granted.secrets.clone(),
                    allow_mcp: granted.mcp.clone(),
                    if_revision: None,
                    signature: None,
                };
                self.client.deploy(&name, &deploy).await?.current
            }
        };
        self.say_deployed(&name, number, same, &manifest, &granted);
        self.say_unset(&manifest).await
    }

    /// What the manifest wants, and what the user grants beside it.
    fn grants(&self, manifest: &Manifest) -> Allow<Vec<String>> {
        let both = |wanted: BTreeSet<String>, flags: &[String], file: &[String]| -> Vec<String> {
            let granted: BTreeSet<String> = wanted.into_iter().chain(flags.iter().chain(file).cloned()).collect();
            granted.into_iter().collect()
        };
        let file = &self.project.file;
        // As the server shows them, so that it is seen where nothing changed.
        let shown = |secrets: &[String]| secrets.iter().map(|secret| SecretGrant::shown(secret)).collect::<Vec<_>>();
        Allow {
            hosts: both(wanted_hosts(manifest), &self.allow.hosts, &file.allow_hosts),
            models: both(wanted_models(manifest), &self.allow.models, &file.allow_models),
            secrets: both(wanted_secrets(manifest), &shown(&self.allow.secrets), &shown(&file.allow_secrets)),
            mcp: both(BTreeSet::new(), &self.allow.mcp, &self.project.mcp(&self.allow.mcp)),
        }
    }

    /// Which secrets are to be set before its functions can use them.
    async fn say_unset(&self, manifest: &Manifest) -> Result<()> {
        let wanted = !wanted_secrets(manifest).is_empty();
        let there = if wanted { self.client.secrets().await? } else { Vec::new() };
        for name in super::secrets::unset(manifest, &there) {
            let text = format!("  the secret {name} is not set: trackway secrets set {name}");
            self.output.say(&self.output.talk_paint.yellow(&clean(&text)));
        }
        Ok(())
    }

    fn say_deployed(&self, name: &str, version: u32, same: bool, manifest: &Manifest, granted: &Allow<Vec<String>>) {
        let paint = self.output.talk_paint;
        let state = if same { "unchanged" } else { "deployed" };
        self.output.say(&format!("  {} {} version {version}", paint.green(state), clean(name)));
        let is_named =
            |name: &String| granted.mcp.iter().any(|pair| pair.split_once('=').is_some_and(|(is, _)| is == name));
        for name in wanted_mcp(manifest).iter().filter(|name| !is_named(name)) {
            let name = clean(name);
            let text =
                format!("  nobody says where the MCP server {name} is: --mcp {name}=URL, or [mcp.{name}] with a url");
            self.output.say(&paint.yellow(&text));
        }
        let granted = granted.hosts.iter().chain(&granted.models).chain(&granted.secrets).chain(&granted.mcp);
        let granted: Vec<&str> = granted.map(String::as_str).collect();
        let granted = if granted.is_empty() { "nothing".to_owned() } else { granted.join(", ") };
        self.output.say(&format!("  granted what it wants to reach: {}", clean(&granted)));
        for workflow in &manifest.workflows {
            self.output.say(&format!("  try    trackway run {}", clean(&workflow.name)));
        }
    }

    /// Tells that something changed. Without a watcher `dev` works, but has to be started again for a change.
    fn watch(&self) -> Option<(notify::RecommendedWatcher, mpsc::UnboundedReceiver<()>)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let folder = self.project.folder.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let touched = event.kind.is_create() || event.kind.is_modify() || event.kind.is_remove();
            if touched && event.paths.iter().any(|path| sources::is_source(&folder, path)) {
                // Nobody listens any more only when `dev` is ending.
                let _ = sender.send(());
            }
        });
        let watching = watcher.and_then(|mut watcher| {
            watcher.watch(&self.project.folder, RecursiveMode::NonRecursive)?;
            for source in sources::FOLDERS.map(|folder| self.project.folder.join(folder)) {
                if source.is_dir() {
                    watcher.watch(&source, RecursiveMode::Recursive)?;
                }
            }
            Ok(watcher)
        });
        match watching {
            Ok(watcher) => Some((watcher, receiver)),
            Err(error) => {
                self.output.say(&format!("the sources cannot be watched ({error}); start dev again after a change"));
                None
            }
        }
    }

    fn shown(&self, path: &Path) -> String {
        clean(&path.strip_prefix(&self.project.folder).unwrap_or(path).display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_kept_between_starts() {
        let folder = tempfile::tempdir().expect("writable");
        let file = folder.path().join("key");
        let first = key(&file).expect("made");
        assert_eq!(key(&file).expect("read"), first);
    }
}
