//! The stylesheet of all pages.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::api::answer::{Tag, answer};
use crate::api::problem::Problem;
use crate::api::query::Asked;
use crate::api::query::media::Media;
use crate::api::state::Shared;

/// Where the stylesheet is. Requests for it need no token.
pub(in crate::api) const STYLE_PATH: &str = "/style.css";

/// `GET /style.css`
pub(in crate::api) async fn style(State(api): Shared, asked: Asked) -> Result<Response, Problem> {
    asked.only(&[])?;
    let mut response =
        answer(&asked, &Tag::of_program(&api), Media::Json, || include_str!("templates/style.css"));
    let headers = response.headers_mut();
    if headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
    }
    Ok(response)
}
