use super::*;

fn catalog(workflow: &str) -> Result<Catalog> {
    let manifest = format!(r#"{{"contract":"0.1","workflows":[{workflow}]}}"#);
    Catalog::of(&Manifest::read(&manifest)?)
}

fn check(schema: &str, input: &str) -> Result<()> {
    catalog(&format!(r#"{{"name":"w","input":{schema}}}"#)).expect("the schema is usable").check("w", input)
}

#[test]
fn an_input_that_fits_is_taken() {
    let schema = r##"{"type":"array","items":{"$ref":"#/$defs/url"},"$defs":{"url":{"type":"string","minLength":1}}}"##;
    for input in ["[]", r#"["a", "b"]"#] {
        check(schema, input).expect("it fits");
    }
}

#[test]
fn every_place_that_breaks_the_schema_is_named_and_no_value_is_repeated() {
    let schema = r#"{"type":"object","properties":{"urls":{"type":"array","items":{"type":"string"}}}}"#;
    let error = check(schema, r#"{"urls":["a", 31337, {"secret": 1}]}"#).expect_err("two of three are wrong");
    assert_eq!(error.code, Code::InputBreaksSchema);
    assert!(error.message.contains("at /urls/1: "), "{error}");
    assert!(error.message.contains("at /urls/2: "), "{error}");
    assert!(!error.message.contains("31337") && !error.message.contains("secret"), "{error}");
}

#[test]
fn of_many_errors_the_first_are_shown() {
    let error = check(r#"{"items":{"type":"string"}}"#, "[1,2,3,4,5,6,7]").expect_err("all are wrong");
    assert!(error.message.contains("/4") && !error.message.contains("/5"), "{error}");
    assert!(error.message.ends_with("and more"), "{error}");
}

#[test]
fn without_a_schema_any_json_is_taken_and_nothing_else() {
    let catalog = catalog(r#"{"name":"w"}"#).expect("a catalog");
    for input in ["null", "7", r#"{"a":[1.0]}"#] {
        catalog.check("w", input).expect("it is JSON");
    }
    for input in ["", "{", "{} {}", "undefined", "'a'"] {
        assert_eq!(catalog.check("w", input).expect_err(input).code, Code::InputNotJson, "{input}");
    }
}

#[test]
fn input_nested_without_end_is_an_error_and_no_crash() {
    let deep = "[".repeat(100_000);
    assert_eq!(check("{}", &deep).expect_err("too deep").code, Code::InputNotJson);
    assert_eq!(check("{}", &format!("{deep}{}", "]".repeat(100_000))).expect_err("too deep").code, Code::InputNotJson);
}

#[test]
fn a_schema_that_looks_outside_or_makes_no_sense_is_refused() {
    for schema in [
        r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#,
        r#"{"$ref":"https://example.com/schema.json"}"#,
        r#"{"$ref":"file:///etc/hostname"}"#,
        r#"{"type":"nonsense"}"#,
        r#"{"pattern":"("}"#,
    ] {
        let error = catalog(&format!(r#"{{"name":"w","input":{schema}}}"#)).err().expect(schema);
        assert_eq!(error.code, Code::BadManifest, "{schema}");
    }
}

#[test]
fn a_pattern_takes_linear_time() {
    let input = format!("\"{}!\"", "a".repeat(100_000));
    assert_eq!(check(r#"{"pattern":"^(a+)+$"}"#, &input).expect_err("it ends with !").code, Code::InputBreaksSchema);
}

#[test]
fn a_start_without_input_is_told_what_the_workflow_takes() {
    for (schema, words) in [
        (r#"{"type":"integer","minimum":0}"#, "takes a whole number (integer)"),
        (r#"{"type":"object","required":["url","depth"]}"#, "takes an object with `url`, `depth`"),
        (r#"{"type":["string","null"]}"#, "takes one that its schema describes"),
    ] {
        let catalog = catalog(&format!(r#"{{"name":"w","input":{schema}}}"#)).expect("the schema is usable");
        let error = catalog.wants_input("w");
        assert!(error.message.contains("no input was given") && error.message.contains(words), "{error}");
        assert!(error.hint.is_some_and(|hint| hint.contains("trackway run w -i JSON")));
    }
}

#[tokio::test]
async fn a_check_without_an_end_costs_its_own_start_and_no_more() {
    let references = vec![r##"{"$ref":"#"}"##; 500].join(",");
    let catalog = catalog(&format!(r#"{{"name":"w","input":{{"allOf":[{references}]}}}}"#)).expect("it is a schema");
    let (catalog, workflow) = (Arc::new(catalog), Arc::from("w"));
    let input = Arc::from("1");
    let time_max = Duration::from_millis(1);
    let checks = [(); 3].map(|()| check_within(&catalog, &workflow, &input, None, time_max));
    // The third one does not even get a thread.
    for check in checks {
        let error = check.await.expect_err("it takes too long");
        assert_eq!(error.code, Code::InputBreaksSchema);
        assert!(error.to_string().contains("takes more than it may"), "{error}");
    }
}

#[test]
fn a_workflow_that_declares_its_signals_takes_no_others() {
    let declared = r#"{"name":"w","signals":[{"name":"paid","schema":{"type":"integer"}},{"name":"nudge"}]}"#;
    let catalog = catalog(declared).expect("the schema is usable");
    let error = catalog.check_signal_name("w", "payed").expect_err("it is not declared");
    assert_eq!(error.code, Code::NoSuchSignal);
    assert_eq!(error.hint.as_deref(), Some("it takes: `nudge`, `paid`"));
    let check = |name: &str, payload: &str| {
        catalog.check_signal_name("w", name).expect("it is declared");
        catalog.check(&signal_of("w", name), payload)
    };
    check("paid", "3").expect("it fits");
    check("nudge", "[null]").expect("it has no schema");
    assert_eq!(check("nudge", "[").expect_err("not JSON").code, Code::InputNotJson);
    let error = check("paid", "true").expect_err("no number");
    assert_eq!(error.code, Code::InputBreaksSchema);
    assert!(error.message.contains("`w, signal paid`"), "{error}");
}

#[test]
fn a_workflow_that_declares_no_signals_takes_any() {
    catalog(r#"{"name":"w"}"#).expect("it is a workflow").check_signal_name("w", "whatever").expect("any");
}
