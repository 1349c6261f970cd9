//! What tenants use, beside what they may: read from the sums, counted by nobody here.

use trackway_replay::{Day, Used};
use trackway_storage::{Shelf, usage_day, usage_name};

use super::Host;
use super::quotas::QuotaLimit;
use crate::Result;
use crate::quota::{Crossing, Quota, UNLIMITED};

/// Of days, the newest: more than a year.
const DAYS_MAX: usize = 400;
const PAGE: usize = 500;

/// What a tenant uses.
#[derive(Debug, Clone)]
pub struct Usage {
    pub today: Day,
    /// Each with what is in use, where that is known.
    pub quotas: Vec<(QuotaLimit, Option<u64>)>,
    /// Over all days.
    pub total: Used,
    /// The newest first, with today where anything was used.
    pub days: Vec<(Day, Used)>,
}

impl Host {
    /// Of this tenant. `day`: only that one.
    pub async fn usage(&self, day: Option<Day>) -> Result<Usage> {
        let limits = self.worker.limits(self.tenant).await?;
        let (now, book) = (self.clock.now(), self.worker.quotas());
        let (components, component_bytes) = self.components_stored().await?;
        let quotas = Quota::ALL.iter().map(|quota| {
            let used = match quota {
                Quota::Components => Some(components),
                Quota::ComponentBytes => Some(component_bytes),
                _ => limits.in_use(*quota, now),
            };
            let default = book.default_of(*quota);
            let limit = limits.get(*quota);
            (QuotaLimit { quota: *quota, limit, default, is_said: limit != default }, used)
        });
        let quotas = quotas.collect();
        let today = Day::of(now);
        let mut days = Vec::new();
        // What runs in hand used since stands in no record.
        let newest = limits.ledger().of_day(today);
        if !newest.is_nothing() && day.is_none_or(|day| day == today) {
            days.push((today, newest));
        }
        days.extend(self.days_before(today, day).await?);
        Ok(Usage { today, quotas, total: limits.ledger().total(), days })
    }

    async fn days_before(&self, today: Day, only: Option<Day>) -> Result<Vec<(Day, Used)>> {
        let first = only.unwrap_or(Day(today.0.saturating_sub(DAYS_MAX as u32)));
        let mut days = Vec::new();
        let mut after = usage_name(Day(first.0.saturating_sub(1)));
        loop {
            let page = self.storage.records(self.tenant, Shelf::Usage, Some(&after), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.name.clone();
            let known = page.iter().filter_map(|record| Some((usage_day(&record.name)?, Used::decode(&record.body)?)));
            days.extend(known.filter(|(day, _)| *day < today && only.is_none_or(|only| only == *day)));
        }
        days.reverse();
        Ok(days)
    }

    /// How many, and their bytes.
    async fn components_stored(&self) -> Result<(u64, u64)> {
        let components = self.storage.components(self.tenant).await?;
        Ok((components.len() as u64, components.iter().map(|component| component.size_bytes).sum()))
    }

    /// Before one more is stored.
    pub(super) async fn check_component_quota(&self, more_bytes: u64) -> Result<()> {
        let limits = self.worker.limits(self.tenant).await?;
        let asked = [(Quota::Components, 1), (Quota::ComponentBytes, more_bytes)];
        if asked.iter().all(|(quota, _)| limits.get(*quota) == UNLIMITED) {
            return Ok(());
        }
        let (count, bytes) = self.components_stored().await?;
        for ((quota, more), used) in asked.into_iter().zip([count, bytes]) {
            let limit = limits.get(quota);
            if used.saturating_add(more) > limit {
                let more = if used < limit { more } else { 0 };
                return Err(Crossing { quota, limit, used, more, again_after: None }.error());
            }
        }
        Ok(())
    }
}
