//! What runs tell those who follow them, as it is typed: through a server that is killed, and to a reader that
//! is slow.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use super::witness::Witness;
use super::{Server, run, wait_for};

/// The lines of `runs stream`, as they come.
struct Lines {
    child: Child,
    stdout: BufReader<ChildStdout>,
    all: Vec<Value>,
}

impl Lines {
    fn of(server: &Server, words: &str) -> Lines {
        let mut command = server.trackway(&format!("runs stream {words} -o jsonl"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Lines { child, stdout, all: Vec::new() }
    }

    fn next(&mut self) -> Option<&Value> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line).expect("text") == 0 {
            return None;
        }
        self.all.push(serde_json::from_str(&line).expect("a line is JSON"));
        self.all.last()
    }

    fn until(&mut self, wanted: impl Fn(&Value) -> bool) {
        while !wanted(self.next().expect("it goes on")) {}
    }

    fn until_the_end(mut self) -> Vec<Value> {
        while self.next().is_some() {}
        assert_eq!(wait_for(&mut self.child).code(), Some(0));
        self.all
    }
}

fn is(line: &Value, what: &str) -> bool {
    line["type"] == what
}

/// What a reader holds who does as it is told: the pieces of each step.
fn pieces(lines: &[Value]) -> BTreeMap<u64, String> {
    let mut held: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for line in lines {
        let step = || held_by(line);
        match line["type"].as_str() {
            Some("delta") => {
                let pieces = held.entry(step()).or_default();
                pieces.push(line["data"].as_str().expect("text").to_owned());
                assert_eq!(line["number"], json!(pieces.len()), "none is missing and none comes twice: {line}");
            }
            Some("reset") => {
                let next = line["next"].as_u64().expect("a number") as usize;
                held.entry(step()).or_default().truncate(next - 1);
            }
            _ => {}
        }
    }
    held.into_iter().map(|(step, pieces)| (step, pieces.concat())).collect()
}

fn held_by(line: &Value) -> u64 {
    line["step"].as_u64().expect("the step of a function")
}

#[test]
fn a_reader_goes_on_through_a_kill_hears_each_event_once_and_knows_what_of_the_rest_is_void() {
    const HELD: &str = "/chapter/1/1";
    let witness = Witness::holding(HELD);
    let server = Server::with_guest("streams", &format!("--allow-host {}", witness.url));
    let story = json!({ "url": witness.url, "chapters": 3, "pages": 2 }).to_string();
    run(server.trackway("run stories --detach -i").arg(story)).expect(0);
    let mut lines = Lines::of(&server, "@last");
    witness.wait_for(HELD, 1);
    // What the function has just said stands nowhere; it is heard, and then its process dies.
    lines.until(|line| is(line, "delta") && line["data"] == "[1.1");
    let server = server.killed_and_started_again();
    witness.wait_for(HELD, 2);
    witness.release();
    let lines = lines.until_the_end();
    let kept: Vec<&Value> = lines.iter().filter(|line| is(line, "event")).collect();
    let names: Vec<&str> = kept.iter().map(|line| line["name"].as_str().expect("a name")).collect();
    assert_eq!(names.join(" "), ["chapter page page told"; 3].join(" "));
    let ids: Vec<u64> = kept.iter().map(|line| line["position"].as_u64().expect("a position")).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    assert!(kept.iter().all(|line| line["id"].as_str() == Some(&*line["position"].to_string())), "{kept:?}");
    let resets: Vec<&Value> = lines.iter().filter(|line| is(line, "reset")).collect();
    assert_eq!(resets.len(), 1, "{resets:?}");
    assert_eq!((&resets[0]["step"], &resets[0]["attempt"], &resets[0]["next"]), (&json!(2), &json!(1), &json!(1)));
    let expected = [(1, "[0.0][0.1]"), (2, "[1.0][1.1]"), (3, "[2.0][2.1]")];
    assert_eq!(pieces(&lines), BTreeMap::from(expected.map(|(step, text)| (step, text.to_owned()))));
    let end = lines.last().expect("an end");
    assert!(is(end, "end") && end["run"]["output"] == "[0.0][0.1][1.0][1.1][2.0][2.1]", "{end}");

    // Whoever comes back with any id gets what is after it, each once.
    let strings: Vec<String> = kept.iter().map(|line| line.to_string()).collect();
    for (place, id) in ids.iter().enumerate() {
        let rest = Lines::of(&server, &format!("@last --kept --after {id}")).until_the_end();
        let rest: Vec<String> = rest.iter().filter(|line| is(line, "event")).map(Value::to_string).collect();
        assert_eq!(rest, strings[place + 1..], "after {id}");
    }
    let of_the_dead = lines.iter().find(|line| is(line, "delta")).expect("one")["id"].as_str().expect("text");
    let rest = Lines::of(&server, &format!("@last --kept --after {of_the_dead}")).until_the_end();
    assert_eq!(rest.iter().filter(|line| is(line, "event")).count(), strings.len() - 1, "the first came before it");
    let end = end["id"].as_str().expect("text");
    assert_eq!(Lines::of(&server, &format!("@last --after {end}")).until_the_end(), Vec::<Value>::new());
    run(&mut server.trackway("runs stream @last --after 9999")).refused(2, "TW0604");
    run(&mut server.trackway("runs stream @last --after 1.2")).refused(2, "TW0604");
}

#[test]
fn a_run_waits_for_no_reader_and_a_reader_that_comes_late_is_told_what_it_missed() {
    let server = Server::with_guest("streams", "");
    run(&mut server.trackway("run chatters -i 40000 --timeout 4m")).expect(0);
    let late = Lines::of(&server, "@last").until_the_end();
    let first = &late[0];
    assert!(is(first, "reset") && first["next"].as_u64().is_some_and(|next| next > 20_000), "{first}");
    let numbers: Vec<u64> =
        late.iter().filter(|line| is(line, "delta")).map(|line| line["number"].as_u64().expect("one")).collect();
    let from = first["next"].as_u64().expect("a number");
    assert_eq!(numbers, (from..=40_000).collect::<Vec<_>>());
    // It goes on after any of them while the host lives.
    let half = late.iter().filter(|line| is(line, "delta")).nth(numbers.len() / 2).expect("one");
    let rest = Lines::of(&server, &format!("@last --after {}", half["id"].as_str().expect("text"))).until_the_end();
    assert_eq!(rest[0]["number"].as_u64(), half["number"].as_u64().map(|number| number + 1));
}

#[test]
fn what_a_run_tells_is_shown_for_people_and_stands_in_its_trace() {
    let witness = Witness::holding("/nothing");
    let server = Server::with_guest("streams", &format!("--allow-host {}", witness.url));
    let story = json!({ "url": witness.url, "chapters": 1, "pages": 1 }).to_string();
    run(server.trackway("run stories -i").arg(story)).expect(0);
    let shown = run(&mut server.trackway("runs stream @last -o text")).expect(0).stdout;
    let lines: Vec<&str> = shown.lines().collect();
    let expected = [
        "chapter  0",
        "piece  \"[0.0\"  1.1 #1",
        "page  0  1.1",
        "piece  \"]\"  1.1 #2",
        "told  \"[0.0]\"",
        "succeeded",
    ];
    assert_eq!(lines, expected);
    let ids = run(&mut server.trackway("runs stream @last --kept -o id")).expect(0).stdout;
    assert_eq!(ids.lines().count(), 4, "three events and the end: {ids}");
    let trace = run(&mut server.trackway("trace @last -o text")).expect(0).stdout;
    for row in ["event chapter", "event page", "event told"] {
        assert!(trace.contains(row), "{trace}");
    }
}
