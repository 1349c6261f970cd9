//! TLS of connections that come in: certificate and key from files, read again when they change. It never serves
//! without them once they were asked for.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::{Code, Error, Result};

/// From the first byte of a connection to the first of a request.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether the files have changed.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A file that holds more is none.
const FILE_MAX_BYTES: u64 = 1 << 20;

pub struct Tls {
    files: Files,
    served: RwLock<Served>,
}

struct Served {
    config: Arc<ServerConfig>,
    /// As the files were when it was made of them.
    stamps: [Stamp; 2],
}

#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// By which a file that was written anew is told from the one before.
type Stamp = (Option<SystemTime>, u64, u64);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads both files: PEM, the certificate with all that lead to its root.
    ///
    /// # Errors
    /// `BadConfig` or `File`; each names the file.
    pub fn read(certificate: &Path, key: &Path) -> Result<Tls> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let served = files.read()?;
        Ok(Tls { files, served: RwLock::new(served) })
    }

    /// Takes what the files hold now, if they changed. What cannot be used is told of, and the old one goes on.
    pub(super) fn look(&self) {
        let changed = match self.files.stamps() {
            Ok(stamps) => stamps != self.served.read().unwrap_or_else(PoisonError::into_inner).stamps,
            // One of them is just being replaced.
            Err(_) => false,
        };
        if !changed {
            return;
        }
        match self.files.read() {
            Ok(served) => {
                *self.served.write().unwrap_or_else(PoisonError::into_inner) = served;
                tracing::info!(certificate = %self.files.certificate.display(), "took the new certificate");
            }
            Err(error) => tracing::warn!(%error, "the new certificate cannot be used; the old one is served"),
        }
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.served.read().unwrap_or_else(PoisonError::into_inner).config);
        let accepting = TlsAcceptor::from(config).accept(stream);
        tokio::time::timeout(HANDSHAKE_MAX, accepting).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

impl Files {
    fn stamps(&self) -> Result<[Stamp; 2]> {
        Ok([stamp(&self.certificate)?, stamp(&self.key)?])
    }

    fn read(&self) -> Result<Served> {
        // Before the contents: what changes after it is read is read again.
        let stamps = self.stamps()?;
        let wrong = |path: &Path, why: String| {
            Error::new(Code::BadConfig, format!("{} cannot be used for TLS: {why}", path.display()))
        };
        let certificates = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
            .map_err(|error| wrong(&self.certificate, error.to_string()))?;
        if certificates.is_empty() {
            return Err(wrong(&self.certificate, "it holds no certificate".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(&self.key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
            .map_err(|error| wrong(&self.certificate, format!("with {}: {error}", self.key.display())))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Served { config: Arc::new(config), stamps })
    }
}

fn stamp(path: &Path) -> Result<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let cannot = |why: String| Error::new(Code::File, format!("{} cannot be read: {why}", path.display()));
    let about = std::fs::metadata(path).map_err(|error| cannot(error.to_string()))?;
    if about.len() > FILE_MAX_BYTES {
        return Err(cannot("it is too large for a certificate or a key".to_owned()));
    }
    Ok((about.modified().ok(), about.len(), about.ino()))
}
