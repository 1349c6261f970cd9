//! What guests tell those who follow a run: each event stands in the journal once, whatever happens to the run.

use std::time::Duration;
use trackway_replay::{Entry, Kind, Limits, Status, StepId, Value, code};
use trackway_storage::RunKey;

use super::crash::survives_a_crash_after_every_entry;
use crate::rig::{Rig, in_virtual_time};

const STORY: &str = r#"{"url": "http://world.test", "chapters": 2, "pages": 2}"#;
const MENDED: &str = r#"{"url": "http://world.test", "chapters": 1, "pages": 3, "until": 3}"#;

async fn started(workflow: &str, input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("streams").await;
    let run = rig.start("streams", workflow, input).await;
    (rig, run)
}

/// Name and data, and the attempt that told it.
type Told = (String, String, Option<(u32, u32)>);

fn told(entries: &[Entry]) -> Vec<Told> {
    let text = |value: &Value| match value {
        Value::Inline(text) => text.to_string(),
        Value::Stored { .. } => panic!("it stands in its entry"),
    };
    let told = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::Emitted(emitted) => Some((emitted.name.to_string(), text(&emitted.data), None)),
        Kind::AttemptEmitted(emitted) => {
            Some((emitted.name.to_string(), text(&emitted.data), Some((emitted.step.0, emitted.attempt))))
        }
        _ => None,
    });
    told.collect()
}

#[test]
fn workflow_and_function_tell_in_one_order() {
    in_virtual_time(async {
        let (rig, run) = started("stories", STORY).await;
        assert_eq!(rig.output(run).await, "\"[0.0][0.1][1.0][1.1]\"");
        let told = told(&rig.entries(run).await);
        let names: Vec<&str> = told.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["chapter", "page", "page", "told", "chapter", "page", "page", "told"]);
        assert_eq!(told[2], ("page".into(), "1".into(), Some((1, 1))));
        assert_eq!(told[7].1, "\"[0.0][0.1][1.0][1.1]\"");
        rig.replays(run).await;
    });
}

#[test]
fn a_crash_after_any_entry_loses_no_event_and_repeats_none() {
    for (workflow, input) in [("stories", STORY), ("stories_resuming", MENDED), ("floods", "20"), ("pours", "20")] {
        survives_a_crash_after_every_entry("streams", workflow, input);
        in_virtual_time(async {
            let (whole, run) = started(workflow, input).await;
            whole.ended(run).await;
            let journal = whole.entries(run).await;
            let expected = told(&journal);
            for kept in 1..journal.len() {
                let rig = whole.cut(run, kept).await;
                rig.ended(run).await;
                assert_eq!(told(&rig.entries(run).await), expected, "{workflow} cut after {kept}");
            }
        });
    }
}

#[test]
fn an_attempt_that_goes_on_with_a_failed_one_does_not_repeat_its_events() {
    in_virtual_time(async {
        let (rig, run) = started("stories_resuming", MENDED).await;
        rig.output(run).await;
        let pages: Vec<_> = told(&rig.entries(run).await).into_iter().filter(|(name, ..)| name == "page").collect();
        let attempts: Vec<(&str, u32)> =
            pages.iter().map(|(_, page, by)| (page.as_str(), by.expect("a function told it").1)).collect();
        // The answer that came before the failure is asked for again, and what was told after it told again.
        assert_eq!(attempts, [("0", 1), ("1", 1), ("2", 1), ("2", 2), ("2", 3)]);
        rig.replays(run).await;
    });
}

#[test]
fn an_attempt_that_begins_anew_tells_anew_under_its_own_number() {
    in_virtual_time(async {
        let (rig, run) = started("stories", MENDED).await;
        rig.output(run).await;
        let told = told(&rig.entries(run).await);
        let pages: Vec<_> = told.iter().filter_map(|(_, page, by)| Some((page.as_str(), (*by)?.1))).collect();
        let expected = (1..=3).flat_map(|attempt| ["0", "1", "2"].map(|page| (page, attempt)));
        assert_eq!(pages, expected.collect::<Vec<_>>());
    });
}

#[test]
fn a_guest_that_tells_without_end_comes_to_its_limit() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("streams").await;
        let limits = Limits { steps: 50, effects: 40, ..Limits::default() };
        for (workflow, most) in [("floods", 50), ("pours", 40)] {
            let run = rig.start_under(limits.clone(), "streams", workflow, "1000000").await;
            assert_eq!(rig.failure(run).await.code, code::TOO_MANY, "{workflow}");
            assert_eq!(told(&rig.entries(run).await).len(), most, "{workflow}");
            rig.replays(run).await;
        }
        // One less leaves room for the sleep.
        let run = rig.start_under(limits, "streams", "floods", "49").await;
        assert_eq!(rig.output(run).await, "49");
    });
}

#[test]
fn what_is_no_event_fails_the_run() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("streams").await;
        for (what, code) in [("name", code::BAD_REQUEST), ("large", code::TOO_LARGE), ("delta", code::TOO_LARGE)] {
            let run = rig.start("streams", "bad", &format!("\"{what}\"")).await;
            assert_eq!(rig.failure(run).await.code, code, "{what}");
            rig.replays(run).await;
        }
        let run = rig.start("streams", "bad", "\"fine\"").await;
        assert_eq!(rig.ended(run).await.status, Status::Succeeded);
    });
}

#[test]
fn whoever_lost_a_run_tells_nothing_for_it() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("streams").await;
        rig.world.take(Duration::from_secs(1));
        let run = rig.start("streams", "stories", STORY).await;
        while rig.world.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        // Another owner comes while the answer is on its way that lets the function tell.
        rig.usurp(run).await;
        let before = rig.entries(run).await.len();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(rig.entries(run).await.len(), before, "{:?}", rig.kinds(run).await);
    });
}

#[test]
fn a_run_that_is_restarted_from_a_step_has_told_what_came_before() {
    in_virtual_time(async {
        let (rig, run) = started("stories", STORY).await;
        let output = rig.output(run).await;
        let expected = told(&rig.entries(run).await);
        let answer = rig.worker().fork(run, StepId(2), None).await.expect("restarted");
        let again = RunKey { run: answer.run, ..run };
        assert_eq!(rig.output(again).await, output);
        assert_eq!(told(&rig.entries(again).await), expected);
        rig.replays(again).await;
    });
}
