//! Names in `export!` that are not exported by an attribute.

use trackway_sdk::prelude::*;

fn plain() {}

struct Shape;

export!(plain);
export!(Shape);

fn main() {}
