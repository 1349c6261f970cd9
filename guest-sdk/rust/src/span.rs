//! Spans: what stands between their two ends in the trace is shown under them. They do nothing else.

use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::pin;

use crate::bindings;
use crate::failure::{Failure, place};
use crate::operation::Options;
use crate::runtime::Runtime;

/// One that is open; dropped, it ends as cancelled.
#[derive(Debug)]
pub(crate) struct Span {
    id: u32,
    at: &'static Location<'static>,
    is_open: bool,
}

impl Span {
    /// Within the one that is polled. `input` is JSON.
    pub fn begin(kind: &str, name: &str, input: &str, at: &'static Location<'static>) -> Span {
        let options = Options { span: Runtime::current().span(), ..Options::default() };
        let id = bindings::begin([kind, name, input], &options.to_text(), &place(at));
        Span { id, at, is_open: true }
    }

    /// What `future` asks for belongs to it.
    pub async fn around<F: Future>(&self, future: F) -> F::Output {
        let runtime = Runtime::current();
        let mut future = pin!(future);
        poll_fn(|context| runtime.spanned(self.id, || future.as_mut().poll(context))).await
    }

    /// With an output as JSON, or a failure.
    pub fn end(mut self, outcome: Result<&str, &Failure>) {
        self.is_open = false;
        self.tell(outcome);
    }

    fn tell(&self, outcome: Result<&str, &Failure>) {
        let failure = outcome.err().map(Failure::to_text);
        let outcome = outcome.map_err(|_| failure.as_deref().unwrap_or_default());
        bindings::end(self.id, outcome, &place(self.at));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.is_open {
            self.tell(Err(&Failure::cancelled("nobody waited for it any more")));
        }
    }
}
