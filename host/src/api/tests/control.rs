//! Holding runs and starting them anew, over the wire.

use serde_json::{Value, json};

use super::support::*;

async fn until(server: &Server, run: &str, status: &str) -> Value {
    loop {
        let found: Value = server.get(&format!("/v1/runs/{run}")).await.json();
        if found["status"] == status {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_run_is_held_and_goes_on_also_across_a_restart() {
    let server = Server::start().await;
    server.deploy("main", nap(300, "\"done\"")).await;
    let run = server.begin(r#"{"workflow":"nap"}"#).await;
    let held = server.post(&format!("/v1/runs/{run}/pause"), r#"{"reason":"look at it"}"#).await;
    assert_eq!(held.status, 202, "{}", held.text());
    until(&server, &run, "paused").await;
    let paused: Value = server.get("/v1/runs?status=paused").await.json();
    assert_eq!(paused["runs"][0]["id"], run);
    let server = Server::start_in(server.stop().await).await;
    assert_eq!(until(&server, &run, "paused").await["waiting"], Value::Null);
    let trace: Value = server.get(&format!("/v1/runs/{run}/trace")).await.json();
    let rows = trace["trace"]["rows"].as_array().expect("rows");
    let pause = rows.iter().find(|row| row["id"] == "pause-1").expect("a row for the pause");
    assert_eq!(pause["what"]["pause"]["reason"], "look at it");
    assert_eq!(server.post(&format!("/v1/runs/{run}/resume"), "{}").await.status, 202);
    assert_eq!(until(&server, &run, "succeeded").await["output"], "done");
    let late = server.post(&format!("/v1/runs/{run}/pause"), "{}").await;
    assert_eq!(late.problem(), (409, "TW0308".to_owned()));
    assert_eq!(server.post("/v1/runs/01zz/resume", "{}").await.problem(), (404, "TW0303".to_owned()));
}

#[tokio::test]
async fn a_run_is_started_anew_on_what_its_deployment_points_to_now() {
    let server = Server::start().await;
    server.deploy("main", nap(1, "\"old\"")).await;
    let run = server.finish(r#"{"workflow":"nap","input":7}"#).await;
    server.deploy("main", nap(1, "\"new\"")).await;
    let path = format!("/v1/runs/{run}/restart");
    let again = server.ask("POST", &path, &[("idempotency-key", "k")], b"{}").await;
    assert_eq!(again.status, 201, "{}", again.text());
    let new = again.json::<Value>()["run"]["id"].as_str().expect("an id").to_owned();
    assert_ne!(new, run);
    let ended = until(&server, &new, "succeeded").await;
    assert_eq!((&ended["input"], &ended["output"]), (&json!(7), &json!("new")));
    let same = server.ask("POST", &path, &[("idempotency-key", "k")], b"{}").await;
    assert_eq!((same.status, same.json::<Value>()["run"]["id"].as_str()), (200, Some(new.as_str())));
}

#[tokio::test]
async fn a_run_is_started_anew_from_a_step_on_its_own_code() {
    let server = Server::start().await;
    server.deploy("main", nap(1, "\"old\"")).await;
    let run = server.finish(r#"{"workflow":"nap"}"#).await;
    server.deploy("main", nap(1, "\"new\"")).await;
    let path = format!("/v1/runs/{run}/restart");
    let again = server.ask("POST", &path, &[("idempotency-key", "k")], br#"{"from_step":1}"#).await;
    assert_eq!(again.status, 201, "{}", again.text());
    let new = again.json::<Value>()["run"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(until(&server, &new, "succeeded").await["output"], "old");
    let trace: Value = server.get(&format!("/v1/runs/{new}/trace")).await.json();
    assert_eq!(trace["trace"]["run"]["forked"], json!({ "run": run, "step": 1 }));
    let journal: Value = server.get(&format!("/v1/runs/{new}/journal")).await.json();
    assert_eq!((&journal["entries"][1]["kind"], &journal["entries"][1]["from"]), (&json!("Forked"), &json!(run)));
    let same = server.ask("POST", &path, &[("idempotency-key", "k")], br#"{"from_step":1}"#).await;
    assert_eq!((same.status, same.json::<Value>()["run"]["id"].as_str()), (200, Some(new.as_str())));
    let other = server.ask("POST", &path, &[("idempotency-key", "k")], br#"{"from_step":2}"#).await;
    assert_eq!(other.problem(), (409, "TW0309".to_owned()));
    assert_eq!(server.post(&path, r#"{"from_step":2}"#).await.problem(), (409, "TW0320".to_owned()));
}

#[tokio::test]
async fn a_run_goes_on_with_other_code_if_that_does_what_is_on_record() {
    let server = Server::start().await;
    server.deploy("main", nap(60_000, "\"old\"")).await;
    server.deploy("same", nap(60_000, "\"new\"")).await;
    server.deploy("other", nap(50_000, "\"other\"")).await;
    let run = server.begin(r#"{"workflow":"main/nap"}"#).await;
    let path = format!("/v1/runs/{run}/move");
    let sleeping = until(&server, &run, "sleeping").await;
    let other = server.post(&path, r#"{"to":"other"}"#).await;
    assert!(other.text().contains("recorded: sleep 60000 ms"), "{}", other.text());
    assert_eq!(other.problem(), (409, "TW0321".to_owned()));
    assert_eq!(server.post(&path, r#"{"to":"nobody"}"#).await.problem(), (404, "TW0301".to_owned()));
    let dry = server.post(&path, r#"{"to":"same","dry_run":true}"#).await;
    assert_eq!(dry.json::<Value>()["component"], sleeping["component"], "nothing was done");
    let moved = server.ask("POST", &path, &[("idempotency-key", "k")], br#"{"to":"same"}"#).await;
    assert_eq!(moved.status, 202, "{}", moved.text());
    let moved: Value = moved.json();
    assert_eq!(moved["deployment"], "same");
    assert_ne!(moved["component"], sleeping["component"]);
    let again = server.ask("POST", &path, &[("idempotency-key", "k")], br#"{"to":"same"}"#).await;
    assert_eq!(again.status, 202, "{}", again.text());
    let trace: Value = server.get(&format!("/v1/runs/{run}/trace")).await.json();
    let rows = trace["trace"]["rows"].as_array().expect("rows");
    assert_eq!(rows.iter().filter(|row| row["what"]["move"]["deployment"] == "same").count(), 1);
    server.post(&format!("/v1/runs/{run}/terminate"), "{}").await;
    until(&server, &run, "cancelled").await;
    assert_eq!(server.post(&path, r#"{"to":"same"}"#).await.problem(), (409, "TW0308".to_owned()));
}
