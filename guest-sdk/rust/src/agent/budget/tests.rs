use std::cell::RefCell;
use std::rc::Rc;

use serde_json::json;

use super::*;
use crate::prelude::*;
use crate::testing::{AskedModel, Host, ModelResponse};
use crate::{AgentAnswer, FinishReason};

/// Waits so many seconds.
#[tool]
async fn wait(ctx: FnCtx, seconds: u64) -> Result<u64, Failure> {
    ctx.sleep(Duration::from_secs(seconds)).await?;
    Ok(seconds)
}

/// Translates a text.
#[tool]
async fn translate(ctx: FnCtx, text: String) -> Result<String, Failure> {
    Ok(ctx.model("test/translator").system("Translate.").user(text).await?.text().to_owned())
}

thread_local! {
    static BUDGET: RefCell<Budget> = RefCell::new(Budget::new());
}

#[function]
async fn work(ctx: FnCtx) -> Result<AgentAnswer, Failure> {
    let inner = Agent::new("inner").model("test/model").tool(wait);
    let agent = Agent::new("worker").model("test/model").tool(wait).tool(translate).tool(inner.as_tool("Works."));
    agent.budget(BUDGET.take()).run(&ctx, "Go.").await
}

/// How often the model was asked, and what came of it.
fn drive(
    budget: Budget,
    answer: impl Fn(&AskedModel) -> ModelResponse + 'static,
) -> (u32, Result<AgentAnswer, Failure>) {
    let asked = Rc::new(RefCell::new(0));
    let count = asked.clone();
    let host = Host::new().on_model(move |request| {
        *count.borrow_mut() = request.number;
        answer(request)
    });
    BUDGET.set(budget);
    let outcome = host.call(work(()));
    (asked.take(), outcome)
}

fn goes_on() -> ModelResponse {
    ModelResponse::tool_call("wait", &json!({ "input": 1 }))
}

fn cents(cents: u64) -> Usd {
    Usd::from_nanos(cents * 10_000_000)
}

#[test]
fn tokens_end_it_before_the_call_that_would_go_over() {
    let (asked, outcome) = drive(Budget::new().tokens(1_000), |asked| {
        let number = u64::from(asked.number);
        goes_on().usage(100 * number, 50)
    });
    // 150, 250 and 350 are 750: the next call is given 300 and more.
    let failure = outcome.expect_err("it goes over");
    assert_eq!((asked, failure.code.as_str(), failure.retryable), (3, "BUDGET_EXCEEDED", false));
    let details = json!({ "agent": "worker", "budget": "tokens", "limit": 1_000, "used": 750 });
    assert_eq!(failure.details, Some(details));
    assert!(failure.message.contains("750 of 1000 tokens are used, and the next call is given about 3"), "{failure}");
}

#[test]
fn an_answer_may_not_be_longer_than_what_is_left() {
    let (asked, outcome) = drive(Budget::new().tokens(1_000), |asked| match asked.number {
        1 => {
            assert!(asked.max_tokens.is_some_and(|tokens| (850..1_000).contains(&tokens)));
            goes_on().usage(100, 700)
        }
        _ => {
            assert!(asked.max_tokens.is_some_and(|tokens| (50..100).contains(&tokens)), "{:?}", asked.max_tokens);
            ModelResponse::text("I was about to").usage(110, 90).finish(FinishReason::Length)
        }
    });
    assert_eq!((asked, outcome.expect_err("it was cut off").code.as_str()), (2, "BUDGET_EXCEEDED"));
}

#[test]
fn money_ends_it_before_the_call_that_would_go_over() {
    for price in [None, Some((cents(100), cents(400)))] {
        let (asked, outcome) = drive(Budget::new().cost_usd(0.075), move |_| {
            let answer = goes_on().usage(10_000, 0).cost(Some(cents(1)));
            match price {
                Some((input, output)) => answer.price(input, output),
                None => answer,
            }
        });
        let failure = outcome.expect_err("it goes over");
        assert_eq!((asked, failure.code.as_str()), (7, "BUDGET_EXCEEDED"), "{failure}");
        assert!(failure.message.contains("$0.07 of $0.075 are spent"), "{failure}");
    }
}

#[test]
fn money_limits_an_answer_by_what_a_token_costs() {
    let (_, outcome) = drive(Budget::new().cost(cents(100)), |asked| match asked.number {
        // A cent for a hundred tokens given, four for a hundred said.
        1 => goes_on().usage(1_000, 1_000).cost(Some(cents(50))).price(cents(10_000), cents(40_000)),
        _ => {
            // 50 cents are left, 10 of them go for what it is given.
            assert!(asked.max_tokens.is_some_and(|tokens| (950..=1_000).contains(&tokens)), "{:?}", asked.max_tokens);
            ModelResponse::text("done").usage(1_000, 10).cost(Some(cents(11)))
        }
    });
    assert_eq!(outcome.expect("it is within").cost, Some(cents(61)));
}

#[test]
fn a_model_is_not_asked_for_more_than_it_may_be_able_to_say() {
    let (_, outcome) = drive(Budget::new().tokens(1_000_000).cost_usd(100.0), |asked| {
        assert_eq!(asked.max_tokens, None);
        ModelResponse::text("done").usage(10, 10).cost(Some(cents(1)))
    });
    outcome.expect("it is within");
}

#[test]
fn a_price_that_nobody_knows_ends_it_after_the_first_call() {
    let (asked, outcome) = drive(Budget::new().cost_usd(1.0), |_| goes_on().cost(None));
    let failure = outcome.expect_err("it cannot be kept to");
    assert!(failure.message.contains("the price of `test/model` is not known"), "{failure}");
    assert_eq!((asked, failure.code.as_str()), (1, "BUDGET_EXCEEDED"));
    let (_, outcome) = drive(Budget::new(), |_| ModelResponse::text("done").cost(None));
    assert_eq!(outcome.expect("nothing was to be kept to").cost, None);
}

#[test]
fn time_ends_it_and_limits_the_call_before() {
    let (asked, outcome) = drive(Budget::new().time(Duration::from_secs(10)), |asked| match asked.number {
        1 => goes_on().after(Duration::from_secs(4)),
        _ => {
            assert_eq!(asked.options["timeout_ms"], 5_000);
            goes_on().after(Duration::from_secs(60))
        }
    });
    let failure = outcome.expect_err("it takes too long");
    assert_eq!((asked, failure.code.as_str()), (2, "BUDGET_EXCEEDED"));
    assert_eq!(failure.details.expect("what was used")["budget"], "time_ms");
}

#[test]
fn what_a_tool_agent_uses_counts_for_whoever_uses_it() {
    let (asked, outcome) = drive(Budget::new().tokens(1_000), |asked| match asked.messages.len() {
        1 if asked.last_content() == "Go." => {
            ModelResponse::tool_call("inner", &json!({ "input": "Work." })).usage(100, 0)
        }
        _ => goes_on().usage(300, 0),
    });
    // 100, then 300 twice: the inner agent would go over with the next one, the outer one with the one after it.
    let failure = outcome.expect_err("it goes over");
    assert_eq!((asked, failure.code.as_str()), (4, "BUDGET_EXCEEDED"));
    assert_eq!(failure.details.expect("what was used")["agent"], "worker");
}

#[test]
fn a_budget_of_nothing_asks_nobody() {
    for budget in [Budget::new().tokens(0), Budget::new().cost_usd(0.0), Budget::new().time(Duration::ZERO)] {
        let (asked, outcome) = drive(budget, |_| goes_on());
        assert_eq!((asked, outcome.expect_err("it cannot begin").code.as_str()), (0, "BUDGET_EXCEEDED"));
    }
}

#[test]
fn a_model_that_a_tool_asks_counts_for_the_agent_that_uses_it() {
    let says = |tokens: u64| {
        move |asked: &AskedModel| match asked.model.as_str() {
            "test/translator" => ModelResponse::text("adieu").usage(tokens, 10).cost(Some(cents(2))),
            _ if asked.number == 1 => {
                ModelResponse::tool_call("translate", &json!({ "input": "bye" })).usage(100, 10).cost(Some(cents(1)))
            }
            _ => ModelResponse::text(asked.last_content()).usage(150, 10).cost(Some(cents(1))),
        }
    };
    let (asked, outcome) = drive(Budget::new().tokens(1_000), says(100));
    let answer = outcome.expect("it is within");
    assert_eq!((asked, answer.output.as_str(), answer.usage.total_tokens()), (3, "adieu", 380));
    assert_eq!((answer.cost, answer.iterations), (Some(cents(4)), 2));
    let (asked, outcome) = drive(Budget::new().tokens(1_000), says(900));
    let failure = outcome.expect_err("the tool used it up");
    assert_eq!((asked, failure.code.as_str()), (2, "BUDGET_EXCEEDED"));
    assert_eq!(failure.details.expect("what was used")["used"], 1_020);
    let (_, outcome) = drive(Budget::new().cost(cents(3)), says(100));
    assert_eq!(outcome.expect_err("it is spent").code, "BUDGET_EXCEEDED");
}

#[test]
fn a_tool_asks_no_model_beyond_the_budget_of_its_agent() {
    let long = "word ".repeat(1_000);
    let (asked, outcome) = drive(Budget::new().tokens(1_000), move |asked| match asked.number {
        1 => ModelResponse::tool_call("translate", &json!({ "input": long })).usage(100, 10),
        _ => panic!("{} was asked", asked.model),
    });
    // The tool's failure is told, and then nothing is left for the agent to read it with.
    assert_eq!((asked, outcome.expect_err("nothing is left").code.as_str()), (1, "BUDGET_EXCEEDED"));
}

#[test]
fn time_limits_the_calls_of_tools_as_well() {
    let (asked, outcome) = drive(Budget::new().time(Duration::from_secs(10)), |asked| match asked.number {
        1 => ModelResponse::tool_call("translate", &json!({ "input": "bye" })).after(Duration::from_secs(4)),
        2 => {
            assert_eq!(asked.options["timeout_ms"], 6_000);
            ModelResponse::text("adieu").after(Duration::from_secs(60))
        }
        _ => panic!("no time was left"),
    });
    assert_eq!((asked, outcome.expect_err("it takes too long").code.as_str()), (2, "BUDGET_EXCEEDED"));
}

#[test]
fn a_provider_that_tells_no_tokens_is_held_to_the_budget_by_the_length_of_what_is_said() {
    let said = "x".repeat(400);
    let (asked, outcome) = drive(Budget::new().tokens(2_000), move |_| {
        ModelResponse::text(said.clone()).and_tool_call("wait", &json!({ "input": 1 })).usage(0, 0)
    });
    // Each answer is a hundred tokens and some, and all of them are given again with the next call.
    let failure = outcome.expect_err("it goes over");
    assert_eq!(failure.code, "BUDGET_EXCEEDED");
    assert!((3..10).contains(&asked), "{asked}");
    assert!(failure.details.expect("what was used")["used"].as_u64() > Some(500));
}
