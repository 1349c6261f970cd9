//! The first five minutes: `init`, `dev`, `run`, `trace`, as a new user types them.

use super::witness::Witness;
use super::{LOOK_EVERY, PATIENCE, Place, guests, run, signal, wait_for};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

#[test]
fn a_newcomer_gets_from_init_to_a_trace() {
    let place = Place::new();
    let made = run(&mut place.command("init hello")).expect(0);
    assert!(made.stderr.contains("cd hello") && made.stderr.contains("trackway dev"), "{}", made.stderr);
    run(&mut place.command("init hello")).refused(1, "TW0106");
    let beside = run(place.command("init ../beside -o json").current_dir(place.path().join("hello"))).expect(0);
    let folder = place.path().canonicalize().expect("it is there").join("beside");
    assert_eq!(beside.json()["folder"], folder.display().to_string());
    assert!(beside.stderr.contains("cd ../beside"), "{}", beside.stderr);

    let project = place.path().join("hello");
    let typed = |words: &str| {
        let mut command = place.command(words);
        command.current_dir(project.join("src"));
        command
    };
    run(&mut typed("run hello")).refused(8, "TW0602");

    let log = place.path().join("dev.log");
    let mut dev = dev(&mut typed("dev --listen 127.0.0.1:0"), &log);
    // As soon as it is there: what it builds is waited for.
    wait_for_line(&log, "trackway dev");
    assert_eq!(run(typed("run hello -i").arg("\"Ada\"")).expect(0).stdout, "\"Hello, Ada!\"\n");
    wait_for_line(&log, "trackway run hello");
    let key = std::fs::metadata(project.join(".trackway/key")).expect("dev saves its key").permissions().mode();
    assert_eq!(key & 0o777, 0o600);

    assert!(run(&mut typed("trace @last -o text")).expect(0).stdout.contains("✓ 1 greet"));

    // A source that does not build leaves what was deployed; the next one that does replaces it.
    let source = project.join("src/lib.rs");
    let text = std::fs::read_to_string(&source).expect("the template has it");
    // What an editor writes beside it starts no build.
    for name in ["4913", "lib.rs~", "lib.rs.tmp"] {
        std::fs::write(source.with_file_name(name), "").expect("writable");
    }
    std::fs::write(&source, format!("{text}\nfn broken( {{")).expect("writable");
    wait_for_line(&log, "[TW0104]");
    assert_eq!(run(&mut typed("run hello")).expect(0).stdout, "\"Hello, world!\"\n");
    std::fs::write(&source, text.replace("Hello", "Good day")).expect("writable");
    wait_for_line(&log, "hello version 2");
    assert_eq!(run(&mut typed("run hello")).expect(0).stdout, "\"Good day, world!\"\n");

    signal(&dev, "INT");
    let code = wait_for(&mut dev).code();
    let told = std::fs::read_to_string(&log).expect("it was written");
    assert_eq!(code, Some(0), "{told}");
    let changed: Vec<&str> = told.lines().filter(|line| line.ends_with(" changed")).collect();
    assert!(!changed.is_empty() && changed.iter().all(|line| *line == "src/lib.rs changed"), "{told}");
    assert!(!project.join(".trackway/dev.json").exists());
    run(&mut typed("run hello")).refused(8, "TW0602");
}

#[test]
fn the_larger_template_runs_as_it_stands() {
    let place = Place::new();
    run(&mut place.command("init news --template headlines")).expect(0);
    let project = place.path().join("news");
    let typed = |words: &str| {
        let mut command = place.command(words);
        command.current_dir(&project);
        command
    };
    // Editors ask cargo what a project is made of.
    let mut cargo = Command::new("cargo");
    let metadata = cargo.args(["metadata", "--offline", "--format-version", "1"]).current_dir(&project);
    let metadata = metadata.output().expect("there is a cargo");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));

    let witness = Witness::holding("/gone");
    let log = place.path().join("dev.log");
    let mut dev = dev(&mut typed(&format!("dev --listen 127.0.0.1:0 --allow-host {}", witness.url)), &log);
    wait_for_line(&log, "trackway run headlines");
    let input = serde_json::json!({ "urls": [format!("{}/a", witness.url), format!("{}/b", witness.url)] });
    let ended = run(typed("run headlines --follow -i").arg(input.to_string())).expect(0);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).expect("a report is JSON");
    assert_eq!((&report["pages"], witness.counts(["/a", "/b"])), (&serde_json::Value::from(2), [1, 1]), "{report}");
    let told = run(&mut typed("run headlines")).refused(2, "TW0306").stderr;
    assert!(told.contains("no input was given") && told.contains("`urls`") && told.contains("-i JSON"), "{told}");
    signal(&dev, "INT");
    assert_eq!(wait_for(&mut dev).code(), Some(0));
}

/// `dev` with the folders that other builds of guests fill too, so that std is not built again.
fn dev(command: &mut Command, log: &std::path::Path) -> std::process::Child {
    let target = guests().with_file_name("guests-cargo");
    command.env("CARGO_TARGET_DIR", &target);
    let log = std::fs::File::create(log).expect("writable");
    command.stdout(Stdio::null()).stderr(log).spawn().expect("the binary starts")
}

fn wait_for_line(log: &std::path::Path, wanted: &str) {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if text.contains(wanted) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "no `{wanted}` in:\n{text}");
        std::thread::sleep(LOOK_EVERY);
    }
}
