//! Tenants and their keys, as they are typed; and TLS, for whoever serves strangers.

use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::wire::Wire;
use super::{KEY, LOOK_EVERY, PATIENCE, Place, Server, run, signal, wait_for};
use crate::rig::guests;

impl Server {
    /// `trackway` with a key of a tenant.
    fn with_key(&self, key: &str, words: &str) -> Command {
        let mut command = self.trackway(words);
        command.env("TRACKWAY_KEY", key);
        command
    }

    fn key(&self, words: &str) -> String {
        run(&mut self.trackway(&format!("keys create {words} -o id"))).expect(0).stdout.trim().to_owned()
    }
}

#[test]
fn tenants_and_keys_are_made_used_listed_and_ended_by_hand() {
    let server = Server::start(Place::new(), "");
    let typed = |words: &str| run(&mut server.trackway(words));
    typed("tenants create acme").expect(0);
    typed("tenants create acme").refused(7, "TW0703");
    typed("tenants create Acme").refused(2, "TW0604");
    typed("tenants create default").refused(2, "TW0604");
    assert_eq!(typed("tenants ls -o id").expect(0).stdout, "default\nacme\n");
    let admin = server.key("--tenant acme --scope admin first");
    let own = |words: &str| run(&mut server.with_key(&admin, words));
    run(server.with_key(&admin, "deploy").arg(guests().join("hello.wasm"))).expect(0);
    own("run hello").expect(0);
    assert_eq!(typed("runs ls -o id").expect(0).stdout, "", "of another tenant");
    assert_eq!(typed("runs ls --tenant acme -o id").expect(0).stdout.lines().count(), 1);
    own("tenants ls").refused(5, "TW0701");
    own("backup all.trackway").refused(5, "TW0701");
    own("runs ls --tenant default").refused(4, "TW0702");

    let reader = run(&mut server.with_key(&admin, "keys create --scope read --expires 1h dashboard -o id")).expect(0);
    let reader = reader.stdout.trim().to_owned();
    run(&mut server.with_key(&reader, "runs ls")).expect(0);
    run(&mut server.with_key(&reader, "run hello")).refused(5, "TW0701");
    let listed = own("keys ls -o json").expect(0).json();
    let listed = listed.as_array().expect("a list");
    let id = listed.iter().find(|key| key["name"] == "dashboard").and_then(|key| key["id"].as_str()).expect("listed");
    assert!(listed.iter().all(|key| key["last_used_at"].is_string()), "{listed:?}");
    let rotated = own(&format!("keys rotate {id} -o json")).expect(0).json();
    run(&mut server.with_key(&reader, "runs ls")).refused(5, "TW0603");
    let (id, reader) = (rotated["key"]["id"].as_str().expect("an id"), rotated["bearer"].as_str().expect("a key"));
    run(&mut server.with_key(reader, "runs ls")).expect(0);
    own(&format!("keys rm {id}")).expect(0);
    run(&mut server.with_key(reader, "runs ls")).refused(5, "TW0603");
    own(&format!("keys rm {id}")).refused(4, "TW0705");
    own("keys create --scope root x").expect(2);

    let audit = own("audit --since 1h -o jsonl").expect(0).stdout;
    let lines: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let done = |what: &str, status: u64| lines.iter().any(|line| line["what"] == what && line["status"] == status);
    assert!(done("POST /v1/runs", 201) && done("POST /v1/runs", 403) && done("POST /v1/components", 201), "{audit}");
    assert!(!audit.contains(&admin) && !audit.contains(reader), "a key stands in the log");

    typed("tenants disable acme").expect(0);
    own("runs ls").refused(5, "TW0704");
    typed("tenants enable acme").expect(0);
    own("runs ls").expect(0);
    typed("tenants rm acme").refused(2, "TW0101");
    typed("tenants rm acme --yes").expect(0);
    own("runs ls").refused(5, "TW0603");
    typed("tenants rm acme --yes").refused(4, "TW0702");
    assert_eq!(typed("tenants ls -o id").expect(0).stdout, "default\n");
    // Nobody's key is known from what is on the disk.
    signal(&server.child, "TERM");
    let (code, place) = server.wait();
    assert_eq!(code, Some(0));
    for key in [&admin, KEY] {
        assert!(!holds(&place.path().join("data"), key.as_bytes()), "a key is on the disk");
    }
}

/// Makes a key that counts for so many seconds, and shows it until it is refused: not before, and for that reason.
fn ends_in_time(server: &Server, make: impl Fn(u64) -> String) {
    // On a busy machine the time of the first one may be over before it is shown at all.
    for time_s in [2, 8, 32] {
        let begun = Instant::now();
        let mut wire = Wire::with(server, &make(time_s));
        let mut is_let_in = false;
        loop {
            let (status, problem) = wire.ask("GET", "runs", "", b"");
            if status == 200 {
                is_let_in = true;
                assert!(begun.elapsed() < PATIENCE, "it is let in for ever");
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
            assert_eq!((status, &problem["code"]), (401, &json!("TW0603")), "{problem}");
            assert!(problem["detail"].as_str().is_some_and(|why| why.contains("expired")), "{problem}");
            assert!(begun.elapsed() >= Duration::from_secs(time_s), "before its time");
            break;
        }
        if is_let_in {
            return;
        }
    }
    panic!("no key was let in, however long it counts");
}

#[test]
fn a_key_is_refused_once_its_time_is_over_and_so_is_a_rotated_one_after_its_overlap() {
    let server = Server::start(Place::new(), "");
    ends_in_time(&server, |time_s| server.key(&format!("--scope read --expires {time_s}s short")));

    let fresh = RefCell::new(String::new());
    ends_in_time(&server, |time_s| {
        let made = |words: &str| run(&mut server.trackway(&format!("keys {words} -o json"))).expect(0).json();
        let text = |made: &Value| made["bearer"].as_str().expect("its text").to_owned();
        let old = made("create --scope read turning");
        let id = old["key"]["id"].as_str().expect("an id");
        fresh.replace(text(&made(&format!("rotate {id} --overlap {time_s}s"))));
        text(&old)
    });
    let (status, runs) = Wire::with(&server, &fresh.borrow()).ask("GET", "runs", "", b"");
    assert_eq!(status, 200, "the new one goes on: {runs}");
}

#[test]
fn an_address_that_guesses_keys_stands_in_the_log_once_and_what_it_guessed_does_not() {
    let server = Server::start(Place::new(), "");
    let mut answered = Vec::new();
    for number in 0..120 {
        answered.push(Wire::with(&server, &format!("tw_guess{number}")).ask("GET", "runs", "", b"").0);
    }
    assert!(answered.contains(&429), "{answered:?}");
    let begun = Instant::now();
    let says = |log: &str| log.matches("too many requests showed no key").count();
    while says(&server.log()) == 0 {
        assert!(begun.elapsed() < PATIENCE, "{}", server.log());
        std::thread::sleep(LOOK_EVERY);
    }
    signal(&server.child, "TERM");
    let (code, place) = server.wait();
    assert_eq!(code, Some(0));
    let log = std::fs::read_to_string(place.path().join("log")).expect("a log");
    assert_eq!(says(&log), 1, "{log}");
    assert!(log.contains("127.0.0.1") && !log.contains("tw_guess"), "{log}");
}

/// Whether a file in the folder has those bytes in it.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("readable").path()).any(|path| match path.is_dir() {
        true => holds(&path, bytes),
        false => std::fs::read(&path).is_ok_and(|held| held.windows(bytes.len()).any(|window| window == bytes)),
    })
}

#[test]
fn a_deletion_that_was_begun_is_finished_after_a_kill() {
    let mut place = Place::new();
    for number in 0..3 {
        let server = Server::start(place, "");
        let tenant = format!("tenant-{number}");
        let typed = |words: &str| run(&mut server.trackway(words));
        typed(&format!("tenants create {tenant}")).expect(0);
        let key = server.key(&format!("--tenant {tenant} --scope admin first"));
        run(server.with_key(&key, "deploy").arg(guests().join("sleeper.wasm"))).expect(0);
        for _ in 0..20 {
            run(&mut server.with_key(&key, "run sleeps -i 3600000 --detach")).expect(0);
        }
        let mut deleting = server
            .trackway(&format!("tenants rm {tenant} --yes"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        // Once it is marked, whatever comes.
        let begun = Instant::now();
        loop {
            let state = typed("tenants ls -o text").expect(0).stdout;
            if !state.lines().any(|line| line.starts_with(&tenant) && line.contains("active")) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{state}");
        }
        signal(&server.child, "KILL");
        let (_, killed) = server.wait();
        wait_for(&mut deleting);
        let server = Server::start(killed, "");
        let begun = Instant::now();
        while run(&mut server.trackway("tenants ls -o id")).expect(0).stdout.contains(&tenant) {
            assert!(begun.elapsed() < PATIENCE, "the tenant is still there:\n{}", server.log());
            std::thread::sleep(LOOK_EVERY);
        }
        run(&mut server.with_key(&key, "runs ls")).refused(5, "TW0603");
        let report = run(&mut server.trackway("doctor --deep -o json")).expect(0);
        assert!(!report.stdout.contains(&tenant), "{}", report.stdout);
        signal(&server.child, "TERM");
        let (code, left) = server.wait();
        assert_eq!(code, Some(0));
        place = left;
        let folder = place.path().join("data/store");
        for files in ["payloads", "components"] {
            let count = std::fs::read_dir(folder.join(files)).map(Iterator::count).unwrap_or_default();
            assert_eq!(count, 0, "{files}");
        }
    }
}

#[test]
fn a_backup_brings_all_tenants_back_with_their_keys() {
    let server = Server::start(Place::new(), "");
    let typed = |words: &str| run(&mut server.trackway(words));
    let mut keys = Vec::new();
    for tenant in ["one", "two"] {
        typed(&format!("tenants create {tenant}")).expect(0);
        let key = server.key(&format!("--tenant {tenant} --scope admin first"));
        run(server.with_key(&key, "deploy").arg(guests().join("hello.wasm"))).expect(0);
        run(&mut server.with_key(&key, "run hello")).expect(0);
        run(&mut server.with_key(&key, &format!("entities set of tenant -i \"{tenant}\""))).expect(0);
        keys.push((tenant, key));
    }
    run(server.trackway("deploy").arg(guests().join("hello.wasm"))).expect(0);
    typed("run hello").expect(0);
    typed("backup all.trackway").expect(0);
    let runs: Vec<String> =
        keys.iter().map(|(_, key)| run(&mut server.with_key(key, "runs ls -o id")).expect(0).stdout).collect();
    signal(&server.child, "TERM");
    let (_, place) = server.wait();
    run(&mut place.command("restore all.trackway --data fresh")).expect(0);
    std::fs::remove_dir_all(place.path().join("data")).expect("the old one");
    std::fs::rename(place.path().join("fresh"), place.path().join("data")).expect("the new one");
    let server = Server::start(place, "");
    for ((tenant, key), runs) in keys.iter().zip(runs) {
        let own = |words: &str| run(&mut server.with_key(key, words));
        assert_eq!(own("runs ls -o id").expect(0).stdout, runs);
        assert_eq!(own("entities get of tenant -o text").expect(0).stdout, format!("\"{tenant}\"\n"));
        own("run hello").expect(0);
        own("replay @last").expect(0);
        assert!(own("audit -o text").expect(0).stdout.contains("/v1/components"));
    }
    // Numbers go on where they were.
    run(&mut server.trackway("tenants create three")).expect(0);
    let key = server.key("--tenant three --scope admin first");
    assert_eq!(run(&mut server.with_key(&key, "runs ls -o id")).expect(0).stdout, "");
    run(&mut server.trackway("doctor --deep")).expect(0);
}

/// A certificate for this machine that signs itself.
fn certificate(place: &Place, name: &str) -> bool {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(place.path().join("new.key"))
        .arg("-out")
        .arg(place.path().join("new.pem"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return false;
    }
    // Each comes at once, as programs that renew certificates do it.
    std::fs::copy(place.path().join("new.pem"), place.path().join(format!("{name}.pem"))).expect("a copy");
    for file in ["key", "pem"] {
        std::fs::rename(place.path().join(format!("new.{file}")), place.path().join(format!("tls.{file}")))
            .expect("the same folder");
    }
    true
}

#[test]
fn a_server_with_a_certificate_speaks_tls_and_takes_a_new_one_as_it_comes() {
    let place = Place::new();
    if !certificate(&place, "first") {
        println!("NOT RUN: there is no openssl to make a certificate with");
        return;
    }
    run(&mut place.command("server --tls-cert tls.pem")).expect(2);
    run(&mut place.command("server --tls-cert none.pem --tls-key tls.key")).refused(1, "TW0106");
    run(&mut place.command("server --tls-cert tls.key --tls-key tls.pem")).refused(2, "TW0102");
    let server = Server::start(place, "--tls-cert tls.pem --tls-key tls.key");
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let trusting = |name: &str, words: &str| {
        let mut command = server.trackway(words);
        command.env("SSL_CERT_FILE", server.place.path().join(format!("{name}.pem"))).env_remove("SSL_CERT_DIR");
        run(&mut command)
    };
    trusting("first", "runs ls").expect(0);
    let plain = server.url.replace("https://", "http://");
    run(&mut server.trackway(&format!("runs ls --server {plain}"))).refused(8, "TW0602");
    run(server.trackway("runs ls").env("SSL_CERT_FILE", "/dev/null")).refused(8, "TW0602");

    assert!(certificate(&server.place, "second"));
    let begun = Instant::now();
    while trusting("second", "runs ls").exit != 0 {
        assert!(begun.elapsed() < PATIENCE, "{}", server.log());
        std::thread::sleep(LOOK_EVERY);
    }
    trusting("first", "runs ls").refused(8, "TW0602");
    // One that cannot be used changes nothing.
    std::fs::write(server.place.path().join("tls.pem"), "no certificate").expect("writable");
    let begun = Instant::now();
    while !server.log().contains("the old one is served") {
        assert!(begun.elapsed() < PATIENCE, "{}", server.log());
        std::thread::sleep(LOOK_EVERY);
    }
    trusting("second", "runs ls").expect(0);
}
