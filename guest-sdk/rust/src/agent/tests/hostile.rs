//! Models that say anything at all: an agent neither panics nor goes on for ever, and makes no call that does not fit.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::rc::Rc;

use super::*;
use crate::model::told;

/// What a tool here takes.
#[value]
struct Careful {
    #[schemars(range(min = 1, max = 100))]
    amount: u32,
    #[schemars(length(max = 5))]
    who: String,
    #[serde(default)]
    how: Option<How>,
}

#[value]
#[serde(rename_all = "lowercase")]
enum How {
    Cash,
    Card,
}

/// Takes care.
#[tool]
fn careful(input: Careful) -> Careful {
    SEEN.with_borrow_mut(|seen| seen.push(serde_json::to_value(&input).expect("it is JSON")));
    input
}

thread_local! {
    static SEEN: RefCell<Vec<Json>> = const { RefCell::new(Vec::new()) };
    static REPORTER: RefCell<Option<Agent<Report>>> = const { RefCell::new(None) };
}

#[function]
async fn report(ctx: FnCtx) -> Result<AgentAnswer<Report>, Failure> {
    REPORTER.take().expect("the test has put an agent there").run(&ctx, "Report.").await
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["careful", "wait", "hand_off_to_other", "inner"]).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => prop::sample::select(vec!["", "CAREFUL", "careful ", "../careful"]).prop_map(str::to_owned),
    ]
}

fn arguments() -> impl Strategy<Value = String> {
    let amount = prop_oneof![
        (0..120_i64).prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        Just(Json::Null),
        any::<String>().prop_map(Json::from),
    ];
    let who = prop_oneof![Just("Ada".to_owned()), any::<String>()];
    let how = prop::sample::select(vec![Json::Null, json!("cash"), json!("CARD"), json!(["cash"])]);
    let fields = (amount, who, how);
    prop_oneof![
        4 => fields.prop_map(|(amount, who, how)| json!({ "amount": amount, "who": who, "how": how }).to_string()),
        2 => (0..3_u64).prop_map(|seconds| json!({ "input": seconds }).to_string()),
        1 => any::<String>(),
        1 => prop::sample::select(vec!["", "null", "{}", "[1, \"Ada\"]", "{\"amount\": 1e999}", "{\"amount\": 1, \"amount\": 2, \"who\": \"a\"}"])
            .prop_map(str::to_owned),
        1 => Just("[".repeat(50_000)),
    ]
}

#[derive(Debug, Clone)]
struct Said {
    content: Option<String>,
    calls: Vec<(String, String)>,
    usage: (u64, u64),
    cost: Option<u64>,
    finish: FinishReason,
}

fn answers() -> impl Strategy<Value = Said> {
    let calls = prop_oneof![
        6 => prop::collection::vec((names(), arguments()), 0..4),
        1 => prop::collection::vec((names(), Just("{}".to_owned())), 60..200),
    ];
    let tokens = prop_oneof![0..1_000_u64, any::<u64>()];
    let finish = prop::sample::select(vec![
        FinishReason::Stop,
        FinishReason::ToolCalls,
        FinishReason::Length,
        FinishReason::Refused,
        FinishReason::Other,
    ]);
    (prop::option::of(any::<String>()), calls, (tokens.clone(), tokens), prop::option::of(any::<u64>()), finish)
        .prop_map(|(content, calls, usage, cost, finish)| Said { content, calls, usage, cost, finish })
}

fn response(said: &Said) -> ModelResponse {
    let response = ModelResponse::text(said.content.clone().unwrap_or_default());
    let with_calls = said
        .calls
        .iter()
        .fold(response, |response, (name, arguments)| response.and_raw_tool_call(name, arguments.as_str()));
    with_calls.usage(said.usage.0, said.usage.1).cost(said.cost.map(Usd::from_nanos)).finish(said.finish)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_hostile_model_reaches_nothing_that_it_was_not_given(
        said in prop::collection::vec(answers(), 1..8),
        tokens in prop::option::of(0..5_000_u64),
        cost in prop::option::of(any::<u64>()),
    ) {
        SEEN.take();
        let (said, asked) = (Rc::new(said), Rc::new(RefCell::new(0_u32)));
        let (model, count) = (said.clone(), asked.clone());
        let host = Host::new().on_model(move |request| {
            *count.borrow_mut() += 1;
            // The same again and again: a model that never ends.
            response(&model[(request.number as usize - 1) % model.len()])
        });
        let mut budget = Budget::new();
        if let Some(tokens) = tokens {
            budget = budget.tokens(tokens);
        }
        if let Some(cost) = cost {
            budget = budget.cost(Usd::from_nanos(cost));
        }
        let inner = Agent::new("inner").model("test/inner").tool(careful).max_iterations(2);
        let other = Agent::new("other").model("test/other").tool(careful);
        let agent = agent()
            .tool(careful)
            .tool(wait)
            .tool(inner.as_tool("Works."))
            .hand_off_to(other)
            .max_iterations(6)
            .budget(budget)
            .output::<Report>();
        REPORTER.set(Some(agent));
        let outcome = host.call(report(()));
        // Each of six calls may use 64 tools, each of which asks twice.
        prop_assert!(*asked.borrow() <= 6 + 6 * 64 * 2);
        let schema = jsonschema::validator_for(&told(Careful::input_schema())).expect("it is a schema");
        SEEN.with_borrow(|seen| seen.iter().for_each(|input| assert!(schema.is_valid(input), "{input}")));
        match outcome {
            Ok(answer) => prop_assert!(answer.iterations <= 6),
            Err(failure) => {
                let codes = ["BUDGET_EXCEEDED", "ITERATIONS_EXCEEDED", "BAD_OUTPUT", "MODEL_REFUSED", "MODEL_BROKEN"];
                prop_assert!(codes.contains(&failure.code.as_str()), "{}", failure);
            }
        }
    }
}
