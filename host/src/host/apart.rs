//! Checks an input in a process of its own: nobody can say beforehand how long it takes or how much of
//! the stack it needs, and a check cannot be broken off. It must never decide what fits.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use super::catalog;
use crate::confine::{self, Rations};
use crate::{Code, Error, Result};

/// The hidden first argument that makes this binary check one input; see [`check_child_main`].
pub const CHECK_ARGUMENT: &str = "__check";

/// The largest input that fits takes a second, and a hundred times its bytes as values.
const RATIONS: Rations = Rations { cpu_seconds: 5, wall_seconds: 30, address_space_bytes: 4 << 30 };
/// The check of a schema that refers to itself goes as deep as the input does, again and again.
const STACK_BYTES: usize = 256 << 20;
/// The size of the schema, in front of it.
const SIZE_BYTES: usize = 8;
/// What does not fit is named, as many as are shown.
const COMPLAINT_BYTES_MAX: u64 = 1 << 20;

const EXIT_NOT_JSON: u8 = 3;
const EXIT_BROKEN: u8 = 4;

/// What of `input` does not fit `schema`. Blocks for as long as it takes.
pub fn check(program: &Path, workflow: &str, schema: &str, input: &str) -> Result<Vec<String>> {
    let failed = |why: String| Error::new(Code::Internal, format!("checking an input: {why}"));
    let output = run(program, schema, input).map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string())),
        Some(code) if code == i32::from(EXIT_NOT_JSON) => Err(catalog::not_json(workflow, &said)),
        Some(_) => Err(failed(said.into_owned())),
        // It went over a limit, whichever it was.
        None => Err(catalog::takes_too_long(workflow)),
    }
}

fn run(program: &Path, schema: &str, input: &str) -> std::io::Result<Output> {
    let mut child = Command::new(program)
        .arg(CHECK_ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let size = (schema.len() as u64).to_le_bytes();
        // One that ends early closes its end; its status tells more than the broken pipe.
        let _ = [&size, schema.as_bytes(), input.as_bytes()].into_iter().try_for_each(|part| stdin.write_all(part));
    }
    let mut stdout = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        pipe.take(COMPLAINT_BYTES_MAX).read_to_end(&mut stdout)?;
    }
    Ok(Output { status: child.wait()?, stdout, stderr: Vec::new() })
}

/// What the binary does when its first argument is [`CHECK_ARGUMENT`]: reads a schema and an input from
/// standard input, and writes what does not fit to standard output.
pub fn check_child_main() -> ExitCode {
    let checked = confine::child(RATIONS).and_then(|()| {
        let checking = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(check_what_comes)?;
        checking.join().map_err(|_| std::io::Error::other("it broke off"))
    });
    let (said, code) = match checked {
        Ok(Ok(misfits)) => (serde_json::to_string(&misfits).unwrap_or_default(), ExitCode::SUCCESS),
        Ok(Err((why, code))) => (why, ExitCode::from(code)),
        Err(error) => (error.to_string(), ExitCode::from(EXIT_BROKEN)),
    };
    match std::io::stdout().lock().write_all(said.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::from(EXIT_BROKEN),
    }
}

fn check_what_comes() -> std::result::Result<Vec<String>, (String, u8)> {
    let broken = |why: &dyn std::fmt::Display| (why.to_string(), EXIT_BROKEN);
    let mut size = [0; SIZE_BYTES];
    let (mut schema, mut input) = (Vec::new(), Vec::new());
    let mut stdin = std::io::stdin().lock();
    stdin.read_exact(&mut size).map_err(|error| broken(&error))?;
    (&mut stdin).take(u64::from_le_bytes(size)).read_to_end(&mut schema).map_err(|error| broken(&error))?;
    stdin.read_to_end(&mut input).map_err(|error| broken(&error))?;
    let schema = serde_json::from_slice(&schema).map_err(|error| broken(&error))?;
    let validator = catalog::compile(&schema).map_err(|why| broken(&why))?;
    let value = serde_json::from_slice(&input).map_err(|error| (error.to_string(), EXIT_NOT_JSON))?;
    Ok(catalog::misfits(&validator, &value, input.len()))
}
