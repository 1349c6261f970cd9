//! Updates: a request to a workflow that is running, and its answer. Whether it may be sent is settled here;
//! the answer is the workflow's own, and counts when it is durable.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use trackway_replay::{DEADLINE_MAX_MS, Entry, Failure, Kind, MessageId, Outcome, Position, RunId, Value, code};
use trackway_storage::{InboxBody, InboxItem, Landmark};

use super::catalog;
use super::signal::as_value;
use super::{Host, checked_key, journal, message_of};
use crate::worker::checked_name;
use crate::{Code, Error, Result};

/// A run can become stuck without a new entry, so who waits looks again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub struct UpdateRequest {
    pub run: RunId,
    pub name: Arc<str>,
    /// JSON text. The workflow gets exactly these bytes.
    pub payload: Arc<str>,
    pub idempotency_key: Option<String>,
    /// Where the workflow has not taken it after so long, it is refused as `EXPIRED`.
    pub expires_in: Option<Duration>,
}

/// What the workflow answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateAnswer {
    /// JSON text.
    Output(Arc<str>),
    /// The JSON text of a failure.
    Refused(Arc<str>),
}

impl Host {
    /// Sends an update. Durable when it answers. With the same key it is sent once only, and answered in the same
    /// way also when the run has ended since.
    pub async fn update(&self, request: UpdateRequest) -> Result<MessageId> {
        let UpdateRequest { run, name, payload, idempotency_key, expires_in } = request;
        if expires_in.is_some_and(|time| time.is_zero() || time.as_millis() > u128::from(DEADLINE_MAX_MS)) {
            let why = format!("an update may be given 1 to {DEADLINE_MAX_MS} ms to be taken");
            return Err(Error::new(Code::BadRequest, why));
        }
        checked_name("an update", &name)?;
        let head = self.head(run).await?;
        let message = match &idempotency_key {
            Some(key) => message_of("update", run, checked_key(key)?),
            None => MessageId(self.random_number()),
        };
        let value = as_value(&payload);
        let (sent, payload_of, arrived) = (Arc::clone(&name), value.clone(), self.clock.now());
        let body = match expires_in {
            Some(time) => InboxBody::UpdateWithin { name: sent, payload: payload_of, due: arrived + time },
            None => InboxBody::Update { name: sent, payload: payload_of },
        };
        let item = InboxItem { message, arrived, body };
        let (has_key, has_ended) = (idempotency_key.is_some(), head.status.has_ended());
        if has_key && self.was_sent(run, &item, has_ended).await? {
            return Ok(message);
        }
        let catalog = self.catalog(head.component).await?;
        catalog.check_update_name(&head.workflow, &name)?;
        let place = catalog::update_of(&head.workflow, &name);
        catalog::check_input(&catalog, &place, &payload, self.sandbox.program()).await?;
        if !has_ended {
            self.bring(run, &value, &payload).await?;
        }
        self.deliver(run, item, has_key).await?;
        Ok(message)
    }

    /// Waits for the workflow's answer to an update that was sent, for as long as `patience`.
    pub async fn update_answer(
        &self,
        run: RunId,
        message: MessageId,
        patience: Duration,
    ) -> Result<Option<UpdateAnswer>> {
        let until = Instant::now() + patience;
        loop {
            // Both before the answer is looked for: what comes after wakes us, and what has ended is whole.
            let seen = self.storage.end(self.key_of(run)).await?;
            let has_ended = self.head(run).await?.status.has_ended();
            if let Some(place) = self.storage.landmark(self.key_of(run), Landmark::Reply(message)).await? {
                return self.reply_at(run, place).await.map(Some);
            }
            if has_ended {
                let why = format!("run {run} has ended and had not answered");
                return Err(Error::new(Code::UpdateUnanswered, why));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            let look = until.min(Instant::now() + LOOK_AGAIN);
            // A new entry, the end of patience, or time to look anyway.
            timeout_at(look, self.storage.grown(self.key_of(run), seen)).await.unwrap_or_default();
        }
    }

    async fn reply_at(&self, run: RunId, place: Position) -> Result<UpdateAnswer> {
        let entry = journal::at(&*self.storage, self.key_of(run), place).await?;
        let Some(Entry { kind: Kind::Replied(replied), .. }) = entry else {
            if let Some(Entry { kind: Kind::UpdateExpired(_), .. }) = entry {
                let failure = Failure::permanent(code::EXPIRED, "the run did not take the update in time");
                return Ok(UpdateAnswer::Refused(failure.to_text()));
            }
            return Err(Error::new(Code::DataDamaged, format!("run {run}: entry {place} is no answer")));
        };
        let text = async |value: &Value| journal::text(&*self.storage, self.key_of(run), value).await;
        Ok(match &replied.outcome {
            Outcome::Succeeded(output) => UpdateAnswer::Output(text(output).await?),
            Outcome::Failed(failure) => UpdateAnswer::Refused(text(failure).await?),
        })
    }
}
