//! How far a run's journal is durable, and who waits for it. Those who wait are woken in the order in
//! which they came, so that one history gives one order. It never decides what is written.

use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;
use trackway_replay::Position;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// The position after the last durable entry.
    UpTo(Position),
    /// Nothing more becomes durable through this worker.
    Never,
}

/// The run has left this worker; whoever waits for it must end without a trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone;

pub(super) struct Progress {
    durable: Mutex<Durable>,
    news: Notify,
}

impl Progress {
    pub fn new(durable: Position) -> Progress {
        Progress { durable: Mutex::new(Durable::UpTo(durable)), news: Notify::new() }
    }

    pub fn set(&self, durable: Durable) {
        *self.durable.lock().unwrap_or_else(PoisonError::into_inner) = durable;
        self.news.notify_waiters();
    }

    fn get(&self) -> Durable {
        *self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn position(&self) -> Position {
        match self.get() {
            Durable::UpTo(position) => position,
            Durable::Never => Position::FIRST,
        }
    }

    /// Resolves when everything before `end` is durable.
    pub async fn reaches(&self, end: Position) -> Result<(), Gone> {
        loop {
            // Before the look: what comes after it wakes us.
            let news = self.news.notified();
            match self.get() {
                Durable::UpTo(position) if position >= end => return Ok(()),
                Durable::UpTo(_) => news.await,
                Durable::Never => return Err(Gone),
            }
        }
    }
}
