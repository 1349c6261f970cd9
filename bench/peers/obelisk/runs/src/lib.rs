//! The work as workflows of Obelisk: the same steps as in the guest `work`.

mod bindings {
    #![allow(unsafe_code, reason = "generated: crossings have no other form")]
    wit_bindgen::generate!({ path: "../wit", world: "workflows", generate_all });
    export!(Runs with_types_in self);
    pub struct Runs;
}

use bindings::Runs;
use bindings::bench::work::steps;
use bindings::bench::work_obelisk_ext::steps as many;
use bindings::exports::bench::work::runs::Guest;
use bindings::obelisk::types::execution::{AwaitNextExtensionError, ExecutionId};
use bindings::obelisk::types::join_set::JoinSet;
use bindings::obelisk::workflow::workflow_support::join_set_create;

/// What is answered of a step that was asked for with others.
type Next = Result<(ExecutionId, Result<u64, String>), AwaitNextExtensionError>;

impl Guest for Runs {
    fn chain_pure(n: u64, _url: String) -> Result<u64, String> {
        (0..n).try_fold(0, |number, _| steps::plus_one(number))
    }

    fn chain_http(n: u64, url: String) -> Result<u64, String> {
        (0..n).try_fold(0, |sum, _| Ok(sum + steps::post(&url)?))
    }

    fn fan_pure(n: u64, _url: String) -> Result<u64, String> {
        sum_of(n, |set, number| many::plus_one_submit(set, number), many::plus_one_await_next)
    }

    fn fan_http(n: u64, url: String) -> Result<u64, String> {
        sum_of(n, |set, _| many::post_submit(set, &url), many::post_await_next)
    }
}

/// Asks for all steps before it waits for the first.
fn sum_of(
    n: u64,
    submit: impl Fn(&JoinSet, u64) -> ExecutionId,
    next: impl Fn(&JoinSet) -> Next,
) -> Result<u64, String> {
    let set = join_set_create();
    for number in 0..n {
        submit(&set, number);
    }
    (0..n).try_fold(0, |sum, _| {
        let (_, number) = next(&set).map_err(|error| format!("{error:?}"))?;
        Ok(sum + number?)
    })
}
