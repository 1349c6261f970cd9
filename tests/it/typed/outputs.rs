//! Exit codes, formats and settings.

use super::{KEY, Place, Server, run};
use serde_json::Value;
use std::process::Stdio;

#[test]
fn every_exit_code_means_what_the_guide_says() {
    let server = Server::with_guest("sleeper", "");
    let typed = |words: &str| run(&mut server.trackway(words));

    typed("run sleeps -i 1").expect(0);
    typed("run sleeps --timeout 5").expect(2);
    typed("run sleeps -i word").refused(2, "TW0305");
    typed("run sleeps -i \"7\"").refused(2, "TW0306");
    let told = typed("run sleeps").refused(2, "TW0306").stderr;
    assert!(told.contains("no input was given") && told.contains("integer") && told.contains("-i JSON"), "{told}");
    typed("run nothing").refused(4, "TW0302");
    typed("run nowhere/sleeps").refused(4, "TW0301");
    typed("trace 01zzz").refused(4, "TW0303");
    run(server.trackway("runs ls").env("TRACKWAY_KEY", "wrong")).refused(5, "TW0603");
    let gave_up = typed("run sleeps -i 80000000 --timeout 50ms").refused(6, "TW0609");
    assert!(gave_up.stderr.contains("goes on") && gave_up.stderr.contains("trackway trace"), "{}", gave_up.stderr);

    typed("runs cancel @last").expect(0);
    let ended = typed("trace @last --follow -o text").expect(0);
    assert!(ended.stdout.contains("cancelled"), "{}", ended.stdout);
    typed("runs cancel @last").refused(7, "TW0308");

    typed("run sleeps -i 1 --idempotency-key one").expect(0);
    typed("run sleeps -i 2 --idempotency-key one").refused(7, "TW0309");
    run(server.trackway("runs ls").env("TRACKWAY_SERVER", "http://127.0.0.1:1")).refused(8, "TW0602");
}

#[test]
fn a_run_that_fails_says_why_and_ends_with_3() {
    let server = Server::with_guest("effects", "");
    let failed = run(&mut server.trackway("run fails_for_good")).expect(3);
    assert!(failed.stdout.is_empty() && failed.stderr.contains("trackway trace"), "{}", failed.stderr);
}

#[test]
fn data_goes_to_stdout_and_talk_to_stderr_in_every_format() {
    let server = Server::with_guest("hello", "");
    let typed = |words: &str| run(&mut server.trackway(words)).expect(0);

    let greeting = run(server.trackway("run hello -i").arg("\"Ada\"")).expect(0);
    assert_eq!(greeting.stdout, "\"Hello, Ada!\"\n");
    assert!(greeting.stderr.contains("run "), "{}", greeting.stderr);

    let id = typed("run hello --detach -o id");
    assert_eq!(id.line().len(), 26);
    assert_eq!(typed(&format!("runs describe {} -o id", &id.line()[..26])).line(), id.line());
    assert_eq!(typed("inspect runs describe @last -o id").line(), id.line());

    let piped: Value = serde_json::from_str(&typed("runs ls").stdout).expect("JSON in a pipe");
    assert_eq!(piped.as_array().map(Vec::len), Some(2));
    assert_eq!(typed("runs ls -o jsonl").stdout.lines().count(), 2);
    assert_eq!(typed("runs ls -o id").stdout.lines().next(), Some(id.line()));
    assert!(typed("runs ls -o text").stdout.starts_with("RUN "));

    let trace = typed("inspect trace -r @last -o text").stdout;
    assert!(trace.contains("✓ 1 greet") && !trace.contains('\u{1b}'), "{trace}");
    let trace: Value = serde_json::from_str(&typed("trace @last").stdout).expect("JSON in a pipe");
    assert_eq!(trace["rows"][0]["what"]["call"]["function"], "greet");
    let report: Value = serde_json::from_str(&typed("replay @last").stdout).expect("JSON in a pipe");
    assert_eq!((&report["identical"], &report["commands_with_fuel"]), (&Value::from(true), &Value::from(1)));
}

#[test]
fn input_comes_from_the_argument_a_file_or_a_pipe() {
    let server = Server::with_guest("hello", "");
    std::fs::write(server.place.path().join("name.json"), "\"from a file\"").expect("writable");
    assert_eq!(run(&mut server.trackway("run hello -i @name.json")).expect(0).stdout, "\"Hello, from a file!\"\n");
    let file = std::fs::File::open(server.place.path().join("name.json")).expect("there");
    assert_eq!(run(server.trackway("run hello -i -").stdin(file)).expect(0).stdout, "\"Hello, from a file!\"\n");
    let hint = run(&mut server.trackway("run hello -i name.json")).refused(2, "TW0305").stderr;
    assert!(hint.contains("-i @name.json"), "{hint}");
}

#[test]
fn a_changed_component_is_a_divergence() {
    let server = Server::with_guest("hello", "");
    run(&mut server.trackway("run hello")).expect(0);
    let changed = crate::rig::guests().join("sleeper.wasm");
    let report = run(server.trackway("replay @last --with").arg(changed));
    assert_eq!(report.exit, 7, "{}\n{}", report.stdout, report.stderr);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let place = Place::new();
    let mut child =
        place.command("completions bash").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let left = super::Left::of(child.wait_with_output().expect("it ends")).expect(0);
    assert_eq!(left.stderr, "");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_project_file() {
    let server = Server::with_guest("hello", "");
    let place = Place::new();
    std::fs::write(place.path().join("trackway.toml"), format!("server = \"{}\"", server.url)).expect("writable");
    run(place.command("runs ls").env("TRACKWAY_KEY", KEY)).expect(0);
    let nobody = "http://127.0.0.1:1";
    let asked = run(place.command("runs ls").env("TRACKWAY_KEY", KEY).env("TRACKWAY_SERVER", nobody));
    asked.refused(8, "TW0602");
    let asked =
        run(place.command(&format!("runs ls --server {} --key {KEY}", server.url)).env("TRACKWAY_SERVER", nobody));
    asked.expect(0);
}

#[test]
fn help_and_explanations_work_where_everything_else_is_broken() {
    let place = Place::new();
    std::fs::write(place.path().join("trackway.toml"), "this is not TOML").expect("writable");
    run(&mut place.command("runs ls")).refused(2, "TW0102");
    assert!(run(&mut place.command("explain tw102 -o text")).expect(0).stdout.starts_with("TW0102: bad configuration"));
    let help = run(&mut place.command("run --help")).expect(0).stdout;
    assert_eq!(run(&mut place.command("help run")).expect(0).stdout, help);
    assert!(run(&mut place.command("help")).expect(0).stdout.contains("trackway init hello"));
    assert!(run(&mut place.command("help runs cancel")).expect(0).stdout.contains("--reason"));
    run(&mut place.command("help nothing")).expect(2);
}

#[test]
fn what_cannot_be_uploaded_is_refused_before_and_by_the_server() {
    let server = Server::start(Place::new(), "");
    let file = server.place.path().join("file");
    for (bytes, code) in
        [(b"(module)".as_slice(), "TW0201"), (b"\x7fELF\x02\x01", "TW0201"), (b"\0asm\x0d\0", "TW0202")]
    {
        std::fs::write(&file, bytes).expect("writable");
        for command in ["deploy", "check"] {
            run(server.trackway(command).arg(&file)).refused(1, code);
        }
    }
    std::fs::File::create(&file).and_then(|file| file.set_len(200 << 20)).expect("a sparse file");
    run(server.trackway("deploy").arg(&file)).refused(1, "TW0203");
    assert_eq!(run(&mut server.trackway("deployments ls -o id")).expect(0).stdout, "");
}
