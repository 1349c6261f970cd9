//! Sockets to the world: so many for each tenant, and so many for all of them, which tenants share by weight. It never
//! knows what goes through one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trackway_fair::{Gate, Permit, Portion, Weights};
use trackway_replay::TenantId;

#[cfg(test)]
pub(super) mod tests;

/// Of one kind, of one tenant at a time. A machine's usual limit of open files is 1,024.
pub(super) const PER_TENANT_MAX: usize = 256;
/// Of one kind, of all tenants: what is left of the files that a process may have open is for clients and the store.
const ALL_MAX: usize = 1_024;
/// However many tenants there are, the next one finds a free one.
const PORTION: Portion = Portion { tenant: 7, part: u64::MAX };

pub(super) struct Sockets {
    all: Arc<Gate>,
    tenants: Mutex<BTreeMap<TenantId, Arc<Semaphore>>>,
}

/// Held for as long as there is a socket.
pub(super) struct Socket {
    #[expect(dead_code, reason = "dropping it gives it back to the tenant")]
    own: OwnedSemaphorePermit,
    #[expect(dead_code, reason = "dropping it gives it back to everybody")]
    shared: Permit,
}

impl Sockets {
    pub fn new(weights: Weights) -> Sockets {
        Sockets { all: Gate::new(ALL_MAX, PORTION, weights), tenants: Mutex::default() }
    }

    /// Waits for one: first for the tenant's own.
    pub async fn take(&self, tenant: TenantId) -> Socket {
        let semaphore = {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever has none and wants none is as good as unknown.
            if !tenants.contains_key(&tenant) {
                tenants.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            }
            tenants.entry(tenant).or_insert_with(|| Arc::new(Semaphore::new(PER_TENANT_MAX))).clone()
        };
        let own = semaphore.acquire_owned().await.expect("the semaphore is never closed");
        Socket { own, shared: self.all.take(tenant, ()).await }
    }
}
