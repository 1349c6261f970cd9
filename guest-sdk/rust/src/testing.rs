//! A host for tests on your own machine: it runs workflows and functions in this thread, with virtual
//! time, and answers HTTP and models from closures. It keeps no journal and must never touch the world.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

mod effects;
mod entities;
mod exchange;
mod imports;
mod model;
mod sent;
mod tried;

use serde_json::json;

use crate::bindings::{Completion, Port, with_host};
use crate::export::{Main, Policy, workflow_main};
use crate::failure::{Failure, code};
use crate::{Call, Function, Invocation, Tool, Value, Workflow, json as values};
use effects::Effects;
use entities::Entities;
pub use exchange::{HttpRequest, HttpResponse};
pub use model::{AskedModel, ModelResponse};
use sent::{Signal, completion, told};

/// Where virtual time begins: 2026-01-01 UTC. A fixed one, so that a test gives the same twice.
const BEGIN_MS: u64 = 1_767_225_600_000;

thread_local! {
    /// What `ctx.step` can reach: there is no `export!` to ask on this target.
    static KNOWN: RefCell<BTreeMap<&'static str, Known>> = const { RefCell::new(BTreeMap::new()) };
}

#[derive(Clone, Copy)]
struct Known {
    main: Main,
    policy: Policy,
}

thread_local! {
    /// What `ctx.child` can reach.
    static WORKFLOWS: RefCell<BTreeMap<&'static str, Main>> = const { RefCell::new(BTreeMap::new()) };
}

pub(crate) fn learn_workflow<W: Workflow>() {
    WORKFLOWS.with_borrow_mut(|workflows| workflows.insert(W::NAME, workflow_main::<W>));
}

pub(crate) fn learn<F: Function>() {
    let known = Known { main: crate::export::function_main::<F>, policy: F::POLICY };
    KNOWN.with_borrow_mut(|functions| functions.insert(F::NAME, known));
}

/// A host for tests.
///
/// ```
/// use trackway_sdk::prelude::*;
/// use trackway_sdk::testing::{Host, HttpResponse};
///
/// #[function(retries = 2)]
/// async fn fetch(url: String) -> Result<String, Failure> {
///     http::get(url).send().await?.error_for_status()?.text()
/// }
///
/// #[workflow]
/// async fn patient(ctx: Ctx, url: String) -> Result<String, Failure> {
///     ctx.sleep(Duration::from_secs(3600)).await?;
///     ctx.step(fetch, url).await
/// }
///
/// let host = Host::new().on_http(|request| match request.number {
///     1 => HttpResponse::new(503, "not yet"),
///     _ => HttpResponse::new(200, "here you are"),
/// });
/// assert_eq!(host.run::<patient>("https://example.com".into()).unwrap(), "here you are");
/// assert_eq!(host.calls(), ["fetch", "fetch"]);
/// ```
#[derive(Clone)]
pub struct Host {
    shared: Rc<Shared>,
}

type Answering = Box<dyn Fn(&HttpRequest) -> HttpResponse>;
type Modelling = Box<dyn Fn(&AskedModel) -> ModelResponse>;

struct Shared {
    http: Option<Answering>,
    model: Option<Modelling>,
    /// After how many deliveries to the workflow the run is cancelled.
    cancel_after: Option<u32>,
    before_patches: Vec<String>,
    now_ms: Cell<u64>,
    random: Cell<u64>,
    /// What is sent to the run, and when; in this order.
    signals: RefCell<Vec<Signal>>,
    entities: RefCell<Entities>,
    requests: Cell<u32>,
    models: Cell<u32>,
    effects: RefCell<Effects>,
    calls: RefCell<Vec<String>>,
    lines: RefCell<Vec<String>>,
    /// Answers to updates, in their order.
    replies: RefCell<Vec<Result<String, String>>>,
    /// What was published last under each key.
    states: RefCell<BTreeMap<String, String>>,
    emitted: RefCell<Vec<(String, serde_json::Value)>>,
    deltas: RefCell<Vec<(String, serde_json::Value)>>,
}

impl Host {
    /// One that answers no HTTP.
    pub fn new() -> Host {
        Host {
            shared: Rc::new(Shared {
                http: None,
                model: None,
                cancel_after: None,
                before_patches: Vec::new(),
                now_ms: Cell::new(BEGIN_MS),
                random: Cell::new(1),
                signals: RefCell::default(),
                entities: RefCell::default(),
                requests: Cell::new(0),
                models: Cell::new(0),
                effects: RefCell::default(),
                calls: RefCell::default(),
                lines: RefCell::default(),
                replies: RefCell::default(),
                states: RefCell::default(),
                emitted: RefCell::default(),
                deltas: RefCell::default(),
            }),
        }
    }

    /// Answers each HTTP request.
    pub fn on_http(self, answer: impl Fn(&HttpRequest) -> HttpResponse + 'static) -> Host {
        self.with(|shared| shared.http = Some(Box::new(answer)))
    }

    /// Answers each call of a model.
    pub fn on_model(self, answer: impl Fn(&AskedModel) -> ModelResponse + 'static) -> Host {
        self.with(|shared| shared.model = Some(Box::new(answer)))
    }

    /// Lets `ctx.child_of` reach a workflow by its name.
    pub fn knows<W: Workflow>(self) -> Host {
        learn_workflow::<W>();
        self
    }

    /// Cancels the run after so many answers to the workflow.
    pub fn cancel_after(self, deliveries: u32) -> Host {
        self.with(|shared| shared.cancel_after = Some(deliveries))
    }

    /// As a run that got past that place before the code asked about the patch.
    pub fn before_patch(self, id: &str) -> Host {
        self.with(|shared| shared.before_patches.push(id.to_owned()))
    }

    /// Configuration comes first: nobody shares it yet.
    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Host {
        change(Rc::get_mut(&mut self.shared).expect("a host is set up before it is cloned"));
        self
    }

    /// Runs a workflow to its end. Input and output cross as JSON, as they do on a real host.
    ///
    /// # Errors
    ///
    /// The failure of the workflow.
    pub fn run<W: Workflow>(&self, input: W::Input) -> Result<W::Output, Failure> {
        let input = values::write_output(&input)?;
        let context = json!({ "run": "test", "workflow": W::NAME, "deployment": "test" }).to_string();
        read(drive(&self.shared, workflow_main::<W>, input, &context, self.shared.cancel_after))
    }

    /// Makes one attempt of a function.
    ///
    /// # Errors
    ///
    /// The failure of the function.
    pub fn call<F: Function>(&self, call: Call<F>) -> Result<F::Output, Failure> {
        with_host(Instance::new(self.shared.clone(), None), || call.run())
    }

    /// Makes one call of a tool.
    ///
    /// # Errors
    ///
    /// The failure of the tool.
    pub fn call_tool<T: Tool>(&self, call: Invocation<T>) -> Result<T::Output, Failure> {
        with_host(Instance::new(self.shared.clone(), None), || call.run())
    }

    /// The functions that were called, once for each attempt.
    pub fn calls(&self) -> Vec<String> {
        self.shared.calls.borrow().clone()
    }

    /// What was logged, as `info: message {"field": 1}`.
    pub fn log_lines(&self) -> Vec<String> {
        self.shared.lines.borrow().clone()
    }

    /// How much virtual time has passed.
    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(self.shared.now_ms.get() - BEGIN_MS)
    }
}

impl Default for Host {
    fn default() -> Host {
        Host::new()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("calls", &self.calls()).field("elapsed", &self.elapsed()).finish()
    }
}

/// Calls a workflow, and again for as long as it goes on with another input.
fn drive(
    shared: &Rc<Shared>,
    main: Main,
    mut input: String,
    context: &str,
    mut cancel_after: Option<u32>,
) -> Result<String, String> {
    loop {
        let instance = Instance::new(shared.clone(), cancel_after);
        let outcome = with_host(instance.clone(), || main(&input, context));
        let mut inbox = instance.inbox.borrow_mut();
        let Some(next) = inbox.goes_on.take() else { return outcome };
        input = next;
        cancel_after = cancel_after.map(|deliveries| deliveries.saturating_sub(inbox.deliveries));
    }
}

fn read<T: Value>(outcome: Result<String, String>) -> Result<T, Failure> {
    outcome.map_err(|failure| Failure::from_text(&failure)).and_then(|output| values::read_output(&output))
}

/// What one instance of a guest has asked for.
struct Instance {
    shared: Rc<Shared>,
    cancel_after: Option<u32>,
    inbox: RefCell<Inbox>,
}

#[derive(Default)]
struct Inbox {
    ids: u32,
    deliveries: u32,
    open: BTreeSet<u32>,
    /// Where each open span stands among the effects.
    spans: BTreeMap<u32, usize>,
    /// What each id waits for.
    receives: BTreeMap<u32, String>,
    /// What an attempt said last of its progress.
    progress: Option<String>,
    /// Answers that are there already.
    ready: VecDeque<Completion>,
    /// By when they are due, then by id.
    timers: BTreeMap<(u64, u32), Completion>,
    /// What each id got of what was sent.
    taken: BTreeMap<u32, Signal>,
    /// What the workflow is called anew with.
    goes_on: Option<String>,
}

impl Instance {
    fn new(shared: Rc<Shared>, cancel_after: Option<u32>) -> Rc<Instance> {
        Rc::new(Instance { shared, cancel_after, inbox: RefCell::default() })
    }

    /// Gives an id to what `outcome` answers after `wait_ms`.
    fn answer(&self, outcome: Result<String, String>, wait_ms: u64) -> u32 {
        let mut inbox = self.inbox.borrow_mut();
        inbox.ids += 1;
        let id = inbox.ids;
        inbox.open.insert(id);
        let completion = completion(id, outcome);
        if wait_ms == 0 {
            inbox.ready.push_back(completion);
        } else {
            inbox.timers.insert((self.shared.now_ms.get().saturating_add(wait_ms), id), completion);
        }
        id
    }

    fn attempt(
        &self,
        function: &str,
        input: &str,
        (step, attempt): (u32, u32),
        progress: &mut Option<String>,
    ) -> (Result<String, String>, Option<Known>) {
        self.shared.calls.borrow_mut().push(function.to_owned());
        let Some(known) = KNOWN.with_borrow(|functions| functions.get(function).copied()) else {
            let message = format!("no function `{function}`");
            return (Err(Failure::permanent(code::UNKNOWN_FUNCTION, message).to_text()), None);
        };
        let told = progress.as_deref().and_then(|told| serde_json::from_str(told).ok());
        let told: serde_json::Value = told.unwrap_or_default();
        let context = json!({ "run": "test", "step": step, "attempt": attempt, "progress": told }).to_string();
        let instance = Instance::new(self.shared.clone(), None);
        let outcome = with_host(instance.clone(), || (known.main)(input, &context));
        *progress = instance.inbox.take().progress.or(progress.take());
        (outcome, Some(known))
    }
}

impl Port for Instance {
    fn sleep(&self, duration_ms: u64, _options: &str, _at: &str) -> u32 {
        self.answer(Ok("null".into()), duration_ms)
    }

    fn next(&self) -> Completion {
        let mut inbox = self.inbox.borrow_mut();
        if inbox.open.is_empty() {
            let body = Failure::permanent(code::NOTHING_OPEN, "nothing is open").to_text();
            return Completion { kind: "failed".into(), id: 0, body };
        }
        inbox.deliveries += 1;
        if self.cancel_after.is_some_and(|deliveries| inbox.deliveries == deliveries + 1) {
            return Completion { kind: "cancel".into(), id: 0, body: json!({ "reason": "by the test" }).to_string() };
        }
        let completion = match inbox.ready.pop_front() {
            Some(completion) => completion,
            None => self.signal_or_timer(&mut inbox),
        };
        inbox.open.remove(&completion.id);
        completion
    }

    fn forget(&self, id: u32) {
        let mut inbox = self.inbox.borrow_mut();
        inbox.open.remove(&id);
        inbox.receives.remove(&id);
        inbox.ready.retain(|completion| completion.id != id);
        inbox.timers.retain(|(_, timer), _| *timer != id);
    }

    fn cancel(&self, id: u32) {
        let mut inbox = self.inbox.borrow_mut();
        let timer = inbox.timers.keys().find(|(_, timer)| *timer == id).copied();
        if let Some(timer) = timer {
            inbox.timers.remove(&timer);
        }
        if timer.is_some() || inbox.receives.remove(&id).is_some() {
            let body = Failure::cancelled("cancelled by the workflow").to_text();
            inbox.ready.push_back(Completion { kind: "failed".into(), id, body });
        }
    }

    fn now(&self) -> u64 {
        self.shared.now_ms.get()
    }

    /// SplitMix64: the same numbers in every test.
    fn random(&self, size_bytes: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_bytes as usize + 8);
        while bytes.len() < size_bytes as usize {
            let state = self.shared.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.shared.random.set(state);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
        }
        bytes.truncate(size_bytes as usize);
        bytes
    }

    fn log(&self, level: &str, message: &str, fields: &str) {
        let line = format!("{level}: {message} {fields}");
        self.shared.lines.borrow_mut().push(line.trim_end().to_owned());
    }

    fn emit(&self, event: &str, data: &str, _at: &str) {
        self.shared.emitted.borrow_mut().push((event.to_owned(), told(data)));
    }

    fn panicked(&self, _message: &str, _at: Option<&str>) {}

    fn continue_with(&self, input: &str, unused: &[u32]) {
        let mut inbox = self.inbox.borrow_mut();
        inbox.goes_on = Some(input.to_owned());
        let back: Vec<Signal> = unused.iter().filter_map(|id| inbox.taken.remove(id)).collect();
        self.shared.signals.borrow_mut().splice(..0, back);
    }
}

#[cfg(test)]
mod tests;
