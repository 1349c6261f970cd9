//! What a tenant said and made, looked for everywhere after it was removed: on every path of the API, in what the store gives to
//! a backup, in every file of the data folder. What stays on purpose is named here. It never looks into the process.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::masked::{Field, SHOWING, Told, read, wait};
use super::wire::Wire;
use super::{KEY, LOOK_EVERY, PATIENCE, Place, Server, run, signal, wait_for};
use crate::left::Left;
use crate::rig::guests;

/// Said by callers and guests of the tenant, wherever they can say something.
const MARK: Field = Field {
    name: "mark",
    value: "k9vq-said-by-a-caller-zx7",
    in_base64: "eyJtYXJrIjogIms5dnEtc2FpZC1ieS1hLWNhbGxlci16eDcifQ==",
};
/// In paths of requests: name of a signal, key of an entity. The audit log keeps those for as long as there is the tenant.
const NAMED: &str = "k9vq-named-in-a-path-zx7";
/// What is never sealed: names of a deployment, a secret, a key and a redacted field, and the bytes of a component.
const OPEN: &str = "k9vq-never-sealed-zx7";
const MARKS: [&str; 4] = [MARK.value, MARK.in_base64, NAMED, OPEN];

const TENANT: &str = "acme";
const UNSEALED: &str = "--secrets-key-file keys";
const SEALED: &str = "--secrets-key-file keys --seal";
/// How often the mark stands in a value that is a file.
const MARKS_IN_A_FILE: usize = 60_000;
/// Runs that are open when their tenant is deleted: it takes a while to end them.
const OPEN_RUNS: usize = 30;
/// Of components, values and code that a tenant had to itself.
const FOLDERS: [&str; 2] = ["store/payloads", "store/components"];

/// What a tenant has, as it lists it.
const LISTS: [&str; 7] =
    ["runs ls", "deployments ls", "components ls", "secrets ls", "entities ls", "questions ls", "redact show"];

/// A tenant that has everything that there is, each with a mark in it.
struct Marked {
    key: String,
    /// Its runs that ended.
    told: Told,
    /// One that waits, with a message in its inbox.
    open: String,
}

/// A custom section of that name behind a core module.
fn with_section(mut module: Vec<u8>, name: &str) -> Vec<u8> {
    let name_bytes = u8::try_from(name.len()).expect("a short name");
    // Its number; its size, which fits into one byte; its name. It holds nothing more.
    module.extend([0, name_bytes + 1, name_bytes]);
    module.extend(name.as_bytes());
    module
}

/// A run with a step of a large input and a large output, and a state; then it waits for a promise.
fn waiting() -> Value {
    let large = json!(format!("{} ", MARK.value).repeat(MARKS_IN_A_FILE)).to_string();
    json!({ "mark": MARK.value, "ops": [
        ["call", "script", { "ops": [["return", large]] }, ""],
        ["next"],
        ["publish", MARK.value, { "mark": MARK.value }],
        ["promise", "paid"],
        ["next"],
        ["return", "1"],
    ] })
}

impl Marked {
    fn made(server: &Server) -> Marked {
        let typed = |words: &str| run(&mut server.trackway(words)).expect(0);
        typed(&format!("tenants create {TENANT}"));
        let key = typed(&format!("keys create --tenant {TENANT} --scope admin first -o id")).line().to_owned();
        let told = Told::by(server, &key, &[MARK]);
        let folder = server.place.path();
        let module = fs::read(guests().join("sleeper.wasm")).expect("it was built");
        fs::write(folder.join("marked.wasm"), with_section(module, OPEN)).expect("a file");
        fs::write(folder.join("secret"), MARK.value).expect("a file");
        fs::write(folder.join("open.json"), waiting().to_string()).expect("a file");
        let mut marked = Marked { key, told, open: String::new() };
        let (mark, own) = (MARK.value, |words: &str| marked.own(server, words).expect(0));
        own(&format!("deploy marked.wasm --name {OPEN}"));
        own(&format!("secrets set {OPEN} --file secret"));
        own(&format!("keys create --scope read {OPEN} -o id"));
        own(&format!("entities set people {NAMED} -i \"{mark}\""));
        let started = own(&format!("run raw/script --detach -o id -i @open.json --idempotency-key {mark}"));
        let open = started.line().to_owned();
        let mut wire = Wire::with(server, &marked.key);
        wait(|| (wire.ask("GET", &format!("runs/{open}/state/{mark}"), "", b"").0 == 200).then_some(()));
        own(&format!("runs signal {open} {NAMED} -i \"{mark}\""));
        own(&format!("redact add {OPEN}.field"));
        marked.open = open;
        marked
    }

    fn own(&self, server: &Server, words: &str) -> Left {
        run(server.trackway(words).env("TRACKWAY_KEY", &self.key))
    }
}

/// Where a mark is below the folder, and which one: in the name of a file or in what it holds.
fn found_in(data: &Path) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(data).into_iter().map(|entry| entry.expect("it can be read")) {
        if entry.file_type().is_file() {
            let path = entry.path().strip_prefix(data).expect("below it").to_string_lossy().into_owned();
            let bytes = fs::read(entry.path()).expect("it can be read");
            let marks = marks_in(&bytes).into_iter().chain(marks_in(path.as_bytes()));
            found.extend(marks.map(|mark| (path.clone(), mark)));
        }
    }
    found
}

fn marks_in(bytes: &[u8]) -> Vec<&'static str> {
    let holds = |mark: &[u8]| bytes.windows(mark.len()).any(|window| window[0] == mark[0] && window == mark);
    MARKS.into_iter().filter(|mark| holds(mark.as_bytes())).collect()
}

/// The store's own files, which keep in free pages what was removed, until they are written over.
fn is_page(path: &str) -> bool {
    path.starts_with("store/store/")
}

/// Files with compiled code.
fn codes(data: &Path) -> usize {
    let files = walkdir::WalkDir::new(data.join("code")).into_iter().map(|entry| entry.expect("it can be read"));
    files.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "code")).count()
}

/// What is looked for later stands where it is looked for, or nothing would be proven.
#[track_caller]
fn expect_made(data: &Path, is_sealed: bool) {
    let found = found_in(data);
    let stands = |folder: &str, mark: &str| found.iter().any(|(path, of)| path.starts_with(folder) && *of == mark);
    assert!(stands("store/components/", OPEN) && codes(data) > 1, "{found:?}");
    assert_eq!(stands("store/payloads/", MARK.value), !is_sealed, "{found:?}");
    if is_sealed {
        expect_unsaid(data, is_sealed);
    }
}

/// Nothing that was said is in a file, but for free pages of a store that does not seal.
#[track_caller]
fn expect_unsaid(data: &Path, is_sealed: bool) {
    let mut found = found_in(data);
    found.retain(|(path, mark)| *mark != OPEN && (is_sealed || !is_page(path)));
    assert!(found.is_empty(), "{found:?}");
}

/// The same, and nothing that was made either.
#[track_caller]
fn expect_unmade(data: &Path, is_sealed: bool) {
    expect_unsaid(data, is_sealed);
    let mut found = found_in(data);
    found.retain(|(path, _)| !is_page(path));
    assert!(found.is_empty(), "{found:?}");
    for folder in FOLDERS {
        let count = fs::read_dir(data.join(folder)).map(Iterator::count).unwrap_or_default();
        assert_eq!(count, 0, "{folder}");
    }
    assert_eq!(codes(data), 0, "compiled code that nobody has a component for");
    if is_sealed {
        let keys = fs::read_dir(data.join("store/keys")).expect("keys");
        let names: Vec<_> = keys.map(|entry| entry.expect("a key").file_name()).collect();
        assert_eq!(names, ["1"], "the default tenant's alone");
    }
}

/// The marks in a backup: it holds what is there, and none of what is left in free pages.
fn backed_up(server: &Server, file: &str) -> Vec<&'static str> {
    run(&mut server.trackway(&format!("backup {file}"))).expect(0);
    marks_in(&fs::read(server.place.path().join(file)).expect("a backup"))
}

/// Stops it in order, looks at its data, and starts it again.
fn stopped(server: Server, flags: &str, look: impl FnOnce(&Path)) -> Server {
    signal(&server.child, "TERM");
    let (code, place) = server.wait();
    assert_eq!(code, Some(0));
    look(&place.path().join("data"));
    Server::start(place, flags)
}

#[test]
fn a_removed_run_leaves_nothing_of_what_was_said_in_it() {
    for flags in [UNSEALED, SEALED] {
        let is_sealed = flags == SEALED;
        let server = Server::start(Place::new(), flags);
        let marked = Marked::made(&server);
        let shown = marked.told.shows(&server, MARK);
        assert!(shown.is_superset(&SHOWING.map(str::to_owned).into()), "{shown:?}");
        assert_eq!(backed_up(&server, "before").contains(&MARK.value), !is_sealed);
        let server = stopped(server, flags, |data| expect_made(data, is_sealed));

        let own = |words: &str| marked.own(&server, words).expect(0);
        let open = &marked.open;
        own(&format!("runs terminate {open}"));
        let is_over = |found: &Value| found["finished_at"].is_string();
        wait(|| is_over(&own(&format!("runs describe {open} -o json")).json()).then_some(()));
        let runs = own("runs ls -o id").stdout;
        assert!(runs.lines().count() > 2, "{runs}");
        for id in runs.lines() {
            own(&format!("runs rm {id}"));
        }
        assert_eq!(own("runs ls -o id").stdout, "");
        // Entities are no part of a run: they stay until they are deleted.
        let kept: BTreeSet<String> = ["/v1/entities", "/v1/entities/{name}/{key}"].map(str::to_owned).into();
        assert_eq!(marked.told.shows(&server, MARK), kept);
        for key in ["ann", NAMED] {
            own(&format!("entities rm people {key}"));
        }
        marked.told.hides(&server, &[MARK]);
        marked.told.tells_nothing_of(&server, &[MARK]);
        // So does the audit log: who did what, with the names that stand in paths, and nothing that was sent.
        let audit = own("audit -o jsonl").stdout;
        assert!(audit.contains(&format!("DELETE /v1/runs/{open}")) && audit.contains(NAMED), "{audit}");
        assert!(!MARK.is_in(&audit), "{audit}");
        let left = backed_up(&server, "after");
        assert!(!left.contains(&MARK.value) && !left.contains(&MARK.in_base64), "{left:?}");
        assert_eq!((left.contains(&NAMED), left.contains(&OPEN)), (!is_sealed, true), "{left:?}");

        // Nothing comes back with the next process.
        let server = stopped(server, flags, |data| expect_unsaid(data, is_sealed));
        assert_eq!(marked.own(&server, "runs ls -o id").expect(0).stdout, "");
        marked.told.hides(&server, &[MARK]);
        run(&mut server.trackway("doctor --deep")).expect(0);
        assert!(!backed_up(&server, "later").contains(&MARK.value));
        stopped(server, flags, |data| expect_unsaid(data, is_sealed));
    }
}

/// A tenant that has everything, on a server that was started again with all of it.
fn made_to_be_deleted(flags: &str) -> (Server, Marked) {
    let server = Server::start(Place::new(), flags);
    let marked = Marked::made(&server);
    let mut wire = Wire::with(&server, &marked.key);
    let start = json!({ "workflow": format!("{OPEN}/sleeps"), "input": 3_600_000 }).to_string();
    for _ in 0..OPEN_RUNS {
        let (status, told) = wire.ask("POST", "runs", "application/json", start.as_bytes());
        assert_eq!(status, 201, "{told}");
    }
    drop(wire);
    let server = stopped(server, flags, |data| expect_made(data, flags == SEALED));
    (server, marked)
}

/// Of the tenant nobody finds anything any more, nor does whoever is called so later.
fn expect_gone(server: Server, marked: &Marked, flags: &str) {
    let is_sealed = flags == SEALED;
    let typed = |server: &Server, words: &str| run(&mut server.trackway(words)).expect(0).stdout;
    assert_eq!(typed(&server, "tenants ls -o id"), "default\n");
    marked.own(&server, "runs ls").refused(5, "TW0603");
    for (_, path) in marked.told.paths() {
        for key in [KEY, marked.key.as_str()] {
            let answer = read(&server, key, &path);
            let marks = marks_in(answer.as_bytes());
            // A path that was asked for stands in the answer that there is nothing.
            assert!(marks.iter().all(|mark| path.contains(mark)), "{marks:?} under {path}: {answer}");
        }
    }
    let report = typed(&server, "doctor --deep -o json");
    assert!(marks_in(report.as_bytes()).is_empty() && !report.contains(TENANT), "{report}");
    assert_eq!(backed_up(&server, "after"), Vec::<&str>::new());

    let server = stopped(server, flags, |data| expect_unmade(data, is_sealed));
    typed(&server, "doctor --deep");
    typed(&server, &format!("tenants create {TENANT}"));
    for what in LISTS {
        assert_eq!(typed(&server, &format!("{what} --tenant {TENANT} -o id")), "", "{what}");
    }
    assert!(marks_in(typed(&server, &format!("audit -o jsonl --tenant {TENANT}")).as_bytes()).is_empty());
    stopped(server, flags, |data| expect_unsaid(data, is_sealed));
}

#[test]
fn a_deleted_tenant_leaves_nothing_of_what_it_said_and_made() {
    for flags in [UNSEALED, SEALED] {
        let (server, marked) = made_to_be_deleted(flags);
        run(&mut server.trackway(&format!("tenants rm {TENANT} --yes"))).expect(0);
        expect_gone(server, &marked, flags);
    }
}

/// Kills the server so long after it began to delete the tenant, and waits until the next process has ended that.
fn killed_after(server: Server, flags: &str, after: Duration) -> Server {
    let mut deleting = server
        .trackway(&format!("tenants rm {TENANT} --yes"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut wire = Wire::to(&server);
    // Once it is marked, whatever comes.
    wait(|| {
        let (status, told) = wire.ask("GET", &format!("tenants/{TENANT}"), "", b"");
        (status == 404 || told["state"] == "deleting").then_some(())
    });
    let begun = Instant::now();
    while begun.elapsed() < after {
        std::hint::spin_loop();
    }
    signal(&server.child, "KILL");
    let (_, place) = server.wait();
    wait_for(&mut deleting);
    let server = Server::start(place, flags);
    let begun = Instant::now();
    while run(&mut server.trackway("tenants ls -o id")).expect(0).stdout.contains(TENANT) {
        assert!(begun.elapsed() < PATIENCE, "the tenant is still there:\n{}", server.log());
        std::thread::sleep(LOOK_EVERY);
    }
    server
}

#[test]
fn a_tenant_whose_deletion_was_cut_off_leaves_no_more() {
    for (flags, after_ms) in [(UNSEALED, 0), (SEALED, 0), (UNSEALED, 40), (SEALED, 40)] {
        let (server, marked) = made_to_be_deleted(flags);
        let server = killed_after(server, flags, Duration::from_millis(after_ms));
        expect_gone(server, &marked, flags);
    }
}
