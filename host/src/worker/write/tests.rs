use trackway_replay::{End, Epoch, Finished, Value};

use super::*;

#[test]
fn an_end_names_as_many_unread_messages_as_its_frame_has_room_for() {
    for output_bytes in [0, 30 << 10, 55 << 10, FRAME_MAX_BYTES] {
        let end = End::Succeeded(Value::inline("x".repeat(output_bytes)));
        let finished = Finished { end, fingerprint: None, unread: Vec::new() };
        let (position, time) = (Position(7), trackway_replay::Timestamp(9));
        let mut entries = [Entry { position, time, epoch: Epoch(1), kind: Kind::Finished(finished) }];
        let before = Frame::encode(&entries).len();
        let room = room_for_unread(before);
        let frame = named_in(&mut entries, &vec![MessageId(u128::MAX); room]);
        assert!(frame.len() <= FRAME_MAX_BYTES.max(before), "{output_bytes}: {}", frame.len());
        // Nothing is left that one more would have fitted into twice.
        assert!(frame.len() + 2 * MESSAGE_MAX_BYTES + LENGTH_MAX_BYTES > FRAME_MAX_BYTES, "{output_bytes}: {room}");
    }
}
