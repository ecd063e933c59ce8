//! A handler that panics ends its answer, and nothing else.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::error;

use crate::api::problem::Problem;

/// Answers 500 in place of a handler that panics, with an id under which the log says what happened.
pub async fn caught(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut answer = pin!(next.run(request));
    // What the handler has in hand is dropped with it. What it shares is behind locks, and no lock is held
    // where something may panic.
    let answered = std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    });
    answered.await.unwrap_or_else(|panic| {
        let id = id();
        error!(id, %method, path, panic = said(&*panic), "a handler panicked");
        Problem::internal(id).into_response()
    })
}

/// An id that no other answer has: the moment, and a number within the process.
pub fn id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    format!("{now:x}-{:x}", NEXT.fetch_add(1, Relaxed))
}

fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
