//! What a guest could tell the time by: the imports are all that it has.

use crate::sandbox::world::{EFFECT_FUNCTIONS, STEP_FUNCTIONS};

/// What the imports of either role give that says anything about time, with what it is.
const CLOCKS: [&str; 1] = ["now"];

#[test]
fn the_only_import_that_tells_the_time_is_now_and_it_tells_milliseconds() {
    for (name, signature) in STEP_FUNCTIONS.iter().chain(EFFECT_FUNCTIONS) {
        let gives = signature.rsplit_once(" -> ").map_or("nothing", |(_, gives)| gives);
        let tells_no_time = match gives {
            // An id, yes or no, a token, bytes of the seed, and what the journal delivers.
            "nothing" | "u32" | "bool" | "string" | "list<u8>" | "record { kind: string, id: u32, body: string }" => {
                true
            }
            // A number of its own could be a counter.
            _ => CLOCKS.contains(name),
        };
        assert!(tells_no_time, "`{name}` gives {gives}: is it a clock?");
    }
    let now: Vec<_> = STEP_FUNCTIONS.iter().chain(EFFECT_FUNCTIONS).filter(|(name, _)| *name == "now").collect();
    // Milliseconds as a whole number, on record; the wit says so.
    assert!(now.iter().all(|(_, signature)| *signature == "func() -> u64") && now.len() == 2, "{now:?}");
}
