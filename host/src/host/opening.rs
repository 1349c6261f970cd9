//! Opens a host on a data folder: what it is told, and the parts that are made of it. It never drives a run.

use std::path::PathBuf;
use std::sync::Arc;
use trackway_fair::Shares;
use trackway_storage::{SledOptions, Storage};

use super::{Host, HostParts, KeySource, Safe, ServerKeys, folder};
use crate::effects::{Clock, Egress, Providers, SystemClock, SystemRandomness};
use crate::sandbox::Compiler;
use crate::worker::{Options, TokioSpawner};
use crate::{Code, Error, Result};

/// What a host on a data folder needs to know.
pub struct HostOptions {
    /// Holds everything that survives: the store, its payloads, the compiled code.
    pub data: PathBuf,
    /// What compiles components: this program, started anew.
    pub compiler: Compiler,
    pub worker: Options,
    pub store: SledOptions,
    /// Of models, with their keys.
    pub providers: Providers,
    /// Under which secrets and data keys are kept.
    pub secret_keys: KeySource,
    /// Whether every tenant gets a data key, under which what its guests and callers say is sealed on disk. One that has
    /// a data key is sealed in any case.
    pub seal: bool,
}

impl Host {
    /// Opens the data folder, making it where it is missing, and begins to drive its runs.
    pub async fn open(options: HostOptions) -> Result<Arc<Host>> {
        Host::open_behind(options, |storage| storage).await
    }

    /// The same, with the store behind what `door` makes of it.
    pub(crate) async fn open_behind(
        options: HostOptions,
        door: impl FnOnce(Arc<dyn Storage>) -> Arc<dyn Storage> + Send,
    ) -> Result<Arc<Host>> {
        let HostOptions { data, compiler, worker, store, providers, secret_keys, seal } = options;
        let keys = ServerKeys::read(secret_keys)?;
        let (weights, threads) = (store.weights.clone(), tokio::runtime::Handle::current().metrics().num_workers());
        let randomness = Arc::new(SystemRandomness::new()?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let store = SledOptions { sealing: keys.sealing(seal), ..store };
        let opening = {
            let randomness = Arc::clone(&randomness);
            tokio::task::spawn_blocking(move || folder::open(&data, compiler, store, &*randomness))
        };
        let opened = opening.await.map_err(|error| Error::new(Code::Internal, format!("opening the data: {error}")))?;
        let folder::Opened { storage, sandbox } = opened?;
        let storage: Arc<dyn Storage> = Arc::new(storage);
        let storage = door(storage);
        let safe = Safe::new(Arc::clone(&storage), keys);
        let host = Host::from_parts(HostParts {
            storage,
            sandbox: Arc::new(sandbox),
            effects: Arc::new(Egress::new(Arc::clone(&clock), providers, safe.clone())?.sharing(weights.clone())),
            clock,
            randomness,
            spawner: Arc::new(TokioSpawner::current()),
            shares: Shares::new(threads, weights),
            worker,
            safe,
        });
        // Now, so that a store in which it cannot be read who may use it is not opened for anybody.
        host.directory().await?;
        let going_on = Arc::clone(&host);
        tokio::spawn(async move {
            going_on.finish_deletions().await;
            going_on.wake_held().await;
        });
        Ok(host)
    }

    /// Waits while a killed host is still letting go of `data`, for whoever wants its address first.
    /// Makes nothing.
    pub async fn wait_for_dying_owner(data: PathBuf) -> Result<()> {
        let waiting = tokio::task::spawn_blocking(move || folder::wait_for_dying_owner(&data));
        waiting.await.map_err(|error| Error::new(Code::Internal, format!("waiting for the data: {error}")))
    }
}
