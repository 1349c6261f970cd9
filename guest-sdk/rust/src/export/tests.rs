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
    hosts = ["example.com", "http://127.0.0.1:8080"],
    secrets = ["KEY=example.com", "OTHER_KEY:query,body=http://127.0.0.1:8080"]
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

/// Says what it thinks.
#[agent(models = ["openai/gpt-4o-mini", "anthropic/*"], retries = 7)]
async fn think(_ctx: FnCtx) -> Result<String, Failure> {
    Ok(String::new())
}

#[agent(resume = false, timeout = "30s", mcp = ["library"])]
async fn forgetful() {}

/// Looks it up.
#[tool]
fn look_up(page: Page) -> String {
    page.url
}

prompt!(Greeting = "src/prompt/greeting.md");

#[workflow(signals(nudge: u8), updates(count: Page -> usize, stop: ()))]
async fn takes(_ctx: Ctx) {}

const ITEMS: &[Item] = &[
    <look as Export>::ITEM,
    <count as Export>::ITEM,
    <nothing as Export>::ITEM,
    <empty as Export>::ITEM,
    <think as Export>::ITEM,
    <forgetful as Export>::ITEM,
    <look_up as Export>::ITEM,
    <Greeting as Export>::ITEM,
    <takes as Export>::ITEM,
];

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
    assert_eq!(function["secrets"], json!(["KEY=example.com", "OTHER_KEY:query,body=http://127.0.0.1:8080"]));
    assert_eq!(manifest["workflows"][0]["name"], "look-around");
}

#[test]
fn agents_go_on_with_what_a_failed_attempt_had_done() {
    let functions = manifest()["functions"].clone();
    assert_eq!(functions[2]["retry"], json!({ "attempts": 8, "resume": true }));
    assert_eq!(functions[2]["timeout_ms"], 3_600_000);
    assert_eq!(functions[2]["models"], json!(["openai/gpt-4o-mini", "anthropic/*"]));
    assert_eq!((&functions[3]["retry"], &functions[3]["timeout_ms"]), (&json!({ "resume": false }), &json!(30_000)));
    assert_eq!(functions[3]["mcp"], json!(["library"]));
}

#[test]
fn tools_and_prompts_are_listed() {
    let manifest = manifest();
    let tool = &manifest["tools"][0];
    assert_eq!((&tool["name"], &tool["doc"]), (&json!("look_up"), &json!("Looks it up.")));
    assert_eq!((&tool["input"]["type"], &tool["output"]["type"]), (&json!("object"), &json!("string")));
    let prompt = &manifest["prompts"][0];
    assert_eq!(prompt["name"], "greeting");
    assert_eq!(prompt["text"], "Greet {{name}} in {{ language }}.\nBe brief.");
    assert_eq!(prompt["version"].as_str().map(str::len), Some(16));
}

#[test]
fn a_tool_is_called_by_agents_only() {
    let failure = run(ITEMS, "look_up", "null", "").expect_err("it is no workflow");
    assert!(failure.contains("UNKNOWN_FUNCTION"), "{failure}");
}

#[test]
fn what_a_workflow_takes_and_answers_reaches_the_manifest() {
    let takes = &manifest()["workflows"][2];
    let (count, stop) = (&takes["updates"][0], &takes["updates"][1]);
    assert_eq!(
        (&count["schema"]["description"], &count["output"]["type"]),
        (&json!("What to count."), &json!("integer"))
    );
    assert_eq!((&stop["schema"]["type"], stop.get("output")), (&json!("null"), None));
    assert_eq!((&takes["signals"][0]["schema"]["type"], takes["signals"][0].get("output")), (&json!("integer"), None));
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
