//! One tenant does the worst that it can, and another one does a run of three steps after the other. What is held is who
//! has a turn, not how long that took: so a share is a share on any machine.

use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::wire::Wire;
use super::{KEY, PATIENCE, Place, Server, run};
use crate::rig::guests;

/// Connections of a tenant that floods, each with one request after the other.
const FLOODERS: usize = 64;
/// Runs of the tenant beside it.
const RUNS: usize = 20;
/// While one run of the neighbour goes through its turns, a tenant with 64 runs in flight ends a few. If tasks were served in
/// the order in which they became ready, it would end about 64, one for each place that the neighbour waits for.
const ENDED_FOR_EACH_MAX: usize = 24;
/// Lines that a run of a flood logs, and their length.
const LINES: usize = 200;
const LINE_BYTES: usize = 500;
/// Of a value that lies beside the store, in a file of its own.
const LARGE_BYTES: usize = 1_100_000;
/// What a flooder may be told that uploads: taken, known, too slow, too much at once, no room.
const OF_UPLOADS: [u16; 5] = [201, 200, 408, 429, 503];

/// A server with two tenants: whoever floods is `default`, and its neighbour has a key of its own.
struct Neighbours {
    server: Server,
    key: String,
}

impl Neighbours {
    fn new() -> Neighbours {
        Neighbours::of(Server::start(Place::new(), ""))
    }

    fn of(server: Server) -> Neighbours {
        let typed = |words: &str| run(&mut server.trackway(words)).expect(0).stdout;
        typed("tenants create neighbour");
        let key = typed("keys create --tenant neighbour --scope admin first -o id").trim().to_owned();
        run(server.trackway("deploy").env("TRACKWAY_KEY", &key).arg(guests().join("parallel.wasm"))).expect(0);
        Neighbours { server, key }
    }

    fn deploy(&self, guest: &str, words: &str) {
        run(self.server.trackway(&format!("deploy {words}")).arg(guests().join(format!("{guest}.wasm")))).expect(0);
    }

    /// Runs of three steps, each begun when the one before has ended.
    fn runs(&self) {
        let mut wire = Wire::with(&self.server, &self.key);
        for nth in 0..RUNS {
            let run = wire.run("sequential", &json!(1));
            assert_eq!(run["output"], 16, "the {nth}th run of the neighbour: {run}");
        }
    }

    /// The same while a flood goes on that is served as well. No run waits for the flood to end: each ends within the minute
    /// for which its start waits.
    fn runs_beside(&self, flood: &Flood) {
        self.runs();
        let (before, begun) = (flood.done(), Instant::now());
        self.runs();
        // What the flood wants may take longer than many runs of the neighbour.
        while flood.done() == before {
            assert!(begun.elapsed() < PATIENCE, "nothing of the flood is served beside the neighbour");
            self.runs();
        }
    }

    /// How much of it the tenant that floods has used.
    fn used(&self, what: &str) -> u64 {
        let usage = Wire::to(&self.server).get("usage");
        usage["total"][what].as_u64().unwrap_or_else(|| panic!("no `{what}` in {usage}"))
    }

    /// Does `deed` again and again on connections of their own, until it is dropped. Counts how often it was done.
    fn flood(&self, deed: impl Fn(&mut Wire) + Send + Sync + 'static) -> Flood {
        let (deed, ends, done) = (Arc::new(deed), Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads = (0..FLOODERS).map(|_| {
            let (deed, ends, done) = (Arc::clone(&deed), Arc::clone(&ends), Arc::clone(&done));
            let mut wire = Wire::to(&self.server);
            std::thread::spawn(move || {
                while !ends.load(Ordering::SeqCst) {
                    deed(&mut wire);
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        });
        Flood { threads: threads.collect(), ends, done }
    }
}

struct Flood {
    threads: Vec<JoinHandle<()>>,
    ends: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
}

impl Flood {
    fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() && !std::thread::panicking() {
                panic!("a flooder met what it did not expect");
            }
        }
    }
}

/// What a flooder may be told: done, or that there is no room or no more for it.
fn start(wire: &mut Wire, path: &str, workflow: &str, input: &Value) {
    let body = json!({ "workflow": workflow, "input": input }).to_string();
    let (status, answer) = wire.ask("POST", path, "application/json", body.as_bytes());
    assert!([201, 429, 503].contains(&status), "{status} {answer}");
}

/// One component that differs from all others in a custom section at its end.
fn component(module: &[u8], number: usize) -> Vec<u8> {
    let name = format!("n{number:012}");
    let name_bytes = u8::try_from(name.len()).expect("a short name");
    // Its number; its size, which fits into one byte; its name. It holds nothing more.
    [module, &[0, name_bytes + 1, name_bytes], name.as_bytes()].concat()
}

/// Uploads on a connection of its own: one that is thrown out is closed. `None`: it was, before there was an answer.
fn upload(url: &str, key: &str, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE))).ok()?;
    let head = format!(
        "POST /v1/components HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
         Content-Type: application/wasm\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    // It may be answered before all of it was read.
    let _ = stream.write_all(&[head.as_bytes(), bytes].concat());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1)?.parse::<u16>().ok()?;
    assert!(OF_UPLOADS.contains(&status), "{answer}");
    Some(status)
}

/// Takes connections and never answers.
struct Silent {
    url: String,
    held: Arc<Mutex<Vec<TcpStream>>>,
}

impl Silent {
    fn new() -> Silent {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let held: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let holds = Arc::clone(&held);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // A request has come: its connection is in use.
                let _ = stream.read(&mut [0; 512]);
                holds.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
            }
        });
        Silent { url, held }
    }

    fn held(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[test]
fn a_run_takes_its_turns_while_another_tenant_starts_as_many_as_it_can() {
    let neighbours = Neighbours::new();
    neighbours.deploy("parallel", "");
    let flood = neighbours.flood(|wire| start(wire, "runs?wait=60", "sequential", &json!(1)));
    neighbours.runs();
    let before = flood.done();
    neighbours.runs();
    let ended = flood.done() - before;
    assert!(ended <= RUNS * ENDED_FOR_EACH_MAX, "{ended} runs of the flood ended within {RUNS} of the neighbour");
}

#[test]
fn places_room_and_connections_are_left_where_another_tenant_holds_all_it_can_for_ever() {
    let neighbours = Neighbours::new();
    let silent = Silent::new();
    neighbours.deploy("effects", &format!("--allow-host {}", silent.url));
    // Each holds room among the runs in hand, and the wide ones hold places and connections too.
    let mut wire = Wire::to(&neighbours.server);
    let wide = json!({ "url": silent.url, "steps": 200, "requests": 1, "pause_ms": 0 });
    (0..12).for_each(|_| start(&mut wire, "runs", "posts_at_once", &wide));
    let threads: Vec<_> = (0..FLOODERS)
        .map(|_| {
            let (mut wire, url) = (Wire::to(&neighbours.server), json!(silent.url));
            std::thread::spawn(move || (0..6).for_each(|_| start(&mut wire, "runs", "fetches", &url)))
        })
        .collect();
    neighbours.runs();
    for thread in threads {
        thread.join().expect("every start was answered");
    }
    // By now all of it is taken.
    neighbours.runs();
    assert!(silent.held() > 0, "nothing was asked of the silent server");
    let succeeded = wire.get("runs?status=succeeded");
    assert_eq!(succeeded["runs"].as_array().map(Vec::len), Some(0), "the flood is still there: {succeeded}");
}

#[test]
fn a_thousand_runs_that_wake_at_once_let_the_runs_of_another_tenant_pass() {
    let neighbours = Neighbours::new();
    neighbours.deploy("sleeper", "");
    let mut wire = Wire::to(&neighbours.server);
    for _ in 0..1_000 {
        start(&mut wire, "runs", "sleeps", &json!(3_000));
    }
    neighbours.runs();
    neighbours.runs();
}

#[test]
fn everything_at_once_leaves_another_tenant_its_turns() {
    let neighbours = Neighbours::new();
    for guest in ["parallel", "limits", "signals", "sleeper"] {
        neighbours.deploy(guest, "");
    }
    let mut wire = Wire::to(&neighbours.server);
    let long = wire.run("chain", &json!({ "n": 300 }))["id"].as_str().expect("an id").to_owned();
    start(&mut wire, "runs", "collects", &json!(1_000_000));
    let target = wire.get("runs?limit=1")["runs"][0]["id"].as_str().expect("an id").to_owned();
    let large = "x".repeat(8 << 20);
    let nth = AtomicUsize::new(0);
    let flood = neighbours.flood(move |wire| match nth.fetch_add(1, Ordering::SeqCst) % 8 {
        0 => start(wire, "runs", "endless_loop", &json!(null)),
        1 => start(wire, "runs?wait=60", "fan_out", &json!({ "n": 1_000 })),
        2 => start(wire, "runs", "panics", &json!(large)),
        3 => start(wire, "runs", "sleeps", &json!(50)),
        4 => {
            let (status, answer) = wire.ask("POST", &format!("runs/{target}/signals/number"), "application/json", b"1");
            assert!([200, 202, 429].contains(&status), "{status} {answer}");
        }
        5 | 6 => drop(wire.ask("GET", &format!("runs/{long}/journal"), "", b"")),
        _ => start(wire, "runs?wait=60", "sequential", &json!(1)),
    });
    neighbours.runs();
    neighbours.runs();
    assert!(flood.done() > 0, "nothing was flooded");
}

#[test]
fn a_run_takes_its_turns_while_another_tenant_logs_as_much_as_it_can() {
    let neighbours = Neighbours::new();
    neighbours.deploy("raw", "");
    let line = json!(["log", "info", "y".repeat(LINE_BYTES), ""]);
    let input = json!({ "ops": [["repeat", LINES, [line]], ["return", "1"]] });
    let flood = neighbours.flood(move |wire| start(wire, "runs?wait=60", "script", &input));
    neighbours.runs_beside(&flood);
    let logged = neighbours.used("log_bytes");
    assert!(logged >= (LINES * LINE_BYTES) as u64, "only {logged} bytes were logged");
}

#[test]
fn a_run_takes_its_turns_while_another_tenant_uploads_as_much_as_it_can() {
    let neighbours = Neighbours::new();
    let module = std::fs::read(guests().join("raw.wasm")).expect("it was built");
    let (url, flooded) = (neighbours.server.url.clone(), module.clone());
    let (nth, taken) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let takes = Arc::clone(&taken);
    let flood = neighbours.flood(move |_| {
        let bytes = component(&flooded, nth.fetch_add(1, Ordering::SeqCst));
        if upload(&url, KEY, &bytes) == Some(201) {
            takes.fetch_add(1, Ordering::SeqCst);
        }
    });
    neighbours.runs_beside(&flood);
    // Places to upload are few; the neighbour comes to one all the same.
    let bytes = component(&module, usize::MAX);
    let begun = Instant::now();
    while !matches!(upload(&neighbours.server.url, &neighbours.key, &bytes), Some(200 | 201)) {
        assert!(begun.elapsed() < PATIENCE, "no upload of the neighbour was taken:\n{}", neighbours.server.log());
    }
    assert!(taken.load(Ordering::SeqCst) > 0, "nothing of the flood was taken");
}

#[test]
fn a_run_takes_its_turns_while_another_tenant_stores_values_as_large_as_it_can() {
    // What has ended goes soon, or the flood would fill the disk of whoever runs this.
    let neighbours = Neighbours::of(Server::start(Place::new(), "--keep-finished 30s"));
    neighbours.deploy("values", "");
    let input = json!("z".repeat(LARGE_BYTES));
    let flood = neighbours.flood(move |wire| start(wire, "runs?wait=60", "echo", &input));
    neighbours.runs_beside(&flood);
    let stored = neighbours.used("payload_bytes");
    assert!(stored >= LARGE_BYTES as u64, "only {stored} bytes were stored");
}
