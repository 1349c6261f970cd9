//! What the runs of a simulation are to do, as the guest `chaos` reads it, and what comes of it where
//! nothing races. It is the same for the same dice.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::dice::Dice;
use super::token::MARK;

#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    pub acts: Vec<Act>,
    pub stubborn: bool,
    pub tag: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    Step(Work),
    SleepMs(u64),
    Turn(Vec<Act>),
    All(Vec<Act>),
    Come(Vec<Act>),
    Race(Vec<Act>),
    Drop(Work, Box<Act>),
    Cancel(Work, Box<Act>),
}

#[derive(Debug, Clone, Serialize)]
pub struct Work {
    effects: Vec<Effect>,
    fails: u32,
    gives_up: bool,
    pad: usize,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Effect {
    Get,
    Post,
    Posts(u32),
    NapMs(u64),
}

impl Plan {
    pub fn draw(dice: &mut Dice, tag: String) -> Plan {
        let count = dice.within(1..=4);
        let acts = (0..count).map(|_| Act::draw(dice, 2)).collect();
        Plan { acts, stubborn: dice.chance(15), tag }
    }

    /// Whether what comes of it may depend on what is first.
    pub fn is_racing(&self) -> bool {
        self.acts.iter().any(Act::is_racing)
    }

    /// The output of a run without races, with each token replaced by [`MARK`].
    pub fn output(&self) -> Json {
        Json::Array(self.acts.iter().map(Act::output).collect())
    }
}

impl Act {
    fn draw(dice: &mut Dice, depth: u32) -> Act {
        let several = |dice: &mut Dice, at_least: u64| {
            let count = dice.within(at_least..=3);
            (0..count).map(|_| Act::draw(dice, depth - 1)).collect::<Vec<_>>()
        };
        let kind = if depth == 0 { dice.within(0..=5) } else { dice.within(0..=13) };
        match kind {
            0..=3 => Act::Step(Work::draw(dice)),
            4 | 5 => Act::SleepMs(draw_wait_ms(dice)),
            6 => Act::Turn(several(dice, 1)),
            7 | 8 => Act::All(several(dice, 2)),
            9 => Act::Come(several(dice, 2)),
            10 | 11 => Act::Race(several(dice, 2)),
            12 => Act::Drop(Work::draw(dice), Box::new(Act::draw(dice, 0))),
            _ => Act::Cancel(Work::draw(dice), Box::new(Act::draw(dice, 0))),
        }
    }

    fn is_racing(&self) -> bool {
        match self {
            Act::Step(_) | Act::SleepMs(_) => false,
            Act::Turn(acts) | Act::All(acts) => acts.iter().any(Act::is_racing),
            Act::Drop(_, other) => other.is_racing(),
            Act::Come(_) | Act::Race(_) | Act::Cancel(..) => true,
        }
    }

    fn output(&self) -> Json {
        match self {
            Act::Step(work) => work.output(),
            Act::SleepMs(_) => json!("slept"),
            Act::Turn(acts) | Act::All(acts) => Json::Array(acts.iter().map(Act::output).collect()),
            Act::Drop(_, other) => other.output(),
            Act::Come(_) | Act::Race(_) | Act::Cancel(..) => Json::Null,
        }
    }
}

impl Work {
    fn draw(dice: &mut Dice) -> Work {
        let count = dice.within(0..=3);
        let effects = (0..count).map(|_| Effect::draw(dice)).collect();
        Work {
            effects,
            fails: if dice.chance(20) { dice.within(1..=3) as u32 } else { 0 },
            gives_up: dice.chance(5),
            // Beside the journal, and as a file.
            pad: if dice.chance(6) { dice.within(33_000..=70_000) as usize } else { 0 },
        }
    }

    fn output(&self) -> Json {
        if self.gives_up {
            return json!("failed NO_WAY");
        }
        let answers: u32 = self.effects.iter().map(Effect::answers).sum();
        let mut tokens = vec![MARK.to_owned(); 1 + answers as usize];
        if self.pad > 0 {
            tokens.push("x".repeat(self.pad));
        }
        json!(tokens)
    }
}

impl Effect {
    fn draw(dice: &mut Dice) -> Effect {
        match dice.within(0..=6) {
            0 | 1 => Effect::Get,
            2..=4 => Effect::Post,
            5 => Effect::Posts(dice.within(2..=3) as u32),
            _ => Effect::NapMs(draw_wait_ms(dice)),
        }
    }

    fn answers(&self) -> u32 {
        match self {
            Effect::Get | Effect::Post => 1,
            Effect::Posts(count) => *count,
            Effect::NapMs(_) => 0,
        }
    }
}

/// Mostly as short as a flush, so that things meet.
fn draw_wait_ms(dice: &mut Dice) -> u64 {
    match dice.within(0..=9) {
        0 => 0,
        1..=6 => dice.within(1..=60),
        7 | 8 => dice.within(100..=3_000),
        _ => dice.within(5_000..=15_000),
    }
}
