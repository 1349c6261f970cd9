//! Keys with values that mean nothing.

use trackway_sdk::prelude::*;

#[function(backoff = "30 parsecs")]
fn unknown_unit() {}

#[function(backoff = 200)]
fn without_unit() {}

#[function(timeout = "1000h")]
fn too_long() {}

#[function(timeout = "0s")]
fn no_time() {}

#[function(retries = 100)]
fn too_often() {}

#[function(factor = 0.5)]
fn shrinking() {}

#[function(jitter = -1)]
fn negative() {}

#[function(hosts = "example.com")]
fn one_host() {}

#[function(secrets = ["KEY"])]
fn secret_for_nobody() {}

#[function(secrets = ["KEY:path=example.com"])]
fn secret_in_a_path() {}

#[function(name = "two words")]
fn bad_name() {}

#[workflow(signals(paid: u32 -> u32))]
async fn signal_with_answer(ctx: Ctx) {}

fn main() {}
