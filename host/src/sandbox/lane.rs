//! Where guests compute. A call begins on the thread of its caller; one that computes for longer than
//! a few turns goes on in the slow lane, on threads of its own that give way to all others, until it waits
//! for something or ends. So however many guests loop, a thread that serves others is held for
//! a moment only. There, tenants compute in turns: what counts is the time that their guests took. Nothing here ends a
//! guest or changes what it computes; an instance is killed by dropping the future of its call.

use futures_util::future::BoxFuture;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use trackway_fair::{Processors, Weights};
use trackway_replay::TenantId;

/// A turn ends at a tick, however short before it began, and a thread may be kept from computing. So
/// only an instance that used up this many turns and one more is slow, and a short one never is.
const QUICK_TURNS_MAX: u32 = 3;

/// How much the slow threads give way: a thread of the niceness that the host was started with takes
/// the processor from one of these at once when it becomes ready, and has about nine times its share where
/// both compute.
#[cfg(target_os = "linux")]
const NICER_BY: i32 = 10;
/// No thread is nicer than this.
#[cfg(target_os = "linux")]
const NICENESS_MAX: i32 = 19;

/// The slow threads; without any, a guest gives up its caller's thread after each turn and goes on
/// there, which is for tests in which only one thread may run.
pub struct SlowLane {
    threads: Option<Runtime>,
    turns: Arc<Processors>,
}

/// What became of a call in the slow lane.
enum Stretch<T> {
    Ended(T),
    /// It waits for something, and goes on where its caller is.
    Waits(BoxFuture<'static, T>),
}

impl SlowLane {
    pub fn new(threads: usize, weights: Weights) -> std::io::Result<SlowLane> {
        let turns = Processors::new(threads, weights);
        if threads == 0 {
            return Ok(SlowLane { threads: None, turns });
        }
        let mut threads_of = tokio::runtime::Builder::new_multi_thread();
        let threads_of = threads_of.worker_threads(threads).thread_name("trackway-slow").on_thread_start(give_way);
        Ok(SlowLane { threads: Some(threads_of.build()?), turns })
    }

    /// Work of some length that is none of a guest, on a thread that gives way as the slow ones do.
    pub fn beside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match &self.threads {
            Some(threads) => threads.spawn_blocking(work),
            None => tokio::task::spawn_blocking(work),
        }
    }

    /// Drives a call to its end. Dropped, it ends the call: at once where it waits, at the next tick
    /// where it computes.
    pub async fn drive<T: Send + 'static>(&self, traveller: &Traveller, mut call: BoxFuture<'static, T>) -> T {
        let Some(threads) = &self.threads else { return call.await };
        loop {
            let ended = poll_fn(|cx| match call.as_mut().poll(cx) {
                Poll::Ready(end) => Poll::Ready(Some(end)),
                Poll::Pending if traveller.is_slow() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            if let Some(end) = ended.await {
                return end;
            }
            let stretch = self.turns.share(traveller.tenant, Box::pin(stretch(traveller.clone(), call)));
            match AbortOnDrop(threads.spawn(stretch)).join().await {
                Stretch::Ended(end) => return end,
                Stretch::Waits(back) => call = back,
            }
        }
    }
}

impl Drop for SlowLane {
    fn drop(&mut self) {
        // The last owner may be a task, which must not wait for threads.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// Turn after turn, until the instance waits for something or ends.
async fn stretch<T>(traveller: Traveller, call: BoxFuture<'static, T>) -> Stretch<T> {
    let mut call = Some(call);
    poll_fn(move |cx| {
        let Some(mut stretch) = call.take() else { return Poll::Pending };
        match stretch.as_mut().poll(cx) {
            Poll::Ready(end) => Poll::Ready(Stretch::Ended(end)),
            Poll::Pending if !traveller.is_slow() => Poll::Ready(Stretch::Waits(stretch)),
            Poll::Pending => {
                // A kernel need not look before its own tick, of 4 ms, who became ready meanwhile.
                std::thread::yield_now();
                call = Some(stretch);
                Poll::Pending
            }
        }
    })
    .await
}

/// Makes the calling thread give way to those that have the niceness it was born with. Of a host that is
/// too nice itself for that, it computes only when nobody else would. Where that is refused, it is as
/// urgent as all others.
#[allow(unsafe_code, reason = "the system calls have no safe form among our dependencies")]
fn give_way() {
    // SAFETY: the calls take numbers and a struct that outlives them. On Linux they change the calling thread
    // only; elsewhere the whole process, which is why they are not made there.
    #[cfg(target_os = "linux")]
    unsafe {
        let niceness = libc::getpriority(libc::PRIO_PROCESS, 0) + NICER_BY;
        if niceness <= NICENESS_MAX {
            libc::setpriority(libc::PRIO_PROCESS, 0, niceness);
        } else {
            let no_priority = libc::sched_param { sched_priority: 0 };
            libc::sched_setscheduler(0, libc::SCHED_IDLE, &no_priority);
        }
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> T {
        match (&mut self.0).await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The lane is closed, so nobody is left who could want the end.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How many turns in a row one instance has used up; its call and its store both know it.
#[derive(Clone)]
pub struct Traveller {
    tenant: TenantId,
    turns: Arc<AtomicU32>,
}

impl Traveller {
    pub fn of(tenant: TenantId) -> Traveller {
        Traveller { tenant, turns: Arc::default() }
    }

    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// A turn is over: gives up the thread once.
    pub async fn turn(self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }

    /// The instance waits for something, or ended.
    pub fn leave(&self) {
        self.turns.store(0, Ordering::Relaxed);
    }

    fn is_slow(&self) -> bool {
        self.turns.load(Ordering::Relaxed) > QUICK_TURNS_MAX
    }
}
