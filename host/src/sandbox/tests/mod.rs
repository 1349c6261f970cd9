//! Promises of the sandbox, kept by guests written as text.

mod cache;
mod calls;
mod fuel;
mod gates;
mod support;
mod traps;
mod turns;
