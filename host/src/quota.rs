//! Quotas: how much a tenant may use of each thing, by name. The one table of names, units and defaults, from which
//! documentation, API and command line are made. It counts nothing and refuses nobody.

mod allowance;
mod book;
mod crossing;
mod ledger;
mod number;
mod starting;

pub use allowance::{Allowance, Rate};
pub use book::{Book, TenantLimits};
pub use crossing::Crossing;
pub use ledger::Ledger;
pub use number::{ParseNumberError, UNLIMITED, number, shown};
pub use starting::Starting;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trackway_replay::Limits;

use crate::{Code, Error, Result};

/// Of which numbers are written as numbers in JSON everywhere.
const LIMIT_MAX: u64 = (1 << 53) - 1;
/// A chain of runs that start each other is followed by people.
const CHILD_DEPTH_MAX: u64 = 1_000;

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Fuel,
    Bytes,
    Count,
    /// A thousand millionth of a dollar.
    NanoUsd,
}

/// When a quota counts, and so what comes of crossing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A share, beside those of others: nothing is crossed.
    Share,
    /// Pinned by a run when it starts: its guest gets a failure.
    OfRun,
    /// Things at once: one more waits.
    Waits,
    /// Things at once: one more is refused, and may be tried again.
    AtOnce,
    /// In a second.
    Rate,
    /// What lies in the store.
    Stored,
    /// Since midnight, UTC.
    OfDay,
}

macro_rules! quotas {
    ($($name:ident $text:literal $unit:ident $kind:ident $least:expr, $default:expr, $most:expr; $about:literal;)*) => {
        /// One thing of which a tenant may use so much.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Quota { $(#[doc = $about] $name,)* }

        impl Quota {
            pub const ALL: &[Quota] = &[$(Quota::$name,)*];

            /// As it is typed, and stands in failures.
            pub fn name(self) -> &'static str {
                match self { $(Quota::$name => $text,)* }
            }

            pub fn unit(self) -> Unit {
                match self { $(Quota::$name => Unit::$unit,)* }
            }

            pub fn kind(self) -> Kind {
                match self { $(Quota::$name => Kind::$kind,)* }
            }

            /// Of a server that says nothing else.
            pub fn default_limit(self) -> u64 {
                match self { $(Quota::$name => $default,)* }
            }

            pub fn about(self) -> &'static str {
                match self { $(Quota::$name => $about,)* }
            }

            fn range(self) -> (u64, u64) {
                match self { $(Quota::$name => ($least, $most),)* }
            }
        }
    };
}

quotas! {
    Weight "weight" Count Share 1, 100, 10_000; "share of the server while several tenants want it";
    FuelPerDelivery "fuel_per_delivery" Fuel OfRun 1_000_000, fuel(), 1_000_000_000_000; "fuel between two deliveries to a guest";
    FuelPerDay "fuel_per_day" Fuel OfDay 0, UNLIMITED, LIMIT_MAX; "fuel of all guests in a day";
    MemoryPerInstance "memory_per_instance" Bytes OfRun 1 << 20, memory_bytes(), memory_bytes(); "memory of one instance";
    Memory "memory" Bytes Waits 1 << 20, UNLIMITED, LIMIT_MAX; "memory of all instances together";
    Runs "runs" Count AtOnce 0, UNLIMITED, LIMIT_MAX; "runs that have not ended";
    Instances "instances" Count Waits 1, UNLIMITED, LIMIT_MAX; "runs that hold an instance at once";
    Attempts "attempts" Count Waits 1, UNLIMITED, LIMIT_MAX; "attempts of functions that hold an instance at once";
    StartsPerSecond "starts_per_second" Count Rate 1, UNLIMITED, LIMIT_MAX; "starts in a second; twice as many in a row";
    StepsPerRun "steps_per_run" Count OfRun 1, steps(), steps(); "steps that a run may ask for";
    EffectsPerAttempt "effects_per_attempt" Count OfRun 1, effects(), effects(); "effects that one attempt may ask for";
    ChildDepth "child_depth" Count OfRun 1, 100, CHILD_DEPTH_MAX; "runs that start each other, one below the other";
    JournalBytes "journal_bytes" Bytes Stored 0, UNLIMITED, LIMIT_MAX; "journals that are stored";
    PayloadBytes "payload_bytes" Bytes Stored 0, UNLIMITED, LIMIT_MAX; "values beside the journals that are stored";
    Components "components" Count Stored 0, 10_000, LIMIT_MAX; "components that are stored";
    ComponentBytes "component_bytes" Bytes Stored 0, UNLIMITED, LIMIT_MAX; "components that are stored, together";
    EgressRequestsPerDay "egress_requests_per_day" Count OfDay 0, UNLIMITED, LIMIT_MAX; "requests that functions send in a day";
    EgressBytesPerDay "egress_bytes_per_day" Bytes OfDay 0, UNLIMITED, LIMIT_MAX; "bytes of requests and answers in a day";
    LogBytesPerDay "log_bytes_per_day" Bytes OfDay 0, UNLIMITED, LIMIT_MAX; "log lines in a day";
    ModelTokensPerDay "model_tokens_per_day" Count OfDay 0, UNLIMITED, LIMIT_MAX; "tokens of models in a day, in and out";
    ModelCostPerDay "model_cost_per_day" NanoUsd OfDay 0, UNLIMITED, LIMIT_MAX; "known cost of models in a day";
}

fn fuel() -> u64 {
    Limits::default().fuel
}

fn memory_bytes() -> u64 {
    Limits::default().memory_bytes
}

fn steps() -> u64 {
    Limits::default().steps.into()
}

fn effects() -> u64 {
    Limits::default().effects.into()
}

impl Quota {
    /// # Errors
    /// [`Code::BadRequest`], with the names that there are.
    pub fn named(name: &str) -> Result<Quota> {
        let found = Quota::ALL.iter().copied().find(|quota| quota.name() == name);
        found.ok_or_else(|| {
            let names: Vec<_> = Quota::ALL.iter().map(|quota| quota.name()).collect();
            Error::new(Code::BadRequest, format!("there is no quota `{name}`"))
                .hint(format!("there are: {}", names.join(", ")))
        })
    }

    /// # Errors
    /// [`Code::BadRequest`] where the quota takes no such limit.
    pub fn check(self, limit: u64) -> Result<()> {
        let (least, most) = self.range();
        let may_be_unlimited = limit == UNLIMITED && self.default_limit() == UNLIMITED;
        if (least..=most).contains(&limit) || may_be_unlimited {
            return Ok(());
        }
        let unit = self.unit();
        let (least, most, name) = (shown(unit, least), shown(unit, most), self.name());
        let or = if self.default_limit() == UNLIMITED { ", or `unlimited`" } else { "" };
        Err(Error::new(Code::BadRequest, format!("quota `{name}` is {least} to {most}{or}")))
    }
}

/// What was said of quotas: those that are not named are as somebody else says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u64>", into = "BTreeMap<String, u64>")]
pub struct Quotas {
    said: BTreeMap<Quota, u64>,
}

impl Quotas {
    pub fn get(&self, quota: Quota) -> Option<u64> {
        self.said.get(&quota).copied()
    }

    /// # Errors
    /// As [`Quota::check`].
    pub fn set(&mut self, quota: Quota, limit: u64) -> Result<()> {
        quota.check(limit)?;
        self.said.insert(quota, limit);
        Ok(())
    }

    pub fn unset(&mut self, quota: Quota) {
        self.said.remove(&quota);
    }

    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// `NAME=LIMIT`, as people write it.
    pub fn set_text(&mut self, name: &str, limit: &str) -> Result<()> {
        let quota = Quota::named(name)?;
        let limit = number(quota.unit(), limit)
            .map_err(|error| Error::new(Code::BadRequest, format!("quota `{name}`: {error}")))?;
        self.set(quota, limit)
    }
}

impl TryFrom<BTreeMap<String, u64>> for Quotas {
    type Error = String;

    /// Names of later versions are no error: nothing is counted for them here.
    fn try_from(names: BTreeMap<String, u64>) -> std::result::Result<Quotas, String> {
        let mut quotas = Quotas::default();
        for (name, limit) in names {
            if let Ok(quota) = Quota::named(&name) {
                quotas.set(quota, limit).map_err(|error| error.message)?;
            }
        }
        Ok(quotas)
    }
}

impl From<Quotas> for BTreeMap<String, u64> {
    fn from(quotas: Quotas) -> BTreeMap<String, u64> {
        quotas.said.into_iter().map(|(quota, limit)| (quota.name().to_owned(), limit)).collect()
    }
}

#[cfg(test)]
mod tests;
