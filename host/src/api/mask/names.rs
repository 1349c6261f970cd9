//! What may be redacted: names of fields, and none that the API itself has. It decides nothing about an answer.

use std::collections::BTreeSet;

use crate::{Code, Error, Result};

/// A list that a person can still review. Of the server, and of each tenant.
const FIELDS_MAX: usize = 100;
/// Names of fields are short; each text is searched for each of them.
const FIELD_MAX_BYTES: usize = 100;

/// # Errors
/// With `code`, where there are too many.
pub fn check_count(fields: &BTreeSet<String>, code: Code) -> Result<()> {
    if fields.len() > FIELDS_MAX {
        return Err(Error::new(code, format!("there are more than {FIELDS_MAX} fields to redact")));
    }
    Ok(())
}

/// In lower case. Refuses what cannot be the name of a field, and words of the API itself: without them its clients
/// could not read its answers.
///
/// # Errors
/// With `code`.
pub fn names_of_fields<'a>(fields: impl IntoIterator<Item = &'a str>, code: Code) -> Result<BTreeSet<String>> {
    let fields: BTreeSet<String> = fields.into_iter().map(str::to_lowercase).collect();
    check_count(&fields, code)?;
    let words = if fields.is_empty() { BTreeSet::new() } else { words_of_the_api() };
    for field in &fields {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
        let is_field = !field.trim().is_empty() && field.len() <= FIELD_MAX_BYTES && field.chars().all(is_name);
        if !is_field {
            return Err(Error::new(code, format!("`{}` is no name of a field to redact", field.escape_debug()))
                .hint(format!("1 to {FIELD_MAX_BYTES} bytes of letters, digits, spaces and _ - .")));
        }
        if words.contains(field) {
            let why = format!("`{field}` cannot be redacted: the API itself has a field of that name");
            return Err(Error::new(code, why).hint("give the field a name of its own, as `user_name`"));
        }
    }
    Ok(fields)
}

/// Names of fields that answers have of themselves, whatever runs there are.
fn words_of_the_api() -> BTreeSet<String> {
    let document: serde_json::Value = serde_json::from_str(&crate::api::openapi()).unwrap_or_default();
    let mut words: BTreeSet<String> = WORDS_OF_TRACES.iter().map(|word| (*word).to_owned()).collect();
    let mut left = vec![&document["components"]["schemas"]];
    while let Some(part) = left.pop() {
        if let Some(properties) = part["properties"].as_object() {
            words.extend(properties.keys().map(|name| name.to_lowercase()));
        }
        match part {
            serde_json::Value::Object(members) => left.extend(members.values()),
            serde_json::Value::Array(items) => left.extend(items),
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
            serde_json::Value::String(_) => {}
        }
    }
    words
}

/// The document says of traces only that they are objects.
const WORDS_OF_TRACES: [&str; 21] = [
    "rows",
    "activations",
    "totals",
    "unplaced",
    "parent",
    "what",
    "label",
    "positions",
    "closed",
    "json",
    "number",
    "resumed",
    "retryable",
    "details",
    "tries",
    "usage",
    "finish",
    "prompts",
    "interrupted",
    "verb",
    "entity",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_api_and_what_is_no_name_are_refused() {
        let names = |names: &[&str]| names_of_fields(names.iter().copied(), Code::BadRequest);
        for bad in ["status", "KEY", "rows", "", " ", "a\"b", "a\nb"] {
            assert!(names(&["fine", bad]).is_err_and(|error| error.code == Code::BadRequest), "{bad}");
        }
        assert!(names(&[&"x".repeat(FIELD_MAX_BYTES + 1)]).is_err());
        let many: Vec<String> = (0..=FIELDS_MAX).map(|number| format!("f{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(names(&many).is_err() && names(&many[1..]).is_ok());
        for good in ["password", "ssn", "authorization", "token", "x-api-key", "größe"] {
            assert_eq!(names(&[good]).expect("a name"), BTreeSet::from([good.to_owned()]));
        }
        assert_eq!(names(&["Ssn", "ssn"]).expect("names").len(), 1);
    }
}
