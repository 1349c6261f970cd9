//! Rows that somebody who writes to the disk puts somewhere else.

use super::*;
use crate::{EntityWrite, Hardening, Sealing, SledOptions, SledStorage, Storage, StorageErrorKind, Wrap};
use bytes::Bytes;
use trackway_replay::{Digest, FrameId, Position, RunId, Timestamp};
use zeroize::Zeroizing;

/// Of a server that keeps no secrets from a test.
struct Open;

impl Wrap for Open {
    fn wrap(&self, _about: &[u8], key: &[u8]) -> Result<String, StorageError> {
        Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn unwrap(&self, _about: &[u8], wrapped: &str) -> Result<Zeroizing<Vec<u8>>, StorageError> {
        let pairs = wrapped.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("hexadecimal"));
        Ok(Zeroizing::new(pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()))
    }

    fn is_current(&self, _wrapped: &str) -> bool {
        true
    }
}

fn run(tenant: u32, run: u128) -> crate::RunKey {
    crate::RunKey { tenant: TenantId(tenant), run: RunId(run) }
}

async fn begin(store: &SledStorage, run: crate::RunKey) {
    let append = crate::Append {
        run,
        position: Position::FIRST,
        entries: 1,
        previous: None,
        id: FrameId(run.run.0),
        frame: Bytes::from(format!("said by {run:?}")),
        rows: crate::Rows::default(),
    };
    assert!(matches!(store.append(append).await, crate::Appended::Durable));
}

#[tokio::test]
async fn a_sealed_row_opens_nowhere_but_in_its_own_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let sealing = Sealing { wrap: Some(Arc::new(Open)), every_tenant: true };
    let options = SledOptions { sealing, cache_bytes: 8 << 20, hardening: Hardening::NoWait, ..SledOptions::default() };
    let store = SledStorage::open(folder.path(), options).expect("it opens");
    let (one, other, strange) = (run(1, 1), run(1, 2), run(2, 1));
    for run in [one, other, strange] {
        begin(&store, run).await;
    }
    let place = |run| key::frame(run, Position::FIRST);
    let db = &store.shared.db;
    let sound = db.get(place(one)).expect("read").expect("a row");
    for from in [other, strange] {
        let row = db.get(place(from)).expect("read").expect("a row");
        // With the checksum that it would have had there, and with another commit.
        db.insert(place(one), super::super::row::with_checksum(&place(one), &row)).expect("written");
        store.shared.recent.forget(one);
        let error = store.frames(one, Position::FIRST, 1).await.expect_err("it is another one's");
        assert_eq!(error.kind, StorageErrorKind::Damaged);
        assert!(error.message.contains("did not stand here"), "{error}");
    }
    let mut later = sound.to_vec();
    later[5] ^= 1;
    db.insert(place(one), super::super::row::with_checksum(&place(one), &later)).expect("written");
    store.frames(one, Position::FIRST, 1).await.expect_err("it was not written by that commit");
    // One that is not sealed at all, of a tenant whose rows all are.
    let plain = super::super::row::Writer::default().bytes(&Spot::open(&place(one)), 1, &[0; 40]);
    db.insert(place(one), plain).expect("written");
    let error = store.frames(one, Position::FIRST, 1).await.expect_err("it is not sealed");
    assert!(error.message.contains("not sealed"), "{error}");
    db.insert(place(one), sound).expect("written");
    assert_eq!(store.frames(one, Position::FIRST, 1).await.expect("sound").len(), 1);

    // Of two entities neither takes the place of the other.
    for name in ["a", "b"] {
        let value = Some(format!("\"{name}\"").into());
        let write = EntityWrite { name: "n".into(), key: name.into(), if_version: None, value, at: Timestamp(1) };
        store.write_entity(TenantId(1), write).await.expect("written");
    }
    let spots = ["a", "b"].map(|name| store.shared.in_tree(&key::entity(TenantId(1), "n", name)).into_owned());
    let row = db.get(&spots[1]).expect("read").expect("a row");
    db.insert(&spots[0], super::super::row::with_checksum(&spots[0], &row)).expect("written");
    store.entity(TenantId(1), "n", "a").await.expect_err("it is the other one");
    assert_eq!(&*store.entity(TenantId(1), "n", "b").await.expect("sound").expect("it is there").value, "\"b\"");
}

#[tokio::test]
async fn equal_pieces_of_a_run_stand_once_and_no_digest_tells_what_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let sealing = Sealing { wrap: Some(Arc::new(Open)), every_tenant: true };
    let options = SledOptions { sealing, cache_bytes: 8 << 20, hardening: Hardening::NoWait, ..SledOptions::default() };
    let store = SledStorage::open(folder.path(), options).expect("it opens");
    let bytes = |seed: u8| -> Vec<u8> {
        let blocks = (0_u32..1_000).flat_map(|nth| Digest::of(&[&[seed], nth.to_le_bytes().as_slice()].concat()).0);
        blocks.collect()
    };
    let (first, longer) = (bytes(1), [bytes(1), bytes(2)[..900].to_vec()].concat());
    let count = |of: crate::RunKey| store.shared.db.scan_prefix(key::of_run(Kind::Piece, of)).count();
    let put = async |of, bytes: &[u8]| {
        store.put_payload(of, Digest::of(bytes), Bytes::copy_from_slice(bytes)).await.expect("written");
    };
    put(run(1, 1), &first).await;
    let before = count(run(1, 1));
    put(run(1, 1), &longer).await;
    assert!(before > 5 && count(run(1, 1)) <= before + 2, "{before} pieces, then {}", count(run(1, 1)));
    put(run(2, 1), &first).await;
    let names = |of| -> Vec<Vec<u8>> {
        let keys = store.shared.db.scan_prefix(key::of_run(Kind::Piece, of)).keys();
        keys.map(|key| key.expect("read")[RUN_BYTES..].to_vec()).collect()
    };
    let (here, there) = (names(run(1, 1)), names(run(2, 1)));
    assert!(here.iter().all(|name| !there.contains(name)), "two tenants have the name of a piece in common");
    let piece = Digest::of(crate::pieces::pieces(&first).next().expect("a piece"));
    assert!(!here.iter().any(|name| piece.0.starts_with(name)));
}
