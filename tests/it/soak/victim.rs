//! A run of an honest tenant that sleeps for longer than anything else goes on, and has to be found as it was left. What is
//! tried on it, others try.

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tenant::Tenant;

/// It sleeps for so much longer than whoever attacks it.
const LONGER: Duration = Duration::from_secs(3_600);
/// Until it sleeps.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What such a run writes by itself.
const OWN: [&str; 5] = ["Started", "DeadlineSet", "Claimed", "Asked", "FuelUsed"];
/// What changes as soon as somebody does something to it.
const SEEN: [&str; 4] = ["status", "due_at", "steps", "code"];

pub struct Victim {
    tenant: Arc<Tenant>,
    pub run: String,
    was: Vec<Value>,
}

impl Victim {
    /// Begins it, and waits until it sleeps. It goes on for longer than `time`.
    pub async fn begin(tenant: Arc<Tenant>, time: Duration) -> Victim {
        let sleep_ms = (time + LONGER).as_secs() * 1_000;
        let run = tenant.run_detached("sleeper/sleeps", &json!(sleep_ms)).await.expect("nothing else goes on yet");
        let begun = Instant::now();
        loop {
            let now = tenant.get(&format!("runs/{run}")).await.expect("the server answers");
            if now["status"] == "sleeping" {
                return Victim { tenant, run, was: seen(&now) };
            }
            assert!(begun.elapsed() < PATIENCE, "it does not fall asleep: {now}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What others did to it.
    pub async fn harm(&self) -> Vec<String> {
        self.look().await.err().map(|why| format!("the run that others guess: {why}")).into_iter().collect()
    }

    async fn look(&self) -> Result<(), String> {
        let now = seen(&self.tenant.get(&format!("runs/{}", self.run)).await?);
        if now != self.was {
            return Err(format!("{SEEN:?} were {:?}, and are {now:?}", self.was));
        }
        let page = self.tenant.get(&format!("runs/{}/journal", self.run)).await?;
        let entries = page["entries"].as_array().cloned().unwrap_or_default();
        let is_own = |entry: &Value| entry["kind"].as_str().is_some_and(|kind| OWN.contains(&kind));
        match entries.iter().find(|entry| !is_own(entry)) {
            Some(entry) => Err(format!("its journal has {entry}")),
            None if entries.is_empty() => Err("its journal is empty".to_owned()),
            None => Ok(()),
        }
    }
}

fn seen(run: &Value) -> Vec<Value> {
    SEEN.iter().map(|field| run[*field].clone()).collect()
}
