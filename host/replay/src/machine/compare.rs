//! Holds a command, a wait or an end against what is on record next, and says where they differ.

use super::{FuelRule, Machine, Recorded, RecordedEnd};
use crate::divergence::{describe, describe_proof};
use crate::{Act, Command, Divergence, Fingerprint, Proof};

impl Machine {
    pub(super) fn hold_against_record(&mut self, command: &Command, id: Option<u32>, fuel: u64) -> Held {
        let proof = Proof { digest: command.digest, deliveries: self.deliveries, fuel };
        if !matches!(command.act, Act::Patched { .. }) {
            self.pass_over_patches(None);
        }
        let Some(recorded) = self.recorded.front() else {
            if let Some(end) = &self.end {
                return Held::Diverged(Box::new(self.divergence_from_end(end).against(id, command, &proof)));
            }
            self.commands += 1;
            self.beside.proved(fuel);
            return Held::New(proof);
        };
        if !recorded.agrees_with(command, &proof) {
            return Held::Diverged(Box::new(self.divergence(recorded).against(id, command, &proof)));
        }
        match recorded.fuel_rule {
            FuelRule::Exact => self.compared.with_fuel += 1,
            FuelRule::Loose => {
                self.compared.without_fuel += 1;
                self.excess = self.excess.max(fuel.saturating_sub(recorded.proof.fuel));
            }
        }
        self.recorded.pop_front();
        self.commands += 1;
        self.beside.proved(fuel);
        Held::Same
    }

    pub(super) fn is_recorded_next(&mut self, command: &Command) -> bool {
        self.pass_over_patches(None);
        self.recorded.front().is_some_and(|recorded| recorded.command.act == command.act)
    }

    pub(super) fn too_many_deliveries(&self) -> Option<Box<Divergence>> {
        let allowed = match (self.recorded.front(), &self.end) {
            (Some(recorded), _) => recorded.proof.deliveries,
            (None, Some(end)) => end.fingerprint.deliveries,
            (None, None) => return None,
        };
        // To describe a divergence takes longer than the delivery.
        if self.deliveries < allowed {
            return None;
        }
        let divergence = self.before_what_is_recorded()?;
        Some(Box::new(Divergence { produced: self.describe_wait(), ..divergence }))
    }

    pub(super) fn describe_wait(&self) -> String {
        format!("wait for a completion after {} deliveries", self.deliveries)
    }

    /// A divergence from the next command or end on record, if there is any.
    pub(super) fn before_what_is_recorded(&self) -> Option<Divergence> {
        match (self.recorded.front(), &self.end) {
            (Some(recorded), _) => Some(self.divergence(recorded)),
            (None, Some(end)) => Some(self.divergence_from_end(end)),
            (None, None) => None,
        }
    }

    pub(super) fn divergence(&self, recorded: &Recorded) -> Divergence {
        let id = match recorded.command.act {
            Act::Forget { id } | Act::Cancel { id } | Act::Reply { id } | Act::End { id } => Some(id),
            Act::Call { .. }
            | Act::Http
            | Act::Model
            | Act::Sleep { .. }
            | Act::StartRun { .. }
            | Act::Receive { .. }
            | Act::AskPerson
            | Act::Promise { .. }
            | Act::Entity { .. }
            | Act::AcceptUpdate { .. }
            | Act::Begin { .. } => Some(self.ids.saturating_add(1)),
            Act::Patched { .. } | Act::Publish { .. } | Act::Emit { .. } => None,
        };
        Divergence {
            id,
            commands: self.commands,
            recorded: format!("{} {}", recorded.command.act, describe_proof(&recorded.proof)),
            produced: String::new(),
            recorded_at: recorded.command.at.as_deref().map(str::to_owned),
            produced_at: None,
            recorded_digest: Some(recorded.proof.digest),
            produced_digest: None,
        }
    }

    pub(super) fn divergence_from_end(&self, end: &RecordedEnd) -> Divergence {
        Divergence {
            id: None,
            commands: self.commands,
            recorded: format!("the end {}", describe(&end.fingerprint)),
            produced: String::new(),
            recorded_at: None,
            produced_at: None,
            recorded_digest: None,
            produced_digest: None,
        }
    }
}

impl Recorded {
    pub(super) fn agrees_with(&self, command: &Command, proof: &Proof) -> bool {
        self.proof.digest == proof.digest
            && self.command.act == command.act
            && self.proof.deliveries == proof.deliveries
            && (self.fuel_rule == FuelRule::Loose || self.proof.fuel == proof.fuel)
    }
}

impl RecordedEnd {
    pub(super) fn agrees_with(&self, produced: &Fingerprint) -> bool {
        self.fingerprint.commands == produced.commands
            && self.fingerprint.deliveries == produced.deliveries
            && (self.fuel_rule == FuelRule::Loose || self.fingerprint.fuel == produced.fuel)
    }
}

pub(super) enum Held {
    New(Proof),
    Same,
    Diverged(Box<Divergence>),
}
