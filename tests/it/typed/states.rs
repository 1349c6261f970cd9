//! Published state as people meet it: on the command line, over HTTP, and over kill -9.

use serde_json::{Value, json};

use super::wire::Wire;
use super::{Server, run};

fn begun(server: &Server, workflow: &str, input: &str) -> String {
    run(server.trackway(&format!("run {workflow} --detach -o id -i")).arg(input)).expect(0).line().to_owned()
}

#[test]
fn state_is_shown_while_the_run_sleeps_and_when_it_is_over() {
    let server = Server::with_guest("talks", "");
    let id = begun(&server, "climbs", "1");
    let mut wire = Wire::to(&server);
    let path = format!("runs/{id}/state");
    while wire.get(&path)["state"].as_array().is_none_or(|state| state.len() < 2) {}
    let state = wire.get(&path);
    assert_eq!(state["state"][0]["key"], "from");
    assert_eq!(state["state"][0]["value"], "here");
    assert_eq!((&state["state"][1]["key"], &state["state"][1]["value"]), (&json!("height"), &json!(1)));
    assert_eq!(state["cursor"], Value::Null);
    let height = wire.get(&format!("{path}/height"));
    assert_eq!(height, state["state"][1]);
    let entry = &wire.journal(&id)[height["position"].as_u64().expect("a place") as usize];
    assert_eq!((&entry["kind"], &entry["name"], &entry["payload"]), (&json!("Published"), &json!("height"), &json!(1)));

    let typed = |words: &str| run(&mut server.trackway(words));
    assert_eq!(typed(&format!("runs state {id} -o text")).expect(0).stdout, "from    \"here\"\nheight  1\n");
    assert_eq!(typed("runs state @last -o id").expect(0).stdout, "from\nheight\n");
    assert_eq!(typed("runs state @last").expect(0).json()[1]["value"], 1);
    assert_eq!(typed("runs state @last height -o text").expect(0).stdout, "1\n");
    assert_eq!(typed("runs state @last from").expect(0).json(), "here");
    typed("runs state @last depth").refused(4, "TW0333");
    typed("runs state 01zzz").refused(4, "TW0303");
    assert_eq!(wire.ask("GET", &format!("{path}/depth"), "", b"").0, 404);
    let trace = typed("trace @last -o text").expect(0).stdout;
    assert!(trace.contains("publish height"), "{trace}");

    typed("runs terminate @last").expect(0);
    assert_eq!(typed("runs state @last height").expect(0).json(), 1, "also after its end");
}

#[test]
fn much_state_comes_page_by_page() {
    let server = Server::with_guest("talks", "");
    let id = begun(&server, "boasts_much", "null");
    let mut wire = Wire::to(&server);
    while wire.get(&format!("runs/{id}"))["status"] != "succeeded" {}
    let (mut keys, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let page = wire.get(&format!("runs/{id}/state?{cursor}"));
        pages += 1;
        for state in page["state"].as_array().expect("a list") {
            assert_eq!(state["value"].as_str().expect("a text").len(), 200_000);
            keys.push(state["key"].as_str().expect("a key").to_owned());
        }
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("cursor={next}");
    }
    assert_eq!(keys, (10..20).map(|key| format!("key-{key}")).collect::<Vec<_>>());
    assert_eq!(pages, 2);
    assert_eq!(run(&mut server.trackway("runs state @last -o id")).expect(0).stdout.lines().count(), 10);
}

#[test]
fn what_was_seen_is_there_after_kill_9() {
    let mut server = Server::with_guest("talks", "");
    let id = begun(&server, "hurries", "4000");
    let mut last = (0, 0);
    for kill in 0..4 {
        let mut wire = Wire::to(&server);
        // It goes on before it is killed, so that each kill meets it at work.
        loop {
            let (status, seen) = wire.ask("GET", &format!("runs/{id}/state/height"), "", b"");
            if status == 404 && last.0 == 0 {
                continue;
            }
            assert_eq!(status, 200, "what was published is gone: {seen}");
            let now = (seen["position"].as_u64().expect("a place"), seen["value"].as_u64().expect("a number"));
            assert!(now.0 > last.0 && now.1 > last.1 || now == last, "{now:?} after {last:?}");
            if now.1 >= (kill + 1) * 300 {
                last = now;
                break;
            }
            last = now;
        }
        server.child.kill().expect("it is there");
        let (_, place) = server.wait();
        server = Server::start(place, "");
    }
    run(&mut server.trackway(&format!("runs terminate {id}"))).expect(0);
    let journal = Wire::to(&server).journal(&id);
    assert_eq!(
        (&journal[last.0 as usize]["name"], &journal[last.0 as usize]["payload"]),
        (&json!("height"), &json!(last.1))
    );
}
