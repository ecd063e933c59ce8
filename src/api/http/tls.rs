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

/// How often the files are checked for a new certificate.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Tls(Arc<Mutex<Arc<ServerConfig>>>);

/// Identifies the file that has a name at the moment.
type Mark = Option<(u64, i64, i64, u64)>;

impl Tls {
    /// Reads the certificate and the key, and follows changes of both files.
    ///
    /// # Errors
    /// A sentence for the person who set `tls_cert` and `tls_key`.
    pub fn read(cert: &Path, key: &Path) -> Result<Tls, String> {
        let marks = [mark(cert), mark(key)];
        let tls = Tls(Arc::new(Mutex::new(Arc::new(config(cert, key)?))));
        let (looking, cert, key) = (tls.clone(), cert.to_owned(), key.to_owned());
        // In a thread of its own, so that a disk that hangs does not delay handshakes.
        std::thread::spawn(move || looking.watch(&cert, &key, marks));
        Ok(tls)
    }

    /// Checks that the certificate and the key are usable.
    ///
    /// # Errors
    /// A sentence for the person who set `tls_cert` and `tls_key`.
    pub fn check(cert: &Path, key: &Path) -> Result<(), String> {
        config(cert, key).map(drop)
    }

    /// Follows changes of the files for ever. The two files are never replaced at the same instant: until
    /// they match, the old certificate stays in use.
    fn watch(&self, cert: &Path, key: &Path, mut marks: [Mark; 2]) {
        loop {
            std::thread::sleep(LOOK_EVERY);
            let now = [mark(cert), mark(key)];
            if now != marks {
                match config(cert, key) {
                    Ok(config) => {
                        info!(cert = %cert.display(), "tallyd uses the new certificate from now on");
                        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                        marks = now;
                    }
                    Err(sentence) => warn!("tallyd keeps using the old certificate: {sentence}"),
                }
            }
        }
    }

    /// Performs the handshake. The caller sets the time limit.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
    }
}

fn mark(path: &Path) -> Mark {
    fs::metadata(path).ok().map(|data| (data.ino(), data.mtime(), data.mtime_nsec(), data.size()))
}

fn config(cert: &Path, key: &Path) -> Result<ServerConfig, String> {
    let read = |setting: &str, path: &Path| {
        fs::read(path).map_err(|error| {
            format!(
                "cannot read {setting} {}: {error}; let uid {} read the file, or set another one",
                path.display(),
                uid()
            )
        })
    };
    let (cert_pem, key_pem) = (read("tls_cert", cert)?, read("tls_key", key)?);
    let mode = fs::metadata(key).map_or(0, |data| data.permissions().mode());
    if mode & 0o007 != 0 {
        warn!(key = %key.display(), "every user of this machine can read the private key: run chmod 600 on the file");
    }
    let bad_cert = |why: &dyn std::fmt::Display| {
        format!(
            "tls_cert {}: {why}; the file must contain certificates in PEM, the one of this server first",
            cert.display()
        )
    };
    let bad_key = |why: &dyn std::fmt::Display| {
        format!(
            "tls_key {}: {why}; the file must contain one private key in PEM, without a password",
            key.display()
        )
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| bad_cert(&error))?;
    if chain.is_empty() {
        return Err(bad_cert(&"the file contains no certificate"));
    }
    let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| match error {
        PemError::NoItemsFound => bad_key(&"the file contains no key that tallyd can use"),
        error => bad_key(&error),
    })?;
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions();
    let built = builder.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
    let mut config = built.map_err(|error| {
        format!(
            "tls_cert {} and tls_key {}: {error}; check that the two files belong together",
            cert.display(),
            key.display()
        )
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
