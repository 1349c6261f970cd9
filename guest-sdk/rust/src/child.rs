//! A run that a workflow starts, as a future. It only says what is wanted; the host starts it.

use serde::Deserialize;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::operation::RunOptions;
use crate::{Failure, Operation, json};

/// A run that a workflow starts and waits for: made by [`Ctx::child`](crate::Ctx::child) and
/// [`Ctx::child_of`](crate::Ctx::child_of). It gives what that run returns, or fails as it fails.
///
/// It starts when it is first awaited (or by [`start`](Child::start)). Dropping one that is open asks
/// the run to cancel, unless it is [abandoned](Child::abandon).
#[must_use = "a child starts when it is awaited: add `.await`, or `.start()` to go on meanwhile"]
pub struct Child<T>(Operation<T>);

impl<T> Child<T> {
    pub(crate) fn new(operation: Operation<T>) -> Child<T> {
        Child(operation)
    }

    /// A word for people, shown in the trace beside it; up to 256 bytes.
    pub fn label(self, label: impl Into<String>) -> Child<T> {
        Child(self.0.label(label))
    }

    /// A workflow of this deployment, as it points to now. Default: the very code of this run.
    pub fn deployment(self, name: impl Into<String>) -> Child<T> {
        self.with(|options| options.deployment = Some(name.into()))
    }

    /// Lets it go on when nobody waits for it any more: this run is cancelled, or ends first.
    pub fn abandon(self) -> Child<T> {
        self.with(|options| options.on_cancel = Some("abandon"))
    }

    /// How long it may go on after a cancel, up to a day. Default: as its workflow says, else 30 s. Whoever cancels it may
    /// say otherwise.
    pub fn cancel_grace(self, grace: Duration) -> Child<T> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.with(|options| options.cancel_grace_ms = Some(grace_ms))
    }

    /// Starts it now, so that it runs while the workflow does something else.
    pub fn start(self) -> Child<T> {
        Child(self.0.start())
    }

    /// Asks the host to cancel it and to wait for it no longer.
    pub fn cancel(&mut self) {
        self.0.cancel();
    }

    /// Does not wait for it: gives the id of the run as soon as it stands.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// # #[workflow] async fn tidy_up(ctx: Ctx, days: u32) -> Result<(), Failure> { Ok(()) }
    /// #[workflow]
    /// async fn nightly(ctx: Ctx) -> Result<String, Failure> {
    ///     ctx.child::<tidy_up>(30).detach().await
    /// }
    /// ```
    pub fn detach(self) -> Operation<String> {
        self.with(|options| options.detach = true).0.read_as(read_id)
    }

    /// As [`detach`](Child::detach), under an idempotency key: the same key starts the same run once,
    /// whoever asks for it.
    pub fn detach_once(self, key: impl Into<String>) -> Operation<String> {
        self.with(|options| options.key = Some(key.into())).detach()
    }

    fn with(mut self, change: impl FnOnce(&mut RunOptions)) -> Child<T> {
        if let Some(options) = self.0.run_options() {
            change(options);
        }
        self
    }
}

fn read_id(text: &str) -> Result<String, Failure> {
    #[derive(Deserialize, schemars::JsonSchema, serde::Serialize)]
    struct Detached {
        run: String,
    }
    json::read_output::<Detached>(text).map(|detached| detached.run)
}

impl<T> Future for Child<T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> fmt::Debug for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Child").field(&self.0).finish()
    }
}
