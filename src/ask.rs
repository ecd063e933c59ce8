//! A client for the running daemon, for `tallyd status` and `tallyd healthcheck`: one request, one answer,
//! over HTTP or HTTPS.
//!
//! The daemon runs on this machine and its certificate is known: only that certificate is trusted, whoever
//! signed it and whatever its name. Deliberately absent: proxies, redirects, chunked answers. HTTP/1.0 has
//! none of them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
};

/// Time limit for the connection, and for each read and write.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time limit for the whole exchange: an answer may arrive byte by byte.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(20);
/// Largest answer that is read.
const BYTES_MAX: u64 = 64 << 20;

/// Returns the body of the answer to `GET path`.
///
/// # Errors
/// With the reason and a remedy, if there is no answer, or the answer is an error.
pub fn ask(listen: &str, tls_cert: Option<&Path>, token: Option<&str>, path: &str) -> Result<String, String> {
    let (address, is_https) = match (listen.strip_prefix("https://"), listen.strip_prefix("http://")) {
        (Some(address), _) => (address, true),
        (_, Some(address)) => (address, false),
        _ => (listen, tls_cert.is_some()),
    };
    let address = own(address.trim_end_matches('/'));
    let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let question = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{authorization}\r\n");
    let answer = connect(&address).map_err(|error| error.to_string()).and_then(|stream| match tls_cert {
        Some(cert) if is_https => talk(secure(stream, cert)?, &question).map_err(|error| error.to_string()),
        None if is_https => Err("its certificate is not known; give its file as --tls-cert".to_owned()),
        _ => talk(stream, &question).map_err(|error| error.to_string()),
    });
    let remedy = "check that the daemon runs, and that --listen is the address in its first line of output";
    let answer =
        answer.map_err(|error| format!("no answer from a tallyd at {address}: {error}; {remedy}"))?;
    body(&answer).map_err(|reason| format!("no answer from a tallyd at {address}: {reason}; {remedy}"))
}

/// Returns the address to connect to for a daemon that listens on `address`: for all addresses, the loopback
/// one.
fn own(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(SocketAddr::V4(all)) if all.ip().is_unspecified() => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, all.port())).to_string()
        }
        Ok(SocketAddr::V6(all)) if all.ip().is_unspecified() => {
            SocketAddr::from((Ipv6Addr::LOCALHOST, all.port())).to_string()
        }
        _ => address.to_owned(),
    }
}

/// A connection with a time limit for everything.
struct Line {
    stream: TcpStream,
    end: Instant,
}

impl Line {
    /// The stream, with time limits for the next read or write.
    fn next(&mut self) -> io::Result<&mut TcpStream> {
        let left = self.end.saturating_duration_since(Instant::now()).min(PATIENCE);
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the answer takes too long"));
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.set_write_timeout(Some(left))?;
        Ok(&mut self.stream)
    }
}

impl Read for Line {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.next()?.read(bytes)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.next()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn connect(address: &str) -> io::Result<Line> {
    let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(Line { stream, end: Instant::now() + PATIENCE_IN_ALL }),
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

fn secure(stream: Line, cert: &Path) -> Result<StreamOwned<ClientConnection, Line>, String> {
    let pinned = CertificateDer::from_pem_file(cert).map_err(|error| {
        format!("cannot read the certificate {}: {error}; --tls-cert needs a PEM file", cert.display())
    })?;
    let provider = Arc::new(default_provider());
    let verifier = Pinned { cert: pinned, algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config =
        config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    Ok(StreamOwned::new(connection, stream))
}

/// Returns the body of an answer with status 200; the status and body of another answer are an error.
fn body(answer: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(
        "the answer is not HTTP (a tallyd with tls_cert uses HTTPS: give its certificate as --tls-cert)",
    )?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if length
        .is_some_and(|(_, length)| length.trim().parse() != Ok(answer.len().saturating_sub(head.len() + 4)))
    {
        return Err("the answer is cut short".to_owned());
    }
    if status == "200" {
        Ok(body.to_owned())
    } else {
        Err(format!("the answer is {status}: {}", body.trim()))
    }
}

/// Trusts exactly one certificate.
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
        if *cert == self.cert {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
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

    /// `10.0.0.0:80` has `0.0.0.0:` in it, and became `1127.0.0.1:80`.
    #[test]
    fn only_all_addresses_are_asked_as_the_own_one() {
        for (address, want) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.0.0.0:80", "10.0.0.0:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::]:80", "[2001:db8::]:80"),
            ("localhost:80", "localhost:80"),
            ("x", "x"),
        ] {
            assert_eq!(own(address), want);
        }
    }

    /// Each byte had the whole time again.
    #[test]
    fn an_answer_that_drips_is_not_waited_for_for_ever() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let line = Line {
            stream: TcpStream::connect(address).unwrap(),
            end: Instant::now() + Duration::from_millis(100),
        };
        assert!(talk(line, "GET / HTTP/1.0\r\n\r\n").is_err());
    }

    #[test]
    fn answers_are_told_from_what_is_none() {
        assert_eq!(body(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"), Ok("ok".to_owned()));
        for (answer, word) in [
            (&b""[..], "not HTTP"),
            (b"SSH-2.0-x\r\n", "not HTTP"),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok", "cut short"),
            (b"HTTP/1.0 401 Unauthorized\r\n\r\nno", "401: no"),
        ] {
            let error = body(answer).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
