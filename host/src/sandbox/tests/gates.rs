//! What is refused at upload, by which code and with which words; and that nothing crashes on it.

use super::support::*;
use crate::sandbox::*;
use crate::{Code as ErrorCode, Error};

async fn refusal(bytes: Vec<u8>) -> Error {
    place().sandbox.admit(bytes.into()).await.expect_err("this must be refused")
}

fn plain(world: &str) -> Vec<u8> {
    let mut guest = TextGuest::default();
    let one = guest.texts.put("1");
    (guest.run, guest.call) = (format!("(call $return {one})"), format!("(call $return {one})"));
    guest.build(world)
}

#[tokio::test]
async fn each_of_the_three_worlds_is_admitted() {
    for (world, workflows, functions, pure) in
        [("workflow", 1, 0, true), ("functions", 0, 1, false), ("app", 1, 1, false)]
    {
        let admitted = place().sandbox.admit(plain(world).into()).await.expect("admitted");
        assert_eq!(admitted.manifest.workflows.len(), workflows, "{world}");
        assert_eq!(admitted.manifest.functions.len(), functions, "{world}");
        assert_eq!(admitted.pure, pure, "{world}");
        assert_eq!(admitted.digest, trackway_replay::Digest::of(&admitted.bytes));
    }
}

#[tokio::test]
async fn a_core_module_with_its_component_type_is_encoded() {
    let place = place();
    let core = TextGuest::default().core("app");
    let admitted = place.sandbox.admit(core.clone().into()).await.expect("admitted");
    assert_eq!(admitted.bytes[4..8], [13, 0, 1, 0]);
    let again = place.sandbox.admit(core.into()).await.expect("admitted");
    assert_eq!(again.digest, admitted.digest, "encoding is the same every time");
}

#[tokio::test]
async fn what_is_not_wasm_is_refused_by_what_it_is() {
    let elf = std::fs::read(std::env::current_exe().expect("a test has a file")).expect("readable");
    let tar = [vec![0xff; 257], b"ustar\0".to_vec()].concat();
    let cases: [(&[u8], &str); 9] = [
        (b"", "an empty file"),
        (b"hello world", "text"),
        (b"{\"a\":1}", "text"),
        (b"  (component)", "WebAssembly text"),
        (&elf[..4096], "an ELF program"),
        (b"\x1f\x8b\x08\x00\x00", "a gzip archive"),
        (b"PK\x03\x04....", "a zip archive"),
        (&tar, "a tar archive"),
        (b"\xff\xfe\x00\x01", "a file of an unknown kind"),
    ];
    for (bytes, told) in cases {
        let error = refusal(bytes.to_vec()).await;
        assert_eq!(error.code, ErrorCode::NotWasm, "{error}");
        assert!(error.message.contains(told), "{error} should tell {told}");
    }
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_by_its_size() {
    let error = refusal(vec![0; UPLOAD_BYTES_MAX + 1]).await;
    assert_eq!(error.code, ErrorCode::UploadTooLarge);
    assert!(error.message.contains("64 MiB"), "{error}");
    assert_eq!(check_size(200_000_000).expect_err("too large").code, ErrorCode::UploadTooLarge);
    check_size(UPLOAD_BYTES_MAX as u64).expect("as large as may be");
}

#[tokio::test]
async fn a_component_cut_off_anywhere_is_refused_as_malformed() {
    let whole = plain("app");
    for end in (1..whole.len()).step_by(whole.len() / 60) {
        let error = super::super::gate::pass(&whole[..end]).expect_err("a part is no whole");
        // A cut between two sections can leave a component that only lacks its exports.
        assert!([ErrorCode::BadWasm, ErrorCode::WrongWorld].contains(&error.code), "cut at {end}: {error}");
    }
}

#[tokio::test]
async fn unknown_versions_of_the_format_are_malformed() {
    let error = refusal(b"\0asm\x99\0\0\0".to_vec()).await;
    assert_eq!(error.code, ErrorCode::BadWasm);
}

/// Whatever the gates let through must also not bring the compiler down in this process.
#[tokio::test]
async fn a_component_with_any_byte_changed_never_crashes_the_host() {
    let whole = plain("app");
    let mut let_through = 0;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..600 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let place = random as usize % bytes.len();
            bytes[place] ^= 1 << ((random >> 32) % 8);
        }
        if let Ok(gated) = super::super::gate::pass(&bytes) {
            let_through += 1;
            if let_through % 10 == 0 {
                let _ = Compiler::InProcess.compile(&gated.bytes);
            }
        }
    }
    assert!(let_through > 0, "some changes are in text and harmless");
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the component is well formed")
}

#[tokio::test]
async fn a_foreign_import_is_refused_by_its_name() {
    for (name, hint) in [
        ("wasi:sockets/tcp@0.2.0", "no WASI"),
        ("wasi:cli/environment@0.2.0", "no WASI"),
        ("trackway:guest/step@0.2.0", "trackway:guest@0.1.0"),
        ("acme:db/query", "only `step` and `effect`"),
    ] {
        let error = refusal(component(&format!("(component (import \"{name}\" (instance)))"))).await;
        assert_eq!(error.code, ErrorCode::ForeignImport);
        assert!(error.message.contains(name), "{error}");
        assert!(error.hint.expect("a hint").contains(hint), "{name}");
    }
}

#[tokio::test]
async fn a_foreign_import_of_a_core_module_is_refused_by_its_name() {
    for (import, told) in [
        ("\"wasi_snapshot_preview1\" \"fd_write\"", "wasi_snapshot_preview1#fd_write"),
        ("\"env\" \"malloc\"", "env#malloc"),
        ("\"__wbindgen_placeholder__\" \"x\"", "__wbindgen_placeholder__#x"),
    ] {
        let error = refusal(component(&format!("(module (import {import} (func)))"))).await;
        assert_eq!(error.code, ErrorCode::ForeignImport);
        assert!(error.message.contains(told) && error.hint.is_some(), "{error}");
    }
}

#[tokio::test]
async fn an_unknown_function_of_a_known_interface_is_foreign() {
    let text = r#"(component (import "trackway:guest/step@0.1.0" (instance (export "peek" (func)))))"#;
    let error = refusal(component(text)).await;
    assert_eq!(error.code, ErrorCode::ForeignImport);
    assert!(error.message.contains("trackway:guest/step@0.1.0#peek"), "{error}");
}

#[tokio::test]
async fn an_import_of_another_type_names_both_types() {
    let text = r#"(component (import "trackway:guest/step@0.1.0" (instance
        (export "now" (func (param "zone" string) (result u64))))))"#;
    let error = refusal(component(text)).await;
    assert_eq!(error.code, ErrorCode::WrongWorld);
    assert!(error.message.contains("`func(zone: string) -> u64`"), "{error}");
    assert!(error.message.contains("`func() -> u64`"), "{error}");
}

#[tokio::test]
async fn a_missing_export_is_named() {
    let error = refusal(component("(component)")).await;
    assert_eq!(error.code, ErrorCode::WrongWorld);
    assert!(error.message.contains("`describe`"), "{error}");
    assert!(error.hint.expect("a hint").contains("worlds.wit"));
}

/// A component whose export `name` has the core type of `describe`.
fn exporting(name: &str, result: &str) -> Vec<u8> {
    component(&format!(
        r#"(component
            (core module $m (memory (export "memory") 1) (func (export "f") (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func $f (result {result}) (canon lift (core func $i "f") {}))
            (export "{name}" (func $f)))"#,
        if result == "string" { "(memory $i \"memory\")" } else { "" }
    ))
}

#[tokio::test]
async fn describe_alone_is_no_world() {
    let error = refusal(exporting("describe", "string")).await;
    assert_eq!(error.code, ErrorCode::WrongWorld);
    assert!(error.message.contains("`run`") && error.message.contains("`call`"), "{error}");
}

#[tokio::test]
async fn an_export_of_another_type_names_both_types() {
    let error = refusal(exporting("describe", "u32")).await;
    assert_eq!(error.code, ErrorCode::WrongWorld);
    assert!(error.message.contains("`func() -> u32`") && error.message.contains("`func() -> string`"), "{error}");
}

#[tokio::test]
async fn a_core_module_without_a_component_type_is_told_so() {
    let error = refusal(component("(module (func (export \"run\")))")).await;
    assert_eq!(error.code, ErrorCode::WrongWorld);
    assert!(error.message.contains("carries no component type"), "{error}");
}

#[tokio::test]
async fn features_that_are_off_are_refused() {
    for module in [
        "(memory i64 1)",
        "(memory 1 1 shared)",
        "(func (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))",
    ] {
        let error = refusal(component(&format!("(component (core module {module}))"))).await;
        assert_eq!(error.code, ErrorCode::BadWasm, "{module}: {error}");
    }
}

#[tokio::test]
async fn limits_of_structure_are_named() {
    let modules = format!("(component {})", "(core module)".repeat(501));
    let deep = format!("{}{}", "(component ".repeat(25), ")".repeat(25));
    let memories = format!("(component {})", format!("(core module {})", "(memory 0)".repeat(60)).repeat(2));
    for (text, told) in [(modules, "501 core modules"), (deep, "nested more than 20 deep"), (memories, "120 memories")]
    {
        let error = refusal(component(&text)).await;
        assert_eq!(error.code, ErrorCode::TooComplex, "{error}");
        assert!(error.message.contains(told), "{error}");
    }
}

#[tokio::test]
async fn instances_that_multiply_are_refused_or_cost_little() {
    // Each level instantiates the one below eight times: 8^7 instances of one module.
    let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..8 {
        let below = level - 1;
        text = format!("(component $c{level} {text} {})", format!("(instance (instantiate $c{below}))").repeat(8));
    }
    let error = refusal(component(&text)).await;
    assert!([ErrorCode::TooComplex, ErrorCode::WrongWorld, ErrorCode::BadWasm].contains(&error.code), "{error}");
}

#[tokio::test]
async fn a_manifest_that_names_what_is_not_exported_is_refused() {
    let guest = TextGuest { manifest: Some(MANIFEST.to_owned()), ..TextGuest::default() };
    let error = refusal(guest.build("workflow")).await;
    assert_eq!(error.code, ErrorCode::BadManifest);
    assert!(error.message.contains("`functions`") && error.message.contains("`call`"), "{error}");
}

#[tokio::test]
async fn a_describe_that_fails_is_a_bad_manifest_that_says_why() {
    let cases = [
        ("(call $now) drop", "describe may only compute"),
        ("unreachable", "unreachable"),
        ("(loop $again (br $again))", "OUT_OF_FUEL"),
    ];
    for (body, told) in cases {
        let guest = TextGuest { manifest: Some("{}".to_owned()), ..TextGuest::default() };
        let mut guest = TextGuest { more: format!("(func $init {body}) (start $init)"), ..guest };
        guest.call = String::new();
        let error = refusal(guest.build("app")).await;
        assert_eq!(error.code, ErrorCode::BadManifest, "{error}");
        assert!(error.message.contains(told), "{error} should tell {told}");
    }
}

#[tokio::test]
async fn a_bad_manifest_is_refused_at_upload() {
    let guest = TextGuest { manifest: Some(r#"{"contract":"9"}"#.to_owned()), ..TextGuest::default() };
    let error = refusal(guest.build("app")).await;
    assert_eq!(error.code, ErrorCode::BadManifest);
    assert!(error.message.contains("`contract`"), "{error}");
}

#[test]
fn the_tables_of_the_gate_are_those_of_wit() {
    use super::super::world;
    let mut resolve = wit_parser::Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
    let (package, _) = resolve.push_dir(wit).expect("wit/ is well formed");
    let told = |ty: &wit_parser::Type| told(&resolve, ty);
    for (interface, table) in [("step", world::STEP_FUNCTIONS), ("effect", world::EFFECT_FUNCTIONS)] {
        let id = resolve.packages[package].interfaces[interface];
        let of_wit: Vec<(String, String)> = resolve.interfaces[id]
            .functions
            .iter()
            .map(|(name, function)| {
                let parameters: Vec<String> = function
                    .params
                    .iter()
                    .map(|parameter| format!("{}: {}", parameter.name, told(&parameter.ty)))
                    .collect();
                let result = function.result.as_ref().map(|ty| format!(" -> {}", told(ty))).unwrap_or_default();
                (name.clone(), format!("func({}){result}", parameters.join(", ")))
            })
            .collect();
        let table: Vec<(String, String)> =
            table.iter().map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned())).collect();
        assert_eq!(of_wit, table, "{interface}");
    }
}

fn told(resolve: &wit_parser::Resolve, ty: &wit_parser::Type) -> String {
    use wit_parser::{Type, TypeDefKind};
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::String => "string".to_owned(),
        Type::U8 => "u8".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::U64 => "u64".to_owned(),
        Type::Id(id) => match &resolve.types[*id].kind {
            TypeDefKind::Type(ty) => told(resolve, ty),
            TypeDefKind::Option(ty) => format!("option<{}>", told(resolve, ty)),
            TypeDefKind::Result(result) => {
                let of = |ty: &Option<wit_parser::Type>| ty.as_ref().map_or("_".to_owned(), |ty| told(resolve, ty));
                format!("result<{}, {}>", of(&result.ok), of(&result.err))
            }
            TypeDefKind::List(ty) => format!("list<{}>", told(resolve, ty)),
            TypeDefKind::Record(record) => {
                let fields: Vec<String> =
                    record.fields.iter().map(|field| format!("{}: {}", field.name, told(resolve, &field.ty))).collect();
                format!("record {{ {} }}", fields.join(", "))
            }
            other => panic!("the contract has no {other:?}"),
        },
        other => panic!("the contract has no {other:?}"),
    }
}
