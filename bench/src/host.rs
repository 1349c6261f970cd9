//! A whole host in this process, on the real store, with a world that answers at once.

use anyhow::{Context, Result, ensure};
use futures_util::future::{BoxFuture, ready};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use trackway::effects::{Effects, HttpCall, ModelAnswer, ModelCall, SystemClock, SystemRandomness};
use trackway::host::record_of;
use trackway::sandbox::{self, Admitted, Compiler, SLOTS_DEFAULT, Sandbox};
use trackway::worker::{Options, Parts, Start, TokioSpawner, Worker};
use trackway_fair::{Shares, Weights};
use trackway_replay::{Failure, Head, Position, TenantId, Timestamp};
use trackway_storage::{Deployment, RunKey, SledOptions, SledStorage, Storage, Version};

const TENANT: TenantId = TenantId::DEFAULT;

pub struct Host {
    pub storage: Arc<SledStorage>,
    pub worker: Arc<Worker>,
    sandbox: Arc<Sandbox>,
}

/// Answers every request with the number 1, so that only the host is measured.
struct AtOnce;

impl Effects for AtOnce {
    fn http(&self, _: HttpCall) -> BoxFuture<'static, Result<String, Failure>> {
        Box::pin(ready(Ok(r#"{"status":200,"headers":[],"body":"1","tries":[]}"#.to_owned())))
    }

    fn model(&self, _: ModelCall) -> BoxFuture<'static, Result<ModelAnswer, Failure>> {
        Box::pin(async { Err(Failure::permanent("MODEL_UNKNOWN", "there are no models here")) })
    }
}

pub fn sandbox(folder: &Path) -> Result<Arc<Sandbox>> {
    let cores = std::thread::available_parallelism()?.get();
    let (cache, compiler) = (folder.join("code"), Compiler::InProcess);
    let options = sandbox::Options { cache, key: [7; 32], compiler, slots: SLOTS_DEFAULT, cores, slow_threads: cores };
    Ok(Arc::new(Sandbox::new(options)?))
}

pub async fn admit(sandbox: &Sandbox, guests: &Path, name: &str) -> Result<Admitted> {
    let path = guests.join(format!("{name}.wasm"));
    let bytes = std::fs::read(&path).with_context(|| format!("{}: cargo xtask guests", path.display()))?;
    Ok(sandbox.admit(bytes.into()).await?)
}

impl Host {
    pub fn start(folder: &Path, warm_for: Duration) -> Result<Host> {
        let storage = Arc::new(SledStorage::open(&folder.join("data"), SledOptions::default())?);
        let sandbox = sandbox(folder)?;
        let worker = Worker::spawn(Parts {
            storage: storage.clone(),
            sandbox: sandbox.clone(),
            effects: Arc::new(AtOnce),
            clock: Arc::new(SystemClock::new()),
            randomness: Arc::new(SystemRandomness::new()?),
            spawner: Arc::new(TokioSpawner::current()),
            shares: Shares::new(Handle::current().metrics().num_workers(), Weights::default()),
            options: Options { warm_for, ..Options::default() },
        });
        Ok(Host { storage, worker, sandbox })
    }

    pub async fn deploy(&self, guests: &Path, name: &str) -> Result<Admitted> {
        let admitted = admit(&self.sandbox, guests, name).await?;
        let record = record_of(&admitted, Timestamp(1));
        self.storage.put_component(TENANT, record, bytes::Bytes::copy_from_slice(&admitted.bytes)).await?;
        let allow = vec!["http://world.test".into()];
        let version = Version { version: 1, component: admitted.digest, deployed: Timestamp(1), allow };
        let deployment = Deployment { name: name.into(), revision: 1, current: 1, versions: vec![version] };
        ensure!(self.storage.put_deployment(TENANT, deployment).await?, "the deployment is there already");
        Ok(admitted)
    }

    pub async fn run(&self, of: &Admitted, deployment: &str, workflow: &str, input: String) -> Result<RunKey> {
        let start = Start {
            workflow: workflow.into(),
            deployment: deployment.into(),
            component: of.digest,
            input: input.into(),
            key: None,
            timeout_ms: None,
            cancel_grace_ms: None,
        };
        let run = self.worker.start(TENANT, start).await?.run;
        Ok(RunKey { tenant: TENANT, run })
    }

    /// Waits for the end of a run, which has to be a good one.
    pub async fn finish(&self, run: RunKey) -> Result<Head> {
        let mut seen = Position::FIRST;
        loop {
            let grown = self.storage.grown(run, seen);
            let head = self.storage.head(run).await?.context("the run is gone")?;
            if head.status.has_ended() {
                ensure!(head.finished.is_some() && head.code.is_none(), "the run ended as {:?}", head);
                return Ok(head);
            }
            grown.await;
            seen = seen.plus(1);
        }
    }
}
