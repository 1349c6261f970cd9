//! The one configuration of the engine. Nothing else may build an engine, and nothing here knows
//! what a guest is for.

use super::tick::TICKS_PER_TURN;
use crate::{Code, Error, Result};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, ModuleVersionStrategy, OptLevel, PoolingAllocationConfig,
    RegallocAlgorithm, WasmBacktraceDetails,
};

/// The full version, which the engine does not tell at run time; a test holds it against Cargo.lock.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// Counts up whenever a setting changes what a guest can observe, fuel above all.
const PROFILE: u32 = 1;

/// Deep recursion is a guest's mistake more often than its need, but interpreters need more than the
/// engine's default of 512 KiB.
const WASM_STACK_BYTES_MAX: usize = 1 << 20;
/// What is left above the guest's share serves host functions, which run on the same stack.
const STACK_BYTES: usize = 2 << 20;
/// The whole range of a 32-bit memory is reserved, so compiled code needs no bounds checks.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;
const MEMORY_GUARD_BYTES: u64 = 32 << 20;

/// What one instance slot stands for. A component that needs more takes several slots.
pub const MEMORIES_PER_SLOT: u32 = 2;
pub const TABLES_PER_SLOT: u32 = 4;
/// Only counted by the engine, never reserved; a Python component has 38.
const CORE_INSTANCES_PER_SLOT: u32 = 1_000;
/// Reserved address space, not memory. The sum over all tables is limited for each run.
const TABLE_ELEMENTS_MAX: usize = 1_000_000;
/// Composed components link several memories and tables into one core module.
const MEMORIES_PER_MODULE: u32 = 16;
const TABLES_PER_MODULE: u32 = 16;
/// Bookkeeping of the engine for one core module, and for one component with all its modules.
const CORE_INSTANCE_BYTES_MAX: usize = 4 << 20;
const COMPONENT_INSTANCE_BYTES_MAX: usize = 32 << 20;
/// A used memory is given back to the system as a whole. The engine would zero its first bytes by hand, and
/// those are the far end of a stack that a guest hardly ever uses up: 128 KiB of zeros over zeros.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 0;
/// Zeroing this much of a used table or stack by hand is cheaper than giving the pages back and faulting
/// them in again.
const TABLE_KEEP_RESIDENT_BYTES: usize = 32 << 10;
const STACK_KEEP_RESIDENT_BYTES: usize = 32 << 10;

/// Memories that are no longer used are given back to the system this many at a time: each call interrupts the
/// other processors. Until then their slots are not used again, unless no other is free.
const GIVEN_BACK_AT_ONCE: usize = 16;

/// What an engine is for. Code compiled by one runs in the other.
pub enum Purpose {
    /// Instances come from a pool of this many slots.
    Run { slots: u32 },
    /// No pool: a compiling process lives under a limit of address space.
    Compile,
}

/// Version and profile: two hosts with the same name count the same fuel for the same guest.
pub fn name() -> String {
    format!("wasmtime-{WASMTIME_VERSION}/profile-{PROFILE}")
}

pub fn build(purpose: Purpose) -> Result<Engine> {
    let mut config = Config::new();
    determinism(&mut config);
    config
        .module_version(ModuleVersionStrategy::Custom(name()))
        .map_err(|error| unusable("version", &error))?
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_guard_size(MEMORY_GUARD_BYTES)
        .memory_init_cow(true)
        .max_wasm_stack(WASM_STACK_BYTES_MAX)
        .async_stack_size(STACK_BYTES)
        .async_stack_zeroing(true)
        // Names are enough; line tables would multiply the size of the code cache.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    if let Purpose::Run { slots } = purpose {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots)));
    }
    Engine::new(&config).map_err(|error| unusable("engine", &error))
}

/// Whatever could make one execution of a guest differ from another.
fn determinism(config: &mut Config) {
    config
        .consume_fuel(true)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // Threads need a feature of the engine that is not built in.
        .wasm_memory64(false)
        // Off, the compiler panics on composed components.
        .wasm_multi_memory(true)
        .concurrency_support(false);
}

fn pool(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_stacks(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_SLOT))
        .total_memories(slots.saturating_mul(MEMORIES_PER_SLOT))
        .total_tables(slots.saturating_mul(TABLES_PER_SLOT))
        .max_memories_per_module(MEMORIES_PER_MODULE)
        .max_tables_per_module(TABLES_PER_MODULE)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_core_instance_size(CORE_INSTANCE_BYTES_MAX)
        .max_component_instance_size(COMPONENT_INSTANCE_BYTES_MAX)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT_BYTES)
        .decommit_batch_size(GIVEN_BACK_AT_ONCE)
        .pagemap_scan(Enabled::No);
    pool
}

/// What compiled code depends on beyond [`name`]: settings of the code generator and features of
/// this processor.
pub fn compatibility(engine: &Engine) -> String {
    struct Bytes(Vec<u8>);
    impl std::hash::Hasher for Bytes {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }
    let mut bytes = Bytes(Vec::new());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut bytes);
    format!("{:.16}", trackway_replay::Digest::of(&bytes.0))
}

fn unusable(what: &str, error: &wasmtime::Error) -> Error {
    Error::new(Code::Internal, format!("the sandbox cannot be set up ({what}): {error:#}"))
        .hint("a limit on address space (`ulimit -v`) must be lifted: instances reserve far more than they use")
}

const _: () = assert!(TICKS_PER_TURN > 0, "a deadline of zero ticks has always passed");
