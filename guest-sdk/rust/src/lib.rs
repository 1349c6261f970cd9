//! Write durable workflows for Trackway in Rust.
//!
//! A *workflow* decides what happens: it asks for steps, waits, and computes. A *function* does one
//! piece of work and may touch the world. The host journals every answer, so a run that is interrupted
//! goes on where it was, and no finished step is repeated.
//!
//! ```
//! use trackway_sdk::prelude::*;
//!
//! /// Greets somebody.
//! #[workflow]
//! async fn hello(ctx: Ctx, name: String) -> Result<String, Failure> {
//!     ctx.step(greet, name).await
//! }
//!
//! #[function]
//! fn greet(name: String) -> String {
//!     format!("Hello, {name}!")
//! }
//!
//! export!(hello, greet);
//! # fn main() {}
//! ```
//!
//! A workflow must do the same thing each time it sees the same answers. The sandbox sees to it: in
//! a workflow there is no clock but [`Ctx::now`], no randomness but [`Ctx::random`], and no way out but
//! [`Ctx::step`].
//!
//! Tests of your own run workflows by the host in `testing`, with virtual time and scripted HTTP.
//!
//! This crate must never reach the world by itself, and never decide anything by time, addresses or
//! hash order.

// What the macros make names this crate from outside; so do the tests within.
#[cfg(test)]
extern crate self as trackway_sdk;

/// The snippets of the guide are run as they stand.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/signals.md")]
    mod signals {}
    #[doc = include_str!("../../../docs/guide/questions.md")]
    mod questions {}
    #[doc = include_str!("../../../docs/guide/promises.md")]
    mod promises {}
    #[doc = include_str!("../../../docs/guide/peers.md")]
    mod peers {}
    #[doc = include_str!("../../../docs/guide/entities.md")]
    mod entities {}
    #[doc = include_str!("../../../docs/guide/state.md")]
    mod state {}
    #[doc = include_str!("../../../docs/guide/long-lived.md")]
    mod long_lived {}
    #[doc = include_str!("../../../docs/guide/streaming.md")]
    mod streaming {}
    #[doc = include_str!("../../../docs/guide/updates.md")]
    mod updates {}
    #[doc = include_str!("../../../docs/guide/secrets.md")]
    mod secrets {}
    #[doc = include_str!("../../../docs/guide/models.md")]
    mod models {}
    #[doc = include_str!("../../../docs/guide/agents.md")]
    mod agents {}
}

mod agent;
#[doc(hidden)]
pub mod bindings;
mod child;
mod clock;
mod ctx;
mod entity;
mod export;
mod failure;
mod form;
mod handed;
pub mod http;
mod join;
mod json;
mod log;
mod mail;
mod mcp;
mod memory;
mod message;
mod model;
mod operation;
mod promise;
mod prompt;
mod retry;
mod runtime;
mod saga;
mod schema;
mod scope;
mod span;
mod tell;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod tool;
mod update;

pub use agent::{Agent, AgentAnswer, AgentRun, Budget};
pub use child::Child;
pub use ctx::{Ctx, FnCtx};
pub use entity::{Entity, Versioned};
pub use export::{Call, Function, Value, Workflow};
pub use failure::{Failure, code};
pub use form::Form;
pub use join::{Steps, join_all, join_all_limit, race, try_join_all, try_join_all_limit};
pub use log::Log;
pub use mcp::McpServer;
pub use memory::Memory;
pub use message::{Conversation, FinishReason, Image, Message, Role, ToolCall, Usage, Usd};
pub use model::{ModelAnswer, ModelCall, ModelRequest, OutputSpec, ToolChoice, ToolSpec};
pub use operation::Operation;
pub use promise::Promise;
pub use prompt::{Prompt, PromptFile, prompt};
pub use retry::{Ambiguous, Retry};
pub use saga::{Saga, SagaStep};
pub use scope::{Leftover, Scope, Task, shield, timeout};
pub use tool::{AgentTool, IntoTool, Invocation, Tool};
pub use trackway_sdk_macros::{agent, function, join, select, tool, try_join, value, workflow};
pub use update::{NextUpdate, Update, Updates};

pub use {schemars, serde, serde_json};

/// What most guests need: `use trackway_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::export;
    pub use crate::http;
    pub use crate::{Agent, AgentAnswer, Budget, Conversation, Image, IntoTool, McpServer, Message};
    pub use crate::{Ambiguous, Ctx, Failure, FnCtx, Form, Leftover, Retry, Saga, Scope, Steps};
    pub use crate::{agent, function, join, prompt, select, tool, try_join, value, workflow};
    pub use crate::{join_all, join_all_limit, race, shield, timeout, try_join_all, try_join_all_limit};
    pub use std::time::Duration;
}

/// For the code that the macros make. Not for people: it changes without notice.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_arch = "wasm32")]
    pub use crate::bindings;
    pub use crate::export::{About, Declared, Export, Item, Outcome, Policy, Tries, call, describe, run};
    pub use crate::prompt::Template;
}
