//! The worker drives runs to their end, with simulated storage and virtual time.

use crate::rig::{Rig, in_virtual_time};

#[test]
fn a_sequential_run_asks_one_step_after_the_other() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("parallel").await;
        let run = rig.start("parallel", "sequential", "3").await;
        assert_eq!(rig.output(run).await, "64");
        let expected = [
            "Started",
            "Claimed",
            "Asked 1",
            "AttemptStarted 1.1",
            "Answered 1",
            "Asked 2",
            "AttemptStarted 2.1",
            "Answered 2",
            "Asked 3",
            "AttemptStarted 3.1",
            "Answered 3",
            "Finished",
        ];
        assert_eq!(rig.kinds(run).await, expected);
        rig.replays(run).await;
    });
}

#[test]
fn a_parallel_run_gets_its_answers_and_replays() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("parallel").await;
        let run = rig.start("parallel", "parallel", "3").await;
        assert_eq!(rig.output(run).await, "19");
        rig.replays(run).await;
        let run = rig.start("parallel", "fan_out", r#"{"n": 300}"#).await;
        let sum: u64 = (0..300_u64).map(|number| number * number).sum();
        assert_eq!(rig.output(run).await, sum.to_string());
        rig.replays(run).await;
    });
}
