//! The project's own tasks. It must build within seconds, so it never links the engine.

fn main() {}
