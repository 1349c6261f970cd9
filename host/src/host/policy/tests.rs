use super::*;
use crate::host::signature::SigningKey;
use trackway_replay::Digest;

fn list(patterns: &[&str]) -> Vec<Arc<str>> {
    patterns.iter().map(|pattern| Arc::from(*pattern)).collect()
}

fn strings(patterns: &[&str]) -> Option<Vec<String>> {
    Some(patterns.iter().map(|pattern| (*pattern).to_owned()).collect())
}

const COMPONENT: &[u8] = b"component";

#[test]
fn without_a_policy_everything_may_be_granted() {
    let granted = list(&["*.example.com", "model:openai/*", "secret:a@b.test"]);
    assert_eq!(Policy::default().admit(&granted, Digest::of(COMPONENT), None).err().map(|error| error.code), None);
}

#[test]
fn grants_beyond_the_policy_are_named_and_refused() {
    let policy =
        Policy { hosts: strings(&["*.example.com"]), models: strings(&["openai/gpt-4o*"]), ..Policy::default() };
    let granted =
        list(&["a.example.com", "example.org", "model:openai/gpt-4o-mini", "model:openai/*", "secret:a@x.test"]);
    assert_eq!(policy.beyond(&granted), ["example.org", "model:openai/*"]);
    let error = policy.admit(&granted, Digest::of(COMPONENT), None).expect_err("beyond");
    assert_eq!(error.code, Code::OverPolicy);
    assert!(error.message.contains("example.org"), "{error}");
    let none = Policy { hosts: strings(&[]), ..Policy::default() };
    assert_eq!(none.beyond(&list(&["a.test", "model:openai/*"])), ["a.test"]);
}

#[test]
fn a_policy_with_trusted_keys_wants_one_of_their_signatures() {
    let key = SigningKey::read(&SigningKey::generate().expect("random bytes")).expect("a key");
    let trusted_keys = vec![TrustedKey { name: "release".to_owned(), key: key.public() }];
    let policy = Policy { trusted_keys, ..Policy::default() };
    let digest = Digest::of(COMPONENT);
    let (good, wrong) = (key.sign(digest), key.sign(Digest::of(b"another")));
    assert!(policy.admit(&[], digest, Some(&good)).is_ok());
    for signature in [None, Some(&wrong)] {
        let error = policy.admit(&[], digest, signature).expect_err("not signed");
        assert_eq!(error.code, Code::BadSignature);
    }
}

#[test]
fn a_policy_that_nobody_could_keep_to_is_refused() {
    let bad = Policy { hosts: strings(&["https://example.com/path"]), ..Policy::default() };
    assert_eq!(bad.check().expect_err("no pattern").code, Code::BadGrant);
    let bad = Policy { trusted_keys: vec![TrustedKey { name: "x".into(), key: "y".into() }], ..Policy::default() };
    assert_eq!(bad.check().expect_err("no key").code, Code::BadSignature);
}

#[test]
fn policies_of_earlier_and_later_programs_are_read() {
    let policy = read(br#"{"hosts":["a.test"],"quotas":{"runs":3}}"#).expect("what is missing is as by default");
    assert_eq!(policy, Policy { hosts: strings(&["a.test"]), ..Policy::default() });
    assert_eq!(read(b"{").expect_err("damaged").code, Code::DataDamaged);
}
