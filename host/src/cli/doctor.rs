//! `trackway doctor`: looks at everything that has to be right, and says what to do where it is not.
//! It changes nothing but a file of its own in the data folder, which it removes again.

use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Code;
use crate::confine::{self, Attempt, Kernel, Verdict as Tried};
use crate::sandbox::Compiler;

use super::client::Client;
use super::config::{Config, STATE_FOLDER, data_folder_default};
use super::exit::{Done, Exit};
use super::output::{Paint, clean};
use super::toolchain::{TARGET, Toolchain};
use super::{Context, args};

/// Journals, components and compiled code of small projects need less; below it trouble is near.
const FREE_BYTES_WANTED: u64 = 1 << 30;
/// Below it the first upload may not fit.
const FREE_BYTES_NEEDED: u64 = 64 << 20;
const SYNC_ROUNDS: usize = 16;
/// No disk that keeps what it confirms is as fast; something answers before it has written.
const SYNC_SUSPICIOUS: Duration = Duration::from_micros(5);
/// Each durable step waits for at least one.
const SYNC_SLOW: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    /// Not needed for everything, or worth knowing.
    Note,
    Bad,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Finding {
        Finding { what, verdict: Verdict::Good, found: found.into(), advice: None }
    }

    fn note(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { what, verdict: Verdict::Note, found: found.into(), advice: Some(advice.into()) }
    }

    fn bad(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { what, verdict: Verdict::Bad, found: found.into(), advice: Some(advice.into()) }
    }
}

pub async fn doctor(args: args::Doctor, context: &Context) -> Done {
    let output = &context.output;
    let config = &context.config;
    let data = data_folder(config, args.data);
    let mut findings = vec![Finding::good("version", env!("CARGO_PKG_VERSION")), toolchain(), project(config)];
    match &data {
        Some(data) => findings.extend([folder(data), disk(data), space(data)]),
        None => findings.push(Finding::bad("data folder", "none is named and HOME is not set", "--data DIR")),
    }
    findings.push(confinement().await);
    findings.push(models(config));
    findings.push(port(&config.listen(args.listen).value));
    match context.client(args.connect) {
        Ok(client) => findings.extend(server(&client).await),
        Err(error) => findings.push(Finding::bad("server", error.message, error.hint.unwrap_or_default())),
    }
    let text = || findings.iter().map(|finding| line(finding, output.paint)).collect();
    output.many(&findings, |finding| finding.what.to_owned(), text)?;
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if bad { Exit::Other } else { Exit::Ok })
}

/// The one that `dev` uses in a project, else the one that `server` uses.
pub fn data_folder(config: &Config, flag: Option<PathBuf>) -> Option<PathBuf> {
    let named = config.data(flag).map(|data| data.value);
    let of_project = || Some(config.project.as_ref()?.folder.join(STATE_FOLDER).join("data"));
    named.or_else(of_project).or_else(|| data_folder_default(|name| std::env::var(name).ok()).ok())
}

fn toolchain() -> Finding {
    const WHAT: &str = "toolchain";
    match Toolchain::find() {
        Some(Toolchain::Installed) => Finding::good(WHAT, format!("rustc with the target {TARGET}")),
        Some(Toolchain::Debian { rustc, .. }) => Finding::good(WHAT, format!("Debian's {}", rustc.display())),
        None => {
            let advice = format!("rustup target add {TARGET}    # `trackway build` tries it by itself");
            Finding::note(WHAT, "no Rust compiler for WebAssembly; only building needs one", advice)
        }
    }
}

fn project(config: &Config) -> Finding {
    match &config.project {
        Some(project) => Finding::good("project", project.folder.display().to_string()),
        None => Finding::note("project", "none here or above", "trackway init hello    # makes one"),
    }
}

/// As a server would find them that is started here.
fn models(config: &Config) -> Finding {
    const WHAT: &str = "models";
    match config.providers(None, |name| std::env::var(name).ok()) {
        Err(error) => Finding::bad(WHAT, error.message, error.hint.unwrap_or_default()),
        Ok(providers) => match providers.with_keys().collect::<Vec<_>>().as_slice() {
            [] => {
                let advice =
                    "export OPENAI_API_KEY=...    # where the server is started; docs/guide/models.md lists others";
                Finding::note(WHAT, "no key of any provider is in this environment", advice)
            }
            with_keys => Finding::good(WHAT, format!("keys for {}", with_keys.join(", "))),
        },
    }
}

fn folder(data: &Path) -> Finding {
    const WHAT: &str = "data folder";
    let there = nearest(data);
    let probe = tempfile::Builder::new().prefix(".trackway-doctor").tempfile_in(&there);
    match probe {
        Ok(_) if there == data => Finding::good(WHAT, data.display().to_string()),
        Ok(_) => Finding::good(WHAT, format!("{} (will be made)", data.display())),
        Err(error) => {
            let found = format!("{} cannot be written: {error}", there.display());
            Finding::bad(WHAT, found, "--data DIR names another, or give yourself the right to write there")
        }
    }
}

/// Whether a synced write takes as long as a disk takes.
fn disk(data: &Path) -> Finding {
    const WHAT: &str = "durability";
    let there = nearest(data);
    let kind = file_system(&there);
    if matches!(kind.as_deref(), Some("tmpfs" | "ramfs")) {
        let found = format!("{} is in memory: everything is lost when the machine stops", there.display());
        return Finding::bad(WHAT, found, "--data DIR with a folder on a disk");
    }
    let of_kind = kind.map(|kind| format!(" on {kind}")).unwrap_or_default();
    match median_sync(&there) {
        Err(error) => Finding::bad(WHAT, format!("a synced write failed: {error}"), "look at the disk: dmesg"),
        Ok(median) if median < SYNC_SUSPICIOUS => Finding::note(
            WHAT,
            format!("a synced write{of_kind} takes {median:?}: no disk is as fast"),
            "a power cut may lose what was acknowledged; --data DIR with a folder on a real disk",
        ),
        Ok(median) if median > SYNC_SLOW => Finding::note(
            WHAT,
            format!("a synced write{of_kind} takes {median:.1?}; every step waits for at least one"),
            "--data DIR with a folder on a faster disk",
        ),
        Ok(median) => Finding::good(WHAT, format!("a synced write{of_kind} takes {median:.1?}")),
    }
}

fn median_sync(folder: &Path) -> std::io::Result<Duration> {
    let mut file = tempfile::Builder::new().prefix(".trackway-doctor").tempfile_in(folder)?;
    let mut times = Vec::with_capacity(SYNC_ROUNDS);
    for _ in 0..SYNC_ROUNDS {
        let begun = Instant::now();
        file.write_all(&[0x5a; 1024])?;
        file.as_file().sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[SYNC_ROUNDS / 2])
}

fn space(data: &Path) -> Finding {
    const WHAT: &str = "free space";
    let there = nearest(data);
    let free = match rustix::fs::statvfs(&there) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => return Finding::note(WHAT, format!("cannot be told: {error}"), "df -h"),
    };
    let found = format!("{:.1} GiB", free as f64 / (1_u64 << 30) as f64);
    match free {
        0..FREE_BYTES_NEEDED => Finding::bad(WHAT, found, "make room: a full disk takes nothing new"),
        FREE_BYTES_NEEDED..FREE_BYTES_WANTED => Finding::note(WHAT, found, "make room before it is used up"),
        _ => Finding::good(WHAT, found),
    }
}

/// Tries what a process that compiles must not be able to do.
async fn confinement() -> Finding {
    let probing = tokio::task::spawn_blocking(|| {
        let compiler = Compiler::this_binary()?;
        confine::probe(compiler.program().ok_or(std::io::ErrorKind::NotFound)?)
    });
    let tried = probing.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    judge_confinement(Kernel::look(), tried)
}

fn judge_confinement(kernel: Kernel, tried: std::io::Result<Vec<Attempt>>) -> Finding {
    const WHAT: &str = "confinement";
    let tried = match tried {
        Ok(tried) => tried,
        Err(error) => {
            let found = format!("{kernel}; a process that compiles cannot be confined: {error}");
            return Finding::bad(
                WHAT,
                found,
                "no component can be uploaded here: another kernel, or another container",
            );
        }
    };
    let open: Vec<&str> =
        tried.iter().filter(|attempt| attempt.verdict == Tried::Open).map(|attempt| attempt.what.as_str()).collect();
    let lacks = kernel.lacks();
    match open.as_slice() {
        [] if lacks.is_empty() => {
            Finding::good(WHAT, format!("{kernel}; a process that compiles is refused all of {} tries", tried.len()))
        }
        [] => Finding::note(WHAT, lacks.join("; "), "a newer kernel; uploads of strangers are safer there"),
        open if lacks.is_empty() => {
            let found = format!("{kernel}; a process that compiles can {}", open.join(", "));
            Finding::bad(WHAT, found, "this is a fault of Trackway, please report it")
        }
        open => {
            let found = format!("{}; a process that compiles can {}", lacks.join("; "), open.join(", "));
            Finding::note(WHAT, found, "take no uploads of strangers here; Linux 6.12 or newer has all of it")
        }
    }
}

fn port(listen: &str) -> Finding {
    const WHAT: &str = "port";
    match std::net::TcpListener::bind(listen) {
        Ok(_) => Finding::good(WHAT, format!("{listen} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Finding::note(WHAT, format!("{listen} is in use, by a Trackway server perhaps"), "--listen ADDRESS")
        }
        Err(error) => Finding::bad(WHAT, format!("{listen}: {error}"), "--listen ADDRESS"),
    }
}

/// Whether a server answers, and whether it lets us in.
async fn server(client: &Client) -> Vec<Finding> {
    let address = &client.connection.server;
    let health = match client.health().await {
        Ok(health) => health,
        Err(error) => {
            let advice = error.hint.unwrap_or_default();
            return vec![Finding::note("server", format!("{} ({})", error.message, address.source), advice)];
        }
    };
    let found = format!("{} answers, version {} (from {})", address.value, health.version, address.source);
    let key = match (&client.connection.key, client.deployments().await) {
        (Some(key), Ok(_)) => Finding::good("key", format!("is let in (from {})", key.source)),
        (None, Ok(_)) => Finding::good("key", "none is needed"),
        (_, Err(error)) if error.code == Code::Unauthorized => {
            Finding::bad("key", error.message, error.hint.unwrap_or_default())
        }
        (_, Err(error)) => Finding::bad("key", error.to_string(), error.hint.unwrap_or_default()),
    };
    vec![Finding::good("server", found), key]
}

/// The folder itself, or the closest one above it that exists.
fn nearest(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// The kind of the file system, where the system tells: the mount with the longest fitting path.
fn file_system(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    file_system_in(&std::fs::read_to_string("/proc/mounts").ok()?, &folder)
}

fn file_system_in(mounts: &str, folder: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_, place, kind) = (words.next()?, words.next()?, words.next()?);
        // A later mount on the same place covers the earlier one.
        folder.starts_with(place).then(|| (place.len(), kind.to_owned()))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

fn line(finding: &Finding, paint: Paint) -> String {
    let mark = match finding.verdict {
        Verdict::Good => paint.green("✓"),
        Verdict::Note => paint.yellow("!"),
        Verdict::Bad => paint.red("✗"),
    };
    let mut text = format!("{mark} {} {}\n", paint.bold(&format!("{:<12}", finding.what)), clean(&finding.found));
    if let Some(advice) = finding.advice.as_ref().filter(|advice| !advice.is_empty()) {
        let _ = writeln!(text, "{:15}{} {}", "", paint.cyan("next:"), clean(advice));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_mount_says_what_the_file_system_is() {
        let mounts = "overlay / overlay rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/sda1 /tmp/disk ext4 rw 0 0\n";
        let kind = |folder: &str| file_system_in(mounts, Path::new(folder));
        assert_eq!(kind("/tmp/disk/data").as_deref(), Some("ext4"));
        assert_eq!(kind("/tmp/other").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/tmpfs").as_deref(), Some("overlay"));
    }

    #[test]
    fn a_folder_that_will_be_made_is_judged_by_the_one_above() {
        let above = tempfile::tempdir().expect("writable");
        let data = above.path().join("a/b");
        assert_eq!(nearest(&data), above.path());
        assert_eq!(folder(&data).verdict, Verdict::Good);
        assert!(!data.exists() && std::fs::read_dir(above.path()).expect("readable").next().is_none());
    }

    #[test]
    fn what_a_process_that_compiles_can_do_is_a_fault_where_the_kernel_could_have_kept_it() {
        let attempt = |verdict| Attempt { what: "read a file".to_owned(), verdict, answer: String::new() };
        let judge = |landlock, verdict| {
            let kernel = Kernel { landlock, seccomp: true };
            judge_confinement(kernel, Ok(vec![attempt(verdict)])).verdict
        };
        assert_eq!(judge(Some(7), Tried::Refused), Verdict::Good);
        assert_eq!(judge(Some(7), Tried::Open), Verdict::Bad);
        assert_eq!(judge(None, Tried::Refused), Verdict::Note);
        assert_eq!(judge(None, Tried::Open), Verdict::Note);
        let broken = std::io::Error::other("no");
        assert_eq!(judge_confinement(Kernel { landlock: None, seccomp: false }, Err(broken)).verdict, Verdict::Bad);
    }

    #[test]
    fn a_port_in_use_is_said_to_be() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("bound").to_string();
        assert_eq!(port(&address).verdict, Verdict::Note);
    }
}
