//! Calls of models. What a guest asks for and what it gets is the same for every provider; the files named for a
//! protocol translate, `stream` carries. Keys of providers are known here and nowhere else: they never reach a
//! guest, a journal, a log or a message.

mod answer;
mod anthropic;
mod call;
mod errors;
mod image;
mod name;
mod openai_chat;
mod openai_responses;
mod prices;
mod providers;
mod request;
mod sse;
mod stream;

pub use name::{ModelGrant, ModelName};
pub use prices::Price;
pub use providers::{BUILT_IN, Protocol, ProviderSetting, Providers};
pub use request::{Message, ModelRequest};
use request::{Tool, ToolCall};

pub(super) use call::Models;
