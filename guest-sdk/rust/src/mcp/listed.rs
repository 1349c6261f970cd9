//! What a server says that it has. It reads and checks; it asks nobody.

use serde::Deserialize;
use serde_json::Value as Json;

use crate::failure::{Failure, code};
use crate::model::NAME_MAX_CHARS;

/// What the protocol recommends.
const OWN_NAME_MAX_BYTES: usize = 128;

/// It is read by the model with each call, and paid; what is longer is cut.
const DESCRIPTION_MAX_BYTES: usize = 8 * 1024;

/// Inputs of tools that people wrote have a hundredth of it.
const SCHEMA_MAX_BYTES: usize = 64 * 1024;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub tools: Vec<Listed>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A tool as the server has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    pub input_schema: Json,
    #[serde(default)]
    pub output_schema: Option<Json>,
    /// What the server says that a call does.
    #[serde(default)]
    annotations: Json,
}

impl Page {
    pub fn read(page: Json) -> Result<Page, String> {
        serde_json::from_value(page).map_err(|error| format!("its list of tools is none: {error}"))
    }
}

impl Listed {
    /// How many bytes a model is told of it. Cuts its description.
    pub fn check(&mut self) -> Result<usize, String> {
        if self.name.is_empty() || self.name.len() > OWN_NAME_MAX_BYTES || self.name.chars().any(char::is_control) {
            return Err("one of its tools has a name that is none".to_owned());
        }
        if self.input_schema["type"] != "object" {
            return Err(format!("the input of its tool `{}` is no object", self.name));
        }
        let schema_bytes = self.input_schema.to_string().len();
        let output_bytes = self.output_schema.as_ref().map_or(0, |schema| schema.to_string().len());
        if schema_bytes.max(output_bytes) > SCHEMA_MAX_BYTES {
            return Err(format!("a schema of its tool `{}` has more than {SCHEMA_MAX_BYTES} bytes", self.name));
        }
        let described = self.description.get_or_insert_default();
        described.truncate(described.floor_char_boundary(DESCRIPTION_MAX_BYTES));
        Ok(self.name.len() + described.len() + schema_bytes)
    }

    /// Whether a call that comes twice does what one does. The harm of a lie would be the server's own.
    pub fn may_come_twice(&self) -> bool {
        ["readOnlyHint", "idempotentHint"].iter().any(|hint| self.annotations[*hint] == true)
    }

    /// Models know fewer characters than servers.
    pub fn name_for_models(&self, server: &str) -> Result<String, Failure> {
        let is_known = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        let own = self.name.chars().map(|character| if is_known(character) { character } else { '_' });
        let name: String = server.chars().chain(['_']).chain(own).collect();
        if name.len() > NAME_MAX_CHARS {
            let message = format!(
                "`{name}` has more than {NAME_MAX_CHARS} characters: give the server a shorter name, or choose by `only`"
            );
            return Err(Failure::permanent(code::BAD_REQUEST, message));
        }
        Ok(name)
    }
}
