//! Tokens: the same on a replay, read as they are written, not to be made by others.

use super::*;

const SEED: [u8; 32] = [3; 32];

#[test]
fn a_token_is_read_as_it_is_written_and_in_no_other_way() {
    let token = PromiseToken::of(SEED, RunId(77), StepId(4));
    let text = token.to_string();
    assert_eq!(text.parse(), Ok(token));
    assert_eq!(text.len(), "pr__4_".len() + 26 + 32);
    for wrong in ["", "pr", "pr_1_2_3", &text.to_uppercase(), &text[1..], &format!("{text}_"), &format!("{text}0")] {
        assert!(wrong.parse::<PromiseToken>().is_err(), "{wrong}");
    }
}

#[test]
fn only_the_seed_of_its_run_makes_a_token() {
    let token = PromiseToken::of(SEED, RunId(77), StepId(4));
    assert!(token.is_of(SEED));
    assert!(!token.is_of([4; 32]));
    assert!(!PromiseToken { step: StepId(5), ..token }.is_of(SEED));
    assert!(!PromiseToken { run: RunId(78), ..token }.is_of(SEED));
}

#[test]
fn a_restarted_run_hands_out_what_was_handed_out_and_is_settled_by_its_own() {
    let mut tokens = Tokens::new(SEED, RunId(78));
    tokens.promised(StepId(4), RunId(77));
    tokens.promised(StepId(5), RunId(78));
    assert_eq!(tokens.of(StepId(4)), PromiseToken::of(SEED, RunId(77), StepId(4)));
    assert_eq!(tokens.own(StepId(4)), PromiseToken::of(SEED, RunId(78), StepId(4)));
    assert_eq!(tokens.of(StepId(5)), tokens.own(StepId(5)));
}

#[test]
fn options_that_are_none_have_no_timeout() {
    assert_eq!(timeout_of(r#"{"label":"x","timeout_ms":5}"#), Some(Duration::from_millis(5)));
    assert_eq!(timeout_of(""), None);
    assert_eq!(timeout_of(r#"{"label":"x"}"#), None);
}
