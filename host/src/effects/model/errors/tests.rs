//! Which trouble is which, by what providers say.

use super::*;

fn check(status: u16, body: &str, expected: Trouble) {
    let told = Told::of_body(body);
    assert_eq!(of_status(StatusCode::from_u16(status).expect("a status"), &told), expected, "{status} {body}");
}

#[test]
fn troubles_are_told_apart_by_status_and_words() {
    use Trouble::*;
    check(429, r#"{"error":{"message":"Slow down","type":"requests","code":"rate_limit_exceeded"}}"#, RateLimited);
    check(
        429,
        r#"{"error":{"message":"You ran out","type":"insufficient_quota","code":"insufficient_quota"}}"#,
        Failed,
    );
    check(429, r#"{"type":"error","error":{"type":"rate_limit_error","message":"x"}}"#, RateLimited);
    check(401, r#"{"error":{"message":"Incorrect API key","code":"invalid_api_key"}}"#, Auth);
    check(403, r#"{"error":{"message":"not in your region"}}"#, Auth);
    check(403, r#"{"error":{"message":"Your input was flagged","code":403}}"#, Refused);
    check(404, r#"{"error":{"message":"no such model","code":"model_not_found"}}"#, Unknown);
    check(400, r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#, ContextTooLong);
    check(
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#,
        ContextTooLong,
    );
    check(400, r#"{"error":"the request exceeds the available context size"}"#, ContextTooLong);
    check(413, r#"{"type":"error","error":{"type":"request_too_large","message":"x"}}"#, ContextTooLong);
    check(400, r#"{"error":{"message":"x","code":"content_filter"}}"#, Refused);
    check(400, r#"{"error":{"message":"`temperature` is wrong"}}"#, Failed);
    check(402, "{}", Failed);
    check(500, "oops", Overloaded);
    check(529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Overloaded);
    check(504, "", Timeout);
    check(302, "", Broken);
}

#[test]
fn an_error_in_the_middle_of_an_answer_is_told_by_its_words() {
    let told = |kind: &str, code: &str| Told { kind: kind.into(), code: code.into(), message: "m".into() }.trouble();
    assert_eq!(told("overloaded_error", ""), Some(Trouble::Overloaded));
    assert_eq!(told("", "rate_limit_exceeded"), Some(Trouble::RateLimited));
    assert_eq!(told("", "context_length_exceeded"), Some(Trouble::ContextTooLong));
    assert_eq!(told("server_error", ""), Some(Trouble::Overloaded));
    assert_eq!(told("", "502"), Some(Trouble::Overloaded));
    assert_eq!(told("invalid_request_error", ""), Some(Trouble::Failed));
    assert_eq!(told("what", "ever"), None);
}

#[test]
fn a_key_that_a_provider_repeats_is_not_shown() {
    assert_eq!(shown("Incorrect key: sk-secret.\u{1b}[31m", Some("sk-secret")), "Incorrect key: [key].[31m");
    assert_eq!(shown(&"x".repeat(5_000), None).len(), 1_000);
    assert_eq!(Told::of_body("plain words").message, "plain words");
    assert_eq!(Told::of_body("[1,2").message, "[1,2");
}
