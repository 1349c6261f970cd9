//! Re-executes a run from its journal and holds everything it does against the record. Touches
//! nothing outside: what is not on record ends the replay.

mod end;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use trackway_replay::{
    Act, Command as Produced, Compared, Completion, Decision, Digest, Divergence, End as RunEnd, Entry, Failure,
    Finished, Kind, Limits, Machine, Next, Outcome, PatchDecision, RunRandom, RunState, StepId, Tokens, Value, code,
    digest_of_cancel, digest_of_forget,
};
use trackway_storage::RunKey;

use self::end::{CodeIs, GuestEnd, agree, describe, describe_goes_on, describe_recorded, goes_on_with};
use super::asking::{Commanded, GoesOn, patch_produced, too_many_patches};
use super::code::code_of;
use super::emit;
use super::load::{Journal, machine_of_code, read_journal};
use super::run::read_payload;
use super::told::Replying;
use super::workflow::{cancel_body, nothing_open, over_limit};
use super::{Core, Worker};
use crate::sandbox::{Code as GuestCode, Command, Delivery, End, Ended, GuestCall, GuestHost, Reply, Role, Stop};
use crate::{Code, Error, Result};

/// What a replay found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplayReport {
    pub compared: Compared,
    pub end: EndCheck,
    /// The first difference, if there is one.
    pub divergence: Option<Divergence>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCheck {
    /// The same outcome after the same commands, deliveries and fuel.
    Identical,
    /// The host ended the run before its workflow did: all that is on record agreed.
    EndedByHost,
    /// The run has not ended: all that is on record agreed.
    NotEnded,
    /// Not reached, or another one.
    Diverged,
}

impl Worker {
    /// Replays a run. `with` is other code than its own, which it is then held against.
    pub async fn replay(&self, key: RunKey, with: Option<(Digest, Arc<GuestCode>)>) -> Result<ReplayReport> {
        let Journal { entries, .. } = read_journal(&*self.core.storage, key).await?;
        let unreadable = |why: trackway_replay::BadJournal| Error::new(Code::JournalUnreadable, why.to_string());
        // One stretch after the other, each on the code that it came to its end with.
        let goes_on = |entry: &Entry| matches!(entry.kind, Kind::Continued(_));
        let (first, rest) = match entries.split_first() {
            Some((first, rest)) if with.is_none() && rest.iter().any(goes_on) => (first, rest),
            _ => {
                let state = RunState::of(&entries).map_err(unreadable)?;
                return replay(&self.core, key, &entries, &state, with).await;
            }
        };
        let mut state = RunState::new(first).map_err(unreadable)?;
        let mut compared = Compared::default();
        for (at, entry) in rest.iter().enumerate() {
            if goes_on(entry) {
                let stretch = stretch_of(&state, &entries, at + 2);
                let report = replay(&self.core, key, &stretch, &state, None).await?;
                compared.add(report.compared);
                if report.divergence.is_some() {
                    return Ok(ReplayReport { compared, ..report });
                }
            }
            state.apply(entry).map_err(unreadable)?;
        }
        let report = replay(&self.core, key, &stretch_of(&state, &entries, entries.len()), &state, None).await?;
        compared.add(report.compared);
        Ok(ReplayReport { compared, ..report })
    }
}

/// What a machine of a run is told that stands so, of its first `end` entries.
fn stretch_of(state: &RunState, entries: &[Entry], end: usize) -> Vec<Entry> {
    let from = state.continued_at().map_or(0, |at| at.0 as usize + 1);
    let mail = state.mail_taken_along().filter_map(|place| entries.get(place.0 as usize));
    mail.chain(entries.get(from..end).unwrap_or_default()).cloned().collect()
}

/// Replays a run from what stands since its workflow began anew, if it did, and what all that folds to.
pub(super) async fn replay(
    core: &Arc<Core>,
    key: RunKey,
    entries: &[Entry],
    state: &RunState,
    with: Option<(Digest, Arc<GuestCode>)>,
) -> Result<ReplayReport> {
    let started = state.started().clone();
    let (component, guest) = match with {
        Some(with) => with,
        None => (state.component(), code_of(core, key.tenant, state.component()).await?),
    };
    let engine = core.sandbox.engine_name();
    let machine = machine_of_code(state, entries, engine, component);
    let recorded = Recorded::of(entries.iter().rfind(|entry| state.is_recalled(entry)));
    let code_is = if component == state.component() { CodeIs::TheRecorded } else { CodeIs::Another };
    let input = match state.input() {
        Value::Inline(text) => text.clone(),
        Value::Stored { digest, .. } => read_payload(core, key, *digest).await?,
    };
    let context = serde_json::json!({
        "run": key.run,
        "workflow": started.workflow,
        "deployment": started.deployment,
    });
    let fuel = machine.allowance(0);
    let inner = Mutex::new(Inner { machine, goes_on: None, stop: None });
    let shared = Arc::new(Shared { core: core.clone(), key, limits: started.limits.clone(), inner });
    let host =
        ReplayHost { shared: shared.clone(), random: state.random(), tokens: state.tokens().clone(), loading: None };
    let call = GuestCall {
        tenant: key.tenant,
        role: Role::Workflow,
        name: started.workflow.clone(),
        input,
        context: context.to_string().into(),
        limits: started.limits.clone(),
        fuel,
    };
    let end = guest.call(call, Box::new(host)).await;
    report(&shared, &recorded, code_is, end)
}

/// The end that the journal tells of.
enum Recorded {
    ByGuest(RunEnd),
    ByHost,
    /// It went on in the same run, with this.
    GoesOn(Value),
    NotYet,
}

impl Recorded {
    fn of(last: Option<&Entry>) -> Recorded {
        match last.map(|entry| &entry.kind) {
            Some(Kind::Finished(Finished { end, fingerprint: Some(_), .. })) => Recorded::ByGuest(end.clone()),
            Some(Kind::Finished(Finished { fingerprint: None, .. })) => Recorded::ByHost,
            Some(Kind::Continued(continued)) => Recorded::GoesOn(continued.input.clone()),
            Some(_) | None => Recorded::NotYet,
        }
    }

    /// The verdict on a guest that did all that is on record.
    fn check(&self) -> EndCheck {
        match self {
            Recorded::ByGuest(_) | Recorded::GoesOn(_) => EndCheck::Identical,
            Recorded::ByHost => EndCheck::EndedByHost,
            Recorded::NotYet => EndCheck::NotEnded,
        }
    }
}

fn report(shared: &Shared, recorded: &Recorded, code_is: CodeIs, end: End) -> Result<ReplayReport> {
    let mut inner = shared.lock();
    let compared = inner.machine.compared();
    let agreed = || Ok(ReplayReport { compared, end: recorded.check(), divergence: None });
    let diverged = |divergence| Ok(ReplayReport { compared, end: EndCheck::Diverged, divergence: Some(divergence) });
    let produced = match end.how {
        Ended::HostFailed(error) => return Err(error),
        Ended::Stopped => match inner.stop.take() {
            Some(Why::Diverged(divergence)) => return diverged(*divergence),
            Some(Why::EndOfRecord) => return agreed(),
            Some(Why::GuestFailed(failure)) => GuestEnd::MadeByHost(failure),
            Some(Why::Unreadable(error)) => return Err(error),
            None => return Err(without_reason()),
        },
        Ended::Trapped(failure) if failure.code == code::OUT_OF_FUEL => match inner.machine.ran_past_record() {
            Some(divergence) => return diverged(*divergence),
            None => GuestEnd::MadeByHost(failure),
        },
        Ended::Returned(_) if let Some(goes_on) = inner.goes_on.take() => match goes_on.mail(&inner.machine) {
            Ok(_) => GuestEnd::GoesOn(goes_on.input),
            Err(failure) => GuestEnd::MadeByHost(failure),
        },
        how @ (Ended::Returned(_) | Ended::Trapped(_)) => {
            GuestEnd::of(how, &shared.limits).ok_or_else(without_reason)?
        }
    };
    if let Err(divergence) = inner.machine.end(end.fuel) {
        let produced = format!("{} with {}", divergence.produced, describe(&produced));
        return diverged(Divergence { produced, ..*divergence });
    }
    let another = match recorded {
        Recorded::ByGuest(recorded) => {
            let was_delivered = inner.machine.cancel_was_delivered();
            (!agree(recorded, &produced, was_delivered, code_is)).then(|| describe_recorded(recorded))
        }
        Recorded::GoesOn(input) => (!goes_on_with(input, &produced)).then(|| describe_goes_on(input)),
        Recorded::ByHost | Recorded::NotYet => None,
    };
    match another {
        None => agreed(),
        Some(recorded) => diverged(Divergence {
            id: None,
            commands: inner.machine.commands(),
            recorded,
            produced: describe(&produced),
            recorded_at: None,
            produced_at: produced.at().map(str::to_owned),
            recorded_digest: None,
            produced_digest: None,
        }),
    }
}

fn without_reason() -> Error {
    Error::new(Code::Internal, "the replay was stopped without a reason")
}

struct Shared {
    core: Arc<Core>,
    key: RunKey,
    limits: Limits,
    inner: Mutex<Inner>,
}

struct Inner {
    machine: Machine,
    goes_on: Option<GoesOn>,
    stop: Option<Why>,
}

enum Why {
    Diverged(Box<Divergence>),
    EndOfRecord,
    /// It ends with this, by an import instead of by returning.
    GuestFailed(Failure),
    Unreadable(Error),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ReplayHost {
    shared: Arc<Shared>,
    random: RunRandom,
    tokens: Tokens,
    loading: Option<(Delivery, BoxFuture<'static, Result<Arc<str>>>)>,
}

impl Inner {
    fn stop(&mut self, why: Why) -> Stop {
        self.stop.get_or_insert(why);
        Stop
    }

    fn take(&mut self, decision: Decision) -> Result<u32, Stop> {
        match decision {
            Decision::Recall { id } | Decision::Resume { id } => Ok(id),
            Decision::Ignore => Ok(0),
            Decision::Perform { .. } => Err(self.stop(Why::EndOfRecord)),
            Decision::Diverged(divergence) => Err(self.stop(Why::Diverged(divergence))),
        }
    }
}

impl GuestHost for ReplayHost {
    fn command(&mut self, command: Command<'_>, fuel: u64) -> Result<Reply, Stop> {
        let mut inner = self.shared.lock();
        let commanded = Commanded::of(command);
        let starts_something = matches!(commanded, Commanded::Ask(_));
        let counts = starts_something || matches!(commanded, Commanded::Emit { .. });
        if counts && let Some(failure) = over_limit(&inner.machine, &self.shared.limits) {
            return Err(inner.stop(Why::GuestFailed(failure)));
        }
        let decision = match commanded {
            Commanded::Ask(asking) => {
                let produced = asking.produced(inner.machine.next_on_record());
                inner.machine.ask(produced, fuel)
            }
            Commanded::Forget { id } => {
                let id = inner.machine.step_of(id);
                let command = Produced { act: Act::Forget { id }, digest: digest_of_forget(id), at: None };
                inner.machine.about(id, command, fuel)
            }
            Commanded::Cancel { id } => {
                let id = inner.machine.step_of(id);
                let command = Produced { act: Act::Cancel { id }, digest: digest_of_cancel(id), at: None };
                inner.machine.about(id, command, fuel)
            }
            Commanded::Patched { patch } => {
                let produced = patch_produced(patch).map_err(|failure| inner.stop(Why::GuestFailed(failure)))?;
                let known = match inner.machine.patched(produced, fuel) {
                    PatchDecision::Known(known) => known,
                    PatchDecision::Record(_) => return Err(inner.stop(Why::EndOfRecord)),
                    PatchDecision::TooMany => return Err(inner.stop(Why::GuestFailed(too_many_patches()))),
                    PatchDecision::Diverged(divergence) => return Err(inner.stop(Why::Diverged(divergence))),
                };
                return Ok(Reply { id: u32::from(known), fuel: Some(inner.machine.allowance(fuel)) });
            }
            Commanded::Publish(state) => {
                let produced = state.produced(&inner.machine, &self.shared.limits);
                let produced = produced.map_err(|failure| inner.stop(Why::GuestFailed(failure)))?;
                inner.machine.publish(produced, fuel)
            }
            Commanded::ContinueWith { input, unused } => {
                let goes_on = GoesOn::new(&inner.machine, &self.shared.limits, input, unused);
                inner.goes_on = Some(goes_on.map_err(|failure| inner.stop(Why::GuestFailed(failure)))?);
                return Ok(Reply { id: 0, fuel: Some(inner.machine.allowance(fuel)) });
            }
            Commanded::Emit { event, data, at } => {
                let produced = emit::produced(event, data, at);
                let produced = produced.map_err(|failure| inner.stop(Why::GuestFailed(failure)))?;
                inner.machine.emit(produced, fuel)
            }
            Commanded::Reply(reply) => {
                let reply = Replying { id: inner.machine.step_of(reply.id), ..reply };
                let produced = reply.produced(&inner.machine, &self.shared.limits);
                let produced = produced.map_err(|failure| inner.stop(Why::GuestFailed(failure)))?;
                inner.machine.reply(reply.id, produced, fuel)
            }
            Commanded::NotOurs => return Err(inner.stop(Why::EndOfRecord)),
        };
        let id = inner.take(decision)?;
        Ok(Reply {
            id: if starts_something { inner.machine.guest_id(id) } else { 0 },
            fuel: Some(inner.machine.allowance(fuel)),
        })
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, fuel: u64) -> Poll<Result<Delivery, Stop>> {
        if let Some((_, loading)) = &mut self.loading {
            let Poll::Ready(loaded) = loading.as_mut().poll(cx) else { return Poll::Pending };
            let Some((delivery, _)) = self.loading.take() else { return Poll::Ready(Err(Stop)) };
            return Poll::Ready(
                loaded
                    .map(|body| Delivery { body, ..delivery })
                    .map_err(|error| self.shared.lock().stop(Why::Unreadable(error))),
            );
        }
        let shared = self.shared.clone();
        let mut inner = shared.lock();
        let (kind, id, value) = match inner.machine.deliver() {
            Next::Deliver(Completion::Answer { id, outcome: Outcome::Succeeded(value) }) => ("succeeded", id, value),
            Next::Deliver(Completion::Answer { id, outcome: Outcome::Failed(value) }) => ("failed", id, value),
            Next::Deliver(Completion::Cancel { reason }) => ("cancel", 0, cancel_body(&reason)),
            Next::NothingOpen => return Poll::Ready(Ok(nothing_open(inner.machine.allowance(fuel)))),
            Next::Wait => return Poll::Ready(Err(inner.stop(Why::EndOfRecord))),
            Next::Diverged(divergence) => return Poll::Ready(Err(inner.stop(Why::Diverged(divergence)))),
        };
        let delivery = |body| Delivery { kind, id, body, fuel: Some(inner.machine.allowance(0)), refuel: true };
        match value {
            Value::Inline(text) => Poll::Ready(Ok(delivery(text))),
            Value::Stored { digest, .. } => {
                let delivery = delivery("".into());
                drop(inner);
                let shared = self.shared.clone();
                let loading = async move { read_payload(&shared.core, shared.key, digest).await };
                self.loading = Some((delivery, Box::pin(loading)));
                self.poll_next(cx, fuel)
            }
        }
    }

    fn promise_token(&mut self, id: u32) -> String {
        self.tokens.of(StepId(self.shared.lock().machine.step_of(id))).to_string()
    }

    fn now_ms(&mut self) -> u64 {
        self.shared.lock().machine.now().millis()
    }

    fn random(&mut self, into: &mut [u8]) {
        self.random.fill(self.shared.lock().machine.commands(), into);
    }

    /// What the run logs is on record.
    fn log(&mut self, _: &str, _: &str, _: &str) {}
}
