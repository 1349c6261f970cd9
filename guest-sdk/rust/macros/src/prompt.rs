//! `prompt!`: a file of the project as a type, whose fields are what the file leaves open. It reads that file and no
//! other.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use std::path::Path;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitStr, Result, Token, Visibility};

struct Declared {
    visibility: Visibility,
    name: Ident,
    path: LitStr,
}

impl Parse for Declared {
    fn parse(input: ParseStream<'_>) -> Result<Declared> {
        let shape = |error: Error| {
            Error::new(error.span(), "a prompt looks like `prompt!(Summarize = \"prompts/summarize.md\");`")
        };
        let visibility = input.parse().map_err(shape)?;
        let name = input.parse().map_err(shape)?;
        input.parse::<Token![=]>().map_err(shape)?;
        let path = input.parse().map_err(shape)?;
        input.parse::<Option<Token![;]>>()?;
        Ok(Declared { visibility, name, path })
    }
}

pub fn prompt(input: TokenStream) -> Result<TokenStream> {
    let Declared { visibility, name, path } = syn::parse2(input)?;
    let wrong = |what: String| Error::new(path.span(), what);
    let relative = path.value();
    let folder = std::env::var("CARGO_MANIFEST_DIR").map_err(|_| wrong("there is no Cargo.toml here".to_owned()))?;
    let text = std::fs::read_to_string(Path::new(&folder).join(&relative))
        .map_err(|error| wrong(format!("cannot read `{relative}` beside Cargo.toml: {error}")))?;
    let stem = Path::new(&relative).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if !is_name(stem) {
        return Err(wrong(format!("`{stem}` names the prompt: a name is 1 to 128 of `A-Z a-z 0-9 _ - .`")));
    }
    let text = text.replace("\r\n", "\n");
    let text = text.trim_end();
    let parts = read(text).map_err(|what| wrong(format!("{relative}, {what}")))?;
    Ok(made(&visibility, &name, &relative, stem, text, &parts))
}

fn made(visibility: &Visibility, name: &Ident, relative: &str, stem: &str, text: &str, parts: &[Part]) -> TokenStream {
    let mut fields: Vec<&str> = Vec::new();
    for part in parts {
        if let Part::Variable(variable) = part
            && !fields.contains(&variable.as_str())
        {
            fields.push(variable);
        }
    }
    let fields: Vec<Ident> = fields.into_iter().map(|field| format_ident!("{field}")).collect();
    let docs = format!("The prompt `{relative}`:\n\n````text\n{text}\n````");
    let version = format!("{:016x}", digest(text.as_bytes()));
    let (generics, any, definition) = if fields.is_empty() {
        (quote!(), quote!(), quote!(;))
    } else {
        let field_docs = fields.iter().map(|field| format!("`{{{{{field}}}}}`"));
        let definition = quote!({ #(#[doc = #field_docs] pub #fields: &'a dyn ::core::fmt::Display,)* });
        (quote!(<'a>), quote!(<'_>), definition)
    };
    let pieces = parts.iter().map(|part| match part {
        Part::Text(text) => quote!(text.push_str(#text);),
        Part::Variable(variable) => {
            let field = format_ident!("{variable}");
            quote!(text.push_str(&::std::string::ToString::to_string(prompt.#field));)
        }
    });
    quote! {
        #[doc = #docs]
        #[derive(Clone, Copy)]
        #visibility struct #name #generics #definition

        const _: () = {
            // So that a change of the file is noticed.
            const _: &str = ::core::include_str!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/", #relative));

            impl ::trackway_sdk::__private::Template for #name #any {
                const NAME: &'static str = #stem;
                const VERSION: &'static str = #version;
                const TEXT: &'static str = #text;
            }

            impl ::core::convert::From<#name #any> for ::trackway_sdk::Prompt {
                fn from(prompt: #name #any) -> ::trackway_sdk::Prompt {
                    let _ = &prompt;
                    let mut text = ::std::string::String::new();
                    #(#pieces)*
                    ::trackway_sdk::Prompt::of_file::<#name #any>(text)
                }
            }

            impl ::trackway_sdk::__private::Export for #name #any {
                const ITEM: ::trackway_sdk::__private::Item = ::trackway_sdk::__private::Item::prompt::<#name>();
            }
        };
    }
}

/// A piece of a prompt.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

/// Takes a text apart; what is wrong is told with its line.
fn read(text: &str) -> std::result::Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        if let Some(before) = before.strip_suffix('\\') {
            plain.push_str(before);
            plain.push_str("{{");
            rest = after;
            continue;
        }
        plain.push_str(before);
        let line = text[..text.len() - after.len()].matches('\n').count() + 1;
        let Some((variable, after)) = after.split_once("}}") else {
            return Err(format!("line {line}: `{{{{` is not closed by `}}}}`; write `\\{{{{` for two braces"));
        };
        let variable = variable.trim();
        if !is_variable(variable) {
            return Err(format!(
                "line {line}: `{variable}` is no name of a variable: letters, digits and `_`, in lower case"
            ));
        }
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Variable(variable.to_owned()));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

/// What can be a field.
fn is_variable(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().all(allowed) && syn::parse_str::<Ident>(name).is_ok() && name != "_"
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=128).contains(&name.len()) && name.bytes().all(allowed)
}

/// FNV-1a: tells versions of one file apart, and guards against nobody.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |digest: u64, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let shown = |part: Part| match part {
            Part::Text(text) => text,
            Part::Variable(name) => format!("<{name}>"),
        };
        read(text).expect("it can be read").into_iter().map(shown).collect()
    }

    #[test]
    fn variables_stand_between_two_braces_with_or_without_spaces() {
        assert_eq!(texts("Say {{word}} to {{ who }}."), ["Say ", "<word>", " to ", "<who>", "."]);
        assert_eq!(texts("{{a}}{{a}}"), ["<a>", "<a>"]);
    }

    #[test]
    fn two_braces_can_be_meant_as_they_are() {
        assert_eq!(texts(r"\{{not}} {one} {{two}}"), ["{{not}} {one} ", "<two>"]);
    }

    #[test]
    fn what_is_no_variable_is_told_with_its_line() {
        for (text, told) in [
            ("a\nb {{c", "line 2: `{{` is not closed"),
            ("{{two words}}", "line 1: `two words` is no name"),
            ("\n\n{{fn}}", "line 3: `fn` is no name"),
            ("{{}}", "line 1: `` is no name"),
            ("{{Name}}", "line 1: `Name` is no name"),
        ] {
            let error = read(text).expect_err("it cannot be read");
            assert!(error.starts_with(told), "{text:?}: {error}");
        }
    }

    #[test]
    fn versions_are_told_apart_by_every_letter() {
        assert_eq!(format!("{:016x}", digest(b"")), "cbf29ce484222325");
        assert_eq!(format!("{:016x}", digest(b"a")), "af63dc4c8601ec8c");
    }
}
