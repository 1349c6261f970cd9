//! `#[value]`: the three derives with the paths that a guest without serde needs.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Item, Result};

pub fn value(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "#[value] has no keys; `#[serde(...)]` works below it"));
    }
    let item: Item = syn::parse2(item)?;
    if !matches!(item, Item::Struct(_) | Item::Enum(_)) {
        return Err(Error::new_spanned(item, "#[value] stands above a struct or an enum"));
    }
    Ok(quote! {
        #[derive(
            ::trackway_sdk::serde::Serialize,
            ::trackway_sdk::serde::Deserialize,
            ::trackway_sdk::schemars::JsonSchema,
        )]
        #[serde(crate = "::trackway_sdk::serde")]
        #[schemars(crate = "::trackway_sdk::schemars")]
        #item
    })
}
