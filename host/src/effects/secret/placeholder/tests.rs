use super::*;

fn value(text: &str) -> BTreeMap<SecretName, Secret> {
    let name = SecretName::new("KEY").expect("a name");
    BTreeMap::from([(name, Secret::new(text.to_owned()).expect("a secret"))])
}

#[track_caller]
fn check(part: &str, spelling: Spelling, expected: Option<&str>) {
    let whole = filled(part.as_bytes(), spelling, &value("a&b=\"c\"\n")).expect(part);
    let whole = whole.map(|whole| String::from_utf8(whole.to_vec()).expect("text"));
    assert_eq!(whole.as_deref(), expected, "{part}");
}

#[test]
fn a_value_stays_one_value() {
    check("<{{secret:KEY}}{{secret:KEY}}>", Spelling::Plain, Some("<a&b=\"c\"\na&b=\"c\"\n>"));
    check("\"{{secret:KEY}}\"", Spelling::Json, Some("\"a&b=\\\"c\\\"\\n\""));
    check("k={{secret:KEY}}&l", Spelling::Percent, Some("k=a%26b%3D%22c%22%0A&l"));
    check("k=%7B%7bsecret%3aKEY%7D}", Spelling::Percent, Some("k=a%26b%3D%22c%22%0A"));
}

#[test]
fn other_text_stays_as_it_is() {
    for text in ["", "{", "{{", "{{ secret:KEY}}", "{{secret", "{{SECRET:KEY}}", "secret:KEY", "\u{e9}{{}}"] {
        check(text, Spelling::Plain, None);
    }
    check("%7B%7Bsecret%3AKEY%7D%7D", Spelling::Plain, None);
    check("%7B%7Bsecret%3AKEY%7D%7D", Spelling::Json, None);
    check("%", Spelling::Percent, None);
    check("%7", Spelling::Percent, None);
    check("%zz", Spelling::Percent, None);
}

#[test]
fn a_name_that_has_no_value_stays_as_it_is() {
    check("{{secret:OTHER}}", Spelling::Plain, Some("{{secret:OTHER}}"));
}

#[test]
fn what_begins_as_a_placeholder_and_is_none_is_refused() {
    let long = format!("{{{{secret:{}}}}}", "K".repeat(65));
    for text in [
        "{{secret:",
        "{{secret:}}",
        "{{secret:KEY",
        "{{secret:KEY}",
        "{{secret:K Y}}",
        "x{{secret:{{secret:KEY}}}}",
        &long,
    ] {
        let failure = names(text.as_bytes(), Spelling::Plain).expect_err(text);
        assert_eq!((failure.code.as_str(), failure.retryable), (code::BAD_REQUEST, false), "{text}");
    }
}
