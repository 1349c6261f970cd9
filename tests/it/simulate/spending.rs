//! What calls of models took: each as its answer says, once, and the sums that people read. It trusts what the world
//! says that it answered, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use trackway_replay::trace::trace;
use trackway_replay::{EffectId, EffectRequest, Kind, ModelUsed, Outcome, Spending, StepId};
use trackway_storage::{RunKey, Storage};

use super::journal::Journal;
use super::ledger::Promise;
use super::process::Process;
use super::script::Stage;
use super::token::tokens;
use super::world::Used;

/// What an agent of the guest logs when it is done.
const SPENT: &str = "spent ";

pub async fn hold(stage: &Stage, process: &Process, journals: &BTreeMap<RunKey, Journal>) {
    let world = stage.world.used();
    for journal in journals.values() {
        each_call(stage, process, journal, &world).await;
        sums(stage, process, journal).await;
        agents(stage, process, journal, &world).await;
    }
}

/// What a call took stands right before its answer, as the model said it.
async fn each_call(stage: &Stage, process: &Process, journal: &Journal, world: &BTreeMap<String, Used>) {
    let broken = |what: String| stage.ledger.broken(Promise::Spent, format!("run {}: {what}", journal.run.run));
    let mut models: BTreeSet<(StepId, EffectId)> = BTreeSet::new();
    let mut before: Option<&ModelUsed> = None;
    for entry in &journal.entries {
        let place = entry.position;
        let used = before.take();
        match &entry.kind {
            Kind::EffectAsked(asked) => {
                // One that begins anew may ask for something else under that number.
                let of = (asked.step, asked.effect);
                let is_model = matches!(asked.request, EffectRequest::Model { .. });
                _ = if is_model { models.insert(of) } else { models.remove(&of) };
            }
            Kind::ModelUsed(used) => before = Some(used),
            Kind::EffectAnswered(answered) if models.contains(&(answered.step, answered.effect)) => {
                let text = match &answered.outcome {
                    Outcome::Succeeded(value) => journal.text(process, value).await.unwrap_or_default(),
                    Outcome::Failed(_) => String::new(),
                };
                let said = tokens(&text).next().and_then(|token| world.get(token));
                let of = (answered.step, answered.attempt, answered.effect);
                let used = used.filter(|used| (used.step, used.attempt, used.effect) == of);
                let used = used.map(|used| Used { usage: used.usage, cost_nanousd: used.cost_nanousd });
                if used.as_ref() != said {
                    broken(format!("at {place} is an answer that took {said:?}, on record is {used:?}"));
                }
                continue;
            }
            _ => {}
        }
        if let Some(used) = used {
            broken(format!("before {place} {used:?} belongs to no answer"));
        }
    }
}

/// Of the run itself, by its head and by its trace.
async fn sums(stage: &Stage, process: &Process, journal: &Journal) {
    let mut sum = Spending::default();
    for entry in journal.entries.iter().filter(|entry| entry.position >= journal.begins()) {
        if let Kind::ModelUsed(used) = &entry.kind {
            sum.calls += 1;
            sum.unpriced_calls += u64::from(used.cost_nanousd.is_none());
            sum.cost_nanousd += used.cost_nanousd.unwrap_or(0);
            sum.usage.input_tokens += used.usage.input_tokens;
            sum.usage.output_tokens += used.usage.output_tokens;
            sum.usage.cached_tokens += used.usage.cached_tokens;
            sum.usage.cache_write_tokens += used.usage.cache_write_tokens;
        }
    }
    let broken = |what: String| stage.ledger.broken(Promise::Spent, format!("run {}: {what}", journal.run.run));
    let traced = trace(&journal.entries).totals.spending;
    if traced != sum {
        broken(format!("its trace says {traced:?}, its calls took {sum:?}"));
    }
    if journal.archive.is_some() {
        return;
    }
    let head = process.door.store.head(journal.run).await.ok().flatten();
    if let Some(head) = head.filter(|head| head.status.has_ended() && head.spending != sum) {
        broken(format!("its head says {:?}, its calls took {sum:?}", head.spending));
    }
}

/// An agent was told what its own calls took, all of them.
async fn agents(stage: &Stage, process: &Process, journal: &Journal, world: &BTreeMap<String, Used>) {
    for line in journal.lines(process).await {
        let Some(spent) = line.message.strip_prefix(SPENT) else { continue };
        let taken: Vec<Option<&Used>> = tokens(spent).map(|token| world.get(token)).collect();
        // A person said what one of them is to have answered.
        let Some(taken) = taken.into_iter().collect::<Option<Vec<&Used>>>() else { continue };
        let input: u64 = taken.iter().map(|used| used.usage.input_tokens).sum();
        let output: u64 = taken.iter().map(|used| used.usage.output_tokens).sum();
        let cost: Option<u64> = taken.iter().map(|used| used.cost_nanousd).sum();
        if !spent.starts_with(&format!("{input} {output} {cost:?} over ")) {
            let what = format!("run {}: an agent {}, its calls took {taken:?}", journal.run.run, line.message);
            stage.ledger.broken(Promise::Spent, what);
        }
    }
}
