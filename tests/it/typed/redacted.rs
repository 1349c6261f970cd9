//! Rules of one tenant: added to those of the server, held for this tenant alone, changed by hand while everything goes on.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _};

use super::masked::{Field, IBAN, PASSWORD, SHOWING, SSN, Told, ask, read, wait};
use super::wire::Wire;
use super::{KEY, Place, Server, run, signal};
use crate::left::Left;
use crate::rig::guests;

/// A server whose operator hides [`IBAN`] from everybody.
fn server_in(place: Place) -> Server {
    std::fs::write(place.path().join("redact.toml"), "[redact]\nfields = [\"iban\"]\n").expect("a file");
    Server::start(place, "--redact redact.toml")
}

fn restarted(server: Server) -> Server {
    signal(&server.child, "TERM");
    let (code, place) = server.wait();
    assert_eq!(code, Some(0));
    server_in(place)
}

/// Makes a tenant. Answers a key of it.
fn tenant(server: &Server, name: &str, scope: &str) -> String {
    // It may be there.
    run(&mut server.trackway(&format!("tenants create {name}")));
    let made = run(&mut server.trackway(&format!("keys create --tenant {name} --scope {scope} {scope} -o id")));
    made.expect(0).line().to_owned()
}

fn typed(server: &Server, key: &str, words: &str) -> Left {
    run(server.trackway(words).env("TRACKWAY_KEY", key))
}

/// Each of the fields: hidden everywhere, or seen wherever it can be.
fn check(server: &Server, told: &Told, hidden: &[Field], shown: &[Field]) {
    told.hides(server, hidden);
    told.tells_nothing_of(server, hidden);
    for field in shown {
        assert_eq!(told.shows(server, *field), SHOWING.map(str::to_owned).into(), "{}", field.name);
    }
}

#[test]
fn each_tenant_hides_its_own_fields_on_every_path_and_nobody_elses() {
    let server = server_in(Place::new());
    let (one, two) = (tenant(&server, "one", "admin"), tenant(&server, "two", "admin"));
    typed(&server, &one, "redact add PassWord").expect(0);
    typed(&server, &two, "redact set ssn").expect(0);
    let fields = [IBAN, PASSWORD, SSN];
    let [first, second, default] = [&one, &two, KEY].map(|key| Told::by(&server, key, &fields));
    check(&server, &first, &[IBAN, PASSWORD], &[SSN]);
    check(&server, &second, &[IBAN, SSN], &[PASSWORD]);
    check(&server, &default, &[IBAN], &[PASSWORD, SSN]);
    // The operator sees of a tenant what the tenant sees.
    let seen = typed(&server, KEY, &format!("trace {} --full -o json --tenant one", first.id)).expect(0).stdout;
    assert!(SSN.is_in(&seen) && !PASSWORD.is_in(&seen) && !IBAN.is_in(&seen), "{seen}");
    let looked = typed(&server, KEY, "doctor --deep -o json").expect(0).stdout;
    assert!(![IBAN, PASSWORD, SSN].iter().any(|field| field.is_in(&looked)), "{looked}");

    // A restart, a backup that another server takes, and what another tenant does change nothing of that.
    let server = restarted(server);
    first.hides(&server, &[PASSWORD]);
    typed(&server, &two, "redact set --none").expect(0);
    first.hides(&server, &[PASSWORD]);
    assert_eq!(second.shows(&server, SSN), SHOWING.map(str::to_owned).into());
    typed(&server, &two, "redact add ssn").expect(0);
    typed(&server, KEY, "backup all.trackway").expect(0);
    typed(&server, &one, "redact rm password").expect(0);
    assert_eq!(first.shows(&server, PASSWORD), SHOWING.map(str::to_owned).into());
    signal(&server.child, "TERM");
    let (_, place) = server.wait();
    run(&mut place.command("restore all.trackway --data fresh")).expect(0);
    std::fs::remove_dir_all(place.path().join("data")).expect("the old one");
    std::fs::rename(place.path().join("fresh"), place.path().join("data")).expect("the new one");
    let server = server_in(place);
    first.hides(&server, &[PASSWORD]);
    second.hides(&server, &[SSN]);
    // With its tenant it goes.
    typed(&server, KEY, "tenants rm two --yes").expect(0);
    let two = tenant(&server, "two", "admin");
    assert_eq!(typed(&server, &two, "redact show -o id").expect(0).stdout, "");
}

#[test]
fn a_rule_holds_at_once_for_whoever_looks_and_for_streams_that_are_open() {
    let server = Server::start(Place::new(), "");
    let one = tenant(&server, "one", "admin");
    run(server.trackway("deploy").env("TRACKWAY_KEY", &one).arg(guests().join("raw.wasm"))).expect(0);
    let secret = json!({ "password": PASSWORD.value });
    let form = json!({ "title": "Go on?", "fields": [{ "name": "on", "kind": "text" }] });
    let input = json!({ "ops": [
        ["emit", "told", secret], ["ask", form], ["next"], ["emit", "told", secret], ["return", secret.to_string()],
    ] });
    std::fs::write(server.place.path().join("input.json"), input.to_string()).expect("a file");
    let id = typed(&server, &one, "run script --detach -o id -i @input.json").expect(0).line().to_owned();
    let mut wire = Wire::with(&server, &one);
    let question = wait(|| {
        let step = wire.get("questions")["questions"][0]["step"].clone();
        (!step.is_null()).then(|| step.to_string())
    });
    // Each has told what it could by now.
    let mut streams =
        ["stream", "events"].map(|what| BufReader::new(ask(&server, &one, &format!("/v1/runs/{id}/{what}"))));
    for stream in &mut streams {
        let mut line = String::new();
        while !PASSWORD.is_in(&line) {
            line.clear();
            assert!(stream.read_line(&mut line).expect("it goes on") > 0, "it ended");
        }
    }
    let waiting = ask(&server, &one, &format!("/v1/runs/{id}/wait"));
    typed(&server, &one, "redact add password").expect(0);
    let path = format!("questions/{id}/{question}/answer");
    let (status, told) = wire.ask("POST", &path, "application/json", br#"{"answer":{"on":"yes"}}"#);
    assert!(status < 300, "{told}");
    // What the server wrote before the rule was there may still be on its way: all that is new is not.
    for mut stream in streams.into_iter().chain([BufReader::new(waiting)]) {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("it ends");
        assert!(rest.contains("[redacted]") && !PASSWORD.is_in(&rest), "{rest}");
    }
}

#[test]
fn rules_are_shown_set_and_changed_by_whoever_may_and_never_loosen_the_servers() {
    let server = server_in(Place::new());
    let (one, two) = (tenant(&server, "one", "admin"), tenant(&server, "two", "admin"));
    let own = |words: &str| typed(&server, &one, words);
    assert_eq!(own("redact show -o text").expect(0).stdout, "iban  (of the server)\n");
    own("redact add Password ssn").expect(0);
    own("redact add ssn iban").expect(0);
    assert_eq!(own("redact show -o id").expect(0).stdout, "iban\npassword\nssn\n");
    let shown = json!({ "fields": ["iban", "password", "ssn"], "server_fields": ["iban"] });
    assert_eq!(own("redact show -o json").expect(0).json(), shown);
    assert_eq!(own("redact rm iban -o json").expect(0).json()["fields"], json!(["password", "ssn"]));
    let left = own("redact rm iban").refused(2, "TW0604");
    assert!(left.stderr.contains("by whoever runs the server"), "{}", left.stderr);
    let left = own("redact rm pasword").refused(2, "TW0604");
    assert!(left.stderr.contains("is not among the fields"), "{}", left.stderr);
    for (words, why) in [
        ("redact add status", "the API itself has a field of that name"),
        ("redact set good server_fields", "the API itself has a field of that name"),
        ("redact add a/b", "is no name of a field"),
    ] {
        let left = own(words).refused(2, "TW0604");
        assert!(left.stderr.contains(why), "{words}: {}", left.stderr);
    }
    let many: Vec<String> = (0..100).map(|number| format!("f{number}")).collect();
    let left = own(&format!("redact add {}", many.join(" "))).refused(2, "TW0604");
    assert!(left.stderr.contains("more than 100 fields"), "{}", left.stderr);
    own("redact set").expect(2);
    own("redact add").expect(2);
    assert_eq!(own("redact show -o id").expect(0).stdout, "password\nssn\n", "what was refused changed nothing");
    let mut wire = Wire::with(&server, &one);
    for body in ["", "[]", "{}", r#"{"fields":[],"more":1}"#, r#"{"fields":"a"}"#, r#"{"fields":[7]}"#, "{"] {
        for (method, path) in [("PUT", "redaction"), ("POST", "redaction/add"), ("POST", "redaction/remove")] {
            let (status, told) = wire.ask(method, path, "application/json", body.as_bytes());
            assert_eq!((status, &told["code"]), (400, &json!("TW0604")), "{method} {path} {body}: {told}");
        }
    }

    // Nobody else: not with another scope, and not for another tenant.
    for scope in ["read", "run", "signal", "deploy"] {
        let key = tenant(&server, "one", scope);
        for words in ["redact show", "redact set --none", "redact add a", "redact rm ssn"] {
            typed(&server, &key, words).refused(5, "TW0701");
        }
    }
    typed(&server, &two, "redact set --none --tenant one").refused(4, "TW0702");
    assert_eq!(typed(&server, &two, "redact show -o json").expect(0).json()["fields"], json!([]));
    assert_eq!(typed(&server, KEY, "redact rm ssn --tenant one -o id").expect(0).stdout, "password\n");
    typed(&server, "tw_nobody", "redact show").refused(5, "TW0603");

    // It is in the log who did that, and not what they said.
    let audit = own("audit -o jsonl").expect(0).stdout;
    let lines: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let done = |what: &str, status: u64, who: &str| {
        let is_it = |line: &&Value| line["what"] == what && line["status"] == status;
        lines.iter().filter(is_it).any(|line| line["who"].as_str().is_some_and(|by| by.starts_with(who)))
    };
    assert!(done("POST /v1/redaction/add", 200, "key_") && done("POST /v1/redaction/add", 400, "key_"), "{audit}");
    assert!(done("PUT /v1/redaction", 403, "key_") && done("POST /v1/redaction/remove", 200, "operator"), "{audit}");
    let server = restarted(server);
    assert_eq!(typed(&server, &one, "redact show -o id").expect(0).stdout, "password\n");
    // Its own name of a field is masked in an error too.
    let told = read(&server, &one, "/v1/runs?since=password%3Dhunter2-4711");
    assert!(told.contains(" 400 ") && !PASSWORD.is_in(&told), "{told}");
}
