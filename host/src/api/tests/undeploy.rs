//! Deployments and components that are removed: what holds a component is named, and what is removed is gone.

use serde_json::{Value, json};
use std::path::Path;

use super::isolation::tenant_with;
use super::support::*;

const HOUR_MS: u64 = 3_600_000;

async fn delete(server: &Server, path: &str) -> Reply {
    server.ask("DELETE", path, &[], b"").await
}

/// Files in the folder, and in those below, of which the name has that part.
fn files_named(folder: &Path, part: &str) -> usize {
    let entries = std::fs::read_dir(folder).expect("it is a folder").map(|entry| entry.expect("readable"));
    let counts = entries.map(|entry| match entry.file_type().expect("readable").is_dir() {
        true => files_named(&entry.path(), part),
        false => usize::from(entry.file_name().to_string_lossy().contains(part)),
    });
    counts.sum()
}

#[tokio::test]
async fn a_component_stays_while_something_uses_it_and_the_refusal_names_what() {
    let server = Server::start().await;
    let digest = server.deploy("main", nap(HOUR_MS, "1")).await;
    let path = format!("/v1/components/{digest}");
    let refused = async |what: &str| {
        let reply = delete(&server, &path).await;
        assert_eq!(reply.problem(), (409, "TW0323".to_owned()));
        assert!(reply.text().contains(what), "{what}: {}", reply.text());
    };
    refused("version 1 of deployment `main`").await;
    let run = server.begin(r#"{"workflow":"nap"}"#).await;
    refused(&format!("run {run}")).await;

    // An old version holds it too, until it is removed.
    server.deploy("main", echo()).await;
    refused("version 1 of deployment `main`").await;
    let gone = delete(&server, "/v1/deployments/main?version=1").await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    let main: Value = server.get("/v1/deployments/main").await.json();
    assert_eq!((&main["current"], main["versions"].as_array().map(Vec::len)), (&json!(2), Some(1)), "{main}");
    let reply = delete(&server, &path).await;
    assert!(!reply.text().contains("deployment `main`") && reply.text().contains(&run), "{}", reply.text());

    // So does what waits for an approval.
    assert_eq!(server.put("/v1/policy", r#"{"widening":"needs-approval"}"#).await.status, 200);
    let wider = json!({ "component": digest, "allow_hosts": ["a.test"] }).to_string();
    assert_eq!(server.put("/v1/deployments/other", &wider).await.status, 202);
    refused("version 1 of `other`, which is proposed").await;
    assert_eq!(delete(&server, "/v1/deployments/other").await.status, 204);
    assert_eq!(delete(&server, "/v1/deployments/other").await.problem(), (404, "TW0301".to_owned()));
    assert_eq!(server.get("/v1/deployments").await.json::<Value>()["deployments"].as_array().map(Vec::len), Some(1));

    // A run that has ended does not.
    refused(&format!("run {run}")).await;
    assert_eq!(server.post(&format!("/v1/runs/{run}/terminate"), "").await.status, 202);
    assert_eq!(server.get(&format!("/v1/runs/{run}/wait")).await.status, 200);
    let gone = delete(&server, &path).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert_eq!(server.get(&path).await.problem(), (404, "TW0209".to_owned()));
    assert_eq!(delete(&server, &path).await.problem(), (404, "TW0209".to_owned()));
    assert_eq!(server.get(&format!("/v1/runs/{run}/trace")).await.status, 200);
    let deploy = json!({ "component": digest }).to_string();
    assert_eq!(server.put("/v1/deployments/main", &deploy).await.problem(), (404, "TW0209".to_owned()));
    assert_eq!(server.ask("POST", "/v1/components", &[], &nap(HOUR_MS, "1")).await.status, 201, "not as a known one");
}

#[tokio::test]
async fn the_version_that_new_runs_use_goes_with_the_deployment_only() {
    let server = Server::start().await;
    server.deploy("main", nap(1, "1")).await;
    server.deploy("main", echo()).await;
    let path = "/v1/deployments/main";
    assert_eq!(delete(&server, &format!("{path}?version=2")).await.problem(), (409, "TW0311".to_owned()));
    assert_eq!(delete(&server, &format!("{path}?version=7")).await.problem(), (404, "TW0301".to_owned()));
    for wrong in ["version=x", "version=-1", "versions=1"] {
        assert_eq!(delete(&server, &format!("{path}?{wrong}")).await.problem(), (400, "TW0604".to_owned()), "{wrong}");
    }
    let main: Value = server.get(path).await.json();
    assert_eq!((&main["revision"], &main["current"]), (&json!(2), &json!(2)), "what was refused changed nothing");

    assert_eq!(delete(&server, path).await.status, 204);
    assert_eq!(server.get(path).await.problem(), (404, "TW0301".to_owned()));
    assert_eq!(delete(&server, path).await.problem(), (404, "TW0301".to_owned()));
    assert_eq!(delete(&server, &format!("{path}?version=1")).await.problem(), (404, "TW0301".to_owned()));
    let start = r#"{"workflow":"main/nap"}"#;
    assert_eq!(server.post("/v1/runs", start).await.problem(), (404, "TW0301".to_owned()));
    // It is gone after a restart too, and its name is free.
    let server = Server::start_in(server.stop().await).await;
    assert_eq!(server.get(path).await.problem(), (404, "TW0301".to_owned()));
    server.deploy("main", nap(1, "1")).await;
    let main: Value = server.get(path).await.json();
    assert_eq!(
        (&main["revision"], &main["current"], main["versions"].as_array().map(Vec::len)),
        (&json!(1), &json!(1), Some(1))
    );
    server.finish(start).await;
}

#[tokio::test]
async fn an_open_run_of_a_removed_deployment_goes_on() {
    let server = Server::start().await;
    let digest = server.deploy("main", promises()).await;
    let run = server.begin(r#"{"workflow":"promises"}"#).await;
    assert_eq!(delete(&server, "/v1/deployments/main").await.status, 204);
    assert_eq!(delete(&server, &format!("/v1/components/{digest}")).await.problem(), (409, "TW0323".to_owned()));
    let promised = async {
        loop {
            let trace: Value = server.get(&format!("/v1/runs/{run}/trace")).await.json();
            if let Some(token) = trace["trace"]["rows"][0]["what"]["promise"]["token"].as_str() {
                return token.to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    let token = tokio::time::timeout(std::time::Duration::from_secs(60), promised).await.expect("it makes a promise");
    // Also across a restart of the server.
    let server = Server::start_in(server.stop().await).await;
    assert_eq!(server.post(&format!("/v1/promises/{token}/resolve"), "1").await.status, 200);
    let ended: Value = server.get(&format!("/v1/runs/{run}/wait")).await.json();
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(delete(&server, &format!("/v1/components/{digest}")).await.status, 204);
}

#[tokio::test]
async fn a_removed_component_leaves_no_file_and_another_tenant_that_has_it_goes_on() {
    let server = Server::start().await;
    let (one, two) = (tenant_with(&server, "one", &["admin"]).await, tenant_with(&server, "two", &["admin"]).await);
    let guest = nap(1, "7");
    let digest = server.deploy_with(&one, "main", &guest).await;
    server.deploy_with(&two, "main", &guest).await;
    let start = r#"{"workflow":"nap"}"#;
    let ended: Value = server.with(&one, "POST", "/v1/runs?wait=60", start).await.json();
    assert_eq!(ended["run"]["status"], "succeeded", "{ended}");
    let run = format!("/v1/runs/{}", ended["run"]["id"].as_str().expect("an id"));
    let path = format!("/v1/components/{digest}");
    let data = server.folder.path().join("data");
    let (bytes, code) = (format!("{digest}.wasm"), format!("{digest}.code"));
    assert_eq!((files_named(&data, &bytes), files_named(&data, &code)), (2, 1));

    assert_eq!(server.with(&one, "DELETE", "/v1/deployments/main", "").await.status, 204);
    assert_eq!(server.with(&one, "DELETE", &path, "").await.status, 204);
    assert_eq!((files_named(&data, &bytes), files_named(&data, &code)), (1, 1));
    assert_eq!(server.with(&one, "GET", "/v1/components", "").await.json::<Value>()["components"], json!([]));
    let theirs: Value = server.with(&two, "GET", "/v1/components", "").await.json();
    assert_eq!(
        (&theirs["components"][0]["digest"], &theirs["components"][0]["deployments"]),
        (&json!(digest), &json!(["main"]))
    );
    let ended: Value = server.with(&two, "POST", "/v1/runs?wait=60", start).await.json();
    assert_eq!(ended["run"]["status"], "succeeded", "{ended}");

    // What is compiled for another tenant is not for this one.
    assert_eq!(server.with(&one, "GET", &format!("{run}/trace"), "").await.status, 200);
    let replay = format!("{run}/replay");
    assert_eq!(server.with(&one, "POST", &replay, "").await.problem(), (409, "TW0505".to_owned()));
    let authorization = format!("Bearer {one}");
    let again = server.raw("POST", "/v1/components", &[("authorization", authorization.as_str())], &guest).await;
    assert_eq!(again.status, 201, "{}", again.text());
    let replayed: Value = server.with(&one, "POST", &replay, "").await.json();
    assert_eq!(replayed["identical"], true, "{replayed}");

    assert_eq!(server.with(&one, "DELETE", &path, "").await.status, 204);
    assert_eq!(server.with(&two, "DELETE", "/v1/deployments/main", "").await.status, 204);
    assert_eq!(server.with(&two, "DELETE", &path, "").await.status, 204);
    assert_eq!(files_named(&data, &digest), 0, "bytes, manifest or compiled code are left");
    let report: Value = server.post("/v1/store/check", "").await.json();
    assert_eq!(report["flaws"], json!([]), "{report}");
}

#[tokio::test]
async fn what_was_kept_of_a_signature_goes_with_its_component() {
    use crate::host::SigningKey;
    let server = Server::start().await;
    let digest = server.deploy("main", echo()).await;
    let key = SigningKey::read(&SigningKey::generate().expect("random bytes")).expect("a key");
    let policy = json!({ "trusted_keys": [{ "name": "release", "key": key.public() }] }).to_string();
    assert_eq!(server.put("/v1/policy", &policy).await.status, 200);
    let signature = key.sign(digest.parse().expect("a digest")).to_string();
    let signed = json!({ "component": digest, "signature": signature }).to_string();
    let bare = json!({ "component": digest }).to_string();
    assert_eq!(server.put("/v1/deployments/main", &signed).await.status, 200);
    assert_eq!(server.put("/v1/deployments/other", &bare).await.status, 200, "it is kept");
    for name in ["main", "other"] {
        assert_eq!(delete(&server, &format!("/v1/deployments/{name}")).await.status, 204);
    }
    assert_eq!(delete(&server, &format!("/v1/components/{digest}")).await.status, 204);
    assert_eq!(server.ask("POST", "/v1/components", &[], &echo()).await.status, 201);
    assert_eq!(server.put("/v1/deployments/main", &bare).await.problem(), (422, "TW0210".to_owned()));
    assert_eq!(server.put("/v1/deployments/main", &signed).await.status, 200);
}

#[tokio::test]
async fn of_deploys_and_removals_at_once_no_deployment_is_left_without_its_component() {
    let server = Server::start().await;
    let guest = echo();
    for _ in 0..5 {
        let uploaded = server.ask("POST", "/v1/components", &[], &guest).await;
        let digest = uploaded.json::<Value>()["digest"].as_str().expect("a digest").to_owned();
        let (path, body) = (format!("/v1/components/{digest}"), json!({ "component": digest }).to_string());
        let (deployed, removed) = tokio::join!(server.put("/v1/deployments/main", &body), delete(&server, &path));
        match deployed.status {
            200 => assert_eq!(removed.problem(), (409, "TW0323".to_owned())),
            404 => assert_eq!(removed.status, 204, "{}", removed.text()),
            _ => panic!("{}", deployed.text()),
        }
        if deployed.status == 200 {
            assert_eq!(server.get(&path).await.status, 200);
            assert_eq!(delete(&server, "/v1/deployments/main").await.status, 204);
            assert_eq!(delete(&server, &path).await.status, 204);
        }
    }
}
