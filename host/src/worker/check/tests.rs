use super::*;

#[test]
fn a_name_is_refused_that_no_path_leads_to() {
    for good in ["a", "a.b", ".a", "a.", "-"] {
        name("a signal", good).unwrap_or_else(|failure| panic!("{good}: {}", failure.message));
    }
    for bad in ["", ".", "..", "...", "a/b", "a b", "ä", &"n".repeat(129)] {
        assert!(name("a signal", bad).is_err(), "{bad}");
    }
    for (key, fits) in [("a", true), ("..a", true), ("ä/b", true), (".", false), ("..", false)] {
        assert_eq!(super::super::entity::check_key(key).is_ok(), fits, "{key}");
    }
}
