//! The worker drives runs to their end, with simulated storage and virtual time.

mod cancel;
mod children;
mod continued;
mod control;
mod crash;
mod deadline;
mod ends;
mod entities;
mod limits;
mod logs;
mod mending;
mod moves;
mod orders;
mod places;
mod progress;
mod promises;
mod questions;
mod room;
mod signals;
mod states;
mod steps;
mod terminate;
mod time;
mod times;
mod trouble;
mod unclear;
