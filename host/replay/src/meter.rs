//! What a run uses, counted from its journal: the same entries give the same numbers, live and long after. What is done
//! again to recall a run is nobody's: only what is on record counts, and once.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::{
    EffectAnswered, EffectAsked, EffectRequest, Entry, Fingerprint, Kind, Outcome, Proof, StepId, Timestamp, Value,
};

/// A day in UTC, counted from 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Day(pub u32);

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

impl Day {
    pub fn of(time: Timestamp) -> Day {
        Day(u32::try_from(time.0 / 1_000 / DAY_MS).unwrap_or(u32::MAX))
    }

    /// Its first moment.
    pub fn begin(self) -> Timestamp {
        Timestamp::from_millis(u64::from(self.0) * DAY_MS)
    }

    pub fn next(self) -> Day {
        Day(self.0.saturating_add(1))
    }
}

macro_rules! used {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// How much of each thing was used.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Used { $($(#[doc = $doc])* pub $name: u64,)* }

        impl Used {
            pub fn add(&mut self, more: &Used) {
                $(self.$name = self.$name.saturating_add(more.$name);)*
            }

            /// What is left of it without `less`.
            pub fn without(&self, less: &Used) -> Used {
                Used { $($name: self.$name.saturating_sub(less.$name),)* }
            }

            fn numbers(&self) -> Vec<u64> {
                vec![$(self.$name,)*]
            }

            fn of_numbers(numbers: &[u64]) -> Used {
                let mut numbers = numbers.iter().copied();
                // In the order in which they are written; a shorter list is of an older version.
                Used { $($name: numbers.next().unwrap_or(0),)* }
            }
        }
    };
}

// On disk: one more is added at the end.
used! {
    /// Of guests, between what is on record of them.
    fuel,
    runs_started,
    runs_ended,
    /// Asked for by workflows.
    steps,
    /// Begun by functions.
    attempts,
    /// Of frames, as they lie in the store.
    journal_bytes,
    /// The same of frames that were removed.
    journal_bytes_removed,
    /// Of values beside the journal.
    payload_bytes,
    payload_bytes_removed,
    /// Of lines.
    log_bytes,
    /// Calls of HTTP and of models.
    egress_requests,
    /// Of requests and answers, as they stand in the journal.
    egress_bytes,
    /// Of models, in and out.
    model_tokens,
    /// As far as the price is known.
    model_cost_nanousd,
}

impl Used {
    pub fn is_nothing(&self) -> bool {
        *self == Used::default()
    }

    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(&self.numbers(), Vec::new()).expect("numbers are nothing that postcard refuses")
    }

    /// `None`: nobody wrote that.
    pub fn decode(bytes: &[u8]) -> Option<Used> {
        postcard::from_bytes::<Vec<u64>>(bytes).ok().map(|numbers| Used::of_numbers(&numbers))
    }

    /// Journals that lie in the store.
    pub fn journal_bytes_stored(&self) -> u64 {
        self.journal_bytes.saturating_sub(self.journal_bytes_removed)
    }

    pub fn payload_bytes_stored(&self) -> u64 {
        self.payload_bytes.saturating_sub(self.payload_bytes_removed)
    }

    /// Runs that have not ended.
    pub fn runs_open(&self) -> u64 {
        self.runs_started.saturating_sub(self.runs_ended)
    }
}

/// Where a guest is since its last delivery.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    deliveries: u32,
    fuel: u64,
}

impl Turn {
    /// What it used that was not counted yet.
    fn more(&mut self, deliveries: u32, fuel: u64) -> u64 {
        let before = if deliveries == self.deliveries { self.fuel } else { 0 };
        *self = Turn { deliveries, fuel: fuel.max(before) };
        fuel.saturating_sub(before)
    }
}

/// Counts the entries of one run, in their order.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    workflow: Turn,
    attempts: BTreeMap<(StepId, u32), Turn>,
    /// Entries to come that were copied from another run, which used what they tell of.
    copies: u64,
}

impl Meter {
    /// What the entry adds, but for the bytes of its frame.
    pub fn count(&mut self, entry: &Entry) -> Used {
        let payload_bytes = entry.kind.value().map_or(0, Value::stored_bytes);
        let used = Used { payload_bytes, ..self.count_kind(&entry.kind) };
        // Its deadline stands between what says that it is a fork and what it copies.
        if self.copies > 0 && !matches!(entry.kind, Kind::DeadlineSet(_)) {
            self.copies -= 1;
            return Used { payload_bytes, ..Used::default() };
        }
        if let Kind::Forked(forked) = &entry.kind {
            self.copies = forked.entries;
        }
        used
    }

    fn count_kind(&mut self, kind: &Kind) -> Used {
        let nothing = Used::default();
        match kind {
            Kind::Started(_) => Used { runs_started: 1, ..nothing },
            Kind::Asked(asked) => Used { steps: 1, fuel: self.workflow_fuel(&asked.proof), ..nothing },
            Kind::Forgotten(it) => Used { fuel: self.workflow_fuel(&it.proof), ..nothing },
            Kind::StepCancelAsked(it) => Used { fuel: self.workflow_fuel(&it.proof), ..nothing },
            Kind::Patched(it) => Used { fuel: self.workflow_fuel(&it.proof), ..nothing },
            Kind::Published(it) => Used { fuel: self.workflow_fuel(&it.proof), ..nothing },
            Kind::Replied(it) => Used { fuel: self.workflow_fuel(&it.proof), ..nothing },
            Kind::Emitted(it) => Used { fuel: self.workflow_fuel(&it.proof), ..nothing },
            Kind::Continued(it) => {
                let used = Used { fuel: self.end_fuel(&it.fingerprint), ..nothing };
                *self = Meter { copies: self.copies, ..Meter::default() };
                used
            }
            Kind::Finished(it) => {
                let fuel = it.fingerprint.as_ref().map_or(0, |fingerprint| self.end_fuel(fingerprint));
                Used { fuel, runs_ended: 1, ..nothing }
            }
            Kind::AttemptStarted(begun) => {
                self.forget_attempts(begun.step);
                Used { attempts: 1, ..nothing }
            }
            Kind::FuelUsed(it) => Used { fuel: it.fuel, ..nothing },
            Kind::EffectAsked(asked) => self.effect_asked(asked),
            Kind::EffectAnswered(answered) => answer_of(answered),
            Kind::ModelUsed(it) => Used {
                model_tokens: it.usage.input_tokens.saturating_add(it.usage.output_tokens),
                model_cost_nanousd: it.cost_nanousd.unwrap_or(0),
                ..nothing
            },
            Kind::AttemptEmitted(it) => Used { fuel: self.attempt_fuel((it.step, it.attempt), &it.proof), ..nothing },
            Kind::SpanBegun(it) => Used { fuel: self.attempt_fuel((it.step, it.attempt), &it.proof), ..nothing },
            Kind::SpanEnded(it) => Used { fuel: self.attempt_fuel((it.step, it.attempt), &it.proof), ..nothing },
            Kind::Answered(it) => {
                self.forget_attempts(it.step);
                nothing
            }
            _ => nothing,
        }
    }

    fn effect_asked(&mut self, asked: &EffectAsked) -> Used {
        let fuel = self.attempt_fuel((asked.step, asked.attempt), &asked.proof);
        match &asked.request {
            EffectRequest::Http { request, .. } | EffectRequest::Model { request, .. } => {
                Used { fuel, egress_requests: 1, egress_bytes: request.size_bytes(), ..Used::default() }
            }
            EffectRequest::Sleep { .. } | EffectRequest::AskPerson { .. } => Used { fuel, ..Used::default() },
        }
    }

    fn workflow_fuel(&mut self, proof: &Proof) -> u64 {
        self.workflow.more(proof.deliveries, proof.fuel)
    }

    fn end_fuel(&mut self, end: &Fingerprint) -> u64 {
        self.workflow.more(end.deliveries, end.fuel)
    }

    fn attempt_fuel(&mut self, attempt: (StepId, u32), proof: &Proof) -> u64 {
        self.attempts.entry(attempt).or_default().more(proof.deliveries, proof.fuel)
    }

    fn forget_attempts(&mut self, step: StepId) {
        if !self.attempts.is_empty() {
            self.attempts.retain(|(of, _), _| *of != step);
        }
    }
}

/// Answers of sleeps are answers too, of no bytes to speak of.
fn answer_of(answered: &EffectAnswered) -> Used {
    let (Outcome::Succeeded(value) | Outcome::Failed(value)) = &answered.outcome;
    Used { egress_bytes: value.size_bytes(), ..Used::default() }
}

#[cfg(test)]
mod tests;
