//! What is fed: one reader of input that strangers, guests or disks may give. A target knows what its
//! inputs look like; it never decides how many there are.

use std::time::Duration;

use super::{backup, component, config, journal, manifest, request, words};
use crate::simulate::dice::Dice;

/// Reads inputs. Whatever the input, an answer is due: a panic is a bug.
pub trait Target {
    /// Inputs to begin with, beside those that are kept in its folder.
    fn seeds(&mut self) -> Vec<Vec<u8>>;

    /// Changes an input into another; `other` is one to take pieces from.
    fn mutate(&mut self, dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]);

    /// What became of the input, in words. Inputs that end in words not seen before are built upon.
    fn feed(&mut self, input: &[u8]) -> String;

    /// An answer that no input at the beginning gets, and some later one does. Planted bugs sit here.
    fn rare(&self) -> &'static str;
}

/// A target that runs in a process of its own, and what that may take.
pub struct Kind {
    pub name: &'static str,
    pub make: fn() -> Box<dyn Target>,
    /// Inputs of the short form.
    pub rounds_short: u64,
    /// One in so many rounds is asked of it: it takes as much longer than others.
    pub weight: u64,
    pub memory_bytes_max: u64,
    /// For one input; what takes longer hangs.
    pub input_time_max: Duration,
}

/// Far more than any small input is worth, far less than a lie about a size takes.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// An engine with its places for instances, and code for many components.
const ENGINE_BYTES_MAX: u64 = 6 << 30;

/// They take microseconds; the rest is for machines that have other things to do.
const INPUT_TIME_MAX: Duration = Duration::from_secs(30);
/// A compiler has limits of its own, which have to end it before.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(240);

const fn light(name: &'static str, make: fn() -> Box<dyn Target>) -> Kind {
    Kind {
        name,
        make,
        rounds_short: 3_000,
        weight: 1,
        memory_bytes_max: MEMORY_BYTES_MAX,
        input_time_max: INPUT_TIME_MAX,
    }
}

pub const KINDS: [Kind; 10] = [
    light("journal", || Box::new(journal::Journal)),
    light("manifest", || Box::new(manifest::Manifests)),
    light("request", || Box::new(request::Requests)),
    light("schema", || Box::new(request::Schemas::new())),
    Kind { rounds_short: 1_000, ..light("grants", || Box::new(words::Patterns)) },
    light("ids", || Box::new(words::Ids)),
    Kind { rounds_short: 1_000, ..light("config", || Box::new(config::Configs::new())) },
    Kind { rounds_short: 1_000, ..light("backup", || Box::new(backup::Backups::new())) },
    Kind { rounds_short: 25, weight: 2_000, ..light("restore", || Box::new(backup::Restores::new())) },
    Kind {
        rounds_short: 60,
        weight: 500,
        memory_bytes_max: ENGINE_BYTES_MAX,
        input_time_max: COMPILE_TIME_MAX,
        ..light("component", || Box::new(component::Components::new()))
    },
];

pub fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).unwrap_or_else(|| panic!("there is no target `{name}`"))
}

/// The plain words of a message, without what differs from input to input: were every message new,
/// nothing would be built upon that leads anywhere.
pub fn gist(message: &str) -> String {
    const WORDS_MAX: usize = 18;
    let is_plain = |word: &str| {
        let word = word.trim_end_matches([',', ':', ';', '.']);
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    // What stands in quotes was given.
    let ours = message.split('`').step_by(2).flat_map(str::split_whitespace);
    ours.filter(|word| is_plain(word)).take(WORDS_MAX).collect::<Vec<_>>().join(" ")
}
