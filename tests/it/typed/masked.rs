//! Fields that the operator names are seen nowhere: not on the command line, not on any path of the API. Guests
//! get them all the same.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use super::wire::Wire;
use super::{KEY, PATIENCE, Place, Server, run, signal};
use crate::rig::guests;

/// A field that runs bring everywhere, and what stands in it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub value: &'static str,
    /// `{"NAME": "VALUE"}`
    pub in_base64: &'static str,
}

pub const PASSWORD: Field =
    Field { name: "password", value: "hunter2-4711", in_base64: "eyJwYXNzd29yZCI6ICJodW50ZXIyLTQ3MTEifQ==" };
pub const SSN: Field = Field { name: "ssn", value: "078-05-1120", in_base64: "eyJzc24iOiAiMDc4LTA1LTExMjAifQ==" };
pub const IBAN: Field = Field { name: "iban", value: "GB33BUKB2020", in_base64: "eyJpYmFuIjogIkdCMzNCVUtCMjAyMCJ9" };

/// Paths of the API, as the document has them, under which such a value is seen.
pub const SHOWING: [&str; 13] = [
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

/// What prints a run; `{}` is its id.
pub const COMMANDS: [&str; 17] = [
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
];

impl Field {
    pub fn is_in(&self, text: &str) -> bool {
        text.contains(self.value) || text.contains(self.in_base64)
    }
}

/// Asks on a connection of its own.
pub fn ask(server: &Server, key: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let head = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("the server reads");
    stream
}

/// Everything that is answered under the path, also where it is a stream, which ends with its run.
pub fn read(server: &Server, key: &str, path: &str) -> String {
    let mut answer = Vec::new();
    ask(server, key, path).read_to_end(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks until there is something.
pub fn wait<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not come");
    }
}

/// An object of all fields.
fn all(fields: &[Field]) -> Value {
    fields.iter().map(|field| (field.name.to_owned(), json!(field.value))).collect::<serde_json::Map<_, _>>().into()
}

/// Brings the fields wherever a run can bring them, each in texts of its own.
fn telling(fields: &[Field]) -> Value {
    let secret = all(fields);
    let mut logs = Vec::new();
    let mut asks = Vec::new();
    for Field { name, value, .. } in fields {
        let text = json!({ *name: value, "open": 1 }).to_string();
        logs.push(json!(["log", "info", format!("the {name} is {value}"), text]));
        asks.push(json!(["get", format!("http://world.test/?{name}={value}"), ""]));
        asks.push(json!(["next"]));
    }
    let mut function = logs.clone();
    function.extend([json!(["emit", "told", secret]), json!(["delta", "piece", secret])]);
    function.extend(asks);
    function.push(json!(["begin", "tool", "raw", secret, ""]));
    // After the requests.
    function.push(json!(["end", fields.len() + 1, secret]));
    function.push(json!(["return", secret.to_string()]));
    let of_field = |field: &Field| {
        let Field { name, value, in_base64 } = field;
        let capital = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
        json!({ capital: value, "headers": [[name, value]], "body": json!({ *name: value }).to_string(),
            "bytes": in_base64, "list": [{ "name": name, "value": value }] })
    };
    let output = json!({ "of": fields.iter().map(of_field).collect::<Vec<_>>(), "open": "seen" });
    let form_field = |field: &Field| json!({ "name": field.name, "kind": "text" });
    let form = json!({ "title": "Who?", "fields": fields.iter().map(form_field).collect::<Vec<_>>() });
    let mut ops = logs;
    ops.extend([
        json!(["publish", "shown", secret]),
        json!(["emit", "told", secret]),
        json!(["call", "script", { "ops": function }, ""]),
        json!(["next"]),
        json!(["ask", form]),
        json!(["next"]),
        json!(["promise", "paid"]),
        json!(["next"]),
        json!(["return", output.to_string()]),
    ]);
    let mut input = json!({ "pad": "x".repeat(100_000), "ops": ops });
    for Field { name, value, .. } in fields {
        input[name] = json!({ "in": [value] });
    }
    input
}

fn failing(field: Field) -> Value {
    let message = format!("wrong {}: {}", field.name, field.value);
    let failure = json!({ "code": "NO", "message": message, "retryable": false, "details": all(&[field]) });
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

/// What a tenant has after its runs told of the fields in every way that there is.
pub struct Told {
    pub key: String,
    /// The run that succeeded.
    pub id: String,
    /// One for each field.
    failed: Vec<String>,
    question: String,
    token: String,
    component: String,
    stored: BTreeSet<String>,
}

impl Told {
    pub fn by(server: &Server, key: &str, fields: &[Field]) -> Told {
        run(server.trackway("deploy").env("TRACKWAY_KEY", key).arg(guests().join("raw.wasm"))).expect(0);
        let mut wire = Wire::with(server, key);
        let id = begun(server, key, &telling(fields));
        let failed = fields.iter().map(|field| begun(server, key, &failing(*field))).collect();
        let secret = all(fields).to_string();
        let question = wait(|| {
            let step = wire.get("questions")["questions"][0]["step"].clone();
            (!step.is_null()).then(|| step.to_string())
        });
        let answer = json!({ "answer": all(fields) }).to_string();
        let path = format!("questions/{id}/{question}/answer");
        let (status, told) = wire.ask("POST", &path, "application/json", answer.as_bytes());
        assert!(status < 300, "{told}");
        let token = wait(|| {
            let trace = wire.get(&format!("runs/{id}/trace"));
            let mut tokens = BTreeSet::new();
            found(&trace, "token", &mut tokens);
            tokens.first().map(|token| (*token).to_owned())
        });
        let path = format!("promises/{token}/resolve");
        let (status, told) = wire.ask("POST", &path, "application/json", secret.as_bytes());
        assert!(status < 300, "{told}");
        let (status, told) = wire.ask("PUT", "entities/people/ann", "application/json", secret.as_bytes());
        assert_eq!(status, 200, "{told}");
        wait(|| (wire.get(&format!("runs/{id}"))["status"] == "succeeded").then_some(()));
        let mut stored = BTreeSet::new();
        for entry in wire.journal(&id) {
            for name in ["input_stored", "output_stored", "request_stored", "payload_stored"] {
                stored.extend(entry[name]["digest"].as_str().map(str::to_owned));
            }
        }
        assert!(!stored.is_empty(), "nothing stands beside the journal");
        let component = wire.get(&format!("runs/{id}"))["component"].as_str().expect("a digest").to_owned();
        Told { key: key.to_owned(), id, failed, question, token, component, stored }
    }

    /// Whatever can be read of it: the path as the document has it, and filled in.
    pub fn paths(&self) -> Vec<(String, String)> {
        let document: Value = serde_json::from_str(&trackway::api::openapi()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths").iter();
        let gets = paths.filter(|(_, methods)| methods["get"].is_object()).map(|(path, _)| path.as_str());
        // The store as it is: it is meant for a server, and is no view.
        let shown = gets.filter(|template| *template != "/v1/store/backup");
        shown.flat_map(|path| self.filled(path).into_iter().map(move |filled| (path.to_owned(), filled))).collect()
    }

    fn filled(&self, template: &str) -> Vec<String> {
        let of_run = |id: &str| template.replace("{id}", id).replace("{question}", &self.question);
        match template {
            "/v1/components/{digest}" => vec![template.replace("{digest}", &self.component)],
            "/v1/deployments/{name}" => vec![template.replace("{name}", "raw")],
            template if template.starts_with("/v1/tenants/") => vec![template.replace("{name}", "default")],
            "/v1/entities/{name}/{key}" => vec!["/v1/entities/people/ann".to_owned()],
            "/v1/promises/{token}" => vec![template.replace("{token}", &self.token)],
            "/v1/questions/{id}/{question}" => vec![of_run(&self.id)],
            "/v1/runs/{id}/state/{key}" => vec![of_run(&self.id).replace("{key}", "shown")],
            "/v1/runs/{id}/values/{digest}" => {
                self.stored.iter().map(|digest| of_run(&self.id).replace("{digest}", digest)).collect()
            }
            "/v1/entities" => vec!["/v1/entities".to_owned(), "/v1/entities?name=people".to_owned()],
            template if template.contains("{id}") => self.runs().map(|id| of_run(id)).collect(),
            _ => vec![template.to_owned()],
        }
    }

    fn runs(&self) -> impl Iterator<Item = &String> {
        [&self.id].into_iter().chain(&self.failed)
    }

    /// None of the fields is seen on any path.
    pub fn hides(&self, server: &Server, fields: &[Field]) {
        for (_, path) in self.paths() {
            let answer = read(server, &self.key, &path);
            let seen = fields.iter().find(|field| field.is_in(&answer));
            assert!(!path.contains('{') && seen.is_none(), "{seen:?} under {path}: {answer}");
        }
    }

    /// Nor by any command.
    pub fn tells_nothing_of(&self, server: &Server, fields: &[Field]) {
        for (words, id) in COMMANDS.iter().flat_map(|words| self.runs().map(move |id| (words, id))) {
            let left = run(server.trackway(&words.replace("{}", id)).env("TRACKWAY_KEY", &self.key));
            let printed = format!("{}\n{}", left.stdout, left.stderr);
            let seen = fields.iter().find(|field| field.is_in(&printed));
            assert!(seen.is_none(), "{seen:?} by {words}: {printed}");
        }
    }

    /// Under these paths of the document.
    pub fn shows(&self, server: &Server, field: Field) -> BTreeSet<String> {
        let shown = self.paths().into_iter().filter(|(_, path)| field.is_in(&read(server, &self.key, path)));
        shown.map(|(template, _)| template).collect()
    }
}

fn begun(server: &Server, key: &str, input: &Value) -> String {
    let input_file = server.place.path().join("input.json");
    std::fs::write(&input_file, input.to_string()).expect("a file");
    let mut command = server.trackway("run script --detach -o id -i @input.json");
    run(command.env("TRACKWAY_KEY", key)).expect(0).line().to_owned()
}

#[test]
fn a_field_that_is_redacted_is_seen_on_no_path_and_by_no_command() {
    let place = Place::new();
    std::fs::write(place.path().join("redact.toml"), "[redact]\nfields = [\"password\"]\n").expect("a file");
    let server = Server::start(place, "--redact redact.toml");
    let told = Told::by(&server, KEY, &[PASSWORD]);
    for (_, path) in told.paths() {
        let answer = read(&server, KEY, &path);
        assert!(answer.lines().next().is_some_and(|line| line.contains(" 200 ")), "{path}: {answer}");
    }
    told.hides(&server, &[PASSWORD]);
    told.tells_nothing_of(&server, &[PASSWORD]);
    let (id, failed) = (&told.id, &told.failed[0]);
    assert!(read(&server, KEY, &format!("/v1/runs/{id}")).contains("seen"), "what was not named is");
    run(&mut server.trackway(&format!("trace {id} --full -o json"))).expect(0);
    run(&mut server.trackway(&format!("runs describe {failed} -o text"))).expect(0);

    // Nothing of it was changed: the same store without rules shows all, on every path that has a value.
    signal(&server.child, "TERM");
    let (_, place) = server.wait();
    let server = Server::start(place, "");
    assert_eq!(told.shows(&server, PASSWORD), SHOWING.map(str::to_owned).into());
    let output = &Wire::to(&server).get(&format!("runs/{id}"))["output"]["of"][0];
    assert_eq!((&output["Password"], &output["bytes"]), (&json!(PASSWORD.value), &json!(PASSWORD.in_base64)));
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
