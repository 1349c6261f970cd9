//! Values that cross between guest, journal and people: JSON text, here or beside the journal.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::Digest;

/// JSON text. Never re-encoded: a guest gets exactly these bytes, live and on replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// In the entry itself.
    Inline(#[serde(deserialize_with = "crate::text::text")] Arc<str>),
    /// A payload of the run, by its digest.
    Stored { digest: Digest, size_bytes: u64 },
}

impl Value {
    /// Larger values of a workflow stand beside the journal.
    pub const INLINE_MAX_BYTES: usize = 32 << 10;
    /// Larger values of an effect stand beside the journal, so that waking a run does not read them.
    pub const EFFECT_INLINE_MAX_BYTES: usize = 512;
    /// No value is larger.
    pub const MAX_BYTES: usize = 16 << 20;

    pub fn inline(text: impl Into<Arc<str>>) -> Value {
        Value::Inline(text.into())
    }

    pub fn null() -> Value {
        Value::inline("null")
    }

    pub fn size_bytes(&self) -> u64 {
        match self {
            Value::Inline(text) => text.len() as u64,
            Value::Stored { size_bytes, .. } => *size_bytes,
        }
    }

    /// Of it that stand beside the journal.
    pub fn stored_bytes(&self) -> u64 {
        match self {
            Value::Inline(_) => 0,
            Value::Stored { size_bytes, .. } => *size_bytes,
        }
    }
}

/// How an attempt, an effect, a step or a workflow ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Succeeded(Value),
    /// The text of a [`crate::Failure`], always inline.
    Failed(Value),
}
