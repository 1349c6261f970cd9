use super::*;
use crate::effects::fields::{KEY_MAX_BYTES, LABEL_MAX_BYTES, OPTIONS_MAX_BYTES};
use serde_json::json;

fn parse(request: &Value, options: &str) -> Result<HttpRequest, Failure> {
    HttpRequest::parse(&request.to_string(), options)
}

#[track_caller]
fn good(request: Value, options: &str) -> HttpRequest {
    parse(&request, options).expect("a request of the table")
}

#[track_caller]
fn refused(code: &str, request: &Value, options: &str, words: &[&str]) {
    let failure = parse(request, options).map(|_| ()).expect_err("must be refused");
    assert_eq!(failure.code, code, "{failure}");
    assert!(!failure.retryable, "the same request stays wrong: {failure}");
    for word in words {
        assert!(failure.message.contains(word), "{failure:?} must say {word}");
    }
}

#[test]
fn a_url_alone_is_a_get() {
    let request = good(json!({"url": "https://Example.com/a b?c#d"}), "");
    assert_eq!(request.method, Method::GET);
    assert_eq!(request.url.as_str(), "https://example.com/a%20b?c", "the fragment stays at home");
    assert_eq!((request.timeout, request.tries_max), (Duration::from_secs(30), 3));
    assert!(request.body.is_none() && request.headers.is_empty());
    assert!(!request.wants_key() && request.author_key().is_none());
}

#[test]
fn every_field_is_read() {
    let request = good(
        json!({"method": "POST", "url": "http://127.0.0.1:8080/", "headers": [["X-A", "1"], ["x-a", " ü "]], "body": "hä"}),
        r#"{"label": "pay", "timeout_ms": 600000, "idempotency_key": "order 17", "tries": 1}"#,
    );
    assert_eq!(request.method, Method::POST);
    let values: Vec<_> = request.headers.get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(values, [b"1".as_slice(), "ü".as_bytes()]);
    assert_eq!(request.body.as_deref(), Some("hä".as_bytes()));
    assert_eq!((request.timeout, request.tries_max), (Duration::from_secs(600), 1));
    assert_eq!(request.author_key().as_deref(), Some("order 17"));
    assert_eq!(request.label(), Some("pay"));
}

#[test]
fn bytes_come_as_base64() {
    let request = good(json!({"method": "PUT", "url": "https://example.com", "body_base64": "AP8="}), "{}");
    assert_eq!(request.body.as_deref(), Some([0, 255].as_slice()));
}

#[test]
fn methods_that_may_change_something_want_a_key() {
    for (method, wants) in [
        ("GET", false),
        ("HEAD", false),
        ("OPTIONS", false),
        ("POST", true),
        ("PUT", true),
        ("DELETE", true),
        ("PATCH", true),
        ("M-SEARCH", true),
    ] {
        let request = good(json!({"method": method, "url": "https://example.com"}), "");
        assert_eq!(request.wants_key(), wants, "{method}");
    }
}

#[test]
fn the_header_of_the_key_is_the_author_s_key() {
    let with_header = json!({"url": "https://example.com", "headers": [["Idempotency-Key", "abc"]]});
    let request = good(with_header.clone(), "");
    assert_eq!(request.author_key().as_deref(), Some("abc"));
    assert!(request.headers.is_empty(), "or it would be sent twice");
    assert_eq!(good(with_header.clone(), r#"{"idempotency_key": "abc"}"#).author_key().as_deref(), Some("abc"));
    refused(code::BAD_OPTIONS, &with_header, r#"{"idempotency_key": "x"}"#, &["idempotency_key", "differs"]);
    let twice = json!({"url": "https://example.com", "headers": [["idempotency-key", "a"], ["idempotency-key", "a"]]});
    refused(code::BAD_REQUEST, &twice, "", &["idempotency-key", "twice"]);
}

#[test]
fn a_bad_request_is_refused_by_the_name_of_the_field() {
    let url = "https://example.com";
    for (request, words) in [
        (json!([]), vec!["`request`", "object"]),
        (json!({}), vec!["`url`", "missing"]),
        (json!({"url": null}), vec!["`url`", "missing"]),
        (json!({"url": 1}), vec!["`url`", "string"]),
        (json!({"url": "/a"}), vec!["`url`", "absolute"]),
        (json!({"url": "https://"}), vec!["`url`", "absolute"]),
        (json!({"url": "file:///etc/passwd"}), vec!["`url`", "`file`"]),
        (json!({"url": "https://user@example.com"}), vec!["`url`", "user name"]),
        (json!({"url": "https://example.com:0/"}), vec!["`url`", "port 0"]),
        (json!({"url": "https://:secret@example.com"}), vec!["`url`", "password"]),
        (json!({"url": format!("https://example.com/{}", "a".repeat(URL_MAX_BYTES))}), vec!["`url`", "bytes"]),
        (json!({"url": url, "uri": 1}), vec!["`uri`", "not a known field"]),
        (json!({"url": url, "method": "TRACE"}), vec!["`method`", "TRACE"]),
        (json!({"url": url, "method": "CONNECT"}), vec!["`method`", "CONNECT"]),
        (json!({"url": url, "method": "get"}), vec!["`method`", "capital"]),
        (json!({"url": url, "method": "GET / HTTP/1.1\r\n"}), vec!["`method`"]),
        (json!({"url": url, "method": ""}), vec!["`method`"]),
        (json!({"url": url, "headers": {"a": "b"}}), vec!["`headers`", "array"]),
        (json!({"url": url, "headers": [["a", "b"], ["a"]]}), vec!["`headers`", "at 1"]),
        (json!({"url": url, "headers": [["a", 1]]}), vec!["`headers`", "at 0"]),
        (json!({"url": url, "headers": [["a b", "c"]]}), vec!["`headers`", "bad name"]),
        (json!({"url": url, "headers": [["a:", "c"]]}), vec!["`headers`", "bad name"]),
        (json!({"url": url, "headers": [["a\r\nhost", "c"]]}), vec!["`headers`", "bad name"]),
        (json!({"url": url, "headers": [["", "c"]]}), vec!["`headers`", "bad name"]),
        (json!({"url": url, "headers": [["a", "b\r\nhost: evil"]]}), vec!["`headers`", "control character"]),
        (json!({"url": url, "headers": [["a", "b\u{0}c"]]}), vec!["`headers`", "control character"]),
        (json!({"url": url, "headers": [["idempotency-key", "ü"]]}), vec!["idempotency-key", "ASCII"]),
        (json!({"url": url, "headers": vec![["a", "b"]; HEADERS_MAX + 1]}), vec!["`headers`", "at most"]),
        (json!({"url": url, "headers": [["a", "b".repeat(HEADERS_MAX_BYTES)]]}), vec!["`headers`", "bytes"]),
        (json!({"url": url, "body": {"a": 1}}), vec!["`body`", "string"]),
        (json!({"url": url, "body": "a", "body_base64": "YQ=="}), vec!["`body_base64`", "`body`"]),
        (json!({"url": url, "body_base64": "%"}), vec!["`body_base64`", "base64"]),
    ] {
        refused(code::BAD_REQUEST, &request, "", &words);
    }
    let failure = HttpRequest::parse("{\"url\"", "").expect_err("not JSON");
    assert_eq!((failure.code.as_str(), failure.retryable), (code::BAD_REQUEST, false));
}

#[test]
fn headers_of_the_host_are_refused() {
    for name in HEADERS_OF_THE_HOST {
        let spelled = name.to_ascii_uppercase();
        refused(
            code::BAD_REQUEST,
            &json!({"url": "https://example.com", "headers": [[spelled, "x"]]}),
            "",
            &["`headers`", name, "host alone"],
        );
    }
}

#[test]
fn bad_options_are_refused_by_the_name_of_the_field() {
    let request = json!({"url": "https://example.com"});
    let long = format!(r#"{{"idempotency_key": "{}"}}"#, "a".repeat(KEY_MAX_BYTES + 1));
    let label = format!(r#"{{"label": "{}"}}"#, "a".repeat(LABEL_MAX_BYTES + 1));
    let huge = format!(r#"{{"label": "{}"}}"#, "a".repeat(OPTIONS_MAX_BYTES));
    for (options, words) in [
        ("[]", ["`options`", "object"]),
        ("{", ["`options`", "not JSON"]),
        (r#"{"timeout": 1}"#, ["`timeout`", "not a known field"]),
        (r#"{"timeout_ms": 0}"#, ["`timeout_ms`", "from 1 to 600000"]),
        (r#"{"timeout_ms": 600001}"#, ["`timeout_ms`", "from 1 to 600000"]),
        (r#"{"timeout_ms": 1.5}"#, ["`timeout_ms`", "whole number"]),
        (r#"{"timeout_ms": "1"}"#, ["`timeout_ms`", "whole number"]),
        (r#"{"tries": 0}"#, ["`tries`", "from 1 to 3"]),
        (r#"{"tries": 4}"#, ["`tries`", "from 1 to 3"]),
        (r#"{"tries": "1"}"#, ["`tries`", "whole number"]),
        (r#"{"timeout_ms": -1}"#, ["`timeout_ms`", "whole number"]),
        (r#"{"label": 1}"#, ["`label`", "string"]),
        (label.as_str(), ["`label`", "256"]),
        (r#"{"span": "1"}"#, ["`span`", "id of a span"]),
        (r#"{"span": 4294967296}"#, ["`span`", "id of a span"]),
        (r#"{"idempotency_key": ""}"#, ["`idempotency_key`", "1 to 256"]),
        (r#"{"idempotency_key": "a\nb"}"#, ["`idempotency_key`", "printable"]),
        (r#"{"idempotency_key": "ä"}"#, ["`idempotency_key`", "ASCII"]),
        (r#"{"idempotency_key": " a"}"#, ["`idempotency_key`", "printable"]),
        (long.as_str(), ["`idempotency_key`", "256"]),
        (huge.as_str(), ["`options`", "4096"]),
    ] {
        refused(code::BAD_OPTIONS, &request, options, &words);
    }
}

#[test]
fn a_body_over_its_limit_is_too_large() {
    let request = |size| json!({"method": "POST", "url": "https://example.com", "body": "a".repeat(size)});
    assert!(parse(&request(BODY_MAX_BYTES), "").is_ok());
    refused(code::TOO_LARGE, &request(BODY_MAX_BYTES + 1), "", &["8388609", "8388608"]);
}

#[test]
fn credentials_are_not_printed_with_a_request() {
    let request = good(json!({"url": "https://example.com", "headers": [["Authorization", "Bearer topsecret"]]}), "");
    assert!(!format!("{request:?}").contains("topsecret"));
}
