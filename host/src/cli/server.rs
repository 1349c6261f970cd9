//! `trackway server`, and what `dev` shares with it: opening the data folder, serving, and stopping
//! at a signal without losing anything.

use serde::Serialize;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::{self, Door, Keys, Tls, Tokens};
use crate::confine;
use crate::effects::{Providers, SystemRandomness};
use crate::host::{Host, HostOptions, KeySource, Retention, generate_key};
use crate::sandbox::Compiler;
use crate::worker;
use crate::{Code, Error, Result};

use super::config::{self, data_folder_default};
use super::exit::{Done, Exit};
use super::output::Output;
use super::{Context, args, confined};

/// In the data folder, where no other file was named.
const KEY_FILE: &str = "key";
/// Holds the keys for secrets, as a file of them does.
const SECRETS_KEY: &str = "TRACKWAY_SECRETS_KEY";

#[derive(Serialize)]
struct Serving {
    server: String,
    data: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<PathBuf>,
}

/// What was done while the process had one thread.
struct Prepared {
    data: PathBuf,
    listener: std::net::TcpListener,
    door: Door,
    key_file: Option<PathBuf>,
    worker: worker::Options,
    providers: Providers,
    secret_keys: KeySource,
    seal: bool,
    retention: Retention,
    grace: Duration,
}

pub fn server(args: args::Server, context: &Context) -> Done {
    super::log_to_stderr("info");
    let prepared = prepare(args, context)?;
    super::runtime()?.block_on(serve(prepared, &context.output))
}

/// Reads all that is read once, takes the address, and gives up what is not needed from here on.
fn prepare(args: args::Server, context: &Context) -> Result<Prepared> {
    let data = match context.config.data(args.data) {
        Some(data) => data.value,
        None => data_folder_default(|name| std::env::var(name).ok())?,
    };
    let mut worker = worker::Options::default();
    worker.runs_max = args.runs_max.map_or(worker.runs_max, NonZeroUsize::get);
    worker.quotas = context.config.quotas(&args.quota)?;
    let mask = context.config.mask(args.redact.as_deref())?;
    let tokens = config::tokens(args.auth.as_deref())?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(Tls::read(certificate, key)?),
        // Neither, since each demands the other.
        _ => None,
    };
    let providers = context.config.providers(args.providers.as_deref(), |name| std::env::var(name).ok())?;
    let secret_keys = secret_keys(args.secrets_key_file.as_deref(), &context.output)?;
    let listener = confined::bind(&context.config.listen(args.listen).value, &data)?;
    let of_file = |file: &Path| -> Result<Keys> {
        Ok(Keys::of(read_or_make_keys(file, &context.output)?.iter().map(String::as_str)))
    };
    // Outside of the data folder the file may be root's alone; inside it is of whoever the server becomes.
    let named = args.key_file.as_deref().map(of_file).transpose()?;
    confined::leave_root(args.confine.user.as_deref(), &data)?;
    let (keys, key_file) = match (named, context.config.env_key()) {
        (Some(keys), _) => (keys, args.key_file),
        (None, Some(key)) => (Keys::of([key]), None),
        (None, None) => {
            let file = data.join(KEY_FILE);
            (of_file(&file)?, Some(file))
        }
    };
    let mut door = Door::new(keys, mask);
    door.keep_audit = args.keep_audit.unwrap_or(door.keep_audit);
    door.tls = tls;
    // They are read again when they change, and whoever renews them puts new files in their place.
    let published = tokens.as_ref().and_then(Tokens::file);
    let named = [&args.tls_cert, &args.tls_key, &args.secrets_key_file].into_iter().flatten().map(PathBuf::as_path);
    let renewed = named.chain(published).map(confined::folder_of);
    confined::give_up(&args.confine, &data, renewed.collect())?;
    door.tokens = tokens;
    let retention = retention(args.keep_finished);
    let (seal, grace) = (args.seal, args.grace);
    Ok(Prepared { data, listener, door, key_file, worker, providers, secret_keys, seal, retention, grace })
}

async fn serve(prepared: Prepared, output: &Output) -> Done {
    let Prepared { data, listener, door, key_file, worker, providers, secret_keys, seal, retention, grace } = prepared;
    let host = open(data.clone(), worker, providers, (secret_keys, seal)).await?;
    let listener = TcpListener::from_std(listener)
        .map_err(|error| Error::new(Code::Internal, format!("the listener: {error}")))?;
    let scheme = if door.tls.is_some() { "https" } else { "http" };
    let server = address_of(&listener)?.replacen("http", scheme, 1);
    let serving = Serving { server: server.clone(), data, key_file };
    output.one(&serving, &server, || format!("listening on {server}, data in {}\n", serving.data.display()))?;
    if let Some(file) = &serving.key_file {
        let file = file.display();
        output.say(&format!("to use it: export TRACKWAY_SERVER={server} TRACKWAY_KEY=$(head -1 '{file}')"));
    }
    let keeping = tokio::spawn(Arc::clone(&host).keep_finished(retention));
    let served = serve_until_stopped(host, listener, door, grace, output).await;
    keeping.abort();
    served?;
    output.say("stopped; everything is durable");
    Ok(Exit::Ok)
}

/// Of several for the same runs the last one counts.
fn retention(keeps: Vec<args::Keep>) -> Retention {
    let mut retention = Retention::default();
    for args::Keep { workflow, time } in keeps {
        match workflow {
            Some(workflow) => drop(retention.of.insert(workflow, time)),
            None => retention.all = Some(time),
        }
    }
    retention
}

/// Opens the data folder; runs that were going on go on. `seal`: whether every tenant is sealed.
pub async fn open(
    data: PathBuf,
    worker: worker::Options,
    providers: Providers,
    (secret_keys, seal): (KeySource, bool),
) -> Result<Arc<Host>> {
    match confine::raise_open_files() {
        Ok(most) => tracing::debug!("at most {most} files may be open"),
        Err(error) => tracing::warn!("the limit of open files cannot be raised: {error}"),
    }
    let compiler = Compiler::this_binary()
        .map_err(|error| Error::new(Code::Internal, format!("this program cannot be found: {error}")))?;
    let hardening = trackway_storage::Hardening::from_environment();
    let store = trackway_storage::SledOptions { hardening, ..trackway_storage::SledOptions::default() };
    Host::open(HostOptions { data, compiler, worker, store, providers, secret_keys, seal }).await
}

pub fn address_of(listener: &TcpListener) -> Result<String> {
    let address = listener.local_addr();
    let address = address.map_err(|error| Error::new(Code::Internal, format!("the listener: {error}")))?;
    Ok(format!("http://{address}"))
}

/// Serves until SIGTERM or Ctrl-C, then drains. A second signal ends the process at once: what was
/// acknowledged is durable already, so nothing is lost.
pub async fn serve_until_stopped(
    host: Arc<Host>,
    listener: TcpListener,
    door: Door,
    grace: Duration,
    output: &Output,
) -> Result<()> {
    let mut signals = Signals::new()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    // An error means that the sender is gone, which is a stop as well.
    let shutdown = async { stopped.await.unwrap_or_default() };
    let serving = tokio::spawn(api::serve(Arc::clone(&host), listener, door, shutdown));
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        served = serving.as_mut() => return joined(served),
        () = signals.next() => {}
    }
    output.say(&format!("stopping: effects in flight get {} s; a second signal ends it at once", grace.as_secs()));
    host.refuse_new_work();
    // Nobody receives it only if serving has ended already.
    let _ = stop.send(());
    let drained = async {
        let (served, drained) = tokio::join!(serving, host.drain(grace));
        joined(served).and(drained)
    };
    tokio::select! {
        drained = drained => drained,
        () = signals.next() => {
            output.say("ended at once; runs go on from their last durable entry at the next start");
            std::process::exit(Exit::Interrupted as i32)
        }
    }
}

fn joined(served: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    served.unwrap_or_else(|error| Err(Error::new(Code::Internal, format!("the server: {error}"))))
}

/// The two signals that ask a process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let listen = |kind| signal(kind).map_err(|error| Error::new(Code::Internal, format!("signals: {error}")));
        Ok(Signals { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The keys in a file, one a line; lines that begin with `#` are for people.
fn read_or_make_keys(file: &Path, output: &Output) -> Result<Vec<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let keys: Vec<String> = text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect();
            if keys.is_empty() {
                let message = format!("{} holds no key", file.display());
                return Err(Error::new(Code::BadConfig, message).hint("delete it, and a fresh one is made"));
            }
            Ok(keys)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = fresh_key()?;
            write_private(file, &format!("{key}\n"))?;
            output.say(&format!("made a key: {}", file.display()));
            Ok(vec![key])
        }
        Err(error) => Err(Error::new(Code::File, format!("cannot read {}: {error}", file.display()))),
    }
}

/// Under which secrets and data keys are kept: those of a file, which is made where there is none, or of the environment.
fn secret_keys(file: Option<&Path>, output: &Output) -> Result<KeySource> {
    if let Some(file) = file {
        make_secret_keys(file, output)?;
    }
    keys_of_server(file)
}

/// Those that are there.
pub fn keys_of_server(file: Option<&Path>) -> Result<KeySource> {
    let from_environment = || std::env::var(SECRETS_KEY).ok().filter(|text| !text.trim().is_empty());
    match file {
        Some(file) => KeySource::open(file),
        None => Ok(from_environment().map_or(KeySource::Absent, |text| KeySource::Text(text.into()))),
    }
}

/// A file with a fresh key, where there is none.
pub fn make_secret_keys(file: &Path, output: &Output) -> Result<()> {
    if file.exists() {
        return Ok(());
    }
    write_private(file, &format!("{}\n", *KeySource::generate(&SystemRandomness::new()?)))?;
    output.say(&format!("made a key for secrets: {}", file.display()));
    Ok(())
}

pub fn fresh_key() -> Result<String> {
    Ok(generate_key(&SystemRandomness::new()?))
}

/// Writes a file that only its owner can read, also where it was open to others before.
pub fn write_private(file: &Path, text: &str) -> Result<()> {
    let cannot = |error: std::io::Error| Error::new(Code::File, format!("cannot write {}: {error}", file.display()));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let temporary = file.with_extension("new");
    // What a killed process left would keep its rights.
    if let Err(error) = std::fs::remove_file(&temporary)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(cannot(error));
    }
    let mut opened =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(cannot)?;
    opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()).map_err(cannot)?;
    std::fs::rename(&temporary, file).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use std::os::unix::fs::PermissionsExt as _;

    fn quiet() -> Output {
        Output::new(Some(Format::Json))
    }

    #[test]
    fn a_fresh_key_file_is_closed_to_others_and_kept() {
        let folder = tempfile::tempdir().expect("writable");
        let file = folder.path().join("deep/key");
        let made = read_or_make_keys(&file, &quiet()).expect("made");
        let mode = std::fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read_or_make_keys(&file, &quiet()).expect("read"), made);
    }

    #[test]
    fn key_files_may_hold_several_keys_and_remarks() {
        let file = tempfile::NamedTempFile::new().expect("writable");
        std::fs::write(file.path(), "# for the pipeline\nfirst\n\n  second \n").expect("writable");
        assert_eq!(read_or_make_keys(file.path(), &quiet()).expect("read"), ["first", "second"]);
        std::fs::write(file.path(), "# nothing\n").expect("writable");
        assert_eq!(read_or_make_keys(file.path(), &quiet()).expect_err("no key").code, Code::BadConfig);
    }

    #[test]
    fn private_files_are_closed_also_where_they_were_open() {
        let folder = tempfile::tempdir().expect("writable");
        let file = folder.path().join("dev.json");
        std::fs::write(&file, "open").expect("writable");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("mine");
        write_private(&file, "closed").expect("written");
        assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
