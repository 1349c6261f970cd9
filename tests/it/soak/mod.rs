//! Twenty tenants on one host for a long while, six of whom mean harm: every run of the others ends as it should, memory
//! and disk stay level, the audit log tells of every request that changes something, and what is not the attackers' own is
//! found as it was. The attackers' own runs may end in any way.
//!
//! `cargo xtask prove soak` goes on for longer; what has to be level is judged only there, since a short form is all
//! beginning.

mod attack;
mod ledger;
mod tenant;
mod victim;

use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::attack::{ATTACKS, Attack, PAYLOAD_BYTES};
use self::tenant::{Done, Tenant};
use self::victim::Victim;
use crate::proof;
use crate::server::Server;
use crate::world::{Reply, World};

const TENANTS: usize = 20;
/// Of the short form.
const SHORT: Duration = Duration::from_secs(20);
/// With fewer looks the beginning weighs too much.
const LOOKS_MIN: usize = 60;
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// So much more than before is still level: pages are taken and given back in lumps.
const LEVEL_SLACK_BYTES: u64 = 64 << 20;
/// Between two runs of an honest tenant.
const PAUSE: Duration = Duration::from_millis(100);
/// A run of the others takes a fraction of a second where nobody else is there.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an honest tenant runs: deployment and workflow, input, output. `URL` is where the world is.
const WORKS: [(&str, &str, &str); 4] = [
    ("parallel/parallel", "3", "19"),
    ("sleeper/naps", "[5,30]", "2"),
    ("parallel/fan_out", r#"{"n":20}"#, "2470"),
    ("effects/posts", r#"{"url":"URL","steps":3}"#, "3"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_tenants_are_served_beside_hostile_ones_for_as_long_as_it_goes_on() {
    let soak = Soak::begin().await;
    let told = soak.go_on(proof::time().unwrap_or(SHORT)).await;
    let failed = told.broken.len() as u64;
    println!("{} runs of honest tenants, {} attacks, {} lines of the audit log", told.runs, told.attacks, told.lines);
    proof::checked("runs of honest tenants beside hostile ones", told.runs.saturating_sub(failed), failed);
    assert!(told.broken.is_empty(), "{:#?}", told.broken);
    assert!(told.runs > TENANTS as u64 && told.attacks > 0, "hardly anything was done");
}

struct Soak {
    folder: tempfile::TempDir,
    server: Server,
    world: World,
    tenants: Vec<Arc<Tenant>>,
}

/// What came of it.
struct Told {
    runs: u64,
    attacks: u64,
    lines: u64,
    broken: Vec<String>,
}

impl Soak {
    async fn begin() -> Soak {
        let world = World::start(|asked| Reply::ok(asked.nonce.to_string())).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Or the disk could not stay level.
        let flags = ["--keep-finished", "10s"];
        let data = folder.path().join("data");
        let server = Server::try_start_with(folder.path(), &data, &[], &flags).await;
        let server = server.unwrap_or_else(|why| panic!("the server did not come up: {why}"));
        let mut tenants = Vec::new();
        for number in 0..TENANTS {
            let tenant = Tenant::make(&server, &format!("tenant-{number:02}")).await;
            let guests: &[&str] = if number < ATTACKS.len() {
                &["limits", "hostile", "sleeper", "values"]
            } else {
                &["parallel", "sleeper", "effects"]
            };
            for guest in guests {
                tenant.deploy(guest, &world.origin()).await;
            }
            tenants.push(Arc::new(tenant));
        }
        Soak { folder, server, world, tenants }
    }

    async fn go_on(self, time: Duration) -> Told {
        let stop = Arc::new(AtomicBool::new(false));
        let (hostile, honest) = self.tenants.split_at(ATTACKS.len());
        let victim = Victim::begin(honest[0].clone(), time).await;
        let mut attackers = tokio::task::JoinSet::new();
        for (tenant, attack) in hostile.iter().zip(ATTACKS) {
            let (tenant, stop, of_another) = (tenant.clone(), stop.clone(), victim.run.clone());
            attackers.spawn(async move { attack::go_on(&tenant, attack, &of_another, &stop).await });
        }
        let mut others = tokio::task::JoinSet::new();
        for (number, tenant) in honest.iter().enumerate() {
            let (tenant, stop, url) = (tenant.clone(), stop.clone(), self.world.origin());
            others.spawn(async move { work(&tenant, number, &url, &stop).await });
        }
        let mut told = Told { runs: 0, attacks: 0, lines: 0, broken: Vec::new() };
        let looks = self.look(time).await;
        stop.store(true, Ordering::Relaxed);
        while let Some(ended) = others.join_next().await {
            let (runs, broken) = ended.expect("no task panics");
            told.runs += runs;
            told.broken.extend(broken);
        }
        while let Some(ended) = attackers.join_next().await {
            let (attacks, broken) = ended.expect("no task panics");
            told.attacks += attacks;
            told.broken.extend(broken);
        }
        told.broken.extend(not_level(&looks));
        told.broken.extend(victim.harm().await);
        for (tenant, _) in hostile.iter().zip(ATTACKS).filter(|(_, attack)| matches!(attack, Attack::Fills)) {
            told.broken.extend(not_filled(tenant).await);
        }
        for tenant in &self.tenants {
            let (lines, missing) = ledger::audited(tenant).await;
            told.lines += lines;
            told.broken.extend(missing);
        }
        if self.server.log().contains("panicked") {
            told.broken.push(format!("something panicked:\n{}", self.server.log()));
        }
        told
    }

    /// Memory and disk, every few seconds.
    async fn look(&self, time: Duration) -> Vec<(u64, u64)> {
        let begun = Instant::now();
        let mut looks = Vec::new();
        while begun.elapsed() < time {
            tokio::time::sleep(LOOK_EVERY.min(time)).await;
            looks.push((self.server.memory_bytes(), size_of(self.folder.path())));
        }
        looks
    }
}

/// An honest tenant: one run after the other, each of which has to end as it should.
async fn work(tenant: &Tenant, number: usize, url: &str, stop: &AtomicBool) -> (u64, Vec<String>) {
    let (mut runs, mut broken) = (0, Vec::new());
    let mut slowest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let (workflow, input, output) = WORKS[(number + runs as usize) % WORKS.len()];
        let input: Value = serde_json::from_str(&input.replace("URL", url)).expect("JSON");
        let begun = Instant::now();
        match tokio::time::timeout(PATIENCE, tenant.run(workflow, &input)).await {
            Ok(Ok(Done { status, output: given })) if status == "succeeded" && is_right(workflow, &given, output) => {}
            Ok(Ok(Done { status, output })) => {
                broken.push(format!("{}: {workflow} is {status}: {output}", tenant.name))
            }
            Ok(Err(why)) => broken.push(format!("{}: {workflow}: {why}", tenant.name)),
            Err(_) => broken.push(format!("{}: {workflow} does not end within {PATIENCE:?}", tenant.name)),
        }
        slowest = slowest.max(begun.elapsed());
        runs += 1;
        tokio::time::sleep(PAUSE).await;
    }
    println!("{}: {runs} runs, the slowest took {slowest:?}", tenant.name);
    (runs, broken)
}

/// What posts gives is the nonce of the world's last answer.
fn is_right(workflow: &str, given: &str, wanted: &str) -> bool {
    if workflow == "effects/posts" { given.parse::<u64>().is_ok_and(|nonce| nonce > 0) } else { given == wanted }
}

/// The last third is no higher than the one before it.
fn not_level(looks: &[(u64, u64)]) -> Vec<String> {
    if looks.len() < LOOKS_MIN {
        return Vec::new();
    }
    let third = looks.len() / 3;
    let (memory, disk): (Vec<u64>, Vec<u64>) = looks.iter().copied().unzip();
    let highest = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
    let mut broken = Vec::new();
    for (what, values) in [("memory", memory), ("disk", disk)] {
        let (then, now) = (highest(&values[third..2 * third]), highest(&values[2 * third..]));
        println!("{what}: at most {} MiB in the second third, {} MiB in the last", then >> 20, now >> 20);
        if now > then + then / 5 + LEVEL_SLACK_BYTES {
            broken.push(format!("{what} grows: {then} bytes, then {now}"));
        }
    }
    broken
}

/// Whoever fills the store with values has stored some.
async fn not_filled(tenant: &Tenant) -> Option<String> {
    match tenant.stored_bytes().await {
        Ok(stored) if stored >= PAYLOAD_BYTES as u64 => {
            println!("{}: {} MiB of values were stored", tenant.name, stored >> 20);
            None
        }
        Ok(stored) => Some(format!("{}: only {stored} bytes of values were stored", tenant.name)),
        Err(why) => Some(format!("{}: {why}", tenant.name)),
    }
}

fn size_of(folder: &Path) -> u64 {
    let files = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok);
    files.filter_map(|entry| entry.metadata().ok()).filter(|it| it.is_file()).map(|it| it.len()).sum()
}
