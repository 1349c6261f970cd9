//! Runs that are removed: by a person, by time, and with a server that dies meanwhile.

use super::{PATIENCE, Server, run, signal};
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) fn succeeded(server: &Server, id: &str) {
    let begun = Instant::now();
    while !run(&mut server.trackway(&format!("runs describe {id}"))).expect(0).stdout.contains("\"succeeded\"") {
        assert!(begun.elapsed() < PATIENCE, "run {id} does not end");
    }
}

fn ended(server: &Server, key: &str) -> String {
    let words = format!("run fan -i {{\"bytes\":2000000,\"steps\":2}} --detach --idempotency-key {key} -o id");
    let id = run(&mut server.trackway(&words)).expect(0).line().to_owned();
    succeeded(server, &id);
    id
}

/// A folder named so, anywhere in the data folder.
fn has_files(server: &Server, id: &str) -> bool {
    fn is_below(folder: &Path, id: &str) -> bool {
        let entries = folder.read_dir().expect("the data folder can be read");
        let mut folders = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
        folders.any(|path| path.ends_with(id) || is_below(&path, id))
    }
    is_below(&server.place.path().join("data"), id)
}

#[test]
fn a_person_removes_what_has_ended_and_nothing_else() {
    let server = Server::with_guest("values", "");
    run(server.trackway("deploy").arg(crate::rig::guests().join("sleeper.wasm"))).expect(0);
    let typed = |words: &str| run(&mut server.trackway(words));
    let open = typed("run sleeps -i 80000000 --detach -o id").expect(0).line().to_owned();
    let refused = typed(&format!("runs rm {open}")).refused(7, "TW0322");
    assert!(refused.stderr.contains("runs cancel"), "{}", refused.stderr);
    let id = ended(&server, "daily");
    assert!(has_files(&server, &id), "its values are files");
    assert_eq!(typed(&format!("runs rm {id} -o text")).expect(0).stdout, format!("{id} is removed\n"));
    typed(&format!("runs describe {id}")).refused(4, "TW0303");
    typed(&format!("trace {id}")).refused(4, "TW0303");
    typed(&format!("runs rm {id}")).refused(4, "TW0303");
    assert!(!has_files(&server, &id));
    // Its key starts another run.
    let again = ended(&server, "daily");
    assert_ne!(again, id);
    let would = typed("runs rm --all --workflow fan --dry-run -o id").expect(0);
    assert_eq!(would.line(), again);
    typed("runs rm --all").expect(0);
    assert_eq!(typed("runs ls -o id").expect(0).line(), open);
    typed("doctor --deep").expect(0);
}

#[test]
fn a_server_that_dies_while_it_removes_has_all_of_a_run_or_nothing() {
    let mut server = Server::with_guest("values", "");
    for try_ms in [0, 2, 5, 10, 20, 40] {
        let id = ended(&server, &format!("after-{try_ms}"));
        server = server.killed_after(&format!("runs rm {id}"), Duration::from_millis(try_ms));
        let found = run(&mut server.trackway(&format!("runs describe {id}")));
        if found.exit == 0 {
            run(&mut server.trackway(&format!("replay {id}"))).expect(0);
            run(&mut server.trackway(&format!("runs rm {id}"))).expect(0);
        } else {
            found.refused(4, "TW0303");
            assert!(!has_files(&server, &id), "its values are left");
        }
        run(&mut server.trackway("doctor --deep")).expect(0);
    }
}

#[test]
fn a_server_told_to_keep_runs_for_so_long_removes_them_then() {
    let server = Server::with_guest("values", "");
    let id = ended(&server, "daily");
    signal(&server.child, "TERM");
    let (_, place) = server.wait();
    let server = Server::start(place, "--keep-finished 1h");
    run(&mut server.trackway(&format!("runs describe {id}"))).expect(0);
    signal(&server.child, "TERM");
    let (_, place) = server.wait();
    let server = Server::start(place, "--keep-finished 500ms");
    gone(&server, &id);
}

fn gone(server: &Server, id: &str) {
    let begun = Instant::now();
    while run(&mut server.trackway(&format!("runs describe {id}"))).exit == 0 {
        assert!(begun.elapsed() < PATIENCE, "it is kept");
    }
}

#[test]
fn runs_of_a_workflow_are_kept_for_as_long_as_is_said_of_them() {
    let server = Server::with_guest("values", "");
    run(server.trackway("deploy").arg(crate::rig::guests().join("sleeper.wasm"))).expect(0);
    let nap = || run(&mut server.trackway("run sleeps -i 1 --detach -o id")).expect(0).line().to_owned();
    // The kept ones are older, and so looked at first.
    let (kept, fan) = (nap(), ended(&server, "daily"));
    succeeded(&server, &kept);
    signal(&server.child, "TERM");
    let (_, place) = server.wait();
    let server = Server::start(place, "--keep-finished 1h --keep-finished fan=1h --keep-finished values/fan=300ms");
    gone(&server, &fan);
    run(&mut server.trackway(&format!("runs describe {kept}"))).expect(0);
    signal(&server.child, "TERM");
    let (_, place) = server.wait();
    run(&mut place.command("server --data data --keep-finished =1h")).expect(2);
    run(&mut place.command("server --data data --keep-finished fan=soon")).expect(2);
    let server = Server::start(place, "--keep-finished sleeps=300ms");
    gone(&server, &kept);
}
