use super::*;

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
fn words_of_the_api_and_what_is_no_name_are_refused() {
    for bad in ["status", "KEY", "rows", "", " ", "a\"b", "a\nb"] {
        assert!(Mask::new([bad]).is_err(), "{bad}");
    }
    let long = "x".repeat(FIELD_MAX_BYTES + 1);
    assert!(Mask::new([long.as_str()]).is_err());
    let many: Vec<String> = (0..=FIELDS_MAX).map(|number| format!("f{number}")).collect();
    assert!(Mask::new(many.iter().map(String::as_str)).is_err());
    for good in ["password", "ssn", "authorization", "token", "x-api-key", "größe"] {
        assert!(Mask::new([good]).is_ok(), "{good}");
    }
}
