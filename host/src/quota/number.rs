//! Limits as people write and read them: `100`, `10k`, `4GiB`, `2.5usd`, `unlimited`. Pure.

use super::Unit;

/// No limit at all.
pub const UNLIMITED: u64 = u64::MAX;
const UNLIMITED_WORD: &str = "unlimited";
const NANO_PER_USD: u64 = 1_000_000_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number: write 100, 10k, 5M, 2G, 512KiB, 64MiB, 4GiB, 1TiB, 2.50usd or unlimited")]
pub struct ParseNumberError(String);

/// Longer ones first: one may end as another does.
const SUFFIXES: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

pub fn number(unit: Unit, text: &str) -> Result<u64, ParseNumberError> {
    let bad = || ParseNumberError(text.chars().take(40).collect());
    if text == UNLIMITED_WORD {
        return Ok(UNLIMITED);
    }
    if unit == Unit::NanoUsd
        && let Some(dollars) = text.strip_suffix("usd")
    {
        return nano(dollars).ok_or_else(bad);
    }
    let (digits, times) =
        SUFFIXES.iter().find_map(|(suffix, times)| Some((text.strip_suffix(suffix)?, *times))).unwrap_or((text, 1));
    whole(&digits.replace('_', "")).and_then(|number| number.checked_mul(times)).ok_or_else(bad)
}

/// `2.5` dollars.
fn nano(dollars: &str) -> Option<u64> {
    let (dollars, rest) = dollars.split_once('.').unwrap_or((dollars, "0"));
    let places = u32::try_from(rest.len()).ok().filter(|places| *places <= 9)?;
    let rest = whole(rest)?.checked_mul(10_u64.pow(9 - places))?;
    whole(dollars)?.checked_mul(NANO_PER_USD)?.checked_add(rest)
}

fn whole(digits: &str) -> Option<u64> {
    // A sign is no digit.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// For people: exact, and as short as that allows.
pub fn shown(unit: Unit, number: u64) -> String {
    if number == UNLIMITED {
        return UNLIMITED_WORD.to_owned();
    }
    match unit {
        Unit::NanoUsd => {
            let (dollars, rest) = (number / NANO_PER_USD, number % NANO_PER_USD);
            let rest = format!("{rest:09}");
            let rest = rest.trim_end_matches('0');
            format!("{dollars}.{rest:0<2}usd")
        }
        Unit::Bytes => with_suffix(number, &SUFFIXES[..4]),
        Unit::Fuel | Unit::Count => with_suffix(number, &SUFFIXES[4..]),
    }
}

fn with_suffix(number: u64, suffixes: &[(&str, u64)]) -> String {
    let fits = |(_, times): &&(&str, u64)| number >= *times && number.is_multiple_of(*times);
    match suffixes.iter().rev().find(fits) {
        Some((suffix, times)) => format!("{}{suffix}", number / times),
        None => number.to_string(),
    }
}
