//! The store: what is known of each log, as one Parquet file a log. A *partial* is that file.
//!
//! ```text
//! <state>/partials/v1/host=<host>/<log-id>.parquet
//! ```
//!
//! Rows are clients by day, sorted by (dimension, day, kind, key), a row group for each day; everything else
//! that is known of the log is JSON in the footer, under `tallyd`. Any engine reads it: `SELECT day,
//! sum(requests), count(DISTINCT key) FROM partials WHERE dimension = 'client' GROUP BY day`.
//!
//! A partial is believed only as far as its checksums hold, and nothing of it is decoded before they do
//! (XXH3, 64 bits, as 16 hexadecimal digits, under `checksums`):
//!
//! - `metadata`: of the JSON text without its last entry, which is `checksums`: up to the comma before it,
//!   and closed with `}`.
//! - `footer`: of the file's footer (from the end of the last row group to the end of the file) without the
//!   JSON text.
//! - `chunks`: of the bytes of the file, a text for each row group: the hashes of its seven columns, one
//!   behind the other.
//! - `data`: of the rows in their order, whatever encoded them. A row is: day (i32, little-endian, days since
//!   1970-01-01; the least i32: none), length of the dimension (u8), dimension, length of the kind (u8),
//!   kind, length of the key (u16, little-endian), key, requests, bytes (u64, little-endian), hours (u32,
//!   little-endian).
//!
//! So a flipped bit or a torn write means [`StoreError::Damaged`], never a wrong number; a newer version is
//! told apart from that, and left alone. Deliberately absent: clocks, which partials are to be written and
//! when; and threads, but for rayon's in [`unite`].

mod check;
mod date;
mod delta;
mod encode;
pub mod folder;
mod footer;
mod hex;
mod json;
mod meta;
#[cfg(test)]
mod model;
mod order;
mod partial;
pub mod removal;
mod rows;
mod source;
pub mod span;
#[cfg(test)]
mod tests;
pub mod unite;

use std::io;

pub use date::{day_of, later, utc};
pub use encode::{EncodeError, encode};
pub use folder::{Entry, Host};
pub use footer::read_meta;
pub use meta::{Hole, Identity, Meta, State};
pub use partial::Partial;

/// The latest version of the format: all up to this are read. A partial is written in the first that can say
/// what it has to.
pub const VERSION: u64 = REMOVALS;
/// Since this version, clients of days may be removed. An earlier tallyd would take such a partial for
/// damaged.
const REMOVALS: u64 = 2;

/// Why a partial cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is no partial, an old one, or not as it was written: the log is to be counted again.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// A later tallyd wrote it. It must never be overwritten or deleted.
    #[error("written in version {0} of the format; this tallyd reads up to version {VERSION}")]
    Newer(u64),
    /// There is another one now in its place.
    #[error("another process replaced the partial while tallyd read it")]
    Replaced,
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StoreError {
    /// The same once more: it is the trouble of each day of a log.
    fn again(&self) -> StoreError {
        match self {
            StoreError::Damaged(why) => StoreError::Damaged(why),
            StoreError::Newer(version) => StoreError::Newer(*version),
            StoreError::Replaced => StoreError::Replaced,
            StoreError::Io(error) => StoreError::Io(again(error)),
        }
    }
}

/// The same error once more. With the system's number, by which people are told.
pub fn again(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}
