//! What a test sends to its run: signals, answers to questions, outcomes of promises. All of them stand in one
//! list, under names that tell them apart; it knows nothing of HTTP and functions.

use serde::Serialize;
use std::time::Duration;

use super::{BEGIN_MS, Host, Inbox, Instance};
use crate::bindings::Completion;
use crate::{Failure, Value, json as values};

#[derive(Clone)]
pub(super) struct Signal {
    at_ms: u64,
    name: String,
    /// What the operation gets.
    outcome: Result<String, String>,
}

impl Host {
    /// Sends a signal to the run, before it begins.
    pub fn signal(self, name: &str, payload: &impl Serialize) -> Host {
        self.signal_after(Duration::ZERO, name, payload)
    }

    /// Sends a signal to the run after so much virtual time.
    pub fn signal_after(self, after: Duration, name: &str, payload: &impl Serialize) -> Host {
        let payload = serde_json::to_string(payload).expect("the payload can be written as JSON");
        self.sent_after(after, name.to_owned(), Ok(payload))
    }

    /// Sends an update to the run, before it begins.
    pub fn update(self, name: &str, request: &impl Serialize) -> Host {
        self.update_after(Duration::ZERO, name, request)
    }

    /// Sends an update to the run after so much virtual time.
    pub fn update_after(self, after: Duration, name: &str, request: &impl Serialize) -> Host {
        self.signal_after(after, &update(name), request)
    }

    /// The answers to updates, in the order in which the workflow gave them.
    ///
    /// # Panics
    ///
    /// Where an output is no `T`.
    pub fn replies<T: Value>(&self) -> Vec<Result<T, Failure>> {
        let replies = self.shared.replies.borrow();
        let read = |reply: &Result<String, String>| match reply {
            Ok(output) => Ok(values::read_output(output).expect("the answer is a `T`")),
            Err(failure) => Err(Failure::from_text(failure)),
        };
        replies.iter().map(read).collect()
    }

    /// What was published last under that key.
    ///
    /// # Panics
    ///
    /// Where it is no `T`.
    pub fn state<T: Value>(&self, key: &str) -> Option<T> {
        let states = self.shared.states.borrow();
        states.get(key).map(|value| values::read_output(value).expect("what was published is a `T`"))
    }

    /// What was told to those who follow the run, in order.
    pub fn emitted(&self) -> Vec<(String, serde_json::Value)> {
        self.shared.emitted.borrow().clone()
    }

    /// What functions told that does not stay.
    pub fn deltas(&self) -> Vec<(String, serde_json::Value)> {
        self.shared.deltas.borrow().clone()
    }

    fn sent_after(self, after: Duration, name: String, outcome: Result<String, String>) -> Host {
        let at_ms = BEGIN_MS.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        self.shared.signals.borrow_mut().push(Signal { at_ms, name, outcome });
        self
    }

    /// Answers the question with that title when it is asked, or so much virtual time after the run began.
    pub fn answer_after(self, after: Duration, title: &str, answer: &impl Serialize) -> Host {
        self.signal_after(after, &question(title), answer)
    }

    /// Resolves the promise of that name when it is made, or so much virtual time after the run began.
    pub fn resolve_after(self, after: Duration, name: &str, value: &impl Serialize) -> Host {
        self.signal_after(after, &promise(name), value)
    }

    /// Rejects it.
    pub fn reject_after(self, after: Duration, name: &str, failure: Failure) -> Host {
        self.sent_after(after, promise(name), Err(failure.to_text()))
    }
}

impl Instance {
    /// What comes next by the clock; a signal before a timer of the same moment.
    pub(super) fn signal_or_timer(&self, inbox: &mut Inbox) -> Completion {
        let mut signals = self.shared.signals.borrow_mut();
        let timer = inbox.timers.first_key_value().map(|((due_ms, _), _)| *due_ms);
        let mut first: Option<(u64, usize, u32)> = None;
        for (place, signal) in signals.iter().enumerate() {
            let taker = inbox.receives.iter().find(|(_, wanted)| **wanted == signal.name);
            if let Some((id, _)) = taker
                && timer.is_none_or(|due_ms| signal.at_ms <= due_ms)
                && first.is_none_or(|(at_ms, ..)| signal.at_ms < at_ms)
            {
                first = Some((signal.at_ms, place, *id));
            }
        }
        let (at_ms, completion) = match first {
            Some((at_ms, place, id)) => {
                inbox.receives.remove(&id);
                // Of a question that has a deadline.
                inbox.timers.retain(|(_, timer), _| *timer != id);
                let signal = signals.remove(place);
                inbox.taken.insert(id, signal.clone());
                (at_ms, completion(id, signal.outcome))
            }
            None => match inbox.timers.pop_first() {
                Some(((due_ms, id), completion)) => {
                    inbox.receives.remove(&id);
                    (due_ms, completion)
                }
                None => panic!(
                    "the workflow waits for signals that this test does not send: {:?}; see `Host::signal`",
                    inbox.receives.values().collect::<Vec<_>>()
                ),
            },
        };
        self.shared.now_ms.set(at_ms.max(self.shared.now_ms.get()));
        completion
    }
}

pub(super) fn completion(id: u32, outcome: Result<String, String>) -> Completion {
    match outcome {
        Ok(body) => Completion { kind: "succeeded".into(), id, body },
        Err(body) => Completion { kind: "failed".into(), id, body },
    }
}

impl Instance {
    /// After its `timeout_ms`, where it has one.
    pub(super) fn expires(&self, id: u32, options: &serde_json::Value, why: &str) {
        if let Some(timeout_ms) = options["timeout_ms"].as_u64() {
            let body = Failure::permanent("EXPIRED", why).to_text();
            let due_ms = self.shared.now_ms.get().saturating_add(timeout_ms);
            let expired = Completion { kind: "failed".into(), id, body };
            self.inbox.borrow_mut().timers.insert((due_ms, id), expired);
        }
    }
}

/// Among signals; no signal is called so.
pub(super) fn promise(name: &str) -> String {
    format!("! {name}")
}

/// Among signals; no signal is called so.
pub(super) fn update(name: &str) -> String {
    format!("* {name}")
}

/// Among signals; no signal is called so.
pub(super) fn question(title: &str) -> String {
    format!("? {title}")
}

/// What is told to those who follow the run.
pub(super) fn told(data: &str) -> serde_json::Value {
    serde_json::from_str(data).expect("what is told is JSON")
}
