//! Uploads that are being sent: how many, how much of them, from whom. One that trickles gives way to one that comes,
//! so that half-sent ones block nobody. It never looks into what is sent, and never lets more into memory than it may.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use trackway_replay::TenantId;

use super::body::{self, Limit, Pace};
use super::problem::{Answer, Refusal};
use crate::{Code, Error};

/// Sent at once, by all tenants. Each costs a connection and what came of it so far.
const UPLOADS_AT_ONCE_MAX: usize = 32;
/// What came of all of them together, and of those that wait to be compiled: four of the largest.
const UPLOADS_BYTES_MAX: usize = 256 << 20;
/// Of one tenant that came as a whole and wait to be compiled: nothing makes them give way, so they leave room.
const WHOLE_OF_ONE_MAX: usize = UPLOADS_AT_ONCE_MAX / 4 * 3;
/// And what they hold of memory: three of the largest.
const WHOLE_BYTES_OF_ONE_MAX: usize = UPLOADS_BYTES_MAX / 4 * 3;
/// A tenant's own uploads give way to its next one only when they have had so long to come.
const OWN_AGE_MIN: Duration = Duration::from_secs(5);
/// When a place is likely to be free again: trickling ones are thrown out by then.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Everything that is being sent.
#[derive(Debug, Clone, Default)]
pub struct Intake {
    uploads: Arc<Mutex<Uploads>>,
}

#[derive(Debug, Default)]
struct Uploads {
    last: u64,
    held: BTreeMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    tenant: TenantId,
    bytes: usize,
    begun: Instant,
    /// Of one that is still being sent.
    throw_out: Option<oneshot::Sender<()>>,
}

/// What is held of memory for one upload, for as long as its bytes are.
#[derive(Debug)]
pub struct Place {
    uploads: Arc<Mutex<Uploads>>,
    number: u64,
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scarce {
    Places,
    Bytes,
}

impl Intake {
    /// Reads an upload. The place is to be kept for as long as the bytes.
    pub async fn read(
        &self,
        tenant: TenantId,
        headers: &HeaderMap,
        content: Body,
        limit: Limit,
    ) -> Answer<(Bytes, Place)> {
        let mut stream = content.into_data_stream();
        if body::announced(headers).is_some_and(|length| length > limit.max_bytes as u64) {
            body::discard_later(stream);
            return Err(limit.refuse());
        }
        let (place, mut thrown_out) = match self.begin(tenant, Instant::now()) {
            Ok(begun) => begun,
            Err(error) => {
                body::discard_later(stream);
                return Err(error.into());
            }
        };
        let mut bytes = BytesMut::new();
        let mut pace = Pace::of_uploads(Instant::now());
        loop {
            let chunk = tokio::select! {
                // Also where the sender is gone: then this upload is thrown out by nobody any more.
                _ = &mut thrown_out => return Err(gave_way().into()),
                chunk = timeout_at(pace.until(), stream.next()) => chunk.map_err(|_| too_slow())?,
            };
            let Some(chunk) = chunk else { break };
            let chunk =
                chunk.map_err(|error| Refusal::new(Code::BadRequest, format!("the body broke off: {error}")))?;
            if bytes.len() + chunk.len() > limit.max_bytes {
                body::discard_later(stream);
                return Err(limit.refuse());
            }
            pace.took(chunk.len(), Instant::now()).map_err(|()| too_slow())?;
            self.grow(&place, chunk.len(), Instant::now())?;
            bytes.extend_from_slice(&chunk);
        }
        self.lock().came(place.number)?;
        Ok((bytes.freeze(), place))
    }

    fn begin(&self, tenant: TenantId, now: Instant) -> crate::Result<(Place, oneshot::Receiver<()>)> {
        let mut uploads = self.lock();
        if uploads.held.len() >= UPLOADS_AT_ONCE_MAX && !uploads.make_room(Scarce::Places, tenant, now) {
            return Err(full("as many uploads as may be are being sent"));
        }
        uploads.last += 1;
        let number = uploads.last;
        let (throw_out, thrown_out) = oneshot::channel();
        uploads.held.insert(number, Held { tenant, bytes: 0, begun: now, throw_out: Some(throw_out) });
        Ok((Place { uploads: Arc::clone(&self.uploads), number }, thrown_out))
    }

    fn grow(&self, place: &Place, more: usize, now: Instant) -> crate::Result<()> {
        let mut uploads = self.lock();
        let Some(tenant) = uploads.held.get(&place.number).map(|held| held.tenant) else { return Err(gave_way()) };
        while uploads.bytes() + more > UPLOADS_BYTES_MAX {
            if !uploads.make_room(Scarce::Bytes, tenant, now) {
                return Err(full("the uploads that are being sent hold all the memory that they may"));
            }
        }
        match uploads.held.get_mut(&place.number) {
            Some(held) => held.bytes += more,
            // It was the one that had to give way.
            None => return Err(gave_way()),
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uploads {
    fn bytes(&self) -> usize {
        self.held.values().map(|held| held.bytes).sum()
    }

    /// It is here as a whole; nothing makes it give way any more.
    fn came(&mut self, number: u64) -> crate::Result<()> {
        let Some((tenant, bytes)) = self.held.get(&number).map(|held| (held.tenant, held.bytes)) else {
            return Err(gave_way());
        };
        let whole = self.held.values().filter(|held| held.tenant == tenant && held.throw_out.is_none());
        let (count, bytes) = whole.fold((1, bytes), |(count, bytes), held| (count + 1, bytes + held.bytes));
        if count > WHOLE_OF_ONE_MAX || bytes > WHOLE_BYTES_OF_ONE_MAX {
            return Err(full("as many uploads of this tenant as may be wait to be compiled"));
        }
        if let Some(held) = self.held.get_mut(&number) {
            held.throw_out = None;
        }
        Ok(())
    }

    /// Throws one out for `newcomer`: of the tenant that holds the most, the one that comes the slowest.
    fn make_room(&mut self, scarce: Scarce, newcomer: TenantId, now: Instant) -> bool {
        let mut shares: BTreeMap<TenantId, usize> = BTreeMap::new();
        for held in self.held.values().filter(|held| held.throw_out.is_some()) {
            let share = match scarce {
                Scarce::Places => 1,
                Scarce::Bytes => held.bytes,
            };
            *shares.entry(held.tenant).or_default() += share;
        }
        let own = shares.get(&newcomer).copied().unwrap_or(0);
        let Some((greediest, share)) = shares.into_iter().max_by_key(|(_, share)| *share) else { return false };
        // Nobody gives way to one who holds as much.
        let tenant = if share > own { greediest } else { newcomer };
        // Of what is scarce it must have some to give.
        let has_some = |held: &Held| scarce == Scarce::Places || held.bytes > 0;
        let goes = |held: &Held| held.tenant == tenant && held.throw_out.is_some() && has_some(held);
        let of_tenant = self.held.iter().filter(|(_, held)| goes(held));
        let old_enough = of_tenant.filter(|(_, held)| tenant != newcomer || now - held.begun >= OWN_AGE_MIN);
        let slowest = old_enough.min_by(|(_, a), (_, b)| a.speed(now).total_cmp(&b.speed(now)));
        let Some(number) = slowest.map(|(number, _)| *number) else { return false };
        if let Some(throw_out) = self.held.remove(&number).and_then(|held| held.throw_out) {
            // Its reader may have ended in this moment, which is as good.
            let _ = throw_out.send(());
        }
        true
    }
}

impl Held {
    /// Bytes a second so far.
    fn speed(&self, now: Instant) -> f64 {
        self.bytes as f64 / (now - self.begun).as_secs_f64().max(f64::EPSILON)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).held.remove(&self.number);
    }
}

fn full(why: &str) -> Error {
    Error::new(Code::Overloaded, why).hint("try again").retry_after(RETRY_AFTER)
}

fn gave_way() -> Error {
    Error::new(Code::Overloaded, "the upload came slower than others, and had to make room for them")
        .hint("try again")
        .retry_after(RETRY_AFTER)
}

fn too_slow() -> Refusal {
    Refusal::new(Code::BadRequest, "the body comes too slowly, or stopped coming").status(StatusCode::REQUEST_TIMEOUT)
}

#[cfg(test)]
mod tests;
