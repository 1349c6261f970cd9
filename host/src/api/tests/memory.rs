//! What looks at whole journals hold in memory.

use super::support::{Server, nap};

/// More than all looks have together.
const ALL_BYTES: usize = 1 << 40;

async fn until_free(server: &Server) {
    while !server.host.room_of_views().is_free() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_look_for_which_there_is_no_memory_is_refused_and_says_what_to_do() {
    let server = Server::start().await;
    server.deploy("main", nap(1, "7")).await;
    let run = server.finish(r#"{"workflow":"nap"}"#).await;
    let all = server.host.room_of_views().hold(ALL_BYTES).expect("nobody else looks");
    for what in ["trace", "events"] {
        let refused = server.get(&format!("/v1/runs/{run}/{what}")).await;
        assert!(refused.text().contains("try again"), "{}", refused.text());
        assert_eq!(refused.problem(), (429, "TW0608".to_owned()), "{what}");
    }
    assert_eq!(server.get(&format!("/v1/runs/{run}/journal")).await.status, 200, "pages need none of it");
    drop(all);
    let trace = server.get(&format!("/v1/runs/{run}/trace")).await;
    assert_eq!(trace.status, 200);
    assert!(trace.json::<serde_json::Value>()["trace"]["rows"][0].is_object(), "{}", trace.text());
    until_free(&server).await;
}

#[tokio::test]
async fn who_follows_a_run_holds_nothing_of_it_between_two_events() {
    let server = Server::start().await;
    server.deploy("main", nap(3_600_000, "7")).await;
    let run = server.begin(r#"{"workflow":"nap"}"#).await;
    let mut events = server.events(&run, None).await;
    while events.next().await.expect("it is open").data["run"]["status"] != "sleeping" {}
    until_free(&server).await;
    // While others have all of it, it waits for its turn.
    let all = server.host.room_of_views().hold(ALL_BYTES).expect("nobody else looks");
    assert_eq!(server.post(&format!("/v1/runs/{run}/terminate"), "{}").await.status, 202);
    drop(all);
    let end = loop {
        let event = events.next().await.expect("an event before the end");
        if event.name == "end" {
            break event;
        }
    };
    assert_eq!(end.data["run"]["status"], "cancelled");
    until_free(&server).await;
}
