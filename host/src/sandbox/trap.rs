//! Why a call ended without an answer: the guest's failure, the worker's wish, or the host's fault.
//! It only judges; what it says of a guest is the same wherever and however often the guest runs.

use super::guest::{Guest, GuestPurpose, HostLost, Panicked, Stopped};
use super::imports::{Misuse, NotLinked};
use super::limits::HostOutOfMemory;
use super::{Ended, Role, advice};
use crate::{Code, Error};
use serde_json::value::to_raw_value;
use std::collections::BTreeSet;
use trackway_replay::{Failure, code};
use wasmtime::{OutOfMemory, PoolConcurrencyLimitError, Trap, WasmBacktrace};

/// The deepest calls; what stands above them is rarely of interest.
const BACKTRACE_FRAMES_MAX: usize = 16;
/// Recursion fills a backtrace with a few functions that call each other.
const RECURSION_FUNCTIONS_MAX: usize = 4;
/// The engine's own words; its type is private.
const CROSSING_TOO_LARGE: &str = "fuel allocated for hostcalls has been exhausted";
/// How allocators of guests say that `memory.grow` was refused.
const ALLOCATION_SIGNS: &[&str] = &["memory allocation of", "out of memory", "MemoryError", "capacity overflow"];

pub fn judge(error: &wasmtime::Error, guest: &Guest) -> Ended {
    if error.downcast_ref::<Stopped>().is_some() {
        return Ended::Stopped;
    }
    if let Some(error) = fault_of_host(error) {
        return Ended::HostFailed(error);
    }
    Ended::Trapped(failure(error, guest))
}

fn fault_of_host(error: &wasmtime::Error) -> Option<Error> {
    let full = error.downcast_ref::<PoolConcurrencyLimitError>().is_some();
    let memory = error.downcast_ref::<HostOutOfMemory>().is_some() || error.downcast_ref::<OutOfMemory>().is_some();
    let system = error.downcast_ref::<std::io::Error>().is_some() || error.downcast_ref::<HostLost>().is_some();
    match (full, memory, system) {
        (false, false, false) => None,
        (true, ..) => Some(Error::new(Code::Overloaded, format!("no place for an instance: {error:#}"))),
        (_, true, _) => Some(
            Error::new(Code::Overloaded, format!("an instance could not get memory: {error:#}"))
                .hint("give the host more memory, or lower its number of instances"),
        ),
        (_, _, true) => Some(Error::new(Code::Internal, format!("an instance could not go on: {error:#}"))),
    }
}

fn failure(error: &wasmtime::Error, guest: &Guest) -> Failure {
    if let Some(used) = error.downcast_ref::<NotLinked>() {
        return wrong_role(used, guest, error);
    }
    let trap = error.downcast_ref::<Trap>().copied();
    let failure = match (trap, &guest.panicked) {
        (Some(Trap::OutOfFuel), _) => Failure::permanent(
            code::OUT_OF_FUEL,
            format!("computed too long without waiting (quota `fuel_per_delivery`){}", place(error)),
        ),
        (Some(Trap::StackOverflow), _) => {
            Failure::permanent(code::STACK_OVERFLOW, format!("recursion too deep{}", place(error)))
        }
        // Rust and C keep a stack of their own at the low end of memory and run off it first.
        (Some(Trap::MemoryOutOfBounds), None) if is_recursion(error) => {
            Failure::permanent(code::STACK_OVERFLOW, format!("recursion too deep{}", place(error)))
        }
        (None, _) if error.root_cause().to_string().contains(CROSSING_TOO_LARGE) => {
            Failure::permanent(code::TOO_LARGE, format!("a value far over the limit of one value{}", place(error)))
        }
        (_, panicked) if guest.limiter.refused() && panicked.as_ref().is_none_or(is_allocation) => Failure::permanent(
            code::OUT_OF_MEMORY,
            format!("over the instance's memory limit (quota `memory_per_instance`){}", place(error)),
        ),
        (_, Some(panicked)) => panic_of(panicked, &guest.purpose),
        (Some(trap), None) => Failure::new(code::TRAP, format!("{}{}", told(trap), place(error))),
        (None, None) => match error.downcast_ref::<Misuse>() {
            Some(misuse) => Failure::new(code::TRAP, misuse.to_string()),
            None => Failure::new(code::TRAP, format!("{}{}", error.root_cause(), place(error))),
        },
    };
    with_backtrace(failure, error)
}

fn panic_of(panicked: &Panicked, purpose: &GuestPurpose) -> Failure {
    let advice = match purpose {
        GuestPurpose::Call { role, .. } => advice::for_panic(&panicked.message, *role),
        GuestPurpose::Describe => None,
    };
    let message = match advice {
        Some(advice) => format!("{} ({advice})", panicked.message),
        None => panicked.message.clone(),
    };
    Failure::new(code::PANIC, message).at(panicked.at.clone())
}

fn wrong_role(used: &NotLinked, guest: &Guest, error: &wasmtime::Error) -> Failure {
    let what = match used.function {
        "http" => "HTTP".to_owned(),
        function => format!("`{}.{function}`", used.interface),
    };
    let at = match &used.at {
        Some(at) => format!(" ({at})"),
        None => place(error),
    };
    let message = match &guest.purpose {
        GuestPurpose::Describe => format!("{what} used in `describe`{at}: describe may only compute"),
        GuestPurpose::Call { role, name } => {
            let kind = match role {
                Role::Workflow => "workflow",
                Role::Function => "function",
            };
            format!("{what} used in {kind} `{name}`{at}: {}", advice::for_wrong_role(*role, used.function))
        }
    };
    with_backtrace(Failure::permanent(code::WRONG_ROLE, message).at(used.at.clone()), error)
}

fn is_recursion(error: &wasmtime::Error) -> bool {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return false };
    let functions: BTreeSet<u32> = backtrace.frames().iter().map(wasmtime::FrameInfo::func_index).collect();
    backtrace.frames().len() >= BACKTRACE_FRAMES_MAX && functions.len() <= RECURSION_FUNCTIONS_MAX
}

fn is_allocation(panicked: &Panicked) -> bool {
    ALLOCATION_SIGNS.iter().any(|sign| panicked.message.contains(sign))
}

fn told(trap: Trap) -> String {
    let text = trap.to_string();
    let text = text.strip_prefix("wasm trap: ").unwrap_or(&text);
    match trap {
        // Compilers put the guest's own stack at the bottom of its memory, so that it runs out of there.
        Trap::MemoryOutOfBounds => format!("{text} (a bad pointer, or recursion too deep for the guest's own stack)"),
        _ => text.to_owned(),
    }
}

fn place(error: &wasmtime::Error) -> String {
    frames(error).next().map(|name| format!(" in `{name}`")).unwrap_or_default()
}

fn with_backtrace(mut failure: Failure, error: &wasmtime::Error) -> Failure {
    let names: Vec<String> = frames(error).take(BACKTRACE_FRAMES_MAX).collect();
    if !names.is_empty() {
        failure.details = to_raw_value(&serde_json::json!({ "backtrace": names })).ok();
    }
    failure
}

/// Names of the guest's functions, innermost first; those that were stripped are left out.
fn frames(error: &wasmtime::Error) -> impl Iterator<Item = String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    backtrace
        .into_iter()
        .flat_map(|backtrace| backtrace.frames())
        .filter_map(|frame| frame.func_name())
        .map(|name| format!("{:#}", rustc_demangle::demangle(name)))
}
