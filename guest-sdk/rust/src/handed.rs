//! What code hands to tools beside what the model hands in: where a shop is, whose account it is. It never reaches the model,
//! the journal or the host.

use std::any::{Any, type_name};
use std::panic::Location;
use std::rc::Rc;

use crate::FnCtx;
use crate::failure::{Failure, code, place};

/// One value, and those handed in before it.
#[derive(Debug)]
pub(crate) struct Handed {
    value: Rc<dyn Any>,
    before: Option<Rc<Handed>>,
}

impl FnCtx {
    /// The same context, with a value for the tools of the agents that are run with it. Models know nothing of it, so they
    /// cannot choose it.
    ///
    /// ```
    /// # use trackway_sdk::prelude::*;
    /// # use trackway_sdk::testing::{Host, ModelResponse};
    /// struct Customer(String);
    ///
    /// /// Says whom you are talking with.
    /// #[tool]
    /// fn who_am_i(ctx: FnCtx) -> Result<String, Failure> {
    ///     Ok(ctx.handed::<Customer>()?.0.clone())
    /// }
    ///
    /// #[agent]
    /// async fn greet(ctx: FnCtx, customer: String) -> Result<String, Failure> {
    ///     let agent = Agent::new("greeter").model("openai/gpt-4o-mini").tool(who_am_i);
    ///     Ok(agent.run(&ctx.with(Customer(customer)), "Who am I?").await?.output)
    /// }
    ///
    /// let host = Host::new().on_model(|request| match request.number {
    ///     1 => ModelResponse::tool_call("who_am_i", &serde_json::json!({})),
    ///     _ => ModelResponse::text(request.last_content()),
    /// });
    /// assert_eq!(host.call(greet("Ada".into())).unwrap(), "Ada");
    /// ```
    pub fn with<T: 'static>(&self, value: T) -> FnCtx {
        let mut ctx = self.clone();
        ctx.handed = Some(Rc::new(Handed { value: Rc::new(value), before: ctx.handed.take() }));
        ctx
    }

    /// The value of that type that was handed in last by [`with`](FnCtx::with).
    ///
    /// # Errors
    ///
    /// `BAD_REQUEST`, [fatal](Failure::fatal), if none was.
    #[track_caller]
    pub fn handed<T: 'static>(&self) -> Result<Rc<T>, Failure> {
        let mut handed = self.handed.as_deref();
        while let Some(Handed { value, before }) = handed {
            if let Ok(value) = value.clone().downcast::<T>() {
                return Ok(value);
            }
            handed = before.as_deref();
        }
        let message = format!("it needs a `{}`: hand one in by `ctx.with(..)`", type_name::<T>());
        let failure = Failure { at: Some(place(Location::caller())), ..Failure::permanent(code::BAD_REQUEST, message) };
        Err(failure.fatal())
    }
}

#[cfg(test)]
mod tests;
