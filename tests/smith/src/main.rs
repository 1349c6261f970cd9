//! Writes modules and components that are valid and that no compiler would make, one file each, for
//! `cargo xtask prove fuzz` to upload. It must never be needed for a build or for the short tests.

use arbitrary::Unstructured;
use std::path::Path;
use wasm_smith::{Component, Config, Module};

/// What one file is made of; more makes larger ones.
const DICE_BYTES: u64 = 2 << 10;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, seed, count] = arguments.as_slice() else {
        eprintln!("trackway-smith FOLDER SEED COUNT");
        std::process::exit(2);
    };
    let number = |text: &str| text.parse::<u64>().map_err(std::io::Error::other);
    std::fs::create_dir_all(folder)?;
    for place in 0..number(count)? {
        let seed = number(seed)?.wrapping_add(place);
        // Half of them components, in turns.
        if let Some(bytes) = made(seed) {
            std::fs::write(Path::new(folder).join(format!("{seed:016x}.wasm")), bytes)?;
        }
    }
    Ok(())
}

fn made(seed: u64) -> Option<Vec<u8>> {
    let mut state = seed;
    let dice: Vec<u8> = (0..DICE_BYTES).map(|_| next(&mut state)).collect();
    let mut dice = Unstructured::new(&dice);
    let mut config = Config::default();
    config.exceptions_enabled = false;
    config.gc_enabled = false;
    config.memory64_enabled = false;
    config.relaxed_simd_enabled = false;
    config.threads_enabled = false;
    if seed.is_multiple_of(2) {
        Component::new(config, &mut dice).ok().map(|component| component.to_bytes())
    } else {
        Module::new(config, &mut dice).ok().map(|module| module.to_bytes())
    }
}

/// A splitmix64.
fn next(state: &mut u64) -> u8 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as u8
}
