use serde_json::json;

use super::*;
use crate::prelude::*;
use crate::testing::{Host, HttpResponse};

/// What to look for.
#[value]
struct Query {
    /// The words.
    words: String,
    #[serde(default)]
    #[schemars(range(min = 1, max = 10))]
    pages: u8,
}

/// Looks in the library.
///
/// Only in the new one.
#[tool]
async fn search(_ctx: FnCtx, query: Query) -> Result<Vec<String>, Failure> {
    Ok(vec![query.words; usize::from(query.pages)])
}

/// Throws a die.
#[tool(name = "throw-die", needs_approval)]
fn throw() -> u8 {
    4
}

/// Doubles a number.
#[tool]
fn double(number: u32) -> u32 {
    number * 2
}

/// Fetches a page.
#[tool]
async fn fetch(url: String) -> Result<String, Failure> {
    http::get(url).send().await?.text()
}

#[test]
fn a_model_is_told_name_description_and_schema() {
    let spec = search.into_tool().spec().expect("its name is one");
    assert_eq!(
        (spec.name.as_str(), spec.description.as_str()),
        ("search", "Looks in the library.\n\nOnly in the new one.")
    );
    assert_eq!(spec.input["type"], "object");
    assert_eq!(spec.input["properties"]["words"]["description"], "The words.");
    assert_eq!(spec.input["required"], json!(["words"]));
    assert_eq!(spec.input.get("$schema"), None);
    let spec = throw.into_tool().spec().expect("its name is one");
    assert_eq!((spec.name.as_str(), &spec.input), ("throw-die", &json!({ "type": "object", "properties": {} })));
}

#[test]
fn an_input_that_is_no_object_is_put_into_one() {
    let tool = double.into_tool();
    let spec = tool.spec().expect("its name is one");
    assert_eq!(spec.input["properties"]["input"]["type"], "integer");
    assert_eq!(tool.read(r#"{"input": 4}"#), Ok(json!(4)));
    assert_eq!(tool.read("4"), Err("arguments: expected object, not number".to_owned()));
}

#[test]
fn a_schema_that_refers_to_itself_still_does_within_an_object() {
    #[value]
    #[serde(untagged)]
    enum Tree {
        Leaf(u8),
        Branches(Vec<Tree>),
    }
    /// Adds up.
    #[tool]
    fn sum(_tree: Tree) -> u8 {
        0
    }
    let tool = sum.into_tool();
    assert!(tool.read(r#"{"input": [1, [2, [3]]]}"#).is_ok());
    assert!(tool.read(r#"{"input": [1, [2, ["three"]]]}"#).is_err());
}

#[test]
fn arguments_are_read_and_what_is_wrong_is_told() {
    let tool = search.into_tool();
    assert_eq!(tool.read(r#"{"words": "tides", "pages": 2}"#), Ok(json!({ "words": "tides", "pages": 2 })));
    for (arguments, told) in [
        ("", "arguments: `words` is missing"),
        ("{", "arguments: EOF while parsing an object"),
        (r#"{"words": 7}"#, "arguments.words: expected string, not number"),
        (r#"{"words": "a", "pages": 11}"#, "arguments.pages: it is more than 10"),
        (r#"{"words": "a", "pages": 1e999}"#, "arguments.pages: number out of range"),
    ] {
        assert_eq!(tool.read(arguments), Err(told.to_owned()), "{arguments}");
    }
    assert!(tool.read(&"[".repeat(100_000)).is_err());
    assert_eq!(throw.into_tool().read("  "), Ok(json!({})));
}

#[test]
fn how_an_agent_has_it_can_be_said_where_it_is_given() {
    assert!(throw.into_tool().asks.is_some() && double.into_tool().asks.is_none());
    let tool = double.needs_approval().fatal().named("twice").described("Doubles.");
    assert!(tool.asks.is_some() && tool.is_fatal);
    let spec = tool.spec().expect("its name is one");
    assert_eq!((spec.name.as_str(), spec.description.as_str()), ("twice", "Doubles."));
    assert_eq!(double.named("no name").spec().expect_err("it is none").code, "BAD_REQUEST");
}

#[test]
fn tools_can_be_tried_by_themselves() {
    assert_eq!(double(4).run().expect("it succeeds"), 8);
    let host = Host::new().on_http(|_| HttpResponse::new(200, "a page"));
    assert_eq!(host.call_tool(fetch("https://example.com".into())).expect("it succeeds"), "a page");
}
