//! Guests and uploads that mean harm: each attack stands in a table with what it does and what has to come of it, and is
//! made beside an honest run that has to end as ever. What other tests attack already is named here by its test.

mod asks;
mod memory;
mod outside;
pub mod text;
mod uploads;

use std::time::Duration;
use trackway_replay::{End, Failure, Kind, Limits, Status};
use trackway_storage::RunKey;

use crate::rig::{Rig, in_virtual_time};

/// What has to come of an attack by a guest.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    /// Its run fails with one of these codes. More than one where it depends on what the engine looks at first.
    Fails(&'static [&'static str]),
    /// It gains nothing, and costs nobody else anything: its run ends by itself.
    Succeeds,
}

/// A line of the table.
pub struct Attack {
    pub name: &'static str,
    pub does: &'static str,
    pub outcome: Outcome,
    pub guest: fn() -> Vec<u8>,
}

/// The lines of a table, and a test for each.
macro_rules! attacks {
    ($($name:ident: $does:literal => $outcome:expr, $guest:expr;)*) => {
        pub const TABLE: &[Attack] = &[$(Attack {
            name: stringify!($name),
            does: $does,
            outcome: $outcome,
            guest: || $guest,
        }),*];

        $(#[test]
        fn $name() {
            hold(TABLE, stringify!($name));
        })*
    };
}
use attacks;

/// Less than by default, so that nobody waits for it to be used up.
fn limits() -> Limits {
    Limits { fuel: 60_000_000, memory_bytes: 96 << 20, table_elements: 100_000, ..Limits::default() }
}

fn hold(table: &[Attack], name: &str) {
    let attack = table.iter().find(|attack| attack.name == name).expect("the table has a line for each test");
    println!("{name}: {}", attack.does);
    hold_each(&(attack.guest)(), &["null".to_owned()], attack.outcome, &[name.to_owned()]);
}

/// Starts a run of the guest for each input, one after the other, beside one that is honest.
fn hold_each(guest: &[u8], inputs: &[String], outcome: Outcome, names: &[String]) {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let honest = rig.start("sleeper", "naps", "[10, 600000, 1]").await;
        rig.deploy_bytes("hostile", guest.to_vec()).await;
        for (input, name) in inputs.iter().zip(names) {
            let run = rig.start_under(limits(), "hostile", "w", input).await;
            holds(&rig, run, outcome, name).await;
        }
        goes_on(&rig, honest).await;
    });
}

async fn holds(rig: &Rig, run: RunKey, outcome: Outcome, name: &str) {
    let head = rig.ended(run).await;
    match outcome {
        Outcome::Fails(codes) => {
            assert_eq!(head.status, Status::Failed, "{name}: {head:?}");
            let failure = failure_of(rig, run).await;
            assert!(codes.contains(&failure.code.as_str()), "{name}: {failure}");
        }
        Outcome::Succeeds => assert_eq!(head.status, Status::Succeeded, "{name}: {head:?}"),
    }
    rig.replays(run).await;
}

async fn failure_of(rig: &Rig, run: RunKey) -> Failure {
    match rig.entries(run).await.last().map(|entry| entry.kind.clone()) {
        Some(Kind::Finished(finished)) => match finished.end {
            End::Failed(value) => Failure::from_value(&value),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// The honest run ends, and another one begins and ends at once.
async fn goes_on(rig: &Rig, honest: RunKey) {
    assert_eq!(rig.output(honest).await, "3");
    rig.replays(honest).await;
    let begun = tokio::time::Instant::now();
    let next = rig.start("sleeper", "naps", "[1]").await;
    assert_eq!(rig.output(next).await, "1");
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

/// Attacks that stand elsewhere, and the tests that make them.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("a loop without an end", "host/src/sandbox/tests/traps.rs", "an_infinite_loop_ends_out_of_fuel"),
    ("recursion without an end", "host/src/sandbox/tests/traps.rs", "deep_recursion_ends_as_stack_overflow"),
    (
        "recursion that runs off the stack in memory",
        "host/src/sandbox/tests/traps.rs",
        "recursion_that_runs_off_the_stack_in_memory_ends_as_stack_overflow_too",
    ),
    ("allocations without an end", "host/src/sandbox/tests/traps.rs", "a_memory_bomb_ends_out_of_memory"),
    (
        "memory over the limit, told by -1",
        "host/src/sandbox/tests/traps.rs",
        "growing_over_the_limit_answers_minus_one_and_a_guest_may_live_with_it",
    ),
    (
        "the limit of memory taken twice",
        "host/src/sandbox/tests/traps.rs",
        "all_memories_of_an_instance_share_one_limit",
    ),
    ("a table over its limit", "host/src/sandbox/tests/traps.rs", "tables_have_a_limit_too"),
    (
        "an instance that begins over its limit",
        "host/src/sandbox/tests/traps.rs",
        "an_instance_that_begins_over_its_limit_is_out_of_memory",
    ),
    (
        "a start function that computes for long",
        "host/src/sandbox/tests/traps.rs",
        "a_start_function_runs_on_the_fuel_of_the_call",
    ),
    ("the imports of the other role", "host/src/sandbox/tests/calls.rs", "every_import_of_the_other_role_is_refused"),
    ("too many random bytes", "host/src/sandbox/tests/calls.rs", "more_random_bytes_than_one_call_gives_trap"),
    (
        "`describe` that traps, loops or asks for something",
        "host/src/sandbox/tests/gates.rs",
        "a_describe_that_fails_is_a_bad_manifest_that_says_why",
    ),
    (
        "a manifest that names what is not exported",
        "host/src/sandbox/tests/gates.rs",
        "a_manifest_that_names_what_is_not_exported_is_refused",
    ),
    ("what is no WebAssembly", "host/src/sandbox/tests/gates.rs", "what_is_not_wasm_is_refused_by_what_it_is"),
    (
        "an upload that is cut off",
        "host/src/sandbox/tests/gates.rs",
        "a_component_cut_off_anywhere_is_refused_as_malformed",
    ),
    (
        "an upload with any byte changed",
        "host/src/sandbox/tests/gates.rs",
        "a_component_with_any_byte_changed_never_crashes_the_host",
    ),
    ("WASI and other packages", "host/src/sandbox/tests/gates.rs", "a_foreign_import_is_refused_by_its_name"),
    (
        "a function that an interface does not have",
        "host/src/sandbox/tests/gates.rs",
        "an_unknown_function_of_a_known_interface_is_foreign",
    ),
    ("an import of another type", "host/src/sandbox/tests/gates.rs", "an_import_of_another_type_names_both_types"),
    ("an export of another type", "host/src/sandbox/tests/gates.rs", "an_export_of_another_type_names_both_types"),
    ("memory64, shared memory, relaxed SIMD", "host/src/sandbox/tests/gates.rs", "features_that_are_off_are_refused"),
    ("too many modules, memories, levels", "host/src/sandbox/tests/gates.rs", "limits_of_structure_are_named"),
    (
        "instances that multiply",
        "host/src/sandbox/tests/gates.rs",
        "instances_that_multiply_are_refused_or_cost_little",
    ),
    (
        "code in the cache that was changed",
        "host/src/sandbox/tests/cache.rs",
        "a_damaged_file_is_refused_and_made_anew",
    ),
    (
        "code in the cache that was cut off",
        "host/src/sandbox/tests/cache.rs",
        "a_file_without_seal_or_cut_short_is_made_anew",
    ),
    ("code in the cache of another key", "host/src/sandbox/tests/cache.rs", "code_sealed_with_another_key_is_not_run"),
    (
        "code in the cache of another component",
        "host/src/sandbox/tests/cache.rs",
        "code_of_one_component_does_not_pass_for_another",
    ),
    ("names of std that are not in a sandbox", "tests/it/sandbox.rs", "a_thread_in_a_workflow_is_answered_with_advice"),
    ("manifests of any kind", "tests/it/fuzz/mod.rs", "whatever_a_manifest_says_it_is_taken_or_refused"),
    ("schemas of any kind", "tests/it/fuzz/mod.rs", "whatever_schema_a_component_brings_inputs_are_checked"),
    (
        "uploads of any kind, over the network",
        "tests/it/typed/bad_input.rs",
        "what_is_no_guest_is_refused_by_name_and_leaves_nothing_behind",
    ),
    (
        "imports called in any order with anything",
        "tests/it/fuzz/imports.rs",
        "whatever_a_guest_asks_for_is_answered_or_refused_or_ends_it",
    ),
    (
        "values of 16 MiB and more",
        "tests/it/limits/mod.rs",
        "values_of_sixteen_mebibytes_pass_and_one_byte_more_does_not",
    ),
    (
        "articles that tell an agent what to do",
        "tests/it/models/agents.rs",
        "an_article_that_tells_the_agent_what_to_do_reaches_nothing_outside_the_grant",
    ),
];

#[test]
fn what_stands_elsewhere_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (what, file, test) in ELSEWHERE {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {test}(")), "{what}: {file} has no `{test}`");
    }
}

#[test]
fn the_tables_say_of_each_attack_what_it_does() {
    let guests = memory::TABLE.iter().map(|attack| (attack.name, attack.does));
    let scripts = asks::TABLE.iter().map(|script| (script.name, script.does));
    let uploads = uploads::TABLE.iter().map(|upload| (upload.name, upload.does));
    let all: Vec<(&str, &str)> = guests.chain(scripts).chain(uploads).collect();
    let names: std::collections::BTreeSet<&str> = all.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), all.len(), "a name stands twice");
    assert!(all.iter().all(|(_, does)| does.len() > 10));
    assert!(all.len() >= 90, "there are {} attacks", all.len());
}
