//! Questions to people: which are open, and taking an answer, once. What it means to the run is the
//! run's own; the form says what fits.

use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{
    Asked, EffectAsked, EffectRequest, EffectSettled, Entry, Form, Head, Kind, MessageId, Outcome, Position,
    QuestionId, QuestionName, RunId, Settled, StepRequest, Timestamp, Value,
};
use trackway_storage::{InboxBody, InboxItem, OpenQuestion, RunKey, Storage};

use super::{Host, checked_key, journal, message_of};
use crate::{Code, Error, Result};

/// How often a run is looked at for an answer that it has just read, and how long each time at most.
const LOOKS: usize = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A name, not a text.
const BY_MAX_BYTES: usize = 256;

/// A question that a run asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub run: RunId,
    pub workflow: Arc<str>,
    pub id: QuestionId,
    pub form: Form,
    pub asked: Timestamp,
    /// When it is too late.
    pub due: Option<Timestamp>,
    pub settled: Option<QuestionEnd>,
}

/// What became of a question.
#[derive(Debug, Clone)]
pub struct QuestionEnd {
    /// The request that settled it; absent where its time was over.
    pub request: Option<MessageId>,
    outcome: Outcome,
    /// Who answered, as far as they said.
    pub by: Option<Arc<str>>,
}

/// What a look at the journal finds of a question.
enum Looked {
    /// It is open or settled.
    Found(Box<Question>),
    /// Its run has ended, and nobody had answered it.
    EndedBefore,
    /// It was never asked, or was given up: forgotten, cancelled by whoever asked, or over with its attempt.
    Nothing,
}

/// Some of the open questions.
#[derive(Debug, Clone)]
pub struct QuestionPage {
    pub questions: Vec<Question>,
    /// Where the next page begins, if there is one.
    pub more: Option<(RunId, QuestionName)>,
}

#[derive(Debug, Clone)]
pub struct AnswerRequest {
    pub run: RunId,
    pub question: QuestionName,
    /// JSON text, an object with a value for each field of the form.
    pub answer: Arc<str>,
    pub by: Option<String>,
    pub idempotency_key: Option<String>,
}

impl Host {
    /// Open questions, the newest run first and in it the newest question, `max` at most. `before`: where
    /// the page before ended.
    pub async fn questions(&self, before: Option<(RunId, QuestionName)>, max: usize) -> Result<QuestionPage> {
        // One more says whether there is another page.
        let mut open = self.storage.questions(self.tenant, before, max.saturating_add(1)).await?;
        let has_more = open.len() > max;
        open.truncate(max);
        let more = open.last().filter(|_| has_more).map(|open| (open.run, open.question.name));
        let mut questions = Vec::with_capacity(open.len());
        let mut head: Option<Head> = None;
        for OpenQuestion { run, question: id, asked } in open {
            if head.as_ref().is_none_or(|head| head.run != run) {
                head = Some(self.head(run).await?);
            }
            let Some(head) = &head else { continue };
            let entry = journal::at(&*self.storage, self.key_of(run), asked).await?;
            let question = entry.and_then(|entry| question_in(head, &entry)).filter(|asked| asked.id.name == id.name);
            // One that an attempt took over from the one before stands with that one.
            questions.extend(question.map(|question| Question { id, ..question }));
        }
        Ok(QuestionPage { questions, more })
    }

    /// One question, open or not.
    pub async fn question(&self, run: RunId, name: QuestionName) -> Result<Question> {
        let head = self.head(run).await?;
        match look(&*self.storage, self.key_of(run), &head, name).await? {
            Looked::Found(question) => Ok(*question),
            Looked::EndedBefore | Looked::Nothing => Err(no_such_question(run, name)),
        }
    }

    /// Takes an answer. Durable when it answers. With the same key it is taken once, and told so again.
    pub async fn answer(&self, asked: AnswerRequest) -> Result<()> {
        let AnswerRequest { run, question: name, answer, by, idempotency_key } = asked;
        let request = match &idempotency_key {
            Some(key) => message_of("answer", run, &format!("{name} {}", checked_key(key)?)),
            None => MessageId(self.random_number()),
        };
        // From here on the question is not given up: the time below is that of the answer.
        let _answering = self.worker.answering(self.key_of(run));
        let arrived = self.clock.now();
        let head = self.head(run).await?;
        let question = match look(&*self.storage, self.key_of(run), &head, name).await? {
            Looked::Found(question) => *question,
            Looked::EndedBefore => {
                return Err(Error::new(Code::RunEnded, format!("run {run}, which asked it, has ended")));
            }
            Looked::Nothing => return Err(no_such_question(run, name)),
        };
        if let Some(settled) = &question.settled {
            return same_request(&question, settled.request, request);
        }
        if question.due.is_some_and(|due| due < arrived) {
            return Err(too_late(&question));
        }
        question
            .form
            .check(&answer)
            .map_err(|why| Error::new(Code::InputBreaksSchema, format!("the answer: {why}")))
            .map_err(|error| error.hint("trackway questions ls -o json    # shows the `form` that it has to fit"))?;
        if answer.len() > Value::INLINE_MAX_BYTES {
            let why = format!("the answer has {} bytes; {} are allowed", answer.len(), Value::INLINE_MAX_BYTES);
            return Err(Error::new(Code::InputTooLarge, why));
        }
        let by = by.map(|by| Arc::from(super::cut(&by, BY_MAX_BYTES)));
        // One message for each question, so that the store takes the first answer and no other.
        let QuestionName { step, effect } = name;
        let (attempt, answer) = (question.id.attempt, Value::Inline(answer));
        let (called, body) = match effect {
            None => (name.to_string(), InboxBody::Answer { step, request, answer, by }),
            Some(effect) => {
                (format!("{name} {attempt}"), InboxBody::AnswerInAttempt { step, attempt, effect, request, answer, by })
            }
        };
        let message = message_of("question", run, &called);
        let item = InboxItem { message, arrived, body };
        match self.deliver(run, item, true).await {
            Ok(()) => self.was_taken(&question, message, request).await,
            // It may have ended because of an answer that somebody else gave.
            Err(error) if error.code == Code::RunEnded => match self.question(run, name).await {
                Ok(Question { settled: Some(settled), .. }) => same_request(&question, settled.request, request),
                Ok(_) | Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Whether the answer in the inbox, or on record, is that of `request`.
    async fn was_taken(&self, question: &Question, message: MessageId, request: MessageId) -> Result<()> {
        let (run, name) = (question.run, question.id.name);
        for _ in 0..LOOKS {
            let seen = self.storage.end(self.key_of(run)).await?;
            let unread = self.storage.inbox(self.key_of(run)).await?.into_iter().find(|item| item.message == message);
            let taken = unread.and_then(|item| match item.body {
                InboxBody::Answer { request, .. } | InboxBody::AnswerInAttempt { request, .. } => Some(request),
                _ => None,
            });
            if let Some(taken) = taken {
                return same_request(question, Some(taken), request);
            }
            let now = match self.question(run, name).await {
                // Its attempt is over, and with it the question.
                Err(error) if error.code == Code::NoSuchQuestion => return Err(too_late(question)),
                now => now?,
            };
            if now.id != question.id {
                return Err(too_late(question));
            }
            if let Some(settled) = &now.settled {
                return same_request(&now, settled.request, request);
            }
            // It was read, and the frame that says so is about to be durable.
            let _ = tokio::time::timeout(LOOK_AGAIN, self.storage.grown(self.key_of(run), seen)).await;
        }
        Err(too_late(question))
    }
}

/// The last question under that name that is open or settled, in one pass over the journal.
async fn look(storage: &dyn Storage, run: RunKey, head: &Head, name: QuestionName) -> Result<Looked> {
    // The last one that was asked, where, and what became of it; before it, the last one that was settled.
    let mut asked: Option<(Question, Position)> = None;
    let mut before: Option<Question> = None;
    let state = journal::fold(storage, run, |entry| {
        if asks(&entry.kind) == Some(name) {
            // A later attempt asks anew.
            let settled = asked.take().map(|(question, _)| question).filter(|question| question.settled.is_some());
            before = settled.or(before.take());
            asked = question_in(head, entry).map(|question| (question, entry.position));
        } else if let Some((question, _)) = asked.as_mut().filter(|(question, _)| question.settled.is_none()) {
            question.settle(&entry.kind);
        }
    });
    let state = state.await?;
    let was_asked = asked.is_some();
    let found = asked.and_then(|(question, place)| match question.settled {
        Some(_) => Some(question),
        None => {
            let (id, _) = state.questions().find(|(id, asked)| id.name == name && *asked == place)?;
            Some(Question { id, ..question })
        }
    });
    Ok(match found.or(before) {
        Some(question) => Looked::Found(Box::new(question)),
        None if was_asked && state.end().is_some() => Looked::EndedBefore,
        None => Looked::Nothing,
    })
}

fn no_such_question(run: RunId, name: QuestionName) -> Error {
    Error::new(Code::NoSuchQuestion, format!("run {run} asks no question {name}"))
}

/// How the question is called that an entry asks, if it asks one.
fn asks(kind: &Kind) -> Option<QuestionName> {
    match kind {
        Kind::Asked(Asked { step, request: StepRequest::AskPerson { .. }, .. }) => {
            Some(QuestionId::of_step(*step).name)
        }
        Kind::EffectAsked(EffectAsked { step, attempt, effect, request: EffectRequest::AskPerson { .. }, .. }) => {
            Some(QuestionId::of_effect(*step, *attempt, *effect).name)
        }
        _ => None,
    }
}

impl Question {
    /// Takes in what comes behind it, as far as it settles it.
    fn settle(&mut self, kind: &Kind) {
        let QuestionName { step, effect } = self.id.name;
        match (kind, effect) {
            (Kind::Settled(settled), None) if settled.step == step => {
                let Settled { request, outcome, by, .. } = settled.clone();
                self.settled = Some(QuestionEnd { request, outcome, by });
            }
            (Kind::EffectSettled(settled), Some(effect)) if (settled.step, settled.effect) == (step, effect) => {
                let EffectSettled { attempt, request, outcome, by, .. } = settled.clone();
                // It may have been taken over from the attempt before.
                self.id.attempt = attempt;
                self.settled = Some(QuestionEnd { request, outcome, by });
            }
            _ => {}
        }
    }
}

/// The question that an entry asks, if it asks one.
fn question_in(head: &Head, entry: &Entry) -> Option<Question> {
    let (id, form, now) = match &entry.kind {
        Kind::Asked(Asked { step, request: StepRequest::AskPerson { form, .. }, now, .. }) => {
            (QuestionId::of_step(*step), form, now)
        }
        Kind::EffectAsked(EffectAsked {
            step,
            attempt,
            effect,
            request: EffectRequest::AskPerson { form, .. },
            now,
            ..
        }) => (QuestionId::of_effect(*step, *attempt, *effect), form, now),
        _ => return None,
    };
    let Value::Inline(form) = form else { return None };
    let form = Form::read(form).ok()?;
    let due = form.timeout_ms.map(|timeout_ms| *now + Duration::from_millis(timeout_ms));
    let (run, workflow) = (head.run, head.workflow.clone());
    Some(Question { run, workflow, id, form, asked: entry.time, due, settled: None })
}

fn same_request(question: &Question, taken: Option<MessageId>, request: MessageId) -> Result<()> {
    match taken {
        Some(taken) if taken == request => Ok(()),
        Some(_) => {
            let stands = question.settled.as_ref().map(|settled| match (&settled.outcome, &settled.by) {
                (Outcome::Succeeded(Value::Inline(answer)), Some(by)) => format!("{by} answered {answer}"),
                (Outcome::Succeeded(Value::Inline(answer)), None) => format!("the answer is {answer}"),
                (Outcome::Succeeded(Value::Stored { .. }) | Outcome::Failed(_), _) => "it has its answer".to_owned(),
            });
            let stands = stands.unwrap_or_else(|| "somebody answered just before".to_owned());
            Err(Error::new(Code::QuestionSettled, format!("\"{}\": {stands}", question.form.title)))
        }
        None => Err(too_late(question)),
    }
}

fn too_late(question: &Question) -> Error {
    Error::new(Code::QuestionSettled, format!("\"{}\": the time to answer is over", question.form.title))
}

#[cfg(test)]
mod tests;
