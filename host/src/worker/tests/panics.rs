//! A bug of the host in the middle of what a workflow asks for: planted in the clock, at which imports look while they
//! hold what is the run's. It costs one run, and no other.

use futures_util::future::BoxFuture;
use std::backtrace::Backtrace;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use trackway_replay::{Head, Status, Timestamp};
use trackway_storage::{Faults, RunKey};

use super::{BEGIN, Hand, Rig};
use crate::Code;
use crate::effects::Clock;
use crate::quota::Quotas;

/// Whichever of them asks first meets the bug.
const RUNS: usize = 3;

/// Breaks whoever looks at it from an import of a workflow: the first, once it is armed.
struct Planted {
    hand: Hand,
    armed: Arc<AtomicBool>,
}

impl Clock for Planted {
    fn now(&self) -> Timestamp {
        // The worker looks at its clock elsewhere too, where nothing of a guest is under way.
        let from_an_import = || Backtrace::force_capture().to_string().contains("src/sandbox/imports");
        if self.armed.load(Ordering::SeqCst) && from_an_import() {
            self.armed.store(false, Ordering::SeqCst);
            panic!("planted in an import");
        }
        self.hand.now()
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        self.hand.sleep_until(until)
    }

    fn elapsed(&self) -> Duration {
        self.hand.elapsed()
    }

    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.hand.wait(time)
    }
}

fn comes_to_rest(rig: &Rig, run: RunKey) -> impl Future<Output = Head> + '_ {
    rig.until(run, |head| head.status.has_ended() || head.status == Status::Stuck)
}

#[tokio::test]
async fn a_bug_in_an_import_leaves_its_run_stuck_and_those_beside_it_go_on() {
    let before = Rig::new().await;
    let (hand, armed) = (Hand(Arc::new(watch::Sender::new(BEGIN))), Arc::new(AtomicBool::new(false)));
    let planted = Planted { hand: hand.clone(), armed: armed.clone() };
    let storage = Arc::new(before.storage.crash_into(Faults::default()));
    let rig = Rig::looking_at(Arc::new(planted), hand, (storage, before.component), Quotas::default());
    drop(before);

    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(rig.start(None).await);
    }
    for run in &runs {
        rig.until(*run, |head| head.steps > 0).await;
    }
    armed.store(true, Ordering::SeqCst);
    let mut heads = Vec::new();
    for run in &runs {
        heads.push(comes_to_rest(&rig, *run).await);
    }
    assert!(!armed.load(Ordering::SeqCst), "no import looked at the clock, or none was seen to: {heads:?}");
    let (stuck, others): (Vec<&Head>, Vec<&Head>) = heads.iter().partition(|head| head.status == Status::Stuck);
    assert_eq!((stuck.len(), others.len()), (1, RUNS - 1), "{heads:?}");
    assert_eq!(stuck[0].code.as_deref(), Some(Code::Internal.text()));
    assert!(stuck[0].message.as_deref().is_some_and(|said| said.ends_with("planted in an import")), "{:?}", stuck[0]);
    assert!(others.iter().all(|head| head.status == Status::Succeeded), "{others:?}");
    // Nor does it cost whoever comes later.
    let later = rig.start(None).await;
    assert_eq!(comes_to_rest(&rig, later).await.status, Status::Succeeded);
}
