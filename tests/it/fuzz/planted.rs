//! Bugs that are put where a target answers as it rarely does: the harness finds each, whatever way of
//! failing it has.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::child::{self, Plant};
use super::parent::{self, Budget, Report};
use super::target::{KINDS, kind};
use super::{api_at, feed_here};

/// So many times the short form find what is rare.
const TIMES: u64 = 20;
/// For a bug that never ends; everything else that these targets do takes microseconds.
const HANG: Duration = Duration::from_secs(4);

fn planted(name: &str, plant: Plant) -> Report {
    let kind = kind(name);
    let budget = Budget {
        seed: 7,
        rounds: kind.rounds_short * TIMES,
        time: Duration::from_secs(120),
        input_time_max: if plant == Plant::Hang { HANG } else { Duration::MAX },
        plant,
    };
    // One death is enough.
    parent::feed_until(kind, &budget, |report| !report.found.is_empty())
}

#[track_caller]
fn is_found(name: &str, plant: Plant, words: &str) {
    let report = planted(name, plant);
    let found = report.found.first().unwrap_or_else(|| panic!("{name}: {plant:?} is not found: {report:?}"));
    assert!(found.message.contains(words), "{name}: {plant:?} is found as {:?}", found.message);
    assert!(report.failed > 0 && found.saved.is_file(), "{report:?}");
}

#[test]
fn a_panic_in_any_target_is_found() {
    for kind in KINDS.iter() {
        is_found(kind.name, Plant::Panic, "the planted bug");
    }
}

#[test]
fn an_endless_loop_is_found() {
    is_found("ids", Plant::Hang, "no answer");
}

#[test]
fn a_hunger_for_memory_is_found() {
    is_found("ids", Plant::Memory, "memory allocation");
}

#[test]
fn an_overflow_of_the_stack_is_found() {
    is_found("ids", Plant::Stack, "overflow");
}

/// Answers as a server, and dies of a request line that is not UTF-8. It is dead before anybody can see that
/// it does not answer.
fn fragile(listener: TcpListener, is_dead: &AtomicBool) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let mut bytes = [0; 4 << 10];
        let count = stream.read(&mut bytes).unwrap_or(0);
        let line = bytes[..count].split(|byte| *byte == b'\r').next().unwrap_or_default();
        if std::str::from_utf8(line).is_err() {
            is_dead.store(true, Ordering::Release);
            return;
        }
        // The client may have gone.
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}

#[test]
fn a_server_that_dies_of_a_request_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let is_dead = Arc::new(AtomicBool::new(false));
    let flag = is_dead.clone();
    std::thread::spawn(move || fragile(listener, &flag));
    let alive = move || if is_dead.load(Ordering::Acquire) { Err("it is dead".to_owned()) } else { Ok(()) };
    let mut target = api_at(address, alive);
    let budget = child::Budget { seed: 7, rounds: 2_000, time: Duration::from_secs(120) };
    let report = feed_here("api", &mut target, &budget, Plant::Panic);
    let found = report.found.first().unwrap_or_else(|| panic!("it is not found: {report:?}"));
    assert!(found.message.contains("dead"), "{}", found.message);
}
