//! Steps that wait for a person, and what the person types to let them go on.

use serde_json::{Value, json};

use super::{PATIENCE, Server, run};

fn until(server: &Server, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let found = run(&mut server.trackway(&format!("runs describe {id}"))).expect(0).json();
        if is_so(&found) {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not come to that: {found}");
    }
}

fn is_parked(found: &Value) -> bool {
    found["status"] == "waiting" && found["waiting"] == "retry" && found["due_at"].is_null()
}

fn start(server: &Server, workflow: &str, input: Value) -> String {
    let words = format!("run {workflow} --detach -o id -i");
    run(server.trackway(&words).arg(input.to_string())).expect(0).line().to_owned()
}

#[test]
fn a_parked_step_is_tried_again_until_it_works() {
    let server = Server::with_guest("mending", "");
    let typed = |words: &str| run(&mut server.trackway(words));
    let id = start(&server, "tries", json!({"url": "", "until": 4, "how": "park"}));
    until(&server, &id, is_parked);
    let trace = typed("trace @last -o text").expect(0).stdout;
    assert!(trace.contains("NOT_YET") && trace.contains("runs retry"), "{trace}");
    let told = typed("runs retry @last --step 9").refused(7, "TW0315").stderr;
    assert!(told.contains("steps that wait for a person: 1"), "{told}");
    typed("runs retry @last --with nowhere").refused(4, "TW0301");
    typed("runs retry 01zzz").refused(4, "TW0303");
    typed("runs retry @last --step one").expect(2);
    // The two attempts that it was given failed; the third fails too, the fourth does not.
    typed("runs retry @last").expect(0);
    let done = until(&server, &id, |found| found["status"] == "succeeded");
    assert_eq!(done["output"], 4);
    typed("runs retry @last").refused(7, "TW0308");
    typed("replay @last").expect(0);
}

#[test]
fn one_step_goes_on_with_newer_code_and_the_run_keeps_its_own() {
    let server = Server::with_guest("mending", "");
    let typed = |words: &str| run(&mut server.trackway(words));
    let id = start(&server, "tries", json!({"url": "", "until": 3, "how": "park"}));
    until(&server, &id, is_parked);
    let path = crate::rig::guests().join("hello.wasm");
    run(server.trackway("deploy --name other").arg(path)).expect(0);
    let told = typed("runs retry @last --step 1 --with other").refused(2, "TW0604").stderr;
    assert!(told.contains("no function `fail_until`"), "{told}");
    let path = crate::rig::guests().join("mending.wasm");
    run(server.trackway("deploy --name fixed").arg(path)).expect(0);
    typed("runs retry @last --step 1 --with fixed").expect(0);
    assert_eq!(until(&server, &id, |found| found["status"] == "succeeded")["output"], 3);
    let trace = typed("trace @last -o text").expect(0).stdout;
    assert!(trace.contains("fixed"), "{trace}");
}

#[test]
fn a_person_says_what_became_of_a_request_that_was_cut_off() {
    // It takes requests and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let origin = format!("http://{}", silent.local_addr().expect("bound"));
    let server = Server::with_guest("mending", &format!("--allow-host {origin}"));
    let ids: Vec<String> = (0..2).map(|_| start(&server, "pays", json!({"url": origin, "how": "ask"}))).collect();
    let _requests: Vec<_> = (0..2).map(|_| silent.accept().expect("a request in flight")).collect();
    super::signal(&server.child, "KILL");
    let (_, place) = server.wait();
    let server = Server::start(place, "");
    let typed = |words: &str| run(&mut server.trackway(words));
    for (id, verdict, output) in [(&ids[0], "fail", json!("AMBIGUOUS")), (&ids[1], "answer", json!("7"))] {
        until(&server, id, is_parked);
        typed(&format!("runs retry {id} --effect maybe")).expect(2);
        let mut command = server.trackway(&format!("runs retry {id} --step 1 --effect {verdict}"));
        if verdict == "answer" {
            command.args(["--answer", r#"{"status": 200, "headers": [], "body": "7", "tries": []}"#]);
        }
        run(&mut command).expect(0);
        assert_eq!(until(&server, id, |found| found["status"] == "succeeded")["output"], output);
        typed(&format!("replay {id}")).expect(0);
    }
}
