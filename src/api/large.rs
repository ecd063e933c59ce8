//! Large answers wait for their readers in memory. They get so much of it in all, and no more.
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

use super::problem::Problem;

/// Smaller answers are not counted: all connections together hold few of them.
const SMALL: u64 = 16 * 1024;
/// What all large ones together may take, in KiB; the largest answer there is takes 8 MiB.
const ROOM_KIB: usize = 24 * 1024;
/// The route of the largest.
const LARGEST: &str = "/api/v1/files";
/// So many answers are made at once, each on a core of its own. A thousand that are half made would take more memory than as many that wait.
const AT_ONCE: usize = 2;
/// An answer goes out in pieces of so many bytes.
const PIECE: usize = 16 * 1024;
/// What the pieces of one answer that are on their way take beside it, in KiB.
const PIECES_KIB: u64 = 48;

/// An answer of which many hold the same copy. It takes no room of its own.
#[derive(Clone, Copy)]
pub(super) struct OneCopy;

#[derive(Clone)]
pub(super) struct Room {
    kib: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new() -> Room {
        Room { kib: Arc::new(Semaphore::new(ROOM_KIB)), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// Lets an answer go out if there is room for it.
pub(super) async fn bounded(State(room): State<Room>, request: Request, next: Next) -> Response {
    let turn = room.turns.acquire().await;
    // What will not fit is not made first.
    if request.uri().path() == LARGEST && room.kib.available_permits() < ROOM_KIB / 3 {
        return Problem::too_busy().into_response();
    }
    let response = next.run(request).await;
    drop(turn);
    let length = response.body().size_hint().lower();
    if length <= SMALL || response.extensions().get::<OneCopy>().is_some() {
        return response;
    }
    // One that is larger than all the room goes out if nothing else does.
    let kib = (length / 1024 + PIECES_KIB).min(ROOM_KIB as u64) as u32;
    match room.kib.try_acquire_many_owned(kib) {
        Ok(room) => response.map(|body| Body::new(Holding { body, rest: Bytes::new(), _room: room })),
        Err(_) => Problem::too_busy().into_response(),
    }
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
}
