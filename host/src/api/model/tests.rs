use super::*;

#[test]
fn a_start_keeps_the_bytes_of_its_input() {
    let text = r#"{"workflow":"a/b","input":{"z":1.0e+05, "a": "\u0041"}}"#;
    let start: Start = serde_json::from_str(text).expect("a valid start");
    assert_eq!(start.input.as_ref().expect("it was given").get(), r#"{"z":1.0e+05, "a": "\u0041"}"#);
    assert_eq!(serde_json::to_string(&start).expect("plain text"), text);
}

#[test]
fn an_input_of_null_is_told_apart_from_none() {
    let given: Start = serde_json::from_str(r#"{"workflow":"w","input":null}"#).expect("a valid start");
    assert_eq!(given.input.expect("it was given").get(), "null");
    let absent: Start = serde_json::from_str(r#"{"workflow":"w"}"#).expect("a valid start");
    assert!(absent.input.is_none());
}

#[test]
fn an_unknown_field_of_a_start_is_refused_by_name() {
    let error = serde_json::from_str::<Start>(r#"{"workflow":"w","inputs":1}"#).expect_err("no such field");
    assert!(error.to_string().contains("inputs"), "{error}");
}
