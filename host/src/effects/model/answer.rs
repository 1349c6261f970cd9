//! What a model said, collected from the pieces of any protocol, and as a guest gets it. Pure; whatever a provider
//! sends is held against limits here.

use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use trackway_replay::{Failure, Finish, Usage, code};

use super::errors::{Told, Wrong};
use super::prices::Price;
use super::request::ToolCall;
use crate::effects::ModelUse;
use crate::effects::answer::Try;

/// Text and arguments together: what a guest can be given as one value, escaped.
const SAID_MAX_BYTES: usize = 8 << 20;
/// More is a loop, not an answer.
const TOOL_CALLS_MAX: usize = 256;
/// What names a model, a call or an answer.
const NAME_MAX_BYTES: usize = 256;

/// The whole of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub id: String,
    pub model: String,
    pub content: Option<String>,
    pub tool_calls: Vec<ToolCall>,
    pub finish: Finish,
    /// Absent where the provider did not tell.
    pub usage: Option<Usage>,
    /// As the provider tells it.
    pub cost_nanousd: Option<u64>,
}

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    id: String,
    model: String,
    content: Option<String>,
    refusal: Option<String>,
    calls: BTreeMap<u64, ToolCall>,
    size_bytes: usize,
    pub finish: Option<Finish>,
    pub usage: Option<Usage>,
    pub cost_nanousd: Option<u64>,
    /// Nothing more comes, whatever the connection does.
    pub is_done: bool,
}

impl Draft {
    /// The first that is told counts.
    pub fn named(&mut self, id: Option<&str>, model: Option<&str>) {
        for (place, told) in [(&mut self.id, id), (&mut self.model, model)] {
            if place.is_empty() {
                *place = cut(told.unwrap_or_default());
            }
        }
    }

    pub fn text(&mut self, piece: &str) -> Result<(), Wrong> {
        self.grow(piece)?;
        self.content.get_or_insert_default().push_str(piece);
        Ok(())
    }

    /// What it says instead of an answer.
    pub fn refusal(&mut self, piece: &str) -> Result<(), Wrong> {
        self.grow(piece)?;
        self.refusal.get_or_insert_default().push_str(piece);
        Ok(())
    }

    /// A call of a tool, by its place in the answer; what is told again of it changes nothing.
    pub fn call(&mut self, place: u64, id: Option<&str>, name: Option<&str>) -> Result<(), Wrong> {
        if !self.calls.contains_key(&place) && self.calls.len() >= TOOL_CALLS_MAX {
            return Err(Wrong::TooLarge(format!("the answer calls more than {TOOL_CALLS_MAX} tools")));
        }
        let empty = || ToolCall { id: String::new(), name: String::new(), arguments: String::new() };
        let call = self.calls.entry(place).or_insert_with(empty);
        for (place, told) in [(&mut call.id, id), (&mut call.name, name)] {
            if place.is_empty() {
                *place = cut(told.unwrap_or_default());
            }
        }
        Ok(())
    }

    pub fn arguments(&mut self, place: u64, piece: &str) -> Result<(), Wrong> {
        self.grow(piece)?;
        self.call(place, None, None)?;
        if let Some(call) = self.calls.get_mut(&place) {
            call.arguments.push_str(piece);
        }
        Ok(())
    }

    pub fn arguments_of(&self, place: u64) -> &str {
        self.calls.get(&place).map_or("", |call| &call.arguments)
    }

    pub fn id_of(&self, place: u64) -> Option<&str> {
        self.calls.get(&place).map(|call| &*call.id)
    }

    /// One behind all that are there.
    pub fn next_place(&self) -> u64 {
        self.calls.keys().next_back().map_or(0, |last| last.saturating_add(1))
    }

    pub fn last_place(&self) -> Option<u64> {
        self.calls.keys().next_back().copied()
    }

    pub fn has_said_nothing(&self) -> bool {
        self.content.is_none() && self.refusal.is_none() && self.calls.is_empty()
    }

    fn grow(&mut self, piece: &str) -> Result<(), Wrong> {
        self.size_bytes += piece.len();
        match self.size_bytes > SAID_MAX_BYTES {
            true => Err(Wrong::TooLarge(format!("the answer has more than {SAID_MAX_BYTES} bytes"))),
            false => Ok(()),
        }
    }

    /// Where it never said that it was finished, it broke off.
    pub fn end(self) -> Result<Said, Wrong> {
        let Some(finish) = self.finish else {
            return Err(Wrong::Garbage("the answer broke off before its end".to_owned()));
        };
        let mut tool_calls = Vec::with_capacity(self.calls.len());
        for (nth, mut call) in self.calls.into_values().enumerate() {
            // Some providers give none, and the answer of the tool has to name one.
            if call.id.is_empty() {
                call.id = format!("call_{nth}");
            }
            // One that was cut off there may have been about to get some.
            if call.arguments.is_empty() && finish != Finish::Length {
                call.arguments = "{}".to_owned();
            }
            tool_calls.push(call);
        }
        let finish = match finish {
            _ if self.refusal.is_some() => Finish::Refused,
            Finish::Stop if !tool_calls.is_empty() => Finish::ToolCalls,
            finish => finish,
        };
        let content = self.refusal.or(self.content).filter(|text| !text.is_empty() || tool_calls.is_empty());
        let Draft { id, model, usage, cost_nanousd, .. } = self;
        Ok(Said { id, model, content, tool_calls, finish, usage, cost_nanousd })
    }
}

impl Said {
    /// As `wit/README.md` lists it.
    pub fn to_json(&self, used: &ModelUse, price: Option<&Price>, tries: &[Try]) -> Result<String, Failure> {
        #[derive(Serialize)]
        struct Output<'a> {
            provider: &'a str,
            model: &'a str,
            id: &'a str,
            content: Option<&'a str>,
            tool_calls: &'a [ToolCall],
            finish_reason: &'static str,
            usage: Usage,
            cost_nanousd: Option<u64>,
            price: Option<&'a Price>,
            tries: &'a [Try],
        }
        let output = Output {
            provider: &used.provider,
            model: &used.model,
            id: &self.id,
            content: self.content.as_deref(),
            tool_calls: &self.tool_calls,
            finish_reason: used.finish.name(),
            usage: used.usage,
            cost_nanousd: used.cost_nanousd,
            price,
            tries,
        };
        let json = serde_json::to_string(&output).expect("the output holds only text and numbers");
        if json.len() > trackway_replay::Value::MAX_BYTES {
            let message = format!("the answer takes {} bytes as JSON", json.len());
            return Err(Failure::permanent(code::TOO_LARGE, message));
        }
        Ok(json)
    }
}

/// Names are shown and kept in entries.
pub(super) fn cut(text: &str) -> String {
    let end = (0..=text.len().min(NAME_MAX_BYTES)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}

/// A whole event or body, which is an object.
pub(super) fn object(text: &str) -> Result<Value, Wrong> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Wrong::Garbage("it sent JSON that is no object".to_owned())),
        Err(error) => Err(Wrong::Garbage(format!("it sent what is not JSON: {error}"))),
    }
}

/// The text at `path`, if there is one.
pub(super) fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path).and_then(Value::as_str)
}

/// The number at `path`; 0 if there is none.
pub(super) fn count(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

/// An error that a provider tells in the middle of an answer.
pub(super) fn told(error: &Value) -> Wrong {
    let word = |name: &str| match error.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let message = match error {
        Value::String(message) => message.clone(),
        _ => word("message"),
    };
    Wrong::Told(Told { kind: word("type"), code: word("code"), message })
}
