//! Trackway: durable workflows in a WebAssembly sandbox.
//!
//! `cli, api -> host -> worker -> {sandbox, storage, effects} -> replay`; the middle three never
//! know each other.

pub mod api;
pub mod cli;
pub mod confine;
pub mod effects;
pub mod error;
pub mod host;
pub mod quota;
pub mod sandbox;
pub mod worker;

pub use error::{Code, Error, Result};
