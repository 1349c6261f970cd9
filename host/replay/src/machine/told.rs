//! What a guest tells others: the state that it shows, its answers to updates, events, and what its effects belong
//! to. Nothing of it is ever delivered.

use super::{Decision, Held, Machine};
use crate::{Act, Command, MessageId, PUBLISHED_KEYS_MAX};

impl Machine {
    /// The guest publishes. A key too many is the caller's to refuse, by [`Machine::may_publish`], before.
    pub fn publish(&mut self, command: Command, fuel: u64) -> Decision {
        let Act::Publish { key } = &command.act else { return Decision::Ignore };
        let key = key.clone();
        let decision = self.tell(&command, 0, fuel);
        self.published.insert(key);
        decision
    }

    /// Whether the guest may publish under this key. It depends on what the guest did, not on what is on record.
    pub fn may_publish(&self, key: &str) -> bool {
        self.published.len() < PUBLISHED_KEYS_MAX || self.published.contains(key)
    }

    /// The guest, a workflow or a function, tells something to those who follow the run.
    pub fn emit(&mut self, command: Command, fuel: u64) -> Decision {
        self.tell(&command, 0, fuel)
    }

    /// The update that `id` took, while it has no answer.
    pub fn update_of(&self, id: u32) -> Option<MessageId> {
        self.updates.get(&id).copied()
    }

    /// The guest answers an update; ignored where `id` has none that waits for an answer.
    pub fn reply(&mut self, id: u32, command: Command, fuel: u64) -> Decision {
        if self.updates.remove(&id).is_none() {
            return Decision::Ignore;
        }
        self.tell(&command, id, fuel)
    }

    /// An attempt begins a span. Its id counts with those of effects, and is never open.
    pub fn begin_span(&mut self, command: Command, fuel: u64) -> Decision {
        let id = self.ids.saturating_add(1);
        let decision = match self.hold_against_record(&command, Some(id), fuel) {
            Held::New(proof) => Decision::Perform { id, proof },
            Held::Same => Decision::Recall { id },
            Held::Diverged(divergence) => return Decision::Diverged(divergence),
        };
        self.ids = id;
        self.spans.insert(id);
        decision
    }

    /// Ignored where `id` is no span that is open.
    pub fn end_span(&mut self, id: u32, command: Command, fuel: u64) -> Decision {
        if !self.spans.remove(&id) {
            return Decision::Ignore;
        }
        self.tell(&command, id, fuel)
    }

    /// The span was begun and has not ended. It depends on what the guest did, not on what is on record.
    pub fn is_span(&self, id: u32) -> bool {
        self.spans.contains(&id)
    }

    fn tell(&mut self, command: &Command, id: u32, fuel: u64) -> Decision {
        self.told = self.told.saturating_add(1);
        match self.hold_against_record(command, (id > 0).then_some(id), fuel) {
            Held::New(proof) => Decision::Perform { id, proof },
            Held::Same => Decision::Recall { id },
            Held::Diverged(divergence) => Decision::Diverged(divergence),
        }
    }

    /// How many operations the guest has asked for, those without an id included.
    pub fn operations(&self) -> u32 {
        self.ids().saturating_add(self.told)
    }
}
