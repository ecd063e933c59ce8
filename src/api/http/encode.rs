//! Compression of answers by zstd or gzip, if the client supports it.
//!
//! Only complete answers are compressed, never the stream of events.

use std::io::{self, Write};

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::warn;

use crate::api::http::catch_panic;
use crate::api::problem::Problem;
use crate::api::query::{list, quality};

/// Smaller answers are not compressed: they fit into a packet.
const BYTES_MIN: u64 = 1024;
/// Larger answers are compressed by a thread of their own, so that other requests do not wait.
const AT_ONCE_MAX: usize = 64 * 1024;
/// The fastest level of both: each answer is compressed for one reader.
const LEVEL: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Zstd,
    Gzip,
}

impl Coding {
    fn word(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    fn pack(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Coding::Zstd => zstd::bulk::compress(bytes, LEVEL.cast_signed()),
            Coding::Gzip => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(LEVEL));
                gzip.write_all(bytes)?;
                gzip.finish()
            }
        }
    }
}

/// Adds the header Vary to an answer, and returns the coding that the client wants if compression is
/// worthwhile.
pub fn chosen(wanted: Option<Coding>, response: &mut Response) -> Option<Coding> {
    if !matches!(response.status(), StatusCode::OK | StatusCode::NOT_MODIFIED)
        || response.headers().contains_key(header::CONTENT_ENCODING)
    {
        return None;
    }
    // Answers to HEAD still have their body here.
    let length = response.body().size_hint().exact()?;
    vary(response.headers_mut());
    wanted.filter(|_| length >= BYTES_MIN)
}

/// Compresses an answer.
pub async fn packed(coding: Coding, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let packed = match to_bytes(body, usize::MAX).await {
        Ok(bytes) => pack(coding, bytes).await,
        Err(error) => Err(io::Error::other(error)),
    };
    match packed {
        Ok(packed) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.word()));
            Response::from_parts(parts, Body::from(packed))
        }
        Err(error) => {
            let id = catch_panic::id();
            warn!(id, %error, "cannot compress an answer");
            Problem::internal(id).into_response()
        }
    }
}

async fn pack(coding: Coding, bytes: Bytes) -> io::Result<Vec<u8>> {
    if bytes.len() <= AT_ONCE_MAX {
        return coding.pack(&bytes);
    }
    tokio::task::spawn_blocking(move || coding.pack(&bytes))
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Adds `accept-encoding` to the header Vary.
fn vary(headers: &mut HeaderMap) {
    let name = "accept-encoding";
    let vary = match headers.get(header::VARY).and_then(|vary| vary.to_str().ok()) {
        Some(vary) => HeaderValue::from_str(&format!("{vary}, {name}")).ok(),
        None => Some(HeaderValue::from_static(name)),
    };
    if let Some(vary) = vary {
        headers.insert(header::VARY, vary);
    }
}

/// The coding that the client prefers (RFC 9110, 12.5.3), zstd if both have the same weight; none if the
/// client wants none.
pub fn wanted(headers: &HeaderMap) -> Option<Coding> {
    let accept = list(headers, header::ACCEPT_ENCODING);
    let weight_of = |word: &str| {
        accept.split(',').find_map(|part| {
            let mut parts = part.split(';').map(str::trim);
            parts.next().filter(|name| name.eq_ignore_ascii_case(word)).map(|_| quality(parts))
        })
    };
    // A `*` stands for codings without an entry of their own.
    let weight = |coding: Coding| weight_of(coding.word()).or_else(|| weight_of("*")).unwrap_or(0);
    // Without a weight of its own, `identity` is less preferred than any named coding.
    let least = weight_of("identity").unwrap_or(0).max(1);
    [Coding::Gzip, Coding::Zstd]
        .into_iter()
        .max_by_key(|coding| weight(*coding))
        .filter(|coding| weight(*coding) >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coding_is_the_one_that_is_wanted_most() {
        for (accept, coding) in [
            ("", None),
            ("gzip", Some(Coding::Gzip)),
            ("GZIP", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip;q=1.0, zstd;q=0.5", Some(Coding::Gzip)),
            ("zstd;q=0, gzip;q=0", None),
            ("*", Some(Coding::Zstd)),
            ("*, zstd;q=0", Some(Coding::Gzip)),
            ("identity", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip", Some(Coding::Gzip)),
            ("identity, gzip", Some(Coding::Gzip)),
            ("br", None),
            ("gzip;q=x", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))]);
            assert_eq!(wanted(&headers), coding, "{accept}");
        }
    }
}
