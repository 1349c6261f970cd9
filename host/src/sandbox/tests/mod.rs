//! Promises of the sandbox, kept by guests written as text.

mod cache;
mod calls;
mod fuel;
mod gates;
pub(crate) mod support;
mod traps;
mod turns;
