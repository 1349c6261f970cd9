//! Payloads as they stand in the tree.

use super::*;
use crate::pieces::CUT_MAX_BYTES;
use crate::sled::key::Kind;
use crate::sled::spot::Spot;
use crate::{SledOptions, SledStorage, Storage};
use trackway_replay::{RunId, TenantId};

const RUN: RunKey = RunKey { tenant: TenantId::DEFAULT, run: RunId(1) };

/// Text that says something else everywhere.
fn text(seed: u64, size_bytes: usize) -> Bytes {
    let words = (0_u64..).flat_map(|nth| Digest::of(&[seed.to_le_bytes(), nth.to_le_bytes()].concat()).0);
    words.map(|byte| b'a' + byte % 26).take(size_bytes).collect()
}

fn open(folder: &std::path::Path) -> SledStorage {
    SledStorage::open(folder, SledOptions { cache_bytes: 8 << 20, ..SledOptions::default() }).expect("it opens")
}

async fn put(store: &SledStorage, bytes: &Bytes) {
    store.put_payload(RUN, Digest::of(bytes), bytes.clone()).await.expect("written");
}

/// What the payloads of the run take, keys and checksums included.
fn stored_bytes(store: &SledStorage) -> usize {
    let kinds = [Kind::Payload, Kind::Pieces, Kind::Piece].into_iter();
    let rows = kinds.flat_map(|kind| store.shared.db.scan_prefix(key::of_run(kind, RUN)));
    rows.map(|pair| pair.map(|(key, value)| key.len() + value.len()).expect("readable")).sum()
}

#[tokio::test]
async fn a_damaged_or_missing_piece_is_named_and_written_anew_by_the_next_payload_that_has_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(folder.path());
    let (bytes, other) = (text(1, 20_000), Bytes::from([text(1, 20_000), text(2, 900)].concat()));
    put(&store, &bytes).await;
    let first = store.shared.db.scan_prefix(key::of_run(Kind::Piece, RUN)).next().expect("a piece");
    let (piece, sound) = first.expect("readable");
    let damaged = [&sound[..sound.len() - 1], &[sound[sound.len() - 1] ^ 1]].concat();
    for spoiled in [Some(damaged), None] {
        match &spoiled {
            Some(damaged) => store.shared.db.insert(&piece, damaged.as_slice()).expect("written"),
            None => store.shared.db.remove(&piece).expect("written"),
        };
        let error = store.payload(RUN, Digest::of(&bytes)).await.expect_err("it is not whole");
        assert_eq!(error.kind, StorageErrorKind::Damaged);
        assert!(error.message.contains(&RUN.run.to_string()), "{error}");
        let flaws = store.check_run(RUN).await.expect("readable").flaws;
        assert!(flaws.contains(&error.message), "{flaws:?}: {error}");
        put(&store, &other).await;
        assert_eq!(store.payload(RUN, Digest::of(&bytes)).await.expect("whole"), Some(bytes.clone()));
        assert_eq!(store.payload(RUN, Digest::of(&other)).await.expect("whole"), Some(other.clone()));
    }
}

/// Stores of earlier days have them so.
#[tokio::test]
async fn a_payload_that_stands_whole_in_a_row_or_a_file_is_read_as_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(folder.path());
    let (row, file) = (text(1, 20_000), text(2, 50_000));
    let key = key::payload(RUN, Digest::of(&row));
    let value = crate::sled::row::Writer::default().bytes(&Spot::open(&key), 1, &row);
    store.shared.db.insert(key, value).expect("written");
    store.shared.put_payload_file(RUN, Digest::of(&file), &file).expect("written");
    for bytes in [row, file] {
        assert_eq!(store.payload(RUN, Digest::of(&bytes)).await.expect("whole"), Some(bytes.clone()));
        put(&store, &bytes).await;
        assert_eq!(store.payload(RUN, Digest::of(&bytes)).await.expect("whole"), Some(bytes));
    }
    assert_eq!(store.payloads(RUN).await.expect("readable").len(), 2);
}

/// What fifty calls of a model send whose instructions are long and whose conversation grows: whole they would be
/// fifty times the instructions, and the conversation fifty times over.
#[tokio::test]
async fn what_is_said_again_in_each_call_is_kept_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(folder.path());
    let (mut said, mut whole) = (text(1, 50 << 10).to_vec(), 0);
    for call in 0..50 {
        said.extend_from_slice(&text(2 + call, 600));
        let request = Bytes::from([b"{\"messages\":\"".as_slice(), &said, b"\",\"tools\":[]}"].concat());
        whole += request.len();
        put(&store, &request).await;
        assert_eq!(store.payload(RUN, Digest::of(&request)).await.expect("whole"), Some(request));
    }
    let kept = stored_bytes(&store);
    println!("50 calls of {whole} bytes in all are kept in {kept}");
    assert!(kept * 8 < whole, "{kept} of {whole} bytes");
}

#[test]
fn a_large_payload_is_written_in_small_parts_and_its_list_last() {
    let bytes = text(1, CUT_MAX_BYTES);
    let parts = parts(rows(Digest::of(&bytes), &bytes));
    assert!(parts.len() > 20, "{}", parts.len());
    let largest = parts.iter().map(|part| part.iter().map(PayloadRow::len).sum::<usize>()).max();
    assert!(largest.is_some_and(|largest| largest <= PART_MAX_BYTES), "{largest:?}");
    let mut rows = parts.into_iter().flatten();
    assert!(matches!(rows.next_back(), Some(PayloadRow::List(..))));
    let joined = rows.flat_map(|row| match row {
        PayloadRow::Piece(_, bytes) => bytes,
        PayloadRow::Whole(..) | PayloadRow::List(..) => panic!("only pieces stand before the list"),
    });
    assert_eq!(joined.collect::<Bytes>(), bytes);
}

#[tokio::test]
async fn no_list_is_written_where_a_part_before_it_could_not_be() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let options = SledOptions { cache_bytes: 8 << 20, reserve_bytes: u64::MAX, ..SledOptions::default() };
    let full = SledStorage::open(other.path(), options).expect("it opens");
    let store = open(folder.path());
    let bytes = text(1, 100_000);
    let (whole, rows) = (InParts::default(), rows(Digest::of(&bytes), &bytes));
    let (pieces, list) = rows.split_at(rows.len() - 1);
    let error = Draft::new(full.shared.clone()).put_payload(RUN, pieces, &whole).expect_err("there is no room");
    assert_eq!(error.kind, StorageErrorKind::Full);
    let mut draft = Draft::new(store.shared.clone());
    assert!(draft.put_payload(RUN, list, &whole).is_err(), "there is room, and nothing to list");
    assert!(draft.put_payload(RUN, &rows, &InParts::default()).is_ok());
}
