//! The memory that looks at whole journals have together. It refuses who comes when it is taken, and counts what was
//! read, not what that became.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Code, Error, Result};

/// For all looks together; the rest of the memory is for runs. One alone may take more, so every journal can be seen.
const VIEWS_MAX_BYTES: usize = 512 << 20;
/// A journal in memory, with the rows of its trace and their text, takes about so many times its size on the disk.
const MEMORY_PER_BYTE: usize = 4;
/// Counted in pieces: a semaphore counts no further than a journal may be long.
const PIECE_BYTES: usize = 4 << 10;
const PIECES: usize = VIEWS_MAX_BYTES / PIECE_BYTES;

pub struct Room(Arc<Semaphore>);

/// Memory that a look has until this is dropped.
#[derive(Debug)]
pub struct Held {
    room: Arc<Semaphore>,
    pieces: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room(Arc::new(Semaphore::new(PIECES)))
    }
}

impl Room {
    /// Room for a journal of so many bytes.
    ///
    /// # Errors
    /// `Overloaded` where others have it.
    pub fn hold(&self, journal_bytes: usize) -> Result<Held> {
        let mut held = Held { room: Arc::clone(&self.0), pieces: None, bytes: 0 };
        held.grow(journal_bytes)?;
        Ok(held)
    }

    /// Nobody holds anything.
    #[cfg(test)]
    pub fn is_free(&self) -> bool {
        self.0.available_permits() == PIECES
    }
}

impl Held {
    /// Room for so many more bytes of a journal.
    ///
    /// # Errors
    /// As [`Room::hold`]; what was held before is held on.
    pub fn grow(&mut self, journal_bytes: usize) -> Result<()> {
        let bytes = self.bytes.saturating_add(journal_bytes.saturating_mul(MEMORY_PER_BYTE));
        let has = self.pieces.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        // Whoever has all of it is alone, and is let on.
        let more = bytes.div_ceil(PIECE_BYTES).min(PIECES).saturating_sub(has);
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            let more = Arc::clone(&self.room).try_acquire_many_owned(more).map_err(|_| no_room())?;
            match &mut self.pieces {
                Some(pieces) => pieces.merge(more),
                None => self.pieces = Some(more),
            }
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Of the journal that is held.
    pub fn journal_bytes(&self) -> usize {
        self.bytes / MEMORY_PER_BYTE
    }

    /// From here on no more than so many bytes are held: text that is on its way out.
    pub fn keep(&mut self, text_bytes: usize) {
        let wanted = text_bytes.div_ceil(PIECE_BYTES);
        if let Some(pieces) = &mut self.pieces {
            let over = pieces.num_permits().saturating_sub(wanted);
            drop(pieces.split(over));
        }
        self.bytes = self.bytes.min(text_bytes);
    }
}

fn no_room() -> Error {
    let why = format!("other looks at journals take all of the {} MiB that they have together", VIEWS_MAX_BYTES >> 20);
    Error::new(Code::Overloaded, why)
        .hint("try again in a moment; `GET /v1/runs/{id}/journal` gives a journal in pages")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = VIEWS_MAX_BYTES / MEMORY_PER_BYTE;

    #[test]
    fn looks_share_the_room_and_give_it_back() {
        let room = Room::default();
        let mut one = room.hold(ALL / 2).expect("half of it");
        let two = room.hold(ALL / 2).expect("the other half");
        assert_eq!(room.hold(1).expect_err("there is none left").code, Code::Overloaded);
        assert_eq!(one.grow(1).expect_err("there is none left").code, Code::Overloaded);
        drop(two);
        one.grow(ALL / 4).expect("now there is");
        one.keep(PIECE_BYTES);
        drop(room.hold(ALL - 1).expect_err("a piece of text is still held"));
        room.hold(ALL - PIECE_BYTES).expect("all but that");
        drop(one);
        assert!(room.is_free());
    }

    #[test]
    fn one_alone_may_be_larger_than_all_of_it() {
        let room = Room::default();
        let mut large = room.hold(0).expect("nothing");
        for _ in 0..20 {
            large.grow(ALL / 7).expect("it is alone");
        }
        assert!(room.hold(1).is_err());
        drop(large);
        assert!(room.is_free());
    }
}
