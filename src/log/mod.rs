//! The words of an access log: lines, clients, time stamps, and what a log's name says.
//!
//! Everything here is a pure function over bytes and works on any bytes.
//! Deliberately absent: counting, files, text. Log content never becomes a `String` before it is shown.

mod client;
mod day;
mod foreign;
mod line;
mod name;
mod stamp;
mod torn;

pub use client::{CLIENT_BYTES_MAX, Kind, Rule, client, is_ipv6, kind, leading_ipv4};
pub use day::Day;
pub use foreign::{FOREIGN_HEAD_BYTES, Foreign, is_error_log};
pub use line::{BOM, is_blank, is_white};
pub use name::{TEMPORARY, day_of_name, is_hidden, is_temporary, shown, shown_to_people};
pub use stamp::{STAMP_BYTES, Stamp};
pub use torn::TornLine;
