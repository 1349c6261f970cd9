//! Waiting for a store that is out of reach for a moment. A run must not be stuck, nor forgotten, because
//! a disk or a server did not answer once. It decides nothing about what the store did answer.

use std::future::Future;
use std::time::Duration;
use trackway_replay::RunId;

use super::Core;
use crate::{Code, Error, Result};

/// Between two tries of what storage did not do.
pub(super) const TRY_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Asks the store for something of `run` until it answers, or until the worker has to stop. What is asked
/// for must do no harm if it is done twice.
pub(super) async fn in_reach<T, E, F>(core: &Core, run: RunId, mut ask: impl FnMut() -> F) -> Result<T>
where
    E: Into<Error>,
    F: Future<Output = Result<T, E>>,
{
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error.into(),
        };
        let now = core.clock.now();
        if error.code != Code::StoreIo || core.drain_until().is_some_and(|until| until <= now) {
            return Err(error);
        }
        tracing::warn!(%run, %error, "the store is out of reach; it is asked again");
        core.clock.sleep_until(now + TRY_AGAIN_AFTER).await;
    }
}
