//! Promises of the sandbox, kept by guests written as text.

mod calls;
mod fuel;
mod support;
mod traps;
mod turns;
