//! Promises: made over crashes and restarts, settled once by their token, in time or not at all.

use std::time::Duration;
use trackway_replay::trace::{What, trace};
use trackway_replay::{
    Digest, Failure, Kind, MessageId, Outcome, PromiseToken, Status, StepId, StepRequest, Value, Waiting,
};
use trackway_storage::{InboxBody, RunKey, Sent, Storage};

use crate::rig::{Rig, in_virtual_time};

async fn started(workflow: &str, input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("talks").await;
    let run = rig.start("talks", workflow, input).await;
    (rig, run)
}

async fn waits_for_a_promise(rig: &Rig, run: RunKey) {
    rig.until(run, |head| (head.status, head.waiting) == (Status::Waiting, Some(Waiting::Promise))).await;
}

async fn settle(rig: &Rig, run: RunKey, outcome: Outcome) -> Sent {
    let body = InboxBody::Promise { step: StepId(1), request: MessageId(77), outcome };
    rig.send_as(run, 1, body).await
}

fn paid(amount: u32) -> Outcome {
    Outcome::Succeeded(Value::inline(amount.to_string()))
}

/// What the workflow handed out.
async fn token(rig: &Rig, run: RunKey) -> PromiseToken {
    let handed_out = rig.entries(run).await.into_iter().find_map(|entry| match entry.kind {
        Kind::Asked(asked) => match asked.request {
            StepRequest::Call { input: Value::Inline(input), .. } => Some(input),
            _ => None,
        },
        _ => None,
    });
    let text: String = serde_json::from_str(&handed_out.expect("it was handed out")).expect("a text");
    text.parse().expect("a token")
}

#[test]
fn a_promise_wakes_the_run_and_is_settled_once() {
    in_virtual_time(async {
        let (rig, run) = started("sells", "0").await;
        waits_for_a_promise(&rig, run).await;
        let token = token(&rig, run).await;
        assert_eq!((token.run, token.step), (run.run, StepId(1)));
        tokio::time::sleep(Duration::from_secs(30)).await;
        let rig = rig.crash().await;
        waits_for_a_promise(&rig, run).await;
        let row = trace(&rig.entries(run).await).rows.remove(0);
        assert_eq!(row.what, What::Promise { name: "paid".into(), token: token.to_string() });
        assert_eq!(row.label.as_deref(), Some("the money"));
        assert_eq!(settle(&rig, run, paid(12)).await, Sent::Delivered);
        assert_eq!(rig.output(run).await, "\"paid 12\"");
        rig.replays(run).await;
    });
}

#[test]
fn one_that_is_settled_before_it_is_awaited_counts() {
    in_virtual_time(async {
        let (rig, run) = started("sells", "30000").await;
        rig.until(run, |head| head.steps == 3).await;
        assert_eq!(settle(&rig, run, paid(12)).await, Sent::Delivered);
        assert_eq!(rig.until(run, |head| head.status == Status::Sleeping).await.waiting, None);
        assert_eq!(rig.output(run).await, "\"paid 12\"");
        rig.replays(run).await;
    });
}

#[test]
fn a_rejection_is_the_failure_that_the_workflow_gets() {
    in_virtual_time(async {
        let (rig, run) = started("sells", "0").await;
        waits_for_a_promise(&rig, run).await;
        let declined = Outcome::Failed(Failure::permanent("DECLINED", "no money").to_value());
        assert_eq!(settle(&rig, run, declined).await, Sent::Delivered);
        assert_eq!(rig.output(run).await, "\"DECLINED: no money\"");
        rig.replays(run).await;
    });
}

#[test]
fn one_that_nobody_settles_expires_and_what_came_in_time_counts_though_the_host_was_down() {
    in_virtual_time(async {
        let (rig, run) = started("sells", "0").await;
        assert!(rig.output(run).await.starts_with("\"EXPIRED"));
        rig.replays(run).await;

        let (rig, run) = started("sells", "0").await;
        waits_for_a_promise(&rig, run).await;
        tokio::time::sleep(Duration::from_millis(59_500)).await;
        assert_eq!(settle(&rig, run, paid(1)).await, Sent::Delivered);
        let rig = rig.crash_for(Duration::from_secs(3_600)).await;
        assert_eq!(rig.output(run).await, "\"paid 1\"");
        rig.replays(run).await;
    });
}

#[test]
fn one_that_is_given_up_is_not_settled_any_more() {
    in_virtual_time(async {
        let (rig, run) = started("gives_up", "null").await;
        rig.until(run, |head| head.steps == 4).await;
        assert_eq!(settle(&rig, run, paid(12)).await, Sent::Delivered);
        let output: Vec<String> = serde_json::from_str(&rig.output(run).await).expect("words");
        assert_ne!(output[0], output[1], "each has a token of its own");
        assert_eq!(output[2..], ["CANCELLED", "BAD_REQUEST"]);
        let settled = |kind: &Kind| matches!(kind, Kind::Settled(_));
        assert!(!rig.entries(run).await.iter().any(|entry| settled(&entry.kind)));
        rig.replays(run).await;
    });
}

#[test]
fn a_cancelled_run_takes_no_late_settlement() {
    in_virtual_time(async {
        let (rig, run) = started("sells", "0").await;
        waits_for_a_promise(&rig, run).await;
        rig.cancel(run).await;
        settle(&rig, run, paid(12)).await;
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        assert_eq!(settle(&rig, run, paid(12)).await, Sent::Ended(Status::Cancelled));
        rig.replays(run).await;
    });
}

#[test]
fn a_large_value_arrives_whole() {
    in_virtual_time(async {
        let (rig, run) = started("weighs", "null").await;
        waits_for_a_promise(&rig, run).await;
        let text = format!("\"{}\"", "x".repeat(1 << 20));
        let (digest, size_bytes) = (Digest::of(text.as_bytes()), text.len() as u64);
        rig.storage.put_payload(run, digest, text.into()).await.expect("stored");
        let outcome = Outcome::Succeeded(Value::Stored { digest, size_bytes });
        assert_eq!(settle(&rig, run, outcome).await, Sent::Delivered);
        assert_eq!(rig.output(run).await, (1 << 20).to_string());
        rig.replays(run).await;
    });
}

#[test]
fn a_restarted_run_sees_the_same_token_and_is_settled_by_one_of_its_own() {
    in_virtual_time(async {
        let (rig, run) = started("sells", "0").await;
        waits_for_a_promise(&rig, run).await;
        // Again from the sleep on: the token was handed out before.
        let again = rig.worker().fork(run, StepId(3), None).await.expect("it starts").run;
        let again = RunKey { run: again, ..run };
        waits_for_a_promise(&rig, again).await;
        assert_eq!(token(&rig, again).await, token(&rig, run).await);
        let entries = rig.entries(again).await;
        let row = trace(&entries).rows.remove(0);
        let What::Promise { token, .. } = row.what else { panic!("{row:?}") };
        assert_eq!(token.parse::<PromiseToken>().expect("a token").run, again.run);
        assert_eq!(settle(&rig, again, paid(3)).await, Sent::Delivered);
        assert_eq!(rig.output(again).await, "\"paid 3\"");
        rig.replays(again).await;
        assert!(!rig.head(run).await.status.has_ended(), "the other one still waits");
    });
}

#[test]
fn a_crash_after_any_entry_changes_nothing() {
    in_virtual_time(async {
        let (whole, run) = started("sells", "5000").await;
        whole.until(run, |head| head.steps == 3).await;
        settle(&whole, run, paid(12)).await;
        assert_eq!(whole.output(run).await, "\"paid 12\"");
        let journal = whole.entries(run).await;
        let is_settled = |kept: usize| journal[..kept].iter().any(|entry| matches!(entry.kind, Kind::Settled(_)));
        for kept in 1..journal.len() {
            let rig = whole.cut(run, kept).await;
            if !is_settled(kept) {
                rig.until(run, |head| head.steps >= 1).await;
                settle(&rig, run, paid(12)).await;
            }
            assert_eq!(rig.output(run).await, "\"paid 12\"", "cut after {kept}");
            assert_eq!(rig.entries(run).await[..kept], journal[..kept], "what stood was changed");
            rig.replays(run).await;
        }
    });
}
