//! Bugs that a simulation must find. Each sits between a process and the store, and does there what a
//! careless store, committer or worker would do; nothing in the product can be switched to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use trackway_replay::{
    Answered, EffectAsked, EffectRequest, EffectSettled, Frame, FrameId, Kind, MessageId, Outcome, Paused, Position,
    Resumed, StepId, Timestamp, Value,
};
use trackway_storage::{
    Append, Appended, InboxItem, MemoryStorage, Owner, RunKey, Snapshot, Storage, StorageError, StorageErrorKind,
    StoredFrame,
};

use super::dice::Dice;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    None,
    /// A frame whose place is taken is appended behind what stands there.
    FencingRemoved,
    /// An append is said to be durable while it is on its way.
    EffectBeforeCause,
    /// Two answers change places on their way to the store.
    AnswersOutOfOrder,
    /// A run is parked without its timer.
    LostTimer,
    /// Of a frame's rows only some change with it.
    HalfOfTheRows,
    /// Of the frames that are flushed together one is left out.
    HalfOfTheBatch,
    /// An append whose outcome is not known is taken for one that was refused.
    UnknownTakenAsRefused,
    /// Reads show what is on its way.
    UnflushedRead,
    /// A frame takes more out of the inbox than it copied in.
    LostItem,
    /// A signal is taken out of the inbox, and what the run gets is something else.
    LostSignal,
    /// An item is seen in the inbox some time after it came.
    TimerBeforeInbox,
    /// A sync that failed counts as done.
    SyncErrorSwallowed,
    /// A cancelled run has another time to end than it was told.
    AnotherGrace,
    /// A person's word on a step is taken out of the inbox, and what the run gets is something else.
    LostRetry,
    /// A request of which nobody knows whether it came about is forgotten to be one, and is repeated.
    UnclearRepeated,
    /// A run goes on, and what is written down is that it is held.
    HeldForEver,
    /// A call has another time than it was given.
    AnotherDeadline,
    /// What a function said of itself is written down as something else.
    AnotherProgress,
    /// A call of a model that answered is charged again.
    ChargedTwice,
    /// An answer of a model is that of an earlier call.
    StaleAnswer,
    /// A person's answer to a question of a function is taken out of the inbox, and what the run gets is something else.
    LostAnswer,
    /// A question of a function has the answer of another one.
    AnotherAnswer,
    /// What an effect belongs to is not written down.
    LostSpan,
    /// An append whose outcome was not known is carried out once more, behind what stands by then.
    LateCommit,
    /// What a function answered is written down with something more.
    AnotherOutput,
}

/// How late an item is seen by [`Bug::TimerBeforeInbox`], and how much later a step fails by [`Bug::AnotherDeadline`].
const UNSEEN_FOR: Duration = Duration::from_millis(400);

pub struct Plant {
    bug: Bug,
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    in_flight: BTreeMap<RunKey, StoredFrame>,
    /// Who is on its way without anybody waiting for it.
    early: BTreeMap<RunKey, Arc<tokio::sync::Mutex<()>>>,
    /// Whose outcome was not known, until the next one is durable.
    unknown: BTreeMap<RunKey, Append>,
    sent: BTreeMap<MessageId, Instant>,
    lied: BTreeSet<FrameId>,
    before_the_lie: Option<Snapshot>,
    /// What was answered before.
    answer: Option<Outcome>,
}

impl Plant {
    pub fn new(bug: Bug, seed: u64) -> Arc<Plant> {
        let state = State {
            dice: Dice::of(seed, "plant"),
            in_flight: BTreeMap::new(),
            early: BTreeMap::new(),
            unknown: BTreeMap::new(),
            sent: BTreeMap::new(),
            lied: BTreeSet::new(),
            before_the_lie: None,
            answer: None,
        };
        Arc::new(Plant { bug, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chance(&self, percent: u64) -> bool {
        self.lock().dice.chance(percent)
    }

    /// Where a crash leads back to, if a sync was only said to be done.
    pub fn before_the_lie(&self) -> Option<Snapshot> {
        self.lock().before_the_lie.take()
    }

    pub fn sent(&self, message: MessageId) {
        self.lock().sent.entry(message).or_insert_with(Instant::now);
    }

    pub async fn append(&self, store: &Arc<MemoryStorage>, mut append: Append) -> Appended {
        match self.bug {
            Bug::None | Bug::TimerBeforeInbox => store.append(append).await,
            Bug::FencingRemoved => match store.append(append.clone()).await {
                Appended::Fenced => store.append(behind_the_last(store, append)).await,
                other => other,
            },
            Bug::EffectBeforeCause => self.early(store, append).await,
            Bug::AnswersOutOfOrder => {
                swap_answers(&mut append);
                store.append(append).await
            }
            Bug::LostTimer => {
                if let Owner::Park { due } = &mut append.rows.owner {
                    *due = self.due(*due);
                }
                store.append(append).await
            }
            Bug::HalfOfTheRows => {
                if append.position != Position::FIRST && self.chance(30) {
                    append.rows.read.clear();
                    append.rows.payloads.clear();
                    append.rows.logs.clear();
                }
                store.append(append).await
            }
            Bug::HalfOfTheBatch => {
                // It stays left out, also when it is asked for again.
                if self.lock().lied.contains(&append.id) || (self.chance(3) && self.lock().lied.insert(append.id)) {
                    return Appended::Durable;
                }
                store.append(append).await
            }
            Bug::UnknownTakenAsRefused => match store.append(append).await {
                Appended::Unknown => Appended::Refused(StorageError::new(StorageErrorKind::Full, "it did not work")),
                other => other,
            },
            Bug::UnflushedRead => {
                let frame = StoredFrame {
                    position: append.position,
                    entries: append.entries,
                    previous: append.previous,
                    id: append.id,
                    frame: append.frame.clone(),
                };
                self.lock().in_flight.insert(append.run, frame);
                let run = append.run;
                let appended = store.append(append).await;
                self.lock().in_flight.remove(&run);
                appended
            }
            Bug::LostItem => {
                let items = store.inbox(append.run).await.unwrap_or_default();
                append.rows.read.extend(items.iter().map(|item| item.message));
                store.append(append).await
            }
            Bug::LostSignal => {
                if self.chance(30) {
                    lose_signal(&mut append);
                }
                store.append(append).await
            }
            Bug::LostRetry => {
                rewrite(&mut append, |kind| {
                    if let Kind::RetryReceived(retry) = kind {
                        *kind = Kind::Resumed(Resumed { message: retry.message });
                    }
                });
                store.append(append).await
            }
            Bug::UnclearRepeated => {
                rewrite(&mut append, |kind| {
                    if let Kind::EffectAsked(asked) = kind {
                        asked.key = None;
                    }
                });
                store.append(append).await
            }
            Bug::HeldForEver => {
                rewrite(&mut append, |kind| {
                    if let Kind::Resumed(Resumed { message }) = kind {
                        *kind = Kind::Paused(Paused { message: *message, reason: "still".into() });
                    }
                });
                store.append(append).await
            }
            Bug::AnotherDeadline => {
                rewrite(&mut append, |kind| {
                    if let Kind::StepTimed(timed) = kind {
                        timed.close_by = timed.close_by.map(|by| by + UNSEEN_FOR);
                    }
                });
                store.append(append).await
            }
            Bug::AnotherProgress => {
                rewrite(&mut append, |kind| {
                    if let Kind::Progressed(progressed) = kind {
                        progressed.progress = Value::inline("\"~p0.0.0~\"");
                    }
                });
                store.append(append).await
            }
            Bug::ChargedTwice => {
                rewrite(&mut append, |kind| {
                    if let Kind::ModelUsed(used) = kind {
                        used.cost_nanousd = used.cost_nanousd.map(|cost| cost * 2);
                        used.usage.output_tokens *= 2;
                    }
                });
                store.append(append).await
            }
            Bug::StaleAnswer | Bug::AnotherAnswer => {
                self.repeat_answer(&mut append);
                store.append(append).await
            }
            Bug::LostAnswer => {
                rewrite(&mut append, |kind| {
                    if let Kind::EffectSettled(EffectSettled { request: Some(message), .. }) = kind {
                        *kind = Kind::Resumed(Resumed { message: *message });
                    }
                });
                store.append(append).await
            }
            Bug::LostSpan => {
                rewrite(&mut append, |kind| {
                    if let Kind::EffectAsked(EffectAsked {
                        request: EffectRequest::Http { options, .. } | EffectRequest::Model { options, .. },
                        ..
                    }) = kind
                    {
                        *options = "".into();
                    }
                });
                store.append(append).await
            }
            Bug::LateCommit => self.late(store, append).await,
            Bug::AnotherOutput => {
                rewrite(&mut append, |kind| {
                    if let Kind::Answered(Answered { outcome: Outcome::Succeeded(output), .. }) = kind {
                        *output = with_more(output);
                    }
                });
                store.append(append).await
            }
            Bug::AnotherGrace => {
                rewrite(&mut append, |kind| {
                    if let Kind::GraceSet(set) = kind {
                        set.grace_ms += 20_000;
                    }
                });
                store.append(append).await
            }
            Bug::SyncErrorSwallowed => {
                if self.lock().before_the_lie.is_none() && self.chance(5) {
                    self.lock().before_the_lie = Some(store.snapshot());
                }
                store.append(append).await
            }
        }
    }

    /// An answer of a model, or of a person, is the one that stood before it.
    fn repeat_answer(&self, append: &mut Append) {
        let is_model = self.bug == Bug::StaleAnswer;
        let mut state = self.lock();
        rewrite(append, |kind| {
            let outcome = match kind {
                Kind::EffectAnswered(answered) if is_model => &mut answered.outcome,
                Kind::EffectSettled(settled) if !is_model => &mut settled.outcome,
                _ => return,
            };
            if let Outcome::Succeeded(Value::Inline(text)) = &*outcome
                && (!is_model || text.contains("\"finish_reason\""))
            {
                let before = state.answer.replace(outcome.clone());
                *outcome = before.unwrap_or_else(|| outcome.clone());
            }
        });
    }

    /// Says that it is durable, and brings it to the store some time later, in order.
    async fn early(&self, store: &Arc<MemoryStorage>, append: Append) -> Appended {
        let before = self.lock().early.entry(append.run).or_default().clone();
        let turn = before.lock_owned().await;
        if append.position == Position::FIRST || !self.chance(30) {
            return store.append(append).await;
        }
        let store = store.clone();
        tokio::spawn(async move {
            let _turn = turn;
            tokio::time::sleep(Duration::from_millis(3)).await;
            while matches!(store.append(append.clone()).await, Appended::Unknown) {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        });
        Appended::Durable
    }

    /// What was answered with `Unknown` comes to stand once more, behind the next frame that is durable.
    async fn late(&self, store: &Arc<MemoryStorage>, append: Append) -> Appended {
        let run = append.run;
        let appended = store.append(append.clone()).await;
        match &appended {
            Appended::Unknown => {
                self.lock().unknown.insert(run, append);
            }
            Appended::Durable => {
                let late = self.lock().unknown.remove(&run);
                if let Some(late) = late {
                    // Whatever comes of it, nobody is told.
                    store.append(behind_the_last(store, late)).await;
                }
            }
            Appended::Fenced | Appended::Missed(_) | Appended::KeyTaken(_) | Appended::Refused(_) => {}
        }
        appended
    }

    pub fn frames(&self, run: RunKey, from: Position, mut frames: Vec<StoredFrame>) -> Vec<StoredFrame> {
        let state = self.lock();
        let Some(coming) = state.in_flight.get(&run) else { return frames };
        let follows = match frames.last() {
            Some(last) => coming.previous == Some(last.id),
            None => coming.position == from,
        };
        if follows {
            frames.push(coming.clone());
        }
        frames
    }

    pub fn due(&self, due: Option<Timestamp>) -> Option<Timestamp> {
        let is_lost = self.bug == Bug::LostTimer && self.chance(20);
        due.filter(|_| !is_lost)
    }

    pub async fn inbox(&self, items: Vec<InboxItem>) -> Vec<InboxItem> {
        if self.bug != Bug::TimerBeforeInbox || items.is_empty() {
            return items;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let state = self.lock();
        let is_seen = |item: &InboxItem| state.sent.get(&item.message).is_none_or(|sent| sent.elapsed() > UNSEEN_FOR);
        items.into_iter().filter(is_seen).collect()
    }
}

/// The same entries at the end of what stands.
fn behind_the_last(store: &MemoryStorage, append: Append) -> Append {
    let standing = store.standing(append.run);
    let (Some(last), Ok(frame)) = (standing.last(), Frame::decode(&append.frame)) else { return append };
    let position = last.position.plus(u64::from(last.entries));
    let mut entries = frame.entries;
    for (place, entry) in entries.iter_mut().enumerate() {
        entry.position = position.plus(place as u64);
    }
    Append { position, previous: Some(last.id), frame: Frame::encode(&entries).into(), ..append }
}

/// Changes what the entries of the frame say.
fn rewrite(append: &mut Append, change: impl FnMut(&mut Kind)) {
    let Ok(mut frame) = Frame::decode(&append.frame) else { return };
    frame.entries.iter_mut().map(|entry| &mut entry.kind).for_each(change);
    append.frame = Frame::encode(&frame.entries).into();
}

/// The tokens that a function answered, and a word that it did not say; any other output as it is.
fn with_more(output: &Value) -> Value {
    const MORE: &str = r#","unsaid"]"#;
    match output {
        Value::Inline(text) if text.starts_with(r#"["~p"#) && !text.ends_with(MORE) => {
            Value::inline(format!("{}{MORE}", text.trim_end_matches(']')))
        }
        Value::Inline(_) | Value::Stored { .. } => output.clone(),
    }
}

/// The first signal in the frame is a word that says nothing.
fn lose_signal(append: &mut Append) {
    let Ok(mut frame) = Frame::decode(&append.frame) else { return };
    let signal = frame.entries.iter_mut().find_map(|entry| match &entry.kind {
        Kind::Signalled(signalled) => Some((signalled.message, entry)),
        _ => None,
    });
    if let Some((message, entry)) = signal {
        entry.kind = Kind::Resumed(Resumed { message });
        append.frame = Frame::encode(&frame.entries).into();
    }
}

/// Two answers in the frame change places, where both could have come first; their times stay.
fn swap_answers(append: &mut Append) {
    let Ok(mut frame) = Frame::decode(&append.frame) else { return };
    let answers: Vec<(usize, StepId)> = frame
        .entries
        .iter()
        .enumerate()
        .filter_map(|(place, entry)| match &entry.kind {
            Kind::Answered(answered) => Some((place, answered.step)),
            _ => None,
        })
        .collect();
    let could_swap = |pair: &&[(usize, StepId)]| {
        let [(one, _), (other, step)] = **pair else { return false };
        frame.entries[one + 1..other].iter().all(|entry| entry.kind.step() != Some(step))
    };
    let Some([(one, _), (other, _)]) = answers.windows(2).find(could_swap) else { return };
    let (one, other) = (*one, *other);
    let kind = frame.entries[one].kind.clone();
    frame.entries[one].kind = std::mem::replace(&mut frame.entries[other].kind, kind);
    append.frame = Frame::encode(&frame.entries).into();
}
