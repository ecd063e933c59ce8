//! What answers have in common: their tags, their type.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::routes::Shared;

/// Data answers carry the board's generation as their tag: while it lasts, nothing has changed.
pub(super) async fn tagged(State(api): Shared, request: Request, next: Next) -> Response {
    let tag = format!("\"{:x}-{:x}\"", api.sources.started, api.sources.board.header().generation);
    let same = is_known(request.headers(), &tag);
    let mut response = next.run(request).await;
    if same && response.status() == StatusCode::OK {
        response = StatusCode::NOT_MODIFIED.into_response();
    }
    if matches!(response.status(), StatusCode::OK | StatusCode::NOT_MODIFIED) {
        put_tag(&mut response, &tag);
    }
    response
}

/// Does who asks have the answer with this tag?
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let asked = headers.get(header::IF_NONE_MATCH).and_then(|asked| asked.to_str().ok());
    let bare = |tag: &str| tag.trim_start_matches("W/").to_owned();
    asked.is_some_and(|asked| asked.split(',').map(str::trim).any(|asked| asked == "*" || bare(asked) == bare(tag)))
}

fn put_tag(response: &mut Response, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

pub(super) fn answer(body: impl Into<Bytes>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// An answer with its tag, or that it is the one that who asks has.
pub(super) fn unless_known(headers: &HeaderMap, tag: &str, body: Vec<u8>) -> Response {
    let mut response = if is_known(headers, tag) { StatusCode::NOT_MODIFIED.into_response() } else { answer(body) };
    put_tag(&mut response, tag);
    response
}
