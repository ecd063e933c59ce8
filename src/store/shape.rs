//! The shape of a partial: its columns and its limits.

/// The columns, in their order.
pub(super) const COLUMNS: [&str; 7] = ["day", "dimension", "kind", "key", "requests", "bytes", "hours"];
/// No row group has more rows: what is decoded at once has an end. (The unit tests see to it with fewer.)
pub(super) const GROUP_ROWS_MAX: usize = if cfg!(test) { 20_000 } else { 1 << 20 };
/// A page of ours is about a mebibyte; one that claims more than this is none.
pub(super) const PAGE_BYTES_MAX: usize = 64 << 20;
