//! What the kernel keeps from processes that read what strangers wrote, and from the server: the real binary tries, and
//! the system says what it has left.

use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use trackway::confine::{Kernel, Verdict, is_root, probe, probe_server};
use trackway_replay::Status;

use crate::apart::Leaked;
use crate::server::{Server, binary};

/// `nobody`, which every system has.
const NOBODY: &str = "65534:65534";

/// False, and said aloud, where this kernel cannot do what is tested.
fn can(what: &str, is_there: bool) -> bool {
    if !is_there {
        println!("NOT RUN: this machine has no {what}");
    }
    is_there
}

fn has_all() -> bool {
    can("Landlock and seccomp", Kernel::look().lacks().is_empty())
}

#[test]
fn a_process_that_compiles_is_refused_whatever_it_tries() {
    if !has_all() {
        return;
    }
    let _leaked = Leaked::new();
    let tried = probe(&binary()).expect("it tries and tells");
    assert!(tried.len() >= 24, "it tried only {tried:?}");
    for attempt in &tried {
        assert_eq!(attempt.verdict, Verdict::Refused, "it can {}: {}", attempt.what, attempt.answer);
    }
}

#[test]
fn a_server_administers_nothing_and_lives_on_when_it_tries() {
    if !can("filter of calls (seccomp)", Kernel::look().seccomp) {
        return;
    }
    // It tells what became of all tries only where none ended it.
    let tried = probe_server(&binary()).expect("it tries and tells");
    assert!(tried.len() >= 19, "it tried only {tried:?}");
    for attempt in &tried {
        assert_eq!(attempt.verdict, Verdict::Refused, "it can {}: {}", attempt.what, attempt.answer);
        assert!(attempt.answer.contains(&format!("os error {}", libc::EPERM)), "{attempt:?}");
    }
}

#[test]
fn the_doctor_says_what_the_kernel_keeps() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(binary());
    command.args(["doctor", "-o", "json", "--data"]).arg(folder.path().join("data")).current_dir(folder.path());
    let output = command.env("HOME", folder.path()).stdin(Stdio::null()).output().expect("the binary starts");
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let found = findings.iter().find(|finding| finding["what"] == "confinement").expect("it looked");
    let expected = if Kernel::look().lacks().is_empty() { "good" } else { "note" };
    assert_eq!(found["verdict"], expected, "{found}");
}

async fn works(server: &Server) {
    server.deploy("hello", &[]).await;
    let run = server.run("hello", &json!("Ada")).await;
    let ended = server.wait(run).await;
    assert_eq!(ended.status, Status::Succeeded, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_keeps_nothing_that_it_does_not_need_and_works() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]).await;
    works(&server).await;
    let limits = server.proc("limits");
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("the system tells");
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max core file size")[..2], ["0", "0"]);
    let files = limit("Max open files");
    assert_eq!(files[0], files[1], "as many files may be open as the system lets it open");
    if has_all() {
        assert_eq!(server.status_of("NoNewPrivs"), "1");
        assert_eq!(server.status_of("Seccomp"), "2");
        assert!(server.log().contains("files=true calls=true dumps=true"), "{}", server.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_landlock_says_so_and_works() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flags = ["--no-landlock", "--allow-dumps"];
    let server = Server::try_start_with(folder.path(), &folder.path().join("data"), &[], &flags).await;
    let server = server.unwrap_or_else(|log| panic!("{log}"));
    works(&server).await;
    let log = server.log();
    assert!(log.contains("--no-landlock: all files of its user") && log.contains("--allow-dumps: keys"), "{log}");
    assert!(log.contains("files=false"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_started_as_root_goes_on_as_somebody_else() {
    if !can("root to leave", is_root()) {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Whoever it becomes must get to its data.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("mine");
    let data = folder.path().join("data");
    let server = Server::try_start_with(folder.path(), &data, &[], &["--user", NOBODY]).await;
    let server = server.unwrap_or_else(|log| panic!("{log}"));
    assert_eq!(server.status_of("Uid").split_whitespace().collect::<Vec<_>>(), ["65534"; 4]);
    assert_eq!(server.status_of("Gid").split_whitespace().collect::<Vec<_>>(), ["65534"; 4]);
    assert_eq!(server.status_of("Groups"), "65534");
    assert_eq!(server.status_of("CapEff"), "0000000000000000");
    works(&server).await;
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&data).expect("there"));
    assert_eq!(owner, 65_534);
    server.kill().await;
    // A folder that somebody else used is not taken from them.
    let other = folder.path().join("other");
    std::fs::create_dir(&other).expect("mine");
    std::fs::write(other.join("file"), "of root").expect("mine");
    let refused = Server::try_start_with(folder.path(), &other, &[], &["--user", NOBODY]).await;
    let log = refused.err().expect("it cannot write there");
    assert!(log.contains("chown -R"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_uploads_keep_nobody_from_uploading() {
    use tokio::io::AsyncWriteExt as _;
    /// As many as may be sent at once, and more.
    const HALF_SENT: usize = 40;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]).await;
    let address = server.url.strip_prefix("http://").expect("an address").to_owned();
    let mut half_sent = Vec::new();
    for _ in 0..HALF_SENT {
        let mut stream = tokio::net::TcpStream::connect(&address).await.expect("the server is there");
        let head = format!(
            "POST /v1/components HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: 60000000\r\n\r\n",
            crate::server::KEY
        );
        stream.write_all(head.as_bytes()).await.expect("the head is sent");
        stream.write_all(&[0; 1_000]).await.expect("a little of the body is sent");
        half_sent.push(stream);
    }
    let begun = std::time::Instant::now();
    loop {
        // Its own half-sent ones give way after a few seconds; another tenant's would at once.
        let component = std::fs::read(crate::rig::guests().join("hello.wasm")).expect("built by `cargo xtask guests`");
        match server.try_upload(component).await {
            201 => break,
            429 => assert!(begun.elapsed().as_secs() < 60, "nobody gave way"),
            other => panic!("{other}: {}", server.log()),
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_has_no_clock_that_moves_while_it_computes() {
    /// So often that milliseconds pass between the first look and the last.
    const LOOKS: u64 = 500_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]).await;
    server.deploy("crossings", &[]).await;
    let begun = std::time::Instant::now();
    let run = server.run("crosses", &json!(LOOKS)).await;
    let ended = server.wait(run).await;
    assert!(begun.elapsed().as_millis() > 5, "it was over before a clock could have moved");
    assert_eq!(ended.output.expect("it succeeds").get(), "0", "how often its clock had moved");
}
