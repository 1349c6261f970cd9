//! Log lines are shown soon, each once, and never before what they tell of is durable.

use serde_json::json;
use std::time::Duration;
use trackway_storage::{RunKey, Storage};

use crate::rig::{Rig, in_virtual_time};

async fn messages(rig: &Rig, run: RunKey) -> Vec<String> {
    let lines = rig.storage.logs(run, None, 100).await.expect("read");
    lines.iter().map(|line| line.message.to_string()).collect()
}

/// A function that says something, asks for something, thinks for longer than that takes to be durable,
/// and says more before it waits for the answer.
fn talkative() -> serde_json::Value {
    json!([
        ["log", "info", "one", ""],
        ["get", "http://world.test/a"],
        ["think", 100_000_000],
        ["log", "info", "two", ""],
        ["log", "info", "three", ""],
        ["next"],
        ["return", "7"]
    ])
}

#[test]
fn what_a_waiting_function_said_is_shown_soon() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        rig.world.take(Duration::from_secs(3_600));
        let ops = json!([["call", "script", { "ops": talkative() }], ["next"], ["return", "1"]]);
        let run = rig.start("raw", "script", &json!({ "ops": ops }).to_string()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(messages(&rig, run).await, ["one", "two", "three"]);

        // Said again when it is resumed, and shown once.
        let rig = rig.crash().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(messages(&rig, run).await, ["one", "two", "three"]);
        assert_eq!(rig.output(run).await, "1");
        assert_eq!(messages(&rig, run).await, ["one", "two", "three"]);
        rig.replays(run).await;
    });
}

#[test]
fn what_a_waiting_workflow_said_is_shown_soon() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        rig.world.take(Duration::from_secs(3_600));
        let slow = json!({ "ops": [["get", "http://world.test/a"], ["next"], ["return", "7"]] });
        let ops = json!([
            ["sleep", 1],
            ["next"],
            ["call", "script", slow],
            ["sleep", 5_000],
            ["next"],
            ["log", "warn", "here", ""],
            ["next"],
            ["return", "1"]
        ]);
        let run = rig.start("raw", "script", &json!({ "ops": ops }).to_string()).await;
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert_eq!(messages(&rig, run).await, ["here"]);
        assert_eq!(rig.output(run).await, "1");
        assert_eq!(messages(&rig, run).await, ["here"]);
        rig.replays(run).await;
    });
}

#[test]
fn an_owner_that_was_overtaken_says_nothing_more() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        rig.world.take(Duration::from_secs(10));
        let function =
            json!([["get", "http://world.test/a"], ["next"], ["log", "info", "late", ""], ["sleep", 5_000], ["next"]]);
        let ops = json!([["call", "script", { "ops": function }], ["next"]]);
        let run = rig.start("raw", "script", &json!({ "ops": ops }).to_string()).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        rig.usurp(run).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(messages(&rig, run).await.is_empty());
    });
}
