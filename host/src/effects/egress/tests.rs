mod attacks;
mod scripted;
mod secrets;
mod stopped;
mod tls;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use trackway_replay::TenantId;

use self::scripted::{JumpingClock, Reply, Server, answer, redirect};
use super::*;
use crate::effects::exchange::ANSWER_MAX_BYTES;
use crate::effects::sockets::tests::check_shares;
use crate::effects::{Grants, HttpRequest, SystemClock};

/// For the system's clock, so that a slow machine breaks no test.
const PATIENT: &str = r#"{"timeout_ms": 600000}"#;

fn call(grants: &[String], request: &Value, options: &str) -> HttpCall {
    let request = HttpRequest::parse(&request.to_string(), options).expect("a request of the table");
    let key = request.wants_key().then(|| "derived-key".into());
    let allow = Arc::new(Grants::parse(grants).expect("grants of the table"));
    HttpCall { tenant: TenantId::DEFAULT, allow, key: request.author_key().or(key), request }
}

/// For those who name none.
fn no_secrets() -> Arc<dyn Vault> {
    Arc::new(secrets::Table::default())
}

fn with_lookup(lookup: Lookup) -> Egress {
    let clock = Arc::new(JumpingClock::default());
    Egress::with(clock, (lookup, &[]), Providers::default(), no_secrets()).expect("a client")
}

async fn send(call: HttpCall) -> (Result<Value, Failure>, Vec<Duration>) {
    let clock = Arc::new(JumpingClock::default());
    let egress = Egress::new(clock.clone(), Providers::default(), no_secrets()).expect("a client");
    let result = egress.http(call).await.map(|json| serde_json::from_str(&json).expect("JSON"));
    (result, clock.waits())
}

async fn get(server: &Server) -> (Result<Value, Failure>, Vec<Duration>) {
    send(call(&[server.grant()], &json!({"url": server.url("/")}), "")).await
}

fn tries_of(failure: &Failure) -> usize {
    let details: Value = failure
        .details
        .as_ref()
        .map_or(Value::Null, |details| serde_json::from_str(details.get()).expect("details are JSON"));
    details["tries"].as_array().map_or(0, Vec::len)
}

#[track_caller]
fn check_failure(result: Result<Value, Failure>, code: &str, retryable: bool, words: &[&str]) -> Failure {
    let failure = result.expect_err("must fail");
    assert_eq!((failure.code.as_str(), failure.retryable), (code, retryable), "{failure}");
    for word in words {
        assert!(failure.message.contains(word), "`{}` must say `{word}`", failure.message);
    }
    failure
}

#[tokio::test]
async fn status_headers_and_body_reach_the_guest() {
    let server = Server::start(vec![Reply::Send(answer(404, "X-B: 2\r\nx-a: 1\r\nX-B: 3\r\n", "hä"))]).await;
    let request =
        json!({"method": "POST", "url": server.url("/a?b=c"), "headers": [["X-Guest", "y"]], "body": "hello"});
    let (result, waits) = send(call(&[server.grant()], &request, "")).await;
    assert_eq!(
        result.expect("an answer"),
        json!({
            "status": 404,
            "headers": [["content-length", "3"], ["x-b", "2"], ["x-b", "3"], ["x-a", "1"]],
            "body": "hä",
            "tries": [],
        })
    );
    assert!(waits.is_empty());
    let seen = &server.seen()[0];
    assert_eq!(seen.line(), "POST /a?b=c HTTP/1.1");
    assert_eq!(seen.body, b"hello");
    assert_eq!(seen.header("x-guest"), Some("y"));
    assert_eq!(seen.header("idempotency-key"), Some("derived-key"));
    assert_eq!(seen.header("host"), Some(server.address.to_string().as_str()));
    assert_eq!(seen.header("user-agent"), Some(USER_AGENT));
    for absent in ["accept-encoding", "cookie", "referer", "proxy-authorization"] {
        assert_eq!(seen.header(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn bytes_reach_the_guest_as_base64() {
    // The first byte of a character alone is no text.
    let raw = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\u{e9}";
    let server = Server::start(vec![Reply::Send(raw.into())]).await;
    let answer = get(&server).await.0.expect("an answer");
    assert_eq!((answer.get("body"), &answer["body_base64"]), (None, &json!("ww==")));
}

#[tokio::test]
async fn compressed_bytes_are_handed_on_as_they_came() {
    let server = Server::start(vec![Reply::Send(answer(200, "content-encoding: gzip\r\n", "not really"))]).await;
    let answer = get(&server).await.0.expect("an answer");
    assert_eq!(answer["body"], json!("not really"));
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = Server::start((0..3).map(|_| Reply::Send(answer(200, "", "ok"))).collect()).await;
    let egress = Egress::new(Arc::new(SystemClock::new()), Providers::default(), no_secrets()).expect("a client");
    for _ in 0..3 {
        egress.http(call(&[server.grant()], &json!({"url": server.url("/")}), "")).await.expect("an answer");
    }
    assert_eq!(server.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn sockets_for_http_and_those_for_models_are_shared_by_the_weights_that_were_given() {
    let weights = Weights::default();
    let egress = with_lookup(system_lookup()).sharing(weights.clone());
    check_shares(&egress.0.sockets, &weights);
    check_shares(egress.0.models.sockets(), &weights);
}

#[tokio::test]
async fn nothing_leaves_without_a_grant() {
    let server = Server::start(vec![]).await;
    let port = server.address.port();
    let localhost = format!("http://localhost:{port}");
    for (grants, url, advice) in [
        (vec![], server.url("/"), server.grant()),
        (vec![localhost.clone()], server.url("/"), server.grant()),
        (vec![server.grant()], format!("{localhost}/"), localhost),
        (vec!["example.com".to_owned()], "http://example.com/".to_owned(), "http://example.com".to_owned()),
    ] {
        let (result, _) = send(call(&grants, &json!({"url": url}), "")).await;
        let advice = format!("trackway deploy --allow-host {advice}");
        check_failure(result, code::EGRESS_DENIED, false, &["not granted", &advice]);
    }
    for url in [format!("http://0.0.0.0:{port}/"), format!("http://[::ffff:127.0.0.1]:{port}/")] {
        let (result, _) = send(call(&[server.grant()], &json!({"url": url}), "")).await;
        check_failure(result, code::EGRESS_DENIED, false, &["no grant can open"]);
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_address_is_reached_in_any_spelling_that_the_grant_covers() {
    let server = Server::start(vec![Reply::Send(answer(200, "", "ok"))]).await;
    let url = format!("http://0x7f.1:{}/", server.address.port());
    let (result, _) = send(call(&[server.grant()], &json!({"url": url}), "")).await;
    assert_eq!(result.expect("an answer")["status"], json!(200));
}

#[tokio::test]
async fn localhost_is_reached_when_it_is_granted() {
    let server = Server::start(vec![Reply::Send(answer(200, "", "ok"))]).await;
    let grant = format!("http://localhost:{}", server.address.port());
    let url = format!("http://LOCALHOST.:{}/", server.address.port());
    let (result, _) = send(call(std::slice::from_ref(&grant), &json!({"url": url}), "")).await;
    assert_eq!(result.expect("an answer")["status"], json!(200));
    assert_eq!(server.seen()[0].header("host"), grant.strip_prefix("http://"));
}

#[tokio::test]
async fn a_granted_name_that_resolves_to_a_private_address_is_refused() {
    let server = Server::start(vec![]).await;
    let loopback: IpAddr = server.address.ip();
    let lookup: Lookup = Arc::new(move |_| std::future::ready(Ok(vec![loopback])).boxed());
    let egress = with_lookup(lookup);
    let url = format!("http://rebind.test:{}", server.address.port());
    let result = egress.http(call(std::slice::from_ref(&url), &json!({"url": url}), PATIENT)).await;
    let failure = check_failure(result.map(Value::from), code::EGRESS_DENIED, false, &["rebind.test", "loopback"]);
    assert_eq!(tries_of(&failure), 0, "it would be refused again");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn redirects_are_followed_within_the_grant() {
    let server =
        Server::start(vec![redirect(302, "/b"), redirect(307, "c?d"), Reply::Send(answer(200, "", "here"))]).await;
    let (result, _) = get(&server).await;
    assert_eq!(result.expect("an answer")["body"], json!("here"));
    let lines: Vec<_> = server.seen().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(lines, ["GET / HTTP/1.1", "GET /b HTTP/1.1", "GET /c?d HTTP/1.1"]);
}

#[tokio::test]
async fn a_redirect_out_of_the_grant_is_refused() {
    let other = Server::start(vec![]).await;
    for target in [
        other.url("/"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://[::1]/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://user:pass@127.0.0.1/".to_owned(),
        "//localhost/".to_owned(),
    ] {
        let server = Server::start(vec![redirect(302, &target)]).await;
        let (result, _) = get(&server).await;
        check_failure(result, code::EGRESS_DENIED, false, &["redirects"]);
        assert_eq!(server.seen().len(), 1);
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_redirect_without_a_target_is_an_answer() {
    for headers in ["", "location: http://[/\r\n"] {
        let server = Server::start(vec![Reply::Send(answer(302, headers, "where?"))]).await;
        let (result, _) = get(&server).await;
        assert_eq!(result.expect("an answer")["status"], json!(302));
    }
}

#[tokio::test]
async fn a_loop_of_redirects_ends() {
    let server = Server::start((0..11).map(|_| redirect(302, "/again")).collect()).await;
    let (result, _) = get(&server).await;
    check_failure(result, code::HTTP_BROKEN, true, &["more than 10 times"]);
    assert_eq!(server.seen().len(), 11);
}

#[tokio::test]
async fn methods_change_on_redirects_as_in_browsers() {
    for (status, method, expected) in [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (301, "PUT", "PUT"),
        (302, "DELETE", "DELETE"),
        (303, "PUT", "GET"),
    ] {
        let server = Server::start(vec![redirect(status, "/b"), Reply::Send(answer(200, "", ""))]).await;
        let request = json!({
            "method": method, "url": server.url("/"), "body": "hello", "headers": [["content-type", "text/plain"]],
        });
        let (result, _) = send(call(&[server.grant()], &request, "")).await;
        assert_eq!(result.expect("an answer")["status"], json!(200));
        let second = &server.seen()[1];
        assert_eq!(second.line(), format!("{expected} /b HTTP/1.1"), "{status} {method}");
        let keeps = expected == method;
        assert_eq!(second.body, if keeps { b"hello".as_slice() } else { b"" }, "{status} {method}");
        assert_eq!(second.header("content-type").is_some(), keeps, "{status} {method}");
        assert_eq!(second.header("idempotency-key").is_some(), keeps, "{status} {method}");
    }
}

#[tokio::test]
async fn another_origin_is_not_told_what_was_meant_for_the_first() {
    let second = Server::start(vec![Reply::Send(answer(200, "", ""))]).await;
    let elsewhere = format!("http://localhost:{}", second.address.port());
    let first = Server::start(vec![redirect(307, &format!("{elsewhere}/b"))]).await;
    let headers =
        [["authorization", "a"], ["cookie", "b"], ["x-api-key", "c"], ["accept", "d/e"], ["content-type", "f/g"]];
    let request = json!({"method": "POST", "url": first.url("/"), "body": "hello", "headers": headers});
    let (result, _) = send(call(&[first.grant(), elsewhere], &request, "")).await;
    assert_eq!(result.expect("an answer")["status"], json!(200));
    let (told, seen) = (&first.seen()[0], &second.seen()[0]);
    assert_eq!((seen.line(), seen.body.as_slice()), ("POST /b HTTP/1.1", b"hello".as_slice()));
    for (name, value) in [("accept", "d/e"), ("content-type", "f/g")] {
        assert_eq!(seen.header(name), Some(value));
    }
    for name in ["authorization", "cookie", "x-api-key", "idempotency-key"] {
        assert!(told.header(name).is_some() && seen.header(name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_request_that_lost_its_key_on_the_way_is_not_repeated() {
    let second = Server::start(vec![Reply::SendThenReset(String::new())]).await;
    let elsewhere = format!("http://localhost:{}", second.address.port());
    let first = Server::start(vec![redirect(307, &elsewhere)]).await;
    let request = json!({"method": "POST", "url": first.url("/")});
    let (result, waits) = send(call(&[first.grant(), elsewhere], &request, PATIENT)).await;
    check_failure(result, code::HTTP_BROKEN, true, &[]);
    assert!(waits.is_empty());
}

#[tokio::test]
async fn a_refusal_that_may_pass_is_tried_again() {
    let server = Server::start(vec![
        Reply::Send(answer(503, "", "wait")),
        Reply::SendThenReset(String::new()),
        Reply::Send(answer(200, "", "ok")),
    ])
    .await;
    let request = json!({"method": "POST", "url": server.url("/"), "body": "hello"});
    let (result, waits) = send(call(&[server.grant()], &request, PATIENT)).await;
    let answer = result.expect("an answer");
    assert_eq!((&answer["status"], &answer["body"]), (&json!(200), &json!("ok")));
    assert_eq!(answer["tries"][0], json!({"status": 503}));
    assert!(answer["tries"][1]["error"].as_str().is_some_and(|error| error.starts_with("HTTP_BROKEN")), "{answer}");
    assert_eq!(waits, [Duration::from_millis(250), Duration::from_secs(1)]);
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.header("idempotency-key") == Some("derived-key") && seen.body == b"hello"));
}

#[tokio::test]
async fn the_last_status_goes_to_the_guest() {
    let replies = [429, 502, 504].map(|status| Reply::Send(answer(status, "", "no")));
    let server = Server::start(replies.into()).await;
    let answer = get(&server).await.0.expect("an answer");
    assert_eq!((&answer["status"], &answer["body"]), (&json!(504), &json!("no")));
    assert_eq!(answer["tries"], json!([{"status": 429}, {"status": 502}]));
}

#[tokio::test]
async fn retry_after_is_honoured_when_it_fits_and_handed_on_when_not() {
    let server = Server::start(vec![
        Reply::Send(answer(429, "retry-after: 7\r\n", "")),
        Reply::Send(answer(429, "retry-after: 24\r\n", "later")),
    ])
    .await;
    let (result, waits) = get(&server).await;
    let answer = result.expect("an answer");
    assert_eq!((&answer["status"], &answer["body"]), (&json!(429), &json!("later")));
    assert_eq!(answer["tries"], json!([{"status": 429}]));
    assert_eq!(waits, [Duration::from_secs(7)]);
}

#[tokio::test]
async fn a_post_without_a_key_is_sent_once() {
    let server = Server::start(vec![Reply::Send(answer(503, "", ""))]).await;
    let mut call = call(&[server.grant()], &json!({"method": "POST", "url": server.url("/")}), PATIENT);
    call.key = None;
    let answer = send(call).await.0.expect("an answer");
    assert_eq!((&answer["status"], &answer["tries"]), (&json!(503), &json!([])));
}

#[tokio::test]
async fn a_request_is_sent_as_often_as_its_function_allows() {
    for (tries, sent) in [(1, 1), (2, 2), (3, 3)] {
        let options = json!({ "timeout_ms": 600_000, "tries": tries }).to_string();
        let replies = [503, 503, 200].map(|status| Reply::Send(answer(status, "", "")));
        let server = Server::start(replies.into_iter().take(sent).collect()).await;
        let request = json!({"method": "POST", "url": server.url("/")});
        let answer = send(call(&[server.grant()], &request, &options)).await.0.expect("an answer");
        assert_eq!(answer["status"], json!(if sent == 3 { 200 } else { 503 }), "{tries}");
        assert_eq!((answer["tries"].as_array().map(Vec::len), server.seen().len()), (Some(sent - 1), sent), "{tries}");
    }
    let server = Server::start(vec![Reply::SendThenReset(String::new())]).await;
    let (result, waits) = send(call(&[server.grant()], &json!({"url": server.url("/")}), r#"{"tries": 1}"#)).await;
    check_failure(result, code::HTTP_BROKEN, true, &[]);
    assert!(waits.is_empty() && server.seen().len() == 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    // Bound and dropped, so that nobody listens.
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let grant = format!("http://{address}");
    let (result, waits) = send(call(std::slice::from_ref(&grant), &json!({"url": grant}), PATIENT)).await;
    let failure = check_failure(result, code::HTTP_CONNECT, true, &[&grant, "refused"]);
    assert_eq!((tries_of(&failure), waits.len()), (2, 2));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for (first, second, third) in [
        (Reply::SendThenClose(half.into()), Reply::SendThenReset(half.into()), Reply::SendThenClose(chunk.into())),
        (
            Reply::SendThenClose(String::new()),
            Reply::SendThenClose("HTTP/1.1 200".into()),
            Reply::Send("SSH-2.0-OpenSSH_9.2\r\n\r\n".into()),
        ),
    ] {
        let server = Server::start(vec![first, second, third]).await;
        let (result, _) = get(&server).await;
        let failure = check_failure(result, code::HTTP_BROKEN, true, &[&server.grant()]);
        assert_eq!((tries_of(&failure), server.seen().len()), (2, 3));
    }
}

#[tokio::test]
async fn an_answer_over_its_limit_is_cut_off_as_it_arrives() {
    let announced = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", ANSWER_MAX_BYTES + 1);
    for reply in [
        Reply::SendThenHold(announced),
        Reply::SendThenFlood("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".into()),
        Reply::SendThenFlood("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".into()),
    ] {
        let server = Server::start(vec![reply]).await;
        let (result, _) = get(&server).await;
        check_failure(result, code::TOO_LARGE, false, &["8388608"]);
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_at_its_limit_fits() {
    let body = "x".repeat(ANSWER_MAX_BYTES);
    let server = Server::start(vec![Reply::Send(answer(200, "", &body))]).await;
    let answer = get(&server).await.0.expect("an answer");
    assert_eq!(answer["body"].as_str().map(str::len), Some(ANSWER_MAX_BYTES));
}

#[tokio::test]
async fn text_that_grows_over_the_limit_of_a_value_is_too_large() {
    // A zero byte is text, and takes six bytes as JSON.
    let body = "\0".repeat(3 << 20);
    let server = Server::start(vec![Reply::Send(answer(200, "", &body))]).await;
    let (result, _) = get(&server).await;
    check_failure(result, code::TOO_LARGE, false, &["16777216"]);
}

#[tokio::test]
async fn the_time_of_the_whole_exchange_is_limited() {
    for reply in [
        Reply::SendThenHold(String::new()),
        Reply::SendThenHold("HTTP/1.1 200 OK\r\n".into()),
        Reply::SendThenHold("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nslow".into()),
    ] {
        let server = Server::start(vec![reply]).await;
        let egress = Egress::new(Arc::new(SystemClock::new()), Providers::default(), no_secrets()).expect("a client");
        let call = call(&[server.grant()], &json!({"url": server.url("/")}), r#"{"timeout_ms": 100}"#);
        let result = egress.http(call).await.map(Value::from);
        check_failure(result, code::HTTP_TIMEOUT, true, &["100 ms"]);
    }
}

#[tokio::test]
async fn a_tenant_has_a_limit_of_requests_at_a_time_and_takes_nothing_from_others() {
    let hold = (0..PER_TENANT_MAX).map(|_| Reply::SendThenHold(String::new()));
    let server = Server::start(hold.chain([Reply::Send(answer(200, "", "other"))]).collect()).await;
    let egress = Egress::new(Arc::new(SystemClock::new()), Providers::default(), no_secrets()).expect("a client");
    let call = call(&[server.grant()], &json!({"url": server.url("/")}), PATIENT);
    let mut all = tokio::task::JoinSet::new();
    (0..=PER_TENANT_MAX).for_each(|_| drop(all.spawn(egress.http(call.clone()))));
    let other = HttpCall { tenant: TenantId(2), ..call.clone() };
    server.has_seen(PER_TENANT_MAX).await;
    let answered = egress.http(other).await.expect("an answer");
    assert!(answered.contains("other"));
    assert_eq!(server.seen().len(), PER_TENANT_MAX + 1);
}

#[tokio::test]
async fn a_dropped_exchange_closes_its_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let grant = format!("http://{}", listener.local_addr().expect("an address"));
    let egress = Egress::new(Arc::new(SystemClock::new()), Providers::default(), no_secrets()).expect("a client");
    let exchange = tokio::spawn(egress.http(call(std::slice::from_ref(&grant), &json!({"url": grant}), PATIENT)));
    let (mut socket, _) = listener.accept().await.expect("a connection");
    exchange.abort();
    let mut rest = Vec::new();
    // Ends only when the other side closes.
    drop(tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut rest).await);
    assert!(exchange.await.expect_err("it was dropped").is_cancelled());
}
