//! Which step got what was sent: by the same rule as in a run's state, told for people. An item that
//! no step wants gets a row of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::fold::Fold;
use super::row::Place;
use super::{Row, RowStatus, Shown, What};
use crate::{
    Failure, Position, RunId, Signalled, StepId, Timestamp, Topic, UpdateExpired, UpdateOffered, UpdateReceived, Value,
    code,
};

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

    /// What stands at these places and nobody took, for the steps to come.
    pub fn take_out(&mut self, places: &[Position]) -> Sorting {
        let mut left = Sorting::default();
        for (topic, mailbox) in &mut self.boxes {
            for item in mailbox.items.extract_if(.., |item| places.contains(&item.position)) {
                left.boxes.entry(topic.clone()).or_default().items.push(item);
            }
        }
        left
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
    let (what, word) = match topic {
        Topic::Signal(name) => (What::Signal { name: name.clone(), from: item.from }, "signal"),
        Topic::Update(name) => (What::Update { name: name.clone() }, "update"),
    };
    let place = Place { position: item.position, time: item.time };
    let mut row = Row::new(format!("{word}-{}", item.position), None, what, place);
    row.status = RowStatus::Queued;
    row.output = Some(Shown::of(&item.body));
    row
}

impl Fold<'_> {
    pub(super) fn signalled(&mut self, place: Place, signalled: &Signalled) -> Option<()> {
        let Place { position, time } = place;
        let item = Item { position, time, body: signalled.payload.clone(), from: signalled.from };
        self.mail.arrived(Topic::Signal(signalled.name.clone()), item);
        Some(())
    }

    pub(super) fn update_received(&mut self, place: Place, update: &UpdateReceived) -> Option<()> {
        let Place { position, time } = place;
        self.offers.remove(&update.message);
        let item = Item { position, time, body: update.payload.clone(), from: None };
        self.mail.arrived(Topic::Update(update.name.clone()), item);
        Some(())
    }

    pub(super) fn update_offered(&mut self, place: Place, offered: &UpdateOffered) -> Option<()> {
        let Place { position, time } = place;
        let item = Item { position, time, body: offered.payload.clone(), from: None };
        self.offers.insert(offered.message, row_of(&Topic::Update(offered.name.clone()), &item));
        Some(())
    }

    pub(super) fn update_expired(&mut self, place: Place, expired: &UpdateExpired) -> Option<()> {
        let mut row = self.offers.remove(&expired.message)?;
        row.failure = Some(Failure::permanent(code::EXPIRED, "no step took it in time"));
        row.end(place, RowStatus::Failed);
        self.unclaimed.push(row);
        Some(())
    }

    /// Ends the rows of steps that have their mail, and begins those of what is left over.
    pub(super) fn deliver_mail(&mut self) {
        let (taken, left) = self.mail.sort();
        self.unclaimed.extend(left);
        for (step, item) in taken {
            let Some(row) = self.steps.get_mut(&step).map(|step| &mut step.row).filter(|row| row.is_open()) else {
                continue;
            };
            if let What::Receive { from, .. } = &mut row.what {
                *from = item.from;
            }
            // One that was there before it was wanted is taken when it is asked for.
            let first = row.positions.first().copied().unwrap_or(item.position);
            let place = Place { position: item.position.max(first), time: item.time.max(row.started) };
            row.output = Some(Shown::of(&item.body));
            row.close(place, RowStatus::Succeeded);
            if item.position > first {
                row.positions.push(item.position);
            }
            self.open.remove(&step);
            self.steps_ended += 1;
        }
    }
}
