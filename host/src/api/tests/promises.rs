//! Settling promises over HTTP.

use serde_json::{Value, json};

use super::support::{Server, promises};

/// A run that has made its promise, and the token of it.
async fn made(server: &Server) -> (String, String) {
    server.deploy("main", promises()).await;
    let run = server.begin(r#"{"workflow":"promises"}"#).await;
    loop {
        let shown: Value = server.get(&format!("/v1/runs/{run}")).await.json();
        if shown["status"] == "waiting" {
            assert_eq!(shown["waiting"], "promise");
            break;
        }
        tokio::task::yield_now().await;
    }
    let trace: Value = server.get(&format!("/v1/runs/{run}/trace")).await.json();
    let token = trace["trace"]["rows"][0]["what"]["promise"]["token"].as_str().expect("a token").to_owned();
    (run, token)
}

#[tokio::test]
async fn a_promise_is_resolved_once_and_the_same_again_is_told_again() {
    let server = Server::start().await;
    let (run, token) = made(&server).await;
    let path = format!("/v1/promises/{token}");
    let open: Value = server.get(&path).await.json();
    assert_eq!((&open["run"], &open["name"], &open["standing"]), (&json!(run), &json!("paid"), &json!("open")));
    let resolve = format!("{path}/resolve");
    for _ in 0..3 {
        let told = server.post(&resolve, " 42 ").await;
        assert_eq!((told.status, &told.json::<Value>()["standing"]), (200, &json!("resolved")), "{}", told.text());
    }
    assert_eq!(server.post(&resolve, "43").await.problem(), (409, "TW0332".to_owned()));
    assert_eq!(server.post(&format!("{path}/reject"), "").await.problem(), (409, "TW0332".to_owned()));
    let ended = server.get(&format!("/v1/runs/{run}/wait")).await;
    assert!(ended.text().contains(r#""output":42"#), "{}", ended.text());
    // Also after the end of the run.
    assert_eq!(server.post(&resolve, " 42 ").await.status, 200);
    assert_eq!(server.post(&resolve, "43").await.problem(), (409, "TW0332".to_owned()));
    assert_eq!(server.get(&path).await.json::<Value>()["standing"], "resolved");
}

#[tokio::test]
async fn of_two_who_settle_at_once_one_wins_and_the_other_is_told() {
    let server = Server::start().await;
    let (_, token) = made(&server).await;
    let path = format!("/v1/promises/{token}/resolve");
    let (one, other) = tokio::join!(server.post(&path, "1"), server.post(&path, "2"));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
}

#[tokio::test]
async fn a_rejection_reaches_the_workflow() {
    let server = Server::start().await;
    let (run, token) = made(&server).await;
    let path = format!("/v1/promises/{token}/reject");
    assert_eq!(server.post(&path, r#"{"code":"not one"}"#).await.problem(), (400, "TW0604".to_owned()));
    assert_eq!(server.post(&path, r#"{"codes":"X"}"#).await.status, 400);
    let rejected = server.post(&path, r#"{"message":"no money","details":{"card":1}}"#).await;
    assert_eq!((rejected.status, &rejected.json::<Value>()["standing"]), (200, &json!("rejected")));
    let ended = server.get(&format!("/v1/runs/{run}/wait")).await.text();
    assert!(ended.contains("REJECTED") && ended.contains("no money"), "{ended}");
}

#[tokio::test]
async fn a_token_that_is_wrong_anywhere_opens_nothing() {
    let server = Server::start().await;
    let (run, token) = made(&server).await;
    let last = if token.ends_with('0') { "1" } else { "0" };
    let altered = format!("{}{last}", &token[..token.len() - 1]);
    let of_other_step = token.replacen("_1_", "_2_", 1);
    for wrong in [altered.as_str(), of_other_step.as_str(), "pr", "pr_x_1_2", run.as_str(), &token.to_uppercase()] {
        for act in ["/resolve", "/reject"] {
            let refused = server.post(&format!("/v1/promises/{wrong}{act}"), "").await;
            assert_eq!(refused.problem(), (404, "TW0331".to_owned()), "{wrong}");
        }
    }
    assert_eq!(server.post(&format!("/v1/promises/{token}/resolve"), "{").await.problem(), (400, "TW0305".to_owned()));
    let ended = server.post(&format!("/v1/runs/{run}/terminate"), "").await;
    assert_eq!(ended.status, 202, "{}", ended.text());
    assert_eq!(server.post(&format!("/v1/promises/{token}/resolve"), "1").await.problem(), (409, "TW0308".to_owned()));
}
