//! Guests that lie about their memory, to every import and with every export. Written as text: no compiler would make them.

use trackway_replay::code::{OUT_OF_FUEL, OUT_OF_MEMORY, STACK_OVERFLOW, TOO_LARGE, TRAP, WRONG_ROLE};

use super::text::{Import, NO_AT, TextGuest, imports, realloc};
use super::{Attack, Outcome, attacks, hold};

fn run(body: &str) -> Vec<u8> {
    TextGuest::of_run(body).build()
}

fn with(body: &str, more: &str) -> Vec<u8> {
    TextGuest { more: more.to_owned(), ..TextGuest::of_run(body) }.build()
}

fn allocating(body: &str, alloc: &str) -> Vec<u8> {
    TextGuest { realloc: realloc(alloc), ..TextGuest::of_run(body) }.build()
}

fn returning(result: &str, body: &str) -> Vec<u8> {
    TextGuest { result: result.to_owned(), ..TextGuest::of_run(body) }.build()
}

/// An operation that sleeps for a moment, and what comes of it.
fn sleeps(times: u32) -> String {
    format!(
        "(local.set $i (i32.const {times}))
         (loop $more
           (drop (call $step.sleep (i64.const 1) (i32.const 0) (i32.const 0) {NO_AT}))
           (call $step.next (i32.const 64))
           (br_if $more (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))"
    )
}

/// Returns `"ok"` behind `body`.
fn ok(body: &str) -> String {
    format!("(i64.store (i32.const 512) (i64.const 0x226b6f22)) {body} (call $return (i32.const 512) (i32.const 4))")
}

const ANY: &str = "(local.get 3)";

attacks! {
    recursion_over_two_functions: "two functions that call each other for ever"
        => Outcome::Fails(&[STACK_OVERFLOW]),
        with("(drop (call $ping (i32.const 0)))",
            "(func $ping (param i32) (result i32) (i32.add (call $pong (local.get 0)) (i32.const 1)))
             (func $pong (param i32) (result i32) (i32.add (call $ping (local.get 0)) (i32.const 1)))");
    recursion_through_a_table: "a function that calls itself through a table"
        => Outcome::Fails(&[STACK_OVERFLOW]),
        with("(drop (call $deep (i32.const 0)))",
            "(table 1 funcref) (elem (i32.const 0) $deep) (type $one (func (param i32) (result i32)))
             (func $deep (type $one) (i32.add (call_indirect (type $one) (local.get 0) (i32.const 0)) (i32.const 1)))");
    recursion_with_many_locals: "frames of 4,000 values each"
        => Outcome::Fails(&[STACK_OVERFLOW, OUT_OF_FUEL]),
        {
            let sets: String = (0..4_000).map(|at| format!("(local.set {at} (i64.extend_i32_u (global.get $n)))")).collect();
            let sums: String = (1..4_000).map(|at| format!("(i64.add (local.get {at})) ")).collect();
            with("(drop (call $deep))", &format!(
                "(global $n (mut i32) (i32.const 1)) (func $deep (result i64) (local {}) {sets}
                 (drop (call $deep)) (local.get 0) {sums})", "i64 ".repeat(4_000)))
        };
    exports_that_call_each_other: "`run` calls its own export `run` again, from within"
        => Outcome::Fails(&[STACK_OVERFLOW]),
        run("(drop (call $run (local.get $a) (local.get $al) (local.get $b) (local.get $bl) (local.get $c) (local.get $cl)))");
    memory_that_grows_for_ever: "asks for another page for ever, and lives with the refusals"
        => Outcome::Fails(&[OUT_OF_FUEL]),
        run("(loop $more (drop (memory.grow (i32.const 1))) (br $more))");
    memory_that_is_filled_for_ever: "writes all of its memory again and again: one instruction, many bytes"
        => Outcome::Fails(&[OUT_OF_FUEL]),
        run("(drop (memory.grow (i32.const 800)))
             (loop $more (memory.fill (i32.const 131072) (i32.const 7) (i32.const 50000000)) (br $more))");
    memory_that_is_copied_for_ever: "moves all of its memory to and fro"
        => Outcome::Fails(&[OUT_OF_FUEL]),
        run("(drop (memory.grow (i32.const 800)))
             (loop $more (memory.copy (i32.const 131073) (i32.const 131072) (i32.const 50000000)) (br $more))");
    table_that_grows_for_ever: "asks for more room for functions for ever"
        => Outcome::Fails(&[OUT_OF_FUEL]),
        with("(loop $more (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $more))", "(table $t 1 funcref)");
    table_that_is_filled_for_ever: "writes a table again and again"
        => Outcome::Fails(&[OUT_OF_FUEL]),
        with("(loop $more (table.fill $t (i32.const 0) (ref.null func) (i32.const 50000)) (br $more))",
            "(table $t 50000 funcref)");
    memory_of_four_gibibytes_is_asked_for_at_once: "grows by 65,000 pages and uses the last of them"
        => Outcome::Fails(&[OUT_OF_MEMORY]),
        run("(drop (memory.grow (i32.const 65000))) (i32.store (i32.const 0xfffffff0) (i32.const 1))");
    alloc_gives_null: "its allocator gives address 0 for everything"
        => Outcome::Succeeds,
        allocating(&ok(&sleeps(3)), "(i32.const 0)");
    alloc_gives_the_last_byte: "its allocator gives the last byte of memory"
        => Outcome::Fails(&[TRAP]),
        allocating(&ok(&sleeps(1)), "(i32.const 196607)");
    alloc_gives_what_is_no_address: "its allocator gives addresses far outside of memory"
        => Outcome::Fails(&[TRAP]),
        allocating(&ok(&sleeps(1)), "(i32.const -1)");
    alloc_gives_the_same_each_time: "its allocator gives the same place for everything, so that texts lie over each other"
        => Outcome::Succeeds,
        allocating(&ok(&sleeps(3)), "(i32.const 70000)");
    alloc_gives_crooked_addresses: "its allocator gives odd addresses to what wants even ones"
        => Outcome::Fails(&[TRAP]),
        allocating(
            "(call $step.random (i32.const 8) (i32.const 512))
             (call $step.continue-with (i32.const 0) (i32.const 0) (i32.const 70001) (i32.const 2))",
            "(i32.const 70001)");
    alloc_shrinks_what_it_gives: "its allocator gives less room than it is asked for, at the end of memory"
        => Outcome::Fails(&[TRAP]),
        allocating(&ok("(call $step.random (i32.const 60000) (i32.const 512))"),
            "(i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 16))");
    alloc_grows_memory_each_time: "its allocator moves everything up by a hundred pages"
        => Outcome::Fails(&[OUT_OF_MEMORY, TRAP]),
        allocating(&ok(&sleeps(100)), "(i32.shl (memory.grow (i32.const 100)) (i32.const 16))");
    alloc_traps: "its allocator traps"
        => Outcome::Fails(&[TRAP]),
        allocating(&ok(&sleeps(1)), "unreachable");
    alloc_never_returns: "its allocator computes for ever, while the host waits for it"
        => Outcome::Fails(&[OUT_OF_FUEL]),
        allocating(&ok(&sleeps(1)), "(loop $more (br $more)) (i32.const 70000)");
    alloc_calls_the_host: "its allocator asks for an operation while the host lowers the answer of another one"
        => Outcome::Fails(&[TRAP]),
        allocating(&ok(&sleeps(1)), &format!(
            "(if (i32.gt_u (global.get $calls) (i32.const 4))
               (then (drop (call $step.sleep (i64.const 1) (i32.const 0) (i32.const 0) {NO_AT}))))
             (i32.const 70000)"));
    alloc_waits: "its allocator waits for an operation while the host lowers the answer of another one"
        => Outcome::Fails(&[TRAP]),
        allocating(&ok(&sleeps(1)),
            "(if (i32.gt_u (global.get $calls) (i32.const 4)) (then (call $step.next (i32.const 64)))) (i32.const 70000)");
    alloc_calls_an_export: "its allocator calls `run` while the host calls `run`"
        => Outcome::Fails(&[STACK_OVERFLOW, TRAP, OUT_OF_FUEL]),
        allocating(&ok(&sleeps(1)), &format!(
            "(drop (call $run {ANY} {ANY} {ANY} {ANY} {ANY} {ANY})) (i32.const 70000)"));
    result_is_nowhere: "its result lies outside of memory"
        => Outcome::Fails(&[TRAP]),
        returning("(i32.const -16)", "");
    result_is_crooked: "its result lies at an odd address"
        => Outcome::Fails(&[TRAP]),
        returning("(i32.const 17)", "");
    result_is_neither: "its result is neither an output nor a failure"
        => Outcome::Fails(&[TRAP]),
        run("(i32.store8 (i32.const 16) (i32.const 7))");
    result_has_no_end: "its output is said to have 4 GiB"
        => Outcome::Fails(&[TRAP, TOO_LARGE]),
        run("(call $return (i32.const 512) (i32.const -1))");
    result_is_no_text: "its output is not UTF-8"
        => Outcome::Fails(&[TRAP]),
        run("(i32.store (i32.const 512) (i32.const -1)) (call $return (i32.const 512) (i32.const 4))");
    result_overlaps_itself: "its output is the result that names it"
        => Outcome::Fails(&["BAD_OUTPUT"]),
        run("(call $return (i32.const 16) (i32.const 2))");
    cleanup_never_returns: "what is called once its output was read computes for ever"
        => Outcome::Fails(&[OUT_OF_FUEL]),
        with(&ok(""), "(func (export \"cabi_post_run\") (param i32) (loop $more (br $more)))");
    cleanup_traps: "what is called once its output was read traps"
        => Outcome::Fails(&[TRAP]),
        with(&ok(""), "(func (export \"cabi_post_run\") (param i32) unreachable)");
    cleanup_asks_for_more: "what is called once its output was read asks for an operation"
        => Outcome::Fails(&[TRAP]),
        with(&ok(""), &format!(
            "(func (export \"cabi_post_run\") (param i32)
               (drop (call $step.sleep (i64.const 1) (i32.const 0) (i32.const 0) {NO_AT})))"));
    completion_is_written_over_the_code_of_the_guest: "has completions written over its own texts and the result area"
        => Outcome::Fails(&["BAD_OUTPUT", TRAP]),
        run(&format!(
            "(drop (call $step.sleep (i64.const 1) (i32.const 0) (i32.const 0) {NO_AT}))
             (call $step.next (i32.const 16))"));
    completion_is_written_nowhere: "has a completion written outside of memory"
        => Outcome::Fails(&[TRAP]),
        run(&format!(
            "(drop (call $step.sleep (i64.const 1) (i32.const 0) (i32.const 0) {NO_AT}))
             (call $step.next (i32.const -20))"));
    random_bytes_are_written_nowhere: "has random bytes written to an address that is none"
        => Outcome::Fails(&[TRAP]),
        run("(call $step.random (i32.const 9) (i32.const -4))");
    list_of_ids_has_no_end: "says that 4 billion signals were not used"
        => Outcome::Fails(&[TRAP, TOO_LARGE]),
        run("(call $step.continue-with (i32.const 0) (i32.const 0) (i32.const 512) (i32.const -1))");
    answer_is_neither: "replies with what is neither an output nor a failure"
        => Outcome::Fails(&[TRAP]),
        run(&format!("(call $step.reply (i32.const 1) (i32.const 7) (i32.const 0) (i32.const 0) {NO_AT})"));
    place_is_neither: "names a place that is neither there nor not"
        => Outcome::Fails(&[TRAP]),
        run("(drop (call $step.sleep (i64.const 1) (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 0)))");
    function_uses_the_workflows_clock: "a function asks for the time of the workflow, to tell the two apart"
        => Outcome::Fails(&[WRONG_ROLE]),
        TextGuest::of_call("(drop (call $step.now))").build();
    function_waits_as_a_workflow: "a function waits for what the workflow waits for"
        => Outcome::Fails(&[WRONG_ROLE]),
        TextGuest::of_call("(call $step.next (i32.const 64))").build();
    function_computes_for_ever: "a function never ends, and its workflow waits for it"
        => Outcome::Fails(&[OUT_OF_FUEL]),
        TextGuest::of_call("(loop $more (br $more))").build();
}

/// What a text is, where each import wants one.
#[derive(Clone, Copy)]
enum Lie {
    NoUtf8,
    Outside,
    PastTheEnd,
    NoEnd,
    Large,
}

impl Lie {
    /// Address and length, where 0xff stands at 60,000.
    fn operands(self) -> (i64, i64) {
        match self {
            Lie::NoUtf8 => (60_000, 4),
            Lie::Outside => (-8, 4),
            Lie::PastTheEnd => ((3 << 16) - 2, 4),
            Lie::NoEnd => (512, -1),
            Lie::Large => (131_072, 70_000_000),
        }
    }

    fn codes(self) -> &'static [&'static str] {
        match self {
            Lie::NoUtf8 | Lie::Outside | Lie::PastTheEnd => &[TRAP],
            Lie::NoEnd => &[TRAP, TOO_LARGE],
            Lie::Large => &[TOO_LARGE],
        }
    }
}

/// One guest, and the imports that take texts: which one is called says its input, as a number of two digits.
fn liar(lie: Lie, interface: &str) -> (Vec<u8>, Vec<String>) {
    let is_meant = |import: &Import| import.interface == interface && import.takes_text();
    let imports: Vec<Import> = imports().into_iter().filter(is_meant).collect();
    let mut functions = String::new();
    for (at, import) in imports.iter().enumerate() {
        functions += &format!("(func $lie{at} (type $lie) {})", import.call_with(lie.operands()));
    }
    let names: Vec<String> = (0..imports.len()).map(|at| format!("$lie{at}")).collect();
    // As much as it may have, where it needs that.
    let pages = if matches!(lie, Lie::Large) { 1_100 } else { 0 };
    let body = format!(
        "(i32.store (i32.const 60000) (i32.const -1))
        (drop (memory.grow (i32.const {pages})))
        (call_indirect $lies (type $lie)
          (i32.add
            (i32.mul (i32.sub (i32.load8_u (local.get $b)) (i32.const 49)) (i32.const 10))
            (i32.sub (i32.load8_u (i32.add (local.get $b) (i32.const 1))) (i32.const 48))))"
    );
    let more = format!(
        "(type $lie (func)) (table $lies {0} funcref) (elem (table $lies) (i32.const 0) func {1}) {functions}",
        names.len(),
        names.join(" ")
    );
    let guest = if interface == "step" { TextGuest::of_run(&body) } else { TextGuest::of_call(&body) };
    (TextGuest { more, ..guest }.build(), imports.iter().map(Import::called).collect())
}

fn holds_in_every_import(lie: Lie) {
    for interface in ["step", "effect"] {
        let (bytes, imports) = liar(lie, interface);
        let inputs: Vec<String> = (0..imports.len()).map(|at| (10 + at).to_string()).collect();
        super::hold_each(&bytes, &inputs, Outcome::Fails(lie.codes()), &imports);
    }
}

#[test]
fn text_that_is_no_utf_8_in_every_import() {
    holds_in_every_import(Lie::NoUtf8);
}

#[test]
fn text_outside_of_memory_in_every_import() {
    holds_in_every_import(Lie::Outside);
}

#[test]
fn text_over_the_end_of_memory_in_every_import() {
    holds_in_every_import(Lie::PastTheEnd);
}

#[test]
fn text_without_an_end_in_every_import() {
    holds_in_every_import(Lie::NoEnd);
}

#[test]
fn text_of_seventy_million_bytes_in_every_import() {
    holds_in_every_import(Lie::Large);
}
