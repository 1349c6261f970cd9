//! Places for live instances. A call that finds none waits for its tenant's turn; it never fails for that.

use super::Role;
use super::engine::{MEMORIES_PER_SLOT, TABLES_PER_SLOT};
use std::sync::Arc;
use trackway_fair::{Gate, Permit, Portion, Weights};
use trackway_replay::TenantId;
use wasmtime::component::Component;

#[cfg(test)]
mod tests;

/// Each slot reserves 8 GiB of address space, of which a process has 128 TiB, and a few of the 65,530
/// mappings that Linux gives a process by default.
pub const SLOTS_DEFAULT: u32 = 2_000;
/// No component may need more than this part of all slots.
const SHARE_MAX: u32 = 4;
/// How many a tenant may have for each that it leaves free: others find one at once.
const PORTION: Portion = Portion { tenant: 7, part: u64::MAX };
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
    workflows: Arc<Gate>,
    functions: Arc<Gate>,
}

/// Held for as long as the instance lives.
pub struct Slot(#[expect(dead_code, reason = "dropping it frees the slot")] Permit);

impl Slots {
    pub fn new(total: u32, weights: Weights) -> Slots {
        let workflows = Gate::new((total / 2) as usize, PORTION, weights.clone());
        let functions = Gate::new((total - total / 2) as usize, PORTION, weights);
        Slots { total, workflows, functions }
    }

    /// How many slots an instance of `component` takes, if it may run here at all.
    pub fn cost(&self, component: &Component) -> Option<u32> {
        let needs = component.resources_required()?;
        let cost = needs.num_memories.div_ceil(MEMORIES_PER_SLOT).max(needs.num_tables.div_ceil(TABLES_PER_SLOT));
        (cost <= (self.total / SHARE_MAX).max(1)).then_some(cost.max(1))
    }

    pub async fn take(&self, tenant: TenantId, role: Role, cost: u32) -> Slot {
        let share = match role {
            Role::Workflow => &self.workflows,
            Role::Function => &self.functions,
        };
        Slot(share.take_many(tenant, (), u64::from(cost)).await)
    }

    pub fn pressure(&self) -> Pressure {
        Pressure {
            slots: self.total,
            free: (self.workflows.free() + self.functions.free()) as u32,
            waiting: (self.workflows.waiting() + self.functions.waiting()) as u32,
        }
    }

    /// Whoever is next to get one, of those that wait.
    pub fn next_in_line(&self) -> Option<TenantId> {
        self.workflows.next().or_else(|| self.functions.next()).map(|(tenant, ())| tenant)
    }
}
