//! The executor: polls one future, parks in `next`, and wakes whoever waits for the id that came.
//! Nothing here depends on time, addresses or hash order, so a replay polls in the same order.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::Failure;
use crate::bindings::Port;
use crate::failure::code;

/// What the operations of one instance share.
pub(crate) struct Runtime {
    port: &'static dyn Port,
    slots: RefCell<BTreeMap<u32, Slot>>,
    /// How many slots wait.
    waiting: Cell<usize>,
}

enum Slot {
    Waiting(Waker),
    Answered(Answer),
}

/// How an operation was completed.
pub(crate) enum Answer {
    Succeeded(String),
    Failed(String),
    /// The run was cancelled while it was open.
    Cancelled(Rc<str>),
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Runtime>>> = const { RefCell::new(None) };
}

#[derive(serde::Deserialize)]
struct CancelBody {
    #[serde(default)]
    reason: String,
}

/// Puts back what was there before, also when a test panics.
struct Entered(Option<Rc<Runtime>>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Drives `future` to its end, over the imports of `port`.
pub(crate) fn block_on<T>(
    port: &'static dyn Port,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = Rc::new(Runtime { port, slots: RefCell::default(), waiting: Cell::new(0) });
    let _entered = Entered(CURRENT.replace(Some(runtime.clone())));
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        while woken.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
        }
        if runtime.waiting.get() == 0 {
            return Err(Failure::permanent(
                code::NOTHING_OPEN,
                "the code awaits something that no open operation will bring: \
                 await only what comes from `ctx`, `http` or `trackway_sdk`",
            ));
        }
        runtime.park();
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Runtime {
    /// The one that polls right now.
    pub(crate) fn current() -> Rc<Runtime> {
        CURRENT.with_borrow(Clone::clone).expect(
            "operations need a run: call this from a workflow or function, or from a test through `trackway_sdk::testing`",
        )
    }

    pub(crate) fn port(&self) -> &'static dyn Port {
        self.port
    }

    /// An operation was started and got `id`.
    pub(crate) fn opened(&self, id: u32, waker: Waker) {
        self.slots.borrow_mut().insert(id, Slot::Waiting(waker));
        self.waiting.set(self.waiting.get() + 1);
    }

    /// The answer of `id`, or a note of whom to wake for it.
    pub(crate) fn take(&self, id: u32, waker: &Waker) -> Poll<Answer> {
        let mut slots = self.slots.borrow_mut();
        match slots.get_mut(&id) {
            Some(Slot::Waiting(known)) => {
                known.clone_from(waker);
                Poll::Pending
            }
            Some(Slot::Answered(_)) => match slots.remove(&id) {
                Some(Slot::Answered(answer)) => Poll::Ready(answer),
                Some(Slot::Waiting(_)) | None => Poll::Pending,
            },
            None => Poll::Pending,
        }
    }

    /// Nobody will ever look at `id` again.
    pub(crate) fn forget(&self, id: u32) {
        let slot = self.slots.borrow_mut().remove(&id);
        if let Some(Slot::Waiting(_)) = slot {
            self.waiting.set(self.waiting.get() - 1);
            self.port.forget(id);
        }
    }

    /// Waits for one completion and hands it to its slot.
    fn park(&self) {
        let completion = self.port.next();
        match completion.kind.as_str() {
            "succeeded" => self.answer(completion.id, Answer::Succeeded(completion.body)),
            "failed" => self.answer(completion.id, Answer::Failed(completion.body)),
            "cancel" => self.cancel_all(&completion.body),
            // The contract: a kind that a guest does not know is passed over.
            _ => {}
        }
    }

    fn answer(&self, id: u32, answer: Answer) {
        let waker = {
            let mut slots = self.slots.borrow_mut();
            match slots.get_mut(&id) {
                Some(slot @ Slot::Waiting(_)) => {
                    self.waiting.set(self.waiting.get() - 1);
                    std::mem::replace(slot, Slot::Answered(answer))
                }
                Some(Slot::Answered(_)) | None => return,
            }
        };
        if let Slot::Waiting(waker) = waker {
            waker.wake();
        }
    }

    /// Every open operation fails, in the order in which they were started, and is closed at the
    /// host. What is started afterwards works: it is how a workflow cleans up.
    fn cancel_all(&self, body: &str) {
        let reason: Rc<str> =
            serde_json::from_str::<CancelBody>(body).map_or_else(|_| "".into(), |body| body.reason.into());
        let open: Vec<u32> = self
            .slots
            .borrow()
            .iter()
            .filter_map(|(id, slot)| matches!(slot, Slot::Waiting(_)).then_some(*id))
            .collect();
        for id in open {
            self.port.forget(id);
            self.answer(id, Answer::Cancelled(reason.clone()));
        }
    }
}
