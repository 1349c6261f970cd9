//! Answers on record for ids that the guest has not asked for yet. Most stand in the order of their ids, and are
//! asked for in it. It never looks at what an answer says.

use std::collections::{BTreeMap, VecDeque};

use super::Arrived;

#[derive(Debug, Default)]
pub(super) struct Early {
    /// Those that came after all lower ids did, so by their id.
    ascending: VecDeque<(u32, Arrived)>,
    /// Those that did not.
    others: BTreeMap<u32, Arrived>,
}

impl Early {
    /// The first one of an id counts.
    pub fn arrived(&mut self, id: u32, arrived: Arrived) {
        let is_next = self.ascending.back().is_none_or(|(last, _)| *last < id);
        if is_next && !self.others.contains_key(&id) {
            self.ascending.push_back((id, arrived));
        } else if is_next || self.ascending.binary_search_by_key(&id, |(known, _)| *known).is_err() {
            self.others.entry(id).or_insert(arrived);
        }
    }

    /// Ids are asked for in their order: of those that were left out nobody asks any more.
    pub fn take(&mut self, id: u32) -> Option<Arrived> {
        while self.ascending.pop_front_if(|(known, _)| *known < id).is_some() {}
        let next = self.ascending.pop_front_if(|(known, _)| *known == id);
        next.map(|(_, arrived)| arrived).or_else(|| self.others.remove(&id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Position, Timestamp, Value};

    fn at(position: u64) -> Arrived {
        let (position, time) = (Position(position), Timestamp(0));
        Arrived { position, time, outcome: Outcome::Succeeded(Value::inline("1")) }
    }

    /// Each id arrives at the place where it stands in `ids`; then all are taken in their order.
    fn check(ids: &[u32], places: &[Option<u64>]) {
        let mut early = Early::default();
        ids.iter().zip(0..).for_each(|(id, place)| early.arrived(*id, at(place)));
        let took = |id| early.take(id).map(|arrived| arrived.position.0);
        assert_eq!((1..).take(places.len()).map(took).collect::<Vec<_>>(), places, "{ids:?}");
        assert!(early.ascending.is_empty() && early.others.is_empty(), "{ids:?}: {early:?}");
    }

    #[test]
    fn the_first_answer_of_each_id_is_there_in_whatever_order_they_came() {
        check(&[], &[None]);
        check(&[1, 2, 3], &[Some(0), Some(1), Some(2), None]);
        check(&[3, 2, 1], &[Some(2), Some(1), Some(0)]);
        check(&[2, 4, 3, 1, 5], &[Some(3), Some(0), Some(2), Some(1), Some(4)]);
        check(&[1, 3, 3, 2, 2, 1], &[Some(0), Some(3), Some(1)]);
    }

    #[test]
    fn an_id_that_nobody_asks_for_holds_up_none_behind_it() {
        let mut early = Early::default();
        [1, 2, 3].into_iter().zip(0..).for_each(|(id, place)| early.arrived(id, at(place)));
        assert_eq!(early.take(3).map(|arrived| arrived.position), Some(Position(2)));
    }
}
