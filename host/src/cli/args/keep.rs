//! How long runs are kept after their end, as it is typed. It removes nothing.

use std::time::Duration;

use crate::cli::duration::parse_duration;

/// For all runs, or those of one workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    pub workflow: Option<String>,
    pub time: Duration,
}

/// `30d`, `headlines=7d` or `news/headlines=7d`.
pub fn parse_keep(text: &str) -> Result<Keep, String> {
    match text.rsplit_once('=') {
        Some(("", _)) => Err(format!("`{text}` names no workflow in front of the `=`")),
        Some((workflow, time)) => Ok(Keep { workflow: Some(workflow.to_owned()), time: parse_duration(time)? }),
        None => Ok(Keep { workflow: None, time: parse_duration(text)? }),
    }
}
