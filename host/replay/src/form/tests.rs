use super::*;

const FORM: &str = r#"{"title": "Pay?", "fields": [
    {"name": "ok", "kind": "approval"},
    {"name": "how", "kind": "choice", "options": ["card", "bank"], "required": false},
    {"name": "tags", "kind": "several", "options": ["a", "b"], "required": false},
    {"name": "why", "kind": "text", "label": "Why?"}
], "timeout_ms": 1000, "assignee": "ann"}"#;

fn check(answer: &str, wanted: Result<(), &str>) {
    let form = Form::read(FORM).expect("the form can be read");
    let checked = form.check(answer);
    assert_eq!(checked.as_ref().map_err(String::as_str).copied(), wanted, "{answer}");
}

#[test]
fn an_answer_has_a_value_for_each_field() {
    check(r#"{"ok": true, "why": "because"}"#, Ok(()));
    check(r#"{"ok": false, "why": "no", "how": "bank", "tags": ["b", "a"]}"#, Ok(()));
    check(r#"{"ok": true, "why": "x", "how": null, "tags": []}"#, Ok(()));
}

#[test]
fn what_does_not_fit_is_named() {
    check(r#"{"why": "x"}"#, Err("`ok` is missing"));
    check(r#"{"ok": "yes", "why": 1}"#, Err("`ok` must be true or false; `why` must be text"));
    check(r#"{"ok": true, "why": ""}"#, Err("`why` is empty"));
    check(r#"{"ok": true, "why": "x", "how": "cash"}"#, Err("`how` must be one of `card`, `bank`"));
    check(
        r#"{"ok": true, "why": "x", "tags": ["a", "a"]}"#,
        Err("`tags` must be a list of some of `a`, `b`, each once"),
    );
    check(r#"{"ok": true, "why": "x", "more": 1}"#, Err("there is no field `more`"));
    let form = Form::read(FORM).expect("the form can be read");
    assert!(form.check("[true]").is_err() && form.check("{").is_err());
}

#[test]
fn a_form_that_nobody_could_answer_is_refused() {
    let refused = |text: &str| Form::read(text).expect_err("it is no form");
    assert!(refused(r#"{"fields": []}"#).contains("title"));
    assert!(refused(r#"{"title": "", "fields": []}"#).contains("`title`"));
    assert!(refused(r#"{"title": "x", "colour": 1}"#).contains("colour"));
    assert!(refused(r#"{"title": "x", "fields": [{"name": "a", "kind": "choice"}]}"#).contains("`a` has 0 options"));
    assert!(refused(r#"{"title": "x", "fields": [{"name": "a", "kind": "date"}]}"#).contains("date"));
    let twice = r#"{"title": "x", "fields": [{"name": "a", "kind": "text"}, {"name": "a", "kind": "text"}]}"#;
    assert!(refused(twice).contains("two fields"));
    assert!(refused(&format!(r#"{{"title": "{}"}}"#, "x".repeat(FORM_MAX_BYTES))).contains("bytes"));
}
