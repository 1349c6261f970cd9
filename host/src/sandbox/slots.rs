//! Places for live instances. A call that finds none waits in order; it never fails for that.

use super::Role;
use super::engine::{MEMORIES_PER_SLOT, TABLES_PER_SLOT};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Component;

/// Each slot reserves 8 GiB of address space, of which a process has 128 TiB, and a few of the 65,530
/// mappings that Linux gives a process by default.
pub const SLOTS_DEFAULT: u32 = 2_000;
/// No component may need more than this part of all slots.
const SHARE_MAX: u32 = 4;
/// One for a workflow, one for a function.
pub const SLOTS_MIN: u32 = 2;

/// How full the pool of instances is. Whoever keeps idle instances warm should end some when `free`
/// runs short, and must when `waiting` is not zero: the waiting cannot go on otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    pub slots: u32,
    pub free: u32,
    /// Calls that wait for a slot.
    pub waiting: u32,
}

pub struct Slots {
    total: u32,
    /// A workflow may wait for functions, and a function waits for nobody that needs a slot. So each
    /// has a share of its own, and however many workflows wait, functions go on.
    workflows: Arc<Semaphore>,
    functions: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Held for as long as the instance lives.
pub struct Slot(#[expect(dead_code, reason = "dropping it frees the slot")] OwnedSemaphorePermit);

impl Slots {
    pub fn new(total: u32) -> Slots {
        let share = Arc::new(Semaphore::new((total / 2) as usize));
        let rest = Arc::new(Semaphore::new((total - total / 2) as usize));
        Slots { total, workflows: share, functions: rest, waiting: AtomicUsize::new(0) }
    }

    /// How many slots an instance of `component` takes, if it may run here at all.
    pub fn cost(&self, component: &Component) -> Option<u32> {
        let needs = component.resources_required()?;
        let cost = needs.num_memories.div_ceil(MEMORIES_PER_SLOT).max(needs.num_tables.div_ceil(TABLES_PER_SLOT));
        (cost <= (self.total / SHARE_MAX).max(1)).then_some(cost.max(1))
    }

    pub async fn take(&self, role: Role, cost: u32) -> Option<Slot> {
        let share = match role {
            Role::Workflow => &self.workflows,
            Role::Function => &self.functions,
        };
        if let Ok(permit) = Arc::clone(share).try_acquire_many_owned(cost) {
            return Some(Slot(permit));
        }
        let _waiting = Waiting::among(&self.waiting);
        Arc::clone(share).acquire_many_owned(cost).await.ok().map(Slot)
    }

    pub fn pressure(&self) -> Pressure {
        Pressure {
            slots: self.total,
            free: (self.workflows.available_permits() + self.functions.available_permits()) as u32,
            waiting: self.waiting.load(Ordering::Relaxed) as u32,
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn among(count: &AtomicUsize) -> Waiting<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
