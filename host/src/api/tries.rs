//! Failed attempts to get in, counted by address: whoever guesses is told to wait, and whoever runs the server is told
//! of it. It never holds up who shows a key that is known, and its memory has an end.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use trackway_replay::Timestamp;

use crate::quota::{Allowance, Rate};
use crate::{Code, Error};

/// Refused without a wait: a pipeline with an old key, tried by several jobs. Then one more is let through each time.
const TRIES_MAX: Rate = Rate { in_a_row: 100, every: Duration::from_secs(10) };
/// Addresses that are told apart. All others share one count.
const ADDRESSES_MAX: usize = 10_000;
/// Whoever has one IPv6 address has all of its network.
const IPV6_NETWORK_BITS: u32 = 64;

#[derive(Debug, Default)]
pub struct Tries(Mutex<HashMap<IpAddr, Count>>);

/// Of one address.
#[derive(Debug)]
struct Count {
    allowance: Allowance,
    /// The log has a line about it. It gets another one when the address has been quiet until nothing was held against it.
    is_told: bool,
}

/// What one more failed attempt comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    LetThrough,
    Waits {
        wait: Duration,
        /// Nobody was told yet that this address guesses.
        news: Option<IpAddr>,
    },
}

impl Tries {
    /// What is said to whoever showed `error`: that, or to wait.
    pub fn refuse(&self, from: Option<IpAddr>, now: Timestamp, error: Error) -> Error {
        let (wait, news) = match self.count(from, now) {
            Verdict::LetThrough => return error,
            Verdict::Waits { wait, news } => (wait, news),
        };
        if let Some(address) = news {
            let address = match address.is_unspecified() {
                true => "many, or unknown".to_owned(),
                false => address.to_string(),
            };
            tracing::warn!(address, "too many requests showed no key that is known: they are told to wait");
        }
        let why = "too many requests from this address showed no key that is known";
        Error::new(Code::TooManyTries, why).hint("wait, and check the key").retry_after(wait)
    }

    fn count(&self, from: Option<IpAddr>, now: Timestamp) -> Verdict {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut address = network_of(from);
        if !tries.contains_key(&address) && tries.len() >= ADDRESSES_MAX {
            tries.retain(|_, count| !count.allowance.is_whole(now));
            if tries.len() >= ADDRESSES_MAX {
                address = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            }
        }
        let new = || Count { allowance: Allowance::new(TRIES_MAX, now), is_told: false };
        let count = tries.entry(address).or_insert_with(new);
        if count.allowance.is_whole(now) {
            count.is_told = false;
        }
        match count.allowance.take(now) {
            Ok(()) => Verdict::LetThrough,
            Err(wait) => {
                let was_told = std::mem::replace(&mut count.is_told, true);
                Verdict::Waits { wait, news: (!was_told).then_some(address) }
            }
        }
    }
}

fn network_of(from: Option<IpAddr>) -> IpAddr {
    match from {
        Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> (128 - IPV6_NETWORK_BITS) << IPV6_NETWORK_BITS))
            }
        },
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn tried(tries: &Tries, from: Option<IpAddr>, now: Timestamp) -> Code {
        tries.refuse(from, now, Error::new(Code::Unauthorized, "no")).code
    }

    #[test]
    fn whoever_guesses_waits_and_others_do_not() {
        let (tries, now) = (Tries::default(), Timestamp::from_millis(1_000_000));
        for _ in 0..TRIES_MAX.in_a_row {
            assert_eq!(tried(&tries, address("192.0.2.1"), now), Code::Unauthorized);
        }
        assert_eq!(tried(&tries, address("192.0.2.1"), now), Code::TooManyTries);
        assert_eq!(tried(&tries, address("::ffff:192.0.2.1"), now), Code::TooManyTries, "the same one");
        assert_eq!(tried(&tries, address("192.0.2.2"), now), Code::Unauthorized);
        let later = now + TRIES_MAX.every;
        assert_eq!(tried(&tries, address("192.0.2.1"), later), Code::Unauthorized);
        assert_eq!(tried(&tries, address("192.0.2.1"), later), Code::TooManyTries);
    }

    #[test]
    fn whoever_runs_the_server_is_told_once_of_an_address_until_it_was_quiet() {
        let (tries, now) = (Tries::default(), Timestamp::from_millis(1_000_000));
        let told = |text: &str, count: u32, now: Timestamp| -> Vec<IpAddr> {
            let verdicts = (0..count).map(|_| tries.count(address(text), now));
            let news = verdicts.filter_map(|verdict| match verdict {
                Verdict::LetThrough => None,
                Verdict::Waits { news, .. } => news,
            });
            news.collect()
        };
        assert_eq!(told("192.0.2.1", TRIES_MAX.in_a_row, now), [] as [IpAddr; 0], "nothing is wrong yet");
        assert_eq!(told("192.0.2.1", 1_000, now), [address("192.0.2.1").expect("one")]);
        for number in 1..=TRIES_MAX.in_a_row {
            let later = now + TRIES_MAX.every * number;
            assert_eq!(told("192.0.2.1", 10, later), [] as [IpAddr; 0], "it goes on");
        }
        let quiet = now + TRIES_MAX.every * (2 * TRIES_MAX.in_a_row);
        assert_eq!(told("192.0.2.1", 1_000, quiet).len(), 1, "it began anew");
        assert_eq!(told("2001:db8::1", 1_000, now), [address("2001:db8::").expect("its network")]);
    }

    #[test]
    fn one_network_of_ipv6_is_one_address() {
        let (tries, now) = (Tries::default(), Timestamp::from_millis(1_000_000));
        for number in 0..TRIES_MAX.in_a_row {
            assert_eq!(tried(&tries, address(&format!("2001:db8::{number:x}")), now), Code::Unauthorized);
        }
        assert_eq!(tried(&tries, address("2001:db8::ffff"), now), Code::TooManyTries);
        assert_eq!(tried(&tries, address("2001:db8:0:1::1"), now), Code::Unauthorized);
    }

    #[test]
    fn many_addresses_take_no_more_memory_and_share_what_is_left() {
        let (tries, now) = (Tries::default(), Timestamp::from_millis(1_000_000));
        let count = ADDRESSES_MAX + 2 * TRIES_MAX.in_a_row as usize;
        let codes: Vec<Code> = (0..count)
            .map(|number| tried(&tries, Some(IpAddr::from(std::net::Ipv4Addr::from_bits(number as u32))), now))
            .collect();
        assert!(tries.0.lock().expect("nobody panicked").len() <= ADDRESSES_MAX + 1);
        assert_eq!(codes.last(), Some(&Code::TooManyTries));
        let much_later = now + TRIES_MAX.every * TRIES_MAX.in_a_row;
        assert_eq!(tried(&tries, address("198.51.100.1"), much_later), Code::Unauthorized);
        assert_eq!(tries.0.lock().expect("nobody panicked").len(), 1, "who has waited is forgotten");
    }
}
