//! The world outside, as scripted remote servers and models: slow, silent, failing, and each answer with a token
//! of its own. It judges what reaches it: nothing may whose cause is not durable by then.

use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use trackway::effects::{Effects, HttpCall, ModelAnswer, ModelCall, ModelRequest, ModelUse};
use trackway_replay::{
    Answered, EffectAsked, EffectId, EffectRequest, Entry, Failure, Finish, Frame, Kind, Outcome, RunId, StepId,
    TenantId, Usage, Value,
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
    /// How often it was reached under each address, and models under each key.
    reached: BTreeMap<String, u32>,
    /// What each answer of a model took, by its token.
    used: BTreeMap<String, Used>,
}

/// What an answer of a model took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    pub usage: Usage,
    pub cost_nanousd: Option<u64>,
}

impl World {
    pub fn new(seed: u64, manners: Manners, ledger: Arc<Ledger>) -> World {
        let dice = Dice::of(seed, "world");
        let (told, reached, used) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let state = State { dice, manners, answers: 0, heard: None, told, requests: 0, reached, used };
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

    pub fn used(&self) -> BTreeMap<String, Used> {
        self.lock().used.clone()
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
    what: Asked,
}

enum Asked {
    Http { url: String },
    Model { key: Arc<str> },
}

impl Asking {
    fn of_http(call: &HttpCall) -> Option<Asking> {
        let url = call.request.url();
        Asking::at(url.path().trim_start_matches('/'), Asked::Http { url: url.to_string() })
    }

    fn of_model(call: &ModelCall) -> Option<(Asking, String)> {
        let address = call.request.messages().iter().find_map(|message| message.content.clone())?;
        let asking = Asking::at(address.split('?').next()?, Asked::Model { key: call.key.clone() })?;
        Some((asking, address))
    }

    fn at(place: &str, what: Asked) -> Option<Asking> {
        let parts: Vec<&str> = place.split('/').collect();
        let [run, step, attempt, _number] = parts[..] else { return None };
        Some(Asking { run: run.parse().ok()?, step: StepId(step.parse().ok()?), attempt: attempt.parse().ok()?, what })
    }

    fn is_in(&self, asked: &EffectAsked) -> bool {
        let is_it = match (&asked.request, &self.what) {
            (EffectRequest::Http { request: Value::Inline(request), .. }, Asked::Http { url }) => {
                request.contains(&format!("\"{url}\""))
            }
            (EffectRequest::Model { .. }, Asked::Model { key }) => asked.key.as_ref() == Some(key),
            _ => false,
        };
        asked.step == self.step && is_it && (self.attempt == 0 || asked.attempt == self.attempt)
    }

    /// As it is counted.
    fn address(&self) -> &str {
        match &self.what {
            Asked::Http { url } => url,
            Asked::Model { key } => key,
        }
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
        let place = format!("{}/{}.{} {}", asking.run, asking.step, asking.attempt, asking.address());
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
        let Some(asking) = Asking::of_http(&call) else {
            return Box::pin(async { Err(Failure::permanent("BAD_URL", "nobody lives there")) });
        };
        self.judge(&asking);
        let Answer { status, delay, body, pad } = self.world.lock().answer(&asking, asking.address());
        let line = format!("world {} {}.{} -> {status} {body} {delay:?}", asking.run, asking.step, asking.attempt);
        self.world.ledger.note(line);
        Box::pin(async move {
            pass(delay).await;
            let headers = [["x-pad", &"x".repeat(pad)]];
            Ok(serde_json::json!({ "status": status, "headers": headers, "body": body, "tries": [] }).to_string())
        })
    }

    fn model(&self, call: ModelCall) -> BoxFuture<'static, Result<ModelAnswer, Failure>> {
        let Some((asking, address)) = Asking::of_model(&call) else {
            return Box::pin(async { Err(Failure::permanent("BAD_ADDRESS", "nobody lives there")) });
        };
        self.judge(&asking);
        let mut state = self.world.lock();
        let Answer { status, delay, body, pad } = state.answer(&asking, &address);
        let used = state.use_up(&body);
        let heard = call.request.messages().iter().filter_map(|message| message.content.as_deref()).flat_map(tokens);
        let heard: Vec<(RunId, String)> = heard.map(|token| (asking.run, token.to_owned())).collect();
        state.told.extend(heard);
        drop(state);
        let line =
            format!("model {}/{}.{} -> {status} {body} {used:?} {delay:?}", asking.run, asking.step, asking.attempt);
        self.world.ledger.note(line);
        Box::pin(async move {
            pass(delay).await;
            if status != 200 {
                return Err(Failure::new("MODEL_OVERLOADED", "not now"));
            }
            Ok(said(&call.request, &address, &body, used, pad))
        })
    }
}

async fn pass(delay: Option<Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep(delay).await,
        None => std::future::pending().await,
    }
}

/// What a model says to an agent: it wants its tool as often as the address says, one call after the other or all at
/// once. It has nothing else to say but its token.
fn said(request: &ModelRequest, address: &str, body: &str, used: Used, pad: usize) -> ModelAnswer {
    let field = |name: &str| address.split('&').find_map(|part| part.strip_prefix(name)).unwrap_or_default();
    let count: usize = field("calls=").parse().unwrap_or(0);
    let begun = request.messages().iter().filter(|message| !message.tool_calls.is_empty()).count();
    let wanted = match (field("at_once="), begun) {
        ("true", 0) => 0..count,
        ("true", _) => count..count,
        (_, nth) => nth..count.min(nth + 1),
    };
    let calls = wanted.map(|nth| {
        let arguments = serde_json::json!({ "nth": nth }).to_string();
        serde_json::json!({ "id": format!("c{nth}"), "name": "act", "arguments": arguments })
    });
    let calls: Vec<serde_json::Value> = calls.collect();
    let finish = if calls.is_empty() { Finish::Stop } else { Finish::ToolCalls };
    let Used { usage, cost_nanousd } = used;
    let body = serde_json::json!({
        "provider": "scripted", "model": "m-1", "id": "x".repeat(pad), "content": body, "tool_calls": calls,
        "finish_reason": finish.name(), "usage": usage, "cost_nanousd": cost_nanousd, "price": null, "tries": [],
    });
    let used = ModelUse { provider: "scripted".into(), model: "m-1".into(), finish, usage, cost_nanousd };
    ModelAnswer { body: body.to_string(), used }
}

struct Answer {
    status: u16,
    /// None: never.
    delay: Option<Duration>,
    body: String,
    /// So much longer.
    pad: usize,
}

impl State {
    /// `asked`: what it is told.
    fn answer(&mut self, asking: &Asking, asked: &str) -> Answer {
        self.requests += 1;
        *self.reached.entry(asking.address().to_owned()).or_default() += 1;
        self.answers += 1;
        let mut body = format!("~e{:x}~", self.answers);
        let told: Vec<String> = tokens(asked).map(str::to_owned).collect();
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
        Answer { status, delay: (!is_silent).then(|| Duration::from_millis(delay_ms)), body, pad }
    }

    /// What the answer takes whose token stands first in `body`.
    fn use_up(&mut self, body: &str) -> Used {
        let cached_tokens = self.dice.within(0..=50);
        let usage = Usage {
            input_tokens: cached_tokens + self.dice.within(1..=500),
            output_tokens: self.dice.within(1..=200),
            cached_tokens,
            cache_write_tokens: 0,
        };
        let cost_nanousd = (!self.dice.chance(10)).then(|| self.dice.within(1..=100_000));
        let used = Used { usage, cost_nanousd };
        self.used.extend(tokens(body).next().map(|token| (token.to_owned(), used)));
        used
    }
}
