//! How signals are shown.

use crate::Status;
use crate::testing::*;
use crate::trace::{Row, RowStatus, Shown, Trace, trace};

fn row<'a>(trace: &'a Trace, id: &str) -> &'a Row {
    trace.rows.iter().find(|row| row.id == id).unwrap_or_else(|| panic!("no row {id}"))
}

#[test]
fn a_signal_belongs_to_the_step_that_took_it() {
    let kinds = [
        started(),
        claimed(),
        signalled(1, "a"),
        receive(1, "a"),
        receive(2, "a"),
        receive(3, "b"),
        forgotten(2),
        signalled(2, "a"),
        claimed(),
        receive(4, "a"),
        signalled(3, "c"),
    ];
    let entries = journal(kinds);
    let trace = trace(&entries);
    assert_eq!(trace.unplaced, []);
    let shown = |id: &str| {
        let row = row(&trace, id);
        let output = row.output.clone().map(|output| match output {
            Shown::Json(text) => text.get().to_owned(),
            Shown::Payload { .. } => panic!("it is inline"),
        });
        (row.title(), row.status, output)
    };
    let got = |text: &str| Some(text.to_owned());
    assert_eq!(shown("1"), ("signal a".to_owned(), RowStatus::Succeeded, got("1")));
    assert_eq!(shown("2"), ("signal a".to_owned(), RowStatus::Forgotten, None));
    assert_eq!(shown("3"), ("signal b".to_owned(), RowStatus::Waiting, None));
    assert_eq!(shown("4"), ("signal a".to_owned(), RowStatus::Succeeded, got("2")));
    assert_eq!(shown("signal-10"), ("signal c, not taken".to_owned(), RowStatus::Queued, got("3")));
    assert_eq!(trace.run.as_ref().expect("it began").status, Status::Waiting);
    assert_eq!(trace.activations[1].steps_recalled, 2);
    assert_eq!(trace.recalled(&trace.activations[1]).steps.len(), 2);
}
