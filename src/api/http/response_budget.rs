//! The memory limit of answers that wait for their readers.
//!
//! Answers above the limit are refused: each of a thousand clients that never read could ask for the largest
//! answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::http::encode;
use crate::api::problem::Problem;

/// Smaller answers do not count: the operating system buffers them for a client that does not read (see
/// `serve`). So the metrics are sent even while other answers take all memory.
const SMALL: u64 = 64 * 1024;
/// The limit of all other answers together in KiB. The largest list takes 8 MiB.
const ROOM_KIB: usize = 24 * 1024;
/// The limit of shared copies in KiB, beside [`ROOM_KIB`].
const COPIES_KIB: usize = 8 * 1024;
/// The maximum number of answers that are made from the board at the same time. A thousand unfinished answers
/// would take more memory than a thousand waiting requests.
const AT_ONCE: usize = 2;
/// The maximum size of the pieces in which an answer is sent, in bytes.
const PIECE: usize = 16 * 1024;
/// The memory of the pieces of one answer that are being sent, in KiB.
const PIECES_KIB: u64 = 48;

/// Marks an answer whose bytes many clients share. It takes no memory of its own, unless it is compressed.
#[derive(Clone)]
pub struct OneCopy;

/// Permits to make an answer from the board.
#[derive(Clone)]
pub struct Turns(Arc<Semaphore>);

impl Turns {
    pub fn new() -> Turns {
        Turns(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// Makes an answer once there is a permit.
pub async fn in_turn(State(turns): State<Turns>, request: Request, next: Next) -> Response {
    let _turn = turns.0.acquire().await;
    next.run(request).await
}

/// The memory that answers may use.
#[derive(Clone)]
pub struct Room {
    kib: Arc<Semaphore>,
    /// The memory of shared copies is apart, so that clients that do not read lists do not block the report.
    copies: Arc<Semaphore>,
}

impl Room {
    pub fn new() -> Room {
        Room { kib: Arc::new(Semaphore::new(ROOM_KIB)), copies: Arc::new(Semaphore::new(COPIES_KIB)) }
    }

    /// True if the largest list would not fit now, and so need not be made.
    pub fn is_short(&self) -> bool {
        self.kib.available_permits() < ROOM_KIB / 3
    }

    /// A shared copy of these bytes, which takes the memory of one copy while anybody holds it. None if other
    /// copies, which somebody still holds, take all memory.
    pub fn share(&self, bytes: &Bytes) -> Option<Bytes> {
        let kib = (bytes.len() / 1024 + 1).min(COPIES_KIB) as u32;
        let room = Arc::clone(&self.copies).try_acquire_many_owned(kib).ok()?;
        Some(Bytes::from_owner(SharedCopy { bytes: bytes.clone(), _room: room }))
    }

    fn take(&self, length: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.kib).try_acquire_many_owned(kib(length)).ok()
    }
}

/// A shared copy and its share of the memory.
struct SharedCopy {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for SharedCopy {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The memory of an answer of this length in KiB. An answer above the limit is sent if no other one is.
fn kib(length: u64) -> u32 {
    (length / 1024 + PIECES_KIB).min(ROOM_KIB as u64) as u32
}

/// Sends an answer if there is memory for it, compressed if the client wants that.
pub async fn bounded(State(room): State<Room>, request: Request, next: Next) -> Response {
    let wanted = encode::wanted(request.headers());
    let mut response = next.run(request).await;
    let coding = encode::chosen(wanted, &mut response);
    let is_shared = response.extensions_mut().remove::<OneCopy>().is_some() && coding.is_none();
    let length = response.body().size_hint().lower();
    if length <= SMALL || is_shared {
        return match coding {
            Some(coding) => encode::packed(coding, response).await,
            None => response,
        };
    }
    // Nothing waits between making the answer and this point, so answers without memory are no more than
    // threads.
    let Some(mut taken) = room.take(length) else { return Problem::too_busy().into_response() };
    if let Some(coding) = coding {
        // Until the answer is compressed, it is in memory uncompressed.
        response = encode::packed(coding, response).await;
        let length = response.body().size_hint().lower();
        let needed = if length <= SMALL { 0 } else { kib(length) as usize };
        drop(taken.split(taken.num_permits().saturating_sub(needed)));
    }
    response.map(|body| Body::new(Holding { body, rest: Bytes::new(), _room: taken }))
}

/// A body that keeps its share of the memory until the last piece is sent.
///
/// The pieces are small copies: a slice of the whole would keep the whole in memory, long after its share was
/// given back.
struct Holding {
    body: Body,
    rest: Bytes,
    _room: OwnedSemaphorePermit,
}

impl HttpBody for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let holding = self.get_mut();
        if holding.rest.is_empty() {
            match ready!(Pin::new(&mut holding.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => holding.rest = bytes,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = holding.rest.split_to(holding.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::to_bytes;
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    /// Bytes that cannot be packed.
    fn noise() -> Vec<u8> {
        let mut random = 1_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 56) as u8
        };
        (0..ROOM_KIB * 1024 / 3).map(|_| next()).collect()
    }

    #[tokio::test]
    async fn large_answers_take_room_until_they_are_read() {
        let large = || vec![b'x'; ROOM_KIB * 1024 / 3];
        let router = Router::new()
            .route("/large", get(async move || large()))
            .route("/small", get("small"))
            .route("/one", get(async move || (axum::Extension(OneCopy), large())))
            .layer(axum::middleware::from_fn_with_state(Room::new(), bounded));
        let service = TowerToHyperService::new(router);
        let ask = |path: &'static str| service.call(Request::get(path).body(Body::empty()).unwrap());
        let (one, two) = (ask("/large").await.unwrap(), ask("/large").await.unwrap());
        assert_eq!((one.status().as_u16(), two.status().as_u16()), (200, 200));
        for (path, status) in [("/large", 503), ("/small", 200), ("/one", 200)] {
            assert_eq!(ask(path).await.unwrap().status().as_u16(), status, "{path}");
        }
        assert_eq!(one.body().size_hint().exact(), Some(large().len() as u64));
        assert_eq!(to_bytes(one.into_body(), usize::MAX).await.unwrap(), large());
        assert_eq!(ask("/large").await.unwrap().status().as_u16(), 200);
        drop(two);
    }

    /// Each change made another copy, and whoever held an old one held it for nothing.
    #[test]
    fn copies_that_are_still_held_take_room() {
        let room = Room::new();
        let bytes = Bytes::from(vec![b'x'; COPIES_KIB * 1024 / 3]);
        let (one, two) = (room.share(&bytes).unwrap(), room.share(&bytes).unwrap());
        assert!(room.share(&bytes).is_none());
        let reader = one.clone();
        drop(one);
        assert!(room.share(&bytes).is_none());
        drop(reader);
        assert_eq!(room.share(&bytes), Some(bytes));
        drop(two);
    }

    /// What was packed gave its room back first; and a packed copy of what many share was taken for that.
    #[tokio::test]
    async fn packed_answers_take_room_for_what_they_are_then() {
        let router = Router::new()
            .route("/noise", get(async || noise()))
            .route("/one", get(async || (axum::Extension(OneCopy), noise())))
            .route("/flat", get(async || vec![b'x'; ROOM_KIB * 1024 / 3]))
            .layer(axum::middleware::from_fn_with_state(Room::new(), bounded));
        let service = TowerToHyperService::new(router);
        let ask = |path: &'static str, coding| {
            service.call(Request::get(path).header("accept-encoding", coding).body(Body::empty()).unwrap())
        };
        for path in ["/noise", "/one"] {
            let (one, two) = (ask(path, "gzip").await.unwrap(), ask(path, "gzip").await.unwrap());
            assert_eq!((one.status().as_u16(), two.status().as_u16()), (200, 200), "{path}");
            assert_eq!(one.headers()["content-encoding"], "gzip");
            assert_eq!(ask("/one", "gzip").await.unwrap().status().as_u16(), 503, "{path}");
            assert_eq!(ask("/one", "identity").await.unwrap().status().as_u16(), 200, "{path}");
            let mut plain = Vec::new();
            let packed = to_bytes(one.into_body(), usize::MAX).await.unwrap();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut plain).unwrap();
            assert!(plain == noise(), "{path}");
        }
        // What becomes small takes no room while it waits.
        let mut flat = Vec::new();
        for _ in 0..10 {
            flat.push(ask("/flat", "gzip").await.unwrap());
        }
        assert!(flat.iter().all(|flat| flat.status() == 200));
    }
}
