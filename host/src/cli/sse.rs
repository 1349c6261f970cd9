//! Server-sent events, read from chunks as they arrive. Pure: bytes in, events out.

/// A server that sends a longer event than this is not ours: output and rows have limits.
const EVENT_MAX_BYTES: usize = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    pub id: Option<String>,
    pub name: String,
    pub data: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// What has arrived of an event that is not whole yet.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    event: Event,
    after_carriage_return: bool,
}

impl Reader {
    /// Takes the next bytes and gives the events that they complete.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            let half_of_crlf = *byte == b'\n' && std::mem::take(&mut self.after_carriage_return);
            match byte {
                b'\n' if half_of_crlf => {}
                b'\n' | b'\r' => {
                    self.after_carriage_return = *byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.line(&String::from_utf8_lossy(&line)));
                }
                _ => {
                    self.after_carriage_return = false;
                    if self.line.len() + self.event.data.len() >= EVENT_MAX_BYTES {
                        return Err(TooLong);
                    }
                    self.line.push(*byte);
                }
            }
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = Some(value.to_owned()),
            // Comments keep the connection alive; fields that nobody defined are ignored.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: Option<&str>, name: &str, data: &str) -> Event {
        Event { id: id.map(str::to_owned), name: name.to_owned(), data: data.to_owned() }
    }

    const STREAM: &str =
        ": hello\n\nid: 4\nevent: progress\ndata: {\"a\":\ndata: 1}\n\nretry: 5\ndata:x\r\n\r\nid: 9\n\n";

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let expected = [event(Some("4"), "progress", "{\"a\":\n1}"), event(None, "", "x")];
        for size in 1..=STREAM.len() {
            let mut reader = Reader::default();
            let events: Vec<Event> =
                STREAM.as_bytes().chunks(size).flat_map(|chunk| reader.take(chunk).expect("short")).collect();
            assert_eq!(events, expected, "in chunks of {size}");
        }
    }

    #[test]
    fn an_event_that_is_cut_off_is_not_given() {
        assert_eq!(Reader::default().take(b"data: 1\n").expect("short"), []);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let chunk = vec![b'x'; 1 << 20];
        let mut reader = Reader::default();
        assert!((0..65).any(|_| reader.take(&chunk) == Err(TooLong)));
    }
}
