//! The main promise: a host that is killed at any moment loses no acknowledged step, does nothing
//! again whose answer was durable, and brings every run to its right end.
//!
//! The test kills the real binary again and again with runs in flight and judges by two records that
//! the host cannot bend: what the world was asked, and the journals. It judges after every kill, but for
//! one in five that is judged together with the next, which comes in a recall; and once more when all runs
//! have ended. The store is looked through after each of them. `cargo xtask prove kill` goes on for longer.

pub mod ledger;
pub mod verdict;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use trackway_replay::RunId;

use self::ledger::{Ending, Kill, Ledger, Moment, Work};
use crate::proof;
use crate::server::{Environment, Server, check_store};
use crate::world::{Asked, Reply, World};

/// In the short form.
const KILLS: usize = 30;
/// Of thirty kills so many, at least, meet each moment. A kill can be of several kinds at once.
const OF_KILLS: usize = 30;
const KILLS_WITH_MANY_RUNS_MIN: usize = 27;
const KILLS_WITH_OPEN_EFFECT_MIN: usize = 20;
const KILLS_WITH_UNFLUSHED_FRAME_MIN: usize = 5;
const KILLS_IN_RECALL_MIN: usize = 3;
/// Where the moments could not be hit with so many times the kills, something is wrong with the test or
/// the host.
const KILLS_MAX_FACTOR: usize = 2;
/// Started before a kill, so that some may end and `verdict` still finds eight in flight.
const RUNS_IN_FLIGHT: usize = 16;
/// Long enough to be killed in the middle of on any machine, short enough to be waited for.
const THOUGHTS_OF_A_THINKER: u64 = 60_000_000;
/// So many batches has a thinker thought about before it is killed to be recalled.
const BATCHES_TO_RECALL: u64 = 2;
const BATCHES: u64 = 12;
const ORDERS: u64 = 2;
/// More broken promises say nothing more.
const BROKEN_MAX: usize = 20;
/// Short runs of other kinds that begin in each process: workflow, input, output or code.
const ALONE: [(&str, &str, Result<&str, &str>); 7] = [
    ("parallel/parallel", "3", Ok("19")),
    ("parallel/fan_out", r#"{"n":20}"#, Ok("2470")),
    ("sleeper/naps", "[5,150,900]", Ok("3")),
    ("effects/succeeds_at", "4", Ok("4")),
    ("effects/fails_for_good", "null", Err("NO_WAY")),
    ("limits/panics", r#""on purpose""#, Err("PANIC")),
    (
        "approval/approval",
        r#"{"what":"?","ask":[{"who":"ann","within_seconds":1},{"who":"bob","within_seconds":1}],"otherwise":"refused"}"#,
        Ok(r#"{"verdict":"refused","by":null,"why":null}"#),
    ),
];
/// One write of the slow disk.
const SLOW_DISK_MILLIS: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_survive_kill_9_at_any_moment() {
    let verdict = kill_again_and_again(&[], proof::rounds(KILLS as u64) as usize).await;
    println!("{verdict}");
    let failed = if verdict.is_broken() { verdict.kills_that_broke.max(1) } else { 0 };
    proof::checked("kills of a busy host", (verdict.kills - failed) as u64, failed as u64);
    verdict.check();
}

/// The control: a test that such a host passes would show nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_does_not_wait_for_durability_is_caught() {
    let verdict = kill_again_and_again(&[("TRACKWAY_LOSE_DATA_FOR_TESTS", "no-wait")], 5).await;
    println!("{verdict}");
    assert!(verdict.is_broken(), "nothing was noticed: {verdict}");
}

async fn kill_again_and_again(environment: Environment<'_>, kills_min: usize) -> verdict::Verdict {
    let world = World::start(shop_and_pages).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let slow_disk = slow_disk(folder.path()).display().to_string();
    let millis = SLOW_DISK_MILLIS.to_string();
    let on_slow_disk =
        [environment, &[("LD_PRELOAD", slow_disk.as_str()), ("SLOW_DISK_MILLIS", millis.as_str())]].concat();
    let mut killing = Killing::new(&world, folder.path(), environment).await;

    let begun = Instant::now();
    // Twice in a row at most a kill finds the thinker where it was: the third time in a row the host
    // leaves a run alone, and rightly so.
    let moments = [Moment::Any, Moment::Recall, Moment::Any, Moment::EffectOpen, Moment::FrameUnflushed];
    for round in 0.. {
        for moment in moments {
            let on = if moment == Moment::FrameUnflushed { &on_slow_disk } else { environment };
            killing.boot_and_kill(moment, round, on).await;
        }
        let is_long_enough = proof::time().is_none_or(|time| begun.elapsed() >= time);
        if killing.broken.len() > BROKEN_MAX
            || killing.ledger.kills.len() > kills_min && is_long_enough && killing.has_enough(kills_min).await
        {
            return killing.let_all_end(kills_min).await;
        }
    }
    unreachable!("the rounds have no end of their own")
}

/// The world of this test: a shop that takes orders, and pages to read.
fn shop_and_pages(asked: &Asked) -> Reply {
    // Answers are spread over time, so that at any moment some are about to come.
    let after = Duration::from_millis(10 + asked.nonce * 7919 % 50);
    match asked.method.as_str() {
        "POST" => Reply::ok(asked.nonce.to_string()).after(after),
        _ => {
            let page = asked.path.rsplit('/').next().unwrap_or_default();
            let text = format!("<title>{page}</title><p>Tracks of {page}, tracks of others. <a href='/'>home</a>");
            Reply::ok(text).after(after)
        }
    }
}

/// A disk that takes its time, as a library to be loaded before the server's own.
fn slow_disk(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/kill/slow_disk.c");
    let library = folder.join("slow_disk.so");
    let status = std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(status.is_ok_and(|status| status.success()), "a C compiler makes the slow disk");
    library
}

struct Killing<'a> {
    world: &'a World,
    environment: Environment<'a>,
    folder: PathBuf,
    ledger: Ledger,
    /// Longer runs that have not been seen at their end.
    open: Vec<RunId>,
    started: u64,
    thinker: Option<Thinker>,
    /// How many kills have been judged.
    judged: usize,
    /// After how many of them a promise was found to be broken.
    kills_that_broke: usize,
    broken: Vec<String>,
}

/// A run whose recall takes so long that a kill finds it there.
struct Thinker {
    run: RunId,
    buyer: String,
}

impl Killing<'_> {
    async fn new<'a>(world: &'a World, folder: &Path, environment: Environment<'a>) -> Killing<'a> {
        let server = Server::start(folder, environment).await;
        for guest in ["orders", "headlines", "parallel", "sleeper", "effects", "limits", "approval"] {
            server.deploy(guest, &[world.origin()]).await;
        }
        let mut killing = Killing {
            world,
            environment,
            folder: folder.to_owned(),
            ledger: Ledger::default(),
            open: Vec::new(),
            started: 0,
            thinker: None,
            judged: 0,
            kills_that_broke: 0,
            broken: Vec::new(),
        };
        // What comes out when nobody is killed.
        let calm = killing.start_headlines(&server).await;
        killing.ledger.headlines = server.wait(calm).await.output.map(|output| output.get().to_owned());
        assert!(killing.ledger.headlines.is_some(), "headlines works at all");
        killing.kill(server, Moment::Any).await;
        killing
    }

    async fn boot_and_kill(&mut self, moment: Moment, round: u64, environment: Environment<'_>) {
        let begun = self.world.log().len();
        let server = Server::start(&self.folder, environment).await;
        // What is being recalled would be done before the journals are read: then the kill before is
        // judged together with this one.
        if moment != Moment::Recall {
            self.judge(&server).await;
            self.fill(&server).await;
            self.start_alone(&server).await;
        }
        match moment {
            // A request has just come in, so nobody has answered it.
            Moment::EffectOpen => {
                let wanted = begun + 5 + (round as usize * 31 + self.ledger.kills.len() * 17) % 60;
                self.acknowledge(&server).await;
                self.world.until(|log| log.len() >= wanted).await;
            }
            // An answer has just come in, and the slow disk has not written it.
            Moment::FrameUnflushed => {
                self.world
                    .until(|log| log.iter().skip(begun).filter(|asked| asked.answered.is_some()).count() > 3)
                    .await;
                tokio::time::sleep(ledger::TAKEN_IN_AFTER).await;
            }
            // Other runs go on already, the thinker still thinks.
            Moment::Recall => self.world.until(|log| log.len() > begun).await,
            Moment::Any => {
                self.acknowledge(&server).await;
                self.thinker_has_thought(&server, begun).await;
                // Some ended meanwhile.
                self.fill(&server).await;
                tokio::time::sleep(Duration::from_micros(round * 1_717 % 20_000)).await;
            }
        }
        self.kill(server, moment).await;
    }

    /// Sees to it that enough runs are in flight.
    async fn fill(&mut self, server: &Server) {
        let mut open = Vec::new();
        for run in std::mem::take(&mut self.open) {
            if server.find(run).await.is_some_and(|found| found.finished_at.is_none()) {
                open.push(run);
            } else if self.thinker.as_ref().is_some_and(|thinker| thinker.run == run) {
                self.thinker = None;
            }
        }
        self.open = open;
        if self.thinker.is_none() {
            let buyer = format!("thinker-{}", self.started);
            let run = self.start_orders(server, &buyer, THOUGHTS_OF_A_THINKER).await;
            self.thinker = Some(Thinker { run, buyer });
        }
        while self.open.len() < RUNS_IN_FLIGHT {
            if self.started.is_multiple_of(3) {
                self.start_headlines(server).await;
            } else {
                let buyer = format!("buyer-{}", self.started);
                self.start_orders(server, &buyer, 1_000).await;
            }
        }
    }

    async fn start_orders(&mut self, server: &Server, buyer: &str, thoughts: u64) -> RunId {
        let (batches, orders) = (BATCHES, ORDERS);
        let input = serde_json::json!({
            "shop": self.world.origin(), "buyer": buyer, "batches": batches, "orders": orders, "thoughts": thoughts,
        });
        let run = server.run("orders/place_orders", &input).await;
        self.started += 1;
        self.open.push(run);
        self.ledger.started(run, Work::Orders { buyer: buyer.to_owned(), batches, orders });
        run
    }

    async fn start_headlines(&mut self, server: &Server) -> RunId {
        let reader = self.started;
        let urls: Vec<_> = (0..6).map(|page| format!("{}/{reader}/page-{page}", self.world.origin())).collect();
        let run = server.run("headlines/headlines", &serde_json::json!({ "urls": urls, "pause_ms": 300 })).await;
        self.started += 1;
        self.open.push(run);
        self.ledger.started(run, Work::Headlines);
        run
    }

    /// One of each kind; some are over before the kill, others sleep or wait for a retry.
    async fn start_alone(&mut self, server: &Server) {
        for (workflow, input, end) in ALONE {
            let input: serde_json::Value = serde_json::from_str(input).expect("the inputs above are JSON");
            let run = server.run(workflow, &input).await;
            let ending = match end {
                Ok(output) => Ending::Succeeds(output.to_owned()),
                Err(code) => Ending::Fails(code.to_owned()),
            };
            self.ledger.started(run, Work::Alone(ending));
        }
    }

    /// Looks whether every promise was kept up to the last kill.
    async fn judge(&mut self, server: &Server) {
        self.ledger.read_journals(server).await;
        let broken = verdict::broken_so_far(&self.ledger, &self.world.log());
        let kills = self.ledger.kills.len() - self.judged;
        self.judged += kills;
        if !broken.is_empty() {
            println!("after kill {}: {} promises broken", self.judged, broken.len());
            self.kills_that_broke += kills;
            self.broken.extend(broken);
        }
    }

    /// Reads what the server says is durable, so that it can be held to it.
    async fn acknowledge(&mut self, server: &Server) {
        for run in self.ledger.unsettled() {
            if server.find(run).await.is_none() {
                continue;
            }
            let entries = server.journal(run).await;
            self.ledger.acknowledged(run, entries);
        }
    }

    /// Returns when the thinker has asked for something in this process, and has something to think
    /// about again in the next one.
    async fn thinker_has_thought(&self, server: &Server, begun: usize) {
        let Some(thinker) = &self.thinker else { return };
        let path = format!("/{}/", thinker.buyer);
        let is_far = |asked: &Asked| {
            let batch = asked.path.split_once(&path).and_then(|(_, rest)| rest.split('/').next()?.parse::<u64>().ok());
            batch.is_some_and(|batch| batch >= BATCHES_TO_RECALL)
        };
        let asks = self.world.until(|log| log.iter().skip(begun).any(is_far));
        tokio::select! {
            () = asks => {}
            // It may have asked for everything already.
            _ = server.wait(thinker.run) => {}
        }
    }

    async fn kill(&mut self, server: Server, moment: Moment) {
        self.kill_only(server, moment).await;
        // A host on a store that loses data on purpose is to be caught by its runs.
        if self.environment.is_empty()
            && let Err(why) = check_store(&self.folder.join("data")).await
        {
            self.kills_that_broke += 1;
            self.broken.push(format!("after kill {}: {why}", self.ledger.kills.len()));
        }
    }

    async fn kill_only(&mut self, server: Server, moment: Moment) {
        let epoch = server.epoch;
        let at = Instant::now();
        server.kill().await;
        let recalling = match (&self.thinker, moment) {
            (Some(thinker), Moment::Recall) => Some(thinker.run),
            _ => None,
        };
        let asked = self.world.log().len();
        self.ledger.kills.push(Kill { epoch, at, asked, recalling });
    }

    /// Whether every kind of moment was hit often enough, judged by the journals as they are now.
    async fn has_enough(&mut self, kills_min: usize) -> bool {
        let begun = self.world.log().len();
        let server = Server::start(&self.folder, self.environment).await;
        self.judge(&server).await;
        self.fill(&server).await;
        let verdict = verdict::Verdict::of(&self.ledger, &self.world.log(), kills_min);
        self.thinker_has_thought(&server, begun).await;
        self.fill(&server).await;
        self.kill(server, Moment::Any).await;
        verdict.has_enough() || self.ledger.kills.len() > KILLS_MAX_FACTOR * kills_min
    }

    async fn let_all_end(mut self, kills_min: usize) -> verdict::Verdict {
        let server = Server::start(&self.folder, self.environment).await;
        self.ledger.let_all_end(&server).await;
        self.judge(&server).await;
        // Once more from the beginning: what had ended early may have been lost later.
        self.ledger.seen.clear();
        self.ledger.read_journals(&server).await;
        let mut verdict = verdict::Verdict::of(&self.ledger, &self.world.log(), kills_min);
        verdict.kills_that_broke = self.kills_that_broke;
        verdict.broken.splice(..0, self.broken);
        verdict
    }
}
