//! Whether a component speaks the contract: imports from `step` and `effect` only, exports of one of
//! the three worlds, every type as in `wit/`. It refuses by name.

use super::imports::{EFFECT, STEP};
use crate::{Code, Error, Result};
use wasmparser::component_types::{ComponentDefinedType, ComponentEntityType, ComponentFuncType, ComponentValType};
use wasmparser::types::TypesRef;
use wasmparser::{Parser, Payload, PrimitiveValType};

pub const TYPES: &str = "trackway:guest/types@0.1.0";
const PACKAGE: &str = "trackway:guest/";

/// A test holds these tables against `wit/`.
pub const STEP_FUNCTIONS: &[(&str, &str)] = &[
    ("call", "func(function: string, input: string, options: string, at: option<string>) -> u32"),
    ("sleep", SLEEP),
    ("start-run", "func(workflow: string, input: string, options: string, at: option<string>) -> u32"),
    ("receive", "func(signal: string, options: string, at: option<string>) -> u32"),
    ("ask-person", ASK_PERSON),
    ("patched", "func(id: string) -> bool"),
    ("promise", "func(name: string, options: string, at: option<string>) -> u32"),
    ("promise-token", "func(id: u32) -> string"),
    ("emit", EMIT),
    ("entity-get", "func(entity: string, key: string, options: string, at: option<string>) -> u32"),
    ("entity-set", "func(entity: string, key: string, value: string, options: string, at: option<string>) -> u32"),
    ("entity-delete", "func(entity: string, key: string, options: string, at: option<string>) -> u32"),
    ("publish", "func(key: string, value: string, at: option<string>)"),
    ("continue-with", "func(input: string, unused: list<u32>)"),
    ("accept-update", "func(update: string, options: string, at: option<string>) -> u32"),
    ("reply", "func(id: u32, answer: result<string, string>, at: option<string>)"),
    ("next", NEXT),
    ("forget", "func(id: u32)"),
    ("cancel", "func(id: u32)"),
    ("now", "func() -> u64"),
    ("random", "func(size-bytes: u32) -> list<u8>"),
    ("log", LOG),
    ("panicked", PANICKED),
];
pub const EFFECT_FUNCTIONS: &[(&str, &str)] = &[
    ("http", "func(request: string, options: string, at: option<string>) -> u32"),
    ("model", "func(request: string, options: string, at: option<string>) -> u32"),
    ("ask-person", ASK_PERSON),
    ("begin", "func(kind: string, name: string, input: string, options: string, at: option<string>) -> u32"),
    ("end", "func(id: u32, outcome: result<string, string>, at: option<string>)"),
    ("sleep", SLEEP),
    ("progress", "func(progress: string)"),
    ("emit", EMIT),
    ("delta", "func(event: string, data: string)"),
    ("next", NEXT),
    ("forget", "func(id: u32)"),
    ("cancel", "func(id: u32)"),
    ("now", "func() -> u64"),
    ("random", "func(size-bytes: u32) -> list<u8>"),
    ("log", LOG),
    ("panicked", PANICKED),
];
const ASK_PERSON: &str = "func(form: string, options: string, at: option<string>) -> u32";
const SLEEP: &str = "func(duration-ms: u64, options: string, at: option<string>) -> u32";
const EMIT: &str = "func(event: string, data: string, at: option<string>)";
const NEXT: &str = "func() -> record { kind: string, id: u32, body: string }";
const LOG: &str = "func(level: string, message: string, fields: string)";
const PANICKED: &str = "func(message: string, at: option<string>)";

pub const DESCRIBE: &str = "func() -> string";
pub const RUN: &str = "func(workflow: string, input: string, context: string) -> result<string, string>";
pub const CALL: &str = "func(function: string, input: string, context: string) -> result<string, string>";

/// What a component that speaks the contract uses of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct World {
    pub imports_effect: bool,
}

pub fn check(component: &[u8], types: TypesRef<'_>) -> Result<World> {
    let mut imports_effect = false;
    let (imports, exports) = names(component)?;
    for name in imports {
        let functions = match name {
            STEP => STEP_FUNCTIONS,
            EFFECT => EFFECT_FUNCTIONS,
            TYPES => &[],
            other => return Err(foreign(other)),
        };
        imports_effect |= name == EFFECT;
        check_import(name, functions, types)?;
    }
    let find = |name: &str| exports.contains(&name).then(|| types.component_item_for_export(name)).flatten();
    let export = |name: &str, wanted: &str| -> Result<bool> {
        let Some(item) = find(name) else { return Ok(false) };
        let found = entity(&item.ty, types);
        if found != wanted {
            return Err(Error::new(
                Code::WrongWorld,
                format!("its export `{name}` is `{found}`; it must be `{wanted}`"),
            ));
        }
        Ok(true)
    };
    if !export("describe", DESCRIBE)? {
        return Err(missing("`describe`"));
    }
    let (exports_run, exports_call) = (export("run", RUN)?, export("call", CALL)?);
    if !exports_run && !exports_call {
        return Err(missing("`run` (for workflows) or `call` (for functions)"));
    }
    Ok(World { imports_effect })
}

fn missing(what: &str) -> Error {
    Error::new(Code::WrongWorld, format!("it does not export {what}"))
        .hint("a guest exports one of the worlds of wit/worlds.wit: `workflow`, `functions` or `app`")
}

/// Names of the outermost imports and exports.
fn names(component: &[u8]) -> Result<(Vec<&str>, Vec<&str>)> {
    let unreadable = |error: wasmparser::BinaryReaderError| Error::new(Code::BadWasm, error.to_string());
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(unreadable)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(unreadable)?.name.name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(unreadable)?.name.name);
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn check_import(interface: &str, functions: &[(&str, &str)], types: TypesRef<'_>) -> Result<()> {
    let item = types.component_item_for_import(interface);
    let Some(ComponentEntityType::Instance(instance)) = item.map(|item| item.ty) else {
        return Err(Error::new(Code::WrongWorld, format!("its import `{interface}` is not an interface")));
    };
    for (name, item) in &types[instance].exports {
        if matches!(item.ty, ComponentEntityType::Type { .. }) {
            continue;
        }
        let Some((_, wanted)) = functions.iter().find(|(known, _)| known == name) else {
            return Err(foreign(&format!("{interface}#{name}")));
        };
        let found = entity(&item.ty, types);
        if found != *wanted {
            let message = format!("its import `{interface}#{name}` is `{found}`; it must be `{wanted}`");
            return Err(Error::new(Code::WrongWorld, message));
        }
    }
    Ok(())
}

/// Core modules name what they import before they are encoded; a foreign name is told as it stands.
pub fn check_core(module: &[u8]) -> Result<()> {
    let unreadable = |error: wasmparser::BinaryReaderError| Error::new(Code::BadWasm, error.to_string());
    let mut typed = false;
    let mut foreign_import = None;
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(unreadable)? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(unreadable)?;
                    if !import.module.starts_with(PACKAGE) && foreign_import.is_none() {
                        foreign_import = Some(format!("{}#{}", import.module, import.name));
                    }
                }
            }
            Payload::CustomSection(section) if section.name().starts_with("component-type") => typed = true,
            _ => {}
        }
    }
    match foreign_import {
        Some(name) => Err(foreign(&name)),
        None if typed => Ok(()),
        None => Err(Error::new(Code::WrongWorld, "it is a core module that carries no component type")
            .hint("generate its bindings from `wit/` with wit-bindgen or the Trackway SDK")),
    }
}

fn foreign(name: &str) -> Error {
    let hint = if name.starts_with("wasi:") || name.starts_with("wasi_snapshot") {
        "guests bring no WASI: build Rust for `wasm32-unknown-unknown`, Python and JavaScript with stubbed WASI \
         (`componentize-py componentize -s`, `jco componentize --backend-qjs-stub-wasi`)"
    } else if name.starts_with(PACKAGE) {
        "this host speaks trackway:guest@0.1.0; build against the `wit/` that comes with it"
    } else if name.starts_with("__wbindgen") || name.starts_with("wbg") {
        "a dependency was built for browsers; turn off its `js`, `wasmbind` or `wasm-bindgen` feature"
    } else if name.starts_with("env#") {
        "something was left to be linked; a guest brings all it needs"
    } else {
        "a guest may import only `step` and `effect` of trackway:guest@0.1.0"
    };
    Error::new(Code::ForeignImport, format!("it imports `{name}`")).hint(hint)
}

/// A type in the notation of WIT, all aliases resolved.
fn entity(ty: &ComponentEntityType, types: TypesRef<'_>) -> String {
    match ty {
        ComponentEntityType::Func(id) => function(&types[*id], types),
        ComponentEntityType::Module(_) => "a core module".to_owned(),
        ComponentEntityType::Value(_) => "a value".to_owned(),
        ComponentEntityType::Type { .. } => "a type".to_owned(),
        ComponentEntityType::Instance(_) => "an interface".to_owned(),
        ComponentEntityType::Component(_) => "a component".to_owned(),
    }
}

fn function(ty: &ComponentFuncType, types: TypesRef<'_>) -> String {
    let parameters = ty.params.iter().map(|(name, ty)| format!("{name}: {}", value(ty, types)));
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let keyword = if ty.async_ { "async func" } else { "func" };
    match &ty.result {
        Some(result) => format!("{keyword}({parameters}) -> {}", value(result, types)),
        None => format!("{keyword}({parameters})"),
    }
}

fn value(ty: &ComponentValType, types: TypesRef<'_>) -> String {
    match ty {
        ComponentValType::Primitive(primitive) => self::primitive(*primitive),
        ComponentValType::Type(id) => defined(&types[*id], types),
    }
}

fn primitive(ty: PrimitiveValType) -> String {
    ty.to_string()
}

fn defined(ty: &ComponentDefinedType, types: TypesRef<'_>) -> String {
    let or_none = |ty: &Option<ComponentValType>| ty.as_ref().map_or("_".to_owned(), |ty| value(ty, types));
    match ty {
        ComponentDefinedType::Primitive(primitive) => self::primitive(*primitive),
        ComponentDefinedType::Record(record) => {
            let fields = record.fields.iter().map(|(name, ty)| format!("{name}: {}", value(ty, types)));
            format!("record {{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        ComponentDefinedType::List { element, .. } => format!("list<{}>", value(element, types)),
        ComponentDefinedType::Option { ty, .. } => format!("option<{}>", value(ty, types)),
        ComponentDefinedType::Result { ok, err, .. } => format!("result<{}, {}>", or_none(ok), or_none(err)),
        ComponentDefinedType::Tuple(tuple) => {
            let parts = tuple.types.iter().map(|ty| value(ty, types));
            format!("tuple<{}>", parts.collect::<Vec<_>>().join(", "))
        }
        ComponentDefinedType::Variant(_) => "a variant".to_owned(),
        ComponentDefinedType::Flags(_) => "flags".to_owned(),
        ComponentDefinedType::Enum(_) => "an enum".to_owned(),
        _ => "a type that the contract does not have".to_owned(),
    }
}
