//! What one seed is made of: the runs, what goes wrong in storage and world, and what is done to the
//! processes. Drawn before anything happens.

use std::time::Duration;
use trackway::worker::Options;
use trackway_storage::Faults;

use super::dice::Dice;
use super::plan::{Plan, ToSend};
use super::world::Manners;

/// A run that a client wants, and what it does with it.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub name: String,
    pub plan: Plan,
    pub after: Duration,
    /// Started under a key, so that asking again is safe.
    pub is_keyed: bool,
    /// Asked for by two at once, under the key.
    pub is_asked_twice: bool,
    /// From the acknowledged start to each cancel, and how long the run has then.
    pub cancels: Vec<(Duration, Option<u64>)>,
    /// What is sent to it, and when.
    pub sent: Vec<(ToSend, Duration)>,
    /// When somebody begins to follow what it tells.
    pub listeners: Vec<Duration>,
    /// When it is started anew: from its start, or from one of the steps that it has asked for by then.
    pub restarts: Vec<(Duration, Option<u64>)>,
    /// When it is moved to what is deployed then.
    pub moves: Vec<Duration>,
    /// How long after its end it is removed.
    pub removed_after: Option<Duration>,
    /// When it is held, and how long.
    pub pauses: Vec<(Duration, Duration)>,
}

#[derive(Debug, Clone)]
pub enum Upheaval {
    /// The process dies.
    Crash,
    /// It dies after so many polls of its tasks.
    DieAfter {
        polls: u64,
    },
    /// It stops as it is told to, and dies then.
    Stop {
        grace: Duration,
    },
    /// It stands still for a while.
    Pause {
        lasting: Duration,
    },
    /// Another process takes over although nobody died. The first may stand still for a while, or
    /// not at all.
    Overtake {
        standing_still: Duration,
    },
    Jump {
        by: Duration,
        is_back: bool,
    },
}

#[derive(Debug, Clone)]
pub struct Setup {
    pub seed: u64,
    pub faults: Faults,
    pub manners: Manners,
    pub options: Options,
    pub wanted: Vec<Wanted>,
    /// When newer code is deployed, if it is.
    pub deployed_after: Option<Duration>,
    /// Each with the time before it.
    pub upheavals: Vec<(Duration, Upheaval)>,
    /// How long nobody is there after a process died.
    pub down: Duration,
}

impl Setup {
    pub fn draw(seed: u64) -> Setup {
        let dice = &mut Dice::of(seed, "setup");
        let count = dice.within(1..=4);
        let wanted = (0..count).map(|nth| Wanted::draw(dice, nth)).collect();
        let count = dice.within(0..=5);
        let upheavals = (0..count).map(|_| (draw_wait(dice), Upheaval::draw(dice))).collect();
        Setup {
            seed,
            faults: draw_faults(dice),
            manners: draw_manners(dice),
            options: draw_options(dice),
            wanted,
            deployed_after: dice.chance(40).then(|| draw_wait(dice)),
            upheavals,
            down: Duration::from_millis(dice.within(2..=40)),
        }
    }

    /// The same runs, and nothing goes wrong.
    pub fn undisturbed(self) -> Setup {
        let wanted = self
            .wanted
            .into_iter()
            .map(|wanted| Wanted { cancels: Vec::new(), pauses: Vec::new(), ..wanted })
            .collect();
        Setup {
            wanted,
            upheavals: Vec::new(),
            faults: Faults::default(),
            manners: Manners::default(),
            options: Options::default(),
            ..self
        }
    }

    /// Nothing makes clocks and processes disagree about what came first.
    pub fn has_one_time(&self) -> bool {
        self.upheavals.iter().all(|(_, upheaval)| match upheaval {
            Upheaval::Crash | Upheaval::DieAfter { .. } | Upheaval::Stop { .. } => true,
            Upheaval::Pause { .. } | Upheaval::Overtake { .. } | Upheaval::Jump { .. } => false,
        })
    }

    /// Who has lost a run may go on for a while without knowing it.
    pub fn is_overtaken(&self) -> bool {
        self.upheavals.iter().any(|(_, upheaval)| matches!(upheaval, Upheaval::Overtake { .. }))
    }

    /// How often a run may have to be recalled without getting anywhere: by each process, also by the first
    /// where it was parked and evicted there.
    pub fn recalls_max(&self) -> usize {
        let recalls = self.upheavals.iter().filter(|(_, upheaval)| match upheaval {
            Upheaval::Crash | Upheaval::DieAfter { .. } | Upheaval::Stop { .. } | Upheaval::Overtake { .. } => true,
            Upheaval::Pause { .. } | Upheaval::Jump { .. } => false,
        });
        2 + recalls.count()
    }
}

impl Wanted {
    fn draw(dice: &mut Dice, nth: u64) -> Wanted {
        let name = format!("run-{nth}");
        let cancels = if dice.chance(35) { dice.within(1..=2) } else { 0 };
        let plan = Plan::draw(dice, name.clone());
        let restarts = if dice.chance(20) { dice.within(1..=2) } else { 0 };
        let moves = if dice.chance(30) { dice.within(1..=2) } else { 0 };
        let pauses = if dice.chance(20) { 1 } else { 0 };
        let listeners = if dice.chance(40) { dice.within(1..=2) } else { 0 };
        Wanted {
            sent: plan.sent().into_iter().map(|sent| (sent, draw_wait(dice))).collect(),
            pauses: (0..pauses).map(|_| (draw_wait(dice), draw_wait(dice))).collect(),
            listeners: (0..listeners).map(|_| draw_wait(dice)).collect(),
            removed_after: dice.chance(25).then(|| draw_wait(dice)),
            moves: (0..moves).map(|_| draw_wait(dice)).collect(),
            restarts: (0..restarts).map(|_| (draw_wait(dice), dice.chance(75).then(|| dice.next()))).collect(),
            plan,
            name,
            after: Duration::from_millis(dice.within(0..=60)),
            is_keyed: dice.chance(60),
            is_asked_twice: dice.chance(30),
            cancels: (0..cancels).map(|_| (draw_wait(dice), draw_grace_ms(dice))).collect(),
        }
    }
}

impl Upheaval {
    fn draw(dice: &mut Dice) -> Upheaval {
        match dice.within(0..=11) {
            0..=2 => Upheaval::Crash,
            3..=5 => Upheaval::DieAfter { polls: dice.within(1..=120) },
            6 => Upheaval::Stop { grace: draw_wait(dice) },
            7 => Upheaval::Pause { lasting: draw_wait(dice) },
            8 | 9 => {
                let standing_still = if dice.chance(60) { draw_wait(dice) } else { Duration::ZERO };
                Upheaval::Overtake { standing_still }
            }
            _ => Upheaval::Jump { by: draw_wait(dice) * *dice.one_of(&[1, 60, 3_600]), is_back: dice.chance(50) },
        }
    }
}

/// As long as its workflow says, or as whoever cancels it.
fn draw_grace_ms(dice: &mut Dice) -> Option<u64> {
    dice.chance(40).then(|| *dice.one_of(&[0, 20, 300, 3_000, 60_000]))
}

/// Mostly within what a few flushes take.
fn draw_wait(dice: &mut Dice) -> Duration {
    Duration::from_millis(match dice.within(0..=9) {
        0..=3 => dice.within(0..=20),
        4..=7 => dice.within(20..=200),
        8 => dice.within(200..=2_000),
        _ => dice.within(2_000..=40_000),
    })
}

fn draw_faults(dice: &mut Dice) -> Faults {
    let mut permille = |max: u64| if dice.chance(50) { dice.within(1..=max) as u16 } else { 0 };
    let (stands, lost, late, crash) = (permille(150), permille(150), permille(150), permille(1_000));
    let refused = if dice.chance(25) { dice.within(1..=60) as u16 } else { 0 };
    let unread = if dice.chance(25) { dice.within(1..=60) as u16 } else { 0 };
    let delay_ms = *dice.one_of(&[0, 0, 1, 5, 20, 60]);
    Faults {
        refused_permille: refused,
        unread_permille: unread,
        unknown_stands_permille: stands,
        unknown_lost_permille: lost,
        unknown_late_permille: late,
        crash_stands_permille: crash,
        delay_max: Duration::from_millis(delay_ms),
    }
}

fn draw_manners(dice: &mut Dice) -> Manners {
    let mut percent = |max: u64| if dice.chance(40) { dice.within(1..=max) } else { 0 };
    Manners { slow: percent(15), silent: percent(8), failing: percent(15) }
}

fn draw_options(dice: &mut Dice) -> Options {
    Options {
        warm_for: Duration::from_millis(*dice.one_of(&[0, 20, 3_000])),
        runs_max: *dice.one_of(&[1, 2, 256, 256, 256, 256]),
        attempts_max: *dice.one_of(&[1, 2, 256, 256, 256, 256]),
        ..Options::default()
    }
}
