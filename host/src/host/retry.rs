//! A person's word on steps that wait for one. It says what is asked for before it is sent, and never
//! changes a journal itself.

use std::sync::Arc;
use trackway_replay::{EffectVerdict, Phase, RunId, RunState, StepId, StepRequest, Value, With};
use trackway_storage::InboxBody;

use super::deployments::current;
use super::{Host, journal};
use crate::{Code, Error, Result};

/// What a person asks for.
#[derive(Debug, Clone, Default)]
pub struct RetryRequest {
    /// Every step that waits for a person, if not said.
    pub step: Option<StepId>,
    /// The deployment whose current code makes the attempts from here on.
    pub with: Option<String>,
    /// What is to be done about effects of which nobody knows whether they were carried out.
    pub verdict: Option<EffectVerdict>,
}

impl Host {
    /// Asks for the next attempt of steps that wait for a person, or for their retry. Durable when it
    /// answers; gives the steps. With the same `key` as [`Host::cancel`].
    pub async fn retry(&self, run: RunId, request: RetryRequest, key: Option<&str>) -> Result<Vec<StepId>> {
        let head = self.head(run).await?;
        if head.status.has_ended() {
            return Err(Error::new(Code::RunEnded, format!("run {run} has ended: it is {}", head.status.name())));
        }
        let state = journal::fold(&*self.storage, self.key_of(run), |_| ()).await?;
        let steps = wanted(&state, run, request.step)?;
        if let Some(EffectVerdict::Answer(Value::Inline(answer))) = &request.verdict
            && answer.len() > Value::EFFECT_INLINE_MAX_BYTES
        {
            let why = format!("an answer that is given by hand is at most {} bytes", Value::EFFECT_INLINE_MAX_BYTES);
            return Err(Error::new(Code::BadRequest, why));
        }
        let with = match &request.with {
            Some(name) => Some(self.code_for(name, &state, &steps).await?),
            None => None,
        };
        for step in &steps {
            let body = InboxBody::Retry { step: *step, with: with.clone(), verdict: request.verdict.clone() };
            self.tell(run, &format!("retry {step}"), body, key).await?;
        }
        Ok(steps)
    }

    /// The current code of a deployment, if it has the functions of the steps.
    async fn code_for(&self, deployment: &str, state: &RunState, steps: &[StepId]) -> Result<With> {
        let deployment = self.deployment(deployment).await?;
        let component = current(&deployment)?.component;
        let functions = self.functions_of(component).await?;
        for step in steps.iter().filter_map(|step| state.step(*step)) {
            if let StepRequest::Call { function, .. } = &step.request
                && !functions.iter().any(|known| **known == **function)
            {
                let why = format!("deployment `{}` has no function `{function}`", deployment.name);
                return Err(Error::new(Code::BadRequest, why).hint("deploy code that has it, under its name"));
            }
        }
        Ok(With { deployment: deployment.name, component })
    }

    async fn functions_of(&self, component: trackway_replay::Digest) -> Result<Vec<Arc<str>>> {
        let record = self.component(component).await?;
        let manifest = crate::sandbox::Manifest::read(&record.manifest)?;
        Ok(manifest.functions.into_iter().map(|function| function.name).collect())
    }
}

/// The steps that are meant and can be tried again.
fn wanted(state: &RunState, run: RunId, step: Option<StepId>) -> Result<Vec<StepId>> {
    let parked = || state.steps().iter().filter(|(_, step)| matches!(step.phase, Phase::Parked(_))).map(|(id, _)| *id);
    let nothing = |why: String| {
        let ids: Vec<String> = parked().map(|step| step.to_string()).collect();
        let hint = match ids.is_empty() {
            true => "no step of the run waits for a person".to_owned(),
            false => format!("steps that wait for a person: {}", ids.join(", ")),
        };
        Err(Error::new(Code::NothingToRetry, why).hint(hint))
    };
    match step {
        None if parked().next().is_none() => nothing(format!("run {run} has nothing to try again")),
        None => Ok(parked().collect()),
        Some(step) => match state.step(step).map(|state| &state.phase) {
            Some(Phase::Parked(_) | Phase::Retrying { .. }) => Ok(vec![step]),
            Some(
                Phase::Sleeping { .. }
                | Phase::Waiting
                | Phase::Attempting(_)
                | Phase::Child { .. }
                | Phase::Receiving
                | Phase::Asking { .. }
                | Phase::Promised { .. }
                | Phase::Entity
                | Phase::Accepting,
            ) => nothing(format!("step {step} of run {run} is neither parked nor between two attempts")),
            None => nothing(format!("run {run} has no open step {step}")),
        },
    }
}
