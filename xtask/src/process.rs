//! Runs other programs and shows that something is going on. It decides nothing about what to run.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often a silent program is said to be still at work.
const STILL_EVERY: Duration = Duration::from_secs(10);

/// Tells what begins now.
pub fn say(what: &str) {
    println!("\n==> {what}");
    flush();
}

/// Output of this program and of those that it runs must come in order.
pub fn flush() {
    // Nobody is left to be told that standard output is gone.
    let _ = std::io::stdout().flush();
}

/// Runs a program that shows its own progress.
pub fn run(what: &str, command: &mut Command) -> Result<()> {
    say(what);
    let begun = Instant::now();
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("{what}: `{}` ended with {status}", line_of(command));
    }
    println!("    {what}: {}", seconds(begun.elapsed()));
    flush();
    Ok(())
}

/// Runs a program that says little: its output is shown only if it fails, and how long it has been
/// at work every few seconds.
pub fn run_quietly(what: &str, command: &mut Command) -> Result<()> {
    println!("    {what} ...");
    flush();
    let begun = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| cannot_start(command))?;
    let stdout = child.stdout.take().expect("piped just above");
    let stderr = child.stderr.take().expect("piped just above");
    let (send, done) = channel();
    let readers = [spawn_reader(stdout, send.clone()), spawn_reader(stderr, send)];
    while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(STILL_EVERY) {
        println!("    {what} ... {}", seconds(begun.elapsed()));
        flush();
    }
    let status = child.wait()?;
    let text: String = readers.into_iter().filter_map(|reader| reader.join().ok()).collect();
    if !status.success() {
        bail!("{what}: `{}` ended with {status}\n{}", line_of(command), text.trim_end());
    }
    println!("    {what}: {}", seconds(begun.elapsed()));
    flush();
    Ok(())
}

/// Reads all there is; `done` is dropped when there is no more.
fn spawn_reader(
    mut from: impl Read + Send + 'static,
    done: std::sync::mpsc::Sender<()>,
) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = from.read_to_end(&mut bytes);
        drop(done);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// What a program prints; an error if it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}\n{}", line_of(command), output.status, text.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program can be started and says so.
pub fn works(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", line_of(command))
}
