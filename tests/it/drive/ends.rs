//! Every end that a run can have is on record as what it is, and a replay has a clear verdict on it.

use serde_json::{Value, json};
use trackway::worker::EndCheck;
use trackway_replay::{
    Asked, Claimed, Digest, End, Entry, Epoch, Failure, Finished, Frame, FrameId, Kind, Limits, Position, Proof,
    Status, StepId, StepRequest,
};
use trackway_storage::{Append, Appended, Owner, Rows, RunKey, Sent, Storage};

use crate::rig::{Rig, in_virtual_time};

fn script(ops: Value) -> String {
    json!({ "ops": ops }).to_string()
}

/// Runs a script of the guest `raw` to its end.
async fn end_of(limits: Limits, ops: Value) -> Finished {
    let rig = Rig::new().await;
    rig.deploy("raw").await;
    let run = rig.start_under(limits, "raw", "script", &script(ops)).await;
    rig.end(run).await
}

fn fails_with(limits: Limits, ops: Value, code: &str) {
    in_virtual_time(async {
        match end_of(limits, ops).await.end {
            End::Failed(failure) => assert_eq!(Failure::from_value(&failure).code, code),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn an_output() {
    in_virtual_time(async {
        let ended = end_of(Limits::default(), json!([["sleep", 5], ["next"], ["return", "[1, 2]"]])).await;
        assert_eq!(ended.end, End::Succeeded(trackway_replay::Value::inline("[1, 2]")));
    });
}

#[test]
fn a_failure_of_its_own() {
    fails_with(Limits::default(), json!([["fail", r#"{"code":"NO_WAY","message":"m","details":[1]}"#]]), "NO_WAY");
    fails_with(Limits::default(), json!([["fail", "words"]]), "FAILED");
}

#[test]
fn a_failure_that_has_the_code_of_a_trap() {
    fails_with(Limits::default(), json!([["fail", r#"{"code":"OUT_OF_FUEL","message":"m"}"#]]), "OUT_OF_FUEL");
}

#[test]
fn a_trap() {
    fails_with(Limits::default(), json!([["sleep", 5], ["next"], ["trap"]]), "TRAP");
}

#[test]
fn a_trap_with_words_before() {
    fails_with(Limits::default(), json!([["panicked", "first"], ["panicked", "on purpose"], ["trap"]]), "PANIC");
}

#[test]
fn a_misused_import() {
    fails_with(Limits::default(), json!([["random", 65_537]]), "TRAP");
}

#[test]
fn no_fuel_left() {
    let limits = Limits { fuel: 1_000_000, ..Limits::default() };
    fails_with(limits.clone(), json!([["sleep", 5], ["next"], ["spin"]]), "OUT_OF_FUEL");
    // Neither is refuelled by asking for what cannot come.
    fails_with(limits, json!([["repeat", 1_000_000_000, [["next"]]]]), "OUT_OF_FUEL");
}

#[test]
fn too_many_steps() {
    let limits = Limits { steps: 3, ..Limits::default() };
    fails_with(limits.clone(), json!([["repeat", 4, [["sleep", 1], ["next"]]]]), "TOO_MANY");
    fails_with(limits, json!([["repeat", 4, [["sleep", 100_000]]]]), "TOO_MANY");
    fails_with(Limits { steps: 0, ..Limits::default() }, json!([["sleep", 1]]), "TOO_MANY");
}

#[test]
fn an_output_over_the_limit() {
    let limits = Limits { value_bytes: 1_000, ..Limits::default() };
    fails_with(limits, json!([["return_bytes", 2_000]]), "TOO_LARGE");
}

#[test]
fn an_output_that_is_not_json() {
    fails_with(Limits::default(), json!([["return", "no JSON"]]), "BAD_OUTPUT");
}

#[test]
fn a_cancel_that_the_workflow_gives_back() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        let told = r#"{"code":"CANCELLED","message":"m"}"#;
        let ops = json!([["sleep", 3_600_000], ["next"], ["fail", told]]);
        let run = rig.start("raw", "script", &script(ops)).await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        let ended = rig.end(run).await;
        assert!(matches!(ended, Finished { end: End::Cancelled { .. }, fingerprint: Some(_), .. }), "{ended:?}");
    });
}

#[test]
fn a_failure_that_only_looks_like_a_cancel() {
    fails_with(Limits::default(), json!([["fail", r#"{"code":"CANCELLED","message":"m"}"#]]), "CANCELLED");
}

#[test]
fn a_cancel_that_the_host_carries_out() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        let ops = json!([["repeat", 9, [["sleep", 3_600_000], ["next"]]]]);
        let run = rig.start("raw", "script", &script(ops)).await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        let ended = rig.end(run).await;
        assert!(matches!(ended, Finished { end: End::Cancelled { .. }, fingerprint: None, .. }), "{ended:?}");
    });
}

#[test]
fn a_run_that_goes_on_has_not_ended() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        let run = rig.start("raw", "script", &script(json!([["sleep", 3_600_000], ["next"]]))).await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        // Checks that the verdict is `NotEnded`.
        rig.replays(run).await;
    });
}

#[test]
fn the_cancel_of_a_run_that_was_left_alone() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        let run = rig.start("raw", "script", &script(json!([["sleep", 3_600_000], ["next"]]))).await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        let rig = rig.crash_after_recalls(run, 4).await;
        // Nothing wakes it before its timer.
        rig.until(run, |head| head.status == Status::Stuck).await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        rig.until(run, |head| head.status.has_ended()).await;
        let ended = rig.end(run).await;
        assert!(matches!(ended, Finished { end: End::Cancelled { .. }, fingerprint: None, .. }), "{ended:?}");
    });
}

#[test]
fn the_cancel_of_a_run_whose_code_does_something_else() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        let run = forged(&rig, 0, json!([["sleep", 1], ["next"]])).await;
        rig.until(run, |head| head.status == Status::Stuck).await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        assert_eq!(rig.until(run, |head| head.status.has_ended()).await.status, Status::Cancelled);
        let report = rig.worker().replay(run, None).await.expect("the replay runs");
        assert_eq!(report.end, EndCheck::Diverged);
        assert!(report.divergence.expect("a difference").recorded.contains("sleep 77 ms"));
    });
}

#[test]
fn the_terminate_of_a_run_whose_code_does_something_else() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        let run = forged(&rig, 0, json!([["sleep", 1], ["next"]])).await;
        rig.until(run, |head| head.status == Status::Stuck).await;
        assert_eq!(rig.terminate(run).await, Sent::Delivered);
        let head = rig.until(run, |head| head.status.has_ended()).await;
        assert_eq!((head.status, head.code.as_deref()), (Status::Cancelled, Some("TERMINATED")));
    });
}

#[test]
fn a_journal_from_a_later_time_than_the_stores_is_left_alone() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        let run = forged(&rig, 1, json!([["sleep", 77], ["next"]])).await;
        let head = rig.until(run, |head| head.status == Status::Stuck).await;
        assert!(head.message.expect("it says why").contains("epoch"));
        assert_eq!(rig.entries(run).await.len(), 3, "nothing was appended");
    });
}

/// A run that has a command on record which its script does not give, in an epoch so much later.
async fn forged(rig: &Rig, later: u64, ops: Value) -> RunKey {
    let run = rig.start_under(Limits::default(), "raw", "script", &script(ops)).await;
    let frames = rig.storage.frames(run, Position::FIRST, usize::MAX).await.expect("read");
    let started = Frame::decode(&frames[0].frame).expect("a frame").entries.remove(0);
    let Kind::Started(begun) = &started.kind else { panic!("{started:?}") };
    let claimed = Claimed { worker: "other".into(), engine: "other".into(), component: begun.component };
    let asked = Asked {
        step: StepId(1),
        request: StepRequest::Sleep { duration_ms: 77, options: "".into() },
        proof: Proof { digest: Digest::of(b"other"), deliveries: 0, fuel: 1 },
        now: started.time,
        at: None,
    };
    let entry = |position: u64, kind: Kind| Entry {
        position: Position(position),
        epoch: Epoch(started.epoch.0 + later),
        time: started.time,
        kind,
    };
    let entries = [entry(1, Kind::Claimed(claimed)), entry(2, Kind::Asked(asked))];
    let append = Append {
        run,
        position: Position(1),
        entries: 2,
        previous: Some(frames[0].id),
        id: FrameId(2),
        frame: Frame::encode(&entries).into(),
        rows: Rows { owner: Owner::Keep, ..Rows::default() },
    };
    assert!(matches!(rig.storage.append(append).await, Appended::Durable));
    run
}
