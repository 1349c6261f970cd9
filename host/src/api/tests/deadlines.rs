//! The time that a run is given, whoever starts it.

use serde_json::{Value, json};

use super::support::{Server, nap, naps_within, starts};

async fn ended(server: &Server, run: &str) -> Value {
    let ended: Value = server.get(&format!("/v1/runs/{run}/wait?timeout=60")).await.json();
    assert_eq!((&ended["status"], &ended["code"]), (&json!("failed"), &json!("TIMEOUT")), "{ended}");
    ended
}

async fn kinds(server: &Server, run: &str) -> Vec<String> {
    let journal: Value = server.get(&format!("/v1/runs/{run}/journal")).await.json();
    let entries = journal["entries"].as_array().expect("entries");
    entries.iter().map(|entry| entry["kind"].as_str().expect("a kind").to_owned()).collect()
}

#[tokio::test]
async fn a_run_that_a_run_starts_has_the_time_that_its_workflow_gives_it() {
    let server = Server::start().await;
    server.deploy("naps", naps_within(50)).await;
    server.deploy("waits", starts("naps", false)).await;
    server.deploy("detaches", starts("naps", true)).await;
    let parent: Value = server.post("/v1/runs?wait=60", r#"{"workflow":"waits/starts"}"#).await.json();
    assert_eq!(parent["run"]["output"]["code"], "TIMEOUT", "{parent}");
    let parent: Value = server.post("/v1/runs?wait=60", r#"{"workflow":"detaches/starts"}"#).await.json();
    let child = parent["run"]["output"]["run"].as_str().expect("an id");
    ended(&server, child).await;
    assert_eq!(kinds(&server, child).await[..3], ["Started", "ChildOf", "DeadlineSet"]);
    let shown: Value = server.get(&format!("/v1/runs/{child}")).await.json();
    assert_eq!(shown["parent"]["run"], parent["run"]["id"], "{shown}");
}

#[tokio::test]
async fn a_run_that_is_started_anew_has_as_much_time_as_the_one_before() {
    let server = Server::start().await;
    server.deploy("main", nap(3_600_000, "1")).await;
    let first = server.begin(r#"{"workflow":"nap","run_timeout_ms":50}"#).await;
    ended(&server, &first).await;
    let mut run = first;
    for body in ["{}", r#"{"from_step":1}"#, r#"{"from_step":1}"#, "{}"] {
        let again: Value = server.post(&format!("/v1/runs/{run}/restart"), body).await.json();
        run = again["run"]["id"].as_str().expect("an id").to_owned();
        let end = ended(&server, &run).await;
        let trace: Value = server.get(&format!("/v1/runs/{run}/trace")).await.json();
        assert!(trace["trace"]["run"]["deadline_us"].is_u64(), "{trace}");
        assert_eq!(end["id"], run.as_str());
    }
    // From the nap of the first one to now it was given that time alone.
    let free = server.begin(r#"{"workflow":"nap"}"#).await;
    let again: Value = server.post(&format!("/v1/runs/{free}/restart"), "{}").await.json();
    let again = again["run"]["id"].as_str().expect("an id");
    assert!(!kinds(&server, again).await.contains(&"DeadlineSet".to_owned()));
}
