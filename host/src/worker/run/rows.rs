//! Rows that go with the frame which holds their cause: log lines, items of the inbox that were read, what
//! is sent to other runs, the questions that are open, what is found by its name. It never writes one.

use std::collections::BTreeMap;
use trackway_replay::{
    Answered, Digest, Entry, Forgotten, Kind, MessageId, Phase, Position, QuestionId, RunState, Signalled, StepId,
    StepState, UpdateOffered, UpdateReceived,
};
use trackway_storage::{EntityWrite, InboxBody, InboxItem, Landmark, LogLine, RunKey};

use super::Inner;

/// Rows that go with a frame.
pub(in crate::worker) struct Along {
    pub asked: Vec<(QuestionId, Position)>,
    pub settled: Vec<QuestionId>,
    pub logs: Vec<LogLine>,
    pub read: Vec<MessageId>,
    pub send: Vec<(RunKey, InboxItem)>,
    pub entities: Vec<(StepId, EntityWrite)>,
    pub entities_answered: Vec<StepId>,
}

/// A question, and the place of the entry that asks it.
pub(super) type Question = (QuestionId, Position);

/// The questions that the step of an entry asks, and its attempt, while they wait for an answer.
pub(super) fn questions_in(state: &RunState, entry: &Entry) -> Vec<Question> {
    entry.kind.step().map(|step| state.questions_of(step)).unwrap_or_default()
}

/// What is found by its name from the frame of these entries on.
pub fn landmarks_in(entries: &[Entry]) -> Vec<(Landmark, Position)> {
    let landmark = |entry: &Entry| match &entry.kind {
        Kind::Published(published) => Some((Landmark::State(published.key.clone()), entry.position)),
        Kind::Replied(replied) => Some((Landmark::Reply(replied.message), entry.position)),
        Kind::UpdateExpired(expired) => Some((Landmark::Reply(expired.message), entry.position)),
        _ => None,
    };
    entries.iter().filter_map(landmark).collect()
}

/// What these entries brought from the inbox, and by what each message is told from another one under its id. That of
/// a question or a promise is not on record.
pub fn messages_in(entries: &[Entry]) -> Vec<(MessageId, Option<Digest>)> {
    let brought = |entry: &Entry| match &entry.kind {
        Kind::Signalled(Signalled { message, name, payload, from }) => {
            let body = InboxBody::Signal { name: name.clone(), payload: payload.clone(), from: *from };
            Some((*message, body.identity()))
        }
        Kind::UpdateReceived(UpdateReceived { message, name, payload }) => {
            let body = InboxBody::Update { name: name.clone(), payload: payload.clone() };
            Some((*message, body.identity()))
        }
        Kind::UpdateOffered(UpdateOffered { message, name, payload, due }) => {
            let body = InboxBody::UpdateWithin { name: name.clone(), payload: payload.clone(), due: *due };
            Some((*message, body.identity()))
        }
        Kind::CancelReceived(cancel) => Some((cancel.message, None)),
        Kind::Paused(paused) => Some((paused.message, None)),
        Kind::Resumed(resumed) => Some((resumed.message, None)),
        Kind::RetryReceived(retry) => Some((retry.message, None)),
        Kind::ChildEnded(ended) => Some((ended.message, None)),
        Kind::Moved(moved) => Some((moved.message, None)),
        _ => None,
    };
    entries.iter().filter_map(brought).collect()
}

impl Inner {
    /// Keeps what the entry at `position` changed about questions: `before` and `after` it.
    pub(super) fn note_questions(&mut self, position: Position, before: &[Question], after: &[Question]) {
        let end = position.plus(1);
        let over = before.iter().filter(|question| !after.contains(question));
        self.questions.extend(over.map(|(question, _)| (end, *question, None)));
        let asked = after.iter().filter(|question| !before.contains(question));
        self.questions.extend(asked.map(|(question, asked)| (end, *question, Some(*asked))));
    }

    /// Keeps which answers of entities nobody waits for after this entry, and of a run that goes on with
    /// another input, which questions.
    pub(super) fn note_given_up(&mut self, entry: &Entry) {
        let end = entry.position.plus(1);
        let is_entity = |state: &StepState| matches!(state.phase, Phase::Entity);
        match &entry.kind {
            Kind::Answered(Answered { step, .. }) | Kind::Forgotten(Forgotten { step, .. })
                if self.state.step(*step).is_some_and(is_entity) =>
            {
                self.entities_answered.push((end, *step));
            }
            Kind::Continued(_) => {
                let questions: Vec<_> = self.state.questions().map(|(question, _)| (end, question, None)).collect();
                self.questions.extend(questions);
                let entities = self.state.steps().iter().filter(|(_, state)| is_entity(state));
                self.entities_answered.extend(entities.map(|(step, _)| (end, *step)));
            }
            _ => {}
        }
    }

    /// The rows that a frame which ends at `end` brings along.
    pub fn take_rows(&mut self, end: Position) -> Along {
        let logs = self.logs.partition_point(|(cause, _)| *cause <= end);
        let read = self.read.partition_point(|(cause, _)| *cause <= end);
        let logs = self.logs.drain(..logs).map(|(_, line)| line).collect();
        let send = self.send.partition_point(|(cause, ..)| *cause <= end);
        let questions = self.questions.partition_point(|(cause, ..)| *cause <= end);
        let entities = self.entities.partition_point(|(cause, ..)| *cause <= end);
        let answered = self.entities_answered.partition_point(|(cause, _)| *cause <= end);
        // What was said last of each counts.
        let last: BTreeMap<_, _> =
            self.questions.drain(..questions).map(|(_, question, asks)| (question, asks)).collect();
        let asked = last.iter().filter_map(|(question, asks)| Some((*question, (*asks)?))).collect();
        let settled = last.iter().filter(|(_, asks)| asks.is_none()).map(|(question, _)| *question).collect();
        Along {
            asked,
            settled,
            logs,
            read: self.read.drain(..read).map(|(_, message)| message).collect(),
            send: self.send.drain(..send).map(|(_, to, item)| (to, item)).collect(),
            entities: self.entities.drain(..entities).map(|(_, step, write)| (step, write)).collect(),
            entities_answered: self.entities_answered.drain(..answered).map(|(_, step)| step).collect(),
        }
    }
}
