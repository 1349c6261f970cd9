//! What one instance may take of memory and tables, and how much fuel it has used. Pure accounting;
//! the engine asks, nothing here acts.

use trackway_replay::Limits;
use wasmtime::ResourceLimiter;

/// The engine refuses such a growth before it asks the limiter; that is the guest's doing.
const BEYOND_TYPE: &str = "memory growth exceeds memory type's limits";
/// More instances, memories or tables than the gate lets in cannot come from one component.
const PARTS_MAX: usize = 10_000;

/// Sums all memories and all tables of an instance.
#[derive(Debug)]
pub struct Limiter {
    memory_bytes_left: u64,
    table_elements_left: u64,
    refused: bool,
}

/// The machine could not give what the limits allow.
#[derive(Debug, thiserror::Error)]
#[error("the host has no memory for the guest: {0}")]
pub struct HostOutOfMemory(pub String);

impl Limiter {
    pub fn new(limits: &Limits) -> Limiter {
        Limiter { memory_bytes_left: limits.memory_bytes, table_elements_left: limits.table_elements, refused: false }
    }

    /// Whether a growth was refused because of a limit.
    pub fn refused(&self) -> bool {
        self.refused
    }

    fn failed(&mut self, error: &wasmtime::Error) -> wasmtime::Result<()> {
        if error.to_string() == BEYOND_TYPE {
            self.refused = true;
            return Ok(());
        }
        // Answering -1 would let the guest observe the state of this machine.
        Err(HostOutOfMemory(format!("{error:#}")).into())
    }
}

fn take(left: &mut u64, refused: &mut bool, current: usize, desired: usize, maximum: Option<usize>) -> bool {
    let more = desired.saturating_sub(current) as u64;
    if more > *left || maximum.is_some_and(|maximum| desired > maximum) {
        *refused = true;
        return false;
    }
    *left -= more;
    true
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(take(&mut self.memory_bytes_left, &mut self.refused, current, desired, maximum))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed(&error)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(take(&mut self.table_elements_left, &mut self.refused, current, desired, maximum))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed(&error)
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}

/// Fuel used since the last delivery, across changes of the allowance.
#[derive(Debug, Clone, Copy)]
pub struct FuelMeter {
    used_before: u64,
    allowance: u64,
}

impl FuelMeter {
    pub fn new(allowance: u64) -> FuelMeter {
        FuelMeter { used_before: 0, allowance }
    }

    pub fn used(&self, left: u64) -> u64 {
        self.used_before.saturating_add(self.allowance.saturating_sub(left))
    }

    /// The guest has `allowance` from here on; what it used before still counts.
    pub fn allow(&mut self, left: u64, allowance: u64) {
        self.used_before = self.used(left);
        self.allowance = allowance;
    }

    /// Counting begins anew.
    pub fn restart(&mut self, left: u64) {
        *self = FuelMeter::new(left);
    }
}
