//! What reaches the manifest, and what the three exports answer.

use serde_json::{Value as Json, json};

use super::{Export, Item, call, describe, run};
use crate::prelude::*;

/// What to count.
#[value]
struct Page {
    /// Where it is.
    url: String,
    depth: Option<u8>,
}

/// Counts the words
/// of a page.
///
/// And its links.
#[function(
    retries = 5,
    backoff = "200ms",
    factor = 1.5,
    backoff_max = "1m",
    jitter = 0.5,
    timeout = "30s",
    hosts = ["example.com", "http://127.0.0.1:8080"]
)]
async fn count(_ctx: FnCtx, page: Page) -> Result<usize, Failure> {
    Ok(page.url.len() + usize::from(page.depth.unwrap_or_default()))
}

#[function]
fn nothing() {}

/// Looks around.
#[workflow(name = "look-around", run_timeout = "2h", cancel_grace = "5m")]
async fn look(_ctx: Ctx, pages: Vec<Page>) -> Result<usize, Failure> {
    Ok(pages.len())
}

#[workflow]
async fn empty(_ctx: Ctx) -> u8 {
    7
}

const ITEMS: &[Item] =
    &[<look as Export>::ITEM, <count as Export>::ITEM, <nothing as Export>::ITEM, <empty as Export>::ITEM];

fn manifest() -> Json {
    serde_json::from_str(&describe(ITEMS)).expect("the manifest is JSON")
}

#[test]
fn names_docs_and_policies_reach_the_manifest() {
    let manifest = manifest();
    assert_eq!(manifest["contract"], "0.1");
    assert_eq!(manifest["sdk"]["language"], "rust");
    assert_eq!(manifest["workflows"][0]["run_timeout_ms"], 7_200_000);
    assert_eq!(manifest["workflows"][0]["cancel_grace_ms"], 300_000);
    let function = &manifest["functions"][0];
    assert_eq!(function["name"], "count");
    assert_eq!(function["doc"], "Counts the words\nof a page.\n\nAnd its links.");
    assert_eq!(
        function["retry"],
        json!({ "attempts": 6, "backoff_ms": 200, "factor": 1.5, "backoff_max_ms": 60_000, "jitter": 0.5 })
    );
    assert_eq!(function["timeout_ms"], 30_000);
    assert_eq!(function["hosts"], json!(["example.com", "http://127.0.0.1:8080"]));
    assert_eq!(manifest["workflows"][0]["name"], "look-around");
}

#[test]
fn what_is_left_out_is_left_to_the_host() {
    let function = &manifest()["functions"][1];
    let keys: Vec<_> = function.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["name", "output"]);
}

#[test]
fn schemas_carry_the_docs_of_types_and_fields() {
    let input = &manifest()["functions"][0]["input"];
    assert_eq!(input["description"], "What to count.");
    assert_eq!(input["properties"]["url"], json!({ "type": "string", "description": "Where it is." }));
    assert_eq!(input["required"], json!(["url"]));
    assert_eq!(manifest()["functions"][0]["output"]["type"], "integer");
}

#[test]
fn the_exports_find_what_was_named_and_refuse_the_rest() {
    assert_eq!(run(ITEMS, "look-around", r#"[{"url": "a"}]"#, "{}"), Ok("1".to_owned()));
    assert_eq!(run(ITEMS, "empty", r#"{"ignored": true}"#, ""), Ok("7".to_owned()));
    assert_eq!(call(ITEMS, "nothing", "null", "{}"), Ok("null".to_owned()));
    assert_eq!(call(ITEMS, "count", r#"{"url": "abc", "depth": 2}"#, "{}"), Ok("5".to_owned()));
    for (answer, what) in [(run(ITEMS, "count", "{}", "{}"), "workflow"), (call(ITEMS, "look", "{}", "{}"), "function")]
    {
        assert!(answer.expect_err("not exported as that").contains(&format!("there is no {what}")));
    }
}

#[test]
fn an_input_that_does_not_fit_is_a_permanent_failure_that_names_the_field() {
    let failure = call(ITEMS, "count", r#"{"url": "a", "depth": "deep"}"#, "{}").expect_err("depth is a number");
    let failure: Json = serde_json::from_str(&failure).expect("a failure is JSON");
    assert_eq!(failure["code"], "BAD_INPUT");
    assert_eq!(failure["retryable"], false);
    assert_eq!(failure["message"], "input.depth: invalid type: string \"deep\", expected u8");
}
