use bytes::Bytes;
use trackway_replay::{
    Claimed, Digest, End, Entry, Epoch, Finished, Frame, FrameId, Head, Kind, Limits, Position, RULES, RunId, RunState,
    Started, Status, TenantId, Timestamp, Value, code,
};
use trackway_storage::{Append, Appended, ComponentRecord, MemoryStorage, Owner, Rows, RunKey, Storage};

use super::{Others, StoreReport, check};

const RUN: RunKey = RunKey { tenant: TenantId::DEFAULT, run: RunId(7) };
const LARGE: &[u8] = b"\"a large output\"";

fn code() -> Digest {
    Digest::of(b"code")
}

fn entry(position: u64, kind: Kind) -> Entry {
    Entry { position: Position(position), epoch: Epoch(1), time: Timestamp(10 + position), kind }
}

/// A run that has ended, its output beside the journal.
fn entries() -> Vec<Entry> {
    let started = Started {
        run: RUN.run,
        workflow: "greet".into(),
        deployment: "hello".into(),
        component: code(),
        input: Value::null(),
        seed: [1; 32],
        key_seed: [2; 32],
        limits: Limits::default(),
        rules: RULES,
    };
    let output = Value::Stored { digest: Digest::of(LARGE), size_bytes: LARGE.len() as u64 };
    let finished = Finished { end: End::Succeeded(output), fingerprint: None, unread: Vec::new() };
    vec![
        entry(0, Kind::Started(Box::new(started))),
        entry(1, Kind::Claimed(Claimed { worker: "w".into(), engine: "e".into(), component: code() })),
        entry(2, Kind::Finished(finished)),
    ]
}

/// What is to be stored, to be spoiled before.
struct Given {
    component: bool,
    payload: Option<&'static [u8]>,
    frames: Vec<Vec<u8>>,
    rows: Rows,
}

impl Given {
    fn sound() -> Given {
        let entries = entries();
        let head = RunState::of(&entries).expect("a journal").head();
        let frames = vec![Frame::encode(&entries[..2]), Frame::encode(&entries[2..])];
        let rows = Rows { head: Some(head), owner: Owner::End, ..Rows::default() };
        Given { component: true, payload: Some(LARGE), frames, rows }
    }

    async fn report(self) -> StoreReport {
        let store = MemoryStorage::new();
        if self.component {
            let record = ComponentRecord {
                digest: code(),
                size_bytes: 4,
                uploaded: Timestamp(1),
                manifest: "{}".into(),
                pure: true,
            };
            store.put_component(TenantId::DEFAULT, record, Bytes::from_static(b"code")).await.expect("stored");
        }
        if let Some(bytes) = self.payload {
            store.put_payload(RUN, Digest::of(LARGE), Bytes::from_static(bytes)).await.expect("stored");
        }
        let last = self.frames.len() - 1;
        let mut position = Position::FIRST;
        for (number, frame) in self.frames.into_iter().enumerate() {
            let entries = if number == 0 { 2 } else { 1 };
            let append = Append {
                run: RUN,
                position,
                entries,
                previous: (number > 0).then_some(FrameId(number as u128)),
                id: FrameId(number as u128 + 1),
                frame: frame.into(),
                rows: if number == last { self.rows.clone() } else { Rows::default() },
            };
            assert!(matches!(store.append(append).await, Appended::Durable));
            position = position.plus(u64::from(entries));
        }
        check(&store, Others::None).await.expect("the store in memory can be read")
    }
}

/// The one flaw, with its position.
#[track_caller]
fn only(report: &StoreReport, position: Option<u64>, words: &str) {
    let [flaw] = report.flaws.as_slice() else { panic!("{:?}", report.flaws) };
    assert_eq!((flaw.run, flaw.position), (Some(RUN.run), position.map(Position)));
    assert!(flaw.what.contains(words) && !flaw.advice.is_empty(), "{flaw:?}");
}

#[tokio::test]
async fn a_sound_store_has_no_flaws_and_is_counted() {
    let report = Given::sound().report().await;
    assert_eq!(report, StoreReport { runs: 1, entries: 3, payloads: 1, components: 1, ..StoreReport::default() });
}

#[tokio::test]
async fn a_value_that_is_missing_or_another_one_is_named_with_the_entry_that_wants_it() {
    only(&Given { payload: None, ..Given::sound() }.report().await, Some(2), "is missing");
    only(&Given { payload: Some(b"\"another output\""), ..Given::sound() }.report().await, Some(2), "is not what");
}

#[tokio::test]
async fn a_component_that_is_missing_is_named_with_its_run_unless_that_has_ended() {
    let open = open_with(Status::Stuck, Some("TW0505"));
    only(&Given { component: false, ..open }.report().await, None, "its component");
    let ended = Given { component: false, ..Given::sound() }.report().await;
    assert!(ended.is_good(), "it was removed: {:?}", ended.flaws);
}

#[tokio::test]
async fn a_head_or_a_mark_that_the_journal_does_not_make_is_a_flaw() {
    let mut given = Given::sound();
    given.rows.head.as_mut().expect("given").steps = 3;
    only(&given.report().await, None, "its head says");
    let mut given = Given::sound();
    given.rows.head = None;
    only(&given.report().await, None, "no head");
    let mut given = Given::sound();
    given.rows.owner = Owner::Keep;
    // A head that says ended belongs to a run that is: the mark is what does not fit.
    only(&given.report().await, None, "marked as open");
}

/// A run that has not ended, parked with a head that says so of it.
fn open_with(status: Status, code: Option<&str>) -> Given {
    let entries = entries();
    let due = Some(Timestamp(99));
    let folded = RunState::of(&entries[..2]).expect("a journal").head();
    let head = Head { status, due, code: code.map(Into::into), message: Some("why".into()), ..folded };
    let rows = Rows { head: Some(head), owner: Owner::Park { due }, ..Rows::default() };
    Given { payload: None, frames: vec![Frame::encode(&entries[..2])], rows, ..Given::sound() }
}

#[tokio::test]
async fn a_run_that_a_quota_holds_has_no_flaw_and_one_that_its_journal_does_not_pause_has() {
    let held = open_with(Status::Paused, Some(code::QUOTA_EXCEEDED)).report().await;
    assert!(held.is_good(), "{:?}", held.flaws);
    let stuck = open_with(Status::Stuck, Some("TW0401")).report().await;
    assert!(stuck.is_good(), "{:?}", stuck.flaws);
    assert_eq!(open_with(Status::Paused, None).report().await.flaws.len(), 2, "its head and its timer");
}

#[tokio::test]
async fn frames_that_cannot_be_read_or_make_no_sense_are_named_with_their_position() {
    let mut given = Given::sound();
    let last = given.frames[1].len() - 1;
    given.frames[1][last] ^= 1;
    only(&given.report().await, Some(2), "checksum");
    // Whole, and yet no journal.
    let mut given = Given::sound();
    let again = entries().remove(0).kind;
    given.frames[1] = Frame::encode(&[entry(2, again)]);
    only(&given.report().await, Some(2), "does not fit");
    // Whole, and of another place.
    let mut given = Given::sound();
    let last = entries().remove(2);
    given.frames[1] = Frame::encode(&[Entry { position: Position(5), ..last }]);
    only(&given.report().await, Some(2), "do not agree");
}
