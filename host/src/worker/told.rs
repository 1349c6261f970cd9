//! What a workflow tells others, as it gives it: what is wrong with it, and by what a replay recognises it.
//! It must look at nothing but that, what the guest told before, and what the run began with.

use std::sync::Arc;
use trackway_replay::{
    Act, Command as Produced, Failure, Limits, Machine, Outcome, PUBLISHED_KEYS_MAX, PUBLISHED_MAX_BYTES, Value, code,
    digest_of_publish, digest_of_reply,
};

use super::check;
use super::run::Inner;
use super::workflow::over_limit;

/// State that a workflow shows.
#[derive(Clone, Copy)]
pub(super) struct Publishing<'a> {
    pub key: &'a str,
    pub value: &'a str,
    pub at: Option<&'a str>,
}

impl Publishing<'_> {
    /// As it is held against the record, or what the run ends with instead: nobody waits for an answer, so
    /// there is no other way to say it.
    pub fn produced(&self, machine: &Machine, limits: &Limits) -> Result<Produced, Failure> {
        let Publishing { key, value, .. } = *self;
        over_limit(machine, limits).map_or(Ok(()), Err)?;
        check::name("published state", key)?;
        if value.len() > PUBLISHED_MAX_BYTES {
            let message =
                format!("`{key}` is {} bytes of published state; the limit is {PUBLISHED_MAX_BYTES}", value.len());
            return Err(Failure::permanent(code::TOO_LARGE, message));
        }
        check::value(value, limits, code::BAD_OUTPUT)?;
        if !machine.may_publish(key) {
            let message = format!("the run published under more than {PUBLISHED_KEYS_MAX} keys");
            return Err(Failure::permanent(code::TOO_MANY, message));
        }
        let act = Act::Publish { key: key.into() };
        Ok(Produced { act, digest: digest_of_publish(key, value), at: place(self.at) })
    }
}

/// The answer to an update.
#[derive(Clone, Copy)]
pub(super) struct Replying<'a> {
    /// That took the update.
    pub id: u32,
    pub answer: Result<&'a str, &'a str>,
    pub at: Option<&'a str>,
}

impl Replying<'_> {
    /// As it is held against the record; a failure is what the run ends with instead.
    pub fn produced(&self, machine: &Machine, limits: &Limits) -> Result<Produced, Failure> {
        // One that is ignored counts for nothing.
        if machine.update_of(self.id).is_some() {
            over_limit(machine, limits).map_or(Ok(()), Err)?;
        }
        let act = Act::Reply { id: self.id };
        Ok(Produced { act, digest: digest_of_reply(self.id, self.answer), at: place(self.at) })
    }

    /// As it stands in the journal. An output that is none refuses the update, so that somebody hears of it.
    pub fn outcome(&self, inner: &mut Inner, limits: &Limits) -> Outcome {
        match self.answer {
            Ok(output) => match check::value(output, limits, code::BAD_OUTPUT) {
                Ok(()) => Outcome::Succeeded(inner.value(output, Value::INLINE_MAX_BYTES)),
                Err(failure) => Outcome::Failed(failure.to_value()),
            },
            Err(failure) => Outcome::Failed(Failure::from_guest(failure).to_value()),
        }
    }
}

fn place(at: Option<&str>) -> Option<Arc<str>> {
    at.map(|at| check::cut(at, check::AT_MAX_BYTES).into())
}
