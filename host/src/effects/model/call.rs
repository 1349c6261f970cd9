//! One call of a model from the grant to the answer: tries, time and cost. What is sent and read is `stream`'s.

use reqwest::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use trackway_fair::Weights;
use trackway_replay::Failure;

use super::answer::Said;
use super::errors::Trouble;
use super::providers::{KeyState, Protocol, Provider, Providers, Reach};
use super::stream::{self, Broken, Sent};
use super::{anthropic, openai_chat, openai_responses};
use crate::effects::answer::{Try, with_tries};
use crate::effects::sockets::{Socket, Sockets};
use crate::effects::tries::{Standing, Verdict};
use crate::effects::{Clock, ModelAnswer, ModelCall, ModelUse};

/// Models for guests.
pub(in crate::effects) struct Models {
    clock: Arc<dyn Clock>,
    providers: Providers,
    /// Reaches public addresses only.
    guarded: Client,
    open: Client,
    /// Apart from those of other requests: calls last longer.
    sockets: Sockets,
}

impl Models {
    pub fn new(clock: Arc<dyn Clock>, providers: Providers, guarded: Client, open: Client) -> Models {
        Models { clock, providers, guarded, open, sockets: Sockets::new(Weights::default()) }
    }

    /// The same, whose tenants have such shares.
    pub fn sharing(&self, weights: Weights) -> Models {
        let Models { clock, providers, guarded, open, .. } = self;
        let (clock, providers) = (clock.clone(), providers.clone());
        let (guarded, open) = (guarded.clone(), open.clone());
        Models { clock, providers, guarded, open, sockets: Sockets::new(weights) }
    }

    #[cfg(test)]
    pub(in crate::effects) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    pub async fn ask(&self, call: &ModelCall) -> Result<ModelAnswer, Failure> {
        let provider = self.provider(call)?;
        let sent = sent(provider, call)?;
        // Standing in line is not the provider's time.
        let mut socket = Some(self.sockets.take(call.tenant).await);
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
                tried = self.attempt(provider, &sent, call, &mut socket, &tell) => tried,
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

    /// Holds its place while there is a socket, not while waiting for the next try.
    async fn attempt(
        &self,
        provider: &Provider,
        sent: &Sent,
        call: &ModelCall,
        socket: &mut Option<Socket>,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Said, Broken> {
        let _socket = match socket.take() {
            Some(socket) => socket,
            None => self.sockets.take(call.tenant).await,
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
