//! What a workflow tells others, as it gives it: what is wrong with it, and by what a replay recognises it.
//! It must look at nothing but that, what the guest told before, and what the run began with.

use std::sync::Arc;
use trackway_replay::{
    Act, Command as Produced, Failure, Limits, Machine, PUBLISHED_KEYS_MAX, PUBLISHED_MAX_BYTES, code,
    digest_of_publish,
};

use super::check;
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

fn place(at: Option<&str>) -> Option<Arc<str>> {
    at.map(|at| check::cut(at, check::AT_MAX_BYTES).into())
}
