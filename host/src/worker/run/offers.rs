//! Updates that are to be taken by some time: who gets one, and when it is written down. It never waits.

use trackway_replay::{Kind, Timestamp, UpdateOffered, UpdateReceived};

use super::Inner;

impl Inner {
    /// Gives updates of a name that are to be taken in time to the steps that wait for one.
    pub fn take_offers(&mut self, clock: Timestamp, name: &str) {
        while let Some(offered) = self.state.offer_wanted(name, clock.max(self.sequencer.last_time())) {
            let UpdateOffered { message, name, payload, .. } = (**offered).clone();
            self.sequence(clock, Kind::UpdateReceived(UpdateReceived { message, name, payload }));
        }
    }

    /// Takes all of them that are still in time: a workflow that begins anew has them as any others.
    pub fn take_all_offers(&mut self, clock: Timestamp) {
        for offered in self.state.offers(clock.max(self.sequencer.last_time())) {
            let UpdateOffered { message, name, payload, .. } = (*offered).clone();
            self.sequence(clock, Kind::UpdateReceived(UpdateReceived { message, name, payload }));
        }
    }
}
