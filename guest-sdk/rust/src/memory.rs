//! What an agent remembers from one run to the next: a conversation in an entity. Workflows keep it, since functions have no
//! entities: hand the messages to the function, and keep those that it gives back.

use crate::failure::Failure;
use crate::message::{Message, Role};
use crate::{Ctx, Entity};

/// An entity holds 32 KiB; what names and escapes cost is within the rest.
const KEPT_MAX_BYTES: usize = 32 * 1024;

/// A conversation that outlives its runs; made by [`Ctx::memory`].
///
/// ```
/// # use trackway_sdk::prelude::*;
/// # use trackway_sdk::testing::{Host, ModelResponse};
/// #[agent]
/// async fn chat(ctx: FnCtx, messages: Vec<Message>) -> Result<AgentAnswer, Failure> {
///     Agent::new("friend").model("openai/gpt-4o-mini").run(&ctx, messages).await
/// }
///
/// #[workflow]
/// async fn say(ctx: Ctx, (who, what): (String, String)) -> Result<String, Failure> {
///     let memory = ctx.memory("chat", who);
///     let mut messages = memory.recall().await?;
///     messages.push(Message::user(what));
///     let answer = ctx.step(chat, messages).await?;
///     memory.keep(&answer.messages).await?;
///     Ok(answer.output)
/// }
///
/// let host = Host::new().on_model(|request| ModelResponse::text(format!("{} messages", request.messages.len())));
/// let ada = |what: &str| ("ada".to_owned(), what.to_owned());
/// assert_eq!(host.run::<say>(ada("Hello!")).unwrap(), "1 messages");
/// assert_eq!(host.run::<say>(ada("And now?")).unwrap(), "3 messages");
/// ```
#[derive(Debug, Clone)]
pub struct Memory {
    entity: Entity,
}

impl Ctx {
    /// A conversation under a name (what kind it is) and a key (whose): an [entity](Ctx::entity) of that name and key.
    pub fn memory(&self, name: impl Into<String>, key: impl Into<String>) -> Memory {
        Memory { entity: self.entity(name, key) }
    }
}

impl Memory {
    /// What was kept last; nothing if nothing was.
    ///
    /// # Errors
    ///
    /// Those of [`Entity::get`].
    pub async fn recall(&self) -> Result<Vec<Message>, Failure> {
        let kept = self.entity.get::<Vec<Message>>().await?;
        Ok(kept.map(|kept| kept.value).unwrap_or_default())
    }

    /// Keeps these messages: the latest that fit into 32 KiB, from one of the user on. Two runs that talk at once
    /// overwrite each other: let one run talk with one person.
    ///
    /// # Errors
    ///
    /// Those of [`Entity::set`].
    pub async fn keep(&self, messages: &[Message]) -> Result<(), Failure> {
        self.entity.set(latest(messages, KEPT_MAX_BYTES).to_vec()).await.map(drop)
    }

    /// Keeps nothing any more.
    ///
    /// # Errors
    ///
    /// Those of [`Entity::delete`].
    pub async fn forget(&self) -> Result<(), Failure> {
        self.entity.delete().await
    }
}

/// The latest of them that fit as JSON. They begin with one of the user, so that no answer of a tool stands without its
/// call.
fn latest(messages: &[Message], bytes_max: usize) -> &[Message] {
    // The brackets.
    let mut bytes = 2;
    let mut from = messages.len();
    for (place, message) in messages.iter().enumerate().rev() {
        bytes += serde_json::to_string(message).map_or(bytes_max, |text| text.len() + 1);
        if bytes > bytes_max {
            break;
        }
        if message.role == Role::User {
            from = place;
        }
    }
    // All of it fits, also what stands before the first of the user.
    if bytes <= bytes_max { messages } else { &messages[from..] }
}

#[cfg(test)]
mod tests;
