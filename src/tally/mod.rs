//! The counting engine: bytes in, a [`Tally`] out.
//!
//! ```
//! use tallyd::tally::{Rules, tally};
//! let tally = tally(b"203.0.113.7 - - [22/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12\n\n", Rules::default());
//! let totals = tally.totals();
//! assert_eq!((totals.counts.requests(), totals.clients.all(), totals.counts.blank), (1, 1, 1));
//! ```
//!
//! It works on any bytes: there is no error for a bad line, only a count of them. `merge` is associative and
//! commutative, and any cutting of a log into ranges gives the same tally; both are what makes it safe to
//! count ranges anywhere and add them up once. Deliberately absent: files, clocks, threads, logging.

mod byte_set;
mod clients;
mod counter;
mod counts;
mod distinct;
mod doubt;
mod kernel;
mod part;
pub mod plain;
mod rules;
mod slots;
mod totals;
pub mod union;
mod usage;
mod v4_set;

pub use clients::{Clients, Key};
pub use counter::Counter;
pub use counts::Counts;
pub use distinct::Distinct;
pub use doubt::Doubt;
pub use part::{PartTally, Tally};
pub use rules::Rules;
pub use totals::Totals;
pub use usage::Usage;

/// Draws the random numbers of the tables' hashes, once for this process and all that it forks: then they
/// have their clients in the same order.
pub fn draw_seeds() {
    v4_set::seed();
    byte_set::shared_seed();
}

/// Counts whole lines; the last one may lack its LF. A byte order mark is not skipped: only a log's very
/// start has one.
pub fn tally(bytes: &[u8], rules: Rules) -> Tally {
    let mut counter = Counter::new(rules);
    counter.feed(bytes);
    counter.finish_line();
    counter.into_tally()
}
