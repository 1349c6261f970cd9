//! How much of something may be begun: so many in a row, then one more after each while. Pure: the caller brings the
//! time.

use std::time::Duration;
use trackway_replay::Timestamp;

#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// By whoever began none for long enough.
    pub in_a_row: u32,
    /// One more each.
    pub every: Duration,
}

/// How many may still be begun.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    rate: Rate,
    left: u32,
    /// From when on `left` grows.
    since: Timestamp,
}

impl Allowance {
    pub fn new(rate: Rate, now: Timestamp) -> Allowance {
        Allowance { rate, left: rate.in_a_row, since: now }
    }

    /// `Err` is how long it takes until there is one.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Duration> {
        *self = self.grown(now);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.rate.every.saturating_sub(now.since(self.since))),
        }
    }

    /// As good as a new one.
    pub fn is_whole(self, now: Timestamp) -> bool {
        self.grown(now).left == self.rate.in_a_row
    }

    fn grown(self, now: Timestamp) -> Allowance {
        let Rate { in_a_row, every } = self.rate;
        // Some are shorter than a millisecond.
        let more = now.since(self.since).as_nanos() / every.as_nanos().max(1);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        match self.left.saturating_add(more) {
            // What is left of a wait counts on.
            left if left < in_a_row => Allowance { left, since: self.since + every * more, ..self },
            _ => Allowance::new(self.rate, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_grows_with_time_and_never_beyond_its_limit() {
        let at = |seconds: u64| Timestamp::from_millis(1_000_000 + seconds * 1_000);
        let mut allowance = Allowance::new(Rate { in_a_row: 3, every: Duration::from_secs(5) }, at(0));
        (0..3).try_for_each(|_| allowance.take(at(0))).expect("three in a row");
        assert_eq!(allowance.take(at(4)), Err(Duration::from_secs(1)));
        assert_eq!(allowance.take(at(6)), Ok(()));
        assert_eq!(allowance.take(at(9)), Err(Duration::from_secs(1)), "what was waited before counts");
        // A clock that went back grows nothing.
        assert!(allowance.take(at(1)).is_err());
        assert!(!allowance.is_whole(at(19)));
        assert!(allowance.is_whole(at(1 << 40)));
    }

    #[test]
    fn one_that_grows_often_in_a_millisecond_grows_so() {
        for every in [Duration::from_micros(500), Duration::from_micros(1), Duration::ZERO] {
            let at = |micros: u64| Timestamp(1_000_000 + micros);
            let mut allowance = Allowance::new(Rate { in_a_row: 2, every }, at(0));
            (0..2).try_for_each(|_| allowance.take(at(0))).expect("two in a row");
            assert_eq!(allowance.take(at(0)), Err(every));
            allowance.take(at(500)).expect("one has come");
        }
    }
}
