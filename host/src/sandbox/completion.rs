//! The record `completion` of the contract, as the engine writes it into a guest's memory. Apart
//! from the rest because the engine's derive writes `unsafe impl`.
#![allow(unsafe_code, reason = "derived: the engine checks the layout against the component's own type")]

use std::sync::Arc;
use wasmtime::component::{ComponentType, Lower};

#[derive(ComponentType, Lower)]
#[component(record)]
pub struct Completion {
    pub kind: &'static str,
    pub id: u32,
    pub body: Arc<str>,
}
