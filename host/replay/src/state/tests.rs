//! What a folded journal promises.
