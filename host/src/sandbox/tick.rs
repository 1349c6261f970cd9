//! Ticks, by which a guest that computes notices that its turn is over. Nothing here ends a guest or
//! changes what it computes; where it goes on after a turn, the [`lane`](super::lane) knows.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;
use wasmtime::Engine;

/// How long a guest may hold a thread before others get a turn. A turn costs a few microseconds, so
/// at one millisecond below a percent; a run that wakes waits for no more than one turn.
const TICK: Duration = Duration::from_millis(1);
pub const TICKS_PER_TURN: u64 = 1;

/// The ticker rests after this many ticks in which no guest computed, so that an idle host sleeps.
const IDLE_TICKS_MAX: u32 = 50;

/// Advances the engine's epoch while guests compute.
pub struct Ticker {
    shared: Arc<Shared>,
}

struct Shared {
    computing: AtomicUsize,
    entered: AtomicU32,
    resting: AtomicBool,
    ended: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Ticker {
    /// No tick ever passes: a guest gives way only where it waits.
    pub fn still() -> Ticker {
        let shared = Arc::new(Shared {
            computing: AtomicUsize::new(0),
            entered: AtomicU32::new(0),
            resting: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        Ticker { shared }
    }

    pub fn start(engine: &Engine) -> std::io::Result<Ticker> {
        let ticker = Ticker::still();
        let engine = engine.clone();
        let of_thread = Arc::clone(&ticker.shared);
        let spawned = thread::Builder::new().name("trackway-tick".into()).spawn(move || of_thread.run(&engine))?;
        let _ = ticker.shared.thread.set(spawned.thread().clone());
        Ok(ticker)
    }

    /// Polls `future`, and sees to it that ticks pass meanwhile.
    pub async fn during<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let _computing = self.shared.enter();
            future.as_mut().poll(cx)
        })
        .await
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.wake();
    }
}

impl Shared {
    fn run(&self, engine: &Engine) {
        let mut idle = 0;
        let mut seen = 0;
        while !self.ended.load(Ordering::SeqCst) {
            let entered = self.entered.load(Ordering::Relaxed);
            let active = entered != seen || self.computing.load(Ordering::SeqCst) > 0;
            (idle, seen) = (if active { 0 } else { idle + 1 }, entered);
            if idle < IDLE_TICKS_MAX {
                thread::sleep(TICK);
                engine.increment_epoch();
                continue;
            }
            self.resting.store(true, Ordering::SeqCst);
            // Whoever enters after this look sees `resting` and wakes this thread.
            if self.computing.load(Ordering::SeqCst) == 0 && !self.ended.load(Ordering::SeqCst) {
                thread::park();
            }
            self.resting.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }

    fn enter(&self) -> Computing<'_> {
        self.computing.fetch_add(1, Ordering::SeqCst);
        self.entered.fetch_add(1, Ordering::Relaxed);
        if self.resting.load(Ordering::SeqCst) {
            self.wake();
        }
        Computing(self)
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

struct Computing<'a>(&'a Shared);

impl Drop for Computing<'_> {
    fn drop(&mut self) {
        self.0.computing.fetch_sub(1, Ordering::SeqCst);
    }
}
