//! How far a function says it is: what of it is journaled, and when. A function may say it in every turn of a
//! loop; the journal gets little of that, and always what was said last before an effect or a failure. Its times are
//! those of a clock that nobody sets.

use std::sync::Arc;
use std::time::Duration;

/// Between two entries of one attempt at first; then twice as long each time.
const EVERY_AT_FIRST: Duration = Duration::from_secs(1);
/// A person who looks at a long function sees nothing older; a day of it is some thousand entries.
const EVERY_AT_LAST: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Telling {
    /// When the function told something last, or began.
    pub beat: Duration,
    /// Not journaled yet.
    pending: Option<Arc<str>>,
    next: Duration,
    every: Duration,
}

/// What becomes of something that was told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It is to be journaled now.
    Now,
    /// It is the first that waits, for so long.
    Waits(Duration),
    /// It takes the place of one that waits.
    AlongWithOthers,
}

impl Telling {
    pub fn new(begun: Duration) -> Telling {
        Telling { beat: begun, pending: None, next: Duration::ZERO, every: EVERY_AT_FIRST }
    }

    pub fn tell(&mut self, text: &str, now: Duration) -> Told {
        let is_first = self.pending.replace(text.into()).is_none();
        match (self.next <= now, is_first) {
            (true, _) => Told::Now,
            (false, true) => Told::Waits(self.next.saturating_sub(now)),
            (false, false) => Told::AlongWithOthers,
        }
    }

    /// What is to be journaled at `now`, if anything waits.
    pub fn take(&mut self, now: Duration) -> Option<Arc<str>> {
        let text = self.pending.take()?;
        self.next = now + self.every;
        self.every = (self.every * 2).min(EVERY_AT_LAST);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_tells_all_the_time_is_journaled_less_and_less() {
        let mut telling = Telling::new(Duration::from_millis(0));
        let mut journaled = Vec::new();
        let mut waits = None;
        for millis in (0..200_000).step_by(100) {
            let now = Duration::from_millis(millis);
            match telling.tell(&millis.to_string(), now) {
                Told::Now => journaled.extend(telling.take(now).map(|text| (millis / 1_000, text.len()))),
                Told::Waits(time) => waits = Some(now + time),
                Told::AlongWithOthers => assert!(waits.is_some_and(|until| until > now)),
            }
        }
        let at: Vec<u64> = journaled.iter().map(|(seconds, _)| *seconds).collect();
        assert_eq!(at, [0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181]);
        assert_eq!(telling.take(Duration::from_millis(200_000)).as_deref(), Some("199900"), "the last one is kept");
        assert_eq!(telling.take(Duration::from_millis(300_000)), None);
    }
}
