//! A provider that misbehaves: each trouble is told apart, tried again where that may help, and never ends the host.

use serde_json::{Value, json};
use std::time::{Duration, Instant};

use super::provider::{Act, Asked, Protocol, Provider, Says, events, events_head, json_head, plain, stream};
use super::{Asking, request};

fn well(asked: &Asked) -> Vec<Act> {
    stream(asked.protocol(), &Says { pieces: &["fine"], ..Says::default() })
}

fn error(status: u16, headers: Vec<(&'static str, String)>, kind: &str, message: &str) -> Vec<Act> {
    let body = json!({ "error": { "type": kind, "code": kind, "message": message } });
    plain(status, [json_head(), headers].concat(), body.to_string())
}

/// The first request gets this, the others an answer.
async fn once(first: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> (Provider, Asking) {
    let provider = Provider::start(move |asked| if asked.number == 1 { first(asked) } else { well(asked) }).await;
    let asking = Asking::new(&provider, "raw").await;
    (provider, asking)
}

/// It is tried again under the same key, and the answer names the try before.
async fn passes(first: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static, tried: &str) {
    let (provider, asking) = once(first).await;
    let answer = asking.answer(&request("scripted/m")).await;
    assert_eq!(answer["content"], "fine");
    let tries = answer["tries"].to_string();
    assert!(tries.contains(tried), "{tried}: {tries}");
    let log = provider.log();
    assert_eq!(log.len(), 2, "{tried}");
    assert_eq!(log[0].key(), log[1].key(), "{tried}");
    asking.told_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_tried_again_under_the_same_key() {
    let seconds = |seconds: &str| vec![("retry-after", seconds.to_owned())];
    let begun = Instant::now();
    passes(move |_| error(429, seconds("1"), "rate_limit_exceeded", "slow down"), "429").await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "it waited as long as it was told to");
    passes(|_| error(500, vec![], "server_error", "oops"), "500").await;
    passes(|_| error(529, vec![], "overloaded_error", "Overloaded"), "529").await;
    passes(|_| vec![Act::Cut], "MODEL_BROKEN").await;
    let half = |asked: &Asked| {
        let mut acts = vec![events_head()];
        acts.extend(
            events(asked.protocol(), &Says { pieces: &["fi"], ..Says::default() }).into_iter().take(2).map(Act::Send),
        );
        acts
    };
    passes(move |asked| [half(asked), vec![Act::Cut]].concat(), "MODEL_BROKEN").await;
    passes(move |asked| [half(asked), vec![Act::End]].concat(), "MODEL_BROKEN").await;
    passes(|_| vec![events_head(), Act::Send("data: {nonsense\n\n".to_owned()), Act::End], "MODEL_BROKEN").await;
    passes(|_| plain(200, vec![("content-type", "text/html".to_owned())], "<h1>hi</h1>"), "MODEL_BROKEN").await;
    passes(|_| plain(200, json_head(), "[1, 2"), "MODEL_BROKEN").await;
    let busy = "data: {\"error\":{\"type\":\"server_error\",\"message\":\"busy\"}}\n\n";
    passes(|_| vec![events_head(), Act::Send(busy.to_owned()), Act::End], "MODEL_OVERLOADED").await;
}

/// Nothing of it is tried again; the failure says what it was.
async fn fails(acts: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static, code: &str, says: &str) -> Value {
    let provider = Provider::start(acts).await;
    let asking = Asking::new(&provider, "raw").await;
    let failure = asking.failure(&request("scripted/m"), &json!({})).await;
    assert_eq!(failure["code"], code, "{failure}");
    assert!(failure["message"].as_str().is_some_and(|message| message.contains(says)), "{failure}");
    assert_eq!(provider.log().len(), 1, "{failure}");
    asking.told_no_secret();
    failure
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_pass_is_told_apart_and_not_tried_again() {
    fails(|_| error(400, vec![], "context_length_exceeded", "too long"), "MODEL_CONTEXT_TOO_LONG", "too long").await;
    fails(|_| error(400, vec![], "content_filter", "not this"), "MODEL_REFUSED", "not this").await;
    fails(|_| error(404, vec![], "model_not_found", "no m"), "MODEL_UNKNOWN", "no m").await;
    fails(|_| error(429, vec![], "insufficient_quota", "pay first"), "MODEL_FAILED", "pay first").await;
    fails(|_| plain(302, vec![("location", "http://127.0.0.1:1/".to_owned())], ""), "MODEL_FAILED", "302").await;
    // Whoever is asked for a key tells it.
    let echo = |asked: &Asked| error(401, vec![], "invalid_api_key", asked.header("authorization"));
    fails(echo, "MODEL_AUTH", "does not take the host's key").await;
    let echo = |asked: &Asked| error(400, vec![], "odd", asked.header("authorization"));
    fails(echo, "MODEL_FAILED", "Bearer [key]").await;
    let later = |_: &Asked| error(429, vec![("retry-after", "3600".to_owned())], "rate_limit_exceeded", "much later");
    let failure = fails(later, "MODEL_RATE_LIMITED", "much later").await;
    assert_eq!((&failure["retryable"], &failure["retry_after_ms"]), (&json!(true), &json!(3_600_000)));
    let large = |asked: &Asked| {
        stream(asked.protocol(), &Says { pieces: &["x".repeat(1 << 20).as_str(); 9], ..Says::default() })
    };
    let failure = fails(large, "TOO_LARGE", "more than 8388608 bytes").await;
    assert_eq!(failure["retryable"], json!(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_ends_in_time_and_trouble_that_lasts_after_three_tries() {
    let provider = Provider::start(|asked| match asked.protocol() {
        Protocol::Chat => vec![events_head(), Act::Send("data: {}\n\n".to_owned()), Act::Hold],
        _ => error(503, vec![], "server_error", "down"),
    })
    .await;
    let asking = Asking::new(&provider, "raw").await;
    let failure = asking.failure(&request("scripted/m"), &json!({ "timeout_ms": 300 })).await;
    assert_eq!((&failure["code"], &failure["retryable"]), (&json!("MODEL_TIMEOUT"), &json!(true)));
    assert_eq!(provider.log().len(), 1);
    let failure = asking.failure(&request("scripted-a/m"), &json!({})).await;
    assert_eq!((&failure["code"], &failure["retryable"]), (&json!("MODEL_OVERLOADED"), &json!(true)));
    assert_eq!(failure["details"]["tries"], json!([{ "status": 503 }, { "status": 503 }]));
    assert_eq!(provider.log().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_on_the_eighth_of_ten_calls_costs_one_more_call() {
    let provider = Provider::start(|asked| match asked.number {
        8 => error(429, vec![], "rate_limit_exceeded", "slow down"),
        _ => stream(asked.protocol(), &Says { pieces: &[&format!("answer {}", asked.turns())], ..Says::default() }),
    })
    .await;
    let asking = Asking::new(&provider, "models").await;
    let talk = json!({ "model": "scripted/m", "calls": 10 });
    let run = asking.server.wait(asking.server.run("models/talks", &talk).await).await;
    assert!(run.output.is_some(), "{run:?}");
    let log = provider.log();
    assert_eq!(log.len(), 11);
    assert_eq!(log[7].key(), log[8].key());
    assert_eq!(run.spending.map(|spending| spending.calls), Some(10));
}
