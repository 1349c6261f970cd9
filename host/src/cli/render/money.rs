//! Tokens and money for people.

use trackway_replay::{Spending, Usage};

/// Dollars, with as many places as a single call needs: `$0.000123`.
pub fn usd(nanousd: u64) -> String {
    let (dollars, nanos) = (nanousd / 1_000_000_000, nanousd % 1_000_000_000);
    let places = format!("{nanos:09}");
    let least = places.trim_end_matches('0').len().max(2);
    format!("${dollars}.{}", &places[..least.min(places.len())])
}

/// Reads dollars, as `0.05` or `$0.05`, to whole nanodollars.
pub fn parse_usd(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix('$').unwrap_or(text);
    let (dollars, places) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let nanos = (digits(dollars) && digits(places) && places.len() <= 9).then(|| format!("{dollars}{places:0<9}"));
    nanos
        .and_then(|nanos| nanos.parse().ok())
        .ok_or_else(|| format!("`{text}` is no amount of dollars; write 0.05, with nine places at most"))
}

/// `1,200 in, 80 out`: what was sent and what came of it.
pub fn tokens(usage: &Usage) -> String {
    let mut text = format!("{} in", grouped(usage.input_tokens));
    if usage.cached_tokens > 0 {
        text.push_str(&format!(" ({} cached)", grouped(usage.cached_tokens)));
    }
    text.push_str(&format!(", {} out", grouped(usage.output_tokens)));
    text
}

/// What a run spent on models, or nothing if it asked none.
pub fn spending(spending: &Spending) -> Option<String> {
    if spending.is_nothing() {
        return None;
    }
    let calls = if spending.calls == 1 { "1 model call".to_owned() } else { format!("{} model calls", spending.calls) };
    let mut text = format!("{calls}; tokens {}", tokens(&spending.usage));
    if spending.unpriced_calls < spending.calls {
        text.push_str(&format!("; {}", usd(spending.cost_nanousd)));
    }
    if spending.unpriced_calls > 0 {
        text.push_str(&format!("; {} of unknown price", spending.unpriced_calls));
    }
    Some(text)
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_to_the_last_place_that_counts() {
        for (nanousd, expected) in [
            (0, "$0.00"),
            (150, "$0.00000015"),
            (230_000_000, "$0.23"),
            (1_500_000_000, "$1.50"),
            (12_345_678_901, "$12.345678901"),
        ] {
            assert_eq!(usd(nanousd), expected);
        }
    }

    #[test]
    fn dollars_are_read_to_the_last_nanodollar() {
        for (text, expected) in
            [("0.05", 50_000_000), ("$1.5", 1_500_000_000), ("2", 2_000_000_000), ("0.000000001", 1)]
        {
            assert_eq!(parse_usd(text), Ok(expected), "{text}");
        }
        for text in ["", "$", ".5", "1.", "-1", "+1", "1e3", "0.0000000001", "18446744074", "1,000"] {
            assert!(parse_usd(text).is_err_and(|why| why.contains("write 0.05")), "{text}");
        }
    }

    #[test]
    fn tokens_and_sums_are_told_in_few_words() {
        let usage = Usage { input_tokens: 1_234_567, output_tokens: 80, cached_tokens: 1_024, cache_write_tokens: 0 };
        let sum = Spending { calls: 3, unpriced_calls: 1, usage, cost_nanousd: 2_500_000 };
        let told = spending(&sum).expect("there was some");
        assert_eq!(told, "3 model calls; tokens 1,234,567 in (1,024 cached), 80 out; $0.0025; 1 of unknown price");
        assert_eq!(spending(&Spending::default()), None);
    }
}
