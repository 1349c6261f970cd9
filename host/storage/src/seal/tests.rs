//! What a seal holds, and where it does not open.

use super::*;
use crate::StorageErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use trackway_replay::TenantId;

const ONE: TenantId = TenantId(1);

/// A server whose key is one byte, over and over: enough to tell two of them apart.
struct Server(AtomicU8);

impl Server {
    fn key(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wrap for Server {
    fn wrap(&self, about: &[u8], key: &[u8]) -> Result<String, StorageError> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let masked: Vec<u8> = key.iter().map(|byte| byte ^ self.key()).collect();
        Ok(format!("{}:{}:{}", self.key(), hex(about), hex(&masked)))
    }

    fn unwrap(&self, about: &[u8], wrapped: &str) -> Result<Zeroizing<Vec<u8>>, StorageError> {
        let expected = self.wrap(about, &[])?;
        let Some(hex) = wrapped.strip_prefix(&expected) else {
            let kind = match wrapped.starts_with(&format!("{}:", self.key())) {
                true => StorageErrorKind::Damaged,
                false => StorageErrorKind::NoKey,
            };
            return Err(StorageError::new(kind, "it does not unwrap"));
        };
        let byte = |pair: &str| u8::from_str_radix(pair, 16).map(|byte| byte ^ self.key());
        let bytes = hex.as_bytes().chunks(2).map(|pair| byte(std::str::from_utf8(pair).expect("hexadecimal")));
        Ok(Zeroizing::new(bytes.collect::<Result<_, _>>().expect("hexadecimal")))
    }

    fn is_current(&self, wrapped: &str) -> bool {
        wrapped.starts_with(&format!("{}:", self.key()))
    }
}

pub(crate) fn sealing(server: u8) -> Sealing {
    Sealing { wrap: Some(Arc::new(Server(AtomicU8::new(server)))), every_tenant: true }
}

fn seals(folder: &Path, server: u8) -> Seals {
    Seals::open(folder.join("keys"), sealing(server)).expect("they open")
}

fn made(seals: &Seals, tenant: TenantId) -> Arc<Seal> {
    seals.of_writer(tenant, || Ok(true)).expect("made").expect("one is wanted")
}

#[track_caller]
fn refused(folder: &Path, sealing: Sealing, kind: StorageErrorKind) -> String {
    match Seals::open(folder.join("keys"), sealing) {
        Ok(_) => panic!("it opened"),
        Err(error) => {
            assert_eq!(error.kind, kind, "{error}");
            error.message
        }
    }
}

#[test]
fn what_is_sealed_opens_about_the_same_and_under_the_same_key_only() {
    let (seal, other) = (Seal::random(Extent::Whole).expect("made"), Seal::random(Extent::Whole).expect("made"));
    for text in [b"".as_slice(), b"said", &[7; 100_000]] {
        let sealed = seal.seal(b"here", text);
        assert_eq!(sealed.len(), text.len() + SEALED_MORE_BYTES);
        assert_eq!(seal.open(b"here", &sealed).as_deref(), Some(text));
        assert_eq!(seal.open(b"there", &sealed), None);
        assert_eq!(other.open(b"here", &sealed), None);
        for place in (0..sealed.len()).step_by(1 + sealed.len() / 100) {
            let mut spoiled = sealed.clone();
            spoiled[place] ^= 1;
            assert_eq!(seal.open(b"here", &spoiled), None, "byte {place}");
            assert_eq!(seal.open(b"here", &sealed[..place]), None, "cut off at {place}");
        }
    }
}

#[test]
fn no_two_texts_have_a_nonce_in_common_also_of_two_openings() {
    let key = Key::new([9; KEY_BYTES]);
    let openings = [1, 2].map(|_| Seal::of(key.clone(), Extent::Whole).expect("made"));
    let headers = openings.iter().flat_map(|seal| (0..100).map(|_| seal.seal(b"", b"same")[..HEADER_BYTES].to_vec()));
    let headers: Vec<Vec<u8>> = headers.collect();
    let different: std::collections::BTreeSet<&Vec<u8>> = headers.iter().collect();
    assert_eq!(different.len(), headers.len());
    let sealed = openings[0].seal(b"", b"said before");
    assert_eq!(openings[1].open(b"", &sealed).as_deref(), Some(b"said before".as_slice()));
}

#[test]
fn names_are_the_same_each_time_and_others_for_each_tenant() {
    let folder = tempfile::tempdir().expect("a folder");
    let seals = seals(folder.path(), 1);
    let (one, two) = (made(&seals, ONE), made(&seals, TenantId(2)));
    assert_eq!(one.name(b"customer"), one.name(b"customer"));
    assert_ne!(one.name(b"customer"), one.name(b"customers"));
    assert_ne!(one.name(b"customer"), two.name(b"customer"));
    drop((one, two));
    let again = self::seals(folder.path(), 1);
    assert_eq!(made(&again, ONE).name(b"customer"), made(&seals, ONE).name(b"customer"));
}

#[test]
fn a_store_is_not_opened_without_the_key_of_its_server() {
    let folder = tempfile::tempdir().expect("a folder");
    made(&seals(folder.path(), 1), ONE);
    let file = folder.path().join("keys/1");
    let before = std::fs::read(&file).expect("it was made");
    refused(folder.path(), sealing(2), StorageErrorKind::NoKey);
    refused(folder.path(), Sealing::default(), StorageErrorKind::NoKey);
    assert_eq!(std::fs::read(&file).expect("still there"), before);
    // The key of another tenant does not fit, nor does one that was changed.
    std::fs::copy(&file, folder.path().join("keys/2")).expect("copied");
    let message = refused(folder.path(), sealing(1), StorageErrorKind::Damaged);
    assert!(message.contains("keys/2"), "{message}");
    std::fs::remove_file(folder.path().join("keys/2")).expect("removed");
    std::fs::write(&file, String::from_utf8(before.clone()).expect("text").replace("whole", "later")).expect("written");
    refused(folder.path(), sealing(1), StorageErrorKind::Damaged);
    std::fs::write(&file, &before).expect("written");
    seals(folder.path(), 1);
}

#[test]
fn to_seal_everything_takes_a_key() {
    let folder = tempfile::tempdir().expect("a folder");
    refused(folder.path(), Sealing { wrap: None, every_tenant: true }, StorageErrorKind::NoKey);
    assert!(Seals::none().of(ONE).is_none());
    let open = Seals::open(folder.path().join("keys"), Sealing::default()).expect("nothing is sealed");
    assert!(open.of_writer(ONE, || panic!("nobody asks")).expect("open").is_none());
    assert!(!folder.path().join("keys").exists());
}

#[test]
fn keys_are_wrapped_anew_and_open_what_was_sealed_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Arc::new(Server(AtomicU8::new(1)));
    let sealing = Sealing { wrap: Some(server.clone()), every_tenant: true };
    let changed = Seals::open(folder.path().join("keys"), sealing).expect("they open");
    let sealed = made(&changed, ONE).seal(b"", b"said");
    made(&changed, TenantId(2));
    let file = folder.path().join("keys/1");
    // A second name shows what becomes of the old file.
    std::fs::hard_link(&file, folder.path().join("old")).expect("linked");
    server.0.store(2, Ordering::Relaxed);
    let rewrapped = changed.rewrap().expect("written");
    assert_eq!((rewrapped.moved, rewrapped.kept), (2, 0));
    assert_eq!(changed.rewrap().expect("written").kept, 2);
    assert!(std::fs::read(folder.path().join("old")).expect("linked").iter().all(|byte| *byte == 0));
    refused(folder.path(), self::sealing(1), StorageErrorKind::NoKey);
    let after = seals(folder.path(), 2);
    assert_eq!(made(&after, ONE).open(b"", &sealed).as_deref(), Some(b"said".as_slice()));
}

#[test]
fn a_destroyed_key_is_gone_at_once_and_stays_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let seals = seals(folder.path(), 1);
    let sealed = made(&seals, ONE).seal(b"", b"said");
    let file = folder.path().join("keys/1");
    let half = folder.path().join("keys/1.half");
    let old = folder.path().join("keys/1.old");
    for left in [&half, &old] {
        std::fs::copy(&file, left).expect("copied");
    }
    let whole = std::fs::read(&file).expect("it was made");
    seals.destroy(ONE).expect("destroyed");
    for file in [&file, &half, &old] {
        assert!(std::fs::read(file).expect("still there").iter().all(|byte| *byte == 0));
    }
    assert_eq!(made(&seals, ONE).open(b"", &sealed), None);
    // Also for whoever opens it before all of the tenant is gone, and if only half of it reached the disk.
    let cut = [b"\0\0\0\0 whole".as_slice(), &[b'x'; 40]].concat();
    for bytes in [std::fs::read(&file).expect("there"), cut, whole] {
        std::fs::write(&file, bytes).expect("written");
        let again = self::seals(folder.path(), 1);
        assert_eq!(made(&again, ONE).open(b"", &sealed), None);
        assert!(again.wrapped().expect("read").is_empty());
    }
    seals.forget(ONE).expect("removed");
    let left = std::fs::read_dir(folder.path().join("keys")).expect("a folder").count();
    assert_eq!(left, 0, "something of the key is left");
}

/// As on a disk that ran full while the folder was copied.
#[test]
fn a_key_file_that_nobody_destroyed_is_never_taken_for_a_destroyed_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let sealed = made(&seals(folder.path(), 1), ONE).seal(b"", b"said");
    let file = folder.path().join("keys/1");
    let sound = std::fs::read(&file).expect("it was made");
    for bytes in [Vec::new(), vec![0; sound.len()], [b"\0\0", &sound[2..]].concat(), sound[..7].to_vec()] {
        std::fs::write(&file, &bytes).expect("written");
        let message = refused(folder.path(), sealing(1), StorageErrorKind::Damaged);
        assert!(message.contains("keys/1") && message.contains("Put it back"), "{message}");
        assert_eq!(std::fs::read(&file).expect("there"), bytes);
    }
    std::fs::write(&file, sound).expect("written");
    let again = seals(folder.path(), 1);
    assert_eq!(made(&again, ONE).open(b"", &sealed).as_deref(), Some(b"said".as_slice()));
}

#[test]
fn a_tenant_whose_key_is_missing_gets_no_new_one_and_is_not_written_in_the_open() {
    for every_tenant in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let sealing = Sealing { every_tenant, ..sealing(1) };
        let seals = Seals::open(folder.path().join("keys"), sealing).expect("they open");
        seals.miss(ONE);
        let error = seals.of_writer(ONE, || panic!("nobody asks")).expect_err("it is refused");
        assert_eq!(error.kind, StorageErrorKind::NoKey);
        assert!(error.message.contains("keys/1"), "{error}");
        assert!(seals.of(ONE).is_none() && seals.is_shut(ONE));
        let kept = seals.wrapped().expect_err("what is kept of it would lack a key that was kept before");
        assert_eq!(kept.kind, StorageErrorKind::NoKey);
        assert_eq!(seals.of_writer(TenantId(2), || Ok(true)).expect("another one").is_some(), every_tenant);
        assert!(!folder.path().join("keys/1").exists());
    }
}

#[test]
fn an_old_version_that_a_cut_off_change_of_keys_left_is_overwritten_by_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let seals = seals(folder.path(), 1);
    let sealed = made(&seals, ONE).seal(b"", b"said");
    let (file, old, seen) =
        (folder.path().join("keys/1"), folder.path().join("keys/1.old"), folder.path().join("seen"));
    // Cut off behind the rename: it lies there under its second name.
    std::fs::copy(&file, &old).expect("copied");
    std::fs::hard_link(&old, &seen).expect("linked");
    assert_eq!(seals.rewrap().expect("written").kept, 1);
    assert!(std::fs::read(&seen).expect("linked").iter().all(|byte| *byte == 0));
    assert!(!old.exists());
    // Cut off before it: both names are of the one that stands.
    std::fs::hard_link(&file, &old).expect("linked");
    assert_eq!(seals.rewrap().expect("written").kept, 1);
    assert!(!old.exists());
    assert_eq!(made(&self::seals(folder.path(), 1), ONE).open(b"", &sealed).as_deref(), Some(b"said".as_slice()));
}

#[test]
fn a_key_of_a_backup_opens_what_was_sealed_where_it_came_from() {
    let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let from = seals(here.path(), 1);
    let sealed = from.of_writer(ONE, || Ok(false)).expect("made").expect("one is wanted").seal(b"", b"said");
    let lines: Vec<String> = from.wrapped().expect("read").iter().map(ToString::to_string).collect();
    let key: WrappedKey = lines[0].parse().expect("it is one");
    assert_eq!((lines.len(), key.tenant), (1, ONE));
    let to = seals(there.path(), 1);
    to.adopt(&key).expect("written");
    let adopted = made(&to, ONE);
    assert!(adopted.is_whole() && adopted.open(b"", &sealed).is_some());
    assert_eq!(key.unwrap(&Server(AtomicU8::new(2))).expect_err("another server").kind, StorageErrorKind::NoKey);
    for wrong in ["", "1", "1 whole", "x whole y", "1 some y", "1 whole y z"] {
        wrong.parse::<WrappedKey>().expect_err(wrong);
    }
}
