//! Answers to the samples in `files/`, for the documents. `tests/api.rs` holds them against the real ones.

use serde_json::Value;

/// An answer.
pub(super) struct Example {
    /// The path as the document names it.
    pub(super) path: &'static str,
    /// The path and query that were asked for.
    pub(super) asked: &'static str,
    pub(super) media: &'static str,
    text: &'static str,
}

impl Example {
    /// As JSON, or as a text if it is another form.
    pub(super) fn value(&self) -> Value {
        if self.media == "application/json" { serde_json::from_str(self.text).unwrap_or_default() } else { self.text.into() }
    }
}

pub(super) static EXAMPLES: &[Example] = &[];
