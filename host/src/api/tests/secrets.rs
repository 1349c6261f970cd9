//! Secrets over HTTP: a value goes in, and no answer gives it back.

use serde_json::{Value, json};

use super::support::Server;

const VALUE: &str = "a-value-that-nobody-sees";

fn body(value: &str) -> String {
    json!({ "value": value }).to_string()
}

#[tokio::test]
async fn a_secret_is_set_listed_and_removed_and_never_shown() {
    let server = Server::start().await;
    let path = "/v1/secrets/STRIPE_KEY";
    let made = server.put(path, &body(VALUE)).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let secret: Value = made.json();
    assert_eq!(
        (&secret["name"], &secret["revision"], &secret["readable"]),
        (&json!("STRIPE_KEY"), &json!(1), &json!(true))
    );
    let again: Value = server.put(path, &body("another value of it")).await.json();
    assert_eq!((&again["revision"], &again["created_at"]), (&json!(2), &secret["created_at"]));
    let listed = server.get("/v1/secrets").await;
    assert_eq!(listed.json::<Value>()["secrets"], json!([again]));
    for answer in [made.text(), listed.text()] {
        assert!(!answer.contains(VALUE) && !answer.contains("another value"), "{answer}");
    }
    assert_eq!(server.get(path).await.status, 405, "there is no way to read one");
    assert_eq!(server.ask("DELETE", path, &[], b"").await.status, 204);
    assert_eq!(server.ask("DELETE", path, &[], b"").await.problem(), (404, "TW0360".to_owned()));
    assert_eq!(server.get("/v1/secrets").await.json::<Value>()["secrets"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_secret_is_refused_without_a_word_of_it() {
    let server = Server::start().await;
    let refused = async |path: &str, body: &str, expected: (u16, &str)| {
        let answer = server.put(path, body).await;
        assert_eq!(answer.problem(), (expected.0, expected.1.to_owned()), "{path} {body}");
        assert!(!answer.text().contains("hush"), "{}", answer.text());
    };
    let path = "/v1/secrets/KEY";
    refused(path, &body("hush"), (422, "TW0361")).await;
    refused(path, &body(&"hush".repeat(4_097)), (422, "TW0361")).await;
    refused("/v1/secrets/no%20name", &body(VALUE), (422, "TW0361")).await;
    refused(&format!("/v1/secrets/{}", "K".repeat(65)), &body(VALUE), (422, "TW0361")).await;
    for wrong in [
        "",
        "hush hush hush",
        r#"{"value": ["hush hush"]}"#,
        r#"{"valu": "hush hush"}"#,
        r#"{"value": "hush hush", "x": 1}"#,
    ] {
        refused(path, wrong, (400, "TW0604")).await;
    }
    assert_eq!(server.get("/v1/secrets").await.json::<Value>()["secrets"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn a_version_keeps_the_secrets_that_it_was_granted() {
    let server = Server::start().await;
    let digest = server.deploy("main", super::support::echo()).await;
    let path = "/v1/deployments/main";
    let granted = json!({"component": digest, "allow_secrets": ["KEY=https://Example.com", "KEY:body,query=http://127.0.0.1:80"]});
    let made: Value = server.put(path, &granted.to_string()).await.json();
    let expected = json!(["KEY=example.com", "KEY:query,body=http://127.0.0.1"]);
    assert_eq!(made["versions"][1]["allow_secrets"], expected);
    let other = server.deploy("other", super::support::nap(1, "1")).await;
    let promoted: Value = server.post("/v1/deployments/main/promote", r#"{"from":"other"}"#).await.json();
    assert_eq!(
        (&promoted["versions"][2]["component"], &promoted["versions"][2]["allow_secrets"]),
        (&json!(other), &expected)
    );
    let taken: Value =
        server.post("/v1/deployments/main/promote", r#"{"from":"other","allow_secrets":[]}"#).await.json();
    assert_eq!(taken["versions"][3]["allow_secrets"], json!([]));
    let wrong = json!({"component": digest, "allow_secrets": ["KEY=*"]});
    assert_eq!(server.put(path, &wrong.to_string()).await.problem(), (422, "TW0313".to_owned()));
    server.stop().await;
}
