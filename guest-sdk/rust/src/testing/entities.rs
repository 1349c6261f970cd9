//! The entities of a host for tests.

use serde::Serialize;
use std::collections::BTreeMap;

use super::Host;
use crate::failure::Failure;

#[derive(Default)]
pub(super) struct Entities {
    of: BTreeMap<(String, String), (u64, String)>,
    version: u64,
}

impl Entities {
    pub fn put(&mut self, name: &str, key: &str, value: String) -> u64 {
        self.version += 1;
        self.of.insert((name.to_owned(), key.to_owned()), (self.version, value));
        self.version
    }

    pub fn value(&self, name: &str, key: &str) -> Option<&(u64, String)> {
        self.of.get(&(name.to_owned(), key.to_owned()))
    }

    pub fn get(&self, name: &str, key: &str) -> Result<String, String> {
        let stands = self.value(name, key);
        Ok(stands.map_or_else(
            || "null".to_owned(),
            |(version, value)| format!("{{\"version\":{version},\"value\":{value}}}"),
        ))
    }

    /// `None` deletes.
    pub fn write(&mut self, name: &str, key: &str, value: Option<&str>, options: &str) -> Result<String, String> {
        let options: serde_json::Value = serde_json::from_str(options).unwrap_or_default();
        let stands = self.value(name, key).map_or(0, |(version, _)| *version);
        if options["if_version"].as_u64().is_some_and(|wanted| wanted != stands) {
            let failure = Failure::permanent("VERSION_CONFLICT", format!("the entity is at version {stands}"));
            return Err(failure.with_details(serde_json::json!({ "version": stands })).to_text());
        }
        let version = match value {
            Some(value) => self.put(name, key, value.to_owned()),
            None if stands == 0 => 0,
            None => {
                self.version += 1;
                self.of.remove(&(name.to_owned(), key.to_owned()));
                self.version
            }
        };
        Ok(format!("{{\"version\":{version}}}"))
    }
}

impl Host {
    /// Puts an entity there, before the run begins or between two runs.
    pub fn entity(self, name: &str, key: &str, value: &impl Serialize) -> Host {
        let value = serde_json::to_string(value).expect("the value can be written as JSON");
        self.shared.entities.borrow_mut().put(name, key, value);
        self
    }

    /// What an entity holds by now, as JSON.
    pub fn entity_value(&self, name: &str, key: &str) -> Option<serde_json::Value> {
        let entities = self.shared.entities.borrow();
        entities.value(name, key).and_then(|(_, value)| serde_json::from_str(value).ok())
    }
}
