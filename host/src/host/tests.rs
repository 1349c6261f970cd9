use super::*;

#[test]
fn the_same_key_names_the_same_message_of_one_run_only() {
    assert_eq!(message_of("cancel", RunId(1), "a"), message_of("cancel", RunId(1), "a"));
    assert_ne!(message_of("cancel", RunId(1), "a"), message_of("cancel", RunId(2), "a"));
    assert_ne!(message_of("cancel", RunId(1), "a"), message_of("cancel", RunId(1), "b"));
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    assert_eq!(cut("short", 10), "short");
    assert_eq!(cut("ääää", 5), "ää");
}
