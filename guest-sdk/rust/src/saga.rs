//! Sagas: steps that are undone in reverse when a later one fails or the run is cancelled. Undoing is made
//! of steps like any other; nothing here happens outside of them.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::Pin;

use crate::failure::{Failure, code};
use crate::scope::shield;
use crate::{Call, Ctx, Function, Operation};

/// A stack of what is to be undone; made by [`Ctx::saga`].
///
/// ```
/// # use trackway_sdk::prelude::*;
/// # #[function] fn reserve(order: u32) -> u32 { order }
/// # #[function] fn release(reservation: u32) {}
/// # #[function] fn charge(order: u32) -> u32 { order }
/// # #[function] fn refund(payment: u32) {}
/// # #[function] fn ship(order: u32) -> String { order.to_string() }
/// #[workflow]
/// async fn checkout(ctx: Ctx, order: u32) -> Result<String, Failure> {
///     ctx.saga(async |saga| {
///         let reserved = saga.step(reserve, order).undo(release, |reserved| *reserved).await?;
///         saga.step(charge, reserved).undo(refund, |payment| *payment).await?;
///         ctx.step(ship, order).await
///     })
///     .await
/// }
/// ```
pub struct Saga {
    ctx: Ctx,
    stack: RefCell<Vec<Entry>>,
}

type Undo = Box<dyn FnOnce(&Ctx) -> Pin<Box<dyn Future<Output = Result<(), Failure>>>>>;

struct Entry {
    /// Name of the function that undoes it.
    name: &'static str,
    undo: Undo,
}

/// A step of a saga; awaited as it is, it has nothing to undo.
#[must_use = "a step starts when it is awaited"]
pub struct SagaStep<'a, T> {
    saga: &'a Saga,
    step: Operation<T>,
}

impl Ctx {
    /// Runs `body`. If it fails, also because the run is cancelled, what its steps have done is undone:
    /// the last first, shielded from the cancel, each with the retries of its own function. All are tried,
    /// even where one fails.
    ///
    /// # Errors
    ///
    /// The failure of `body`. Where undoing failed too, its details name under `undo_failed` what is left to be
    /// undone by hand, and its code is [`UNDO_FAILED`](code::UNDO_FAILED) unless the run was cancelled.
    pub async fn saga<T>(&self, body: impl AsyncFnOnce(&Saga) -> Result<T, Failure>) -> Result<T, Failure> {
        let saga = Saga { ctx: self.clone(), stack: RefCell::default() };
        match body(&saga).await {
            Ok(output) => Ok(output),
            // It has not failed: the run goes on.
            Err(failure) if failure.is_continued() => Err(failure),
            Err(failure) => Err(saga.undone(failure).await),
        }
    }
}

impl Saga {
    /// Calls a function as a step; see [`SagaStep::undo`].
    #[track_caller]
    pub fn step<F: Function>(
        &self,
        function: impl FnOnce(F::Input) -> Call<F>,
        input: F::Input,
    ) -> SagaStep<'_, F::Output> {
        SagaStep { saga: self, step: self.ctx.step(function, input) }
    }

    /// Has `function` called with `input` if the saga fails from here on.
    #[track_caller]
    pub fn on_failure<F: Function>(&self, function: impl FnOnce(F::Input) -> Call<F> + 'static, input: F::Input) {
        self.push::<F>(function, input, Location::caller());
    }

    fn push<F: Function>(
        &self,
        function: impl FnOnce(F::Input) -> Call<F> + 'static,
        input: F::Input,
        at: &'static Location<'static>,
    ) {
        let undo = Box::new(move |ctx: &Ctx| -> Pin<Box<dyn Future<Output = Result<(), Failure>>>> {
            let step = ctx.step(function, input).at(at).label(format!("undo {}", F::NAME));
            Box::pin(async move { step.await.map(drop) })
        });
        self.stack.borrow_mut().push(Entry { name: F::NAME, undo });
    }

    /// Undoes all, the last first, and says with what the saga fails.
    async fn undone(self, failure: Failure) -> Failure {
        let left = shield(async {
            let mut left = Vec::new();
            while let Some(Entry { name, undo }) = self.pop() {
                if let Err(why) = undo(&self.ctx).await {
                    left.push(serde_json::json!({ "undo": name, "failure": why }));
                }
            }
            left
        })
        .await;
        if left.is_empty() {
            return failure;
        }
        let message = format!("{failure}; {} of what it had done could not be undone", left.len());
        let code = if failure.is_cancelled() { failure.code.clone() } else { code::UNDO_FAILED.to_owned() };
        let details = serde_json::json!({ "cause": &failure, "undo_failed": left });
        Failure { code, message, retryable: false, ..failure }.with_details(details)
    }

    fn pop(&self) -> Option<Entry> {
        self.stack.borrow_mut().pop()
    }
}

impl<'a, T: 'a> SagaStep<'a, T> {
    /// Has `function` called if a later step fails. `input` makes its input of the step's output.
    #[track_caller]
    pub fn undo<F: Function>(
        self,
        function: impl FnOnce(F::Input) -> Call<F> + 'static,
        input: impl FnOnce(&T) -> F::Input + 'a,
    ) -> impl Future<Output = Result<T, Failure>> + 'a {
        let (SagaStep { saga, step }, at) = (self, Location::caller());
        async move {
            let output = step.await?;
            saga.push::<F>(function, input(&output), at);
            Ok(output)
        }
    }

    /// As [`undo`](SagaStep::undo), with an input that is known before. So it is called also where the step
    /// itself failed in a way that may have had effects: its effect is ambiguous and its function says
    /// `ambiguous = "compensate"`, or the run was cancelled while it was under way. It has to bear that there
    /// was nothing to undo.
    #[track_caller]
    pub fn undo_with<F: Function>(
        self,
        function: impl FnOnce(F::Input) -> Call<F> + 'static,
        input: F::Input,
    ) -> impl Future<Output = Result<T, Failure>> + 'a {
        let (SagaStep { saga, step }, at) = (self, Location::caller());
        async move {
            let outcome = step.await;
            if outcome.as_ref().map_or_else(may_have_happened, |_| true) {
                saga.push::<F>(function, input, at);
            }
            outcome
        }
    }

    /// See [`Operation::label`].
    pub fn label(self, label: impl Into<String>) -> SagaStep<'a, T> {
        SagaStep { step: self.step.label(label), ..self }
    }

    /// See [`Operation::ambiguous`].
    pub fn ambiguous(self, ambiguous: crate::Ambiguous) -> SagaStep<'a, T> {
        SagaStep { step: self.step.ambiguous(ambiguous), ..self }
    }

    /// See [`Operation::retry`].
    pub fn retry(self, retry: crate::Retry) -> SagaStep<'a, T> {
        SagaStep { step: self.step.retry(retry), ..self }
    }
}

fn may_have_happened(failure: &Failure) -> bool {
    let wants_it = |details: &serde_json::Value| details["compensate"] == serde_json::Value::Bool(true);
    failure.is_cancelled() || failure.code == code::AMBIGUOUS && failure.details.as_ref().is_some_and(wants_it)
}

impl<'a, T: 'a> IntoFuture for SagaStep<'a, T> {
    type Output = Result<T, Failure>;
    type IntoFuture = Operation<T>;

    fn into_future(self) -> Operation<T> {
        self.step
    }
}

impl fmt::Debug for Saga {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.stack.borrow().iter().map(|entry| entry.name).collect();
        f.debug_struct("Saga").field("to_undo", &names).finish()
    }
}

impl<T> fmt::Debug for SagaStep<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SagaStep").field("step", &self.step).finish()
    }
}

#[cfg(test)]
mod tests;
