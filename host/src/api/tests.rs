//! The API over a real socket, with a real host behind it.

mod deployments;
mod events;
mod refusals;
mod runs;
mod support;
mod uploads;

#[test]
fn the_checked_in_openapi_document_is_the_one_of_this_code_or_is_blessed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let document = super::openapi();
    if std::env::var_os("TRACKWAY_BLESS").is_some() {
        std::fs::write(path, &document).expect("the document can be written");
    }
    let checked_in = std::fs::read_to_string(path).expect("docs/openapi.json is checked in");
    assert!(document == checked_in, "docs/openapi.json is out of date: `cargo xtask bless` writes it anew");
}
