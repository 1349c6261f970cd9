use super::*;

/// Counts, so that no two answers are the same.
struct Counting(std::sync::atomic::AtomicU8);

impl Randomness for Counting {
    fn fill(&self, into: &mut [u8]) {
        into.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
    }
}

fn counting() -> Counting {
    Counting(std::sync::atomic::AtomicU8::new(1))
}

fn ring(text: &str) -> Result<Keyring> {
    KeySource::Text(text.to_owned().into()).read()
}

#[test]
fn what_is_sealed_opens_under_its_key_and_place_only() {
    let (first, second) = ("1a".repeat(32), "2b".repeat(32));
    let old = ring(&first).expect("a key");
    let (id, sealed) = old.seal(b"here", b"the value", &counting()).expect("sealed");
    assert!(!sealed.windows(9).any(|window| window == b"the value"));
    assert_eq!(old.open(&id, b"here", &sealed).as_deref().map(Vec::as_slice), Some(b"the value".as_slice()));
    assert!(old.open(&id, b"there", &sealed).is_none());
    for place in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        assert!(old.open(&id, b"here", &changed).is_none(), "byte {place}");
        assert!(old.open(&id, b"here", &sealed[..place]).is_none(), "{place} bytes");
    }
    let new = ring(&format!("{second}\n{first}\n")).expect("two keys");
    assert_ne!(new.current, old.current);
    assert!(new.open(&id, b"here", &sealed).is_some(), "old keys open what is old");
    let without = ring(&second).expect("a key");
    assert!(!without.has(&id) && without.open(&id, b"here", &sealed).is_none());
}

#[test]
fn the_same_value_is_never_sealed_the_same() {
    let (ring, randomness) = (ring(&"1a".repeat(32)).expect("a key"), counting());
    let sealed = || ring.seal(b"", b"the value", &randomness).expect("sealed").1;
    assert_ne!(sealed(), sealed());
}

#[test]
fn a_fresh_key_can_be_read() {
    let key = KeySource::generate(&counting());
    assert!(ring(&format!("# of the operator\n\n  {}\n", *key)).expect("a key").current.is_some());
}

#[test]
fn files_that_hold_no_keys_are_refused_and_never_shown() {
    for text in ["", "# nothing", "topsecret", &"1a".repeat(31), &"zz".repeat(32), &"\u{e9}".repeat(32)] {
        let error = ring(text).map(|_| ()).expect_err(text);
        assert_eq!(error.code, Code::BadConfig);
        assert!(text.is_empty() || text.starts_with('#') || !error.to_string().contains(text), "{error}");
    }
    assert!(KeySource::Absent.read().expect("no key").current.is_none());
}
