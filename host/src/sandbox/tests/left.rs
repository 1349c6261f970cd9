//! What one guest leaves behind for the next one in the same place: nothing.

use super::support::*;
use crate::sandbox::*;

/// Of 64 KiB: more than the engine would ever clear by hand.
const PAGES: u32 = 64;
/// Several times as often as the engine gives used memories back.
const ROUNDS: usize = 48;
/// Where the texts and the answer of a guest end.
const OWN_BYTES: u32 = 40_960;

/// Fills its memory and its table with what nobody else may see.
fn filler() -> Vec<u8> {
    let mut guest = TextGuest::default();
    let done = guest.texts.put("1");
    guest.more = "(table $t 500 2000 funcref) (elem declare func $alloc)".to_owned();
    guest.run = format!(
        "(drop (memory.grow (i32.const {PAGES})))
         (memory.fill (i32.const {OWN_BYTES}) (i32.const 0xA5)
            (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const {OWN_BYTES})))
         (drop (table.grow $t (ref.func $alloc) (i32.const 1500)))
         (table.fill $t (i32.const 0) (ref.func $alloc) (i32.const 2000))
         (call $return {done})"
    );
    guest.build("app")
}

/// Looks at all of its memory, fresh and grown, and at its whole table: answers 1 if there is anything in them.
fn looker() -> Vec<u8> {
    let mut guest = TextGuest::default();
    let (clean, dirty) = (guest.texts.put("0"), guest.texts.put("1"));
    guest.more = "(table $t 500 2000 funcref)".to_owned();
    guest.run = format!(
        "(call $return {clean})
         (drop (memory.grow (i32.const {PAGES})))
         (local.set $i (i32.const {OWN_BYTES}))
         (loop $bytes
            (if (i64.ne (i64.load (local.get $i)) (i64.const 0)) (then (call $return {dirty})))
            (local.set $i (i32.add (local.get $i) (i32.const 8)))
            (br_if $bytes (i32.lt_u (local.get $i) (i32.shl (memory.size) (i32.const 16)))))
         (loop $elements
            (if (i32.eqz (ref.is_null (table.get $t (local.get $j)))) (then (call $return {dirty})))
            (local.set $j (i32.add (local.get $j) (i32.const 1)))
            (br_if $elements (i32.lt_u (local.get $j) (table.size $t))))"
    );
    guest.build("app")
}

#[tokio::test]
async fn nothing_of_a_guest_is_left_in_the_memory_or_tables_of_the_next_one_in_its_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // One place for each role: each guest gets what the one before it had.
    let sandbox = Sandbox::new(Options { slots: 2, ..options(folder.path()) }).expect("a sandbox");
    let place = Place { sandbox, folder };
    let (filler, looker) = (place.code(filler()).await, place.code(looker()).await);
    for round in 0..ROUNDS {
        let filled = Arc::clone(&filler).call(call_of(Role::Workflow), Box::<Scripted>::default()).await;
        assert_eq!(output_of(filled), "1");
        let looked = Arc::clone(&looker).call(call_of(Role::Workflow), Box::<Scripted>::default()).await;
        assert_eq!(output_of(looked), "0", "round {round}: something of the guest before is left");
    }
}

#[tokio::test]
async fn a_guest_that_looks_finds_what_is_there() {
    // The looker itself is looked at: with something in its memory it says so.
    let mut guest = TextGuest::default();
    let (clean, dirty) = (guest.texts.put("0"), guest.texts.put("1"));
    guest.run = format!(
        "(i32.store8 (i32.const 65535) (i32.const 1))
         (call $return {clean})
         (local.set $i (i32.const {OWN_BYTES}))
         (loop $bytes
            (if (i64.ne (i64.load (local.get $i)) (i64.const 0)) (then (call $return {dirty})))
            (local.set $i (i32.add (local.get $i) (i32.const 8)))
            (br_if $bytes (i32.lt_u (local.get $i) (i32.shl (memory.size) (i32.const 16)))))"
    );
    let end = play(guest.build("app"), Role::Workflow, Box::default()).await;
    assert_eq!(output_of(end), "1");
}
