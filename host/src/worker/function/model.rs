//! Calls of models, as a function asks for them: journaled as any effect, their text passed on as it comes. It never
//! talks to a provider.

use std::sync::Arc;
use trackway_replay::{Act, Decision, EffectId, EffectRequest, Position, Value, digest_of_model};

use super::{Attempt, FunctionHost, Job, OF_EGRESS, OF_MODELS};
use crate::effects::ModelRequest;
use crate::sandbox::Stop;
use crate::worker::deltas::Delta;

impl FunctionHost {
    pub(super) fn model(&self, request: &str, options: &str, at: Option<&str>, fuel: u64) -> Result<u32, Stop> {
        let mut inner = self.attempt.lock();
        let (made, nth) = inner.made(request);
        let digest = digest_of_model(request, options);
        let (id, proof) = match self.ask(&mut inner, Act::Model, digest, at, fuel)? {
            Decision::Recall { id } => return Ok(id),
            Decision::Resume { id } => (id, None),
            Decision::Perform { id, proof } => (id, Some(proof)),
            Decision::Ignore | Decision::Diverged(_) => return Err(Stop),
        };
        let effect = EffectId(id);
        let parsed = ModelRequest::parse(request, options);
        let parsed = parsed.and_then(|parsed| inner.check_span(parsed.span()).map(|()| parsed));
        let key = match proof {
            None => self.key_on_record(effect),
            Some(_) => {
                parsed.as_ref().ok().map(|parsed| parsed.author_key().unwrap_or_else(|| self.derived_key(made, nth)))
            }
        };
        // Before it is on record, and counts itself.
        let crossed = proof.and_then(|_| self.crossed(&OF_EGRESS).or_else(|| self.crossed(&OF_MODELS)));
        let cause = match proof {
            // On record; what resumes the attempt is durable already.
            None => Position::FIRST,
            Some(proof) => {
                let kept = parsed.as_ref().ok();
                self.sequence(&mut inner, effect, at, proof, key.clone(), |run| EffectRequest::Model {
                    model: kept.map_or_else(|| "".into(), |kept| kept.model().to_string().into()),
                    request: match kept {
                        Some(_) => run.value(request, Value::EFFECT_INLINE_MAX_BYTES),
                        None => Value::null(),
                    },
                    options: if kept.is_some() { options.into() } else { "".into() },
                })?
            }
        };
        inner.send(match (parsed, crossed, key) {
            (Err(failure), ..) | (Ok(_), Some(failure), _) => Job::Refuse { effect, failure },
            (Ok(request), None, Some(key)) => Job::Model { effect, request: Box::new(request), key, cause },
            (Ok(_), None, None) => return Err(Stop),
        });
        Ok(id)
    }
}

impl Attempt {
    /// Passes a piece of what a model says on to those who follow the run.
    pub fn tell_piece(&self, event: &Arc<str>, text: &str) {
        let data = serde_json::json!({ "text": text }).to_string();
        let mut inner = self.lock();
        let Some(number) = inner.delta_room.take(event, &data) else { return };
        let Attempt { run, step, number: attempt, .. } = self;
        let journal = run.lock();
        if !journal.is_live(*step, *attempt) {
            return;
        }
        let (step, attempt, cause) = (*step, *attempt, journal.end());
        // While it is locked, so that places and causes have one order.
        run.core.deltas.tell(run.key, Delta { step, attempt, number, cause, name: event.clone(), data: data.into() });
    }
}
