//! Questions that functions ask, as people meet them: over a kill, answered on the command line.

use serde_json::{Value, json};

use super::questions::{open_question, settled};
use super::wire::Wire;
use super::{Place, Server, run};

/// A run whose function asks both at once and tells in which order it was answered.
fn asks_two(server: &Server) -> String {
    let form = |title: &str| json!({ "title": title, "fields": [{ "name": "approve", "kind": "approval" }] });
    let ops = json!([
        ["begin", "agent", "clerk", 1],
        ["ask", form("Pay?"), r#"{"span":1}"#],
        ["ask", form("Sure?"), r#"{"span":1}"#],
        ["next"],
        ["next"],
        ["end", 1, 2],
    ]);
    let input = json!({ "ops": [["call", "script", { "ops": ops }, ""], ["next"]] });
    run(server.trackway("run script --detach -o id -i").arg(input.to_string())).expect(0).line().to_owned()
}

/// The names of what is open.
fn names(server: &Server) -> Vec<String> {
    let listed = run(&mut server.trackway("questions ls -o id")).expect(0).stdout;
    listed.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect()
}

fn answer(server: &Server, name: &str, approve: bool, flags: &str) -> std::process::Command {
    let mut command = server.trackway(&format!("questions answer @last {name} {flags}"));
    command.args(["-i", &json!({ "approve": approve }).to_string()]);
    command
}

#[test]
fn two_questions_of_a_function_survive_a_kill_and_are_answered_in_the_other_order() {
    let mut server = Server::with_guest("raw", "");
    let id = asks_two(&server);
    while names(&server).len() < 2 {
        open_question(&server, &id);
    }
    server.child.kill().expect("it runs");
    let (_, place) = server.wait();
    let server = Server::start(place, "");
    assert_eq!(names(&server), ["1.3", "1.2"]);
    let listed = run(&mut server.trackway("questions ls -o text")).expect(0).stdout;
    assert!(listed.contains(&format!("{id} 1.2  Pay?\n")), "{listed}");
    let shown = run(&mut server.trackway("questions show @last 1.3")).expect(0).json();
    assert_eq!((&shown["title"], &shown["step"], &shown["effect"]), (&json!("Sure?"), &json!(1), &json!(3)));
    run(&mut server.trackway("questions show @last 1")).refused(4, "TW0317");
    run(&mut server.trackway("questions show @last 1.9")).refused(4, "TW0317");
    run(&mut server.trackway("questions show @last 1.x")).expect(2);

    run(&mut answer(&server, "1.3", true, "--by carl --idempotency-key once")).expect(0);
    run(&mut answer(&server, "1.3", true, "--by carl --idempotency-key once")).expect(0);
    run(&mut answer(&server, "1.3", false, "--by dora")).refused(7, "TW0316");
    run(&mut answer(&server, "1.2", false, "--by dora")).expect(0);
    let output = settled(&server, &id)["output"].to_string();
    assert!(output.find("true") < output.find("false"), "{output}");
    assert_eq!(names(&server), [""; 0]);
    let late = run(&mut answer(&server, "1.2", true, "")).refused(7, "TW0316").stderr;
    assert!(late.contains("dora answered"), "{late}");
    let trace = run(&mut server.trackway("trace @last -o text")).expect(0).stdout;
    let place = |words: &str| trace.find(words).unwrap_or_else(|| panic!("no {words} in {trace}"));
    assert!(place("agent clerk") < place("question: Pay?") && place("question: Pay?") < place("question: Sure?"));
    assert!(trace.contains("by carl") && trace.contains("by dora"), "{trace}");
}

#[test]
fn a_question_of_a_function_is_answered_over_http() {
    let server = Server::with_guest("raw", "");
    let id = asks_two(&server);
    while names(&server).len() < 2 {
        open_question(&server, &id);
    }
    let mut wire = Wire::to(&server);
    let page = wire.get("questions?limit=1");
    assert_eq!(page["questions"][0]["effect"], 3, "{page}");
    let cursor = page["cursor"].as_str().expect("there is another one");
    assert_eq!(wire.get(&format!("questions?limit=1&cursor={cursor}"))["questions"][0]["effect"], 2);
    for effect in [2, 3] {
        let path = format!("questions/{id}/1.{effect}");
        assert_eq!(wire.get(&path)["settled"], Value::Null);
        let (status, ..) =
            wire.ask("POST", &format!("{path}/answer"), "application/json", br#"{"answer": {"approve": 7}}"#);
        assert_eq!(status, 422);
        let (status, ..) =
            wire.ask("POST", &format!("{path}/answer"), "application/json", br#"{"answer": {"approve": true}}"#);
        assert_eq!(status, 200);
    }
    settled(&server, &id);
    assert_eq!(wire.ask("GET", &format!("questions/{id}/1.2.3"), "", b"").0, 400);
}

#[test]
fn a_backup_brings_back_a_question_of_a_function_which_is_answered_there() {
    let server = Server::with_guest("raw", "");
    let id = asks_two(&server);
    while names(&server).len() < 2 {
        open_question(&server, &id);
    }
    run(&mut answer(&server, "1.3", true, "")).expect(0);
    while names(&server).len() > 1 {
        open_question(&server, &id);
    }
    run(&mut server.trackway("backup kept")).expect(0);
    run(&mut server.trackway("doctor --deep")).expect(0);
    let other = Place::new();
    std::fs::copy(server.place.path().join("kept"), other.path().join("kept")).expect("copied");
    run(&mut other.command("restore kept --data data")).expect(0);
    let server = Server::start(other, "");
    assert_eq!(names(&server), ["1.2"]);
    run(&mut server.trackway("doctor --deep")).expect(0);
    run(&mut answer(&server, "1.2", false, "")).expect(0);
    let output = settled(&server, &id)["output"].to_string();
    assert!(output.find("true") < output.find("false"), "{output}");
    run(&mut server.trackway("doctor --deep")).expect(0);
    run(&mut server.trackway("replay @last")).expect(0);
}
