//! Quotas of what leaves a server, of what is said to its log, of components, and of one attempt or instance: each is crossed
//! beside a server outside that counts what reached it. It never looks into the store.

use serde_json::{Value, json};
use std::time::Duration;
use tokio::runtime::Runtime;

use super::masked::wait;
use super::quotas::total_of;
use super::wire::Wire;
use super::{Place, Server, run};
use crate::left::Left;
use crate::rig::guests;
use crate::world::{Reply, World};

/// What a call of the scripted model takes.
const CALL_TOKENS: u64 = 110;
/// 100 tokens given at one dollar for a million, 10 said at ten.
const CALL_NANOUSD: u64 = 200_000;
/// What the server outside answers to whoever fetches.
const ANSWER_BYTES: usize = 5_000;

fn form() -> Value {
    json!({ "title": "Go on?", "fields": [{ "name": "on", "kind": "text" }] })
}

/// A run of the script, which is not waited for.
fn begun(server: &Server, input: &Value) -> String {
    std::fs::write(server.place.path().join("input.json"), input.to_string()).expect("a file");
    server.typed("run script --detach -o id -i @input.json").expect(0).line().to_owned()
}

/// Answers the question of a run once it asks.
fn go_on(wire: &mut Wire, id: &str) {
    let question = wait(|| {
        let questions = wire.get("questions")["questions"].clone();
        let of_run = questions.as_array()?.iter().find(|question| question["run"] == id)?;
        Some(of_run["step"].to_string())
    });
    let path = format!("questions/{id}/{question}/answer");
    let (status, told) = wire.ask("POST", &path, "application/json", br#"{"answer":{"on":"yes"}}"#);
    assert!(status < 300, "{told}");
}

fn lines(wire: &mut Wire, id: &str) -> Vec<(String, String)> {
    let page = wire.get(&format!("runs/{id}/logs"));
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let lines = page["lines"].as_array().expect("a list").iter();
    lines.map(|line| (text(&line["level"]), text(&line["message"]))).collect()
}

/// How much of the quota is used, as the tenant is told.
fn used(server: &Server, flags: &str, quota: &str) -> Value {
    let usage = server.typed(&format!("usage {flags} -o json")).expect(0).json();
    let quotas = usage["quotas"].as_array().expect("a list");
    quotas.iter().find(|known| known["name"] == quota).expect("each quota is listed")["used"].clone()
}

/// A tenant with a key of its own.
fn tenant(server: &Server, name: &str) -> String {
    server.typed(&format!("tenants create {name}")).expect(0);
    server.typed(&format!("keys create --tenant {name} --scope admin first -o id")).expect(0).line().to_owned()
}

fn replays(server: &Server, flags: &str) {
    let runs = server.typed(&format!("runs ls --limit 100 -o id {flags}")).expect(0).stdout;
    assert!(!runs.is_empty());
    for id in runs.lines() {
        server.typed(&format!("replay {id} {flags}")).expect(0);
    }
}

#[test]
fn log_lines_over_the_quota_of_the_day_are_dropped_one_says_so_and_the_run_goes_on() {
    let server = Server::start(Place::new(), "");
    server.deployed("raw", "");
    let mut other = Wire::with(&server, &tenant(&server, "beta"));
    server.deployed("raw", "--tenant beta");
    server.typed("tenants quota default --set log_bytes_per_day=100").expect(0);
    let mut wire = Wire::to(&server);
    let said = "x".repeat(200);
    let function = json!({ "ops": [["log", "info", "by the function", ""], ["return", "1"]] });
    // Once it asks, what it said before stands and is counted.
    let id = begun(
        &server,
        &json!({ "ops": [
            ["log", "info", said, ""],
            ["ask", form()],
            ["next"],
            ["log", "info", "second", ""],
            ["log", "error", "third", ""],
            ["call", "script", function, ""],
            ["next"],
            ["return", "7"],
        ] }),
    );
    go_on(&mut wire, &id);
    server.until(&id, "", |run| run["status"] == "succeeded" && run["output"] == 7);
    let notice = |line: &(String, String)| {
        line.0 == "warn" && line.1.contains("`log_bytes_per_day`") && line.1.contains("lines are dropped until")
    };
    let found = lines(&mut wire, &id);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0] == ("info".to_owned(), said) && notice(&found[1]), "{found:?}");

    // A later run says it once more, and nothing else; another tenant's lines stand.
    let more = json!({ "ops": [["log", "info", "more", ""], ["log", "info", "and more", ""], ["return", "1"]] });
    let later = wire.run("script", &more)["id"].as_str().expect("an id").to_owned();
    let found = lines(&mut wire, &later);
    assert!(found.len() == 1 && notice(&found[0]), "{found:?}");
    let of_other = other.run("script", &more)["id"].as_str().expect("an id").to_owned();
    assert_eq!(lines(&mut other, &of_other).len(), 2);
    assert!(used(&server, "", "log_bytes_per_day").as_u64() >= Some(200));

    server.typed("tenants quota default --unset log_bytes_per_day").expect(0);
    let again = wire.run("script", &more)["id"].as_str().expect("an id").to_owned();
    let kept = lines(&mut wire, &again).into_iter().map(|(_, message)| message);
    assert_eq!(kept.collect::<Vec<_>>(), ["more", "and more"]);
    replays(&server, "");
}

/// A provider of models that says the same to everybody.
async fn provider() -> World {
    let answer = json!({ "id": "chat-1", "model": "m", "usage": { "prompt_tokens": 100, "completion_tokens": 10 },
        "choices": [{ "message": { "content": "fine" }, "finish_reason": "stop" }] });
    World::start(move |_| Reply {
        status: 200,
        headers: vec![("content-type", "application/json".to_owned())],
        body: answer.to_string(),
        after: Duration::ZERO,
    })
    .await
}

/// A server that knows the provider.
fn asking(provider: &World) -> Server {
    let place = Place::new();
    let settings = format!(
        "[providers.scripted]\nprotocol = \"openai-chat\"\nurl = \"{}/v1\"\nkey_env = \"SCRIPTED_KEY\"\n\
         [providers.scripted.prices]\n\"m\" = {{ input = 1, output = 10, cached = 0.5 }}\n",
        provider.origin()
    );
    std::fs::write(place.path().join("providers.toml"), settings).expect("a file");
    Server::start_with(place, "127.0.0.1:0", "--providers providers.toml", &[("SCRIPTED_KEY", "sk-scripted")])
}

/// A function that asks so often, each time when it has its answer.
fn asks(calls: usize) -> Value {
    let request = json!({ "model": "scripted/m", "messages": [{ "role": "user", "content": "hi" }] });
    let ops: Vec<Value> = (0..calls).flat_map(|_| [json!(["model", request, "{}"]), json!(["next"])]).collect();
    json!({ "ops": [["call", "script", { "ops": ops }, ""], ["next"]] })
}

/// How each of the calls ended, as the function was told: kind and body.
fn answers(run: &Value) -> Vec<(String, Value)> {
    let told = run["output"][1][2].as_str().unwrap_or_else(|| panic!("the function told nothing: {run}"));
    let told: Value = serde_json::from_str(told).expect("JSON");
    let completions = told.as_array().expect("a list").iter().filter(|told| told.is_array());
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    completions
        .map(|completion| (text(&completion[0]), serde_json::from_str(&text(&completion[2])).expect("JSON")))
        .collect()
}

#[track_caller]
fn expect_refused((kind, failure): &(String, Value), quota: &str) {
    assert_eq!((kind.as_str(), &failure["code"]), ("failed", &json!("QUOTA_EXCEEDED")), "{failure}");
    let says = failure["message"].as_str().is_some_and(|message| message.contains(&format!("`{quota}`")));
    assert!(says && failure["retryable"] == false, "{failure}");
}

#[test]
fn a_model_is_not_asked_any_more_once_the_tokens_or_the_cost_of_the_day_are_used_up() {
    let runtime = Runtime::new().expect("a runtime");
    let provider = runtime.block_on(provider());
    let server = asking(&provider);
    server.deployed("raw", "--allow-model scripted/*");
    let asked = || provider.log().len() as u64;
    for (quota, limit, each) in
        [("model_tokens_per_day", "110", CALL_TOKENS), ("model_cost_per_day", "0.0002usd", CALL_NANOUSD)]
    {
        let name = quota.replace('_', "-");
        let of = format!("--tenant {name}");
        let mut wire = Wire::with(&server, &tenant(&server, &name));
        server.deployed("raw", &format!("{of} --allow-model scripted/*"));
        server.typed(&format!("tenants quota {name} --set {quota}={limit}")).expect(0);
        let before = asked();
        let passed = answers(&wire.run("script", &asks(1)));
        assert!(passed.len() == 1 && passed[0].0 == "succeeded", "{quota}: {passed:?}");
        assert_eq!((asked() - before, used(&server, &of, quota)), (1, json!(each)), "{quota}");

        // Nothing more reaches the provider; somebody else's calls do.
        let refused = answers(&wire.run("script", &asks(2)));
        assert_eq!(refused.len(), 2, "{refused:?}");
        refused.iter().for_each(|refused| expect_refused(refused, quota));
        assert_eq!((asked() - before, used(&server, &of, quota)), (1, json!(each)), "{quota}");
        let of_other = answers(&Wire::to(&server).run("script", &asks(1)));
        assert_eq!((of_other[0].0.as_str(), asked() - before), ("succeeded", 2), "{quota}");

        // One that crosses it on its way: what was under way by then may come through, and no more.
        server.typed(&format!("tenants quota {name} --set {quota}={}", each + 1)).expect(0);
        let way = answers(&wire.run("script", &asks(6)));
        let passed = way.iter().take_while(|(kind, _)| kind == "succeeded").count();
        assert!(way.len() == 6 && (1..=2).contains(&passed), "{quota}: {way:?}");
        way[passed..].iter().for_each(|refused| expect_refused(refused, quota));
        assert_eq!(asked() - before, 2 + passed as u64, "{quota}");

        // What was refused stays so, and what comes is not.
        server.typed(&format!("tenants quota {name} --unset {quota}")).expect(0);
        replays(&server, &of);
        assert_eq!(asked() - before, 2 + passed as u64, "a replay asks nobody");
        assert_eq!(answers(&wire.run("script", &asks(1)))[0].0, "succeeded");
        assert_eq!(used(&server, &of, quota), json!(each * (passed as u64 + 2)), "{quota}");
    }
}

/// A site whose pages have [`ANSWER_BYTES`], and that answers what is posted with a number.
async fn site() -> World {
    World::start(|asked| match asked.method.as_str() {
        "POST" => Reply::ok("7"),
        _ => Reply::ok("y".repeat(ANSWER_BYTES)),
    })
    .await
}

#[track_caller]
fn expect_over(left: &Left, quota: &str) {
    let told = format!("{}{}", left.stdout, left.stderr);
    assert_eq!(left.exit, 3, "{told}");
    assert!(told.contains("QUOTA_EXCEEDED") && told.contains(&format!("`{quota}`")), "{told}");
}

#[test]
fn nothing_leaves_any_more_once_the_requests_or_the_bytes_of_the_day_are_used_up() {
    let runtime = Runtime::new().expect("a runtime");
    let site = runtime.block_on(site());
    let server = Server::start(Place::new(), "");
    let url = json!(site.origin()).to_string();
    for name in ["default", "requests", "bytes"] {
        if name != "default" {
            tenant(&server, name);
        }
        server.deployed("effects", &format!("--tenant {name} --allow-host {}", site.origin()));
    }
    let fetch = |name: &str| run(server.trackway(&format!("run fetches --tenant {name} -i")).arg(&url));
    let seen = || site.log().len();

    // Two requests are let out, and nothing of the third.
    server.typed("tenants quota requests --set egress_requests_per_day=2").expect(0);
    fetch("requests").expect(0);
    fetch("requests").expect(0);
    expect_over(&fetch("requests"), "egress_requests_per_day");
    assert_eq!(seen(), 2);
    fetch("default").expect(0);
    // What was asked for counts, also where it was refused.
    assert_eq!(total_of(&server, "--tenant requests")["egress_requests"], json!(3));
    // The same within one run, of which each step asks when the one before it was answered.
    server.typed("tenants quota requests --set egress_requests_per_day=5").expect(0);
    let before = seen();
    let plan = json!({ "url": site.origin(), "steps": 6, "requests": 1 }).to_string();
    let posts = || run(server.trackway("run posts --tenant requests -i").arg(&plan));
    expect_over(&posts(), "egress_requests_per_day");
    assert_eq!(seen() - before, 2);

    // One answer is more than all that may come in a day.
    server.typed("tenants quota bytes --set egress_bytes_per_day=4KiB").expect(0);
    let before = seen();
    fetch("bytes").expect(0);
    expect_over(&fetch("bytes"), "egress_bytes_per_day");
    assert_eq!(seen() - before, 1);
    let bytes = total_of(&server, "--tenant bytes")["egress_bytes"].as_u64();
    assert!(bytes >= Some(ANSWER_BYTES as u64), "{bytes:?}");

    // The quotas are gone: what was refused stays so when it is replayed, and what comes is let out.
    server.typed("tenants quota requests --unset egress_requests_per_day").expect(0);
    server.typed("tenants quota bytes --unset egress_bytes_per_day").expect(0);
    let before = seen();
    for name in ["requests", "bytes"] {
        replays(&server, &format!("--tenant {name}"));
    }
    assert_eq!(seen(), before, "a replay touches nothing");
    fetch("bytes").expect(0);
    assert_eq!(posts().expect(0).stdout, "42\n");
    assert_eq!(seen() - before, 7);
}

#[test]
fn an_upload_over_a_quota_says_on_the_wire_which_one_it_was_and_stores_nothing() {
    let server = Server::with_guest("sleeper", "");
    let mut wire = Wire::to(&server);
    let bytes_of = |guest: &str| std::fs::read(guests().join(format!("{guest}.wasm"))).expect("it was built");
    let (known, more) = (bytes_of("sleeper"), bytes_of("hello"));
    let mut upload = |bytes: &[u8]| wire.ask("POST", "components", "application/wasm", bytes);
    let stored = used(&server, "", "component_bytes").as_u64().expect("a number");
    assert!(stored > 0);
    for (quota, limit) in [("components", 1), ("component_bytes", stored), ("component_bytes", stored + 1)] {
        server.typed(&format!("tenants quota default --set {quota}={limit}")).expect(0);
        let (status, problem) = upload(&more);
        assert_eq!((status, &problem["code"]), (507, &json!("TW0709")), "{quota}: {problem}");
        let in_use = if quota == "components" { 1 } else { stored };
        assert_eq!(problem["quota"], json!({ "name": quota, "limit": limit, "used": in_use }));
        // What is there already takes no room.
        let (status, told) = upload(&known);
        assert_eq!(status, 200, "{quota}: {told}");
        assert_eq!(used(&server, "", "components"), json!(1), "{quota}");
        assert_eq!(used(&server, "", "component_bytes"), json!(stored), "{quota}");
        server.typed(&format!("tenants quota default --unset {quota}")).expect(0);
    }
    let (status, told) = upload(&more);
    assert_eq!(status, 201, "{told}");
    assert_eq!(used(&server, "", "components"), json!(2));
}

/// A workflow whose function asks for so many effects, one after the other; what came of the call.
fn effects(count: usize) -> Value {
    json!(["call", "script", { "ops": [["repeat", count, [["sleep", 1, ""], ["next"]]], ["return", "9"]] }, ""])
}

#[test]
fn an_attempt_that_asks_for_more_effects_than_it_may_fails_and_a_run_keeps_what_it_began_with() {
    let server = Server::start(Place::new(), "");
    server.deployed("raw", "");
    let mut wire = Wire::to(&server);
    let before = begun(&server, &json!({ "ops": [["ask", form()], ["next"], effects(5), ["next"]] }));
    server.typed("tenants quota default --set effects_per_attempt=3").expect(0);
    let within = wire.run("script", &json!({ "ops": [effects(3), ["next"]] }));
    assert_eq!((&within["output"][1][0], &within["output"][1][2]), (&json!("succeeded"), &json!("9")), "{within}");
    let over = wire.run("script", &json!({ "ops": [effects(4), ["next"]] }));
    let told = &over["output"][1];
    assert_eq!((&over["status"], &told[0]), (&json!("succeeded"), &json!("failed")), "{over}");
    let failure: Value = serde_json::from_str(told[2].as_str().expect("a body")).expect("JSON");
    assert_eq!((&failure["code"], &failure["retryable"]), (&json!("TOO_MANY"), &json!(false)), "{failure}");
    assert!(failure["message"].as_str().is_some_and(|it| it.contains("`effects_per_attempt`")), "{failure}");
    // One that began before has what it began with.
    go_on(&mut wire, &before);
    let ended = server.until(&before, "", |run| run["status"] == "succeeded");
    assert_eq!(ended["output"][3][0], "succeeded", "{ended}");
    server.typed("tenants quota default --unset effects_per_attempt").expect(0);
    replays(&server, "");
}

#[test]
fn an_instance_that_takes_more_memory_than_its_quota_says_ends_its_run() {
    let server = Server::with_guest("values", "");
    let large = json!({ "bytes": 12_000_000 }).to_string();
    let result = || run(server.trackway("run large_result -o json -i").arg(&large));
    server.typed("tenants quota default --set memory_per_instance=8MiB").expect(0);
    let left = result().expect(3);
    assert!(left.stderr.contains("OUT_OF_MEMORY") && left.stderr.contains("`memory_per_instance`"), "{}", left.stderr);
    server.typed("tenants quota default --unset memory_per_instance").expect(0);
    replays(&server, "");
    result().expect(0);
}
