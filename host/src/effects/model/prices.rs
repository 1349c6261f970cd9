//! What tokens cost: those of well-known models from one file, and what the operator says over it. Pure; all of it is
//! in whole nanodollars.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use trackway_replay::Usage;

use crate::{Code, Error, Result};

/// In dollars for a million tokens. Prices change; the operator's own count before these.
const KNOWN: &str = include_str!("prices.json");
const NANOS: f64 = 1e9;
/// Of a million tokens. More is a mistake.
const USD_MAX: f64 = 1e6;
/// Prices are of so many tokens.
const TOKENS: u128 = 1_000_000;
/// Stands for every model of a provider that no other price names.
const ANY: &str = "*";

/// Nanodollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    #[serde(deserialize_with = "usd")]
    input: u64,
    #[serde(deserialize_with = "usd")]
    output: u64,
    /// As other input where it is left out.
    #[serde(default, deserialize_with = "maybe_usd", skip_serializing_if = "Option::is_none")]
    cached: Option<u64>,
    #[serde(default, deserialize_with = "maybe_usd", skip_serializing_if = "Option::is_none")]
    cache_write: Option<u64>,
}

/// Of one provider, by the names of its models.
pub type Prices = BTreeMap<String, Price>;

/// One table of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    /// The page that says so.
    #[serde(rename = "source")]
    _source: String,
    /// The month in which it was last looked at, against that page or a copy of it.
    #[serde(rename = "as_of")]
    _as_of: String,
    models: Prices,
}

/// Those of the file, by provider.
pub(super) fn known() -> Result<BTreeMap<String, Prices>> {
    let listed: BTreeMap<String, Listed> = serde_json::from_str(KNOWN)
        .map_err(|error| Error::new(Code::Internal, format!("the prices of models cannot be read: {error}")))?;
    Ok(listed.into_iter().map(|(provider, listed)| (provider, listed.models)).collect())
}

/// The price of the model that answered, or of the one that was asked for: by its name, or without the date behind it.
pub(super) fn price_of<'a>(prices: &'a Prices, answered: &str, asked: &str) -> Option<&'a Price> {
    let named = [answered, asked].into_iter().find_map(|name| prices.get(name).or_else(|| prices.get(undated(name))));
    named.or_else(|| prices.get(ANY))
}

/// A snapshot is named as its model with a date behind it: `-2026-01-31`, `-20260131` or `-latest`.
fn undated(name: &str) -> &str {
    if let Some(name) = name.strip_suffix("-latest") {
        return name;
    }
    let is_date = |date: &str| {
        let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        shape == "-0000-00-00" || shape == "-00000000"
    };
    let dated = ["-0000-00-00", "-00000000"].into_iter().find_map(|shape| {
        let (model, date) = name.split_at_checked(name.len().checked_sub(shape.len())?)?;
        (is_date(date) && !model.is_empty()).then_some(model)
    });
    dated.unwrap_or(name)
}

impl Price {
    /// Rounded up to a whole nanodollar.
    pub(super) fn cost(&self, usage: &Usage) -> u64 {
        let Usage { input_tokens, output_tokens, cached_tokens, cache_write_tokens } = *usage;
        let plain = input_tokens.saturating_sub(cached_tokens).saturating_sub(cache_write_tokens);
        let parts = [
            (plain, self.input),
            (cached_tokens, self.cached.unwrap_or(self.input)),
            (cache_write_tokens, self.cache_write.unwrap_or(self.input)),
            (output_tokens, self.output),
        ];
        let sum = parts.into_iter().fold(0_u128, |sum, (tokens, price)| {
            sum.saturating_add(u128::from(tokens).saturating_mul(u128::from(price)))
        });
        u64::try_from(sum.div_ceil(TOKENS)).unwrap_or(u64::MAX)
    }
}

/// `None` for what is no amount.
pub(super) fn nanos_of_usd(usd: f64) -> Option<u64> {
    // Both bounds hold, so the cast keeps the number.
    (0.0..=USD_MAX).contains(&usd).then(|| (usd * NANOS).round() as u64)
}

fn usd<'de, D: Deserializer<'de>>(number: D) -> std::result::Result<u64, D::Error> {
    let usd = f64::deserialize(number)?;
    nanos_of_usd(usd).ok_or_else(|| serde::de::Error::custom(format!("a price is 0 to {USD_MAX} dollars")))
}

fn maybe_usd<'de, D: Deserializer<'de>>(number: D) -> std::result::Result<Option<u64>, D::Error> {
    usd(number).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(provider: &str, model: &str) -> Option<Price> {
        price_of(known().expect("the file is right").get(provider)?, model, model).copied()
    }

    fn check(provider: &str, model: &str, [input, output, cached, cache_write]: [u64; 4], expected: u64) {
        let usage = Usage {
            input_tokens: input,
            output_tokens: output,
            cached_tokens: cached,
            cache_write_tokens: cache_write,
        };
        assert_eq!(price(provider, model).expect("it is known").cost(&usage), expected, "{provider}/{model}");
    }

    #[test]
    fn cost_is_exact_to_the_nanodollar() {
        check("openai", "gpt-4o-mini", [1_000_000, 0, 0, 0], 150_000_000);
        check("openai", "gpt-4o-mini", [1_200, 80, 1_024, 0], 26_400 + 76_800 + 48_000);
        check("openai", "gpt-4o-mini", [1, 0, 0, 0], 150);
        // Half a nanodollar is a whole one.
        check("openai", "gpt-4.1-nano", [1, 1, 1, 0], 25 + 400);
        check("openai", "gpt-5-nano", [1, 0, 1, 0], 5);
    }

    #[test]
    fn what_went_through_a_cache_has_prices_of_its_own() {
        let price: Price = toml::from_str("input = 3\ncached = 0.3\ncache_write = 3.75\noutput = 15").expect("a price");
        let usage = Usage { input_tokens: 300, output_tokens: 10, cached_tokens: 100, cache_write_tokens: 50 };
        assert_eq!(price.cost(&usage), 150 * 3_000 + 100 * 300 + 50 * 3_750 + 10 * 15_000);
        assert_eq!(price.cost(&Usage::default()), 0);
    }

    #[test]
    fn nonsense_of_a_provider_costs_no_more_than_can_be_counted() {
        check("openai", "gpt-4o", [u64::MAX, u64::MAX, 0, 0], u64::MAX);
        // More from the cache than was sent.
        check("openai", "gpt-4o", [10, 0, 20, 0], 20 * 1_250);
    }

    #[test]
    fn a_snapshot_costs_what_its_model_costs() {
        let listed = price("openai", "gpt-4o-mini");
        assert!(listed.is_some());
        assert_eq!(price("openai", "gpt-4o-mini-2024-07-18"), listed);
        assert_eq!(price("openai", "gpt-4o-mini-audio"), None);
        for (name, expected) in [
            ("a-2024-07-18", "a"),
            ("a-20240718", "a"),
            ("a-latest", "a"),
            ("a-4-5", "a-4-5"),
            ("20240718", "20240718"),
        ] {
            assert_eq!(undated(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in ["input = -1\noutput = 1", "input = 1", "input = nan\noutput = 1", "input = 1e9\noutput = 1"] {
            toml::from_str::<Price>(text).expect_err(text);
        }
        let read: Price = toml::from_str("input = 3\noutput = 0.1\ncached = 0.075").expect("a price");
        assert_eq!((read.input, read.output, read.cached), (3_000_000_000, 100_000_000, Some(75_000_000)));
    }
}
