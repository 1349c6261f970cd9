//! Server-sent events out of bytes as they come (WHATWG HTML, 9.2.6). Pure; it never holds more than one event.

use super::errors::Wrong;

/// As much as one event of an answer of full size can take, escaped.
const EVENT_MAX_BYTES: usize = 16 << 20;

/// One event. What providers send beside name and data has no meaning here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub name: String,
    pub data: String,
}

#[derive(Debug, Default)]
pub(super) struct Events {
    /// What has come and was not read; from `at` on.
    bytes: Vec<u8>,
    at: usize,
    /// Up to here there is no end of a line.
    seen: usize,
    next: Event,
    has_data: bool,
}

impl Events {
    pub fn push(&mut self, chunk: &[u8]) {
        self.bytes.drain(..self.at);
        self.seen -= self.at;
        self.at = 0;
        self.bytes.extend_from_slice(chunk);
    }

    /// The next whole event, if there is one.
    pub fn next(&mut self) -> Result<Option<Event>, Wrong> {
        while let Some(end) = self.bytes[self.seen..].iter().position(|byte| *byte == b'\n') {
            let end = self.seen + end;
            let line = self.bytes[self.at..end].strip_suffix(b"\r").unwrap_or(&self.bytes[self.at..end]);
            let line = std::str::from_utf8(line).map_err(|_| Wrong::Garbage("it sent what is no text".to_owned()))?;
            let is_end = line.is_empty();
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "data" => {
                    if self.has_data {
                        self.next.data.push('\n');
                    }
                    self.next.data.push_str(value);
                    self.has_data = true;
                }
                "event" => value.clone_into(&mut self.next.name),
                // Remarks keep a connection open; ids and waits are for who comes again.
                _ => {}
            }
            (self.at, self.seen) = (end + 1, end + 1);
            if is_end {
                let event = std::mem::take(&mut self.next);
                if std::mem::take(&mut self.has_data) {
                    return Ok(Some(event));
                }
            }
        }
        self.seen = self.bytes.len();
        if self.bytes.len() - self.at + self.next.data.len() > EVENT_MAX_BYTES {
            return Err(Wrong::TooLarge(format!("an event of the answer has more than {EVENT_MAX_BYTES} bytes")));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str, pieces: usize) -> Vec<(String, String)> {
        let mut events = Events::default();
        let mut found = Vec::new();
        for piece in text.as_bytes().chunks(pieces) {
            events.push(piece);
            while let Some(event) = events.next().expect("it is well formed") {
                found.push((event.name, event.data));
            }
        }
        found
    }

    #[test]
    fn events_are_the_same_however_they_are_cut_into_pieces() {
        let text =
            ": hello\n\nevent: ping\ndata: {}\n\ndata: a\r\ndata:b\r\n\r\nid: 7\n\ndata: zwölf\n\nevent: half\ndata: x";
        let expected = [("ping", "{}"), ("", "a\nb"), ("", "zwölf")];
        let expected: Vec<_> = expected.map(|(name, data)| (name.to_owned(), data.to_owned())).into();
        for pieces in 1..=text.len() {
            assert_eq!(events(text, pieces), expected, "{pieces}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut events = Events::default();
        events.push(b"data: ");
        let refused = (0..=17).find_map(|_| {
            events.push(&vec![b'x'; 1 << 20]);
            events.next().err()
        });
        assert!(matches!(refused, Some(Wrong::TooLarge(_))), "{refused:?}");
        let mut events = Events::default();
        events.push(b"data: \xff\xfe\n\n");
        assert!(matches!(events.next(), Err(Wrong::Garbage(_))));
    }
}
