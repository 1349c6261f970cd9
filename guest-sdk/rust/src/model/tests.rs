use serde_json::json;

use super::*;
use crate::prelude::*;
use crate::testing::{Host, HttpResponse, ModelResponse};

#[value]
#[derive(Debug, PartialEq)]
struct Verdict {
    spam: bool,
    #[schemars(range(max = 10))]
    points: u8,
}

/// Looks it up.
#[tool]
fn look_up(word: String) -> String {
    word
}

#[function]
async fn ask(ctx: FnCtx) -> Result<String, Failure> {
    Ok(ctx.model("test/model").user("Hello?").await?.text().to_owned())
}

#[function]
async fn judge(ctx: FnCtx) -> Result<Verdict, Failure> {
    Ok(ctx.model("test/model").user("Spam?").output().await?.output)
}

fn judged(response: ModelResponse) -> Result<Verdict, Failure> {
    Host::new().on_model(move |_| response.clone()).call(judge(()))
}

#[test]
fn all_that_is_said_reaches_the_host_as_the_contract_has_it() {
    #[function]
    async fn full(ctx: FnCtx) -> Result<(), Failure> {
        ctx.model("test/model")
            .system("Be brief.")
            .messages(vec![Message::user("Hi."), Message::assistant("Hello.")])
            .message(Message::user("Well?"))
            .tool(look_up)
            .tool_choice(ToolChoice::Tool { name: "look_up".into() })
            .max_tokens(100)
            .temperature(0.5)
            .top_p(0.9)
            .stop("END")
            .seed(7)
            .stream_to("words")
            .timeout(Duration::from_secs(30))
            .label("ask")
            .await?;
        Ok(())
    }
    let host = Host::new().on_model(|asked| {
        let written = serde_json::to_value(&asked.request).expect("a request is text");
        let expected = json!({
            "model": "test/model",
            "messages": [
                { "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hi." },
                { "role": "assistant", "content": "Hello." }, { "role": "user", "content": "Well?" },
            ],
            "tools": [{ "name": "look_up", "description": "Looks it up.", "input": asked.tools[0].input }],
            "tool_choice": { "name": "look_up" },
            "max_tokens": 100, "temperature": 0.5, "top_p": 0.9, "stop": ["END"], "seed": 7,
        });
        assert_eq!(written, expected);
        assert_eq!(asked.options, json!({ "label": "ask", "timeout_ms": 30_000, "deltas": "words" }));
        ModelResponse::text("")
    });
    host.call(full(())).expect("it succeeds");
}

#[test]
fn an_answer_has_all_that_the_host_tells() {
    #[function]
    async fn known(ctx: FnCtx) -> Result<(), Failure> {
        let answer = ctx.model("test/model").user("Hello?").await?;
        assert_eq!((answer.text(), answer.finish_reason), ("", FinishReason::ToolCalls));
        assert_eq!(answer.tool_calls[0].input::<Vec<u8>>()?, [1]);
        assert_eq!((answer.usage.total_tokens(), answer.cost), (30, Some(Usd::from_nanos(7))));
        assert_eq!((answer.message().role, answer.message().tool_calls.len()), (Role::Assistant, 1));
        Ok(())
    }
    let answer = ModelResponse::tool_call("look_up", &[1]).usage(20, 10).cost(Some(Usd::from_nanos(7)));
    Host::new().on_model(move |_| answer.clone()).call(known(())).expect("it succeeds");
}

#[test]
fn failures_of_the_host_are_failures_of_the_call() {
    let busy = Failure::new("MODEL_RATE_LIMITED", "later").retry_after(Duration::from_secs(3));
    let failure =
        Host::new().on_model(move |_| ModelResponse::failed(busy.clone())).call(ask(())).expect_err("it fails");
    assert_eq!((failure.code.as_str(), failure.retry_after_ms), ("MODEL_RATE_LIMITED", Some(3_000)));
    assert_eq!(Host::new().call(ask(())).expect_err("nobody answers").code, "MODEL_UNKNOWN");
}

#[test]
fn structured_output_is_read_and_checked() {
    let verdict = Verdict { spam: true, points: 3 };
    assert_eq!(judged(ModelResponse::json(&verdict)).expect("it fits"), verdict);
    let fenced = format!("```json\n{}\n```\n", json!({ "spam": true, "points": 3 }));
    assert_eq!(judged(ModelResponse::text(fenced)).expect("it fits"), verdict);
    for (said, why) in [
        ("Sure!", "answer: expected value"),
        (r#"{"spam": true}"#, "answer: `points` is missing"),
        (r#"{"spam": true, "points": 11}"#, "answer.points: it is more than 10"),
    ] {
        let failure = judged(ModelResponse::text(said)).expect_err("it does not fit");
        assert_eq!(failure.message, format!("the model's answer does not fit: {why}"));
        assert!(failure.retryable && failure.code == "BAD_OUTPUT");
    }
}

#[test]
fn an_answer_that_is_none_is_told_apart() {
    let cut = judged(ModelResponse::text(r#"{"spam": tr"#).finish(FinishReason::Length)).expect_err("it was cut off");
    assert!(cut.message.contains("cut off"), "{cut}");
    let refused = judged(ModelResponse::text("I cannot.").finish(FinishReason::Refused)).expect_err("it refused");
    assert_eq!((refused.code.as_str(), refused.retryable), ("MODEL_REFUSED", false));
    assert_eq!(refused.message, "the model would not answer: I cannot.");
}

#[test]
fn a_tool_whose_name_is_none_is_told_before_anything_is_sent() {
    #[function]
    async fn bad(ctx: FnCtx) -> Result<(), Failure> {
        ctx.model("test/model").tool(look_up.named("look up")).await?;
        Ok(())
    }
    let host = Host::new().on_model(|_| panic!("nobody is asked"));
    assert_eq!(host.call(bad(())).expect_err("it cannot be sent").code, "BAD_REQUEST");
}

#[test]
fn several_calls_are_made_at_once() {
    #[function]
    async fn both(ctx: FnCtx) -> Result<String, Failure> {
        let (one, other) = try_join!(ctx.model("test/a").user("1"), ctx.model("test/b").user("2"))?;
        let early = ctx.model("test/c").user("3").send().start();
        let page = http::get("https://example.com").send().await?.text()?;
        Ok(format!("{}{}{page}{}", one.text(), other.text(), early.await?.text()))
    }
    let host = Host::new()
        .on_http(|_| HttpResponse::new(200, "-"))
        .on_model(|asked| ModelResponse::text(asked.last_content()).after(Duration::from_secs(5)));
    assert_eq!(host.call(both(())).expect("it succeeds"), "12-3");
    assert_eq!(host.elapsed(), Duration::from_secs(10));
    assert_eq!(host.effects(), ["model test/a", "model test/b", "model test/c", "http GET https://example.com"]);
}
