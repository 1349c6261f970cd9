//! The example `approval`, as somebody who copied it uses it: asked on the command line, answered there.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use super::questions::{open_question, settled};
use super::{Server, run};

fn start(server: &Server, seconds: [u64; 2], otherwise: &str, hook: Option<&str>) -> String {
    let input = json!({
        "what": "Pay 300 EUR to Lantern Ltd", "otherwise": otherwise, "hook": hook,
        "ask": [{"who": "ann", "within_seconds": seconds[0]}, {"who": "bob", "within_seconds": seconds[1]}],
    });
    let started = run(server.trackway("run approval --detach -o id -i").arg(input.to_string())).expect(0);
    started.line().to_owned()
}

fn decided(server: &Server, id: &str) -> Value {
    settled(server, id)["output"].clone()
}

#[test]
fn the_first_one_answers_and_nobody_else_is_asked() {
    let server = Server::with_guest("approval", "");
    let id = start(&server, [86_400, 3_600], "refused", None);
    let question = open_question(&server, &id);
    assert_eq!((&question["assignee"], &question["step"]), (&json!("ann"), &json!(1)));
    let answer = r#"{"approve": true, "why": "as agreed"}"#;
    run(server.trackway("questions answer @last 1 --by ann -i").arg(answer)).expect(0);
    assert_eq!(decided(&server, &id), json!({"verdict": "approved", "by": "ann", "why": "as agreed"}));
    assert_eq!(run(&mut server.trackway("questions ls -o id")).expect(0).stdout, "");
}

#[test]
fn the_second_one_is_asked_when_the_first_one_was_silent() {
    let server = Server::with_guest("approval", "");
    let id = start(&server, [1, 86_400], "approved", None);
    let second = loop {
        let question = open_question(&server, &id);
        if question["assignee"] == "bob" {
            break question["step"].to_string();
        }
    };
    let late = run(server.trackway("questions answer @last 1 -i").arg(r#"{"approve": true}"#));
    assert!(late.refused(7, "TW0316").stderr.contains("the time to answer is over"));
    run(server.trackway(&format!("questions answer @last {second} -i")).arg(r#"{"approve": false}"#)).expect(0);
    assert_eq!(decided(&server, &id), json!({"verdict": "refused", "by": "bob", "why": null}));
    let trace = run(&mut server.trackway("trace @last -o text")).expect(0).stdout;
    assert!(trace.contains("ask ann") && trace.contains("ask bob"), "{trace}");
}

#[test]
fn the_request_decides_when_nobody_did_and_each_one_was_told() {
    let room = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let origin = format!("http://{}", room.local_addr().expect("bound"));
    let server = Server::with_guest("approval", &format!("--allow-host {origin}"));
    let id = start(&server, [1, 1], "approved", Some(&format!("{origin}/hooks/1")));
    let notes: Vec<String> = (0..2).map(|_| note(&room)).collect();
    assert!(notes[0].contains("ann, please decide") && notes[1].contains("bob, please decide"), "{notes:?}");
    assert_eq!(decided(&server, &id), json!({"verdict": "approved", "by": null, "why": null}));
    run(&mut server.trackway("replay @last")).expect(0);
}

/// The body of one request, which is answered well.
fn note(room: &TcpListener) -> String {
    let (stream, _) = room.accept().expect("a note comes");
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a head");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the whole note");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    reader.get_mut().write_all(answer).expect("it is read");
    String::from_utf8(body).expect("text")
}
