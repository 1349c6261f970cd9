//! What people get wrong, and what machines do to them: each time an error says what happened and
//! what to do next, under a stable code, and nothing is lost or left behind.

use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;
use trackway_replay::{Position, RunId, TenantId};
use trackway_storage::{RunKey, SledOptions, SledStorage, Storage as _};

use super::disk::SmallDisk;
use super::wire::Wire;
use super::{LOOK_EVERY, Left, PATIENCE, Place, Server, run, signal};
use crate::rig::guests;

const WASM: &str = "application/wasm";
const UPLOAD_BYTES: usize = 200 << 20;

impl Server {
    fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    #[track_caller]
    fn still_works(&self) {
        run(self.trackway("deploy").arg(guests().join("hello.wasm"))).expect(0);
        assert_eq!(run(self.trackway("run hello -i").arg("\"Ada\"")).expect(0).stdout, "\"Hello, Ada!\"\n");
    }

    fn stop(self) -> Place {
        signal(&self.child, "TERM");
        let (exit, place) = self.wait();
        assert_eq!(exit, Some(0));
        place
    }
}

impl Left {
    #[track_caller]
    fn says(self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in:\n{}", self.stderr);
        }
    }
}

/// Files of components and of compiled code.
fn kept(data: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(data).into_iter().map(|entry| entry.expect("a readable folder"));
    let files = files.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    let mut kept: Vec<PathBuf> = files
        .filter(|path| {
            path.components().any(|part| ["code", "components"].iter().any(|name| part.as_os_str() == *name))
        })
        .collect();
    kept.sort();
    kept
}

#[test]
fn what_is_no_guest_is_refused_by_name_and_leaves_nothing_behind() {
    let server = Server::start(Place::new(), "");
    let hello = std::fs::read(guests().join("hello.wasm")).expect("built by `cargo xtask guests`");
    let python = std::fs::read(guests().join("python.wasm")).expect("built by `cargo xtask guests`");
    let foreign = "(component (import \"wasi:http/outgoing-handler@0.2.3\" (instance)))";
    let foreign = wat::parse_str(foreign).expect("it is well-formed");
    let before = kept(&server.data());
    for (name, bytes, code, says) in [
        ("text.wasm", b"(module)".as_slice(), "TW0201", &["text"][..]),
        ("notes.md", b"# Notes\n", "TW0201", &[]),
        ("program", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0", "TW0201", &["ELF"]),
        ("nothing", b"", "TW0201", &[]),
        ("half-a-module.wasm", &hello[..hello.len() / 2], "TW0202", &[]),
        ("half-a-component.wasm", &python[..python.len() / 2], "TW0202", &[]),
        ("foreign.wasm", &foreign, "TW0205", &["`wasi:http/outgoing-handler@0.2.3`"]),
    ] {
        let file = server.place.path().join(name);
        std::fs::write(&file, bytes).expect("writable");
        run(server.trackway("deploy").arg(&file)).refused(1, code).says(says);
        // The server does not rely on what the command line found.
        let (status, answer) = Wire::to(&server).ask("POST", "components", WASM, bytes);
        assert!((400..500).contains(&status) && answer["code"] == code, "{name}: {status} {answer}");
        assert!(answer["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{name}: {answer}");
    }
    let file = server.place.path().join("large.wasm");
    std::fs::File::create(&file).and_then(|file| file.set_len(UPLOAD_BYTES as u64)).expect("a sparse file");
    run(server.trackway("deploy").arg(&file)).refused(1, "TW0203").says(&["large.wasm"]);
    let mut wire = Wire::to(&server);
    wire.send("POST", "components", WASM, UPLOAD_BYTES, &hello);
    let (status, answer) = wire.answer();
    assert_eq!((status, &answer["code"]), (413, &json!("TW0203")), "{answer}");

    assert_eq!(run(&mut server.trackway("deployments ls -o id")).expect(0).stdout, "");
    assert_eq!(kept(&server.data()), before);
    server.still_works();
    assert!(kept(&server.data()).len() > before.len(), "a good guest is kept, so this test looks in the right place");
}

#[test]
fn input_that_does_not_fit_starts_no_run() {
    let server = Server::with_guest("sleeper", "");
    let typed = |words: &str| run(&mut server.trackway(words));
    typed("run sleeps -i {").refused(2, "TW0305").says(&["line 1"]);
    typed("run sleeps -i \"word\"").refused(2, "TW0306").says(&["integer"]);
    typed("run sleeps -i -7").refused(2, "TW0306").says(&["minimum of 0"]);
    typed("run nothing -i 7").refused(4, "TW0302").says(&["nothing", "sleeps"]);
    typed("run sleeper/nothing -i 7").refused(4, "TW0302").says(&["nothing", "sleeper"]);
    typed("run nowhere/sleeps -i 7").refused(4, "TW0301").says(&["nowhere"]);
    typed("runs describe 01zzzzzzzz").refused(4, "TW0303").says(&["01zzzzzzzz"]);
    typed("replay 01zzzzzzzz").refused(4, "TW0303").says(&["01zzzzzzzz"]);

    let mut wire = Wire::to(&server);
    for (body, status, code) in [
        (r#"{"workflow":"sleeps","input":"#, 400, "TW0305"),
        (r#"{"workflow":"sleeps","input":"word"}"#, 422, "TW0306"),
        (r#"{"workflow":"nothing","input":7}"#, 404, "TW0302"),
    ] {
        let (answered, answer) = wire.ask("POST", "runs", "application/json", body.as_bytes());
        assert_eq!((answered, &answer["code"]), (status, &json!(code)), "{answer}");
    }
    assert_eq!(typed("runs ls -o id").expect(0).stdout, "");
    server.still_works();
}

#[test]
fn a_taken_port_and_a_taken_folder_are_named_and_left_to_their_owner() {
    let server = Server::start(Place::new(), "");
    let process = format!("process {}", server.child.id());
    let second = run(&mut server.trackway("server --listen 127.0.0.1:0 --data data"));
    second.refused(1, "TW0401").says(&[&process, "data"]);
    let address = server.url.trim_start_matches("http://");
    let second = run(&mut server.trackway(&format!("server --listen {address} --data other")));
    second.refused(1, "TW0601").says(&[address, "--listen"]);
    assert!(!server.place.path().join("other").exists(), "a server that cannot serve makes no folder");
    server.still_works();
}

#[test]
fn a_folder_of_a_newer_version_is_left_alone() {
    let server = Server::start(Place::new(), "");
    server.still_works();
    let place = server.stop();
    let format = place.path().join("data/store/format");
    let ours = std::fs::read(&format).expect("it is there");
    std::fs::write(&format, "7\n").expect("writable");
    let newer = run(&mut place.command("server --listen 127.0.0.1:0 --data data"));
    newer.refused(1, "TW0402").says(&["data", "format 7", "newer"]);
    std::fs::write(&format, ours).expect("writable");
    let server = Server::start(place, "");
    run(&mut server.trackway("trace @last")).expect(0);
    server.still_works();
}

/// Changes one byte of a frame, as a bad disk does.
fn damage(place: &Place, run: &str, position: u64) {
    let key = RunKey { tenant: TenantId::DEFAULT, run: run.parse::<RunId>().expect("an id") };
    let store = SledStorage::open(&place.path().join("data/store"), SledOptions::default()).expect("nobody uses it");
    assert!(store.damage_frame(key, Position(position)).expect("a good disk"), "there is no such frame");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(store.close()).expect("a good disk");
}

#[test]
fn a_damaged_entry_stops_its_own_run_and_no_other() {
    let server = Server::with_guest("sleeper", "");
    let detached = |words: &str| run(&mut server.trackway(&format!("{words} -o id"))).expect(0).line().to_owned();
    let ended = detached("run sleeps -i 1 --detach");
    run(&mut server.trackway(&format!("trace {ended} --follow"))).expect(0);
    let asleep = detached("run sleeps -i 1000 --detach");
    let whole = detached("run naps -i [1000] --detach");
    let place = server.stop();
    damage(&place, &ended, 0);
    damage(&place, &asleep, 0);

    let server = Server::start(place, "");
    for damaged in [&ended, &asleep] {
        let trace = run(&mut server.trackway(&format!("trace {damaged}")));
        trace.refused(1, "TW0403").says(&[damaged, "position 0"]);
    }
    assert_eq!(Wire::to(&server).get(&format!("runs/{whole}/wait"))["output"], 1);
    until_listed(&server, "stuck", &asleep);
    let stuck = Wire::to(&server).get(&format!("runs/{asleep}/wait"));
    assert_eq!((&stuck["status"], &stuck["code"]), (&json!("stuck"), &json!("TW0403")), "{stuck}");
    run(&mut server.trackway(&format!("runs describe {asleep} -o text"))).expect(0);
    let listed = run(&mut server.trackway("runs ls -o id")).expect(0);
    assert_eq!(listed.stdout.lines().collect::<Vec<_>>(), [whole.as_str(), &asleep, &ended]);
    server.still_works();
}

/// Until the run has that status, by the list of runs, which reads no journals.
fn until_listed(server: &Server, status: &str, run: &str) {
    let begun = Instant::now();
    let mut wire = Wire::to(server);
    while !wire.get(&format!("runs?status={status}")).to_string().contains(run) {
        assert!(begun.elapsed() < PATIENCE, "run {run} is not {status}:\n{}", server.log());
        std::thread::sleep(LOOK_EVERY);
    }
}

#[test]
fn a_full_disk_takes_nothing_new_and_loses_nothing() {
    let place = Place::new();
    let disk = match SmallDisk::mount(place.path().join("data")) {
        Ok(disk) => disk,
        Err(why) => {
            println!("NOT RUN: server on a full disk: {} (it needs root)", why.trim());
            return;
        }
    };
    let server = Server::start(place, "");
    run(server.trackway("deploy").arg(guests().join("sleeper.wasm"))).expect(0);
    server.still_works();
    let naps = run(&mut server.trackway("run naps -i [2000] --detach -o id")).expect(0);
    disk.fill();
    // The host looks at the disk ten times a second; its reserve is for what comes in between.
    let mut looks = (0..200).map(|_| run(&mut server.trackway("run hello --detach")));
    let refused = looks.find(|hello| hello.exit != 0).expect("the host notices that the disk is full");
    refused.refused(1, "TW0405").says(&["data", "free"]);
    run(server.trackway("deploy").arg(guests().join("parallel.wasm"))).refused(1, "TW0405");
    run(&mut server.trackway("trace @last")).expect(0);
    // The nap ends on a full disk.
    let waited = Wire::to(&server).get(&format!("runs/{}/wait?timeout=4", naps.line()));
    assert!(waited.get("finished_at").is_none(), "{waited}");
    disk.clear();
    let ended = Wire::to(&server).get(&format!("runs/{}/wait", naps.line()));
    assert_eq!(ended["output"], 1, "{ended}\n{}", server.log());
    server.still_works();
    let place = server.stop();
    drop((disk, place));
}
