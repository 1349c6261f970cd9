//! The limits of all tenants in memory, to be read at once by whoever is about to give something away. It never reads
//! the store: whoever changes what stands there says so here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use trackway_fair::{Weight, Weights};
use trackway_replay::{Limits, TenantId};

use super::{Ledger, Quota, Quotas, UNLIMITED};

/// What a tenant may use now. Held on to by those who ask often: a change shows in it at once.
#[derive(Debug)]
pub struct TenantLimits {
    tenant: TenantId,
    limits: Vec<AtomicU64>,
    ledger: Ledger,
}

impl TenantLimits {
    fn new(tenant: TenantId, defaults: &Quotas, over: &Quotas) -> TenantLimits {
        let limits = Quota::ALL.iter().map(|quota| AtomicU64::new(limit_of(*quota, defaults, over))).collect();
        TenantLimits { tenant, limits, ledger: Ledger::default() }
    }

    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// What it has used.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn get(&self, quota: Quota) -> u64 {
        // Each stands for itself: nobody reads two and needs them to fit.
        self.limits[quota as usize].load(Ordering::Relaxed)
    }

    /// Its share while several want the same, 1 to 10,000.
    pub fn weight(&self) -> u64 {
        self.get(Quota::Weight)
    }

    /// Runs in hand at once; more wait.
    pub fn instances(&self) -> u64 {
        self.get(Quota::Instances).min(self.fit_in_memory())
    }

    /// Attempts in hand at once; more wait.
    pub fn attempts(&self) -> u64 {
        self.get(Quota::Attempts).min(self.fit_in_memory())
    }

    /// Runs, and as many attempts: half of the memory is for either, so that neither waits for what the other holds. An
    /// instance counts with all that it may grow to, for what it does must not depend on what others have.
    pub(super) fn fit_in_memory(&self) -> u64 {
        match self.get(Quota::Memory) {
            UNLIMITED => UNLIMITED,
            memory => (memory / 2 / self.get(Quota::MemoryPerInstance).max(1)).max(1),
        }
    }

    /// What a run pins that starts now.
    pub fn of_run(&self) -> Limits {
        let number = |quota| u32::try_from(self.get(quota)).unwrap_or(u32::MAX);
        Limits {
            fuel: self.get(Quota::FuelPerDelivery),
            memory_bytes: self.get(Quota::MemoryPerInstance),
            steps: number(Quota::StepsPerRun),
            effects: number(Quota::EffectsPerAttempt),
            ..Limits::default()
        }
    }

    fn change(&self, defaults: &Quotas, over: &Quotas) {
        for quota in Quota::ALL {
            self.limits[*quota as usize].store(limit_of(*quota, defaults, over), Ordering::Relaxed);
        }
    }
}

fn limit_of(quota: Quota, defaults: &Quotas, over: &Quotas) -> u64 {
    over.get(quota).or_else(|| defaults.get(quota)).unwrap_or_else(|| quota.default_limit())
}

fn weight_of(limit: u64) -> Weight {
    Weight::new(u32::try_from(limit).unwrap_or(u32::MAX))
}

/// Of every tenant: the server's defaults, and what was said over them.
#[derive(Debug, Default)]
pub struct Book {
    defaults: Quotas,
    tenants: RwLock<BTreeMap<TenantId, Arc<TenantLimits>>>,
    /// What every queue goes by.
    weights: Weights,
}

impl Book {
    pub fn new(defaults: Quotas) -> Book {
        Book { defaults, tenants: RwLock::default(), weights: Weights::default() }
    }

    /// One that says the weights of tenants to these.
    pub fn weighing(self, weights: Weights) -> Book {
        weights.set_default(weight_of(self.default_of(Quota::Weight)));
        Book { weights, ..self }
    }

    /// As the server has it for a tenant of which nothing is said.
    pub fn default_of(&self, quota: Quota) -> u64 {
        limit_of(quota, &self.defaults, &Quotas::default())
    }

    /// Of one of which nothing was said, the defaults.
    pub fn of(&self, tenant: TenantId) -> Arc<TenantLimits> {
        if let Some(limits) = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&tenant) {
            return Arc::clone(limits);
        }
        self.change(tenant, None)
    }

    /// From here on that counts.
    pub fn set(&self, tenant: TenantId, over: &Quotas) {
        drop(self.change(tenant, Some(over)));
    }

    /// The tenant is gone. Its number is never given again.
    pub fn forget(&self, tenant: TenantId) {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
        self.weights.forget(tenant);
    }

    fn change(&self, tenant: TenantId, over: Option<&Quotas>) -> Arc<TenantLimits> {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let nothing = Quotas::default();
        let limits = tenants
            .entry(tenant)
            .or_insert_with(|| Arc::new(TenantLimits::new(tenant, &self.defaults, over.unwrap_or(&nothing))));
        if let Some(over) = over {
            limits.change(&self.defaults, over);
            self.weights.set(tenant, weight_of(limits.weight()));
        }
        Arc::clone(limits)
    }
}
