//! Takes connections and serves them until it is told to stop. It never waits for a client without
//! a limit.

use axum::Router;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::door::Peer;
use super::{Door, routes, tls};
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
    let door = Arc::new(door);
    let router = routes::router(Arc::clone(&host), Arc::clone(&door), stopping.clone());
    let keeping = tokio::spawn({
        let (host, keep) = (Arc::clone(&host), door.keep_audit);
        async move { host.keep_audit(keep).await }
    });
    let looking = tokio::spawn(look(Arc::clone(&door)));
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
            Ok((stream, peer)) => {
                let (door, router, stopping) = (Arc::clone(&door), router.clone(), stopping.clone());
                connections.spawn(async move {
                    greet(stream, &door, Peer(peer.ip()), router, stopping).await;
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
    looking.abort();
    keeping.abort();
    // Only then nothing here holds the host any more. How it ended was the abort's doing.
    keeping.await.unwrap_or_default();
    // Where it fails it was said what is missing, line by line.
    host.flush_audit().await.unwrap_or_default();
    Ok(())
}

/// Takes new certificates as they come.
async fn look(door: Arc<Door>) {
    while let Some(tls) = &door.tls {
        tokio::time::sleep(tls::LOOK_EVERY).await;
        tls.look();
    }
}

async fn greet(stream: TcpStream, door: &Door, peer: Peer, router: Router, stopping: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY: {error}");
    }
    match &door.tls {
        None => connection(stream, peer, router, stopping).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => connection(stream, peer, router, stopping).await,
            Err(error) => tracing::debug!("a connection was not made: {error}"),
        },
    }
}

async fn connection<S>(stream: S, peer: Peer, router: Router, mut stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_READ_MAX).max_buf_size(BUFFER_MAX_BYTES);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let served = builder.serve_connection(TokioIo::new(stream), service);
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
