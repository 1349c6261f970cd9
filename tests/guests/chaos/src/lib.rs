//! A workflow that does what its input says, and a function that does the same. Every execution
//! answers with a token of its own, so that an answer which leaked from a lost past is known by it.
//! The package `chaos-next` is the same file: its newer code, to which runs can be moved.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::SystemTime;
use trackway_sdk::prelude::*;
use trackway_sdk::serde_json::{Value as Json, json};
use trackway_sdk::{AgentTool, Role, Usd};

/// How many tokens a workflow tells the next function, and so the world.
const TOLD_MAX: usize = 3;
const MODEL: &str = "scripted/m";

#[value]
pub struct Plan {
    pub acts: Vec<Act>,
    /// Goes on when it is cancelled.
    #[serde(default)]
    pub stubborn: bool,
    /// For whoever reads the journal; nothing is done with it.
    #[serde(default)]
    pub tag: String,
    /// Goes on with this when all is done, and gives what that gives.
    #[serde(default)]
    pub then: Option<Box<Plan>>,
}

#[value]
#[serde(rename_all = "snake_case")]
pub enum Act {
    Step(Work),
    SleepMs(u64),
    Turn(Vec<Act>),
    /// At once; what they gave, in their order.
    All(Vec<Act>),
    /// At once; what they gave, as they came.
    Come(Vec<Act>),
    /// The first to come; the others are dropped.
    Race(Vec<Act>),
    /// Starts the work, does the other, drops the work.
    Drop(Work, Box<Act>),
    /// Starts the work, does the other, cancels the work and waits for it.
    Cancel(Work, Box<Act>),
    /// Waits for what is sent under the name.
    Signal(String),
    /// Waits for a person to answer.
    Ask(String),
    /// Makes a promise and waits until it is settled.
    Promise(String),
    /// Whether this code is as new as that.
    Patched(String),
    /// Something that only the newer code does, where a run has not come past it.
    Newer(String),
    /// Publishes a number under the key, and the next one.
    Publish(String),
    /// Tells an event of that name.
    Emit(String),
    /// Waits for an update of that name, and answers it.
    Update(String),
    /// Writes an entity that nobody else writes, and reads it.
    Keep(String),
    /// Another run of this workflow.
    Child(Box<Plan>),
    /// Gives up after so many milliseconds.
    Within(u64, Box<Act>),
    /// Also where the run is cancelled meanwhile.
    Shield(Box<Act>),
    /// The works one after the other; if it `fails` then, each is undone by a work.
    Saga {
        works: Vec<Work>,
        fails: bool,
    },
}

#[value]
#[derive(Clone, Default)]
pub struct Work {
    #[serde(default)]
    pub effects: Vec<Effect>,
    /// So many attempts fail before one succeeds.
    #[serde(default)]
    pub fails: u32,
    /// So many attempts fail for good.
    #[serde(default)]
    pub stumbles: u32,
    #[serde(default)]
    pub gives_up: bool,
    /// Bytes by which the answer is longer.
    #[serde(default)]
    pub pad: usize,
    #[serde(default)]
    pub told: Vec<String>,
    /// Says how far it is before each contact with the world.
    #[serde(default)]
    pub beats: bool,
    /// Tells those who follow the run what it hears.
    #[serde(default)]
    pub tells: bool,
    #[serde(default)]
    pub policy: Policy,
}

/// How a step is made, where not as its function says.
#[value]
#[derive(Clone, Default)]
#[serde(default)]
pub struct Policy {
    pub heartbeat_ms: Option<u64>,
    pub attempts: Option<u32>,
    /// A person says what becomes of it when it has failed so often.
    pub parks: bool,
    /// The next attempt goes on with what a failed one had done.
    pub resumes: bool,
    /// What is done about contacts of which nobody knows whether they came about.
    pub unclear: Option<Unclear>,
    /// It has begun by then, and is answered by then.
    pub start_ms: Option<u64>,
    pub close_ms: Option<u64>,
}

#[value]
#[derive(Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum Unclear {
    Fail,
    Compensate,
    Ask,
}

#[value]
#[derive(Clone)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Get,
    Post,
    /// So many posts at once.
    Posts(u32),
    NapMs(u64),
    Model,
    /// So many calls of a model at once.
    Models(u32),
    /// A question to a person under that title.
    Ask(String),
    /// One that is given up after so many milliseconds.
    AskWithin(String, u64),
    Agent(Chat),
    /// An agent that begins and is left as it is.
    Leave,
}

/// What an agent does: a call of its tool for each list.
#[value]
#[derive(Clone)]
pub struct Chat {
    pub calls: Vec<Vec<Effect>>,
    /// The model asks for all calls in one answer.
    pub at_once: bool,
    /// A person is asked before each call.
    pub needs_approval: bool,
}

/// Whether this is the newer code.
fn is_next() -> bool {
    env!("CARGO_PKG_NAME") == "chaos-next"
}

struct Doer {
    ctx: Ctx,
    stubborn: bool,
    told: RefCell<Vec<String>>,
}

type Doing<'a> = Pin<Box<dyn Future<Output = Result<Json, Failure>> + 'a>>;

impl Doer {
    fn work(&self, work: &Work) -> trackway_sdk::Operation<Vec<String>> {
        let told = self.told.borrow().clone();
        let mut step = self.ctx.step(work_on, Work { told, ..work.clone() });
        if let Some(heartbeat_ms) = work.policy.heartbeat_ms {
            step = step.heartbeat_timeout(Duration::from_millis(heartbeat_ms));
        }
        let mut retry = Retry::new();
        if work.policy.parks {
            retry = retry.attempts(work.policy.attempts.unwrap_or(1)).park();
        }
        if work.policy.resumes {
            retry = retry.resume();
        }
        if work.policy.parks || work.policy.resumes {
            step = step.retry(retry);
        }
        if let Some(unclear) = work.policy.unclear {
            step = step.ambiguous(match unclear {
                Unclear::Fail => Ambiguous::Fail,
                Unclear::Compensate => Ambiguous::Compensate,
                Unclear::Ask => Ambiguous::Ask,
            });
        }
        if let Some(start_ms) = work.policy.start_ms {
            step = step.schedule_to_start(Duration::from_millis(start_ms));
        }
        if let Some(close_ms) = work.policy.close_ms {
            step = step.schedule_to_close(Duration::from_millis(close_ms));
        }
        step
    }

    /// What a step gave, as the workflow's own output shows it.
    fn took(&self, answer: Result<Vec<String>, Failure>, is_ours: bool) -> Result<Json, Failure> {
        match answer {
            Ok(tokens) => {
                let shown = tokens.iter().filter(|token| token.starts_with('~'));
                self.ctx.log().info(format_args!("took {}", shown.cloned().collect::<Vec<_>>().join(" ")));
                let mut told = self.told.borrow_mut();
                // The world may have added what it heard from another run.
                let own = tokens.iter().filter_map(|token| token.split(' ').next());
                told.extend(own.filter(|token| token.starts_with('~')).map(str::to_owned));
                let surplus = told.len().saturating_sub(TOLD_MAX);
                told.drain(..surplus);
                Ok(json!(tokens))
            }
            Err(failure) if failure.is_cancelled() && !is_ours && !self.stubborn => Err(failure),
            Err(failure) => Ok(json!(format!("failed {}", failure.code))),
        }
    }

    /// What came of something else; a failure is nothing to end for, except where the run is cancelled.
    fn bore(&self, outcome: Result<Json, Failure>) -> Result<Json, Failure> {
        match outcome {
            Err(failure) if failure.is_cancelled() && !self.stubborn => Err(failure),
            Err(failure) => Ok(json!(format!("failed {}", failure.code))),
            given => given,
        }
    }

    fn act<'a>(&'a self, act: &'a Act) -> Doing<'a> {
        Box::pin(async move {
            match act {
                Act::Step(work) => self.took(self.work(work).await, false),
                Act::SleepMs(sleep_ms) => {
                    let slept = self.ctx.sleep(Duration::from_millis(*sleep_ms)).await;
                    self.bore(slept.map(|()| json!("slept")))
                }
                Act::Turn(acts) => {
                    let mut gave = Vec::new();
                    for act in acts {
                        gave.push(self.act(act).await?);
                    }
                    Ok(json!(gave))
                }
                Act::All(acts) => Ok(json!(try_join_all(acts.iter().map(|act| self.act(act))).await?)),
                Act::Come(acts) => {
                    let mut steps = Steps::new();
                    for (place, act) in acts.iter().enumerate() {
                        steps.push(async move { self.act(act).await.map(|gave| json!([place, gave])) });
                    }
                    let mut gave = Vec::new();
                    while let Some(next) = steps.next().await {
                        gave.push(next?);
                    }
                    Ok(json!(gave))
                }
                Act::Race(acts) => {
                    let mut steps = Steps::new();
                    for (place, act) in acts.iter().enumerate() {
                        steps.push(async move { self.act(act).await.map(|gave| json!([place, gave])) });
                    }
                    steps.next().await.unwrap_or(Ok(json!(null)))
                }
                Act::Drop(work, other) => {
                    let dropped = self.work(work).start();
                    let gave = self.act(other).await;
                    drop(dropped);
                    gave
                }
                Act::Cancel(work, other) => {
                    let mut cancelled = self.work(work).start();
                    let gave = self.act(other).await?;
                    cancelled.cancel();
                    Ok(json!([gave, self.took(cancelled.await, true)?]))
                }
                Act::Signal(name) => self.bore(self.ctx.signal::<Json>(name.as_str()).await),
                Act::Ask(title) => {
                    let form = Form::new(title.as_str()).approval("approve");
                    self.bore(self.ctx.ask::<Json>(form).await)
                }
                Act::Promise(name) => self.bore(self.ctx.promise::<Json>(name.as_str()).await),
                Act::Patched(id) => Ok(json!(self.ctx.patched(id))),
                Act::Newer(id) => {
                    if !is_next() || !self.ctx.patched(id) {
                        return Ok(json!("as ever"));
                    }
                    self.took(self.work(&Work { effects: vec![Effect::Post], ..Work::default() }).await, false)
                }
                Act::Publish(key) => {
                    self.ctx.publish(key, &1);
                    self.ctx.publish(key, &2);
                    Ok(json!("published"))
                }
                Act::Emit(name) => {
                    self.ctx.emit(name, &json!({ "sent": name }));
                    Ok(json!("told"))
                }
                Act::Update(name) => {
                    let taken = async {
                        let update = self.ctx.updates::<Json, Json>(name.as_str()).next().await?;
                        let request = update.request().clone();
                        update.answer(&request);
                        Ok(request)
                    };
                    self.bore(taken.await)
                }
                Act::Keep(name) => {
                    // Not by the run's id, which is another one where the run is started anew from a step.
                    let entity = self.ctx.entity("kept", format!("{:x}-{name}", self.ctx.random()));
                    let gave = async {
                        let version = entity.set(json!({ "sent": name })).await?;
                        let read = entity.get::<Json>().await?;
                        Ok(json!(read.map(|read| json!([read.version == version, read.value]))))
                    };
                    self.bore(gave.await)
                }
                Act::Child(plan) => {
                    let plan = trackway_sdk::serde_json::to_value(plan)?;
                    self.bore(self.ctx.child::<chaos>(plan).await)
                }
                Act::Within(most_ms, act) => {
                    let gave = timeout(Duration::from_millis(*most_ms), self.act(act)).await;
                    self.bore(gave)
                }
                Act::Shield(act) => shield(self.act(act)).await,
                Act::Saga { works, fails } => {
                    let gave = self.ctx.saga(async |saga| {
                        let mut gave = Vec::new();
                        for work in works {
                            let told = self.told.borrow().clone();
                            let step = saga.step(work_on, Work { told, ..work.clone() });
                            let undo = Work { effects: vec![Effect::Post], fails: work.fails, ..Work::default() };
                            gave.push(self.took(step.undo(work_on, |_| undo).await, false)?);
                        }
                        if *fails { Err(Failure::permanent("NO_SALE", "as planned")) } else { Ok(json!(gave)) }
                    });
                    self.bore(gave.await)
                }
            }
        })
    }
}

/// Does one act after the other; what each of them gave.
/// The host checks an input against a schema with references in a thread of its own, which a
/// simulation cannot have, so the plan is read here.
#[workflow(cancel_grace = "10s")]
pub async fn chaos(ctx: Ctx, plan: Json) -> Result<Json, Failure> {
    let plan: Plan = trackway_sdk::serde_json::from_value(plan)
        .map_err(|error| Failure::permanent("BAD_PLAN", error.to_string()))?;
    let doer = Doer { ctx, stubborn: plan.stubborn, told: RefCell::default() };
    let mut gave = Vec::new();
    for act in &plan.acts {
        gave.push(doer.act(act).await?);
    }
    match plan.then {
        Some(next) => doer.ctx.continue_with::<chaos>(trackway_sdk::serde_json::to_value(next)?),
        None => Ok(json!(gave)),
    }
}

/// One attempt of a function.
struct Errand {
    ctx: FnCtx,
    work: Work,
    /// Its own token, without what ends it.
    token: String,
    contacts: Cell<u32>,
    beats: Cell<u32>,
    pieces: Cell<u32>,
}

/// An agent that was made, and what it is to be asked.
struct Begun {
    agent: Agent,
    question: String,
    /// What its calls gave, by their number.
    gave: Rc<RefCell<BTreeMap<usize, Vec<String>>>>,
}

type Trying<'a> = Pin<Box<dyn Future<Output = Result<Vec<String>, Failure>> + 'a>>;

impl Errand {
    fn number(&self) -> u32 {
        let number = self.contacts.get() + 1;
        self.contacts.set(number);
        number
    }

    /// Where the world is next, for what is done within `place`.
    fn address(&self, number: u32, place: &str) -> String {
        // One that goes on with what another one did has to do the same.
        let attempt = if self.work.policy.resumes { 0 } else { self.ctx.attempt() };
        let (run, step) = (self.ctx.run_id(), self.ctx.step());
        let told = self.work.told.join(",");
        let beat = self.beats.get();
        format!("{run}/{step}/{attempt}/{number}?told={told}&beat={beat}&in={place}")
    }

    fn url(&self, place: &str) -> String {
        format!("http://world.test/{}", self.address(self.number(), place))
    }

    fn beat(&self) {
        if self.work.beats {
            self.beats.set(self.beats.get() + 1);
            self.ctx.progress(&format!("~{}.{:x}~", self.token, self.beats.get()));
        }
    }

    /// A piece that does not stay.
    fn say(&self, said: &str) {
        if self.work.tells {
            self.pieces.set(self.pieces.get() + 1);
            self.ctx.delta("piece", &json!({ "number": self.pieces.get(), "said": said }));
        }
    }

    fn heard(&self, text: &str) {
        self.say(text);
        if self.work.tells {
            self.ctx.emit("heard", &json!({ "by": format!("~{}~", self.token), "said": text }));
        }
        self.ctx.log().info(format_args!("got {text}"));
    }

    async fn given(&self, request: http::RequestBuilder) -> Result<String, Failure> {
        self.say("asks");
        let text = request.send().await?.error_for_status()?.text()?;
        self.heard(&text);
        Ok(text)
    }

    async fn told(&self, question: String) -> Result<String, Failure> {
        self.say("asks");
        let answer = self.ctx.model(MODEL).user(question).await?;
        self.heard(answer.text());
        Ok(answer.text().to_owned())
    }

    async fn asked(&self, title: &str, most_ms: Option<u64>, place: &str) -> Result<Vec<String>, Failure> {
        let form = Form::new(format!("{title}&in={place}")).approval("approve").text("why").optional();
        let form = match most_ms {
            Some(most_ms) => form.timeout(Duration::from_millis(most_ms)),
            None => form,
        };
        match self.ctx.ask::<Json>(form).await {
            Ok(_) => Ok(vec!["answered".to_owned()]),
            Err(failure) if failure.code == "EXPIRED" => Ok(vec!["expired".to_owned()]),
            Err(failure) => Err(failure),
        }
    }

    fn begin(self: &Rc<Errand>, chat: &Chat, place: &str) -> Begun {
        let number = self.number();
        let name = format!("agent-{number}");
        let around = if place.is_empty() { String::new() } else { format!("{place}.") };
        let (own, within) = (format!("{around}{name}"), format!("{around}{name}.act"));
        let address = self.address(number, &own);
        let question = format!("{address}&calls={}&at_once={}", chat.calls.len(), chat.at_once);
        let gave: Rc<RefCell<BTreeMap<usize, Vec<String>>>> = Rc::default();
        let (errand, calls, taken) = (self.clone(), Rc::new(chat.calls.clone()), gave.clone());
        let input = json!({ "type": "object", "properties": { "nth": { "type": "integer" } }, "required": ["nth"] });
        let tool = AgentTool::new("act", "Does something.", input, move |_, input| {
            let (errand, calls, taken, within) = (errand.clone(), calls.clone(), taken.clone(), within.clone());
            async move {
                let nth = usize::try_from(input["nth"].as_u64().unwrap_or(u64::MAX))?;
                let mut tokens = Vec::new();
                for effect in calls.get(nth).into_iter().flatten() {
                    tokens.extend(errand.act(effect, &within).await?);
                }
                taken.borrow_mut().insert(nth, tokens.clone());
                Ok(json!(tokens))
            }
        });
        let tool = if chat.needs_approval { tool.needs_approval() } else { tool };
        Begun { agent: Agent::new(name).model(MODEL).tool(tool.fatal()), question, gave }
    }

    async fn chat(self: &Rc<Errand>, chat: &Chat, place: &str) -> Result<Vec<String>, Failure> {
        let Begun { agent, question, gave } = self.begin(chat, place);
        let answer = agent.run(&self.ctx, question).await?;
        let said = answer.messages.iter().filter(|message| message.role == Role::Assistant);
        let said = said.filter_map(|message| message.content.as_deref()?.split(' ').next());
        let spent = (answer.usage.input_tokens, answer.usage.output_tokens, answer.cost.map(Usd::as_nanos));
        let said = said.collect::<Vec<_>>().join(" ");
        self.ctx.log().info(format_args!("spent {} {} {:?} over {said}", spent.0, spent.1, spent.2));
        let gave = gave.take().into_values().flatten();
        Ok([answer.output].into_iter().chain(gave).collect())
    }

    /// Whoever drops an agent ends it.
    async fn leave(self: &Rc<Errand>, place: &str) {
        let chat = Chat { calls: Vec::new(), at_once: false, needs_approval: false };
        let Begun { agent, question, .. } = self.begin(&chat, place);
        let mut left = Box::pin(agent.run(&self.ctx, question));
        poll_fn(|context| Poll::Ready(left.as_mut().poll(context).is_ready())).await;
        std::mem::forget(left);
    }

    fn act<'a>(self: &'a Rc<Errand>, effect: &'a Effect, place: &'a str) -> Trying<'a> {
        Box::pin(async move {
            self.beat();
            match effect {
                Effect::Get => Ok(vec![self.given(http::get(self.url(place))).await?]),
                Effect::Post => Ok(vec![self.given(http::post(self.url(place))).await?]),
                Effect::Posts(count) => {
                    let urls: Vec<String> = (0..*count).map(|_| self.url(place)).collect();
                    try_join_all(urls.into_iter().map(|url| self.given(http::post(url)))).await
                }
                Effect::NapMs(nap_ms) => {
                    self.ctx.sleep(Duration::from_millis(*nap_ms)).await?;
                    Ok(Vec::new())
                }
                Effect::Model => Ok(vec![self.told(self.address(self.number(), place)).await?]),
                Effect::Models(count) => {
                    let questions: Vec<String> = (0..*count).map(|_| self.address(self.number(), place)).collect();
                    try_join_all(questions.into_iter().map(|question| self.told(question))).await
                }
                Effect::Ask(title) => self.asked(title, None, place).await,
                Effect::AskWithin(title, most_ms) => self.asked(title, Some(*most_ms), place).await,
                Effect::Agent(chat) => self.chat(chat, place).await,
                Effect::Leave => {
                    self.leave(place).await;
                    Ok(Vec::new())
                }
            }
        })
    }
}

/// The tokens of this execution and of the world's answers.
#[function(retries = 19, backoff = "20ms", factor = 1.5, backoff_max = "2s", timeout = "20s", models = ["scripted/*"])]
async fn work_on(ctx: FnCtx, work: Work) -> Result<Vec<String>, Failure> {
    if let Some(told) = ctx.last_progress::<String>() {
        ctx.log().info(format_args!("was told {told}"));
    }
    let begun = ctx.now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros();
    let token = format!("p{:x}.{begun}", ctx.random());
    let mut tokens = vec![format!("~{token}~")];
    let (contacts, beats, pieces) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let errand = Rc::new(Errand { ctx: ctx.clone(), work: work.clone(), token, contacts, beats, pieces });
    errand.say("begins");
    for effect in &work.effects {
        tokens.extend(errand.act(effect, "").await?);
    }
    if ctx.attempt() <= work.stumbles {
        return Err(Failure::permanent("STUMBLED", tokens.join(" ")));
    }
    if ctx.attempt() <= work.fails {
        return Err(Failure::new("NOT_YET", format!("attempt {} {}", ctx.attempt(), tokens.join(" "))));
    }
    if work.gives_up {
        return Err(Failure::permanent("NO_WAY", tokens.join(" ")));
    }
    if work.pad > 0 {
        tokens.push("x".repeat(work.pad));
    }
    Ok(tokens)
}

export!(chaos, work_on);
