//! Finds runs to drive: ready ones, due ones, and those whose inbox got something.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use trackway_replay::Timestamp;
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
                false => drop(core.runs.acquire().await),
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
    let room = (core.runs.available_permits() + core.registry.warm_count()).min(CLAIMS_MAX);
    let claims = core.storage.claim(core.clock.now(), room).await?;
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
            core.spawner.clone().spawn(Box::pin(async move {
                if load::end_if_asked(&core, key, load::Recallable::No).await {
                    return;
                }
                if moving::is_asked(&core, key).await {
                    core.registry.reserve(key);
                    load_with_room(core, key).await;
                } else {
                    load::leave_held(&core, key).await;
                }
            }));
        }
        Found::Warm(active) => {
            active.claimed();
            core.spawner.spawn(Box::pin(drive::drive(active)));
        }
        Found::Nothing => {
            let task_core = core.clone();
            core.spawner.spawn(Box::pin(load_with_room(task_core, key)));
        }
    }
}

async fn load_with_room(core: Arc<Core>, key: RunKey) {
    match room(&core).await {
        Some(room) => load::load_and_drive(core, key, room).await,
        None => {
            core.registry.gone(key);
        }
    }
}

/// Room for one more run in hand, made by an eviction if need be.
pub(super) async fn room(core: &Arc<Core>) -> Option<OwnedSemaphorePermit> {
    if let Ok(room) = core.runs.clone().try_acquire_owned() {
        return Some(room);
    }
    // Wanted first: a run that parks from here on gives way by itself.
    let _wanted = Wanted::of(core);
    drop(core.registry.evict(Timestamp(u64::MAX)));
    core.runs.clone().acquire_owned().await.ok()
}

/// Somebody waits for room, until dropped.
struct Wanted<'a>(&'a Core);

impl Wanted<'_> {
    fn of(core: &Core) -> Wanted<'_> {
        core.room_wanted.fetch_add(1, Ordering::AcqRel);
        Wanted(core)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.room_wanted.fetch_sub(1, Ordering::AcqRel);
    }
}

fn evict_expired(core: &Core) {
    let now = core.clock.now();
    let warm_for = u64::try_from(core.options.warm_for.as_micros()).unwrap_or(u64::MAX);
    let since = Timestamp(now.0.saturating_sub(warm_for));
    while core.registry.evict(since).is_some() {}
    // Somebody waits for what warm runs hold.
    while core.sandbox.pressure().waiting > 0 && core.registry.evict(Timestamp(u64::MAX)).is_some() {}
}
