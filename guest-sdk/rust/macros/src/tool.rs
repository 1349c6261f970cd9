//! `#[tool]`: a type of the same name that carries name, description and schema, and a function that makes a call of it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Result};

use crate::args::Arguments;
use crate::item::{Callable, doc_of, parameters, parse};

const TOOL_SHAPE: &str = "a tool looks like `async fn name(ctx: FnCtx, input: Input) -> Result<Output, Failure>`; `async`, \
                          `ctx`, `input` and `Result` may be left out";

pub fn tool(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let arguments = Arguments::of_tool(arguments)?;
    let function = parse(item, "tool", TOOL_SHAPE)?;
    let name = function.sig.ident.clone();
    parameters(&function, "FnCtx", TOOL_SHAPE)?;
    if doc_of(&function).is_empty() {
        let hint = "write a doc comment above it: the model reads there what the tool does, and when to call it";
        return Err(Error::new(name.span(), hint));
    }
    let needs_approval = arguments.needs_approval;
    let callable = Callable {
        handle: quote!(::trackway_sdk::Invocation),
        interface: quote!(::trackway_sdk::Tool),
        of_its_kind: quote!(const NEEDS_APPROVAL: bool = #needs_approval;),
        item: quote!(::trackway_sdk::__private::Item::tool::<#name>()),
    };
    callable.declare(function, &arguments, TOOL_SHAPE)
}
