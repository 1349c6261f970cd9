//! What a version of a deployment can reach, as far as it can be told without running it, and how that differs from
//! the version before. Pure: it reads what a component says of itself and what was granted, and grants nothing.

use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::effects::{Grants, SecretGrant};
use crate::sandbox::Manifest;

/// What it holds, what its functions want, and what they were granted. What was not granted cannot be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Its only import is `step`: nothing that is granted is of use to it.
    pub pure: bool,
    pub workflows: BTreeSet<String>,
    pub functions: Vec<Function>,
    /// What its agents may call.
    pub tools: BTreeSet<String>,
    pub wanted: Reachable,
    pub granted: Reachable,
}

/// One function, and what it says that it wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub hosts: BTreeSet<String>,
    pub models: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
}

/// Patterns as people write them; an MCP server stands among the hosts, as `mcp:NAME=URL`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reachable {
    pub hosts: BTreeSet<String>,
    pub models: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Purity,
    Workflow,
    Function,
    Tool,
    HostWanted,
    ModelWanted,
    SecretWanted,
    HostGranted,
    ModelGranted,
    SecretGranted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Added,
    Removed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub what: What,
    pub name: String,
    pub how: How,
}

impl Capabilities {
    /// `granted` as it stands in a version: patterns of hosts, of models and of secrets in one list.
    pub fn of(manifest: &Manifest, pure: bool, granted: &[Arc<str>]) -> Capabilities {
        let functions = manifest.functions.iter().map(|function| Function {
            name: function.name.to_string(),
            hosts: function.hosts.iter().cloned().collect(),
            models: function.models.iter().cloned().collect(),
            secrets: function.secrets.iter().map(|secret| SecretGrant::shown(secret)).collect(),
        });
        let functions: Vec<Function> = functions.collect();
        let wanted = Reachable {
            hosts: functions.iter().flat_map(|function| function.hosts.iter().cloned()).collect(),
            models: functions.iter().flat_map(|function| function.models.iter().cloned()).collect(),
            secrets: functions.iter().flat_map(|function| function.secrets.iter().cloned()).collect(),
        };
        Capabilities {
            pure,
            workflows: manifest.workflows.iter().map(|workflow| workflow.name.to_string()).collect(),
            functions,
            tools: tools(&manifest.text),
            wanted,
            granted: Reachable::of(granted),
        }
    }

    /// Sorted by what it is, then by name. Without a version before, everything is new.
    pub fn changes_since(&self, before: Option<&Capabilities>) -> Vec<Change> {
        let none = Capabilities { pure: self.pure, ..Capabilities::default() };
        let before = before.unwrap_or(&none);
        let mut changes = Vec::new();
        if before.pure != self.pure {
            let how = if self.pure { How::Removed } else { How::Added };
            changes.push(Change { what: What::Purity, name: "effect".to_owned(), how });
        }
        let functions = |of: &Capabilities| of.functions.iter().map(|function| function.name.clone()).collect();
        let (functions_before, functions_after): (BTreeSet<String>, BTreeSet<String>) =
            (functions(before), functions(self));
        for (what, before, after) in [
            (What::Workflow, &before.workflows, &self.workflows),
            (What::Function, &functions_before, &functions_after),
            (What::Tool, &before.tools, &self.tools),
            (What::HostWanted, &before.wanted.hosts, &self.wanted.hosts),
            (What::ModelWanted, &before.wanted.models, &self.wanted.models),
            (What::SecretWanted, &before.wanted.secrets, &self.wanted.secrets),
            (What::HostGranted, &before.granted.hosts, &self.granted.hosts),
            (What::ModelGranted, &before.granted.models, &self.granted.models),
            (What::SecretGranted, &before.granted.secrets, &self.granted.secrets),
        ] {
            let change = |name: &String, how| Change { what, name: name.clone(), how };
            changes.extend(after.difference(before).map(|name| change(name, How::Added)));
            changes.extend(before.difference(after).map(|name| change(name, How::Removed)));
        }
        changes
    }

    /// What its functions want and were not granted.
    pub fn missing(&self) -> Reachable {
        Reachable {
            hosts: self.wanted.hosts.difference(&self.granted.hosts).cloned().collect(),
            models: self.wanted.models.difference(&self.granted.models).cloned().collect(),
            secrets: self.wanted.secrets.difference(&self.granted.secrets).cloned().collect(),
        }
    }
}

impl Reachable {
    fn of(patterns: &[Arc<str>]) -> Reachable {
        let mut reachable = Reachable::default();
        for pattern in patterns {
            match (Grants::as_secret(pattern), Grants::as_model(pattern)) {
                (Some(secret), _) => reachable.secrets.insert(secret),
                (None, Some(model)) => reachable.models.insert(model.to_owned()),
                (None, None) => reachable.hosts.insert(pattern.to_string()),
            };
        }
        reachable
    }
}

/// What `after` opens and `before` does not, as the patterns are written. A narrower pattern opens nothing new. What
/// cannot be read counts as new.
pub fn widens(before: &[Arc<str>], after: &[Arc<str>]) -> Vec<String> {
    match (Grants::parse(before), Grants::parse(after)) {
        (Ok(open), Ok(wanted)) => open.lacks_of(&wanted),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => {
            after.iter().filter(|pattern| !before.contains(pattern)).map(|pattern| pattern.to_string()).collect()
        }
    }
}

/// Their names: for people, so what cannot be read is passed over.
fn tools(manifest: &str) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Tools {
        #[serde(default)]
        tools: Vec<Tool>,
    }
    #[derive(Deserialize)]
    struct Tool {
        name: String,
    }
    let read = serde_json::from_str::<Tools>(manifest).map(|read| read.tools).unwrap_or_default();
    read.into_iter().map(|tool| tool.name).collect()
}

#[cfg(test)]
mod tests;
