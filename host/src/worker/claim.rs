//! Finds runs to drive: ready ones, due ones, and those whose inbox got something. Tenants have them claimed in turn, and
//! hold room for them in hand by shares.

use std::sync::Arc;
use std::time::Duration;
use trackway_fair::{Permit, Waiting};
use trackway_replay::{TenantId, Timestamp};
use trackway_storage::RunKey;

use super::Core;
use super::drive;
use super::load;
use super::moving;
use super::registry::Found;

/// More at once would only wait for each other.
const CLAIMS_MAX: usize = 64;
/// A claim that the store refused is tried again after this.
const CLAIM_AGAIN_AFTER: Duration = Duration::from_millis(200);

pub(super) async fn claim_loop(core: Arc<Core>) {
    while !core.is_draining() {
        let (next_due, had_room) = match claim(&core).await {
            Ok(Claimed::All { next_due }) => (next_due, true),
            Ok(Claimed::NoRoom) => (None, false),
            Ok(Claimed::Some) => continue,
            Err(error) => {
                tracing::warn!(%error, "runs cannot be claimed");
                core.clock.sleep_until(core.clock.now() + CLAIM_AGAIN_AFTER).await;
                continue;
            }
        };
        let expiry = core.registry.warm_since().map(|since| since + core.options.warm_for);
        let wake_at = [next_due, expiry].into_iter().flatten().min();
        let timer = async {
            match wake_at {
                Some(at) => core.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        // Without room there is nothing to claim, however much is due.
        let room = async {
            match had_room {
                true => std::future::pending().await,
                false => core.runs.freed().await,
            }
        };
        tokio::select! {
            biased;
            () = core.storage.changed() => {}
            () = core.nudge.notified() => {}
            () = timer => {}
            () = room => {}
        }
        evict_expired(&core);
    }
}

/// How much of what could be claimed was.
enum Claimed {
    All { next_due: Option<Timestamp> },
    Some,
    NoRoom,
}

async fn claim(core: &Arc<Core>) -> crate::Result<Claimed> {
    // Warm runs give way to runs that have something to do.
    let room = (core.runs.free() + core.registry.warm_count()).min(CLAIMS_MAX);
    // Of whoever waits for room already more would only wait too.
    let claims = core.storage.claim(core.clock.now(), room, core.runs.waiting_tenants()).await?;
    claims.knocks.into_iter().for_each(|key| core.registry.knock(key));
    let claimed = match room {
        0 => Claimed::NoRoom,
        room if claims.runs.len() == room => Claimed::Some,
        _ => Claimed::All { next_due: claims.next_due },
    };
    claims.runs.into_iter().for_each(|key| take(core, key));
    Ok(claimed)
}

/// Sees to it that a run which was claimed is driven.
pub(super) fn take(core: &Arc<Core>, key: RunKey) {
    match core.registry.claimed(key) {
        Found::Driven => {}
        // Something is in its inbox; if it is to end, that can be done as it is. Anything else waits there
        // until the run is looked after.
        Found::Held => {
            let core = core.clone();
            core.clone().spawn(
                key.tenant,
                Box::pin(async move {
                    if load::end_if_asked(&core, key, load::Recallable::No).await {
                        return;
                    }
                    if moving::is_asked(&core, key).await {
                        core.registry.reserve(key);
                        let place = core.runs.line_up(key.tenant, (), 1);
                        load_with_room(core, key, place).await;
                    } else {
                        load::leave_held(&core, key).await;
                    }
                }),
            );
        }
        Found::Warm(active) => {
            active.claimed();
            core.spawn(key.tenant, Box::pin(drive::drive(active)));
        }
        Found::Nothing => {
            let task_core = core.clone();
            // In line before it has its first turn: the next claim has to know what room is left, and who waits for some.
            let place = core.runs.line_up(key.tenant, (), 1);
            core.spawn(key.tenant, Box::pin(load_with_room(task_core, key, place)));
        }
    }
}

async fn load_with_room(core: Arc<Core>, key: RunKey, place: Result<Permit, Waiting>) {
    let room = place_in(&core, key.tenant, place).await;
    load::load_and_drive(core, key, room).await;
}

/// Room for one more run of `tenant` in hand, made by an eviction if need be.
pub(super) async fn room(core: &Arc<Core>, tenant: TenantId) -> Permit {
    // In line first: a run that parks from here on gives way by itself.
    place_in(core, tenant, core.runs.line_up(tenant, (), 1)).await
}

async fn place_in(core: &Arc<Core>, tenant: TenantId, place: Result<Permit, Waiting>) -> Permit {
    let waiting = match place {
        Ok(room) => return room,
        Err(waiting) => waiting,
    };
    make_room(core, tenant);
    let room = waiting.await;
    // There may be more to claim of a tenant that waits no longer.
    core.nudge.notify_one();
    room
}

/// Ends a warm run so that one of `tenant` finds room.
pub(super) fn make_room(core: &Core, tenant: TenantId) {
    // What others hold is no help to one that may hold no more.
    let least = if core.runs.is_capped(tenant) { u64::MAX } else { core.runs.held(tenant) };
    drop(core.registry.evict_for(tenant, least, |tenant| core.runs.held(tenant)));
}

/// A run of `tenant` is warm from here on: somebody may want its place.
pub(super) fn give_way(core: &Core, tenant: TenantId) {
    let of_its_own = core.runs.next_under_cap(tenant).map(|()| tenant);
    if let Some(tenant) = of_its_own.or_else(|| core.runs.next().map(|(tenant, ())| tenant)) {
        make_room(core, tenant);
    }
}

fn evict_expired(core: &Core) {
    let now = core.clock.now();
    let warm_for = u64::try_from(core.options.warm_for.as_micros()).unwrap_or(u64::MAX);
    let since = Timestamp(now.0.saturating_sub(warm_for));
    while core.registry.evict(since).is_some() {}
    // Somebody waits for what warm runs hold.
    while let Some(tenant) = core.sandbox.next_in_line()
        && core.registry.evict_for(tenant, core.runs.held(tenant), |tenant| core.runs.held(tenant)).is_some()
    {}
}
