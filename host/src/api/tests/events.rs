use serde_json::Value;
use std::collections::BTreeMap;

use super::support::*;

/// Rows as a client holds them: the latest of each id.
fn take(rows: &mut BTreeMap<String, Value>, event: &Event) {
    for row in event.data["rows"].as_array().expect("rows") {
        rows.insert(row["id"].as_str().expect("an id").to_owned(), row.clone());
    }
}

async fn trace_rows(server: &Server, run: &str) -> BTreeMap<String, Value> {
    let trace: Value = server.get(&format!("/v1/runs/{run}/trace")).await.json();
    let rows = trace["trace"]["rows"].as_array().expect("rows");
    rows.iter().map(|row| (row["id"].as_str().expect("an id").to_owned(), row.clone())).collect()
}

#[tokio::test]
async fn the_events_of_a_run_add_up_to_its_trace_and_then_end() {
    let server = Server::start().await;
    server.deploy("main", nap(50, "7")).await;
    let run = server.begin(r#"{"workflow":"nap"}"#).await;
    let mut events = server.events(&run, None).await;
    assert_eq!(events.status, 200);
    let mut rows = BTreeMap::new();
    let mut position = 0;
    let end = loop {
        let event = events.next().await.expect("an event before the end");
        take(&mut rows, &event);
        assert_eq!(event.data["position"].to_string(), event.id);
        let now = event.data["position"].as_u64().expect("a number");
        assert!(now > position, "{now} after {position}");
        position = now;
        match event.name.as_str() {
            "progress" => {}
            "end" => break event,
            other => panic!("{other}"),
        }
    };
    assert!(events.next().await.is_none());
    assert_eq!((&end.data["run"]["status"], &end.data["run"]["output"]), (&"succeeded".into(), &7.into()));
    assert_eq!(rows, trace_rows(&server, &run).await);
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let server = Server::start().await;
    server.deploy("main", nap(1, "7")).await;
    let run = server.finish(r#"{"workflow":"nap"}"#).await;
    let all = trace_rows(&server, &run).await;
    let whole = server.events(&run, None).await.next().await.expect("the end");
    let last = whole.data["position"].as_u64().expect("a number");
    for position in 0..last {
        let mut events = server.events(&run, Some(&position.to_string())).await;
        let event = events.next().await.expect("what is left");
        assert_eq!((event.name.as_str(), &event.id), ("end", &whole.id));
        assert!(events.next().await.is_none());
        // Rows that stood the same at that position are not sent again.
        let open = event.data["rows"].as_array().expect("rows").len();
        let closed_before = all.values().filter(|row| row["closed"].as_u64().is_some_and(|closed| closed < position));
        assert_eq!(open, all.len() - closed_before.count(), "from {position}");
    }
    assert_eq!(server.events(&run, Some(&last.to_string())).await.status, 204);
}

#[tokio::test]
async fn a_client_that_loses_each_connection_after_one_event_still_sees_it_all() {
    let server = Server::start().await;
    server.deploy("main", nap(100, "7")).await;
    let run = server.begin(r#"{"workflow":"nap"}"#).await;
    let mut rows = BTreeMap::new();
    let mut last: Option<String> = None;
    loop {
        let mut events = server.events(&run, last.as_deref()).await;
        let event = events.next().await.expect("an event before the end");
        let is_later = |before: &String| event.id.parse::<u64>().expect("a position") > before.parse().expect("one");
        assert!(last.as_ref().is_none_or(is_later), "{event:?} after {last:?}");
        take(&mut rows, &event);
        last = Some(event.id);
        if event.name == "end" {
            break;
        }
    }
    assert_eq!(rows, trace_rows(&server, &run).await);
}

#[tokio::test]
async fn an_event_that_never_was_is_refused() {
    let server = Server::start().await;
    server.deploy("main", nap(1, "7")).await;
    let run = server.finish(r#"{"workflow":"nap"}"#).await;
    for last in ["999", "-1", "x"] {
        assert_eq!(server.events(&run, Some(last)).await.status, 400, "{last}");
    }
    assert_eq!(server.events("zzzz", None).await.status, 404);
}

#[tokio::test]
async fn a_stream_ends_when_the_server_stops() {
    let server = Server::start().await;
    server.deploy("main", nap(3_600_000, "7")).await;
    let run = server.begin(r#"{"workflow":"nap"}"#).await;
    let mut events = server.events(&run, None).await;
    events.next().await.expect("a first event");
    server.stop().await;
    while events.next().await.is_some() {}
}
