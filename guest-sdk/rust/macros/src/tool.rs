//! `#[tool]`: a type of the same name that carries name, description and schema, and a function that makes a call of it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, LitStr, Result};

use crate::args::Arguments;
use crate::item::{about, check_context, doc_of, input_of, outcome_of, output_of, parameters, parse};

const TOOL_SHAPE: &str = "a tool looks like `async fn name(ctx: FnCtx, input: Input) -> Result<Output, Failure>`; `async`, \
                          `ctx`, `input` and `Result` may be left out";

pub fn tool(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let arguments = Arguments::of_tool(arguments)?;
    let mut function = parse(item, "tool", TOOL_SHAPE)?;
    let name = function.sig.ident.clone();
    let parameters = parameters(&function, "FnCtx", TOOL_SHAPE)?;
    if doc_of(&function).is_empty() {
        let hint = "write a doc comment above it: the model reads there what the tool does, and when to call it";
        return Err(Error::new(name.span(), hint));
    }
    let export_name = arguments.name.clone().unwrap_or_else(|| LitStr::new(&name.to_string(), name.span()));
    let needs_approval = arguments.needs_approval;
    let (input, call_input) = input_of(&parameters);
    let output = output_of(&function, &parameters);
    let call_context = parameters.context.as_ref().map(|_| quote!(ctx,));
    let waits = function.sig.asyncness.map(|_| quote!(.await));
    let outcome = outcome_of(&function, quote!(#name(#call_context #call_input) #waits));
    let about = about(&function, &parameters);
    let visibility = function.vis.clone();
    let docs: Vec<_> = function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).cloned().collect();
    let check = parameters.context.as_ref().map(|context| check_context(context, quote!(::trackway_sdk::FnCtx)));
    // Inside the block the body keeps its own name, so that it can call itself.
    function.vis = syn::Visibility::Inherited;
    Ok(quote! {
        #(#docs)*
        #visibility fn #name(input: #input) -> ::trackway_sdk::Invocation<#name> {
            ::trackway_sdk::Invocation::new(input)
        }

        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        #visibility enum #name {}

        const _: () = {
            #check

            #function

            impl ::trackway_sdk::Tool for #name {
                type Input = #input;
                type Output = #output;
                const NAME: &'static str = #export_name;
                const ABOUT: ::trackway_sdk::__private::About = #about;
                const NEEDS_APPROVAL: bool = #needs_approval;
                async fn run(
                    ctx: ::trackway_sdk::FnCtx,
                    input: Self::Input,
                ) -> ::core::result::Result<Self::Output, ::trackway_sdk::Failure> {
                    let _ = (&ctx, &input);
                    #outcome
                }
            }

            impl ::trackway_sdk::__private::Export for #name {
                const ITEM: ::trackway_sdk::__private::Item = ::trackway_sdk::__private::Item::tool::<#name>();
            }
        };
    })
}
