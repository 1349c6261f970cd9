//! Models and providers that say what they like: too much, too deep, in no order, for any price. The host stands, the run
//! comes to an end that says why, and nobody is shown what they must not see.

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use trackway::api::model;
use trackway_replay::Status;

use super::agents::{calls, output, says, site, tools_answered};
use super::mcp::borrowing;
use super::provider::{Act, Asked, Provider, Says, events, events_head, stream};
use super::{Asking, trackway};
use crate::server::Server;

/// A call of a tool with arguments as they are.
fn raw(asked: &Asked, name: &str, arguments: &str) -> Vec<Act> {
    stream(asked.protocol(), &Says { calls: &[("c", name, arguments)], ..Says::default() })
}

/// What could move a cursor or hide a word on somebody's terminal.
fn is_tricky(c: char) -> bool {
    (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_model_calls_is_told_apart_and_shown_as_it_is() {
    let site = site().await;
    let provider = Provider::start(|asked| match tools_answered(asked) {
        _ if asked.body["model"] == "n" => says(asked, "\u{1b}[2J\u{202e}no"),
        0 => raw(asked, "read", &"[".repeat(50_000)),
        1 => raw(asked, "read", &format!("{{\"input\":{}1{}}}", "[".repeat(500), "]".repeat(500))),
        2 => raw(asked, "\u{1b}[31mread\u{9b}2J\u{202e}", "{}"),
        3 => raw(asked, "read", &json!({ "input": "x".repeat(2 << 20) }).to_string()),
        4 => raw(asked, "read", "{\"input\": 1e999}"),
        5 => raw(asked, "read", "{\"input\": 18446744073709551616}"),
        6 => raw(asked, "read", "{\"input\": 1, \"input\": 7}"),
        7 => raw(asked, &"r".repeat(2 << 20), ""),
        8 => raw(asked, "consult", "{\"input\": \"\u{1f9ff}\\u0000 \\\"{{secret:KEY}}\\\" $SCRIPTED_KEY\"}"),
        _ => says(asked, "done\u{1b}[0m"),
    })
    .await;
    let asking = borrowing(&provider, &[site.origin()]).await;
    let run = asking.server.run("models/works", &json!({ "site": site.origin() })).await;
    let answer = output(&asking, run).await["output"].clone();
    assert_eq!(answer, "done\u{1b}[0m");
    let told = provider.log().pop().expect("it was asked").body["messages"].clone();
    let told: Vec<&str> = told
        .as_array()
        .expect("messages")
        .iter()
        .filter(|said| said["role"] == "tool")
        .map(|said| said["content"].as_str().expect("text"))
        .collect();
    assert!(told.iter().all(|text| text.len() < 4_096), "{:?}", told.iter().map(|text| text.len()).collect::<Vec<_>>());
    let is_error = |text: &str| text.starts_with("BAD_INPUT") || text.starts_with("UNKNOWN_TOOL");
    let reads: Vec<&str> = told.iter().filter(|text| !is_error(text)).copied().collect();
    // Of a field that is there twice the last one counts, as anywhere in JSON.
    assert!(reads.len() == 2 && reads[0].ends_with("This is page /7."), "{reads:?}");
    assert_eq!(reads[1], "\u{1b}[2J\u{202e}no", "what a model says is passed on as it is");
    assert_eq!(site.log().len(), 1);
    assert!(asking.server.replay(run).await.identical);
    asking.told_no_secret();
    for words in
        ["trace {} -o text", "trace {} --step 1 -o text", "trace {} --flat -o text", "runs describe {} -o text"]
    {
        let shown = trackway(&asking.server, &words.replace("{}", &run.to_string())).expect(0).stdout;
        let tricky: Vec<char> = shown.chars().filter(|c| is_tricky(*c)).collect();
        assert!(tricky.is_empty(), "{words}: {tricky:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_beyond_all_measure_are_sums_that_stop_at_their_end() {
    let site = site().await;
    let provider = Provider::start(|asked| {
        let says = Says { input_tokens: u64::MAX, output_tokens: u64::MAX, cached_tokens: 5, ..Says::default() };
        let arguments = json!({ "input": 1 }).to_string();
        match tools_answered(asked) {
            2 => stream(asked.protocol(), &Says { pieces: &["done"], ..says }),
            _ => stream(asked.protocol(), &Says { calls: &[("c", "read", arguments.as_str())], ..says }),
        }
    })
    .await;
    let asking = borrowing(&provider, &[site.origin()]).await;
    let run = asking.server.run("models/works", &json!({ "site": site.origin() })).await;
    let done = output(&asking, run).await;
    assert_eq!((&done["usage"]["input_tokens"], &done["cost"]), (&json!(u64::MAX), &json!(u64::MAX)));
    let spending = asking.server.wait(run).await.spending.expect("it asked models");
    assert_eq!((spending.calls, spending.cost_nanousd, spending.unpriced_calls), (3, u64::MAX, 0));
    let dear = "$18446744073.709551615";
    for words in ["trace @last -o text", "runs describe @last -o text"] {
        let shown = trackway(&asking.server, words).expect(0).stdout;
        assert!(shown.contains(dear), "{words}: {shown}");
    }
    let found = trackway(&asking.server, "runs ls -o id --min-cost 18446744073.709551615").expect(0).stdout;
    assert_eq!(found.trim(), run.to_string());
    // A budget says no to the second call of such a model, and does not count around the end.
    let job = json!({ "site": site.origin(), "tokens": u64::MAX });
    let run = asking.server.wait(asking.server.run("models/works", &job).await).await;
    assert_eq!((run.status, run.code.as_deref()), (Status::Failed, Some("BUDGET_EXCEEDED")), "{run:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pieces_that_nobody_reads_holds_nothing_up() {
    const PIECES: usize = 30_000;
    let piece = "0123456789 ".repeat(4);
    let provider = Provider::start(move |asked| {
        let pieces = vec![piece.as_str(); PIECES];
        let all = events(asked.protocol(), &Says { pieces: &pieces, ..Says::default() });
        let sent = all.chunks(64).map(|events| Act::Send(events.concat()));
        [events_head()].into_iter().chain(sent).chain([Act::End]).collect()
    })
    .await;
    let asking = Asking::new(&provider, "models").await;
    let talk = json!({ "model": "scripted/m", "calls": 1, "deltas": "token" });
    // They connect, and read nothing.
    let idle = reqwest::Client::builder().no_proxy().build().expect("a client");
    let run = asking.server.run("models/talks", &talk).await;
    let url = format!("{}/v1/runs/{run}/stream", asking.server.url);
    let mut idlers = Vec::new();
    for _ in 0..4 {
        idlers.push(idle.get(&url).bearer_auth(crate::server::KEY).send().await.expect("it answers"));
    }
    let ended = tokio::time::timeout(Duration::from_secs(120), asking.server.wait(run)).await.expect("it ends");
    assert_eq!(ended.status, Status::Succeeded, "{ended:?}");
    let text: Value = serde_json::from_str(ended.output.expect("it has one").get()).expect("JSON");
    assert_eq!(text["texts"][0].as_str().map(str::len), Some(PIECES * 44), "the guest gets all of it");
    // Who comes late gets what is held, is told that something is missing, and the end.
    let late =
        idle.get(&url).bearer_auth(crate::server::KEY).send().await.expect("it answers").text().await.expect("text");
    assert!(late.contains("event: reset") && late.contains("event: end"), "{}", &late[..late.len().min(500)]);
    let told = late.matches("event: delta").count();
    assert!(told > 0 && told < PIECES, "{told}");
    assert!(asking.server.memory_bytes() < 1 << 30, "{}", asking.server.memory_bytes());
    drop(idlers);
}

/// What nobody is to see of what is said with a model.
const HIDDEN: &str = "4111-hunter2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_is_redacted_is_seen_in_no_view_of_an_agent() {
    let site = site().await;
    let provider = Provider::start(|asked| match tools_answered(asked) {
        _ if asked.body["model"] == "n" => says(asked, &format!("the password {HIDDEN} is fine")),
        0 => calls(asked, "pay", &json!({ "cents": 5, "password": HIDDEN })),
        1 => calls(asked, "consult", &json!({ "input": format!("Is password={HIDDEN} good?") })),
        2 => raw(asked, "consult", &format!("{{\"input\": \"half of it\", \"password\": \"{HIDDEN}\"")),
        _ => says(asked, &format!("{{\"password\": \"{HIDDEN}\"}}")),
    })
    .await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = |more: &str| std::fs::write(folder.path().join("trackway.toml"), provider.settings() + more);
    settings("[redact]\nfields = [\"password\"]\n").expect("writable");
    let server = Server::start(folder.path(), super::WITH_KEY).await;
    let component = server.upload("models").await.digest;
    let deploy = json!({ "component": component, "allow_models": ["scripted/*"], "allow_hosts": [site.origin()] });
    let _: model::Deployment = server.send(Method::PUT, "deployments/models", &deploy).await;
    let run = server.run("models/works", &json!({ "site": site.origin(), "deltas": "said" })).await;
    let question = loop {
        let found: Value = server.get("questions").await;
        assert!(!found.to_string().contains(HIDDEN), "{found}");
        if let Some(question) = found["questions"].get(0) {
            break question.clone();
        }
    };
    let name = format!("{}.{}", question["step"], question["effect"]);
    let shown: Value = server.get(&format!("questions/{run}/{name}")).await;
    assert!(shown["title"] == "May agent worker call pay?" && !shown.to_string().contains(HIDDEN), "{shown}");
    let shown = trackway(&server, &format!("questions show {run} {name} -o text")).expect(0).stdout;
    assert!(!shown.contains(HIDDEN), "{shown}");
    trackway(&server, &format!("questions answer {run} {name} -i {{\"approve\":true}}")).expect(0);
    assert_eq!(server.wait(run).await.status, Status::Succeeded);

    let views = |server: &Server| {
        let mut seen = Vec::new();
        let journal = trackway(server, &format!("trace {run} --full -o json")).expect(0).stdout;
        for words in [
            "trace {} -o text",
            "trace {} -o json",
            "trace {} -o jsonl",
            "trace {} --flat -o text",
            "trace {} --step 1 -o text",
            "trace {} --step 1 -o json",
            "runs describe {} -o text",
            "runs describe {} -o json",
            "runs ls -o json",
            "runs stream {} -o jsonl",
            "runs stream {} -o text",
            "logs {} -o json",
        ] {
            let left = trackway(server, &words.replace("{}", &run.to_string())).expect(0);
            seen.push((words.to_owned(), left.stdout + &left.stderr));
        }
        seen.push(("trace --full".to_owned(), journal));
        seen
    };
    for (view, text) in views(&server) {
        assert!(!text.contains(HIDDEN), "{view}: {text}");
    }
    let entries = server.journal(run).await;
    let entries = serde_json::to_string(&entries).expect("JSON");
    assert!(!entries.contains(HIDDEN), "{entries}");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for path in ["stream", "events", "trace", "journal", "wait", "logs"] {
        let url = format!("{}/v1/runs/{run}/{path}", server.url);
        let text = client.get(url).bearer_auth(crate::server::KEY).send().await.expect("it answers").text().await;
        let text = text.expect("text");
        assert!(!text.is_empty() && !text.contains(HIDDEN), "{path}: {text}");
    }
    assert!(!server.log().contains(HIDDEN));
    // The model was told all of it, and without the rule everybody sees it.
    let log = provider.log();
    assert!(log.last().is_some_and(|asked| asked.body.to_string().contains(HIDDEN)));
    server.kill().await;
    settings("").expect("writable");
    let server = Server::start(folder.path(), super::WITH_KEY).await;
    let seen = views(&server).into_iter().filter(|(_, text)| text.contains(HIDDEN)).count();
    assert!(seen >= 6, "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_conversation_is_followed_as_it_grows_and_each_answer_is_told_once() {
    const CALLS: usize = 150;
    let provider = Provider::start(|asked| says(asked, &format!("{} {}", asked.number, "word ".repeat(200)))).await;
    let asking = Asking::new(&provider, "models").await;
    let run = asking.server.run("models/talks", &json!({ "model": "scripted/m", "calls": CALLS })).await;
    let words = format!("trace {run} --follow -o jsonl");
    let told = tokio::task::block_in_place(|| trackway(&asking.server, &words)).expect(0).stdout;
    let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let rows = events.iter().flat_map(|event| event["rows"].as_array().expect("rows"));
    let answered = |row: &&Value| row["what"].get("model").is_some() && row["status"] == "succeeded";
    let ids: Vec<String> = rows.filter(answered).map(|row| row["id"].to_string()).collect();
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (CALLS, CALLS), "each once");
    assert_eq!(events.last().map(|event| &event["run"]["status"]), Some(&json!("succeeded")));
    assert_eq!(asking.server.wait(run).await.spending.map(|spending| spending.calls), Some(CALLS as u64));
}
