//! The worst that a tenant can ask for, by name: so many connections, on each of them one request after the other, as
//! quickly as they are answered. Whoever is told that there is no room asks again at once. It measures nothing.

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::client::{Answer, Connection};
use crate::load::{STEPS_OF_A_RUN, Target, has, started};

/// All that there are; `mixed` is a share of the connections for each.
const KINDS: [&str; 9] = ["starts", "compute", "payloads", "logs", "uploads", "reads", "egress", "signals", "timers"];
const MIXED: &str = "mixed";
const CONNECTIONS: usize = 64;
/// The least that there is: who floods sits at another machine, and takes no processor from the server there.
const NICENESS: &str = "19";
/// Computes for longer than a turn, and so shortly that runs end while others are measured.
const THOUGHTS: u64 = 2_000_000;
/// Kept as pieces; a larger one would be a file.
const OUTPUT_BYTES: u64 = 300 << 10;
/// All that one instance may log.
const LINES: u64 = 10_000;
const LINE_BYTES: u64 = 1_000;
/// What is read: a long trace, a full page of runs, and a run that goes on for longer than anybody waits.
const STEPS_READ: u64 = 1_000;
const RUNS_READ: u32 = 500;
/// Requests of one run at once, and how long the other side takes for each: with all connections more than a tenant may
/// have open, held for long.
const REQUESTS_AT_ONCE: u32 = 16;
const HELD_MS: u64 = 2_000;
/// So many that most are in nobody's hand when something is sent to them.
const SLEEPERS: usize = 2_000;
const DAY_MS: u64 = 86_400_000;
/// More than any of them is sent.
const SIGNALS_OF_A_RUN: u64 = 100_000;
/// A host keeps what it has run in hand for a few seconds; putting it away is no part of a quiet host.
const SETTLE_FOR: Duration = Duration::from_secs(5);
/// Runs that each run starts, and which sleep for a moment so often.
const CHILDREN: u64 = 32;
const NAPS: u64 = 20;
const NAP_MS: u64 = 100;
/// One of the largest that are built here, so it takes the compiler long.
const UPLOADED: &str = "chaos.wasm";
const SECTION_NAME: &[u8] = b"flood";
/// Until as much as there can be is in flight.
const RISES_FOR: Duration = Duration::from_secs(1);
const RISES_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Ready to begin.
pub struct Flood {
    flooder: Target,
    /// A connection keeps to one of them.
    asks: Vec<Asks>,
    sent: AtomicU64,
    done: AtomicU64,
    refused: AtomicU64,
}

/// What is asked for again and again.
enum Asks {
    /// A connection keeps to one of them.
    Same(Vec<Vec<u8>>),
    /// One after the other, whichever connection it is.
    Turns(Vec<Vec<u8>>),
    /// A run, of which the end is waited for.
    Run(Vec<u8>),
    /// A component, each time with other bytes.
    Upload(Vec<u8>),
}

/// One that goes on until it is ended.
pub struct Running {
    flood: Arc<Flood>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<()>>,
}

/// How many requests by now.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    pub done: u64,
    /// There was no room, or no more for this tenant.
    pub refused: u64,
}

impl Flood {
    /// With all that it asks about.
    pub async fn prepare(name: &str, flooder: Target, guests: &Path) -> Result<Flood> {
        let kinds = KINDS.into_iter().filter(|kind| name == MIXED || *kind == name);
        let mut asks = Vec::new();
        for kind in kinds {
            asks.push(Asks::prepare(kind, &flooder, guests).await?);
        }
        ensure!(!asks.is_empty(), "`{name}` is no flood: {}, {MIXED}", KINDS.join(", "));
        let (sent, done, refused) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Ok(Flood { flooder, asks, sent, done, refused })
    }

    /// On a thread of its own, so that whoever measures does not wait for its answers to be read.
    pub fn start(self) -> Result<Running> {
        let flood = Arc::new(self);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let flows = Arc::clone(&flood);
        let thread = std::thread::Builder::new().name("flood".to_owned()).spawn(move || {
            give_way();
            runtime.block_on(go_on(flows, stopped))
        })?;
        Ok(Running { flood, stop, thread })
    }

    /// What a connection asks for, and its number among those that ask for the same.
    fn asks(&self, connection: usize) -> (&Asks, usize) {
        let kinds = self.asks.len();
        (&self.asks[connection % kinds], connection / kinds)
    }

    fn request(&self, connection: usize) -> Vec<u8> {
        let nth = self.sent.fetch_add(1, Relaxed);
        let of = |requests: &[Vec<u8>], place: usize| {
            requests.get(place % requests.len().max(1)).cloned().unwrap_or_default()
        };
        match self.asks(connection) {
            (Asks::Same(requests), place) => of(requests, place),
            (Asks::Turns(requests), _) => of(requests, nth as usize),
            (Asks::Run(request), _) => request.clone(),
            (Asks::Upload(bytes), _) => {
                let bytes = [bytes.as_slice(), &section(nth)].concat();
                self.flooder.post_as("application/wasm", "/v1/components", &bytes)
            }
        }
    }

    /// Counts an answer; one that shows that there is no flood is an error.
    fn take(&self, connection: usize, answer: &Answer<'_>) -> Result<()> {
        let says = |word: &str| has(answer.body, format!("\"{word}\"").as_bytes());
        let counts = match (self.asks(connection).0, answer.status) {
            (_, 429 | 503) => Some(&self.refused),
            // Neither it nor a step of it may have failed. One that takes longer than a wait counts for nothing.
            (Asks::Run(_), 201) if !says("failed") => says("succeeded").then_some(&self.done),
            (Asks::Same(_), 200 | 201) => Some(&self.done),
            (Asks::Turns(_), 202) => Some(&self.done),
            // With 200 it was there already, and not compiled.
            (Asks::Upload(_), 201) => Some(&self.done),
            (Asks::Same(_) | Asks::Turns(_) | Asks::Run(_) | Asks::Upload(_), status) => {
                bail!("the flood was answered {status} {}", String::from_utf8_lossy(answer.body))
            }
        };
        if let Some(count) = counts {
            count.fetch_add(1, Relaxed);
        }
        Ok(())
    }
}

impl Asks {
    async fn prepare(kind: &str, flooder: &Target, guests: &Path) -> Result<Asks> {
        let run = |workflow: &str, input: &Value| flooder.post("/v1/runs?wait=60", &start_body(workflow, input));
        Ok(match kind {
            // Its end is not waited for: they pile up as far as the host lets them.
            "starts" => {
                let input = json!({ "n": STEPS_OF_A_RUN });
                Asks::Same(vec![flooder.post("/v1/runs", &start_body("work/chain_pure", &input))])
            }
            "compute" => Asks::Run(run("hostile/script", &thinking())),
            "payloads" => {
                let input = json!({ "n": STEPS_OF_A_RUN, "bytes": OUTPUT_BYTES });
                Asks::Run(run("work/large_outputs", &input))
            }
            "logs" => {
                let line = json!(["log", "info", { "x": LINE_BYTES }, ""]);
                Asks::Run(run("hostile/script", &json!({ "ops": [["repeat", LINES, [line]]] })))
            }
            "uploads" => {
                let path = guests.join(UPLOADED);
                let bytes = std::fs::read(&path).with_context(|| format!("{}: cargo xtask guests", path.display()))?;
                Asks::Upload(bytes)
            }
            "reads" => Asks::Same(readings(flooder).await?),
            "egress" => {
                let url = format!("http://{}/after/{HELD_MS}", flooder.world);
                Asks::Run(run("work/fan_http", &json!({ "n": REQUESTS_AT_ONCE, "url": url })))
            }
            "signals" => Asks::Turns(signals(flooder).await?),
            "timers" => Asks::Run(run("hostile/script", &napping())),
            _ => bail!("nobody knows how to flood with `{kind}`"),
        })
    }
}

impl Running {
    /// When it gets things done, and has for a while.
    pub async fn risen(self) -> Result<Running> {
        let begun = Instant::now();
        while begun.elapsed() < RISES_FOR || self.answered().done == 0 {
            if self.thread.is_finished() {
                self.end()?;
                bail!("the flood ended by itself");
            }
            let answered = self.answered();
            ensure!(begun.elapsed() < RISES_WITHIN, "the flood gets nothing done: {answered:?} in {RISES_WITHIN:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(self)
    }

    pub fn answered(&self) -> Answered {
        Answered { done: self.flood.done.load(Relaxed), refused: self.flood.refused.load(Relaxed) }
    }

    /// Hangs up, whatever is under way. An error if it had ended before.
    pub fn end(self) -> Result<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("the flood panicked"))?
    }
}

/// This thread computes when nobody else would. Where that is refused it is told, since it makes ratios higher.
fn give_way() {
    let thread = std::fs::read_link("/proc/thread-self").ok();
    let number = thread.as_deref().and_then(Path::file_name);
    let niced = number.map(|number| Command::new("renice").args(["-n", NICENESS, "-p"]).arg(number).output());
    if !niced.is_some_and(|done| done.is_ok_and(|done| done.status.success())) {
        eprintln!("the flood does not give way to the server: its thread has no other niceness");
    }
}

async fn go_on(flood: Arc<Flood>, stopped: oneshot::Receiver<()>) -> Result<()> {
    let mut connections = JoinSet::new();
    for connection in 0..CONNECTIONS {
        connections.spawn(ask_on(Arc::clone(&flood), connection));
    }
    tokio::select! {
        // What is dropped stops too.
        _ = stopped => Ok(()),
        ended = connections.join_next() => match ended {
            Some(ended) => ended?,
            None => Ok(()),
        },
    }
}

/// Ends with an error only.
async fn ask_on(flood: Arc<Flood>, number: usize) -> Result<()> {
    let mut connection = Connection::open(&flood.flooder.address).await?;
    loop {
        let request = flood.request(number);
        let taken = connection.ask(&request).await.map(|answer| flood.take(number, &answer));
        match taken {
            Ok(taken) => taken?,
            // Hung up on, as an upload is that had to give way.
            Err(_) => {
                flood.refused.fetch_add(1, Relaxed);
                connection = Connection::open(&flood.flooder.address).await?;
            }
        }
    }
}

fn start_body(workflow: &str, input: &Value) -> String {
    json!({ "workflow": workflow, "input": input }).to_string()
}

/// First the workflow computes, then a function that it calls.
fn thinking() -> Value {
    let think = json!(["think", THOUGHTS]);
    let function = json!({ "ops": [think] }).to_string();
    json!({ "ops": [think, ["call", "script", function, ""], ["next"]] })
}

/// Starts others and waits for them; each of them sleeps again and again.
fn napping() -> Value {
    let naps = json!(["repeat", NAPS, [["sleep", NAP_MS, ""], ["next"]]]);
    let child = json!({ "ops": [naps] }).to_string();
    json!({ "ops": [["repeat", CHILDREN, [["start-run", "script", child, ""]]], ["repeat", CHILDREN, [["next"]]]] })
}

/// A signal to each of many runs that sleep for a day, and wake for signals only.
async fn signals(flooder: &Target) -> Result<Vec<Vec<u8>>> {
    let receives = json!(["repeat", SIGNALS_OF_A_RUN, [["receive", "flood", ""], ["next"]]]);
    let sleeper = json!({ "ops": [["sleep", DAY_MS, ""], receives] });
    let sleeper = flooder.post("/v1/runs", &start_body("hostile/script", &sleeper));
    let mut connection = Connection::open(&flooder.address).await?;
    let mut requests = Vec::new();
    for _ in 0..SLEEPERS {
        let run = started(&mut connection, &sleeper).await?;
        requests.push(flooder.post(&format!("/v1/runs/{run}/signals/flood"), "1"));
    }
    tokio::time::sleep(SETTLE_FOR).await;
    Ok(requests)
}

/// Requests for what is there to be read, once it is there.
async fn readings(flooder: &Target) -> Result<Vec<Vec<u8>>> {
    let mut connection = Connection::open(&flooder.address).await?;
    for _ in 0..RUNS_READ {
        flooder.run(&mut connection, &flooder.request("chain_pure", STEPS_OF_A_RUN)).await?;
    }
    let long = json!({ "n": STEPS_READ });
    let long = flooder.post("/v1/runs?wait=60", &start_body("work/chain_pure", &long));
    let long = started(&mut connection, &long).await?;
    let asleep = flooder.post("/v1/runs", &start_body("work/rests", &json!({ "n": 0 })));
    let asleep = started(&mut connection, &asleep).await?;
    let paths = [
        format!("/v1/runs/{long}/trace"),
        format!("/v1/runs?limit={RUNS_READ}"),
        // As short a wait as there can be, so that many of them begin.
        format!("/v1/runs/{asleep}/wait?timeout=0.001"),
    ];
    Ok(paths.iter().map(|path| flooder.get(path)).collect())
}

/// A section of a module that means nothing to anybody. Lengths below 128 are one byte each.
fn section(number: u64) -> Vec<u8> {
    let number = number.to_le_bytes();
    let name_bytes = SECTION_NAME.len();
    let head = [0, (1 + name_bytes + number.len()) as u8, name_bytes as u8];
    [head.as_slice(), SECTION_NAME, &number].concat()
}
