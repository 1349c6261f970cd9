//! Secrets from standard input to the server that is to have them, and nowhere else: not in the folder of the server, not in
//! what any command or path shows, not in a log.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use super::wire::Wire;
use super::{Place, Server, run};
use crate::left::Left;
use crate::rig::guests;

const VALUE: &str = "sk_live \"51H&x\\y/4eC39Hq";
const OTHER: &str = "other-4eC39HqLyjWDarjtT1zdp7dc";
const FRESH: &str = "fresh-9f1c7bb2a0d94a6ea1b1";

/// A server that answers with what it was sent, in every way that a server might.
struct Echo {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    fn start() -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = noted.clone();
                std::thread::spawn(move || {
                    let _ = answer(stream, &noted);
                });
            }
        });
        Echo { url, seen }
    }

    fn seen(&self) -> String {
        self.seen.lock().expect("no thread panicked").join("\n")
    }
}

/// Ends with its process, so it may wait for requests that never come.
fn answer(stream: TcpStream, noted: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request = format!("{head}\n{}", String::from_utf8_lossy(&body));
    let key = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or_default().to_owned();
    let echo = format!("{request}\n{}\n{}", BASE64_STANDARD.encode(&key), BASE64_STANDARD.encode(format!("me:{key}!")));
    noted.lock().expect("no thread panicked").push(request);
    let (echoed, size) = (format!("x-echo: {key}\r\n"), echo.len());
    let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{echoed}content-length: {size}\r\n\r\n{echo}");
    reader.get_mut().write_all(answer.as_bytes())
}

/// What nobody may find: the values as they are, and as they travel.
fn traces_of(value: &str) -> Vec<Vec<u8>> {
    let quoted = serde_json::to_string(value).expect("JSON").trim_matches('"').to_owned();
    let percent: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    // Of base64 what does not depend on what stands around.
    let encoded = (0..3).map(|before| {
        let text = BASE64_STANDARD.encode([&[b'x'; 2][..before], value.as_bytes()].concat());
        text[4..text.len() - 4].to_owned()
    });
    let all = [value.to_owned(), quoted, percent.replace('+', "%20")].into_iter().chain(encoded);
    all.map(String::into_bytes).collect()
}

#[track_caller]
fn check_bytes(bytes: &[u8], place: &str) {
    for value in [VALUE, OTHER, FRESH] {
        for trace in traces_of(value) {
            let found = bytes.windows(trace.len()).position(|window| window == trace);
            assert_eq!(found, None, "`{}` is in {place}", String::from_utf8_lossy(&trace));
        }
    }
}

/// Every file in a folder.
fn check_folder(folder: &Path) -> usize {
    let mut files = 0;
    for entry in walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.expect("it can be read")) {
        if entry.file_type().is_file() {
            check_bytes(&std::fs::read(entry.path()).expect("it can be read"), &entry.path().display().to_string());
            files += 1;
        }
    }
    files
}

fn set(server: &Server, name: &str, value: &str) -> Left {
    let mut child = server
        .trackway(&format!("secrets set {name} -o json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("it is piped").write_all(format!("{value}\n").as_bytes()).expect("it reads");
    Left::of(child.wait_with_output().expect("it ends"))
}

fn deploy(server: &Server, echo: &Echo) {
    let url = &echo.url;
    let flags =
        format!("--allow-host {url} --allow-secret API_KEY:header,query,body={url} --allow-secret OTHER_KEY={url}");
    run(server.trackway("deploy").arg(guests().join("secrets.wasm")).args(flags.split(' '))).expect(0);
}

fn sends(server: &Server, input: &Value) -> Left {
    run(server.trackway("run sends -i").arg(input.to_string()))
}

/// Lets whatever is started from now on be dumped, and sees whether it is.
fn dumps_are_written() -> bool {
    let own = std::process::id().to_string();
    let allowed = Command::new("prlimit").args(["--core=unlimited:", "--pid", &own]).status();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let crash = Command::new("sh").args(["-c", "kill -ABRT $$"]).current_dir(folder.path()).status();
    allowed.is_ok_and(|status| status.success()) && crash.expect("there is a shell").core_dumped()
}

/// Ends it as a crash does, by a signal for which systems write the memory of a process to a file.
fn crashed(mut server: Server) -> Place {
    super::signal(&server.child, "ABRT");
    let status = super::wait_for(&mut server.child);
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}\n{}", server.log());
    assert!(!status.core_dumped(), "all that it had in memory is in a file");
    server.wait().1
}

#[test]
fn a_secret_reaches_the_server_that_it_is_for_and_is_found_nowhere_else() {
    let (place, echo) = (Place::new(), Echo::start());
    // Everything that anything in the process has to say.
    let talkative = [("TRACKWAY_LOG", "trace")];
    if !dumps_are_written() {
        println!("NOT RUN: this machine dumps nobody, so that nobody is dumped here proves nothing");
    }
    // Landlock would keep the file from being written too.
    let flags = "--secrets-key-file keys/secrets.key --no-landlock";
    let server = Server::start_with(place, "127.0.0.1:0", flags, &talkative);
    set(&server, "API_KEY", VALUE).expect(0);
    let set_twice = set(&server, "OTHER_KEY", OTHER).expect(0);
    assert_eq!(set_twice.json()["revision"], json!(1), "{}", set_twice.stdout);
    deploy(&server, &echo);
    let shown = run(&mut server.trackway("deployments ls -o text")).expect(0).stdout;
    assert!(shown.contains("OTHER_KEY=http://127.0.0.1"), "{shown}");
    let plan = json!({ "url": echo.url });

    // A busy run: it succeeds, it fails, it is not allowed to.
    let output = sends(&server, &plan).expect(0).stdout;
    assert!(output.contains("[secret:API_KEY]") && output.contains("[secret:OTHER_KEY]"), "{output}");
    check_bytes(output.as_bytes(), "the output");
    let failed = sends(&server, &json!({ "url": echo.url, "fail": true })).expect(3);
    check_bytes(failed.stderr.as_bytes(), "a failure");
    let stolen = run(server.trackway("run steals -i").arg(plan.to_string())).expect(3);
    assert!(stolen.stderr.contains("SECRET_DENIED") && stolen.stderr.contains("does not list"), "{}", stolen.stderr);
    run(&mut server.trackway("secrets rm OTHER_KEY")).expect(0);
    let unknown = sends(&server, &plan).expect(3);
    assert!(unknown.stderr.contains("SECRET_UNKNOWN"), "{}", unknown.stderr);

    // The server that they are for has them.
    let seen = echo.seen();
    let quoted = serde_json::to_string(VALUE).expect("JSON");
    for there in
        [format!("authorization: Bearer {VALUE}"), format!("x-other: {OTHER}"), format!("{{\"key\":{quoted}}}")]
    {
        assert!(seen.contains(&there), "`{there}` is not in {seen}");
    }
    assert!(seen.contains("/echo?key=sk_live%20%2251H%26x%5Cy%2F4eC39Hq "), "{seen}");
    assert_eq!(echo.seen.lock().expect("no thread panicked").len(), 2, "what was refused reached nobody");

    // Whatever is asked.
    let mut wire = Wire::to(&server);
    let runs = wire.get("runs");
    let ids: Vec<&str> = runs["runs"].as_array().expect("runs").iter().filter_map(|run| run["id"].as_str()).collect();
    assert_eq!(ids.len(), 4);
    for id in ids {
        for path in ["", "/journal", "/trace", "/logs", "/state"] {
            check_bytes(wire.get(&format!("runs/{id}{path}")).to_string().as_bytes(), path);
        }
        for words in ["trace", "logs", "runs describe", "replay"] {
            let left = run(&mut server.trackway(&format!("{words} {id}")));
            check_bytes(format!("{}{}", left.stdout, left.stderr).as_bytes(), words);
        }
    }
    let journal = wire.get(&format!("runs/{}/journal", runs["runs"][0]["id"].as_str().expect("an id"))).to_string();
    assert!(journal.contains("{{secret:API_KEY}}"), "the journal has what the function wrote: {journal}");
    check_bytes(run(&mut server.trackway("secrets ls -o json")).expect(0).stdout.as_bytes(), "the list");
    run(&mut server.trackway("backup all.trackway")).expect(0);

    // Whatever is left, also by a process that crashed.
    let place = crashed(server);
    let files = check_folder(place.path());
    assert!(files > 5, "only {files} files: this looked at nothing");
    let log = std::fs::metadata(place.path().join("log")).expect("there is a log").len();
    assert!(log > 10_000, "only {log} bytes of log: it had nothing to say");
    let key = std::fs::metadata(place.path().join("keys/secrets.key")).expect("it was made");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
}

#[test]
fn keys_are_rotated_and_the_old_one_is_not_needed_any_more() {
    let (place, echo) = (Place::new(), Echo::start());
    let keys = place.path().join("keys");
    let plan = json!({ "url": echo.url });
    let server = Server::start(place, "--secrets-key-file keys");
    set(&server, "API_KEY", VALUE).expect(0);
    set(&server, "OTHER_KEY", OTHER).expect(0);
    deploy(&server, &echo);
    sends(&server, &plan).expect(0);

    let old = std::fs::read_to_string(&keys).expect("it was made");
    let new = "7c".repeat(32);
    std::fs::write(&keys, format!("{new}\n{old}")).expect("a file");
    let rotated = run(&mut server.trackway("secrets rotate -o json")).expect(0).json();
    assert_eq!((&rotated["rotated"], &rotated["kept"], &rotated["unreadable"]), (&json!(2), &json!(0), &json!(0)));
    let again = run(&mut server.trackway("secrets rotate -o json")).expect(0).json();
    assert_eq!((&again["rotated"], &again["kept"]), (&json!(0), &json!(2)));
    sends(&server, &plan).expect(0);

    super::signal(&server.child, "TERM");
    let (_, place) = server.wait();
    std::fs::write(&keys, format!("{new}\n")).expect("a file");
    let server = Server::start(place, "--secrets-key-file keys");
    sends(&server, &plan).expect(0);

    // With another key nothing opens them, and a new value is taken.
    super::signal(&server.child, "TERM");
    let (_, place) = server.wait();
    std::fs::write(&keys, format!("{old}\n")).expect("a file");
    let server = Server::start(place, "--secrets-key-file keys");
    let failed = sends(&server, &plan).expect(3);
    assert!(failed.stderr.contains("SECRET_UNREADABLE"), "{}", failed.stderr);
    let listed = run(&mut server.trackway("secrets ls -o json")).expect(0).json();
    assert_eq!((&listed[0]["name"], &listed[0]["readable"]), (&json!("API_KEY"), &json!(false)));
    set(&server, "API_KEY", FRESH).expect(0);
    set(&server, "OTHER_KEY", OTHER).expect(0);
    sends(&server, &plan).expect(0);
    assert!(echo.seen().contains(FRESH));
}

#[test]
fn a_server_without_a_key_takes_no_secret() {
    let server = Server::start(Place::new(), "");
    set(&server, "API_KEY", VALUE).refused(1, "TW0362");
    set(&server, "no name", VALUE).expect(2);
    assert_eq!(run(&mut server.trackway("secrets ls -o json")).expect(0).json(), json!([]));
    run(&mut server.trackway("secrets rm API_KEY")).expect(4);
}
