//! What a person can do about a run that does not go on by itself, as commands to type. Read off its head
//! alone, so that every list can say it.

use trackway_replay::{Head, Status, Waiting};

use crate::Code;

/// The likeliest first; none where nobody need do anything.
pub fn ways_on(head: &Head) -> Vec<String> {
    let run = head.run;
    let ways: &[&str] = match (head.status, head.waiting) {
        (Status::Stuck, _) => of_stuck(head.code.as_deref().unwrap_or_default()),
        (Status::Paused, _) => &["trackway runs resume RUN"],
        (Status::Waiting, Some(Waiting::Person)) => &["trackway questions ls"],
        // With a time it tries again by itself.
        (Status::Waiting, Some(Waiting::Retry)) if head.due.is_none() => &["trackway runs retry RUN"],
        (
            Status::Queued
            | Status::Running
            | Status::Sleeping
            | Status::Waiting
            | Status::Succeeded
            | Status::Failed
            | Status::Cancelled,
            _,
        ) => &[],
    };
    ways.iter().map(|way| way.replace("RUN", &run.to_string())).collect()
}

fn of_stuck(code: &str) -> &'static [&'static str] {
    match Code::ALL.iter().copied().find(|known| known.text() == code) {
        // The code does something else than the journal says, or breaks while doing it.
        Some(Code::Diverged | Code::RecallTrapped) => &[
            "trackway replay RUN",
            "trackway runs move RUN --to DEPLOYMENT",
            "trackway runs restart RUN",
            "trackway runs terminate RUN",
        ],
        Some(Code::Quarantined) => {
            &["trackway runs move RUN --to DEPLOYMENT", "trackway runs restart RUN", "trackway runs terminate RUN"]
        }
        Some(Code::CodeMissing) => {
            &["trackway deploy", "trackway runs move RUN --to DEPLOYMENT", "trackway runs terminate RUN"]
        }
        // There is nothing to hold other code against.
        Some(Code::JournalUnreadable | Code::DataDamaged) => &["trackway doctor --deep", "trackway runs terminate RUN"],
        // It was to go on from a step of a run that is not there any more.
        Some(Code::NoSuchRun) => &["trackway runs restart RUN", "trackway runs terminate RUN"],
        Some(_) | None => &["trackway doctor", "trackway runs terminate RUN"],
    }
}

#[cfg(test)]
mod tests;
