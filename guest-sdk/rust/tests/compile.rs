//! What the compiler says to an author who got something wrong: it points at their code and says what
//! to do. The texts are those of Rust 1.95; `TRYBUILD=overwrite` writes them anew.

#[test]
fn mistakes_are_told_where_they_are_made() {
    trybuild::TestCases::new().compile_fail("tests/compile/*.rs");
}
