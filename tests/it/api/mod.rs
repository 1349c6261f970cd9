//! The API against its own document, asked by a program that others wrote: what the document allows and what it does
//! not, over a real socket, as the operator and as the admin of a tenant. It decides nothing about an answer.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::left::Left;
use crate::proof;
use crate::rig::guests;
use crate::typed::{KEY, Place, Server, run};

const CONFIGURATION: &str = include_str!("schemathesis.toml");
const HOOKS: &str = include_str!("hooks.py");
const DOCUMENT: &str = include_str!("../../../docs/openapi.json");
/// Where the operations stand that have answered, a line each.
const ANSWERED: &str = "answered.txt";
/// For each of the two who ask, where nobody says how long. It ends the step that it is in.
const SHORT: Duration = Duration::from_secs(35);
/// All that it has, but for what the configuration leaves out with a reason, and for `ignored_auth`: that one shows a wrong
/// key again and again, for which the server makes its address wait (429), and takes that for an answer to nobody.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,\
                      allow_header_conformance";
/// A stream of the whole store, as bytes; backups have tests of their own.
const LEFT_OUT: &str = "/v1/store/backup";

/// What can be named in a path.
struct Things {
    runs: Vec<String>,
    ended: String,
    components: Vec<String>,
    tokens: Vec<String>,
    keys: Vec<String>,
}

/// The program, where it is installed.
fn schemathesis() -> Option<PathBuf> {
    let program = guests().with_file_name("tools").join("schemathesis/bin/schemathesis");
    if !program.is_file() {
        proof::not_run(
            "the API against its document",
            "schemathesis is not installed (`cargo xtask check` installs it)",
        );
        return None;
    }
    Some(program)
}

fn typed(server: &Server, key: &str, words: &str) -> Left {
    run(server.trackway(words).env("TRACKWAY_KEY", key))
}

/// Runs that have ended and runs that wait, and whatever else has a name.
fn fill(server: &Server, key: &str) -> Things {
    let begin = |input: Value| {
        std::fs::write(server.place.path().join("input.json"), input.to_string()).expect("a file");
        typed(server, key, "run raw/script --detach -i @input.json").expect(0);
    };
    for guest in ["hello", "raw"] {
        run(server.trackway("deploy").env("TRACKWAY_KEY", key).arg(guests().join(format!("{guest}.wasm")))).expect(0);
    }
    typed(server, key, "run hello/hello").expect(0);
    let ended = typed(server, key, "runs ls -o id").expect(0).line().to_owned();
    begin(json!({ "ops": [["publish", "progress", 1], ["promise", "paid"], ["next"]] }));
    begin(json!({ "ops": [["ask", { "title": "Who?", "fields": [{ "name": "n", "kind": "text" }] }], ["next"]] }));
    typed(server, key, "entities set people ann -i 1").expect(0);
    let listed = typed(server, key, "runs ls -o json").expect(0).json();
    let of = |field: &str| -> Vec<String> {
        let runs = listed.as_array().expect("runs").iter();
        runs.map(|run| run[field].as_str().expect("text").to_owned()).collect()
    };
    let traces = of("id").into_iter().map(|id| typed(server, key, &format!("trace {id} -o json")).expect(0).stdout);
    let token = |trace: String| trace.split('"').find(|text| text.starts_with("pr_")).map(str::to_owned);
    let spare = typed(server, key, "keys create --scope read spare -o json").expect(0).json();
    Things {
        runs: [vec!["@last".to_owned()], of("id")].concat(),
        ended,
        components: of("component"),
        tokens: traces.filter_map(token).collect(),
        keys: vec![spare["key"]["id"].as_str().expect("an id").to_owned()],
    }
}

/// All operations of the document but what is left out, as `GET /v1/runs`.
fn operations() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(DOCUMENT).expect("the document is JSON");
    let mut operations = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let methods = methods.as_object().expect("methods").keys().filter(|_| path != LEFT_OUT);
        operations.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    operations
}

/// Those of them that nobody has had an answer of.
fn unanswered(server: &Server) -> Vec<String> {
    let answered = std::fs::read_to_string(server.place.path().join(ANSWERED)).unwrap_or_default();
    let answered: BTreeSet<&str> = answered.lines().collect();
    operations().into_iter().filter(|operation| !answered.contains(operation.as_str())).collect()
}

/// Asks with that key for a while, for everything or only for some operations. Answers how many requests there were; what
/// is wrong with an answer ends the test.
fn ask(program: &Path, server: &Server, key: &str, things: &Things, only: &[String]) -> u64 {
    let list = |names: &[String]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let configuration = CONFIGURATION
        .replace("RUNS", &list(&things.runs))
        .replace("COMPONENTS", &list(&things.components))
        .replace("TOKENS", &list(&things.tokens))
        .replace("ENDED", &list(std::slice::from_ref(&things.ended)))
        .replace("KEYS", &list(&things.keys));
    let file = server.place.path().join("schemathesis.toml");
    std::fs::write(&file, configuration).expect("a file");
    std::fs::write(server.place.path().join("hooks.py"), HOOKS).expect("a file");
    let seconds = proof::time().map_or(SHORT, |time| time / 2).as_secs().max(1).to_string();
    let mut command = Command::new(program);
    command.env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONPATH", server.place.path());
    command.env("TRACKWAY_ANSWERED", server.place.path().join(ANSWERED));
    command.current_dir(server.place.path()).stdin(Stdio::null()).arg("--config-file").arg(&file).arg("run");
    command.arg(format!("{}/v1/openapi.json", server.url)).arg("-H").arg(format!("Authorization: Bearer {key}"));
    command.args(["--seed", &proof::seed(1).to_string(), "--max-time", &seconds, "--checks", CHECKS]);
    command.args(["--exclude-path", LEFT_OUT, "--generation-database", "none", "--no-color"]);
    command.args(only.iter().flat_map(|operation| ["--include-name", operation.as_str()]));
    let left = Left::of(command.output().expect("schemathesis starts"));
    let asked = left.stdout.lines().find_map(|line| {
        let (number, _) = line.trim().split_once(" generated")?;
        number.replace(',', "").parse().ok()
    });
    assert!(left.exit == 0 && asked.is_some(), "{}\n{}", left.stdout, left.stderr);
    asked.unwrap_or_default()
}

#[test]
fn every_answer_is_as_the_document_says_whatever_is_asked() {
    let Some(program) = schemathesis() else { return };
    let server = Server::start(Place::new(), "");
    // Each made just before it is used: whoever may ask for anything also revokes keys and deletes tenants.
    let admin_of = |tenant: &str| {
        typed(&server, KEY, &format!("tenants create {tenant}")).expect(0);
        let key = typed(&server, KEY, &format!("keys create --tenant {tenant} --scope admin first -o id")).expect(0);
        key.line().to_owned()
    };
    admin_of("acme");
    let mut asked = ask(&program, &server, KEY, &fill(&server, KEY), &[]);
    let admin = admin_of("strict");
    asked += ask(&program, &server, &admin, &fill(&server, &admin), &[]);
    // On a busy machine the time may be over before all had their turn.
    let rest = unanswered(&server);
    if !rest.is_empty() {
        let admin = admin_of("rest");
        asked += ask(&program, &server, &admin, &fill(&server, &admin), &rest);
    }
    assert_eq!(unanswered(&server), Vec::<String>::new(), "of these operations nobody has had an answer");
    proof::checked("requests to the API", asked, 0);
    // It goes on as if nothing had been.
    let later = admin_of("later");
    run(server.trackway("deploy").env("TRACKWAY_KEY", &later).arg(guests().join("hello.wasm"))).expect(0);
    typed(&server, &later, "run hello/hello").expect(0);
    typed(&server, KEY, "doctor --deep").expect(0);
    let log = server.log();
    assert!(!log.contains("panicked") && !log.contains("a bug in the server"), "{log}");
}
