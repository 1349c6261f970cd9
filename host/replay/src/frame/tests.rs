//! What a frame on disk promises.
