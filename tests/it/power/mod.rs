//! Power cuts under the real host: what it acknowledged, and what it showed to any reader, is there
//! after the machine comes up again, and every run comes to its right end.
//!
//! The host keeps its data on an ext4 file system in a file; `EXT4_IOC_SHUTDOWN` makes that forget what
//! it had not written, like a machine that loses its power. That needs Linux, root and loop devices;
//! without them it says NOT RUN. Two hosts that lose data on purpose show that the test would notice.

#[cfg(target_os = "linux")]
pub mod cuts;
#[cfg(target_os = "linux")]
#[path = "../../../host/storage/tests/powercut/disk.rs"]
pub mod disk;

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_busy_host_acknowledged_or_showed_survives_power_cuts() {
    cuts::all().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_lose_data_on_purpose_are_caught_by_power_cuts() {
    cuts::controls().await;
}

#[cfg(not(target_os = "linux"))]
#[test]
fn what_a_busy_host_acknowledged_or_showed_survives_power_cuts() {
    crate::proof::not_run("power cuts under the host", "it needs Linux");
}
