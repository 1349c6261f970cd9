//! The world outside a toy run, and a naive model of what the run must get from it. What it does
//! depends only on its seed and on what the guest did and got, never on what is on record; so it
//! does the same to a run that goes on after a crash.

use std::collections::BTreeMap;

use trackway_replay::{
    Answered, AttemptFailed, AttemptStarted, CancelReceived, Completion, Digest, EffectAnswered, EffectAsked, EffectId,
    EffectRequest, Failure, Kind, MessageId, Outcome, Proof, Signalled, StepId, Timestamp, UpdateReceived, Value, code,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub what: What,
    pub time: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Completion(Completion),
    /// `update`: it waits for an answer under this.
    Mail {
        name: String,
        payload: Value,
        update: Option<MessageId>,
    },
}

pub struct World {
    seed: u64,
    draws: u64,
    points: u32,
    cancel_at: Option<u32>,
    pub clock: Timestamp,
    /// What is left to happen for each operation that the world works on.
    scripts: Vec<(u32, Vec<Kind>)>,
    /// From the guest's side: asked for, neither delivered nor forgotten.
    pub open: Vec<u32>,
    /// Told and not delivered, in order.
    pub queue: Vec<Told>,
    /// Of those that are open: what each waits for, unless it was asked to cancel.
    receives: BTreeMap<u32, String>,
    signals: u64,
    /// Updates that were delivered and not answered, by the id that took each.
    pub unanswered: BTreeMap<u32, MessageId>,
}

impl World {
    pub fn new(seed: u64, cancel_at: Option<u32>, clock: Timestamp) -> World {
        let (scripts, open, queue, receives) = (Vec::new(), Vec::new(), Vec::new(), BTreeMap::new());
        let unanswered = BTreeMap::new();
        World { seed, draws: 0, points: 0, cancel_at, clock, scripts, open, queue, receives, signals: 0, unanswered }
    }

    pub fn called(&mut self, id: u32, function: &str) {
        let step = StepId(id);
        let attempts = 1 + self.draw(3) as u32;
        let mut script = Vec::new();
        for attempt in 1..=attempts {
            script.push(Kind::AttemptStarted(AttemptStarted { step, attempt }));
            for effect in 1..=self.draw(3) as u32 {
                script.extend(effect_of(step, attempt, EffectId(effect)));
            }
            if attempt < attempts {
                let failure = Failure::new(code::HTTP_CONNECT, "refused").to_value();
                script.push(Kind::Failed(AttemptFailed { step, attempt, failure, next_at: self.clock }));
            }
        }
        let value = Value::inline(format!("[\"{function}\",{}]", self.draw(1_000)));
        let outcome = if self.draw(4) == 0 { Outcome::Failed(value) } else { Outcome::Succeeded(value) };
        script.push(Kind::Answered(Answered { step, outcome }));
        self.scripts.push((id, script));
        self.open.push(id);
    }

    pub fn slept(&mut self, id: u32) {
        let answer = Answered { step: StepId(id), outcome: Outcome::Succeeded(Value::null()) };
        self.scripts.push((id, vec![Kind::Answered(answer)]));
        self.open.push(id);
    }

    pub fn received(&mut self, id: u32, name: &str) {
        self.receives.insert(id, name.to_owned());
        self.open.push(id);
    }

    /// The earliest that can be delivered, and what the guest gets of it.
    pub fn first(&self) -> Option<(usize, Completion)> {
        self.queue.iter().enumerate().find_map(|(place, told)| match &told.what {
            What::Completion(completion) => Some((place, completion.clone())),
            What::Mail { name, payload, .. } => {
                let (id, _) = self.receives.iter().find(|(_, wanted)| *wanted == name)?;
                Some((place, Completion::Answer { id: *id, outcome: Outcome::Succeeded(payload.clone()) }))
            }
        })
    }

    /// How many ids wait for a signal or an update that was not told yet.
    pub fn receives_unmet(&self) -> usize {
        let mut unmet: Vec<&String> = self.receives.values().collect();
        for told in &self.queue {
            if let What::Mail { name, .. } = &told.what
                && let Some(place) = unmet.iter().position(|wanted| *wanted == name)
            {
                unmet.remove(place);
            }
        }
        unmet.len()
    }

    pub fn forgotten(&mut self, id: u32) {
        self.scripts.retain(|(known, _)| *known != id);
        self.delivered(id);
    }

    pub fn delivered(&mut self, id: u32) {
        self.open.retain(|known| *known != id);
        self.receives.remove(&id);
        let is_its =
            |told: &Told| matches!(told.what, What::Completion(Completion::Answer { id: known, .. }) if known == id);
        self.queue.retain(|told| !is_its(told));
    }

    pub fn cancel_delivered(&mut self) {
        self.queue.retain(|told| !matches!(told.what, What::Completion(Completion::Cancel { .. })));
    }

    pub fn asked_to_cancel(&mut self, id: u32) -> Vec<(Timestamp, Kind)> {
        if self.receives.remove(&id).is_none() && !self.scripts.iter().any(|(known, _)| *known == id) {
            return Vec::new();
        }
        self.scripts.retain(|(known, _)| *known != id);
        let outcome = Outcome::Failed(Failure::permanent(code::CANCELLED, "by the workflow").to_value());
        vec![self.tell(Kind::Answered(Answered { step: StepId(id), outcome }))]
    }

    /// What happens at the next moment that the guest can tell from others. Where it `must`, at
    /// least so much that the guest gets something.
    pub fn goes_on(&mut self, must: bool) -> Vec<(Timestamp, Kind)> {
        self.points += 1;
        let mut happened = Vec::new();
        if self.cancel_at == Some(self.points) {
            let cancel = CancelReceived { message: MessageId(u128::from(self.seed)), reason: "enough".into() };
            happened.push(self.tell(Kind::CancelReceived(cancel)));
        }
        let mut wanted = self.draw(4);
        if self.draw(6) == 0 {
            let name = format!("{}{}", ["s", "u"][self.draw(2) as usize], self.draw(3));
            happened.push(self.send(&name));
        }
        while wanted > 0 || (must && self.first().is_none()) {
            wanted = wanted.saturating_sub(1);
            if self.scripts.is_empty() {
                let Some(name) = self.receives.values().next().cloned().filter(|_| must && self.first().is_none())
                else {
                    break;
                };
                happened.push(self.send(&name));
                break;
            }
            let place = self.draw(self.scripts.len() as u64) as usize;
            let kind = self.scripts[place].1.remove(0);
            if self.scripts[place].1.is_empty() {
                self.scripts.remove(place);
            }
            happened.push(self.tell(kind));
        }
        happened
    }

    /// A signal, or an update where the name begins with `u`.
    fn send(&mut self, name: &str) -> (Timestamp, Kind) {
        self.signals += 1;
        let message = MessageId(u128::from(self.signals) << 64);
        let payload = Value::inline(self.signals.to_string());
        if name.starts_with('u') {
            return self.tell(Kind::UpdateReceived(UpdateReceived { message, name: name.into(), payload }));
        }
        self.tell(Kind::Signalled(Signalled { message, name: name.into(), payload, from: None }))
    }

    fn tell(&mut self, kind: Kind) -> (Timestamp, Kind) {
        self.clock = self.clock + std::time::Duration::from_micros(1 + self.draw(5_000));
        let what = match &kind {
            Kind::Answered(answered) => {
                Some(What::Completion(Completion::Answer { id: answered.step.0, outcome: answered.outcome.clone() }))
            }
            Kind::CancelReceived(cancel) => {
                Some(What::Completion(Completion::Cancel { reason: cancel.reason.clone() }))
            }
            Kind::Signalled(signalled) => {
                let (name, payload) = (signalled.name.to_string(), signalled.payload.clone());
                Some(What::Mail { name, payload, update: None })
            }
            Kind::UpdateReceived(update) => {
                let (name, payload) = (update.name.to_string(), update.payload.clone());
                Some(What::Mail { name, payload, update: Some(update.message) })
            }
            _ => None,
        };
        self.queue.extend(what.map(|what| Told { what, time: self.clock }));
        (self.clock, kind)
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.draws += 1;
        let digest = Digest::of_parts(&[&self.seed.to_le_bytes(), &self.draws.to_le_bytes()]);
        let bytes = digest.0.first_chunk::<8>().expect("a digest has 32 bytes");
        u64::from_le_bytes(*bytes) % below
    }
}

fn effect_of(step: StepId, attempt: u32, effect: EffectId) -> [Kind; 2] {
    let request = EffectRequest::Http { request: Value::inline("{\"url\":\"http://a\"}"), options: "".into() };
    let proof = Proof { digest: Digest::of(b"http"), deliveries: effect.0 - 1, fuel: 7 };
    let asked = EffectAsked { step, attempt, effect, request, proof, now: Timestamp(0), key: None, at: None };
    let outcome = Outcome::Succeeded(Value::inline("{\"status\":200}"));
    [Kind::EffectAsked(asked), Kind::EffectAnswered(EffectAnswered { step, attempt, effect, outcome })]
}
