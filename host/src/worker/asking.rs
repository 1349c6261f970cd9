//! What a workflow asks for, as it gives it: by what a replay recognises it, why it is refused, and how
//! it stands in the journal. It must look at nothing but the request and what the run began with.

use std::sync::Arc;
use trackway_replay::{
    Act, Command as Produced, Digest, EntityAct, EntityVerb, Failure, Form, Limits, MAIL_TAKEN_ALONG_MAX, Machine,
    PATCHES_MAX, Position, StepRequest, Value, code, digest_of_accept_update, digest_of_ask_person, digest_of_call,
    digest_of_entity, digest_of_patched, digest_of_promise, digest_of_receive, digest_of_sleep, digest_of_start_run,
};

use trackway_storage::ENTITY_KEY_MAX_BYTES;

use super::check;
use super::child::RunOptions;
use super::entity;
use super::run::Inner;
use super::told::{Publishing, Replying};
use crate::sandbox::{Command, Manifest};

#[derive(Clone, Copy)]
pub(super) enum Asking<'a> {
    Call {
        function: &'a str,
        input: &'a str,
        options: &'a str,
        at: Option<&'a str>,
    },
    Sleep {
        duration_ms: u64,
        options: &'a str,
        at: Option<&'a str>,
    },
    StartRun {
        workflow: &'a str,
        input: &'a str,
        options: &'a str,
        at: Option<&'a str>,
    },
    Receive {
        signal: &'a str,
        options: &'a str,
        at: Option<&'a str>,
    },
    AskPerson {
        form: &'a str,
        options: &'a str,
        at: Option<&'a str>,
    },
    Promise {
        name: &'a str,
        options: &'a str,
        at: Option<&'a str>,
    },
    AcceptUpdate {
        update: &'a str,
        options: &'a str,
        at: Option<&'a str>,
    },
    /// `value` is empty but for a set.
    Entity {
        verb: EntityVerb,
        entity: &'a str,
        key: &'a str,
        value: &'a str,
        options: &'a str,
        at: Option<&'a str>,
    },
}

/// What a workflow commands.
pub(super) enum Commanded<'a> {
    Ask(Asking<'a>),
    Forget {
        id: u32,
    },
    Cancel {
        id: u32,
    },
    /// May it do as its newer code does?
    Patched {
        patch: &'a str,
    },
    Publish(Publishing<'a>),
    /// Once it has returned, it is called anew with this.
    ContinueWith {
        input: &'a str,
        unused: &'a [u32],
    },
    Emit {
        event: &'a str,
        data: &'a str,
        at: Option<&'a str>,
    },
    Reply(Replying<'a>),
    /// The sandbox links it in the other role only.
    NotOurs,
}

impl<'a> Commanded<'a> {
    pub fn of(command: Command<'a>) -> Commanded<'a> {
        Commanded::Ask(match command {
            Command::Call { function, input, options, at } => Asking::Call { function, input, options, at },
            Command::Sleep { duration_ms, options, at } => Asking::Sleep { duration_ms, options, at },
            Command::StartRun { workflow, input, options, at } => Asking::StartRun { workflow, input, options, at },
            Command::Receive { signal, options, at } => Asking::Receive { signal, options, at },
            Command::AskPerson { form, options, at } => Asking::AskPerson { form, options, at },
            Command::Promise { name, options, at } => Asking::Promise { name, options, at },
            Command::AcceptUpdate { update, options, at } => Asking::AcceptUpdate { update, options, at },
            Command::EntityGet { entity, key, options, at } => {
                Asking::Entity { verb: EntityVerb::Get, entity, key, value: "", options, at }
            }
            Command::EntitySet { entity, key, value, options, at } => {
                Asking::Entity { verb: EntityVerb::Set, entity, key, value, options, at }
            }
            Command::EntityDelete { entity, key, options, at } => {
                Asking::Entity { verb: EntityVerb::Delete, entity, key, value: "", options, at }
            }
            Command::Forget { id } => return Commanded::Forget { id },
            Command::Cancel { id } => return Commanded::Cancel { id },
            Command::Patched { patch } => return Commanded::Patched { patch },
            Command::Publish { key, value, at } => return Commanded::Publish(Publishing { key, value, at }),
            Command::ContinueWith { input, unused } => return Commanded::ContinueWith { input, unused },
            Command::Emit { event, data, at } => return Commanded::Emit { event, data, at },
            Command::Reply { id, answer, at } => return Commanded::Reply(Replying { id, answer, at }),
            Command::Http { .. }
            | Command::Model { .. }
            | Command::Progress { .. }
            | Command::Delta { .. }
            | Command::Begin { .. }
            | Command::End { .. } => {
                return Commanded::NotOurs;
            }
        })
    }
}

/// The question as it is held against the record, or what is wrong with it.
pub(super) fn patch_produced(patch: &str) -> Result<Produced, Failure> {
    check::name("a patch", patch)?;
    Ok(Produced { act: Act::Patched { patch: patch.into() }, digest: digest_of_patched(patch), at: None })
}

pub(super) fn too_many_patches() -> Failure {
    Failure::permanent(code::TOO_MANY, format!("the run asked about more than {PATCHES_MAX} patches"))
}

/// What a workflow that returns goes on with, in the same run.
#[derive(Debug)]
pub(super) struct GoesOn {
    pub input: Arc<str>,
    /// Steps whose signal it took and did not use.
    unused: Vec<u32>,
}

impl GoesOn {
    pub fn new(machine: &Machine, limits: &Limits, input: &str, unused: &[u32]) -> Result<GoesOn, Failure> {
        check::value(input, limits, code::BAD_INPUT)?;
        if unused.len() > MAIL_TAKEN_ALONG_MAX {
            return Err(too_much_mail());
        }
        let unused = unused.iter().map(|id| machine.step_of(*id)).collect();
        Ok(GoesOn { input: input.into(), unused })
    }

    /// Where what was sent to the run stands that it takes along.
    pub fn mail(&self, machine: &Machine) -> Result<Vec<Position>, Failure> {
        let left = machine.mail_left(&self.unused);
        if left.len() > MAIL_TAKEN_ALONG_MAX { Err(too_much_mail()) } else { Ok(left) }
    }
}

fn too_much_mail() -> Failure {
    let message = format!("the run cannot be continued with more than {MAIL_TAKEN_ALONG_MAX} signals that nobody took");
    Failure::permanent(code::TOO_MANY, message)
}

/// To compare a text is quicker than to make a new one.
fn shared_or_new(known: Option<&Arc<str>>, text: &str) -> Arc<str> {
    known.filter(|known| ***known == *text).map_or_else(|| text.into(), Arc::clone)
}

impl Asking<'_> {
    /// As it is held against the record. `likely`: what is on record next, whose texts it shares where they are the
    /// same.
    pub fn produced(&self, likely: Option<&Produced>) -> Produced {
        let known = likely.and_then(|likely| likely.act.name());
        let name = |name| shared_or_new(known, check::cut(name, check::NAME_MAX_BYTES));
        let act = match *self {
            Asking::Call { function, .. } => Act::Call { function: name(function) },
            Asking::Sleep { duration_ms, .. } => Act::Sleep { duration_ms },
            Asking::StartRun { workflow, .. } => Act::StartRun { workflow: name(workflow) },
            Asking::Receive { signal, .. } => Act::Receive { signal: name(signal) },
            Asking::AskPerson { .. } => Act::AskPerson,
            Asking::Promise { name: promise, .. } => Act::Promise { name: name(promise) },
            Asking::AcceptUpdate { update, .. } => Act::AcceptUpdate { update: name(update) },
            Asking::Entity { verb, entity, key, .. } => {
                Act::Entity { verb, entity: name(entity), key: check::cut(key, ENTITY_KEY_MAX_BYTES).into() }
            }
        };
        let (Asking::Call { at, .. }
        | Asking::Sleep { at, .. }
        | Asking::StartRun { at, .. }
        | Asking::Receive { at, .. }
        | Asking::AskPerson { at, .. }
        | Asking::Promise { at, .. }
        | Asking::AcceptUpdate { at, .. }
        | Asking::Entity { at, .. }) = self;
        let known = likely.and_then(|likely| likely.at.as_ref());
        let at = at.map(|at| shared_or_new(known, check::cut(at, check::AT_MAX_BYTES)));
        Produced { act, digest: self.digest(), at }
    }

    fn digest(&self) -> Digest {
        match *self {
            Asking::Call { function, input, options, .. } => digest_of_call(function, input, options),
            Asking::Sleep { duration_ms, options, .. } => digest_of_sleep(duration_ms, options),
            Asking::StartRun { workflow, input, options, .. } => digest_of_start_run(workflow, input, options),
            Asking::Receive { signal, options, .. } => digest_of_receive(signal, options),
            Asking::AskPerson { form, options, .. } => digest_of_ask_person(form, options),
            Asking::Promise { name, options, .. } => digest_of_promise(name, options),
            Asking::AcceptUpdate { update, options, .. } => digest_of_accept_update(update, options),
            Asking::Entity { verb, entity, key, value, options, .. } => {
                digest_of_entity(verb, entity, key, value, options)
            }
        }
    }

    /// Why this cannot be done, if it cannot: the journaled answer of its id. `open`: how many
    /// operations are open.
    pub fn refusal(&self, limits: &Limits, manifest: &Manifest, open: usize) -> Option<Failure> {
        if open >= limits.steps_open as usize {
            let message = format!("{open} operations are open; the limit is {}", limits.steps_open);
            return Some(Failure::permanent(code::TOO_MANY, message));
        }
        match *self {
            Asking::Call { function, input, options, .. } => {
                let Some(entry) = manifest.function(function) else {
                    let message =
                        format!("the component has no function `{}`", check::cut(function, check::NAME_MAX_BYTES));
                    return Some(Failure::permanent(code::UNKNOWN_FUNCTION, message));
                };
                let checked = check::call_options(options, entry);
                checked.and_then(|()| check::value(input, limits, code::BAD_INPUT)).err()
            }
            Asking::Sleep { options, .. } => check::options(options).err(),
            Asking::StartRun { workflow, .. } if workflow.len() > check::NAME_MAX_BYTES => {
                let shown = check::cut(workflow, check::NAME_MAX_BYTES);
                Some(Failure::permanent(code::UNKNOWN_WORKFLOW, format!("there is no workflow `{shown}...`")))
            }
            Asking::StartRun { input, options, .. } => {
                RunOptions::parse(options).and_then(|_| check::value(input, limits, code::BAD_INPUT)).err()
            }
            Asking::Receive { signal, options, .. } => {
                check::name("a signal", signal).and_then(|()| check::options(options)).err()
            }
            Asking::AcceptUpdate { update, options, .. } => {
                check::name("an update", update).and_then(|()| check::options(options)).err()
            }
            Asking::AskPerson { form, options, .. } => match Form::read(form) {
                Ok(_) => check::options(options).err(),
                Err(why) => Some(Failure::permanent(code::BAD_REQUEST, why)),
            },
            Asking::Promise { name, options, .. } => {
                check::name("a promise", name).and_then(|()| check::promise_options(options)).err()
            }
            Asking::Entity { verb, entity: name, key, value, options, .. } => {
                entity::refusal(verb, name, key, value, options)
            }
        }
    }

    /// As it stands in the journal.
    pub fn request(&self, inner: &mut Inner, is_refused: bool) -> StepRequest {
        let name = |name| Arc::from(check::cut(name, check::NAME_MAX_BYTES));
        let kept = |options: &str| Arc::from(if is_refused { "" } else { options });
        match *self {
            Asking::Call { function, input, options, .. } => StepRequest::Call {
                function: name(function),
                // What was refused need not be JSON, and may be larger than anything that is kept.
                input: if is_refused { Value::null() } else { inner.value(input, Value::INLINE_MAX_BYTES) },
                options: kept(options),
            },
            Asking::Sleep { duration_ms, options, .. } => StepRequest::Sleep { duration_ms, options: kept(options) },
            Asking::StartRun { workflow, input, options, .. } => StepRequest::StartRun {
                workflow: name(workflow),
                input: if is_refused { Value::null() } else { inner.value(input, Value::INLINE_MAX_BYTES) },
                options: kept(options),
            },
            Asking::Receive { signal, options, .. } => {
                StepRequest::Receive { signal: name(signal), options: kept(options) }
            }
            Asking::AcceptUpdate { update, options, .. } => {
                StepRequest::AcceptUpdate { update: name(update), options: kept(options) }
            }
            Asking::AskPerson { form, options, .. } => StepRequest::AskPerson {
                form: if is_refused { Value::null() } else { inner.value(form, Value::INLINE_MAX_BYTES) },
                options: kept(options),
            },
            Asking::Promise { name: promise, options, .. } => {
                StepRequest::Promise { name: name(promise), owner: inner.state.started().run, options: kept(options) }
            }
            Asking::Entity { verb, entity, key, value, options, .. } => StepRequest::Entity {
                entity: name(entity),
                key: check::cut(key, ENTITY_KEY_MAX_BYTES).into(),
                act: match verb {
                    EntityVerb::Get => EntityAct::Get,
                    EntityVerb::Set if is_refused => EntityAct::Set { value: Value::null() },
                    EntityVerb::Set => EntityAct::Set { value: inner.value(value, Value::INLINE_MAX_BYTES) },
                    EntityVerb::Delete => EntityAct::Delete,
                },
                options: kept(options),
            },
        }
    }
}
