//! The API over a real socket, with a real host behind it.

mod control;
mod deadlines;
mod deployments;
mod entities;
mod events;
mod isolation;
mod memory;
mod policy;
mod promises;
mod reads;
mod redaction;
mod refusals;
mod refused;
mod removal;
mod runs;
mod secrets;
mod signals;
mod stream;
mod support;
mod undeploy;
mod uploads;

#[test]
fn the_openapi_document_is_as_checked_in() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let document = super::openapi();
    if std::env::var_os("TRACKWAY_BLESS").is_some() {
        std::fs::write(path, &document).expect("the document can be written");
    }
    let checked_in = std::fs::read_to_string(path).expect("docs/openapi.json is checked in");
    assert!(document == checked_in, "docs/openapi.json is out of date: `cargo xtask bless` writes it anew");
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let document: serde_json::Value = serde_json::from_str(&super::openapi()).expect("the document is JSON");
    let paths = document["paths"].as_object().expect("paths").values();
    let operations = paths.flat_map(|methods| methods.as_object().expect("methods").values());
    let mut names: Vec<_> = operations.map(|operation| operation["operationId"].to_string()).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), count), (76, 76), "{names:?}");
}
