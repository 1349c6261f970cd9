//! The clients of a simulation: they start runs, send to them, hold them, cancel them and follow them, and
//! note what they are told. They go on with the next process when one dies.

use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use trackway::Code;
use trackway::effects::Clock;
use trackway::host::{
    AnswerRequest, RetryRequest, SettleRequest, Settlement, StartRequest, UpdateAnswer, UpdateRequest,
};
use trackway::worker::StartAnswer;
use trackway_replay::{
    EffectVerdict, Failure, Kind, MessageId, Park, Position, PromiseToken, RunId, Status, StepId, StepRequest, TenantId, Value,
};
use trackway_storage::{InboxBody, InboxItem, RunKey, Sent, Storage};

use super::dice::Dice;
use super::listener::Listener;
use super::ledger::{Cancelled, Ledger, Promise, Told};
use super::plan::{self, ToSend};
use super::process::Process;
use super::setup::Wanted;
use super::token::tokens;

/// How long a client waits for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
const AGAIN_AFTER: Duration = Duration::from_millis(25);
/// How often a client that follows a run looks at its trace and its log, too.
const LOOKED_AT_PERCENT: u64 = 30;
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
            .map(|after| Listener::new(&self.serving, &self.ledger, Dice::of(message().0 as u64, "listener"), run).listen(*after))
            .collect();
        let follow = Follow::new(&self.serving, &self.ledger, dice, run);
        tokio::join!(join_all(cancels), join_all(sent), join_all(pauses), join_all(listeners), follow.until_it_ends());
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
                Some(Ok((_, None))) if self.has_stopped(&process, run).await => return,
                Some(Ok((_, None)) | Err(_)) | None => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
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

/// Reads a run again and again, as a page or a stream of events does.
struct Follow<'a> {
    serving: &'a Serving,
    ledger: &'a Ledger,
    dice: Dice,
    run: RunKey,
    /// Asked, and not answered by this client.
    questions: BTreeSet<StepId>,
    /// Waits for a person since that entry, and what this client will say to it.
    parked: BTreeMap<StepId, (Position, Option<EffectVerdict>)>,
    /// Made, and not settled by this client; with what it settles them.
    promises: BTreeMap<StepId, (PromiseToken, Arc<str>)>,
    /// Of which the tokens of the run are made.
    seed: [u8; 32],
}

impl<'a> Follow<'a> {
    fn new(serving: &'a Serving, ledger: &'a Ledger, dice: Dice, run: RunKey) -> Follow<'a> {
        let (questions, parked, promises) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Follow { serving, ledger, dice, run, questions, parked, promises, seed: [0; 32] }
    }

    async fn until_it_ends(mut self) {
        let mut known = Position::FIRST;
        let mut idle: u64 = 0;
        loop {
            let process = self.serving.get();
            let before = known;
            match process.ask(PATIENCE, process.host.entries(self.run.run, known)).await {
                Some(Ok(entries)) => entries.into_iter().for_each(|entry| {
                    known = known.max(entry.position.plus(1));
                    self.saw(entry);
                }),
                Some(Err(error)) if error.code == Code::JournalUnreadable => {
                    self.ledger.broken(Promise::OneOrder, error.to_string());
                }
                Some(Err(_)) | None => {}
            }
            self.answer(&process).await;
            self.settle(&process).await;
            self.retry(&process).await;
            if self.dice.chance(LOOKED_AT_PERCENT) {
                self.look_at(&process).await;
            }
            let head = process.ask(PATIENCE, process.host.head(self.run.run)).await.and_then(Result::ok);
            let status = head.map(|head| head.status);
            if let Some(status) = status.filter(|status| status.has_ended()) {
                self.ledger.note(format!("client: {} is {}", self.run.run, status.name()));
                self.ledger.lock().ends_seen.entry(self.run).or_insert(status);
                self.look_at(&process).await;
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

    /// Answers what is asked, each until it is told that this counts.
    async fn answer(&mut self, process: &Process) {
        for step in self.questions.clone() {
            let request = AnswerRequest {
                run: self.run.run,
                step,
                answer: plan::person().to_string().into(),
                by: None,
                idempotency_key: Some(format!("answer to {step}")),
            };
            let told = process.ask(PATIENCE, process.host.answer(request)).await;
            self.ledger.note(format!("client: answers {} of {}: {told:?}", step, self.run.run));
            if let Some(Ok(_)) = told {
                self.questions.remove(&step);
            }
        }
    }

    /// Has tried again what waits for a person, each until it is told that this counts.
    async fn retry(&mut self, process: &Process) {
        for (step, (since, verdict)) in self.parked.clone() {
            let request = RetryRequest { step: Some(step), with: None, verdict: verdict.clone() };
            let key = format!("retry since {since}");
            let told = process.ask(PATIENCE, process.host.retry(self.run.run, request, Some(&key))).await;
            self.ledger.note(format!("client: retries {step} of {} with {verdict:?}: {told:?}", self.run.run));
            match told {
                Some(Ok(_)) => {
                    self.parked.remove(&step);
                    self.ledger.lock().retried.push((self.run, step, since));
                }
                // It was told so before, or nobody waits for it any more.
                Some(Err(error)) if matches!(error.code, Code::NothingToRetry | Code::RunEnded) => {
                    self.parked.remove(&step);
                }
                Some(Err(_)) | None => {}
            }
        }
    }

    /// What a person found out about a request.
    fn verdict(&mut self) -> EffectVerdict {
        match self.dice.within(0..=2) {
            0 => EffectVerdict::Repeat,
            1 => EffectVerdict::Fail,
            _ => {
                let body = format!("~e{:x}~", self.dice.next());
                let answer = serde_json::json!({ "status": 200, "headers": [], "body": body, "tries": [] });
                EffectVerdict::Answer(Value::inline(answer.to_string()))
            }
        }
    }

    /// Resolves what was promised, each until it is told that this counts; then nobody may reject it.
    async fn settle(&mut self, process: &Process) {
        for (step, (token, value)) in self.promises.clone() {
            let request = |with| SettleRequest { token: token.to_string(), with, idempotency_key: None };
            let resolve = request(Settlement::Resolved(value));
            let told = process.ask(PATIENCE, process.host.settle(resolve)).await;
            self.ledger.note(format!("client: settles {step} of {}: {told:?}", self.run.run));
            let Some(Ok(_)) = told else { continue };
            self.promises.remove(&step);
            self.ledger.lock().settled.push((self.run, step));
            let reject = request(Settlement::Rejected(Failure::permanent("LATE", "after it was resolved")));
            if let Some(Ok(promise)) = process.ask(PATIENCE, process.host.settle(reject)).await {
                self.ledger.broken(Promise::NotTwice, format!("{promise:?} was resolved, and then rejected"));
            }
        }
    }

    /// Reads trace and log.
    async fn look_at(&self, process: &Process) {
        if let Some(Ok(growth)) = process.ask(PATIENCE, process.host.trace(self.run.run)).await {
            let text = serde_json::to_string(&growth.trace).expect("a trace is JSON");
            let shown = tokens(&text).map(|token| (self.run, token.to_owned()));
            self.ledger.lock().shown.extend(shown);
        }
        if let Some(Ok(page)) = process.ask(PATIENCE, process.host.states(self.run.run, None, usize::MAX)).await {
            let states = page.states.into_iter().map(|state| (self.run, state.position, state.key));
            self.ledger.lock().states_seen.extend(states);
        }
        let Some(Ok(lines)) = process.ask(PATIENCE, process.host.logs(self.run.run, None, usize::MAX)).await else {
            return;
        };
        for line in lines {
            let place = (self.run, line.key);
            let before = self.ledger.lock().lines_seen.insert(place, line.message.clone());
            if before.as_ref().is_some_and(|before| *before != line.message) {
                let what = format!("{place:?}: a client saw the line {before:?}, and later {}", line.message);
                self.ledger.broken(Promise::NothingLeaks, what);
            }
        }
    }

    fn saw(&mut self, entry: trackway_replay::Entry) {
        match &entry.kind {
            Kind::Started(started) => self.seed = started.seed,
            Kind::Asked(asked) => match &asked.request {
                StepRequest::AskPerson { .. } => {
                    self.questions.insert(asked.step);
                }
                StepRequest::Promise { name, .. } => {
                    let token = PromiseToken::of(self.seed, self.run.run, asked.step);
                    self.promises.insert(asked.step, (token, plan::payload_of(name).to_string().into()));
                }
                _ => {}
            },
            Kind::Parked(parked) => {
                let verdict = matches!(parked.park, Park::Unclear(_)).then(|| self.verdict());
                self.parked.insert(parked.step, (entry.position, verdict));
            }
            // Cancelled or dropped.
            Kind::Answered(_) | Kind::Forgotten(_) => {
                if let Some(step) = entry.kind.step() {
                    self.parked.remove(&step);
                    self.questions.remove(&step);
                    self.promises.remove(&step);
                }
            }
            _ => {}
        }
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
