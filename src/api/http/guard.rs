//! What each request has to pass before a route sees it, and what each answer carries.
//!
//! In this order: is it a request at all (see `gate`), is it asked for by a name of this machine, may who
//! asks read, is its body one that can be done without. Routes that change something ask for the admin token
//! themselves: the others have no such method. Each answer of 401 leaves a line in the journal, with the peer
//! and never with the token.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use tracing::warn;

use crate::api::http::admission::HEAD_TIMEOUT;
use crate::api::http::connections::Life;
use crate::api::http::request_head::Refusal;
use crate::api::pages;
use crate::api::problem::Problem;
use crate::api::state::Api;
use crate::show::thousands;

/// A body where none belongs is read and forgotten, up to here.
const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = HEAD_TIMEOUT;

/// Paths that need no token: they show no numbers. The page that asks for a login has the stylesheet.
pub const OPEN_PATHS: [&str; 8] =
    ["/healthz", "/health", "/livez", "/-/healthy", "/readyz", "/ready", "/-/ready", pages::STYLE_PATH];

/// The other end of a connection.
#[derive(Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Headers of every answer, unless its route has set them. Most answers are data: browsers must not guess
/// their type, and must not run, frame or hand on anything of them.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

pub fn put_headers(headers: &mut HeaderMap) {
    for (name, value) in &HEADERS {
        headers.entry(name).or_insert_with(|| value.clone());
    }
}

/// Lets a request through to its route, or says why not. A browser that needs a token may log in.
pub async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let is_login_missing = !request.headers().contains_key(header::AUTHORIZATION);
    let is_read_by_browser =
        matches!(*request.method(), Method::GET | Method::HEAD) && pages::wants_html(request.headers());
    let response = pass(api, request, next).await;
    if response.status() != StatusCode::UNAUTHORIZED {
        return response;
    }
    // The journal paces this line: see `journal::pace`.
    let peer = peer.map_or_else(|| "unknown".to_owned(), |Peer(address)| address.to_string());
    let token = if is_login_missing { "missing" } else { "wrong" };
    warn!(peer, token, "a request was refused with 401");
    if is_read_by_browser { pages::login(response) } else { response }
}

async fn pass(api: Arc<Api>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let is_refused = head.extensions.get::<Refusal>().is_some();
    if let Err(problem) = examine(&api, &head) {
        return refuse(problem, is_refused || !body.is_end_stream());
    }
    // What is put is a body.
    if head.method == Method::PUT || body.is_end_stream() {
        return next.run(Request::from_parts(head, body)).await;
    }
    // What comes of it is not needed for an answer: as long as it is waited for, the connection may be closed
    // for another.
    let life = head.extensions.get::<Arc<Life>>();
    life.inspect(|life| life.waits());
    let drained = drain(body).await;
    life.inspect(|life| life.goes_on());
    match drained {
        Ok(()) => next.run(Request::from_parts(head, Body::empty())).await,
        Err(problem) => refuse(problem, true),
    }
}

/// If something is left of the request, the connection ends with this answer: it is not read.
fn refuse(problem: Problem, is_last: bool) -> Response {
    let mut response = problem.into_response();
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if is_last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn examine(api: &Api, head: &Parts) -> Result<(), Problem> {
    if let Some(refusal) = head.extensions.get::<Refusal>() {
        return Err((*refusal).into());
    }
    if !is_host_allowed(&head.uri, &head.headers, &api.sources.allowed_hosts) {
        return Err(Problem::host_not_allowed());
    }
    if OPEN_PATHS.contains(&head.uri.path()) { Ok(()) } else { api.sources.keys.may_read(&head.headers) }
}

/// Reads and discards the body of a request that needs none.
async fn drain(body: Body) -> Result<(), Problem> {
    let too_large = || {
        Problem::body_too_large(format!(
            "this request needs no body, and tallyd reads at most {} bytes of one; send the request without a body",
            thousands(BODY_BYTES_MAX as u64)
        ))
    };
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if is_length_limit(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::bad_body()),
        Err(_) => Err(Refusal::BODY_TOO_SLOW.into()),
    }
}

/// Was the body too long, or was it broken?
fn is_length_limit(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<hyper::Error>() {
            return false;
        }
        source = error.source();
    }
    true
}

/// Is tallyd asked by a name of this machine? A page on evil.example may have its name point here; the
/// browser then asks for it, and would let the page read the answer.
fn is_host_allowed(uri: &Uri, headers: &HeaderMap, allowed: &[String]) -> bool {
    // What the target says counts, not the header (RFC 9112, 3.2.2).
    match (uri.authority(), headers.get(header::HOST)) {
        (Some(authority), _) => is_allowed(authority.as_str(), allowed),
        (None, Some(host)) => host.to_str().is_ok_and(|host| is_allowed(host, allowed)),
        // Only HTTP/1.0 has none, and no browser speaks that.
        (None, None) => true,
    }
}

/// Is it a host, with or without a port, that is an address, `localhost`, or one of these names?
fn is_allowed(host: &str, allowed: &[String]) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let name = name.strip_suffix('.').unwrap_or(name);
    let known = || {
        name.eq_ignore_ascii_case("localhost")
            || allowed.iter().any(|allowed| name.eq_ignore_ascii_case(allowed))
    };
    is_port(port) && (name.parse::<Ipv4Addr>().is_ok() || known())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_pass_and_hosts_that_do_not() {
        let allowed = ["stats.example.org".to_owned()];
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "192.0.2.7:",
            "[::1]",
            "[::1]:8080",
            "localhost",
            "LocalHost.:80",
            "stats.example.org",
            "STATS.Example.ORG.:443",
        ] {
            assert!(is_allowed(host, &allowed), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "evil.example:127.0.0.1",
            "127.0.0.1.evil.example",
            "127.0.0.1:80:80",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "stats.example.org..",
            "x.stats.example.org",
            "2130706433",
            "0x7f.1",
            "127.1",
            "[::1",
            "[::1]x",
            "[evil.example]",
            "::1",
        ] {
            assert!(!is_allowed(host, &allowed), "{host}");
        }
    }

    #[test]
    fn the_target_counts_before_the_header() {
        let headers =
            |host: &'static str| HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        let check = |uri: &'static str, host| is_host_allowed(&Uri::from_static(uri), &headers(host), &[]);
        assert!(check("/", "localhost") && !check("/", "evil.example"));
        assert!(check("http://localhost/", "evil.example") && !check("http://evil.example/", "localhost"));
        assert!(!check("http://localhost@evil.example/", "localhost"));
    }
}
