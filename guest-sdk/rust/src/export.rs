//! Workflows and functions as types: what the attributes implement, what `export!` collects, and how
//! the host's three calls reach them.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use crate::bindings::{EffectPort, Port, StepPort};
use crate::failure::{Failure, code};
use crate::prompt::Template;
use crate::{Ctx, FnCtx, Tool, json as values, runtime};

mod policy;

pub use policy::{Policy, Tries};

/// What can cross between workflow, function and people. Write [`#[value]`](macro@crate::value) on
/// your own types; numbers, text, `Vec`, `Option`, tuples and maps are values already.
///
/// Maps with a random order of iteration are values too, but prefer `BTreeMap`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross between workflows, functions and people",
    label = "not a value",
    note = "write `#[value]` above the definition of `{Self}` (it derives Serialize, Deserialize and JsonSchema)"
)]
pub trait Value: Sized {
    #[doc(hidden)]
    fn read(text: &str) -> serde_json::Result<Self>;
    #[doc(hidden)]
    fn write(&self) -> serde_json::Result<String>;
    #[doc(hidden)]
    fn input_schema() -> Schema;
    #[doc(hidden)]
    fn output_schema() -> Schema;
}

// The methods keep serde's traits out of the bounds of others, so that the compiler speaks of values only.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + JsonSchema> Value for T {
    fn read(text: &str) -> serde_json::Result<T> {
        serde_json::from_str(text)
    }

    fn write(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    fn input_schema() -> Schema {
        SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>()
    }

    fn output_schema() -> Schema {
        SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
    }
}

/// A function that [`#[function]`](macro@crate::function) made.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function of Trackway",
    note = "write `#[function]` above its definition"
)]
pub trait Function: Sized + 'static {
    /// What it takes; `()` if it takes nothing.
    type Input: Value;
    /// What it gives.
    type Output: Value;
    /// Its name in the manifest.
    const NAME: &'static str;
    #[doc(hidden)]
    const ABOUT: About;
    #[doc(hidden)]
    const POLICY: Policy;
    #[doc(hidden)]
    fn run(ctx: FnCtx, input: Self::Input) -> impl Future<Output = Result<Self::Output, Failure>>;
}

/// A workflow that [`#[workflow]`](macro@crate::workflow) made.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a workflow of Trackway",
    note = "write `#[workflow]` above its definition"
)]
pub trait Workflow: Sized + 'static {
    /// What a run is started with; `()` if it takes nothing.
    type Input: Value;
    /// What it gives.
    type Output: Value;
    /// Its name in the manifest.
    const NAME: &'static str;
    #[doc(hidden)]
    const ABOUT: About;
    #[doc(hidden)]
    const RUN_TIMEOUT_MS: Option<u64> = None;
    #[doc(hidden)]
    const CANCEL_GRACE_MS: Option<u64> = None;
    #[doc(hidden)]
    fn signals() -> Vec<Declared> {
        Vec::new()
    }
    #[doc(hidden)]
    fn updates() -> Vec<Declared> {
        Vec::new()
    }
    #[doc(hidden)]
    fn run(ctx: Ctx, input: Self::Input) -> impl Future<Output = Result<Self::Output, Failure>>;
}

/// A call of a function, as its own name makes it.
///
/// [`Ctx::step`] takes it apart and has the host carry it out. Awaited on its own, or [`run`](Call::run)
/// in a test, the code runs right here: not journaled, not tried again.
#[must_use = "pass the function to `ctx.step(function, input)`"]
pub struct Call<F: Function> {
    input: F::Input,
}

impl<F: Function> Call<F> {
    #[doc(hidden)]
    pub fn new(input: F::Input) -> Call<F> {
        Call { input }
    }

    /// Runs the code here and now: for tests.
    ///
    /// # Errors
    ///
    /// The failure of the function.
    pub fn run(self) -> Result<F::Output, Failure> {
        runtime::block_on(&EffectPort, F::run(FnCtx::from_context(""), self.input))
    }
}

impl<F: Function> IntoFuture for Call<F> {
    type Output = Result<F::Output, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(F::run(FnCtx::from_context(""), self.input))
    }
}

impl<F: Function> fmt::Debug for Call<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("function", &F::NAME).finish()
    }
}

/// What the body of a workflow or function may return beside a plain value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a workflow or function returns",
    note = "return `Result<Output, Failure>`, where any error type that becomes a `Failure` will do, or a plain value"
)]
#[doc(hidden)]
pub trait Outcome {
    type Output;
    fn outcome(self) -> Result<Self::Output, Failure>;
}

#[diagnostic::do_not_recommend]
impl<T, E: Into<Failure>> Outcome for Result<T, E> {
    type Output = T;
    fn outcome(self) -> Result<T, Failure> {
        self.map_err(Into::into)
    }
}

/// How a value is described to people.
#[doc(hidden)]
pub struct About {
    pub doc: &'static str,
    pub takes_input: bool,
}

/// What can stand in `export!`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that Trackway knows",
    note = "write `#[workflow]`, `#[function]`, `#[agent]` or `#[tool]` above its definition"
)]
#[doc(hidden)]
pub trait Export {
    const ITEM: Item;
}

/// One exported name, and how to reach it. The code of a role is referred to only through here, so a
/// component without functions imports no effects.
#[doc(hidden)]
pub struct Item {
    role: Role,
    name: &'static str,
    main: Main,
    describe: fn() -> Json,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Workflow,
    Function,
    Tool,
    Prompt,
}

/// Input and context in; output or failure out; all as JSON.
#[doc(hidden)]
pub type Main = fn(&str, &str) -> Result<String, String>;

#[doc(hidden)]
#[derive(Serialize)]
pub struct Described {
    name: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    doc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Schema>,
    output: Schema,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_grace_ms: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signals: Vec<Declared>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    updates: Vec<Declared>,
    #[serde(flatten)]
    policy: Option<Policy>,
}

/// Something that a workflow takes from outside.
#[doc(hidden)]
#[derive(Serialize)]
pub struct Declared {
    name: &'static str,
    schema: Schema,
    /// What it is answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Schema>,
}

impl Declared {
    pub fn signal<T: Value>(name: &'static str) -> Declared {
        Declared { name, schema: T::input_schema(), output: None }
    }

    pub fn update<T: Value, O: Value>(name: &'static str) -> Declared {
        Declared { name, schema: T::input_schema(), output: Some(O::output_schema()) }
    }
}

impl Item {
    pub const fn workflow<W: Workflow>() -> Item {
        Item { role: Role::Workflow, name: W::NAME, main: workflow_main::<W>, describe: describe_workflow::<W> }
    }

    pub const fn function<F: Function>() -> Item {
        Item { role: Role::Function, name: F::NAME, main: function_main::<F>, describe: describe_function::<F> }
    }

    pub const fn tool<T: Tool>() -> Item {
        Item { role: Role::Tool, name: T::NAME, main: nothing, describe: describe_tool::<T> }
    }

    pub const fn prompt<T: Template>() -> Item {
        Item { role: Role::Prompt, name: T::NAME, main: nothing, describe: describe_prompt::<T> }
    }
}

/// Of what is only listed: nobody calls it, since its role is none that is looked for.
fn nothing(_: &str, _: &str) -> Result<String, String> {
    Ok("null".to_owned())
}

pub(crate) fn workflow_main<W: Workflow>(input: &str, context: &str) -> Result<String, String> {
    main(&StepPort, &W::ABOUT, input, |input| W::run(Ctx::from_context(context), input))
}

pub(crate) fn function_main<F: Function>(input: &str, context: &str) -> Result<String, String> {
    main(&EffectPort, &F::ABOUT, input, |input| F::run(FnCtx::from_context(context), input))
}

/// From text to text, whatever the role.
fn main<I: Value, O: Value, B: Future<Output = Result<O, Failure>>>(
    port: &'static (impl Port + Sync),
    about: &About,
    input: &str,
    body: impl FnOnce(I) -> B,
) -> Result<String, String> {
    crate::failure::tell_panics(port);
    let outcome = runtime::block_on(port, async {
        let input = values::read_input(if about.takes_input { input } else { "null" })?;
        body(input).await
    });
    outcome.and_then(|output| values::write_output(&output)).map_err(|failure| failure.to_text())
}

fn describe_workflow<W: Workflow>() -> Json {
    written(&Described {
        run_timeout_ms: W::RUN_TIMEOUT_MS,
        cancel_grace_ms: W::CANCEL_GRACE_MS,
        signals: W::signals(),
        updates: W::updates(),
        ..described::<W::Input, W::Output>(W::NAME, W::ABOUT, None)
    })
}

fn describe_function<F: Function>() -> Json {
    written(&described::<F::Input, F::Output>(F::NAME, F::ABOUT, Some(F::POLICY)))
}

fn describe_tool<T: Tool>() -> Json {
    written(&described::<T::Input, T::Output>(T::NAME, T::ABOUT, None))
}

fn describe_prompt<T: Template>() -> Json {
    json!({ "name": T::NAME, "version": T::VERSION, "text": T::TEXT })
}

fn written(described: &Described) -> Json {
    serde_json::to_value(described).expect("a manifest holds only text, numbers and schemas")
}

fn described<I: Value, O: Value>(name: &'static str, about: About, policy: Option<Policy>) -> Described {
    let input = about.takes_input.then(I::input_schema);
    let (doc, output, run_timeout_ms, cancel_grace_ms, signals, updates) =
        (about.doc, O::output_schema(), None, None, Vec::new(), Vec::new());
    Described { name, doc, input, output, run_timeout_ms, cancel_grace_ms, signals, updates, policy }
}

/// The export `describe`.
#[doc(hidden)]
pub fn describe(items: &[Item]) -> String {
    #[derive(Serialize)]
    struct Manifest {
        contract: &'static str,
        workflows: Vec<Json>,
        functions: Vec<Json>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tools: Vec<Json>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        prompts: Vec<Json>,
        sdk: Sdk,
    }
    #[derive(Serialize)]
    struct Sdk {
        name: &'static str,
        version: &'static str,
        language: &'static str,
    }
    let mut manifest = Manifest {
        contract: "0.1",
        workflows: Vec::new(),
        functions: Vec::new(),
        tools: Vec::new(),
        prompts: Vec::new(),
        sdk: Sdk { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), language: "rust" },
    };
    for item in items {
        match item.role {
            Role::Workflow => manifest.workflows.push((item.describe)()),
            Role::Function => manifest.functions.push((item.describe)()),
            Role::Tool => manifest.tools.push((item.describe)()),
            Role::Prompt => manifest.prompts.push((item.describe)()),
        }
    }
    serde_json::to_string(&manifest).expect("a manifest holds only text, numbers and schemas")
}

/// The export `run`.
#[doc(hidden)]
pub fn run(items: &[Item], workflow: &str, input: &str, context: &str) -> Result<String, String> {
    let item = find(items, Role::Workflow, workflow).ok_or_else(|| unknown("workflow", workflow))?;
    (item.main)(input, context)
}

/// The export `call`.
#[doc(hidden)]
pub fn call(items: &[Item], function: &str, input: &str, context: &str) -> Result<String, String> {
    let item = find(items, Role::Function, function).ok_or_else(|| unknown("function", function))?;
    (item.main)(input, context)
}

fn find<'a>(items: &'a [Item], role: Role, name: &str) -> Option<&'a Item> {
    items.iter().find(|item| item.role == role && item.name == name)
}

fn unknown(what: &str, name: &str) -> String {
    let message = format!("there is no {what} `{name}` in `export!(...)`");
    Failure { at: None, ..Failure::permanent(code::UNKNOWN_FUNCTION, message) }.to_text()
}

/// Names the workflows, functions, tools and prompts of a component. Once in a crate, at its end. Tools and prompts work as well
/// where they are left out, and are missing in the manifest then.
///
/// ```
/// use trackway_sdk::prelude::*;
///
/// #[workflow]
/// async fn hello(ctx: Ctx, name: String) -> Result<String, Failure> {
///     ctx.step(greet, name).await
/// }
///
/// #[function]
/// fn greet(name: String) -> String {
///     format!("Hello, {name}!")
/// }
///
/// export!(hello, greet);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($($item:ty),+ $(,)?) => {
        const _: () = {
            const ITEMS: &[$crate::__private::Item] = &[$(<$item as $crate::__private::Export>::ITEM),+];
            $crate::__export_component!(ITEMS);
        };
    };
    () => {
        ::core::compile_error!("name the workflows and functions of this crate: `export!(my_workflow, my_function);`");
    };
}

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_component {
    ($items:ident) => {
        struct Component;

        impl $crate::__private::bindings::Guest for Component {
            fn describe() -> ::std::string::String {
                $crate::__private::describe($items)
            }

            fn run(
                workflow: ::std::string::String,
                input: ::std::string::String,
                context: ::std::string::String,
            ) -> ::core::result::Result<::std::string::String, ::std::string::String> {
                $crate::__private::run($items, &workflow, &input, &context)
            }

            fn call(
                function: ::std::string::String,
                input: ::std::string::String,
                context: ::std::string::String,
            ) -> ::core::result::Result<::std::string::String, ::std::string::String> {
                $crate::__private::call($items, &function, &input, &context)
            }
        }

        $crate::__private::bindings::wit_export!(Component with_types_in $crate::__private::bindings);
    };
}

/// Elsewhere the names are only checked.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_component {
    ($items:ident) => {
        const _: usize = $items.len();
    };
}

#[cfg(test)]
mod tests;
