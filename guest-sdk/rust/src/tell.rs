//! What guests tell those who follow a run, as it happens.

use serde::Serialize;
use std::panic::Location;

use crate::bindings;
use crate::failure::place;
use crate::runtime::Runtime;
use crate::{Ctx, FnCtx};

impl Ctx {
    /// Tells those who follow the run something that stays. It stands in the journal, so a replay tells nothing
    /// twice, and whoever comes back after a lost connection goes on where they were.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// # #[function] fn index(page: u32) {}
    /// #[value]
    /// struct Page {
    ///     done: u32,
    ///     of: u32,
    /// }
    ///
    /// #[workflow]
    /// async fn index_all(ctx: Ctx, of: u32) -> Result<(), Failure> {
    ///     for page in 1..=of {
    ///         ctx.step(index, page).await?;
    ///         ctx.emit("page", &Page { done: page, of });
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// `event` is a name: letters, digits, `_`, `-` and `.`, at most 128 bytes. The data has at most 32 KiB. The
    /// host ends a run that tells something else.
    #[track_caller]
    pub fn emit(&self, event: &str, data: &(impl Serialize + ?Sized)) {
        emit(event, data, Location::caller());
    }
}

impl FnCtx {
    /// Tells those who follow the run something that stays, as [`Ctx::emit`]. An attempt that goes on after a
    /// crash tells nothing twice; one that begins anew after a failure tells it anew, under its own number.
    #[track_caller]
    pub fn emit(&self, event: &str, data: &(impl Serialize + ?Sized)) {
        emit(event, data, Location::caller());
    }

    /// Tells those who follow the run right now something that does not stay: a piece of what is on its way. It
    /// may be lost, and costs little: what stays is what the function returns, or [emits](FnCtx::emit).
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// #[function]
    /// fn answer(ctx: FnCtx, words: Vec<String>) -> String {
    ///     let mut said = String::new();
    ///     for word in words {
    ///         ctx.delta("token", &word);
    ///         said.push_str(&word);
    ///     }
    ///     said
    /// }
    /// ```
    ///
    /// At most 16 KiB of JSON under a name: the host ends an attempt that tells something else.
    pub fn delta(&self, event: &str, data: &(impl Serialize + ?Sized)) {
        bindings::delta(event, &serde_json::to_string(data).unwrap_or_default());
    }
}

fn emit(event: &str, data: &(impl Serialize + ?Sized), at: &'static Location<'static>) {
    // What cannot be written is no JSON, and the host says so.
    let data = serde_json::to_string(data).unwrap_or_default();
    Runtime::current().port().emit(event, &data, &place(at));
}
