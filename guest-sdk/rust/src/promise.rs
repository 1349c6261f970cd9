//! Something that is settled from outside, by whoever has its token. It never settles itself.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::{Failure, Operation};

/// A promise of a run: made once, settled once, from outside. See [`Ctx::promise`](crate::Ctx::promise).
///
/// It stands from the first call of [`token`](Promise::token) or the first await on, whatever comes
/// first. Dropping it gives it up: nobody can settle it from then on.
#[must_use = "a promise starts when its token is asked for or it is awaited"]
pub struct Promise<T> {
    operation: Operation<T>,
}

impl<T> Promise<T> {
    pub(crate) fn new(operation: Operation<T>) -> Promise<T> {
        Promise { operation }
    }

    /// After so long it fails with code `EXPIRED`. Only before it stands.
    pub fn timeout(mut self, timeout: Duration) -> Promise<T> {
        self.operation.set_timeout(timeout);
        self
    }

    /// A word for people, shown in the trace beside it; up to 256 bytes.
    pub fn label(mut self, label: impl Into<String>) -> Promise<T> {
        self.operation = self.operation.label(label);
        self
    }

    /// What settles it: hand it to whoever is to do that, by any step. The same on every replay; nobody
    /// can guess it. Empty if the run was cancelled before: then the promise fails at once.
    pub fn token(&mut self) -> String {
        self.operation.token()
    }

    /// Gives it up. It still has to be awaited, as any [operation](Operation::cancel).
    pub fn cancel(&mut self) {
        self.operation.cancel();
    }
}

impl<T> Future for Promise<T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.operation).poll(context)
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Promise").field(&self.operation).finish()
    }
}
