//! The board: the table in shared memory that the coordinator writes and the api reads, and the pages on
//! which each process shows that it lives.
//!
//! One writer, no locks. A reader never waits for a writer and never sees half of a row, even if the writer
//! is killed in the middle of one. No pointers, and no length that is taken on trust. Everything is words of
//! 64 bits, so every process sees the same layout. Deliberately absent: the clients themselves. Rows hold
//! numbers.

mod counters;
mod day;
mod header;
mod log;
mod page;
mod reason;
pub mod row;
mod table;
mod unreadable;

pub use counters::Counters;
pub use day::{DayRow, ShareRow};
pub use header::{Header, Watching};
pub use log::{LogBrief, LogRow, LogState, NAME_BYTES_MAX, Quarantine};
pub use page::{Activity, Roster, RosterEntry, StatusPage};
pub use reason::{Reason, Skip};
pub use table::{Board, BoardReader, BoardSize, BusyError};
pub use unreadable::Unreadable;
