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

#[cfg(target_os = "linux")]
#[test]
fn disks_of_tests_that_were_killed_are_taken_away_and_no_others() {
    let ours = match disk::Disk::new() {
        Ok(disk) => disk,
        Err(why) => return crate::proof::not_run("taking away the disks of tests that were killed", &why),
    };
    let mut gone = std::process::Command::new("true").spawn().expect("a program that ends at once");
    gone.wait().expect("it ends");
    let theirs = tempfile::Builder::new().prefix(&format!("trackway-disk-{}-", gone.id())).tempdir();
    let theirs = theirs.expect("a temporary folder").keep();
    let point = theirs.join("disk");
    std::fs::create_dir(&point).expect("a folder");
    disk::command("mount", &["-t".as_ref(), "tmpfs".as_ref(), "theirs".as_ref(), point.as_os_str()])
        .expect("whoever can mount one can mount another");
    let is_mounted = |point: &std::path::Path| {
        let mounts = std::fs::read_to_string("/proc/mounts").expect("Linux says");
        mounts.lines().any(|line| line.split(' ').nth(1) == point.to_str())
    };
    assert!(is_mounted(&point) && is_mounted(&ours.mount_point()));
    disk::unmount_stale();
    assert!(!is_mounted(&point) && !theirs.exists());
    assert!(is_mounted(&ours.mount_point()));
}

#[cfg(not(target_os = "linux"))]
#[test]
fn what_a_busy_host_acknowledged_or_showed_survives_power_cuts() {
    crate::proof::not_run("power cuts under the host", "it needs Linux");
}
