//! A component without anything in it.

use trackway_sdk::prelude::*;

export!();

fn main() {}
