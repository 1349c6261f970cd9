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

fn line(cause: u64, size_bytes: usize) -> (Position, LogLine) {
    let key = trackway_storage::LogKey { step: 0, attempt: 0, effect: 0, line: 0 };
    let time = trackway_replay::Timestamp(1);
    (
        Position(cause),
        LogLine { key, time, level: "info".into(), message: "x".repeat(size_bytes).into(), fields: "".into() },
    )
}

#[test]
fn lines_are_written_by_themselves_in_small_pieces_and_only_of_what_is_durable() {
    let durable = Position(4);
    assert_eq!(first_lines(&[], durable), (0, false));
    let mut lines: Vec<_> = (0..LINES_MAX).map(|_| line(4, 10)).collect();
    lines.push(line(5, 10));
    assert_eq!(first_lines(&lines, durable), (LINES_MAX, false), "the last one tells of what is not durable");
    assert_eq!(first_lines(&lines, Position(5)), (LINES_MAX, true));
    assert_eq!(first_lines(&lines, Position(3)), (0, false));
    let large: Vec<_> = (0..4).map(|_| line(1, LINES_MAX_BYTES / 2)).collect();
    assert_eq!(first_lines(&large, durable), (2, true));
    let larger = [line(1, LINES_MAX_BYTES + 1), line(1, 1)];
    assert_eq!(first_lines(&larger, durable), (1, true), "one goes however large it is");
}
