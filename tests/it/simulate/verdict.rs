//! What is held against the journals when all is over: every promise, for every run, and for all that
//! anybody was told or saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use trackway::host::is_settled;
use trackway::worker::EndCheck;
use trackway_replay::{End, Entry, Frame, Head, Kind, Position, RunId, RunState, Status};
use trackway_storage::{InboxBody, InboxItem, LogKey, RunKey, Storage};

use super::asking;
use super::attempts;
use super::journal::{self, Journal};
use super::ledger::{Archive, Promise, Told};
use super::process::Process;
use super::removed;
use super::restarts;
use super::script::Stage;
use super::spans;
use super::spending;
use super::times;
use super::token::{tokens, without};

/// Whether no run goes on by itself any more.
pub fn all_settled(process: &Process) -> bool {
    let store = &process.door.store;
    // Only what ends it at once moves a stuck run; the rest waits with it.
    let ends_it = |item: &InboxItem| {
        matches!(item.body, InboxBody::Cancel { .. } | InboxBody::CancelWithin { .. } | InboxBody::Terminate { .. })
    };
    let is_quiet = |head: &Head, run| head.status.has_ended() || !store.standing_inbox(run).iter().any(ends_it);
    let is_settled = |run| store.standing_head(run).is_some_and(|head| is_settled(&head) && is_quiet(&head, run));
    store.standing_runs().into_iter().all(is_settled)
}

/// Runs for which nobody does what they wait for: what only a client can send, of which none was told; or
/// that somebody looks after a child that is stuck.
pub fn forsaken(stage: &Stage, process: &Process) -> Vec<RunKey> {
    let told: BTreeSet<RunId> = {
        let records = stage.ledger.lock();
        let started = |told: &Told| match told {
            Told::Started(run) => Some(*run),
            Told::RefusedForGood => None,
        };
        let restarted = records.restarted.iter().map(|restarted| restarted.run.run);
        records.starts.values().flatten().filter_map(started).chain(restarted).collect()
    };
    let store = &process.door.store;
    let is_child = |run: &RunKey| {
        let first = store.standing(*run).into_iter().next();
        let first = first.and_then(|stored| Frame::decode(&stored.frame).ok());
        first.is_some_and(|frame| frame.entries.iter().any(|entry| matches!(entry.kind, Kind::ChildOf(_))))
    };
    let is_forsaken = |run: &RunKey| match store.standing_head(*run).map(|head| head.status) {
        Some(Status::Waiting) => !is_child(run),
        Some(Status::Stuck) => is_child(run),
        _ => false,
    };
    store.standing_runs().into_iter().filter(|run| !told.contains(&run.run)).filter(is_forsaken).collect()
}

/// Taken up again and again without getting anywhere: that is what the limit is for.
pub fn is_quarantined(stage: &Stage, head: &Head) -> bool {
    head.code.as_deref() == Some("TW0502") && stage.setup.recalls_max() > 3
}

/// Notes what is broken.
pub async fn give(stage: &Stage, process: &Process) {
    let journals = read(stage, process);
    for journal in journals.values() {
        for what in journal::order(journal) {
            stage.ledger.broken(what.promise, what.what);
        }
        for what in journal::code(journal).into_iter().chain(journal::held(journal)) {
            stage.ledger.broken(what.promise, what.what);
        }
        if journal.archive.is_some() {
            removed::hold(stage, process, journal).await;
            continue;
        }
        rows_fit(stage, process, journal).await;
        ends(stage, process, journal).await;
    }
    removed::nothing_else(stage, process, &journals).await;
    acknowledged(stage, process, &journals);
    nothing_leaks(stage, process, &journals).await;
    times::hold(stage, &journals);
    attempts::hold(stage, process, &journals).await;
    spending::hold(stage, process, &journals).await;
    asking::hold(stage, &journals);
    spans::hold(stage, process, &journals).await;
    heard(stage, &journals);
    restarts::hold(stage, &journals);
    same_end(stage, process, &journals).await;
}

fn read(stage: &Stage, process: &Process) -> BTreeMap<RunKey, Journal> {
    let store = &process.door.store;
    let (removing, removed) = {
        let records = stage.ledger.lock();
        (records.removing.clone(), records.removed.clone())
    };
    let standing = store.standing_runs();
    let gone = removing.into_iter().filter(|(run, _)| removed.contains(run) || !standing.contains(run));
    let gone: BTreeMap<RunKey, Archive> = gone.collect();
    let mut journals = BTreeMap::new();
    let standing = standing.iter().filter(|run| !gone.contains_key(run)).map(|run| (*run, store.standing(*run), None));
    let removed = gone.iter().map(|(run, archive)| (*run, archive.frames.clone(), Some(archive.clone())));
    for (run, frames, archive) in standing.chain(removed) {
        let mut entries: Vec<Entry> = Vec::new();
        for stored in &frames {
            match Frame::decode(&stored.frame) {
                Ok(frame) => entries.extend(frame.entries),
                Err(error) => stage.ledger.broken(Promise::OneOrder, format!("run {}: {error}", run.run)),
            }
        }
        journals.insert(run, Journal { run, frames, entries, archive });
    }
    journals
}

/// Head, inbox and payloads say what the journal says.
async fn rows_fit(stage: &Stage, process: &Process, journal: &Journal) {
    let run = journal.run;
    let broken = |what: String| stage.ledger.broken(Promise::RowsFit, format!("run {}: {what}", run.run));
    let Ok(state) = RunState::of(&journal.entries) else { return };
    match process.door.store.head(run).await {
        Ok(Some(head)) if head.status == Status::Stuck => {}
        Ok(Some(head)) if state.status().has_ended() && head != state.head() => {
            broken(format!("its head is {head:?}, its journal says {:?}", state.head()));
        }
        Ok(Some(_)) => {}
        other => broken(format!("its head: {other:?}")),
    }
    let states = process.door.store.states(run).await.map(BTreeMap::from_iter);
    if !states.as_ref().is_ok_and(|states| *states == journal.published()) {
        broken(format!("its states are at {states:?}, its journal has {:?}", journal.published()));
    }
    for value in journal.entries.iter().filter_map(|entry| journal::value_of(&entry.kind)) {
        if let Err(error) = journal.text(process, value).await {
            broken(error);
        }
    }
}

async fn ends(stage: &Stage, process: &Process, journal: &Journal) {
    let run = journal.run;
    let head = process.door.store.head(run).await.ok().flatten();
    if let Some(head) = head.filter(|head| head.status == Status::Stuck) {
        if !is_quarantined(stage, &head) {
            stage.ledger.broken(Promise::Replays, format!("run {} is stuck: {:?}", run.run, head.message));
        }
    } else if !matches!(journal.entries.last().map(|entry| &entry.kind), Some(Kind::Finished(_))) {
        let kinds: Vec<String> = journal.entries.iter().map(|entry| crate::rig::short(&entry.kind)).collect();
        stage.ledger.broken(Promise::Ends, format!("run {} has not ended: {}", run.run, kinds.join(", ")));
    }
    if RunState::of(&journal.entries).is_err() {
        return;
    }
    match process.host.replay(run.run, None).await {
        Ok(report) => {
            // What the workflow itself came to has to be proved to the end.
            let is_whole = match journal.entries.last().map(|entry| &entry.kind) {
                Some(Kind::Finished(finished)) if finished.fingerprint.is_some() => report.end == EndCheck::Identical,
                _ => report.end != EndCheck::Diverged,
            };
            if !is_whole || report.divergence.is_some() {
                let what = format!("run {}: {:?}, {:?}", run.run, report.end, report.divergence);
                stage.ledger.broken(Promise::Replays, what);
            }
        }
        Err(error) => stage.ledger.broken(Promise::Replays, format!("run {}: {error}", run.run)),
    }
}

/// Starts, cancels and frames of which somebody was told that they are durable.
fn acknowledged(stage: &Stage, process: &Process, journals: &BTreeMap<RunKey, Journal>) {
    let (starts, cancels, frames) = {
        let records = stage.ledger.lock();
        (records.starts.clone(), records.cancels.clone(), records.frames.clone())
    };
    let broken = |what: String| stage.ledger.broken(Promise::Acknowledged, what);
    let mut runs_of: BTreeMap<String, Vec<RunKey>> = BTreeMap::new();
    let restarted: BTreeSet<RunKey> = stage.ledger.lock().restarted.iter().map(|restarted| restarted.run).collect();
    for journal in journals.values().filter(|journal| !restarted.contains(&journal.run)) {
        runs_of.entry(journal.tag().unwrap_or_default()).or_default().push(journal.run);
    }
    for (tag, told) in &starts {
        let runs = runs_of.get(tag).cloned().unwrap_or_default();
        for told in told {
            match told {
                Told::Started(run) if !runs.iter().any(|there| there.run == *run) => {
                    broken(format!("run {run} of {tag} was acknowledged and is not there"));
                }
                Told::RefusedForGood if !runs.is_empty() => {
                    let what = format!("{tag} was refused for good, and there is {}", runs[0].run);
                    stage.ledger.broken(Promise::Refused, what);
                }
                Told::Started(_) | Told::RefusedForGood => {}
            }
        }
        // The key of one that is removed may start another one: somebody may still be asking.
        let is_removed = runs.iter().any(|run| journals.get(run).is_some_and(|journal| journal.archive.is_some()));
        if runs.len() > 1 && !is_removed {
            broken(format!("{tag} was started once, and there are {}", runs.len()));
        }
    }
    for cancel in cancels {
        let Some(journal) = journals.get(&cancel.run) else { continue };
        if journal.place_of_message(cancel.message).is_none() {
            broken(format!("a cancel of run {} was acknowledged and is not there", cancel.run.run));
        }
    }
    let signals = stage.ledger.lock().signals.clone();
    for (run, message) in signals {
        let Some(journal) = journals.get(&run) else { continue };
        let is_unread = process.door.store.standing_inbox(run).iter().any(|item| item.message == message);
        if journal.place_of_message(message).is_none() && !is_unread {
            broken(format!("a signal to run {} was acknowledged and is not there", run.run));
        }
    }
    let replied = stage.ledger.lock().replied.clone();
    for (run, message) in replied {
        if !journals.get(&run).is_some_and(|journal| journal.has_replied(message)) {
            broken(format!("an answer to update {} of run {} was given and is not there", message.0, run.run));
        }
    }
    let settled = stage.ledger.lock().settled.clone();
    for (run, step) in settled {
        let Some(journal) = journals.get(&run) else { continue };
        let is_unread = process
            .door
            .store
            .standing_inbox(run)
            .iter()
            .any(|item| matches!(&item.body, InboxBody::Promise { step: promise, .. } if *promise == step));
        if !journal.has_done_with(step) && !is_unread {
            broken(format!("promise {step} of run {run:?} was said to be settled and is not"));
        }
    }
    let retried = stage.ledger.lock().retried.clone();
    for (run, step, since) in retried {
        let Some(journal) = journals.get(&run) else { continue };
        let is_unread = process
            .door
            .store
            .standing_inbox(run)
            .iter()
            .any(|item| matches!(item.body, InboxBody::Retry { step: parked, .. } if parked == step));
        if !journal.has_tried_again(step, since) && !is_unread {
            broken(format!("step {step} of run {} was to be tried again since {since} and is not", run.run));
        }
    }
    for frame in frames {
        let stands = |journal: &Journal| {
            journal.frames.iter().any(|there| (there.position, there.id) == (frame.position, frame.id))
        };
        if !journals.get(&frame.run).is_some_and(stands) {
            let (run, position, by) = (frame.run.run, frame.position, frame.process.0);
            broken(format!("a frame of run {run} at {position} was durable for p{by} and is not there"));
        }
    }
}

/// Everything that clients and the world hold stands in the final journals.
async fn nothing_leaks(stage: &Stage, process: &Process, journals: &BTreeMap<RunKey, Journal>) {
    let broken = |what: String| stage.ledger.broken(Promise::NothingLeaks, what);
    let (seen, ends_seen, lines_seen, shown) = {
        let records = stage.ledger.lock();
        (records.seen.clone(), records.ends_seen.clone(), records.lines_seen.clone(), records.shown.clone())
    };
    for ((run, position), entry) in seen {
        let there = journals.get(&run).and_then(|journal| journal.entries.get(position.0 as usize));
        if there != Some(&entry) {
            broken(format!("run {} at {position}: a client saw {entry:?}, there is {there:?}", run.run));
        }
    }
    let pieces: Vec<(RunKey, String)> = {
        let records = stage.ledger.lock();
        records.heard.iter().flat_map(|(run, heard)| heard.pieces().map(|piece| (*run, piece.to_owned()))).collect()
    };
    let states_seen = stage.ledger.lock().states_seen.clone();
    for (run, position, key) in states_seen {
        if !journals.get(&run).is_some_and(|journal| journal.has_published(&key, position)) {
            broken(format!("run {} at {position}: a client saw what was published under {key}", run.run));
        }
    }
    for (run, status) in ends_seen {
        let there = journals.get(&run).and_then(|journal| RunState::of(&journal.entries).ok()).map(|s| s.status());
        if there != Some(status) {
            broken(format!("run {}: a client saw that it is {status:?}, it is {there:?}", run.run));
        }
    }
    // Tokens by where they were answered.
    let mut answered: BTreeMap<String, BTreeSet<(RunKey, Position)>> = BTreeMap::new();
    let mut held: Vec<(String, String)> = Vec::new();
    for journal in journals.values() {
        for entry in &journal.entries {
            let Some(value) = journal::value_of(&entry.kind) else { continue };
            let text = journal.text(process, value).await.unwrap_or_default();
            let place = || format!("run {} at {}", journal.run.run, entry.position);
            match &entry.kind {
                Kind::EffectAnswered(_) | Kind::EffectSettled(_) => {
                    let mut found = tokens(&text).map(str::to_owned);
                    // What a restarted run keeps was given to the other one.
                    if let Some(own) = found.next() {
                        let places = answered.entry(own).or_default();
                        if entry.position >= journal.begins() {
                            places.insert((journal.run, entry.position));
                        }
                    }
                    held.extend(found.map(|token| (token, place())));
                }
                // What a function says of itself: who else holds it has it from there.
                Kind::Answered(_)
                | Kind::Failed(_)
                | Kind::FailedKeeping(_)
                | Kind::Parked(_)
                | Kind::Progressed(_)
                | Kind::AttemptEmitted(_) => {
                    for token in tokens(&text) {
                        if token.starts_with('p') {
                            answered.entry(token.to_owned()).or_default();
                        } else {
                            held.push((token.to_owned(), place()));
                        }
                    }
                }
                _ => held.extend(tokens(&text).map(|token| (token.to_owned(), place()))),
            }
        }
    }
    for (token, places) in answered.iter().filter(|(_, places)| places.len() > 1) {
        stage.ledger.broken(Promise::NotTwice, format!("the answer {token} was given at {places:?}"));
    }
    let mut lines: BTreeMap<(RunKey, LogKey), Arc<str>> = BTreeMap::new();
    for journal in journals.values() {
        let of_run = journal.lines(process).await;
        lines.extend(of_run.into_iter().map(|line| ((journal.run, line.key), line.message)));
    }
    for (place, line) in &lines {
        held.extend(tokens(line).map(|token| (token.to_owned(), format!("the log at {place:?}"))));
    }
    for (place, line) in lines_seen {
        if lines.get(&place) != Some(&line) {
            broken(format!("{place:?}: a client saw the line {line}, there is {:?}", lines.get(&place)));
        }
    }
    held.extend(shown.into_iter().map(|(run, token)| (token, format!("a trace of {}", run.run))));
    held.extend(stage.world.told().into_iter().map(|(run, token)| (token, format!("the world, by {run}"))));
    // What does not stay is heard once the answer stands that it tells of; an own token may die with its attempt.
    for (run, piece) in pieces.iter().filter(|_| !stage.setup.is_overtaken()) {
        let answers = tokens(piece).filter(|token| token.starts_with('e'));
        held.extend(answers.map(|token| (token.to_owned(), format!("who follows {}", run.run))));
    }
    for (token, who) in held {
        if !answered.contains_key(&token) {
            broken(format!("{who} holds {token}, which no journal has"));
        }
    }
}

/// Who followed what a run tells heard all of it that stays, once each.
fn heard(stage: &Stage, journals: &BTreeMap<RunKey, Journal>) {
    let heard = std::mem::take(&mut stage.ledger.lock().heard);
    for (run, heard) in heard {
        let Some(journal) = journals.get(&run) else { continue };
        // Who follows a process that has lost the run hears nothing of what the other one's functions say.
        let gaps = heard.gaps().iter().filter(|_| !stage.setup.is_overtaken()).cloned();
        for what in heard.flaws(&journal.told(), journal.entries.len() as u64).into_iter().chain(gaps) {
            stage.ledger.broken(Promise::Heard, format!("run {}: {what}", run.run));
        }
    }
}

/// What a run without races and cancels gave is what an undisturbed one gives.
async fn same_end(stage: &Stage, process: &Process, journals: &BTreeMap<RunKey, Journal>) {
    // One that is started anew from a step draws the same key, and writes anew what had no answer before that step.
    let begun_anew: BTreeSet<RunKey> = stage.ledger.lock().restarted.iter().map(|restarted| restarted.from).collect();
    for wanted in &stage.setup.wanted {
        let is_its = |journal: &&Journal| {
            journal.tag().is_some_and(|tag| tag == wanted.name || tag.starts_with(&format!("{}.", wanted.name)))
        };
        if wanted.plan.is_racing() {
            continue;
        }
        let is_as_planned =
            |journal: &&Journal| !(journal.was_cancelled() || journal.has_used_up_attempts() || journal.was_unclear());
        let shares = |journal: &&Journal| wanted.plan.keeps() && begun_anew.contains(&journal.run);
        for journal in journals.values().filter(is_its).filter(is_as_planned).filter(|journal| !shares(journal)) {
            let Some(Kind::Finished(finished)) = journal.entries.last().map(|entry| &entry.kind) else { continue };
            let given = match &finished.end {
                End::Succeeded(value) => journal.text(process, value).await.unwrap_or_default(),
                other => format!("{other:?}"),
            };
            let given = without(&given);
            let expected = wanted.plan.output().to_string();
            if given != expected {
                let what = format!("run {}: it gave {given}, undisturbed it gives {expected}", journal.run.run);
                stage.ledger.broken(Promise::SameEnd, what);
            }
        }
    }
}
