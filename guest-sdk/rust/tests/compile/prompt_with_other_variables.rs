//! Variables that a prompt has and that are not given, and the other way round.

use trackway_sdk::prelude::*;

prompt!(Greeting = "../../../../guest-sdk/rust/src/prompt/greeting.md");

fn forgotten() -> Conversation {
    Conversation::from(Greeting { name: &"Ada" })
}

fn unknown() -> Conversation {
    Conversation::from(Greeting { name: &"Ada", language: &"Latin", tone: &"kind" })
}

fn main() {}
