//! Tenants beside each other: what one has, another cannot see, touch or guess, on any path of the API.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::support::*;
use crate::api::{Door, JwtSetting, Keys, Needs, ROUTES, Tokens};
use crate::host::{AuditLine, Host};

/// Makes a tenant and a key of it with that scope.
pub async fn tenant_with(server: &Server, name: &str, scopes: &[&str]) -> String {
    let made = server.post("/v1/tenants", &json!({ "name": name }).to_string()).await;
    assert!(made.status == 201 || made.status == 409, "{}", made.text());
    key_of(server, name, scopes).await
}

pub async fn key_of(server: &Server, tenant: &str, scopes: &[&str]) -> String {
    let wanted = json!({ "name": "for tests", "scopes": scopes }).to_string();
    let made = server.ask("POST", "/v1/keys", &[("trackway-tenant", tenant)], wanted.as_bytes()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json::<Value>()["bearer"].as_str().expect("its text").to_owned()
}

impl Server {
    /// With a key of a tenant.
    pub async fn with(&self, key: &str, method: &str, path: &str, body: &str) -> Reply {
        let authorization = format!("Bearer {key}");
        self.raw(method, path, &[("authorization", authorization.as_str())], body.as_bytes()).await
    }

    pub async fn deploy_with(&self, key: &str, name: &str, component: &[u8]) -> String {
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", authorization.as_str())];
        let uploaded = self.raw("POST", "/v1/components", &headers, component).await;
        assert!(matches!(uploaded.status, 200 | 201), "{}", uploaded.text());
        let digest = uploaded.json::<Value>()["digest"].as_str().expect("a digest").to_owned();
        let body = json!({ "component": digest }).to_string();
        let deployed = self.with(key, "PUT", &format!("/v1/deployments/{name}"), &body).await;
        assert_eq!(deployed.status, 200, "{}", deployed.text());
        digest
    }
}

/// What a tenant has, by the name that the paths have for it.
type Names = BTreeMap<&'static str, String>;

/// The same in another letter or digit, so that nothing is called so.
fn other(text: &str) -> String {
    let last = text.chars().next_back().expect("it is not empty");
    let instead = if last == '0' { '1' } else { '0' };
    format!("{}{instead}", &text[..text.len() - 1])
}

/// Everything that can be named by an id, of a tenant that has some of each.
async fn full(server: &Server, key: &str) -> Names {
    let digest = server.deploy_with(key, "main", &promises()).await;
    server.deploy_with(key, "echo", &echo()).await;
    let started = server.with(key, "POST", "/v1/runs", r#"{"workflow":"promises"}"#).await;
    assert_eq!(started.status, 201, "{}", started.text());
    let run = started.json::<Value>()["run"]["id"].as_str().expect("an id").to_owned();
    let token = loop {
        let trace: Value = server.with(key, "GET", &format!("/v1/runs/{run}/trace"), "").await.json();
        if let Some(token) = trace["trace"]["rows"][0]["what"]["promise"]["token"].as_str() {
            break token.to_owned();
        }
        tokio::task::yield_now().await;
    };
    // A value beside the journal that no other tenant has, and a run that has ended.
    let large = format!("{key}{}", "x".repeat(100_000));
    let large = json!({ "workflow": "echo/echo", "input": { "name": large } }).to_string();
    let ended = server.with(key, "POST", "/v1/runs?wait=60", &large).await;
    assert_eq!(ended.status, 201, "{}", ended.text());
    let ended = ended.json::<Value>()["run"]["id"].as_str().expect("an id").to_owned();
    let journal = server.with(key, "GET", &format!("/v1/runs/{ended}/journal"), "").await.text();
    let after = journal.split(r#""digest":""#).nth(1).expect("a value beside the journal");
    let value = after[..64].to_owned();
    let set = server.with(key, "PUT", "/v1/entities/stock/socks", "7").await;
    assert_eq!(set.status, 200, "{}", set.text());
    let set = server.with(key, "PUT", "/v1/secrets/SECRET_OF_ONE", r#"{"value":"nobody sees it"}"#).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let keys: Value = server.with(key, "GET", "/v1/keys", "").await.json();
    let key_id = keys["keys"][0]["id"].as_str().expect("an id").to_owned();
    Names::from([
        ("run", run),
        ("ended", ended),
        ("component", digest),
        ("value", value),
        ("deployment", "main".to_owned()),
        ("token", token),
        ("entity", "stock".to_owned()),
        ("entity_key", "socks".to_owned()),
        ("secret", "SECRET_OF_ONE".to_owned()),
        ("key_id", key_id),
    ])
}

/// The path and body of a route, with these names in it. `None`: it names nothing.
fn filled(method: &str, path: &str, run: &str, names: &Names) -> Option<(String, String)> {
    let has_names = path.contains('{') || matches!((method, path), ("POST", "/v1/runs"));
    let id = if path.starts_with("/v1/keys") { &names["key_id"] } else { run };
    let of_components = path.starts_with("/v1/components");
    let digest = if of_components { &names["component"] } else { &names["value"] };
    let name = match path {
        path if path.starts_with("/v1/deployments") => names["deployment"].as_str(),
        path if path.starts_with("/v1/entities") => names["entity"].as_str(),
        path if path.starts_with("/v1/secrets") => names["secret"].as_str(),
        _ => "go",
    };
    let key = if path.starts_with("/v1/entities") { names["entity_key"].as_str() } else { "progress" };
    let path_filled = path
        .replace("{id}", id)
        .replace("{digest}", digest)
        .replace("{token}", &names["token"])
        .replace("{name}", name)
        .replace("{key}", key)
        .replace("{question}", "1");
    let body = match (method, path) {
        ("PUT", "/v1/deployments/{name}") => json!({ "component": names["component"] }).to_string(),
        ("POST", "/v1/deployments/{name}/plan") => json!({ "component": names["component"] }).to_string(),
        ("POST", "/v1/deployments/{name}/approve" | "/v1/deployments/{name}/reject") => {
            json!({ "version": 1 }).to_string()
        }
        ("POST", "/v1/deployments/{name}/promote") => json!({ "from": names["deployment"] }).to_string(),
        ("POST", "/v1/runs") => json!({ "workflow": format!("{}/promises", names["deployment"]) }).to_string(),
        ("POST", "/v1/runs/{id}/move") => json!({ "deployment": names["deployment"] }).to_string(),
        ("POST", "/v1/runs/{id}/replay") => json!({ "component": names["component"] }).to_string(),
        ("POST", "/v1/questions/{id}/{question}/answer") => json!({ "answer": {} }).to_string(),
        ("PUT", "/v1/entities/{name}/{key}") => "1".to_owned(),
        _ => String::new(),
    };
    has_names.then_some((path_filled, body))
}

/// What is answered, with the names that were asked for taken out.
fn told(reply: &Reply, names: &Names) -> (u16, String, String) {
    let mut text = reply.text();
    for (what, name) in names.iter().filter(|(_, name)| name.len() > 8) {
        text = text.replace(name.as_str(), what);
    }
    let head: Vec<&str> =
        reply.head.lines().filter(|line| !line.starts_with("date:") && !line.starts_with("content-length:")).collect();
    (reply.status, head.join("\n"), text)
}

#[tokio::test]
async fn what_another_tenant_has_is_answered_byte_for_byte_as_what_nobody_has() {
    let server = Server::start().await;
    let (one, two) = (tenant_with(&server, "one", &["admin"]).await, tenant_with(&server, "two", &["admin"]).await);
    let theirs = full(&server, &one).await;
    let nobodys: Names = theirs
        .iter()
        .map(|(what, name)| {
            let short = matches!(*what, "deployment" | "entity" | "entity_key");
            (*what, if short { name.clone() } else { other(name) })
        })
        .collect();
    let mut compared = 0;
    for route in ROUTES.iter().filter(|route| matches!(route.needs, Needs::Scope(_))) {
        // Entities and deployments that are set are made: that is no answer about those of others.
        let makes = matches!((route.method, route.path), ("PUT", "/v1/entities/{name}/{key}" | "/v1/secrets/{name}"));
        for run in ["run", "ended"] {
            let Some((path, body)) = filled(route.method, route.path, &theirs[run], &theirs) else { continue };
            let (none_path, none_body) = filled(route.method, route.path, &nobodys[run], &nobodys).expect("as before");
            if makes {
                continue;
            }
            let reply = server.with(&two, route.method, &path, &body).await;
            let none = server.with(&two, route.method, &none_path, &none_body).await;
            let what = format!("{} {path}", route.method);
            assert_eq!(told(&reply, &theirs), told(&none, &nobodys), "{what}");
            assert!(reply.status == 404, "{what}: {} {}", reply.status, reply.text());
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared}");
    // And everything is as it was.
    let mine = server.with(&one, "GET", "/v1/entities/stock/socks", "").await;
    assert_eq!(mine.json::<Value>()["value"], 7);
    let run = server.with(&one, "GET", &format!("/v1/runs/{}", theirs["run"]), "").await;
    assert_eq!(run.json::<Value>()["status"], "waiting", "{}", run.text());
}

#[tokio::test]
async fn lists_beginnings_of_ids_and_keys_of_starts_stay_within_the_tenant() {
    let server = Server::start().await;
    let (one, two) = (tenant_with(&server, "one", &["admin"]).await, tenant_with(&server, "two", &["admin"]).await);
    let theirs = full(&server, &one).await;
    for (path, field) in [
        ("/v1/runs", "runs"),
        ("/v1/components", "components"),
        ("/v1/deployments", "deployments"),
        ("/v1/entities", "entities"),
        ("/v1/questions", "questions"),
        ("/v1/secrets", "secrets"),
    ] {
        let list: Value = server.with(&two, "GET", path, "").await.json();
        assert_eq!(list[field], json!([]), "{path}");
        // Nor does the operator see it without a word about whom.
        assert_eq!(server.get(path).await.json::<Value>()[field], json!([]), "{path}");
    }
    let last = server.with(&two, "GET", "/v1/runs/@last", "").await;
    assert_eq!(last.problem(), (404, "TW0303".to_owned()));
    let prefix = &theirs["run"][..6];
    assert_eq!(server.with(&two, "GET", &format!("/v1/runs/{prefix}"), "").await.problem().0, 404);
    // The same key of a start, for each tenant its own run.
    server.deploy_with(&two, "main", &promises()).await;
    let start = async |key: &str| {
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", authorization.as_str()), ("idempotency-key", "once")];
        let body = br#"{"workflow":"promises"}"#;
        let reply = server.raw("POST", "/v1/runs", &headers, body).await;
        (reply.status, reply.json::<Value>()["run"]["id"].as_str().map(str::to_owned))
    };
    let (first, second) = (start(&one).await, start(&two).await);
    assert_eq!((first.0, second.0), (201, 201));
    assert_ne!(first.1, second.1);
    assert_eq!(start(&one).await, (200, first.1));
    let operators = server.ask("GET", "/v1/runs", &[("trackway-tenant", "two")], b"").await;
    assert_eq!(operators.json::<Value>()["runs"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_run_starts_children_of_its_own_tenant_only() {
    let server = Server::start().await;
    let (one, two) = (tenant_with(&server, "one", &["admin"]).await, tenant_with(&server, "two", &["admin"]).await);
    server.deploy_with(&one, "theirs", &nap(1, "1")).await;
    let mut outputs = Vec::new();
    for deployment in ["theirs", "nobodys"] {
        server.deploy_with(&two, "mine", &starts(deployment, false)).await;
        let ended = server.with(&two, "POST", "/v1/runs?wait=60", r#"{"workflow":"mine/starts"}"#).await;
        let ended: Value = ended.json();
        outputs.push(ended["run"]["output"].to_string().replace(deployment, "it"));
    }
    assert_eq!(outputs[0], outputs[1]);
    assert!(outputs[0].contains("code"), "{}", outputs[0]);
}

#[tokio::test]
async fn scopes_are_kept_on_every_path() {
    let server = Server::start().await;
    let all = ["read", "run", "signal", "deploy", "admin"];
    tenant_with(&server, "one", &["admin"]).await;
    let mut keys = BTreeMap::new();
    for scope in all {
        keys.insert(scope, key_of(&server, "one", &[scope]).await);
    }
    for route in ROUTES {
        let path = route.path.replace("{id}", "zzzz").replace("{digest}", &"0".repeat(64));
        let path = path.replace("{name}", "x").replace("{key}", "x").replace("{token}", "x").replace("{question}", "1");
        for scope in all {
            let may = match route.needs {
                Needs::Nothing => true,
                Needs::Scope(needed) => needed.name() == scope || scope == "admin",
                Needs::Operator => false,
            };
            let reply = server.with(&keys[scope], route.method, &path, "").await;
            assert_eq!(reply.status == 403, !may, "{} {path} with {scope}: {}", route.method, reply.text());
            if !may {
                assert_eq!(reply.problem().1, "TW0701");
            }
        }
    }
}

#[tokio::test]
async fn a_tenant_cannot_name_another_one_and_the_operator_can() {
    let server = Server::start().await;
    let one = tenant_with(&server, "one", &["read"]).await;
    tenant_with(&server, "two", &["read"]).await;
    let authorization = format!("Bearer {one}");
    let ask = async |tenant: &str| {
        let headers = [("authorization", authorization.as_str()), ("trackway-tenant", tenant)];
        let reply = server.raw("GET", "/v1/runs", &headers, b"").await;
        (reply.status, reply.text().replace(tenant, "NAME"))
    };
    assert_eq!(ask("one").await.0, 200);
    let (there, not_there) = (ask("two").await, ask("six").await);
    assert_eq!(there, not_there);
    assert_eq!(there.0, 404);
    let named = async |tenant: &str| server.ask("GET", "/v1/runs", &[("trackway-tenant", tenant)], b"").await.status;
    assert_eq!((named("two").await, named("default").await, named("six").await), (200, 200, 404));
}

#[tokio::test]
async fn a_key_ends_when_it_is_removed_rotated_disabled_or_expired() {
    let server = Server::start().await;
    let admin = tenant_with(&server, "one", &["admin"]).await;
    let status = async |key: &str| server.with(key, "GET", "/v1/runs", "").await.status;
    let made: Value = server
        .with(&admin, "POST", "/v1/keys", r#"{"name":"ci","scopes":["read","run"],"expires_in_s":3600}"#)
        .await
        .json();
    let (id, key) = (made["key"]["id"].as_str().expect("an id"), made["bearer"].as_str().expect("its text"));
    assert_eq!(made["key"]["scopes"], json!(["read", "run"]));
    assert!(!server.with(&admin, "GET", "/v1/keys", "").await.text().contains(key), "nobody keeps its text");
    assert_eq!(status(key).await, 200);
    let rotated: Value = server.with(&admin, "POST", &format!("/v1/keys/{id}/rotate"), "").await.json();
    let fresh = rotated["bearer"].as_str().expect("its text");
    assert_eq!((status(key).await, status(fresh).await), (401, 200), "at once");
    assert_eq!(rotated["key"]["scopes"], made["key"]["scopes"]);
    assert_eq!(rotated["key"]["expires_at"], made["key"]["expires_at"]);
    let id = rotated["key"]["id"].as_str().expect("an id");
    let overlapping = server.with(&admin, "POST", &format!("/v1/keys/{id}/rotate"), r#"{"overlap_s":600}"#).await;
    let newest: Value = overlapping.json();
    let newest = newest["bearer"].as_str().expect("its text");
    assert_eq!((status(fresh).await, status(newest).await), (200, 200), "for a while");
    server.post("/v1/tenants/one/disable", "").await;
    assert_eq!((status(&admin).await, status(newest).await), (403, 403));
    server.post("/v1/tenants/one/enable", "").await;
    assert_eq!((status(&admin).await, status(newest).await), (200, 200));
    assert_eq!(server.with(&admin, "DELETE", &format!("/v1/keys/{id}"), "").await.status, 204);
    assert_eq!(status(fresh).await, 401, "at once");
    assert_eq!(server.with(&admin, "DELETE", &format!("/v1/keys/{id}"), "").await.problem(), (404, "TW0705".into()));
    for wrong in [
        r#"{"name":"x","scopes":[]}"#,
        r#"{"name":"","scopes":["read"]}"#,
        r#"{"name":"x","scopes":["root"]}"#,
        r#"{"name":"x","scopes":["read"],"expires_in_s":0}"#,
    ] {
        assert_eq!(server.with(&admin, "POST", "/v1/keys", wrong).await.status, 400, "{wrong}");
    }
    // What is kept outlives the process.
    let newest = newest.to_owned();
    let server = Server::start_in(server.stop().await).await;
    assert_eq!(server.with(&newest, "GET", "/v1/runs", "").await.status, 200);
    assert_eq!(server.with(&admin, "GET", "/v1/keys", "").await.status, 200);
}

#[tokio::test]
async fn whoever_guesses_keys_is_made_to_wait_and_who_has_one_is_not() {
    let server = Server::start().await;
    let mut statuses = Vec::new();
    for number in 0..110 {
        let reply = server.with(&format!("tw_guess{number}"), "GET", "/v1/runs", "").await;
        statuses.push(reply.status);
        if reply.status == 429 {
            assert_eq!(reply.problem().1, "TW0706");
            let says = |seconds: u32| reply.has_header(&format!("retry-after: {seconds}"));
            assert!((1..=10).any(says), "{}", reply.head);
        }
    }
    assert_eq!((statuses[0], *statuses.last().expect("many")), (401, 429));
    assert_eq!(server.get("/v1/runs").await.status, 200);
}

#[tokio::test]
async fn whoever_guesses_tokens_is_made_to_wait_by_the_same_count_and_who_has_a_key_is_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let jwks = folder.path().join("jwks.json");
    let public = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";
    let published = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": public }] });
    std::fs::write(&jwks, published.to_string()).expect("writable");
    let setting = JwtSetting {
        issuer: "https://id.test".to_owned(),
        audience: "trackway".to_owned(),
        jwks: jwks.to_str().expect("text").to_owned(),
        tenant_claim: "tenant".to_owned(),
        scopes_claim: "scope".to_owned(),
    };
    let mut door = Door::from(Keys::of([KEY]));
    door.tokens = Some(Tokens::new(setting).expect("a file"));
    let host = Host::open(options_of(&folder)).await.expect("the host opens");
    let server = Server::serving(folder, host, door).await;
    let one = tenant_with(&server, "one", &["read"]).await;

    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"a"}"#);
    let mut refused = Vec::new();
    for number in 0..110 {
        // None of them can be read, or none was signed by the provider.
        let token = match number % 2 {
            0 => format!("{number}.b.c"),
            _ => format!("{header}.{}.{}", URL_SAFE_NO_PAD.encode(json!({ "n": number }).to_string()), "A".repeat(86)),
        };
        refused.push(server.with(&token, "GET", "/v1/runs", "").await.problem());
    }
    let (nobody, waits) = ((401, "TW0603".to_owned()), (429, "TW0706".to_owned()));
    assert!(refused[..100].iter().all(|refused| *refused == nobody), "{refused:?}");
    assert_eq!(refused.last(), Some(&waits));
    // What is no token counts to the same address: with a count of its own none of these would wait.
    let mut others = Vec::new();
    for number in 0..10 {
        others.push(server.with(&format!("tw_guess{number}"), "GET", "/v1/runs", "").await.problem());
    }
    assert!(others.contains(&waits), "{others:?}");
    assert_eq!(server.with(&one, "GET", "/v1/runs", "").await.status, 200);
    assert_eq!(server.get("/v1/runs").await.status, 200);
}

async fn stored(host: &Host) -> Vec<trackway_replay::TenantId> {
    host.storage_for_tests().tenants().await.expect("it can be read")
}

#[tokio::test]
async fn a_tenant_that_is_deleted_leaves_nothing_and_its_name_is_free() {
    let server = Server::start().await;
    let (one, two) = (tenant_with(&server, "one", &["admin"]).await, tenant_with(&server, "two", &["admin"]).await);
    let theirs = full(&server, &one).await;
    let others = full(&server, &two).await;
    let before = stored(&server.host).await;
    let deleted = server.ask("DELETE", "/v1/tenants/one", &[], b"").await;
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    assert_eq!(stored(&server.host).await.len(), before.len() - 1);
    assert_eq!(server.with(&one, "GET", "/v1/runs", "").await.status, 401);
    assert_eq!(server.get("/v1/tenants/one").await.problem(), (404, "TW0702".to_owned()));
    let data = server.folder.path().join("data");
    for (what, name) in [("run", &theirs["run"]), ("value", &theirs["value"])] {
        assert!(!has_file_named(&data, name), "{what} {name}");
    }
    // The other one has the same components, and goes on.
    assert_eq!(server.with(&two, "GET", &format!("/v1/components/{}", others["component"]), "").await.status, 200);
    let resolved = server.with(&two, "POST", &format!("/v1/promises/{}/resolve", others["token"]), "1").await;
    assert_eq!(resolved.status, 200, "{}", resolved.text());
    let ended = server.with(&two, "GET", &format!("/v1/runs/{}/wait", others["run"]), "").await;
    assert_eq!(ended.json::<Value>()["status"], "succeeded", "{}", ended.text());
    // A new one of that name has another number: nothing of the old one can come back to it.
    let anew = tenant_with(&server, "one", &["admin"]).await;
    assert_eq!(server.with(&anew, "GET", "/v1/runs", "").await.json::<Value>()["runs"], json!([]));
    let report: Value = server.post("/v1/store/check", "").await.json();
    assert_eq!(report["flaws"], json!([]), "{report}");
    let gone = server.ask("DELETE", "/v1/tenants/default", &[], b"").await;
    assert_eq!(gone.status, 400, "{}", gone.text());
}

fn has_file_named(folder: &std::path::Path, part: &str) -> bool {
    let entries = std::fs::read_dir(folder).expect("it is a folder");
    entries.map(|entry| entry.expect("readable")).any(|entry| {
        entry.file_name().to_string_lossy().contains(part)
            || entry.file_type().is_ok_and(|kind| kind.is_dir()) && has_file_named(&entry.path(), part)
    })
}

#[tokio::test]
async fn lines_of_the_audit_log_are_written_also_where_whoever_was_writing_them_goes_away() {
    let server = Server::start().await;
    let what = "POST /v1/runs".to_owned();
    let (time, who) = (trackway_replay::Timestamp(1), "somebody".to_owned());
    server.host.audit_later(AuditLine {
        time,
        who,
        name: None,
        from: None,
        what: what.clone(),
        status: 200,
        code: None,
    });
    assert!(server.host.flush_audit().now_or_never().is_none(), "it is given up while it writes");
    let page = server.host.audit_log(None, None, 10).await.expect("the log is read");
    assert_eq!(page.lines.iter().filter(|line| line.what == what).count(), 1, "{page:?}");
}

#[tokio::test]
async fn what_is_changed_stands_in_the_audit_log_of_its_tenant_with_what_came_of_it() {
    let server = Server::start().await;
    let one = tenant_with(&server, "one", &["admin"]).await;
    let reader = key_of(&server, "one", &["read"]).await;
    server.deploy_with(&one, "main", &echo()).await;
    let start = r#"{"workflow":"echo","input":{"name":"a"}}"#;
    server.with(&one, "POST", "/v1/runs?wait=60", start).await;
    server.with(&reader, "POST", "/v1/runs", start).await;
    server.with(&one, "POST", "/v1/runs/zzzz/cancel", "").await;
    server.with(&one, "GET", "/v1/runs", "").await;
    let page: Value = server.with(&one, "GET", "/v1/audit", "").await.json();
    let lines: Vec<(String, u64)> = page["lines"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| (line["what"].as_str().expect("what").to_owned(), line["status"].as_u64().expect("a status")))
        .collect();
    let expected = [
        ("POST /v1/keys", 201),
        ("POST /v1/keys", 201),
        ("POST /v1/components", 201),
        ("PUT /v1/deployments/main", 200),
        ("POST /v1/runs", 201),
        ("POST /v1/runs", 403),
        ("POST /v1/runs/zzzz/cancel", 404),
    ];
    let expected: Vec<(String, u64)> = expected.iter().map(|(what, status)| (what.to_string(), *status)).collect();
    assert_eq!(lines, expected);
    assert_eq!((&page["lines"][0]["who"], &page["lines"][5]["code"]), (&json!("operator"), &json!("TW0701")));
    assert_eq!((&page["lines"][2]["from"], &page["lines"][2]["name"]), (&json!("127.0.0.1"), &json!("for tests")));
    // What concerns all tenants stands in the operator's, and nothing of what a tenant did.
    let operators: Value = server.get("/v1/audit").await.json();
    let lines = operators["lines"].as_array().expect("lines");
    assert!(lines.iter().any(|line| line["what"] == "POST /v1/tenants"), "{operators}");
    assert!(lines.iter().all(|line| line["who"] == "operator"), "{operators}");
    let none: Value = server.with(&one, "GET", "/v1/audit?since=2100-01-01T00:00:00Z", "").await.json();
    assert_eq!(none["lines"], json!([]));
    // It outlives the process, and goes when it was kept long enough.
    let server = Server::start_in(server.stop().await).await;
    let again: Value = server.with(&one, "GET", "/v1/audit", "").await.json();
    assert_eq!(again["lines"].as_array().map(Vec::len), Some(7), "{again}");
    assert!(server.host.trim_audit(std::time::Duration::ZERO).await.expect("it can be removed") > 0);
    let after: Value = server.with(&one, "GET", "/v1/audit", "").await.json();
    assert_eq!(after["lines"], json!([]));
}

#[tokio::test]
async fn what_a_client_does_not_wait_for_is_done_and_written_down_all_the_same() {
    use tokio::io::AsyncWriteExt as _;
    let server = Server::start().await;
    let admin = tenant_with(&server, "one", &["admin"]).await;
    let made: Value = server.with(&admin, "POST", "/v1/keys", r#"{"name":"ci","scopes":["read"]}"#).await.json();
    let what = format!("DELETE /v1/keys/{}", made["key"]["id"].as_str().expect("an id"));
    let head = format!("{what} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {admin}\r\n\r\n");
    let mut stream = tokio::net::TcpStream::connect(server.address).await.expect("the server is there");
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    drop(stream);
    let written = async {
        loop {
            let page: Value = server.with(&admin, "GET", "/v1/audit", "").await.json();
            let lines = page["lines"].as_array().expect("lines");
            if lines.iter().any(|line| line["what"] == what.as_str() && line["status"] == 204) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), written).await.expect("it is written down");
    assert_eq!(server.with(made["bearer"].as_str().expect("its text"), "GET", "/v1/runs", "").await.status, 401);
}
