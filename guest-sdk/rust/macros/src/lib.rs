//! The attributes and macros of `trackway-sdk`. They check what can be checked where it is written, and
//! make code that only names items of `::trackway_sdk`.

mod args;
mod concurrent;
mod item;
mod prompt;
mod tool;
mod value;

use proc_macro::TokenStream;

/// Makes an async function a workflow: `async fn name(ctx: Ctx, input: T) -> Result<O, Failure>`.
///
/// `input` may be left out; `T` and `O` are [values](trackway_sdk::Value). The doc comment reaches
/// the manifest. All keys may be left out: `name = "other-name"`, `signals(paid: Payment, nudge: ())`, which says what
/// signals it takes: then others are refused, and payloads are checked when they are sent; `updates(add: u32 -> u32)`,
/// the same of updates, with what they are answered with, for people and tools; and `run_timeout = "2h"`.
#[proc_macro_attribute]
pub fn workflow(arguments: TokenStream, item: TokenStream) -> TokenStream {
    item::workflow(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a function, plain or async, a function of Trackway: something that a workflow calls as a step.
///
/// It takes an optional `FnCtx` and one optional input, and returns `Result<O, Failure>` or a plain value.
/// The doc comment reaches the manifest. All keys may be left out:
///
/// | key | default | meaning |
/// |---|---|---|
/// | `retries = 5` | 3 | how often it is tried again after the first time, at most 19 |
/// | `backoff = "200ms"` | 500 ms | the wait before the first retry |
/// | `factor = 2.0` | 2.0 | by which each further wait grows, 1 to 10 |
/// | `backoff_max = "1m"` | 1 min | no wait is longer |
/// | `jitter = 0.2` | 0.2 | how much of a wait is left to chance, 0 to 1 |
/// | `timeout = "30s"` | 5 min | how long one attempt may take, at most 24 h |
/// | `hosts = ["example.com"]` | none | what it wants to reach by HTTP |
/// | `models = ["openai/*"]` | none | the models that it wants to ask |
/// | `secrets = ["KEY=example.com"]` | none | the secrets that it uses, and towards which hosts: see `FnCtx::secret` |
/// | `mcp = ["library"]` | none | the MCP servers that it asks by their names |
/// | `name = "other-name"` | that of the function | its name in the manifest |
#[proc_macro_attribute]
pub fn function(arguments: TokenStream, item: TokenStream) -> TokenStream {
    item::function(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a function that asks models, by an `Agent` or by itself: a [`#[function]`](macro@function) that goes on where a failed
/// attempt had come to.
///
/// It takes the same keys, but `resume` is true and `timeout` an hour unless told otherwise: the next attempt gets all answers
/// again that the failed one had got, and asks anew only for the last. So a model that is busy at its eighth call costs one
/// more call, and not eight. The code must do the same whenever it gets the same answers.
#[proc_macro_attribute]
pub fn agent(arguments: TokenStream, item: TokenStream) -> TokenStream {
    item::agent(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a function, plain or async, a tool that agents may be given: `agent.tool(name)`.
///
/// It takes an optional `FnCtx` and one optional input, and returns `Result<O, Failure>` or a plain value. The model reads its
/// name, its doc comment, and the JSON Schema of its input, with the doc comments of its fields. Keys: `name = "other-name"`,
/// and `needs_approval`, which has a person asked before each call.
#[proc_macro_attribute]
pub fn tool(arguments: TokenStream, item: TokenStream) -> TokenStream {
    tool::tool(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

// The docs stand where the crate gives it to authors, with an example that is run.
#[proc_macro]
pub fn prompt(input: TokenStream) -> TokenStream {
    prompt::prompt(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a struct or enum a value: something that can cross between workflows, functions and people.
///
/// Derives `Serialize`, `Deserialize` and `JsonSchema`, without serde or schemars among the
/// dependencies. Doc comments of type and fields reach the schema; `#[serde(...)]` works as usual.
#[proc_macro_attribute]
pub fn value(arguments: TokenStream, item: TokenStream) -> TokenStream {
    value::value(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Awaits several operations at once and gives a tuple of what they give.
///
/// `let (a, b) = join!(ctx.step(f, 1), ctx.step(g, 2));`
#[proc_macro]
pub fn join(input: TokenStream) -> TokenStream {
    concurrent::join(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Awaits several operations at once and gives a tuple of their outputs, or the first failure: then the
/// others are dropped, which stops them.
///
/// `let (a, b) = try_join!(ctx.step(f, 1), ctx.step(g, 2))?;`
#[proc_macro]
pub fn try_join(input: TokenStream) -> TokenStream {
    concurrent::try_join(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Awaits whichever operation ends first; the others are dropped, which stops them, before the arm runs.
/// When several are ready the one that is written first wins. To keep a loser, pass `&mut operation`.
///
/// ```text
/// select! {
///     answer = ctx.step(ask, question) => answer,
///     _ = ctx.sleep(Duration::from_secs(60)) => Err(Failure::new("TOO_LATE", "no answer in a minute")),
/// }
/// ```
#[proc_macro]
pub fn select(input: TokenStream) -> TokenStream {
    concurrent::select(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
