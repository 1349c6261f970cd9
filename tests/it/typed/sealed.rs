//! What guests and callers said, looked for in every file of a server that seals and of its backups; and what is left when
//! the keys are not there.

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Instant;

use super::{KEY, LOOK_EVERY, PATIENCE, Place, Server, run, signal};
use crate::rig::guests;

const MARK: &str = "k9Vq-said-by-a-caller-Zx7";
const FLAGS: &str = "--seal --secrets-key-file keys";

/// Brings the mark wherever a run can bring it, and waits for somebody to settle a promise.
fn telling() -> Value {
    let mark = json!({ "mark": MARK });
    let text = mark.to_string();
    let function = json!({ "ops": [
        ["log", "info", format!("in a function: {MARK}"), text],
        ["get", format!("http://world.test/{MARK}"), MARK],
        ["next"],
        ["return", text],
    ] });
    let form = json!({ "title": format!("a prompt: {MARK}?"), "fields": [{ "name": "mark", "kind": "text" }] });
    json!({ "mark": MARK, "pad": format!("{MARK} ").repeat(4_000), "ops": [
        ["log", "info", format!("in a workflow: {MARK}"), text],
        ["publish", MARK, mark],
        ["call", "script", function, ""],
        ["next"],
        ["ask", form],
        ["next"],
        ["promise", "paid"],
        ["next"],
        ["return", text],
    ] })
}

/// A run of the tenant that has come as far as its question, with everything beside it.
fn told(server: &Server, tenant: &str) -> String {
    let typed = |words: &str| run(&mut server.trackway(&format!("{words} --tenant {tenant}")));
    run(server.trackway(&format!("deploy --tenant {tenant}")).arg(guests().join("raw.wasm"))).expect(0);
    let input = server.place.path().join("input.json");
    fs::write(&input, telling().to_string()).expect("a file");
    let id = typed(&format!("run script --detach -o id -i @input.json --idempotency-key {MARK}"))
        .expect(0)
        .line()
        .to_owned();
    run(server.trackway(&format!("entities set people {MARK} --tenant {tenant} -i")).arg(format!("\"{MARK}\"")))
        .expect(0);
    let begun = Instant::now();
    while typed("questions ls -o id").expect(0).stdout.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the run does not come to its question");
        std::thread::sleep(LOOK_EVERY);
    }
    run(server.trackway(&format!("runs signal {id} {MARK} --tenant {tenant} -i")).arg(format!("\"{MARK}\""))).expect(0);
    id
}

/// The files below a folder that hold the mark, in their names or in what they hold; and how many there are.
fn marked(folder: &Path) -> (Vec<String>, usize) {
    let holds = |bytes: &[u8]| bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes());
    let files = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.expect("it can be read").into_path());
    let files: Vec<_> = files.filter(|path| path.is_file()).collect();
    let found = files
        .iter()
        .filter(|path| holds(path.to_string_lossy().as_bytes()) || holds(&fs::read(path).expect("it can be read")));
    (found.map(|path| path.display().to_string()).collect(), files.len())
}

#[track_caller]
fn expect_unmarked(folder: &Path) {
    let (found, count) = marked(folder);
    assert_eq!((found, count > 5), (Vec::new(), true), "{count} files");
}

/// Everything but the lock, which has the id of the process.
fn contents(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(|entry| entry.expect("readable"));
    let files = files.filter(|entry| entry.file_type().is_file() && entry.file_name() != "lock");
    files.map(|entry| (entry.path().to_owned(), fs::read(entry.path()).expect("readable"))).collect()
}

fn copy(from: &Path, to: &Path) {
    for (path, bytes) in contents(from) {
        let to = to.join(path.strip_prefix(from).expect("below it"));
        fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        fs::write(to, bytes).expect("written");
    }
}

/// The whole store is sound, and nothing of it is not sealed.
#[track_caller]
fn expect_sealed(place: &Place, data: &str, keys: &str) {
    let words = format!("doctor --deep --data {data} --secrets-key-file {keys} -o json");
    let report = run(&mut place.command(&words)).expect(0).json();
    assert_eq!((&report["sealed"], &report["unsealed"]), (&json!(1), &json!(0)), "{report}");
}

#[test]
fn what_was_said_is_in_no_file_of_the_server_and_of_its_backups() {
    let server = Server::start(Place::new(), FLAGS);
    let id = told(&server, "default");
    let shown = |server: &Server| run(&mut server.trackway(&format!("trace {id} --full -o json"))).expect(0).stdout;
    assert!(shown(&server).contains(MARK));
    run(&mut server.trackway("backup all.trackway")).expect(0);

    signal(&server.child, "KILL");
    let (_, place) = server.wait();
    let data = place.path().join("data");
    expect_unmarked(&data);
    for file in ["all.trackway", "all.trackway.keys"] {
        let (found, count) = marked(&place.path().join(file));
        assert_eq!((found, count), (Vec::new(), 1), "{file}");
    }

    // Without its key, or with another one, nothing is opened and nothing changed.
    let before = contents(&data);
    for flags in ["", "--seal", "--secrets-key-file stranger"] {
        let mut command = place.command(&format!("server --listen 127.0.0.1:0 --data data {flags}"));
        run(command.env("TRACKWAY_KEY", KEY)).refused(1, "TW0409");
        assert!(contents(&data) == before, "`{flags}` changed something");
    }
    run(&mut place.command("doctor --deep --data data")).refused(1, "TW0409");

    // The server's key is changed; a kill in between changes nothing about that.
    let server = Server::start(place, "--secrets-key-file keys");
    let (file, new) = (server.place.path().join("keys"), "7c".repeat(32));
    let old = fs::read_to_string(&file).expect("it was made");
    fs::copy(&file, server.place.path().join("old")).expect("copied");
    fs::write(&file, format!("{new}\n{old}")).expect("a file");
    let rotated = run(&mut server.trackway("secrets rotate -o json")).expect(0).json();
    assert_eq!(rotated["data_keys"], json!(1), "{rotated}");
    signal(&server.child, "KILL");
    let (_, place) = server.wait();
    fs::write(&file, format!("{new}\n")).expect("a file");
    expect_sealed(&place, "data", "keys");
    let server = Server::start(place, "--secrets-key-file keys");
    assert!(shown(&server).contains(MARK), "it goes on sealing without the flag, and opens what was sealed");
    signal(&server.child, "TERM");
    let (_, place) = server.wait();

    // The backup of before opens with the key of before.
    let restore = |flags: &str| run(&mut place.command(&format!("restore all.trackway {flags}")));
    restore("--check").expect(0);
    restore("--data other").refused(1, "TW0409");
    restore("--data other --secrets-key-file keys").refused(1, "TW0409");
    restore("--data other --secrets-key-file old").expect(0);
    let other = place.path().join("other");
    expect_unmarked(&other);
    expect_sealed(&place, "other", "old");
}

#[test]
fn a_deleted_tenant_is_shredded_also_in_backups_of_before() {
    let server = Server::start(Place::new(), FLAGS);
    run(&mut server.trackway("tenants create acme")).expect(0);
    told(&server, "acme");
    let kept = told(&server, "default");
    run(&mut server.trackway("backup before.trackway --data-keys data-keys")).expect(0);
    signal(&server.child, "TERM");
    let (_, place) = server.wait();
    let (data, copied) = (place.path().join("data"), place.path().join("copied"));
    copy(&data, &copied);

    let server = Server::start(place, FLAGS);
    run(&mut server.trackway("tenants rm acme --yes")).expect(0);
    let keys = data.join("store/keys");
    let names: Vec<_> = fs::read_dir(&keys).expect("keys").map(|entry| entry.expect("a key").file_name()).collect();
    assert_eq!(names, ["1"], "the default tenant's alone");
    // The next backup brings keys in place of the old ones.
    run(&mut server.trackway("backup after.trackway --data-keys data-keys")).expect(0);
    signal(&server.child, "TERM");
    let (_, place) = server.wait();

    let left = run(&mut place
        .command("restore before.trackway --data restored --data-keys data-keys --secrets-key-file keys -o json"));
    left.expect(1);
    fs::rename(&data, place.path().join("before")).expect("moved");
    fs::rename(place.path().join("restored"), &data).expect("moved");
    let server = Server::start(place, "--secrets-key-file keys");
    run(&mut server.trackway(&format!("trace {kept} -o text"))).expect(0);
    assert_eq!(run(&mut server.trackway("runs ls --tenant acme -o id")).expect(0).stdout, "");
    signal(&server.child, "TERM");
    let (_, place) = server.wait();

    // So it is in a copy of the folder whose key is gone too.
    for entry in fs::read_dir(copied.join("store/keys")).expect("keys") {
        let path = entry.expect("a key").path();
        if path.file_name().is_some_and(|name| name != "1") {
            fs::remove_file(path).expect("removed");
        }
    }
    expect_unmarked(&copied);
    let left = run(&mut place.command("doctor --deep --data copied --secrets-key-file keys"));
    left.expect(1);
}
