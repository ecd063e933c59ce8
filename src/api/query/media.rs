//! The media types of answers.

use axum::http::HeaderValue;

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    Json,
    Csv,
    /// JSON lines: one object on each line.
    Ndjson,
}

impl Media {
    pub const ALL: [Media; 3] = [Media::Json, Media::Csv, Media::Ndjson];

    /// The word for the parameter `format`.
    pub fn word(self) -> &'static str {
        match self {
            Media::Json => "json",
            Media::Csv => "csv",
            Media::Ndjson => "ndjson",
        }
    }

    /// The media type, as in the header Accept.
    pub fn media_type(self) -> &'static str {
        match self {
            Media::Json => "application/json",
            Media::Csv => "text/csv",
            Media::Ndjson => "application/x-ndjson",
        }
    }

    /// The value of the header Content-Type.
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(if self == Media::Csv {
            "text/csv; charset=utf-8; header=present"
        } else {
            self.media_type()
        })
    }
}
