//! The host dies between a request and its answer: what then, by each policy.

use std::time::Duration;
use trackway_replay::{EffectVerdict, Kind, Park, Status, Value};
use trackway_storage::RunKey;

use crate::rig::{Rig, in_virtual_time, is_parked, number_of};

/// A payment that was asked for and not answered when the host died, taken up by another one.
async fn cut_off(how: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("mending").await;
    rig.world.be_silent(true);
    let run = rig.start("mending", "pays", &format!(r#"{{"url": "http://world.test", "how": "{how}"}}"#)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(asked(&rig), ["pay"]);
    rig.world.be_silent(false);
    (rig.crash().await, run)
}

fn asked(rig: &Rig) -> Vec<String> {
    let name = |url: String| url.rsplit('/').next().unwrap_or_default().to_owned();
    rig.world.asked().into_iter().map(|contact| name(contact.url)).collect()
}

fn check(how: &str, output: &str, contacts: &[&str]) {
    in_virtual_time(async {
        let (rig, run) = cut_off(how).await;
        assert_eq!(rig.output(run).await, output);
        assert_eq!(asked(&rig), contacts, "{how}");
        rig.replays(run).await;
    });
}

#[test]
fn repeat_sends_it_again_under_the_same_key() {
    in_virtual_time(async {
        let (rig, run) = cut_off("repeat").await;
        assert_eq!(rig.output(run).await, format!("\"{}\"", number_of("/pay")));
        let keys: Vec<_> = rig.world.asked().into_iter().map(|contact| contact.key).collect();
        assert!(keys.len() == 2 && keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
        rig.replays(run).await;
    });
}

#[test]
fn fail_sends_nothing_and_fails_as_ambiguous() {
    check("fail", r#""AMBIGUOUS""#, &["pay"]);
}

#[test]
fn compensate_sends_nothing_and_undoes_what_may_have_been_done() {
    check("compensate", r#""AMBIGUOUS""#, &["pay", "take-back"]);
}

#[test]
fn ask_waits_for_a_person_who_says_repeat_fail_or_the_answer() {
    let answer = r#"{"status": 200, "headers": [], "body": "77", "tries": []}"#;
    let verdicts = [
        (None, format!("\"{}\"", number_of("/pay")), 2),
        (Some(EffectVerdict::Repeat), format!("\"{}\"", number_of("/pay")), 2),
        (Some(EffectVerdict::Fail), r#""AMBIGUOUS""#.to_owned(), 1),
        (Some(EffectVerdict::Answer(Value::inline(answer))), r#""77""#.to_owned(), 1),
    ];
    for (verdict, output, contacts) in verdicts {
        in_virtual_time(async {
            let (rig, run) = cut_off("ask").await;
            assert_eq!(rig.until(run, is_parked).await.status, Status::Waiting);
            // It waits on, also over another restart, and nothing is sent meanwhile.
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            let rig = rig.crash().await;
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(asked(&rig), ["pay"]);
            let parked =
                rig.entries(run).await.into_iter().filter(
                    |entry| matches!(&entry.kind, Kind::Parked(parked) if matches!(parked.park, Park::Unclear(_))),
                );
            assert_eq!(parked.count(), 1);
            assert!(rig.help(run, verdict).await);
            assert_eq!(rig.output(run).await, output);
            assert_eq!(asked(&rig).len(), contacts);
            rig.replays(run).await;
        });
    }
}

#[test]
fn a_crash_after_any_entry_of_that_ends_the_same() {
    in_virtual_time(async {
        let (whole, run) = cut_off("ask").await;
        whole.until(run, is_parked).await;
        whole.help(run, Some(EffectVerdict::Fail)).await;
        assert_eq!(whole.output(run).await, r#""AMBIGUOUS""#);
        let journal = whole.entries(run).await;
        let asked = journal.iter().position(|entry| matches!(entry.kind, Kind::EffectAsked(_))).expect("it was asked");
        for kept in asked + 1..journal.len() {
            let rig = whole.cut(run, kept).await;
            let head = rig.until(run, |head| head.status.has_ended() || is_parked(head)).await;
            if !head.status.has_ended() {
                rig.help(run, Some(EffectVerdict::Fail)).await;
            }
            assert_eq!(rig.output(run).await, r#""AMBIGUOUS""#, "cut after {kept}");
            assert!(rig.world.asked().is_empty(), "cut after {kept}: sent again");
            rig.replays(run).await;
        }
    });
}

#[test]
fn what_cannot_change_anything_is_always_sent_again() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        rig.world.be_silent(true);
        let run = rig.start("effects", "fetches", r#""http://world.test/page""#).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.world.be_silent(false);
        let rig = rig.crash().await;
        rig.output(run).await;
        assert_eq!(asked(&rig), ["page", "page"]);
        rig.replays(run).await;
    });
}
