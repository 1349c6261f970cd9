//! The inbox of a run: what others have for it.

use trackway_replay::{Digest, Head, MessageId, Status};

use super::draft::{Draft, News, Place};
use super::key::{self, Kind};
use super::row::OpenRow;
use super::shared::Shared;
use crate::rows::{Sender, Share};
use crate::{InboxItem, RunKey, Sent, StorageError};

/// More items than the verbs of one batch can send: the order of an item is its commit and its place in
/// the batch.
const ORDERS_PER_COMMIT: u64 = 1 << 20;

/// An item that nobody has read yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unread {
    pub order: u64,
    pub message: MessageId,
    pub share: Share,
}

impl Shared {
    pub fn known(&self, run: RunKey, item: &InboxItem) -> Result<Option<Sent>, StorageError> {
        let identity = item.body.identity();
        let identity = identity.as_ref().map(|digest| digest.0.as_slice()).unwrap_or_default();
        Ok(self.get(&key::message(run, item.message))?.map(|row| sent_again(row.body(), identity)))
    }

    pub fn inbox(&self, run: RunKey) -> Result<Vec<InboxItem>, StorageError> {
        self.rows(&key::of_run(Kind::Inbox, run)).map(|row| row.and_then(|(key, row)| row.decode(&key))).collect()
    }
}

/// Rows of an older version have no identity: then the first one counts.
fn sent_again(known: &[u8], identity: &[u8]) -> Sent {
    if known.is_empty() || known == identity { Sent::Delivered } else { Sent::Differs }
}

impl Draft {
    pub fn send(&mut self, run: RunKey, item: &InboxItem) -> Result<Sent, StorageError> {
        self.send_by(run, item, Sender::Outside)
    }

    /// What a frame brings along for another run.
    pub fn send_along(&mut self, run: RunKey, item: &InboxItem) -> Result<(), StorageError> {
        self.send_by(run, item, Sender::Frame).map(drop)
    }

    fn send_by(&mut self, run: RunKey, item: &InboxItem, sender: Sender) -> Result<Sent, StorageError> {
        self.with_run(run, |draft, state| {
            let to = match state.place {
                Place::Nowhere => return Ok(Sent::NoSuchRun),
                Place::Ended(Some(status)) => return Ok(Sent::Ended(status)),
                Place::Ended(None) => return draft.ended_status(run).map(Sent::Ended),
                Place::Ready(row) | Place::Parked(row) => Place::Ready(OpenRow { due: None, ..row }),
            };
            let key = key::message(run, item.message);
            let identity = item.body.identity();
            let known_by = identity.as_ref().map(|digest| digest.0.as_slice()).unwrap_or_default();
            if let Some(known) = draft.sent.get(&(run, item.message)) {
                return Ok(sent_again(known, known_by));
            }
            if let Some(row) = draft.shared.written(&key)? {
                return Ok(sent_again(row.body(), known_by));
            }
            let share = item.body.share();
            if !share.has_room(sender, state.unread.iter().map(|item| item.share)) {
                return Ok(Sent::Full);
            }
            draft.shared.room.check()?;
            let order = draft.commit * ORDERS_PER_COMMIT + draft.sent.len() as u64;
            draft.stage(&key::inbox(run, order), item)?;
            draft.stage_message(run, item.message, identity.as_ref())?;
            draft.stage_move(run, state.place, to)?;
            draft.tell(News::Knock(run));
            state.unread.push(Unread { order, message: item.message, share });
            state.place = to;
            Ok(Sent::Delivered)
        })
    }

    /// From here on the message counts as sent.
    pub fn stage_message(
        &mut self,
        run: RunKey,
        message: MessageId,
        identity: Option<&Digest>,
    ) -> Result<(), StorageError> {
        let identity = identity.map(|digest| digest.0.as_slice()).unwrap_or_default();
        let key = key::message(run, message);
        self.stage_bytes(&key, identity)?;
        self.sent.insert((run, message), identity.to_vec());
        Ok(())
    }

    fn ended_status(&self, run: RunKey) -> Result<Status, StorageError> {
        let key = key::of_run(Kind::Head, run);
        let head: Option<Head> = self.shared.written(&key)?.map(|row| row.decode(&key)).transpose()?;
        // A run that ended without a head: its owner broke the contract, and nothing better is known.
        Ok(head.map_or(Status::Failed, |head| head.status))
    }

    /// An ended run has no inbox, and remembers no message.
    pub fn stage_inbox_end(&mut self, run: RunKey, unread: &[Unread]) -> Result<(), StorageError> {
        for item in unread {
            self.remove(&key::inbox(run, item.order));
        }
        for key in self.shared.db.scan_prefix(key::of_run(Kind::Message, run)).keys() {
            let key = key.map_err(|error| self.shared.failed(&error))?;
            self.remove_row(key);
        }
        let of_this_batch: Vec<MessageId> =
            self.sent.keys().filter(|(to, _)| *to == run).map(|(_, message)| *message).collect();
        for message in of_this_batch {
            self.remove(&key::message(run, message));
        }
        Ok(())
    }
}
