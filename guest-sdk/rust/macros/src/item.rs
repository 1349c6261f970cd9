//! `#[workflow]` and `#[function]`: each makes a type of the same name that carries name, schemas and
//! policy. A type and a function may share a name, so nothing has to be invented.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Expr, FnArg, ItemFn, Lit, LitStr, Meta, PatType, Result, ReturnType, Type};

use crate::args::{Arguments, Signal};

const WORKFLOW_SHAPE: &str = "a workflow looks like `async fn name(ctx: Ctx, input: Input) -> Result<Output, Failure>`; \
                              `input` may be left out";
const FUNCTION_SHAPE: &str = "a function looks like `async fn name(ctx: FnCtx, input: Input) -> Result<Output, Failure>`; \
                              `async`, `ctx`, `input` and `Result` may be left out";

/// What the parameters say.
pub struct Parameters {
    pub context: Option<Type>,
    pub input: Option<Type>,
}

pub fn workflow(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let arguments = Arguments::of_workflow(arguments)?;
    let function = parse(item, "workflow", WORKFLOW_SHAPE)?;
    let name = &function.sig.ident;
    if function.sig.asyncness.is_none() {
        let hint = format!("a workflow waits for its steps: write `async fn {name}`");
        return Err(Error::new(function.sig.fn_token.span, hint));
    }
    let parameters = parameters(&function, "Ctx", WORKFLOW_SHAPE)?;
    let Some(context) = &parameters.context else {
        return Err(Error::new(
            function.sig.paren_token.span.join(),
            format!("a workflow takes `ctx: Ctx` first; {WORKFLOW_SHAPE}"),
        ));
    };
    let export_name = arguments.name.clone().unwrap_or_else(|| LitStr::new(&name.to_string(), name.span()));
    let (input, call_input) = input_of(&parameters);
    let output = output_of(&function, &parameters);
    let outcome = outcome_of(&function, quote!(#name(ctx, #call_input).await));
    let about = about(&function, &parameters);
    let visibility = &function.vis;
    let check = check_context(context, quote!(::trackway_sdk::Ctx));
    let run_timeout = arguments.to_run_timeout();
    let cancel_grace = arguments.to_cancel_grace();
    let signals = declared(quote!(signals), &arguments.signals);
    let updates = declared(quote!(updates), &arguments.updates);
    Ok(quote! {
        #function

        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        #visibility enum #name {}

        const _: () = {
            #check

            impl ::trackway_sdk::Workflow for #name {
                type Input = #input;
                type Output = #output;
                const NAME: &'static str = #export_name;
                const ABOUT: ::trackway_sdk::__private::About = #about;
                const RUN_TIMEOUT_MS: ::core::option::Option<u64> = #run_timeout;
                const CANCEL_GRACE_MS: ::core::option::Option<u64> = #cancel_grace;
                #signals
                #updates
                async fn run(
                    ctx: ::trackway_sdk::Ctx,
                    input: Self::Input,
                ) -> ::core::result::Result<Self::Output, ::trackway_sdk::Failure> {
                    let _ = &input;
                    #outcome
                }
            }

            impl ::trackway_sdk::__private::Export for #name {
                const ITEM: ::trackway_sdk::__private::Item = ::trackway_sdk::__private::Item::workflow::<#name>();
            }
        };
    })
}

pub fn function(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    function_of(&Arguments::of_function(arguments)?, item, "function")
}

/// The same; what differs is how it is tried again.
pub fn agent(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    function_of(&Arguments::of_agent(arguments)?, item, "agent")
}

fn function_of(arguments: &Arguments, item: TokenStream, attribute: &str) -> Result<TokenStream> {
    let function = parse(item, attribute, FUNCTION_SHAPE)?;
    let policy = arguments.to_policy();
    let name = function.sig.ident.clone();
    let callable = Callable {
        handle: quote!(::trackway_sdk::Call),
        interface: quote!(::trackway_sdk::Function),
        of_its_kind: quote!(const POLICY: ::trackway_sdk::__private::Policy = #policy;),
        item: quote!(::trackway_sdk::__private::Item::function::<#name>()),
    };
    callable.declare(function, arguments, FUNCTION_SHAPE)
}

/// What runs in an instance of a function. What differs by kind: what a call of it is, the trait that carries it, what else
/// that trait wants, and its place in the manifest.
pub struct Callable {
    pub handle: TokenStream,
    pub interface: TokenStream,
    pub of_its_kind: TokenStream,
    pub item: TokenStream,
}

impl Callable {
    /// A type of its name, and a function of its name that makes a call of it.
    pub fn declare(self, mut function: ItemFn, arguments: &Arguments, shape: &str) -> Result<TokenStream> {
        let Callable { handle, interface, of_its_kind, item } = self;
        let name = function.sig.ident.clone();
        let parameters = parameters(&function, "FnCtx", shape)?;
        let export_name = arguments.name.clone().unwrap_or_else(|| LitStr::new(&name.to_string(), name.span()));
        let (input, call_input) = input_of(&parameters);
        let output = output_of(&function, &parameters);
        let call_context = parameters.context.as_ref().map(|_| quote!(ctx,));
        let waits = function.sig.asyncness.map(|_| quote!(.await));
        let outcome = outcome_of(&function, quote!(#name(#call_context #call_input) #waits));
        let about = about(&function, &parameters);
        let visibility = function.vis.clone();
        let docs: Vec<_> =
            function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).cloned().collect();
        let check = parameters.context.as_ref().map(|context| check_context(context, quote!(::trackway_sdk::FnCtx)));
        // Inside the block the body keeps its own name, so that it can call itself.
        function.vis = syn::Visibility::Inherited;
        Ok(quote! {
            #(#docs)*
            #visibility fn #name(input: #input) -> #handle<#name> {
                #handle::new(input)
            }

            #[doc(hidden)]
            #[allow(non_camel_case_types)]
            #visibility enum #name {}

            const _: () = {
                #check

                #function

                impl #interface for #name {
                    type Input = #input;
                    type Output = #output;
                    const NAME: &'static str = #export_name;
                    const ABOUT: ::trackway_sdk::__private::About = #about;
                    #of_its_kind
                    async fn run(
                        ctx: ::trackway_sdk::FnCtx,
                        input: Self::Input,
                    ) -> ::core::result::Result<Self::Output, ::trackway_sdk::Failure> {
                        let _ = (&ctx, &input);
                        #outcome
                    }
                }

                impl ::trackway_sdk::__private::Export for #name {
                    const ITEM: ::trackway_sdk::__private::Item = #item;
                }
            };
        })
    }
}

/// Nothing, where none is declared.
fn declared(what: TokenStream, names: &[Signal]) -> TokenStream {
    if names.is_empty() {
        return TokenStream::new();
    }
    let declared = names.iter().map(|Signal { name, payload, answer }| match answer {
        Some(answer) => {
            quote_spanned!(payload.span()=> ::trackway_sdk::__private::Declared::update::<#payload, #answer>(#name))
        }
        None => quote_spanned!(payload.span()=> ::trackway_sdk::__private::Declared::signal::<#payload>(#name)),
    });
    quote! {
        fn #what() -> ::std::vec::Vec<::trackway_sdk::__private::Declared> {
            ::std::vec![#(#declared),*]
        }
    }
}

pub fn parse(item: TokenStream, attribute: &str, shape: &str) -> Result<ItemFn> {
    let function: ItemFn = syn::parse2(item.clone()).map_err(|error| match syn::parse2::<syn::Item>(item) {
        Ok(other) if !matches!(other, syn::Item::Fn(_)) => {
            Error::new_spanned(other, format!("#[{attribute}] stands above a function; {shape}"))
        }
        _ => error,
    })?;
    let signature = &function.sig;
    if !signature.generics.params.is_empty() {
        let hint = format!("a {attribute} has one concrete type for its input and output: it cannot be generic");
        return Err(Error::new_spanned(&signature.generics, hint));
    }
    if let Some(constness) = &signature.constness {
        return Err(Error::new_spanned(constness, format!("a {attribute} cannot be `const`; {shape}")));
    }
    if let Some(unsafety) = &signature.unsafety {
        return Err(Error::new_spanned(unsafety, format!("a {attribute} cannot be `unsafe`; {shape}")));
    }
    if let Some(abi) = &signature.abi {
        return Err(Error::new_spanned(abi, format!("a {attribute} cannot be `extern`; {shape}")));
    }
    Ok(function)
}

pub fn parameters(function: &ItemFn, context_name: &str, shape: &str) -> Result<Parameters> {
    let mut found = Parameters { context: None, input: None };
    for (place, parameter) in function.sig.inputs.iter().enumerate() {
        let FnArg::Typed(PatType { ty, .. }) = parameter else {
            return Err(Error::new_spanned(parameter, format!("methods cannot be exported; {shape}")));
        };
        let is = |name: &str| last_name(ty).is_some_and(|last| last == name);
        if place == 0 && is(context_name) {
            found.context = Some((**ty).clone());
        } else if is("Ctx") || is("FnCtx") {
            let hint = if is(context_name) {
                format!("`{context_name}` comes first; {shape}")
            } else if context_name == "FnCtx" {
                "a function gets a `FnCtx`: only workflows take steps".to_owned()
            } else {
                "a workflow gets a `Ctx`: `FnCtx` is for functions".to_owned()
            };
            return Err(Error::new_spanned(ty, hint));
        } else if let Type::Reference(reference) = &**ty {
            let hint = if last_name(&reference.elem).is_some_and(|last| last == context_name) {
                format!("take the context by value: `ctx: {context_name}`; it is cheap to clone")
            } else {
                "an input is a value of its own: take `String` instead of `&str`, `Vec<T>` instead of `&[T]`".to_owned()
            };
            return Err(Error::new_spanned(ty, hint));
        } else if found.input.is_some() {
            let hint = "there is one input: put the values into a struct with `#[value]`, or into a tuple";
            return Err(Error::new_spanned(parameter, hint));
        } else {
            found.input = Some((**ty).clone());
        }
    }
    Ok(found)
}

fn last_name(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        Type::Group(group) => last_name(&group.elem),
        Type::Paren(paren) => last_name(&paren.elem),
        _ => None,
    }
}

pub fn input_of(parameters: &Parameters) -> (TokenStream, TokenStream) {
    match &parameters.input {
        Some(input) => (quote!(#input), quote!(input)),
        None => (quote!(()), quote!()),
    }
}

/// `Result` is told by its name: any type whose last name ends in it.
fn returns_result(function: &ItemFn) -> bool {
    match &function.sig.output {
        ReturnType::Default => false,
        ReturnType::Type(_, ty) => last_name(ty).is_some_and(|name| name.ends_with("Result")),
    }
}

pub fn output_of(function: &ItemFn, _parameters: &Parameters) -> TokenStream {
    match &function.sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) if returns_result(function) => {
            quote_spanned!(ty.span()=> <#ty as ::trackway_sdk::__private::Outcome>::Output)
        }
        ReturnType::Type(_, ty) => quote!(#ty),
    }
}

pub fn outcome_of(function: &ItemFn, call: TokenStream) -> TokenStream {
    if returns_result(function) {
        quote!(::trackway_sdk::__private::Outcome::outcome(#call))
    } else {
        quote!(::core::result::Result::Ok(#call))
    }
}

pub fn about(function: &ItemFn, parameters: &Parameters) -> TokenStream {
    let doc = doc_of(function);
    let takes_input = parameters.input.is_some();
    quote!(::trackway_sdk::__private::About { doc: #doc, takes_input: #takes_input })
}

/// A type that is only called `Ctx` is told as what it is, not as a mismatch in code nobody wrote.
pub fn check_context(given: &Type, wanted: TokenStream) -> TokenStream {
    quote_spanned!(given.span()=> const _: fn(#wanted) -> #given = |context| context;)
}

pub fn doc_of(function: &ItemFn) -> String {
    let lines: Vec<String> = function
        .attrs
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some(text.value()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
        .map(|line| line.strip_prefix(' ').map_or(line.clone(), str::to_owned))
        .collect();
    lines.join("\n").trim().to_owned()
}
