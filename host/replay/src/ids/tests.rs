//! What names promise.
