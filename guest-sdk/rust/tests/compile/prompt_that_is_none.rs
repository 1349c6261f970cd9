//! Prompts without a file, and files with fields that are not given.

use trackway_sdk::prelude::*;

prompt!(Missing = "prompts/missing.md");

prompt!("prompts/missing.md");

#[agent(models = ["gpt-4o-mini"])]
async fn no_provider() {}

#[agent(models = "openai/gpt-4o-mini")]
async fn no_list() {}

fn main() {}
