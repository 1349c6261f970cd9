//! A question to a person: the form as a workflow gives it, and whether an answer fits it. Pure; it
//! knows nothing of who answers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;

#[cfg(test)]
mod tests;

/// A form is read by a person; it has to stand in an entry.
pub const FORM_MAX_BYTES: usize = 32 << 10;
const TITLE_MAX_BYTES: usize = 256;
const FIELDS_MAX: usize = 50;
const CHOICES_MAX: usize = 100;
const NAME_MAX_BYTES: usize = 128;
/// More would bury the first one.
const PROBLEMS_SHOWN_MAX: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    #[serde(default)]
    pub fields: Vec<Field>,
    /// After so long without an answer the question fails as `EXPIRED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Who should answer; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its key in the answer.
    pub name: String,
    pub kind: FieldKind,
    /// Instead of the name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What there is to choose from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Whether an answer without it is refused.
    #[serde(default = "yes")]
    pub required: bool,
}

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// A string.
    Text,
    /// One of the options.
    Choice,
    /// Any of the options, each once: an array.
    Several,
    /// True or false.
    Approval,
}

fn yes() -> bool {
    true
}

impl Form {
    /// The error says what is wrong, by the name of the field.
    pub fn read(text: &str) -> Result<Form, String> {
        if text.len() > FORM_MAX_BYTES {
            return Err(format!("the form is {} bytes; the limit is {FORM_MAX_BYTES}", text.len()));
        }
        let form: Form = serde_json::from_str(text).map_err(|error| format!("the form: {error}"))?;
        form.check_itself()?;
        Ok(form)
    }

    fn check_itself(&self) -> Result<(), String> {
        if self.title.is_empty() || self.title.len() > TITLE_MAX_BYTES {
            return Err(format!("`title` has {} bytes; it must have 1 to {TITLE_MAX_BYTES}", self.title.len()));
        }
        if self.fields.len() > FIELDS_MAX {
            return Err(format!("the form has {} fields; the limit is {FIELDS_MAX}", self.fields.len()));
        }
        let mut names = BTreeSet::new();
        for field in &self.fields {
            let name = &field.name;
            if name.is_empty() || name.len() > NAME_MAX_BYTES {
                return Err(format!("a field is called `{name}`; a name has 1 to {NAME_MAX_BYTES} bytes"));
            }
            if !names.insert(name) {
                return Err(format!("two fields are called `{name}`"));
            }
            field.check_itself()?;
        }
        Ok(())
    }

    /// Whether `answer`, JSON text, is one. The error says what is wrong, field by field.
    pub fn check(&self, answer: &str) -> Result<(), String> {
        let answer: Map<String, Json> = serde_json::from_str(answer)
            .map_err(|error| format!("an answer is an object with a value for each field: {error}"))?;
        let given = self.fields.iter().filter_map(|field| field.problem(answer.get(&field.name)));
        let known = |name: &String| self.fields.iter().any(|field| field.name == *name);
        let unknown = answer.keys().filter(|name| !known(name)).map(|name| format!("there is no field `{name}`"));
        let problems: Vec<String> = given.chain(unknown).take(PROBLEMS_SHOWN_MAX).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }
}

impl Field {
    fn check_itself(&self) -> Result<(), String> {
        let name = &self.name;
        let wants_options = match self.kind {
            FieldKind::Choice | FieldKind::Several => true,
            FieldKind::Text | FieldKind::Approval => false,
        };
        let count = self.options.len();
        if wants_options && !(1..=CHOICES_MAX).contains(&count) {
            return Err(format!("field `{name}` has {count} options; it must have 1 to {CHOICES_MAX}"));
        }
        if !wants_options && count > 0 {
            return Err(format!("field `{name}` has options, and there is nothing to choose"));
        }
        let distinct: BTreeSet<_> = self.options.iter().collect();
        if distinct.len() < count {
            return Err(format!("field `{name}` has the same option twice"));
        }
        Ok(())
    }

    fn problem(&self, value: Option<&Json>) -> Option<String> {
        let name = &self.name;
        let one_of = |text: &str| self.options.iter().any(|option| option == text);
        let options = || self.options.iter().map(|option| format!("`{option}`")).collect::<Vec<_>>().join(", ");
        match (self.kind, value) {
            (_, None | Some(Json::Null)) if !self.required => None,
            (_, None | Some(Json::Null)) => Some(format!("`{name}` is missing")),
            (FieldKind::Text, Some(Json::String(text))) if text.is_empty() && self.required => {
                Some(format!("`{name}` is empty"))
            }
            (FieldKind::Text, Some(Json::String(_))) | (FieldKind::Approval, Some(Json::Bool(_))) => None,
            (FieldKind::Choice, Some(Json::String(text))) if one_of(text) => None,
            (FieldKind::Several, Some(Json::Array(chosen))) => {
                let mut seen = BTreeSet::new();
                let fits =
                    |choice: &Json| choice.as_str().is_some_and(|text| one_of(text) && seen.insert(text.to_owned()));
                let all_fit = chosen.iter().all(fits);
                match all_fit {
                    true if chosen.is_empty() && self.required => {
                        Some(format!("`{name}` needs at least one of {}", options()))
                    }
                    true => None,
                    false => Some(format!("`{name}` must be a list of some of {}, each once", options())),
                }
            }
            (FieldKind::Text, Some(_)) => Some(format!("`{name}` must be text")),
            (FieldKind::Approval, Some(_)) => Some(format!("`{name}` must be true or false")),
            (FieldKind::Choice, Some(_)) => Some(format!("`{name}` must be one of {}", options())),
            (FieldKind::Several, Some(_)) => Some(format!("`{name}` must be a list of some of {}", options())),
        }
    }
}
