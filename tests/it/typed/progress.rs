//! A long function as a person sees it: how far it is while it works, and why it was broken off.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::{PATIENCE, Server, run};

/// Answers requests but the one of this number, from 0, which it keeps waiting.
fn world_silent_at(silent: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let origin = format!("http://{}", listener.local_addr().expect("bound"));
    // It ends with the process of the tests.
    thread::spawn(move || {
        let mut kept = Vec::new();
        for (number, connection) in listener.incoming().enumerate() {
            let Ok(connection) = connection else { return };
            if number == silent { kept.push(connection) } else { answer(connection) }
        }
    });
    origin
}

fn answer(mut connection: TcpStream) {
    let lines = BufReader::new(connection.try_clone().expect("a socket has another handle")).lines();
    // The head is all there is.
    if lines.map_while(Result::ok).any(|line| line.is_empty()) {
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    }
}

#[test]
fn a_person_sees_how_far_a_function_is_and_that_it_fell_silent() {
    let origin = world_silent_at(2);
    let server = Server::with_guest("timing", &format!("--allow-host {origin}"));
    let typed = |words: &str| run(&mut server.trackway(words)).expect(0);
    let input = serde_json::json!({"url": origin, "pages": 4}).to_string();
    run(server.trackway("run imports --detach -i").arg(input)).expect(0);
    let begun = std::time::Instant::now();
    let until = |words: &str, is_so: &dyn Fn(&str) -> bool| loop {
        let told = typed(words).stdout;
        if is_so(&told) {
            return told;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not come to that: {told}");
    };
    until("trace @last -o text", &|told| told.contains("at 2"));
    until("trace @last -o json", &|told| told.contains("\"progress\""));
    let found = until("runs describe @last -o json", &|told| told.contains("succeeded"));
    let found: Value = serde_json::from_str(&found).expect("it is JSON");
    assert_eq!(found["output"], serde_json::json!([2, 2]), "the second attempt goes on with the third page");
    let trace = typed("trace @last -o text").stdout;
    assert!(trace.contains("HEARTBEAT_TIMEOUT"), "{trace}");
    typed("replay @last");
}
