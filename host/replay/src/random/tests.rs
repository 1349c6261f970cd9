//! What randomness promises: the same numbers for ever.
