//! What stands between a connection and the HTTP library: it lets requests through one by one, each head only
//! when it is whole and right, and it loses patience.
//!
//! A head that cannot be served is replaced by a small one that is refused by its number (see
//! `Life::refuse`). So every request has an answer that is made in one place, in its turn, and the library
//! never sees anything that it would answer itself, without a word. What comes after a body in chunks is
//! never a request: the connection ends with that answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::api::http::connections::Life;
use crate::api::http::request_head::{self, Body, Look, Refusal};

/// How long a head may take from its first byte, and the first one of a connection from the beginning.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may lie idle between requests.
pub const IDLE: Duration = Duration::from_secs(60);
/// How long nothing of a body may come while it is waited for.
const BODY_STALL: Duration = Duration::from_secs(30);
/// Within so long, while an answer waits for its client, it must have taken some of it.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// So much, in bytes: 2 KiB a second. Less is not reading but holding on.
const WRITE_FLOOR: usize = 64 * 1024;
/// How long and how much is read of what a client still sends after its last answer. Closed at once, the
/// connection would be reset, and the answer lost on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

const READ_BYTES: usize = 4 * 1024;
const BODY_READ_BYTES: usize = 16 * 1024;

/// Stands for a request that is refused. Of HEAD, whose answer has no body, there is another one.
const REFUSED: &[u8] = b"GET /refused HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const REFUSED_HEAD: &[u8] = b"HEAD /refused HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Where the reading is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// In a head, or before one.
    Head,
    /// In a body, of which so many bytes are to come.
    Length(u64),
    /// In a body that is in chunks.
    Chunked,
    /// Behind the last request.
    Refused,
}

pub struct Admission<S> {
    inner: S,
    life: Arc<Life>,
    phase: Phase,
    /// What was read and not passed on yet, and how much of it may be.
    held: Vec<u8>,
    cleared: usize,
    /// How many heads were passed on.
    heads: u64,
    /// When the head that is coming began.
    begun: Option<Instant>,
    reading: Timer,
    writing: Timer,
    /// How much was taken since the writing waits.
    taken: usize,
    lingering: Timer,
    lingered: usize,
}

/// A time that may come while something is waited for.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Since when that lasts.
    since: Option<Instant>,
}

impl Timer {
    /// Is it past this moment? If not, the task is woken then.
    fn is_past(&mut self, moment: Instant, cx: &mut Context<'_>) -> bool {
        let moment = tokio::time::Instant::from_std(moment);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(moment)));
        if sleep.deadline() != moment {
            sleep.as_mut().reset(moment);
        }
        Future::poll(sleep.as_mut(), cx).is_ready()
    }

    /// Has what is waited for lasted so long? The first time that this is asked is its beginning.
    fn lasts(&mut self, most: Duration, cx: &mut Context<'_>) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.is_past(since + most, cx)
    }

    fn is_over(&mut self) {
        self.since = None;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Admission<S> {
    /// A gate before a connection whose first head is awaited since then.
    pub fn new(inner: S, life: Arc<Life>, since: Instant) -> Admission<S> {
        Admission {
            inner,
            life,
            phase: Phase::Head,
            held: Vec::new(),
            cleared: 0,
            heads: 0,
            begun: Some(since),
            reading: Timer::default(),
            writing: Timer::default(),
            taken: 0,
            lingering: Timer::default(),
            lingered: 0,
        }
    }

    /// Reads some more of a head. False at the end, and when it has taken too long and nothing of it is
    /// there.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut room = [std::mem::MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut room);
        match Pin::new(&mut self.inner).poll_read(cx, &mut buffer)? {
            Poll::Ready(()) if buffer.filled().is_empty() => return Poll::Ready(Ok(false)),
            Poll::Ready(()) => {
                self.held.extend_from_slice(buffer.filled());
                self.begun.get_or_insert_with(Instant::now);
            }
            Poll::Pending => {
                // While a request is being answered, the client owes nothing.
                let Some(since) = self.life.waiting_since() else { return Poll::Pending };
                if !self.reading.is_past(head_due(self.begun, since, self.held.is_empty()), cx) {
                    return Poll::Pending;
                }
                if self.held.is_empty() {
                    return Poll::Ready(Ok(false));
                }
                self.refuse(Refusal::TOO_SLOW);
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Passes on what is a whole head.
    fn look(&mut self) {
        // Empty lines before a request are nothing (RFC 9112, 2.2).
        while self.held.starts_with(b"\r\n") {
            self.held.drain(..2);
        }
        match request_head::look(&self.held) {
            Look::Part => {}
            Look::Bad(refusal) => self.refuse(refusal),
            Look::Whole(length, body) => {
                self.cleared = length;
                self.heads += 1;
                self.begun = None;
                self.phase = match body {
                    Body::Length(length) => Phase::Length(length),
                    Body::Chunked => Phase::Chunked,
                };
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.life.refuse(self.heads, refusal);
        let stand_in = if self.held.starts_with(b"HEAD ") { REFUSED_HEAD } else { REFUSED };
        self.held.clear();
        self.held.extend_from_slice(stand_in);
        self.cleared = stand_in.len();
        self.phase = Phase::Refused;
    }

    /// Passes on what is held and cleared.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.cleared.min(buffer.remaining());
        buffer.put_slice(&self.held[..length]);
        self.held.drain(..length);
        self.cleared -= length;
        if self.held.is_empty() {
            // Most connections lie idle most of the time.
            self.held = Vec::new();
        }
    }

    /// Reads a body straight through, at most so much of it.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let mut room = [std::mem::MaybeUninit::uninit(); BODY_READ_BYTES];
        let most = most.min(buffer.remaining()).min(BODY_READ_BYTES);
        let mut part = ReadBuf::uninit(&mut room[..most]);
        match Pin::new(&mut self.inner).poll_read(cx, &mut part)? {
            Poll::Ready(()) => {
                buffer.put_slice(part.filled());
                self.reading.is_over();
                Poll::Ready(Ok(part.filled().len()))
            }
            Poll::Pending if self.reading.lasts(BODY_STALL, cx) => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Watches over a client that takes its answer too slowly.
    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        asked: usize,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match wrote {
            Poll::Ready(Ok(length)) => {
                self.taken += length;
                // What was taken whole waits for nobody.
                if length == asked || self.taken >= WRITE_FLOOR {
                    self.writing.is_over();
                    self.taken = 0;
                }
                self.life.stalls(false);
                Poll::Ready(Ok(length))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if self.writing.lasts(WRITE_STALL, cx) => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => {
                self.life.stalls(true);
                Poll::Pending
            }
        }
    }
}

/// Until when a head must be whole that began at a moment, if it has begun, and is waited for since another
/// one: what came while an answer was still being made waits since that is over.
fn head_due(begun: Option<Instant>, since: Instant, is_nothing_there: bool) -> Instant {
    match begun {
        Some(begun) => begun.max(since) + HEAD_TIMEOUT,
        None if is_nothing_there => since + IDLE,
        None => since + HEAD_TIMEOUT,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Admission<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        loop {
            if gate.cleared > 0 {
                gate.give(buffer);
                return Poll::Ready(Ok(()));
            }
            match gate.phase {
                Phase::Head => {
                    if !gate.held.is_empty() {
                        gate.look();
                    }
                    if gate.cleared == 0 && !ready!(gate.poll_head(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Phase::Length(0) => gate.phase = Phase::Head,
                Phase::Length(length) if !gate.held.is_empty() => {
                    gate.cleared = gate.held.len().min(usize::try_from(length).unwrap_or(usize::MAX));
                    gate.phase = Phase::Length(length - gate.cleared as u64);
                }
                Phase::Length(length) => {
                    let read =
                        ready!(gate.poll_body(cx, buffer, usize::try_from(length).unwrap_or(usize::MAX)))?;
                    gate.phase = Phase::Length(length - read as u64);
                    return Poll::Ready(Ok(()));
                }
                Phase::Chunked if !gate.held.is_empty() => gate.cleared = gate.held.len(),
                Phase::Chunked => return gate.poll_body(cx, buffer, usize::MAX).map_ok(drop),
                // The answer ends the connection; nobody waits for more.
                Phase::Refused => return Poll::Pending,
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Admission<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let wrote = Pin::new(&mut gate.inner).poll_write(cx, bytes);
        gate.watch(cx, bytes.len(), wrote)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let wrote = Pin::new(&mut gate.inner).poll_write_vectored(cx, parts);
        gate.watch(cx, parts.iter().map(|part| part.len()).sum(), wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Only TLS has something to flush.
        let gate = self.get_mut();
        let flushed = Pin::new(&mut gate.inner).poll_flush(cx).map_ok(|()| 0);
        gate.watch(cx, 0, flushed).map_ok(drop)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        ready!(Pin::new(&mut gate.inner).poll_shutdown(cx))?;
        if gate.phase == Phase::Head && gate.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        gate.life.waits();
        let mut room = [std::mem::MaybeUninit::uninit(); READ_BYTES];
        while gate.lingered < LINGER_BYTES && !gate.lingering.lasts(LINGER, cx) {
            let mut buffer = ReadBuf::uninit(&mut room);
            ready!(Pin::new(&mut gate.inner).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            gate.lingered += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a head that came while the answer before took ten seconds was refused as soon as that was over.
    #[test]
    fn half_a_head_behind_a_slow_answer_is_given_its_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(head_due(Some(at(1)), at(11), false), at(11) + HEAD_TIMEOUT);
        assert_eq!(head_due(Some(at(12)), at(11), false), at(12) + HEAD_TIMEOUT);
        assert_eq!(head_due(None, at(11), false), at(11) + HEAD_TIMEOUT);
        assert_eq!(head_due(None, at(11), true), at(11) + IDLE);
        // The first head of a connection is due since its beginning, also if nothing of it is there.
        assert_eq!(head_due(Some(at(1)), at(1), true), at(1) + HEAD_TIMEOUT);
    }
}
