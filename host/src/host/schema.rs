//! How much work it can be to check something against a JSON Schema, from the schema alone. Pure: it
//! never looks at what is checked.

use serde_json::Value;
use std::collections::BTreeMap;

use crate::{Code, Error, Result};

/// Compiling takes longer than in proportion with more. Schemas that are derived from types have a few
/// for each type.
const REFERENCES_MAX: usize = 2_000;
/// Nested deeper, with references followed, a check could need more of the stack than a thread has.
const DEPTH_MAX: u64 = 512;
/// A part under such a keyword is looked at when it is its turn, when it is asked what it has looked at,
/// and when that asks again.
const LOOKS_UNEVALUATED: u64 = 3;
const UNEVALUATED: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];
/// References, and names for them, that only a run of the check resolves.
const RESOLVED_LATER: [&str; 6] = ["$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$id", "id"];

/// Of a schema whose references all lead on to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Parts, each as often as references lead to it: no value within the input meets more of them.
    parts: u64,
    depth: u64,
}

impl Shape {
    /// `None` where references lead back to where they came from, or where nobody can tell.
    pub fn of(schema: &Value) -> Option<Shape> {
        let mut measure = Measure { root: schema, known: BTreeMap::new(), above: 0 };
        measure.part(schema)
    }

    /// No check of an input of so many bytes takes more looks at a value.
    pub fn work(self, input_bytes: usize) -> u64 {
        // Where an input does not fit, choices are looked at once more on each level to say why.
        self.parts.saturating_mul(self.depth).saturating_mul(input_bytes as u64)
    }
}

/// Refuses a schema that would take long to compile.
pub fn refuse_too_many_references(workflow: &str, schema: &Value) -> Result<()> {
    let references = references(schema);
    if references <= REFERENCES_MAX {
        return Ok(());
    }
    let why = format!(
        "the input schema of workflow `{workflow}` has {references} references; at most {REFERENCES_MAX} are allowed"
    );
    Err(Error::new(Code::BadManifest, why))
}

fn references(part: &Value) -> usize {
    match part {
        Value::Object(map) => {
            let here = map.keys().filter(|name| matches!(name.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef"));
            here.count() + map.values().map(references).sum::<usize>()
        }
        Value::Array(parts) => parts.iter().map(references).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

struct Measure<'a> {
    root: &'a Value,
    /// What references lead to, by where it stands; nothing while it is being measured.
    known: BTreeMap<&'a str, Option<Shape>>,
    /// Parts around the one that is being measured.
    above: u64,
}

impl<'a> Measure<'a> {
    /// Names of properties and plain values are taken for keywords too: that only makes it larger.
    fn part(&mut self, part: &'a Value) -> Option<Shape> {
        if self.above > DEPTH_MAX {
            return None;
        }
        self.above += 1;
        let mut whole = Shape { parts: 1, depth: 0 };
        match part {
            Value::Object(map) => {
                for (name, part) in map {
                    let shape = match part {
                        Value::String(to) if name == "$ref" => self.target(to)?,
                        // The name of the whole changes nothing for references that are relative to it.
                        Value::String(_) if RESOLVED_LATER.contains(&name.as_str()) && self.above > 1 => return None,
                        _ => self.part(part)?,
                    };
                    whole.take(shape);
                }
                if UNEVALUATED.iter().any(|keyword| map.contains_key(*keyword)) {
                    whole.parts = whole.parts.saturating_mul(LOOKS_UNEVALUATED);
                }
            }
            Value::Array(parts) => {
                for part in parts {
                    let shape = self.part(part)?;
                    whole.take(shape);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        self.above -= 1;
        whole.depth += 1;
        (whole.depth <= DEPTH_MAX).then_some(whole)
    }

    fn target(&mut self, to: &'a str) -> Option<Shape> {
        if let Some(known) = self.known.get(to) {
            return *known;
        }
        // A path within this schema, in which nothing is written in another way.
        let path = to.strip_prefix('#').filter(|path| !path.contains('%'))?;
        let target = self.root.pointer(path)?;
        self.known.insert(to, None);
        let shape = self.part(target)?;
        self.known.insert(to, Some(shape));
        Some(shape)
    }
}

impl Shape {
    fn take(&mut self, part: Shape) {
        self.parts = self.parts.saturating_add(part.parts);
        self.depth = self.depth.max(part.depth);
    }
}

#[cfg(test)]
mod tests;
