//! One operation that the host carries out, as a future. It must never do anything on its own:
//! it asks once, and reads its answer once.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::failure::{Failure, code, place};
use crate::mail::{Returned, UPDATE};
use crate::retry::{Ambiguous, Retry, millis};
use crate::runtime::{Answer, Runtime};
use crate::{Value, bindings, json};

mod options;

use options::Times;
pub(crate) use options::{EffectOptions, Options, RunOptions};

/// A step, a sleep, a signal or an HTTP request: something that the host does and journals.
///
/// It starts when it is first awaited (or by [`start`](Operation::start)). Await several at once
/// with [`join!`](crate::join), [`join_all`](crate::join_all), [`select!`](crate::select) or
/// [`Steps`](crate::Steps). Dropping one that is open stops it: the host forgets it.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// # #[function] fn greet(name: String) -> String { format!("Hello, {name}!") }
/// #[workflow]
/// async fn hello(ctx: Ctx, name: String) -> Result<String, Failure> {
///     ctx.step(greet, name).label("say hello").await
/// }
/// ```
#[must_use = "an operation starts when it is awaited: add `.await`, or `.start()` to go on meanwhile"]
pub struct Operation<T> {
    state: State,
    decode: fn(&str) -> Result<T, Failure>,
    label: Option<String>,
    retry: Option<Retry>,
    ambiguous: Option<Ambiguous>,
    times: Times,
    /// Told of a success before it is read.
    told: Option<Told>,
    at: &'static Location<'static>,
}

pub(crate) type Told = Box<dyn FnOnce(&str)>;

enum State {
    Unasked(Request),
    Refused(Failure),
    Open(Rc<Runtime>, u32),
    /// A signal that somebody else gave back.
    Returned(Rc<Runtime>, Returned),
    Taken,
}

pub(crate) enum Request {
    Call {
        function: &'static str,
        input: String,
    },
    Sleep {
        duration_ms: u64,
    },
    Run {
        workflow: String,
        input: String,
        options: RunOptions,
    },
    Receive {
        signal: String,
    },
    AcceptUpdate {
        update: String,
    },
    AskPerson {
        form: String,
    },
    Promise {
        name: String,
        timeout_ms: Option<u64>,
    },
    Entity {
        name: String,
        key: String,
        request: EntityRequest,
        if_version: Option<u64>,
    },
    /// Of a function. `ask` is handed in, so that a component which asks for none imports no effects.
    Effect {
        ask: Ask,
        request: String,
        options: EffectOptions,
    },
}

/// The request, the options and the place.
pub(crate) type Ask = fn(&str, &str, &str) -> u32;

pub(crate) enum EntityRequest {
    Get,
    Set { value: String },
    Delete,
}

impl Request {
    /// Under what the operations of an instance share what comes for it. No signal is called as an update is here.
    fn mail(&self) -> Option<String> {
        match self {
            Request::Receive { signal } => Some(signal.clone()),
            Request::AcceptUpdate { update } => Some(format!("{UPDATE}{update}")),
            _ => None,
        }
    }
}

impl<T> Operation<T> {
    pub(crate) fn new(
        request: Result<Request, Failure>,
        decode: fn(&str) -> Result<T, Failure>,
        at: &'static Location<'static>,
    ) -> Operation<T> {
        let state = request.map_or_else(State::Refused, State::Unasked);
        Operation { state, decode, label: None, retry: None, ambiguous: None, times: Times::default(), told: None, at }
    }

    /// A word for people, shown in the trace beside the operation; up to 256 bytes.
    pub fn label(mut self, label: impl Into<String>) -> Operation<T> {
        self.label = Some(label.into());
        self
    }

    /// Tries this step again otherwise than its function says. Only for steps: anything else fails with
    /// code `BAD_OPTIONS`.
    pub fn retry(mut self, retry: Retry) -> Operation<T> {
        self.retry = Some(retry);
        self
    }

    /// What is done about requests of this step of which nobody knows whether they were carried out. Only for
    /// steps, as [`retry`](Operation::retry).
    pub fn ambiguous(mut self, ambiguous: Ambiguous) -> Operation<T> {
        self.ambiguous = Some(ambiguous);
        self
    }

    /// How long one attempt of this step may be held by a worker, instead of the function's `timeout`. Only for
    /// steps, as [`retry`](Operation::retry).
    pub fn start_to_close(mut self, timeout: Duration) -> Operation<T> {
        self.times.start_to_close_ms = Some(millis(timeout));
        self
    }

    /// How long after this step was asked for its first attempt begins: a step that is not begun by then fails with
    /// code `START_TIMEOUT`. Counts all time that passes, also while the run is held or the host is down. Only for
    /// steps, as [`retry`](Operation::retry).
    pub fn schedule_to_start(mut self, timeout: Duration) -> Operation<T> {
        self.times.schedule_to_start_ms = Some(millis(timeout));
        self
    }

    /// How long after this step was asked for it is answered, with all its attempts and the waits between them: it
    /// fails then with code `CLOSE_TIMEOUT`, whatever it is at. Counts all time that passes, also while the run is
    /// held or the host is down. Only for steps, as [`retry`](Operation::retry).
    pub fn schedule_to_close(mut self, timeout: Duration) -> Operation<T> {
        self.times.schedule_to_close_ms = Some(millis(timeout));
        self
    }

    /// An attempt of this step that says nothing by [`FnCtx::progress`](crate::FnCtx::progress) for so long is
    /// broken off, and tried again. Only for steps, as [`retry`](Operation::retry).
    pub fn heartbeat_timeout(mut self, timeout: Duration) -> Operation<T> {
        self.times.heartbeat_timeout_ms = Some(millis(timeout));
        self
    }

    /// The place that the trace shows for it.
    pub(crate) fn at(mut self, at: &'static Location<'static>) -> Operation<T> {
        self.at = at;
        self
    }

    /// Starts it now, so that it runs while the workflow does something else.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// # #[function] fn slow(n: u32) -> u32 { n }
    /// #[workflow]
    /// async fn both(ctx: Ctx) -> Result<u32, Failure> {
    ///     let early = ctx.step(slow, 1).start();
    ///     let late = ctx.step(slow, 2).await?;
    ///     Ok(early.await? + late)
    /// }
    /// ```
    pub fn start(mut self) -> Operation<T> {
        self.ask(Waker::noop());
        self
    }

    /// Asks the host to stop it. It still has to be awaited: it ends with its answer if that came
    /// first, else as a failure with [`is_cancelled`](Failure::is_cancelled). One that was never
    /// started fails so at once.
    pub fn cancel(&mut self) {
        match &self.state {
            State::Open(runtime, id) => runtime.port().cancel(*id),
            State::Unasked(_) => self.state = State::Refused(Failure::cancelled("cancelled before it was started")),
            State::Returned(..) | State::Refused(_) | State::Taken => {}
        }
    }

    /// Of a promise, before it stands.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        if let State::Unasked(Request::Promise { timeout_ms, .. }) = &mut self.state {
            *timeout_ms = Some(millis(timeout));
        }
    }

    /// Of a promise, which stands from here on.
    pub(crate) fn token(&mut self) -> String {
        self.ask(Waker::noop());
        match &self.state {
            State::Open(_, id) => bindings::promise_token(*id),
            State::Unasked(_) | State::Refused(_) | State::Returned(..) | State::Taken => String::new(),
        }
    }

    /// What is said of the run, before it is asked for.
    pub(crate) fn run_options(&mut self) -> Option<&mut RunOptions> {
        match &mut self.state {
            State::Unasked(Request::Run { options, .. }) => Some(options),
            State::Unasked(_) | State::Refused(_) | State::Open(..) | State::Returned(..) | State::Taken => None,
        }
    }

    /// The same operation, whose answer is read otherwise.
    pub(crate) fn read_as<O>(mut self, decode: fn(&str) -> Result<O, Failure>) -> Operation<O> {
        let state = std::mem::replace(&mut self.state, State::Taken);
        Operation {
            state,
            decode,
            label: self.label.take(),
            retry: self.retry.take(),
            ambiguous: self.ambiguous,
            times: self.times,
            told: self.told.take(),
            at: self.at,
        }
    }

    /// Somebody else is told of the answer too, if it is a success. It must ask for nothing.
    pub(crate) fn told_to(mut self, told: Told) -> Operation<T> {
        self.told = Some(told);
        self
    }

    fn ask(&mut self, waker: &Waker) {
        let State::Unasked(request) = &mut self.state else { return };
        let runtime = Runtime::current();
        if let Some(reason) = runtime.take_owed() {
            self.state = State::Refused(Failure::cancelled(&reason));
            return;
        }
        if let Some(mail) = request.mail()
            && let Some(returned) = runtime.returned(&mail)
        {
            waker.wake_by_ref();
            self.state = State::Returned(runtime, returned);
            return;
        }
        let at = place(self.at);
        let mut options = Options {
            label: self.label.as_deref(),
            retry: self.retry.as_ref(),
            ambiguous: self.ambiguous,
            times: self.times,
            span: runtime.span(),
            ..Options::default()
        };
        let id = match request {
            Request::Call { function, input } => bindings::call(function, input, &options.to_text(), &at),
            Request::Sleep { duration_ms } => runtime.port().sleep(*duration_ms, &options.to_text(), &at),
            Request::Run { workflow, input, options } => {
                options.label.clone_from(&self.label);
                let options = serde_json::to_string(options).expect("options are text");
                let options = if options == "{}" { "" } else { &options };
                bindings::start_run(workflow, input, options, &at)
            }
            Request::Receive { signal } => bindings::receive(signal, &options.to_text(), &at),
            Request::AcceptUpdate { update } => bindings::accept_update(update, &options.to_text(), &at),
            Request::AskPerson { form } => bindings::ask_person(form, &options.to_text(), &at),
            Request::Promise { name, timeout_ms } => {
                options.timeout_ms = *timeout_ms;
                bindings::promise(name, &options.to_text(), &at)
            }
            Request::Entity { name, key, request, if_version } => {
                options.if_version = *if_version;
                let options = options.to_text();
                match request {
                    EntityRequest::Get => bindings::entity_get(name, key, &options, &at),
                    EntityRequest::Set { value } => bindings::entity_set([&*name, &*key, &*value], &options, &at),
                    EntityRequest::Delete => bindings::entity_delete(name, key, &options, &at),
                }
            }
            Request::Effect { ask, request, options: said } => {
                options.timeout_ms = said.timeout_ms;
                options.idempotency_key = said.idempotency_key.as_deref();
                options.deltas = said.deltas.as_deref();
                options.prompts = &said.prompts;
                options.tries = said.tries;
                ask(request, &options.to_text(), &at)
            }
        };
        runtime.opened(id, waker.clone());
        if let Some(mail) = request.mail() {
            runtime.opened_mail(id, &mail);
        }
        if matches!(request, Request::Effect { options, .. } if options.asks_person) {
            runtime.opened_question(id);
        }
        self.state = State::Open(runtime, id);
    }
}

impl<T> Future for Operation<T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &self.state {
            State::Unasked(_) => {
                self.ask(context.waker());
                match std::mem::replace(&mut self.state, State::Taken) {
                    State::Refused(failure) => Poll::Ready(Err(failure)),
                    State::Returned(_, returned) => Poll::Ready((self.decode)(&returned.body)),
                    asked @ (State::Open(..) | State::Unasked(_) | State::Taken) => {
                        self.state = asked;
                        Poll::Pending
                    }
                }
            }
            State::Open(runtime, id) => {
                let Poll::Ready(answer) = runtime.take(*id, context.waker()) else { return Poll::Pending };
                self.state = State::Taken;
                let told = self.told.take();
                Poll::Ready(match answer {
                    Answer::Succeeded(body) => {
                        if let Some(told) = told {
                            told(&body);
                        }
                        (self.decode)(&body)
                    }
                    Answer::Failed(body) => Err(explained(Failure::from_text(&body))),
                    Answer::Cancelled(reason) => Err(Failure::cancelled(&reason)),
                })
            }
            State::Returned(..) => match std::mem::replace(&mut self.state, State::Taken) {
                State::Returned(_, returned) => Poll::Ready((self.decode)(&returned.body)),
                State::Unasked(_) | State::Open(..) | State::Refused(_) | State::Taken => Poll::Pending,
            },
            State::Refused(_) => match std::mem::replace(&mut self.state, State::Taken) {
                State::Refused(failure) => Poll::Ready(Err(failure)),
                State::Unasked(_) | State::Open(..) | State::Returned(..) | State::Taken => Poll::Pending,
            },
            State::Taken => panic!("an operation was awaited again after it had ended"),
        }
    }
}

/// The host cannot know how a Rust author names functions.
fn explained(mut failure: Failure) -> Failure {
    if failure.code == code::UNKNOWN_FUNCTION {
        failure.message.push_str("; name it in `trackway_sdk::export!(...)`");
    }
    failure
}

impl<T> Drop for Operation<T> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Open(runtime, id) => runtime.forget(id),
            State::Returned(runtime, returned) => runtime.give_back(returned),
            State::Unasked(_) | State::Refused(_) | State::Taken => {}
        }
    }
}

impl<T> fmt::Debug for Operation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, id) = match &self.state {
            State::Unasked(_) => ("unasked", None),
            State::Refused(_) => ("refused", None),
            State::Open(_, id) => ("open", Some(id)),
            State::Returned(..) => ("answered", None),
            State::Taken => ("ended", None),
        };
        f.debug_struct("Operation").field("state", &what).field("id", &id).field("at", &place(self.at)).finish()
    }
}

/// A call of `function`, whose output is read as `O`.
pub(crate) fn call<I: Value, O: Value>(
    function: &'static str,
    input: &I,
    at: &'static Location<'static>,
) -> Operation<O> {
    let request = input.write().map(|input| Request::Call { function, input }).map_err(|error| {
        let message = format!("the input of `{function}` cannot be written as JSON: {error}");
        Failure { at: Some(place(at)), ..Failure::permanent(code::BAD_INPUT, message) }
    });
    Operation::new(request, json::read_output, at)
}

/// A run of `workflow`, whose output is read as `O`.
pub(crate) fn run<I: Value, O: Value>(workflow: &str, input: &I, at: &'static Location<'static>) -> Operation<O> {
    let request = input.write().map_err(|error| {
        let message = format!("the input of `{workflow}` cannot be written as JSON: {error}");
        Failure { at: Some(place(at)), ..Failure::permanent(code::BAD_INPUT, message) }
    });
    let workflow = workflow.to_owned();
    let request = request.map(|input| Request::Run { workflow, input, options: RunOptions::default() });
    Operation::new(request, json::read_output, at)
}

pub(crate) fn receive<T: Value>(signal: String, at: &'static Location<'static>) -> Operation<T> {
    Operation::new(Ok(Request::Receive { signal }), json::read_payload, at)
}

/// Its payload behind the id that took it, which the answer needs.
pub(crate) fn accept_update(update: String, at: &'static Location<'static>) -> Operation<String> {
    Operation::new(Ok(Request::AcceptUpdate { update }), |body| Ok(body.to_owned()), at)
}

pub(crate) fn ask_person<T: Value>(form: String, at: &'static Location<'static>) -> Operation<T> {
    Operation::new(Ok(Request::AskPerson { form }), json::read_payload, at)
}

pub(crate) fn ask_person_of_function<T: Value>(form: String, at: &'static Location<'static>) -> Operation<T> {
    let options = EffectOptions { asks_person: true, ..EffectOptions::default() };
    let request = Request::Effect { ask: bindings::ask_person_of_function, request: form, options };
    Operation::new(Ok(request), json::read_payload, at)
}

pub(crate) fn promise<T: Value>(name: String, at: &'static Location<'static>) -> Operation<T> {
    Operation::new(Ok(Request::Promise { name, timeout_ms: None }), json::read_payload, at)
}

pub(crate) fn entity<O>(
    name: &str,
    key: &str,
    request: Result<EntityRequest, Failure>,
    if_version: Option<u64>,
    decode: fn(&str) -> Result<O, Failure>,
    at: &'static Location<'static>,
) -> Operation<O> {
    let request = request.map(|request| {
        let (name, key) = (name.to_owned(), key.to_owned());
        Request::Entity { name, key, request, if_version }
    });
    Operation::new(request, decode, at)
}

pub(crate) fn sleep(duration: Duration, at: &'static Location<'static>) -> Operation<()> {
    let duration_ms = millis(duration);
    Operation::new(Ok(Request::Sleep { duration_ms }), |_| Ok(()), at)
}
