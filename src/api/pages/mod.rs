//! The pages for browsers: HTML from templates, one stylesheet, no script, nothing from another address.
//!
//! The template engine escapes all text, so that a name from a log is never HTML. A page computes no count:
//! it shows the numbers of the API. Deliberately absent: cookies, and anything that changes something.

mod chart;
mod completeness;
mod html;
mod notice;
mod overview;
mod stylesheet;
mod tile;

pub(super) use html::{put_headers, wants_html};
pub(super) use notice::{login, not_found};
pub(super) use overview::overview;
pub(super) use stylesheet::{STYLE_PATH, style};
