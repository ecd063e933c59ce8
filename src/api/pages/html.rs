//! Pages from templates, with their headers.

use askama::Template;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::error;

use crate::api::http::catch_panic;
use crate::api::problem::Problem;
use crate::api::query::{list, preference};

/// What a page may load: the stylesheet and images from this api, nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Does the client prefer HTML to JSON, as browsers do? `curl` takes both alike.
pub(in crate::api) fn wants_html(headers: &HeaderMap) -> bool {
    let accept = list(headers, header::ACCEPT);
    preference(&accept, "text/html") > preference(&accept, "application/json")
}

/// Does the client prefer JSON to HTML?
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let accept = list(headers, header::ACCEPT);
    preference(&accept, "application/json") > preference(&accept, "text/html")
}

/// A page from its template.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            let mut response = (status, html).into_response();
            put_headers(response.headers_mut());
            response
        }
        Err(error) => {
            let id = catch_panic::id();
            error!(id, %error, "cannot make a page");
            Problem::internal(id).into_response()
        }
    }
}

/// The headers of every page.
pub(in crate::api) fn put_headers(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
}

/// The noun for so many things.
pub(super) fn noun<'a>(number: u64, one: &'a str, more: &'a str) -> &'a str {
    if number == 1 { one } else { more }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_want_html_and_programs_do_not() {
        const BROWSER: &str =
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
        for (accept, html, json) in [
            (BROWSER, true, false),
            ("text/html", true, false),
            ("text/html;q=0.9,application/json;q=0.1", true, false),
            ("", false, false),
            ("*/*", false, false),
            ("image/avif,image/webp,*/*;q=0.8", false, false),
            ("text/html, application/json", false, false),
            ("application/json", false, true),
            ("application/json, */*;q=0.5", false, true),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!((wants_html(&headers), wants_json(&headers)), (html, json), "{accept}");
        }
    }
}
