//! What crosses for HTTP.

use super::{Response, post};

#[test]
fn bodies_that_are_no_text_cross_as_base64() {
    let request = post("https://example.com").bytes([0xff, 0x00, 0x10]);
    assert_eq!(request.message.body_base64.as_deref(), Some("/wAQ"));
    let answer: Response =
        serde_json::from_str(r#"{"status": 200, "headers": [], "body_base64": "/wAQ", "tries": []}"#)
            .expect("as in the contract");
    assert!(answer.clone().text().is_err_and(|failure| !failure.retryable));
    assert_eq!(answer.bytes().expect("base64"), [0xff, 0x00, 0x10]);
}

#[test]
fn a_json_answer_that_does_not_fit_names_the_field() {
    let answer: Response = serde_json::from_str(r#"{"status": 200, "body": "{\"a\": {\"b\": \"x\"}}"}"#).expect("text");
    let failure = answer.json::<std::collections::BTreeMap<String, std::collections::BTreeMap<String, u8>>>();
    assert_eq!(failure.expect_err("b is text").message, "the body.a.b: invalid type: string \"x\", expected u8");
}
