use super::*;
use crate::Message;

fn roles(messages: &[Message]) -> Vec<Role> {
    messages.iter().map(|message| message.role).collect()
}

#[test]
fn all_is_kept_that_fits() {
    let messages = [Message::assistant("Hello!"), Message::user("Hi."), Message::assistant("So?")];
    assert_eq!(latest(&messages, KEPT_MAX_BYTES), messages);
}

#[test]
fn what_is_kept_begins_with_the_user_and_is_not_larger_than_it_may_be() {
    let turn = [Message::user("x".repeat(100)), Message::tool("1", "y".repeat(50)), Message::assistant("z")];
    let messages: Vec<Message> = turn.iter().cloned().cycle().take(30).collect();
    for bytes_max in [10, 200, 500, 1_000, 3_000] {
        let kept = latest(&messages, bytes_max);
        assert!(serde_json::to_string(kept).expect("messages are text").len() <= bytes_max.max(2), "{bytes_max}");
        assert!(roles(kept).first().is_none_or(|role| *role == Role::User), "{bytes_max}");
        assert!(bytes_max < 400 || !kept.is_empty(), "{bytes_max}");
    }
}
