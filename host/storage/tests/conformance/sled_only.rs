//! Promises that need a real disk.
