//! Large values of a run: kept in memory for their delivery, brought to the store with the frame that
//! names them or before it, read from there again. It never decides what is large.

use bytes::Bytes;
use std::sync::Arc;
use trackway_replay::{Digest, Value};
use trackway_storage::{PAYLOAD_ROW_MAX_BYTES, RunKey};

use super::{Inner, Payloads};
use crate::worker::Core;

/// Large values that are kept in memory for their delivery; beyond it those that are durable are
/// read from the store again.
const HELD_MAX_BYTES: usize = 32 << 20;
/// Of large values that go to the store with one frame, for which others may have to wait. The rest goes before it, in
/// requests of its own.
const FRAME_PAYLOADS_MAX_BYTES: usize = PAYLOAD_ROW_MAX_BYTES;

pub(in crate::worker) async fn read_payload(core: &Core, key: RunKey, digest: Digest) -> crate::Result<Arc<str>> {
    let damaged = |what: &str| {
        crate::Error::new(crate::Code::DataDamaged, format!("payload {digest:.12} of run {} {what}", key.run))
    };
    let bytes = core.storage.payload(key, digest).await?.ok_or_else(|| damaged("is missing"))?;
    if Digest::of(&bytes) != digest {
        return Err(damaged("does not have the bytes of its digest"));
    }
    std::str::from_utf8(&bytes).map(Arc::from).map_err(|_| damaged("is not text"))
}

impl Inner {
    /// A value as an entry holds it; a large one is kept for the next frame and for its delivery.
    pub fn value(&mut self, text: &str, inline_max_bytes: usize) -> Value {
        if text.len() <= inline_max_bytes {
            return Value::inline(text);
        }
        let digest = Digest::of(text.as_bytes());
        if !self.held.contains_key(&digest) {
            let text: Arc<str> = text.into();
            self.held_bytes += text.len();
            self.payload_bytes += text.len();
            self.payloads.push((digest, text.clone()));
            self.held.insert(digest, text);
        }
        Value::Stored { digest, size_bytes: text.len() as u64 }
    }

    pub fn held(&self, digest: &Digest) -> Option<Arc<str>> {
        self.held.get(digest).cloned()
    }

    /// Forgets large values that can be read from the store again. Only while no frame is on its way:
    /// what it brings along cannot be read before it stands.
    pub fn trim_held(&mut self) {
        if self.held_bytes <= HELD_MAX_BYTES {
            return;
        }
        self.held.clear();
        self.held.extend(self.payloads.iter().map(|(digest, text)| (*digest, text.clone())));
        self.held_bytes = self.held.values().map(|text| text.len()).sum();
    }

    /// Splits what must be there for the next frame: values to write before it, rows to go with it.
    pub fn take_payloads(&mut self) -> (Payloads, Payloads) {
        let payloads = std::mem::take(&mut self.payloads);
        self.payload_bytes = 0;
        let bytes = |(digest, text): (Digest, Arc<str>)| (digest, Bytes::copy_from_slice(text.as_bytes()));
        let mut room = FRAME_PAYLOADS_MAX_BYTES;
        let mut goes_along = |size_bytes: usize| {
            let fits = size_bytes <= room;
            room -= if fits { size_bytes } else { 0 };
            fits
        };
        let (rows, before): (Vec<_>, Vec<_>) = payloads.into_iter().partition(|(_, text)| goes_along(text.len()));
        (before.into_iter().map(bytes).collect(), rows.into_iter().map(bytes).collect())
    }
}
