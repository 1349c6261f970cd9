//! Fields that the operator names are seen nowhere: not on the command line, not on any path of the API. Guests
//! get them all the same.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::wire::Wire;
use super::{KEY, PATIENCE, Place, Server, run, signal};
use crate::rig::guests;

const SECRET: &str = "hunter2-4711";
/// `{"password": "hunter2-4711"}`
const IN_BASE64: &str = "eyJwYXNzd29yZCI6ICJodW50ZXIyLTQ3MTEifQ==";

/// Everything that is answered under the path, also where it is a stream, which ends with its run.
fn read(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let head = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("the server reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Brings the secret wherever a run can bring it.
fn telling() -> Value {
    let secret = json!({ "password": SECRET, "open": 1 });
    let text = secret.to_string();
    let function = json!({ "ops": [
        ["log", "info", format!("password={SECRET}"), text],
        ["emit", "told", secret],
        ["delta", "piece", secret],
        ["get", format!("http://world.test/?password={SECRET}"), ""],
        ["next"],
        ["begin", "tool", "raw", secret, ""],
        ["end", 2, secret],
        ["return", text],
    ] });
    let output = json!({ "Password": SECRET, "headers": [["password", SECRET]], "body": text, "bytes": IN_BASE64,
        "list": [{ "name": "password", "value": SECRET }], "open": "seen" });
    let form = json!({ "title": "Who?", "fields": [{ "name": "password", "kind": "text" }] });
    json!({ "password": { "in": [SECRET] }, "pad": "x".repeat(100_000), "ops": [
        ["log", "info", format!("the password is {SECRET}"), text],
        ["publish", "shown", secret],
        ["emit", "told", secret],
        ["call", "script", function, ""],
        ["next"],
        ["ask", form],
        ["next"],
        ["promise", "paid"],
        ["next"],
        ["return", output.to_string()],
    ] })
}

fn failing() -> Value {
    let failure = json!({ "code": "NO", "message": format!("wrong password: {SECRET}"), "retryable": false,
        "details": { "password": SECRET } });
    json!({ "ops": [["fail", failure.to_string()]] })
}

/// Ids of rows, digests and the like that a path needs, as the journal and the trace have them.
fn found<'a>(value: &'a Value, name: &str, into: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            into.extend((key == name).then(|| value.as_str()).flatten());
            found(value, name, into);
        }),
        Value::Array(items) => items.iter().for_each(|item| found(item, name, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn a_field_that_is_redacted_is_seen_on_no_path_and_by_no_command() {
    let place = Place::new();
    std::fs::write(place.path().join("redact.toml"), "[redact]\nfields = [\"password\"]\n").expect("a file");
    let server = Server::start(place, "--redact redact.toml");
    run(server.trackway("deploy").arg(guests().join("raw.wasm"))).expect(0);
    let mut wire = Wire::to(&server);
    let id = begun(&server, &telling());
    let failed = begun(&server, &failing());
    let secret = json!({ "password": SECRET }).to_string();
    while wire.get("questions")["questions"].as_array().is_none_or(Vec::is_empty) {}
    let question = wire.get("questions")["questions"][0]["step"].clone();
    let answer = json!({ "answer": { "password": SECRET } }).to_string();
    let (status, told) =
        wire.ask("POST", &format!("questions/{id}/{question}/answer"), "application/json", answer.as_bytes());
    assert!(status < 300, "{told}");
    let token = loop {
        let trace = wire.get(&format!("runs/{id}/trace"));
        let mut tokens = BTreeSet::new();
        found(&trace, "token", &mut tokens);
        if let Some(token) = tokens.first() {
            break (*token).to_owned();
        }
    };
    let (status, told) = wire.ask("POST", &format!("promises/{token}/resolve"), "application/json", secret.as_bytes());
    assert!(status < 300, "{told}");
    let (status, told) = wire.ask("PUT", "entities/people/ann", "application/json", secret.as_bytes());
    assert_eq!(status, 200, "{told}");
    while wire.get(&format!("runs/{id}"))["status"] != "succeeded" {}

    let journal = Value::from(wire.journal(&id));
    let mut stored = BTreeSet::new();
    for entry in journal.as_array().expect("entries") {
        for name in ["input_stored", "output_stored", "request_stored", "payload_stored"] {
            stored.extend(entry[name]["digest"].as_str());
        }
    }
    assert!(!stored.is_empty(), "{journal}");
    let component = wire.get(&format!("runs/{id}"))["component"].as_str().expect("a digest").to_owned();
    let paths_of = |template: &str| -> Vec<String> {
        let of_run = |id: &str| template.replace("{id}", id).replace("{question}", &question.to_string());
        match template {
            "/v1/components/{digest}" => vec![template.replace("{digest}", &component)],
            "/v1/deployments/{name}" => vec![template.replace("{name}", "raw")],
            "/v1/tenants/{name}" => vec![template.replace("{name}", "default")],
            "/v1/entities/{name}/{key}" => vec!["/v1/entities/people/ann".to_owned()],
            "/v1/promises/{token}" => vec![template.replace("{token}", &token)],
            "/v1/questions/{id}/{question}" => vec![of_run(&id)],
            "/v1/runs/{id}/state/{key}" => vec![of_run(&id).replace("{key}", "shown")],
            "/v1/runs/{id}/values/{digest}" => {
                stored.iter().map(|digest| of_run(&id).replace("{digest}", digest)).collect()
            }
            "/v1/entities" => vec!["/v1/entities".to_owned(), "/v1/entities?name=people".to_owned()],
            _ => vec![of_run(&id), of_run(&failed)],
        }
    };
    // The store as it is: it is meant for a server, and is no view.
    let shown = |template: &&String| *template != "/v1/store/backup";
    let document: Value = serde_json::from_str(&trackway::api::openapi()).expect("JSON");
    let gets = document["paths"].as_object().expect("paths").iter().filter(|(_, methods)| methods["get"].is_object());
    let templates: Vec<String> = gets.map(|(path, _)| path.clone()).collect();
    let paths: Vec<(&String, String)> = templates
        .iter()
        .filter(shown)
        .flat_map(|template| paths_of(template).into_iter().map(move |path| (template, path)))
        .collect();
    for (_, path) in &paths {
        let answer = read(&server, path);
        assert!(
            !path.contains('{') && answer.lines().next().is_some_and(|line| line.contains(" 200 ")),
            "{path}: {answer}"
        );
        assert!(!answer.contains(SECRET) && !answer.contains(IN_BASE64), "{path}: {answer}");
    }
    assert!(read(&server, &format!("/v1/runs/{id}")).contains("seen"), "what was not named is");
    for words in [
        "runs ls -o json",
        "runs ls -o text",
        "runs describe {} -o text",
        "runs describe {} -o json",
        "trace {} -o text",
        "trace {} --flat -o text",
        "trace {} --step 1 -o text",
        "trace {} --full -o json",
        "trace {} -o jsonl",
        "runs state {} -o text",
        "runs state {} shown",
        "runs stream {} -o jsonl",
        "runs stream {} -o text",
        "logs {} -o text",
        "logs {} -o json",
        "questions ls -o json",
        "inspect trace {} -o text",
    ] {
        for run_id in [&id, &failed] {
            let left = run(&mut server.trackway(&words.replace("{}", run_id)));
            assert!(
                !left.stdout.contains(SECRET) && !left.stderr.contains(SECRET),
                "{words}: {}\n{}",
                left.stdout,
                left.stderr
            );
        }
    }
    run(&mut server.trackway(&format!("trace {id} --full -o json"))).expect(0);
    run(&mut server.trackway(&format!("runs describe {failed} -o text"))).expect(0);

    // Nothing of it was changed: the same store without rules shows all, on every path that has a value.
    signal(&server.child, "TERM");
    let (_, place) = server.wait();
    let server = Server::start(place, "");
    let seen: BTreeSet<&str> = paths
        .iter()
        .filter(|(_, path)| read(&server, path).contains(SECRET))
        .map(|(template, _)| template.as_str())
        .collect();
    let expected = [
        "/v1/entities",
        "/v1/entities/{name}/{key}",
        "/v1/runs",
        "/v1/runs/{id}",
        "/v1/runs/{id}/events",
        "/v1/runs/{id}/journal",
        "/v1/runs/{id}/logs",
        "/v1/runs/{id}/state",
        "/v1/runs/{id}/state/{key}",
        "/v1/runs/{id}/stream",
        "/v1/runs/{id}/trace",
        "/v1/runs/{id}/values/{digest}",
        "/v1/runs/{id}/wait",
    ];
    assert_eq!(seen, BTreeSet::from(expected));
    let output = &Wire::to(&server).get(&format!("runs/{id}"))["output"];
    assert_eq!((&output["Password"], &output["bytes"]), (&json!(SECRET), &json!(IN_BASE64)), "the guest's bytes");
}

#[test]
fn rules_that_cannot_be_kept_are_refused_before_the_server_is_there() {
    for (rules, why) in [
        ("[redact]\nfields = [\"status\"]\n", "the API itself has a field of that name"),
        ("[redact]\nfields = [\"\"]\n", "is no name of a field"),
        ("[redact]\nfield = [\"a\"]\n", "unknown field"),
    ] {
        let place = Place::new();
        std::fs::write(place.path().join("redact.toml"), rules).expect("a file");
        let left = run(&mut place.command("server --listen 127.0.0.1:0 --data data --redact redact.toml"));
        assert!(left.exit != 0 && left.stderr.contains(why), "{rules}: {}", left.stderr);
    }
    let place = Place::new();
    let left = run(&mut place.command("server --listen 127.0.0.1:0 --data data --redact none.toml"));
    assert!(left.exit != 0 && left.stderr.contains("there is no none.toml"), "{}", left.stderr);
}

fn begun(server: &Server, input: &Value) -> String {
    let input_file = server.place.path().join("input.json");
    std::fs::write(&input_file, input.to_string()).expect("a file");
    run(&mut server.trackway("run script --detach -o id -i @input.json")).expect(0).line().to_owned()
}
