//! What the guide tells people to type, typed as it stands there.

use super::{Server, run};
use crate::server::binary;
use std::process::Command;

const PEERS: &str = include_str!("../../../docs/guide/peers.md");

#[test]
fn what_the_table_of_peers_types_works_line_by_line() {
    let server = Server::with_guest("sleeper", "");
    let lines: Vec<&str> = PEERS.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(lines.len() > 5, "{lines:?}");
    let path =
        format!("{}:{}", binary().parent().expect("a file").display(), std::env::var("PATH").unwrap_or_default());
    for line in lines {
        // The place, the server and its key, of a command that is never run.
        let like = server.trackway("");
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.current_dir(server.place.path()).env("PATH", &path);
        println!("{line}");
        run(&mut shell).expect(0);
    }
}
