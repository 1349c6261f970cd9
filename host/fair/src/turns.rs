//! The decision. Each party has an account of what it has had, divided by its weight; of those that wait, the one that
//! has had the least is next, and among equals whoever came first. Pure: it never waits and holds no work.
//!
//! What a party has had is either *spent* for good (bytes written, time computed) or *held* and given back (places). Whoever
//! was idle begins with spending where the others are by now, so nobody saves up turns; what is held counts as long as
//! it is held, and no longer. A party that waits for nothing, holds nothing and is not ahead of the others is not known here.

use std::collections::{BTreeMap, BTreeSet};

use crate::Weight;

#[cfg(test)]
mod tests;

/// What one unit adds to an account of weight 1. With it, rounding takes less than a thousandth from the greatest weight.
const UNIT: u128 = 1_000 * crate::WEIGHT_MAX as u128;

/// O(log n) for each call, of the parties that wait or have something.
#[derive(Debug)]
pub struct Turns<K> {
    accounts: BTreeMap<K, Account>,
    /// Those that wait, whoever is next first.
    line: BTreeSet<(u128, u64, K)>,
    /// Those that wait for nothing and hold nothing, and spent more than whoever was served last.
    ahead: BTreeSet<(u128, K)>,
    /// Where whoever was served last began.
    level: u128,
}

#[derive(Debug, Clone, Copy, Default)]
struct Account {
    spent: u128,
    held: u64,
    /// Its place in the line: what it has had, and when it came.
    waits: Option<(u128, u64)>,
}

impl<K> Default for Turns<K> {
    fn default() -> Turns<K> {
        Turns { accounts: BTreeMap::new(), line: BTreeSet::new(), ahead: BTreeSet::new(), level: 0 }
    }
}

impl<K: Ord + Copy> Turns<K> {
    /// `who` waits for a turn, since `arrived`; whoever waits already waits since then now.
    pub fn wait(&mut self, who: K, arrived: u64, weight: Weight) {
        self.change(who, weight, |account| account.waits = Some((0, arrived)));
    }

    /// `who` waits no more.
    pub fn leave(&mut self, who: K) {
        // Whoever does not wait has no place in the line that a weight could change.
        self.change(who, Weight::default(), |account| account.waits = None);
    }

    /// Whose turn it is. Stays so until something is changed.
    pub fn next(&self) -> Option<K> {
        self.line.first().map(|(_, _, who)| *who)
    }

    /// Whether `who`, which does not wait, would be next if it did.
    pub fn would_be_next(&self, who: K, weight: Weight) -> bool {
        let Some((least, _, _)) = self.line.first() else { return true };
        let account = self.accounts.get(&who).copied().unwrap_or_default();
        account.waits.is_none() && self.had(&account, weight) < *least
    }

    /// Whether anybody waits.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Those that wait, whoever is next first.
    pub fn waiting(&self) -> impl Iterator<Item = K> {
        self.line.iter().map(|(_, _, who)| *who)
    }

    /// `who` had its turn, which took so much.
    pub fn spend(&mut self, who: K, units: u64, weight: Weight) {
        let begun = self.accounts.get(&who).map_or(0, |account| account.spent).max(self.level);
        self.charge(who, units, weight);
        self.level = begun;
        self.forget_idle();
    }

    /// The turn of `who` took so much more than was known when it had it.
    pub fn charge(&mut self, who: K, units: u64, weight: Weight) {
        let level = self.level;
        self.change(who, weight, |account| {
            account.spent = account.spent.max(level).saturating_add(share(units, weight));
        });
    }

    /// `who` has so much from now on.
    pub fn hold(&mut self, who: K, units: u64, weight: Weight) {
        self.change(who, weight, |account| account.held = account.held.saturating_add(units));
    }

    pub fn give_back(&mut self, who: K, units: u64, weight: Weight) {
        self.change(who, weight, |account| account.held = account.held.saturating_sub(units));
    }

    pub fn held(&self, who: K) -> u64 {
        self.accounts.get(&who).map_or(0, |account| account.held)
    }

    /// Those that have something, with how much.
    pub fn holders(&self) -> impl Iterator<Item = (K, u64)> {
        self.accounts.iter().filter(|(_, account)| account.held > 0).map(|(who, account)| (*who, account.held))
    }

    /// How many parties are known.
    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        self.accounts.len()
    }

    /// What a party has had that waits from now on.
    fn had(&self, account: &Account, weight: Weight) -> u128 {
        account.spent.max(self.level).saturating_add(share(account.held, weight))
    }

    fn change(&mut self, who: K, weight: Weight, change: impl FnOnce(&mut Account)) {
        let mut account = self.accounts.get(&who).copied().unwrap_or_default();
        match account.waits {
            Some((had, arrived)) => drop(self.line.remove(&(had, arrived, who))),
            None => drop(self.ahead.remove(&(account.spent, who))),
        }
        change(&mut account);
        if let Some((_, arrived)) = account.waits {
            let had = self.had(&account, weight);
            account.waits = Some((had, arrived));
            self.line.insert((had, arrived, who));
        } else if account.held == 0 {
            if account.spent <= self.level {
                self.accounts.remove(&who);
                return;
            }
            self.ahead.insert((account.spent, who));
        }
        self.accounts.insert(who, account);
    }

    /// Whoever is not ahead of the others any more is as good as new.
    fn forget_idle(&mut self) {
        while let Some((spent, who)) = self.ahead.first().copied() {
            if spent > self.level {
                return;
            }
            self.ahead.pop_first();
            if self.accounts.get(&who).is_some_and(|account| account.waits.is_none() && account.held == 0) {
                self.accounts.remove(&who);
            }
        }
    }
}

fn share(units: u64, weight: Weight) -> u128 {
    u128::from(units).saturating_mul(UNIT) / u128::from(weight.get())
}
