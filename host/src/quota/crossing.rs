//! A quota that somebody came to the end of, in words for guests and people.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Failure, Timestamp, Used, code};

use super::{Kind, Quota, Starting, TenantLimits, UNLIMITED, shown};
use crate::{Code, Error};
use trackway_replay::Day;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crossing {
    pub quota: Quota,
    pub limit: u64,
    pub used: u64,
    /// What was asked for beside that; nothing where nothing was left anyway.
    pub more: u64,
    /// Where it is over by itself.
    pub again_after: Option<Duration>,
}

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.quota.unit();
        let (name, limit, used) = (self.quota.name(), shown(unit, self.limit), shown(unit, self.used));
        match self.more {
            0 => write!(f, "quota `{name}` of this tenant is used up: {used} of {limit}"),
            more => {
                let more = shown(unit, more);
                write!(f, "quota `{name}` of this tenant has no room for {more} more: {used} of {limit} are used")
            }
        }
    }
}

impl Crossing {
    /// For a guest. Journaled: whether it helps to try again is no question of the moment.
    pub fn failure(&self) -> Failure {
        Failure::permanent(code::QUOTA_EXCEEDED, self.to_string())
    }

    /// For whoever asked by request.
    pub fn error(&self) -> Error {
        let code = match self.quota.kind() {
            Kind::Stored => Code::StorageQuotaExceeded,
            Kind::Share | Kind::OfRun | Kind::Waits | Kind::AtOnce | Kind::Rate | Kind::OfDay => Code::QuotaExceeded,
        };
        let hint = match self.quota.kind() {
            Kind::Stored => "remove what is not needed any more, or ask the operator of the server for more",
            Kind::OfDay => "it begins anew at midnight UTC; or ask the operator of the server for more",
            Kind::Share | Kind::OfRun | Kind::Waits | Kind::AtOnce | Kind::Rate => {
                "try again later, or ask the operator of the server for more"
            }
        };
        let error = Error::new(code, self.to_string()).hint(hint).quota(self.quota.name(), self.limit, self.used);
        match self.again_after {
            Some(wait) => error.retry_after(wait),
            None => error,
        }
    }
}

impl TenantLimits {
    /// How much of the quota is in use, where a sum says so.
    pub fn in_use(&self, quota: Quota, now: Timestamp) -> Option<u64> {
        let (total, today) = (|| self.ledger().total(), || self.ledger().of_day(Day::of(now)));
        let used = |of: fn(&Used) -> u64, used: Used| Some(of(&used));
        match quota {
            Quota::FuelPerDay => used(|it| it.fuel, today()),
            Quota::Runs => used(Used::runs_open, total()),
            Quota::JournalBytes => used(Used::journal_bytes_stored, total()),
            Quota::PayloadBytes => used(Used::payload_bytes_stored, total()),
            Quota::EgressRequestsPerDay => used(|it| it.egress_requests, today()),
            Quota::EgressBytesPerDay => used(|it| it.egress_bytes, today()),
            Quota::LogBytesPerDay => used(|it| it.log_bytes, today()),
            Quota::ModelTokensPerDay => used(|it| it.model_tokens, today()),
            Quota::ModelCostPerDay => used(|it| it.model_cost_nanousd, today()),
            Quota::Weight
            | Quota::FuelPerDelivery
            | Quota::MemoryPerInstance
            | Quota::Memory
            | Quota::Instances
            | Quota::Attempts
            | Quota::StartsPerSecond
            | Quota::StepsPerRun
            | Quota::EffectsPerAttempt
            | Quota::ChildDepth
            | Quota::Components
            | Quota::ComponentBytes => None,
        }
    }

    /// Whether nothing is left of any of these.
    pub fn crossed(&self, quotas: &[Quota], now: Timestamp) -> Option<Crossing> {
        quotas.iter().find_map(|quota| self.crossed_by(*quota, 0, 0, now))
    }

    /// Whether nothing is left of the quota, or not `more`, where `uncounted` is in use and in no sum yet.
    pub fn crossed_by(&self, quota: Quota, uncounted: u64, more: u64, now: Timestamp) -> Option<Crossing> {
        let limit = self.get(quota);
        // Most tenants have no such limit, and nobody sums up for them.
        let counted = if limit == UNLIMITED { None } else { self.in_use(quota, now) }?;
        let used = counted.saturating_add(uncounted);
        let again_after = (quota.kind() == Kind::OfDay).then(|| Day::of(now).next().begin().since(now));
        let is_used_up = used >= limit;
        let more = if is_used_up { 0 } else { more };
        (is_used_up || used.saturating_add(more) > limit).then_some(Crossing { quota, limit, used, more, again_after })
    }

    /// Before a run is started for the tenant by request.
    pub fn admit_start(self: &Arc<Self>, now: Timestamp) -> Result<Starting, Crossing> {
        let starting = Starting::begin(self)?;
        if let Some(crossing) = self.crossed(&[Quota::JournalBytes, Quota::PayloadBytes, Quota::FuelPerDay], now) {
            return Err(crossing);
        }
        self.ledger().take_start(self.get(Quota::StartsPerSecond), now)?;
        Ok(starting)
    }

    /// What keeps one more run from being in hand, where `held` are and that is all.
    pub fn full_of_runs(&self, held: u64) -> Crossing {
        let (instances, memory) = (self.get(Quota::Instances), self.get(Quota::Memory));
        let (quota, limit, used) = match self.fit_in_memory() < instances {
            true => (Quota::Memory, memory, memory),
            false => (Quota::Instances, instances, held),
        };
        Crossing { quota, limit, used, more: 0, again_after: None }
    }

    /// Before a run of the tenant starts another one.
    pub fn admit_child(self: &Arc<Self>, now: Timestamp) -> Result<Starting, Crossing> {
        let starting = Starting::begin(self)?;
        match self.crossed(&[Quota::JournalBytes, Quota::PayloadBytes], now) {
            Some(crossing) => Err(crossing),
            None => Ok(starting),
        }
    }
}
