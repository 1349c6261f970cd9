//! The clock, the randomness and the log that workflows and functions have in common. All of it is the same on
//! every replay.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use crate::log::Log;
use crate::runtime::Runtime;
use crate::{Ctx, FnCtx};

/// No call of the contract's `random` may ask for more.
const RANDOM_MAX_BYTES: usize = 65_536;

macro_rules! clock_and_chance {
    ($($name:ident)*) => {$(
        impl $name {
            /// The time of the last answer that was delivered. It stands still in between, and is the
            /// same on every replay.
            pub fn now(&self) -> SystemTime {
                SystemTime::UNIX_EPOCH + Duration::from_millis(Runtime::current().port().now())
            }

            /// A random number, the same on every replay.
            pub fn random(&self) -> u64 {
                let mut bytes = [0; 8];
                self.fill_random(&mut bytes);
                u64::from_le_bytes(bytes)
            }

            /// A random number of `range`, each as likely as the others; its start if it is empty.
            pub fn random_range(&self, range: Range<u64>) -> u64 {
                let Some(width) = range.end.checked_sub(range.start).filter(|width| *width > 0) else {
                    return range.start;
                };
                // Numbers past the last whole multiple of the width would favour the first ones.
                let limit = u64::MAX - u64::MAX % width;
                loop {
                    let number = self.random();
                    if number < limit {
                        return range.start + number % width;
                    }
                }
            }

            /// Fills `bytes` with random ones, the same on every replay.
            pub fn fill_random(&self, bytes: &mut [u8]) {
                let runtime = Runtime::current();
                for part in bytes.chunks_mut(RANDOM_MAX_BYTES) {
                    part.copy_from_slice(&runtime.port().random(part.len() as u32));
                }
            }

            /// The run's log. A line is written once, however often the run is replayed.
            ///
            /// ```
            /// # use trackway_sdk::prelude::*;
            /// # async fn example(ctx: Ctx) {
            /// ctx.log().field("pages", 3).info("fetched");
            /// # }
            /// ```
            pub fn log(&self) -> Log {
                Log::default()
            }
        }
    )*};
}

clock_and_chance!(Ctx FnCtx);
