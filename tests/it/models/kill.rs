//! Nobody pays twice: a host that is killed in the middle of a conversation asks for nothing again that was answered.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use trackway_replay::RunId;

use super::Asking;
use super::provider::{Act, Asked, Provider, Says, stream};

const CALLS: usize = 10;

fn talk() -> Value {
    json!({ "model": "scripted/m", "calls": CALLS })
}

fn says(asked: &Asked) -> Vec<Act> {
    stream(asked.protocol(), &Says { pieces: &["answer ", &asked.turns().to_string()], ..Says::default() })
}

fn expected() -> Value {
    (1..=CALLS).map(|number| format!("answer {number}")).collect()
}

async fn texts(asking: &Asking, run: RunId) -> Value {
    let run = asking.server.wait(run).await;
    let output = run.output.as_ref().unwrap_or_else(|| panic!("{run:?}\n{}", asking.server.log()));
    serde_json::from_str::<Value>(output.get()).expect("JSON")["texts"].clone()
}

/// How often each key came.
fn keys(log: &[Asked]) -> BTreeMap<String, usize> {
    let mut keys = BTreeMap::new();
    for asked in log {
        *keys.entry(asked.key().to_owned()).or_default() += 1;
    }
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_a_call_is_held_it_asks_for_that_one_again_and_no_other() {
    for held in [1, 4, 8] {
        let provider = Provider::start(move |asked| match asked.number {
            number if number == held => vec![Act::Hold],
            _ => says(asked),
        })
        .await;
        let asking = Asking::new(&provider, "models").await;
        let run = asking.server.run("models/talks", &talk()).await;
        provider.until(|log| log.len() == held).await;
        let asking = asking.killed().await;
        assert_eq!(texts(&asking, run).await, expected(), "held {held}");
        let log = provider.log();
        assert_eq!(log.len(), CALLS + 1, "held {held}: one more than without the kill");
        assert_eq!(keys(&log).len(), CALLS, "held {held}: a key for each call");
        assert_eq!(log[held - 1].key(), log[held].key(), "held {held}: the one that nobody answered");
        assert_eq!(log[held - 1].body, log[held].body, "held {held}: and it asks the same");
        let spending = asking.server.wait(run).await.spending.expect("it asked models");
        assert_eq!((spending.calls, spending.cost_nanousd), (CALLS as u64, CALLS as u64 * 190_000), "held {held}");
        let replay = asking.server.replay(run).await;
        assert!(replay.identical, "held {held}: {replay:?}");
        assert_eq!(provider.log().len(), CALLS + 1, "held {held}: a replay asks nobody");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_asks_at_most_once_more_for_each_kill_under_the_same_key() {
    let provider = Provider::start(|asked| {
        let mut acts = says(asked);
        // So that kills meet a call before, in and after its answer.
        acts.insert(0, Act::Wait(Duration::from_millis(30)));
        acts.insert(3, Act::Wait(Duration::from_millis(30)));
        acts
    })
    .await;
    let mut asking = Asking::new(&provider, "models").await;
    let run = asking.server.run("models/talks", &talk()).await;
    let mut kills = 0;
    while asking.server.find(run).await.is_some_and(|run| run.finished_at.is_none()) && kills < 20 {
        // Each process gets a little further than one call, to another place in it each time.
        let asked = provider.log().len();
        tokio::select! {
            () = provider.until(|log| log.len() > asked) => {}
            // It may have asked for everything already.
            _ = asking.server.wait(run) => break,
        }
        tokio::time::sleep(Duration::from_millis(kills * 37 % 80)).await;
        asking = asking.killed().await;
        kills += 1;
    }
    assert_eq!(texts(&asking, run).await, expected());
    let log = provider.log();
    let keys = keys(&log);
    assert!(kills >= 5, "it was killed often enough: {kills}");
    assert_eq!(keys.len(), CALLS, "a key for each call: {keys:?}");
    let more: usize = keys.values().map(|times| times - 1).sum();
    assert!(more <= kills as usize, "{more} more calls for {kills} kills: {keys:?}");
    // Whoever was asked again is the call that was open: no earlier one comes back.
    let mut seen: Vec<&str> = Vec::new();
    for asked in &log {
        match seen.last() {
            Some(last) if *last == asked.key() => {}
            _ => seen.push(asked.key()),
        }
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "an answered call was asked again: {seen:?}");
}
