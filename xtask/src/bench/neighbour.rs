//! Two tenants of one server, of which one floods it: how both are set up, each time on an empty store, and what is promised
//! to the other one. The flood and the measuring are in `bench/`.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Duration;

use super::alone::World;
use super::system::{Server, System};
use super::table::Rows;
use super::{Folder, Pace, free_address, program};
use crate::process::{output, say};
use crate::tree;

const WORK: &str = "neighbour.";
pub const WORKS: [&str; 10] = [
    "neighbour.starts",
    "neighbour.compute",
    "neighbour.payloads",
    "neighbour.logs",
    "neighbour.uploads",
    "neighbour.reads",
    "neighbour.egress",
    "neighbour.signals",
    "neighbour.timers",
    "neighbour.mixed",
];

/// What is promised, whatever the other tenant does.
const TIMES_QUIET_MAX: f64 = 3.0;
const PROMISED: [&str; 2] = ["p50, times quiet", "p99, times quiet"];
/// The disk has to be done with what was flooded before the next one is measured on a quiet host.
const REST: Duration = Duration::from_secs(2);

pub fn measure(works: &[&str], pace: Pace, folder: &Path, rows: &mut Rows) -> Result<()> {
    let mut failed = Vec::new();
    for round in 1..=pace.rounds {
        for work in WORKS.into_iter().filter(|work| works.contains(work)) {
            say(&format!("trackway alone, round {round} of {}: {work}", pace.rounds));
            // The others can be measured all the same.
            if let Err(why) = beside_flood(work, pace, folder, rows) {
                say(&format!("{work} was not measured: {why:#}"));
                failed.push(format!("{work}: {why:#}"));
            }
            std::thread::sleep(REST);
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

fn beside_flood(work: &str, pace: Pace, folder: &Path, rows: &mut Rows) -> Result<()> {
    PROMISED.into_iter().for_each(|metric| rows.aim(work, metric, TIMES_QUIET_MAX));
    let folder = Folder(folder.join("neighbour"));
    let server = Server::start_bare(System::Trackway, &folder.0)?;
    // What functions of the flooder hold on to.
    let address = free_address()?;
    let _world = World::start(&address)?;
    let key = tenant(&server, "neighbour", &["work"], &address)?;
    let flooder = tenant(&server, "flooder", &["work", "hostile"], &address)?;
    let mut neighbour = program("neighbour");
    neighbour.args(["--system", System::Trackway.name(), "--address", &server.address, "--world", &address]);
    neighbour.args(["--key", &key, "--flooder", &flooder, "--flood", work.trim_start_matches(WORK)]);
    neighbour.args(["--seconds", &pace.seconds.to_string(), "--guests"]).arg(tree::guests());
    // What is left of the flood then is ended with the server, which is killed, and removed with the folder.
    rows.take(&mut neighbour).with_context(|| format!("{work}:\n{}", server.log_tail()))
}

/// Makes a tenant that has those guests deployed, of which `work` may reach the world; its key.
fn tenant(server: &Server, name: &str, guests: &[&str], world: &str) -> Result<String> {
    output(server.typed(&server.key).args(["tenants", "create", name]))?;
    let create = ["keys", "create", "--tenant", name, "--scope", "admin", "bench", "-o", "id"];
    let key = output(server.typed(&server.key).args(create))?.trim().to_owned();
    for guest in guests {
        let module = tree::guests().join(format!("{guest}.wasm"));
        let mut deploy = server.typed(&key);
        deploy.arg("deploy").arg(module).args(["--name", *guest]);
        if *guest == "work" {
            deploy.args(["--allow-host", &format!("http://{world}")]);
        }
        output(&mut deploy)?;
    }
    Ok(key)
}
