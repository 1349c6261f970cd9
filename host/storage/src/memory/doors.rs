//! Which processes have the store in memory open. Only the newest claims; the others may still hold
//! runs, and nothing tells them that they lost one but a fenced append.

use std::sync::Arc;
use trackway_replay::{Epoch, Timestamp};

use crate::RunKey;
use crate::desk::Desk;

#[derive(Default)]
pub(super) struct Doors(Vec<(Epoch, Arc<Desk>)>);

impl Doors {
    pub fn open(&mut self, epoch: Epoch, desk: Arc<Desk>) {
        self.0.iter().for_each(|(_, older)| older.resign());
        self.0.push((epoch, desk));
    }

    pub fn close(&mut self, epoch: Epoch) {
        self.0.retain(|(open, _)| *open != epoch);
    }

    pub fn is_open(&self, epoch: Epoch) -> bool {
        self.0.iter().any(|(open, _)| *open == epoch)
    }

    pub fn is_newest(&self, epoch: Epoch) -> bool {
        self.0.last().is_some_and(|(newest, _)| *newest == epoch)
    }

    pub fn own(&self, run: RunKey, epoch: Epoch) {
        self.0.iter().filter(|(open, _)| *open == epoch).for_each(|(_, desk)| desk.own(run));
    }

    /// Nobody owns the run any more, and there is something to do.
    pub fn ready(&self, run: RunKey) {
        if let Some(((_, newest), older)) = self.0.split_last() {
            older.iter().for_each(|(_, desk)| desk.end(run));
            newest.ready(run);
        }
    }

    pub fn park(&self, run: RunKey, due: Option<Timestamp>) {
        self.0.iter().for_each(|(_, desk)| desk.park(run, due));
    }

    pub fn stick(&self, run: RunKey, due: Option<Timestamp>) {
        if let Some(((_, newest), older)) = self.0.split_last() {
            older.iter().for_each(|(_, desk)| desk.end(run));
            newest.stick(run, due);
        }
    }

    pub fn end(&self, run: RunKey) {
        self.0.iter().for_each(|(_, desk)| desk.end(run));
    }

    /// Something is in the run's inbox. The newest claims it if it does not own it.
    pub fn knock(&self, run: RunKey) {
        if let Some(((_, newest), older)) = self.0.split_last() {
            older.iter().filter(|(_, desk)| desk.owns(run)).for_each(|(_, desk)| desk.knock(run));
            newest.knock(run);
        }
    }
}
