//! A server that drives as many runs as it may: who wants one more hears so in time.

use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::wire::Wire;
use super::witness::Witness;
use super::{Place, Server, run};
use crate::rig::guests;

const HELD: &str = "/step/0/0";
/// A refusal takes five seconds; the rest is for a busy machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn a_start_without_room_is_refused_in_time_and_the_client_tries_it_again() {
    let witness = Witness::holding(HELD);
    let server = Server::start(Place::new(), "--runs-max 1");
    let deploy = format!("deploy --allow-host {}", witness.url);
    run(server.trackway(&deploy).arg(guests().join("effects.wasm"))).expect(0);
    run(server.trackway("deploy").arg(guests().join("hello.wasm"))).expect(0);
    let plan = json!({ "url": witness.url, "steps": 1 }).to_string();
    let active = run(server.trackway("run posts --detach -o id -i").arg(plan)).expect(0);
    witness.wait_for(HELD, 1);

    let mut wire = Wire::to(&server);
    let begun = Instant::now();
    let start = json!({ "workflow": "hello" }).to_string();
    let (status, answer) = wire.ask("POST", "runs", "application/json", start.as_bytes());
    assert!(begun.elapsed() < REFUSED_WITHIN, "after {:?}: {answer}", begun.elapsed());
    assert_eq!((status, &answer["code"]), (503, &json!("TW0610")), "{answer}");
    assert!(wire.head.iter().any(|line| line == "retry-after: 1"), "{:?}", wire.head);
    let runs = wire.get("runs");
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "nothing else was started: {runs}");

    let mut hello = server.trackway("run hello");
    let mut hello = hello.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut stderr = BufReader::new(hello.stderr.take().expect("it is piped"));
    let mut said = String::new();
    stderr.read_line(&mut said).expect("text");
    assert!(said.contains("the server is busy, trying again: as many runs are active as may be (1)"), "{said}");
    witness.release();
    stderr.read_to_string(&mut said).expect("text");
    let hello = hello.wait_with_output().expect("it ends");
    assert!(hello.status.success() && !hello.stdout.is_empty(), "{hello:?}\n{said}");
    assert_eq!(wire.get(&format!("runs/{}/wait", active.line()))["status"], "succeeded");
}
