//! What cannot be a tool, and what an agent does not take as one.

use trackway_sdk::prelude::*;

#[tool]
fn undescribed(word: String) -> String {
    word
}

/// Takes two things.
#[tool]
fn two_inputs(a: u32, b: u32) -> u32 {
    a + b
}

/// Has a name that models do not take.
#[tool(name = "look.up")]
fn misnamed(word: String) -> String {
    word
}

/// Is tried again.
#[tool(retries = 3)]
fn retried(word: String) -> String {
    word
}

/// Takes steps.
#[tool]
async fn steps(ctx: Ctx, word: String) -> String {
    word
}

fn plain(word: String) -> String {
    word
}

fn agent() -> Agent {
    Agent::new("worker").tool(plain)
}

fn main() {}
