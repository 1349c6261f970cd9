//! Which runs a list is asked for, as it stands behind the question mark.

use trackway_replay::Timestamp;

use crate::cli::args::control::Filter;
use crate::cli::duration::Moment;

/// Which runs to list.
#[derive(Debug, Default)]
pub struct RunsQuery {
    pub workflow: Option<String>,
    pub deployment: Option<String>,
    pub status: Vec<String>,
    pub code: Option<String>,
    pub since: Option<String>,
    pub until: Option<String>,
    pub min_cost_nanousd: Option<u64>,
    pub limit: usize,
    pub cursor: Option<String>,
}

impl RunsQuery {
    /// From the newest on.
    pub fn of(filter: Filter, now: Timestamp) -> RunsQuery {
        let Filter { workflow, deployment, status, code, since, until, min_cost } = filter;
        let time = |moment: Moment| moment.time(now).to_string();
        RunsQuery {
            workflow,
            deployment,
            status,
            code,
            since: since.map(time),
            until: until.map(time),
            min_cost_nanousd: min_cost,
            limit: 0,
            cursor: None,
        }
    }

    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let status = (!self.status.is_empty()).then(|| self.status.join(","));
        let pairs = [
            ("workflow", self.workflow.clone()),
            ("deployment", self.deployment.clone()),
            ("status", status),
            ("code", self.code.clone()),
            ("since", self.since.clone()),
            ("until", self.until.clone()),
            ("min_cost_nanousd", self.min_cost_nanousd.map(|least| least.to_string())),
            ("limit", Some(self.limit.to_string())),
            ("cursor", self.cursor.clone()),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
