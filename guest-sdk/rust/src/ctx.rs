//! What a workflow ([`Ctx`]) and a function ([`FnCtx`]) may ask of the host by themselves.

use serde::Deserialize;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::agent::Meter;
use crate::bindings;
use crate::failure::{Failure, code, place};
use crate::handed::Handed;
use crate::json;
use crate::runtime::Runtime;
use crate::{
    Call, Child, Entity, Form, Function, Leftover, Operation, Promise, Scope, Value, Workflow, operation, scope,
};

/// What a workflow does with the world: it asks for steps, waits, and reads the run's own clock and
/// randomness. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ctx {
    about: Rc<AboutRun>,
}

/// What a function knows about its attempt, and its own clock, randomness and waiting. Cheap to
/// clone. For HTTP see [`crate::http`], which needs no context.
#[derive(Debug, Clone)]
pub struct FnCtx {
    about: Rc<AboutAttempt>,
    /// Of the agent on whose behalf it is used: what is spent counts there too.
    meter: Option<Rc<Meter>>,
    pub(crate) handed: Option<Rc<Handed>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AboutRun {
    run: String,
    workflow: String,
    deployment: String,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct AboutAttempt {
    run: String,
    step: u32,
    attempt: u32,
    progress: Option<serde_json::Value>,
}

impl Default for AboutAttempt {
    fn default() -> AboutAttempt {
        AboutAttempt { run: String::new(), step: 1, attempt: 1, progress: None }
    }
}

impl Ctx {
    pub(crate) fn from_context(context: &str) -> Ctx {
        Ctx { about: Rc::new(serde_json::from_str(context).unwrap_or_default()) }
    }

    /// Calls a function as a step: in an instance of its own, tried again as its `retries` say, and
    /// never again once its answer is in the journal.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// #[function(retries = 5, backoff = "200ms")]
    /// async fn fetch_title(url: String) -> Result<String, Failure> {
    ///     let page = http::get(url).send().await?.error_for_status()?.text()?;
    ///     Ok(page.lines().next().unwrap_or_default().to_owned())
    /// }
    ///
    /// #[workflow]
    /// async fn title(ctx: Ctx, url: String) -> Result<String, Failure> {
    ///     ctx.step(fetch_title, url).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The failure of the last attempt; `CANCELLED` if the run was cancelled meanwhile.
    #[track_caller]
    pub fn step<F: Function>(
        &self,
        function: impl FnOnce(F::Input) -> Call<F>,
        input: F::Input,
    ) -> Operation<F::Output> {
        let _ = function;
        #[cfg(not(target_arch = "wasm32"))]
        crate::testing::learn::<F>();
        operation::call(F::NAME, &input, Location::caller())
    }

    /// Waits, also over restarts of the host, at no cost while waiting. Rounded up to milliseconds.
    ///
    /// # Errors
    ///
    /// `CANCELLED` if the run was cancelled meanwhile.
    #[track_caller]
    pub fn sleep(&self, duration: Duration) -> Operation<()> {
        operation::sleep(duration, Location::caller())
    }

    /// Starts a run of another workflow of this component and waits for its end. It has a trace, an inbox
    /// and an end of its own; it is started once, however often this run is recalled.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// #[workflow]
    /// async fn order(ctx: Ctx, socks: u32) -> Result<u32, Failure> {
    ///     Ok(socks * 3)
    /// }
    ///
    /// #[workflow]
    /// async fn orders(ctx: Ctx) -> Result<u32, Failure> {
    ///     let (one, two) = try_join!(ctx.child::<order>(1), ctx.child::<order>(2))?;
    ///     Ok(one + two)
    /// }
    ///
    /// assert_eq!(trackway_sdk::testing::Host::new().run::<orders>(()).unwrap(), 9);
    /// ```
    ///
    /// # Errors
    ///
    /// The failure of that run; `CANCELLED` if it or this run was cancelled.
    #[track_caller]
    pub fn child<W: Workflow>(&self, input: W::Input) -> Child<W::Output> {
        #[cfg(not(target_arch = "wasm32"))]
        crate::testing::learn_workflow::<W>();
        Child::new(operation::run(W::NAME, &input, Location::caller()))
    }

    /// The same for a workflow whose code is elsewhere: `"workflow"` of this component, or
    /// `"deployment/workflow"`.
    ///
    /// # Errors
    ///
    /// As [`child`](Ctx::child); `UNKNOWN_WORKFLOW` if there is none of that name.
    #[track_caller]
    pub fn child_of<I: Value, O: Value>(&self, workflow: &str, input: I) -> Child<O> {
        let at = Location::caller();
        match workflow.split_once('/') {
            Some((deployment, workflow)) => Child::new(operation::run(workflow, &input, at)).deployment(deployment),
            None => Child::new(operation::run(workflow, &input, at)),
        }
    }

    /// Runs `body` and the tasks that it spawns beside each other. None of them outlives it: `leftover` says
    /// what becomes of those that are open when `body` ends.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// # #[function] fn ask(host: String) -> String { host }
    /// #[workflow]
    /// async fn first_of_two(ctx: Ctx) -> Result<String, Failure> {
    ///     ctx.scope(Leftover::Cancel, async |scope| {
    ///         let one = scope.spawn(ctx.step(ask, "one".to_owned()));
    ///         let other = scope.spawn(ctx.step(ask, "other".to_owned()));
    ///         select! {
    ///             answer = one => answer,
    ///             answer = other => answer,
    ///         }
    ///     })
    ///     .await
    /// }
    /// ```
    pub async fn scope<'a, R>(&self, leftover: Leftover, body: impl AsyncFnOnce(&Scope<'a>) -> R) -> R {
        scope::scope(leftover, body).await
    }

    /// Why the run was cancelled, once that has reached the workflow.
    pub fn cancelled(&self) -> Option<String> {
        Runtime::current().cancelled().map(|reason| reason.to_string())
    }

    /// Waits for a signal of that name: something that a person, a program or another run sends to this
    /// one. One that came before counts; each is taken once, in the order in which they came. One that is
    /// dropped or cancelled before it has its signal takes none, so none is lost.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// #[value]
    /// struct Payment {
    ///     amount: u32,
    /// }
    ///
    /// #[workflow(signals(paid: Payment))]
    /// async fn order(ctx: Ctx, price: u32) -> Result<String, Failure> {
    ///     let mut missing = price;
    ///     while missing > 0 {
    ///         select! {
    ///             payment = ctx.signal::<Payment>("paid") => missing = missing.saturating_sub(payment?.amount),
    ///             _ = ctx.sleep(Duration::from_secs(14 * 86_400)) => return Ok("not paid in time".into()),
    ///         }
    ///     }
    ///     Ok("paid".into())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// `BAD_INPUT` if the payload is no `T`; `CANCELLED` if the run was cancelled meanwhile.
    #[track_caller]
    pub fn signal<T: Value>(&self, name: impl Into<String>) -> Operation<T> {
        operation::receive(name.into(), Location::caller())
    }

    /// Asks a person, and waits for the answer at no cost. The answer has a field for each of the form's.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// #[value]
    /// struct Decision {
    ///     approve: bool,
    ///     why: Option<String>,
    /// }
    ///
    /// #[workflow]
    /// async fn expense(ctx: Ctx, amount: u32) -> Result<bool, Failure> {
    ///     let form = Form::new(format!("Pay {amount}?")).approval("approve").text("why").optional();
    ///     let decision: Decision = ctx.ask(form).await?;
    ///     Ok(decision.approve)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// `EXPIRED` after the form's timeout; `BAD_REQUEST` if the form is none; `BAD_INPUT` if the answer is no
    /// `T`; `CANCELLED` if the run was cancelled meanwhile.
    #[track_caller]
    pub fn ask<T: Value>(&self, form: Form) -> Operation<T> {
        operation::ask_person(form.to_text(), Location::caller())
    }

    /// Lets a workflow change while runs of it go on: true in a run that gets here with this code, false in
    /// one that was moved to it and had passed this place before. The first answer for an `id` counts for the
    /// whole run, so one id may stand in several places.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// # #[function] fn charge(order: u32) -> u32 { order }
    /// # #[function] fn reserve(order: u32) -> u32 { order }
    /// #[workflow]
    /// async fn checkout(ctx: Ctx, order: u32) -> Result<(), Failure> {
    ///     if ctx.patched("reserve-first") {
    ///         ctx.step(reserve, order).await?;
    ///     }
    ///     ctx.step(charge, order).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// `id` is a name: letters, digits, `_`, `-` and `.`, at most 128 bytes; another one fails the run.
    pub fn patched(&self, id: &str) -> bool {
        bindings::patched(id)
    }

    /// Lets the run go on with another input: return what this gives, and the workflow is called anew, in the
    /// same run. Its id, parent, key and deadline stay, and so do signals that nobody took; what else is open is
    /// given up. For a workflow that lives for ever, or does more steps than one should remember: what came
    /// before is never recalled again, and the newest code of its deployment goes on.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// #[workflow(signals(leave: ()))]
    /// async fn subscription(ctx: Ctx, months: u32) -> Result<u32, Failure> {
    ///     select! {
    ///         left = ctx.signal::<()>("leave") => left.map(|()| months),
    ///         month = ctx.sleep(Duration::from_secs(30 * 86_400)) => {
    ///             month.and(ctx.continue_with::<subscription>(months + 1))
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Always, and at once: the failure with code `CONTINUED`, which only counts as one where the workflow
    /// does not return it. Another one where `W` is not the workflow itself, or its input cannot be JSON.
    pub fn continue_with<W: Workflow>(&self, input: W::Input) -> Result<W::Output, Failure> {
        if W::NAME != self.workflow() {
            let message = format!("a run of `{}` cannot go on as `{}`", self.workflow(), W::NAME);
            return Err(Failure::permanent(code::UNKNOWN_WORKFLOW, message));
        }
        Runtime::current().go_on_with(json::write_output(&input)?);
        Err(Failure::permanent(code::CONTINUED, "the run goes on with another input"))
    }

    /// Makes a promise: something that is settled from outside, once, by whoever has its
    /// [token](Promise::token). Hand that out by a step, then await the promise.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// # #[function] fn send_invoice(pay_with: String) {}
    /// #[workflow]
    /// async fn sale(ctx: Ctx) -> Result<u32, Failure> {
    ///     let mut paid = ctx.promise::<u32>("paid").timeout(Duration::from_secs(14 * 86_400));
    ///     ctx.step(send_invoice, paid.token()).await?;
    ///     paid.await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// What it is rejected with; `EXPIRED` after its timeout; `BAD_INPUT` if the value is no `T`;
    /// `BAD_REQUEST` if the name is none; `CANCELLED` if the run was cancelled meanwhile.
    #[track_caller]
    pub fn promise<T: Value>(&self, name: impl Into<String>) -> Promise<T> {
        Promise::new(operation::promise(name.into(), Location::caller()))
    }

    /// A value that outlives this run, under a name (what kind of thing it is) and a key (which one): other
    /// runs and people read and write it too. Each write is done once, however often this run is recalled.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// #[workflow]
    /// async fn reserve(ctx: Ctx, item: String) -> Result<bool, Failure> {
    ///     let stock = ctx.entity("stock", item);
    ///     let Some(left) = stock.get::<u32>().await?.filter(|left| left.value > 0) else {
    ///         return Ok(false);
    ///     };
    ///     // Fails with code `VERSION_CONFLICT` if somebody else took one meanwhile: see `update`.
    ///     stock.set_if(left.value - 1, left.version).await?;
    ///     Ok(true)
    /// }
    /// ```
    pub fn entity(&self, name: impl Into<String>, key: impl Into<String>) -> Entity {
        Entity::new(name.into(), key.into())
    }

    /// Shows `value` under `key` to whoever asks for the state of the run, until something else is published
    /// there: at any time, also while the run sleeps or waits, and after its end.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// # #[function] fn send(letter: u32) {}
    /// #[workflow]
    /// async fn mailing(ctx: Ctx, letters: u32) -> Result<(), Failure> {
    ///     for letter in 0..letters {
    ///         ctx.publish("sent", &letter);
    ///         ctx.step(send, letter).await?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let host = trackway_sdk::testing::Host::new();
    /// host.run::<mailing>(3).unwrap();
    /// assert_eq!(host.state::<u32>("sent"), Some(2));
    /// ```
    ///
    /// `key` is a name: letters, digits, `_`, `-` and `.`, at most 128 bytes. The run fails where it is none, where
    /// the value has more than 256 KiB, and with more than 256 keys.
    ///
    /// # Panics
    ///
    /// Where the value cannot be written as JSON.
    #[track_caller]
    pub fn publish<T: Value>(&self, key: &str, value: &T) {
        let at = Location::caller();
        let value = match value.write() {
            Ok(value) => value,
            Err(error) => panic!("what is published as `{key}` cannot be written as JSON: {error}"),
        };
        bindings::publish(key, &value, &place(at));
    }

    /// The id of the run.
    pub fn run_id(&self) -> &str {
        &self.about.run
    }

    /// The name under which the workflow was started.
    pub fn workflow(&self) -> &str {
        &self.about.workflow
    }

    /// The deployment through which the run was started.
    pub fn deployment(&self) -> &str {
        &self.about.deployment
    }
}

impl FnCtx {
    pub(crate) fn from_context(context: &str) -> FnCtx {
        FnCtx { about: Rc::new(serde_json::from_str(context).unwrap_or_default()), meter: None, handed: None }
    }

    /// The same, on behalf of an agent.
    pub(crate) fn metered(&self, meter: Rc<Meter>) -> FnCtx {
        FnCtx { meter: Some(meter), ..self.clone() }
    }

    pub(crate) fn meter(&self) -> Option<Rc<Meter>> {
        self.meter.clone()
    }

    /// Waits inside the attempt. For long waits let the workflow sleep: an attempt that waits counts
    /// towards its `timeout`.
    ///
    /// # Errors
    ///
    /// `CANCELLED` if it was cancelled meanwhile.
    #[track_caller]
    pub fn sleep(&self, duration: Duration) -> Operation<()> {
        operation::sleep(duration, Location::caller())
    }

    /// Asks a person, as [`Ctx::ask`]. Nothing of the attempt is in memory while it waits, for days if need be, and it
    /// does not count towards its `timeout`.
    ///
    /// # Errors
    ///
    /// `EXPIRED` after the form's timeout; `BAD_REQUEST` if the form is none; `BAD_INPUT` if the answer is no `T`.
    #[track_caller]
    pub fn ask<T: Value>(&self, form: Form) -> Operation<T> {
        operation::ask_person_of_function(form.to_text(), Location::caller())
    }

    /// Stands for a secret in a request: `{{secret:NAME}}`, which the host puts the value in place of when the request
    /// leaves, in a header, in the query or in the body, as the deployment was granted. The code never sees the value, and
    /// neither do journal, trace and logs. Of what comes back the host takes it out again.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// #[function(hosts = ["api.stripe.com"], secrets = ["STRIPE_KEY=api.stripe.com"])]
    /// async fn balance(ctx: FnCtx) -> Result<String, Failure> {
    ///     let request = http::get("https://api.stripe.com/v1/balance").bearer_auth(ctx.secret("STRIPE_KEY"));
    ///     request.send().await?.error_for_status()?.text()
    /// }
    /// ```
    ///
    /// The request fails as `SECRET_DENIED` where the function does not list the secret or the deployment is not granted it,
    /// as `SECRET_UNKNOWN` where nobody has set it; then nothing has left the host.
    pub fn secret(&self, name: &str) -> String {
        format!("{{{{secret:{name}}}}}")
    }

    /// Says how far the attempt is: for people, and for the next attempt if this one fails. With a
    /// `heartbeat_timeout` an attempt that says nothing for so long is broken off, so say it more often than that.
    /// It costs little: the host writes down some of it only, and always the last before a failure.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// #[function(heartbeat_timeout = "30s")]
    /// async fn import(ctx: FnCtx, pages: u32) -> Result<u32, Failure> {
    ///     let first: u32 = ctx.last_progress().unwrap_or(0);
    ///     for page in first..pages {
    ///         http::get(format!("https://example.com/{page}")).send().await?.error_for_status()?;
    ///         ctx.progress(&(page + 1));
    ///     }
    ///     Ok(pages - first)
    /// }
    /// ```
    ///
    /// At most 4 KiB of JSON: the host ends an attempt that says more.
    pub fn progress(&self, progress: &impl Value) {
        // What cannot be written is no JSON, and the host says so.
        bindings::progress(&progress.write().unwrap_or_default());
    }

    /// What an earlier attempt of this step said last; nothing if none did, or if it is no `T`.
    /// An attempt that resumes a failed one is told what that one was told.
    pub fn last_progress<T: Value>(&self) -> Option<T> {
        T::read(&self.about.progress.as_ref()?.to_string()).ok()
    }

    /// The id of the run.
    pub fn run_id(&self) -> &str {
        &self.about.run
    }

    /// The number of the step in its run, from 1.
    pub fn step(&self) -> u32 {
        self.about.step
    }

    /// Which try this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.about.attempt
    }
}
