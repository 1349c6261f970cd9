//! From what the host knows to what goes over the wire. Pure translation; JSON of guests is
//! embedded as it is.

mod entry;

pub use entry::{entry, message};

use serde_json::value::RawValue;
use trackway_replay::{Digest, Head, Status};
use trackway_storage::{ComponentRecord, Deployment, LogKey, LogLine};

use super::model;
use super::problem::{Answer, Refusal};
use crate::Code;
use crate::host::{self, Allowed, Host, RunDetail, RunEnd, ways_on};
use crate::worker::{EndCheck, ReplayReport};

/// Text as JSON: as it is where it is JSON, else as a string, so that an answer is always valid.
pub fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned())
        .or_else(|_| serde_json::value::to_raw_value(text))
        .expect("a string can always be written as JSON")
}

pub fn component(record: &ComponentRecord) -> model::Component {
    model::Component {
        digest: record.digest,
        size_bytes: record.size_bytes,
        uploaded_at: record.uploaded.into(),
        pure: record.pure,
        manifest: raw(&record.manifest),
    }
}

pub async fn deployment(host: &Host, deployment: &Deployment) -> crate::Result<model::Deployment> {
    let mut versions = Vec::with_capacity(deployment.versions.len());
    for version in &deployment.versions {
        let Allowed { hosts, models, secrets, mcp } = Allowed::of(&version.allow);
        versions.push(model::Version {
            version: version.version,
            component: version.component,
            deployed_at: version.deployed.into(),
            allow_hosts: hosts,
            allow_models: models,
            allow_secrets: secrets,
            allow_mcp: mcp,
            workflows: host.workflows_of(version.component).await,
        });
    }
    let proposed = host.proposals(&deployment.name).await?.into_iter().map(Into::into).collect();
    Ok(model::Deployment {
        name: deployment.name.to_string(),
        revision: deployment.revision,
        current: deployment.current,
        versions,
        proposed,
        waits: None,
    })
}

pub fn run(head: &Head) -> model::Run {
    model::Run {
        id: head.run,
        workflow: head.workflow.to_string(),
        deployment: head.deployment.to_string(),
        component: head.component,
        status: head.status,
        waiting: head.waiting,
        due_at: head.due.map(Into::into),
        started_at: head.started.into(),
        changed_at: head.changed.into(),
        finished_at: head.finished.map(Into::into),
        steps: head.steps,
        spending: (!head.spending.is_nothing()).then(|| head.spending.into()),
        code: head.code.as_deref().map(str::to_owned),
        message: head.message.as_deref().map(str::to_owned),
        input: None,
        output: None,
        failure: None,
        reason: None,
        parent: None,
        next: ways_on(head),
    }
}

pub fn detail(detail: &RunDetail) -> model::Run {
    let mut run = run(&detail.head);
    run.input = detail.input.as_deref().map(raw);
    run.parent = detail.parent.as_ref().map(|of| model::Parent { run: of.parent, step: of.step.0 });
    match &detail.end {
        Some(RunEnd::Succeeded(output)) => run.output = Some(raw(output)),
        Some(RunEnd::Failed(failure)) => run.failure = Some(raw(failure)),
        Some(RunEnd::Cancelled(reason)) => run.reason = Some(reason.to_string()),
        None => {}
    }
    run
}

const STATUSES: [Status; 9] = [
    Status::Queued,
    Status::Running,
    Status::Sleeping,
    Status::Waiting,
    Status::Stuck,
    Status::Succeeded,
    Status::Failed,
    Status::Cancelled,
    Status::Paused,
];

pub fn statuses(text: &str) -> Answer<Vec<Status>> {
    let status = |name: &str| STATUSES.into_iter().find(|status| status.name() == name);
    let named = text.split(',').map(|name| {
        status(name.trim()).ok_or_else(|| {
            let known = STATUSES.map(Status::name).join(", ");
            Refusal::new(Code::BadRequest, format!("`{name}` is no status")).hint(format!("there are: {known}"))
        })
    });
    named.collect()
}

pub fn log_line(line: &LogLine) -> model::LogLine {
    let LogKey { step, attempt, effect, line: number } = line.key;
    model::LogLine {
        id: format!("{step}.{attempt}.{effect}.{number}"),
        time: line.time.into(),
        level: line.level.to_string(),
        message: line.message.to_string(),
        fields: Some(&*line.fields).filter(|fields| !fields.is_empty()).map(raw),
        // An attempt has a number from 1 on; a line of the workflow itself has none.
        step: (attempt > 0).then_some(step),
        attempt: (attempt > 0).then_some(attempt),
    }
}

pub fn log_key(id: &str) -> Option<LogKey> {
    let mut numbers = id.split('.').map(|number| number.parse().ok());
    let mut number = || numbers.next().flatten();
    let key = LogKey { step: number()?, attempt: number()?, effect: number()?, line: number()? };
    numbers.next().is_none().then_some(key)
}

pub fn store_report(report: host::StoreReport) -> model::StoreReport {
    let flaw = |flaw: host::Flaw| model::Flaw {
        run: flaw.run,
        position: flaw.position.map(|position| position.0),
        what: flaw.what,
        advice: flaw.advice.to_owned(),
    };
    model::StoreReport {
        runs: report.runs,
        entries: report.entries,
        payloads: report.payloads,
        components: report.components,
        sealed: report.sealed,
        unsealed: report.unsealed,
        flaws: report.flaws.into_iter().map(flaw).collect(),
        more: report.more,
    }
}

pub fn replay(head: &Head, with: Option<Digest>, report: ReplayReport) -> model::ReplayReport {
    let same_end = match report.end {
        EndCheck::Identical | EndCheck::EndedByHost | EndCheck::NotEnded => true,
        EndCheck::Diverged => false,
    };
    model::ReplayReport {
        run: head.run,
        component: with.unwrap_or(head.component),
        identical: same_end && report.divergence.is_none(),
        commands_with_fuel: report.compared.with_fuel,
        commands_without_fuel: report.compared.without_fuel,
        deliveries: report.compared.deliveries,
        end: end_name(report.end).to_owned(),
        divergence: report.divergence.map(|divergence| model::Divergence {
            step: divergence.id,
            commands: divergence.commands,
            recorded: divergence.recorded,
            produced: divergence.produced,
            recorded_at: divergence.recorded_at,
            produced_at: divergence.produced_at,
            recorded_digest: divergence.recorded_digest,
            produced_digest: divergence.produced_digest,
        }),
    }
}

fn end_name(end: EndCheck) -> &'static str {
    match end {
        EndCheck::Identical => "identical",
        EndCheck::EndedByHost => "ended_by_host",
        EndCheck::NotEnded => "not_ended",
        EndCheck::Diverged => "diverged",
    }
}
