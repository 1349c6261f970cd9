//! Answers that are cut off or confused, and agents that work for themselves: what is not clear is not called.

use serde_json::json;

use super::*;

/// Clears everything.
#[tool]
fn clear() -> String {
    "cleared".to_owned()
}

/// Does the same again, by an agent of its own.
#[tool]
async fn again(ctx: FnCtx, depth: u32) -> Result<String, Failure> {
    Ok(deeper().run(&ctx, format!("{depth}")).await?.output)
}

fn deeper() -> Agent {
    Agent::new("deeper").model("test/model").tool(again)
}

#[test]
fn a_call_that_was_cut_off_is_not_made() {
    for (arguments, finish, called) in [
        ("", FinishReason::Length, false),
        ("  ", FinishReason::Length, false),
        ("{\"input\": tr", FinishReason::Length, false),
        ("{}", FinishReason::Length, true),
        ("", FinishReason::ToolCalls, true),
    ] {
        let host = host(move |asked| match asked.number {
            1 => ModelResponse::text("").and_raw_tool_call("clear", arguments).finish(finish),
            _ => ModelResponse::text(asked.last_content()),
        });
        let told = drive(agent().tool(clear), &host).expect("it goes on").output;
        let told = told.as_str().expect("text");
        assert_eq!(told.starts_with("cleared"), called, "{arguments} {finish:?}: {told}");
        assert_eq!(told.starts_with("BAD_INPUT"), !called, "{arguments} {finish:?}: {told}");
    }
}

#[test]
fn calls_that_a_provider_numbers_anew_in_each_answer_are_told_apart() {
    let host = host(|asked| match asked.number {
        ..=3 => ModelResponse::text("")
            .and_raw_tool_call("wait", "{\"input\": 1}")
            .and_raw_tool_call("wait", "{\"input\": 2}"),
        _ => {
            let calls = asked.messages.iter().flat_map(|message| &message.tool_calls);
            let ids: Vec<_> = calls.map(|call| call.id.clone()).collect();
            let told: Vec<_> = asked.messages.iter().filter_map(|message| message.tool_call_id.clone()).collect();
            let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
            assert_eq!((ids.len(), distinct.len()), (6, 6), "{ids:?}");
            assert_eq!(ids, told, "each answer names its call");
            ModelResponse::text("done")
        }
    });
    assert_eq!(drive(agent().tool(wait), &host).expect("it succeeds").output, "done");
}

#[test]
fn an_agent_that_is_the_tool_of_itself_comes_to_an_end() {
    let host = host(|asked| match asked.messages.last().map(|message| message.role) {
        Some(Role::User) => ModelResponse::tool_call("again", &json!({ "input": asked.number })),
        _ => ModelResponse::text(asked.last_content()),
    });
    let answer = drive(agent().tool(again), &host).expect("it comes back");
    let told = answer.output.as_str().expect("text").to_owned();
    assert!(told.starts_with("TOO_MANY: agent `deeper` is not run: 16 agents work for each other"), "{told}");
    let agents = host.effects().iter().filter(|effect| effect.trim_start().starts_with("agent ")).count();
    assert_eq!(agents, 16);
}

#[test]
fn what_is_wrong_with_arguments_is_told_in_few_words() {
    let long = "x".repeat(1 << 20);
    let arguments = json!({ "input": 1, (long.clone()): 1 }).to_string();
    let host = host(move |asked| match asked.number {
        1 => ModelResponse::text("").and_raw_tool_call("wait", arguments.clone()),
        2 => ModelResponse::text("").and_raw_tool_call(&long, "{}"),
        _ => {
            let told: Vec<usize> = asked
                .messages
                .iter()
                .filter(|message| message.role == Role::Tool)
                .map(|message| message.content.as_deref().unwrap_or_default().len())
                .collect();
            assert!(told.len() == 2 && told.iter().all(|bytes| *bytes < 4_096), "{told:?}");
            ModelResponse::text("done")
        }
    });
    assert_eq!(drive(agent().tool(wait), &host).expect("it goes on").output, "done");
}
