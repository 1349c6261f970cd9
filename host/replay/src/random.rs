//! Randomness that replays: ChaCha20 from a seed on record.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::VecDeque;

use crate::{Cut, Digest, StepId};

#[cfg(test)]
mod tests;

#[derive(Debug, Clone)]
pub struct Random(ChaCha20Rng);

/// What a workflow draws from: one stream, and from each cut of a fork on another one. Which one
/// depends on what the guest has done alone.
#[derive(Debug, Clone)]
pub struct RunRandom {
    now: Random,
    cuts: VecDeque<Cut>,
}

impl RunRandom {
    pub fn new(seed: [u8; 32], cuts: &[Cut]) -> RunRandom {
        RunRandom { now: Random::of_run(seed), cuts: cuts.iter().copied().collect() }
    }

    /// For a guest that has given so many commands.
    pub fn fill(&mut self, commands: u64, into: &mut [u8]) {
        while let Some(cut) = self.cuts.pop_front_if(|cut| cut.commands <= commands) {
            self.now = Random::of_run(cut.seed);
        }
        self.now.fill(into);
    }
}

impl Random {
    /// What a workflow draws from.
    pub fn of_run(seed: [u8; 32]) -> Random {
        Random(ChaCha20Rng::from_seed(seed))
    }

    /// What one attempt of a function draws from: another stream for each attempt.
    pub fn of_attempt(seed: [u8; 32], step: StepId, attempt: u32) -> Random {
        Random::derived(b"attempt", seed, step, attempt)
    }

    /// What the host draws the jitter from that follows an attempt.
    pub fn of_jitter(seed: [u8; 32], step: StepId, attempt: u32) -> Random {
        Random::derived(b"jitter", seed, step, attempt)
    }

    pub fn fill(&mut self, into: &mut [u8]) {
        self.0.fill_bytes(into);
    }

    /// A number in `[0, 1)`.
    pub fn fraction(&mut self) -> f64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        // 53 bits are what an f64 holds exactly.
        (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn derived(purpose: &[u8], seed: [u8; 32], step: StepId, attempt: u32) -> Random {
        let digest = Digest::of_parts(&[purpose, &seed, &step.0.to_le_bytes(), &attempt.to_le_bytes()]);
        Random(ChaCha20Rng::from_seed(digest.0))
    }
}

/// The key under which an effect is sent, so that the other side can tell a repetition from a new
/// request: the same after a crash and in a later attempt, another in a fork.
pub fn idempotency_key(key_seed: [u8; 32], step: StepId, request: Digest, nth: u32) -> String {
    let digest = Digest::of_parts(&[b"key", &key_seed, &step.0.to_le_bytes(), &request.0, &nth.to_le_bytes()]);
    format!("{digest:.32}")
}
