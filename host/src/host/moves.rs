//! Moving a run to the code of another deployment, or to newer code of its own: whether that code does all
//! that is on record is seen before anything is asked of the run. The run's owner looks once more.

use tokio::time::{Instant, timeout_at};
use trackway_replay::{Divergence, Head, MessageId, RunId};
use trackway_storage::{InboxBody, InboxItem};

use super::deployments::current;
use super::{Host, checked_key, journal, message_of};
use crate::{Code, Error, Result};

/// How long a move waits to be carried out before it answers. It is carried out in any case.
const MOVED_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct MoveRequest {
    pub run: RunId,
    /// The deployment whose current code the run goes on with, and whose grants it then has.
    pub to: String,
    /// Only look whether it can be.
    pub dry_run: bool,
    pub idempotency_key: Option<String>,
}

impl Host {
    /// Moves a run. Answers its head when it was moved, or after ten seconds when effects in flight keep it
    /// from being so yet. With the same key as [`Host::cancel`].
    ///
    /// # Errors
    /// `CannotMove` where the code does something else than the journal says; then nothing has changed.
    pub async fn move_run(&self, asked: MoveRequest) -> Result<Head> {
        let MoveRequest { run, to, dry_run, idempotency_key } = asked;
        let message = match &idempotency_key {
            Some(key) => message_of("move", run, checked_key(key)?),
            None => MessageId(self.random_number()),
        };
        let head = self.head(run).await?;
        if head.status.has_ended() {
            return Err(Error::new(Code::RunEnded, format!("run {run} has ended: it is {}", head.status.name())));
        }
        let deployment = self.deployment(&to).await?;
        let component = current(&deployment)?.component;
        if !self.catalog(component).await?.has(&head.workflow) {
            let why = format!("deployment `{}` has no workflow `{}`", deployment.name, head.workflow);
            return Err(Error::new(Code::NoSuchWorkflow, why).hint("a run keeps its workflow: deploy code that has it"));
        }
        let report = self.replay(run, Some(component)).await?;
        if let Some(divergence) = &report.divergence {
            return Err(cannot_move(&head, &deployment.name, divergence));
        }
        if dry_run {
            return Ok(head);
        }
        let body = InboxBody::Move { deployment: deployment.name.clone(), component, epoch: self.storage.epoch() };
        let item = InboxItem { message, arrived: self.clock.now(), body };
        self.deliver(run, item, idempotency_key.is_some()).await?;
        self.was_moved(run, message, &deployment.name).await
    }

    async fn was_moved(&self, run: RunId, message: MessageId, to: &str) -> Result<Head> {
        let until = Instant::now() + MOVED_WITHIN;
        loop {
            // Before the inbox: what comes after it wakes us.
            let seen = self.storage.end(self.key_of(run)).await?;
            let is_unread = self.storage.inbox(self.key_of(run)).await?.iter().any(|item| item.message == message);
            if !is_unread {
                let head = self.head(run).await?;
                if journal::has_message(&*self.storage, self.key_of(run), message).await? && !head.status.has_ended() {
                    return Ok(head);
                }
                let why = match head.status.has_ended() {
                    true => format!("run {run} has ended meanwhile: it is {}", head.status.name()),
                    false => format!("run {run} went on meanwhile, as the code of `{to}` would not have"),
                };
                return Err(Error::new(Code::CannotMove, why).hint("try again; pause the run before"));
            }
            if timeout_at(until, self.storage.grown(self.key_of(run), seen)).await.is_err() {
                return self.head(run).await;
            }
        }
    }
}

fn cannot_move(head: &Head, to: &str, divergence: &Divergence) -> Error {
    let why = format!(
        "run {} cannot go on with the code of `{to}`, which does something else than the journal says: {divergence}",
        head.run
    );
    let hint = "put what is new behind `ctx.patched(\"..\")`, deploy that, and move the run again; \
                or let it end on its own code";
    Error::new(Code::CannotMove, why).hint(hint)
}
