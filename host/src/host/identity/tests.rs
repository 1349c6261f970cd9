use super::*;

struct Counting;

impl Randomness for Counting {
    fn fill(&self, into: &mut [u8]) {
        into.iter_mut().zip(0..).for_each(|(byte, number)| *byte = number);
    }
}

#[test]
fn a_key_is_256_random_bits_behind_a_word_that_tells_what_it_is() {
    assert_eq!(generate_key(&Counting), "tw_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
}

#[test]
fn hashes_are_the_same_only_where_every_bit_is() {
    let one = hash_key("tw_one");
    assert!(same_hash(&one, &hash_key("tw_one")));
    for place in 0..256 {
        let mut other = one;
        other.0[place / 8] ^= 1 << (place % 8);
        assert!(!same_hash(&one, &other), "bit {place}");
    }
}

#[test]
fn a_scope_allows_itself_and_the_admin_allows_all() {
    for scope in Scope::ALL {
        let scopes = Scopes::from_iter([scope]);
        assert_eq!(scopes.iter().collect::<Vec<_>>(), [scope]);
        for other in Scope::ALL {
            assert_eq!(scopes.allow(other), other == scope || scope == Scope::Admin, "{scope} {other}");
            assert!(!Scopes::default().allow(other), "{other}");
        }
        assert_eq!(scope.name().parse(), Ok(scope));
    }
    assert_eq!(Scopes::from_iter(Scope::ALL), Scopes::ALL);
    assert!("root".parse::<Scope>().is_err());
}

#[test]
fn scopes_are_kept_by_their_names() {
    let scopes = Scopes::from_iter([Scope::Run, Scope::Read, Scope::Run]);
    let text = serde_json::to_string(&scopes).expect("text");
    assert_eq!(text, r#"["read","run"]"#);
    assert_eq!(serde_json::from_str::<Scopes>(&text).expect("scopes"), scopes);
    assert!(serde_json::from_str::<Scopes>(r#"["root"]"#).is_err());
}
