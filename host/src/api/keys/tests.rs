use super::*;
use crate::effects::Randomness;
use crate::host::generate_key;

struct Counting;

impl Randomness for Counting {
    fn fill(&self, into: &mut [u8]) {
        into.iter_mut().zip(0..).for_each(|(byte, number)| *byte = number);
    }
}

fn code<T>(result: Result<T>) -> Option<Code> {
    result.err().map(|error| error.code)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn a_known_key_is_let_in_and_every_other_is_not() {
    let keys = Keys::of(["tw_one", "tw_two"]);
    for good in ["Bearer tw_one", "bearer tw_two", "BEARER tw_one "] {
        assert_eq!(keys.check(Some(good), None).ok(), Some(Shown::Operator), "{good}");
    }
    for other in ["tw_on", "tw_onee", "", "tw_ONE"] {
        let shown = keys.check(Some(&format!("Bearer {other}")), None).map(|shown| shown == Shown::Other(other));
        assert_eq!(shown.ok(), Some(true), "{other}");
    }
    for bad in ["Bearer", "tw_one", "Basic tw_one"] {
        assert_eq!(code(keys.check(Some(bad), None)), Some(Code::Unauthorized), "{bad}");
    }
    assert_eq!(code(keys.check(None, Some("localhost"))), Some(Code::Unauthorized));
}

#[test]
fn no_keys_let_nobody_in() {
    let keys = Keys::of([]);
    assert_eq!(keys.check(Some("Bearer "), None).ok(), Some(Shown::Other("")));
    assert_eq!(code(keys.check_address(address("127.0.0.1:1"))), Some(Code::BadConfig));
}

#[test]
fn without_a_key_only_loopback_is_served() {
    for here in ["127.0.0.1:8080", "[::1]:8080", "127.8.8.8:1"] {
        assert_eq!(code(Keys::OpenOnLoopback.check_address(address(here))), None, "{here}");
    }
    for elsewhere in ["0.0.0.0:8080", "[::]:8080", "192.168.1.2:1"] {
        assert_eq!(code(Keys::OpenOnLoopback.check_address(address(elsewhere))), Some(Code::BadConfig), "{elsewhere}");
        assert_eq!(code(Keys::of(["k"]).check_address(address(elsewhere))), None, "{elsewhere}");
    }
}

#[test]
fn without_a_key_a_foreign_host_name_is_refused() {
    for here in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]", "[::1]:8080"] {
        assert_eq!(code(Keys::OpenOnLoopback.check(None, Some(here))), None, "{here}");
    }
    for foreign in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "10.0.0.1"] {
        assert_eq!(code(Keys::OpenOnLoopback.check(None, Some(foreign))), Some(Code::Unauthorized), "{foreign}");
    }
    assert_eq!(code(Keys::OpenOnLoopback.check(None, None)), Some(Code::Unauthorized));
}

#[test]
fn a_new_key_is_let_in_by_its_hash_and_not_kept_as_text() {
    let key = generate_key(&Counting);
    assert_eq!(key, "tw_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
    let keys = Keys::of([key.as_str()]);
    assert_eq!(code(keys.check(Some(&format!("Bearer {key}")), None)), None);
    assert!(!format!("{keys:?}").contains(&key));
}
