//! The accept loop: HTTP/1, bounded in connections, and never kept from the next connection by those that are
//! there.
//!
//! Not `axum::serve`: that sets no timeout for heads, so a client that sends nothing would hold a connection
//! for ever.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, header};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use crate::api::http::admission::{Admission, HEAD_TIMEOUT, IDLE};
use crate::api::http::connections::{Connections, Life};
use crate::api::http::guard::Peer;
use crate::api::http::request_head::HEAD_BYTES_MAX;
use crate::api::http::tls::Tls;
use crate::api::metrics::traffic::Traffic;
use crate::api::ranges;

/// How much of an answer the system may hold for a client that does not read, in bytes: it doubles that for
/// its own needs.
const SEND_BUFFER: usize = 128 * 1024;
/// Descriptors that are left for uploads and for a connection that has just come, beside those that answers
/// from the store need.
const DESCRIPTORS_LEFT: usize = 40;
/// How long answers that have begun may take when the process is to end.
const DRAIN: Duration = Duration::from_secs(1);
/// How often it is said that connections cannot be accepted.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// How many connections there can be: as many as are wanted, if the process may have so many descriptors.
///
/// # Errors
/// If the system does not say what it allows.
pub fn connections_max(wanted: usize) -> io::Result<usize> {
    let used = std::fs::read_dir("/proc/self/fd")?.count() as u64;
    let kept = (ranges::descriptors() + DESCRIPTORS_LEFT) as u64;
    let needed = wanted as u64 + used + kept;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard)?;
    }
    let (allowed, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Where there are few, most are for connections: a question that has too few waits, but in a crowd those
    // who ask need places.
    let most = allowed.saturating_sub(used + kept.min(allowed / 4)).clamp(4, wanted as u64) as usize;
    if most < wanted {
        warn!(
            allowed,
            "fewer descriptors are allowed than connections_max needs: at most {most} connections are held; raise the limit (ulimit -n)"
        );
    }
    Ok(most)
}

/// Serves until `stop` comes, then finishes the answers that have begun.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    connections_max: usize,
    traffic: &Traffic,
    stop: impl Future<Output = ()>,
) {
    let connections = Connections::new(connections_max);
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    // The gate has its own, shorter times; with this one, the library looks for the next request whenever an
    // answer is over.
    http.timer(TokioTimer::new()).header_read_timeout(IDLE + HEAD_TIMEOUT * 2);
    // A client that has sent all that it wants to may close its side and still have its answer.
    http.half_close(true).max_buf_size(2 * HEAD_BYTES_MAX);
    let mut said: Option<Instant> = None;
    let serving = async {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    let member = connections.enter().await;
                    let (http, router, tls, watcher) =
                        (http.clone(), router.clone(), tls.clone(), graceful.watcher());
                    let (open, connections) = (traffic.connection(), Arc::clone(&connections));
                    tokio::spawn(async move {
                        let life = Arc::clone(&member.life);
                        // It is open as long as it is attended to.
                        let descriptor = stream.as_raw_fd();
                        let mut attending =
                            Box::pin(attend(stream, address, Arc::clone(&life), http, router, tls, watcher));
                        loop {
                            tokio::select! {
                                () = &mut attending => break,
                                () = life.chosen() => {
                                    if !life.is_spared(|| has_unread(descriptor)) {
                                        break;
                                    }
                                    connections.shed();
                                }
                            }
                        }
                        drop(attending);
                        // Only now is there room: its descriptor is closed.
                        drop(open);
                        drop(member);
                    });
                }
                // It has gone again already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors, most likely, or out of memory.
                    if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                        warn!(%error, "cannot accept a connection; closing an idle one");
                        said = Some(Instant::now());
                    }
                    connections.shed();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop => {}
        () = serving => {}
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

/// Has something come that was not read?
fn has_unread(descriptor: RawFd) -> bool {
    recv(descriptor, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT).is_ok_and(|length| length > 0)
}

/// Serves one connection.
async fn attend(
    stream: TcpStream,
    address: SocketAddr,
    life: Arc<Life>,
    http: http1::Builder,
    router: Router,
    tls: Option<Tls>,
    watcher: Watcher,
) {
    let since = Instant::now();
    if let Err(error) = set_options(&stream) {
        debug!(%error, "a connection is gone");
        return;
    }
    let Some(tls) = tls else {
        return talk(
            Admission::new(stream, Arc::clone(&life), since),
            life,
            Peer(address),
            http,
            router,
            watcher,
        )
        .await;
    };
    match tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            talk(Admission::new(stream, Arc::clone(&life), since), life, Peer(address), http, router, watcher)
                .await
        }
        Ok(Err(error)) => debug!(%error, "a connection does not come about"),
        Err(_) => debug!("a handshake takes too long"),
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    // Answers are small and whole: waiting for more to send would only delay them.
    stream.set_nodelay(true)?;
    Ok(nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::SndBuf, &SEND_BUFFER)?)
}

async fn talk<S>(
    gate: Admission<S>,
    life: Arc<Life>,
    peer: Peer,
    http: http1::Builder,
    router: Router,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        if let Some(refusal) = life.called() {
            request.extensions_mut().insert(refusal);
        }
        request.extensions_mut().insert(Arc::clone(&life));
        request.extensions_mut().insert(peer);
        let is_last = request.headers().contains_key(header::TRANSFER_ENCODING);
        let (life, response) = (Arc::clone(&life), routes.call(request));
        async move {
            let mut response = response.await?;
            if is_last {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| Answer { body, life }))
        }
    });
    if let Err(error) = watcher.watch(http.serve_connection(TokioIo::new(gate), service)).await {
        debug!(%error, "a connection broke");
    }
}

/// The body of an answer. When it is over, the next request is waited for.
struct Answer {
    body: Body,
    life: Arc<Life>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.life.waits();
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
