//! The examples run as their READMEs say, and each guest imports what its code uses and no more.

use crate::rig::{Rig, guests, in_virtual_time, sandbox};

#[test]
fn hello_greets_whoever_it_is_given() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("hello").await;
        for (input, greeting) in [("null", "Hello, world!"), ("\"Ada\"", "Hello, Ada!")] {
            let run = rig.start("hello", "hello", input).await;
            assert_eq!(rig.output(run).await, format!("\"{greeting}\""));
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_component_without_functions_is_seen_to_be_pure() {
    in_virtual_time(async {
        for (name, pure) in [("crossings", true), ("hello", false)] {
            let bytes = std::fs::read(guests().join(format!("{name}.wasm"))).expect("the guests are built");
            let admitted = sandbox().admit(bytes.into()).await.expect("the guest is admitted");
            assert_eq!(admitted.pure, pure, "{name}");
        }
    });
}
