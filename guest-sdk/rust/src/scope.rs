//! Time limits, shields and scopes: who stops what, and when. Nothing here starts anything by itself.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::failure::{Failure, code, place};
use crate::join::Steps;
use crate::operation;
use crate::runtime::Runtime;

/// Gives up on `future` after `duration`; it is then dropped, which stops it.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// # #[function] fn slow(n: u32) -> u32 { n }
/// #[workflow]
/// async fn impatient(ctx: Ctx) -> Result<u32, Failure> {
///     timeout(Duration::from_secs(60), ctx.step(slow, 1)).await
/// }
/// ```
///
/// To be told whether it had been done all the same, lend it and cancel it: `timeout(limit, &mut step)`, then
/// `step.cancel()` and `step.await`.
///
/// # Errors
///
/// Its own failure, or `TIMEOUT`, which another attempt may mend.
#[track_caller]
pub fn timeout<F, T>(duration: Duration, future: F) -> impl Future<Output = Result<T, Failure>>
where
    F: IntoFuture<Output = Result<T, Failure>>,
{
    let at = Location::caller();
    async move {
        let mut future = pin!(future.into_future());
        let mut alarm = pin!(operation::sleep(duration, at));
        let mut is_set = true;
        poll_fn(|context| {
            if let Poll::Ready(outcome) = future.as_mut().poll(context) {
                return Poll::Ready(outcome);
            }
            if !is_set {
                return Poll::Pending;
            }
            match alarm.as_mut().poll(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) => {
                    let message = format!("it was not done within {duration:?}");
                    Poll::Ready(Err(Failure { at: Some(place(at)), ..Failure::new(code::TIMEOUT, message) }))
                }
                // The run was cancelled. What is limited has been told so, unless it is shielded.
                Poll::Ready(Err(_)) => {
                    is_set = false;
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// Lets a cancel of the run pass by: the awaits inside go on. For what must not be left half done, and for
/// clean-up. The first await after it that is not shielded fails as cancelled, if no other one has.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// # #[function] fn debit(n: u32) {}
/// # #[function] fn credit(n: u32) {}
/// #[workflow]
/// async fn transfer(ctx: Ctx, cents: u32) -> Result<(), Failure> {
///     shield(async {
///         ctx.step(debit, cents).await?;
///         ctx.step(credit, cents).await
///     })
///     .await
/// }
/// ```
///
/// A cancelled run has its grace period to end, shields or not.
pub async fn shield<F: IntoFuture>(future: F) -> F::Output {
    let runtime = Runtime::current();
    let mut future = pin!(future.into_future());
    poll_fn(|context| runtime.shielded(|| future.as_mut().poll(context))).await
}

/// What becomes of the tasks of a scope that are still open when its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftover {
    /// They are dropped, and their operations stopped; nothing of them is seen any more.
    Forget,
    /// Their operations are asked to stop; the tasks see that as failures with
    /// [`is_cancelled`](Failure::is_cancelled), may clean up, and are waited for.
    Cancel,
}

type Child<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Where tasks are spawned that do not outlive it; made by [`Ctx::scope`](crate::Ctx::scope).
pub struct Scope<'a> {
    spawned: RefCell<Vec<Child<'a>>>,
}

/// The output of a spawned task, once it is awaited. Dropping it does not stop the task: the end of the
/// scope does.
#[must_use = "await it, or drop it with `drop(..)` if its output does not matter"]
pub struct Task<T> {
    shared: Rc<RefCell<Shared<T>>>,
}

struct Shared<T> {
    output: Option<T>,
    waker: Option<Waker>,
}

impl<'a> Scope<'a> {
    /// Runs `future` beside the body.
    pub fn spawn<T: 'a>(&self, future: impl IntoFuture<Output = T, IntoFuture: 'a>) -> Task<T> {
        let shared = Rc::new(RefCell::new(Shared { output: None, waker: None }));
        let (task, future) = (Task { shared: shared.clone() }, future.into_future());
        self.spawned.borrow_mut().push(Box::pin(async move {
            let output = future.await;
            let waker = {
                let mut shared = shared.borrow_mut();
                shared.output = Some(output);
                shared.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }));
        task
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut shared = self.shared.borrow_mut();
        match shared.output.take() {
            Some(output) => Poll::Ready(output),
            None => {
                shared.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("ended", &self.shared.borrow().output.is_some()).finish()
    }
}

pub(crate) async fn scope<'a, R>(leftover: Leftover, body: impl AsyncFnOnce(&Scope<'a>) -> R) -> R {
    let runtime = Runtime::current();
    let id = runtime.open_scope();
    let scope = Scope { spawned: RefCell::default() };
    let mut children: Steps<'a, ()> = Steps::new();
    let output = {
        let mut body = pin!(body(&scope));
        poll_fn(|context| {
            loop {
                runtime.scoped(id, || while let Poll::Ready(Some(())) = children.poll_next(context) {});
                if let Poll::Ready(output) = runtime.scoped(id, || body.as_mut().poll(context)) {
                    return Poll::Ready(output);
                }
                let spawned = scope.spawned.take();
                if spawned.is_empty() {
                    return Poll::Pending;
                }
                spawned.into_iter().for_each(|child| children.push(child));
            }
        })
        .await
    };
    if leftover == Leftover::Cancel {
        runtime.cancel_scope(id);
        poll_fn(|context| {
            loop {
                let polled = runtime.scoped(id, || children.poll_next(context));
                // What they spawn while they clean up belongs to them.
                scope.spawned.take().into_iter().for_each(|child| children.push(child));
                match polled {
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) if !children.is_empty() => {}
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }
    output
}

#[cfg(test)]
mod tests;
