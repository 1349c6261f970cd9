use trackway_replay::{Digest, RunId, Timestamp};

use super::*;

fn stuck_on(code: Code) -> Head {
    Head {
        run: RunId(7),
        workflow: "w".into(),
        deployment: "d".into(),
        component: Digest([0; 32]),
        status: Status::Stuck,
        waiting: None,
        due: None,
        started: Timestamp(0),
        changed: Timestamp(0),
        finished: None,
        code: Some(code.text().into()),
        message: None,
        steps: 0,
        format: 1,
        spending: Default::default(),
        rules: 1,
    }
}

#[test]
fn whatever_a_run_is_stuck_on_there_is_a_way_and_the_last_one_ends_it() {
    for code in Code::ALL {
        let ways = ways_on(&stuck_on(*code));
        assert_eq!(ways.last(), Some(&format!("trackway runs terminate {}", RunId(7))), "{code}");
        assert!(ways.len() > 1, "{code}");
    }
}

#[test]
fn a_run_is_moved_only_where_its_journal_can_be_held_against_other_code() {
    let can_move = |code| ways_on(&stuck_on(code)).iter().any(|way| way.contains("runs move"));
    assert!([Code::Diverged, Code::RecallTrapped, Code::Quarantined, Code::CodeMissing].into_iter().all(can_move));
    assert!(![Code::JournalUnreadable, Code::DataDamaged].into_iter().any(can_move));
}

#[test]
fn a_run_that_goes_on_by_itself_needs_nobody() {
    for status in [Status::Queued, Status::Running, Status::Sleeping, Status::Succeeded] {
        assert!(ways_on(&Head { status, ..stuck_on(Code::Internal) }).is_empty(), "{}", status.name());
    }
    let retries =
        |due| Head { status: Status::Waiting, waiting: Some(Waiting::Retry), due, ..stuck_on(Code::Internal) };
    assert!(ways_on(&retries(Some(Timestamp(5)))).is_empty());
    assert_eq!(ways_on(&retries(None)), [format!("trackway runs retry {}", RunId(7))]);
}
