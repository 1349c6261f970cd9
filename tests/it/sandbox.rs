//! Built guests in the sandbox alone: what they must not do is refused with advice, what goes too
//! far ends them and nothing else, and the real binary is its own compiler.

use crate::rig;
use crate::server::binary;
use std::io::Write as _;
use std::process::{Command as Process, Output, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use trackway::sandbox::{
    COMPILE_ARGUMENT, Command, Compiler, Delivery, End, Ended, GuestCall, GuestHost, Options, Reply, Role, Sandbox,
    Stop,
};
use trackway_replay::{Failure, Limits, TenantId, code};

/// Gives nothing to wait for: guests here end by themselves, or when they wait.
struct Nobody;

impl GuestHost for Nobody {
    fn command(&mut self, _: Command<'_>, _: u64) -> Result<Reply, Stop> {
        Ok(Reply { id: 1, fuel: None })
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, _: &mut Context<'_>, _: u64) -> Poll<Result<Delivery, Stop>> {
        Poll::Ready(Err(Stop))
    }

    fn now_ms(&mut self) -> u64 {
        1_700_000_000_000
    }

    fn random(&mut self, into: &mut [u8]) {
        into.fill(7);
    }

    fn log(&mut self, _: &str, _: &str, _: &str) {}
}

fn bytes(guest: &str) -> Arc<[u8]> {
    let path = rig::guests().join(format!("{guest}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display())).into()
}

async fn call(guest: &str, role: Role, name: &str, input: &str) -> End {
    let sandbox = rig::sandbox();
    let admitted = sandbox.admit(bytes(guest)).await.expect("the guest is good");
    let code = sandbox.load(TenantId::DEFAULT, admitted.digest, &admitted.bytes).await.expect("it was just admitted");
    let context = match role {
        Role::Workflow => r#"{"run":"0","workflow":"w","deployment":"d"}"#,
        Role::Function => r#"{"run":"0","step":1,"attempt":1}"#,
    };
    let call = GuestCall {
        tenant: TenantId::DEFAULT,
        role,
        name: name.into(),
        input: input.into(),
        context: context.into(),
        limits: Limits::default(),
        fuel: 500_000_000,
    };
    code.call(call, Box::new(Nobody)).await
}

async fn failure(guest: &str, workflow: &str, input: &str) -> Failure {
    match call(guest, Role::Workflow, workflow, input).await.how {
        Ended::Trapped(failure) => failure,
        other => panic!("{workflow} should have trapped: {other:?}"),
    }
}

async fn advised(workflow: &str, advice: &str) {
    let failure = failure("impure", workflow, "null").await;
    assert_eq!(failure.code, code::PANIC, "{failure}");
    assert!(failure.message.contains(advice), "{failure} should advise {advice}");
}

#[tokio::test]
async fn the_monotonic_clock_in_a_workflow_is_answered_with_advice() {
    advised("instant", "use `ctx.now()`").await;
}

#[tokio::test]
async fn the_wall_clock_in_a_workflow_is_answered_with_advice() {
    advised("system_time", "use `ctx.now()`").await;
}

#[tokio::test]
async fn a_thread_in_a_workflow_is_answered_with_advice() {
    advised("thread", "no threads in the sandbox").await;
}

#[tokio::test]
async fn a_sleep_of_the_thread_is_answered_with_advice() {
    advised("thread_sleep", "ctx.sleep").await;
}

#[tokio::test]
async fn a_file_in_a_workflow_is_answered_with_advice() {
    advised("file_unwrapped", "hand in files as input").await;
}

#[tokio::test]
async fn a_socket_in_a_workflow_is_answered_with_advice() {
    advised("socket_unwrapped", "move network access into a function").await;
}

#[tokio::test]
async fn http_in_a_workflow_is_refused_with_place_and_advice() {
    for workflow in ["http_in_workflow", "function_without_step"] {
        let failure = failure("impure", workflow, "null").await;
        assert_eq!(failure.code, code::WRONG_ROLE, "{failure}");
        assert!(failure.message.starts_with(&format!("HTTP used in workflow `{workflow}` (")), "{failure}");
        assert!(failure.message.ends_with("): move it into a function"), "{failure}");
        assert!(failure.at.expect("the SDK tells the place").contains(".rs:"));
    }
}

#[tokio::test]
async fn the_environment_in_a_workflow_is_answered_with_advice() {
    advised("environment", "hand in files as input").await;
}

#[tokio::test]
async fn what_differs_elsewhere_is_the_same_in_every_instance() {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let end = call("impure", Role::Workflow, "address", "null").await;
        seen.push((format!("{:?}", end.how), end.fuel));
    }
    assert!(seen[0].0.starts_with("Returned(Ok("), "{seen:?}");
    assert!(seen.iter().all(|end| *end == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn a_guest_that_goes_too_far_ends_with_a_clear_failure() {
    for (workflow, input, code) in [
        ("endless_loop", "null", code::OUT_OF_FUEL),
        ("memory_bomb", "null", code::OUT_OF_MEMORY),
        ("deep_recursion", "null", code::STACK_OVERFLOW),
        ("panics", "\"the message\"", code::PANIC),
        ("traps", "null", code::TRAP),
    ] {
        let failure = failure("limits", workflow, input).await;
        assert_eq!(failure.code, code, "{workflow}: {failure}");
        assert_eq!(failure.retryable, [code::PANIC, code::TRAP].contains(&code), "{workflow}");
        if workflow == "panics" {
            assert_eq!(failure.message, "the message");
            assert!(failure.at.expect("the hook tells the place").contains("src/lib.rs:"));
        }
    }
}

#[tokio::test]
async fn the_real_binary_compiles_an_upload_in_a_process_of_its_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = || Options {
        cache: folder.path().to_owned(),
        key: [7; 32],
        compiler: Compiler::child(binary()),
        slots: 20,
        cores: 2,
        slow_threads: 2,
    };
    let sandbox = Sandbox::new(options()).expect("the sandbox starts");
    let admitted = sandbox.admit(bytes("hello")).await.expect("the guest is good");
    assert!(!admitted.manifest.workflows.is_empty());
    let again = Sandbox::new(options()).expect("the sandbox starts");
    assert!(again.cached(TenantId::DEFAULT, admitted.digest).await.expect("readable").is_some());
}

fn compile(input: &[u8]) -> Output {
    let mut child = Process::new(binary())
        .arg(COMPILE_ARGUMENT)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[test]
fn the_compiling_process_refuses_what_is_no_component() {
    for input in [&b""[..], b"(component)", b"\0asm\x0d\0\x01\0\xff\xff"] {
        let output = compile(input);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}
