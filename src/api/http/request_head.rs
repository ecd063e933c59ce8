//! The head of a request, looked at before anything else is done with it. Pure: bytes in, a verdict out.
//!
//! Stricter than the library behind it, which would let some of this pass and answer the rest without a word:
//! lines end in CRLF, there is one length and one Host, and what two programs could read in two ways is
//! refused. So nothing can be smuggled past whoever stands in front.

use axum::http::Uri;

use crate::api::problem::{self, Code, Problem};

/// A head, from its first byte to the empty line.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
const TARGET_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 100;
/// A request line that is still not over has a target that is too long, whatever comes.
const LINE_BYTES_MAX: usize = TARGET_BYTES_MAX + 256;

/// What some bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// The beginning of a head.
    Part,
    /// A head of so many bytes, and what comes after it.
    Whole(usize, Body),
    /// Nothing that could be answered.
    Bad(Refusal),
}

/// How the body of a request is delimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// It is of so many bytes.
    Length(u64),
    /// It is in chunks, the last of which says so.
    Chunked,
}

/// Why a request is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub code: &'static Code,
    pub detail: &'static str,
}

impl Refusal {
    const fn new(code: &'static Code, detail: &'static str) -> Refusal {
        Refusal { code, detail }
    }

    fn bad(detail: &'static str) -> Refusal {
        Refusal::new(&problem::BAD_REQUEST, detail)
    }

    /// The head of a request did not arrive in time.
    pub const TOO_SLOW: Refusal = Refusal::new(
        &problem::REQUEST_TIMEOUT,
        "the head of the request did not arrive within 10 s; send all of it in that time",
    );

    /// A body that the request does not need did not arrive in time.
    pub const BODY_TOO_SLOW: Refusal = Refusal::new(
        &problem::REQUEST_TIMEOUT,
        "this request needs no body, and its body did not arrive within 10 s; send the request without a body",
    );

    const TARGET: Refusal =
        Refusal::new(&problem::URI_TOO_LONG, "the path and the query may have 8,192 bytes; shorten them");

    const HEAD: Refusal = Refusal::new(
        &problem::HEAD_TOO_LARGE,
        "the head may have 16,384 bytes and 100 fields; send fewer or shorter fields",
    );

    const METHOD: Refusal = Refusal::new(
        &problem::METHOD_NOT_ALLOWED,
        "tallyd is not a proxy; send a GET request for a path of tallyd",
    );
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem::new(refusal.code, refusal.detail)
    }
}

/// Looks at what came of a head so far.
pub fn look(bytes: &[u8]) -> Look {
    let bad = |detail| Look::Bad(Refusal::bad(detail));
    let mut end = None;
    let mut line = 0;
    for at in memchr::memchr_iter(b'\n', bytes) {
        if at == 0 || bytes[at - 1] != b'\r' {
            return bad("a line of the head ends with LF; end each line with CRLF");
        }
        if line == 0 && at > LINE_BYTES_MAX {
            return Look::Bad(Refusal::TARGET);
        }
        if at - line == 1 && line > 0 {
            end = Some(at + 1);
            break;
        }
        line = at + 1;
    }
    let Some(end) = end else {
        return match bytes.len() {
            length if line == 0 && length > LINE_BYTES_MAX => Look::Bad(Refusal::TARGET),
            length if length >= HEAD_BYTES_MAX => Look::Bad(Refusal::HEAD),
            _ => Look::Part,
        };
    };
    if end > HEAD_BYTES_MAX {
        return Look::Bad(Refusal::HEAD);
    }
    let head = &bytes[..end];
    if memchr::memchr_iter(b'\r', head).any(|at| head.get(at + 1) != Some(&b'\n')) {
        return bad("a line of the head contains a CR; use CR only in the CRLF at the end of a line");
    }
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == end => {}
        Ok(_) => return bad("the end of the head is ambiguous; end the head with one empty line"),
        Err(httparse::Error::TooManyHeaders) => return Look::Bad(Refusal::HEAD),
        Err(httparse::Error::Version) => {
            return bad("the HTTP version is not supported; use HTTP/1.1 or HTTP/1.0");
        }
        Err(httparse::Error::HeaderName) => {
            return bad(
                "a header field has an invalid name, or continues on a second line; send each field on one line, as Name: value",
            );
        }
        Err(httparse::Error::HeaderValue) => {
            return bad("the value of a header field contains control characters; remove them");
        }
        Err(_) => return bad("the first line must be like: GET /api/v1/report HTTP/1.1"),
    }
    match judge(&request) {
        Ok(body) => Look::Whole(end, body),
        Err(refusal) => Look::Bad(refusal),
    }
}

fn judge(request: &httparse::Request<'_, '_>) -> Result<Body, Refusal> {
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    if target.len() > TARGET_BYTES_MAX {
        return Err(Refusal::TARGET);
    }
    if method == "CONNECT" {
        return Err(Refusal::METHOD);
    }
    let uri: Uri =
        target.parse().map_err(|_| Refusal::bad("the target has characters that must be percent-encoded"))?;
    let absolute = uri.scheme_str().is_some_and(|scheme| ["http", "https"].contains(&scheme))
        && uri.authority().is_some();
    let is_right = target.starts_with('/') || absolute || (target == "*" && method == "OPTIONS");
    if !is_right {
        return Err(Refusal::bad("the target must begin with a slash"));
    }
    if target.contains('#') {
        return Err(Refusal::bad(
            "the target contains a #; send %23 for a # in the path or the query, and no fragment",
        ));
    }
    let values = |name: &'static str| {
        request
            .headers
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    };
    let is_1_1 = request.version == Some(1);
    match values("host").count() {
        0 if is_1_1 => return Err(Refusal::bad("the request has no Host; HTTP/1.1 requires one")),
        0 | 1 => {}
        _ => return Err(Refusal::bad("the request has several fields Host; send one")),
    }
    let mut codings = values("transfer-encoding");
    let mut lengths = values("content-length");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Body::Length(0)),
        (Some(_), Some(_)) => {
            Err(Refusal::bad("the request has both Content-Length and Transfer-Encoding; send one of them"))
        }
        (Some(coding), None)
            if is_1_1 && coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() =>
        {
            Ok(Body::Chunked)
        }
        (Some(_), None) => {
            Err(Refusal::bad("the only Transfer-Encoding that tallyd supports is chunked, in HTTP/1.1"))
        }
        (None, Some(_)) if lengths.next().is_some() => {
            Err(Refusal::bad("the request has several fields Content-Length; send one"))
        }
        (None, Some(length)) => {
            let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let length =
                std::str::from_utf8(length).ok().filter(|_| digits).and_then(|length| length.parse().ok());
            // Above this, the library would have no number for it.
            let length = length.filter(|length: &u64| *length <= u64::MAX / 2);
            length
                .map(Body::Length)
                .ok_or(Refusal::bad("the Content-Length is no number of bytes; send decimal digits only"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: impl AsRef<[u8]>, want: Look) {
        let bytes = bytes.as_ref();
        assert_eq!(look(bytes), want, "{}", bytes.escape_ascii());
    }

    #[track_caller]
    fn check_bad(bytes: impl AsRef<[u8]>, status: u16, word: &str) {
        match look(bytes.as_ref()) {
            Look::Bad(refusal) => {
                assert_eq!(refusal.code.status.as_u16(), status, "{refusal:?}");
                assert!(refusal.detail.contains(word), "{refusal:?} does not say {word}");
            }
            other => panic!("{}: {other:?}", bytes.as_ref().escape_ascii()),
        }
    }

    /// A head with these fields after its Host.
    fn head(fields: &str) -> String {
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    }

    #[test]
    fn heads_that_are_right() {
        let plain = head("");
        check(&plain, Look::Whole(plain.len(), Body::Length(0)));
        check(format!("{plain}GET /"), Look::Whole(plain.len(), Body::Length(0)));
        for cut in 0..plain.len() {
            check(&plain.as_bytes()[..cut], Look::Part);
        }
        for (fields, body) in [
            ("Content-Length: 0\r\n", Body::Length(0)),
            ("content-length:  17 \r\n", Body::Length(17)),
            ("Transfer-Encoding: Chunked\r\n", Body::Chunked),
            ("X: ä\r\nY:\r\n", Body::Length(0)),
        ] {
            let head = head(fields);
            check(&head, Look::Whole(head.len(), body));
        }
        for line in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "ODD /%00 HTTP/1.0\r\n\r\n",
        ] {
            check(line, Look::Whole(line.len(), Body::Length(0)));
        }
    }

    #[test]
    fn heads_that_two_could_read_in_two_ways() {
        check_bad("GET / HTTP/1.1\nHost: a\n\n", 400, "LF");
        check_bad("\n", 400, "LF");
        check_bad("GET / HTTP/1.1\r\nHost: a\n", 400, "LF");
        check_bad(head("X: a\rY: b\r\n"), 400, "CR");
        check_bad(head("X: a\r\n b\r\n"), 400, "second line");
        check_bad(head("X : a\r\n"), 400, "name");
        check_bad(head("X: a\0b\r\n"), 400, "control");
        check_bad(head("X\0: a\r\n"), 400, "name");
        check_bad(head("no colon\r\n"), 400, "name");
        check_bad("GET / HTTP/1.1\r\n\r\n", 400, "no Host");
        check_bad(head("Host: b\r\n"), 400, "several fields Host");
        check_bad(head("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400, "both");
        check_bad(head("Content-Length: 1\r\nContent-Length: 1\r\n"), 400, "several fields Content-Length");
        for length in ["+1", "-1", "1,1", "0x1", "", "1 1", "99999999999999999999"] {
            check_bad(head(&format!("Content-Length: {length}\r\n")), 400, "no number");
        }
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked"] {
            check_bad(head(&format!("Transfer-Encoding: {coding}\r\n")), 400, "only Transfer-Encoding");
        }
        check_bad(
            head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            400,
            "only Transfer-Encoding",
        );
        check_bad("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "only Transfer-Encoding");
    }

    #[test]
    fn first_lines_that_are_none() {
        check_bad("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/1.1");
        check_bad("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400, "HTTP/1.1");
        check_bad("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "proxy");
        check_bad("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "slash");
        check_bad("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "slash");
        check_bad("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "slash");
        check_bad("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "first line");
        check_bad("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "first line");
        check_bad("GET /\r\n\r\n", 400, "");
        check_bad("\x16\x03\x01\r\n\r\n", 400, "first line");
    }

    #[test]
    fn heads_that_are_too_much() {
        let target = "a".repeat(TARGET_BYTES_MAX);
        check_bad(format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n"), 414, "8,192");
        check_bad(format!("GET /{target}{target}"), 414, "8,192");
        check_bad(head(&format!("X: {}\r\n", "a".repeat(HEAD_BYTES_MAX))), 431, "16,384");
        check_bad(format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(HEAD_BYTES_MAX)), 431, "16,384");
        let (most, more) = (head(&"X: a\r\n".repeat(99)), head(&"X: a\r\n".repeat(100)));
        check(&most, Look::Whole(most.len(), Body::Length(0)));
        check_bad(more, 431, "100 fields");
    }
}
