//! Real processes, in each state that a holder of the folder may be in.

use super::*;
use std::io::Read as _;
use std::process::{Command, Stdio};

#[test]
fn a_process_is_seen_alive_and_gone_also_while_nobody_asks_how_it_ended() {
    assert_eq!(Holder::of(&format!("{}\n", std::process::id())), Holder::Alive);
    let mut child = Command::new("sleep").arg("1000").stdout(Stdio::piped()).spawn().expect("there is a sleep");
    let id = child.id().to_string();
    assert_eq!(Holder::of(&id), Holder::Alive);
    child.kill().expect("it runs");
    let mut end = Vec::new();
    child.stdout.take().expect("it is piped").read_to_end(&mut end).expect("readable");
    assert_ne!(Holder::of(&id), Holder::Alive, "it has let go of its output");
    // Nobody has asked how it ended, and it holds nothing.
    while Holder::of(&id) == Holder::Dying {
        std::thread::yield_now();
    }
    assert_eq!(Holder::of(&id), Holder::Gone);
    child.wait().expect("a child");
    assert_eq!(Holder::of(&id), Holder::Gone);
}

#[test]
fn what_the_kernel_says_is_read_whatever_the_process_is_called() {
    let stat = |state: &str, flags: u64| format!("7 (a) Z 1 (b) {state} 1 7 7 0 -1 {flags} 102 0 0");
    assert!(!is_ending(&stat("S", 4_194_304)));
    assert!(is_ending(&stat("R", 4_194_304 | EXITING)));
    assert!(is_ending(&stat("Z", 0)) && is_ending(&stat("X", 0)));
    assert!(!is_ending("") && !is_ending("7 (a)"));
    assert!(is_killed("Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n"));
    assert!(is_killed("SigPnd:\t0000000000000100\n"));
    assert!(!is_killed("SigPnd:\t0000000000000200\nShdPnd:\t0000000000000000\nSigCgt:\t0000000000000100\n"));
}

#[test]
fn what_names_no_process_is_taken_for_alive() {
    for id in ["", "x", "-1", "99999999999"] {
        assert_eq!(Holder::of(id), Holder::Alive, "{id}");
    }
}
