use super::support::*;

#[tokio::test]
async fn the_stream_of_a_run_that_tells_nothing_is_its_end() {
    let server = Server::start().await;
    server.deploy("main", nap(50, "7")).await;
    let run = server.begin(r#"{"workflow":"nap"}"#).await;
    let mut stream = server.stream(&run, None).await;
    assert_eq!(stream.status, 200);
    let end = stream.next().await.expect("an end");
    assert_eq!((end.name.as_str(), &end.data["run"]["output"]), ("end", &7.into()));
    assert!(stream.next().await.is_none());
    let again = server.stream(&run, None).await.next().await.expect("for whoever comes late too");
    assert_eq!((again.name, again.id), (end.name, end.id.clone()));
    assert_eq!(server.stream(&run, Some(&end.id)).await.status, 204);
}

#[tokio::test]
async fn what_a_run_never_told_is_refused() {
    let server = Server::start().await;
    server.deploy("main", nap(1, "7")).await;
    let run = server.finish(r#"{"workflow":"nap"}"#).await;
    for last in ["999", "-1", "x", "1.2", "1.2.3.4", "1.2.x", "", "999.1.1", "18446744073709551615"] {
        assert_eq!(server.stream(&run, Some(last)).await.status, 400, "{last}");
    }
    assert_eq!(server.stream("zzzz", None).await.status, 404);
}

#[tokio::test]
async fn a_stream_ends_when_the_server_stops() {
    let server = Server::start().await;
    server.deploy("main", nap(3_600_000, "7")).await;
    let run = server.begin(r#"{"workflow":"nap"}"#).await;
    let mut stream = server.stream(&run, None).await;
    server.stop().await;
    while stream.next().await.is_some() {}
}
