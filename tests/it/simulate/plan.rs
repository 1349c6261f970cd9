//! What the runs of a simulation are to do, as the guest `chaos` reads it, and what comes of it where
//! nothing races. It is the same for the same dice.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::dice::Dice;
use super::work::Work;

#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    pub acts: Vec<Act>,
    pub stubborn: bool,
    pub tag: String,
    /// What the run goes on with.
    pub then: Option<Box<Plan>>,
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
    Signal(String),
    Ask(String),
    Promise(String),
    Patched(String),
    Newer(String),
    Publish(String),
    Emit(String),
    Update(String),
    Keep(String),
    Child(Box<Plan>),
    Within(u64, Box<Act>),
    Shield(Box<Act>),
    Saga { works: Vec<Work>, fails: bool },
}

/// What a plan waits for.
#[derive(Debug, Clone)]
pub enum ToSend {
    Signal(String),
    Update(String),
}

/// What is drawn with a plan: the dice, and what names its parts.
struct Drawing<'a> {
    dice: &'a mut Dice,
    tag: &'a str,
    named: u32,
}

impl Plan {
    pub fn draw(dice: &mut Dice, tag: String) -> Plan {
        Plan::draw_with(&mut Drawing { dice, tag: &tag, named: 0 })
    }

    fn draw_with(drawing: &mut Drawing) -> Plan {
        let count = drawing.dice.within(1..=4);
        let acts = (0..count).map(|_| Act::draw(drawing, 2)).collect();
        let stubborn = drawing.dice.chance(15);
        let then = drawing.dice.chance(20).then(|| Box::new(Plan::draw_with(drawing)));
        Plan { acts, stubborn, tag: drawing.tag.to_owned(), then }
    }

    /// What is done one after the other, in one round or the next.
    fn all_acts(&self) -> impl Iterator<Item = &Act> {
        std::iter::successors(Some(self), |plan| plan.then.as_deref()).flat_map(|plan| &plan.acts)
    }

    /// What somebody has to send, each once.
    pub fn sent(&self) -> Vec<ToSend> {
        let mut sent = Vec::new();
        self.all_acts().for_each(|act| act.name_sent(&mut sent));
        sent
    }

    /// Whether what comes of it may depend on what is first.
    pub fn is_racing(&self) -> bool {
        self.all_acts().any(Act::is_racing)
    }

    /// Whether it writes an entity.
    pub fn keeps(&self) -> bool {
        serde_json::to_string(self).is_ok_and(|text| text.contains("{\"keep\":"))
    }

    /// The output of a run without races, with each token replaced by [`MARK`](super::token::MARK).
    pub fn output(&self) -> Json {
        match &self.then {
            Some(next) => next.output(),
            None => Json::Array(self.acts.iter().map(Act::output).collect()),
        }
    }
}

impl Act {
    fn draw(drawing: &mut Drawing, depth: u32) -> Act {
        let several = |drawing: &mut Drawing, at_least: u64| {
            let count = drawing.dice.within(at_least..=3);
            (0..count).map(|_| Act::draw(drawing, depth - 1)).collect::<Vec<_>>()
        };
        let kind = drawing.dice.within(if depth == 0 { 0..=13 } else { 0..=25 });
        match kind {
            0..=3 => Act::Step(Work::draw_watched(drawing.dice)),
            4 | 5 => Act::SleepMs(draw_wait_ms(drawing.dice)),
            6 => Act::Signal(drawing.name("signal")),
            7 => Act::Ask(drawing.name("question")),
            8 => Act::Promise(drawing.name("promise")),
            9 if drawing.dice.chance(50) => Act::Newer(drawing.name("newer")),
            9 => Act::Patched(drawing.name("patch")),
            10 => Act::Keep(drawing.name("entity")),
            11 => Act::Publish(drawing.name("state")),
            12 => Act::Emit(drawing.name("event")),
            13 => Act::Update(drawing.name("update")),
            14 => Act::Turn(several(drawing, 1)),
            15 | 16 => Act::All(several(drawing, 2)),
            17 => Act::Come(several(drawing, 2)),
            18 | 19 => Act::Race(several(drawing, 2)),
            20 => Act::Drop(Work::draw(drawing.dice), Box::new(Act::draw(drawing, 0))),
            21 => Act::Cancel(Work::draw(drawing.dice), Box::new(Act::draw(drawing, 0))),
            22 => Act::Child(Box::new(Act::draw_child(drawing))),
            23 => Act::Within(draw_wait_ms(drawing.dice), Box::new(Act::draw(drawing, depth - 1))),
            24 => Act::Shield(Box::new(Act::draw(drawing, depth - 1))),
            _ => {
                let count = drawing.dice.within(1..=3);
                let works = (0..count).map(|_| Work::draw(drawing.dice)).collect();
                Act::Saga { works, fails: drawing.dice.chance(50) }
            }
        }
    }

    /// Nobody sends anything to it: whoever starts its parent does not know it.
    fn draw_child(drawing: &mut Drawing) -> Plan {
        let count = drawing.dice.within(1..=3);
        let plain = |drawing: &mut Drawing| match drawing.dice.within(0..=2) {
            0 => Act::SleepMs(draw_wait_ms(drawing.dice)),
            _ => Act::Step(Work::draw(drawing.dice)),
        };
        let acts = (0..count).map(|_| plain(drawing)).collect();
        Plan { acts, stubborn: drawing.dice.chance(15), tag: format!("child of {}", drawing.tag), then: None }
    }

    fn name_sent(&self, sent: &mut Vec<ToSend>) {
        match self {
            Act::Signal(name) => sent.push(ToSend::Signal(name.clone())),
            Act::Update(name) => sent.push(ToSend::Update(name.clone())),
            Act::Turn(acts) | Act::All(acts) | Act::Come(acts) | Act::Race(acts) => {
                acts.iter().for_each(|act| act.name_sent(sent));
            }
            Act::Drop(_, act) | Act::Cancel(_, act) | Act::Within(_, act) | Act::Shield(act) => {
                act.name_sent(sent);
            }
            Act::Step(_) | Act::SleepMs(_) | Act::Ask(_) | Act::Promise(_) | Act::Patched(_) => {}
            Act::Newer(_) | Act::Publish(_) | Act::Emit(_) | Act::Keep(_) | Act::Child(_) | Act::Saga { .. } => {}
        }
    }

    fn is_racing(&self) -> bool {
        match self {
            Act::SleepMs(_) | Act::Signal(_) | Act::Ask(_) | Act::Promise(_) => false,
            Act::Patched(_) | Act::Publish(_) | Act::Emit(_) | Act::Update(_) | Act::Keep(_) => false,
            Act::Step(work) => work.is_racing(),
            Act::Saga { works, fails } => !fails && works.iter().any(Work::is_racing),
            Act::Turn(acts) | Act::All(acts) => acts.iter().any(Act::is_racing),
            Act::Drop(_, other) | Act::Shield(other) => other.is_racing(),
            Act::Child(plan) => plan.is_racing(),
            // Against newer code.
            Act::Newer(_) => true,
            Act::Come(_) | Act::Race(_) | Act::Cancel(..) | Act::Within(..) => true,
        }
    }

    fn output(&self) -> Json {
        match self {
            Act::Step(work) => work.output(),
            Act::SleepMs(_) => json!("slept"),
            Act::Turn(acts) | Act::All(acts) => Json::Array(acts.iter().map(Act::output).collect()),
            Act::Drop(_, other) | Act::Shield(other) => other.output(),
            Act::Signal(name) => payload_of(name),
            Act::Ask(_) => person(),
            Act::Promise(name) => payload_of(name),
            Act::Patched(_) => json!(true),
            Act::Publish(_) => json!("published"),
            Act::Emit(_) => json!("told"),
            Act::Update(name) => payload_of(name),
            // Written once, however often the run is taken up: the version that it was told of stands.
            Act::Keep(name) => json!([true, payload_of(name)]),
            Act::Child(plan) => plan.output(),
            Act::Saga { fails: true, .. } => json!("failed NO_SALE"),
            Act::Saga { works, fails: false } => Json::Array(works.iter().map(Work::output).collect()),
            Act::Newer(_) | Act::Come(_) | Act::Race(_) | Act::Cancel(..) | Act::Within(..) => Json::Null,
        }
    }
}

impl Drawing<'_> {
    /// Another name in the same plan.
    fn name(&mut self, of: &str) -> String {
        self.named += 1;
        format!("{of}-{}", self.named)
    }
}

/// What a client sends under a name, or settles a promise with.
pub fn payload_of(name: &str) -> Json {
    json!({ "sent": name })
}

/// What a person answers to every question.
pub fn person() -> Json {
    json!({ "approve": true })
}

/// Mostly as short as a flush, so that things meet.
pub fn draw_wait_ms(dice: &mut Dice) -> u64 {
    match dice.within(0..=9) {
        0 => 0,
        1..=6 => dice.within(1..=60),
        7 | 8 => dice.within(100..=3_000),
        _ => dice.within(5_000..=15_000),
    }
}
