//! Whether a value fits a JSON Schema, for what models hand to tools and give as answers. It knows the words that
//! schemas of Rust types are made of; `format`, `pattern` and `patternProperties` are left to the type that reads the value.

use serde_json::{Map, Value as Json};
use std::cell::Cell;
use std::cmp::Ordering;

/// A schema that refers to itself without going on in the value would never end.
const DEPTH_MAX: u32 = 256;

/// One that tries many ways could take for ever: a value of 8 MiB with a schema of ordinary size takes less.
const CHECKS_MAX: u32 = 4_000_000;

/// The first thing of `value` that does not fit, as `input.items[2].url: expected a string`.
pub(crate) fn check(schema: &Json, value: &Json, root: &str) -> Result<(), String> {
    let check = Check { root: schema, left: Cell::new(CHECKS_MAX) };
    check.fits(schema, value, &Path::Root(root), 0)
}

struct Check<'a> {
    /// What `$ref` points into.
    root: &'a Json,
    left: Cell<u32>,
}

/// Where in the value; written out only when something is wrong.
enum Path<'a> {
    Root(&'a str),
    Key(&'a Path<'a>, &'a str),
    Place(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn to_text(&self) -> String {
        match self {
            Path::Root(name) => (*name).to_owned(),
            Path::Key(outer, key) => format!("{}.{key}", outer.to_text()),
            Path::Place(outer, place) => format!("{}[{place}]", outer.to_text()),
        }
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Result<(), String> {
        Err(format!("{}: {what}", self.to_text()))
    }
}

impl Check<'_> {
    fn fits(&self, schema: &Json, value: &Json, path: &Path<'_>, depth: u32) -> Result<(), String> {
        let Some(left) = self.left.get().checked_sub(1) else { return path.wrong("it takes too long to check") };
        self.left.set(left);
        if depth > DEPTH_MAX {
            return path.wrong("the schema goes too deep");
        }
        let schema = match schema {
            Json::Object(schema) => schema,
            Json::Bool(false) => return path.wrong("nothing is allowed here"),
            Json::Bool(true) => return Ok(()),
            _ => return path.wrong("its schema is none"),
        };
        if let Some(reference) = schema.get("$ref") {
            let pointer = reference.as_str().and_then(|reference| reference.strip_prefix('#'));
            let Some(target) = pointer.and_then(decoded).and_then(|pointer| self.root.pointer(&pointer)) else {
                return path.wrong(format_args!("its schema refers to {reference}, which is not there"));
            };
            self.fits(target, value, path, depth + 1)?;
        }
        self.is_one_of(schema, value, path)?;
        self.combines(schema, value, path, depth + 1)?;
        match value {
            Json::Object(fields) => self.fields(schema, fields, path, depth + 1),
            Json::Array(items) => self.items(schema, items, path, depth + 1),
            Json::String(text) => {
                let chars = || text.chars().count() as u64;
                counted(schema, ["minLength", "maxLength"], chars, "characters", path)
            }
            Json::Number(_) => within(schema, value, path),
            Json::Null | Json::Bool(_) => Ok(()),
        }
    }

    /// `type`, `enum` and `const`.
    fn is_one_of(&self, schema: &Map<String, Json>, value: &Json, path: &Path<'_>) -> Result<(), String> {
        let wanted = match schema.get("type") {
            Some(Json::String(name)) => vec![name.as_str()],
            Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        };
        if schema.contains_key("type") && !wanted.iter().any(|name| is_of_type(value, name)) {
            let wanted = wanted.join(" or ");
            return path.wrong(format_args!("expected {wanted}, not {}", type_of(value)));
        }
        if let Some(Json::Array(words)) = schema.get("enum")
            && !words.iter().any(|word| equal(word, value))
        {
            let words: Vec<String> = words.iter().map(Json::to_string).collect();
            return path.wrong(format_args!("expected one of {}", words.join(", ")));
        }
        match schema.get("const") {
            Some(word) if !equal(word, value) => path.wrong(format_args!("expected {word}")),
            _ => Ok(()),
        }
    }

    /// `allOf`, `anyOf`, `oneOf`, `not`, `if`.
    fn combines(&self, schema: &Map<String, Json>, value: &Json, path: &Path<'_>, depth: u32) -> Result<(), String> {
        let ways = |word: &str| schema.get(word).and_then(Json::as_array);
        for way in ways("allOf").into_iter().flatten() {
            self.fits(way, value, path, depth)?;
        }
        if let Some(ways) = ways("anyOf") {
            self.some_fit(ways, value, path, depth, false)?;
        }
        if let Some(ways) = ways("oneOf") {
            self.some_fit(ways, value, path, depth, true)?;
        }
        if let Some(not) = schema.get("not")
            && self.fits(not, value, path, depth).is_ok()
        {
            return path.wrong("it fits what it must not");
        }
        if let Some(condition) = schema.get("if") {
            let holds = self.fits(condition, value, path, depth).is_ok();
            if let Some(then) = schema.get(if holds { "then" } else { "else" }) {
                self.fits(then, value, path, depth)?;
            }
        }
        Ok(())
    }

    /// Whether one of them fits, and no other if `alone`.
    fn some_fit(&self, ways: &[Json], value: &Json, path: &Path<'_>, depth: u32, alone: bool) -> Result<(), String> {
        let (mut fitting, mut first) = (0_u32, None);
        for way in ways {
            match self.fits(way, value, path, depth) {
                Ok(()) => fitting += 1,
                Err(why) => first = first.or(Some(why)),
            }
            if fitting > 0 && !alone {
                return Ok(());
            }
        }
        match (fitting, first) {
            (1, _) => Ok(()),
            // The way that was meant is often the only one but `null`.
            (0, Some(why)) if ways.len() <= 2 => Err(why),
            (0, _) => path.wrong(format_args!("it fits none of the {} ways that there are", ways.len())),
            (more, _) => path.wrong(format_args!("it fits {more} ways at once where one is wanted")),
        }
    }

    fn fields(
        &self,
        schema: &Map<String, Json>,
        fields: &Map<String, Json>,
        path: &Path<'_>,
        depth: u32,
    ) -> Result<(), String> {
        counted(schema, ["minProperties", "maxProperties"], || fields.len() as u64, "fields", path)?;
        let required = schema.get("required").and_then(Json::as_array);
        for name in required.into_iter().flatten().filter_map(Json::as_str) {
            if !fields.contains_key(name) {
                return path.wrong(format_args!("`{name}` is missing"));
            }
        }
        let known = schema.get("properties").and_then(Json::as_object);
        // Which fields a pattern allows is not known here.
        let others = schema.get("additionalProperties").filter(|_| !schema.contains_key("patternProperties"));
        let names = schema.get("propertyNames");
        for (name, value) in fields {
            let path = Path::Key(path, name);
            if let Some(names) = names {
                self.fits(names, &Json::String(name.clone()), &path, depth)?;
            }
            match (known.and_then(|known| known.get(name)), others) {
                (Some(schema), _) => self.fits(schema, value, &path, depth)?,
                (None, Some(Json::Bool(false))) => return path.wrong("there is no such field"),
                (None, Some(schema)) => self.fits(schema, value, &path, depth)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn items(&self, schema: &Map<String, Json>, items: &[Json], path: &Path<'_>, depth: u32) -> Result<(), String> {
        counted(schema, ["minItems", "maxItems"], || items.len() as u64, "items", path)?;
        let first = schema.get("prefixItems").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        let others = schema.get("items");
        for (place, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(place).or(others) {
                self.fits(schema, item, &Path::Place(path, place), depth)?;
            }
        }
        if schema.get("uniqueItems") == Some(&Json::Bool(true)) {
            return self.unique(items, path);
        }
        Ok(())
    }

    fn unique(&self, items: &[Json], path: &Path<'_>) -> Result<(), String> {
        for (place, item) in items.iter().enumerate() {
            for earlier in &items[..place] {
                let Some(left) = self.left.get().checked_sub(1) else {
                    return path.wrong("it takes too long to check");
                };
                self.left.set(left);
                if equal(earlier, item) {
                    return Path::Place(path, place).wrong("it is there twice");
                }
            }
        }
        Ok(())
    }
}

/// References are written as parts of URLs.
fn decoded(pointer: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(pointer.len());
    let mut rest = pointer.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The least and the most of something.
fn counted(
    schema: &Map<String, Json>,
    [least, most]: [&str; 2],
    count: impl Fn() -> u64,
    what: &str,
    path: &Path<'_>,
) -> Result<(), String> {
    let bound = |word: &str| schema.get(word).and_then(Json::as_u64);
    if bound(least).is_some_and(|least| count() < least) {
        return path.wrong(format_args!("it has less than {} {what}", schema[least]));
    }
    if bound(most).is_some_and(|most| count() > most) {
        return path.wrong(format_args!("it has more than {} {what}", schema[most]));
    }
    Ok(())
}

fn within(schema: &Map<String, Json>, value: &Json, path: &Path<'_>) -> Result<(), String> {
    let compared = |word: &str| schema.get(word).and_then(|bound| compare(value, bound).map(|order| (bound, order)));
    if let Some((bound, Ordering::Less)) = compared("minimum") {
        return path.wrong(format_args!("it is less than {bound}"));
    }
    if let Some((bound, Ordering::Greater)) = compared("maximum") {
        return path.wrong(format_args!("it is more than {bound}"));
    }
    if let Some((bound, Ordering::Less | Ordering::Equal)) = compared("exclusiveMinimum") {
        return path.wrong(format_args!("it is not more than {bound}"));
    }
    if let Some((bound, Ordering::Greater | Ordering::Equal)) = compared("exclusiveMaximum") {
        return path.wrong(format_args!("it is not less than {bound}"));
    }
    let parts = schema.get("multipleOf").and_then(Json::as_f64).zip(value.as_f64());
    match parts {
        Some((part, number)) if part > 0.0 && (number / part).fract() != 0.0 => {
            path.wrong(format_args!("it is no multiple of {part}"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whole numbers exactly, others as floats.
fn compare(left: &Json, right: &Json) -> Option<Ordering> {
    let whole = |value: &Json| value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

/// `1` and `1.0` are one number.
fn equal(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(_), Json::Number(_)) => compare(left, right) == Some(Ordering::Equal),
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Json::Object(left), Json::Object(right)) => {
            let same = |(name, value): (&String, &Json)| right.get(name).is_some_and(|other| equal(value, other));
            left.len() == right.len() && left.iter().all(same)
        }
        _ => left == right,
    }
}

fn is_of_type(value: &Json, name: &str) -> bool {
    match name {
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        other => type_of(value) == other,
    }
}

fn type_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests;
