//! Sending signals over HTTP.

use serde_json::{Value, json};

use super::support::{Server, nap, wait};

#[tokio::test]
async fn a_run_gets_the_bytes_of_a_signal_once() {
    let server = Server::start().await;
    server.deploy("main", wait()).await;
    let run = server.begin(r#"{"workflow":"wait"}"#).await;
    let path = format!("/v1/runs/{run}/signals/go");
    let key = [("idempotency-key", "s1")];
    let sent = server.ask("POST", &path, &key, b" 42 ").await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    let first: Value = sent.json();
    assert_eq!(first["run"], run.as_str());
    let ended = server.get(&format!("/v1/runs/{run}/wait")).await;
    assert!(ended.text().contains(r#""output":42"#), "{}", ended.text());
    // The same request again is answered as it was, though the run has ended since.
    let again = server.ask("POST", &path, &key, b" 42 ").await;
    assert_eq!((again.status, again.json::<Value>()), (202, first.clone()));
    assert_eq!(server.post(&path, "43").await.problem(), (409, "TW0308".to_owned()));
    let journal: Value = server.get(&format!("/v1/runs/{run}/journal")).await.json();
    let entries = journal["entries"].as_array().expect("entries");
    let signals: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "Signalled").collect();
    assert_eq!(signals.len(), 1);
    assert_eq!((&signals[0]["name"], &signals[0]["payload"]), (&json!("go"), &json!(42)));
    assert_eq!(signals[0]["message"], first["message"]);
}

#[tokio::test]
async fn a_run_that_waits_for_a_signal_says_so() {
    let server = Server::start().await;
    server.deploy("main", wait()).await;
    let run = server.begin(r#"{"workflow":"wait"}"#).await;
    let shown = loop {
        let shown: Value = server.get(&format!("/v1/runs/{run}")).await.json();
        if shown["status"] == "waiting" {
            break shown;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(shown["waiting"], "signal");
    let trace: Value = server.get(&format!("/v1/runs/{run}/trace")).await.json();
    let row = &trace["trace"]["rows"][0];
    assert_eq!((&row["status"], &row["what"]["receive"]["signal"]), (&json!("waiting"), &json!("go")), "{row}");
}

#[tokio::test]
async fn a_signal_that_cannot_be_taken_is_refused_with_a_reason() {
    let server = Server::start().await;
    server.deploy("main", wait()).await;
    server.deploy("other", nap(3_600_000, "1")).await;
    let run = server.begin(r#"{"workflow":"wait"}"#).await;
    let refused =
        async |name: &str, body: &str| server.post(&format!("/v1/runs/{run}/signals/{name}"), body).await.problem();
    assert_eq!(refused("go", "{").await, (400, "TW0305".to_owned()));
    assert_eq!(refused("go", r#""text""#).await, (422, "TW0306".to_owned()));
    assert_eq!(refused("went", "1").await, (404, "TW0314".to_owned()));
    assert_eq!(refused("g%20o", "1").await, (400, "TW0604".to_owned()));
    let large = format!("\"{}\"", "x".repeat(16 << 20));
    assert_eq!(refused("go", &large).await, (413, "TW0307".to_owned()));
    assert_eq!(server.post("/v1/runs/zzzz/signals/go", "1").await.problem(), (404, "TW0303".to_owned()));
    // One that declares none takes any, and keeps it until it is wanted.
    let any = server.begin(r#"{"workflow":"nap"}"#).await;
    let sent = server.post(&format!("/v1/runs/{any}/signals/whatever"), "").await;
    assert_eq!(sent.status, 202, "{}", sent.text());
}
