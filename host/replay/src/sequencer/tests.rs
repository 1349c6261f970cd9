//! What the sequencer promises.
