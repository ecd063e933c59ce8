//! TLS, by rustls: a certificate and its key from two files. When they are replaced, the new ones are taken.
//!
//! They are read here, after the fork: no worker has the key in its memory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use crate::sys::process::uid;

/// How often it is looked whether the files are others.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Tls(Arc<Mutex<Arc<ServerConfig>>>);

/// What tells a file from others under its name.
type Mark = Option<(u64, i64, i64, u64)>;

impl Tls {
    /// The certificate of one file and the key of the other.
    ///
    /// # Errors
    /// With a sentence for whoever named them.
    pub(super) fn read(cert: &Path, key: &Path) -> Result<Tls, String> {
        let marks = [mark(cert), mark(key)];
        let tls = Tls(Arc::new(Mutex::new(Arc::new(config(cert, key)?))));
        let (looking, cert, key) = (tls.clone(), cert.to_owned(), key.to_owned());
        // A thread of its own: a disk that hangs keeps no handshake waiting.
        std::thread::spawn(move || looking.watch(&cert, &key, marks));
        Ok(tls)
    }

    /// Looks whether they could be used.
    ///
    /// # Errors
    /// Likewise.
    pub(super) fn check(cert: &Path, key: &Path) -> Result<(), String> {
        config(cert, key).map(drop)
    }

    /// Takes other files when they are there, for ever. Two files are not replaced at once: until they fit, the old ones hold.
    fn watch(&self, cert: &Path, key: &Path, mut marks: [Mark; 2]) {
        loop {
            std::thread::sleep(LOOK_EVERY);
            let now = [mark(cert), mark(key)];
            if now != marks {
                match config(cert, key) {
                    Ok(config) => {
                        info!(cert = %cert.display(), "the new certificate is taken");
                        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                        marks = now;
                    }
                    Err(sentence) => warn!("the old certificate stays: {sentence}"),
                }
            }
        }
    }

    /// Shakes hands. It is the caller who loses patience.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
    }
}

fn mark(path: &Path) -> Mark {
    fs::metadata(path).ok().map(|data| (data.ino(), data.mtime(), data.mtime_nsec(), data.size()))
}

fn config(cert: &Path, key: &Path) -> Result<ServerConfig, String> {
    let read = |setting: &str, path: &Path| {
        fs::read(path).map_err(|error| format!("cannot read the {setting} {}: {error}; let uid {} read it, or name another one", path.display(), uid()))
    };
    let (cert_pem, key_pem) = (read("tls_cert", cert)?, read("tls_key", key)?);
    let mode = fs::metadata(key).map_or(0, |data| data.permissions().mode());
    if mode & 0o007 != 0 {
        warn!(key = %key.display(), "everybody on this machine can read the key of the certificate; chmod 600 it");
    }
    let bad_cert = |why: &dyn std::fmt::Display| format!("tls_cert {}: {why}; it must have certificates in PEM, the own one first", cert.display());
    let bad_key = |why: &dyn std::fmt::Display| format!("tls_key {}: {why}; it must have one key in PEM, without a password", key.display());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert_pem).collect::<Result<_, _>>().map_err(|error| bad_cert(&error))?;
    if chain.is_empty() {
        return Err(bad_cert(&"there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| match error {
        PemError::NoItemsFound => bad_key(&"there is no key in it that could be used"),
        error => bad_key(&error),
    })?;
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    let built = builder.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
    let mut config = built.map_err(|error| format!("tls_cert {} with tls_key {}: {error}; do they belong together?", cert.display(), key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
