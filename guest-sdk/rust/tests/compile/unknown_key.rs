//! Keys that the attributes do not have.

use trackway_sdk::prelude::*;

#[function(retrys = 5)]
fn misspelt() {}

#[function(retries = 5, retries = 6)]
fn twice() {}

#[function(hosts)]
fn without_value() {}

#[workflow(timeout = "30s")]
async fn not_of_workflows(ctx: Ctx) {}

#[value(name = "x")]
struct Thing {
    number: u8,
}

fn main() {}
