//! Sending a signal to a run: whether it may be sent, and that it is durable before anybody is told so.
//! Who takes it is the run's own.

use std::sync::Arc;
use trackway_replay::{Digest, MessageId, RunId, Value};
use trackway_storage::{InboxBody, InboxItem};

use super::catalog;
use super::{Host, checked_key, message_of, views};
use crate::Result;
use crate::worker::checked_name;

#[derive(Debug, Clone)]
pub struct SignalRequest {
    pub run: RunId,
    pub name: Arc<str>,
    /// JSON text. Whoever takes it gets exactly these bytes.
    pub payload: Arc<str>,
    pub idempotency_key: Option<String>,
}

impl Host {
    /// Sends a signal. Durable when it answers. With the same key it is sent once only, and answered
    /// in the same way also when the run has ended since.
    pub async fn signal(&self, request: SignalRequest) -> Result<MessageId> {
        let SignalRequest { run, name, payload, idempotency_key } = request;
        checked_name("a signal", &name)?;
        let head = self.storage.head(self.key_of(run)).await?.ok_or_else(|| views::no_such_run(&run.to_string()))?;
        let message = match &idempotency_key {
            Some(key) => message_of("signal", run, checked_key(key)?),
            None => MessageId(self.random_number()),
        };
        let value = as_value(&payload);
        let body = InboxBody::Signal { name: Arc::clone(&name), payload: value.clone(), from: None };
        let item = InboxItem { message, arrived: self.clock.now(), body };
        let (has_key, has_ended) = (idempotency_key.is_some(), head.status.has_ended());
        if has_key && self.was_sent(run, &item, has_ended).await? {
            return Ok(message);
        }
        let catalog = self.catalog(head.component).await?;
        catalog.check_signal_name(&head.workflow, &name)?;
        let place = catalog::signal_of(&head.workflow, &name);
        catalog::check_input(&catalog, &place, &payload, self.sandbox.program()).await?;
        if !has_ended {
            self.bring(run, &value, &payload).await?;
        }
        self.deliver(run, item, has_key).await?;
        Ok(message)
    }
}

/// As an entry holds it.
pub(super) fn as_value(text: &Arc<str>) -> Value {
    if text.len() <= Value::INLINE_MAX_BYTES {
        return Value::Inline(Arc::clone(text));
    }
    Value::Stored { digest: Digest::of(text.as_bytes()), size_bytes: text.len() as u64 }
}
