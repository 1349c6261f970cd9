//! What can be wrong with a store. These are errors of the host, never failures of a guest.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// Another process has the data folder open.
    InUse,
    /// The data folder was written by a newer version.
    Newer,
    /// Something is sealed under a key of the server that is not there.
    NoKey,
    /// What is stored cannot be read: a checksum, a gap, a row that makes no sense.
    Damaged,
    /// The store is behind its own counter: acknowledged data is missing.
    Behind,
    /// What was asked for cannot be stored: too large, or for a run that is not open.
    Invalid,
    /// No room: nothing was written.
    Full,
    /// The disk does not make writes durable in a way that this program knows of.
    NotDurable,
    /// The store was closed, or stopped after an error.
    Closed,
    /// Anything else that the operating system said.
    Io,
}

#[derive(Debug, Clone)]
pub struct StorageError {
    pub kind: StorageErrorKind,
    /// What happened, where, and why.
    pub message: String,
}

impl StorageError {
    pub fn new(kind: StorageErrorKind, message: impl Into<String>) -> StorageError {
        StorageError { kind, message: message.into() }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StorageError {}
