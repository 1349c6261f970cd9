//! Questions as people meet them: listed, shown and answered once, on the command line and over HTTP.

use serde_json::{Value, json};

use super::wire::Wire;
use super::{PATIENCE, Server, run};

/// The first open question of a run, once there is one.
pub fn open_question(server: &Server, id: &str) -> Value {
    until(&mut || {
        let found = run(&mut server.trackway("questions ls")).expect(0).json();
        found.as_array()?.iter().find(|question| question["run"] == id).cloned()
    })
}

/// A run that has succeeded, once it has.
pub fn settled(server: &Server, id: &str) -> Value {
    until(&mut || {
        let found = run(&mut server.trackway(&format!("runs describe {id}"))).expect(0).json();
        (found["status"] == "succeeded").then_some(found)
    })
}

fn until(look: &mut dyn FnMut() -> Option<Value>) -> Value {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not come to that");
    }
}

fn asks(server: &Server, input: &str) -> String {
    run(server.trackway("run asks --detach -o id -i").arg(input)).expect(0).line().to_owned()
}

#[test]
fn a_question_is_listed_shown_and_answered_once_on_the_command_line() {
    let server = Server::with_guest("signals", "");
    assert_eq!(run(&mut server.trackway("questions ls")).expect(0).json(), json!([]));
    let id = asks(&server, "\"Pay\"");
    let question = open_question(&server, &id);
    assert_eq!((&question["title"], &question["assignee"]), (&json!("Pay?"), &json!("ann")));
    assert_eq!((&question["workflow"], &question["settled"]), (&json!("asks"), &Value::Null));
    let typed = |words: &str| run(&mut server.trackway(words));
    let listed = typed("questions ls -o text").expect(0).stdout;
    assert!(listed.contains("Pay?  for ann  until "), "{listed}");
    let shown = typed("questions show @last 1 -o text").expect(0).stdout;
    assert!(shown.contains("approve  approval\n") && shown.contains("why  text, may be left out"), "{shown}");
    typed("questions show @last 2").refused(4, "TW0317");
    typed("questions show 01zzz 1").refused(4, "TW0303");

    let answer = |input: &str, flags: &str| {
        run(server.trackway(&format!("questions answer @last 1 {flags}")).args(["-i", input]))
    };
    let told = answer(r#"{"approve": "yes", "when": 1}"#, "").refused(2, "TW0306").stderr;
    assert!(told.contains("approve") && told.contains("when"), "{told}");
    answer("{}", "").refused(2, "TW0306");
    answer("yes", "").refused(2, "TW0305");
    run(server.trackway("questions answer @last 7 -i").arg(r#"{"approve": true}"#)).refused(4, "TW0317");

    let yes = r#"{"approve": true}"#;
    assert!(answer(yes, "--by carl --idempotency-key once -o text").expect(0).stdout.contains("answered: Pay?"));
    answer(yes, "--by carl --idempotency-key once").expect(0);
    let told = answer(r#"{"approve": false}"#, "--by dora").refused(7, "TW0316").stderr;
    assert!(told.contains("carl answered") || told.contains("just before"), "{told}");
    assert_eq!(settled(&server, &id)["output"], "ann: true");
    assert_eq!(typed("questions ls").expect(0).json(), json!([]));
    let shown = typed("questions show @last 1").expect(0).json();
    assert_eq!((&shown["settled"], &shown["by"]), (&json!("answered"), &json!("carl")));
    let told = answer(r#"{"approve": false}"#, "").refused(7, "TW0316").stderr;
    assert!(told.contains("carl answered"), "{told}");
}

#[test]
fn the_same_over_http() {
    let server = Server::with_guest("signals", "");
    let id = asks(&server, "\"Pay\"");
    open_question(&server, &id);
    let mut wire = Wire::to(&server);
    let listed = wire.get("questions");
    assert_eq!(listed["questions"][0]["run"], id, "{listed}");
    assert_eq!(wire.get(&format!("questions/{id}/1"))["form"]["fields"][0]["kind"], "approval");
    assert_eq!(wire.ask("GET", &format!("questions/{id}/2"), "", b"").0, 404);
    assert_eq!(wire.ask("GET", &format!("questions/{id}/one"), "", b"").0, 400);
    let path = format!("questions/{id}/1/answer");
    let mut answer = |body: &str| {
        let (status, answer) = wire.ask("POST", &path, "application/json", body.as_bytes());
        (status, answer["code"].as_str().unwrap_or_default().to_owned(), answer)
    };
    for (body, status, code) in [
        ("", 400, "TW0305"),
        ("[]", 400, "TW0604"),
        (r#"{"answer": {}}"#, 422, "TW0306"),
        (r#"{"answer": {"approve": null}}"#, 422, "TW0306"),
        (r#"{"answer": {"approve": true, "more": 1}}"#, 422, "TW0306"),
    ] {
        let (found, told, problem) = answer(body);
        assert_eq!((found, told.as_str()), (status, code), "{body}: {problem}");
    }
    let (status, _, question) = answer(r#"{"answer": {"approve": false, "why": "too dear"}, "by": "ann"}"#);
    assert_eq!((status, &question["title"]), (200, &json!("Pay?")), "{question}");
    let (status, code, _) = answer(r#"{"answer": {"approve": true}}"#);
    assert_eq!((status, code.as_str()), (409, "TW0316"));
    assert_eq!(settled(&server, &id)["output"], "ann: false");
}

#[test]
fn questions_of_a_run_that_does_something_else_meanwhile_are_listed_page_by_page() {
    let server = Server::with_guest("signals", "");
    let runs: Vec<String> = (0..3).map(|_| asks_two(&server)).collect();
    runs.iter().for_each(|id| _ = open_question(&server, id));
    let mut wire = Wire::to(&server);
    let mut found = Vec::new();
    let mut path = "questions?limit=2".to_owned();
    loop {
        let page = wire.get(&path);
        let questions = page["questions"].as_array().expect("questions").clone();
        assert!(questions.len() <= 2, "{page}");
        found.extend(questions.iter().map(|it| (it["run"].as_str().expect("a run").to_owned(), it["step"].clone())));
        let Some(cursor) = page["cursor"].as_str() else { break };
        path = format!("questions?limit=2&cursor={cursor}");
    }
    let wanted: Vec<_> = runs.iter().rev().flat_map(|id| [(id.clone(), json!(2)), (id.clone(), json!(1))]).collect();
    assert_eq!(found, wanted, "the newest first, and each once");
    assert_eq!(run(&mut server.trackway("questions ls --limit 4 -o id")).expect(0).stdout.lines().count(), 4);
    run(&mut server.trackway("questions ls --limit 0")).expect(2);
    assert_eq!(wire.ask("GET", "questions?cursor=x", "", b"").0, 400);
}

/// A run with two open questions that computes and sleeps meanwhile.
fn asks_two(server: &Server) -> String {
    let id = run(&mut server.trackway("run asks_beside --detach -o id")).expect(0).line().to_owned();
    until(&mut || {
        let found = run(&mut server.trackway(&format!("runs describe {id}"))).expect(0).json();
        (found["status"] == "running" && found["steps"] == 3).then_some(found)
    });
    id
}
