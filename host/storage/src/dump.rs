//! A store as one portable file: what it holds, in an order in which it can be written again, every
//! record checked, and an end without which the file is no dump. It knows no entries: who restores
//! folds them.
//!
//! ```text
//! file    "TRACKWAY BACKUP\n" | version (4) | record...
//! record  kind (1) | size of fields (4) | size of data (4) | fields (postcard) | data | crc32c of all before (4)
//! ```
//!
//! A sealed tenant's records are whole records within sealed ones, bound to their place in the dump. Its data key is not in
//! it: who has the dump and the key of the server opens nothing without a second file, which can be destroyed.
//!
//! Numbers are little endian. The last record has the sha256 of everything before it. Of each tenant, the default one
//! first, come the operator's records, then the components and deployments, then the entities, then each run (its
//! payloads, its log, its frames, what is unread, what became of writes that have no answer), then the start keys.

mod read;
mod write;

pub use read::{Openers, Reader};
pub use write::{encode, write};

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trackway_replay::{Digest, Epoch, FrameId, Position, RunId, StepId, TenantId, Timestamp};

use crate::{ComponentRecord, Deployment, Entity, EntityWritten, InboxItem, LogLine, StartKey};

const MAGIC: &[u8; 16] = b"TRACKWAY BACKUP\n";
/// Of all below. A higher one was written by a newer program.
const VERSION: u32 = 5;
/// Of a dump in which nothing is sealed.
const VERSION_OPEN: u32 = 4;
const HEADER_BYTES: usize = 1 + 4 + 4;
const CHECKSUM_BYTES: usize = 4;
/// Fields are small but for a component's manifest and a deployment's versions.
const FIELDS_MAX_BYTES: usize = 64 << 20;
/// The largest are components and payloads, both under their own limits.
const DATA_MAX_BYTES: usize = 256 << 20;

/// One record; what belongs to a run comes after its [`Record::Run`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    Begin {
        taken: Timestamp,
        /// Of the store that was dumped: no entry in it is of a later one.
        epoch: Epoch,
        /// Name and version of the program that wrote it.
        program: Arc<str>,
    },
    /// Its data are the component's bytes.
    Component(ComponentRecord),
    Deployment(Deployment),
    Run {
        run: RunId,
        /// How many entries its frames hold.
        entries: u64,
    },
    /// Its data are the payload.
    Payload {
        digest: Digest,
    },
    /// Its data are the frame.
    Frame {
        position: Position,
        entries: u32,
        previous: Option<FrameId>,
        id: FrameId,
    },
    Log(LogLine),
    Inbox(InboxItem),
    /// A run that could not be read, or not to its end. What was read stands before.
    Unreadable {
        run: RunId,
        why: Arc<str>,
    },
    StartKey(StartKey),
    End {
        runs: u64,
        unreadable: u64,
        records: u64,
        sha256: Digest,
    },
    /// Where versions of entities stood before the first of them was read: what has a higher one may be
    /// missing below, and then stands in the journal of the run that wrote it.
    EntityVersion(u64),
    Entity(Entity),
    /// What became of a write of the run, which its frames do not tell.
    Receipt {
        step: StepId,
        written: EntityWritten,
    },
    /// The run was removed while it was read: what stands of it before is of no use.
    Removed {
        run: RunId,
    },
    /// What follows is of that tenant; what stands before the first of these is of the default one.
    Tenant(TenantId),
    /// A record of the operator. Its data are the body.
    Shelved {
        /// As [`crate::Shelf::number`] has it.
        shelf: u8,
        name: Arc<str>,
        revision: u64,
    },
    /// Its data are a record of a sealed tenant, sealed. Who reads with the tenant's key never sees it.
    Sealed,
}

impl Record {
    /// On disk: a number keeps its meaning for ever.
    fn kind(&self) -> u8 {
        match self {
            Record::Begin { .. } => 1,
            Record::Component(_) => 2,
            Record::Deployment(_) => 3,
            Record::Run { .. } => 4,
            Record::Payload { .. } => 5,
            Record::Frame { .. } => 6,
            Record::Log(_) => 7,
            Record::Inbox(_) => 8,
            Record::Unreadable { .. } => 9,
            Record::StartKey(_) => 10,
            Record::End { .. } => 11,
            Record::EntityVersion(_) => 12,
            Record::Entity(_) => 13,
            Record::Receipt { .. } => 14,
            Record::Removed { .. } => 15,
            Record::Tenant(_) => 16,
            Record::Shelved { .. } => 17,
            Record::Sealed => 18,
        }
    }

    /// Whether it holds what guests or callers said. All that belongs to a run is either sealed or not.
    fn is_to_be_sealed(&self) -> bool {
        match self {
            Record::Payload { .. }
            | Record::Frame { .. }
            | Record::Log(_)
            | Record::Inbox(_)
            | Record::StartKey(_)
            | Record::Entity(_)
            | Record::Receipt { .. } => true,
            Record::Shelved { shelf, .. } => *shelf == crate::Shelf::Audit.number(),
            Record::Begin { .. }
            | Record::Component(_)
            | Record::Deployment(_)
            | Record::Run { .. }
            | Record::Unreadable { .. }
            | Record::End { .. }
            | Record::EntityVersion(_)
            | Record::Removed { .. }
            | Record::Tenant(_)
            | Record::Sealed => false,
        }
    }
}

/// Binds a sealed record to its tenant and place. No row is sealed about something that begins so.
fn about(tenant: TenantId, place: u64) -> Vec<u8> {
    [b"backup\0".as_slice(), &tenant.0.to_be_bytes(), &place.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests;
