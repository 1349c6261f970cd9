//! A store in memory that can be told to fail, for simulations: it refuses, delays, answers
//! `Unknown`, commits late and crashes, all drawn from one seed. It needs no threads, so it works
//! on one thread with paused time. It must never be used where data matters.

mod calls;
mod doors;
mod faults;
mod standing;
mod state;

pub use faults::Faults;
pub use standing::Snapshot;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trackway_fair::Weights;
use trackway_replay::Epoch;

use self::doors::Doors;
use self::faults::{Dice, Fate};
use self::state::State;
use crate::desk::Desk;
use crate::watch::Watches;
use crate::{Answer, Append, Appended, StorageError, StorageErrorKind};

/// One process's way to the store. Others may have theirs at the same time: see [`MemoryStorage::join`].
pub struct MemoryStorage {
    faults: Faults,
    epoch: Epoch,
    desk: Arc<Desk>,
    shared: Arc<Shared>,
}

/// What all processes have in common.
struct Shared {
    inner: Mutex<Inner>,
    watches: Watches,
}

struct Inner {
    state: State,
    dice: Dice,
    /// Of every process that is alive, the newest last.
    doors: Doors,
    epochs: Epoch,
    /// Appends that were answered `Unknown`, and after how many more calls they are carried out.
    late: Vec<(u32, Epoch, Append)>,
    /// Appends that wait for their turn.
    in_flight: BTreeMap<u64, (Epoch, Append)>,
    appends: u64,
}

impl Default for MemoryStorage {
    fn default() -> MemoryStorage {
        MemoryStorage::new()
    }
}

impl MemoryStorage {
    /// Never fails, never delays.
    pub fn new() -> MemoryStorage {
        MemoryStorage::with_faults(0, Faults::default())
    }

    /// What goes wrong depends on `seed` and the order of the calls, on nothing else.
    pub fn with_faults(seed: u64, faults: Faults) -> MemoryStorage {
        let inner = Inner {
            state: State::default(),
            dice: Dice::new(seed),
            doors: Doors::default(),
            epochs: Epoch(0),
            late: Vec::new(),
            in_flight: BTreeMap::new(),
            appends: 0,
        };
        MemoryStorage::open(Arc::new(Shared { inner: Mutex::new(inner), watches: Watches::default() }), faults)
    }

    fn open(shared: Arc<Shared>, faults: Faults) -> MemoryStorage {
        let (epoch, desk) = {
            let mut inner = shared.lock();
            inner.epochs = Epoch(inner.epochs.0 + 1);
            let epoch = inner.epochs;
            let desk = Arc::new(Desk::new(inner.state.ready(), Weights::default()));
            inner.doors.open(epoch, desk.clone());
            (epoch, desk)
        };
        MemoryStorage { faults, epoch, desk, shared }
    }

    /// Ends this process like a power cut, and opens another on what was durable, with the same
    /// faults and the next epoch. Appends that were answered `Unknown` and not carried out yet
    /// stand or are gone, as the seed wants it. Every later call of `self` is an error.
    pub fn crash(&self) -> MemoryStorage {
        self.crash_into(self.faults.clone())
    }

    /// As [`MemoryStorage::crash`], with other faults from now on.
    pub fn crash_into(&self, faults: Faults) -> MemoryStorage {
        self.kill();
        self.join(faults)
    }

    /// Ends this process like a power cut; others go on.
    pub fn kill(&self) {
        let mut inner = self.shared.lock();
        let (mine, rest) = std::mem::take(&mut inner.late).into_iter().partition(|(_, epoch, _)| *epoch == self.epoch);
        inner.late = rest;
        let late: Vec<_> = mine;
        for (_, epoch, append) in late {
            if inner.dice.coin() {
                self.shared.commit(&mut inner, epoch, append);
            }
        }
        let under_way: Vec<u64> =
            inner.in_flight.iter().filter(|(_, (epoch, _))| *epoch == self.epoch).map(|(nth, _)| *nth).collect();
        for nth in under_way {
            let Some((epoch, append)) = inner.in_flight.remove(&nth) else { continue };
            if inner.dice.permille(self.faults.crash_stands_permille) {
                self.shared.commit(&mut inner, epoch, append);
            }
        }
        inner.doors.close(self.epoch);
        drop(inner);
        self.shared.watches.all();
    }

    /// Another process opens the same store, although this one may still be alive: it claims what
    /// nobody has parked, also what this one has in hand. From here on this one claims nothing
    /// more, but goes on with what it has, until it is fenced.
    pub fn join(&self, faults: Faults) -> MemoryStorage {
        MemoryStorage::open(self.shared.clone(), faults)
    }

    /// Carries out late appends whose time has come, and draws what becomes of this call.
    fn draw(&self) -> Fate {
        let mut inner = self.shared.lock();
        let mut come = Vec::new();
        inner.late.retain_mut(|(calls, epoch, append)| {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                come.push((*epoch, append.clone()));
            }
            *calls > 0
        });
        for (epoch, append) in come {
            self.shared.commit(&mut inner, epoch, append);
        }
        inner.dice.draw(&self.faults)
    }

    /// Every call but an append: delay, refuse if it is a write, then do.
    async fn call<T>(
        &self,
        access: Access,
        act: impl FnOnce(&mut State, &Doors) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let fate = self.draw();
        fate.wait().await;
        let mut inner = self.shared.lock();
        if !inner.doors.is_open(self.epoch) {
            return Err(closed());
        }
        if access == Access::Write && fate.refuses() {
            return Err(full());
        }
        if access == Access::Read && fate.is_out_of_reach() {
            return Err(out_of_reach());
        }
        let Inner { state, doors, .. } = &mut *inner;
        act(state, doors)
    }

    fn read<'a, T: Send + 'a>(&'a self, act: impl FnOnce(&State) -> T + Send + 'a) -> Answer<'a, T> {
        Box::pin(self.call(Access::Read, move |state, _| Ok(act(state))))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, inner: &mut Inner, epoch: Epoch, append: Append) -> Appended {
        let run = append.run;
        let Inner { state, doors, .. } = inner;
        let appended = state.append(append, epoch, doors);
        if matches!(appended, Appended::Durable) {
            self.watches.grew([run]);
        }
        appended
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

fn closed() -> StorageError {
    StorageError::new(StorageErrorKind::Closed, "the store in memory was closed or has crashed")
}

fn out_of_reach() -> StorageError {
    StorageError::new(StorageErrorKind::Io, "the store in memory plays a disk that is out of reach")
}

fn full() -> StorageError {
    StorageError::new(StorageErrorKind::Full, "the store in memory plays a full disk")
}

fn invalid(message: impl Into<String>) -> StorageError {
    StorageError::new(StorageErrorKind::Invalid, message)
}
