//! Asking the running daemon, as `tallyd status` and `tallyd healthcheck` do: one question, one answer, by HTTP or HTTPS.
//!
//! It is a daemon on this machine, and who asks knows its certificate: exactly that one is trusted, by whomever it is signed and for whichever name.
//! Deliberately absent: proxies, redirects, answers in pieces. HTTP/1.0 has none of them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// How long the daemon may take to be reached, and to go on.
const PATIENCE: Duration = Duration::from_secs(5);
/// No answer is longer.
const BYTES_MAX: u64 = 64 << 20;

/// The body of what a daemon answers to `GET path`.
///
/// # Errors
/// With the reason, if there is no answer, or one that says what was wrong.
pub fn ask(listen: &str, tls_cert: Option<&Path>, token: Option<&str>, path: &str) -> Result<String, String> {
    let (address, is_https) = match (listen.strip_prefix("https://"), listen.strip_prefix("http://")) {
        (Some(address), _) => (address, true),
        (_, Some(address)) => (address, false),
        _ => (listen, tls_cert.is_some()),
    };
    // A daemon that listens on all addresses is asked on this machine's own.
    let address = address.trim_end_matches('/').replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
    let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let question = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{authorization}\r\n");
    let answer = connect(&address).map_err(|error| error.to_string()).and_then(|stream| match tls_cert {
        Some(cert) if is_https => talk(secure(stream, cert)?, &question).map_err(|error| error.to_string()),
        None if is_https => Err("its certificate is not known; name it with --tls-cert".to_owned()),
        _ => talk(stream, &question).map_err(|error| error.to_string()),
    });
    let remedy = "is it running, and is --listen the address it says at its start?";
    let answer = answer.map_err(|error| format!("no answer from a tallyd at {address}: {error}; {remedy}"))?;
    body(&answer).map_err(|reason| format!("no answer from a tallyd at {address}: {reason}; {remedy}"))
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn talk(mut stream: impl Read + Write, question: &str) -> io::Result<Vec<u8>> {
    stream.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

fn secure(stream: TcpStream, cert: &Path) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let pinned = CertificateDer::from_pem_file(cert).map_err(|error| format!("cannot take the certificate {}: {error}", cert.display()))?;
    let provider = Arc::new(default_provider());
    let verifier = Pinned { cert: pinned, algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    Ok(StreamOwned::new(connection, stream))
}

/// The body of an answer of 200, or what another one says.
fn body(answer: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("what answers speaks no HTTP (a tallyd with tls_cert speaks HTTPS: name it with --tls-cert)")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    let length = head.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if length.is_some_and(|(_, length)| length.trim().parse() != Ok(answer.len().saturating_sub(head.len() + 4))) {
        return Err("the answer is cut short".to_owned());
    }
    if status == "200" { Ok(body.to_owned()) } else { Err(format!("it says {status}: {}", body.trim())) }
}

/// Trusts one certificate.
#[derive(Debug)]
struct Pinned {
    cert: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        _issuers: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *cert == self.cert { Ok(ServerCertVerified::assertion()) } else { Err(CertificateError::UnknownIssuer.into()) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_what_is_none() {
        assert_eq!(body(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"), Ok("ok".to_owned()));
        for (answer, word) in [
            (&b""[..], "no HTTP"),
            (b"SSH-2.0-x\r\n", "no HTTP"),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok", "cut short"),
            (b"HTTP/1.0 401 Unauthorized\r\n\r\nno", "401: no"),
        ] {
            let error = body(answer).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
