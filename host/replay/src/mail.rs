//! What others sent to a run under a name, and which open ids want it. Bound when it is delivered,
//! never when it is asked for: so nothing is lost to an id that is given up. It never looks at what
//! else is open.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::{Entry, Kind, MessageId, Position, StepRequest, Timestamp, Value};

#[cfg(test)]
mod tests;

/// A run that goes on with a new input takes so much unread mail along: its places stand in one entry.
pub const MAIL_TAKEN_ALONG_MAX: usize = 1_500;

/// Under what somebody sends, and an id waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    Signal(Arc<str>),
    Update(Arc<str>),
}

/// Something that was sent, as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub message: MessageId,
    pub position: Position,
    pub time: Timestamp,
    pub body: Value,
}

impl Topic {
    /// What a request waits for, if it waits for something that is sent.
    pub fn of_request(request: &StepRequest) -> Option<Topic> {
        match request {
            StepRequest::Receive { signal, .. } => Some(Topic::Signal(signal.clone())),
            StepRequest::AcceptUpdate { update, .. } => Some(Topic::Update(update.clone())),
            StepRequest::Call { .. }
            | StepRequest::Sleep { .. }
            | StepRequest::StartRun { .. }
            | StepRequest::AskPerson { .. }
            | StepRequest::Promise { .. }
            | StepRequest::Entity { .. } => None,
        }
    }

    /// Under what an entry brings something, and what.
    pub fn of_entry(entry: &Entry) -> Option<(Topic, Letter)> {
        let (topic, message, body) = match &entry.kind {
            Kind::Signalled(signalled) => {
                (Topic::Signal(signalled.name.clone()), signalled.message, signalled.payload.clone())
            }
            Kind::UpdateReceived(update) => {
                (Topic::Update(update.name.clone()), update.message, update.payload.clone())
            }
            _ => return None,
        };
        Some((topic, Letter { message, position: entry.position, time: entry.time, body }))
    }
}

/// The mail of a machine: items in journal order, and the open ids that wait for them.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    boxes: BTreeMap<Topic, Mailbox>,
    /// What each open id waits for.
    wanted: BTreeMap<u32, Topic>,
    /// The first item of each box that an open id wants, by its place in the journal.
    deliverable: BTreeMap<Position, Topic>,
    /// What each id got, by its place in the journal.
    taken: BTreeMap<u32, (Topic, Position)>,
}

#[derive(Debug, Default)]
struct Mailbox {
    items: VecDeque<Letter>,
    takers: BTreeSet<u32>,
}

/// An item that has found its taker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub id: u32,
    pub topic: Topic,
    pub letter: Letter,
}

impl Mail {
    /// Items come in the order of the journal.
    pub fn arrived(&mut self, topic: Topic, letter: Letter) {
        self.boxes.entry(topic.clone()).or_default().items.push_back(letter);
        self.settle(&topic);
    }

    pub fn open(&mut self, id: u32, topic: Topic) {
        self.boxes.entry(topic.clone()).or_default().takers.insert(id);
        self.wanted.insert(id, topic.clone());
        self.settle(&topic);
    }

    /// The id takes nothing any more.
    pub fn close(&mut self, id: u32) {
        let Some(topic) = self.wanted.remove(&id) else { return };
        let is_empty = self.boxes.get_mut(&topic).is_some_and(|mailbox| {
            mailbox.takers.remove(&id);
            if mailbox.takers.is_empty()
                && let Some(item) = mailbox.items.front()
            {
                self.deliverable.remove(&item.position);
            }
            mailbox.takers.is_empty() && mailbox.items.is_empty()
        });
        if is_empty {
            self.boxes.remove(&topic);
        }
    }

    /// Where the items stand that nobody has taken, signals that `unused` ids had got, and updates that `unanswered`
    /// ids had.
    pub fn left(&self, unused: &[u32], unanswered: impl Iterator<Item = u32>) -> Vec<Position> {
        let items = self.boxes.values().flat_map(|mailbox| mailbox.items.iter().map(|item| item.position));
        // An update that has its answer is not there for another one.
        let signals = unused.iter().filter_map(|id| match self.taken.get(id)? {
            (Topic::Signal(_), position) => Some(*position),
            (Topic::Update(_), _) => None,
        });
        let updates = unanswered.filter_map(|id| Some(self.taken.get(&id)?.1));
        let mut left: Vec<_> = items.chain(signals).chain(updates).collect();
        left.sort_unstable();
        left.dedup();
        left
    }

    /// Where the earliest item stands that an open id wants.
    pub fn first(&self) -> Option<Position> {
        self.deliverable.first_key_value().map(|(position, _)| *position)
    }

    /// Gives that item to the lowest id that wants it.
    pub fn take_first(&mut self) -> Option<Taken> {
        let (_, topic) = self.deliverable.pop_first()?;
        let mailbox = self.boxes.get_mut(&topic)?;
        let letter = mailbox.items.pop_front()?;
        let id = mailbox.takers.pop_first()?;
        self.wanted.remove(&id);
        self.taken.insert(id, (topic.clone(), letter.position));
        if mailbox.takers.is_empty() && mailbox.items.is_empty() {
            self.boxes.remove(&topic);
        } else {
            self.settle(&topic);
        }
        Some(Taken { id, topic, letter })
    }

    fn settle(&mut self, topic: &Topic) {
        if let Some(mailbox) = self.boxes.get(topic)
            && !mailbox.takers.is_empty()
            && let Some(item) = mailbox.items.front()
        {
            self.deliverable.insert(item.position, topic.clone());
        }
    }
}
