//! What replay promises of whole runs, held by toy programs in a random world.

mod crash;
mod diverge;
mod fixtures;
mod forged;
mod toy;
mod world;
