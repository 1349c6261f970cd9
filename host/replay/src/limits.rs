//! The limits of a run that its guest can observe. Pinned in `Started`, so that a later default
//! cannot change what a replay sees.

use serde::{Deserialize, Serialize};

/// Keys under which one run may publish. A guest observes it, so it belongs to the rules: another number is
/// another [`crate::RULES`]. More would be a table, which has no place here.
pub const PUBLISHED_KEYS_MAX: usize = 256;
/// What is published under one key; of the rules too. It is there to be looked at often.
pub const PUBLISHED_MAX_BYTES: usize = 256 << 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Fuel between two deliveries; about one per instruction.
    pub fuel: u64,
    /// Sum of all linear memories of one instance.
    pub memory_bytes: u64,
    /// Sum of all tables of one instance.
    pub table_elements: u64,
    /// One value that crosses.
    pub value_bytes: u32,
    /// Operations that a run may ask for in all.
    pub steps: u32,
    /// Operations that may be open at once.
    pub steps_open: u32,
    /// Effects that one attempt may ask for.
    pub effects: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fuel: 10_000_000_000,
            memory_bytes: 256 << 20,
            table_elements: 1_000_000,
            value_bytes: crate::Value::MAX_BYTES as u32,
            steps: 1_000_000,
            steps_open: 100_000,
            effects: 10_000,
        }
    }
}
