//! Parts that all answers with numbers share: the tag (`ETag`) and the format.
//!
//! A tag changes whenever a number may have changed. Tags are weak: they identify numbers and format, not the
//! compression.

use std::fmt::Display;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::query::media::Media;
use crate::api::query::{Asked, Kind, Parameter};
use crate::api::state::Api;
use crate::log::Day;

const ABOUT: &str = "The format of the answer. Without this parameter, the header `Accept` selects the format; if tallyd supports none of the types in it, the answer is JSON.";

/// The parameter `format` of lists.
pub(super) static FORMAT_OF_LIST: Parameter =
    Parameter { name: "format", about: ABOUT, kind: Kind::Words(&["json", "csv", "ndjson"]) };
/// The parameter `format` of single objects.
pub(super) static FORMAT: Parameter =
    Parameter { name: "format", about: ABOUT, kind: Kind::Words(&["json", "csv"]) };

/// Identifies the state of the numbers in an answer.
#[derive(Debug)]
pub(super) struct Tag(String);

impl Tag {
    pub(super) fn new(state: impl Display) -> Tag {
        Tag(state.to_string())
    }

    /// Adds the day that words such as `today` were parsed with, since they mean other days tomorrow. That
    /// day may be over by the time the answer is made.
    pub(super) fn on(self, today: Day) -> Tag {
        Tag(format!("{}-{:x}", self.0, today.number()))
    }

    /// True if the client has the answer with this tag.
    pub(super) fn is_known(&self, asked: &Asked, format: Media) -> bool {
        is_known(&asked.headers, &self.text(format))
    }

    fn text(&self, format: Media) -> String {
        format!("W/\"{}-{}\"", self.0, format.word())
    }

    /// The tag of answers that do not change while the daemon runs.
    pub(super) fn of_program(api: &Api) -> Tag {
        Tag::new(format_args!("{:x}", api.sources.started))
    }

    /// The tag of the board. Callers take it before they read the board: then the tag may be too old, but
    /// never too new.
    pub(super) fn of_board(api: &Api) -> Tag {
        Tag::new(format_args!("{:x}-{:x}", api.sources.started, api.sources.board.header().generation))
    }
}

/// The answer with its tag, or 304 if the client has the answer with this tag.
pub(super) fn answer<B: Into<Bytes>>(
    asked: &Asked,
    tag: &Tag,
    format: Media,
    body: impl FnOnce() -> B,
) -> Response {
    let tag = tag.text(format);
    let mut response = if is_known(&asked.headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, format.content_type())], body().into()).into_response()
    };
    let headers = response.headers_mut();
    // A tag is hexadecimal digits and words, which are always valid in a header.
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// A JSON answer without a tag, for contents that change all the time.
pub(super) fn fleeting(body: impl Into<Bytes>) -> Response {
    ([(header::CONTENT_TYPE, Media::Json.content_type())], body.into()).into_response()
}

/// True if the client has the answer with this tag.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let asked = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|asked| asked.to_str().ok());
    let bare = |tag: &str| tag.trim_start_matches("W/").to_owned();
    asked
        .flat_map(|asked| asked.split(','))
        .map(str::trim)
        .any(|asked| asked == "*" || bare(asked) == bare(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tag had the day at its own making, and the days that of a moment before: at midnight, the answer
    /// of yesterday was kept under the tag of today.
    #[test]
    fn a_tag_is_of_the_day_that_the_days_were_read_with() {
        let tag = |day| Tag::new("1-2").on(Day::parse(day).unwrap()).text(Media::Json);
        assert_eq!(tag("2021-03-22"), tag("2021-03-22"));
        assert_ne!(tag("2021-03-22"), tag("2021-03-23"));
    }
}
