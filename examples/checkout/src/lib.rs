//! An order is reserved, paid and shipped. If a later part fails, what was done before is undone.

use trackway_sdk::prelude::*;
use trackway_sdk::serde_json::json;

/// What somebody buys.
#[value]
#[derive(Clone)]
pub struct Order {
    /// Where the shop's services are, as `https://shop.example.com`.
    pub shop: String,
    /// Number of the order.
    pub id: String,
    pub item: String,
    pub cents: u64,
}

/// What was done for an order, at one of the services.
#[value]
#[derive(Clone)]
pub struct Done {
    pub shop: String,
    /// The service's own number for it.
    pub id: String,
}

/// What the customer gets to know.
#[value]
pub struct Receipt {
    pub order: String,
    pub payment: String,
    pub shipment: String,
}

/// Reserves the item, charges for it and ships it; on failure and on cancel what was done is undone, the
/// last first.
#[workflow]
pub async fn checkout(ctx: Ctx, order: Order) -> Result<Receipt, Failure> {
    ctx.saga(async |saga| {
        saga.step(reserve, order.clone()).undo(release, Done::clone).await?;
        let payment = saga.step(charge, order.clone()).undo(refund, Done::clone).await?;
        // Nothing can fail after it, so there is nothing to undo it for.
        let shipment = ctx.step(ship, order.clone()).await?;
        Ok(Receipt { order: order.id.clone(), payment: payment.id, shipment: shipment.id })
    })
    .await
}

/// Sets the item aside.
#[function(retries = 3, backoff = "200ms", timeout = "30s", hosts = ["shop.example.com"])]
pub async fn reserve(order: Order) -> Result<Done, Failure> {
    post(&order.shop, "reservations", json!({ "order": order.id, "item": order.item })).await
}

/// Charges the customer. A card that is declined stays declined.
#[function(retries = 3, backoff = "200ms", timeout = "30s", except = ["DECLINED"], hosts = ["shop.example.com"])]
pub async fn charge(order: Order) -> Result<Done, Failure> {
    post(&order.shop, "payments", json!({ "order": order.id, "cents": order.cents })).await
}

/// Hands the parcel over.
#[function(retries = 3, backoff = "200ms", timeout = "30s", hosts = ["shop.example.com"])]
pub async fn ship(order: Order) -> Result<Done, Failure> {
    post(&order.shop, "shipments", json!({ "order": order.id })).await
}

/// Puts the item back. Money and goods are at stake, so it is tried for long.
#[function(retries = 19, backoff = "1s", backoff_max = "5m", hosts = ["shop.example.com"])]
pub async fn release(done: Done) -> Result<(), Failure> {
    remove(&done, "reservations").await
}

/// Gives the money back.
#[function(retries = 19, backoff = "1s", backoff_max = "5m", hosts = ["shop.example.com"])]
pub async fn refund(done: Done) -> Result<(), Failure> {
    remove(&done, "payments").await
}

/// The host sends an idempotency key of its own with each request, the same one when it has to ask again:
/// a service that heeds it never does the same twice.
async fn post(shop: &str, what: &str, body: trackway_sdk::serde_json::Value) -> Result<Done, Failure> {
    let answer = http::post(format!("{shop}/{what}")).json(&body).send().await?;
    if answer.status() == 402 {
        return Err(Failure::permanent("DECLINED", "the card was declined"));
    }
    let id = answer.error_for_status()?.text()?;
    Ok(Done { shop: shop.to_owned(), id: id.trim().to_owned() })
}

/// What is gone already is as good as removed.
async fn remove(done: &Done, what: &str) -> Result<(), Failure> {
    let answer = http::delete(format!("{}/{what}/{}", done.shop, done.id)).send().await?;
    if answer.status() != 404 {
        answer.error_for_status()?;
    }
    Ok(())
}

export!(checkout, reserve, charge, ship, release, refund);

#[cfg(test)]
mod tests;
