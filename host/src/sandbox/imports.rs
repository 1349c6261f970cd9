//! The functions that a guest can call. Each reads its arguments where they lie, asks the host, and
//! gives the answer back; none decides anything and none panics on what a guest gives.

use super::completion::Completion;
use super::guest::{self, Guest, Panicked, command, room, with_host};
use super::{Command, Role};
use std::borrow::Cow;
use trackway_replay::MAIL_TAKEN_ALONG_MAX;
use wasmtime::component::{Linker, LinkerInstance, WasmList, WasmStr};
use wasmtime::{AsContext, Engine, Result, StoreContext, StoreContextMut};

mod spans;

pub const STEP: &str = "trackway:guest/step@0.1.0";
pub const EFFECT: &str = "trackway:guest/effect@0.1.0";

/// One call gives at most this many bytes; a guest that needs more asks again.
const RANDOM_BYTES_MAX: u32 = 65_536;

/// The guest used an interface that is not live in its role.
#[derive(Debug, thiserror::Error)]
#[error("{interface}.{function} is not available here")]
pub struct NotLinked {
    pub interface: Interface,
    pub function: &'static str,
    pub at: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    Step,
    Effect,
}

impl std::fmt::Display for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Interface::Step => "step",
            Interface::Effect => "effect",
        })
    }
}

/// A call of an import that the contract forbids.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(String);

/// All imports for instances of `role`; for none of the two, all of them trap.
pub fn linker(engine: &Engine, role: Option<Role>) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    let mut step = linker.instance(STEP)?;
    if role == Some(Role::Workflow) {
        link_two(&mut step, "call", |function, input, options, at| Command::Call { function, input, options, at })?;
        link_two(&mut step, "start-run", |workflow, input, options, at| Command::StartRun {
            workflow,
            input,
            options,
            at,
        })?;
        link_two(&mut step, "entity-get", |entity, key, options, at| Command::EntityGet { entity, key, options, at })?;
        link_two(&mut step, "entity-delete", |entity, key, options, at| Command::EntityDelete {
            entity,
            key,
            options,
            at,
        })?;
        link_entity_set(&mut step)?;
        link_named(&mut step, "receive", |signal, options, at| Command::Receive { signal, options, at })?;
        link_named(&mut step, "ask-person", |form, options, at| Command::AskPerson { form, options, at })?;
        link_patched(&mut step)?;
        link_continue_with(&mut step)?;
        link_named(&mut step, "promise", |name, options, at| Command::Promise { name, options, at })?;
        step.func_wrap("promise-token", |mut cx: Cx<'_>, (id,): (u32,)| {
            with_host(&mut cx, |host, _, _| Ok((host.promise_token(id),)))
        })?;
        link_publish(&mut step)?;
        link_emit(&mut step)?;
        link_named(&mut step, "accept-update", |update, options, at| Command::AcceptUpdate { update, options, at })?;
        link_reply(&mut step)?;
        link_shared(&mut step)?;
    } else {
        for name in ["call", "start-run", "entity-get", "entity-delete"] {
            refuse_two(&mut step, name)?;
        }
        refuse_entity_set(&mut step)?;
        refuse_named(&mut step, Interface::Step, "receive")?;
        refuse_named(&mut step, Interface::Step, "ask-person")?;
        refuse_patched(&mut step)?;
        refuse_continue_with(&mut step)?;
        refuse_named(&mut step, Interface::Step, "promise")?;
        step.func_wrap("promise-token", |cx: Cx<'_>, (_,): (u32,)| -> Result<(String,)> {
            Err(not_linked(&cx, Interface::Step, "promise-token", None))
        })?;
        refuse_publish(&mut step)?;
        refuse_emit(&mut step, Interface::Step)?;
        refuse_named(&mut step, Interface::Step, "accept-update")?;
        refuse_reply(&mut step)?;
        refuse_shared(&mut step, Interface::Step)?;
    }
    link_panicked(&mut step)?;
    let mut effect = linker.instance(EFFECT)?;
    if role == Some(Role::Function) {
        link_named(&mut effect, "http", |request, options, at| Command::Http { request, options, at })?;
        link_named(&mut effect, "model", |request, options, at| Command::Model { request, options, at })?;
        link_named(&mut effect, "ask-person", |form, options, at| Command::AskPerson { form, options, at })?;
        link_progress(&mut effect)?;
        link_emit(&mut effect)?;
        link_delta(&mut effect)?;
        spans::link(&mut effect)?;
        link_shared(&mut effect)?;
    } else {
        refuse_named(&mut effect, Interface::Effect, "http")?;
        refuse_named(&mut effect, Interface::Effect, "model")?;
        refuse_named(&mut effect, Interface::Effect, "ask-person")?;
        refuse_progress(&mut effect)?;
        refuse_emit(&mut effect, Interface::Effect)?;
        refuse_delta(&mut effect)?;
        spans::refuse(&mut effect)?;
        refuse_shared(&mut effect, Interface::Effect)?;
    }
    link_panicked(&mut effect)?;
    Ok(linker)
}

type Instance<'a> = LinkerInstance<'a, Guest>;
type Cx<'a> = StoreContextMut<'a, Guest>;

type MakeOfTwo = for<'a> fn(&'a str, &'a str, &'a str, Option<&'a str>) -> Command<'a>;

/// What takes two texts beside its options.
fn link_two(interface: &mut Instance<'_>, name: &str, make: MakeOfTwo) -> Result<()> {
    type Parameters = (WasmStr, WasmStr, WasmStr, Option<WasmStr>);
    interface.func_wrap_async(name, move |mut cx: Cx<'_>, (first, second, options, at): Parameters| {
        Box::new(async move {
            let id = command(&mut cx, |store, give| {
                let (first, second) = (first.to_str(&store)?, second.to_str(&store)?);
                let (options, at) = (options.to_str(&store)?, text(at.as_ref(), &store)?);
                give(make(&first, &second, &options, at.as_deref()));
                Ok(())
            })?;
            room(&mut cx).await?;
            Ok((id,))
        })
    })
}

fn link_entity_set(interface: &mut Instance<'_>) -> Result<()> {
    type Parameters = (WasmStr, WasmStr, WasmStr, WasmStr, Option<WasmStr>);
    interface.func_wrap_async("entity-set", |mut cx: Cx<'_>, (entity, key, value, options, at): Parameters| {
        Box::new(async move {
            let id = command(&mut cx, |store, give| {
                let (entity, key, value) = (entity.to_str(&store)?, key.to_str(&store)?, value.to_str(&store)?);
                let (options, at) = (options.to_str(&store)?, text(at.as_ref(), &store)?);
                let at = at.as_deref();
                give(Command::EntitySet { entity: &entity, key: &key, value: &value, options: &options, at });
                Ok(())
            })?;
            room(&mut cx).await?;
            Ok((id,))
        })
    })
}

type Make = for<'a> fn(&'a str, &'a str, Option<&'a str>) -> Command<'a>;

/// What takes one text beside its options.
fn link_named(interface: &mut Instance<'_>, name: &str, make: Make) -> Result<()> {
    type Parameters = (WasmStr, WasmStr, Option<WasmStr>);
    interface.func_wrap_async(name, move |mut cx: Cx<'_>, (named, options, at): Parameters| {
        Box::new(async move {
            let id = command(&mut cx, |store, give| {
                let (named, options) = (named.to_str(&store)?, options.to_str(&store)?);
                let at = text(at.as_ref(), &store)?;
                give(make(&named, &options, at.as_deref()));
                Ok(())
            })?;
            room(&mut cx).await?;
            Ok((id,))
        })
    })
}

fn link_patched(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap_async("patched", |mut cx: Cx<'_>, (patch,): (WasmStr,)| {
        Box::new(async move {
            let answer = command(&mut cx, |store, give| {
                let patch = patch.to_str(&store)?;
                give(Command::Patched { patch: &patch });
                Ok(())
            })?;
            room(&mut cx).await?;
            Ok((answer == 1,))
        })
    })
}

fn link_publish(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap_async("publish", |mut cx: Cx<'_>, (key, value, at): (WasmStr, WasmStr, Option<WasmStr>)| {
        Box::new(async move {
            command(&mut cx, |store, give| {
                let (key, value) = (key.to_str(&store)?, value.to_str(&store)?);
                let at = text(at.as_ref(), &store)?;
                give(Command::Publish { key: &key, value: &value, at: at.as_deref() });
                Ok(())
            })?;
            room(&mut cx).await
        })
    })
}

fn link_continue_with(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap_async("continue-with", |mut cx: Cx<'_>, (input, unused): (WasmStr, WasmList<u32>)| {
        Box::new(async move {
            command(&mut cx, |store, give| {
                let input = input.to_str(&store)?;
                // Whoever decides refuses more than that.
                let named = unused.as_le_slice(&store).iter().take(MAIL_TAKEN_ALONG_MAX + 1);
                let unused: Vec<u32> = named.map(|id| u32::from_le(*id)).collect();
                give(Command::ContinueWith { input: &input, unused: &unused });
                Ok(())
            })?;
            room(&mut cx).await
        })
    })
}

fn link_reply(interface: &mut Instance<'_>) -> Result<()> {
    type Parameters = (u32, std::result::Result<WasmStr, WasmStr>, Option<WasmStr>);
    interface.func_wrap_async("reply", |mut cx: Cx<'_>, (id, answer, at): Parameters| {
        Box::new(async move {
            command(&mut cx, |store, give| {
                let (answer, at) = (result(&answer, &store)?, text(at.as_ref(), &store)?);
                give(Command::Reply { id, answer: borrowed(&answer), at: at.as_deref() });
                Ok(())
            })?;
            room(&mut cx).await
        })
    })
}

fn link_progress(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap_async("progress", |mut cx: Cx<'_>, (progress,): (WasmStr,)| {
        Box::new(async move {
            command(&mut cx, |store, give| {
                let progress = progress.to_str(&store)?;
                give(Command::Progress { progress: &progress });
                Ok(())
            })?;
            room(&mut cx).await
        })
    })
}

fn link_emit(interface: &mut Instance<'_>) -> Result<()> {
    type Parameters = (WasmStr, WasmStr, Option<WasmStr>);
    interface.func_wrap_async("emit", |mut cx: Cx<'_>, (event, data, at): Parameters| {
        Box::new(async move {
            command(&mut cx, |store, give| {
                let (event, data) = (event.to_str(&store)?, data.to_str(&store)?);
                let at = text(at.as_ref(), &store)?;
                give(Command::Emit { event: &event, data: &data, at: at.as_deref() });
                Ok(())
            })?;
            room(&mut cx).await
        })
    })
}

fn link_delta(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap_async("delta", |mut cx: Cx<'_>, (event, data): (WasmStr, WasmStr)| {
        Box::new(async move {
            command(&mut cx, |store, give| {
                let (event, data) = (event.to_str(&store)?, data.to_str(&store)?);
                give(Command::Delta { event: &event, data: &data });
                Ok(())
            })?;
            room(&mut cx).await
        })
    })
}

/// What both interfaces have.
fn link_shared(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap_async("sleep", |mut cx: Cx<'_>, (ms, options, at): (u64, WasmStr, Option<WasmStr>)| {
        Box::new(async move {
            let id = command(&mut cx, |store, give| {
                let (options, at) = (options.to_str(&store)?, text(at.as_ref(), &store)?);
                give(Command::Sleep { duration_ms: ms, options: &options, at: at.as_deref() });
                Ok(())
            })?;
            room(&mut cx).await?;
            Ok((id,))
        })
    })?;
    interface.func_wrap_async("next", |mut cx: Cx<'_>, (): ()| {
        Box::new(async move {
            let delivery = guest::next(&mut cx).await?;
            Ok((Completion { kind: delivery.kind, id: delivery.id, body: delivery.body },))
        })
    })?;
    link_without_text(interface, "forget", |id| Command::Forget { id })?;
    link_without_text(interface, "cancel", |id| Command::Cancel { id })?;
    interface.func_wrap("now", |mut cx: Cx<'_>, (): ()| with_host(&mut cx, |host, _, _| Ok((host.now_ms(),))))?;
    interface.func_wrap("random", |mut cx: Cx<'_>, (size_bytes,): (u32,)| {
        if size_bytes > RANDOM_BYTES_MAX {
            let message = format!("random was asked for {size_bytes} bytes; at most {RANDOM_BYTES_MAX} in one call");
            return Err(Misuse(message).into());
        }
        let mut bytes = vec![0; size_bytes as usize];
        with_host(&mut cx, |host, _, _| {
            host.random(&mut bytes);
            Ok(())
        })?;
        Ok((bytes,))
    })?;
    interface.func_wrap("log", |mut cx: Cx<'_>, (level, message, fields): (WasmStr, WasmStr, WasmStr)| {
        with_host(&mut cx, |host, store, _| {
            host.log(&level.to_str(&store)?, &message.to_str(&store)?, &fields.to_str(&store)?);
            Ok(())
        })
    })
}

fn link_without_text(interface: &mut Instance<'_>, name: &str, make: fn(u32) -> Command<'static>) -> Result<()> {
    interface.func_wrap_async(name, move |mut cx: Cx<'_>, (id,): (u32,)| {
        Box::new(async move {
            command(&mut cx, |_, give| {
                give(make(id));
                Ok(())
            })?;
            room(&mut cx).await
        })
    })
}

/// Live in every instance: a panic hook does not know whom it serves.
fn link_panicked(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap("panicked", |mut cx: Cx<'_>, (message, at): (WasmStr, Option<WasmStr>)| {
        let store = cx.as_context();
        let panicked = Panicked::new(&message.to_str(&store)?, text(at.as_ref(), &store)?.as_deref());
        cx.data_mut().panicked = Some(panicked);
        Ok(())
    })
}

fn refuse_two(interface: &mut Instance<'_>, name: &'static str) -> Result<()> {
    type Parameters = (WasmStr, WasmStr, WasmStr, Option<WasmStr>);
    interface.func_wrap(name, move |cx: Cx<'_>, (_, _, _, at): Parameters| -> Result<(u32,)> {
        Err(not_linked(&cx, Interface::Step, name, at.as_ref()))
    })
}

fn refuse_entity_set(interface: &mut Instance<'_>) -> Result<()> {
    type Parameters = (WasmStr, WasmStr, WasmStr, WasmStr, Option<WasmStr>);
    let name = "entity-set";
    interface.func_wrap(name, move |cx: Cx<'_>, (_, _, _, _, at): Parameters| -> Result<(u32,)> {
        Err(not_linked(&cx, Interface::Step, name, at.as_ref()))
    })
}

fn refuse_named(interface: &mut Instance<'_>, of: Interface, name: &'static str) -> Result<()> {
    interface.func_wrap(name, move |cx: Cx<'_>, (_, _, at): (WasmStr, WasmStr, Option<WasmStr>)| -> Result<(u32,)> {
        Err(not_linked(&cx, of, name, at.as_ref()))
    })
}

fn refuse_patched(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap("patched", |cx: Cx<'_>, (_,): (WasmStr,)| -> Result<(bool,)> {
        Err(not_linked(&cx, Interface::Step, "patched", None))
    })
}

fn refuse_publish(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap("publish", |cx: Cx<'_>, (_, _, at): (WasmStr, WasmStr, Option<WasmStr>)| -> Result<()> {
        Err(not_linked(&cx, Interface::Step, "publish", at.as_ref()))
    })
}

fn refuse_continue_with(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap("continue-with", |cx: Cx<'_>, (_, _): (WasmStr, WasmList<u32>)| -> Result<()> {
        Err(not_linked(&cx, Interface::Step, "continue-with", None))
    })
}

fn refuse_reply(interface: &mut Instance<'_>) -> Result<()> {
    type Parameters = (u32, std::result::Result<WasmStr, WasmStr>, Option<WasmStr>);
    interface.func_wrap("reply", |cx: Cx<'_>, (_, _, at): Parameters| -> Result<()> {
        Err(not_linked(&cx, Interface::Step, "reply", at.as_ref()))
    })
}

fn refuse_progress(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap("progress", |cx: Cx<'_>, (_,): (WasmStr,)| -> Result<()> {
        Err(not_linked(&cx, Interface::Effect, "progress", None))
    })
}

fn refuse_emit(interface: &mut Instance<'_>, of: Interface) -> Result<()> {
    type Parameters = (WasmStr, WasmStr, Option<WasmStr>);
    interface.func_wrap("emit", move |cx: Cx<'_>, (_, _, at): Parameters| -> Result<()> {
        Err(not_linked(&cx, of, "emit", at.as_ref()))
    })
}

fn refuse_delta(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap("delta", |cx: Cx<'_>, (_, _): (WasmStr, WasmStr)| -> Result<()> {
        Err(not_linked(&cx, Interface::Effect, "delta", None))
    })
}

fn refuse_shared(interface: &mut Instance<'_>, of: Interface) -> Result<()> {
    interface.func_wrap("sleep", move |cx: Cx<'_>, (_, _, at): (u64, WasmStr, Option<WasmStr>)| -> Result<(u32,)> {
        Err(not_linked(&cx, of, "sleep", at.as_ref()))
    })?;
    interface.func_wrap("next", move |cx: Cx<'_>, (): ()| -> Result<(Completion,)> {
        Err(not_linked(&cx, of, "next", None))
    })?;
    for name in ["forget", "cancel"] {
        interface
            .func_wrap(name, move |cx: Cx<'_>, (_,): (u32,)| -> Result<()> { Err(not_linked(&cx, of, name, None)) })?;
    }
    interface
        .func_wrap("now", move |cx: Cx<'_>, (): ()| -> Result<(u64,)> { Err(not_linked(&cx, of, "now", None)) })?;
    interface.func_wrap("random", move |cx: Cx<'_>, (_,): (u32,)| -> Result<(Vec<u8>,)> {
        Err(not_linked(&cx, of, "random", None))
    })?;
    interface.func_wrap("log", move |cx: Cx<'_>, (_, _, _): (WasmStr, WasmStr, WasmStr)| -> Result<()> {
        Err(not_linked(&cx, of, "log", None))
    })
}

fn not_linked(cx: &Cx<'_>, interface: Interface, function: &'static str, at: Option<&WasmStr>) -> wasmtime::Error {
    let at = match text(at, &cx.as_context()) {
        Ok(at) => at.map(Cow::into_owned),
        Err(error) => return error,
    };
    NotLinked { interface, function, at }.into()
}

fn text<'a>(text: Option<&WasmStr>, store: &'a StoreContext<'_, Guest>) -> Result<Option<Cow<'a, str>>> {
    text.map(|text| text.to_str(store)).transpose()
}

type Outcome<'a> = std::result::Result<Cow<'a, str>, Cow<'a, str>>;

fn result<'a>(of: &std::result::Result<WasmStr, WasmStr>, store: &'a StoreContext<'_, Guest>) -> Result<Outcome<'a>> {
    Ok(match of {
        Ok(output) => Ok(output.to_str(store)?),
        Err(failure) => Err(failure.to_str(store)?),
    })
}

fn borrowed<'a>(outcome: &'a Outcome<'_>) -> std::result::Result<&'a str, &'a str> {
    outcome.as_deref().map_err(|failure| &**failure)
}
