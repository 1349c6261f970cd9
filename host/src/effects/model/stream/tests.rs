//! Bytes of providers, changed at random: whatever comes, it is an answer or an error, and it is bounded.

use super::*;
use crate::effects::model::providers::Dialect;

const CHAT: &str = concat!(
    "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"h\u{e9}\"}}]}\n\n",
    ": a remark\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}\r\n\r\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7}}\n\n",
    "data: [DONE]\n\n",
);
const RESPONSES: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"model\":\"m\"}}\n\n",
    "data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"hi\"}\n\n",
    "data: {\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"type\":\"function_call\",\"call_id\":\"a\",\"name\":\"f\",\"arguments\":\"{}\"}}\n\n",
    "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":5}}}\n\n",
);
const MESSAGES: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"m\",\"usage\":{\"input_tokens\":5}}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n",
    "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\"}}\n\n",
    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n",
    "data: {\"type\":\"message_stop\"}\n\n",
);
const ROUNDS: usize = 4_000;

fn readers() -> [(&'static str, Reader); 3] {
    [
        (CHAT, Reader::Chat(openai_chat::Reader::new(Dialect::OpenRouter))),
        (RESPONSES, Reader::Responses(openai_responses::Reader::default())),
        (MESSAGES, Reader::Messages(anthropic::Reader::default())),
    ]
}

/// A small generator: the same bytes in every run of the test.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn read(mut reader: Reader, bytes: &[u8], dice: &mut Dice) -> Result<Said, Wrong> {
    let mut events = Events::default();
    let mut rest = bytes;
    while !rest.is_empty() && !reader.is_done() {
        let (chunk, left) = rest.split_at(1 + dice.below(rest.len()));
        events.push(chunk);
        rest = left;
        while let Some(event) = events.next()? {
            reader.event(&event.data)?;
        }
    }
    reader.end()
}

fn changed(text: &str, dice: &mut Dice) -> Vec<u8> {
    const WORDS: [&str; 10] =
        ["null", "-1", "1e999", "[]", "{}", "\"", "18446744073709551616", "\\ud800", "\n\n", "data: "];
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=dice.below(4) {
        let place = dice.below(bytes.len());
        match dice.below(4) {
            0 => bytes[place] = dice.below(256) as u8,
            1 => bytes.truncate(place.max(1)),
            2 => drop(bytes.splice(place..place, WORDS[dice.below(WORDS.len())].bytes())),
            _ => {
                let end = place + dice.below(bytes.len() - place);
                drop(bytes.splice(place..=end, WORDS[dice.below(WORDS.len())].bytes()));
            }
        }
        if bytes.is_empty() {
            bytes.push(b'{');
        }
    }
    bytes
}

#[test]
fn changed_answers_are_answers_or_errors() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for (text, reader) in readers() {
        assert!(read(reader, text.as_bytes(), &mut dice).is_ok(), "{text}");
    }
    let (mut good, mut bad) = (0, 0);
    for _ in 0..ROUNDS {
        for (text, reader) in readers() {
            let bytes = changed(text, &mut dice);
            match read(reader, &bytes, &mut dice) {
                Ok(said) => {
                    good += 1;
                    assert!(said.content.is_none_or(|content| content.len() <= bytes.len()));
                }
                Err(_) => bad += 1,
            }
        }
        for (text, reader) in readers() {
            let body = String::from_utf8_lossy(&changed(text, &mut dice)).replace("data: ", "");
            drop(reader.whole(&body));
            drop(Told::of_body(&body));
        }
    }
    assert!(good > 100 && bad > 100, "both happen: {good} {bad}");
}

#[test]
fn pieces_are_small_and_lose_nothing() {
    for text in ["", "a", &"\u{1f600}".repeat(5_000), &"x".repeat(PIECE_MAX_BYTES + 1)] {
        let found: Vec<&str> = pieces(text).collect();
        assert_eq!(found.concat(), text);
        assert!(found.iter().all(|piece| (1..=PIECE_MAX_BYTES).contains(&piece.len())));
    }
}
