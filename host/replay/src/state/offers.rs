//! Updates that a run has to take by some time and has not taken yet. It never says who takes one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::RunState;
use crate::{MessageId, Position, Timestamp, Topic, UpdateOffered};

#[derive(Debug, Default)]
pub(super) struct Offers {
    by_message: BTreeMap<MessageId, (Position, Arc<UpdateOffered>)>,
    by_name: BTreeMap<Arc<str>, BTreeMap<Position, Arc<UpdateOffered>>>,
    dues: BTreeSet<(Timestamp, MessageId)>,
}

impl Offers {
    pub fn put(&mut self, position: Position, offered: &UpdateOffered) {
        let offered = Arc::new(offered.clone());
        self.dues.insert((offered.due, offered.message));
        self.by_name.entry(offered.name.clone()).or_default().insert(position, offered.clone());
        self.by_message.insert(offered.message, (position, offered));
    }

    /// It is offered no more: taken, or too late.
    pub fn take(&mut self, message: MessageId) -> Option<()> {
        let (position, offered) = self.by_message.remove(&message)?;
        self.dues.remove(&(offered.due, message));
        if let Some(of_name) = self.by_name.get_mut(&offered.name) {
            of_name.remove(&position);
            if of_name.is_empty() {
                self.by_name.remove(&offered.name);
            }
        }
        Some(())
    }

    pub fn first_due(&self) -> Option<(Timestamp, MessageId)> {
        self.dues.first().copied()
    }
}

impl RunState {
    /// The update that has to be taken first, and by when.
    pub fn offer_due(&self) -> Option<(Timestamp, MessageId)> {
        self.offers.first_due()
    }

    /// The first update of a name that may be taken at `now` and that a step waits for.
    pub fn offer_wanted(&self, name: &str, now: Timestamp) -> Option<&Arc<UpdateOffered>> {
        let of_name = self.offers.by_name.get(name)?;
        let is_wanted = self.mail.is_wanted(&Topic::Update(name.into()));
        of_name.values().find(|offered| is_wanted && now < offered.due)
    }

    /// All that may be taken at `now`, in their order.
    pub fn offers(&self, now: Timestamp) -> Vec<Arc<UpdateOffered>> {
        let mut offers: Vec<_> = self.offers.by_message.values().filter(|(_, offered)| now < offered.due).collect();
        offers.sort_by_key(|(position, _)| *position);
        offers.into_iter().map(|(_, offered)| offered.clone()).collect()
    }
}
