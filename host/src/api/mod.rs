//! HTTP/JSON under `/v1`. It translates between the wire and the host; it never decides anything
//! about runs and never touches storage, sandbox or worker by itself.
//!
//! [`serve`] takes connections, [`keys`] says who may ask, [`routes`] lists every path. One file
//! for each thing that is asked for; [`model`] is what goes over the wire.

mod server;

pub mod keys;
mod routes;

mod children;
mod components;
mod control;
mod deployments;
mod entities;
mod events;
mod health;
mod journal;
mod promises;
mod questions;
mod replay;
mod runs;
mod signals;
mod states;
mod store;
mod stream;
mod updates;

mod body;
mod found;
mod mask;
pub mod model;
mod problem;
mod time;
pub(crate) mod view;

pub use keys::Keys;
pub use mask::Mask;
pub use problem::status_of;
pub use routes::openapi;
pub use server::{Door, bind, serve};
pub use time::{BadTime, Time};

#[cfg(test)]
mod tests;
