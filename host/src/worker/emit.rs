//! What guests tell those who follow a run: how it is held against the record, and why it is refused. It looks
//! at nothing but what is told.

use std::sync::Arc;
use trackway_replay::{Act, Command as Produced, Failure, Value, code, digest_of_emit};

use super::check;

/// Of what stays: it stands in its entry, so many go in a frame.
const EVENT_MAX_BYTES: usize = 32 << 10;
/// Of what does not stay: a piece of something, and it is held in memory for every reader.
const DELTA_MAX_BYTES: usize = 16 << 10;
/// By one instance: a loop that tells without end is heard no longer. More than any answer of a model has.
const DELTAS_MAX: u32 = 1_000_000;
/// Of one instance, together.
const DELTAS_MAX_BYTES: usize = 256 << 20;

/// So the data of every event stands in its entry.
const _: () = assert!(EVENT_MAX_BYTES <= Value::INLINE_MAX_BYTES);

/// As it is held against the record, or what is wrong with it.
pub(super) fn produced(event: &str, data: &str, at: Option<&str>) -> Result<Produced, Failure> {
    checked(event, data, EVENT_MAX_BYTES)?;
    let at = at.map(|at| check::cut(at, check::AT_MAX_BYTES).into());
    Ok(Produced { act: Act::Emit { name: event.into() }, digest: digest_of_emit(event, data), at })
}

pub(super) fn delta(event: &str, data: &str) -> Result<(), Failure> {
    checked(event, data, DELTA_MAX_BYTES)
}

fn checked(event: &str, data: &str, max_bytes: usize) -> Result<(), Failure> {
    check::name("an event", event)?;
    if data.len() > max_bytes {
        let message = format!("the data of `{event}` is {} bytes; the limit is {max_bytes}", data.len());
        return Err(Failure::permanent(code::TOO_LARGE, message));
    }
    check::json(data, code::BAD_REQUEST)
}

/// The data of an event, which was checked.
pub(super) fn data(text: &str) -> Value {
    Value::Inline(Arc::from(text))
}

/// How much of what does not stay one instance may still tell. It counts recalled pieces too, so that a limit
/// falls on the same one however often the instance is run again.
#[derive(Debug, Default)]
pub(super) struct DeltaRoom {
    told: u32,
    size_bytes: usize,
}

impl DeltaRoom {
    /// The number of this one, from 1; `None`: it is not heard any more.
    pub fn take(&mut self, event: &str, data: &str) -> Option<u32> {
        self.size_bytes += event.len() + data.len();
        if self.told >= DELTAS_MAX || self.size_bytes > DELTAS_MAX_BYTES {
            // From here on none is, whatever its size.
            self.told = DELTAS_MAX;
            return None;
        }
        self.told += 1;
        Some(self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_tells_without_end_is_heard_no_longer() {
        let mut room = DeltaRoom::default();
        let piece = "x".repeat(DELTA_MAX_BYTES);
        let heard = (0..DELTAS_MAX).map_while(|_| room.take("token", &piece)).count();
        assert!(heard < DELTAS_MAX_BYTES / DELTA_MAX_BYTES + 1 && heard > 1_000, "{heard}");
        assert_eq!(room.take("token", ""), None, "not even a small one");
        let mut room = DeltaRoom::default();
        assert_eq!((0..=DELTAS_MAX).map_while(|_| room.take("t", "1")).last(), Some(DELTAS_MAX));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let code =
            |event: &str, data: &str| produced(event, data, None).map(drop).map_err(|failure| failure.code.to_string());
        let refused = |code: &str| Err(code.to_owned());
        assert_eq!(code("page", "{\"n\":1}"), Ok(()));
        assert_eq!(code("", "1"), refused("BAD_REQUEST"));
        assert_eq!(code("a b", "1"), refused("BAD_REQUEST"));
        assert_eq!(code("page", "{"), refused("BAD_REQUEST"));
        let large = format!("\"{}\"", "x".repeat(EVENT_MAX_BYTES));
        assert_eq!(code("page", &large), refused("TOO_LARGE"));
        let piece = delta("page", &large[..DELTA_MAX_BYTES + 1]).map_err(|failure| failure.code.to_string());
        assert_eq!(piece, refused("TOO_LARGE"));
    }
}
