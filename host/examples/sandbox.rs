//! Measures the sandbox and prints what it took: crossings, instances, and the way of each component
//! named on the command line from upload to its first call. It judges nothing.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use trackway::sandbox::{
    COMPILE_ARGUMENT, Code, Command, Compiler, Delivery, End, Ended, GuestCall, GuestHost, Options, Reply, Role,
    SLOTS_DEFAULT, Sandbox, Stop, compile_child_main,
};
use trackway_replay::{Limits, TenantId};

const ROUNDS: u32 = 5;
const CALLS: u32 = 2_000;
const CROSSINGS: u32 = 200_000;

/// Answers everything at once.
struct Ready {
    id: u32,
}

impl GuestHost for Ready {
    fn command(&mut self, _: Command<'_>, _: u64) -> Result<Reply, Stop> {
        self.id += 1;
        Ok(Reply { id: self.id, fuel: None })
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, _: &mut Context<'_>, _: u64) -> Poll<Result<Delivery, Stop>> {
        Poll::Ready(Ok(Delivery { kind: "succeeded", id: self.id, body: "null".into(), fuel: None, refuel: true }))
    }

    fn now_ms(&mut self) -> u64 {
        1
    }

    fn random(&mut self, into: &mut [u8]) {
        into.fill(7);
    }

    fn log(&mut self, _: &str, _: &str, _: &str) {}
}

/// Ends at its first command.
struct Unwilling;

impl GuestHost for Unwilling {
    fn command(&mut self, _: Command<'_>, _: u64) -> Result<Reply, Stop> {
        Err(Stop)
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        Poll::Ready(Err(Stop))
    }

    fn poll_next(&mut self, _: &mut Context<'_>, _: u64) -> Poll<Result<Delivery, Stop>> {
        Poll::Ready(Err(Stop))
    }

    fn now_ms(&mut self) -> u64 {
        1
    }

    fn random(&mut self, into: &mut [u8]) {
        into.fill(7);
    }

    fn log(&mut self, _: &str, _: &str, _: &str) {}
}

/// `run` does `BODY` as often as the input has bytes times 1,000, and answers `null`.
const LOOPER: &str = r#"(component
  (import "trackway:guest/step@0.1.0" (instance $step
    (export "call" (func (param "function" string) (param "input" string) (param "options" string)
                         (param "at" (option string)) (result u32)))
    (export "now" (func (result u64)))))
  (core module $memory
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 32768))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $top) (global.set $top (i32.add (global.get $top) (local.get 3)))))
  (core instance $memory (instantiate $memory))
  (core func $call (canon lower (func $step "call") (memory $memory "memory") (realloc (core func $memory "realloc"))))
  (core func $now (canon lower (func $step "now")))
  (core module $main
    (import "m" "memory" (memory 1))
    (import "s" "call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "s" "now" (func $now (result i64)))
    (data (i32.const 0) "nullfetch[1,2,3]src/lib.rs:41")
    (data (i32.const 256) "{\"contract\":\"0.1\",\"workflows\":[{\"name\":\"w\"}]}")
    (func (export "describe") (result i32)
      (i32.store (i32.const 128) (i32.const 256)) (i32.store (i32.const 132) (i32.const 45)) (i32.const 128))
    (func (export "run") (param i32 i32 i32 i32 i32 i32) (result i32) (local $n i32)
      (local.set $n (i32.mul (local.get 3) (i32.const 1000)))
      (loop $again
        BODY
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (i32.store (i32.const 132) (i32.const 0)) (i32.store (i32.const 136) (i32.const 4))
      (i32.store (i32.const 128) (i32.const 0)) (i32.const 128)))
  (core instance $main (instantiate $main
    (with "m" (instance $memory))
    (with "s" (instance (export "call" (func $call)) (export "now" (func $now))))))
  (func $describe (result string) (canon lift (core func $main "describe") (memory $memory "memory")))
  (func $run (param "workflow" string) (param "input" string) (param "context" string) (result (result string (error string)))
    (canon lift (core func $main "run") (memory $memory "memory") (realloc (core func $memory "realloc"))))
  (export "describe" (func $describe))
  (export "run" (func $run)))"#;

const CALL: &str =
    "(drop (call $call (i32.const 4) (i32.const 5) (i32.const 9) (i32.const 7) (i32.const 0) (i32.const 0)
                                      (i32.const 1) (i32.const 16) (i32.const 13)))";

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == COMPILE_ARGUMENT) {
        return compile_child_main();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(measure()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let options = |compiler| Options {
        cache: folder.path().to_owned(),
        key: [1; 32],
        compiler,
        slots: SLOTS_DEFAULT,
        cores: 2,
        slow_threads: 2,
    };
    let sandbox = Sandbox::new(options(Compiler::this_binary()?))?;
    for (name, body) in [("nothing", ""), ("`now`", "(drop (call $now))"), ("`call`", CALL)] {
        let admitted = sandbox.admit(wat::parse_str(LOOPER.replace("BODY", body))?.into()).await?;
        let code = sandbox.load(TenantId::DEFAULT, admitted.digest, &admitted.bytes).await?;
        let best = best_of(CROSSINGS, || call(&code, CROSSINGS as usize / 1_000)).await;
        println!("crossing, {name}: {best:?}");
        if body.is_empty() {
            println!("instance with one call: {:?}", best_of(1, || many(&code)).await / CALLS);
        }
    }
    for path in std::env::args().skip(1) {
        component(&sandbox, &options, Path::new(&path)).await?;
    }
    Ok(())
}

async fn component(
    sandbox: &Sandbox,
    options: &dyn Fn(Compiler) -> Options,
    path: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    println!("{}:", path.display());
    let began = Instant::now();
    let admitted = sandbox.admit(std::fs::read(path)?.into()).await?;
    println!("  upload {:?} ({} bytes)", began.elapsed(), admitted.bytes.len());
    let again = Sandbox::new(options(Compiler::this_binary()?))?;
    let began = Instant::now();
    let code = again.load(TenantId::DEFAULT, admitted.digest, &admitted.bytes).await?;
    println!("  load from the cache {:?}", began.elapsed());
    let best = best_of(CALLS / 10, || async {
        for _ in 0..CALLS / 10 {
            let call = GuestCall { name: first_name(&code), fuel: 1_000_000, ..call_with(1) };
            Arc::clone(&code).call(call, Box::new(Unwilling)).await;
        }
    });
    println!("  instance up to its first command {:?}", best.await);
    Ok(())
}

fn first_name(code: &Code) -> Arc<str> {
    code.manifest().workflows.first().map_or("w".into(), |workflow| Arc::clone(&workflow.name))
}

fn call_with(input_bytes: usize) -> GuestCall {
    GuestCall {
        tenant: TenantId::DEFAULT,
        role: Role::Workflow,
        name: "w".into(),
        input: "1".repeat(input_bytes).into(),
        context: "{}".into(),
        limits: Limits::default(),
        fuel: u64::MAX / 2,
    }
}

async fn call(code: &Arc<Code>, thousands: usize) {
    let end = Arc::clone(code).call(call_with(thousands), Box::new(Ready { id: 0 })).await;
    let End { how: Ended::Returned(Ok(_)), .. } = end else { panic!("{end:?}") };
}

async fn many(code: &Arc<Code>) {
    for _ in 0..CALLS {
        call(code, 1).await;
    }
}

async fn best_of<F: Future<Output = ()>>(per: u32, mut work: impl FnMut() -> F) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        work().await;
        best = best.min(began.elapsed());
    }
    best / per
}
