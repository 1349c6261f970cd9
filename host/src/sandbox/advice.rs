//! What to do about panics whose cause is known: the standard library's refusals on a target that
//! has no clock, threads, files or sockets. Pure.

use super::Role;

struct Known {
    /// Any of these in the message tells the cause.
    signs: &'static [&'static str],
    in_workflow: &'static str,
    in_function: &'static str,
}

/// The first that fits is taken, so the particular stand before the general. The texts of std are
/// those of Rust 1.70 to 1.96.
const KNOWN: &[Known] = &[
    Known {
        signs: &["time not implemented on this platform"],
        in_workflow: "there is no clock in a workflow: use `ctx.now()` for the time and `ctx.sleep(..)` to wait",
        in_function: "there is no system clock in the sandbox: use `ctx.now()` for the time and `ctx.sleep(..)` to wait",
    },
    Known {
        signs: &["can't sleep"],
        in_workflow: "`std::thread::sleep` cannot be journaled: use `ctx.sleep(..)`",
        in_function: "`std::thread::sleep` is not available: use `ctx.sleep(..)`",
    },
    Known {
        signs: &["failed to spawn thread", "The global thread pool has not been initialized"],
        in_workflow: "there are no threads in the sandbox: call functions side by side and await them with `join!` or `join_all`",
        in_function: "there are no threads in the sandbox: let the workflow call several functions side by side",
    },
    Known {
        signs: &["condvar wait not supported", "cannot recursively acquire mutex", "rwlock locked for writing"],
        in_workflow: "there are no threads in the sandbox, so nothing can release what is waited for: await a step instead",
        in_function: "there are no threads in the sandbox, so nothing can release what is waited for: await an effect instead",
    },
    Known {
        signs: &[
            "there is no reactor running",
            "no reactor running",
            "can call blocking only when running on the multi-threaded runtime",
        ],
        in_workflow: "no async runtime runs in a workflow: await only what `ctx` gives (`ctx.step`, `ctx.sleep`)",
        in_function: "no async runtime runs in a function: await only what `ctx` gives (`http`, `ctx.sleep`)",
    },
    Known {
        signs: &["getrandom", "could not initialize ThreadRng", "failed to get random data"],
        in_workflow: "there is no system randomness in a workflow: use `ctx.random(..)`, which is the same on every replay",
        in_function: "there is no system randomness in the sandbox: use `ctx.random(..)`",
    },
    Known {
        signs: &["operation not supported on this platform", "kind: Unsupported", "not supported on this platform"],
        in_workflow: "files, sockets, environment, threads and processes do not exist in a workflow: move network access into a function \
                      (`http`), and hand in files as input",
        in_function: "files, sockets, environment, threads and processes do not exist in the sandbox: reach the network through `http`, \
                      and hand in files as input",
    },
];

/// What to write instead, if the cause of a panic with this message is known.
pub fn for_panic(message: &str, role: Role) -> Option<&'static str> {
    let known = KNOWN.iter().find(|known| known.signs.iter().any(|sign| message.contains(sign)))?;
    Some(match role {
        Role::Workflow => known.in_workflow,
        Role::Function => known.in_function,
    })
}

/// What to do when a role used the interface of the other one.
pub fn for_wrong_role(role: Role, function: &str) -> &'static str {
    match (role, function) {
        (Role::Workflow, "http" | "model") => "move it into a function",
        (Role::Workflow, _) => "a workflow uses `step` instead of `effect`",
        (Role::Function, "call") => "only a workflow calls functions; let the workflow make this call",
        (Role::Function, _) => "a function uses `effect` instead of `step`",
    }
}

#[cfg(test)]
mod tests;
