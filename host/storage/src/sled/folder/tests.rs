//! Who gets the folder, and after what.

use super::*;

/// A folder that a lock of ours keeps, in the name of a process.
fn kept_by(id: &str) -> (tempfile::TempDir, File) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kept = lock(folder.path(), |_, _| false).expect("nobody has it");
    fs::write(folder.path().join(LOCK), id).expect("writable");
    (folder, kept)
}

#[cfg(target_os = "linux")]
#[test]
fn a_holder_that_is_dying_is_waited_for() {
    use std::io::Read as _;
    use std::process::{Command, Stdio};
    let mut child = Command::new("sleep").arg("1000").stdout(Stdio::piped()).spawn().expect("there is a sleep");
    child.kill().expect("it runs");
    child.stdout.take().expect("it is piped").read_to_end(&mut Vec::new()).expect("readable");
    let (folder, kept) = kept_by(&child.id().to_string());
    let mut kept = Some(kept);
    let mut patience = Patience::new();
    let got = lock(folder.path(), |id, holder| {
        assert_ne!(holder, Holder::Alive);
        // The kernel comes to its files.
        drop(kept.take());
        patience.wait(folder.path(), id, holder)
    });
    got.expect("the lock was let go of");
    assert_eq!(fs::read_to_string(folder.path().join(LOCK)).expect("there"), format!("{}\n", std::process::id()));
    child.wait().expect("a child");
}

#[test]
fn a_holder_that_lives_is_named_at_once() {
    let (folder, _kept) = kept_by(&std::process::id().to_string());
    let mut patience = Patience::new();
    let begun = std::time::Instant::now();
    let error = lock(folder.path(), |id, holder| patience.wait(folder.path(), id, holder)).expect_err("it lives");
    assert_eq!(error.kind, StorageErrorKind::InUse);
    assert!(error.message.contains(&format!("(process {})", std::process::id())), "{error}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
}
