//! The world outside, as scripted remote servers: slow, silent, failing, and each answer with a token
//! of its own. It judges what reaches it: nothing may whose cause is not durable by then.

use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use trackway::effects::{Effects, HttpCall, ModelAnswer, ModelCall};
use trackway_replay::{
    Answered, EffectAsked, EffectId, EffectRequest, Entry, Failure, Frame, Kind, Outcome, RunId, StepId, TenantId,
    Value,
};
use trackway_storage::{MemoryStorage, RunKey};

use super::contacts::Contacts;
use super::dice::Dice;
use super::ledger::{Ledger, Promise};
use super::token::tokens;

/// How often the world is what, in percent of the requests.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    pub slow: u64,
    pub silent: u64,
    pub failing: u64,
}

pub struct World {
    ledger: Arc<Ledger>,
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    manners: Manners,
    answers: u64,
    /// What was told last, and by whom.
    heard: Option<(RunId, String)>,
    /// Everything that it was told.
    told: Vec<(RunId, String)>,
    requests: u64,
    /// How often it was reached under each address.
    reached: BTreeMap<String, u32>,
}

impl World {
    pub fn new(seed: u64, manners: Manners, ledger: Arc<Ledger>) -> World {
        let dice = Dice::of(seed, "world");
        let state =
            State { dice, manners, answers: 0, heard: None, told: Vec::new(), requests: 0, reached: BTreeMap::new() };
        World { ledger, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn behave(&self, manners: Manners) {
        self.lock().manners = manners;
    }

    pub fn told(&self) -> Vec<(RunId, String)> {
        self.lock().told.clone()
    }

    pub fn reached(&self) -> BTreeMap<String, u32> {
        self.lock().reached.clone()
    }

    pub fn requests(&self) -> u64 {
        self.lock().requests
    }
}

/// The world as one process reaches it.
pub struct Reach {
    pub world: Arc<World>,
    pub store: Arc<MemoryStorage>,
}

struct Asking {
    run: RunId,
    step: StepId,
    /// 0: of whichever attempt goes on with what others did.
    attempt: u32,
    url: String,
}

impl Asking {
    fn of(call: &HttpCall) -> Option<Asking> {
        let url = call.request.url();
        let parts: Vec<&str> = url.path().split('/').skip(1).collect();
        let [run, step, attempt, _number] = parts[..] else { return None };
        Some(Asking {
            run: run.parse().ok()?,
            step: StepId(step.parse().ok()?),
            attempt: attempt.parse().ok()?,
            url: url.to_string(),
        })
    }

    fn is_in(&self, asked: &EffectAsked) -> bool {
        let EffectRequest::Http { request: Value::Inline(request), .. } = &asked.request else { return false };
        let is_its = self.attempt == 0 || asked.attempt == self.attempt;
        asked.step == self.step && is_its && request.contains(&format!("\"{}\"", self.url))
    }
}

fn entries(store: &MemoryStorage, run: RunId) -> Vec<Entry> {
    let frames = store.standing(RunKey { tenant: TenantId::DEFAULT, run });
    frames.iter().filter_map(|frame| Frame::decode(&frame.frame).ok()).flat_map(|frame| frame.entries).collect()
}

impl Reach {
    fn judge(&self, asking: &Asking) {
        let ledger = &self.world.ledger;
        let entries = entries(&self.store, asking.run);
        let cause = entries.iter().rev().find_map(|entry| match &entry.kind {
            Kind::EffectAsked(asked) if asking.is_in(asked) => Some((asked.attempt, asked.effect)),
            _ => None,
        });
        let place = format!("{}/{}.{} {}", asking.run, asking.step, asking.attempt, asking.url);
        let Some(effect) = cause else {
            ledger.broken(Promise::CauseFirst, format!("{place} reached the world; its cause is not durable"));
            return;
        };
        // Whoever lost the run and does not know it yet may do again what was under way: no one can
        // tell it in time.
        if self.store.is_newest() && is_over(&entries, asking, effect) {
            ledger.broken(Promise::NotTwice, format!("{place} reached the world after its answer was durable"));
        }
    }
}

/// Nobody waits for an answer any more.
fn is_over(entries: &[Entry], asking: &Asking, (attempt, effect): (u32, EffectId)) -> bool {
    let step = asking.step;
    if asking.attempt == 0 {
        let has_succeeded = |entry: &Entry| answers(&entry.kind, (step, u32::MAX, effect));
        return !Contacts::of(entries, step).is_open(effect) || entries.iter().any(has_succeeded);
    }
    entries.iter().any(|entry| answers(&entry.kind, (step, attempt, effect)))
}

fn answers(kind: &Kind, (of, attempt, effect): (StepId, u32, EffectId)) -> bool {
    match kind {
        Kind::EffectAnswered(answered) => (answered.step, answered.attempt, answered.effect) == (of, attempt, effect),
        Kind::Failed(failed) => failed.step == of && failed.attempt >= attempt,
        // A step or run that was cancelled is over, not done: its effect is one that nobody answered.
        Kind::Answered(Answered { step, outcome: Outcome::Succeeded(_) }) => *step == of,
        _ => false,
    }
}

impl Effects for Reach {
    fn http(&self, call: HttpCall) -> BoxFuture<'static, Result<String, Failure>> {
        let Some(asking) = Asking::of(&call) else {
            return Box::pin(async { Err(Failure::permanent("BAD_URL", "nobody lives there")) });
        };
        self.judge(&asking);
        let (status, delay, body, pad) = self.world.lock().answer(&asking);
        let line = format!("world {} {}.{} -> {status} {body} {delay:?}", asking.run, asking.step, asking.attempt);
        self.world.ledger.note(line);
        Box::pin(async move {
            match delay {
                Some(delay) => tokio::time::sleep(delay).await,
                None => std::future::pending().await,
            }
            let headers = [["x-pad", &"x".repeat(pad)]];
            Ok(serde_json::json!({ "status": status, "headers": headers, "body": body, "tries": [] }).to_string())
        })
    }

    fn model(&self, _: ModelCall) -> BoxFuture<'static, Result<ModelAnswer, Failure>> {
        Box::pin(async { Err(Failure::permanent("MODEL_UNKNOWN", "there are no models here")) })
    }
}

impl State {
    fn answer(&mut self, asking: &Asking) -> (u16, Option<Duration>, String, usize) {
        self.requests += 1;
        *self.reached.entry(asking.url.clone()).or_default() += 1;
        self.answers += 1;
        let mut body = format!("~e{:x}~", self.answers);
        let told: Vec<String> = tokens(&asking.url).map(str::to_owned).collect();
        if let Some((run, heard)) = &self.heard
            && *run != asking.run
        {
            body.push_str(&format!(" heard ~{heard}~"));
        }
        if let Some(last) = told.last() {
            self.heard = Some((asking.run, last.clone()));
        }
        self.told.extend(told.into_iter().map(|token| (asking.run, token)));
        let delay_ms = match self.dice.within(0..=9) {
            0..=2 => 0,
            3..=8 => self.dice.within(1..=30),
            _ => self.dice.within(30..=300),
        };
        let delay_ms = if self.dice.chance(self.manners.slow) { self.dice.within(500..=30_000) } else { delay_ms };
        let is_silent = self.dice.chance(self.manners.silent);
        let status = if self.dice.chance(self.manners.failing) { 500 } else { 200 };
        // Larger ones stand beside the journal.
        let pad = if self.dice.chance(15) { self.dice.within(400..=8_000) as usize } else { 0 };
        (status, (!is_silent).then(|| Duration::from_millis(delay_ms)), body, pad)
    }
}
