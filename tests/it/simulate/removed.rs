//! What must be true of runs that were removed: nothing is left of them, for whoever asks, and nothing else is gone.

use std::collections::BTreeMap;
use trackway::host::Heard;
use trackway::{Code, Result};
use trackway_replay::{EntityAct, Kind, Outcome, Position, RunId, StepRequest, TenantId};
use trackway_storage::{RunKey, Storage};

use super::journal::Journal;
use super::ledger::{Ledger, Promise};
use super::process::Process;
use super::script::Stage;

/// Nobody who asks for it gets anything of it: told right after it was removed, while other things go wrong.
pub async fn is_unread(ledger: &Ledger, process: &Process, run: RunId) {
    let host = &process.host;
    let told: [(&str, Result<()>); 7] = [
        ("its head", host.head(run).await.map(drop)),
        ("its detail", host.detail(run).await.map(drop)),
        ("its entries", host.entries(run, Position::FIRST).await.map(drop)),
        ("its log", host.logs(run, None, usize::MAX).await.map(drop)),
        ("its states", host.states(run, None, usize::MAX).await.map(drop)),
        ("its trace", host.trace(run).await.map(drop)),
        ("what it tells", host.stream(run, Heard::Nothing).await.map(drop)),
    ];
    for (what, told) in told {
        // A store that is out of reach says nothing.
        if !told.as_ref().is_err_and(|error| matches!(error.code, Code::NoSuchRun | Code::StoreIo | Code::Stopping)) {
            ledger.broken(Promise::Removed, format!("run {run} was removed, and {what} is given: {told:?}"));
        }
    }
}

/// Nothing of it stands.
pub async fn hold(stage: &Stage, process: &Process, journal: &Journal) {
    let (run, store) = (journal.run, &process.door.store);
    let rows = store.check_run(run).await.unwrap_or_default();
    let left = [
        ("its head", store.standing_head(run).is_some()),
        ("its frames", !store.standing(run).is_empty()),
        ("its inbox", !store.standing_inbox(run).is_empty()),
        ("its log", !store.standing_logs(run).is_empty()),
        // Who has lost a run and does not know it may still bring one.
        ("its payloads", !store.standing_payloads(run).is_empty() && !stage.setup.is_overtaken()),
        ("its places", rows.mark.is_some() || !rows.questions.is_empty() || !rows.landmarks.is_empty()),
    ];
    for (what, _) in left.into_iter().filter(|(_, is_left)| *is_left) {
        stage.ledger.broken(Promise::Removed, format!("run {} was removed, and {what} stands", run.run));
    }
    let keys = store.start_keys(TenantId::DEFAULT, None, usize::MAX).await.unwrap_or_default();
    for key in keys.into_iter().filter(|key| key.run == run.run) {
        stage.ledger.broken(Promise::Removed, format!("run {} was removed, and {key:?} stands", run.run));
    }
}

/// What any run wrote beyond itself stands, and who was started is there.
pub async fn nothing_else(stage: &Stage, process: &Process, journals: &BTreeMap<RunKey, Journal>) {
    for journal in journals.values() {
        let mut writes = BTreeMap::new();
        for entry in &journal.entries {
            match &entry.kind {
                Kind::Asked(asked) => {
                    if let StepRequest::Entity { entity, key, act: EntityAct::Set { .. }, .. } = &asked.request {
                        writes.insert(asked.step, (entity.clone(), key.clone()));
                    }
                }
                Kind::Answered(answered) if matches!(answered.outcome, Outcome::Succeeded(_)) => {
                    let Some((name, key)) = writes.remove(&answered.step) else { continue };
                    let entity = process.door.store.entity(TenantId::DEFAULT, &name, &key).await;
                    if !matches!(entity, Ok(Some(_))) {
                        let what = format!("run {} wrote {name} {key}, and there is {entity:?}", journal.run.run);
                        stage.ledger.broken(Promise::Removed, what);
                    }
                }
                Kind::ChildStarted(started) => {
                    let child = RunKey { run: started.run, ..journal.run };
                    if !journals.contains_key(&child) {
                        let what = format!("run {} started {}, which is not there", journal.run.run, child.run);
                        stage.ledger.broken(Promise::Acknowledged, what);
                    }
                }
                _ => {}
            }
        }
    }
}
