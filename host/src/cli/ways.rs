//! The commands that the host names where a run waits for a person: each can be typed.

use clap::Parser;
use trackway_replay::{Digest, Head, RunId, Status, Timestamp, Waiting};

use super::args::Cli;
use crate::Code;
use crate::host::ways_on;

fn head(status: Status) -> Head {
    Head {
        run: RunId(7),
        workflow: "w".into(),
        deployment: "d".into(),
        component: Digest([0; 32]),
        status,
        waiting: None,
        due: None,
        started: Timestamp(0),
        changed: Timestamp(0),
        finished: None,
        code: None,
        message: None,
        steps: 0,
        format: 1,
        spending: Default::default(),
        rules: 1,
    }
}

#[test]
fn every_command_that_is_named_can_be_typed() {
    let waiting = |waiting| Head { waiting: Some(waiting), ..head(Status::Waiting) };
    let stuck = Code::ALL.iter().map(|code| Head { code: Some(code.text().into()), ..head(Status::Stuck) });
    let heads = stuck.chain([head(Status::Paused), waiting(Waiting::Person), waiting(Waiting::Retry)]);
    let mut named = 0;
    for way in heads.flat_map(|head| ways_on(&head)) {
        let typed = Cli::try_parse_from(way.split_whitespace());
        typed.unwrap_or_else(|error| panic!("`{way}`: {error}"));
        named += 1;
    }
    assert!(named > Code::ALL.len());
}
