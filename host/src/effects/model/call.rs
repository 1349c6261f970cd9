//! One call of a model from the grant to the answer: tries, time and cost. What is sent and read is `stream`'s.

use reqwest::Client;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trackway_replay::{Failure, TenantId};

use super::answer::Said;
use super::errors::Trouble;
use super::providers::{KeyState, Protocol, Provider, Providers, Reach};
use super::stream::{self, Broken, Sent};
use super::{anthropic, openai_chat, openai_responses};
use crate::effects::answer::{Try, with_tries};
use crate::effects::tries::{Standing, Verdict};
use crate::effects::{Clock, ModelAnswer, ModelCall, ModelUse};

/// Calls of one tenant at a time: they last longer than other requests, and hold a socket as these do.
const CALLS_PER_TENANT_MAX: usize = 256;

/// Models for guests.
pub(in crate::effects) struct Models {
    clock: Arc<dyn Clock>,
    providers: Providers,
    /// Reaches public addresses only.
    guarded: Client,
    open: Client,
    tenants: Mutex<BTreeMap<TenantId, Arc<Semaphore>>>,
}

impl Models {
    pub fn new(clock: Arc<dyn Clock>, providers: Providers, guarded: Client, open: Client) -> Models {
        Models { clock, providers, guarded, open, tenants: Mutex::default() }
    }

    pub async fn ask(&self, call: &ModelCall) -> Result<ModelAnswer, Failure> {
        let provider = self.provider(call)?;
        let sent = sent(provider, call)?;
        // Standing in line is not the provider's time.
        let mut permit = Some(self.permit(call.tenant).await);
        let started = self.clock.now();
        let deadline = started + call.request.timeout;
        // Of the time for which it is held: nobody sets that back.
        let mut timeout = self.clock.wait(call.request.timeout);
        let mut tries = Vec::new();
        loop {
            // What was passed on cannot be taken back, so it is not said a second time.
            let has_told = AtomicBool::new(false);
            let tell = |piece: &str| {
                if let Some(told) = &call.told {
                    has_told.store(true, Ordering::Relaxed);
                    told(piece);
                }
            };
            let tried = tokio::select! {
                biased;
                tried = self.attempt(provider, &sent, call, &mut permit, &tell) => tried,
                () = &mut timeout => return Err(with_tries(timed_out(call), &tries)),
            };
            let broken = match tried {
                Ok(said) => return self.answer(provider, call, &said, &tries),
                Err(broken) => broken,
            };
            let now = self.clock.now();
            let standing = Standing {
                started,
                now,
                deadline,
                tries: tries.len() + 1,
                repeatable: broken.failure.retryable && !has_told.load(Ordering::Relaxed),
            };
            match standing.again_after(broken.wait.unwrap_or_default()) {
                Verdict::Finish => return Err(with_tries(broken.failure, &tries)),
                Verdict::AgainAt(at) => {
                    tries.push(match broken.status {
                        Some(status) => Try::Status(status),
                        None => Try::Error(broken.failure.to_string()),
                    });
                    // It ends before the deadline.
                    self.clock.wait(at.since(now)).await;
                }
            }
        }
    }

    /// Refuses what the deployment was not granted, and what cannot be asked.
    fn provider(&self, call: &ModelCall) -> Result<&Provider, Failure> {
        let name = call.request.model();
        if !call.allow.allows_model(name) {
            let why = format!(
                "`{name}` is not granted to this deployment; allow it with `trackway deploy --allow-model {name}`"
            );
            return Err(Trouble::Unknown.failure(why));
        }
        call.request
            .messages
            .iter()
            .flat_map(|message| &message.images)
            .try_for_each(|image| image.gate(&call.allow))?;
        let Some(provider) = self.providers.get(&name.provider) else {
            let known: Vec<&str> = self.providers.names().collect();
            let why = format!(
                "no provider `{0}` is set up; name it in a table `[providers.{0}]`, or use one of: {1}",
                name.provider,
                known.join(", ")
            );
            return Err(Trouble::Unknown.failure(why));
        };
        match &provider.key {
            KeyState::Missing { variable } => {
                let why =
                    format!("the host has no key for `{}`: start it with {variable} in its environment", provider.name);
                Err(Trouble::Auth.failure(why))
            }
            KeyState::NotNeeded | KeyState::There(_) => Ok(provider),
        }
    }

    /// Holds a permit while there is a socket, not while waiting for the next try.
    async fn attempt(
        &self,
        provider: &Provider,
        sent: &Sent,
        call: &ModelCall,
        permit: &mut Option<OwnedSemaphorePermit>,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Said, Broken> {
        let _permit = match permit.take() {
            Some(permit) => permit,
            None => self.permit(call.tenant).await,
        };
        let client = match provider.reach {
            Reach::Public => &self.guarded,
            Reach::Anywhere => &self.open,
        };
        stream::ask(client, provider, sent, &*self.clock, tell).await
    }

    fn answer(
        &self,
        provider: &Provider,
        call: &ModelCall,
        said: &Said,
        tries: &[Try],
    ) -> Result<ModelAnswer, Failure> {
        let asked = &*call.request.model().model;
        let answered = if said.model.is_empty() { asked } else { &said.model };
        let price = provider.price(answered, asked);
        let cost = || Some(price?.cost(said.usage.as_ref()?));
        let used = ModelUse {
            provider: provider.name.as_str().into(),
            model: answered.into(),
            finish: said.finish,
            usage: said.usage.unwrap_or_default(),
            cost_nanousd: said.cost_nanousd.or_else(cost),
        };
        let body = said.to_json(&used, price, tries).map_err(|failure| with_tries(failure, tries))?;
        Ok(ModelAnswer { body, used })
    }

    async fn permit(&self, tenant: TenantId) -> OwnedSemaphorePermit {
        let semaphore = {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            tenants.entry(tenant).or_insert_with(|| Arc::new(Semaphore::new(CALLS_PER_TENANT_MAX))).clone()
        };
        semaphore.acquire_owned().await.expect("the semaphore is never closed")
    }
}

/// In the words of the provider's protocol.
fn sent(provider: &Provider, call: &ModelCall) -> Result<Sent, Failure> {
    let request = &call.request;
    let (path, body) = match provider.protocol {
        Protocol::OpenAiChat => (openai_chat::PATH, openai_chat::body(request, provider.dialect)),
        Protocol::OpenAiResponses => (openai_responses::PATH, openai_responses::body(request)?),
        Protocol::Anthropic => (anthropic::PATH, anthropic::body(request)),
    };
    Ok(Sent { url: provider.address(path), body: body.into(), key: call.key.clone() })
}

fn timed_out(call: &ModelCall) -> Failure {
    let name = call.request.model();
    let millis = call.request.timeout.as_millis();
    Trouble::Timeout.failure(format!("`{name}` gave no complete answer within {millis} ms"))
}
