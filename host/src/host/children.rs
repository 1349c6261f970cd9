//! The runs that the steps of a run started, as its journal tells. It only reads.

use std::sync::Arc;
use trackway_replay::{Head, Kind, Position, RunId, StepId};

use super::views::{is_unreadable, may_be_unreadable};
use super::{Host, journal};
use crate::Result;

/// Looked at for one page, though few of them tell of a child: more would hold a request for seconds.
const CHILDREN_PAGE_ENTRIES_MAX: u64 = 200_000;

/// A run that a step started.
#[derive(Debug, Clone)]
pub struct Child {
    pub step: StepId,
    pub run: RunId,
    /// Whose workflow was meant.
    pub deployment: Arc<str>,
    /// `None`: it was removed.
    pub head: Option<Head>,
}

#[derive(Debug, Clone)]
pub struct ChildPage {
    pub children: Vec<Child>,
    /// Where the next page begins, if there may be one.
    pub more: Option<Position>,
}

impl Host {
    /// Runs that the steps of a run started, in the order in which they came to stand, `max` at most; from the
    /// entry `from` on. Of a run that is stuck, or was ended as it stood, those that can be read.
    pub async fn children(&self, run: RunId, from: Position, max: usize) -> Result<ChildPage> {
        let status = self.head(run).await?.status;
        let (mut children, mut next) = (Vec::new(), from);
        while next.0 - from.0 < CHILDREN_PAGE_ENTRIES_MAX {
            let entries = match journal::read(&*self.storage, self.key_of(run), next).await {
                Err(error) if may_be_unreadable(status) && is_unreadable(&error) => Vec::new(),
                entries => entries?,
            };
            let Some(last) = entries.last() else { return Ok(ChildPage { children, more: None }) };
            next = last.position.plus(1);
            for entry in entries {
                let Kind::ChildStarted(started) = entry.kind else { continue };
                if children.len() >= max {
                    return Ok(ChildPage { children, more: Some(entry.position) });
                }
                let head = self.storage.head(self.key_of(started.run)).await?;
                let (step, run, deployment) = (started.step, started.run, started.deployment);
                children.push(Child { step, run, deployment, head });
            }
        }
        Ok(ChildPage { children, more: Some(next) })
    }
}
