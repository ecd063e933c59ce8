//! Errors as RFC 9457 problem+json, with a stable `code` and what to do.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::wire;
use crate::board::Busy;

/// An answer that says what was wrong with the request.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
}

impl Problem {
    pub(super) fn bad_parameter(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::BAD_REQUEST, code: "bad-parameter", title: "A parameter is not valid", detail: detail.into() }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::NOT_FOUND, code: "not-found", title: "There is no such thing", detail: detail.into() }
    }

    pub(super) fn method_not_allowed() -> Problem {
        let detail = "the header Allow says which methods there are".to_owned();
        Problem { status: StatusCode::METHOD_NOT_ALLOWED, code: "method-not-allowed", title: "The path has no such method", detail }
    }

    /// Nobody may change anything.
    pub(super) fn no_token_set() -> Problem {
        let detail = "set TALLYD_TOKEN or token_file and start tallyd again; without a token nobody can change anything".to_owned();
        Problem { status: StatusCode::FORBIDDEN, code: "no-token-set", title: "No token is set", detail }
    }

    pub(super) fn unauthorized() -> Problem {
        let detail = "show the token: Authorization: Bearer TOKEN".to_owned();
        Problem { status: StatusCode::UNAUTHORIZED, code: "unauthorized", title: "The token is missing or wrong", detail }
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::CONFLICT, code: "conflict", title: "That cannot be done to it", detail: detail.into() }
    }

    /// The client did not send all of what it began to upload.
    pub(super) fn incomplete() -> Problem {
        let detail = "it broke off before its end, so nothing was stored; send it again".to_owned();
        Problem { status: StatusCode::BAD_REQUEST, code: "incomplete", title: "The upload is not whole", detail }
    }

    /// Too little of an upload came in `limit`.
    pub(super) fn stalled(limit: Duration) -> Problem {
        let detail = format!("less than 64 KiB of it came in {} s, so nothing was stored; send it again", limit.as_secs());
        Problem { status: StatusCode::REQUEST_TIMEOUT, code: "stalled", title: "The upload does not go on", detail }
    }

    /// An upload has more than `max` bytes.
    pub(super) fn too_large(max: u64) -> Problem {
        let detail = format!("an upload may have {} MiB; compress it, cut it, or raise upload_max_mib", max >> 20);
        Problem { status: StatusCode::PAYLOAD_TOO_LARGE, code: "too-large", title: "The upload is too long", detail }
    }

    /// There are `max` uploads already.
    pub(super) fn too_many(max: usize) -> Problem {
        let detail = format!("{max} uploads are under way, and that is all there may be; try again when one is done");
        Problem { status: StatusCode::TOO_MANY_REQUESTS, code: "too-many-uploads", title: "Too many uploads at once", detail }
    }

    /// A watched folder is not this user's to write to.
    pub(super) fn not_writable(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::FORBIDDEN, code: "not-writable", title: "The folder cannot be written to", detail: detail.into() }
    }

    /// There is no room for an upload.
    pub(super) fn full(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::INSUFFICIENT_STORAGE, code: "disk-full", title: "There is no room for it", detail: detail.into() }
    }

    /// The system could not store an upload.
    pub(super) fn disk(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::INTERNAL_SERVER_ERROR, code: "disk-error", title: "It could not be stored", detail: detail.into() }
    }

    pub(super) fn not_ready(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::SERVICE_UNAVAILABLE, code: "not-ready", title: "Not yet", detail: detail.into() }
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Problem {
        Problem::not_ready(busy.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = wire::Problem { kind: "about:blank", title: self.title, status: self.status.as_u16(), code: self.code, detail: &self.detail };
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], wire::json(&body)).into_response();
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, axum::http::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
