//! The desk of a shop: an agent that looks orders up, another one that pays back what a person has approved, and a memory of what was
//! said before.

use trackway_sdk::prelude::*;

/// Any that the operator has granted.
const MODEL: &str = "openai/gpt-4o-mini";

prompt!(Desk = "prompts/desk.md");
prompt!(Refunds = "prompts/refunds.md");

/// What a customer says.
#[value]
pub struct Request {
    /// Where the shop's services are, as `https://shop.example.com`.
    pub shop: String,
    pub customer: String,
    pub message: String,
}

/// What they are told.
#[value]
pub struct Reply {
    pub text: String,
    /// Who answered.
    pub agent: String,
}

/// Answers a customer, with all in mind that was said before.
#[workflow]
pub async fn desk(ctx: Ctx, request: Request) -> Result<Reply, Failure> {
    let memory = ctx.memory("desk", &request.customer);
    let mut messages = memory.recall().await?;
    messages.push(Message::user(request.message));
    let answer = ctx.step(serve, Talk { shop: request.shop, customer: request.customer, messages }).await?;
    memory.keep(&answer.messages).await?;
    Ok(Reply { text: answer.output, agent: answer.agent })
}

/// A conversation, and what the agents may know of it.
#[value]
pub struct Talk {
    pub shop: String,
    pub customer: String,
    pub messages: Vec<Message>,
}

/// One turn of the conversation. While a person is asked it waits, for days if need be, and costs nothing.
#[agent(models = ["openai/gpt-4o-mini"], hosts = ["shop.example.com"])]
pub async fn serve(ctx: FnCtx, talk: Talk) -> Result<AgentAnswer, Failure> {
    let Talk { shop, customer, messages } = talk;
    let refunds = Agent::new("refunds")
        .description("Pays customers back.")
        .model(MODEL)
        .instructions(Refunds { customer: &customer })
        .tool(find_order)
        .tool(refund);
    let desk = Agent::new("desk")
        .model(MODEL)
        .instructions(Desk { customer: &customer })
        .tool(find_order)
        .hand_off_to(refunds)
        .max_iterations(12)
        .budget(Budget::new().tokens(100_000).cost_usd(0.10))
        .stream_to("reply");
    desk.run(&ctx.with(Shop(shop)), messages).await
}

/// Where the shop is: the model does not choose it.
struct Shop(String);

/// An order of the shop.
#[value]
pub struct Order {
    pub id: String,
    pub item: String,
    /// What it cost.
    pub cents: u32,
    #[serde(default)]
    pub was_refunded: bool,
}

/// Which order is meant.
#[value]
pub struct OrderId {
    /// The number of the order, as `4711`.
    #[schemars(length(min = 1, max = 20))]
    pub order: String,
}

/// Looks an order up: what was bought, what it cost, and whether it was paid back.
#[tool]
pub async fn find_order(ctx: FnCtx, id: OrderId) -> Result<Order, Failure> {
    let order = number(&id.order)?;
    let url = format!("{}/orders/{order}", ctx.handed::<Shop>()?.0);
    http::get(url).send().await?.error_for_status()?.json()
}

/// How much to pay back for which order.
#[value]
pub struct Payment {
    /// The number of the order, as `4711`.
    #[schemars(length(min = 1, max = 20))]
    pub order: String,
    /// In cents, at most what the order cost.
    #[schemars(range(min = 1, max = 100_000))]
    pub cents: u32,
    /// Why, in one sentence, for whoever approves it.
    pub why: String,
}

/// Pays a customer back. A person is asked first.
#[tool(needs_approval)]
pub async fn refund(ctx: FnCtx, payment: Payment) -> Result<String, Failure> {
    let order = number(&payment.order)?;
    let url = format!("{}/orders/{order}/refunds", ctx.handed::<Shop>()?.0);
    // Sent under one idempotency key, however often the host dies.
    http::post(url).json(&payment).send().await?.error_for_status()?;
    Ok(format!("{} cents were paid back", payment.cents))
}

/// Only digits become part of an address.
fn number(order: &str) -> Result<&str, Failure> {
    match order.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(order),
        false => Err(Failure::permanent("NO_ORDER", "the number of an order is made of digits")),
    }
}

export!(desk, serve, find_order, refund, Desk, Refunds);

#[cfg(test)]
mod tests;
