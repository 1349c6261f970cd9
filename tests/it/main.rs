//! The promises that no single crate can keep alone, one module each: against the real binary, or
//! about the tree itself. Unit tests stay beside their code.

mod apart;
mod api;
mod check;
mod compile;
mod confine;
mod damage;
mod drive;
mod examples;
mod fuzz;
mod hostile;
mod house;
mod kill;
mod languages;
mod left;
mod limits;
mod models;
mod power;
mod proof;
mod rig;
mod sandbox;
mod server;
mod simulate;
mod soak;
mod typed;
mod world;
