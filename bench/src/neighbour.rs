//! What one tenant's runs take on a quiet host, and then beside another tenant that floods it: both within a minute, on
//! the same host. What a flood is made of it does not know.

use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::client::Connection;
use crate::flood::Flood;
use crate::load::{STEPS_OF_A_RUN, Target};
use crate::row::{millis, quantile};

/// Before anything is counted: code is loaded and compiled.
const WARM_UP: u32 = 20;
/// So that three of them at least are behind a p99, also where each takes long.
const RUNS_MIN: usize = 300;
/// With less than that it ends here: a tenant that starves is measured too.
const TIME_MAX: Duration = Duration::from_secs(60);

/// `neighbour --system trackway --address HOST:PORT --world HOST:PORT --key KEY --flooder KEY --flood NAME
/// --guests PATH [--seconds S]`
pub async fn measure(arguments: &Arguments) -> Result<()> {
    let neighbour = Target::read(arguments)?;
    let (name, flooder) = (arguments.text("flood")?, neighbour.with_key(arguments.text("flooder")?));
    let flood = Flood::prepare(name, flooder, Path::new(arguments.text("guests")?)).await?;

    let request = neighbour.request("chain_pure", STEPS_OF_A_RUN);
    let mut connection = neighbour.warm(&request, WARM_UP).await?;
    let quiet = runs(&neighbour, &mut connection, &request).await?;
    let flood = flood.start()?.risen().await?;
    // It may have risen for longer than a connection may be idle.
    let mut connection = neighbour.warm(&request, 1).await?;
    let (before, begun) = (flood.answered(), Instant::now());
    let beside = runs(&neighbour, &mut connection, &request).await;
    let (after, took) = (flood.answered(), begun.elapsed().as_secs_f64());
    let ended = flood.end();
    let beside = beside?;
    ended?;

    let put = |metric: &str, value: f64, unit: &str| neighbour.put(&format!("neighbour.{name}"), metric, value, unit);
    for (quantile_name, per_mille) in [("p50", 500), ("p99", 990)] {
        let of = |took: &[Duration]| millis(quantile(took, per_mille));
        put(&format!("{quantile_name} quiet"), of(&quiet), "ms");
        put(&format!("{quantile_name} beside it"), of(&beside), "ms");
        put(&format!("{quantile_name}, times quiet"), of(&beside) / of(&quiet), "");
    }
    put("done by the flood", (after.done - before.done) as f64 / took, "1/s");
    put("refused to the flood", (after.refused - before.refused) as f64 / took, "1/s");
    Ok(())
}

/// How long each took of those that are begun when the one before has ended, sorted.
async fn runs(neighbour: &Target, connection: &mut Connection, request: &[u8]) -> Result<Vec<Duration>> {
    let (begun, mut took) = (Instant::now(), Vec::new());
    while begun.elapsed() < neighbour.time || (took.len() < RUNS_MIN && begun.elapsed() < TIME_MAX) {
        took.push(neighbour.run(connection, request).await?);
    }
    took.sort_unstable();
    Ok(took)
}
