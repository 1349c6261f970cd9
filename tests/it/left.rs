//! What a command left: its exit code and its two outputs. It knows nothing of what was run.

use std::process::Output;

pub struct Left {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Left {
    #[track_caller]
    pub fn of(output: Output) -> Left {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let exit = output.status.code().expect("it ended by itself");
        Left { exit, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    pub fn expect(self, exit: i32) -> Left {
        assert_eq!(self.exit, exit, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// An error with this exit code and this code of its own, and nothing on standard output.
    #[track_caller]
    pub fn refused(self, exit: i32, code: &str) -> Left {
        let left = self.expect(exit);
        assert!(left.stderr.contains(&format!("[{code}]")), "no {code} in:\n{}", left.stderr);
        assert!(left.stderr.contains("next:") && left.stdout.is_empty(), "{}\n{}", left.stdout, left.stderr);
        left
    }

    pub fn line(&self) -> &str {
        self.stdout.trim_end()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}
