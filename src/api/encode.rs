//! Answers that are packed for the way: by zstd or gzip, if who asks can unpack that.
//!
//! Only answers that are there as a whole: events are not touched.

use std::io::{self, Write};

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::warn;

use super::caught;
use super::problem::Problem;
use super::query::{list, quality};

/// Smaller answers fit into a packet as they are.
const BYTES_MIN: u64 = 1024;
/// Larger ones are packed by a thread of their own, so that others need not wait.
const AT_ONCE_MAX: usize = 64 * 1024;
/// The fastest level of each: an answer is packed for one reader.
const LEVEL: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
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

/// Says in an answer that others may get other bytes, and by what it is to be packed: as who asks wants, if it is worth it.
pub(super) fn chosen(wanted: Option<Coding>, response: &mut Response) -> Option<Coding> {
    if !matches!(response.status(), StatusCode::OK | StatusCode::NOT_MODIFIED) || response.headers().contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    // What HEAD asks for has its body here still.
    let length = response.body().size_hint().exact()?;
    vary(response.headers_mut());
    wanted.filter(|_| length >= BYTES_MIN)
}

/// An answer, packed.
pub(super) async fn packed(coding: Coding, response: Response) -> Response {
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
            let id = caught::id();
            warn!(id, %error, "cannot pack an answer");
            Problem::internal(id).into_response()
        }
    }
}

async fn pack(coding: Coding, bytes: Bytes) -> io::Result<Vec<u8>> {
    if bytes.len() <= AT_ONCE_MAX {
        return coding.pack(&bytes);
    }
    tokio::task::spawn_blocking(move || coding.pack(&bytes)).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Says that other readers may get other bytes.
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

/// The coding that is wanted most (RFC 9110, 12.5.3), zstd of two that are wanted alike; none if none is.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Coding> {
    let accept = list(headers, header::ACCEPT_ENCODING);
    let weight_of = |word: &str| {
        accept.split(',').find_map(|part| {
            let mut parts = part.split(';').map(str::trim);
            parts.next().filter(|name| name.eq_ignore_ascii_case(word)).map(|_| quality(parts))
        })
    };
    // A `*` stands for what is not named.
    let weight = |coding: Coding| weight_of(coding.word()).or_else(|| weight_of("*")).unwrap_or(0);
    // As it is, it is wanted less than whatever is named, unless that is said.
    let least = weight_of("identity").unwrap_or(0).max(1);
    [Coding::Gzip, Coding::Zstd].into_iter().max_by_key(|coding| weight(*coding)).filter(|coding| weight(*coding) >= least)
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
