//! What a function gets of a model, whoever speaks, and what people are shown of it.

use serde_json::{Value, json};

use super::provider::{Act, Protocol, Provider, Says, events, events_head, json_head, plain, stream};
use super::{Asking, SECRET, request, trackway};

const MODELS: [&str; 3] = ["scripted/m", "scripted-r/m", "scripted-a/m"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_protocol_gives_the_same_answer() {
    let calls = [("c1", "weather", "{\"city\":\"Bern\"}"), ("c2", "no such tool", "{oops")];
    let provider = Provider::start(move |asked| {
        stream(asked.protocol(), &Says { pieces: &["It ", "is ", "ü"], calls: &calls, ..Says::default() })
    })
    .await;
    let asking = Asking::new(&provider, "raw").await;
    for model in MODELS {
        let mut answer = asking.answer(&request(model)).await;
        let name = model.split('/').next().expect("a provider");
        let id = answer["id"].take();
        assert!(id.as_str().is_some_and(|id| id.ends_with("-1")), "{id}");
        let expected = json!({
            "provider": name, "model": "m-2026-01-01", "id": null, "content": "It is ü",
            // Hostile or not, the guest gets what the model said, and nothing has been done with it.
            "tool_calls": [{ "id": "c1", "name": "weather", "arguments": "{\"city\":\"Bern\"}" },
                           { "id": "c2", "name": "no such tool", "arguments": "{oops" }],
            "finish_reason": "tool_calls",
            "usage": { "input_tokens": 100, "output_tokens": 10, "cached_tokens": 20, "cache_write_tokens": 0 },
            "cost_nanousd": 80 * 1_000 + 20 * 500 + 10 * 10_000,
            "price": { "input": 1_000_000_000, "output": 10_000_000_000_u64, "cached": 500_000_000 },
            "tries": [],
        });
        assert_eq!(answer, expected, "{model}");
    }
    let log = provider.log();
    let paths: Vec<&str> = log.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/v1/chat/completions", "/v1/responses", "/v1/messages"]);
    for asked in &log {
        let is_anthropic = asked.protocol() == Protocol::Messages;
        let sent = if is_anthropic { asked.header("x-api-key") } else { asked.header("authorization") };
        assert_eq!(sent.trim_start_matches("Bearer "), SECRET, "{asked:?}");
        assert_eq!((&asked.body["stream"], &asked.body["model"]), (&json!(true), &json!("m")));
        assert_eq!(asked.key().len(), 32, "a key that the host derives: {}", asked.key());
    }
    asking.told_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_streamed_and_one_of_two_megabytes_are_whole() {
    let long = "x".repeat(2 << 20);
    let said = long.clone();
    let provider = Provider::start(move |asked| match asked.number {
        1 => {
            let answer = json!({ "id": "chat-1", "model": "m", "usage": { "prompt_tokens": 3, "completion_tokens": 4 },
                "choices": [{ "message": { "content": "whole" }, "finish_reason": "length" }] });
            plain(200, json_head(), answer.to_string())
        }
        _ => stream(asked.protocol(), &Says { pieces: &[&said], ..Says::default() }),
    })
    .await;
    let asking = Asking::new(&provider, "raw").await;
    let answer = asking.answer(&request("scripted/m")).await;
    assert_eq!((&answer["content"], &answer["finish_reason"]), (&json!("whole"), &json!("length")));
    assert_eq!((&answer["usage"]["output_tokens"], &answer["cost_nanousd"]), (&json!(4), &json!(43_000)));
    let answer = asking.answer(&request("scripted-a/m")).await;
    assert_eq!(answer["content"].as_str(), Some(long.as_str()));
    let rows_of = |words: &str| -> Value {
        let trace = trackway(&asking.server, words).expect(0).stdout;
        serde_json::from_str::<Value>(&trace).expect("JSON")["rows"].take()
    };
    let model = |rows: &Value| -> Value {
        let rows = rows.as_array().expect("rows");
        rows.iter().find(|row| row["what"].get("model").is_some()).expect("it asked a model")["output"].clone()
    };
    let short = model(&rows_of("trace @last -o json"));
    assert!(short["payload"]["size_bytes"].as_u64() > Some(512), "{short}");
    let full = rows_of("trace @last --full -o json");
    assert_eq!(model(&full)["json"]["content"].as_str(), Some(long.as_str()), "{full}");
    assert!(!full.to_string().contains("\"payload\""), "{full}");
    trackway(&asking.server, "trace @last --full -o text").expect(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_cost_stand_in_journal_trace_and_views_and_add_up() {
    let provider = Provider::start(|asked| {
        let text = format!("answer {}", asked.turns());
        stream(asked.protocol(), &Says { pieces: &[&text], ..Says::default() })
    })
    .await;
    let asking = Asking::new(&provider, "models").await;
    let server = &asking.server;
    let talk = json!({ "model": "scripted/m", "calls": 3 });
    let run = server.wait(server.run("models/talks", &talk).await).await;
    let output: Value = serde_json::from_str(run.output.as_ref().expect("it succeeded").get()).expect("JSON");
    assert_eq!(output["texts"], json!(["answer 1", "answer 2", "answer 3"]));
    let spending = serde_json::to_value(run.spending.expect("it asked models")).expect("JSON");
    let expected = json!({ "calls": 3, "input_tokens": 300, "output_tokens": 30, "cached_tokens": 60,
        "cache_write_tokens": 0, "cost_nanousd": 3 * 190_000, "unpriced_calls": 0 });
    assert_eq!(spending, expected);
    assert_eq!((&output["cost_nanousd"], &output["tokens"]), (&expected["cost_nanousd"], &json!(330)));
    let trace: Value = server.get(&format!("runs/{}/trace", run.id)).await;
    let rows = trace["trace"]["rows"].as_array().expect("rows");
    let models: Vec<&Value> = rows.iter().filter_map(|row| row["what"].get("model")).collect();
    assert_eq!(models.len(), 3, "{trace}");
    for model in models {
        assert_eq!((&model["model"], &model["answered_by"]), (&json!("scripted/m"), &json!("m-2026-01-01")));
        assert_eq!((&model["cost_nanousd"], &model["finish"]), (&json!(190_000), &json!("stop")));
        assert_eq!(model["usage"]["input_tokens"], json!(100));
    }
    assert_eq!(trace["trace"]["totals"]["spending"]["cost_nanousd"], json!(570_000));
    let used = server.journal(run.id).await.into_iter().filter(|entry| entry.kind == "ModelUsed").count();
    assert_eq!(used, 3);
    let told = trackway(server, &format!("runs describe {} -o text", run.id)).expect(0).stdout;
    assert!(told.contains("3 model calls; tokens 300 in (60 cached), 30 out; $0.00057"), "{told}");
    let told = trackway(server, &format!("trace {} -o text", run.id)).expect(0).stdout;
    assert!(told.contains("model scripted/m “call 2”") && told.contains("$0.00019"), "{told}");
    assert!(told.contains("3 model calls; tokens 300 in (60 cached), 30 out; $0.00057"), "{told}");
    // What was asked and answered is there to be read, however long.
    let told = trackway(server, &format!("trace {} --step 1 -o text", run.id)).expect(0).stdout;
    assert!(told.contains("number 3") && told.contains("answer 2") && !told.contains("beside the journal"), "{told}");
    assert!(told.contains("answered by") && told.contains("m-2026-01-01") && told.contains("finish reason"), "{told}");
    for (least, count) in [("0.00057", 1), ("0.000570001", 0), ("$0", 1)] {
        let listed = trackway(server, &format!("runs ls -o id --min-cost {least}")).expect(0).stdout;
        assert_eq!(listed.lines().count(), count, "{least}: {listed}");
    }
    // A run that goes on keeps its sum, however often it is taken up.
    let run = server.run("models/goes_on", &talk).await;
    let run = server.wait(run).await;
    assert_eq!(run.spending.map(|spending| (spending.calls, spending.cost_nanousd)), Some((3, 570_000)), "{run:?}");
    asking.told_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_granted_or_set_up_is_told_with_what_to_do() {
    let provider = Provider::start(|asked| stream(asked.protocol(), &Says::default())).await;
    let asking = Asking::new(&provider, "raw").await;
    let unknown = |failure: &Value, hint: &str| {
        assert_eq!((&failure["code"], &failure["retryable"]), (&json!("MODEL_UNKNOWN"), &json!(false)));
        assert!(failure["message"].as_str().is_some_and(|message| message.contains(hint)), "{failure}");
    };
    let failure = asking.failure(&request("openai/gpt-4o"), &json!({})).await;
    unknown(&failure, "trackway deploy --allow-model openai/gpt-4o");
    let failure = asking.failure(&json!({ "model": "scripted/m", "messages": [] }), &json!({})).await;
    assert_eq!(failure["code"], "BAD_REQUEST");
    let failure = asking.failure(&request("scripted/m"), &json!({ "tokens": 1 })).await;
    assert_eq!(failure["code"], "BAD_OPTIONS");
    // Granted, but nobody set it up; and one whose key is not there.
    let deploy = "deploy raw.wasm --name raw --allow-model scripted/m --allow-model nobody/* --allow-model groq/*";
    trackway(&asking.server, deploy).expect(0);
    unknown(&asking.failure(&request("nobody/m"), &json!({})).await, "[providers.nobody]");
    unknown(&asking.failure(&request("scripted/other"), &json!({})).await, "--allow-model scripted/other");
    let failure = asking.failure(&request("groq/m"), &json!({})).await;
    assert_eq!((&failure["code"], &failure["retryable"]), (&json!("MODEL_AUTH"), &json!(false)));
    assert!(failure["message"].as_str().is_some_and(|message| message.contains("GROQ_API_KEY")), "{failure}");
    assert_eq!(provider.log().len(), 0, "nothing reached anybody");
    let listed = trackway(&asking.server, "deployments ls -o text").expect(0).stdout;
    assert!(listed.contains("groq/*, nobody/*, scripted/m"), "{listed}");
}

/// The words of a tool's answer and of its error reach the model in its own protocol, and an attempt that was resumed
/// sends what it would have sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_asked_again_after_a_failed_attempt_has_the_same_key() {
    let provider = Provider::start(|asked| {
        let text = format!("answer {}", asked.turns());
        let mut acts = vec![events_head()];
        acts.extend(events(asked.protocol(), &Says { pieces: &[&text], ..Says::default() }).into_iter().map(Act::Send));
        acts.push(Act::End);
        acts
    })
    .await;
    let asking = Asking::new(&provider, "models").await;
    let talk = json!({ "model": "scripted-a/m", "calls": 3 });
    let run = asking.server.wait(asking.server.run("models/tries_again", &talk).await).await;
    assert!(run.output.is_some(), "{run:?}");
    let log = provider.log();
    let keys: Vec<&str> = log.iter().map(|asked| asked.key()).collect();
    // The last answer of the failed attempt is asked for again, and no other.
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert_eq!(keys[2], keys[3]);
    assert_eq!(run.spending.map(|spending| spending.calls), Some(4), "both were paid for");
}
