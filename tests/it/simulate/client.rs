//! The clients of a simulation: they start runs, send to them, hold them, cancel them, start them anew and follow
//! them, and note what they are told. They go on with the next process when one dies.

use futures_util::future::join_all;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use trackway::Code;
use trackway::effects::Clock;
use trackway::host::{MoveRequest, StartRequest, UpdateAnswer, UpdateRequest};
use trackway::worker::StartAnswer;
use trackway_replay::{Kind, MessageId, Position, RunId, Status, StepId, TenantId, Value};
use trackway_storage::{InboxBody, InboxItem, RunKey, Sent, Storage};

use super::dice::Dice;
use super::follow::Follow;
use super::ledger::{Archive, Cancelled, Ledger, Promise, Restarted, Told};
use super::listener::Listener;
use super::plan::{self, ToSend};
use super::process::Process;
use super::removed;
use super::setup::Wanted;

/// How long a client waits for one answer.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const AGAIN_AFTER: Duration = Duration::from_millis(25);
/// Tries of one move.
const MOVES_MAX: u32 = 5;
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
    pub async fn act(self) {
        tokio::time::sleep(self.wanted.after).await;
        let run = self.start().await;
        let mut dice = self.dice.clone();
        let mut message = || MessageId(dice.next().into());
        let client = &self;
        let wanted = &self.wanted;
        let cancels: Vec<_> = wanted.cancels.iter().map(|cancel| client.cancel(run, *cancel, message())).collect();
        let sent = wanted.sent.iter().map(|(what, after)| client.send(run, what, *after, message()));
        let sent: Vec<_> = sent.collect();
        let pauses = wanted.pauses.iter();
        let pauses: Vec<_> =
            pauses.map(|(after, lasting)| client.hold(run, *after, *lasting, [message(), message()])).collect();
        let listeners = wanted.listeners.iter();
        let listeners: Vec<_> = listeners
            .map(|after| {
                Listener::new(&self.serving, &self.ledger, Dice::of(message().0 as u64, "listener"), run).listen(*after)
            })
            .collect();
        let mut draw = || Dice::of(message().0 as u64, "restart");
        let restarts: Vec<_> = wanted.restarts.iter().map(|restart| client.restart(run, *restart, draw())).collect();
        let follow = Follow::new(&self.serving, &self.ledger, dice, run);
        let follow = async {
            follow.until_it_ends().await;
            client.remove(run).await;
        };
        let moves: Vec<_> = wanted.moves.iter().map(|after| client.move_on(run, *after)).collect();
        let others = async { tokio::join!(join_all(pauses), join_all(listeners), join_all(restarts), join_all(moves)) };
        tokio::join!(join_all(cancels), join_all(sent), others, follow);
    }

    /// Removes the run some time after its end, until it is gone.
    async fn remove(&self, run: RunKey) {
        let Some(after) = self.wanted.removed_after else { return };
        // It is stuck.
        if !self.ledger.lock().ends_seen.contains_key(&run) {
            return;
        }
        tokio::time::sleep(after).await;
        let mut has_asked = false;
        loop {
            let process = self.serving.get();
            if !has_asked {
                let store = &process.door.store;
                let (frames, payloads, lines) =
                    (store.standing(run), store.standing_payloads(run), store.standing_logs(run));
                self.ledger.lock().removing.insert(run, Archive { frames, payloads, lines });
            }
            let told = process.ask(PATIENCE, process.host.remove(run.run)).await;
            self.ledger.note(format!("client: removes {}: {told:?}", run.run));
            match told {
                Some(Ok(())) => break,
                // It was, and nobody heard it.
                Some(Err(error)) if error.code == Code::NoSuchRun && has_asked => break,
                Some(Err(error)) if error.code == Code::NoSuchRun => {
                    return self.ledger.broken(Promise::Removed, format!("{error}, and nobody had it removed"));
                }
                Some(Err(_)) | None => tokio::time::sleep(AGAIN_AFTER).await,
            }
            has_asked = true;
        }
        self.ledger.lock().removed.insert(run);
        let process = self.serving.get();
        process.ask(PATIENCE, removed::is_unread(&self.ledger, &process, run.run)).await;
    }

    /// Moves the run to what is deployed by then.
    async fn move_on(&self, run: RunKey, after: Duration) {
        tokio::time::sleep(after).await;
        for nth in 0..MOVES_MAX {
            let process = self.serving.get();
            let idempotency_key = Some(format!("move {after:?} {nth}"));
            let request = MoveRequest { run: run.run, to: "chaos".into(), dry_run: false, idempotency_key };
            let told = process.ask(PATIENCE, process.host.move_run(request)).await;
            self.ledger.note(format!("client: moves {}: {told:?}", run.run));
            match told {
                Some(Ok(_)) => return,
                Some(Err(error)) if error.code == Code::RunEnded => return,
                // The newer code does all that any run of the older one may have on record.
                Some(Err(error)) if error.code == Code::CannotMove && error.message.contains("cannot go on") => {
                    return self.ledger.broken(Promise::Replays, error.to_string());
                }
                Some(Err(_)) | None => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }

    /// Starts the run anew, until somebody says that this counts; then does for the new one what it needs.
    async fn restart(&self, run: RunKey, (after, from): (Duration, Option<u64>), mut dice: Dice) {
        tokio::time::sleep(after).await;
        let step = match from {
            None => None,
            Some(drawn) => match self.step_of(run, drawn).await {
                Some(step) => Some(step),
                // It has asked for none.
                None => return,
            },
        };
        let key = format!("restart {:x}", dice.next());
        let restarted = loop {
            let process = self.serving.get();
            let told = process.ask(PATIENCE, process.host.restart(run.run, step, Some(key.clone()))).await;
            self.ledger.note(format!("client: restarts {} from {step:?}: {told:?}", run.run));
            match told {
                Some(Ok(answer)) => break RunKey { run: answer.run, ..run },
                // It was asked to cancel before that step.
                Some(Err(error)) if error.code == Code::CannotRestart && step.is_some() => return,
                Some(Err(error)) if self.is_gone(run, &error) => return,
                Some(Err(error)) if error.code == Code::KeyConflict => {
                    return self.ledger.broken(Promise::Acknowledged, format!("{key}: {error}"));
                }
                Some(Err(_)) | None => tokio::time::sleep(AGAIN_AFTER).await,
            }
        };
        self.ledger.lock().restarted.push(Restarted { from: run, step, run: restarted });
        let message = MessageId(dice.next().into());
        let sent = self.wanted.plan.sent();
        let sent = sent
            .iter()
            .zip(1..)
            .map(|(what, nth)| self.send(restarted, what, Duration::ZERO, MessageId(message.0 + nth)));
        let follow = Follow::new(&self.serving, &self.ledger, dice, restarted).until_it_ends();
        tokio::join!(join_all(sent), follow);
    }

    /// One of the steps that the run has asked for.
    async fn step_of(&self, run: RunKey, drawn: u64) -> Option<StepId> {
        let mut steps = Vec::new();
        let mut known = Position::FIRST;
        loop {
            let process = self.serving.get();
            match process.ask(PATIENCE, process.host.entries(run.run, known)).await {
                Some(Ok(entries)) if entries.is_empty() => break,
                Some(Ok(entries)) => {
                    known = known.plus(entries.len() as u64);
                    let asked = |kind| if let Kind::Asked(asked) = kind { Some(asked.step) } else { None };
                    steps.extend(entries.into_iter().filter_map(|entry| asked(entry.kind)));
                }
                Some(Err(error)) if self.is_gone(run, &error) => return None,
                Some(Err(_)) | None => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
        let place = drawn.checked_rem(steps.len() as u64)?;
        steps.get(place as usize).copied()
    }

    async fn start(&self) -> RunKey {
        for nth in 0.. {
            let tag =
                if self.wanted.is_keyed { self.wanted.name.clone() } else { format!("{}.{nth}", self.wanted.name) };
            let mut plan = self.wanted.plan.clone();
            plan.tag.clone_from(&tag);
            let input: Arc<str> = serde_json::to_string(&plan).expect("a plan is JSON").into();
            let start = StartRequest {
                workflow: "chaos/chaos".into(),
                input: Some(input),
                idempotency_key: self.wanted.is_keyed.then(|| tag.clone()),
                run_timeout_ms: None,
                cancel_grace_ms: None,
            };
            let process = self.serving.get();
            let times = if self.wanted.is_keyed && self.wanted.is_asked_twice { 2 } else { 1 };
            let asking = (0..times).map(|_| process.ask(PATIENCE, process.host.start(start.clone())));
            let answers = join_all(asking).await;
            let started: Vec<RunId> = answers.into_iter().filter_map(|answer| self.was_told(&tag, answer)).collect();
            if let Some(run) = started.first() {
                return RunKey { tenant: TenantId::DEFAULT, run: *run };
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        unreachable!("it tries for ever")
    }

    /// Notes the answer to a start; the run, if it was acknowledged.
    fn was_told(&self, tag: &str, answer: Option<trackway::Result<StartAnswer>>) -> Option<RunId> {
        let told = match answer {
            Some(Ok(answer)) => {
                self.ledger.note(format!("client: {tag} is {} (existing: {})", answer.run, answer.existing));
                Told::Started(answer.run)
            }
            // Under a key it is asked for again, and may be there for that.
            Some(Err(error)) if error.code == Code::DiskFull && !self.wanted.is_keyed => {
                self.ledger.note(format!("client: {tag} was refused for good"));
                Told::RefusedForGood
            }
            Some(Err(error)) => {
                self.ledger.note(format!("client: {tag}: {error}"));
                return None;
            }
            None => {
                self.ledger.note(format!("client: {tag}: no answer"));
                return None;
            }
        };
        self.ledger.lock().starts.entry(tag.to_owned()).or_default().push(told.clone());
        match told {
            Told::Started(run) => Some(run),
            Told::RefusedForGood => None,
        }
    }

    async fn send(&self, run: RunKey, what: &ToSend, after: Duration, message: MessageId) {
        tokio::time::sleep(after).await;
        match what {
            ToSend::Signal(name) => self.signal(run, name, message).await,
            ToSend::Update(name) => self.update(run, name).await,
        }
    }

    /// Asks until there is an answer, and then once more.
    async fn update(&self, run: RunKey, name: &str) {
        let payload: Arc<str> = plan::payload_of(name).to_string().into();
        let mut told = 0;
        while told < 2 {
            let (name, payload) = (Arc::from(name), payload.clone());
            let key = Some(format!("update {name}"));
            let (run_id, asked, expires_in) = (run.run, payload.clone(), None);
            let request = UpdateRequest { run: run_id, name, payload: asked, idempotency_key: key, expires_in };
            let process = self.serving.get();
            let asking = async {
                let message = process.host.update(request).await?;
                process.host.update_answer(run.run, message, PATIENCE / 2).await.map(|answer| (message, answer))
            };
            let answer = process.ask(PATIENCE, asking).await;
            self.ledger.note(format!("client: an update of {}: {answer:?}", run.run));
            match answer {
                Some(Ok((message, Some(UpdateAnswer::Output(output))))) => {
                    if output != payload {
                        self.ledger.broken(Promise::SameEnd, format!("an update {payload} was answered {output}"));
                    }
                    self.ledger.lock().replied.push((run, message));
                    told += 1;
                }
                // It ended before, or will never take it.
                Some(Ok((_, Some(UpdateAnswer::Refused(_))))) => return,
                Some(Err(error)) if matches!(error.code, Code::RunEnded | Code::UpdateUnanswered) => return,
                Some(Err(error)) if self.is_gone(run, &error) => return,
                Some(Ok((_, None))) if self.has_stopped(&process, run).await => return,
                Some(Ok((_, None)) | Err(_)) | None => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }

    /// There is nothing to go on with: it was removed, as somebody asked, or lost.
    fn is_gone(&self, run: RunKey, error: &trackway::Error) -> bool {
        let is_gone = error.code == Code::NoSuchRun;
        if is_gone && !self.ledger.is_removing(run) {
            self.ledger.broken(Promise::Acknowledged, format!("run {} was acknowledged: {error}", run.run));
        }
        is_gone
    }

    /// Nothing goes on by itself there.
    async fn has_stopped(&self, process: &Process, run: RunKey) -> bool {
        let head = process.ask(PATIENCE, process.host.head(run.run)).await.and_then(Result::ok);
        head.is_some_and(|head| head.status.has_ended() || head.status == Status::Stuck)
    }

    /// Sends until it is told that it arrived, and then once more, as one does who did not hear it.
    async fn signal(&self, run: RunKey, name: &str, message: MessageId) {
        let payload = Value::inline(plan::payload_of(name).to_string());
        let body = InboxBody::Signal { name: name.into(), payload, from: None };
        if self.deliver(run, message, &body).await {
            self.ledger.lock().signals.push((run, message));
            self.deliver(run, message, &body).await;
        }
    }

    async fn hold(&self, run: RunKey, after: Duration, lasting: Duration, [hold, release]: [MessageId; 2]) {
        tokio::time::sleep(after).await;
        if self.deliver(run, hold, &InboxBody::Pause { reason: "not now".into() }).await {
            tokio::time::sleep(lasting).await;
            self.deliver(run, release, &InboxBody::Resume).await;
        }
    }

    /// Sends until somebody answers; whether it arrived.
    async fn deliver(&self, run: RunKey, message: MessageId, body: &InboxBody) -> bool {
        loop {
            let process = self.serving.get();
            let item = InboxItem { message, arrived: process.clock.now(), body: body.clone() };
            let sent = process.ask(PATIENCE, process.door.send(run, item)).await;
            self.ledger.note(format!("client: {body:?} to {} {}: {sent:?}", run.run, message.0));
            match sent {
                Some(Ok(Sent::Delivered)) => return true,
                Some(Ok(Sent::NoSuchRun)) if self.ledger.is_removing(run) => return false,
                Some(Ok(Sent::NoSuchRun)) => {
                    let what = format!("run {} was acknowledged and is not there to be sent to", run.run);
                    self.ledger.broken(Promise::Acknowledged, what);
                    return false;
                }
                Some(Ok(Sent::Differs)) => {
                    let what = format!("message {} to run {} is known as another one", message.0, run.run);
                    self.ledger.broken(Promise::Acknowledged, what);
                    return false;
                }
                Some(Ok(Sent::Ended(_))) => return false,
                Some(Ok(Sent::Full) | Err(_)) | None => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }

    async fn cancel(&self, run: RunKey, (after, grace_ms): (Duration, Option<u64>), message: MessageId) {
        tokio::time::sleep(after).await;
        let reason: Arc<str> = "asked to".into();
        let body = match grace_ms {
            Some(grace_ms) => InboxBody::CancelWithin { reason, grace_ms },
            None => InboxBody::Cancel { reason },
        };
        for _ in 0..CANCELS_MAX {
            let process = self.serving.get();
            let arrived = process.clock.now();
            let item = InboxItem { message, arrived, body: body.clone() };
            let sent = process.ask(PATIENCE, process.door.send(run, item)).await;
            self.ledger.note(format!("client: cancel {} {}: {sent:?}", run.run, message.0));
            match sent {
                Some(Ok(Sent::Delivered)) => {
                    let acknowledged = self.ledger.now();
                    self.ledger.lock().cancels.push(Cancelled { run, message, arrived, acknowledged });
                    return;
                }
                Some(Ok(Sent::NoSuchRun)) if self.ledger.is_removing(run) => return,
                Some(Ok(Sent::NoSuchRun)) => {
                    let what = format!("run {} was acknowledged and is not there to be cancelled", run.run);
                    self.ledger.broken(Promise::Acknowledged, what);
                    return;
                }
                Some(Ok(Sent::Ended(_) | Sent::Full | Sent::Differs)) => return,
                Some(Err(_)) | None => {}
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}
