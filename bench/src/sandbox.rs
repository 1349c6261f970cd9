//! What the engine costs: an instance, and a crossing. No journal, no disk.

use anyhow::{Result, bail};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use trackway::sandbox::{Code, Command, Delivery, Ended, GuestCall, GuestHost, Reply, Role, Stop};
use trackway_replay::{Limits, TenantId};

use crate::{host, row};

const ROUNDS: usize = 5;
const INSTANCES: u32 = 2_000;
const CROSSINGS: u32 = 1_000_000;

pub async fn measure(guests: &Path, folder: &Path) -> Result<()> {
    let sandbox = host::sandbox(&folder.join("sandbox"))?;
    let admitted = host::admit(&sandbox, guests, "crossings").await?;
    let code = sandbox.load(TenantId::DEFAULT, admitted.digest, &admitted.bytes).await?;
    let mut instance = Duration::MAX;
    let mut crossing = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..INSTANCES {
            call(&code, 0).await?;
        }
        instance = instance.min(begun.elapsed() / INSTANCES);
        let begun = Instant::now();
        call(&code, CROSSINGS).await?;
        crossing = crossing.min(begun.elapsed() / CROSSINGS);
    }
    row::put("instance", "trackway", "with a call", micros(instance), "us");
    row::put("instance", "trackway", "crossing", micros(crossing), "us");
    Ok(())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

async fn call(code: &Arc<Code>, times: u32) -> Result<()> {
    let limits = Limits::default();
    let call = GuestCall {
        tenant: TenantId::DEFAULT,
        role: Role::Workflow,
        name: "crosses".into(),
        input: times.to_string().into(),
        context: r#"{"run":"r","workflow":"crosses","deployment":"d"}"#.into(),
        fuel: limits.fuel,
        limits,
    };
    match code.clone().call(call, Box::new(Nothing)).await.how {
        Ended::Returned(Ok(_)) => Ok(()),
        other => bail!("the guest ended otherwise: {other:?}"),
    }
}

/// A host that has nothing to offer but the time.
struct Nothing;

impl GuestHost for Nothing {
    fn command(&mut self, _: Command<'_>, _: u64) -> Result<Reply, Stop> {
        Err(Stop)
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, _: &mut Context<'_>, _: u64) -> Poll<Result<Delivery, Stop>> {
        Poll::Ready(Err(Stop))
    }

    fn now_ms(&mut self) -> u64 {
        1_795_000_000_000
    }

    fn random(&mut self, into: &mut [u8]) {
        into.fill(7);
    }

    fn log(&mut self, _: &str, _: &str, _: &str) {}
}
