//! What crosses between guest and host.

use super::support::*;
use crate::sandbox::*;

#[tokio::test]
async fn a_workflow_returns_its_output() {
    let guest = TextGuest::of_run(|texts| format!("(call $return {})", texts.put("42")));
    let end = play(guest, Role::Workflow, Box::default()).await;
    assert_eq!(output_of(end), "42");
}
