//! Loads a host, cuts the power of its disk, and holds the next host to what this one said.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trackway::api::model;
use trackway_replay::RunId;

use super::disk::Disk;
use crate::kill::ledger::{Cancel, Ending, Kill, Ledger, Removal, Work};
use crate::kill::verdict::{broken_at_the_end, broken_so_far};
use crate::proof;
use crate::server::{Environment, Server, check_store};
use crate::world::{Asked, Reply, World};

const ROUNDS: u64 = 2;
/// On one disk, one after the other: a store that was repaired once is cut again.
const ROUNDS_ON_A_DISK: u64 = 4;
/// A round without hardening may be lucky, this many in a row may not.
const CONTROL_ROUNDS_MAX: u64 = 12;
/// How long the load goes on before the cut; each round a little longer, so that it meets the store at
/// other places.
const LOAD: Duration = Duration::from_millis(600);
const LOAD_MORE: Duration = Duration::from_millis(173);
/// The host goes on for so long without its disk: nothing that it says in that time may be untrue.
const DARK: Duration = Duration::from_millis(150);
/// Clients, each with one run at a time.
const CLIENTS: u64 = 12;
/// A client looks so often at a run that sleeps before it starts another one.
const LOOKS_MAX: u32 = 40;
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const BATCHES: u64 = 3;
const ORDERS: u64 = 2;
/// Longer than any round, so that it sleeps when the power goes.
const NAP_MILLIS: u64 = 4_000;
/// A value of at least so many bytes is kept as a file, which the disk is asked for more than once.
const FILE_BYTES: u64 = 1_200_000;
/// One of at least so many is rows of the log.
const ROWS_BYTES: u64 = 90_000;
/// Of the runs whose output is known, one in so many is removed once it has ended.
const REMOVED_OF_ENDED: u64 = 3;

/// What the host is asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Load {
    Everything,
    /// No payload files, no effects, nothing removed: on ext4 a sync of a file saves the others too, so a host
    /// that does not sync its store has to be met without any.
    SmallOnly,
}

pub async fn all() {
    if let Err(why) = try_a_cut() {
        return proof::not_run("power cuts under the host", &why);
    }
    let rounds = proof::rounds(ROUNDS);
    let begun = Instant::now();
    let (mut done, mut failed) = (0, 0);
    while done < rounds || proof::time().is_some_and(|time| begun.elapsed() < time) {
        let on_this_disk = (rounds.max(done + 1) - done).min(ROUNDS_ON_A_DISK);
        let broken = rounds_on_a_disk(&[], Load::Everything, on_this_disk, done).await;
        done += on_this_disk;
        failed += broken.len() as u64;
        for (round, why) in broken {
            println!("power cut {round} of the host broke promises:\n{}", why.join("\n"));
        }
    }
    proof::checked("power cuts under a busy host", done - failed, failed);
    assert_eq!(failed, 0, "promises were broken, see above");
}

pub async fn controls() {
    if let Err(why) = try_a_cut() {
        return proof::not_run("power cuts under hosts that lose data on purpose", &why);
    }
    for how in ["plain-flush", "no-wait"] {
        let mut noticed = None;
        for round in 0..CONTROL_ROUNDS_MAX {
            let environment = [("TRACKWAY_LOSE_DATA_FOR_TESTS", how)];
            let broken = rounds_on_a_disk(&environment, Load::SmallOnly, 1, round).await;
            if let Some((_, why)) = broken.first() {
                noticed = Some((round + 1, why.first().cloned().unwrap_or_default()));
                break;
            }
        }
        let passed = u64::from(noticed.is_some());
        proof::checked(&format!("that a host with {how} is caught by a power cut"), passed, 1 - passed);
        let (round, why) =
            noticed.unwrap_or_else(|| panic!("{CONTROL_ROUNDS_MAX} cuts of a host with {how} lost nothing"));
        println!("{how}: noticed at power cut {round}: {why}");
    }
}

fn try_a_cut() -> Result<(), String> {
    let cut = Disk::new()?.cut_power().map_err(|error| format!("EXT4_IOC_SHUTDOWN: {error}"));
    cut.map_err(|why| format!("{why} (it needs root, loop devices and mkfs.ext4)"))
}

/// The rounds in which something was broken, and what.
async fn rounds_on_a_disk(
    environment: Environment<'_>,
    load: Load,
    rounds: u64,
    first_round: u64,
) -> Vec<(u64, Vec<String>)> {
    let log = TempDir::new().expect("a temporary folder");
    let mut disk = Disk::new().expect("it could be made a moment ago");
    let data = disk.mount_point().join("data");
    let world = World::start(shop).await;
    let mut server = deployed(log.path(), &data, environment, &world).await;
    let mut ledger = Ledger::default();
    let mut broken = Vec::new();
    for round in first_round..first_round + rounds {
        let before = ledger.runs.len();
        let cut = async {
            tokio::time::sleep(LOAD + LOAD_MORE * (round % 8) as u32).await;
            disk.cut_power().expect("it could be cut a moment ago");
            tokio::time::sleep(DARK).await;
        };
        let said = load_until(cut, &server, &world, load, &mut ledger, round).await;
        let kill = Kill { epoch: server.epoch, at: Instant::now(), asked: 0, recalling: None };
        server.bury().await;
        ledger.kills.push(Kill { asked: world.log().len(), ..kill });
        if let Err(why) = power_on(&mut disk) {
            broken.push((round, vec![format!("the file system itself was lost: {why}")]));
            return broken;
        }
        // What is made anew when it is missing may go at any time.
        if round % 2 == 1 {
            // Where it was never written there is nothing to remove.
            let _ = std::fs::remove_dir_all(data.join("code"));
        }
        // Every other time the host itself meets the store as the cut left it.
        if round % 2 == 0
            && environment.is_empty()
            && let Err(why) = check_store(&data).await
        {
            broken.push((round, vec![why]));
            return broken;
        }
        server = match Server::try_start(log.path(), &data, environment).await {
            Ok(server) => server,
            Err(why) => {
                broken.push((round, vec![format!("the store does not open: {why}")]));
                return broken;
            }
        };
        let found = judge(&mut ledger, &server, &world).await;
        println!(
            "power cut {round}: {} runs acknowledged, {said} entries shown, {} promises broken; {} removed by now",
            ledger.runs.len() - before,
            found.len(),
            ledger.removals.len()
        );
        if !found.is_empty() {
            broken.push((round, found));
            break;
        }
    }
    server.bury().await;
    assert!(load == Load::SmallOnly || !broken.is_empty() || !ledger.removals.is_empty(), "no run was removed at all");
    // What was removed left nothing, also where no cut came behind it.
    if broken.is_empty()
        && environment.is_empty()
        && let Err(why) = check_store(&data).await
    {
        broken.push((first_round + rounds - 1, vec![why]));
    }
    broken
}

/// A host on an empty folder with everything that the load asks for.
pub async fn deployed(log: &Path, data: &Path, environment: Environment<'_>, world: &World) -> Server {
    let server = Server::try_start(log, data, environment).await.expect("an empty folder can be opened");
    for guest in ["parallel", "values", "sleeper", "effects", "orders"] {
        server.deploy(guest, &[world.origin()]).await;
    }
    server
}

/// What was lost, and what came to a wrong end.
pub async fn judge(ledger: &mut Ledger, server: &Server, world: &World) -> Vec<String> {
    let lost = judge_lost(ledger, server, world).await;
    if !lost.is_empty() {
        return lost;
    }
    ledger.let_all_end(server).await;
    // Also what had ended before: nothing later may take it.
    ledger.seen.clear();
    ledger.read_journals(server).await;
    broken_at_the_end(ledger, &world.log())
}

async fn judge_lost(ledger: &mut Ledger, server: &Server, world: &World) -> Vec<String> {
    take_in_unacknowledged(ledger, server).await;
    ledger.read_journals(server).await;
    let broken = broken_so_far(ledger, &world.log());
    ledger.settle_removals();
    broken
}

/// A start whose answer was lost with the host may stand or not. One that stands goes on, and what it
/// asks the world has to be on record as well.
async fn take_in_unacknowledged(ledger: &mut Ledger, server: &Server) {
    let mut cursor = String::new();
    loop {
        let page: model::RunPage = server.get(&format!("runs?workflow=place_orders&limit=100{cursor}")).await;
        for run in page.runs {
            if ledger.runs.contains_key(&run.id) {
                continue;
            }
            let run: model::Run = server.get(&format!("runs/{}", run.id)).await;
            let input: serde_json::Value =
                run.input.and_then(|input| serde_json::from_str(input.get()).ok()).expect("a run has its input");
            let buyer = input["buyer"].as_str().expect("an order has a buyer").to_owned();
            ledger.started(run.id, Work::Orders { buyer, batches: BATCHES, orders: ORDERS });
        }
        match page.cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return,
        }
    }
}

fn power_on(disk: &mut Disk) -> Result<(), String> {
    disk.unmount()?;
    disk.mount()
}

/// Starts runs and reads what the server says of them until `end` is over, and puts all of it down. How
/// many entries it was shown.
pub async fn load_until(
    end: impl Future<Output = ()>,
    server: &Server,
    world: &World,
    load: Load,
    ledger: &mut Ledger,
    round: u64,
) -> usize {
    let is_over = Cell::new(false);
    let shown = RefCell::new(Ledger::default());
    let next = Cell::new(round * 1_000_000);
    let clients = (0..CLIENTS).map(|_| async {
        while !is_over.get() {
            next.set(next.get() + 1);
            client(server, &job(load, next.get(), world), &shown, &is_over).await;
        }
    });
    let cut = async {
        end.await;
        is_over.set(true);
    };
    tokio::select! {
        // A host that is gone answers nothing: its clients are left waiting.
        _ = async { tokio::join!(futures_util::future::join_all(clients), std::future::pending::<()>()) } => {}
        () = cut => {}
    }
    let Ledger { runs, said, removals, .. } = shown.into_inner();
    let entries = said.values().map(Vec::len).sum();
    ledger.runs.extend(runs);
    ledger.said.extend(said);
    ledger.removals.extend(removals);
    entries
}

struct Job {
    workflow: &'static str,
    input: serde_json::Value,
    work: Work,
    /// Once it has ended.
    is_removed: bool,
}

/// Small and large: inputs, answers and outputs in the frame, beside it, and as files; frames that are
/// too large for the store; effects; sleepers that are cancelled, so that timers and inboxes are
/// deleted; and runs that are removed, so that all of them is.
fn job(load: Load, number: u64, world: &World) -> Job {
    use serde_json::json;
    let alone = |workflow, input: serde_json::Value, output: String| Job {
        workflow,
        input,
        work: Work::Alone(Ending::Succeeds(output)),
        is_removed: load == Load::Everything && number.is_multiple_of(REMOVED_OF_ENDED),
    };
    let kinds = if load == Load::SmallOnly { 3 } else { 10 };
    match number % kinds {
        0 => alone("parallel/parallel", json!(3), "19".to_owned()),
        1 => alone("parallel/chain", json!({ "n": 20 }), "20".to_owned()),
        2 => alone("sleeper/naps", json!([1, 40, 300]), "3".to_owned()),
        3 => {
            // Every other run of this kind: the next one has a number that is ten higher.
            let least_bytes = if number % 20 < 10 { FILE_BYTES } else { ROWS_BYTES };
            let bytes = least_bytes + number % 9_000;
            alone("values/large_output", json!({ "bytes": bytes }), bytes.to_string())
        }
        // Each answer fits its entry, all together do not fit a frame.
        4 => alone("values/several", json!([30_000, 30_001, 30_002, 30_003]), "[30000,30001,30002,30003]".to_owned()),
        5 => {
            let text = format!("{number}-{}", "tracks ".repeat(12_000));
            alone("values/echo", json!(text), json!(text).to_string())
        }
        6 => alone("values/fan", json!({ "bytes": 70_000, "steps": 3 }), "[70000,70000,70000]".to_owned()),
        7 => Job {
            workflow: "sleeper/naps",
            input: json!([1, NAP_MILLIS]),
            work: Work::Napping(Cancel::Unknown),
            is_removed: false,
        },
        8 => alone("effects/succeeds_at", json!(3), "3".to_owned()),
        _ => {
            let buyer = format!("buyer-{number}");
            let input = json!({ "shop": world.origin(), "buyer": buyer, "batches": BATCHES, "orders": ORDERS, "thoughts": 1_000 });
            Job {
                workflow: "orders/place_orders",
                input,
                work: Work::Orders { buyer, batches: BATCHES, orders: ORDERS },
                is_removed: false,
            }
        }
    }
}

/// Starts one run and looks at it until it has ended, or for a while.
async fn client(server: &Server, job: &Job, shown: &RefCell<Ledger>, is_over: &Cell<bool>) {
    let start = serde_json::json!({ "workflow": job.workflow, "input": job.input });
    let Some(started) = server.try_post::<model::Started>("runs", &start).await else {
        tokio::time::sleep(LOOK_AGAIN).await;
        return;
    };
    let run = started.run.id;
    shown.borrow_mut().started(run, job.work.clone());
    if matches!(job.work, Work::Napping(_)) {
        let cancel = serde_json::json!({ "reason": "enough" });
        if server.try_post::<model::Run>(&format!("runs/{run}/cancel"), &cancel).await.is_some() {
            shown.borrow_mut().started(run, Work::Napping(Cancel::Acknowledged));
        }
    }
    for _ in 0..LOOKS_MAX {
        if is_over.get() {
            return;
        }
        match look(server, run, shown).await {
            Looked::GoesOn => tokio::time::sleep(LOOK_AGAIN).await,
            Looked::Unanswered => return,
            Looked::Ended if job.is_removed => return remove(server, run, shown).await,
            Looked::Ended => return,
        }
    }
}

enum Looked {
    GoesOn,
    Ended,
    Unanswered,
}

/// Reads on in the journal.
async fn look(server: &Server, run: RunId, shown: &RefCell<Ledger>) -> Looked {
    let from = shown.borrow().said.get(&run).map_or(0, Vec::len);
    let Some(page) = server.try_get::<model::JournalPage>(&format!("runs/{run}/journal?from={from}")).await else {
        return Looked::Unanswered;
    };
    let has_ended = page.entries.last().is_some_and(|entry| entry.kind == "Finished");
    shown.borrow_mut().said.entry(run).or_default().extend(page.entries);
    if has_ended { Looked::Ended } else { Looked::GoesOn }
}

/// Without an answer that says so nobody knows what became of it.
async fn remove(server: &Server, run: RunId, shown: &RefCell<Ledger>) {
    shown.borrow_mut().removals.insert(run, Removal::Unknown);
    match server.try_delete(&format!("runs/{run}")).await {
        Some(reqwest::StatusCode::NO_CONTENT) => {
            shown.borrow_mut().removals.insert(run, Removal::Acknowledged);
        }
        // It is just ending and stays, or is lost already: nothing was removed.
        Some(reqwest::StatusCode::CONFLICT | reqwest::StatusCode::NOT_FOUND) => {
            shown.borrow_mut().removals.remove(&run);
        }
        // As of a host whose disk is gone or full.
        Some(_) | None => {}
    }
}

/// A shop that takes orders.
pub fn shop(asked: &Asked) -> Reply {
    Reply::ok(asked.nonce.to_string()).after(Duration::from_millis(asked.nonce % 7))
}
