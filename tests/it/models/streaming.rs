//! What a model says reaches those who follow the run as it comes.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use trackway_replay::RunId;

use super::Asking;
use super::provider::{Act, Provider, Says, events, events_head};
use crate::server::{KEY, Server};

/// What is promised.
const LATE: Duration = Duration::from_millis(50);
const PIECES: [&str; 4] = ["one ", "two ", "three ", "four"];

/// Somebody who follows a run over HTTP.
pub(super) struct Reader {
    response: reqwest::Response,
    text: String,
    /// Of the last event that had one.
    last: Option<String>,
}

impl Reader {
    pub(super) async fn of(server: &Server, run: RunId) -> Reader {
        Reader::after(server, run, None).await
    }

    /// Goes on after an event that was heard.
    async fn after(server: &Server, run: RunId, last: Option<String>) -> Reader {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.get(format!("{}/v1/runs/{run}/stream", server.url)).bearer_auth(KEY);
        let request = match &last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        };
        Reader { response: request.send().await.expect("it answers"), text: String::new(), last }
    }

    /// The next event's name and data.
    pub(super) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let found = line("event:").map(str::to_owned).zip(line("data:").map(str::to_owned));
                self.last = line("id:").map(str::to_owned).or(self.last.take());
                self.text = rest.to_owned();
                if let Some((name, data)) = found {
                    return Some((name, serde_json::from_str(&data).expect("JSON")));
                }
                continue;
            }
            let chunk = self.response.chunk().await.ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_piece_is_told_within_50_ms_and_none_twice() {
    let provider = Provider::start(|asked| {
        let mut acts = vec![events_head()];
        for event in events(asked.protocol(), &Says { pieces: &PIECES, ..Says::default() }) {
            acts.extend([Act::Wait(Duration::from_millis(100)), Act::Send(event)]);
        }
        acts.push(Act::End);
        acts
    })
    .await;
    let asking = Asking::new(&provider, "models").await;
    let talk = json!({ "model": "scripted-a/m", "calls": 2, "deltas": "token" });
    let run = asking.server.run("models/talks", &talk).await;
    let mut reader = Reader::of(&asking.server, run).await;
    let (mut told, mut lags) = (String::new(), Vec::new());
    while let Some((name, data)) = reader.next().await {
        if name == "delta" {
            let at = Instant::now();
            // The last that was sent: the next one comes only after 100 ms.
            let sent = provider.log().last().and_then(|asked| asked.answered).expect("it was sent");
            lags.push(at.duration_since(sent));
            assert_eq!(data["name"], "token", "{data}");
            told.push_str(data["data"]["text"].as_str().expect("text"));
        }
        if name == "end" {
            break;
        }
    }
    assert_eq!(told, PIECES.concat().repeat(2));
    lags.sort();
    println!("MEASURED pieces are late by: {lags:?}");
    // One may meet a machine that does something else at that moment.
    assert!(lags[lags.len() - 2] < LATE, "{lags:?}");
    let run = asking.server.wait(run).await;
    let output: Value = serde_json::from_str(run.output.as_ref().expect("it succeeded").get()).expect("JSON");
    assert_eq!(output["texts"], json!([PIECES.concat(), PIECES.concat()]), "the guest gets the whole answer");
}

/// What was answered before a crash is not told again; what was under way is, from its beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_repeats_no_piece() {
    let provider = Provider::start(|asked| {
        let mut acts = vec![events_head()];
        let text = format!("answer {}", asked.turns());
        for (place, event) in
            events(asked.protocol(), &Says { pieces: &[&text], ..Says::default() }).into_iter().enumerate()
        {
            if asked.number == 2 && place == 2 {
                acts.push(Act::Hold);
            }
            acts.push(Act::Send(event));
        }
        acts.push(Act::End);
        acts
    })
    .await;
    let asking = Asking::new(&provider, "models").await;
    let talk = json!({ "model": "scripted/m", "calls": 3, "deltas": "token" });
    let run = asking.server.run("models/talks", &talk).await;
    provider.until(|log| log.len() == 2).await;
    let asking = asking.killed().await;
    let mut reader = Reader::of(&asking.server, run).await;
    let mut told = Vec::new();
    while let Some((name, data)) = reader.next().await {
        match name.as_str() {
            "delta" => told.push(data["data"]["text"].as_str().expect("text").to_owned()),
            // What came before counts no more.
            "reset" => told.clear(),
            "end" => break,
            _ => {}
        }
    }
    assert_eq!(told, ["answer 2", "answer 3"]);
    assert_eq!(provider.log().len(), 4);
}

/// An answer of which something was told is not begun anew by the host: the attempt says that it broke off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_told_in_part_is_not_tried_again_by_the_host() {
    let provider = Provider::start(|asked| {
        let events = events(asked.protocol(), &Says { pieces: &PIECES, ..Says::default() });
        let mut acts = vec![events_head()];
        acts.extend(events.into_iter().take(3).map(Act::Send));
        acts.extend([Act::Wait(Duration::from_millis(50)), Act::Cut]);
        acts
    })
    .await;
    let asking = Asking::new(&provider, "raw").await;
    let failure = asking.failure(&super::request("scripted/m"), &json!({ "deltas": "token" })).await;
    assert_eq!((&failure["code"], &failure["retryable"]), (&json!("MODEL_BROKEN"), &json!(true)));
    assert_eq!(provider.log().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_whose_connection_drops_goes_on_without_a_gap() {
    const MANY: [&str; 12] = ["a ", "b ", "c ", "d ", "e ", "f ", "g ", "h ", "i ", "j ", "k ", "l"];
    let provider = Provider::start(|asked| {
        let events = events(asked.protocol(), &Says { pieces: &MANY, ..Says::default() });
        let sent = events.into_iter().flat_map(|event| [Act::Wait(Duration::from_millis(20)), Act::Send(event)]);
        [events_head()].into_iter().chain(sent).chain([Act::End]).collect()
    })
    .await;
    let asking = Asking::new(&provider, "models").await;
    let talk = json!({ "model": "scripted-r/m", "calls": 1, "deltas": "token" });
    let run = asking.server.run("models/talks", &talk).await;
    let mut told = String::new();
    let (mut last, mut has_ended, mut connections) = (None, false, 0);
    while !has_ended {
        let mut reader = Reader::after(&asking.server, run, last.take()).await;
        connections += 1;
        // A few events, and then it is gone.
        for _ in 0..4 {
            let Some((name, data)) = reader.next().await else { break };
            match name.as_str() {
                "delta" => told.push_str(data["data"]["text"].as_str().expect("text")),
                "end" => has_ended = true,
                other => panic!("{other}: {data}"),
            }
        }
        last = reader.last;
    }
    assert_eq!(told, MANY.concat());
    assert!(connections >= 3, "{connections}");
}
