//! Questions to people, as a function asks them: journaled as any effect, answered by way of the inbox. It never says
//! whether an answer fits.

use trackway_replay::{
    Act, Decision, EffectId, EffectKind, EffectRequest, Failure, Form, Value, code, digest_of_ask_person,
};

use super::{Attempt, FunctionHost, Job};
use crate::sandbox::Stop;
use crate::worker::check;

impl FunctionHost {
    pub(super) fn ask_person(&self, form: &str, options: &str, at: Option<&str>, fuel: u64) -> Result<u32, Stop> {
        let mut inner = self.attempt.lock();
        let digest = digest_of_ask_person(form, options);
        let decision = self.ask(&mut inner, Act::AskPerson, digest, at, fuel)?;
        let read = Form::read(form).map_err(|why| Failure::permanent(code::BAD_REQUEST, why));
        let checked = read.and_then(|_| check::effect_options(options)).and_then(|span| inner.check_span(span));
        let refusal = checked.err();
        let id = match decision {
            Decision::Recall { id } => return Ok(id),
            Decision::Resume { id } => id,
            Decision::Perform { id, proof } => {
                let is_kept = refusal.is_none();
                self.sequence(&mut inner, EffectId(id), at, proof, None, |run| EffectRequest::AskPerson {
                    form: if is_kept { run.value(form, Value::INLINE_MAX_BYTES) } else { Value::null() },
                    options: if is_kept { options.into() } else { "".into() },
                })?;
                id
            }
            Decision::Ignore | Decision::Diverged(_) => return Err(Stop),
        };
        let effect = EffectId(id);
        inner.send(match refusal {
            Some(failure) => Job::Refuse { effect, failure },
            None => Job::AskPerson { effect },
        });
        Ok(id)
    }
}

impl Attempt {
    /// Whether that effect of it is a question.
    pub fn asked_person(&self, effect: EffectId) -> bool {
        let inner = self.run.lock();
        let effects = inner.attempt_state(self.step).map(|attempt| attempt.effects.as_slice()).unwrap_or_default();
        effects.iter().rev().any(|record| match &record.kind {
            EffectKind::Asked(asked) => {
                asked.effect == effect && matches!(asked.request, EffectRequest::AskPerson { .. })
            }
            EffectKind::Answered(_) | EffectKind::Emitted(_) | EffectKind::Begun(_) | EffectKind::Ended(_) => false,
        })
    }
}
