//! Requests to a workflow that wait for an answer. It takes and answers them, and decides nothing.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::failure::place;
use crate::{Ctx, Failure, Operation, Value, bindings, json, operation};

impl Ctx {
    /// Updates of that name: requests to the workflow, whose senders wait for the answer.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// #[workflow(updates(add: u32 -> u32))]
    /// async fn total(ctx: Ctx, limit: u32) -> Result<u32, Failure> {
    ///     let updates = ctx.updates::<u32, u32>("add");
    ///     let mut total = 0;
    ///     while total < limit {
    ///         let update = updates.next().await?;
    ///         if *update.request() > limit - total {
    ///             update.refuse(Failure::permanent("TOO_MUCH", "there is less room than that"));
    ///             continue;
    ///         }
    ///         total += update.request();
    ///         update.answer(&total);
    ///     }
    ///     Ok(total)
    /// }
    ///
    /// let host = trackway_sdk::testing::Host::new().update("add", &4).update("add", &9).update("add", &6);
    /// assert_eq!(host.run::<total>(10).unwrap(), 10);
    /// let replies: Vec<_> = host.replies::<u32>().into_iter().map(|reply| reply.map_err(|failure| failure.code)).collect();
    /// assert_eq!(replies, [Ok(4), Err("TOO_MUCH".to_owned()), Ok(10)]);
    /// ```
    #[track_caller]
    pub fn updates<T: Value, O: Value>(&self, name: impl Into<String>) -> Updates<T, O> {
        Updates::new(name.into(), Location::caller())
    }
}

/// The updates of one name. See [`Ctx::updates`](crate::Ctx::updates).
pub struct Updates<T, O> {
    name: String,
    at: &'static Location<'static>,
    types: PhantomData<fn(T) -> O>,
}

impl<T: Value, O: Value> Updates<T, O> {
    pub(crate) fn new(name: String, at: &'static Location<'static>) -> Updates<T, O> {
        Updates { name, at, types: PhantomData }
    }

    /// Waits for the next one. One that came before counts; each is taken once, in the order in which they came.
    /// Dropped before it has its update it takes none. What is no `T` is refused with `BAD_INPUT`, and the one after it
    /// is waited for.
    ///
    /// # Errors
    ///
    /// `CANCELLED` if the run was cancelled meanwhile; `BAD_REQUEST` if the name is none.
    pub fn next(&self) -> NextUpdate<T, O> {
        let operation = operation::accept_update(self.name.clone(), self.at);
        NextUpdate { operation, name: self.name.clone(), at: self.at, types: PhantomData }
    }
}

/// The next update of a name, as a future.
#[must_use = "an update is taken when this is awaited"]
pub struct NextUpdate<T, O> {
    operation: Operation<String>,
    name: String,
    at: &'static Location<'static>,
    types: PhantomData<fn(T) -> O>,
}

impl<T, O> NextUpdate<T, O> {
    /// Waits for it from now on, so that the workflow does something else meanwhile.
    pub fn start(self) -> NextUpdate<T, O> {
        NextUpdate { operation: self.operation.start(), ..self }
    }
}

impl<T: Value, O: Value> Future for NextUpdate<T, O> {
    type Output = Result<Update<T, O>, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let Poll::Ready(taken) = Pin::new(&mut self.operation).poll(context) else { return Poll::Pending };
            let taken = match taken {
                Ok(taken) => taken,
                Err(failure) => return Poll::Ready(Err(failure)),
            };
            let (id, body) = taken.split_once(' ').unwrap_or(("0", &taken));
            let id = id.parse().unwrap_or(0);
            match json::read_payload::<T>(body) {
                Ok(request) => {
                    let types = PhantomData;
                    return Poll::Ready(Ok(Update { request, id, is_answered: false, at: self.at, types }));
                }
                Err(failure) => {
                    bindings::reply(id, Err(&failure.to_text()), &place(self.at));
                    self.operation = operation::accept_update(self.name.clone(), self.at);
                }
            }
        }
    }
}

/// A request to the workflow, whose sender waits for the answer. One that is dropped without an answer is refused with
/// code `UNANSWERED`.
#[must_use = "whoever sent the update waits for its answer"]
pub struct Update<T, O> {
    request: T,
    id: u32,
    is_answered: bool,
    at: &'static Location<'static>,
    types: PhantomData<fn() -> O>,
}

impl<T, O: Value> Update<T, O> {
    /// What is asked.
    pub fn request(&self) -> &T {
        &self.request
    }

    /// Answers it.
    #[track_caller]
    pub fn answer(mut self, output: &O) {
        let at = place(Location::caller());
        self.is_answered = true;
        match json::write_output(output) {
            Ok(output) => bindings::reply(self.id, Ok(&output), &at),
            Err(failure) => bindings::reply(self.id, Err(&failure.to_text()), &at),
        }
    }

    /// Refuses it: its sender gets the failure.
    #[track_caller]
    pub fn refuse(mut self, failure: Failure) {
        self.is_answered = true;
        bindings::reply(self.id, Err(&failure.to_text()), &place(Location::caller()));
    }
}

impl<T, O> Drop for Update<T, O> {
    fn drop(&mut self) {
        if !self.is_answered {
            let failure = Failure::permanent("UNANSWERED", "the workflow dropped the update");
            bindings::reply(self.id, Err(&failure.to_text()), &place(self.at));
        }
    }
}

impl<T, O> fmt::Debug for Updates<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updates").field("name", &self.name).finish()
    }
}

impl<T, O> fmt::Debug for NextUpdate<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NextUpdate").field(&self.operation).finish()
    }
}

impl<T: fmt::Debug, O> fmt::Debug for Update<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update").field("request", &self.request).field("id", &self.id).finish()
    }
}
