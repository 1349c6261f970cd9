use serde_json::{Value, json};

use super::support::*;
use crate::host::SigningKey;

async fn ask(server: &Server, method: &str, path: &str, body: &Value) -> Reply {
    server.ask(method, path, &[], body.to_string().as_bytes()).await
}

/// Uploads one and gives its digest.
async fn uploaded(server: &Server, component: Vec<u8>) -> String {
    let reply = server.ask("POST", "/v1/components", &[], &component).await;
    reply.json::<Value>()["digest"].as_str().expect("a digest").to_owned()
}

async fn set_policy(server: &Server, policy: Value) {
    let reply = ask(server, "PUT", "/v1/policy", &policy).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn a_plan_tells_the_difference_and_changes_nothing() {
    let server = Server::start().await;
    let (old, new) = (uploaded(&server, echo()).await, uploaded(&server, nap(1, "1")).await);
    let body = |component: &str, hosts: Value| json!({ "component": component, "allow_hosts": hosts });
    let path = "/v1/deployments/news/plan";

    let plan: Value = ask(&server, "POST", path, &body(&old, json!(["a.test"]))).await.json();
    assert_eq!((&plan["verdict"], &plan["replaces"]), (&json!("deploys"), &Value::Null), "{plan}");
    assert_eq!(plan["widens"], json!(["a.test"]));
    assert_eq!(server.get("/v1/deployments/news").await.status, 404, "nothing was deployed");

    ask(&server, "PUT", "/v1/deployments/news", &body(&old, json!(["*.a.test"]))).await;
    let plan: Value = ask(&server, "POST", path, &body(&new, json!(["x.a.test"]))).await.json();
    assert_eq!((&plan["replaces"], &plan["widens"]), (&json!(1), &json!([])), "{plan}");
    let change = |what: &str, name: &str, change: &str| json!({ "what": what, "name": name, "change": change });
    assert_eq!(
        plan["changes"],
        json!([
            change("workflow", "nap", "added"),
            change("workflow", "echo", "removed"),
            change("host", "x.a.test", "added"),
            change("host", "*.a.test", "removed"),
        ])
    );
    let same: Value = ask(&server, "POST", path, &body(&old, json!(["*.a.test"]))).await.json();
    assert_eq!((&same["verdict"], &same["changes"]), (&json!("unchanged"), &json!([])));
    let unknown = ask(&server, "POST", path, &body(&"ab".repeat(32), json!([]))).await;
    assert_eq!(unknown.problem(), (404, "TW0209".to_owned()));
}

#[tokio::test]
async fn what_reaches_more_waits_until_somebody_approves_and_what_does_not_goes_ahead() {
    let server = Server::start().await;
    let (one, two) = (uploaded(&server, echo()).await, uploaded(&server, nap(1, "1")).await);
    set_policy(&server, json!({ "widening": "needs-approval" })).await;
    let deploy = |component: String, hosts: Value| json!({ "component": component, "allow_hosts": hosts });
    let put = async |body: Value| ask(&server, "PUT", "/v1/deployments/news", &body).await;

    let harmless = put(deploy(one.clone(), json!([]))).await;
    assert_eq!((harmless.status, &harmless.json::<Value>()["current"]), (200, &json!(1)));

    let wider = put(deploy(two.clone(), json!(["a.test"]))).await;
    let now: Value = wider.json();
    assert_eq!((wider.status, &now["current"]), (202, &json!(1)), "{now}");
    assert_eq!((&now["proposed"][0]["version"], &now["proposed"][0]["widens"]), (&json!(2), &json!(["a.test"])));
    // The same again is the same, and nothing gets to it by another way.
    assert_eq!(
        put(deploy(two.clone(), json!(["a.test"]))).await.json::<Value>()["proposed"].as_array().map(Vec::len),
        Some(1)
    );
    let back = server.post("/v1/deployments/news/rollback", r#"{"version":2}"#).await;
    assert_eq!(back.problem(), (404, "TW0301".to_owned()));
    let promoted = json!({ "component": two, "allow_hosts": ["a.test"] });
    assert_eq!(ask(&server, "POST", "/v1/deployments/news/promote", &promoted).await.status, 202);
    assert_eq!(server.get("/v1/deployments/news").await.json::<Value>()["current"], 1);

    let approved = ask(&server, "POST", "/v1/deployments/news/approve", &json!({ "version": 2 })).await;
    let now: Value = approved.json();
    assert_eq!((&now["current"], &now["versions"][1]["allow_hosts"]), (&json!(2), &json!(["a.test"])), "{now}");
    assert_eq!(now["proposed"], Value::Null);
    let again = ask(&server, "POST", "/v1/deployments/news/approve", &json!({ "version": 2 })).await;
    assert_eq!(again.problem(), (404, "TW0301".to_owned()));
    // Less is no more: it needs nobody.
    assert_eq!(put(deploy(two.clone(), json!([]))).await.status, 200);
    // And back to what was approved once.
    let back = server.post("/v1/deployments/news/rollback", r#"{"version":2}"#).await;
    assert_eq!(back.json::<Value>()["current"], 2, "{}", back.text());
}

#[tokio::test]
async fn a_proposal_of_a_name_without_versions_is_listed_and_can_be_thrown_away() {
    let server = Server::start().await;
    let one = uploaded(&server, echo()).await;
    set_policy(&server, json!({ "widening": "needs-approval" })).await;
    let body = json!({ "component": one, "allow_models": ["openai/*"] });
    assert_eq!(ask(&server, "PUT", "/v1/deployments/new.name", &body).await.status, 202);
    let listed: Value = server.get("/v1/deployments").await.json();
    assert_eq!(listed["deployments"][0]["proposed"][0]["widens"], json!(["model:openai/*"]), "{listed}");
    let rejected = ask(&server, "POST", "/v1/deployments/new.name/reject", &json!({ "version": 1 })).await;
    assert_eq!(rejected.status, 204);
    assert_eq!(server.get("/v1/deployments").await.json::<Value>()["deployments"], json!([]));
}

#[tokio::test]
async fn grants_beyond_the_policy_are_refused_on_every_way() {
    let server = Server::start().await;
    let one = uploaded(&server, echo()).await;
    let deploy = |hosts: Value| json!({ "component": one, "allow_hosts": hosts });
    assert_eq!(ask(&server, "PUT", "/v1/deployments/news", &deploy(json!(["b.test"]))).await.status, 200);
    assert_eq!(ask(&server, "PUT", "/v1/deployments/news", &deploy(json!([]))).await.status, 200);
    set_policy(&server, json!({ "hosts": ["*.a.test"] })).await;
    assert_eq!(server.get("/v1/policy").await.json::<Value>()["hosts"], json!(["*.a.test"]));

    let beyond = (403, "TW0319".to_owned());
    assert_eq!(ask(&server, "PUT", "/v1/deployments/news", &deploy(json!(["b.test"]))).await.problem(), beyond);
    let promote = json!({ "component": one, "allow_hosts": ["b.test"] });
    assert_eq!(ask(&server, "POST", "/v1/deployments/news/promote", &promote).await.problem(), beyond);
    assert_eq!(server.post("/v1/deployments/news/rollback", r#"{"version":1}"#).await.problem(), beyond);
    let plan: Value = ask(&server, "POST", "/v1/deployments/news/plan", &deploy(json!(["b.test"]))).await.json();
    assert_eq!(plan["verdict"], "refused", "{plan}");
    assert!(plan["why"].as_str().is_some_and(|why| why.contains("b.test")), "{plan}");
    assert_eq!(ask(&server, "PUT", "/v1/deployments/news", &deploy(json!(["x.a.test"]))).await.status, 200);
    let bad = ask(&server, "PUT", "/v1/policy", &json!({ "hosts": ["??"] })).await;
    assert_eq!(bad.problem(), (422, "TW0313".to_owned()));
}

#[tokio::test]
async fn a_component_without_a_signature_that_counts_is_not_deployed() {
    let server = Server::start().await;
    let component = uploaded(&server, echo()).await;
    let key = SigningKey::read(&SigningKey::generate().expect("random bytes")).expect("a key");
    let digest: trackway_replay::Digest = component.parse().expect("a digest");
    set_policy(&server, json!({ "trusted_keys": [{ "name": "release", "key": key.public() }] })).await;
    let deploy = |signature: Value| json!({ "component": component, "signature": signature });
    let put = async |name: &str, body: Value| ask(&server, "PUT", &format!("/v1/deployments/{name}"), &body).await;

    let refused = (422, "TW0210".to_owned());
    assert_eq!(put("news", json!({ "component": component })).await.problem(), refused);
    let other = key.sign(trackway_replay::Digest::of(b"another")).to_string();
    assert_eq!(put("news", deploy(json!(other))).await.problem(), refused);
    assert_eq!(put("news", deploy(json!("no signature"))).await.problem(), refused);
    assert_eq!(put("news", deploy(json!(key.sign(digest).to_string()))).await.status, 200);
    // It is known now, also under another name.
    assert_eq!(put("other", json!({ "component": component })).await.status, 200);
    // Unless the key does not count any more.
    set_policy(
        &server,
        json!({ "trusted_keys": [{ "name": "next", "key": "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=" }] }),
    )
    .await;
    assert_eq!(put("third", json!({ "component": component })).await.problem(), refused);
}

async fn back(server: &Server, version: u32) -> Reply {
    ask(server, "POST", "/v1/deployments/news/rollback", &json!({ "version": version })).await
}

#[tokio::test]
async fn a_rollback_to_what_reaches_more_waits_unless_somebody_approved_of_that_version() {
    let server = Server::start().await;
    let (one, two) = (uploaded(&server, echo()).await, uploaded(&server, nap(1, "1")).await);
    let put = async |component: &str, hosts: Value| {
        let body = json!({ "component": component, "allow_hosts": hosts });
        let reply = ask(&server, "PUT", "/v1/deployments/news", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    put(&one, json!(["a.test"])).await;
    put(&one, json!([])).await;
    set_policy(&server, json!({ "widening": "needs-approval" })).await;

    // It is from before the policy.
    let waits = back(&server, 1).await;
    let now: Value = waits.json();
    assert_eq!((waits.status, &now["current"], &now["waits"]), (202, &json!(2), &json!(3)), "{now}");
    assert_eq!((&now["proposed"][0]["version"], &now["proposed"][0]["widens"]), (&json!(3), &json!(["a.test"])));
    // Without a number it is the same version, and the same proposal.
    let waits = server.post("/v1/deployments/news/rollback", "").await;
    let now: Value = waits.json();
    assert_eq!((waits.status, now["proposed"].as_array().map(Vec::len)), (202, Some(1)), "{now}");

    let approved = ask(&server, "POST", "/v1/deployments/news/approve", &json!({ "version": 3 })).await;
    assert_eq!(approved.json::<Value>()["current"], 3, "{}", approved.text());
    let goes = async |version: u32| {
        let reply = back(&server, version).await;
        assert_eq!((reply.status, &reply.json::<Value>()["current"]), (200, &json!(version)), "{}", reply.text());
    };
    // What reaches less needs nobody, nor does what was approved, nor what reaches no more than that.
    goes(2).await;
    goes(3).await;
    goes(1).await;
    goes(2).await;
    assert_eq!(back(&server, 1).await.status, 202, "nobody approved of this one");

    // Of a deployment that is gone nothing is approved, whatever has its name and numbers.
    assert_eq!(server.ask("DELETE", "/v1/deployments/news", &[], b"").await.status, 204);
    set_policy(&server, json!({})).await;
    put(&one, json!([])).await;
    put(&two, json!([])).await;
    put(&one, json!(["a.test"])).await;
    put(&one, json!([])).await;
    set_policy(&server, json!({ "widening": "needs-approval" })).await;
    assert_eq!(back(&server, 3).await.status, 202);
}

#[tokio::test]
async fn a_rollback_goes_only_to_what_is_signed_where_the_policy_wants_that() {
    let server = Server::start().await;
    let (one, two) = (uploaded(&server, echo()).await, uploaded(&server, nap(1, "1")).await);
    let key = SigningKey::read(&SigningKey::generate().expect("random bytes")).expect("a key");
    let put = async |component: &str, is_signed: bool| {
        let digest: trackway_replay::Digest = component.parse().expect("a digest");
        let signature = is_signed.then(|| key.sign(digest).to_string());
        let body = json!({ "component": component, "signature": signature });
        let reply = ask(&server, "PUT", "/v1/deployments/news", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    put(&one, false).await;
    set_policy(&server, json!({ "trusted_keys": [{ "name": "release", "key": key.public() }] })).await;
    put(&two, true).await;

    assert_eq!(back(&server, 1).await.problem(), (422, "TW0210".to_owned()));
    assert_eq!(server.post("/v1/deployments/news/rollback", "").await.problem(), (422, "TW0210".to_owned()));
    assert_eq!(server.get("/v1/deployments/news").await.json::<Value>()["current"], 2);
    // It is signed by now.
    put(&one, true).await;
    for version in [2, 1] {
        let reply = back(&server, version).await;
        assert_eq!((reply.status, &reply.json::<Value>()["current"]), (200, &json!(version)), "{}", reply.text());
    }
}

#[tokio::test]
async fn what_is_approved_late_is_the_newest_version_and_stays() {
    let server = Server::start().await;
    let (one, two) = (uploaded(&server, echo()).await, uploaded(&server, nap(1, "1")).await);
    let put = async |component: &str, hosts: Value| {
        let body = json!({ "component": component, "allow_hosts": hosts });
        ask(&server, "PUT", "/v1/deployments/news", &body).await.json::<Value>()
    };
    put(&one, json!([])).await;
    set_policy(&server, json!({ "widening": "needs-approval" })).await;
    assert_eq!(put(&one, json!(["b.test"])).await["waits"], 2);
    assert_eq!(put(&one, json!(["a.test"])).await["waits"], 3);
    // The same again is the one that waits already, whatever else does.
    assert_eq!(put(&one, json!(["b.test"])).await["waits"], 2);
    // So many that the first ones made room.
    for _ in 0..60 {
        assert!(put(&two, json!([])).await["waits"].is_null());
        put(&one, json!([])).await;
    }
    let approved = ask(&server, "POST", "/v1/deployments/news/approve", &json!({ "version": 2 })).await;
    let now: Value = server.get("/v1/deployments/news").await.json();
    assert_eq!((approved.status, &now["current"]), (200, &json!(122)), "{}", approved.text());
    let newest = now["versions"].as_array().and_then(|versions| versions.last()).expect("versions");
    assert_eq!((&newest["version"], &newest["allow_hosts"]), (&json!(122), &json!(["b.test"])));
}
