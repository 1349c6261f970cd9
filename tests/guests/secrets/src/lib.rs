//! A function that sends secrets wherever a request can hold one, and gives back, logs and tells all that it got.

use trackway_sdk::prelude::*;
use trackway_sdk::serde_json::json;

/// A server that echoes what it is sent.
#[value]
#[derive(Clone)]
pub struct Plan {
    /// A base URL, as `http://127.0.0.1:8080`.
    pub url: String,
    /// Fail in the end, with what came back.
    #[serde(default)]
    pub fail: bool,
}

/// Sends secrets in header, query and body, publishes and returns what came back.
#[workflow]
pub async fn sends(ctx: Ctx, plan: Plan) -> Result<String, Failure> {
    let echoed = ctx.step(send, plan).await?;
    ctx.publish("echoed", &echoed);
    Ok(echoed)
}

/// The same by a function that does not list the secret.
#[workflow]
pub async fn steals(ctx: Ctx, plan: Plan) -> Result<String, Failure> {
    ctx.step(steal, plan).await
}

#[function(
    retries = 0,
    hosts = ["http://127.0.0.1"],
    secrets = ["API_KEY:header,query,body=http://127.0.0.1", "OTHER_KEY=http://127.0.0.1"]
)]
async fn send(ctx: FnCtx, plan: Plan) -> Result<String, Failure> {
    let key = ctx.secret("API_KEY");
    let request = http::post(format!("{}/echo?key={key}", plan.url))
        .bearer_auth(&key)
        .header("x-other", ctx.secret("OTHER_KEY"))
        .json(&json!({ "key": key }));
    let answer = request.send().await?;
    let headers =
        answer.headers().iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n");
    let echoed = format!("{headers}\n\n{}", answer.text()?);
    ctx.log().field("echoed", &echoed).info(format!("sent with {key}: {echoed}"));
    ctx.progress(&echoed.len());
    if plan.fail {
        return Err(Failure::permanent("ECHOED", echoed));
    }
    Ok(echoed)
}

#[function(retries = 0, hosts = ["http://127.0.0.1"])]
async fn steal(ctx: FnCtx, plan: Plan) -> Result<String, Failure> {
    http::post(plan.url).bearer_auth(ctx.secret("API_KEY")).send().await?.text()
}

export!(sends, steals, send, steal);
