//! Which step got what was sent: by the same rule as in a run's state, told for people. An item that
//! no step wants gets a row of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::{Row, RowStatus, Shown, What};
use crate::{Position, RunId, StepId, Timestamp, Topic, Value};

#[cfg(test)]
mod tests;

#[derive(Default)]
pub(super) struct Sorting {
    boxes: BTreeMap<Topic, Mailbox>,
    wanted: BTreeMap<StepId, Topic>,
}

#[derive(Default)]
struct Mailbox {
    items: Vec<Item>,
    takers: BTreeSet<StepId>,
}

pub(super) struct Item {
    pub position: Position,
    pub time: Timestamp,
    pub body: Value,
    pub from: Option<RunId>,
}

impl Sorting {
    pub fn arrived(&mut self, topic: Topic, item: Item) {
        self.boxes.entry(topic).or_default().items.push(item);
    }

    pub fn asked(&mut self, step: StepId, topic: Topic) {
        self.boxes.entry(topic.clone()).or_default().takers.insert(step);
        self.wanted.insert(step, topic);
    }

    /// Refused, forgotten or cancelled: it gets nothing, and got nothing before.
    pub fn gave_up(&mut self, step: StepId) {
        if let Some(mailbox) = self.wanted.remove(&step).and_then(|topic| self.boxes.get_mut(&topic)) {
            mailbox.takers.remove(&step);
        }
    }

    /// How many steps have their mail by now.
    pub fn taken(&self) -> u32 {
        let taken = self.boxes.values().map(|mailbox| mailbox.items.len().min(mailbox.takers.len()));
        u32::try_from(taken.sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Each step with what it got, and rows for what is left over, in the order of the journal.
    pub fn sort(&mut self) -> (Vec<(StepId, Item)>, Vec<Row>) {
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for (topic, mailbox) in std::mem::take(&mut self.boxes) {
            let mut takers = mailbox.takers.into_iter();
            for item in mailbox.items {
                match takers.next() {
                    Some(step) => taken.push((step, item)),
                    None => left.push(row_of(&topic, &item)),
                }
            }
        }
        left.sort_by(|one, other| one.positions.cmp(&other.positions));
        (taken, left)
    }
}

fn row_of(topic: &Topic, item: &Item) -> Row {
    let what = match topic {
        Topic::Signal(name) => What::Signal { name: name.clone(), from: item.from },
    };
    let place = super::fold::Place { position: item.position, time: item.time };
    let mut row = Row::new(format!("signal-{}", item.position), None, what, place);
    row.status = RowStatus::Queued;
    row.output = Some(Shown::of(&item.body));
    row
}
