//! Failures of reading name the field.

use serde::Deserialize;

use super::read;

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only its reading matters")]
struct Order {
    #[serde(default)]
    items: Vec<Item>,
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only its reading matters")]
struct Item {
    name: String,
    count: u32,
}

fn message(text: &str) -> String {
    read::<Order>(text, "input").expect_err("the text is wrong")
}

#[test]
fn a_wrong_type_is_told_with_its_path() {
    assert_eq!(
        message(r#"{"items": [{"name": "a", "count": 1}, {"name": "b", "count": "two"}]}"#),
        "input.items[1].count: invalid type: string \"two\", expected u32"
    );
    assert_eq!(message(r#"{"note": 7}"#), "input.note: invalid type: integer `7`, expected a string");
    assert_eq!(message("7"), "input: invalid type: integer `7`, expected struct Order");
}

#[test]
fn a_missing_field_is_told_with_the_path_of_its_object() {
    assert_eq!(message(r#"{"items": [{"name": "a"}]}"#), "input.items[0]: missing field `count`");
    assert_eq!(message("{\"items\": [\n {\"count\": 3}\n]}"), "input.items[0]: missing field `name`");
}

#[test]
fn quotes_and_brackets_in_text_do_not_mislead() {
    assert_eq!(
        message(r#"{"items": [{"name": "\"},{[\\", "count": -1}]}"#),
        "input.items[0].count: invalid value: integer `-1`, expected u32"
    );
}

#[test]
fn text_that_is_no_json_is_refused_whatever_it_is() {
    for text in ["", "{", "[1", "\"", "{\"items\": [{\"name\": \"é", "nul", "{\"note\": \"\\"] {
        assert!(message(text).starts_with("input"), "{text}");
    }
}
