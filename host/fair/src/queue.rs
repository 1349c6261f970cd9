//! Work that is done one after the other: first in, first out for each party, and among parties by turns. It must never do
//! any of it.

use std::collections::{BTreeMap, VecDeque};

use crate::{Turns, Weight};

#[derive(Debug)]
pub struct Queue<K, T> {
    turns: Turns<K>,
    /// Nobody without work.
    work: BTreeMap<K, VecDeque<Work<T>>>,
    arrived: u64,
    len: usize,
}

#[derive(Debug)]
struct Work<T> {
    arrived: u64,
    cost: u64,
    item: T,
}

impl<K, T> Default for Queue<K, T> {
    fn default() -> Queue<K, T> {
        Queue { turns: Turns::default(), work: BTreeMap::new(), arrived: 0, len: 0 }
    }
}

impl<K: Ord + Copy, T> Queue<K, T> {
    /// Behind everything of `who`. `cost`: how much of a share it takes, in whatever unit all of it is counted.
    pub fn push(&mut self, who: K, weight: Weight, cost: u64, item: T) {
        self.arrived += 1;
        self.len += 1;
        let work = self.work.entry(who).or_default();
        work.push_back(Work { arrived: self.arrived, cost, item });
        if work.len() == 1 {
            self.turns.wait(who, self.arrived, weight);
        }
    }

    /// The next in turn.
    pub fn pop(&mut self, weight: impl Fn(K) -> Weight) -> Option<(K, T)> {
        let who = self.turns.next()?;
        self.pop_of(who, weight(who)).map(|item| (who, item))
    }

    /// What `who` has waited for the longest, whosever turn it is.
    pub fn pop_of(&mut self, who: K, weight: Weight) -> Option<T> {
        let work = self.work.get_mut(&who)?;
        let first = work.pop_front()?;
        self.len -= 1;
        self.turns.spend(who, first.cost, weight);
        match work.front() {
            Some(next) => self.turns.wait(who, next.arrived, weight),
            None => {
                self.turns.leave(who);
                self.work.remove(&who);
            }
        }
        Some(first.item)
    }

    /// `who` has its turn without having waited for it.
    pub fn pass(&mut self, who: K, weight: Weight) {
        self.turns.spend(who, 0, weight);
    }

    /// What was done for `who` cost so much more than was known before.
    pub fn charge(&mut self, who: K, weight: Weight, cost: u64) {
        self.turns.charge(who, cost, weight);
    }

    #[cfg(test)]
    pub(crate) fn turns(&self) -> &Turns<K> {
        &self.turns
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Those that have work here, whoever is next first.
    pub fn waiting(&self) -> impl Iterator<Item = K> {
        self.turns.waiting()
    }

    /// Nothing of it is to be done.
    pub fn clear(&mut self) {
        *self = Queue { arrived: self.arrived, ..Queue::default() };
    }
}
