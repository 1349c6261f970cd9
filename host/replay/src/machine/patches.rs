//! Which of its newer ways a guest goes: the answers to what it asks about its patches.

use super::{FuelRule, Held, Machine, PATCHES_MAX, PatchDecision};
use crate::{Act, Command};

impl Machine {
    /// The guest asks whether it may do as its newer code does. Yes, if what it does is new, or if it was
    /// told so on record; no, if other code passed this place without asking: what is on record then is
    /// what the older code did. Once for each id: the first answer counts for the whole run.
    pub fn patched(&mut self, command: Command, fuel: u64) -> PatchDecision {
        let Act::Patched { patch } = &command.act else { return PatchDecision::Known(false) };
        if let Some(known) = self.patches.get(patch) {
            return PatchDecision::Known(*known);
        }
        if self.patches.len() >= PATCHES_MAX {
            return PatchDecision::TooMany;
        }
        let patch = patch.clone();
        self.pass_over_patches(Some(&patch));
        let goes_on = match self.recorded.front() {
            Some(recorded) => recorded.command.act == command.act,
            None => self.end.is_none(),
        };
        if !goes_on {
            self.patches.insert(patch, false);
            return PatchDecision::Known(false);
        }
        let held = self.hold_against_record(&command, None, fuel);
        self.patches.insert(patch, true);
        match held {
            Held::New(proof) => PatchDecision::Record(proof),
            Held::Same => PatchDecision::Known(true),
            Held::Diverged(divergence) => PatchDecision::Diverged(divergence),
        }
    }

    /// Other code need not ask any more about a patch that is on record as there: it does so always.
    pub(super) fn pass_over_patches(&mut self, but: Option<&str>) {
        while let Some(recorded) = self.recorded.pop_front_if(|recorded| {
            let Act::Patched { patch } = &recorded.command.act else { return false };
            recorded.fuel_rule == FuelRule::Loose
                && recorded.proof.deliveries == self.deliveries
                && but.is_none_or(|but| **patch != *but)
        }) {
            if let Act::Patched { patch } = recorded.command.act {
                self.patches.entry(patch).or_insert(true);
            }
            self.compared.without_fuel += 1;
            self.commands += 1;
        }
    }
}
