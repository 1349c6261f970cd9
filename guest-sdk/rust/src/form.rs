//! A question to a person, as a form. It only writes down what is asked; the host checks the answer.

use serde::Serialize;
use std::time::Duration;

/// What a person is asked, field by field. See [`Ctx::ask`](crate::Ctx::ask).
#[derive(Debug, Clone, Serialize)]
#[must_use = "pass it to `ctx.ask`"]
pub struct Form {
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    doc: Option<String>,
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignee: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Field {
    name: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
    required: bool,
}

impl Form {
    /// What is asked, in one line of up to 256 bytes.
    pub fn new(title: impl Into<String>) -> Form {
        Form { title: title.into(), doc: None, fields: Vec::new(), timeout_ms: None, assignee: None }
    }

    /// More about it.
    pub fn doc(mut self, doc: impl Into<String>) -> Form {
        self.doc = Some(doc.into());
        self
    }

    /// Who should answer; for people.
    pub fn assignee(mut self, assignee: impl Into<String>) -> Form {
        self.assignee = Some(assignee.into());
        self
    }

    /// After so long without an answer the question fails with code `EXPIRED`.
    pub fn timeout(mut self, timeout: Duration) -> Form {
        self.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// A field for yes or no: `bool`.
    pub fn approval(self, name: impl Into<String>) -> Form {
        self.field(name, "approval", Vec::new())
    }

    /// A field for text: `String`.
    pub fn text(self, name: impl Into<String>) -> Form {
        self.field(name, "text", Vec::new())
    }

    /// A field for one of several words: `String`, or an enum.
    pub fn choice<O: Into<String>>(self, name: impl Into<String>, options: impl IntoIterator<Item = O>) -> Form {
        self.field(name, "choice", options.into_iter().map(Into::into).collect())
    }

    /// A field for any of several words: `Vec<String>`.
    pub fn several<O: Into<String>>(self, name: impl Into<String>, options: impl IntoIterator<Item = O>) -> Form {
        self.field(name, "several", options.into_iter().map(Into::into).collect())
    }

    /// What people see instead of the name of the last field.
    pub fn label(mut self, label: impl Into<String>) -> Form {
        if let Some(field) = self.fields.last_mut() {
            field.label = Some(label.into());
        }
        self
    }

    /// The last field may be left out: an `Option`.
    pub fn optional(mut self) -> Form {
        if let Some(field) = self.fields.last_mut() {
            field.required = false;
        }
        self
    }

    fn field(mut self, name: impl Into<String>, kind: &'static str, options: Vec<String>) -> Form {
        self.fields.push(Field { name: name.into(), kind, label: None, options, required: true });
        self
    }

    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a form holds only text and numbers")
    }
}
