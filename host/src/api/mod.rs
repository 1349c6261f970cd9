//! HTTP/JSON under `/v1`. It translates between the wire and the host; it never decides anything
//! about runs and never touches storage, sandbox or worker by itself.

pub mod model;
mod time;

pub use time::{BadTime, Time};
