//! What the effects of an attempt belong to, as its function says: checked, held against the record, journaled.
//! Nothing of it is ever delivered to the function.

use std::sync::Arc;
use trackway_replay::{
    Act, Command as Produced, Decision, EffectId, Failure, Kind, Limits, Outcome, Proof, SpanBegun, SpanEnded,
    SpanKind, Value, code, digest_of_begin, digest_of_end,
};

use super::{Attempt, AttemptInner, AttemptStop, FunctionHost};
use crate::sandbox::Stop;
use crate::worker::check;
use crate::worker::run::Inner;

/// A span as the function begins it.
#[derive(Clone, Copy)]
pub(super) struct Beginning<'a> {
    pub kind: &'a str,
    pub name: &'a str,
    pub input: &'a str,
    pub options: &'a str,
    pub at: Option<&'a str>,
}

impl Beginning<'_> {
    /// What kind of span it is, or what the attempt fails with: nobody waits for an answer, so there is no other
    /// way to say it.
    fn check(&self, inner: &AttemptInner, limits: &Limits) -> Result<SpanKind, Failure> {
        let kind = [SpanKind::Agent, SpanKind::Tool].into_iter().find(|kind| kind.word() == self.kind);
        let kind = kind.ok_or_else(|| {
            let shown = check::cut(self.kind, check::NAME_MAX_BYTES);
            Failure::permanent(code::BAD_REQUEST, format!("a span is of the kind `agent` or `tool`, not `{shown}`"))
        })?;
        check::name("a span", self.name)?;
        check::value(self.input, limits, code::BAD_REQUEST)?;
        inner.check_span(check::effect_options(self.options)?)?;
        Ok(kind)
    }
}

impl AttemptInner {
    /// Whether an effect may say that it belongs to that span.
    pub fn check_span(&self, span: Option<u32>) -> Result<(), Failure> {
        match span {
            Some(span) if !self.machine.is_span(span) => {
                let message = format!("`span` is {span}, which is no open span of this attempt");
                Err(Failure::permanent(code::BAD_OPTIONS, message))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl FunctionHost {
    pub(super) fn begin(&self, span: &Beginning<'_>, fuel: u64) -> Result<u32, Stop> {
        let mut inner = self.attempt.lock();
        self.check_room(&mut inner)?;
        let kind = span.check(&inner, &self.attempt.run.started.limits);
        let kind = kind.map_err(|failure| inner.stopped(AttemptStop::Failed(failure)))?;
        let digest = digest_of_begin(span.kind, span.name, span.input, span.options);
        let act = Act::Begin { kind, name: span.name.into() };
        let decision = inner.machine.begin_span(Produced { act, digest, at: place(span.at) }, fuel);
        let (id, proof) = self.held(&mut inner, decision)?;
        let Some(proof) = proof else { return Ok(id) };
        let (step, attempt) = (self.attempt.step, self.attempt.number);
        self.journal(&mut inner, |run| {
            Kind::SpanBegun(SpanBegun {
                step,
                attempt,
                span: EffectId(id),
                kind,
                name: span.name.into(),
                input: run.value(span.input, Value::EFFECT_INLINE_MAX_BYTES),
                options: span.options.into(),
                proof,
                at: place(span.at),
            })
        })?;
        Ok(id)
    }

    /// Ignored where `id` is no open span.
    pub(super) fn end(&self, id: u32, outcome: Result<&str, &str>, at: Option<&str>, fuel: u64) -> Result<(), Stop> {
        let mut inner = self.attempt.lock();
        if !inner.machine.is_span(id) {
            return Ok(());
        }
        self.check_room(&mut inner)?;
        if let Ok(output) = outcome {
            let checked = check::value(output, &self.attempt.run.started.limits, code::BAD_REQUEST);
            checked.map_err(|failure| inner.stopped(AttemptStop::Failed(failure)))?;
        }
        let digest = digest_of_end(id, outcome);
        let decision = inner.machine.end_span(id, Produced { act: Act::End { id }, digest, at: place(at) }, fuel);
        let (_, Some(proof)) = self.held(&mut inner, decision)? else { return Ok(()) };
        let (step, attempt) = (self.attempt.step, self.attempt.number);
        self.journal(&mut inner, |run| {
            let outcome = match outcome {
                Ok(output) => Outcome::Succeeded(run.value(output, Value::EFFECT_INLINE_MAX_BYTES)),
                Err(failure) => Outcome::Failed(Failure::from_guest(failure).to_value()),
            };
            Kind::SpanEnded(SpanEnded { step, attempt, span: EffectId(id), outcome, proof, at: place(at) })
        })
    }

    /// The id, and the proof of what is not on record yet.
    fn held(&self, inner: &mut AttemptInner, decision: Decision) -> Result<(u32, Option<Proof>), Stop> {
        match decision {
            Decision::Recall { id } | Decision::Resume { id } => Ok((id, None)),
            Decision::Perform { id, proof } => Ok((id, Some(proof))),
            Decision::Ignore => Ok((0, None)),
            Decision::Diverged(divergence) => Err(inner.stopped(AttemptStop::NotResumable(divergence.to_string()))),
        }
    }

    /// It goes with the next frame: nothing leaves because of it.
    fn journal(&self, inner: &mut AttemptInner, kind: impl FnOnce(&mut Inner) -> Kind) -> Result<(), Stop> {
        self.attempt.tell_with(inner);
        let Attempt { run, step, number, .. } = &*self.attempt;
        let mut journal = run.lock();
        if !journal.is_live(*step, *number) || run.core.is_draining() {
            return Err(inner.stopped(AttemptStop::Gone));
        }
        let kind = kind(&mut journal);
        journal.sequence(run.now(), kind);
        run.poke.notify_one();
        Ok(())
    }
}

fn place(at: Option<&str>) -> Option<Arc<str>> {
    at.map(|at| check::cut(at, check::AT_MAX_BYTES).into())
}
