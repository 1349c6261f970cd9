//! Updates as people meet them: typed, over HTTP, and over kill -9.

use serde_json::{Value, json};
use std::process::Stdio;

use super::wire::Wire;
use super::{Server, run, wait_for};

fn begun(server: &Server, words: &str) -> String {
    run(&mut server.trackway(&format!("run {words} --detach -o id"))).expect(0).line().to_owned()
}

#[test]
fn an_update_is_answered_refused_and_answered_again_on_the_command_line() {
    let server = Server::with_guest("talks", "");
    let id = begun(&server, "adds");
    let typed = |words: &str| run(&mut server.trackway(words));
    assert_eq!(typed("runs update @last add -i 3 --id one").expect(0).json(), 6);
    assert_eq!(typed("runs update @last add -i 4 -o text").expect(0).stdout, "14\n");
    assert_eq!(typed("runs update @last add -i 3 --id one").expect(0).json(), 6, "asked once");
    let refused = typed("runs update @last add -i 101").expect(3);
    assert!(refused.stderr.contains("TOO_MUCH") && refused.stdout.is_empty(), "{}", refused.stderr);
    typed("runs update @last add -i 5 --id one").refused(7, "TW0309");
    typed("runs update @last add -i many").refused(2, "TW0305");
    typed("runs update @last add -i -3").refused(2, "TW0306");
    typed("runs update @last ad -i 3").refused(4, "TW0334");
    typed("runs update 01zzz add -i 3").refused(4, "TW0303");
    let journal = Wire::to(&server).journal(&id);
    let kinds = |kind: &str| journal.iter().filter(|entry| entry["kind"] == kind).count();
    assert_eq!((kinds("UpdateReceived"), kinds("Replied")), (3, 3), "what was refused before left no trace");
    assert_eq!(typed("runs state @last total").expect(0).json(), 14);
    assert!(typed("trace @last -o text").expect(0).stdout.contains("reply to the update of"));
    assert_eq!(typed("runs update @last finish").expect(0).json(), "x".repeat(14));
    assert_eq!(typed("runs update @last add -i 3 --id one").expect(0).json(), 6, "also after its end");
    typed("runs update @last add -i 4 --id one").refused(7, "TW0309");
    typed("runs update @last add -i 3 --id other").refused(7, "TW0308");
}

#[test]
fn who_waits_is_told_of_the_end_and_who_goes_away_gets_the_answer_later() {
    let server = Server::with_guest("talks", "");
    let id = begun(&server, "forgets -i \"any\"");
    let mut wire = Wire::to(&server);
    let mut ask = |key: &str, query: &str, body: &str| {
        let path = format!("runs/{id}/updates/any{query}");
        wire.ask("POST", &path, &format!("application/json\r\nIdempotency-Key: {key}"), body.as_bytes())
    };
    let (status, answer) = ask("first", "", "1");
    assert_eq!((status, &answer["outcome"], &answer["failure"]["code"]), (200, &json!("failed"), &json!("UNANSWERED")));
    let (status, answer) = ask("second", "?timeout=0.2", "2");
    assert_eq!((status, &answer["outcome"]), (202, &json!("open")), "{answer}");
    assert_eq!(ask("third", "?timeout=-1", "2").0, 400);
    let left = run(&mut server.trackway("runs update @last any -i 2 --id second --timeout 100ms"));
    assert!(left.refused(6, "TW0609").stderr.contains("second"));
    let mut waits = server.trackway("runs update @last any -i 2 --id second");
    let mut waits = waits.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    run(&mut server.trackway("runs terminate @last")).expect(0);
    assert_eq!(wait_for(&mut waits).code(), Some(7), "it has ended without an answer");
    let (status, problem) = ask("second", "", "2");
    assert_eq!((status, &problem["code"]), (409, &json!("TW0335")));
    assert_eq!(ask("second", "", "3").1["code"], "TW0309");
    assert_eq!(ask("first", "", "1").1["failure"]["code"], "UNANSWERED");
}

#[test]
fn an_update_that_nobody_takes_in_time_is_refused_as_expired() {
    let server = Server::with_guest("talks", "");
    let id = begun(&server, "adds_late -i 80000000");
    let typed = |words: &str| run(&mut server.trackway(words));
    let refused = typed("runs update @last add -i 3 --id one --expires-in 200ms").expect(3);
    assert!(refused.stderr.contains("EXPIRED") && refused.stdout.is_empty(), "{}", refused.stderr);
    assert!(typed("runs update @last add -i 3 --id one").expect(3).stderr.contains("EXPIRED"), "once and for all");
    typed("runs update @last add -i 4 --id one").refused(7, "TW0309");
    assert!(typed("trace @last -o text").expect(0).stdout.contains("update add, not taken"));
    let mut wire = Wire::to(&server);
    let mut ask = |query: &str| wire.ask("POST", &format!("runs/{id}/updates/add{query}"), "application/json", b"1");
    let (status, answer) = ask("?expires_in=0.1");
    assert_eq!((status, &answer["outcome"], &answer["failure"]["code"]), (200, &json!("failed"), &json!("EXPIRED")));
    assert_eq!(ask("?expires_in=3600&timeout=0.1").0, 202);
    for wrong in ["0", "-1", "soon", "99999999999"] {
        assert_eq!(ask(&format!("?expires_in={wrong}")).0, 400, "{wrong}");
    }
    typed("runs terminate @last").expect(0);
    assert!(typed("runs update @last add -i 3 --id one").expect(3).stderr.contains("EXPIRED"), "also after its end");
    typed("runs update @last add -i 4 --id one").refused(7, "TW0309");
}

#[test]
fn an_update_that_was_asked_before_kill_9_is_answered_once_afterwards() {
    let mut server = Server::with_guest("talks", "");
    let id = begun(&server, "adds");
    let mut total = 0;
    for turn in 1..=4_u32 {
        // Nobody waits for this one: the connection is gone before the answer.
        let mut wire = Wire::to(&server);
        let header = format!("application/json\r\nIdempotency-Key: turn-{turn}");
        let body = turn.to_string();
        wire.send("POST", &format!("runs/{id}/updates/add"), &header, body.len(), body.as_bytes());
        drop(wire);
        server.child.kill().expect("it is there");
        let (_, place) = server.wait();
        server = Server::start(place, "");
        total += 2 * turn;
        for _ in 0..2 {
            let (status, answer) =
                Wire::to(&server).ask("POST", &format!("runs/{id}/updates/add"), &header, body.as_bytes());
            assert_eq!((status, &answer["output"]), (200, &json!(total)), "turn {turn}: {answer}");
        }
    }
    let finished = run(&mut server.trackway("runs update @last finish")).expect(0).json();
    assert_eq!(finished, Value::from("x".repeat(total as usize)));
    let journal = Wire::to(&server).journal(&id);
    assert_eq!(journal.iter().filter(|entry| entry["kind"] == "UpdateReceived").count(), 5);
    let replay = run(&mut server.trackway("replay @last")).expect(0);
    assert_eq!(replay.json()["identical"], true);
}

#[test]
fn a_signal_under_the_id_of_another_one_is_refused_also_after_the_end() {
    let server = Server::with_guest("signals", "");
    begun(&server, "collects -i 2");
    let typed = |words: &str| run(&mut server.trackway(words));
    for _ in 0..2 {
        typed("runs signal @last number -i 1 --id one").expect(0);
    }
    typed("runs signal @last number -i 2 --id one").refused(7, "TW0309");
    typed("runs signal @last other -i 1 --id one").refused(7, "TW0309");
    typed("runs signal @last number -i 2 --id two").expect(0);
    let mut wire = Wire::to(&server);
    while wire.get("runs/@last")["status"] != "succeeded" {}
    typed("runs signal @last number -i 1 --id one").expect(0);
    typed("runs signal @last number -i 3 --id one").refused(7, "TW0309");
    typed("runs signal @last number -i 3 --id three").refused(7, "TW0308");
}
