//! `join!`, `try_join!` and `select!`: every branch is polled in the order in which it is written, so
//! nothing depends on chance.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Pat, Result, Token};

/// The names of the branches in the code that is made.
fn names(count: usize) -> Vec<proc_macro2::Ident> {
    (0..count).map(|place| format_ident!("__branch_{place}")).collect()
}

fn branches(input: TokenStream, name: &str) -> Result<Vec<Expr>> {
    let branches = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(input)?;
    if branches.is_empty() {
        let hint = format!("{name}! needs something to await: `{name}!(ctx.step(f, 1), ctx.step(g, 2))`");
        return Err(Error::new(proc_macro2::Span::call_site(), hint));
    }
    Ok(branches.into_iter().collect())
}

pub fn join(input: TokenStream) -> Result<TokenStream> {
    let branches = branches(input, "join")?;
    let names = names(branches.len());
    let outputs: Vec<_> = names.iter().map(|name| format_ident!("{name}_output")).collect();
    Ok(quote! {{
        #(let mut #names = ::core::pin::pin!(::core::future::IntoFuture::into_future(#branches));)*
        #(let mut #outputs = ::core::option::Option::None;)*
        ::core::future::poll_fn(|__context| {
            #(
                if #outputs.is_none() {
                    if let ::core::task::Poll::Ready(output) =
                        ::core::future::Future::poll(#names.as_mut(), __context)
                    {
                        #outputs = ::core::option::Option::Some(output);
                    }
                }
            )*
            if #(#outputs.is_some())&&* {
                ::core::task::Poll::Ready(
                    (#(#outputs.take().expect("it was just looked at"),)*)
                )
            } else {
                ::core::task::Poll::Pending
            }
        })
        .await
    }})
}

pub fn try_join(input: TokenStream) -> Result<TokenStream> {
    let branches = branches(input, "try_join")?;
    let names = names(branches.len());
    let outputs: Vec<_> = names.iter().map(|name| format_ident!("{name}_output")).collect();
    // In an `async` block of their own, the branches are dropped as soon as one has failed.
    Ok(quote! {
        async {
            #(let mut #names = ::core::pin::pin!(::core::future::IntoFuture::into_future(#branches));)*
            #(let mut #outputs = ::core::option::Option::None;)*
            ::core::future::poll_fn(|__context| {
                #(
                    if #outputs.is_none() {
                        match ::core::future::Future::poll(#names.as_mut(), __context) {
                            ::core::task::Poll::Ready(::core::result::Result::Ok(output)) => {
                                #outputs = ::core::option::Option::Some(output);
                            }
                            ::core::task::Poll::Ready(::core::result::Result::Err(failure)) => {
                                return ::core::task::Poll::Ready(::core::result::Result::Err(failure));
                            }
                            ::core::task::Poll::Pending => {}
                        }
                    }
                )*
                if #(#outputs.is_some())&&* {
                    ::core::task::Poll::Ready(::core::result::Result::Ok(
                        (#(#outputs.take().expect("it was just looked at"),)*)
                    ))
                } else {
                    ::core::task::Poll::Pending
                }
            })
            .await
        }
        .await
    })
}

struct Arm {
    pattern: Pat,
    future: Expr,
    body: Expr,
}

impl Parse for Arm {
    fn parse(input: ParseStream<'_>) -> Result<Arm> {
        let pattern = Pat::parse_multi_with_leading_vert(input)?;
        if !input.peek(Token![=]) || input.peek(Token![=>]) {
            return Err(input.error("an arm of select! looks like `pattern = operation => expression`"));
        }
        input.parse::<Token![=]>()?;
        let future = input.parse()?;
        input.parse::<Token![=>]>()?;
        let body: Expr = input.parse()?;
        let is_block = matches!(body, Expr::Block(_) | Expr::If(_) | Expr::Match(_));
        if input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
        } else if !input.is_empty() && !is_block {
            return Err(input.error("put a comma between the arms of select!"));
        }
        Ok(Arm { pattern, future, body })
    }
}

pub fn select(input: TokenStream) -> Result<TokenStream> {
    let parse = |input: ParseStream<'_>| {
        let mut arms: Vec<Arm> = Vec::new();
        while !input.is_empty() {
            arms.push(input.parse()?);
        }
        Ok(arms)
    };
    let arms = parse.parse2(input)?;
    if arms.is_empty() {
        let hint = "select! needs something to await: `select! { answer = ctx.step(f, 1) => answer, }`";
        return Err(Error::new(proc_macro2::Span::call_site(), hint));
    }
    let names = names(arms.len());
    let variants: Vec<_> = (0..arms.len()).map(|place| format_ident!("Branch{place}")).collect();
    let (patterns, futures, bodies) =
        (arms.iter().map(|arm| &arm.pattern), arms.iter().map(|arm| &arm.future), arms.iter().map(|arm| &arm.body));
    Ok(quote! {{
        enum __First<#(#variants),*> {
            #(#variants(#variants),)*
        }
        let __first = {
            #(let mut #names = ::core::pin::pin!(::core::future::IntoFuture::into_future(#futures));)*
            ::core::future::poll_fn(|__context| {
                #(
                    if let ::core::task::Poll::Ready(output) =
                        ::core::future::Future::poll(#names.as_mut(), __context)
                    {
                        return ::core::task::Poll::Ready(__First::#variants(output));
                    }
                )*
                ::core::task::Poll::Pending
            })
            .await
        };
        match __first {
            #(__First::#variants(#patterns) => #bodies,)*
        }
    }})
}
