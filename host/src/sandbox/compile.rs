//! Turns a checked component into machine code, in a process of its own: the compiler is large and
//! reads what strangers wrote, so its crash or its hunger must cost one upload and nothing else.

use super::engine::{self, Purpose};
use crate::confine::{self, Rations};
use crate::{Code, Error, Result};
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use wasmtime::{CodeBuilder, Engine};

/// The hidden first argument that makes this binary a compiler; see [`compile_child_main`].
pub const COMPILE_ARGUMENT: &str = "__compile";

/// The machine code of the largest components is about twice their size.
const CODE_BYTES_MAX: u64 = 512 << 20;
/// An error message and no more.
const COMPLAINT_BYTES_MAX: u64 = 16 << 10;
/// More threads would compete with running guests; each also costs address space.
const THREADS_MAX: &str = "2";
const ARENAS_MAX: &str = "2";

/// The child understood the component and refused it; its complaint says why.
const EXIT_REFUSED: u8 = 3;
/// The child could not do its work for reasons of its own.
const EXIT_BROKEN: u8 = 4;
/// The child got no memory for what it was to read.
const EXIT_HUNGRY: u8 = 5;

/// What one compilation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    pub cpu_seconds: u64,
    pub wall_seconds: u32,
    pub address_space_bytes: u64,
}

impl CompileLimits {
    /// A Python component takes 10 seconds of one processor and 1 GiB; these are several times that.
    pub const DEFAULT: CompileLimits =
        CompileLimits { cpu_seconds: 120, wall_seconds: 300, address_space_bytes: 8 << 30 };

    fn rations(self) -> Rations {
        let CompileLimits { cpu_seconds, wall_seconds, address_space_bytes } = self;
        Rations { cpu_seconds, wall_seconds, address_space_bytes }
    }

    /// As arguments of the child, in this order.
    fn arguments(self) -> [String; 3] {
        [self.cpu_seconds.to_string(), self.wall_seconds.to_string(), self.address_space_bytes.to_string()]
    }

    /// What the child was told. It never allows itself more than the default.
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> CompileLimits {
        let most = CompileLimits::DEFAULT;
        let mut next = |most: u64| arguments.next().and_then(|told| told.parse().ok()).unwrap_or(most).clamp(1, most);
        CompileLimits {
            cpu_seconds: next(most.cpu_seconds),
            wall_seconds: next(most.wall_seconds.into()) as u32,
            address_space_bytes: next(most.address_space_bytes),
        }
    }
}

#[derive(Debug, Clone)]
pub enum Compiler {
    /// A program, started with [`COMPILE_ARGUMENT`] and the limits that it sets itself.
    Child { program: PathBuf, limits: CompileLimits },
    /// For tests of other things: quick, and without protection.
    InProcess,
}

impl Compiler {
    pub fn child(program: impl Into<PathBuf>) -> Compiler {
        Compiler::Child { program: program.into(), limits: CompileLimits::DEFAULT }
    }

    /// The running binary itself, also after its file was replaced.
    pub fn this_binary() -> std::io::Result<Compiler> {
        let proc = PathBuf::from("/proc/self/exe");
        if cfg!(target_os = "linux") && proc.exists() {
            return Ok(Compiler::child(proc));
        }
        std::env::current_exe().map(Compiler::child)
    }

    /// What is started anew for work that may go wrong.
    pub fn program(&self) -> Option<&Path> {
        match self {
            Compiler::Child { program, .. } => Some(program),
            Compiler::InProcess => None,
        }
    }

    /// Blocks for as long as it takes.
    pub fn compile(&self, component: &[u8]) -> Result<Vec<u8>> {
        match self {
            Compiler::Child { program, limits } => in_child(program, *limits, component),
            Compiler::InProcess => translate(component).map_err(refused),
        }
    }
}

/// Never from text: a component is what was uploaded and digested, byte for byte.
fn translate(component: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let engine = engine::build(Purpose::Compile).map_err(|error| error.to_string())?;
    let compile = || precompile(&engine, component);
    match catch_unwind(AssertUnwindSafe(compile)) {
        Ok(result) => result.map_err(|error| format!("{error:#}")),
        Err(_) => Err("the compiler crashed on it".to_owned()),
    }
}

fn precompile(engine: &Engine, component: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let mut builder = CodeBuilder::new(engine);
    builder.wasm_binary(component, None)?;
    builder.compile_component_serialized()
}

/// How the compiler's pool of threads says that it got none.
const NO_THREADS: &str = "ThreadPoolBuildError";
const TOO_MUCH: &str = "a component that the compiler cannot digest may be too large, or built in an unusual way";

fn refused(problem: impl std::fmt::Display) -> Error {
    Error::new(Code::CompileFailed, format!("the compiler refused the component: {problem}"))
}

fn in_child(program: &Path, limits: CompileLimits, component: &[u8]) -> Result<Vec<u8>> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Error::new(Code::CompileFailed, format!("the compiling process {what}: {error}"))
    };
    let mut child = Command::new(program)
        .arg(COMPILE_ARGUMENT)
        .args(limits.arguments())
        .env_clear()
        .env("RAYON_NUM_THREADS", THREADS_MAX)
        .env("MALLOC_ARENA_MAX", ARENAS_MAX)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed("did not start", &error))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (code, complaint) = thread::scope(|scope| {
        // A child that ends early closes its end; its status tells more than the broken pipe.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(component)));
        let complaint = scope.spawn(move || read_all(stderr, COMPLAINT_BYTES_MAX));
        let code = read_all(stdout, CODE_BYTES_MAX);
        (code, complaint.join().unwrap_or_default())
    });
    if code.len() as u64 > CODE_BYTES_MAX {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| failed("was lost", &error))?;
    if code.len() as u64 > CODE_BYTES_MAX {
        return Err(failed("was stopped", &format!("more than {CODE_BYTES_MAX} bytes of machine code")));
    }
    let complaint = String::from_utf8_lossy(&complaint);
    match status.code() {
        Some(0) if !code.is_empty() => Ok(code),
        // Threads take address space too.
        Some(code)
            if code == i32::from(EXIT_HUNGRY)
                || (code == i32::from(EXIT_REFUSED) && complaint.contains(NO_THREADS)) =>
        {
            Err(failed(&at_memory_limit(limits), &last_line(&complaint)).hint(TOO_MUCH))
        }
        Some(code) if code == i32::from(EXIT_REFUSED) => Err(refused(complaint.trim())),
        _ => Err(failed(&end_of(status, limits), &last_line(&complaint)).hint(TOO_MUCH)),
    }
}

/// At most one byte more than `bytes_max`, so that the caller sees an excess.
fn read_all(pipe: Option<impl Read>, bytes_max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What was read before an error is judged with the child's status.
        let _ = pipe.take(bytes_max + 1).read_to_end(&mut bytes);
    }
    bytes
}

fn last_line(complaint: &str) -> String {
    let line = complaint.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    line.trim().to_owned()
}

fn at_memory_limit(limits: CompileLimits) -> String {
    format!("gave up, most likely at its memory limit of {} MiB", limits.address_space_bytes >> 20)
}

#[cfg(unix)]
fn end_of(status: ExitStatus, limits: CompileLimits) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match status.signal() {
        Some(libc::SIGXCPU) => format!("used more than {} s of processor time", limits.cpu_seconds),
        Some(libc::SIGALRM) => format!("took longer than {} s", limits.wall_seconds),
        Some(libc::SIGABRT) => at_memory_limit(limits),
        Some(libc::SIGKILL) => "was killed".to_owned(),
        Some(libc::SIGSEGV | libc::SIGBUS | libc::SIGILL) => "crashed".to_owned(),
        Some(signal) => format!("ended by signal {signal}"),
        None => format!("ended with {status}"),
    }
}

#[cfg(not(unix))]
fn end_of(status: ExitStatus, _limits: CompileLimits) -> String {
    format!("ended with {status}")
}

/// What the binary does when its first argument is [`COMPILE_ARGUMENT`]: reads a component from
/// standard input, and writes its code to standard output or a complaint to standard error.
pub fn compile_child_main() -> ExitCode {
    // The program and its first argument come before them.
    let limits = CompileLimits::from_arguments(std::env::args().skip(2));
    if let Err(error) = confine::child(limits.rations()) {
        eprintln!("it cannot be confined: {error}");
        return ExitCode::from(EXIT_BROKEN);
    }
    let mut component = Vec::new();
    if let Err(error) = std::io::stdin().lock().read_to_end(&mut component) {
        eprintln!("no component: {error}");
        // Whether growing a buffer aborts or is an error depends on who grows it.
        let is_hungry = error.kind() == std::io::ErrorKind::OutOfMemory;
        return ExitCode::from(if is_hungry { EXIT_HUNGRY } else { EXIT_BROKEN });
    }
    let code = match translate(&component) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(EXIT_REFUSED);
        }
    };
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(&code).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("code cannot be handed over: {error}");
            ExitCode::from(EXIT_BROKEN)
        }
    }
}

#[cfg(all(test, unix))]
mod tests;
