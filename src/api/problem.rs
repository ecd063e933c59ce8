//! Errors as RFC 9457 problem+json, with a stable `code` and what to do.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::ranges::NotNow;
use super::wire;
use crate::board::Busy;

/// A kind of error, as programs tell it. What is written here is what the documents say.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Code {
    /// The word that never changes.
    pub(super) word: &'static str,
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
    /// When it comes, and what to do then.
    pub(super) about: &'static str,
}

/// A [`Code`] that stands in the table of all.
macro_rules! codes {
    ($($name:ident: $word:literal, $status:ident, $title:literal, $about:literal;)*) => {
        $(pub(super) static $name: Code = Code { word: $word, status: StatusCode::$status, title: $title, about: $about };)*
        /// All codes, by their status.
        pub(super) static CODES: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    BAD_PARAMETER: "bad-parameter", BAD_REQUEST, "A parameter is not valid",
        "A parameter of the query, or a part of the path, is unknown, given twice, or not what it may be: `parameter` names it, `detail` says what it may be.";
    BAD_REQUEST: "bad-request", BAD_REQUEST, "This is no request",
        "What came is no request of HTTP/1.1, or could be read as another one than it was meant to be: `detail` says what is wrong with it. The connection is closed.";
    INCOMPLETE: "incomplete", BAD_REQUEST, "The upload is not whole", "It broke off before its end. Nothing was stored; send it again.";
    UNAUTHORIZED: "unauthorized", UNAUTHORIZED, "The token is missing or wrong", "Show the token: `Authorization: Bearer TOKEN`.";
    NO_TOKEN_SET: "no-token-set", FORBIDDEN, "No token is set",
        "Without a token nobody can change anything. Set `TALLYD_TOKEN` or `token_file`, and start tallyd again.";
    READ_ONLY_TOKEN: "read-only-token", FORBIDDEN, "The token is not enough", "The token is one for reading. Changing something needs the other one (`TALLYD_TOKEN`).";
    READ_ONLY_LOGIN: "read-only-login", FORBIDDEN, "The login is for reading only",
        "A browser's login (Basic) allows reading only. Send changes with the header `Authorization: Bearer TOKEN`.";
    HOST_NOT_ALLOWED: "host-not-allowed", FORBIDDEN, "The host is not allowed",
        "The name that was asked may be somebody else's. Ask by an address, as `localhost`, or by a name that the setting `allowed_hosts` has.";
    NOT_WRITABLE: "not-writable", FORBIDDEN, "The folder cannot be written to", "tallyd's user may not write into the watched folder: `detail` names it, and what to do.";
    NOT_FOUND: "not-found", NOT_FOUND, "There is no such thing", "The path, or what it names, is not there: `/docs` has all paths, `/api/v1/files` and `/api/v1/days` have what there is.";
    METHOD_NOT_ALLOWED: "method-not-allowed", METHOD_NOT_ALLOWED, "The path has no such method", "The header `Allow` says which methods there are.";
    REQUEST_TIMEOUT: "request-timeout", REQUEST_TIMEOUT, "The request took too long", "A whole head must come within 10 s, and so must a body where none belongs: `detail` says which did not. The connection is closed.";
    STALLED: "stalled", REQUEST_TIMEOUT, "The upload does not go on", "Less than 64 KiB of it came in 20 s. Nothing was stored; send it again.";
    CONFLICT: "conflict", CONFLICT, "That cannot be done to it", "It is in a state in which that makes no sense: `detail` says why, and what to do instead.";
    LENGTH_REQUIRED: "length-required", LENGTH_REQUIRED, "The upload has no length", "A body was not announced, by `Content-Length` or as chunks, so it is not known that it is meant to be empty.";
    BODY_TOO_LARGE: "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large", "The route takes no body, or none of that size: `detail` says how much it takes.";
    TOO_LARGE: "too-large", PAYLOAD_TOO_LARGE, "The upload is too long", "Compress it, cut it, or raise the setting `upload_max_mib`.";
    URI_TOO_LONG: "uri-too-long", URI_TOO_LONG, "The address is too long", "The target of a request may have 8,192 bytes.";
    UNKNOWN_CODING: "unknown-coding", UNSUPPORTED_MEDIA_TYPE, "The body is packed in an unknown way", "`Content-Encoding` names something that tallyd cannot unpack: `detail` says what it can.";
    TOO_MANY_UPLOADS: "too-many-uploads", TOO_MANY_REQUESTS, "Too many uploads at once", "As many uploads are under way as there may be. Ask again after the seconds that `Retry-After` says.";
    HEAD_TOO_LARGE: "head-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The head is too large", "The head of a request may have 16,384 bytes and 100 fields.";
    INTERNAL: "internal", INTERNAL_SERVER_ERROR, "A mistake in tallyd",
        "Answering failed, and that is never meant to be. tallyd's log has the `id` of the answer, and what went wrong: please report both.";
    DISK_ERROR: "disk-error", INTERNAL_SERVER_ERROR, "The upload could not be stored", "The system says why in `detail`. Nothing was stored.";
    NOT_READY: "not-ready", SERVICE_UNAVAILABLE, "Not yet", "What is asked for cannot be told or done at this moment. Ask again after the seconds that `Retry-After` says.";
    TOO_BUSY: "too-busy", SERVICE_UNAVAILABLE, "Not now",
        "Many large answers are on their way to others, or as many wait for a range or listen to events as may: `detail` says which. Ask again after the seconds that `Retry-After` \
         says, or for less (`limit`).";
    DISK_FULL: "disk-full", INSUFFICIENT_STORAGE, "There is no room for it", "The file system would be left with too little room. Nothing was stored; make room.";
}

/// An answer that says what was wrong with the request.
#[derive(Debug)]
pub(super) struct Problem {
    code: &'static Code,
    /// The parameter that is wrong.
    parameter: Option<String>,
    detail: String,
    /// What the log knows this answer by.
    id: Option<String>,
}

impl Problem {
    pub(super) fn new(code: &'static Code, detail: impl Into<String>) -> Problem {
        Problem { code, parameter: None, detail: detail.into(), id: None }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.code.status
    }

    pub(super) fn title(&self) -> &'static str {
        self.code.title
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn bad_parameter(detail: impl Into<String>) -> Problem {
        Problem::new(&BAD_PARAMETER, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(&NOT_FOUND, detail)
    }

    pub(super) fn method_not_allowed() -> Problem {
        Problem::new(&METHOD_NOT_ALLOWED, "the header Allow says which methods there are")
    }

    /// Nobody may change anything.
    pub(super) fn no_token_set() -> Problem {
        Problem::new(&NO_TOKEN_SET, "set TALLYD_TOKEN or token_file and start tallyd again; without a token nobody can change anything")
    }

    pub(super) fn unauthorized() -> Problem {
        Problem::new(&UNAUTHORIZED, "show the token: Authorization: Bearer TOKEN")
    }

    /// The token is one for reading.
    pub(super) fn read_only_token() -> Problem {
        Problem::new(&READ_ONLY_TOKEN, "this token is for reading; changing something needs the other one")
    }

    /// A token came by Basic, which allows reading only.
    pub(super) fn read_only_login() -> Problem {
        Problem::new(&READ_ONLY_LOGIN, "a browser's login (Basic) allows reading only; send changes with the header Authorization: Bearer TOKEN")
    }

    pub(super) fn host_not_allowed() -> Problem {
        Problem::new(&HOST_NOT_ALLOWED, "ask by an address, as localhost, or by a name that the setting allowed_hosts has")
    }

    pub(super) fn bad_body() -> Problem {
        Problem::new(&BAD_REQUEST, "its body ends too soon, or its chunks are none")
    }

    pub(super) fn body_too_large(detail: impl Into<String>) -> Problem {
        Problem::new(&BODY_TOO_LARGE, detail)
    }

    /// Others take so much of what was answered already.
    pub(super) fn too_busy() -> Problem {
        Problem::new(&TOO_BUSY, "many large answers are on their way to others; ask again, or for less (limit=)")
    }

    /// As many listen to events as may.
    pub(super) fn too_many_listeners() -> Problem {
        Problem::new(&TOO_BUSY, "as many listen to events as may; ask again, or ask for the numbers now and then, or raise connections_max")
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(&CONFLICT, detail)
    }

    /// The client did not send all of what it began to upload.
    pub(super) fn incomplete() -> Problem {
        Problem::new(&INCOMPLETE, "it broke off before its end, so nothing was stored; send it again")
    }

    /// Too little of an upload came in `limit`.
    pub(super) fn stalled(limit: Duration) -> Problem {
        Problem::new(&STALLED, format!("less than 64 KiB of it came in {} s, so nothing was stored; send it again", limit.as_secs()))
    }

    /// An upload has more than `max` bytes.
    pub(super) fn too_large(max: u64) -> Problem {
        Problem::new(&TOO_LARGE, format!("an upload may have {} MiB; compress it, cut it, or raise upload_max_mib", max >> 20))
    }

    /// There are `max` uploads already.
    pub(super) fn too_many(max: usize) -> Problem {
        Problem::new(&TOO_MANY_UPLOADS, format!("{max} uploads are under way, and that is all there may be; try again when one is done"))
    }

    /// A watched folder is not this user's to write to.
    pub(super) fn not_writable(detail: impl Into<String>) -> Problem {
        Problem::new(&NOT_WRITABLE, detail)
    }

    /// There is no room for an upload.
    pub(super) fn full(detail: impl Into<String>) -> Problem {
        Problem::new(&DISK_FULL, detail)
    }

    /// The system could not store an upload.
    pub(super) fn disk(detail: impl Into<String>) -> Problem {
        Problem::new(&DISK_ERROR, detail)
    }

    pub(super) fn not_ready(detail: impl Into<String>) -> Problem {
        Problem::new(&NOT_READY, detail)
    }

    /// A mistake of ours, which the log knows by this id.
    pub(super) fn internal(id: String) -> Problem {
        let detail = format!("this answer could not be made; tallyd's log says more of it under the id {id}: please report that");
        Problem { id: Some(id), ..Problem::new(&INTERNAL, detail) }
    }

    /// Names the parameter that is wrong.
    pub(super) fn of(self, parameter: &str) -> Problem {
        Problem { parameter: Some(parameter.to_owned()), ..self }
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Problem {
        Problem::not_ready(busy.to_string())
    }
}

impl From<NotNow> for Problem {
    fn from(why: NotNow) -> Problem {
        match why {
            NotNow::Busy(busy) => busy.into(),
            NotNow::Crowded | NotNow::Exhausted => Problem::new(&TOO_BUSY, why.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { code, parameter, detail, id } = self;
        let (status, title) = (code.status, code.title.to_owned());
        let body = wire::Problem { kind: "about:blank".to_owned(), title, status: status.as_u16(), code: code.word, detail, parameter, id };
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], wire::json(&body)).into_response();
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
