use serde_json::{Value, json};

use super::support::*;

async fn deployment(server: &Server, name: &str) -> Value {
    let reply = server.get(&format!("/v1/deployments/{name}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[tokio::test]
async fn a_deployment_counts_its_versions_and_rolls_back() {
    let server = Server::start().await;
    let first = server.deploy("main", echo()).await;
    let second = server.deploy("main", nap(1, "1")).await;
    let now = deployment(&server, "main").await;
    assert_eq!((&now["current"], &now["revision"]), (&json!(2), &json!(2)));
    assert_eq!(now["versions"][0]["component"], first);
    assert_eq!(now["versions"][1]["component"], second);
    assert_eq!(now["versions"][1]["workflows"], json!(["nap"]));

    let back = server.post("/v1/deployments/main/rollback", "").await;
    assert_eq!(back.json::<Value>()["current"], 1, "{}", back.text());
    assert_eq!(server.post("/v1/deployments/main/rollback", "").await.problem(), (404, "TW0301".to_owned()));
    let forth = server.post("/v1/deployments/main/rollback", r#"{"version":2}"#).await;
    assert_eq!(forth.json::<Value>()["current"], 2);
    let nowhere = server.post("/v1/deployments/main/rollback", r#"{"version":7}"#).await;
    assert_eq!(nowhere.problem(), (404, "TW0301".to_owned()));
}

#[tokio::test]
async fn deploying_the_same_again_changes_nothing() {
    let server = Server::start().await;
    server.deploy("main", echo()).await;
    let before = deployment(&server, "main").await;
    server.deploy("main", echo()).await;
    assert_eq!(deployment(&server, "main").await, before);
}

#[tokio::test]
async fn promote_takes_what_another_deployment_points_to_and_keeps_the_grants() {
    let server = Server::start().await;
    let old = server.deploy("live", echo()).await;
    let granted = format!(r#"{{"component":"{old}","allow_hosts":["example.com"]}}"#);
    assert_eq!(server.put("/v1/deployments/live", &granted).await.status, 200);
    let new = server.deploy("next", nap(1, "1")).await;

    let promoted = server.post("/v1/deployments/live/promote", r#"{"from":"next"}"#).await;
    let versions = &promoted.json::<Value>()["versions"];
    assert_eq!(versions[2]["component"], new, "{}", promoted.text());
    assert_eq!(versions[2]["allow_hosts"], json!(["example.com"]));

    let back = server.post("/v1/deployments/live/promote", &format!(r#"{{"component":"{old}"}}"#)).await;
    assert_eq!(back.json::<Value>()["versions"][3]["component"], old);
    for bad in ["{}", "", &format!(r#"{{"from":"next","component":"{old}"}}"#)] {
        let reply = server.post("/v1/deployments/live/promote", bad).await;
        assert_eq!(reply.problem(), (400, "TW0604".to_owned()), "{bad}");
    }
    let nowhere = server.post("/v1/deployments/live/promote", r#"{"from":"nothing"}"#).await;
    assert_eq!(nowhere.problem(), (404, "TW0301".to_owned()));
}

#[tokio::test]
async fn only_the_revision_that_was_seen_is_changed() {
    let server = Server::start().await;
    let digest = server.deploy("main", echo()).await;
    let at =
        |revision: u64| format!(r#"{{"component":"{digest}","allow_hosts":["a.example"],"if_revision":{revision}}}"#);
    assert_eq!(server.put("/v1/deployments/main", &at(0)).await.problem(), (409, "TW0311".to_owned()));
    assert_eq!(server.put("/v1/deployments/main", &at(1)).await.status, 200);
    assert_eq!(server.put("/v1/deployments/main", &at(1)).await.problem(), (409, "TW0311".to_owned()));
}

#[tokio::test]
async fn a_deployment_that_makes_no_sense_is_refused() {
    let server = Server::start().await;
    let digest = server.deploy("main", echo()).await;
    let good = format!(r#"{{"component":"{digest}"}}"#);
    assert_eq!(server.put("/v1/deployments/a%20b", &good).await.problem(), (400, "TW0604".to_owned()));
    let unknown = format!(r#"{{"component":"{}"}}"#, "ab".repeat(32));
    assert_eq!(server.put("/v1/deployments/x", &unknown).await.problem(), (404, "TW0209".to_owned()));
    let grant = format!(r#"{{"component":"{digest}","allow_hosts":["http://"]}}"#);
    assert_eq!(server.put("/v1/deployments/x", &grant).await.problem(), (422, "TW0313".to_owned()));
    for bad in ["", "{", r#"{"component":"short"}"#, r#"{"component":1}"#, "[]"] {
        assert_eq!(server.put("/v1/deployments/x", bad).await.problem(), (400, "TW0604".to_owned()), "{bad}");
    }
    assert_eq!(server.get("/v1/deployments/x").await.problem(), (404, "TW0301".to_owned()));
    let all: Value = server.get("/v1/deployments").await.json();
    assert_eq!(all["deployments"].as_array().map(Vec::len), Some(1), "{all}");
}
