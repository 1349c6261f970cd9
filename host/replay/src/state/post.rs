//! Which steps have their mail, as far as the journal tells. Who got what is settled only when it is
//! delivered, and that is not on record; but an id that had mail is never forgotten or cancelled on
//! record, so of those that were not, the first ones have the first items. It never holds an item.

use std::collections::{BTreeMap, BTreeSet};

use crate::{MessageId, StepId, Topic};

#[derive(Debug, Default)]
pub(super) struct Post {
    /// Every item of the inbox that was copied into the journal.
    pub messages: BTreeSet<MessageId>,
    /// Updates that have no answer.
    pub unanswered: BTreeSet<MessageId>,
    boxes: BTreeMap<Topic, Balance>,
    /// Steps that wait, and those that have mail: what they asked for.
    steps: BTreeMap<StepId, Taker>,
}

#[derive(Debug, Default)]
struct Balance {
    waiting: BTreeSet<StepId>,
    /// Items that no step wants yet.
    unclaimed: u64,
}

#[derive(Debug)]
struct Taker {
    topic: Topic,
    has_mail: bool,
}

/// What a new step finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mailed {
    Taken,
    Waits,
}

impl Post {
    pub fn asked(&mut self, step: StepId, topic: Topic) -> Mailed {
        let balance = self.boxes.entry(topic.clone()).or_default();
        let has_mail = balance.unclaimed > 0;
        if has_mail {
            balance.unclaimed -= 1;
        } else {
            balance.waiting.insert(step);
        }
        self.steps.insert(step, Taker { topic, has_mail });
        if has_mail { Mailed::Taken } else { Mailed::Waits }
    }

    /// Whether a step waits for an item that has not come.
    pub fn is_wanted(&self, topic: &Topic) -> bool {
        self.boxes.get(topic).is_some_and(|balance| !balance.waiting.is_empty())
    }

    /// The step that has the new item, if one waits for it.
    pub fn arrived(&mut self, topic: Topic) -> Option<StepId> {
        let balance = self.boxes.entry(topic).or_default();
        let Some(step) = balance.waiting.pop_first() else {
            balance.unclaimed += 1;
            return None;
        };
        if let Some(taker) = self.steps.get_mut(&step) {
            taker.has_mail = true;
        }
        Some(step)
    }

    /// The step is out of it. If it counted as having mail, it had none: that is free again.
    pub fn give_up(&mut self, step: StepId) -> Option<Topic> {
        let Taker { topic, has_mail } = self.steps.remove(&step)?;
        if let Some(balance) = self.boxes.get_mut(&topic) {
            balance.waiting.remove(&step);
        }
        has_mail.then_some(topic)
    }
}
