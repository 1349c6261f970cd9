//! The first five minutes: `init`, `dev`, `run`, `trace`, as a new user types them.

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

    let project = place.path().join("hello");
    let typed = |words: &str| {
        let mut command = place.command(words);
        command.current_dir(project.join("src"));
        command
    };
    run(&mut typed("run hello")).refused(8, "TW0602");

    let log = place.path().join("dev.log");
    let mut dev = dev(&mut typed("dev --listen 127.0.0.1:0"), &log);
    wait_for_line(&log, "trackway run hello");
    let key = std::fs::metadata(project.join(".trackway/key")).expect("dev saves its key").permissions().mode();
    assert_eq!(key & 0o777, 0o600);

    assert_eq!(run(typed("run hello -i").arg("\"Ada\"")).expect(0).stdout, "\"Hello, Ada!\"\n");
    assert!(run(&mut typed("trace @last -o text")).expect(0).stdout.contains("✓ 1 greet"));

    // A source that does not build leaves what was deployed; the next one that does replaces it.
    let source = project.join("src/lib.rs");
    let text = std::fs::read_to_string(&source).expect("the template has it");
    std::fs::write(&source, format!("{text}\nfn broken( {{")).expect("writable");
    wait_for_line(&log, "[TW0104]");
    assert_eq!(run(&mut typed("run hello")).expect(0).stdout, "\"Hello, world!\"\n");
    std::fs::write(&source, text.replace("Hello", "Good day")).expect("writable");
    wait_for_line(&log, "hello version 2");
    assert_eq!(run(&mut typed("run hello")).expect(0).stdout, "\"Good day, world!\"\n");

    signal(&dev, "INT");
    assert_eq!(wait_for(&mut dev).code(), Some(0), "{}", std::fs::read_to_string(&log).unwrap_or_default());
    assert!(!project.join(".trackway/dev.json").exists());
    run(&mut typed("run hello")).refused(8, "TW0602");
}

/// `dev` with the folders that other builds of guests fill too, so that std is not built again.
fn dev(command: &mut Command, log: &std::path::Path) -> std::process::Child {
    let target = guests().with_file_name("guests-cargo");
    command.env("CARGO_TARGET_DIR", &target).env("XDG_CACHE_HOME", target.with_file_name("cache"));
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
