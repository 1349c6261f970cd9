//! The clients of a simulation: they start runs, cancel them and follow them, and note what they are
//! told. They go on with the next process when one dies.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use trackway::Code;
use trackway::effects::Clock;
use trackway::worker::{Start, StartKeyRequest};
use trackway_replay::{Digest, Frame, MessageId, Position, Status, TenantId};
use trackway_storage::{InboxBody, InboxItem, RunKey, Sent, Storage};

use super::dice::Dice;
use super::ledger::{Cancelled, Ledger, Promise, Told};
use super::process::{Process, sandbox};
use super::setup::Wanted;

/// How long a client waits for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
const AGAIN_AFTER: Duration = Duration::from_millis(25);
/// Tries of one cancel.
const CANCELS_MAX: u32 = 10;

/// The process that serves now.
pub struct Serving(Mutex<Arc<Process>>);

impl Serving {
    pub fn new(process: Arc<Process>) -> Serving {
        Serving(Mutex::new(process))
    }

    pub fn get(&self) -> Arc<Process> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, process: Arc<Process>) -> Arc<Process> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), process)
    }
}

pub struct Client {
    pub serving: Arc<Serving>,
    pub ledger: Arc<Ledger>,
    pub wanted: Wanted,
    pub dice: Dice,
}

impl Client {
    /// Starts the run, cancels it as it is wanted, and follows it to its end.
    pub async fn act(mut self) {
        tokio::time::sleep(self.wanted.after).await;
        let run = self.start().await;
        let messages: Vec<MessageId> = self.wanted.cancels.iter().map(|_| MessageId(self.dice.next().into())).collect();
        let cancels =
            self.wanted.cancels.iter().zip(messages).map(|(after, message)| self.cancel(run, *after, message));
        let follow = Follow { serving: &self.serving, ledger: &self.ledger, dice: self.dice.clone(), run };
        tokio::join!(futures_util::future::join_all(cancels), follow.until_it_ends());
    }

    async fn start(&self) -> RunKey {
        for nth in 0.. {
            let tag =
                if self.wanted.is_keyed { self.wanted.name.clone() } else { format!("{}.{nth}", self.wanted.name) };
            let mut plan = self.wanted.plan.clone();
            plan.tag.clone_from(&tag);
            let input: Arc<str> = serde_json::to_string(&plan).expect("a plan is JSON").into();
            let key = StartKeyRequest { key: tag.as_str().into(), request: Digest::of(input.as_bytes()) };
            let start = Start {
                workflow: "chaos".into(),
                deployment: "chaos".into(),
                component: sandbox().1.digest,
                input,
                key: self.wanted.is_keyed.then_some(key),
            };
            let process = self.serving.get();
            let answer = process.ask(PATIENCE, process.worker.start(TenantId::DEFAULT, start)).await;
            match answer {
                Some(Ok(answer)) => {
                    self.ledger.note(format!("client: {tag} is {} (existing: {})", answer.run, answer.existing));
                    self.ledger.lock().starts.entry(tag).or_default().push(Told::Started(answer.run));
                    return RunKey { tenant: TenantId::DEFAULT, run: answer.run };
                }
                // Under a key it is asked for again, and may be there for that.
                Some(Err(error)) if error.code == Code::DiskFull && !self.wanted.is_keyed => {
                    self.ledger.note(format!("client: {tag} was refused for good"));
                    self.ledger.lock().starts.entry(tag).or_default().push(Told::RefusedForGood);
                }
                Some(Err(error)) => self.ledger.note(format!("client: {tag}: {error}")),
                None => self.ledger.note(format!("client: {tag}: no answer")),
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        unreachable!("it tries for ever")
    }

    async fn cancel(&self, run: RunKey, after: Duration, message: MessageId) {
        tokio::time::sleep(after).await;
        for _ in 0..CANCELS_MAX {
            let process = self.serving.get();
            let arrived = process.clock.now();
            let item = InboxItem { message, arrived, body: InboxBody::Cancel { reason: "asked to".into() } };
            let sent = process.ask(PATIENCE, process.door.send(run, item)).await;
            self.ledger.note(format!("client: cancel {} {}: {sent:?}", run.run, message.0));
            match sent {
                Some(Ok(Sent::Delivered)) => {
                    let acknowledged = self.ledger.now();
                    self.ledger.lock().cancels.push(Cancelled { run, message, arrived, acknowledged });
                    return;
                }
                Some(Ok(Sent::NoSuchRun)) => {
                    let what = format!("run {} was acknowledged and is not there to be cancelled", run.run);
                    self.ledger.broken(Promise::Acknowledged, what);
                    return;
                }
                Some(Ok(Sent::Ended(_) | Sent::Full)) => return,
                Some(Err(_)) | None => {}
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}

/// Reads a run again and again, as a page or a stream of events does.
struct Follow<'a> {
    serving: &'a Serving,
    ledger: &'a Ledger,
    dice: Dice,
    run: RunKey,
}

impl Follow<'_> {
    async fn until_it_ends(mut self) {
        let mut known = Position::FIRST;
        let mut idle: u64 = 0;
        loop {
            let process = self.serving.get();
            let frames = process.ask(PATIENCE, process.door.frames(self.run, known, usize::MAX)).await;
            let before = known;
            for frame in frames.and_then(Result::ok).unwrap_or_default() {
                match Frame::decode(&frame.frame) {
                    Ok(frame) => frame.entries.into_iter().for_each(|entry| {
                        known = known.max(entry.position.plus(1));
                        self.saw(entry);
                    }),
                    Err(error) => self.ledger.broken(Promise::OneOrder, format!("run {}: {error}", self.run.run)),
                }
            }
            let head = process.ask(PATIENCE, process.door.head(self.run)).await.and_then(Result::ok).flatten();
            let status = head.map(|head| head.status);
            if let Some(status) = status.filter(|status| status.has_ended()) {
                self.ledger.note(format!("client: {} is {}", self.run.run, status.name()));
                self.ledger.lock().ends_seen.entry(self.run).or_insert(status);
                return;
            }
            // Nothing goes on by itself there.
            if status == Some(Status::Stuck) {
                return;
            }
            idle = if known > before { 0 } else { (idle + 1).min(12) };
            let pause_ms = self.dice.within(1..=20) << idle;
            let grown = process.ask(Duration::from_millis(pause_ms), process.door.grown(self.run, known)).await;
            if grown.is_none() {
                tokio::time::sleep(Duration::from_millis(self.dice.within(1..=20))).await;
            }
        }
    }

    fn saw(&self, entry: trackway_replay::Entry) {
        let place = (self.run, entry.position);
        let before = self.ledger.lock().seen.get(&place).cloned();
        match before {
            Some(before) if before != entry => {
                let what = format!("run {} at {}: {:?}, and later {:?}", self.run.run, entry.position, before, entry);
                self.ledger.broken(Promise::NothingLeaks, what);
            }
            Some(_) => {}
            None => {
                self.ledger.lock().seen.insert(place, entry);
            }
        }
    }
}
