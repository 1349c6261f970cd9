//! What a failure promises.
