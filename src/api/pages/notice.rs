//! Pages that say why there is no other page: a wrong path, a missing login, an answer that cannot be given
//! now.

use askama::Template;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::html::{page, wants_html};
use crate::api::problem::Problem;

#[derive(Template)]
#[template(path = "notice.html", config = "src/api/pages/askama.toml")]
struct Notice<'a> {
    title: &'a str,
    detail: &'a str,
}

/// A problem: as a page for browsers, as problem+json for programs.
pub(super) fn problem(problem: Problem, headers: &HeaderMap) -> Response {
    if !wants_html(headers) {
        return problem.into_response();
    }
    page(problem.status(), &Notice { title: problem.title(), detail: problem.detail() })
}

/// The answer to a path that does not exist.
pub(in crate::api) async fn not_found(headers: HeaderMap) -> Response {
    if wants_html(&headers) {
        return page(
            StatusCode::NOT_FOUND,
            &Notice { title: "Page not found", detail: "There is nothing at this path." },
        );
    }
    Problem::not_found("this path does not exist; /docs lists the paths").into_response()
}

/// The answer of 401 for a browser, which then asks its user for a name and a password.
pub(in crate::api) fn login(refused: Response) -> Response {
    let notice = Notice {
        title: "A token is needed",
        detail: "Log in with any user name, and with the read token or the admin token as the password. A login allows reading only. Programs send the header \
                 Authorization: Bearer TOKEN.",
    };
    let mut response = page(StatusCode::UNAUTHORIZED, &notice);
    let headers = response.headers_mut();
    for name in [header::WWW_AUTHENTICATE, header::CONNECTION] {
        headers.extend(refused.headers().get(&name).map(|value| (name, value.clone())));
    }
    headers.append(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"tallyd\", charset=\"UTF-8\""),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let html = Notice { title: "<script>alert(1)</script>", detail: "\"><img src=x onerror='1'> & more" }
            .render()
            .unwrap();
        assert!(
            !html.contains("<script")
                && !html.contains("<img")
                && html.contains("&#60;script&#62;")
                && html.contains("&#38; more"),
            "{html}"
        );
    }
}
