//! What goes wrong in a simulated store, and the dice that decide it.

use std::time::Duration;

/// How often what goes wrong, each in thousandths of the calls. The default is: nothing.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// A write is refused as if the disk were full. Nothing is changed.
    pub refused_permille: u16,
    /// A read is answered with an error, as of a disk or a server that is out of reach for a moment.
    pub unread_permille: u16,
    /// An append is answered `Unknown`, and stands.
    pub unknown_stands_permille: u16,
    /// An append is answered `Unknown`, and does not stand.
    pub unknown_lost_permille: u16,
    /// An append is answered `Unknown`, and is carried out some calls later, if its place is
    /// still free then.
    pub unknown_late_permille: u16,
    /// An append that is under way when its process crashes stands all the same.
    pub crash_stands_permille: u16,
    /// Every call takes up to this long.
    pub delay_max: Duration,
}

/// A late append is carried out after at most this many more calls.
const LATE_CALLS_MAX: u64 = 16;

#[derive(Clone, Copy)]
pub(super) struct Fate {
    pub outcome: Outcome,
    delay: Duration,
}

#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Done,
    Refused,
    Unread,
    UnknownStands,
    UnknownLost,
    UnknownLate { calls: u32 },
}

impl Fate {
    pub async fn wait(&self) {
        if self.waited() {
            tokio::time::sleep(self.delay).await;
        }
    }

    pub fn waited(&self) -> bool {
        !self.delay.is_zero()
    }

    pub fn refuses(&self) -> bool {
        matches!(self.outcome, Outcome::Refused)
    }

    pub fn is_out_of_reach(&self) -> bool {
        matches!(self.outcome, Outcome::Unread)
    }
}

/// A splitmix64: enough for faults, and the same everywhere.
#[derive(Clone)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn permille(&mut self, permille: u16) -> bool {
        permille > 0 && self.below(1_000) < u64::from(permille)
    }

    pub fn draw(&mut self, faults: &Faults) -> Fate {
        let delay_max_micros = u64::try_from(faults.delay_max.as_micros()).unwrap_or(u64::MAX - 1);
        let delay = Duration::from_micros(self.below(delay_max_micros.saturating_add(1)));
        let mut left = self.below(1_000);
        let mut hits = |permille: u16| {
            let hit = left < u64::from(permille);
            left = left.saturating_sub(u64::from(permille));
            hit
        };
        let outcome = if hits(faults.refused_permille) {
            Outcome::Refused
        } else if hits(faults.unknown_stands_permille) {
            Outcome::UnknownStands
        } else if hits(faults.unknown_lost_permille) {
            Outcome::UnknownLost
        } else if hits(faults.unknown_late_permille) {
            Outcome::UnknownLate { calls: 1 + self.below(LATE_CALLS_MAX) as u32 }
        } else if hits(faults.unread_permille) {
            Outcome::Unread
        } else {
            Outcome::Done
        };
        Fate { outcome, delay }
    }
}
