//! Secrets in requests, over real sockets: put in place where they are granted, nowhere else, and seen by nobody.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use std::collections::BTreeMap;

use super::*;
use crate::effects::{Secret, SecretName};

/// All that needs an escape somewhere.
const VALUE: &str = "s3cr%t \"&+/=\\ \u{e9}\u{1f511}!";
const OTHER: &str = "another-value-of-it";

/// Values, one after the other for each that asks; the last one stays.
#[derive(Default)]
pub(super) struct Table(Mutex<BTreeMap<String, Vec<&'static str>>>);

impl Table {
    fn of(entries: &[(&str, &[&'static str])]) -> Arc<Table> {
        let entries = entries.iter().map(|(name, values)| ((*name).to_owned(), values.to_vec()));
        Arc::new(Table(Mutex::new(entries.collect())))
    }
}

impl Vault for Table {
    fn secret(&self, tenant: TenantId, name: SecretName) -> BoxFuture<'static, Result<Option<Secret>, Failure>> {
        assert_eq!(tenant, TenantId::DEFAULT);
        let mut table = self.0.lock().expect("no test thread panicked");
        let value = table.get_mut(name.as_str()).map(|values| match values.len() {
            1 => values[0],
            _ => values.remove(0),
        });
        let value = value.map(|value| Secret::new(value.to_owned()).expect("a secret of the table"));
        std::future::ready(Ok(value)).boxed()
    }
}

fn grants(server: &Server, secrets: &[&str]) -> Vec<String> {
    let secrets = secrets.iter().map(|secret| Grants::written_secret(&format!("{secret}={}", server.grant())));
    std::iter::once(server.grant()).chain(secrets).collect()
}

async fn with(table: Arc<Table>, call: HttpCall) -> Result<Value, Failure> {
    let clock = Arc::new(JumpingClock::default());
    let egress = Egress::new(clock, Providers::default(), table).expect("a client");
    egress.http(call).await.map(|json| serde_json::from_str(&json).expect("JSON"))
}

/// One value under the name `KEY`.
async fn ask(server: &Server, secrets: &[&str], request: &Value) -> Result<Value, Failure> {
    let table = Table::of(&[("KEY", &[VALUE]), ("PLAIN", &[OTHER])]);
    with(table, call(&grants(server, secrets), request, PATIENT)).await
}

async fn ok() -> Server {
    Server::start(vec![Reply::Send(answer(200, "", "ok"))]).await
}

#[tokio::test]
async fn a_header_gets_the_value() {
    let server = ok().await;
    let request = json!({"url": server.url("/"), "headers": [["authorization", "Bearer {{secret:PLAIN}}"], ["x-two", "{{secret:PLAIN}}:{{secret:PLAIN}}"]]});
    assert_eq!(ask(&server, &["PLAIN"], &request).await.expect("an answer")["body"], json!("ok"));
    let seen = &server.seen()[0];
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {OTHER}").as_str()));
    assert_eq!(seen.header("x-two"), Some(format!("{OTHER}:{OTHER}").as_str()));
}

#[tokio::test]
async fn a_query_gets_it_escaped() {
    // As it is, and as libraries write it.
    for query in
        ["a=1&key={{secret:KEY}}&b=2", "a=1&key=%7B%7Bsecret%3AKEY%7D%7D&b=2", "a=1&key=%7b%7bsecret:KEY}}&b=2"]
    {
        let server = ok().await;
        ask(&server, &["KEY:query"], &json!({"url": server.url(&format!("/?{query}"))})).await.expect("an answer");
        let line = server.seen()[0].line().to_owned();
        let path = line.split(' ').nth(1).expect("a request line");
        let url: url::Url = server.url(path).parse().expect("a URL");
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let expected =
            [("a", "1"), ("key", VALUE), ("b", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs, expected, "{line}");
    }
}

#[tokio::test]
async fn a_body_gets_it_as_its_type_wants_it() {
    let json_body = json!({"key": "{{secret:KEY}}", "other": [1]}).to_string();
    for (kind, body, expected) in [
        ("application/json; charset=utf-8", json_body.as_str(), json!({"key": VALUE, "other": [1]}).to_string()),
        ("text/plain", "<{{secret:KEY}}>", format!("<{VALUE}>")),
        ("application/x-www-form-urlencoded", "k=%7B%7Bsecret%3APLAIN%7D%7D&l=1", format!("k={OTHER}&l=1")),
    ] {
        let server = ok().await;
        let request =
            json!({"method": "POST", "url": server.url("/"), "headers": [["content-type", kind]], "body": body});
        ask(&server, &["KEY:body", "PLAIN:body"], &request).await.expect("an answer");
        let seen = String::from_utf8(server.seen()[0].body.clone()).expect("text");
        let same = match serde_json::from_str::<Value>(&seen) {
            Ok(seen) => seen == serde_json::from_str::<Value>(&expected).expect("JSON"),
            Err(_) => seen == expected,
        };
        assert!(same, "{kind}: {seen}");
    }
}

#[tokio::test]
async fn what_is_not_granted_reaches_nobody() {
    let server = Server::start(vec![]).await;
    let url = server.url("/");
    let header = json!({"url": url, "headers": [["authorization", "{{secret:KEY}}"]]});
    let query = json!({"url": server.url("/?k={{secret:KEY}}")});
    let body = json!({"method": "POST", "url": url, "body": "{{secret:KEY}}"});
    let path = json!({"url": server.url("/{{secret:KEY}}/x")});
    for (secrets, request, words) in [
        (&[][..], &header, vec!["`KEY`", "not granted", "--allow-secret KEY=http://127.0.0.1"]),
        (&["PLAIN"], &header, vec!["`KEY`", "not granted"]),
        (&["KEY:query,body"], &header, vec!["header"]),
        (&["KEY"], &query, vec!["query", "--allow-secret KEY:query=http"]),
        (&["KEY"], &body, vec!["body", "--allow-secret KEY:body=http"]),
        (&["KEY:header,query,body"], &path, vec!["`KEY`", "path"]),
    ] {
        check_failure(ask(&server, secrets, request).await, code::SECRET_DENIED, false, &words);
    }
    let elsewhere = vec![server.grant(), Grants::written_secret("KEY=http://127.0.0.1:1")];
    let failed = with(Table::of(&[("KEY", &[VALUE])]), call(&elsewhere, &header, PATIENT)).await;
    check_failure(failed, code::SECRET_DENIED, false, &["KEY"]);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_function_sends_only_what_it_lists() {
    let server = Server::start(vec![]).await;
    let request = json!({"url": server.url("/"), "headers": [["authorization", "{{secret:KEY}}"]]});
    let mut asked = call(&grants(&server, &["KEY"]), &request, PATIENT);
    asked.allow = Arc::new(asked.allow.for_function(&["OTHER=example.com"]));
    let failed = with(Table::of(&[("KEY", &[VALUE])]), asked).await;
    check_failure(failed, code::SECRET_DENIED, false, &["does not list", "`KEY`"]);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_named() {
    let server = Server::start(vec![]).await;
    let request = json!({"url": server.url("/"), "headers": [["authorization", "{{secret:GONE}}"]]});
    check_failure(ask(&server, &["GONE"], &request).await, code::SECRET_UNKNOWN, false, &["`GONE`", "secrets set"]);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_placeholder_that_is_none_is_refused() {
    let server = Server::start(vec![]).await;
    for text in ["{{secret:}}", "{{secret:a b}}", "{{secret:KEY", "{{secret:KEY}", "{{secret:{{secret:KEY}}}}"] {
        let request = json!({"url": server.url("/"), "headers": [["authorization", text]]});
        check_failure(ask(&server, &["KEY"], &request).await, code::BAD_REQUEST, false, &["{{secret:"]);
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn more_placeholders_than_there_may_be_are_refused() {
    let server = Server::start(vec![]).await;
    let request = json!({"method": "POST", "url": server.url("/"), "body": "{{secret:KEY}}".repeat(33)});
    check_failure(ask(&server, &["KEY:body"], &request).await, code::TOO_MANY, false, &["33"]);
}

#[tokio::test]
async fn a_value_that_would_end_a_header_is_not_sent() {
    let server = Server::start(vec![]).await;
    let request = json!({"url": server.url("/"), "headers": [["authorization", "{{secret:KEY}}"]]});
    let table = Table::of(&[("KEY", &["hidden\r\nX-Other: hidden"])]);
    let failed = with(table, call(&grants(&server, &["KEY"]), &request, PATIENT)).await;
    let failure = check_failure(failed, code::SECRET_DENIED, false, &["`authorization`"]);
    assert!(!failure.to_string().contains("hidden"), "{failure}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn each_try_takes_the_value_of_its_time() {
    let server = Server::start(vec![
        Reply::Send(answer(503, "", "")),
        Reply::Send(answer(200, "", &format!("{OTHER} first-value"))),
    ])
    .await;
    let request = json!({"url": server.url("/"), "headers": [["authorization", "{{secret:KEY}}"]]});
    let table = Table::of(&[("KEY", &["first-value", OTHER])]);
    let answer = with(table, call(&grants(&server, &["KEY"]), &request, PATIENT)).await.expect("an answer");
    let seen: Vec<_> = server.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    assert_eq!(seen, [Some("first-value".to_owned()), Some(OTHER.to_owned())]);
    assert_eq!(answer["body"], json!("[secret:KEY] [secret:KEY]"), "what it was before stays hidden");
}

#[tokio::test]
async fn a_redirect_on_the_same_server_is_followed_with_it() {
    let server = Server::start(vec![redirect(307, "/b?k={{secret:KEY}}"), Reply::Send(answer(200, "", "ok"))]).await;
    let headers = [["authorization", "{{secret:PLAIN}}"]];
    let request = json!({"method": "PUT", "url": server.url("/?k={{secret:PLAIN}}"), "headers": headers, "body": "{{secret:PLAIN}}"});
    ask(&server, &["PLAIN:header,query,body", "KEY:header,query,body"], &request).await.expect("an answer");
    let second = &server.seen()[1];
    assert_eq!(second.line(), "PUT /b?k={{secret:KEY}} HTTP/1.1", "a server puts no secret anywhere");
    assert_eq!((second.header("authorization"), second.body.as_slice()), (Some(OTHER), OTHER.as_bytes()));
}

#[tokio::test]
async fn a_redirect_takes_no_secret_to_another_host() {
    let other = Server::start((0..2).map(|_| Reply::Send(answer(200, "", "there"))).collect()).await;
    let elsewhere = format!("http://localhost:{}", other.address.port());
    let secret = |server: &Server| {
        let both =
            [format!("PLAIN:header,query,body={}", server.grant()), format!("PLAIN:header,query,body={elsewhere}")];
        let secrets = both.iter().map(|secret| Grants::written_secret(secret));
        [server.grant(), elsewhere.clone()].into_iter().chain(secrets).collect::<Vec<_>>()
    };
    let table = || Table::of(&[("PLAIN", &[OTHER])]);

    // A header that is not for everybody is left at home, as always.
    let first = Server::start(vec![redirect(307, &elsewhere)]).await;
    let request = json!({"url": first.url("/?k={{secret:PLAIN}}"), "headers": [["authorization", "{{secret:PLAIN}}"]]});
    let answer = with(table(), call(&secret(&first), &request, PATIENT)).await.expect("an answer");
    assert_eq!(answer["body"], json!("there"));
    // A body, and a header that would go along, end it.
    for request in
        [json!({"method": "PUT", "body": "{{secret:PLAIN}}"}), json!({"headers": [["accept", "{{secret:PLAIN}}"]]})]
    {
        let first = Server::start(vec![redirect(307, &elsewhere)]).await;
        let mut request = request;
        request["url"] = json!(first.url("/"));
        let failed = with(table(), call(&secret(&first), &request, PATIENT)).await;
        check_failure(failed, code::SECRET_DENIED, false, &["redirects", "no other host"]);
    }
    // Nor does the server that knows it.
    let first = Server::start(vec![redirect(302, &format!("{elsewhere}/?k={OTHER}"))]).await;
    let request = json!({"url": first.url("/"), "headers": [["authorization", "{{secret:PLAIN}}"]]});
    let failed = with(table(), call(&secret(&first), &request, PATIENT)).await;
    let failure = check_failure(failed, code::SECRET_DENIED, false, &["redirects", "another host"]);
    assert!(!failure.to_string().contains(OTHER));
    let seen = other.seen();
    assert_eq!(seen.len(), 1);
    assert!(!seen[0].head.contains(OTHER) && !seen[0].head.contains("secret:"), "{}", seen[0].head);
}

#[tokio::test]
async fn what_a_server_echoes_is_taken_out() {
    let quoted = serde_json::to_string(VALUE).expect("JSON");
    let ascii: String = VALUE.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let percent: String = VALUE.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let form: String = url::form_urlencoded::byte_serialize(VALUE.as_bytes()).collect();
    let echoes = [
        VALUE.to_owned(),
        format!("<{VALUE}>{VALUE}"),
        quoted.trim_matches('"').to_owned(),
        ascii,
        percent.to_uppercase(),
        percent,
        form,
    ];
    for echo in echoes {
        let server = Server::start(vec![Reply::Send(answer(200, "", &format!("a {echo} b")))]).await;
        let answer = ask(&server, &["KEY"], &json!({"url": server.url("/")})).await.expect("an answer");
        let body = answer["body"].as_str().expect("text").replace("[secret:KEY]", "");
        assert!(["a  b", "a <> b"].contains(&body.as_str()), "{echo}: {body}");
    }
}

#[tokio::test]
async fn what_a_server_echoes_in_base64_is_taken_out() {
    for (before, after) in [("", ""), ("u:", ""), ("user:", "x"), ("\u{1}", "yz")] {
        let text = format!("{before}{OTHER}{after}");
        for encoded in [BASE64_STANDARD.encode(&text), BASE64_URL_SAFE_NO_PAD.encode(&text)] {
            let server =
                Server::start(vec![Reply::Send(answer(200, &format!("x-echo: {encoded}\r\n"), &encoded))]).await;
            let answer = ask(&server, &["PLAIN"], &json!({"url": server.url("/")})).await.expect("an answer");
            let seen = [answer["body"].as_str().expect("text"), answer["headers"][1][1].as_str().expect("a header")];
            for seen in seen {
                assert!(seen.contains("[secret:PLAIN]"), "{text}: {seen}");
                let kept = seen.replace("[secret:PLAIN]", "").len();
                assert!(kept <= before.len() * 2 + after.len() * 2 + 5, "{text}: {seen}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_server_echoes_in_headers_is_taken_out() {
    let lower = OTHER.to_ascii_lowercase();
    let headers = format!("x-echo: got {OTHER}\r\n{lower}: x\r\nlocation: /?k={OTHER}\r\n");
    let server = Server::start(vec![Reply::Send(answer(200, &headers, ""))]).await;
    let answer = ask(&server, &["PLAIN"], &json!({"url": server.url("/")})).await.expect("an answer");
    assert!(!answer.to_string().contains(OTHER), "{answer}");
    assert!(answer.to_string().contains("got [secret:PLAIN]"), "{answer}");
}

#[tokio::test]
async fn failures_hold_no_secret() {
    let echo = format!("/?k={OTHER}");
    let too_large = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", ANSWER_MAX_BYTES + 1);
    let server = Server::start(vec![redirect(302, &echo), Reply::SendThenHold(too_large)]).await;
    let request = json!({"url": server.url("/?k={{secret:PLAIN}}")});
    let failure = ask(&server, &["PLAIN:query"], &request).await.expect_err("it is too large");
    assert_eq!(failure.code, code::TOO_LARGE);
    assert!(!format!("{failure:?}").contains(OTHER), "{failure:?}");
    assert!(failure.message.contains("[secret:PLAIN]"), "{failure}");
}

#[test]
fn nothing_prints_a_value() {
    let secret = Secret::new(OTHER.to_owned()).expect("a secret");
    assert_eq!(format!("{secret:?}"), "Secret(..)");
    for text in ["short", ""] {
        let error = Secret::new(text.to_owned()).expect_err("too short");
        assert!(text.is_empty() || !error.to_string().contains(text), "{error}");
    }
}
