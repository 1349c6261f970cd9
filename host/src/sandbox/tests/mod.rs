//! Promises of the sandbox, kept by guests written as text.

#![allow(clippy::field_reassign_with_default, reason = "the texts of a guest are placed before its body is written")]

mod cache;
mod calls;
mod clocks;
mod fuel;
mod gates;
mod left;
mod panics;
mod stacks;
pub(crate) mod support;
mod traps;
mod turns;
