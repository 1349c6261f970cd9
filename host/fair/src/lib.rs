//! Who is next, where work of several tenants waits for the same thing. It must never know what the work is, and never
//! hold anybody up who is alone.
//!
//! [`Turns`] decides; everything else asks it:
//!
//! - [`Queue`]: what is waiting to be done, one after the other
//! - [`Gate`]: places that are held for a while
//! - [`Processors`]: threads that compute, a moment each

mod gate;
mod processors;
mod queue;
mod turns;
mod weights;

pub use gate::{Cap, Gate, Permit, Portion, Waiting};
pub use processors::{AtOnce, Fair, Processors, at_once};
pub use queue::Queue;
pub use turns::Turns;
pub use weights::{WEIGHT_DEFAULT, WEIGHT_MAX, WEIGHT_MIN, Weight, Weights};

use std::sync::Arc;

/// What all queues of a host go by.
#[derive(Clone)]
pub struct Shares {
    pub weights: Weights,
    pub processors: Arc<Processors>,
}

impl Shares {
    /// `threads`: of the runtime that serves everything.
    pub fn new(threads: usize, weights: Weights) -> Shares {
        Shares { processors: Processors::new(threads, weights.clone()), weights }
    }
}
