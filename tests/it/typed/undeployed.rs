//! What was deployed, removed by hand: deployments, versions and components, to the last byte in the data folder.

use super::removed::succeeded;
use super::{PATIENCE, Place, Server, run};
use crate::rig::guests;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Of a component: what is found nowhere else.
const PART_BYTES: usize = 64;

/// All files below, but for those that go away meanwhile.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn named(data: &Path, part: &str) -> Vec<PathBuf> {
    let is_named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part));
    files(data).into_iter().filter(is_named).collect()
}

/// Files in which those bytes stand.
fn holding(data: &Path, part: &[u8]) -> Vec<PathBuf> {
    let holds = |bytes: Vec<u8>| bytes.windows(part.len()).any(|window| window[0] == part[0] && window == part);
    files(data).into_iter().filter(|path| std::fs::read(path).is_ok_and(holds)).collect()
}

/// The piece of it with the most different bytes: none of zeros, and no table.
fn part_of(component: &[u8]) -> &[u8] {
    let differing = |piece: &&[u8]| piece.iter().collect::<BTreeSet<_>>().len();
    component.chunks_exact(PART_BYTES).max_by_key(differing).expect("it is longer")
}

fn deploy(server: &Server) {
    run(server.trackway("deploy --name naps").arg(guests().join("sleeper.wasm"))).expect(0);
}

#[test]
fn a_removed_component_is_in_no_file_and_its_runs_replay_once_it_is_back() {
    let server = Server::start(Place::new(), "");
    deploy(&server);
    let typed = |words: &str| run(&mut server.trackway(words));
    let started = |input: &str| typed(&format!("run sleeps -i {input} --detach -o id")).expect(0).line().to_owned();
    let (ended, open) = (started("1"), started("80000000"));
    succeeded(&server, &ended);
    let digest = typed("components ls -o id").expect(0).line().to_owned();
    let data = server.place.path().join("data");
    let stored = named(&data, &format!("{digest}.wasm"));
    let component = std::fs::read(stored.first().expect("it is a file")).expect("it can be read");
    let part = part_of(&component);
    assert!(!holding(&data, part).is_empty(), "it would not be found");

    let remove = format!("components rm {digest}");
    let refused = typed(&remove).refused(7, "TW0323");
    assert!(refused.stderr.contains("deployment `naps`") && refused.stderr.contains(&open), "{}", refused.stderr);
    typed("components rm 9f86d081").expect(2);
    typed("deployments rm nobody").refused(4, "TW0301");
    typed("deployments rm naps --version 7").refused(4, "TW0301");
    typed("deployments rm naps --version 1").refused(7, "TW0311");
    let listed = typed("components ls -o json").expect(0).json();
    assert_eq!(listed[0]["deployments"], serde_json::json!(["naps"]), "{listed}");
    typed("deployments rm naps").expect(0);
    assert_eq!(typed("deployments ls -o id").expect(0).stdout, "");
    typed("run sleeps -i 1").refused(4, "TW0302");
    let refused = typed(&remove).refused(7, "TW0323");
    assert!(refused.stderr.contains(&open) && !refused.stderr.contains(&ended), "{}", refused.stderr);
    typed(&format!("runs terminate {open}")).expect(0);
    let begun = Instant::now();
    while typed(&format!("runs describe {open}")).expect(0).stdout.contains("\"sleeping\"") {
        assert!(begun.elapsed() < PATIENCE, "run {open} does not end");
    }
    typed(&remove).expect(0);

    assert_eq!(typed("components ls -o id").expect(0).stdout, "");
    typed(&remove).refused(4, "TW0209");
    assert_eq!(holding(&data, part), Vec::<PathBuf>::new());
    assert_eq!(named(&data, &digest), Vec::<PathBuf>::new());
    typed(&format!("trace {ended}")).expect(0);
    let missing = typed(&format!("replay {ended}")).refused(1, "TW0505");
    assert!(missing.stderr.contains(&digest[..12]) && missing.stderr.contains("trackway deploy"), "{}", missing.stderr);
    typed("doctor --deep").expect(0);

    deploy(&server);
    typed(&format!("replay {ended}")).expect(0);
    typed("run sleeps -i 1").expect(0);
    assert!(!holding(&data, part).is_empty(), "it is back");
}

#[test]
fn a_server_that_dies_while_it_removes_a_component_has_all_of_it_or_nothing() {
    let mut server = Server::start(Place::new(), "");
    for try_ms in [0, 5, 15, 30, 60, 120] {
        deploy(&server);
        let digest = run(&mut server.trackway("components ls -o id")).expect(0).line().to_owned();
        run(&mut server.trackway("deployments rm naps")).expect(0);
        server = server.killed_after(&format!("components rm {digest}"), Duration::from_millis(try_ms));
        let data = server.place.path().join("data");
        if run(&mut server.trackway("components ls -o id")).expect(0).line() == digest {
            assert_eq!(named(&data, &format!("{digest}.wasm")).len(), 1, "after {try_ms} ms");
            run(&mut server.trackway(&format!("components rm {digest}"))).expect(0);
        }
        assert_eq!(named(&data, &digest), Vec::<PathBuf>::new(), "after {try_ms} ms");
        run(&mut server.trackway("doctor --deep")).expect(0);
    }
}
