//! Guests written as text: every import of the contract at hand, and each part that an author of a guest cannot usually
//! write replaced by one that lies. It never says what has to come of it.

use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, Type, TypeDefKind, WorldId};

/// Where texts begin; what is below is for results.
const TEXTS_AT: usize = 1_024;
/// What the honest allocator gives.
const HEAP_AT: usize = 65_536;

pub const MANIFEST: &str = r#"{"contract":"0.1","workflows":[{"name":"w"}],
    "functions":[{"name":"f","retry":{"attempts":1},"hosts":["http://world.test"],"models":["scripted/*"]}]}"#;

/// One import: its name, what it takes, and the types of its parameters and results in the core module.
pub struct Import {
    pub interface: &'static str,
    pub name: String,
    pub takes: Vec<Taken>,
    params: Vec<&'static str>,
    results: Vec<&'static str>,
}

/// What an import takes, by how it lies in a core module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taken {
    Id,
    Time,
    Text,
    /// A text, or none.
    Place,
    /// One of two texts.
    Outcome,
    Ids,
}

impl Import {
    /// As texts call it.
    pub fn called(&self) -> String {
        format!("${}.{}", self.interface, self.name)
    }

    /// Whether it takes a text that has to be there.
    pub fn takes_text(&self) -> bool {
        self.takes.iter().any(|taken| matches!(taken, Taken::Text | Taken::Outcome))
    }

    /// A call of it, where each text lies at that address and has that length.
    pub fn call_with(&self, (address, length): (i64, i64)) -> String {
        let text = format!("(i32.const {address}) (i32.const {length})");
        let operands = self.takes.iter().map(|taken| match taken {
            Taken::Id => "(i32.const 0)".to_owned(),
            Taken::Time => "(i64.const 0)".to_owned(),
            Taken::Text => text.clone(),
            Taken::Place => NO_AT.to_owned(),
            Taken::Outcome => format!("(i32.const 0) {text}"),
            Taken::Ids => "(i32.const 0) (i32.const 0)".to_owned(),
        });
        let call = format!("(call {} {})", self.called(), operands.collect::<Vec<_>>().join(" "));
        if self.results.is_empty() { call } else { format!("(drop {call})") }
    }

    fn text(&self) -> String {
        let (params, results) = (self.params.join(" "), self.results.join(" "));
        let results = if results.is_empty() { String::new() } else { format!("(result {results})") };
        format!(
            "(import \"trackway:guest/{}@0.1.0\" \"{}\" (func {} (param {params}) {results}))",
            self.interface,
            self.name,
            self.called()
        )
    }
}

fn contract() -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
    let (package, _) = resolve.push_dir(wit).expect("wit/ is well formed");
    let world = resolve.select_world(&[package], Some("app")).expect("the world is in wit/");
    (resolve, world)
}

fn core_type(ty: &WasmType) -> &'static str {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}

fn taken(resolve: &Resolve, ty: &Type) -> Taken {
    match ty {
        Type::String => Taken::Text,
        Type::U64 => Taken::Time,
        Type::Id(id) => match &resolve.types[*id].kind {
            TypeDefKind::Type(ty) => taken(resolve, ty),
            TypeDefKind::Option(_) => Taken::Place,
            TypeDefKind::Result(_) => Taken::Outcome,
            TypeDefKind::List(_) => Taken::Ids,
            other => panic!("the contract takes no {other:?}"),
        },
        _ => Taken::Id,
    }
}

/// All that there are.
pub fn imports() -> Vec<Import> {
    let (resolve, _) = contract();
    let mut imports = Vec::new();
    for (_, interface) in &resolve.interfaces {
        let known = ["step", "effect"].into_iter().find(|known| interface.name.as_deref() == Some(*known));
        let Some(known) = known else { continue };
        for (name, function) in &interface.functions {
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            let of = |types: &[WasmType]| types.iter().map(core_type).collect();
            let (params, results) = (of(&signature.params), of(&signature.results));
            let takes = function.params.iter().map(|param| taken(&resolve, &param.ty)).collect();
            imports.push(Import { interface: known, name: name.clone(), takes, params, results });
        }
    }
    imports
}

/// A guest in the making. `run` and `call` are bodies with the locals `$i`, `$j` and `$k` that leave nothing on the
/// stack; what they return is set by `$return` and `$fail`.
pub struct TextGuest {
    /// Bytes from [`TEXTS_AT`] on.
    pub texts: Vec<u8>,
    pub manifest: String,
    pub run: String,
    pub call: String,
    /// What is left out of `describe` says the manifest.
    pub describe: Option<String>,
    /// Instead of the honest allocator.
    pub realloc: Option<String>,
    pub memory: String,
    pub more: String,
    /// What `run` and `call` leave on the stack.
    pub result: String,
}

impl Default for TextGuest {
    fn default() -> TextGuest {
        TextGuest {
            texts: Vec::new(),
            manifest: MANIFEST.to_owned(),
            run: String::new(),
            call: String::new(),
            describe: None,
            realloc: None,
            memory: "(memory (export \"memory\") 3)".to_owned(),
            more: String::new(),
            result: "(i32.const 16)".to_owned(),
        }
    }
}

impl TextGuest {
    pub fn of_run(run: &str) -> TextGuest {
        TextGuest { run: run.to_owned(), ..TextGuest::default() }
    }

    /// Its workflow hands its input to the function, and ends as that does.
    pub fn of_call(call: &str) -> TextGuest {
        let mut guest = TextGuest { call: call.to_owned(), ..TextGuest::default() };
        let (function, input, none) = (guest.put(b"f"), "(local.get $b) (local.get $bl)", guest.put(b""));
        guest.run = format!("(drop (call $step.call {function} {input} {none} {NO_AT})) {ENDS_AS_THAT}");
        guest
    }

    /// Puts bytes into memory and gives their place as two operands.
    pub fn put(&mut self, bytes: &[u8]) -> String {
        let at = TEXTS_AT + self.texts.len();
        self.texts.extend_from_slice(bytes);
        assert!(TEXTS_AT + self.texts.len() < HEAP_AT, "there is room for texts");
        format!("(i32.const {at}) (i32.const {})", bytes.len())
    }

    pub fn build(self) -> Vec<u8> {
        let core = self.core();
        let encoder = wit_component::ComponentEncoder::default().module(&core).expect("the module is well formed");
        encoder.validate(true).encode().expect("the module fits the world")
    }

    /// The core module with its component type.
    pub fn core(mut self) -> Vec<u8> {
        let text = self.text();
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let (resolve, world) = contract();
        wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8)
            .expect("metadata fits");
        module
    }

    fn text(&mut self) -> String {
        let manifest = self.manifest.clone();
        let manifest = self.put(manifest.as_bytes());
        let describe = self.describe.clone().unwrap_or_else(|| format!("(call $return {manifest}) (i32.const 20)"));
        let entry = |name: &str, body: &str| {
            format!(
                "(func ${name} (export \"{name}\") (param $a i32) (param $al i32) (param $b i32) (param $bl i32) \
                 (param $c i32) (param $cl i32) (result i32) (local $i i32) (local $j i32) (local $k i32) \
                 {body} {})",
                self.result
            )
        };
        let texts: String = self.texts.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let imports: Vec<String> = imports().iter().map(Import::text).collect();
        let parts = [
            imports.join("\n"),
            self.memory.clone(),
            format!("(data (i32.const {TEXTS_AT}) \"{texts}\")"),
            RESULTS.to_owned(),
            self.realloc.clone().unwrap_or_else(|| HONEST_REALLOC.to_owned()),
            format!("(func (export \"describe\") (result i32) (local $i i32) {describe})"),
            entry("run", &self.run),
            entry("call", &self.call),
            self.more.clone(),
        ];
        format!("(module {})", parts.join("\n"))
    }
}

/// For an `option` that is none.
pub const NO_AT: &str = "(i32.const 0) (i32.const 0) (i32.const 0)";

/// Takes one completion, into 64, and ends with what it brings: a failure where it failed.
const ENDS_AS_THAT: &str = "(call $step.next (i32.const 64))
    (if (i32.eq (i32.load (i32.const 68)) (i32.const 6))
      (then (call $fail (i32.load (i32.const 76)) (i32.load (i32.const 80))))
      (else (call $return (i32.load (i32.const 76)) (i32.load (i32.const 80)))))";

/// `$return` writes an `ok` result at 16, or a plain string at 20; `$fail` an error.
const RESULTS: &str = r#"
  (func $return (param i32 i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (local.get 0))
    (i32.store (i32.const 24) (local.get 1)))
  (func $fail (param i32 i32)
    (call $return (local.get 0) (local.get 1))
    (i32.store8 (i32.const 16) (i32.const 1)))
"#;

const HONEST_REALLOC: &str = r#"
  (global $top (mut i32) (i32.const 65536))
  (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get 3)))
    (loop $grow
      (if (i32.gt_u (global.get $top) (i32.shl (memory.size) (i32.const 16)))
        (then
          (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
          (br $grow))))
    (local.get $at))
"#;

/// An allocator of another kind.
pub fn realloc(body: &str) -> Option<String> {
    Some(format!(
        "(global $calls (mut i32) (i32.const 0))
         (func $realloc (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
           (global.set $calls (i32.add (global.get $calls) (i32.const 1))) {body})"
    ))
}
