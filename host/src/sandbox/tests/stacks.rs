//! What one guest leaves on its native stack for the next one in the same place: nothing. The stack is read as the system
//! has it, from a function of the host, which runs on it too.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use wasmtime::{Caller, Engine, Linker, Module, Store};

use crate::sandbox::engine::{self, Purpose};

/// Calls, one within the other, each of which keeps the marker: several times what the engine zeroes by hand, and less than
/// a guest may have.
const FRAMES: u32 = 6_000;
const FUEL: u64 = 10_000_000;
/// The system's pages are as large, or several times as large.
const PAGE_BYTES: usize = 4_096;
const MEMORY: &str = "/proc/self/mem";

/// `fill` makes the marker out of its halves, so that it stands nowhere else, and keeps it in each call until the last one
/// looks.
const GUESTS: &str = r#"(module
  (import "host" "look" (func $look))
  (func $deep (param $marker i64) (param $frames i32) (result i64)
    (if (i32.eqz (local.get $frames)) (then (call $look) (return (i64.const 7))))
    (i64.add
      (call $deep (local.get $marker) (i32.sub (local.get $frames) (i32.const 1)))
      (local.get $marker)))
  (func (export "fill") (param $one i64) (param $other i64) (param $frames i32) (result i64)
    (call $deep (i64.xor (local.get $one) (local.get $other)) (local.get $frames)))
  (func (export "look") (call $look)))"#;

/// The marker, in two pieces: the host never has it in one, so none that is found is its own.
#[derive(Clone, Copy)]
struct Halves {
    one: u64,
    other: u64,
}

impl Halves {
    fn drawn() -> Halves {
        let drawn = || RandomState::new().build_hasher().finish();
        Halves { one: drawn(), other: drawn() }
    }

    fn is_marker(self, word: [u8; 8]) -> bool {
        black_box(u64::from_ne_bytes(word) ^ self.other) == self.one
    }

    /// How often the marker stands on the stack on which this is called.
    fn found(self) -> usize {
        let on_it = 0_u8;
        let here = std::ptr::from_ref(black_box(&on_it)).addr() as u64;
        let maps = std::fs::read_to_string("/proc/self/maps").expect("the system tells what is mapped");
        let stack = maps.lines().find_map(|line| {
            let (begin, end) = line.split(' ').next()?.split_once('-')?;
            let range = u64::from_str_radix(begin, 16).ok()?..u64::from_str_radix(end, 16).ok()?;
            range.contains(&here).then_some(range)
        });
        let memory = File::open(MEMORY).expect("a process may read itself");
        let mut page = vec![0_u8; PAGE_BYTES];
        let mut found = 0;
        for at in stack.expect("a stack is mapped").step_by(PAGE_BYTES) {
            memory.read_exact_at(&mut page, at).expect("it is mapped");
            found += page.as_chunks::<8>().0.iter().filter(|word| self.is_marker(**word)).count();
        }
        // Whatever it lies beside, it is no stack.
        page.fill(0);
        black_box(&page);
        found
    }
}

struct Looks {
    halves: Halves,
    found: usize,
}

/// A guest fills its stack, and another one has its place after it. How often the marker is on the stack while each of them
/// is called.
async fn found_by_either(engine: &Engine) -> (usize, usize) {
    let module = Module::new(engine, wat::parse_str(GUESTS).expect("it is well formed")).expect("it compiles");
    let mut linker = Linker::new(engine);
    let defined = linker.func_wrap("host", "look", |mut caller: Caller<'_, Looks>| {
        let found = caller.data().halves.found();
        caller.data_mut().found = found;
    });
    defined.expect("nothing else is called so");
    let halves = Halves::drawn();
    let store = || {
        let mut store = Store::new(engine, Looks { halves, found: 0 });
        store.set_fuel(FUEL).expect("fuel counts");
        store.set_epoch_deadline(1);
        store
    };
    let first = {
        let mut store = store();
        let guest = linker.instantiate_async(&mut store, &module).await.expect("there is a place");
        let fill = guest.get_typed_func::<(u64, u64, u32), u64>(&mut store, "fill").expect("it is exported");
        fill.call_async(&mut store, (halves.one, halves.other, FRAMES)).await.expect("it is no deeper than it may be");
        store.data().found
    };
    let mut store = store();
    let guest = linker.instantiate_async(&mut store, &module).await.expect("the place is free again");
    let look = guest.get_typed_func::<(), ()>(&mut store, "look").expect("it is exported");
    look.call_async(&mut store, ()).await.expect("it only looks");
    (first, store.data().found)
}

/// With one place.
fn shipped() -> Engine {
    engine::build(Purpose::Run { slots: 1 }).expect("an engine")
}

fn can_look() -> bool {
    let can = Path::new(MEMORY).exists();
    if !can {
        println!("NOT RUN: stacks of guests: this system has no {MEMORY}");
    }
    can
}

#[tokio::test]
async fn nothing_of_a_guest_is_left_on_the_stack_of_the_next_one_in_its_place() {
    if !can_look() {
        return;
    }
    let (own, left) = found_by_either(&shipped()).await;
    assert!(own >= FRAMES as usize, "a guest has {own} of its {FRAMES} markers on its stack: this test sees nothing");
    assert_eq!(left, 0, "of {own} that the guest before had");
}

#[tokio::test]
async fn a_guest_on_a_stack_that_was_not_zeroed_has_what_the_one_before_left() {
    if !can_look() {
        return;
    }
    let mut config = shipped().config().clone();
    config.async_stack_zeroing(false);
    let (own, left) = found_by_either(&Engine::new(&config).expect("an engine")).await;
    // Those at the top are overwritten by what the second one calls.
    assert!(left >= FRAMES as usize / 2, "{left} of {own} are left: the other test would pass without zeroing");
}
