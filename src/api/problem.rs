//! Errors as RFC 9457 problem+json: each has a stable `code`, a link to its description, and a remedy.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::ranges::UnavailableError;
use crate::api::wire;
use crate::board::BusyError;
use crate::show::thousands;

/// A kind of error, as programs distinguish them. The OpenAPI document and `/docs` show these texts.
#[derive(PartialEq, Eq, Debug)]
pub struct Code {
    /// The stable word, and the anchor of the description in `/docs`.
    pub word: &'static str,
    pub status: StatusCode,
    pub title: &'static str,
    /// The cause and the remedy.
    pub about: &'static str,
}

/// Declares each [`Code`] and the table of all codes.
macro_rules! codes {
    ($($name:ident: $word:literal, $status:ident, $title:literal, $about:literal;)*) => {
        $(pub static $name: Code = Code { word: $word, status: StatusCode::$status, title: $title, about: $about };)*
        /// All codes, by their status.
        pub static CODES: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    BAD_PARAMETER: "bad-parameter", BAD_REQUEST, "A parameter is not valid",
        "A query parameter or a part of the path is unknown, given twice, or has a value that is not allowed. `parameter` names the parameter, and `detail` lists the allowed \
         values.";
    BAD_REQUEST: "bad-request", BAD_REQUEST, "The request is malformed",
        "The bytes are not a valid HTTP/1.1 request, or two programs could read them as different requests. `detail` names the mistake. tallyd closes the connection.";
    INCOMPLETE: "incomplete", BAD_REQUEST, "The upload is incomplete", "The connection ended before the body did. tallyd stored nothing: send the log again.";
    UNAUTHORIZED: "unauthorized", UNAUTHORIZED, "The token is missing or wrong", "Send the token in a header: `Authorization: Bearer TOKEN`.";
    NO_TOKEN_SET: "no-token-set", FORBIDDEN, "No admin token is set",
        "Requests that change anything need the admin token, and tallyd has none. Set `TALLYD_TOKEN` or `token_file`, and restart tallyd.";
    READ_ONLY_TOKEN: "read-only-token", FORBIDDEN, "The token is for reading only",
        "Requests that change anything need the token that `TALLYD_TOKEN` or `token_file` sets.";
    READ_ONLY_LOGIN: "read-only-login", FORBIDDEN, "The login is for reading only",
        "The login of a browser (Basic) allows reading only. Send requests that change anything with the header `Authorization: Bearer TOKEN`.";
    HOST_NOT_ALLOWED: "host-not-allowed", FORBIDDEN, "The host name is not allowed",
        "The `Host` of the request may be a name that another party controls. Use an IP address, `localhost`, or a name in the setting `allowed_hosts`.";
    NOT_WRITABLE: "not-writable", FORBIDDEN, "tallyd cannot write to the folder",
        "The user that runs tallyd has no permission to write to the watched folder. `detail` names the folder and the remedy.";
    NOT_FOUND: "not-found", NOT_FOUND, "Not found",
        "The path does not exist, or tallyd does not know the log or the day in it. `/docs` lists the paths, `/api/v1/files` the logs and `/api/v1/days` the days.";
    METHOD_NOT_ALLOWED: "method-not-allowed", METHOD_NOT_ALLOWED, "The path does not support this method", "The header `Allow` lists the methods of the path.";
    REQUEST_TIMEOUT: "request-timeout", REQUEST_TIMEOUT, "The request took too long",
        "The head of a request must arrive within 10 s, and so must the body of a request that needs none. `detail` names the one that was late. tallyd closes the connection.";
    STALLED: "stalled", REQUEST_TIMEOUT, "The upload stalled", "Less than 64 KiB of the body arrived within 20 s. tallyd stored nothing: send the log again.";
    CONFLICT: "conflict", CONFLICT, "The request conflicts with the state of the log", "`detail` names the conflict and the remedy.";
    LENGTH_REQUIRED: "length-required", LENGTH_REQUIRED, "The length of the upload is missing",
        "The request has neither `Content-Length` nor chunks. Send `Content-Length: 0` to upload an empty log.";
    BODY_TOO_LARGE: "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large", "The path takes no body, or a smaller one. `detail` has the limit.";
    TOO_LARGE: "too-large", PAYLOAD_TOO_LARGE, "The upload is too large", "Compress the log, split the log, or raise the setting `upload_max_mib`.";
    URI_TOO_LONG: "uri-too-long", URI_TOO_LONG, "The URL is too long", "The path and the query of a request may have 8,192 bytes.";
    UNKNOWN_CODING: "unknown-coding", UNSUPPORTED_MEDIA_TYPE, "The compression of the body is not supported",
        "`Content-Encoding` names a compression that tallyd cannot read. `detail` lists the supported ones.";
    TOO_MANY_UPLOADS: "too-many-uploads", TOO_MANY_REQUESTS, "Too many uploads at once",
        "The maximum number of uploads is in progress. Try again after the number of seconds in `Retry-After`.";
    HEAD_TOO_LARGE: "head-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too large",
        "The head of a request may have 16,384 bytes and 100 header fields.";
    INTERNAL: "internal", INTERNAL_SERVER_ERROR, "A bug in tallyd",
        "tallyd failed to answer because of a bug. The journal of tallyd has the cause under the `id` of this answer: please report both.";
    DISK_ERROR: "disk-error", INTERNAL_SERVER_ERROR, "tallyd could not store the upload", "`detail` has the error of the operating system. tallyd stored nothing.";
    NOT_READY: "not-ready", SERVICE_UNAVAILABLE, "Not ready", "tallyd cannot answer at the moment: `detail` has the reason. Try again after the number of seconds in `Retry-After`.";
    TOO_BUSY: "too-busy", SERVICE_UNAVAILABLE, "Too busy",
        "Too many large answers are being sent, too many requests wait for a range, or too many clients listen to events: `detail` says which. Try again after the number of \
         seconds in `Retry-After`, or ask for less (`limit`).";
    DISK_FULL: "disk-full", INSUFFICIENT_STORAGE, "Too little disk space",
        "The upload would leave too little free space on the file system. tallyd stored nothing: free some space and send the log again.";
}

/// An answer that names what is wrong with a request.
#[derive(Debug)]
pub struct Problem {
    code: &'static Code,
    /// The parameter that is not valid.
    parameter: Option<String>,
    detail: String,
    /// The id of this answer in the journal.
    id: Option<String>,
}

impl Problem {
    pub fn new(code: &'static Code, detail: impl Into<String>) -> Problem {
        Problem { code, parameter: None, detail: detail.into(), id: None }
    }

    pub fn status(&self) -> StatusCode {
        self.code.status
    }

    pub fn title(&self) -> &'static str {
        self.code.title
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn bad_parameter(detail: impl Into<String>) -> Problem {
        Problem::new(&BAD_PARAMETER, detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(&NOT_FOUND, detail)
    }

    pub fn method_not_allowed() -> Problem {
        Problem::new(&METHOD_NOT_ALLOWED, "the header Allow lists the methods of this path")
    }

    /// No token is set, so nobody may change anything.
    pub fn no_token_set() -> Problem {
        Problem::new(
            &NO_TOKEN_SET,
            "requests that change anything need the admin token: set TALLYD_TOKEN or token_file and restart tallyd",
        )
    }

    pub fn unauthorized() -> Problem {
        Problem::new(&UNAUTHORIZED, "send the token in a header: Authorization: Bearer TOKEN")
    }

    /// The token is for reading only.
    pub fn read_only_token() -> Problem {
        Problem::new(
            &READ_ONLY_TOKEN,
            "this token is for reading only; requests that change anything need the token that TALLYD_TOKEN or token_file sets",
        )
    }

    /// A token came by Basic, which allows reading only.
    pub fn read_only_login() -> Problem {
        Problem::new(
            &READ_ONLY_LOGIN,
            "a browser's login (Basic) allows reading only; send changes with the header Authorization: Bearer TOKEN",
        )
    }

    pub fn host_not_allowed() -> Problem {
        Problem::new(
            &HOST_NOT_ALLOWED,
            "use an IP address, localhost, or a name in the setting allowed_hosts",
        )
    }

    pub fn bad_body() -> Problem {
        Problem::new(&BAD_REQUEST, "the body ends too early, or its chunks are malformed")
    }

    pub fn body_too_large(detail: impl Into<String>) -> Problem {
        Problem::new(&BODY_TOO_LARGE, detail)
    }

    /// Large answers that are being sent take all memory that answers may take.
    pub fn too_busy() -> Problem {
        Problem::new(
            &TOO_BUSY,
            "too many large answers are being sent to other clients; try again, or ask for less (limit=)",
        )
    }

    /// The maximum number of clients listens to events.
    pub fn too_many_listeners() -> Problem {
        Problem::new(
            &TOO_BUSY,
            "too many clients listen to events; try again, poll the numbers instead, or raise connections_max",
        )
    }

    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(&CONFLICT, detail)
    }

    /// The client did not send all of what it began to upload.
    pub fn incomplete() -> Problem {
        Problem::new(
            &INCOMPLETE,
            "the connection ended before the body did, so tallyd stored nothing; send the log again",
        )
    }

    /// Too little of an upload arrived within `limit`.
    pub fn stalled(limit: Duration) -> Problem {
        Problem::new(
            &STALLED,
            format!(
                "less than 64 KiB of the body arrived within {} s, so tallyd stored nothing; send the log again",
                limit.as_secs()
            ),
        )
    }

    /// An upload has more than `max` bytes.
    pub fn too_large(max: u64) -> Problem {
        Problem::new(
            &TOO_LARGE,
            format!(
                "an upload may have {} MiB; compress the log, split the log, or raise upload_max_mib",
                thousands(max >> 20)
            ),
        )
    }

    /// `max` uploads are in progress already.
    pub fn too_many(max: usize) -> Problem {
        Problem::new(
            &TOO_MANY_UPLOADS,
            format!(
                "{max} uploads are in progress, which is the maximum; try again when one of them is done"
            ),
        )
    }

    /// tallyd has no permission to write to a watched folder.
    pub fn not_writable(detail: impl Into<String>) -> Problem {
        Problem::new(&NOT_WRITABLE, detail)
    }

    /// The disk has too little space for an upload.
    pub fn full(detail: impl Into<String>) -> Problem {
        Problem::new(&DISK_FULL, detail)
    }

    /// The operating system could not store an upload.
    pub fn disk(detail: impl Into<String>) -> Problem {
        Problem::new(&DISK_ERROR, detail)
    }

    pub fn not_ready(detail: impl Into<String>) -> Problem {
        Problem::new(&NOT_READY, detail)
    }

    /// A bug of tallyd, which the journal has under this id.
    pub fn internal(id: String) -> Problem {
        let detail = format!(
            "tallyd failed to make this answer because of a bug; its journal has the cause under the id {id}: please report it"
        );
        Problem { id: Some(id), ..Problem::new(&INTERNAL, detail) }
    }

    /// Names the parameter that is not valid.
    pub fn of(self, parameter: &str) -> Problem {
        Problem { parameter: Some(parameter.to_owned()), ..self }
    }
}

impl From<BusyError> for Problem {
    fn from(busy: BusyError) -> Problem {
        Problem::not_ready(busy.to_string())
    }
}

impl From<UnavailableError> for Problem {
    fn from(why: UnavailableError) -> Problem {
        match why {
            UnavailableError::Busy(busy) => busy.into(),
            UnavailableError::Crowded | UnavailableError::Exhausted => {
                Problem::new(&TOO_BUSY, why.to_string())
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { code, parameter, detail, id } = self;
        let (status, title) = (code.status, code.title.to_owned());
        let body = wire::Problem {
            kind: format!("/docs#{}", code.word),
            title,
            status: status.as_u16(),
            code: code.word,
            detail,
            parameter,
            id,
        };
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], wire::json(&body)).into_response();
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
