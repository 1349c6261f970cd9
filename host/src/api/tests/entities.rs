//! Entities over HTTP: versions as `ETag`, `If-Match`, pages.

use serde_json::{Value, json};

use super::support::Server;

#[tokio::test]
async fn an_entity_is_written_only_at_the_version_that_is_asked_for() {
    let server = Server::start().await;
    let path = "/v1/entities/stock/a%2Fb%20c";
    assert_eq!(server.get(path).await.problem(), (404, "TW0350".to_owned()));
    let none = [("if-none-match", "*")];
    let made = server.ask("PUT", path, &none, br#"{"left": 1.50}"#).await;
    assert_eq!(made.status, 200, "{}", made.text());
    assert!(made.text().contains(r#""value":{"left": 1.50}"#), "the bytes are kept: {}", made.text());
    let entity: Value = made.json();
    let shown = (&entity["name"], &entity["key"], &entity["version"]);
    assert_eq!(shown, (&json!("stock"), &json!("a/b c"), &json!(1)));
    assert!(made.has_header("etag: \"1\""), "{}", made.text());
    assert_eq!(server.ask("PUT", path, &none, b"2").await.problem(), (412, "TW0351".to_owned()));
    assert_eq!(server.ask("PUT", path, &[("if-match", "\"7\"")], b"2").await.problem(), (412, "TW0351".to_owned()));
    assert_eq!(server.ask("PUT", path, &[("if-match", "\"1\"")], b"2").await.status, 200);
    assert_eq!(server.put(path, "3").await.status, 200);
    let read: Value = server.get(path).await.json();
    assert_eq!((&read["version"], &read["value"]), (&json!(3), &json!(3)));
    assert_eq!(server.ask("DELETE", path, &[("if-match", "2")], b"").await.problem(), (412, "TW0351".to_owned()));
    assert_eq!(server.ask("DELETE", path, &[("if-match", "3")], b"").await.status, 204);
    assert_eq!(server.ask("DELETE", path, &[], b"").await.problem(), (404, "TW0350".to_owned()));
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_entity_is_refused() {
    let server = Server::start().await;
    let path = "/v1/entities/stock/a";
    let put = async |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        server.ask("PUT", path, headers, body).await.problem()
    };
    assert_eq!(put("/v1/entities/no%20name/a", &[], b"1").await, (400, "TW0604".to_owned()));
    assert_eq!(put(&format!("/v1/entities/stock/{}", "k".repeat(257)), &[], b"1").await.0, 400);
    assert_eq!(put("/v1/entities/stock/a%0Ab", &[], b"1").await, (400, "TW0604".to_owned()));
    assert_eq!(put(path, &[], b"{").await, (400, "TW0305".to_owned()));
    assert_eq!(put(path, &[], &[b'1'; 40_000]).await, (413, "TW0307".to_owned()));
    assert_eq!(put(path, &[], &[b'1'; 70_000]).await.0, 413);
    assert_eq!(put(path, &[("if-match", "abc")], b"1").await, (400, "TW0604".to_owned()));
    assert_eq!(put(path, &[("if-match", "1"), ("if-none-match", "*")], b"1").await, (400, "TW0604".to_owned()));
    let list: Value = server.get("/v1/entities").await.json();
    assert_eq!(list, json!({ "entities": [] }));
    server.stop().await;
}

#[tokio::test]
async fn entities_are_listed_page_by_page_and_outlive_the_server() {
    let server = Server::start().await;
    for (name, key) in [("stock", "b"), ("stock", "a"), ("jobs", "x"), ("stock", "c")] {
        assert_eq!(server.put(&format!("/v1/entities/{name}/{key}"), "1").await.status, 200);
    }
    let server = Server::start_in(server.stop().await).await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page: Value = server.get(&format!("/v1/entities?limit=3{after}")).await.json();
        let entities = page["entities"].as_array().expect("entities").clone();
        seen.extend(entities.iter().map(|entity| format!("{}/{}", entity["name"], entity["key"]).replace('"', "")));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, ["jobs/x", "stock/a", "stock/b", "stock/c"]);
    let page: Value = server.get("/v1/entities?name=stock&after=stock/b").await.json();
    assert_eq!(page["entities"].as_array().expect("entities").len(), 1);
    server.stop().await;
}
