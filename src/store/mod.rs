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
mod error;
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
mod shape;
mod source;
pub mod span;
#[cfg(test)]
mod tests;
pub mod unite;

pub use date::{day_of, later, utc};
pub use encode::{EncodeError, encode};
pub use error::{StoreError, VERSION, again};
pub use folder::{Entry, Host};
pub use footer::read_meta;
pub use meta::{Hole, Identity, Meta, State};
pub use partial::Partial;
