//! One line of a trace: how it begins, gets its answer and ends.

use super::read::micros;
use super::{Row, RowStatus, Shown, What};
use crate::{Failure, Outcome, Position, Timestamp, code};

/// Where and when an entry stands.
#[derive(Clone, Copy)]
pub struct Place {
    pub position: Position,
    pub time: Timestamp,
}

impl Row {
    pub(super) fn new(id: String, parent: Option<String>, what: What, place: Place) -> Row {
        Row {
            id,
            parent,
            what,
            status: RowStatus::Running,
            label: None,
            at: None,
            started: place.time,
            ended: None,
            queue_us: None,
            duration_us: None,
            input: None,
            output: None,
            failure: None,
            cancel_asked: None,
            positions: vec![place.position],
            closed: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    pub(super) fn answer(&mut self, place: Place, outcome: &Outcome) -> Option<()> {
        if !self.is_open() {
            return None;
        }
        let status = match outcome {
            Outcome::Succeeded(value) => {
                self.output = Some(Shown::of(value));
                RowStatus::Succeeded
            }
            Outcome::Failed(value) => {
                let failure = Failure::from_value(value);
                let cancelled = failure.code == code::CANCELLED;
                self.failure = Some(failure);
                if cancelled { RowStatus::Cancelled } else { RowStatus::Failed }
            }
        };
        self.end(place, status)
    }

    /// Ends the row by an entry of its own.
    pub(super) fn end(&mut self, place: Place, status: RowStatus) -> Option<()> {
        if !self.is_open() {
            return None;
        }
        self.positions.push(place.position);
        self.close(place, status);
        Some(())
    }

    /// Ends the row, if it is open, because something else ended.
    pub(super) fn close(&mut self, place: Place, status: RowStatus) {
        if self.is_open() {
            self.status = status;
            self.ended = Some(place.time);
            self.duration_us = Some(micros(self.started, place.time));
            self.closed = Some(place.position);
        }
    }
}
