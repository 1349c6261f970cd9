//! Orders at a shop that counts them: every step changes something outside, twice.

use trackway_sdk::prelude::*;

#[value]
pub struct Orders {
    /// Where the shop is, as `http://127.0.0.1:8080`.
    pub shop: String,
    /// Whose they are; in every path.
    pub buyer: String,
    /// One batch after the other,
    pub batches: u64,
    /// this many orders at once,
    pub orders: u64,
    /// and this many rounds of thinking after each batch.
    pub thoughts: u64,
}

#[value]
pub struct Order {
    pub shop: String,
    pub path: String,
}

/// What the shop wrote on the two receipts of an order.
#[value]
pub struct Receipt {
    pub reserved: String,
    pub paid: String,
}

/// Places all orders and returns the receipts, in order.
#[workflow]
pub async fn place_orders(ctx: Ctx, input: Orders) -> Result<Vec<Receipt>, Failure> {
    let mut receipts = Vec::new();
    let mut mood = 1;
    for batch in 0..input.batches {
        let orders = (0..input.orders).map(|number| {
            let path = format!("{}/{batch}/{number}", input.buyer);
            ctx.step(place_order, Order { shop: input.shop.clone(), path })
        });
        receipts.extend(try_join_all(orders).await?);
        mood = think(mood, input.thoughts);
    }
    // It never is: but now nobody can leave the thinking out.
    if mood == 0 { Err(Failure::permanent("TIRED", "thought too much")) } else { Ok(receipts) }
}

/// Reserves, then pays. The second request says what the answer to the first one was.
#[function]
pub async fn place_order(order: Order) -> Result<Receipt, Failure> {
    let Order { shop, path } = order;
    let reserved = http::post(format!("{shop}/reserve/{path}")).body("one, please").send().await?;
    let reserved = reserved.error_for_status()?.text()?;
    let paid = http::post(format!("{shop}/pay/{path}")).body(reserved.clone()).send().await?;
    let paid = paid.error_for_status()?.text()?;
    Ok(Receipt { reserved, paid })
}

/// Xorshift, which never gets from something to nothing.
fn think(mut mood: u64, thoughts: u64) -> u64 {
    for _ in 0..thoughts {
        mood ^= mood << 13;
        mood ^= mood >> 7;
        mood ^= mood << 17;
    }
    mood
}

export!(place_orders, place_order);
