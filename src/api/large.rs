//! Answers wait for their readers in memory. They get so much of it in all, and no more.
//!
//! What is too much is refused, as each of a thousand clients that never read could ask for the largest answer there is.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::encode;
use super::problem::Problem;

/// Smaller answers are not counted: the system takes them whole for a client that does not read (see `serve`). So the metrics go out whoever holds the room.
const SMALL: u64 = 64 * 1024;
/// What all others together may take, in KiB; the largest list there is takes 8 MiB.
const ROOM_KIB: usize = 24 * 1024;
/// What the copies that many share may take beside that.
const COPIES_KIB: usize = 8 * 1024;
/// So many answers are made from the board at once, each on a core of its own. A thousand that are half made would take more memory than as many that wait.
const AT_ONCE: usize = 2;
/// An answer goes out in pieces of so many bytes.
const PIECE: usize = 16 * 1024;
/// What the pieces of one answer that are on their way take beside it, in KiB.
const PIECES_KIB: u64 = 48;

/// An answer of which many hold the same copy. It takes no room of its own, unless it is packed.
#[derive(Clone)]
pub(super) struct OneCopy;

/// Who may make an answer from the board now.
#[derive(Clone)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(super) fn new() -> Turns {
        Turns(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// Lets an answer be made when it is its turn.
pub(super) async fn in_turn(State(turns): State<Turns>, request: Request, next: Next) -> Response {
    let _turn = turns.0.acquire().await;
    next.run(request).await
}

/// The memory that answers may take.
#[derive(Clone)]
pub(super) struct Room {
    kib: Arc<Semaphore>,
    /// That of the copies which many share, apart: who does not read lists keeps nobody from the report.
    copies: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new() -> Room {
        Room { kib: Arc::new(Semaphore::new(ROOM_KIB)), copies: Arc::new(Semaphore::new(COPIES_KIB)) }
    }

    /// Is there no room for the largest list now? What will not fit need not be made first.
    pub(super) fn is_short(&self) -> bool {
        self.kib.available_permits() < ROOM_KIB / 3
    }

    /// Bytes that many may hold: they take the room of one copy as long as anybody does. None if there are too many other copies that somebody still holds.
    pub(super) fn share(&self, bytes: &Bytes) -> Option<Bytes> {
        let kib = (bytes.len() / 1024 + 1).min(COPIES_KIB) as u32;
        let room = Arc::clone(&self.copies).try_acquire_many_owned(kib).ok()?;
        Some(Bytes::from_owner(SharedCopy { bytes: bytes.clone(), _room: room }))
    }

    fn take(&self, length: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.kib).try_acquire_many_owned(kib(length)).ok()
    }
}

/// A copy that many share, and its room.
struct SharedCopy {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for SharedCopy {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What an answer of so many bytes takes. One that is larger than all the room goes out if nothing else does.
fn kib(length: u64) -> u32 {
    (length / 1024 + PIECES_KIB).min(ROOM_KIB as u64) as u32
}

/// Lets an answer go out if there is room for it, packed if that is wanted.
pub(super) async fn bounded(State(room): State<Room>, request: Request, next: Next) -> Response {
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
    // Nothing has waited since the answer was made: of those that have no room yet, there are no more than threads.
    let Some(mut taken) = room.take(length) else { return Problem::too_busy().into_response() };
    if let Some(coding) = coding {
        // Until it is packed it is there unpacked.
        response = encode::packed(coding, response).await;
        let length = response.body().size_hint().lower();
        let needed = if length <= SMALL { 0 } else { kib(length) as usize };
        drop(taken.split(taken.num_permits().saturating_sub(needed)));
    }
    response.map(|body| Body::new(Holding { body, rest: Bytes::new(), _room: taken }))
}

/// A body that takes its room until the last of it is on its way.
///
/// It goes out in small copies: a part of the whole would hold on to the whole, long after the room was given back.
struct Holding {
    body: Body,
    rest: Bytes,
    _room: OwnedSemaphorePermit,
}

impl HttpBody for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
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
        let ask = |path: &'static str, coding| service.call(Request::get(path).header("accept-encoding", coding).body(Body::empty()).unwrap());
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
