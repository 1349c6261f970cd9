//! Names of things. Each is a newtype, so that one cannot be passed for another.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use crate::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct BadId {
    pub text: String,
    pub what: &'static str,
}

#[cfg(test)]
mod tests;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Whose code and data something is. Part of every storage key.
    TenantId(u32)
);
number!(
    /// Place of an entry in its run, from 0, without gaps.
    Position(u64)
);
number!(
    /// Ownership number of a run: it never goes back, and one epoch has one owner.
    Epoch(u64)
);
number!(
    /// Number of a step in its run, from 1.
    StepId(u32)
);
number!(
    /// Number of an effect in its attempt, from 1.
    EffectId(u32)
);
number!(
    /// Name of one append. Drawn anew for each frame, kept when the same append is tried again.
    FrameId(u128)
);
number!(
    /// Name of one inbox item: whoever sends the same item twice uses the same one.
    MessageId(u128)
);

impl TenantId {
    pub const DEFAULT: TenantId = TenantId(1);
}

impl Position {
    pub const FIRST: Position = Position(0);

    pub fn plus(self, entries: u64) -> Position {
        Position(self.0.saturating_add(entries))
    }
}

/// One execution of a workflow. 48 bits of milliseconds, then 80 random bits, so that runs sort by
/// their start; written as 26 lower-case characters of Crockford's base 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u128);

const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const RUN_ID_CHARS: usize = 26;

impl RunId {
    pub fn new(now: Timestamp, random: u128) -> RunId {
        let millis = u128::from(now.millis()) & ((1 << 48) - 1);
        RunId((millis << 80) | (random >> 48))
    }

    /// The least and the greatest id whose text starts with `prefix`.
    pub fn range_of_prefix(prefix: &str) -> Result<(RunId, RunId), BadId> {
        let bad = || BadId { text: prefix.to_owned(), what: "the beginning of a run id" };
        if prefix.is_empty() || prefix.len() > RUN_ID_CHARS || !prefix.is_ascii() {
            return Err(bad());
        }
        let low = format!("{prefix:0<26}").parse().map_err(|_| bad())?;
        // 26 characters hold 130 bits, so the first one is at most `7`.
        let high = format!("{prefix:z<26}").parse().map_err(|_| bad())?;
        Ok((low, high))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; RUN_ID_CHARS];
        for (place, byte) in text.iter_mut().rev().enumerate() {
            *byte = BASE32[((self.0 >> (5 * place)) & 31) as usize];
        }
        f.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<RunId, BadId> {
        let bad = || BadId { text: text.to_owned(), what: "a run id" };
        if text.len() != RUN_ID_CHARS || text.as_bytes()[0] > b'7' {
            return Err(bad());
        }
        let mut number = 0_u128;
        for byte in text.bytes() {
            let digit = BASE32.iter().position(|known| *known == byte.to_ascii_lowercase()).ok_or_else(bad)?;
            number = (number << 5) | digit as u128;
        }
        Ok(RunId(number))
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<RunId, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            u128::deserialize(deserializer).map(RunId)
        }
    }
}

/// What people call a question of a run: `3` is that of step 3, `3.2` the one that its attempt asks as effect 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionName {
    pub step: StepId,
    pub effect: Option<EffectId>,
}

impl fmt::Display for QuestionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.effect {
            Some(effect) => write!(f, "{}.{effect}", self.step),
            None => write!(f, "{}", self.step),
        }
    }
}

impl FromStr for QuestionName {
    type Err = BadId;

    fn from_str(text: &str) -> Result<QuestionName, BadId> {
        // `parse` would also take a sign.
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        let name = match text.split_once('.') {
            Some((step, effect)) => {
                number(step).zip(number(effect)).map(|(step, effect)| (step, Some(EffectId(effect))))
            }
            None => number(text).map(|step| (step, None)),
        };
        let (step, effect) = name.ok_or_else(|| BadId { text: text.to_owned(), what: "a question, as 3 or 3.2" })?;
        Ok(QuestionName { step: StepId(step), effect })
    }
}

/// A question of a run. One that an attempt asks anew is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId {
    pub name: QuestionName,
    /// 0 for the workflow's own.
    pub attempt: u32,
}

impl QuestionId {
    pub fn of_step(step: StepId) -> QuestionId {
        QuestionId { name: QuestionName { step, effect: None }, attempt: 0 }
    }

    pub fn of_effect(step: StepId, attempt: u32, effect: EffectId) -> QuestionId {
        QuestionId { name: QuestionName { step, effect: Some(effect) }, attempt }
    }
}

/// A sha256, written as 64 hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Digest {
        use sha2::Digest as _;
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// The digest of several parts, each preceded by its length, so that no two lists of parts
    /// share one by moving a boundary.
    pub fn of_parts(parts: &[&[u8]]) -> Digest {
        use sha2::Digest as _;
        let mut hasher = sha2::Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Digest(hasher.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(64).div_ceil(2).min(32);
        self.0[..digits].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:.12}")
    }
}

impl FromStr for Digest {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Digest, BadId> {
        let bad = || BadId { text: text.to_owned(), what: "a digest" };
        // `from_str_radix` would also take a sign.
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).map_err(|_| bad())?;
        }
        Ok(Digest(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Digest)
        }
    }
}
