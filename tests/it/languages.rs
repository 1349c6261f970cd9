//! The contract serves other languages: guests in Python and JavaScript, written against `wit/`
//! alone, run the same three steps beside each other.

use serde_json::{Value, json};
use std::time::Duration;

use crate::server::Server;
use crate::world::{Reply, World};

/// Longer than the test waits for anything: who is asked the first time does not answer any more.
const FOR_EVER: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_guest_survives_a_kill_and_replays_identical() {
    survives_a_kill("python").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_javascript_guest_survives_a_kill_and_replays_identical() {
    survives_a_kill("javascript").await;
}

/// Of three pages one answers at once; the other two answer only to the second host.
async fn survives_a_kill(guest: &str) {
    let world = World::start(|asked| {
        let first_life = asked.nonce <= 3;
        let after = if first_life && asked.path != "/1" { FOR_EVER } else { Duration::ZERO };
        Reply::ok("x".repeat(asked.path.len() * 10)).after(after)
    })
    .await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]).await;
    server.deploy(guest, &[world.origin()]).await;
    let urls: Vec<String> = ["/1", "/22", "/333"].map(|path| world.origin() + path).to_vec();
    let run = server.run("three", &json!({ "urls": urls })).await;

    world.until(|log| log.len() == 3).await;
    while !server.journal(run).await.iter().any(|entry| entry.kind == "Answered") {}
    server.kill().await;

    let server = Server::start(folder.path(), &[]).await;
    let ended = server.wait(run).await;
    let output = ended.output.unwrap_or_else(|| panic!("{guest} failed: {:?}", ended.failure));
    let output: Value = serde_json::from_str(output.get()).expect("an output is JSON");
    let page = |size: usize| json!({ "status": 200, "size": size });
    assert_eq!(output, json!([page(20), page(30), page(40)]), "in the order of the request");

    let asked = |path: &str| world.log().iter().filter(|asked| asked.path == path).count();
    assert_eq!(asked("/1"), 1, "its answer was durable before the kill");
    assert_eq!((asked("/22"), asked("/333")), (2, 2), "they were open at the kill");

    let report = server.replay(run).await;
    assert!(report.identical, "{report:?}");
    assert_eq!((report.commands_with_fuel, report.commands_without_fuel, report.deliveries), (3, 0, 3));
}
