//! The world outside a toy run, and a naive model of what the run must get from it. What it does
//! depends only on its seed and on what the guest did and got, never on what is on record; so it
//! does the same to a run that goes on after a crash.

use trackway_replay::{
    Answered, AttemptFailed, AttemptStarted, CancelReceived, Completion, Digest, EffectAnswered, EffectAsked, EffectId,
    EffectRequest, Failure, Kind, MessageId, Outcome, Proof, StepId, Timestamp, Value, code,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub completion: Completion,
    pub time: Timestamp,
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
}

impl World {
    pub fn new(seed: u64, cancel_at: Option<u32>, clock: Timestamp) -> World {
        World { seed, draws: 0, points: 0, cancel_at, clock, scripts: Vec::new(), open: Vec::new(), queue: Vec::new() }
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

    pub fn forgotten(&mut self, id: u32) {
        self.scripts.retain(|(known, _)| *known != id);
        self.delivered(id);
    }

    pub fn delivered(&mut self, id: u32) {
        self.open.retain(|known| *known != id);
        self.queue.retain(|told| !matches!(told.completion, Completion::Answer { id: known, .. } if known == id));
    }

    pub fn cancel_delivered(&mut self) {
        self.queue.retain(|told| !matches!(told.completion, Completion::Cancel { .. }));
    }

    pub fn asked_to_cancel(&mut self, id: u32) -> Vec<(Timestamp, Kind)> {
        if !self.scripts.iter().any(|(known, _)| *known == id) {
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
        while !self.scripts.is_empty() && (wanted > 0 || (must && self.queue.is_empty())) {
            wanted = wanted.saturating_sub(1);
            let place = self.draw(self.scripts.len() as u64) as usize;
            let kind = self.scripts[place].1.remove(0);
            if self.scripts[place].1.is_empty() {
                self.scripts.remove(place);
            }
            happened.push(self.tell(kind));
        }
        happened
    }

    fn tell(&mut self, kind: Kind) -> (Timestamp, Kind) {
        self.clock = self.clock + std::time::Duration::from_micros(1 + self.draw(5_000));
        let completion = match &kind {
            Kind::Answered(answered) => {
                Some(Completion::Answer { id: answered.step.0, outcome: answered.outcome.clone() })
            }
            Kind::CancelReceived(cancel) => Some(Completion::Cancel { reason: cancel.reason.clone() }),
            _ => None,
        };
        self.queue.extend(completion.map(|completion| Told { completion, time: self.clock }));
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
