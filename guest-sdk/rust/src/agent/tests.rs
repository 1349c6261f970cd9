use serde_json::json;
use std::cell::RefCell;

use super::*;
use crate::prelude::*;
use crate::testing::{AskedModel, Host, HttpResponse, ModelResponse};
use crate::{Role, code};

mod hostile;
mod odd;

/// Says what a page says.
#[tool]
async fn fetch(url: String) -> Result<String, Failure> {
    http::get(url).send().await?.error_for_status()?.text()
}

/// Waits so many seconds.
#[tool]
async fn wait(ctx: FnCtx, seconds: u64) -> Result<u64, Failure> {
    ctx.sleep(Duration::from_secs(seconds)).await?;
    Ok(seconds)
}

/// Pays an amount.
#[tool(needs_approval)]
fn pay(cents: u32) -> u32 {
    cents
}

/// Never works.
#[tool]
fn fail(fatally: bool) -> Result<(), Failure> {
    let failure = Failure::permanent("NO_LUCK", "it cannot work");
    Err(if fatally { failure.fatal() } else { failure })
}

#[value]
#[derive(Debug, PartialEq)]
struct Report {
    title: String,
    pages: u32,
}

type Made = Result<AgentAnswer<Json>, Failure>;

thread_local! {
    static AGENT: RefCell<Option<Agent<Json>>> = const { RefCell::new(None) };
}

/// Runs whichever agent the test has put there.
#[function]
async fn work(ctx: FnCtx, messages: Vec<Message>) -> Result<AgentAnswer<Json>, Failure> {
    let agent = AGENT.take().expect("the test has put an agent there");
    agent.run(&ctx, messages).await
}

/// The same, whatever comes out in the end.
fn untyped<T>(agent: Agent<T>) -> Agent<Json> {
    let read = |text: &str| Ok(serde_json::from_str(text).unwrap_or_else(|_| Json::from(text)));
    Agent { spec: agent.spec, read, write: |value| Ok(value.clone()) }
}

fn drive<T>(agent: Agent<T>, host: &Host) -> Made {
    AGENT.set(Some(untyped(agent)));
    host.call(work(vec![Message::user("Go.")]))
}

fn agent() -> Agent {
    Agent::new("worker").model("test/model").instructions("Work.")
}

fn host(answers: impl Fn(&AskedModel) -> ModelResponse + 'static) -> Host {
    Host::new().on_model(answers)
}

#[test]
fn tools_are_called_at_once_and_their_answers_are_given_back() {
    let host = host(|asked| match asked.number {
        1 => ModelResponse::tool_call("wait", &json!({ "input": 30 }))
            .and_tool_call("fetch", &json!({ "input": "https://example.com/a" }))
            .and_tool_call("wait", &json!({ "input": 20 })),
        _ => {
            let said: Vec<_> = asked.messages.iter().map(|message| (message.role, message.content.clone())).collect();
            assert_eq!(said[0], (Role::System, Some("Work.".into())));
            ModelResponse::json(&said[3..])
        }
    })
    .on_http(|_| HttpResponse::new(200, "a page"));
    let answer = drive(agent().tool(fetch).tool(wait), &host).expect("it succeeds");
    assert_eq!(answer.output, json!([["tool", "30"], ["tool", "a page"], ["tool", "20"]]));
    assert_eq!((answer.iterations, answer.agent.as_str(), host.elapsed()), (2, "worker", Duration::from_secs(30)));
    assert_eq!(
        host.effects(),
        [
            "agent worker",
            "  model test/model",
            "  tool wait",
            "  tool fetch",
            "    http GET https://example.com/a",
            "  tool wait",
            "  model test/model",
        ]
    );
    let roles: Vec<_> = answer.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::Tool, Role::Tool, Role::Assistant]);
}

#[test]
fn what_a_model_gets_wrong_it_is_told_and_nothing_is_called() {
    let host = host(|asked| match asked.number {
        1 => ModelResponse::tool_call("delete_all", &json!({}))
            .and_tool_call("wait", &json!({ "input": "a while" }))
            .and_raw_tool_call("fetch", "{\"input\": "),
        _ => {
            let told: Vec<_> = asked.messages.iter().filter(|message| message.is_error).collect();
            ModelResponse::json(&told.iter().map(|message| message.content.clone()).collect::<Vec<_>>())
        }
    });
    let answer = drive(agent().tool(fetch).tool(wait), &host).expect("it succeeds");
    let told: Vec<String> = serde_json::from_value(answer.output).expect("it is a list");
    assert_eq!(
        told,
        [
            "UNKNOWN_TOOL: there is no tool of that name; there are: fetch, wait",
            "BAD_INPUT: arguments.input: expected integer, not string",
            "BAD_INPUT: arguments.input: EOF while parsing a value",
        ]
    );
    assert_eq!(
        host.effects(),
        [
            "agent worker",
            "  model test/model",
            "  tool wait: BAD_INPUT",
            "  tool fetch: BAD_INPUT",
            "  model test/model",
        ]
    );
}

#[test]
fn more_calls_than_anybody_needs_are_not_made() {
    let host = host(|asked| match asked.number {
        1 => (0..200).fold(ModelResponse::text(""), |said, _| said.and_tool_call("wait", &json!({ "input": 1 }))),
        _ => {
            let refused = asked.messages.iter().filter(|message| message.is_error).count();
            ModelResponse::text(refused.to_string())
        }
    });
    assert_eq!(drive(agent().tool(wait), &host).expect("it succeeds").output, json!(136));
    // Sixteen at once.
    assert_eq!(host.elapsed(), Duration::from_secs(4));
}

#[test]
fn what_is_told_again_is_what_providers_take() {
    let host = host(|asked| match asked.number {
        1 => ModelResponse::text("").and_tool_call("no such tool!", &json!({})).and_tool_call("", &json!({})),
        2 => ModelResponse::text(""),
        _ => {
            let calls = &asked.messages[2].tool_calls;
            assert_eq!(calls.iter().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["no_such_tool_", "unknown"]);
            // The empty answer is left out.
            let roles: Vec<_> = asked.messages[3..].iter().map(|message| message.role).collect();
            assert_eq!(roles, [Role::Tool, Role::Tool, Role::User]);
            ModelResponse::text("done")
        }
    });
    AGENT.set(Some(Agent { read: |text| read_text(text).map(Json::from), ..untyped(agent().tool(wait)) }));
    host.call(work(vec![Message::user("Go.")])).expect("it succeeds");
}

#[test]
fn a_failure_of_a_tool_is_told_unless_it_is_fatal() {
    let calls = |fatally: bool| {
        host(move |asked| match asked.number {
            1 => ModelResponse::tool_call("fail", &json!({ "input": fatally })),
            _ => ModelResponse::text(asked.last_content()),
        })
    };
    let told = drive(agent().tool(fail), &calls(false)).expect("it succeeds");
    assert_eq!(told.output, "NO_LUCK: it cannot work");
    for (agent, fatally) in [(agent().tool(fail), true), (agent().tool(fail.fatal()), false)] {
        let host = calls(fatally);
        assert_eq!(drive(agent, &host).expect_err("it fails").code, "NO_LUCK");
        assert_eq!(host.effects(), ["agent worker: NO_LUCK", "  model test/model", "  tool fail: NO_LUCK"]);
    }
}

#[test]
fn a_fatal_failure_stops_the_calls_beside_it() {
    let host = host(|_| {
        ModelResponse::tool_call("wait", &json!({ "input": 30 })).and_tool_call("fail", &json!({ "input": true }))
    });
    assert_eq!(drive(agent().tool(wait).tool(fail), &host).expect_err("it fails").code, "NO_LUCK");
    assert_eq!(
        host.effects(),
        ["agent worker: NO_LUCK", "  model test/model", "  tool wait: CANCELLED", "  tool fail: NO_LUCK"]
    );
    assert_eq!(host.elapsed(), Duration::ZERO);
}

#[test]
fn an_agent_that_never_ends_is_ended() {
    let host = host(|_| ModelResponse::tool_call("wait", &json!({ "input": 1 })).usage(10, 5));
    let failure = drive(agent().tool(wait).max_iterations(3), &host).expect_err("it fails");
    assert_eq!((failure.code.as_str(), failure.retryable), ("ITERATIONS_EXCEEDED", false));
    let details = failure.details.expect("what was used");
    assert_eq!((&details["iterations"], &details["usage"]["input_tokens"]), (&json!(3), &json!(30)));
    assert_eq!(host.elapsed(), Duration::from_secs(3));
}

#[test]
fn an_answer_that_does_not_fit_can_be_mended_once() {
    #[function]
    async fn report(ctx: FnCtx) -> Result<AgentAnswer<Report>, Failure> {
        agent().output::<Report>().run(&ctx, "Report.").await
    }
    let host = |times: u32| {
        host(move |asked| {
            assert_eq!(asked.output.as_ref().expect("it is asked for").name, "Report");
            match asked.number {
                number if number <= times => ModelResponse::text(r#"{"title": "Tides"}"#),
                _ => ModelResponse::json(&json!({ "title": asked.last_content(), "pages": 2 })),
            }
        })
    };
    let answer = host(1).call(report(())).expect("it was mended");
    let told = "Your answer does not fit: answer: `pages` is missing. Answer again, with nothing but JSON that fits the schema.";
    assert_eq!((answer.output.title.as_str(), answer.output.pages, answer.iterations), (told, 2, 2));
    let failure = host(2).call(report(())).expect_err("it was not");
    assert_eq!((failure.code.as_str(), failure.retryable), ("BAD_OUTPUT", true));
}

#[test]
fn an_empty_answer_is_none() {
    #[function]
    async fn answer(ctx: FnCtx) -> Result<String, Failure> {
        Ok(agent().run(&ctx, "Say something.").await?.output)
    }
    let said = |empty: u32| {
        host(move |asked| ModelResponse::text(if asked.number <= empty { " " } else { "Something." })).call(answer(()))
    };
    assert_eq!(said(1).expect("it was mended"), "Something.");
    assert_eq!(said(2).expect_err("it was not").code, "BAD_OUTPUT");
}

#[test]
fn a_conversation_is_handed_over_with_all_that_was_said() {
    let billing = Agent::new("billing").model("test/billing").instructions("You know bills.").tool(wait);
    let triage = agent().hand_off_to(billing.description("Knows bills."));
    let host = host(|asked| match asked.number {
        1 => {
            assert_eq!(asked.tools[0].name, "hand_off_to_billing");
            assert!(asked.tools[0].description.contains("Knows bills."));
            ModelResponse::tool_call("hand_off_to_billing", &json!({}))
                .and_tool_call("hand_off_to_billing", &json!({}))
                .usage(10, 1)
        }
        2 => {
            let (first, names): (_, Vec<_>) =
                (&asked.messages[0], asked.tools.iter().map(|tool| tool.name.as_str()).collect());
            assert_eq!((first.content.as_deref(), asked.messages.len()), (Some("You know bills."), 5));
            assert_eq!((names, asked.model.as_str()), (vec!["wait"], "test/billing"));
            assert!(asked.messages[4].is_error);
            ModelResponse::tool_call("wait", &json!({ "input": 1 })).usage(10, 1)
        }
        _ => ModelResponse::text("paid").usage(10, 1),
    });
    let answer = drive(triage, &host).expect("it succeeds");
    assert_eq!((answer.output, answer.agent.as_str(), answer.usage.total_tokens()), (json!("paid"), "billing", 33));
    assert_eq!(
        host.effects(),
        [
            "agent worker",
            "  model test/model",
            "agent billing",
            "  model test/billing",
            "  tool wait",
            "  model test/billing",
        ]
    );
}

#[test]
fn an_agent_is_a_tool_of_another() {
    let reader = Agent::new("reader").model("test/reader").tool(fetch).output::<Report>();
    let host = host(|asked| match (asked.model.as_str(), asked.messages.len()) {
        ("test/model", 2) => ModelResponse::tool_call("reader", &json!({ "input": "Read a." })).usage(5, 5),
        ("test/model", _) => ModelResponse::text(asked.last_content()).usage(5, 5),
        (_, 1) => {
            assert_eq!(asked.last_content(), "Read a.");
            ModelResponse::tool_call("fetch", &json!({ "input": "https://example.com/a" })).usage(5, 5)
        }
        _ => ModelResponse::json(&Report { title: asked.last_content().into(), pages: 1 }).usage(5, 5),
    })
    .on_http(|_| HttpResponse::new(200, "a page"));
    let answer = drive(agent().tool(reader.as_tool("Reads pages.")), &host).expect("it succeeds");
    assert_eq!(answer.output, json!({ "title": "a page", "pages": 1 }));
    assert_eq!((answer.usage.total_tokens(), answer.iterations), (40, 2));
    assert_eq!(
        host.effects(),
        [
            "agent worker",
            "  model test/model",
            "  tool reader",
            "    agent reader",
            "      model test/reader",
            "      tool fetch",
            "        http GET https://example.com/a",
            "      model test/reader",
            "  model test/model",
        ]
    );
}

#[test]
fn a_person_is_asked_before_a_call_that_needs_it() {
    let asks = || {
        host(|asked| match asked.number {
            1 => {
                ModelResponse::tool_call("pay", &json!({ "input": 500 })).and_tool_call("wait", &json!({ "input": 5 }))
            }
            _ => ModelResponse::text(asked.messages[3].content.clone().unwrap_or_default()),
        })
    };
    let day = Duration::from_secs(86_400);
    let title = "May agent worker call pay?";
    // Time in which a person is waited for does not count.
    let agent = || agent().tool(pay).tool(wait).budget(Budget::new().time(Duration::from_secs(60)));
    let host = asks().answer_after(day, title, &json!({ "approve": true }));
    assert_eq!(drive(agent(), &host).expect("it succeeds").output, 500);
    assert_eq!(host.elapsed(), day);
    assert_eq!(
        host.effects(),
        [
            "agent worker",
            "  model test/model",
            "  tool pay",
            "    ask May agent worker call pay?",
            "  tool wait",
            "  model test/model"
        ]
    );
    let host = asks().answer_after(day, title, &json!({ "approve": false, "why": "too much" }));
    let answer = drive(agent(), &host).expect("it goes on");
    assert_eq!(answer.output, "REFUSED: a person did not allow this call: too much");
    // A call that cannot be made is not asked about.
    let host = self::host(|asked| match asked.number {
        1 => ModelResponse::tool_call("pay", &json!({ "input": -500 })),
        _ => ModelResponse::text("never mind"),
    });
    assert_eq!(drive(agent(), &host).expect("it goes on").output, "never mind");
}

#[test]
fn which_calls_need_a_person_can_be_said_by_the_agent() {
    let host = host(|asked| match asked.number {
        1 => ModelResponse::tool_call("wait", &json!({ "input": 5 })).and_tool_call("wait", &json!({ "input": 500 })),
        _ => ModelResponse::text("done"),
    })
    .answer_after(Duration::ZERO, "May agent worker call wait?", &json!({ "approve": false }));
    let long = |call: &ToolCall| call.input::<Json>().is_ok_and(|input| input["input"].as_u64() > Some(60));
    drive(agent().tool(wait).approve(long), &host).expect("it succeeds");
    assert_eq!(host.elapsed(), Duration::from_secs(5));
    assert_eq!(host.effects()[3..5], ["  tool wait: REFUSED", "    ask May agent worker call wait?"]);
}

#[test]
fn hooks_see_change_and_refuse() {
    let host = host(|asked| match asked.number {
        1 => {
            assert_eq!(asked.temperature, Some(0.0));
            ModelResponse::tool_call("wait", &json!({ "input": 500 })).and_tool_call("fetch", &json!({ "input": "a" }))
        }
        _ => ModelResponse::json(&asked.messages[3..].iter().map(|said| said.content.clone()).collect::<Vec<_>>()),
    });
    let agent = agent()
        .tool(wait)
        .tool(fetch)
        .before_model(|request| {
            request.temperature = Some(0.0);
            Ok(())
        })
        .after_model(|answer| {
            answer.content = answer.content.take().map(|content| content.replace("secret", "***"));
            Ok(())
        })
        .before_tool(|call| match call.name.as_str() {
            "fetch" => Err(Failure::permanent("NOT_TODAY", "no pages today")),
            _ => {
                call.arguments = r#"{"input": 2}"#.into();
                Ok(())
            }
        })
        .after_tool(|call, outcome| {
            *outcome = Ok(json!(format!("secret of {}", call.name)));
            Ok(())
        });
    let answer = drive(agent, &host).expect("it succeeds");
    assert_eq!(answer.output, json!(["*** of wait", "NOT_TODAY: no pages today"]));
    assert_eq!(host.elapsed(), Duration::from_secs(2));
}

#[test]
fn a_hook_that_makes_arguments_wrong_calls_nothing() {
    let host = host(|asked| match asked.number {
        1 => ModelResponse::tool_call("wait", &json!({ "input": 5 })),
        _ => ModelResponse::text(asked.last_content()),
    });
    let agent = agent().tool(wait).before_tool(|call| {
        call.arguments = "nonsense".into();
        Ok(())
    });
    assert_eq!(drive(agent, &host).expect("it goes on").output, "BAD_INPUT: arguments: expected ident");
    assert_eq!(host.elapsed(), Duration::ZERO);
}

#[test]
fn hooks_of_models_end_the_agent() {
    let veto = || Failure::permanent("VETO", "not this way");
    let host = host(|_| ModelResponse::text("hello"));
    assert_eq!(drive(agent().before_model(move |_| Err(veto())), &host).expect_err("it ends").code, "VETO");
    assert_eq!(host.effects(), ["agent worker: VETO"]);
    assert_eq!(drive(agent().after_model(move |_| Err(veto())), &host).expect_err("it ends").code, "VETO");
    let fatal = agent().tool(wait).before_tool(move |_| Err(veto().fatal()));
    let host = self::host(|_| ModelResponse::tool_call("wait", &json!({ "input": 5 })));
    assert_eq!(drive(fatal, &host).expect_err("it ends").code, "VETO");
}

#[test]
fn an_agent_that_is_set_up_wrongly_says_so_and_asks_nobody() {
    let host = host(|_| panic!("nobody is asked"));
    for (agent, told) in [
        (Agent::new("worker"), "has no model"),
        (Agent::new("two words").model("test/model"), "the name of an agent is"),
        (agent().tool(wait).tool(fetch.named("wait")), "two tools of the name `wait`"),
        (agent().tool(wait.named("a b")), "the name of a tool is"),
    ] {
        let failure = drive(agent, &host).expect_err("it cannot be run");
        assert!(failure.code == "BAD_REQUEST" && failure.message.contains(told), "{failure}");
    }
}

#[test]
fn a_failure_of_the_model_ends_the_attempt() {
    let host = host(|asked| match asked.number {
        1 => ModelResponse::tool_call("wait", &json!({ "input": 1 })),
        _ => ModelResponse::failed(Failure::new("MODEL_RATE_LIMITED", "later").retry_after(Duration::from_secs(9))),
    });
    let failure = drive(agent().tool(wait), &host).expect_err("it fails");
    assert!(failure.retryable && failure.retry_after_ms == Some(9_000), "{failure}");
    let refusing = self::host(|_| ModelResponse::text("No.").finish(FinishReason::Refused));
    assert_eq!(drive(agent(), &refusing).expect_err("it fails").code, code::MODEL_REFUSED);
}

#[test]
fn what_was_said_can_be_gone_on_with() {
    let host = host(|asked| ModelResponse::text(format!("{}", asked.messages.len())));
    let first = drive(agent(), &host).expect("it succeeds");
    AGENT.set(Some(untyped(agent())));
    let messages = [first.messages, vec![Message::user("And now?")]].concat();
    assert_eq!(host.call(work(messages)).expect("it succeeds").output, json!(4));
}
