//! What share each tenant has beside others. It must never decide who is next.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use trackway_replay::TenantId;

pub const WEIGHT_MIN: u32 = 1;
pub const WEIGHT_MAX: u32 = 10_000;
/// In the middle, so that one tenant can have a hundredth of what others have, and another a hundred times as much.
pub const WEIGHT_DEFAULT: u32 = 100;

/// How much a tenant has where others want the same: twice the weight, twice the share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u32);

impl Weight {
    /// Within its limits.
    pub fn new(weight: u32) -> Weight {
        Weight(weight.clamp(WEIGHT_MIN, WEIGHT_MAX))
    }

    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Weight {
        Weight(WEIGHT_DEFAULT)
    }
}

/// The weights of all tenants. Every queue holds the same ones, so that a change counts from the next decision on.
#[derive(Debug, Clone, Default)]
pub struct Weights(Arc<RwLock<All>>);

#[derive(Debug, Default)]
struct All {
    /// Of whoever was given none.
    default: Weight,
    of: BTreeMap<TenantId, Weight>,
}

impl Weights {
    /// The default for whoever was given none.
    pub fn of(&self, tenant: TenantId) -> Weight {
        // One insert at a time: a panic cannot leave half of one.
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.of.get(&tenant).copied().unwrap_or(all.default)
    }

    pub fn set(&self, tenant: TenantId, weight: Weight) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).of.insert(tenant, weight);
    }

    pub fn set_default(&self, weight: Weight) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).default = weight;
    }

    /// The tenant has the default from here on.
    pub fn forget(&self, tenant: TenantId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).of.remove(&tenant);
    }
}
