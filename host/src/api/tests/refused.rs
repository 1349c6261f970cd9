//! What was sent under a key, and what is refused: nothing is left of it.

use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use trackway_storage::INBOX_MAX;

use super::support::{Server, nap, options_of, promises, takes};
use crate::Code;
use crate::host::{Host, SettleRequest, Settlement, SignalRequest, UpdateRequest};

/// Values beside journals, in bytes.
fn beside_journals(folder: &TempDir) -> u64 {
    fn below(folder: &Path) -> u64 {
        let entries = folder.read_dir().expect("it can be read").flatten().map(|entry| entry.path());
        let size_of = |file: &Path| file.metadata().map_or(0, |metadata| metadata.len());
        entries.map(|path| if path.is_dir() { below(&path) } else { size_of(&path) }).sum()
    }
    let payloads = folder.path().join("data/store/payloads");
    if payloads.exists() { below(&payloads) } else { 0 }
}

fn large(letter: char) -> String {
    format!("\"{}\"", letter.to_string().repeat(1 << 20))
}

#[tokio::test]
async fn a_message_that_is_refused_for_its_key_leaves_no_payload() {
    let server = Server::start().await;
    server.deploy("main", nap(3_600_000, "1")).await;
    let run = server.begin(r#"{"workflow":"nap"}"#).await;
    for what in ["signals", "updates"] {
        let path = format!("/v1/runs/{run}/{what}/go?timeout=0");
        let key = [("idempotency-key", "k")];
        let sent = server.ask("POST", &path, &key, large('a').as_bytes()).await;
        assert!(sent.status < 300, "{}", sent.text());
        let before = beside_journals(&server.folder);
        assert!(before >= 1 << 20, "the one that stands is there: {before}");
        for letter in ['b', 'c', 'd'] {
            let refused = server.ask("POST", &path, &key, large(letter).as_bytes()).await;
            assert_eq!(refused.problem(), (409, "TW0309".to_owned()));
        }
        assert_eq!(beside_journals(&server.folder), before, "{what}");
        assert!(server.ask("POST", &path, &key, large('a').as_bytes()).await.status < 300, "it is known again");
    }
}

#[tokio::test]
async fn a_message_that_a_full_inbox_refuses_leaves_no_payload() {
    let server = Server::start().await;
    server.deploy("main", promises()).await;
    let run = server.begin(r#"{"workflow":"promises"}"#).await;
    let token = loop {
        let trace: Value = server.get(&format!("/v1/runs/{run}/trace")).await.json();
        if let Some(token) = trace["trace"]["rows"][0]["what"]["promise"]["token"].as_str() {
            break token.to_owned();
        }
    };
    let folder = server.stop().await;
    let mut options = options_of(&folder);
    // Nobody takes the run up, so nobody reads what it is sent.
    options.worker.runs_max = 0;
    let host = Host::open(options).await.expect("the host opens");
    let run = run.parse().expect("an id");
    let signal =
        |payload: String| SignalRequest { run, name: "go".into(), payload: payload.into(), idempotency_key: None };
    let sends = (0..INBOX_MAX).map(|number| host.signal(signal(number.to_string())));
    assert!(futures_util::future::join_all(sends).await.iter().all(Result::is_ok));
    let before = beside_journals(&folder);
    let payload: Arc<str> = large('a').into();
    let name: Arc<str> = "go".into();
    let update = UpdateRequest { run, name, payload: payload.clone(), idempotency_key: None, expires_in: None };
    let settle = SettleRequest { token, with: Settlement::Resolved(payload), idempotency_key: None };
    let refused = [
        host.signal(signal(large('a'))).await.map(drop),
        host.update(update).await.map(drop),
        host.settle(settle).await.map(drop),
    ];
    for refused in refused {
        assert_eq!(refused.expect_err("the inbox is full").code, Code::InboxFull);
    }
    assert_eq!(beside_journals(&folder), before);
}

#[tokio::test]
async fn a_key_is_answered_as_before_when_the_run_is_on_code_that_takes_other_names() {
    let server = Server::start().await;
    server.deploy("main", takes(&["go", "note"])).await;
    server.deploy("next", takes(&["go"])).await;
    let run = server.begin(r#"{"workflow":"main/takes"}"#).await;
    let key = [("idempotency-key", "k")];
    let path = |what: &str| format!("/v1/runs/{run}/{what}/note?timeout=0");
    let mut answers = Vec::new();
    for what in ["signals", "updates"] {
        let sent = server.ask("POST", &path(what), &key, b"1").await;
        assert!(sent.status < 300, "{}", sent.text());
        answers.push((sent.status, sent.json::<Value>()));
    }
    let moved = server.post(&format!("/v1/runs/{run}/move"), r#"{"to":"next"}"#).await;
    assert_eq!(moved.status, 202, "{}", moved.text());
    for (what, answer) in ["signals", "updates"].into_iter().zip(answers) {
        let again = server.ask("POST", &path(what), &key, b"1").await;
        assert_eq!((again.status, again.json::<Value>()), answer);
        assert_eq!(server.ask("POST", &path(what), &key, b"2").await.problem(), (409, "TW0309".to_owned()));
        assert_eq!(server.post(&path(what), "1").await.status, 404, "a new one is refused");
    }
}
