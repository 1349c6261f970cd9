//! What each system takes of memory and of the disk for the same work, looked at from outside. It speaks
//! to a system only to give it the work.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::alone::World;
use super::system::{Server, System, exchange};
use super::table::Rows;
use super::{Folder, Pace, free_address, obelisk};
use crate::process::{output, say};

pub const WORKS: [&str; 2] = ["footprint.pure", "footprint.http"];

const STEPS_OF_A_RUN: u64 = 1_000;
/// After the work, so that what is only on its way is gone.
const REST: Duration = Duration::from_secs(2);
const MEBIBYTE: f64 = 1_048_576.0;

pub fn measure(systems: &[System], works: &[&str], pace: Pace, folder: &Path, rows: &mut Rows) -> Result<()> {
    let works: Vec<&str> = WORKS.into_iter().filter(|work| works.contains(work)).collect();
    for system in systems.iter().filter(|system| **system != System::Floor && !works.is_empty()) {
        say(&format!("what {} takes", system.name()));
        if let Err(why) = of_system(*system, &works, pace, folder, rows) {
            ensure!(*system != System::Trackway, "{why:#}");
            rows.leave_out(*system, &format!("{why:#}"));
        }
    }
    Ok(())
}

fn of_system(system: System, works: &[&str], pace: Pace, folder: &Path, rows: &mut Rows) -> Result<()> {
    let folder = Folder(folder.join(format!("footprint-{}", system.name())));
    let address = free_address()?;
    let server = Server::start(system, &folder.0, &address)?;
    let _world = World::start(&address)?;
    let count = if pace.is_quick { 1 } else { 10 };
    let mut put = |work: &str, metric: &str, value: f64, unit: &str| {
        rows.put(work, system.name(), metric, value, unit);
    };
    for work in works {
        let workflow = if *work == "footprint.pure" { "chain_pure" } else { "chain_http" };
        work_once(&server, system, workflow, &address)?;
        let (before, written) = (on_disk_bytes(&server)?, written_bytes(&server.engine_processes()?)?);
        for _ in 0..count {
            work_once(&server, system, workflow, &address)?;
        }
        std::thread::sleep(REST);
        let steps = (count * STEPS_OF_A_RUN) as f64;
        let written = written_bytes(&server.engine_processes()?)? - written;
        put(work, "written for each step", written / steps, "bytes");
        // What grows by whole files of a fixed size shows nothing for a while.
        put(work, "data grows for each step", (on_disk_bytes(&server)? - before) / steps, "bytes");
        put(work, "memory, code of the user too", resident_bytes(&server.all_processes()?)? / MEBIBYTE, "MiB");
        put(work, "memory of the server", resident_bytes(&server.engine_processes()?)? / MEBIBYTE, "MiB");
    }
    server.stop()
}

/// One run to its end.
fn work_once(server: &Server, system: System, workflow: &str, world: &str) -> Result<()> {
    let url = format!("http://{world}/");
    let input = format!(r#"{{"n":{STEPS_OF_A_RUN},"url":"{url}"}}"#);
    let request = match system {
        System::Trackway => {
            format!("POST /v1/runs?wait=60\n{{\"workflow\":\"work/{workflow}\",\"input\":{input}}}")
        }
        System::Obelisk => obelisk::request(workflow, STEPS_OF_A_RUN, &url),
        System::Floor | System::Restate | System::Dbos => format!("POST /work/{workflow}\n{input}"),
    };
    let (status, body) = exchange(&server.address, &server.key, &request)?;
    let is_good = match system {
        System::Trackway => body.contains(r#""status":"succeeded""#),
        System::Obelisk => obelisk::is_good(&body),
        System::Floor | System::Restate | System::Dbos => true,
    };
    ensure!((200..300).contains(&status) && is_good, "a run did not end well: {status} {body}");
    Ok(())
}

fn on_disk_bytes(server: &Server) -> Result<f64> {
    let text = output(Command::new("du").args(["--summarize", "--block-size=1"]).arg(server.data_folder()))?;
    Ok(text.split_whitespace().next().context("du said nothing")?.parse()?)
}

/// What several processes share is counted once.
fn resident_bytes(processes: &[u32]) -> Result<f64> {
    let mut kibibytes = 0.0;
    for process in processes {
        // One that has ended since takes nothing.
        let Ok(text) = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")) else { continue };
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
        kibibytes += line.trim().trim_end_matches(" kB").trim().parse::<f64>()?;
    }
    Ok(kibibytes * 1_024.0)
}

/// What they have had the system write to disks, in whole pages.
fn written_bytes(processes: &[u32]) -> Result<f64> {
    let mut bytes = 0.0;
    for process in processes {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{process}/io")) else { continue };
        let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:")).context("no write_bytes in io")?;
        bytes += line.trim().parse::<f64>()?;
    }
    Ok(bytes)
}

/// A process and all below it.
pub fn with_children(root: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(process) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        // The name before it may hold anything but is closed by the last parenthesis.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (process, parent)));
    }
    let mut found = vec![root];
    let mut place = 0;
    while let Some(parent) = found.get(place).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        place += 1;
    }
    Ok(found)
}
