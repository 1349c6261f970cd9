//! Questions of functions: a person who answers each at some time, with words of their own each time, and what journals
//! must say of that. It never says what is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;
use trackway::Code;
use trackway::host::AnswerRequest;
use trackway_replay::{
    AttemptFailed, AttemptParked, EffectRequest, EffectSettled, Kind, Outcome, Park, QuestionName, StepId, Value,
};
use trackway_storage::RunKey;

use super::client::PATIENCE;
use super::dice::Dice;
use super::journal::Journal;
use super::ledger::{Ledger, Promise};
use super::process::Process;
use super::script::Stage;
use super::token::tokens;

/// Those of one run that are open, as far as somebody who reads its journal knows.
#[derive(Default)]
pub struct Questions {
    open: BTreeMap<QuestionName, Open>,
}

#[derive(Clone)]
struct Open {
    attempt: u32,
    /// Nobody answers before.
    from: Instant,
    /// An answer counts.
    is_told: bool,
}

fn name_of(kind: &Kind) -> Option<QuestionName> {
    let (step, effect) = match kind {
        Kind::EffectAsked(asked) if matches!(asked.request, EffectRequest::AskPerson { .. }) => {
            (asked.step, asked.effect)
        }
        Kind::EffectSettled(settled) => (settled.step, settled.effect),
        Kind::EffectAnswered(answered) => (answered.step, answered.effect),
        _ => return None,
    };
    Some(QuestionName { step, effect: Some(effect) })
}

impl Questions {
    pub fn saw(&mut self, kind: &Kind, dice: &mut Dice) {
        match kind {
            Kind::EffectAsked(asked) => {
                if let Some(name) = name_of(kind) {
                    let from = Instant::now() + draw_thinking(dice);
                    self.open.insert(name, Open { attempt: asked.attempt, from, is_told: false });
                }
            }
            Kind::EffectSettled(_) | Kind::EffectAnswered(_) => {
                if let Some(name) = name_of(kind) {
                    self.open.remove(&name);
                }
            }
            // It goes on with what had no answer.
            Kind::AttemptStarted(begun) => {
                let of_step = self.open.iter_mut().filter(|(name, _)| name.step == begun.step);
                of_step.for_each(|(_, open)| (open.attempt, open.is_told) = (begun.attempt, false));
            }
            Kind::Failed(AttemptFailed { step, .. })
            | Kind::Parked(AttemptParked { step, park: Park::Exhausted, .. }) => self.close(*step),
            Kind::Answered(_) | Kind::Forgotten(_) => kind.step().into_iter().for_each(|step| self.close(step)),
            _ => {}
        }
    }

    fn close(&mut self, step: StepId) {
        self.open.retain(|name, _| name.step != step);
    }

    /// Answers what is open, each until it is told that an answer counts, and then once more, as another person would.
    pub async fn answer(&mut self, process: &Process, ledger: &Ledger, dice: &mut Dice, run: RunKey) {
        for (name, open) in &mut self.open {
            if open.is_told || Instant::now() < open.from {
                continue;
            }
            for who in ["ann", "bob"] {
                let token = format!("e{:x}", dice.next());
                let request = AnswerRequest {
                    run: run.run,
                    question: *name,
                    answer: serde_json::json!({ "approve": true, "why": format!("~{token}~") }).to_string().into(),
                    by: Some(who.to_owned()),
                    idempotency_key: Some(format!("{who}, attempt {}", open.attempt)),
                };
                let told = process.ask(PATIENCE, process.host.answer(request)).await;
                ledger.note(format!("client: {who} answers {name} of {} with {token}: {told:?}", run.run));
                match told {
                    Some(Ok(())) => {
                        open.is_told = true;
                        ledger.lock().answers.push((run, *name, who.to_owned()));
                    }
                    // By the other one, or a moment ago by this one.
                    Some(Err(error)) if error.code == Code::QuestionSettled => open.is_told = true,
                    Some(Err(_)) | None => break,
                }
            }
        }
    }
}

/// Mostly at once, and sometimes when nothing of the attempt is in memory any more.
fn draw_thinking(dice: &mut Dice) -> Duration {
    Duration::from_millis(match dice.within(0..=9) {
        0..=4 => 0,
        5 | 6 => dice.within(1..=300),
        7 | 8 => dice.within(4_000..=9_000),
        _ => dice.within(10_000..=90_000),
    })
}

/// A question as one attempt has it.
struct Asked {
    by: Option<String>,
}

pub fn hold(stage: &Stage, journals: &BTreeMap<RunKey, Journal>) {
    let told = stage.ledger.lock().answers.clone();
    for journal in journals.values() {
        came_back(stage, journal);
        let mut asked: BTreeMap<QuestionName, Vec<Asked>> = BTreeMap::new();
        for entry in &journal.entries {
            match (&entry.kind, name_of(&entry.kind)) {
                (Kind::EffectAsked(_), Some(name)) => asked.entry(name).or_default().push(Asked { by: None }),
                (Kind::AttemptStarted(begun), _) => {
                    for of_step in asked.iter_mut().filter(|(name, _)| name.step == begun.step).map(|(_, asked)| asked)
                    {
                        if of_step.last().is_some_and(|last| last.by.is_none()) {
                            of_step.push(Asked { by: None });
                        }
                    }
                }
                (Kind::EffectSettled(settled), Some(name)) => {
                    if let Some(last) = asked.get_mut(&name).and_then(|asked| asked.last_mut()) {
                        last.by = Some(settled.by.as_deref().unwrap_or("nobody").to_owned());
                    }
                    holds_what_was_said(stage, journal, settled);
                }
                _ => {}
            }
        }
        // Whoever was told that an answer counts either gave the one on record, or the attempt ended before it was read.
        for (name, asked) in &asked {
            let told: BTreeSet<&str> = told
                .iter()
                .filter(|(run, of, _)| (*run, of) == (journal.run, name))
                .map(|(_, _, who)| who.as_str())
                .collect();
            let unheard = told.iter().filter(|who| !asked.iter().any(|asked| asked.by.as_deref() == Some(**who)));
            let left = asked.iter().filter(|asked| asked.by.as_deref().is_none_or(|by| by == "nobody")).count();
            if unheard.count() > left {
                let by: Vec<&Option<String>> = asked.iter().map(|asked| &asked.by).collect();
                let what = format!("run {}: {told:?} answered {name}, on record is {by:?}", journal.run.run);
                stage.ledger.broken(Promise::Answered, what);
            }
        }
    }
}

/// An answer that came from somebody is in words that only they use.
fn holds_what_was_said(stage: &Stage, journal: &Journal, settled: &EffectSettled) {
    let is_said = match &settled.outcome {
        Outcome::Succeeded(Value::Inline(text)) => tokens(text).count() == 1 && settled.request.is_some(),
        Outcome::Succeeded(Value::Stored { .. }) => false,
        Outcome::Failed(_) => settled.request.is_none(),
    };
    if !is_said {
        stage.ledger.broken(Promise::Answered, format!("run {}: {settled:?}", journal.run.run));
    }
}

/// Notes where an attempt that had left its place came back for an answer, in one and the same process.
fn came_back(stage: &Stage, journal: &Journal) {
    let mut answered: BTreeMap<StepId, bool> = BTreeMap::new();
    let mut epoch = None;
    for entry in &journal.entries {
        if epoch.replace(entry.epoch) != Some(entry.epoch) {
            answered.clear();
        }
        match &entry.kind {
            Kind::AttemptStarted(begun) => _ = answered.insert(begun.step, false),
            Kind::EffectSettled(settled) => {
                answered.entry(settled.step).and_modify(|answered| *answered = true);
            }
            Kind::AttemptResumed(resumed) if answered.insert(resumed.step, false) == Some(true) => {
                stage.ledger.note(format!("step {} of {} came back for an answer", resumed.step, journal.run.run));
            }
            _ => {}
        }
    }
}
