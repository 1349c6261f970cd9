use super::*;
use serde_json::json;

fn parts(schema: &Value) -> Option<u64> {
    Shape::of(schema).map(|shape| shape.parts)
}

#[test]
fn each_part_counts_as_often_as_references_lead_to_it() {
    assert_eq!(parts(&json!({})), Some(1));
    assert_eq!(parts(&json!({ "type": "string" })), Some(2));
    let twice = json!({ "prefixItems": [{ "$ref": "#/$defs/s" }, { "$ref": "#/$defs/s" }], "$defs": { "s": { "type": "string" } } });
    // The whole, the list, both items and what they refer to, the definitions.
    assert_eq!(parts(&twice), Some(1 + 1 + 2 * (1 + 2) + (1 + 2)));
}

#[test]
fn doubling_again_and_again_is_seen_without_doing_it() {
    let mut defs = serde_json::Map::new();
    for nth in 0..60 {
        let next = format!("#/$defs/d{}", nth + 1);
        defs.insert(format!("d{nth}"), json!({ "allOf": [{ "$ref": next }, { "$ref": next }] }));
    }
    defs.insert("d60".to_owned(), json!({}));
    let shape = Shape::of(&json!({ "$ref": "#/$defs/d0", "$defs": defs })).expect("it has an end");
    assert!(shape.parts > 1 << 60 && shape.work(1_000) > 1 << 60, "{shape:?}");
}

#[test]
fn what_has_no_end_or_cannot_be_told_has_no_shape() {
    for schema in [
        json!({ "items": { "$ref": "#" } }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "not": { "$ref": "#/$defs/b" } }, "b": { "$ref": "#/$defs/a" } } }),
        json!({ "$ref": "#/$defs/gone" }),
        json!({ "$ref": "#/%24defs/a", "$defs": { "a": {} } }),
        json!({ "$ref": "other.json" }),
        json!({ "$defs": { "a": { "$id": "other", "items": {} } } }),
        json!({ "items": { "$dynamicRef": "#a" } }),
    ] {
        assert_eq!(Shape::of(&schema), None, "{schema}");
    }
    assert!(Shape::of(&json!({ "$id": "https://example.com/a", "type": "string" })).is_some());
}

#[test]
fn a_chain_of_references_is_as_deep_as_it_is_long() {
    let chain = |links: usize| {
        let mut defs = serde_json::Map::new();
        for nth in 0..links {
            defs.insert(format!("d{nth}"), json!({ "$ref": format!("#/$defs/d{}", nth + 1) }));
        }
        defs.insert(format!("d{links}"), json!({}));
        json!({ "$ref": "#/$defs/d0", "$defs": defs })
    };
    assert!(Shape::of(&chain(100)).is_some_and(|shape| shape.depth > 100));
    assert_eq!(Shape::of(&chain(5_000)), None);
    assert!(refuse_too_many_references("w", &chain(1_500)).is_ok());
    assert_eq!(refuse_too_many_references("w", &chain(2_500)).expect_err("too many").code, Code::BadManifest);
}

#[test]
fn parts_that_ask_what_was_looked_at_count_more_the_deeper_they_stand() {
    let mut schema = json!({});
    for _ in 0..40 {
        schema = json!({ "unevaluatedProperties": false, "anyOf": [schema] });
    }
    assert!(parts(&schema).is_some_and(|parts| parts > 1 << 60));
}
