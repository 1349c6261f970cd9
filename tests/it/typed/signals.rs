//! How a server stops: at the first signal in order, at the second at once, and never with a loss.

use super::{Place, Server, run, signal, wait_for};
use std::net::TcpListener;
use std::process::Stdio;

#[test]
fn a_signal_drains_and_everything_is_there_afterwards() {
    let server = Server::with_guest("sleeper", "");
    let id = run(&mut server.trackway("run sleeps -i 80000000 --detach -o id")).expect(0);
    signal(&server.child, "TERM");
    let (exit, place) = server.wait();
    assert_eq!(exit, Some(0));
    let server = Server::start(place, "");
    let run = run(&mut server.trackway(&format!("runs describe {}", id.line()))).expect(0);
    assert!(run.stdout.contains("\"sleeping\""), "{}", run.stdout);
}

#[test]
fn a_second_signal_ends_at_once_and_loses_nothing() {
    // It takes the request and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("bound"));
    let server = Server::with_guest("effects", &format!("--allow-host {url}"));
    let start = run(server.trackway("run fetches --detach -o id -i").arg(format!("\"{url}/\""))).expect(0);
    let _request = silent.accept().expect("the effect is in flight");

    signal(&server.child, "TERM");
    while !server.log().contains("stopping") {
        std::thread::yield_now();
    }
    signal(&server.child, "TERM");
    let (exit, place) = server.wait();
    assert_eq!(exit, Some(130));

    let server = Server::start(place, "");
    let _again = silent.accept().expect("the effect is begun again by itself");
    let trace = run(&mut server.trackway(&format!("trace {} -o text", start.line()))).expect(0);
    assert!(trace.stdout.contains("1 restart"), "{}", trace.stdout);
}

#[test]
fn ctrl_c_while_following_leaves_the_run_going() {
    let server = Server::with_guest("sleeper", "");
    let mut command = server.trackway("run sleeps -i 80000000 --follow");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // The first line names the run: from then on it follows.
    let mut stderr = std::io::BufReader::new(child.stderr.take().expect("it is piped"));
    let mut talk = String::new();
    while !talk.contains("sleep") {
        assert!(std::io::BufRead::read_line(&mut stderr, &mut talk).expect("text") > 0, "it ended: {talk}");
    }
    signal(&child, "INT");
    assert_eq!(wait_for(&mut child).code(), Some(130));
    std::io::Read::read_to_string(&mut stderr, &mut talk).expect("text");
    assert!(talk.contains("goes on") && talk.contains("trackway trace"), "{talk}");
    let run = run(&mut server.trackway("runs describe @last")).expect(0);
    assert!(run.stdout.contains("\"sleeping\""), "{}", run.stdout);
}

#[test]
fn a_data_folder_and_a_port_have_one_owner() {
    let server = Server::start(Place::new(), "");
    run(&mut server.trackway("server --listen 127.0.0.1:0 --data data")).refused(1, "TW0401");
    let address = server.url.trim_start_matches("http://");
    run(&mut server.trackway(&format!("server --listen {address} --data other"))).refused(1, "TW0601");
}
