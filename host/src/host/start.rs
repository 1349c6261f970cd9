//! Starting a run: which workflow is meant, whether its input fits, whether it was started before.
//! It never answers before the run is durable.

use std::sync::Arc;
use trackway_replay::{Digest, RunId, StepId};

use super::deployments::{current, join};
use super::{Host, catalog, checked_key, journal};
use crate::sandbox::{CANCEL_GRACE_MS_MAX, RUN_TIMEOUT_MS_MAX};
use crate::worker::{Start, StartAnswer, StartKeyRequest, digest_of_start};
use crate::{Code, Error, Result};

/// A request to start a run.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// `DEPLOYMENT/WORKFLOW`, or `WORKFLOW` where only one deployment has it.
    pub workflow: String,
    /// JSON text. The workflow gets exactly these bytes; `null` where none was given.
    pub input: Option<Arc<str>>,
    pub idempotency_key: Option<String>,
    /// The host ends the run after so many milliseconds; as the workflow says if absent.
    pub run_timeout_ms: Option<u64>,
    /// How long the run has after a cancel; as the workflow says if absent.
    pub cancel_grace_ms: Option<u64>,
}

/// The version of a deployment that a new run is pinned to.
struct Target {
    deployment: Arc<str>,
    component: Digest,
    workflow: Arc<str>,
    catalog: Arc<catalog::Catalog>,
}

impl Host {
    /// Starts a run and answers when it is durable. The same key with the same request answers the
    /// run that it started, whatever has been deployed since.
    pub async fn start(&self, request: StartRequest) -> Result<StartAnswer> {
        self.refuse_if_stopping()?;
        if request.run_timeout_ms.is_some_and(|timeout_ms| !(1..=RUN_TIMEOUT_MS_MAX).contains(&timeout_ms)) {
            let why = format!("a run's timeout is 1 to {RUN_TIMEOUT_MS_MAX} ms");
            return Err(Error::new(Code::BadRequest, why));
        }
        if request.cancel_grace_ms.is_some_and(|grace_ms| !(1..=CANCEL_GRACE_MS_MAX).contains(&grace_ms)) {
            let why = format!("a cancelled run gets 1 to {CANCEL_GRACE_MS_MAX} ms to end");
            return Err(Error::new(Code::BadRequest, why));
        }
        let is_given = request.input.is_some();
        let input = request.input.unwrap_or_else(|| Arc::from("null"));
        let key = match &request.idempotency_key {
            Some(key) => {
                let (timeout_ms, grace_ms) = (request.run_timeout_ms, request.cancel_grace_ms);
                let digest = digest_of_start(&request.workflow, &input, timeout_ms, grace_ms);
                let key = StartKeyRequest { key: Arc::from(checked_key(key)?), request: digest };
                if let Some(answer) = self.started_before(&key).await? {
                    return Ok(answer);
                }
                Some(key)
            }
            None => None,
        };
        // Nobody removes what it starts on until it stands.
        let _pointing = self.pointing.of(self.tenant).read_owned().await;
        let target = self.resolve(&request.workflow).await?;
        let checked = catalog::check_input(&target.catalog, &target.workflow, &input, self.sandbox.program()).await;
        if !is_given && checked.is_err() {
            return Err(target.catalog.wants_input(&target.workflow));
        }
        checked?;
        let start = Start {
            workflow: target.workflow,
            deployment: target.deployment,
            component: target.component,
            input,
            key,
            timeout_ms: request.run_timeout_ms,
            cancel_grace_ms: request.cancel_grace_ms,
        };
        self.worker.start(self.tenant, start).await
    }

    /// Starts a run anew. Without a step: with the same input, on what the deployment points to now.
    /// With one: a run on the same code that keeps what stood before the step was asked for.
    pub async fn restart(&self, run: RunId, from_step: Option<StepId>, key: Option<String>) -> Result<StartAnswer> {
        self.refuse_if_stopping()?;
        let Some(step) = from_step else {
            let head = self.head(run).await?;
            let workflow = format!("{}/{}", head.deployment, head.workflow);
            let input = journal::input(&*self.storage, self.key_of(run)).await?;
            // What it was given, whoever gave it.
            let journal::Given { run_timeout_ms, cancel_grace_ms } =
                journal::given(&*self.storage, self.key_of(run)).await?;
            let request = StartRequest { workflow, input, idempotency_key: key, run_timeout_ms, cancel_grace_ms };
            return self.start(request).await;
        };
        self.head(run).await?;
        let key = match &key {
            Some(key) => {
                let request = Digest::of_parts(&[b"restart", &run.0.to_be_bytes(), &step.0.to_be_bytes()]);
                Some(StartKeyRequest { key: Arc::from(checked_key(key)?), request })
            }
            None => None,
        };
        self.worker.fork(self.key_of(run), step, key).await
    }

    async fn started_before(&self, key: &StartKeyRequest) -> Result<Option<StartAnswer>> {
        match self.storage.start_key(self.tenant, &key.key).await? {
            Some(known) if known.request == key.request => Ok(Some(StartAnswer { run: known.run, existing: true })),
            Some(known) => {
                let why = format!("the idempotency key `{}` started run {} with another request", key.key, known.run);
                Err(Error::new(Code::KeyConflict, why).hint("use a new key for a new request"))
            }
            None => Ok(None),
        }
    }

    async fn resolve(&self, reference: &str) -> Result<Target> {
        match reference.split_once('/') {
            Some((deployment, workflow)) => self.resolve_in(deployment, workflow).await,
            None => self.resolve_bare(reference).await,
        }
    }

    async fn resolve_in(&self, deployment: &str, workflow: &str) -> Result<Target> {
        let deployment = self.deployment(deployment).await?;
        let component = current(&deployment)?.component;
        let catalog = self.catalog(component).await?;
        if !catalog.has(workflow) {
            let why = format!("deployment `{}` has no workflow `{workflow}`", deployment.name);
            let hint = match join(catalog.names()) {
                none if none.is_empty() => "it has no workflows at all".to_owned(),
                names => format!("it has: {names}"),
            };
            return Err(Error::new(Code::NoSuchWorkflow, why).hint(hint));
        }
        Ok(Target { deployment: deployment.name, component, workflow: Arc::from(workflow), catalog })
    }

    async fn resolve_bare(&self, workflow: &str) -> Result<Target> {
        let mut found = Vec::new();
        let mut others = Vec::new();
        for deployment in self.deployments().await? {
            let component = current(&deployment)?.component;
            let catalog = self.catalog(component).await?;
            if catalog.has(workflow) {
                found.push(Target { deployment: deployment.name, component, workflow: Arc::from(workflow), catalog });
            } else {
                others.extend(catalog.names().map(|name| format!("{}/{name}", deployment.name)));
            }
        }
        if found.len() > 1 {
            let why = format!("{} deployments have a workflow `{workflow}`", found.len());
            let names = join(found.iter().map(|target| format!("{}/{workflow}", target.deployment)));
            return Err(Error::new(Code::AmbiguousWorkflow, why).hint(format!("say which one: {names}")));
        }
        found.pop().ok_or_else(|| {
            let error = Error::new(Code::NoSuchWorkflow, format!("no deployment has a workflow `{workflow}`"));
            match others.is_empty() {
                true => error.hint("nothing is deployed yet"),
                false => error.hint(format!("there are: {}", join(others))),
            }
        })
    }
}
