//! The complaint of a replay: where record and guest part, in words for people. Decides nothing.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::{Command, Digest, Fingerprint, Proof};

/// The first difference between what is on record and what the guest did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The id of the operation, where it is about one.
    pub id: Option<u32>,
    /// How many commands agreed before.
    pub commands: u64,
    pub recorded: String,
    pub produced: String,
    pub recorded_at: Option<String>,
    pub produced_at: Option<String>,
    pub recorded_digest: Option<Digest>,
    pub produced_digest: Option<Digest>,
}

impl Divergence {
    pub(crate) fn against(self, id: Option<u32>, command: &Command, proof: &Proof) -> Divergence {
        Divergence {
            id,
            produced: format!("{} {}", command.act, describe_proof(proof)),
            produced_at: command.at.as_deref().map(str::to_owned),
            produced_digest: Some(command.digest),
            ..self
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.id {
            write!(f, "step {id}: ")?;
        }
        write!(f, "recorded: {}", self.recorded)?;
        if let Some(at) = &self.recorded_at {
            write!(f, " ({at})")?;
        }
        write!(f, "; produced: {}", self.produced)?;
        if let Some(at) = &self.produced_at {
            write!(f, " ({at})")?;
        }
        Ok(())
    }
}

pub(crate) fn describe(fingerprint: &Fingerprint) -> String {
    format!(
        "after {} commands, {} deliveries and {} fuel since the last one",
        fingerprint.commands, fingerprint.deliveries, fingerprint.fuel
    )
}

pub(crate) fn describe_proof(proof: &Proof) -> String {
    format!("after {} deliveries and {} fuel since the last one", proof.deliveries, proof.fuel)
}
