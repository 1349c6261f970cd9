//! What may be uploaded: binary components of one of the three worlds, within limits of structure.
//! Everything here reads what strangers sent; nothing here compiles or runs it.

use super::world::{self, World};
use crate::{Code, Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

/// Python components have 22 MB; a larger upload is a mistake.
pub const UPLOAD_BYTES_MAX: usize = 64 << 20;

/// Legitimate components are large: Python's have 38 core modules, those of QuickJS 23 nested
/// components. Each limit is many times what was seen, and stops only what nobody built for use.
const LIMITS: Counts = Counts {
    modules: 500,
    components: 500,
    instances: 2_000,
    functions: 500_000,
    memories: 100,
    tables: 500,
    globals: 500_000,
    types: 500_000,
    imports: 100_000,
    exports: 200_000,
    segments: 500_000,
};
const DEPTH_MAX: usize = 20;

/// A component that passed.
#[derive(Debug)]
pub struct Gated {
    /// Always a component; a core module was encoded to one.
    pub bytes: Vec<u8>,
    pub world: World,
}

/// Applies every gate, the cheapest first.
pub fn pass(bytes: &[u8]) -> Result<Gated> {
    check_size(bytes.len() as u64)?;
    let encoding = check_magic(bytes)?;
    check_structure(bytes)?;
    // Both crates are written for input of any kind; a panic in one must still cost no more than
    // the upload.
    let gated = catch_unwind(AssertUnwindSafe(|| match encoding {
        Encoding::Component => check_component(bytes.to_vec()),
        Encoding::Module => check_component(encode(bytes)?),
    }));
    gated.unwrap_or_else(|_| Err(Error::new(Code::BadWasm, "reading it failed in an unforeseen way")))
}

/// For whoever knows the size before the bytes.
pub fn check_size(bytes: u64) -> Result<()> {
    if bytes > UPLOAD_BYTES_MAX as u64 {
        let message = format!("it has {bytes} bytes; at most {UPLOAD_BYTES_MAX} (64 MiB) are taken");
        return Err(
            Error::new(Code::UploadTooLarge, message).hint("build in release mode, and strip debug information")
        );
    }
    Ok(())
}

const MAGIC: &[u8] = b"\0asm";
const VERSION_MODULE: &[u8] = &[1, 0, 0, 0];
const VERSION_COMPONENT: &[u8] = &[13, 0, 1, 0];

fn check_magic(bytes: &[u8]) -> Result<Encoding> {
    let not_wasm = |what: &str| Error::new(Code::NotWasm, format!("it is {what}, not a WebAssembly component"));
    let Some(version) = bytes.strip_prefix(MAGIC) else {
        if !bytes.is_empty() && MAGIC.starts_with(bytes) {
            return Err(bad_wasm("it is cut off within its first bytes"));
        }
        return Err(not_wasm(sniff(bytes)).hint("upload the `.wasm` file that `trackway build` makes"));
    };
    match version.get(..4) {
        Some(VERSION_MODULE) => Ok(Encoding::Module),
        Some(VERSION_COMPONENT) => Ok(Encoding::Component),
        Some(other) => Err(bad_wasm(&format!("its format version {other:02x?} is not known"))),
        None => Err(bad_wasm("it is cut off within its first bytes")),
    }
}

const TAR_MAGIC_OFFSET: usize = 257;

fn sniff(bytes: &[u8]) -> &'static str {
    let known: [(&[u8], &str); 11] = [
        (b"\x7fELF", "an ELF program or library"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"\xfd7zXZ", "an xz archive"),
        (b"MZ", "a Windows program"),
        (b"\xcf\xfa\xed\xfe", "a macOS program"),
        (b"!<arch>", "a static library"),
        (b"#!", "a script"),
        (b"(component", "WebAssembly text"),
        (b"(module", "WebAssembly text"),
    ];
    if bytes.is_empty() {
        return "an empty file";
    }
    let begin = bytes.trim_ascii_start();
    if let Some((_, name)) = known.iter().find(|(magic, _)| bytes.starts_with(magic) || begin.starts_with(magic)) {
        return name;
    }
    if bytes.get(TAR_MAGIC_OFFSET..).is_some_and(|rest| rest.starts_with(b"ustar")) {
        return "a tar archive";
    }
    if std::str::from_utf8(bytes).is_ok() { "text" } else { "a file of an unknown kind" }
}

fn bad_wasm(problem: &str) -> Error {
    Error::new(Code::BadWasm, problem).hint("was the file copied whole? Build it again")
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    modules: u64,
    components: u64,
    instances: u64,
    functions: u64,
    memories: u64,
    tables: u64,
    globals: u64,
    types: u64,
    imports: u64,
    exports: u64,
    segments: u64,
}

impl Counts {
    fn named(&self) -> [(&'static str, u64); 11] {
        [
            ("core modules", self.modules),
            ("nested components", self.components),
            ("instances", self.instances),
            ("functions", self.functions),
            ("memories", self.memories),
            ("tables", self.tables),
            ("globals", self.globals),
            ("types", self.types),
            ("imports", self.imports),
            ("exports", self.exports),
            ("data and element segments", self.segments),
        ]
    }

    fn check(&self) -> Result<()> {
        let over = self.named().into_iter().zip(LIMITS.named()).find(|((_, count), (_, max))| count > max);
        match over {
            None => Ok(()),
            Some(((what, count), (_, max))) => {
                Err(Error::new(Code::TooComplex, format!("it has {count} {what}; at most {max} are taken")))
            }
        }
    }
}

/// Counts what the sections announce, so nothing large is built up for what will be refused.
fn check_structure(bytes: &[u8]) -> Result<()> {
    let mut counts = Counts::default();
    let mut depth: usize = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| malformed(&error))? {
            Payload::ModuleSection { .. } => (counts.modules, depth) = (counts.modules + 1, depth + 1),
            Payload::ComponentSection { .. } => (counts.components, depth) = (counts.components + 1, depth + 1),
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::TypeSection(section) => counts.types += u64::from(section.count()),
            Payload::CoreTypeSection(section) => counts.types += u64::from(section.count()),
            Payload::ComponentTypeSection(section) => counts.types += u64::from(section.count()),
            Payload::ImportSection(section) => counts.imports += u64::from(section.count()),
            Payload::ComponentImportSection(section) => counts.imports += u64::from(section.count()),
            Payload::ExportSection(section) => counts.exports += u64::from(section.count()),
            Payload::ComponentExportSection(section) => counts.exports += u64::from(section.count()),
            Payload::ComponentAliasSection(section) => counts.exports += u64::from(section.count()),
            Payload::FunctionSection(section) => counts.functions += u64::from(section.count()),
            Payload::ComponentCanonicalSection(section) => counts.functions += u64::from(section.count()),
            Payload::MemorySection(section) => counts.memories += u64::from(section.count()),
            Payload::TableSection(section) => counts.tables += u64::from(section.count()),
            Payload::GlobalSection(section) => counts.globals += u64::from(section.count()),
            Payload::ElementSection(section) => counts.segments += u64::from(section.count()),
            Payload::DataSection(section) => counts.segments += u64::from(section.count()),
            Payload::InstanceSection(section) => counts.instances += u64::from(section.count()),
            Payload::ComponentInstanceSection(section) => counts.instances += u64::from(section.count()),
            _ => {}
        }
        if depth > DEPTH_MAX {
            let message = format!("its components are nested more than {DEPTH_MAX} deep");
            return Err(Error::new(Code::TooComplex, message));
        }
        counts.check()?;
    }
    Ok(())
}

/// What the engine is configured to run; see `engine.rs`.
fn features() -> WasmFeatures {
    let off = WasmFeatures::THREADS | WasmFeatures::MEMORY64 | WasmFeatures::RELAXED_SIMD;
    (WasmFeatures::default() | WasmFeatures::MULTI_MEMORY) - off
}

fn check_component(bytes: Vec<u8>) -> Result<Gated> {
    let types = Validator::new_with_features(features()).validate_all(&bytes).map_err(|error| malformed(&error))?;
    let world = world::check(&bytes, types.as_ref())?;
    Ok(Gated { bytes, world })
}

fn malformed(error: &wasmparser::BinaryReaderError) -> Error {
    bad_wasm(&format!("{} (at byte {:#x})", error.message(), error.offset()))
}

/// Wraps a core module that carries its component type, as `wit-bindgen` leaves it.
fn encode(module: &[u8]) -> Result<Vec<u8>> {
    world::check_core(module)?;
    Validator::new_with_features(features()).validate_all(module).map_err(|error| malformed(&error))?;
    let encoded =
        wit_component::ComponentEncoder::default().module(module).and_then(|encoder| encoder.validate(false).encode());
    encoded.map_err(|error| {
        Error::new(Code::WrongWorld, format!("the core module cannot be made a component: {error:#}"))
            .hint("generate its bindings from `wit/` with wit-bindgen or the Trackway SDK")
    })
}

#[cfg(test)]
mod tests;
