//! The imports by which a function says what its effects belong to. They decide nothing.

use super::{Cx, Instance, Interface, borrowed, command, not_linked, result, room, text};
use crate::sandbox::Command;
use wasmtime::Result;
use wasmtime::component::WasmStr;

/// Kind, name, input, options and place.
type Begin = (WasmStr, WasmStr, WasmStr, WasmStr, Option<WasmStr>);
type End = (u32, std::result::Result<WasmStr, WasmStr>, Option<WasmStr>);

pub fn link(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap_async("begin", |mut cx: Cx<'_>, (kind, name, input, options, at): Begin| {
        Box::new(async move {
            let id = command(&mut cx, |store, give| {
                let (kind, name, input) = (kind.to_str(&store)?, name.to_str(&store)?, input.to_str(&store)?);
                let (options, at) = (options.to_str(&store)?, text(at.as_ref(), &store)?);
                let at = at.as_deref();
                give(Command::Begin { kind: &kind, name: &name, input: &input, options: &options, at });
                Ok(())
            })?;
            room(&mut cx).await?;
            Ok((id,))
        })
    })?;
    interface.func_wrap_async("end", |mut cx: Cx<'_>, (id, outcome, at): End| {
        Box::new(async move {
            command(&mut cx, |store, give| {
                let (outcome, at) = (result(&outcome, &store)?, text(at.as_ref(), &store)?);
                give(Command::End { id, outcome: borrowed(&outcome), at: at.as_deref() });
                Ok(())
            })?;
            room(&mut cx).await
        })
    })
}

pub fn refuse(interface: &mut Instance<'_>) -> Result<()> {
    interface.func_wrap("begin", |cx: Cx<'_>, (_, _, _, _, at): Begin| -> Result<(u32,)> {
        Err(not_linked(&cx, Interface::Effect, "begin", at.as_ref()))
    })?;
    interface.func_wrap("end", |cx: Cx<'_>, (_, _, at): End| -> Result<()> {
        Err(not_linked(&cx, Interface::Effect, "end", at.as_ref()))
    })
}
