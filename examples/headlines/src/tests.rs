//! The workflow on the test host: no server, no network, no waiting.

use std::time::Duration;

use trackway_sdk::testing::{Host, HttpResponse};

use crate::{Request, headlines};

fn request(urls: &[&str]) -> Request {
    Request { urls: urls.iter().map(|url| (*url).to_owned()).collect(), top: 2, pause_ms: 500 }
}

#[test]
fn pages_are_read_at_once_and_their_terms_are_added_up() {
    let host = Host::new().on_http(|request| match request.url.as_str() {
        "https://example.com/a" => HttpResponse::new(200, "<p>tides tides <a href='b'>journal</a>"),
        _ => HttpResponse::new(200, "<p>journal journal lantern"),
    });
    let report =
        host.run::<headlines>(request(&["https://example.com/a", "https://example.com/b"])).expect("it succeeds");
    assert_eq!((report.pages, report.words, report.links), (2, 6, 1));
    let terms: Vec<_> = report.terms.iter().map(|term| (term.term.as_str(), term.count)).collect();
    assert_eq!(terms, [("journal", 3), ("tides", 2)]);
    assert_eq!(host.elapsed(), Duration::from_millis(500));
}

#[test]
fn a_page_that_fails_at_first_is_asked_for_again() {
    let host = Host::new().on_http(|request| match request.number {
        1 | 2 => HttpResponse::new(500, "not yet"),
        _ => HttpResponse::new(200, "tides"),
    });
    let report = host.run::<headlines>(request(&["https://example.com"])).expect("it succeeds");
    assert_eq!((report.pages, host.calls().len()), (1, 3));
}

#[test]
fn a_page_that_is_gone_is_reported_and_the_others_are_read() {
    let host = Host::new().on_http(|request| match request.url.ends_with("gone") {
        true => HttpResponse::new(404, "gone"),
        false => HttpResponse::new(200, "tides"),
    });
    let report =
        host.run::<headlines>(request(&["https://example.com/gone", "https://example.com"])).expect("it succeeds");
    assert_eq!((report.pages, report.unread.len()), (1, 1));
    assert_eq!(report.unread[0].reason, "HTTP_STATUS: the server answered with status 404: gone");
}

#[test]
fn a_cancelled_run_ends_as_cancelled() {
    let host = Host::new().cancel_after(0).on_http(|_| HttpResponse::new(200, "tides"));
    let ended = host.run::<headlines>(request(&["https://example.com"]));
    assert!(ended.is_err_and(|failure| failure.is_cancelled()));
}
