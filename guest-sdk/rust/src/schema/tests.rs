use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

use super::*;
use crate::Value as _;
use crate::model::told;
use crate::prelude::*;

/// All sorts of things that types are made of.
#[value]
struct Order {
    #[schemars(length(min = 1, max = 3))]
    items: Vec<Item>,
    #[serde(default)]
    note: Option<String>,
    shipping: Shipping,
    tags: BTreeMap<String, u8>,
    #[schemars(range(min = 1, max = 5))]
    stars: f64,
    pair: (i8, bool),
}

#[value]
#[serde(deny_unknown_fields)]
struct Item {
    name: String,
    count: u32,
    #[serde(default)]
    parts: Vec<Item>,
}

#[value]
#[serde(tag = "by", rename_all = "snake_case")]
enum Shipping {
    Post { days: u16 },
    Hand,
}

fn schema() -> Json {
    told(Order::input_schema())
}

fn order() -> Json {
    json!({
        "items": [{ "name": "sock", "count": 2, "parts": [{ "name": "thread", "count": 1 }] }],
        "shipping": { "by": "post", "days": 3 },
        "tags": { "red": 1 },
        "stars": 4.5,
        "pair": [-1, true],
    })
}

#[test]
fn what_fits_the_type_fits_its_schema() {
    assert_eq!(check(&schema(), &order(), "input"), Ok(()));
}

#[test]
fn what_does_not_fit_is_told_by_its_place() {
    let change = |path: &str, value: Json| {
        let mut order = order();
        *order.pointer_mut(path).expect("the order has it") = value;
        order
    };
    for (value, told) in [
        (change("/items/0/count", json!(-1)), "input.items[0].count: it is less than 0"),
        (change("/items/0/parts/0/name", json!(7)), "input.items[0].parts[0].name: expected string, not number"),
        (change("/items", json!([])), "input.items: it has less than 1 items"),
        (change("/stars", json!(6)), "input.stars: it is more than 5"),
        (change("/pair", json!([1, true, 2])), "input.pair: it has more than 2 items"),
        (change("/pair/0", json!(1000)), "input.pair[0]: it is more than 127"),
        (change("/tags/red", json!("r")), "input.tags.red: expected integer, not string"),
        (
            change("/items/0", json!({ "name": "a", "count": 1, "colour": 2 })),
            "input.items[0].colour: there is no such field",
        ),
        (json!({ "items": [] }), "input: `"),
        (json!([]), "input: expected object, not array"),
    ] {
        let why = check(&schema(), &value, "input").expect_err("it does not fit");
        assert!(why.starts_with(told), "{value}: {why}");
    }
}

#[test]
fn types_may_be_called_anything() {
    #[value]
    #[serde(rename = "Größe & ~/so 100%")]
    struct Odd {
        size: u8,
        others: Vec<Odd>,
    }
    #[value]
    struct Holds {
        odd: Odd,
    }
    let schema = told(Holds::input_schema());
    let fits = |size: Json| {
        check(&schema, &json!({ "odd": { "size": 1, "others": [{ "size": size, "others": [] }] } }), "input")
    };
    assert_eq!(fits(json!(7)), Ok(()));
    assert_eq!(fits(json!("7")), Err("input.odd.others[0].size: expected integer, not string".to_owned()));
    for broken in ["#%", "#%4", "#%zz", "#%ff"] {
        assert!(check(&json!({ "$ref": broken }), &json!(1), "input").is_err(), "{broken}");
    }
}

#[test]
fn schemas_that_never_end_are_given_up_on() {
    let endless = json!({ "$ref": "#" });
    assert!(check(&endless, &json!(1), "input").is_err());
    let mut ways = json!({ "type": "string" });
    for _ in 0..40 {
        ways = json!({ "anyOf": [ways.clone(), { "allOf": [{ "$ref": "#/nowhere" }] }], "oneOf": [true] });
    }
    assert!(check(&ways, &json!(1), "input").is_err());
    let doubling = json!({
        "$defs": { "a": { "allOf": [{ "$ref": "#/$defs/b" }, { "$ref": "#/$defs/b" }] },
                   "b": { "allOf": [{ "$ref": "#/$defs/a" }, { "$ref": "#/$defs/a" }] } },
        "$ref": "#/$defs/a",
    });
    assert!(check(&doubling, &json!(1), "input").is_err());
}

/// Small schemas of all words that are known here.
fn schemas() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        prop::sample::select(vec!["string", "integer", "number", "boolean", "null", "array", "object"])
            .prop_map(|kind| json!({ "type": kind })),
        (-3..3_i64).prop_map(|least| json!({ "minimum": least, "maximum": least + 2 })),
        (-3..3_i64).prop_map(|least| json!({ "type": "number", "exclusiveMinimum": least, "multipleOf": 0.5 })),
        (0..3_u64).prop_map(|least| json!({ "minLength": least, "maxLength": least + 1 })),
        values().prop_map(|value| json!({ "const": value })),
        prop::collection::vec(values(), 1..3).prop_map(|values| json!({ "enum": values })),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        let some = prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            (some.clone(), prop::sample::select(vec!["allOf", "anyOf", "oneOf"]))
                .prop_map(|(ways, word)| json!({ word: ways })),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| json!({ "if": a, "then": b, "else": c })),
            inner.clone().prop_map(|not| json!({ "not": not })),
            (some.clone(), inner.clone(), 0..3_u64, any::<bool>()).prop_map(|(first, items, least, unique)| json!({
                "prefixItems": first, "items": items, "minItems": least, "maxItems": least + 1, "uniqueItems": unique,
            })),
            (inner.clone(), inner.clone(), prop::option::of(inner), any::<bool>()).prop_map(
                |(a, b, others, required)| {
                    let mut schema = json!({ "properties": { "a": a, "b": b } });
                    if let Some(others) = others {
                        schema["additionalProperties"] = others;
                    }
                    if required {
                        schema["required"] = json!(["a"]);
                    }
                    schema
                }
            ),
        ]
    })
}

fn values() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-4..4_i64).prop_map(Json::from),
        (-4..4_i32).prop_map(|half| Json::from(f64::from(half) / 2.0)),
        prop::sample::select(vec!["", "a", "äß", "abc"]).prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c"]), inner, 0..3)
                .prop_map(|fields| json!(fields)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_judges_as_a_validator_that_others_wrote(schema in schemas(), value in values()) {
        let known = jsonschema::validator_for(&schema).expect("it is a schema").is_valid(&value);
        prop_assert_eq!(check(&schema, &value, "input").is_ok(), known, "{} {}", schema, value);
    }
}
