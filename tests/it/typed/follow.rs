//! What goes on across a server that is killed and started again: its address, its folder, and whoever
//! follows a run.

use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use super::witness::Witness;
use super::{Place, Server, run, signal, wait_for};

impl Server {
    /// `kill -9`, and at once another server at the same address on the same folder.
    pub(super) fn killed_and_started_again(mut self) -> Server {
        let address = self.url.trim_start_matches("http://").to_owned();
        let place = std::mem::replace(&mut self.place, Place::new());
        signal(&self.child, "KILL");
        // Nobody waits for the one that is dying.
        Server::start_at(place, &address, "")
    }
}

#[test]
fn a_server_that_starts_right_after_a_kill_gets_address_and_folder() {
    let mut server = Server::with_guest("hello", "");
    for _ in 0..5 {
        run(&mut server.trackway("run hello")).expect(0);
        server = server.killed_and_started_again();
    }
    assert_eq!(run(&mut server.trackway("runs ls -o id")).expect(0).stdout.lines().count(), 5);
}

#[test]
fn whoever_follows_a_run_goes_on_when_the_server_is_there_again() {
    const HELD: &str = "/step/1/0";
    let witness = Witness::holding(HELD);
    let server = Server::with_guest("effects", &format!("--allow-host {}", witness.url));
    let input = json!({ "url": witness.url, "steps": 3 }).to_string();
    let mut command = server.trackway("run posts --follow -i");
    let mut child =
        command.arg(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    witness.wait_for(HELD, 1);
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut talk = String::new();
    while !talk.contains("step 1") {
        assert!(stderr.read_line(&mut talk).expect("text") > 0, "it ended: {talk}");
    }
    let server = server.killed_and_started_again();
    while !talk.contains("connection lost") {
        assert!(stderr.read_line(&mut talk).expect("text") > 0, "it ended: {talk}");
    }
    witness.wait_for(HELD, 2);
    witness.release();
    stderr.read_to_string(&mut talk).expect("text");
    let mut output = String::new();
    child.stdout.take().expect("it is piped").read_to_string(&mut output).expect("text");
    assert_eq!((wait_for(&mut child).code(), output.as_str()), (Some(0), "21\n"), "{talk}");
    assert!(talk.contains("step 2"), "what came after the restart is shown: {talk}");
    let mut lines: Vec<&str> = talk.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), talk.lines().count(), "something is shown twice: {talk}");
    let logs = run(&mut server.trackway("trace @last --follow -o text")).expect(0);
    assert!(logs.stdout.contains("1 restart"), "{}", logs.stdout);
}
