//! HTTP/JSON under `/v1`. It translates between the wire and the host; it never decides anything
//! about runs and never touches storage, sandbox or worker by itself.
//!
//! [`serve`] takes connections, [`door`] says who somebody is, [`gate`] whether they may ask, [`routes`] lists every
//! path. One file for each thing that is asked for; [`model`] is what goes over the wire.

mod server;

mod document;
mod door;
mod gate;
mod jwt;
pub mod keys;
mod routes;
mod scopes;
mod tries;

mod children;
mod components;
mod control;
mod deployments;
mod entities;
mod events;
mod health;
mod identity;
mod journal;
mod policy;
mod promises;
mod questions;
mod quotas;
mod redaction;
mod replay;
mod runs;
mod secrets;
mod signals;
mod states;
mod store;
mod stream;
mod tenants;
mod updates;
mod usage;

mod body;
mod found;
mod intake;
mod mask;
pub mod model;
mod problem;
mod time;
mod tls;
pub(crate) mod view;

pub use door::{Caller, Door, TENANT_HEADER, Who};
pub use jwt::{JwtSetting, Tokens};
pub use keys::Keys;
pub use mask::Mask;
pub use problem::status_of;
pub use routes::openapi;
pub use scopes::{Needs, ROUTES, Route};
pub use server::{bind, serve};
pub use time::{BadTime, Time};
pub use tls::Tls;

#[cfg(test)]
mod tests;
