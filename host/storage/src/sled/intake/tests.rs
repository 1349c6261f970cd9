use bytes::Bytes;
use std::sync::Arc;
use trackway_fair::Weight;
use trackway_replay::{Digest, RunId};

use super::*;
use crate::{RunKey, SledOptions, SledStorage};

/// A committer that only fills batches. Its parts go in this order.
struct Rig {
    requests: mpsc::Sender<Request>,
    intake: Intake,
    draft: Draft,
    /// Not done yet: whose each is.
    asked: Vec<(TenantId, oneshot::Receiver<Result<(), StorageError>>)>,
    _store: SledStorage,
    _folder: tempfile::TempDir,
}

const ONE: TenantId = TenantId(1);
const OTHER: TenantId = TenantId(2);

impl Rig {
    /// Two tenants have met, and had as much as each other.
    fn new(weights: Weights) -> Rig {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = SledStorage::open(folder.path(), SledOptions::default()).expect("it opens");
        let draft = Draft::new(store.shared.clone());
        let (requests, received) = mpsc::channel();
        let intake = Intake::new(received, weights);
        let mut rig = Rig { requests, intake, draft, asked: Vec::new(), _store: store, _folder: folder };
        // The first one is alone, and takes no turn.
        for tenant in [OTHER, ONE, OTHER] {
            rig.ask(tenant, 1, 0);
        }
        assert_eq!(rig.batch(), (1, 2));
        rig
    }

    fn ask(&mut self, tenant: TenantId, times: usize, size_bytes: usize) {
        for _ in 0..times {
            let (answer, answered) = oneshot::channel();
            let run = RunKey { tenant, run: RunId(1) };
            let rows = vec![PayloadRow::Whole(Digest::of(b""), Bytes::from(vec![0; size_bytes]))];
            let verb = Verb::Payload { run, rows, whole: Arc::default(), answer };
            self.requests.send(Request::Do(verb)).expect("the intake is there");
            self.asked.push((tenant, answered));
        }
    }

    /// How many requests of either tenant are in the next batch.
    fn batch(&mut self) -> (usize, usize) {
        assert!(!self.asked.is_empty(), "there is nothing to wait for");
        assert!(matches!(self.intake.fill(&mut self.draft), Next::Go));
        // Answers them without having written anything.
        self.draft.publish(None);
        let (mut one, mut other) = (0, 0);
        self.asked.retain_mut(|(tenant, answered)| {
            let is_done = answered.try_recv().is_ok();
            let count = if *tenant == ONE { &mut one } else { &mut other };
            *count += usize::from(is_done);
            !is_done
        });
        (one, other)
    }
}

#[test]
fn a_batch_holds_what_tenants_wrote_by_weight_whoever_came_first() {
    let weights = Weights::default();
    let mut rig = Rig::new(weights.clone());
    weights.set(OTHER, Weight::new(300));
    rig.ask(ONE, 200, 0);
    rig.ask(OTHER, 200, 0);
    assert_eq!(rig.batch(), (32, 96));
    weights.forget(OTHER);
    assert_eq!(rig.batch(), (64, 64), "a weight counts from the next turn on");
    assert_eq!(rig.batch(), (88, 40), "what one leaves is for the other");
}

#[test]
fn a_batch_holds_as_many_bytes_of_whoever_writes_much_at_a_time() {
    let mut rig = Rig::new(Weights::default());
    // Eight times what a request without bytes costs.
    rig.ask(ONE, 100, 3 << 10);
    rig.ask(OTHER, 100, 0);
    assert_eq!(rig.batch(), (8, 64));
}

#[test]
fn a_batch_of_several_holds_one_part_of_a_large_value() {
    let mut rig = Rig::new(Weights::default());
    rig.ask(ONE, 10, 23 << 10);
    rig.ask(OTHER, 128, 0);
    assert_eq!(rig.batch(), (1, 0));
    assert_eq!(rig.batch(), (0, 128), "what it cost is had by the other now");
    assert_eq!(rig.batch(), (1, 0));
}

#[test]
fn a_batch_of_several_takes_no_longer_to_make_than_to_flush() {
    let mut intake = Intake::new(mpsc::channel().1, Weights::default());
    let (short, long) = (Duration::from_micros(100), Duration::from_micros(101));
    for half in [2, 4, 8, 8] {
        intake.adapt(long, short);
        assert_eq!(intake.shared_cost_max, SHARED_BATCH_COST_MAX / half);
    }
    for half in [4, 2, 1, 1] {
        intake.adapt(short, short);
        assert_eq!(intake.shared_cost_max, SHARED_BATCH_COST_MAX / half);
    }
    // Whoever is alone is not measured.
    intake.done(Duration::ZERO);
    assert_eq!(intake.shared_cost_max, SHARED_BATCH_COST_MAX);
}
