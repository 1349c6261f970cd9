//! The workflow on the test host: no server, nobody to wait for.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use trackway_sdk::testing::{Host, HttpResponse};

use crate::{Answer, Decision, Request, Reviewer, Verdict, approval};

const WHAT: &str = "Pay 300 EUR to Lantern Ltd";

fn request(hook: Option<&str>) -> Request {
    let reviewer = |who: &str, within_seconds| Reviewer { who: who.to_owned(), within_seconds };
    Request {
        what: WHAT.to_owned(),
        ask: vec![reviewer("ann", 86_400), reviewer("bob", 3_600)],
        otherwise: Verdict::Refused,
        hook: hook.map(str::to_owned),
    }
}

/// How it comes out when somebody answers after so many seconds.
fn decided(after_seconds: u64, approve: bool) -> Decision {
    let answer = Answer { approve, why: None };
    let host = Host::new().answer_after(Duration::from_secs(after_seconds), WHAT, &answer);
    host.run::<approval>(request(None)).expect("it succeeds")
}

#[test]
fn the_first_one_decides_within_a_day() {
    let decision = decided(80_000, true);
    assert_eq!((decision.verdict, decision.by.as_deref()), (Verdict::Approved, Some("ann")));
    assert!(decided(1, false).verdict == Verdict::Refused);
}

#[test]
fn the_second_one_is_asked_when_the_day_is_over() {
    let decision = decided(88_000, true);
    assert_eq!((decision.verdict, decision.by.as_deref()), (Verdict::Approved, Some("bob")));
}

#[test]
fn nobody_is_waited_for_for_ever() {
    let host = Host::new();
    let decision = host.run::<approval>(request(None)).expect("it succeeds");
    assert_eq!((decision.verdict, decision.by), (Verdict::Refused, None));
    assert_eq!(host.elapsed(), Duration::from_secs(86_400 + 3_600));
}

#[test]
fn each_one_is_told_and_a_note_that_cannot_be_sent_stops_nothing() {
    let notes = Rc::new(RefCell::new(Vec::new()));
    let told = notes.clone();
    let host = Host::new().on_http(move |request| {
        told.borrow_mut().push(request.body.clone().unwrap_or_default());
        HttpResponse::new(if told.borrow().len() == 1 { 200 } else { 404 }, "")
    });
    let decision = host.run::<approval>(request(Some("https://chat.example.com/hooks/1"))).expect("it succeeds");
    assert_eq!(decision.by, None);
    assert!(notes.borrow()[0].contains("ann, please decide"), "{notes:?}");
    assert!(host.log_lines().iter().any(|line| line.contains("nobody could be told")), "{:?}", host.log_lines());
}
