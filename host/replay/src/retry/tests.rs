//! When a failed step is tried again.
