//! The executor: polls one future, parks in `next`, and wakes whoever waits for the id that came.
//! Nothing here depends on time, addresses or hash order, so a replay polls in the same order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::Failure;
use crate::bindings::Port;
use crate::failure::code;
use crate::mail::{Mail, Returned};

/// What the operations of one instance share.
pub(crate) struct Runtime {
    port: &'static dyn Port,
    slots: RefCell<BTreeMap<u32, Slot>>,
    /// How many slots wait.
    waiting: Cell<usize>,
    mail: RefCell<Mail>,
    /// What is polled right now.
    place: Cell<Place>,
    /// The scope around each scope.
    scopes: RefCell<BTreeMap<u32, u32>>,
    /// Why the run was cancelled, once it was.
    cancelled: RefCell<Option<Rc<str>>>,
    /// The cancel came while every open await was shielded: the next one that is not fails instead.
    owed: Cell<bool>,
    /// What the run goes on with once its workflow has returned.
    goes_on: RefCell<Option<String>>,
    people: RefCell<People>,
}

/// For how long people were waited for.
#[derive(Default)]
struct People {
    /// The ids of the questions that are open.
    open: BTreeSet<u32>,
    /// When the first of those was asked.
    since_ms: u64,
    /// Without that.
    waited_ms: u64,
}

/// Around whoever waits for an operation.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    /// A cancel of the run passes it by.
    shielded: bool,
    /// 0: none.
    scope: u32,
    /// 0: none.
    span: u32,
}

enum Slot {
    Waiting(Waker, Place),
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
    let runtime = Rc::new(Runtime {
        port,
        slots: RefCell::default(),
        waiting: Cell::new(0),
        mail: RefCell::default(),
        place: Cell::default(),
        scopes: RefCell::default(),
        cancelled: RefCell::default(),
        owed: Cell::new(false),
        goes_on: RefCell::default(),
        people: RefCell::default(),
    });
    let _entered = Entered(CURRENT.replace(Some(runtime.clone())));
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        while woken.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                runtime.end(output.as_ref().err());
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

    /// Lets the run go on with `input`, if its workflow returns the failure that says so.
    pub(crate) fn go_on_with(&self, input: String) {
        self.goes_on.replace(Some(input));
    }

    fn end(&self, failure: Option<&Failure>) {
        if failure.is_some_and(Failure::is_continued)
            && let Some(input) = self.goes_on.take()
        {
            self.port.continue_with(&input, &self.mail.borrow().unused());
        }
    }

    pub(crate) fn port(&self) -> &'static dyn Port {
        self.port
    }

    /// An operation was started and got `id`.
    pub(crate) fn opened(&self, id: u32, waker: Waker) {
        self.slots.borrow_mut().insert(id, Slot::Waiting(waker, self.place.get()));
        self.waiting.set(self.waiting.get() + 1);
    }

    /// `id` waits for a signal of that name.
    pub(crate) fn opened_mail(&self, id: u32, name: &str) {
        self.mail.borrow_mut().opened(id, name.to_owned());
    }

    /// A signal of that name that came before, and that nobody took after all.
    pub(crate) fn returned(&self, name: &str) -> Option<Returned> {
        self.mail.borrow_mut().take_returned(name)
    }

    pub(crate) fn give_back(&self, mut returned: Returned) {
        loop {
            let next = self.mail.borrow_mut().pass_on(&mut returned);
            let Some(id) = next else { break };
            if let Some(Slot::Answered(Answer::Succeeded(body))) = self.slots.borrow_mut().get_mut(&id) {
                std::mem::swap(body, &mut returned.body);
            }
        }
        self.mail.borrow_mut().give_back(returned);
        self.hand_on();
    }

    /// The answer of `id`, or a note of whom to wake for it.
    pub(crate) fn take(&self, id: u32, waker: &Waker) -> Poll<Answer> {
        let mut slots = self.slots.borrow_mut();
        match slots.get_mut(&id) {
            Some(Slot::Waiting(known, place)) => {
                known.clone_from(waker);
                *place = self.place.get();
                Poll::Pending
            }
            Some(Slot::Answered(_)) => match slots.remove(&id) {
                Some(Slot::Answered(answer)) => {
                    self.mail.borrow_mut().taken(id);
                    Poll::Ready(answer)
                }
                Some(Slot::Waiting(..)) | None => Poll::Pending,
            },
            None => Poll::Pending,
        }
    }

    /// `id` is a question to a person.
    pub(crate) fn opened_question(&self, id: u32) {
        let mut people = self.people.borrow_mut();
        if people.open.is_empty() {
            people.since_ms = self.port.now();
        }
        people.open.insert(id);
    }

    fn closed_question(&self, id: u32) {
        let mut people = self.people.borrow_mut();
        if people.open.remove(&id) && people.open.is_empty() {
            people.waited_ms += self.port.now().saturating_sub(people.since_ms);
        }
    }

    /// How long this instance has waited for people so far.
    pub(crate) fn waited_for_people_ms(&self) -> u64 {
        let people = self.people.borrow();
        let open_ms = if people.open.is_empty() { 0 } else { self.port.now().saturating_sub(people.since_ms) };
        people.waited_ms + open_ms
    }

    /// Nobody will ever look at `id` again.
    pub(crate) fn forget(&self, id: u32) {
        self.closed_question(id);
        let slot = self.slots.borrow_mut().remove(&id);
        let had = match slot {
            Some(Slot::Waiting(..)) => {
                self.waiting.set(self.waiting.get() - 1);
                self.port.forget(id);
                None
            }
            Some(Slot::Answered(Answer::Succeeded(body))) => Some(body),
            Some(Slot::Answered(Answer::Failed(_) | Answer::Cancelled(_))) | None => None,
        };
        let returned = self.mail.borrow_mut().dropped(id, had);
        if let Some(returned) = returned {
            self.give_back(returned);
        }
    }

    fn hand_on(&self) {
        let next = self.mail.borrow_mut().next_returned();
        if let Some((id, returned)) = next {
            // It has its signal from here, so it must not take another one from the host.
            self.port.forget(id);
            self.mail.borrow_mut().answered_with(id, &returned);
            self.answer(id, Answer::Succeeded(returned.body));
        }
    }

    /// Waits for one completion and hands it to its slot.
    fn park(&self) {
        let completion = self.port.next();
        match completion.kind.as_str() {
            "succeeded" => {
                let body = self.mail.borrow().kept(completion.id, completion.body);
                self.answer(completion.id, Answer::Succeeded(body));
            }
            "failed" => self.answer(completion.id, Answer::Failed(completion.body)),
            "cancel" => self.cancel_all(&completion.body),
            // The contract: a kind that a guest does not know is passed over.
            _ => {}
        }
    }

    fn answer(&self, id: u32, answer: Answer) {
        self.mail.borrow_mut().answered(id);
        self.closed_question(id);
        let waker = {
            let mut slots = self.slots.borrow_mut();
            match slots.get_mut(&id) {
                Some(slot @ Slot::Waiting(..)) => {
                    self.waiting.set(self.waiting.get() - 1);
                    std::mem::replace(slot, Slot::Answered(answer))
                }
                Some(Slot::Answered(_)) | None => return,
            }
        };
        if let Slot::Waiting(waker, _) = waker {
            waker.wake();
        }
    }

    /// Every open operation that is not shielded fails, in the order in which they were started, and is
    /// closed at the host. What is started afterwards works: it is how a workflow cleans up.
    fn cancel_all(&self, body: &str) {
        let reason: Rc<str> =
            serde_json::from_str::<CancelBody>(body).map_or_else(|_| "".into(), |body| body.reason.into());
        self.cancelled.replace(Some(reason.clone()));
        let open = self.waiting_in(|place| !place.shielded);
        self.owed.set(open.is_empty());
        for id in open {
            self.port.forget(id);
            self.answer(id, Answer::Cancelled(reason.clone()));
        }
    }

    /// Why the run was cancelled, once that has reached it.
    pub(crate) fn cancelled(&self) -> Option<Rc<str>> {
        self.cancelled.borrow().clone()
    }

    /// The cancel that an await gets which is about to begin, because nobody got it when it came.
    pub(crate) fn take_owed(&self) -> Option<Rc<str>> {
        if self.place.get().shielded || !self.owed.replace(false) {
            return None;
        }
        self.cancelled()
    }

    /// Polls something that a cancel passes by.
    pub(crate) fn shielded<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.within(Place { shielded: true, ..self.place.get() }, poll)
    }

    /// Polls something that belongs to a scope.
    pub(crate) fn scoped<T>(&self, scope: u32, poll: impl FnOnce() -> T) -> T {
        self.within(Place { scope, ..self.place.get() }, poll)
    }

    /// Polls something that belongs to a span.
    pub(crate) fn spanned<T>(&self, span: u32, poll: impl FnOnce() -> T) -> T {
        self.within(Place { span, ..self.place.get() }, poll)
    }

    /// The span that is polled.
    pub(crate) fn span(&self) -> Option<u32> {
        Some(self.place.get().span).filter(|span| *span != 0)
    }

    fn within<T>(&self, place: Place, poll: impl FnOnce() -> T) -> T {
        /// Puts back what was there before, also when a poll panics.
        struct Back<'a>(&'a Cell<Place>, Place);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        let _back = Back(&self.place, self.place.replace(place));
        poll()
    }

    /// A new scope inside the one that is polled.
    pub(crate) fn open_scope(&self) -> u32 {
        let mut scopes = self.scopes.borrow_mut();
        let id = scopes.last_key_value().map_or(1, |(last, _)| last + 1);
        scopes.insert(id, self.place.get().scope);
        id
    }

    /// Asks the host to stop whatever is open in a scope, and in those inside it.
    pub(crate) fn cancel_scope(&self, scope: u32) {
        let is_within = |mut place: u32| {
            let scopes = self.scopes.borrow();
            while place > scope {
                place = scopes.get(&place).copied().unwrap_or(0);
            }
            place == scope
        };
        self.waiting_in(|place| is_within(place.scope)).into_iter().for_each(|id| self.port.cancel(id));
    }

    fn waiting_in(&self, wanted: impl Fn(&Place) -> bool) -> Vec<u32> {
        let slots = self.slots.borrow();
        let open = slots.iter().filter_map(|(id, slot)| match slot {
            Slot::Waiting(_, place) if wanted(place) => Some(*id),
            Slot::Waiting(..) | Slot::Answered(_) => None,
        });
        open.collect()
    }
}
