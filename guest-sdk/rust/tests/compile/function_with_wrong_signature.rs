//! Functions whose parameters cannot cross.

use trackway_sdk::prelude::*;

#[function]
fn two_inputs(a: u32, b: u32) -> u32 {
    a + b
}

#[function]
fn borrowed(text: &str) -> usize {
    text.len()
}

#[function]
fn steps(ctx: Ctx) -> u32 {
    7
}

#[function]
fn generic<T>(value: T) -> u32 {
    7
}

#[function]
struct NotAFunction;

fn main() {}
