//! What a hostile tenant does, over and over. Its own runs may end in any way; what it must never get is an answer about
//! what is not its own, or one that says that the host is broken.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::tenant::Tenant;

/// What is uploaded in halves. Read once: who builds the guests meanwhile writes the file anew.
static UPLOADED: LazyLock<Vec<u8>> =
    LazyLock::new(|| std::fs::read(crate::rig::guests().join("sleeper.wasm")).expect("it was built"));
/// How many starts a flood sends at once.
const AT_ONCE: usize = 16;
/// Of a value that goes into a run, through a function and out again.
pub const PAYLOAD_BYTES: usize = 1 << 20;
/// Of what a run shows of itself: below what it may, and more than stands in a journal.
const PUBLISHED_BYTES: usize = 200_000;
const LOG_BYTES: usize = 100_000;

#[derive(Debug, Clone, Copy)]
pub enum Attack {
    /// Loops and recurses without end, in workflows and functions.
    Computes,
    /// Takes all memory there is.
    Hoards,
    /// Starts many at once and waits for none.
    Floods,
    /// Writes large lines into its log, and large values.
    Fills,
    /// Uploads what is no component, or half of one.
    Uploads,
    /// Asks for what others have, with keys of nobody.
    Guesses,
}

pub const ATTACKS: [Attack; 6] =
    [Attack::Computes, Attack::Hoards, Attack::Floods, Attack::Fills, Attack::Uploads, Attack::Guesses];

/// How often it was done until it was told to stop, and what should not have come of it.
pub async fn go_on(tenant: &Tenant, attack: Attack, of_another: &str, stop: &AtomicBool) -> (u64, Vec<String>) {
    let (mut count, mut broken) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) && broken.len() < 10 {
        if let Err(why) = once(tenant, attack, of_another, count).await {
            broken.push(format!("{} {attack:?}: {why}", tenant.name));
        }
        count += 1;
    }
    (count, broken)
}

async fn once(tenant: &Tenant, attack: Attack, of_another: &str, count: u64) -> Result<(), String> {
    let one_of = |choices: &[&'static str]| choices[count as usize % choices.len()];
    match attack {
        Attack::Computes => {
            let workflow = one_of(&["endless_loop", "deep_recursion", "endless_function", "diving_function"]);
            tenant.run(&format!("limits/{workflow}"), &Value::Null).await.map(drop)
        }
        Attack::Hoards => {
            let workflow = one_of(&["memory_bomb", "greedy_function"]);
            tenant.run(&format!("limits/{workflow}"), &Value::Null).await.map(drop)
        }
        Attack::Floods => {
            let input = json!([1]);
            let starts = (0..AT_ONCE).map(|_| tenant.start("sleeper/naps", &input));
            for answered in futures_util::future::join_all(starts).await {
                is_no_breakdown(answered?)?;
            }
            Ok(())
        }
        Attack::Fills => {
            let line = json!(["log", "info", { "x": LOG_BYTES }, "{}"]);
            let value = json!(["publish", format!("key-{}", count % 10), { "quoted": PUBLISHED_BYTES }]);
            let mut ops = vec![line; 20];
            ops.push(value);
            is_no_breakdown(tenant.start("hostile/script", &json!({ "ops": ops })).await?)?;
            let value = format!("{count} {}", "x".repeat(PAYLOAD_BYTES));
            tenant.run("values/echo", &json!(value)).await.map(drop)
        }
        Attack::Uploads => {
            let half = UPLOADED[..UPLOADED.len() - 1 - count as usize % 5_000].to_vec();
            is_refused(tenant.upload(half).await?)?;
            is_refused(tenant.upload(vec![count as u8; 10_000]).await?)
        }
        Attack::Guesses => {
            for (method, path) in [
                (Method::GET, format!("runs/{of_another}")),
                (Method::GET, format!("runs/{of_another}/journal")),
                (Method::POST, format!("runs/{of_another}/cancel")),
                (Method::POST, format!("runs/{of_another}/signals/go")),
            ] {
                let (status, told) = tenant.send(method.clone(), &path, &json!({})).await?;
                if status != StatusCode::NOT_FOUND && status != StatusCode::BAD_REQUEST {
                    return Err(format!("{method} {path} answers {status}: {told}"));
                }
            }
            let key = format!("tw_{count:032}");
            let (status, told) = tenant.get_with(&key, "runs").await?;
            match status {
                StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => Ok(()),
                _ => Err(format!("a key of nobody gets {status}: {told}")),
            }
        }
    }
}

/// A flood may be refused, and is told so.
fn is_no_breakdown((status, told): (StatusCode, Value)) -> Result<(), String> {
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => Ok(()),
        status if status.is_server_error() => Err(format!("{status}: {told}")),
        _ => Ok(()),
    }
}

fn is_refused((status, told): (StatusCode, Value)) -> Result<(), String> {
    if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE {
        Ok(())
    } else {
        Err(format!("what is no component gets {status}: {told}"))
    }
}
