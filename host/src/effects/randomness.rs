//! The system's generator of random bytes. It keeps no state and is never seeded.

use super::Randomness;
use crate::{Code, Error, Result};

#[derive(Debug)]
pub struct SystemRandomness(());

impl SystemRandomness {
    /// Fails where the operating system gives no random bytes, so that nothing starts there.
    pub fn new() -> Result<SystemRandomness> {
        let mut probe = [0; 16];
        getrandom::fill(&mut probe)
            .map_err(|error| Error::new(Code::Internal, format!("the system gives no random bytes: {error}")))?;
        Ok(SystemRandomness(()))
    }
}

impl Randomness for SystemRandomness {
    fn fill(&self, into: &mut [u8]) {
        getrandom::fill(into).expect("the system's generator does not fail once it has answered, which `new` saw");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fills_differ() {
        let randomness = SystemRandomness::new().expect("a system with randomness");
        let (mut one, mut other) = ([0; 32], [0; 32]);
        randomness.fill(&mut one);
        randomness.fill(&mut other);
        assert_ne!(one, other);
        assert_ne!(one, [0; 32]);
    }
}
