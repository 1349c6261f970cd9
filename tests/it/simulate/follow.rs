//! A client that follows a run to its end, and does what the run waits for: it answers questions, settles promises and
//! says what is to be done about steps that wait for a person. It notes what it sees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use trackway::Code;
use trackway::host::{AnswerRequest, RetryRequest, SettleRequest, Settlement};
use trackway_replay::{
    EffectId, EffectRequest, EffectVerdict, Failure, Kind, Park, Position, PromiseToken, QuestionName, Status, StepId,
    StepRequest, Value,
};
use trackway_storage::{RunKey, Storage};

use super::asking::Questions;
use super::client::{PATIENCE, Serving};
use super::dice::Dice;
use super::ledger::{Ledger, Promise};
use super::plan;
use super::process::Process;
use super::token::tokens;

/// How often a client that follows a run looks at its trace and its log, too.
const LOOKED_AT_PERCENT: u64 = 30;

/// Reads a run again and again, as a page or a stream of events does.
pub struct Follow<'a> {
    serving: &'a Serving,
    ledger: &'a Ledger,
    dice: Dice,
    run: RunKey,
    /// Asked, and not answered by this client.
    questions: BTreeSet<StepId>,
    /// The same of functions.
    of_functions: Questions,
    /// What was asked of models.
    models: BTreeSet<(StepId, EffectId)>,
    /// Waits for a person since that entry, and what this client will say to it.
    parked: BTreeMap<StepId, (Position, RetryRequest)>,
    /// Made, and not settled by this client; with what it settles them.
    promises: BTreeMap<StepId, (PromiseToken, Arc<str>)>,
    /// Of which the tokens of the run are made.
    seed: [u8; 32],
}

impl<'a> Follow<'a> {
    pub fn new(serving: &'a Serving, ledger: &'a Ledger, dice: Dice, run: RunKey) -> Follow<'a> {
        Follow {
            serving,
            ledger,
            dice,
            run,
            questions: BTreeSet::new(),
            of_functions: Questions::default(),
            models: BTreeSet::new(),
            parked: BTreeMap::new(),
            promises: BTreeMap::new(),
            seed: [0; 32],
        }
    }

    pub async fn until_it_ends(mut self) {
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
            self.of_functions.answer(&process, self.ledger, &mut self.dice, self.run).await;
            self.settle(&process).await;
            self.retry(&process).await;
            if self.dice.chance(LOOKED_AT_PERCENT) {
                self.look_at(&process).await;
            }
            let head = process.ask(PATIENCE, process.host.head(self.run.run)).await;
            if matches!(&head, Some(Err(error)) if error.code == Code::NoSuchRun) {
                if !self.ledger.is_removing(self.run) {
                    let what = format!("run {} was acknowledged and is not there to be followed", self.run.run);
                    self.ledger.broken(Promise::Acknowledged, what);
                }
                return;
            }
            let head = head.and_then(Result::ok);
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
                question: QuestionName { step, effect: None },
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
        for (step, (since, request)) in self.parked.clone() {
            let line =
                format!("client: retries {step} of {} with {:?} {:?}", self.run.run, request.verdict, request.with);
            let key = format!("retry since {since}");
            let told = process.ask(PATIENCE, process.host.retry(self.run.run, request, Some(&key))).await;
            self.ledger.note(format!("{line}: {told:?}"));
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

    /// What a person found out about a request, or a call of a model.
    fn verdict(&mut self, is_model: bool) -> EffectVerdict {
        match self.dice.within(0..=2) {
            0 => EffectVerdict::Repeat,
            1 => EffectVerdict::Fail,
            _ => {
                let body = format!("~e{:x}~", self.dice.next());
                let answer = match is_model {
                    true => serde_json::json!({ "content": body, "tool_calls": [], "finish_reason": "stop" }),
                    false => serde_json::json!({ "status": 200, "headers": [], "body": body, "tries": [] }),
                };
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
        self.of_functions.saw(&entry.kind, &mut self.dice);
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
            Kind::EffectAsked(asked) if matches!(asked.request, EffectRequest::Model { .. }) => {
                self.models.insert((asked.step, asked.effect));
            }
            Kind::Parked(parked) => {
                let verdict = match parked.park {
                    Park::Unclear(effect) => Some(self.verdict(self.models.contains(&(parked.step, effect)))),
                    Park::Exhausted | Park::ExhaustedKeeping(_) => None,
                };
                // By what is deployed now, or as before.
                let with = self.dice.chance(40).then(|| "chaos".to_owned());
                let request = RetryRequest { step: Some(parked.step), with, verdict };
                self.parked.insert(parked.step, (entry.position, request));
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
