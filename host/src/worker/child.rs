//! Runs that a workflow starts. A child is started when its `Asked` is durable, under a key made of
//! (parent, step), so however often it is tried it is started once. Its end stands in the parent's
//! inbox with the frame that ends it. It never drives a child: whoever claims it does.

use serde::Deserialize;
use std::sync::Arc;
use trackway_replay::{
    ChildOf, ChildStarted, Digest, End, Entry, Failure, Frame, Kind, MessageId, Outcome, Phase, Position, RunId,
    RunState, StepId, StepRequest, Tie, Timestamp, Value, code,
};
use trackway_storage::{InboxBody, InboxItem, RunKey, StartKey, StorageErrorKind};

mod first;

use self::first::{Target, first_frame};
use super::Core;
use super::check;
use super::code::code_of;
use super::reach::{TRY_AGAIN_AFTER, in_reach};
use super::run::{Inner, Run, cancelled, read_payload};
use super::start::digest_of_start;
use super::write::{self, Written};
use crate::quota::{Crossing, Quota};
use crate::sandbox::CANCEL_GRACE_MS_MAX;
use crate::{Code, Error, Result};

/// What the start keys of children begin with.
const CHILD_KEY: &str = "\u{1}child/";
/// Looked at in one go.
const KEYS_AT_ONCE: usize = 1_000;

/// What `start-run` may say besides.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RunOptions {
    pub label: Option<String>,
    /// Default: the code of the run itself.
    pub deployment: Option<String>,
    pub detach: bool,
    /// The idempotency key of the start, where it is detached.
    pub key: Option<String>,
    pub on_cancel: OnCancel,
    /// How long the run has after a cancel, where its workflow is not to say it.
    pub cancel_grace_ms: Option<u64>,
}

/// What becomes of a child that nobody waits for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnCancel {
    #[default]
    Cancel,
    Abandon,
}

impl RunOptions {
    pub fn parse(text: &str) -> Result<RunOptions, Failure> {
        if text.is_empty() {
            return Ok(RunOptions::default());
        }
        let bad = |why: String| Failure::permanent(code::BAD_OPTIONS, why);
        let options: RunOptions = check::read_options(text)?;
        match (&options.key, options.detach) {
            (Some(_), false) => {
                Err(bad("`key` needs `detach`: a run that is waited for is known by its step".to_owned()))
            }
            (Some(key), true) if !check::is_key(key) => {
                Err(bad("`key` is 1 to 256 bytes of printable ASCII".to_owned()))
            }
            (Some(_) | None, _) => {
                check::millis("cancel_grace_ms", options.cancel_grace_ms, CANCEL_GRACE_MS_MAX)?;
                Ok(options)
            }
        }
    }

    /// Of a request that stands in the journal.
    fn of(request: &StepRequest) -> RunOptions {
        match request {
            StepRequest::StartRun { options, .. } => RunOptions::parse(options).unwrap_or_default(),
            StepRequest::Call { .. }
            | StepRequest::Sleep { .. }
            | StepRequest::Receive { .. }
            | StepRequest::AskPerson { .. }
            | StepRequest::Promise { .. }
            | StepRequest::Entity { .. }
            | StepRequest::AcceptUpdate { .. } => RunOptions::default(),
        }
    }

    fn goes_down(&self) -> bool {
        !self.detach && self.on_cancel == OnCancel::Cancel
    }
}

/// Starts what a step asks for, once all before it is durable. Also for a step that is closed by now
/// and may have started something.
pub(super) fn launch(run: &Arc<Run>, inner: &mut Inner, step: StepId, request: StepRequest) {
    if !inner.starting.insert(step) {
        return;
    }
    let cause = inner.end();
    run.force(inner, cause);
    run.core.spawn(run.key.tenant, Box::pin(start(run.clone(), step, request, cause)));
}

/// What came of a start.
enum Begun {
    Run {
        run: RunId,
        deployment: Arc<str>,
        component: Digest,
    },
    Refused(Failure),
    /// The step was closed before anything was started for it, and nobody wants it then.
    Nothing,
}

async fn start(run: Arc<Run>, step: StepId, request: StepRequest, cause: Position) {
    if run.durable(cause).await.is_err() {
        return;
    }
    let begun = loop {
        let is_wanted = {
            let inner = run.lock();
            if inner.stop.is_some() {
                return;
            }
            // One that is to go on alone is started also where nobody waits for it by now.
            inner.state.step(step).is_some() || !RunOptions::of(&request).goes_down()
        };
        match try_start(&run, step, &request, is_wanted).await {
            Ok(begun) => break begun,
            Err(error) => {
                tracing::warn!(run = %run.key.run, %step, %error, "a run cannot be started; it is tried again");
                run.core.clock.sleep_until(run.now() + TRY_AGAIN_AFTER).await;
            }
        }
    };
    settle(&run, step, &request, begun);
}

fn settle(run: &Arc<Run>, step: StepId, request: &StepRequest, begun: Begun) {
    let mut inner = run.lock();
    if inner.stop.is_some() {
        return;
    }
    inner.starting.remove(&step);
    let clock = run.now();
    let is_open = matches!(inner.state.step(step).map(|state| &state.phase), Some(Phase::Child { run: None }));
    let is_orphan = inner.state.orphans().contains_key(&step);
    let options = RunOptions::of(request);
    match begun {
        Begun::Run { run: child, deployment, component } if is_open || is_orphan => {
            inner.sequence(clock, Kind::ChildStarted(ChildStarted { step, run: child, deployment, component }));
            if is_open && options.detach {
                let output = serde_json::json!({ "run": child }).to_string();
                inner.answer(clock, step, Outcome::Succeeded(Value::inline(output)));
            }
            if is_orphan && options.goes_down() {
                inner.send_cancel(run.key, step, child, clock);
            }
        }
        Begun::Refused(failure) if is_open => inner.answer_failed(clock, step, &failure),
        Begun::Run { .. } | Begun::Refused(_) | Begun::Nothing => {}
    }
    run.poke.notify_one();
}

async fn try_start(run: &Run, step: StepId, request: &StepRequest, is_wanted: bool) -> Result<Begun> {
    let StepRequest::StartRun { workflow, input, .. } = request else { return Ok(Begun::Nothing) };
    let (core, options) = (&run.core, RunOptions::of(request));
    let input = run.text(input).await?;
    let deployment: Arc<str> = match &options.deployment {
        Some(deployment) => deployment.as_str().into(),
        None => run.started.deployment.clone(),
    };
    let (key, asked) = match &options.key {
        Some(key) => {
            let reference = format!("{deployment}/{workflow}");
            (Arc::from(key.as_str()), digest_of_start(&reference, &input, None, options.cancel_grace_ms))
        }
        None => {
            let named = options.deployment.as_deref().unwrap_or_default();
            let parts: [&[u8]; 4] = [b"child", named.as_bytes(), workflow.as_bytes(), input.as_bytes()];
            (key_of(run.key.run, step), Digest::of_parts(&parts))
        }
    };
    if let Some(known) = core.storage.start_key(run.key.tenant, &key).await? {
        return existing(core, run.key, &known, asked).await;
    }
    if !is_wanted {
        return Ok(Begun::Nothing);
    }
    let unknown = |what: String| Ok(Begun::Refused(Failure::permanent(code::UNKNOWN_WORKFLOW, what)));
    let component = match &options.deployment {
        None => run.code.digest(),
        Some(name) => {
            let found = core.storage.deployment(run.key.tenant, name).await?;
            let current = found.as_ref().and_then(|found| found.versions.iter().find(|it| it.version == found.current));
            match current {
                Some(version) => version.component,
                None => return unknown(format!("there is no deployment `{name}`")),
            }
        }
    };
    let code = code_of(core, run.key.tenant, component).await?;
    let Some(entry) = code.manifest().workflow(workflow) else {
        return unknown(format!("deployment `{deployment}` has no workflow `{workflow}`"));
    };
    let tie = if options.detach { Tie::Detached } else { Tie::Awaited };
    let child_of = ChildOf { parent: run.key.run, step, tie };
    let target = Target {
        input,
        workflow: workflow.clone(),
        deployment: deployment.clone(),
        component,
        timeout_ms: entry.run_timeout_ms,
        cancel_grace_ms: options.cancel_grace_ms,
    };
    let now = run.now();
    let limits = run.lock().counted.limits().clone();
    let depth = depth_below(run, limits.get(Quota::ChildDepth)).await?;
    let starting = match depth {
        Some(crossing) => Err(crossing),
        None => limits.admit_child(now),
    };
    let starting = match starting {
        Ok(starting) => starting,
        Err(crossing) => return Ok(Begun::Refused(crossing.failure())),
    };
    let child = RunKey { tenant: run.key.tenant, run: core.next_run(now) };
    let start_key = StartKey { key, run: child.run, request: asked };
    let (first, mut counted) = first_frame(core, child, target, starting, child_of, start_key, now);
    let written = write::write(core, first).await;
    counted.went(&written);
    match written {
        Written::UpTo(_) => {
            // Whoever finds it under its key takes it as started, and gives it to nobody.
            in_reach(core, child.run, || core.storage.release(child)).await?;
            Ok(Begun::Run { run: child.run, deployment, component })
        }
        Written::KeyTaken(known) => existing(core, run.key, &known, asked).await,
        Written::Refused(error) => Err(error.into()),
        Written::Fenced | Written::GaveUp | Written::Lines(_) => {
            Err(Error::new(Code::Internal, format!("the first frame of run {} was not taken", child.run)))
        }
    }
}

/// Whether a run that this one starts would stand too deep below the first one: one that was removed is none.
async fn depth_below(run: &Run, limit: u64) -> Result<Option<Crossing>> {
    let crossing = Crossing { quota: Quota::ChildDepth, limit, used: limit, more: 0, again_after: None };
    if let Some(depth) = run.depth.get() {
        return Ok((*depth > limit).then_some(crossing));
    }
    let (mut depth, mut above) = (1, run.key);
    while depth <= limit {
        let Beginning::Child(of) = beginning(&run.core, above).await? else {
            run.depth.get_or_init(|| depth);
            return Ok(None);
        };
        (depth, above) = (depth + 1, RunKey { run: of.parent, ..run.key });
    }
    Ok(Some(crossing))
}

/// What the key started before: by this step, or by whoever used the author's key.
async fn existing(core: &Core, parent: RunKey, known: &StartKey, asked: Digest) -> Result<Begun> {
    if known.request != asked {
        let why = format!("the key `{}` started run {} with another workflow or input", known.key, known.run);
        return Ok(Begun::Refused(Failure::permanent(code::KEY_CONFLICT, why)));
    }
    let head = core.storage.head(RunKey { run: known.run, ..parent }).await?;
    let head = head.ok_or_else(|| Error::new(Code::NoSuchRun, format!("run {} has no head", known.run)))?;
    Ok(Begun::Run { run: known.run, deployment: head.deployment, component: head.component })
}

/// Nobody else can give such a key: those of people are printable.
fn key_of(parent: RunId, step: StepId) -> Arc<str> {
    format!("{CHILD_KEY}{parent}/{step}").into()
}

impl Inner {
    /// What a step started that its workflow is about to close, where the author wants it to go too.
    pub fn child_to_cancel(&self, step: StepId) -> Option<RunId> {
        let state = self.state.step(step)?;
        match state.phase {
            Phase::Child { run } if RunOptions::of(&state.request).goes_down() => run,
            Phase::Child { .. }
            | Phase::Sleeping { .. }
            | Phase::Waiting
            | Phase::Attempting(_)
            | Phase::Retrying { .. }
            | Phase::Parked(_)
            | Phase::Receiving
            | Phase::Asking { .. }
            | Phase::Promised { .. }
            | Phase::Entity
            | Phase::Accepting => None,
        }
    }

    /// With the frame that holds all that is sequenced.
    pub fn send_cancel(&mut self, parent: RunKey, step: StepId, child: RunId, now: Timestamp) {
        let end = self.end();
        self.send.push((end, RunKey { run: child, ..parent }, cancel_item(parent.run, step, now)));
    }
}

fn cancel_item(parent: RunId, step: StepId, now: Timestamp) -> InboxItem {
    let digest = Digest::of_parts(&[b"cancel child", &parent.0.to_be_bytes(), &step.0.to_be_bytes()]);
    let reason = format!("run {parent}, which started this one, does not wait for it any more").into();
    InboxItem { message: message_of(digest), arrived: now, body: InboxBody::Cancel { reason } }
}

/// What a run started, or may have, and still waits for, where the author wants it to go with the run.
pub(super) fn waited_for(state: &RunState) -> Vec<(StepId, Option<RunId>)> {
    let orphans = state.orphans().iter().map(|(step, request)| (*step, None, request));
    let open = state.steps().iter().filter_map(|(step, open)| match open.phase {
        Phase::Child { run } => Some((*step, run, &open.request)),
        Phase::Sleeping { .. }
        | Phase::Waiting
        | Phase::Attempting(_)
        | Phase::Retrying { .. }
        | Phase::Parked(_)
        | Phase::Receiving
        | Phase::Asking { .. }
        | Phase::Promised { .. }
        | Phase::Entity
        | Phase::Accepting => None,
    });
    let wanted = orphans.chain(open).filter(|(.., request)| RunOptions::of(request).goes_down());
    wanted.map(|(step, run, _)| (step, run)).collect()
}

/// Before a run ends: what it still waits for is cancelled. Nothing of it may be under way to be started.
///
/// # Errors
/// Storage took it not: then the run must not end yet.
pub(super) async fn let_go(
    core: &Core,
    parent: RunKey,
    children: &[(StepId, Option<RunId>)],
    now: Timestamp,
) -> Result<()> {
    for (step, child) in children {
        let child = match child {
            Some(child) => Some(*child),
            None => core.storage.start_key(parent.tenant, &key_of(parent.run, *step)).await?.map(|known| known.run),
        };
        if let Some(run) = child {
            // One that has ended needs no telling.
            core.storage.send(RunKey { run, ..parent }, cancel_item(parent.run, *step, now)).await?;
        }
    }
    Ok(())
}

/// What the last frame of a run brings to the run that waits for it.
pub(super) fn told_of_end(
    run: RunKey,
    state: &RunState,
    entries: &[Entry],
    now: Timestamp,
) -> Vec<(RunKey, InboxItem)> {
    let ends = entries.last().is_some_and(|entry| matches!(entry.kind, Kind::Finished(_)));
    if ends { end_item(run, state, now).into_iter().collect() } else { Vec::new() }
}

/// What the run that waits for `run`, which has ended, is told; the same however often it is told.
pub(crate) fn end_item(run: RunKey, state: &RunState, now: Timestamp) -> Option<(RunKey, InboxItem)> {
    state.child_of().and_then(|of| item_for(run, of, now))
}

fn item_for(run: RunKey, of: &ChildOf, now: Timestamp) -> Option<(RunKey, InboxItem)> {
    let ChildOf { parent, step, .. } = Some(of).filter(|of| of.tie == Tie::Awaited)?;
    let message = message_of(Digest::of_parts(&[b"child ended", &run.run.0.to_be_bytes()]));
    let body = InboxBody::ChildEnded { step: *step, run: run.run };
    Some((RunKey { run: *parent, ..run }, InboxItem { message, arrived: now, body }))
}

/// The same, where the journal of `run` makes no sense: who waits for it then is known by its first entries, or else by
/// the key under which it was started.
///
/// # Errors
/// The store cannot be read now.
pub(super) async fn end_item_of_unreadable(
    core: &Core,
    run: RunKey,
    now: Timestamp,
) -> Result<Option<(RunKey, InboxItem)>> {
    let of = match beginning(core, run).await? {
        Beginning::Child(of) => Some(of),
        Beginning::Other => None,
        Beginning::Unreadable => by_its_key(core, run).await?,
    };
    Ok(of.and_then(|of| item_for(run, &of, now)))
}

enum Beginning {
    Child(ChildOf),
    Other,
    Unreadable,
}

/// What stands right behind the start of a run.
async fn beginning(core: &Core, run: RunKey) -> Result<Beginning> {
    let second = Position::FIRST.plus(1);
    for place in [Position::FIRST, second] {
        let stored = match core.storage.frames(run, place, 1).await {
            Err(error) if error.kind == StorageErrorKind::Damaged => return Ok(Beginning::Unreadable),
            stored => stored?.into_iter().next(),
        };
        let Some(stored) = stored else { return Ok(Beginning::Other) };
        let Ok(frame) = Frame::decode(&stored.frame) else { return Ok(Beginning::Unreadable) };
        if let Some(entry) = frame.entries.into_iter().find(|entry| entry.position == second) {
            return Ok(match entry.kind {
                Kind::ChildOf(of) => Beginning::Child(of),
                _ => Beginning::Other,
            });
        }
    }
    Ok(Beginning::Other)
}

/// Who started a run, by the key under which its parent did. One that is detached has such a key too: its parent, which
/// does not wait, takes no notice of its end.
async fn by_its_key(core: &Core, run: RunKey) -> Result<Option<ChildOf>> {
    let mut after: Option<Arc<str>> = Some(CHILD_KEY.into());
    loop {
        let keys = core.storage.start_keys(run.tenant, after.as_deref(), KEYS_AT_ONCE).await?;
        let Some(last) = keys.last().filter(|last| last.key.starts_with(CHILD_KEY)) else {
            return Ok(keys.iter().find(|known| known.run == run.run).and_then(|known| parent_in(&known.key)));
        };
        after = Some(last.key.clone());
        if let Some(known) = keys.iter().find(|known| known.run == run.run) {
            return Ok(parent_in(&known.key));
        }
    }
}

fn parent_in(key: &str) -> Option<ChildOf> {
    let (parent, step) = key.strip_prefix(CHILD_KEY)?.split_once('/')?;
    Some(ChildOf { parent: parent.parse().ok()?, step: StepId(step.parse().ok()?), tie: Tie::Awaited })
}

/// Whether the end of `child` can be that of what a step of the run started, and the step, if it is open, waits for it.
pub(super) fn may_have_started(state: &RunState, step: StepId, child: RunId) -> bool {
    let Some(open) = state.step(step) else { return (1..=state.asked()).contains(&step.0) };
    let is_its = matches!(open.phase, Phase::Child { run } if run.is_none_or(|run| run == child));
    is_its && !RunOptions::of(&open.request).detach
}

fn message_of(digest: Digest) -> MessageId {
    let (first, _) = digest.0.split_first_chunk().expect("a digest has more than 16 bytes");
    MessageId(u128::from_be_bytes(*first))
}

/// How a run ended, as its parent gets it.
///
/// # Errors
/// The store cannot be read now.
pub(super) async fn end_of(core: &Core, child: RunKey) -> Result<Result<Arc<str>, Failure>> {
    let lost =
        |why: &str| Ok(Err(Failure::permanent(code::CHILD_LOST, format!("run {} has ended, but {why}", child.run))));
    let end = core.storage.end(child).await?;
    let Some(last) = end.0.checked_sub(1) else { return lost("is not there any more") };
    let frames = core.storage.frames(child, Position(last), 1).await?;
    let frame = frames.first().and_then(|stored| Frame::decode(&stored.frame).ok());
    let Some(Kind::Finished(finished)) =
        frame.and_then(|frame| frame.entries.into_iter().next_back()).map(|it| it.kind)
    else {
        return lost("its end cannot be read");
    };
    Ok(match finished.end {
        End::Succeeded(Value::Inline(text)) => Ok(text),
        End::Succeeded(Value::Stored { digest, .. }) => match read_payload(core, child, digest).await {
            Ok(text) => Ok(text),
            Err(error) if error.code == Code::DataDamaged => return lost("its output cannot be read"),
            Err(error) => return Err(error),
        },
        End::Failed(failure) => Err(Failure::from_value(&failure)),
        End::Cancelled { reason } => Err(cancelled(&format!("run {} was cancelled: {reason}", child.run))),
        End::Terminated { reason } => Err(cancelled(&format!("run {} was terminated: {reason}", child.run))),
    })
}
