//! Errors as RFC 9457 problem+json, with a stable `code` and what to do.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::head::Refusal;
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
    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

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

    /// The token is one for reading.
    pub(super) fn read_only_token() -> Problem {
        let detail = "this token is for reading; changing something needs the other one".to_owned();
        Problem { status: StatusCode::FORBIDDEN, code: "read-only-token", title: "The token is not enough", detail }
    }

    pub(super) fn host_not_allowed() -> Problem {
        let detail = "ask by an address, as localhost, or by a name that the setting allowed_hosts has".to_owned();
        Problem { status: StatusCode::FORBIDDEN, code: "host-not-allowed", title: "The host is not allowed", detail }
    }

    pub(super) fn bad_body() -> Problem {
        let detail = "its body ends too soon, or its chunks are none".to_owned();
        Problem { status: StatusCode::BAD_REQUEST, code: "bad-request", title: "This is no request", detail }
    }

    pub(super) fn body_too_large(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::PAYLOAD_TOO_LARGE, code: "body-too-large", title: "The body is too large", detail: detail.into() }
    }

    /// Others take so much of what was answered already.
    pub(super) fn too_busy() -> Problem {
        let detail = "many large answers are on their way to others; ask again, or for less (limit=)".to_owned();
        Problem { status: StatusCode::SERVICE_UNAVAILABLE, code: "too-busy", title: "Not now", detail }
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::CONFLICT, code: "conflict", title: "That cannot be done to it", detail: detail.into() }
    }

    pub(super) fn not_ready(detail: impl Into<String>) -> Problem {
        Problem { status: StatusCode::SERVICE_UNAVAILABLE, code: "not-ready", title: "Not yet", detail: detail.into() }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let Refusal { status, code, title, detail } = refusal;
        Problem { status, code, title, detail: detail.to_owned() }
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
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, axum::http::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
