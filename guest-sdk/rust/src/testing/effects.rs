//! What functions asked for in a test, as a tree: what an agent did stands under it. It only takes down.

use serde_json::Value as Json;

use super::{Host, Instance};
use crate::Failure;

#[derive(Default)]
pub(super) struct Effects {
    all: Vec<Effect>,
}

struct Effect {
    text: String,
    /// The span that it stands in.
    within: Option<usize>,
}

impl Effects {
    fn lines(&self, within: Option<usize>, depth: usize, lines: &mut Vec<String>) {
        for (place, effect) in self.all.iter().enumerate().filter(|(_, effect)| effect.within == within) {
            lines.push(format!("{:1$}{2}", "", 2 * depth, effect.text));
            self.lines(Some(place), depth + 1, lines);
        }
    }
}

impl Host {
    /// What functions asked for, a line for each: agents, tools, calls of models, HTTP, questions. What stands in an agent or
    /// a tool is two spaces further in; one that failed names its code.
    pub fn effects(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.shared.effects.borrow().lines(None, 0, &mut lines);
        lines
    }
}

impl Instance {
    /// Its place among all.
    pub(super) fn note(&self, options: &str, text: String) -> usize {
        let options: Json = serde_json::from_str(options).unwrap_or_default();
        let span = options["span"].as_u64().and_then(|span| u32::try_from(span).ok());
        let within = span.map(|span| {
            let spans = &self.inbox.borrow().spans;
            *spans.get(&span).unwrap_or_else(|| panic!("`{text}` belongs to span {span}, which is not open"))
        });
        let mut effects = self.shared.effects.borrow_mut();
        effects.all.push(Effect { text, within });
        effects.all.len() - 1
    }

    pub(super) fn open_span(&self, place: usize) -> u32 {
        let mut inbox = self.inbox.borrow_mut();
        inbox.ids += 1;
        let id = inbox.ids;
        inbox.spans.insert(id, place);
        id
    }

    pub(super) fn close_span(&self, id: u32, failure: Option<&str>) {
        let place = self.inbox.borrow_mut().spans.remove(&id);
        let place = place.unwrap_or_else(|| panic!("span {id} is not open, and was ended"));
        if let Some(failure) = failure {
            let text = &mut self.shared.effects.borrow_mut().all[place].text;
            text.push_str(&format!(": {}", Failure::from_text(failure).code));
        }
    }
}
