//! Simulated faults.
