//! Promises of runs: what one stands at, and settling it from outside, once. Whoever has the token may;
//! what it means to the run is the run's own.

use serde::de::IgnoredAny;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use trackway_replay::{
    Entry, Failure, Kind, MessageId, Outcome, Position, PromiseToken, RunId, Settled, StepId, StepRequest, Timestamp,
    Value,
};
use trackway_storage::{InboxBody, InboxItem};

use super::{Host, READ_WITHIN, checked_key, journal, message_of, not_known_yet};
use crate::{Code, Error, Result};

/// A promise that a run made.
#[derive(Debug, Clone)]
pub struct Promise {
    pub run: RunId,
    pub step: StepId,
    pub name: Arc<str>,
    pub made: Timestamp,
    /// When it is too late.
    pub due: Option<Timestamp>,
    pub standing: Standing,
}

/// What became of a promise so far.
#[derive(Debug, Clone)]
pub enum Standing {
    Open,
    Settled(Settled),
    /// The workflow dropped or cancelled it.
    GivenUp,
    /// The run ended before.
    RunEnded,
}

#[derive(Debug, Clone)]
pub struct SettleRequest {
    pub token: String,
    pub with: Settlement,
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Clone)]
pub enum Settlement {
    /// JSON text. Whoever awaits the promise gets exactly these bytes.
    Resolved(Arc<str>),
    Rejected(Failure),
}

impl Host {
    /// What the promise of that token stands at.
    pub async fn promise(&self, token: &str) -> Result<Promise> {
        let token: PromiseToken = token.parse().map_err(|_| no_such_promise())?;
        let key = self.key_of(token.run);
        let mut found = None;
        let mut from = Position::FIRST;
        loop {
            let entries = journal::read(&*self.storage, key, from).await?;
            let Some(last) = entries.last() else { break };
            if from == Position::FIRST && !entries.first().is_some_and(|first| is_of(first, &token)) {
                return Err(no_such_promise());
            }
            from = last.position.plus(1);
            let has_its_end = entries.iter().any(|entry| {
                follow(&mut found, entry, &token);
                found.as_ref().is_some_and(|promise: &Promise| !matches!(promise.standing, Standing::Open))
            });
            if has_its_end {
                break;
            }
        }
        found.ok_or_else(no_such_promise)
    }

    /// Settles a promise. Durable when it answers. The same outcome again is told so again.
    pub async fn settle(&self, asked: SettleRequest) -> Result<Promise> {
        let token: PromiseToken = asked.token.parse().map_err(|_| no_such_promise())?;
        // From here on the promise does not expire: the time below is that of the outcome.
        let _answering = self.worker.answering(self.key_of(token.run));
        let arrived = self.clock.now();
        let promise = self.promise(&asked.token).await?;
        let (run, step) = (promise.run, promise.step);
        let request = match &asked.idempotency_key {
            Some(key) => message_of("settle", run, &format!("{step} {}", checked_key(key)?)),
            None => MessageId(self.random_number()),
        };
        let (outcome, text) = outcome_of(asked.with)?;
        if let Some(answer) = stands(&promise, &outcome) {
            return answer.map(|()| promise);
        }
        if promise.due.is_some_and(|due| due < arrived) {
            return Err(too_late(&promise, "its time is over"));
        }
        // One message for each promise, so that the store takes the first outcome and no other.
        let message = message_of("promise", run, &step.to_string());
        if let Some(taken) = self.outcome_in_inbox(run, message).await? {
            return same(&promise, &taken, &outcome).map(|()| promise.settled(request, taken));
        }
        let body = InboxBody::Promise { step, request, outcome: outcome.clone() };
        let item = InboxItem { message, arrived, body };
        // Another outcome that was read just now is seen below.
        if let (Some(text), Outcome::Succeeded(value)) = (&text, &outcome)
            && self.storage.known(self.key_of(run), item.clone()).await?.is_none()
        {
            self.bring(run, value, text).await?;
        }
        match self.deliver(run, item, false).await {
            Ok(()) => {}
            // It may have ended because of the same outcome, which somebody else brought.
            Err(error) if error.code == Code::RunEnded => {
                let promise = self.promise(&asked.token).await?;
                return match stands(&promise, &outcome) {
                    Some(answer) => answer.map(|()| promise),
                    None => Err(error),
                };
            }
            Err(error) => return Err(error),
        }
        if let Some(taken) = self.outcome_in_inbox(run, message).await? {
            return same(&promise, &taken, &outcome).map(|()| promise.settled(request, taken));
        }
        // The run has read it, with a frame that is durable in a moment.
        let until = Instant::now() + READ_WITHIN;
        loop {
            let seen = self.storage.end(self.key_of(run)).await?;
            let promise = self.promise(&asked.token).await?;
            if let Some(answer) = stands(&promise, &outcome) {
                return answer.map(|()| promise);
            }
            if timeout_at(until, self.storage.grown(self.key_of(run), seen)).await.is_err() {
                return Err(not_known_yet(run));
            }
        }
    }

    async fn outcome_in_inbox(&self, run: RunId, message: MessageId) -> Result<Option<Outcome>> {
        let unread = self.storage.inbox(self.key_of(run)).await?.into_iter().find(|item| item.message == message);
        Ok(unread.and_then(|item| match item.body {
            InboxBody::Promise { outcome, .. } => Some(outcome),
            _ => None,
        }))
    }
}

impl Promise {
    /// The outcome stands, and the run is about to read it.
    fn settled(self, request: MessageId, outcome: Outcome) -> Promise {
        let settled = Settled { step: self.step, request: Some(request), outcome, by: None };
        Promise { standing: Standing::Settled(settled), ..self }
    }
}

/// Whether the run that begins so handed the token out.
fn is_of(first: &Entry, token: &PromiseToken) -> bool {
    matches!(&first.kind, Kind::Started(started) if started.run == token.run && token.is_of(started.seed))
}

fn follow(found: &mut Option<Promise>, entry: &Entry, token: &PromiseToken) {
    if let Kind::Asked(asked) = &entry.kind
        && let StepRequest::Promise { name, .. } = &asked.request
        && asked.step == token.step
    {
        let due = trackway_replay::due_of_promise(asked);
        let (run, made, standing) = (token.run, entry.time, Standing::Open);
        *found = Some(Promise { run, step: asked.step, name: name.clone(), made, due, standing });
    }
    let Some(promise) = found else { return };
    let is_its = entry.kind.step() == Some(token.step);
    match &entry.kind {
        Kind::Settled(settled) if is_its => promise.standing = Standing::Settled(settled.clone()),
        Kind::Answered(_) | Kind::Forgotten(_) if is_its => promise.standing = Standing::GivenUp,
        Kind::Finished(_) => promise.standing = Standing::RunEnded,
        _ => {}
    }
}

/// As it is journaled, and the text that stands beside the journal if it is large.
fn outcome_of(with: Settlement) -> Result<(Outcome, Option<Arc<str>>)> {
    let text = match with {
        Settlement::Rejected(failure) => return Ok((Outcome::Failed(failure.to_value()), None)),
        Settlement::Resolved(text) => text,
    };
    if text.len() > Value::MAX_BYTES {
        let why = format!("the value has {} bytes; {} are allowed", text.len(), Value::MAX_BYTES);
        return Err(Error::new(Code::InputTooLarge, why));
    }
    serde_json::from_str::<IgnoredAny>(&text)
        .map_err(|error| Error::new(Code::InputNotJson, format!("what the promise is resolved with: {error}")))?;
    let value = super::signal::as_value(&text);
    let beside = matches!(value, Value::Stored { .. }).then_some(text);
    Ok((Outcome::Succeeded(value), beside))
}

/// What is to be answered where it cannot be settled any more.
fn stands(promise: &Promise, outcome: &Outcome) -> Option<Result<()>> {
    match &promise.standing {
        Standing::Open => None,
        Standing::Settled(settled) if settled.request.is_none() => Some(Err(too_late(promise, "its time is over"))),
        Standing::Settled(settled) => Some(same(promise, &settled.outcome, outcome)),
        Standing::GivenUp => Some(Err(too_late(promise, "nobody waits for it any more"))),
        Standing::RunEnded => {
            Some(Err(Error::new(Code::RunEnded, format!("run {}, which made it, has ended", promise.run))))
        }
    }
}

fn same(promise: &Promise, taken: &Outcome, outcome: &Outcome) -> Result<()> {
    if taken == outcome {
        return Ok(());
    }
    let how = match taken {
        Outcome::Succeeded(_) => "it was resolved before with something else",
        Outcome::Failed(_) => "it was rejected before",
    };
    Err(too_late(promise, how))
}

fn too_late(promise: &Promise, why: &str) -> Error {
    Error::new(Code::PromiseSettled, format!("promise `{}` of run {}: {why}", promise.name, promise.run))
}

/// The same for a token that is none and for one that is wrong: nobody learns by it.
fn no_such_promise() -> Error {
    Error::new(Code::NoSuchPromise, "no run made a promise with that token")
}
