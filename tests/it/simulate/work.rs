//! What a step of a plan does, as the function of the guest `chaos` reads it: contacts with the world, calls of models,
//! agents, questions to people. It is the same for the same dice.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::dice::Dice;
use super::plan::draw_wait_ms;
use super::token::MARK;

/// Agents within the tools of agents.
const DEPTH_MAX: u32 = 2;

#[derive(Debug, Clone, Serialize)]
pub struct Work {
    effects: Vec<Effect>,
    fails: u32,
    stumbles: u32,
    gives_up: bool,
    pad: usize,
    beats: bool,
    tells: bool,
    policy: Policy,
}

/// How a step is made, where not as its function says.
#[derive(Debug, Clone, Default, Serialize)]
struct Policy {
    heartbeat_ms: Option<u64>,
    attempts: Option<u32>,
    parks: bool,
    resumes: bool,
    unclear: Option<Unclear>,
    start_ms: Option<u64>,
    close_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Unclear {
    Fail,
    Compensate,
    Ask,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Effect {
    Get,
    Post,
    Posts(u32),
    NapMs(u64),
    Model,
    Models(u32),
    Ask(String),
    AskWithin(String, u64),
    Agent(Chat),
    Leave,
}

/// What an agent does: a call of its tool for each list.
#[derive(Debug, Clone, Serialize)]
struct Chat {
    calls: Vec<Vec<Effect>>,
    at_once: bool,
    needs_approval: bool,
}

/// Whether somebody is there whom a function may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum People {
    There,
    Away,
}

impl Work {
    pub fn draw(dice: &mut Dice) -> Work {
        Work::draw_among(dice, People::Away)
    }

    fn draw_among(dice: &mut Dice, people: People) -> Work {
        let count = dice.within(0..=3);
        let effects = (0..count).map(|_| Effect::draw(dice, people, DEPTH_MAX)).collect();
        let beats = dice.chance(20);
        let policy = Policy {
            // Longer than an undisturbed world takes.
            attempts: None,
            parks: false,
            unclear: None,
            resumes: dice.chance(12),
            heartbeat_ms: (beats && dice.chance(60)).then(|| dice.within(1_000..=6_000)),
            start_ms: dice.chance(4).then(|| draw_wait_ms(dice).max(1)),
            close_ms: dice.chance(8).then(|| draw_wait_ms(dice).max(1)),
        };
        Work {
            effects,
            stumbles: 0,
            tells: dice.chance(25),
            beats,
            policy,
            fails: if dice.chance(20) { dice.within(1..=3) as u32 } else { 0 },
            gives_up: dice.chance(5),
            // Beside the journal, and as a file.
            pad: if dice.chance(6) { dice.within(33_000..=70_000) as usize } else { 0 },
        }
    }

    /// The same, of a run that somebody follows, who looks after what waits for a person.
    pub fn draw_watched(dice: &mut Dice) -> Work {
        let mut work = Work::draw_among(dice, People::There);
        // One that goes on with what was done asks again under the same address, which then cannot be told.
        if dice.chance(20) && !work.policy.resumes {
            work.policy.unclear = Some(*dice.one_of(&[Unclear::Fail, Unclear::Compensate, Unclear::Ask]));
        }
        if !dice.chance(12) {
            return work;
        }
        let policy = Policy { attempts: Some(dice.within(1..=3) as u32), parks: true, ..work.policy };
        let (fails, stumbles) = (dice.within(0..=5) as u32, dice.within(0..=2) as u32);
        Work { fails, stumbles, gives_up: false, policy, ..work }
    }

    /// Against its own time.
    pub fn is_racing(&self) -> bool {
        self.policy.start_ms.is_some() || self.policy.close_ms.is_some() || self.effects.iter().any(Effect::is_racing)
    }

    pub fn output(&self) -> Json {
        if self.gives_up {
            return json!("failed NO_WAY");
        }
        let mut tokens = vec![MARK.to_owned()];
        self.effects.iter().for_each(|effect| effect.give(&mut tokens));
        if self.pad > 0 {
            tokens.push("x".repeat(self.pad));
        }
        json!(tokens)
    }
}

impl Effect {
    fn draw(dice: &mut Dice, people: People, depth: u32) -> Effect {
        match dice.within(if depth == 0 { 0..=8 } else { 0..=11 }) {
            0 | 1 => Effect::Get,
            2..=4 => Effect::Post,
            5 => Effect::Posts(dice.within(2..=3) as u32),
            6 => Effect::NapMs(draw_wait_ms(dice)),
            7 if dice.chance(30) => Effect::Models(dice.within(2..=3) as u32),
            7 => Effect::Model,
            8 => Effect::draw_question(dice, people),
            9 if dice.chance(20) => Effect::Leave,
            _ => Effect::Agent(Chat::draw(dice, people, depth - 1)),
        }
    }

    fn draw_question(dice: &mut Dice, people: People) -> Effect {
        let title = format!("May {:x}?", dice.next());
        match people {
            People::There if dice.chance(80) => Effect::Ask(title),
            People::There | People::Away => Effect::AskWithin(title, draw_wait_ms(dice).max(1)),
        }
    }

    /// Against the time of a person.
    fn is_racing(&self) -> bool {
        match self {
            Effect::AskWithin(..) => true,
            Effect::Agent(chat) => chat.calls.iter().flatten().any(Effect::is_racing),
            Effect::Get | Effect::Post | Effect::Posts(_) | Effect::NapMs(_) => false,
            Effect::Model | Effect::Models(_) | Effect::Ask(_) | Effect::Leave => false,
        }
    }

    fn give(&self, tokens: &mut Vec<String>) {
        let count = match self {
            Effect::Get | Effect::Post | Effect::Model => 1,
            Effect::Posts(count) | Effect::Models(count) => *count as usize,
            Effect::NapMs(_) | Effect::Leave => 0,
            Effect::Ask(_) => return tokens.push("answered".to_owned()),
            Effect::AskWithin(..) => return tokens.push("expired".to_owned()),
            Effect::Agent(chat) => {
                tokens.push(MARK.to_owned());
                return chat.calls.iter().flatten().for_each(|effect| effect.give(tokens));
            }
        };
        tokens.extend(std::iter::repeat_n(MARK.to_owned(), count));
    }
}

impl Chat {
    fn draw(dice: &mut Dice, people: People, depth: u32) -> Chat {
        let mut call = || {
            let count = dice.within(0..=2);
            (0..count).map(|_| Effect::draw(dice, people, depth)).collect()
        };
        let calls = [call(), call(), call()];
        let count = dice.within(0..=3) as usize;
        Chat {
            calls: calls.into_iter().take(count).collect(),
            at_once: dice.chance(40),
            needs_approval: people == People::There && dice.chance(15),
        }
    }
}
