//! Rules of one tenant: a record that cannot be read shows nothing, and changes at once lose none.

use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use trackway_replay::TenantId;
use trackway_storage::{Record, Shelf};

use super::isolation::tenant_with;
use super::support::*;

#[tokio::test]
async fn rules_that_cannot_be_read_show_nothing_until_they_are_said_anew() {
    let server = Server::start().await;
    let (one, two) = (tenant_with(&server, "one", &["admin"]).await, tenant_with(&server, "two", &["admin"]).await);
    let tenant = server.host.tenant_named("one").await.expect("it is there").id;
    assert_ne!(tenant, TenantId::DEFAULT);
    let record = Record { name: "redaction".into(), revision: 1, body: Bytes::from_static(b"{\"fields\":[\"pass") };
    assert!(server.host.storage_for_tests().put_record(tenant, Shelf::Policies, record).await.expect("it is taken"));
    let server = Server::start_in(server.stop().await).await;
    for path in ["/v1/runs", "/v1/entities", "/v1/keys", "/v1/audit", "/v1/nowhere"] {
        assert_eq!(server.with(&one, "GET", path, "").await.problem(), (500, "TW0403".to_owned()), "{path}");
        assert_ne!(server.with(&two, "GET", path, "").await.status, 500, "{path}");
    }
    assert_eq!(server.with(&one, "GET", "/v1/redaction", "").await.status, 500);
    assert_eq!(server.with(&one, "POST", "/v1/redaction/add", r#"{"fields":["ssn"]}"#).await.status, 500);
    let set = server.with(&one, "PUT", "/v1/redaction", r#"{"fields":["ssn"]}"#).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let shown = server.with(&one, "GET", "/v1/redaction", "").await;
    assert_eq!(shown.json::<Value>(), json!({ "fields": ["ssn"], "server_fields": [] }));
    assert_eq!(server.with(&one, "GET", "/v1/runs", "").await.status, 200);
}

#[tokio::test]
async fn fields_that_are_added_at_once_are_all_there() {
    let server = Arc::new(Server::start().await);
    let adding: Vec<_> = (0..20)
        .map(|number| {
            let server = Arc::clone(&server);
            let body = json!({ "fields": [format!("Field_{number:02}")] }).to_string();
            tokio::spawn(async move { server.post("/v1/redaction/add", &body).await.status })
        })
        .collect();
    for added in adding {
        assert_eq!(added.await.expect("it ends"), 200);
    }
    let shown: Value = server.get("/v1/redaction").await.json();
    let all: Vec<String> = (0..20).map(|number| format!("field_{number:02}")).collect();
    assert_eq!(shown["fields"], json!(all));
    // One that is not there takes none away.
    let refused = server.post("/v1/redaction/remove", r#"{"fields":["field_01","ssn"]}"#).await;
    assert_eq!(refused.problem(), (400, "TW0604".to_owned()));
    let removed = server.post("/v1/redaction/remove", r#"{"fields":["FIELD_01","field_02"]}"#).await;
    assert_eq!(removed.json::<Value>()["fields"], json!([&all[..1], &all[3..]].concat()));
}

#[tokio::test]
async fn a_deleted_tenant_takes_its_rules_with_it() {
    let server = Server::start().await;
    let one = tenant_with(&server, "one", &["admin"]).await;
    assert_eq!(server.with(&one, "PUT", "/v1/redaction", r#"{"fields":["ssn"]}"#).await.status, 200);
    assert_eq!(server.ask("DELETE", "/v1/tenants/one", &[], b"").await.status, 204);
    let again = tenant_with(&server, "one", &["admin"]).await;
    let shown = server.with(&again, "GET", "/v1/redaction", "").await;
    assert_eq!(shown.json::<Value>()["fields"], json!([]));
}
