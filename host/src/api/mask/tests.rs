use super::*;
use crate::api::{Needs, ROUTES};

fn mask() -> Mask {
    Mask::new(["password", "Authorization"]).expect("names of fields")
}

#[test]
fn a_field_is_masked_by_its_name_wherever_it_stands() {
    for (shown, expected) in [
        (r#"{"password":"x","b":1.50}"#, r#"{"password":"[redacted]","b":1.50}"#),
        (r#"{"a":[{"PassWord":{"in":[1]}}]}"#, r#"{"a":[{"PassWord":"[redacted]"}]}"#),
        (r#"{"pass\u0077ord":1}"#, r#"{"password":"[redacted]"}"#),
        (
            r#"{"headers":[["authorization","Bearer x"],["accept","*"]]}"#,
            r#"{"headers":[["authorization","[redacted]"],["accept","*"]]}"#,
        ),
        (r#"[{"value":"x","name":"password"}]"#, r#"[{"value":"[redacted]","name":"password"}]"#),
        (r#"{"body":"{\"password\":\"x\",\"b\":1}"}"#, r#"{"body":"{\"password\":\"[redacted]\",\"b\":1}"}"#),
        (r#"{"body":"[\"{\\\"password\\\":1}\"]"}"#, r#"{"body":"[\"{\\\"password\\\":\\\"[redacted]\\\"}\"]"}"#),
        (r#"{"url":"/login?password=x"}"#, r#"{"url":"[redacted]"}"#),
        (r#"{"message":"\"x\" is no number at /password"}"#, r#"{"message":"[redacted]"}"#),
        (r#"{"body":"data: {\"password\": \"x"}"#, r#"{"body":"[redacted]"}"#),
        (r#"{"body_base64":"eyJwYXNzd29yZCI6ICJ4In0="}"#, r#"{"body_base64":"[redacted]"}"#),
        (r#"{"a":"\ud800"}"#, r#"{"a":"[redacted]"}"#),
        (r#"{"body":"user%5Bpassword%5D=x"}"#, r#"{"body":"[redacted]"}"#),
        (r#"{"log":"Some('a\\npassword: x')"}"#, r#"{"log":"[redacted]"}"#),
        (r#"{"log":"\\u0022password\\u0022: x"}"#, r#"{"log":"[redacted]"}"#),
        ("nothing", "\"[redacted]\""),
    ] {
        assert_eq!(mask().json(shown, 0).as_deref(), Some(expected), "{shown}");
    }
}

#[test]
fn what_names_no_field_stays_byte_for_byte() {
    for shown in [
        r#"{"b" : 1.50, "c":[1e3, 18446744073709551616], "d":"passwords", "e":"my_password"}"#,
        r#"{"role":"password"}"#,
        r#"["a","\u0061"]"#,
        "7",
        "null",
    ] {
        assert_eq!(mask().json(shown, 0), None, "{shown}");
    }
}

#[test]
fn what_is_nested_too_deep_is_masked_as_a_whole() {
    let deep = format!("{}{}{}", "[".repeat(100_000), r#"{"password":1}"#, "]".repeat(100_000));
    let masked = mask().json(&deep, 0).expect("it is too deep");
    assert!(masked.contains(MASKED) && !masked.contains("password"), "{masked}");
}

#[test]
fn events_are_masked_and_pieces_of_texts_are_not_shown() {
    let event = "id: 7\nevent: event\ndata: {\"data\":{\"password\":1}}\n\n";
    assert_eq!(mask().event(event), "id: 7\nevent: event\ndata: {\"data\":{\"password\":\"[redacted]\"}}\n\n");
    let delta = "event: delta\ndata: {\"number\":3,\"data\":\"hun\"}\n\n";
    assert_eq!(mask().event(delta), "event: delta\ndata: {\"number\":3,\"data\":\"[redacted]\"}\n\n");
    let open = "event: event\ndata: {\"a\":\ndata: 1}\n\n";
    assert_eq!(mask().event(open), open);
    assert_eq!(mask().event(":\n\n"), ":\n\n");
}

#[test]
fn rules_of_a_tenant_are_added_to_those_of_the_server() {
    let both = Mask { of_tenant: Arc::new(BTreeSet::from(["ssn".to_owned()])), ..mask() };
    let shown = r#"{"password":1,"ssn":2,"url":"/?ssn=2","open":3}"#;
    let masked = r#"{"password":"[redacted]","ssn":"[redacted]","url":"[redacted]","open":3}"#;
    assert_eq!(both.json(shown, 0).as_deref(), Some(masked));
    let alone = Mask { of_tenant: both.of_tenant, ..Mask::default() };
    assert_eq!(alone.json(r#"{"password":1}"#, 0), None);
    assert!(!alone.is_empty() && Mask::default().is_empty());
}

#[test]
fn rules_of_a_tenant_hold_for_every_path_but_those_about_all_tenants_and_about_none() {
    for route in ROUTES {
        let of_all = route.path.starts_with("/v1/tenants") || route.path.starts_with("/v1/store/");
        let of_none = WITHOUT_VALUES.contains(&route.path);
        let expected = match (of_all, of_none) {
            (true, _) => Rules::Server,
            (_, true) => Rules::None,
            _ => Rules::Tenant,
        };
        assert_eq!(Rules::of(Some(route)), expected, "{route:?}");
        assert!(!of_all || route.needs == Needs::Operator, "{route:?}");
    }
    assert_eq!(Rules::of(None), Rules::Tenant);
}

/// What is given of a stream of these pieces, whose tenant makes a rule after so many of them.
async fn streamed(pieces: &[&'static str], rule_after: usize) -> String {
    let of_tenant = Arc::new(Redacted::default());
    let (send, receive) = tokio::sync::mpsc::channel::<std::result::Result<Bytes, std::io::Error>>(1);
    let stream = futures_util::stream::unfold(receive, async |mut receive| Some((receive.recv().await?, receive)));
    let head = [(header::CONTENT_TYPE, "text/event-stream")];
    let response = (head, Body::from_stream(Box::pin(stream))).into_response();
    let shown = Mask::default().apply(None, Some(Arc::clone(&of_tenant)), response).await;
    let mut shown = shown.into_body().into_data_stream();
    let mut text = String::new();
    for (number, piece) in pieces.iter().enumerate() {
        if number == rule_after {
            of_tenant.set(Arc::new(BTreeSet::from(["password".to_owned()])));
        }
        send.send(Ok(Bytes::from(*piece))).await.expect("it is read");
        let given = shown.next().await.expect("a piece").expect("nothing goes wrong");
        text.push_str(&String::from_utf8_lossy(&given));
    }
    text
}

#[tokio::test]
async fn a_rule_holds_at_once_for_a_stream_that_is_open() {
    let event = "data: {\"password\":\"x\"}\n\n";
    let masked = "data: {\"password\":\"[redacted]\"}\n\n";
    assert_eq!(streamed(&[event, event], 1).await, format!("{event}{masked}"));
    // One that has come in part is held back until it is whole.
    assert_eq!(streamed(&["data: {\"password", "\":\"x\"}\n\n", event], 1).await, format!("{masked}{masked}"));
    assert_eq!(streamed(&["data: {\"password", "\":\"x\"}\n\n", event], 2).await, format!("{event}{masked}"));
}
