//! Questions to people: which are open, and taking an answer, once. What it means to the run is the
//! run's own; the form says what fits.

use std::sync::Arc;
use trackway_replay::{
    Asked, Entry, Form, Head, Kind, MessageId, Outcome, RunId, RunState, Settled, Status, StepId, StepRequest,
    Timestamp, Value, Waiting,
};
use trackway_storage::{InboxBody, InboxItem, RunQuery};

use super::{Host, checked_key, journal, key_of, message_of};
use crate::{Code, Error, Result};

/// Runs that one look for open questions reads.
const RUNS_MAX: usize = 200;
/// A name, not a text.
const BY_MAX_BYTES: usize = 256;

/// A question that a run asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub run: RunId,
    pub workflow: Arc<str>,
    pub step: StepId,
    pub form: Form,
    pub asked: Timestamp,
    /// When it is too late.
    pub due: Option<Timestamp>,
    pub settled: Option<Settled>,
}

#[derive(Debug, Clone)]
pub struct AnswerRequest {
    pub run: RunId,
    pub step: StepId,
    /// JSON text, an object with a value for each field of the form.
    pub answer: Arc<str>,
    pub by: Option<String>,
    pub idempotency_key: Option<String>,
}

impl Host {
    /// The open questions of runs that wait for a person, the newest run first.
    pub async fn questions(&self) -> Result<Vec<Question>> {
        let query = RunQuery { status: vec![Status::Waiting], limit: RUNS_MAX, ..RunQuery::default() };
        let heads = self.list(query).await?;
        let mut questions = Vec::new();
        for head in heads.iter().filter(|head| head.waiting == Some(Waiting::Person)) {
            questions.extend(self.questions_of(head).await?.into_iter().filter(|question| question.settled.is_none()));
        }
        Ok(questions)
    }

    /// One question, open or not.
    pub async fn question(&self, run: RunId, step: StepId) -> Result<Question> {
        let head = self.head(run).await?;
        let asked = self.questions_of(&head).await?.into_iter().find(|question| question.step == step);
        asked.ok_or_else(|| Error::new(Code::NoSuchQuestion, format!("run {run} asks no question as step {step}")))
    }

    /// Takes an answer. Durable when it answers. With the same key it is taken once, and told so again.
    pub async fn answer(&self, asked: AnswerRequest) -> Result<()> {
        let AnswerRequest { run, step, answer, by, idempotency_key } = asked;
        let request = match &idempotency_key {
            Some(key) => message_of("answer", run, &format!("{step} {}", checked_key(key)?)),
            None => MessageId(self.random_number()),
        };
        let question = self.question(run, step).await?;
        if let Some(settled) = &question.settled {
            return same_request(&question, settled.request, request);
        }
        if question.due.is_some_and(|due| due < self.clock.now()) {
            return Err(too_late(&question));
        }
        question
            .form
            .check(&answer)
            .map_err(|why| Error::new(Code::InputBreaksSchema, format!("the answer: {why}")))?;
        if answer.len() > Value::INLINE_MAX_BYTES {
            let why = format!("the answer has {} bytes; {} are allowed", answer.len(), Value::INLINE_MAX_BYTES);
            return Err(Error::new(Code::InputTooLarge, why));
        }
        let by = by.map(|by| Arc::from(super::cut(&by, BY_MAX_BYTES)));
        // One message for each question, so that the store takes the first answer and no other.
        let message = message_of("question", run, &step.to_string());
        let body = InboxBody::Answer { step, request, answer: Value::Inline(answer), by };
        let item = InboxItem { message, arrived: self.clock.now(), body };
        self.deliver(run, item, true).await?;
        self.was_taken(&question, message, request).await
    }

    /// Whether the answer in the inbox, or on record, is that of `request`.
    async fn was_taken(&self, question: &Question, message: MessageId, request: MessageId) -> Result<()> {
        let (run, step) = (question.run, question.step);
        let unread = self.storage.inbox(key_of(run)).await?.into_iter().find(|item| item.message == message);
        if let Some(InboxItem { body: InboxBody::Answer { request: taken, .. }, .. }) = unread {
            return same_request(question, Some(taken), request);
        }
        match self.question(run, step).await?.settled {
            Some(settled) => same_request(question, settled.request, request),
            // Read, and nobody waited for it any more.
            None => Err(too_late(question)),
        }
    }

    async fn questions_of(&self, head: &Head) -> Result<Vec<Question>> {
        let mut entries = Vec::new();
        journal::extend(&*self.storage, key_of(head.run), &mut entries).await?;
        let state = RunState::of(&entries).map_err(|why| Error::new(Code::JournalUnreadable, why.to_string()))?;
        let asked = entries.iter().filter_map(|entry| match &entry.kind {
            Kind::Asked(Asked {
                step, request: StepRequest::AskPerson { form: Value::Inline(form), .. }, now, ..
            }) => {
                let form = Form::read(form).ok()?;
                let due = form.timeout_ms.map(|timeout_ms| *now + std::time::Duration::from_millis(timeout_ms));
                let settled = settled_of(&entries, *step);
                // Forgotten, or cancelled by the workflow: nobody can answer it any more.
                (settled.is_some() || state.step(*step).is_some() && state.end().is_none()).then(|| Question {
                    run: head.run,
                    workflow: head.workflow.clone(),
                    step: *step,
                    form,
                    asked: entry.time,
                    due,
                    settled,
                })
            }
            _ => None,
        });
        Ok(asked.collect())
    }
}

fn settled_of(entries: &[Entry], step: StepId) -> Option<Settled> {
    entries.iter().find_map(|entry| match &entry.kind {
        Kind::Settled(settled) if settled.step == step => Some(settled.clone()),
        _ => None,
    })
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
