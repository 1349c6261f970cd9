//! `cli, api -> host -> worker -> {sandbox, storage, effects} -> replay`, and one owner for each
//! dependency that matters.

use super::source::{code_of, names, root_modules};
use super::{is_test, none, read, rust_files};

/// A dependency, and the only places that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("wasmtime", &["host/src/sandbox/", "host/src/sandbox.rs"]),
    ("wasmparser", &["host/src/sandbox/", "host/src/sandbox.rs"]),
    (
        "wit_component",
        &["host/src/sandbox/", "host/src/sandbox.rs", "xtask/src/bench/peers.rs", "tests/it/hostile/text.rs"],
    ),
    ("sled", &["host/storage/"]),
    ("reqwest", &["host/src/effects/", "host/src/cli/client.rs", "host/src/cli/client/", "tests/"]),
    ("rustls", &["host/src/api/tls.rs", "host/src/effects/", "host/src/cli/client.rs", "tests/"]),
    (
        "ring",
        &[
            "host/src/api/jwt.rs",
            "host/src/api/jwt/",
            "host/src/host/signature.rs",
            "host/src/host/secrets/",
            "host/storage/src/seal.rs",
            "host/storage/src/seal/",
        ],
    ),
    ("tokio_rustls", &["host/src/api/tls.rs"]),
    ("axum", &["host/src/api/", "tests/"]),
    ("clap", &["host/src/cli/", "host/src/main.rs"]),
    ("landlock", &["host/src/confine/"]),
    ("seccompiler", &["host/src/confine/"]),
    ("postcard", &["host/replay/", "host/storage/"]),
];

/// A module of the host, and the modules beside it that it may name. `error` is free to all.
const BELOW: &[(&str, &[&str])] = &[
    ("cli", &["api", "host", "worker", "sandbox", "effects", "confine", "quota"]),
    ("api", &["host", "worker", "sandbox", "effects", "quota"]),
    ("host", &["worker", "sandbox", "effects", "confine", "quota"]),
    ("worker", &["sandbox", "effects", "quota"]),
    ("sandbox", &["confine"]),
    ("effects", &[]),
    ("confine", &[]),
    ("quota", &[]),
];

#[test]
fn each_dependency_is_named_only_by_its_owner() {
    let mut complaints = Vec::new();
    for path in rust_files() {
        let code = code_of(&read(&path));
        for (dependency, owners) in OWNERS {
            let owned = owners.iter().any(|owner| path.starts_with(owner));
            if !owned && uses(&code, dependency) {
                complaints.push(format!("{path} names `{dependency}`, which belongs to {owners:?}"));
            }
        }
    }
    none(complaints);
}

/// Whether `code` names a crate: `x::` or `use x;`, not a module of the same name inside another path.
fn uses(code: &str, dependency: &str) -> bool {
    let inside =
        |before: &str| before.ends_with("::") || before.ends_with(|last: char| last == '_' || last.is_alphanumeric());
    let path = format!("{dependency}::");
    code.match_indices(&path).any(|(place, _)| !inside(&code[..place])) || code.contains(&format!("use {dependency};"))
}

#[test]
fn each_module_of_the_host_names_only_what_is_below_it() {
    let mut complaints = Vec::new();
    for path in rust_files() {
        let Some(inside) = path.strip_prefix("host/src/") else { continue };
        let own = inside.split(['/', '.']).next().expect("split gives at least one part");
        let Some((_, below)) = BELOW.iter().find(|(module, _)| *module == own) else { continue };
        for named in root_modules(&code_of(&read(&path))) {
            let is_module = BELOW.iter().any(|(module, _)| *module == named);
            if is_module && named != own && !below.contains(&named.as_str()) {
                complaints.push(format!("{path} is in `{own}` and names `{named}`, which is not below it"));
            }
        }
    }
    none(complaints);
}

#[test]
fn sandbox_effects_and_storage_do_not_know_each_other() {
    let mut complaints = Vec::new();
    for path in rust_files().into_iter().filter(|path| !is_test(path)) {
        let code = code_of(&read(&path));
        let middle = path.starts_with("host/src/sandbox") || path.starts_with("host/src/effects");
        if middle && names(&code, "trackway_storage") {
            complaints.push(format!("{path} names storage"));
        }
        if path.starts_with("host/storage/") && ["trackway", "reqwest", "wasmtime"].iter().any(|word| uses(&code, word))
        {
            complaints.push(format!("{path} names what is above or beside storage"));
        }
    }
    none(complaints);
}

#[test]
fn replay_neither_waits_nor_looks_outside() {
    const FORBIDDEN: [&str; 17] = [
        "async",
        "await",
        "tokio",
        "futures_util",
        "HashMap",
        "HashSet",
        "Instant",
        "SystemTime",
        "std::fs",
        "std::net",
        "std::thread",
        "std::process",
        "std::env",
        "std::io",
        "println",
        "eprintln",
        "getrandom",
    ];
    let mut complaints = Vec::new();
    for path in rust_files().into_iter().filter(|path| path.starts_with("host/replay/src/") && !is_test(path)) {
        let code = code_of(&read(&path));
        let found = FORBIDDEN.iter().filter(|word| names(&code, word));
        complaints.extend(found.map(|word| format!("{path} names `{word}`; this crate only thinks")));
    }
    none(complaints);
}

#[test]
fn light_crates_do_not_depend_on_heavy_ones() {
    let mut complaints = Vec::new();
    let crates = [
        ("host/replay/Cargo.toml", &["wasmtime", "sled", "tokio", "reqwest", "trackway-storage"][..]),
        ("host/storage/Cargo.toml", &["wasmtime", "reqwest", "axum"][..]),
        ("xtask/Cargo.toml", &["wasmtime", "trackway.workspace", "sled"][..]),
        ("guest-sdk/rust/Cargo.toml", &["tokio", "wasmtime", "trackway-replay"][..]),
    ];
    for (manifest, heavy) in crates {
        let text = read(manifest);
        for line in text.lines().map(str::trim_start) {
            let found = heavy.iter().filter(|name| line.starts_with(*name));
            complaints.extend(found.map(|name| format!("{manifest} depends on {name}")));
        }
    }
    none(complaints);
}
