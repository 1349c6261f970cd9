//! What models say to the agents of the examples, by what was said before. It never asks for anything itself.

use serde_json::{Value as Json, json};
use trackway::effects::Message;

/// The order that a customer of the shop in `agent` wants to give back.
pub const ORDER: &str = "/orders/4711";

/// A customer who says this wants money back.
pub const BROKEN: &str = "My lantern broke";

/// As one answer of a model has them.
pub struct Said {
    pub content: Option<String>,
    pub calls: Vec<Json>,
}

/// `number`: what the world says to the last of it.
pub fn says(messages: &[Message], number: u64) -> Said {
    let answered = messages.iter().filter(|message| message.tool_call_id.is_some()).count();
    let is_said = |message: &Message| message.content.as_deref().is_some_and(|content| content.contains(BROKEN));
    if !messages.iter().any(is_said) {
        return match answered {
            0 => calls("read_page", &json!({ "url": "http://world.test/moon" })),
            _ => text(json!({ "answer": number.to_string(), "points": [], "sources": [] }).to_string()),
        };
    }
    match answered {
        0 => calls("hand_off_to_refunds", &json!({})),
        1 => calls("find_order", &json!({ "order": "4711" })),
        2 => calls("refund", &json!({ "order": "4711", "cents": 4_200, "why": "it broke" })),
        _ => text(number.to_string()),
    }
}

fn calls(name: &str, arguments: &Json) -> Said {
    Said { content: None, calls: vec![json!({ "id": "c1", "name": name, "arguments": arguments.to_string() })] }
}

fn text(content: String) -> Said {
    Said { content: Some(content), calls: Vec::new() }
}
