//! Which processes have the store in memory open. Only the newest claims; the others may still hold
//! runs, and nothing tells them that they lost one but a fenced append.

use std::sync::Arc;
use trackway_replay::{Epoch, Timestamp};

use crate::RunKey;
use crate::desk::Desk;

#[derive(Default)]
pub(super) struct Doors {
    open: Vec<(Epoch, Arc<Desk>)>,
    /// Of the last that was opened, also when it is closed by now: no older one claims again.
    newest: Epoch,
}

impl Doors {
    pub fn open(&mut self, epoch: Epoch, desk: Arc<Desk>) {
        self.open.iter().for_each(|(_, older)| older.resign());
        self.open.push((epoch, desk));
        self.newest = epoch;
    }

    pub fn close(&mut self, epoch: Epoch) {
        self.open.retain(|(open, _)| *open != epoch);
    }

    pub fn close_all(&mut self) {
        self.open.clear();
    }

    pub fn is_open(&self, epoch: Epoch) -> bool {
        self.open.iter().any(|(open, _)| *open == epoch)
    }

    pub fn is_newest(&self, epoch: Epoch) -> bool {
        self.newest == epoch
    }

    fn newest(&self) -> impl Iterator<Item = &Desk> {
        self.open.iter().filter(|(epoch, _)| self.is_newest(*epoch)).map(|(_, desk)| &**desk)
    }

    fn older(&self) -> impl Iterator<Item = &Desk> {
        self.open.iter().filter(|(epoch, _)| !self.is_newest(*epoch)).map(|(_, desk)| &**desk)
    }

    pub fn own(&self, run: RunKey, epoch: Epoch) {
        self.open.iter().filter(|(open, _)| *open == epoch).for_each(|(_, desk)| desk.own(run));
    }

    /// Nobody owns the run any more, and there is something to do.
    pub fn ready(&self, run: RunKey) {
        self.older().for_each(|desk| desk.end(run));
        self.newest().for_each(|desk| desk.ready(run));
    }

    pub fn park(&self, run: RunKey, due: Option<Timestamp>) {
        self.open.iter().for_each(|(_, desk)| desk.park(run, due));
    }

    pub fn stick(&self, run: RunKey, due: Option<Timestamp>) {
        self.older().for_each(|desk| desk.end(run));
        self.newest().for_each(|desk| desk.stick(run, due));
    }

    pub fn end(&self, run: RunKey) {
        self.open.iter().for_each(|(_, desk)| desk.end(run));
    }

    /// Something is in the run's inbox. The newest claims it if it does not own it.
    pub fn knock(&self, run: RunKey) {
        self.older().filter(|desk| desk.owns(run)).for_each(|desk| desk.knock(run));
        self.newest().for_each(|desk| desk.knock(run));
    }
}
