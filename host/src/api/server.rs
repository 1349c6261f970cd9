//! Takes connections and serves them until it is told to stop. It never waits for a client without
//! a limit.

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::{Keys, Mask, routes};
use crate::host::Host;
use crate::{Code, Error, Result};

/// Open at once; one more waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// From the first byte of a request to the end of its head. Also how long a connection may idle.
const HEAD_READ_MAX: Duration = Duration::from_secs(30);
/// A request's head, and what is buffered of a body.
const BUFFER_MAX_BYTES: usize = 64 << 10;
/// After the call to stop: what is being answered may end.
const FAREWELL: Duration = Duration::from_secs(10);
/// Out of file descriptors, say: trying at once again would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `address` (`HOST:PORT`; port 0 takes a free one).
pub async fn bind(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Error::new(Code::PortInUse, format!("{address} is in use by another process"))
            .hint("stop that one, or choose another address with `--listen`"),
        _ => Error::new(Code::BadConfig, format!("cannot listen on {address}: {error}")),
    })
}

/// Who is let in, and what they do not get to see.
#[derive(Debug)]
pub struct Door {
    pub keys: Keys,
    pub mask: Mask,
}

impl From<Keys> for Door {
    fn from(keys: Keys) -> Door {
        Door { keys, mask: Mask::default() }
    }
}

/// Serves the API until `shutdown` resolves: then no connection is taken any more, streams and
/// waits end, and requests that are being answered get a moment. The host itself goes on; draining
/// it is the caller's. Refuses to begin without a key, unless [`Keys`] and the address allow it.
pub async fn serve(
    host: Arc<Host>,
    listener: TcpListener,
    door: impl Into<Door>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<()> {
    let address =
        listener.local_addr().map_err(|error| Error::new(Code::Internal, format!("the listener: {error}")))?;
    let door = door.into();
    door.keys.check_address(address)?;
    let (stop, stopping) = watch::channel(false);
    let router = routes::router(host, door, stopping.clone());
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut shutdown = pin!(shutdown);
    loop {
        // The ends of connections are taken in as they come, so the set does not grow.
        while connections.try_join_next().is_some() {}
        let accepting = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accepting => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, router.clone(), stopping.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("a connection could not be taken: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    stop.send_replace(true);
    let farewell = async { while connections.join_next().await.is_some() {} };
    // Who is still there after that is cut off when the set is dropped.
    tokio::time::timeout(FAREWELL, farewell).await.unwrap_or_default();
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, mut stopping: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY: {error}");
    }
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_READ_MAX).max_buf_size(BUFFER_MAX_BYTES);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    // An error means that the server is gone, which is a stop as well.
    let stopped = async { stopping.wait_for(|stopping| *stopping).await.map(drop).unwrap_or_default() };
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = stopped => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection ended: {error}");
    }
}
