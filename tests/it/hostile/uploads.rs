//! Uploads that mean harm: to the gate, to the compiler, to whoever reads the manifest. They go the way that uploads go,
//! with a compiler in a process of its own.

use std::sync::{Arc, OnceLock};
use trackway::Code;
use trackway::sandbox::{CompileLimits, Compiler, Options, Sandbox};

use super::text::{MANIFEST, TextGuest};
use crate::rig::guests;
use crate::server::binary;

/// What has to come of an upload.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// By one of these codes.
    Refused(&'static [Code]),
    /// It harms nobody.
    Admitted,
    /// The sandbox lets it in, and whoever keeps it refuses it by that code.
    NotKept(Code),
    /// It takes the compiler long, and is let in.
    Digested,
    /// The compiler gives it up, within what it may take.
    GivenUp,
    /// The one or the other: it takes about as much as it may, and how much that is depends on the machine.
    DigestedOrGivenUp,
}

impl Fate {
    /// Whether it is for the compiler alone.
    pub fn is_of_the_compiler(self) -> bool {
        match self {
            Fate::Refused(_) | Fate::Admitted | Fate::NotKept(_) => false,
            Fate::Digested | Fate::GivenUp | Fate::DigestedOrGivenUp => true,
        }
    }
}

/// A line of the table.
pub struct Upload {
    pub name: &'static str,
    pub does: &'static str,
    pub fate: Fate,
    pub bytes: fn() -> Vec<u8>,
}

/// What the compiler may take here: whoever wants more is refused. A debug build takes longer than a release does.
const COMPILE: CompileLimits = CompileLimits { cpu_seconds: 20, wall_seconds: 60, address_space_bytes: 4 << 30 };

fn sandbox() -> Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    let make = || {
        let cache = tempfile::Builder::new().prefix("trackway-code-").tempdir().expect("a temporary folder").keep();
        let compiler = Compiler::Child { program: binary(), limits: COMPILE };
        let options = Options { cache, key: [7; 32], compiler, slots: 40, cores: 2, slow_threads: 1 };
        Arc::new(Sandbox::new(options).expect("the sandbox starts"))
    };
    SANDBOX.get_or_init(make).clone()
}

macro_rules! uploads {
    ($($name:ident: $does:literal => $fate:expr, $bytes:expr;)*) => {
        pub const TABLE: &[Upload] = &[$(Upload {
            name: stringify!($name),
            does: $does,
            fate: $fate,
            bytes: || $bytes,
        }),*];

        $(#[test]
        fn $name() {
            hold(stringify!($name));
        })*
    };
}

fn hold(name: &str) {
    let upload = TABLE.iter().find(|upload| upload.name == name).expect("the table has a line for each test");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let sandbox = sandbox();
        let hello = std::fs::read(guests().join("hello.wasm")).expect("built by `cargo xtask guests`");
        let (attacked, honest) = tokio::join!(sandbox.admit((upload.bytes)().into()), sandbox.admit(hello.into()));
        assert_eq!(honest.expect("an honest upload beside it").manifest.workflows.len(), 1);
        match (upload.fate, attacked) {
            (Fate::Refused(codes), Err(error)) => assert!(codes.contains(&error.code), "{name}: {error}"),
            (Fate::Admitted | Fate::NotKept(_) | Fate::Digested | Fate::DigestedOrGivenUp, Ok(_)) => {}
            (Fate::GivenUp | Fate::DigestedOrGivenUp, Err(error)) => {
                assert_eq!(error.code, Code::CompileFailed, "{name}: {error}");
            }
            (fate, Err(error)) => panic!("{name} should be {fate:?}: {error}"),
            (fate, Ok(admitted)) => panic!("{name} should be {fate:?}: {:?}", admitted.manifest),
        }
    });
}

fn text(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("it is well formed")
}

fn importing(name: &str) -> Vec<u8> {
    text(&format!("(component (import \"{name}\" (instance (export \"now\" (func (result u64))))))"))
}

fn more(more: &str) -> Vec<u8> {
    TextGuest { more: more.to_owned(), ..TextGuest::default() }.build()
}

fn describing(describe: &str) -> Vec<u8> {
    TextGuest { describe: Some(describe.to_owned()), ..TextGuest::default() }.build()
}

fn manifest(manifest: &str) -> Vec<u8> {
    TextGuest { manifest: manifest.to_owned(), ..TextGuest::default() }.build()
}

/// A manifest that is larger than what a text guest has room for: `head`, then so often `part`, then `tail`.
fn large_manifest(head: &str, part: &str, times: usize, tail: &str) -> Vec<u8> {
    let whole = format!("{head}{}{tail}", part.repeat(times));
    let escaped: String = whole.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let pages = whole.len() / 65_536 + 8;
    let guest = TextGuest {
        memory: format!("(memory (export \"memory\") {pages})"),
        describe: Some(format!("(call $return (i32.const 200000) (i32.const {})) (i32.const 20)", whole.len())),
        more: format!("(data (i32.const 200000) \"{escaped}\")"),
        ..TextGuest::default()
    };
    guest.build()
}

fn workflow(fields: &str) -> Vec<u8> {
    manifest(&format!("{{\"contract\":\"0.1\",\"workflows\":[{{{fields}}}]}}"))
}

/// A custom section of that name, in front of all others.
fn with_custom(name: &str, bytes: usize) -> Vec<u8> {
    let component = TextGuest::default().build();
    let size = 1 + name.len() + bytes;
    let mut section = vec![0_u8];
    let mut left = size;
    while left >= 0x80 {
        section.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    section.push(left as u8);
    section.push(name.len() as u8);
    section.extend_from_slice(name.as_bytes());
    section.extend(std::iter::repeat_n(0xff, bytes));
    [&component[..8], &section, &component[8..]].concat()
}

const BAD_MANIFEST: Fate = Fate::Refused(&[Code::BadManifest]);
const FOREIGN: Fate = Fate::Refused(&[Code::ForeignImport]);
const MALFORMED: Fate = Fate::Refused(&[Code::BadWasm]);

uploads! {
    name_with_another_version: "imports the contract of a version that does not exist" => FOREIGN,
        importing("trackway:guest/step@0.1.1");
    name_without_a_version: "imports the contract without a version" => FOREIGN, importing("trackway:guest/step");
    name_with_a_letter_more: "imports an interface that is called almost as one of the contract" => FOREIGN,
        importing("trackway:guest/steps@0.1.0");
    name_of_another_package: "imports an interface of the same name from another package" => FOREIGN,
        importing("trackway:guests/step@0.1.0");
    name_of_the_types: "imports functions from the interface that has only types"
        => Fate::Refused(&[Code::ForeignImport, Code::WrongWorld]), importing("trackway:guest/types@0.1.0");
    name_of_what_the_host_keeps: "imports an interface that a host might have for itself" => FOREIGN,
        importing("trackway:host/storage@0.1.0");
    name_of_another_tenants_guest: "imports a function that another tenant's guest exports" => FOREIGN,
        importing("tenant:other/workflows");
    name_that_is_a_plain_function: "imports a plain function, as linked components do" => FOREIGN,
        text("(component (import \"run\" (func (param \"workflow\" string) (result string))))");
    name_by_address: "imports a component by its address and digest" => FOREIGN,
        text("(component (import \"url=<http://127.0.0.1/x.wasm>\" (component)))");
    name_by_digest: "imports what is known by a digest" => FOREIGN,
        text("(component (import \"integrity=<sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=>\" (component)))");
    import_of_a_resource: "imports handles under the name of an interface"
        => Fate::Refused(&[Code::ForeignImport, Code::WrongWorld]),
        text("(component (import \"trackway:guest/step@0.1.0\" (instance (export \"file\" (type (sub resource))))))");
    import_is_a_component: "imports a component under the name of an interface"
        => Fate::Refused(&[Code::WrongWorld]), text("(component (import \"trackway:guest/step@0.1.0\" (component)))");
    import_of_wasi_in_a_core_module: "a component whose inner module imports WASI that nobody gives" => MALFORMED,
        text("(component (core module $m (import \"wasi_snapshot_preview1\" \"fd_write\" (func)))
              (core instance (instantiate $m)))");
    import_within_a_component: "a component within imports WASI that nobody gives" => MALFORMED,
        text("(component (component $c (import \"wasi:cli/environment@0.2.0\" (instance))) (instance (instantiate $c)))");
    export_twice: "exports `describe` twice" => MALFORMED, {
            let once = "(export \"describe\" (func $f))";
            let bytes = text(&format!(
                "(component (core module $m (memory (export \"memory\") 1) (func (export \"f\") (result i32) (i32.const 0)))
                  (core instance $i (instantiate $m))
                  (func $f (result string) (canon lift (core func $i \"f\") (memory $i \"memory\")))
                  {once} (export \"describe2\" (func $f)))"));
            // The text format has no way to say it.
            let place = bytes.windows(9).position(|window| window == b"describe2").expect("it is there");
            let mut forged = bytes.clone();
            forged[place - 1] = 8;
            forged.remove(place + 8);
            shrink_section_around(forged, place)
        };
    export_of_async_functions: "lifts its exports as functions that run at the same time" => MALFORMED,
        text("(component (core module $m (func (export \"f\") (result i32) (i32.const 0)))
              (core instance $i (instantiate $m))
              (func (export \"describe\") async (canon lift (core func $i \"f\") async)))");
    thread_of_the_component_model: "starts threads as the component model may have them"
        => Fate::Refused(&[Code::BadWasm, Code::NotWasm]),
        text("(component (core type $start (func (param i32)))
              (core module $m (table (export \"t\") 1 funcref)) (core instance $i (instantiate $m))
              (alias core export $i \"t\" (core table $t))
              (core func $spawn (canon thread.new-indirect $start (table $t))))");
    atomics_without_shared_memory: "waits on memory for ever, so that its thread is gone" => MALFORMED,
        text("(component (core module (memory 1)
              (func (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))))");
    objects_of_the_engine: "keeps objects that the engine has to collect"
        => Fate::Refused(&[Code::BadWasm, Code::CompileFailed, Code::WrongWorld]),
        text("(component (core module (type $s (struct (field i64)))
              (func (loop $l (drop (struct.new $s (i64.const 1))) (br $l)))))");
    exceptions_of_the_engine: "throws what nobody catches, without an end"
        => Fate::Refused(&[Code::BadWasm, Code::CompileFailed, Code::WrongWorld]),
        text("(component (core module (tag $t) (func (throw $t))))");
    memory_of_four_gibibytes: "a module whose memory begins with 4 GiB" => BAD_MANIFEST,
        TextGuest { memory: "(memory (export \"memory\") 65536)".to_owned(), ..TextGuest::default() }.build();
    table_of_a_billion: "a module whose table begins with a billion places"
        => Fate::Refused(&[Code::CompileFailed]),
        TextGuest { more: "(table 1000000000 funcref)".to_owned(), ..TextGuest::default() }.core();
    data_outside_of_memory: "data that does not fit into its memory" => BAD_MANIFEST,
        more("(data (i32.const 0x7fffffff) \"x\")");
    elements_outside_of_their_table: "functions that do not fit into their table" => BAD_MANIFEST,
        more("(table $t 1 funcref) (func $x) (elem (table $t) (i32.const 100000) func $x)");
    data_of_ten_mebibytes: "data of 10 MiB, of which nothing is used" => Fate::Admitted,
        TextGuest {
            memory: "(memory (export \"memory\") 300)".to_owned(),
            more: format!("(data (i32.const 1000000) \"{}\")", "x".repeat(10 << 20)),
            ..TextGuest::default()
        }.build();
    sixty_thousand_segments: "data in 60,000 pieces of one byte" => Fate::Admitted,
        more(&(0..60_000).map(|at| format!("(data (i32.const {}) \"x\")", 70_000 + at)).collect::<String>());
    section_that_nobody_knows: "a section of 10 MiB that means nothing" => Fate::Admitted, with_custom("padding", 10 << 20);
    section_of_names_that_lies: "a section of names that is none" => Fate::Admitted, with_custom("component-name", 4_096);
    section_that_claims_a_producer: "a section of producers that is none" => Fate::Admitted, with_custom("producers", 64);
    sections_behind_the_end: "another component behind the end of the first" => MALFORMED,
        [TextGuest::default().build(), TextGuest::default().build()].concat();
    size_that_lies: "a section that says that it has 4 GiB" => MALFORMED,
        [&TextGuest::default().build()[..8], &[0x01, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    count_that_lies: "a list that says that it has 4 billion entries"
        => Fate::Refused(&[Code::BadWasm, Code::TooComplex]),
        [&TextGuest::default().build()[..8], &[0x07, 0x05, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    function_of_a_mebibyte: "one function of a million instructions" => Fate::Digested,
        more(&format!("(func (param i32) (result i32) {} (local.get 0))",
            "(local.set 0 (i32.mul (local.get 0) (i32.const 3)))".repeat(150_000)));
    function_with_all_locals: "a function that uses 40,000 locals at once" => Fate::Digested,
        more(&format!("(func (param i64) (result i64) (local {}) {} (local.get 0) {})",
            "i64 ".repeat(40_000),
            (1..20_000).map(|at| format!("(local.set {at} (i64.add (local.get 0) (i64.const {at})))")).collect::<String>(),
            (1..20_000).map(|at| format!("(i64.xor (local.get {at}))")).collect::<String>()));
    function_of_many_branches: "a table of 200,000 branches" => Fate::GivenUp,
        more(&format!("(func (param i32) (block $a (block $b (br_table {} (local.get 0)))))", "$a $b ".repeat(100_000)));
    blocks_within_blocks: "5,000 blocks, each within the other" => Fate::Digested,
        more(&format!("(func (param i32) {} {})", "block local.get 0 br_if 0 ".repeat(5_000), "end ".repeat(5_000)));
    functions_by_the_hundred_thousand: "100,000 functions that do nothing" => Fate::DigestedOrGivenUp,
        more(&"(func)".repeat(100_000));
    functions_over_the_limit: "600,000 functions" => Fate::Refused(&[Code::TooComplex, Code::BadWasm]),
        TextGuest { more: "(func)".repeat(600_000), ..TextGuest::default() }.core();
    parameters_by_the_thousand: "a function of 1,000 parameters that calls itself" => Fate::Digested,
        more(&format!("(func $f (param {}) (call $f {}))", "i64 ".repeat(1_000),
            (0..1_000).map(|at| format!("(local.get {at})")).collect::<String>()));
    globals_by_the_hundred_thousand: "100,000 globals" => Fate::Digested,
        more(&"(global (mut i64) (i64.const 1))".repeat(100_000));
    types_by_the_hundred_thousand: "60,000 types of functions" => Fate::Digested,
        more(&"(type (func (param i32 i64) (result f64)))".repeat(60_000));
    describe_is_no_text: "`describe` gives what is not UTF-8" => BAD_MANIFEST,
        describing("(i32.store (i32.const 512) (i32.const -1)) (call $return (i32.const 512) (i32.const 4)) (i32.const 20)");
    describe_is_nowhere: "`describe` gives a text outside of its memory" => BAD_MANIFEST,
        describing("(call $return (i32.const -8) (i32.const 4)) (i32.const 20)");
    describe_is_empty: "`describe` gives nothing" => BAD_MANIFEST,
        describing("(call $return (i32.const 512) (i32.const 0)) (i32.const 20)");
    describe_of_sixteen_mebibytes: "`describe` gives 16 MiB of text" => BAD_MANIFEST,
        describing("(drop (memory.grow (i32.const 400)))
            (memory.fill (i32.const 131072) (i32.const 32) (i32.const 16777216))
            (call $return (i32.const 131072) (i32.const 16777216)) (i32.const 20)");
    describe_of_one_gibibyte: "`describe` gives more than it may have of memory" => BAD_MANIFEST,
        describing("(drop (memory.grow (i32.const 16000))) (call $return (i32.const 0) (i32.const 1000000000)) (i32.const 20)");
    describe_is_deep: "a manifest of 100,000 arrays, each within the other" => BAD_MANIFEST,
        large_manifest("{\"contract\":\"0.1\",\"workflows\":", "[", 100_000, "");
    describe_is_deep_where_nobody_looks: "a schema of 100,000 objects, each within the other" => BAD_MANIFEST,
        large_manifest("{\"contract\":\"0.1\",\"x\":", "{\"a\":", 100_000, "");
    describe_says_everything_twice: "a manifest with each key twice, of which the last is no contract" => BAD_MANIFEST,
        manifest("{\"contract\":\"0.1\",\"contract\":\"9.9\"}");
    describe_asks_the_host: "`describe` asks for an operation" => BAD_MANIFEST,
        describing("(drop (call $step.sleep (i64.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
            (call $return (i32.const 512) (i32.const 0)) (i32.const 20)");
    describe_says_that_it_panicked: "`describe` says that it panicked, and goes on" => Fate::Admitted, {
            let mut guest = TextGuest::default();
            let manifest = guest.put(MANIFEST.as_bytes());
            guest.describe = Some(format!(
                "(call $step.panicked {manifest} (i32.const 0) (i32.const 0) (i32.const 0))
                 (call $return {manifest}) (i32.const 20)"));
            guest.build()
        };
    workflow_named_twice: "two workflows of one name" => BAD_MANIFEST,
        manifest("{\"contract\":\"0.1\",\"workflows\":[{\"name\":\"w\"},{\"name\":\"w\"}]}");
    workflow_named_by_control_characters: "a name that writes over the lines of a terminal" => BAD_MANIFEST,
        workflow("\"name\":\"w\\u001b[2J\\u0007\"");
    workflow_named_as_a_folder: "a name that is a folder above" => BAD_MANIFEST, workflow("\"name\":\"..\"");
    workflow_named_as_a_path: "a name that is a path" => BAD_MANIFEST, workflow("\"name\":\"../../etc/passwd\"");
    workflow_without_a_name: "a name of no letters" => BAD_MANIFEST, workflow("\"name\":\"\"");
    workflow_named_at_length: "a name of 129 letters" => BAD_MANIFEST, workflow(&format!("\"name\":\"{}\"", "w".repeat(129)));
    workflow_with_a_name_from_elsewhere: "a name of letters that only look as ours" => BAD_MANIFEST,
        workflow("\"name\":\"w\\u043e\"");
    workflows_by_the_thousand: "1,001 workflows" => BAD_MANIFEST,
        large_manifest("{\"contract\":\"0.1\",\"workflows\":[", "{\"name\":\"w\"},", 1_001, "{\"name\":\"v\"}]}");
    manifest_of_a_mebibyte: "a manifest of more than 1 MiB" => BAD_MANIFEST,
        large_manifest("{\"contract\":\"0.1\",\"x\":\"", "xxxxxxxxxxxxxxxx", 65_536, "\"}");
    schema_that_is_itself: "a schema that refers to itself and to nothing else" => Fate::Admitted,
        workflow("\"name\":\"w\",\"input\":{\"$ref\":\"#\"}");
    schema_from_elsewhere: "a schema that is to be fetched from a private address" => Fate::NotKept(Code::BadManifest),
        workflow("\"name\":\"w\",\"input\":{\"$ref\":\"http://169.254.169.254/latest/meta-data\"}");
    schema_that_is_a_number: "a schema that is none" => BAD_MANIFEST, workflow("\"name\":\"w\",\"input\":7");
    timeout_without_an_end: "a run that may take longer than a year" => BAD_MANIFEST,
        workflow("\"name\":\"w\",\"run_timeout_ms\":18446744073709551615");
    tries_without_an_end: "a function that is tried 4 billion times" => BAD_MANIFEST,
        manifest("{\"contract\":\"0.1\",\"functions\":[{\"name\":\"f\",\"retry\":{\"attempts\":4294967295}}]}");
    retries_at_once: "waits that are no number" => BAD_MANIFEST,
        manifest("{\"contract\":\"0.1\",\"functions\":[{\"name\":\"f\",\"retry\":{\"factor\":1e999}}]}");
}

/// Says in the size of the section that holds `place` that it has one byte less.
fn shrink_section_around(mut bytes: Vec<u8>, place: usize) -> Vec<u8> {
    let mut at = 8;
    while at < bytes.len() {
        let (mut size, mut shift, mut next) = (0_usize, 0, at + 1);
        loop {
            let byte = bytes[next];
            size |= usize::from(byte & 0x7f) << shift;
            (shift, next) = (shift + 7, next + 1);
            if byte & 0x80 == 0 {
                break;
            }
        }
        if (next..next + size).contains(&place) {
            assert!(size < 0x80 && next == at + 2, "its size is one byte");
            bytes[at + 1] -= 1;
            return bytes;
        }
        at = next + size;
    }
    panic!("no section holds it");
}
