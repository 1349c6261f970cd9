//! Values of every size and shape, through functions and back.

use trackway_sdk::prelude::*;
use trackway_sdk::serde_json::Value as Json;

/// What to make.
#[value]
#[derive(Clone)]
pub struct Size {
    /// The size of the JSON text, quotes included.
    pub bytes: usize,
    /// How many steps get it at once.
    #[serde(default = "one")]
    pub steps: usize,
}

fn one() -> usize {
    1
}

/// Sends text of that size to as many steps and back; the sizes that came.
#[workflow]
pub async fn fan(ctx: Ctx, size: Size) -> Result<Vec<usize>, Failure> {
    let text = "x".repeat(size.bytes.saturating_sub(2));
    let echoes = try_join_all((0..size.steps).map(|_| ctx.step(echo_text, text.clone()))).await?;
    Ok(echoes.into_iter().map(|echo| echo.len() + 2).collect())
}

/// A step whose output has that size; the size that came.
#[workflow]
pub async fn large_output(ctx: Ctx, size: Size) -> Result<usize, Failure> {
    Ok(ctx.step(make, size).await?.len() + 2)
}

/// A step for each size, all at once; the sizes that came.
#[workflow]
pub async fn several(ctx: Ctx, sizes: Vec<usize>) -> Result<Vec<usize>, Failure> {
    let made = try_join_all(sizes.into_iter().map(|bytes| ctx.step(make, Size { bytes, steps: 1 }))).await?;
    Ok(made.into_iter().map(|text| text.len() + 2).collect())
}

/// An output of the run of that size.
#[workflow]
pub async fn large_result(_ctx: Ctx, size: Size) -> String {
    "x".repeat(size.bytes.saturating_sub(2))
}

/// Any JSON through a step and back.
#[workflow]
pub async fn echo(ctx: Ctx, value: Json) -> Result<Json, Failure> {
    ctx.step(echo_json, value).await
}

#[function(retries = 0)]
fn echo_text(text: String) -> String {
    text
}

#[function(retries = 0)]
fn make(size: Size) -> String {
    "x".repeat(size.bytes.saturating_sub(2))
}

#[function]
fn echo_json(value: Json) -> Json {
    value
}

/// Reads a number and writes text.
#[value]
#[serde(from = "u8", into = "String")]
#[derive(Clone)]
pub struct Liar(u8);

impl From<u8> for Liar {
    fn from(number: u8) -> Liar {
        Liar(number)
    }
}

impl From<Liar> for String {
    fn from(liar: Liar) -> String {
        liar.0.to_string()
    }
}

#[function]
fn lie() -> Liar {
    Liar(7)
}

/// A step whose answer cannot be read back.
#[workflow]
pub async fn unreadable(ctx: Ctx) -> Result<String, Failure> {
    ctx.step(lie, ()).await.map(String::from)
}

export!(fan, large_output, several, large_result, echo, unreadable, echo_text, make, echo_json, lie);
