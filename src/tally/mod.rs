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
pub mod plain;
mod slots;
mod totals;
pub mod union;
mod v4_set;

use std::collections::BTreeMap;
use std::ops::AddAssign;

pub use clients::{Clients, Key};
pub use counter::Counter;
pub use counts::Counts;
pub use distinct::Distinct;
pub use doubt::Doubt;
pub use totals::Totals;

use crate::log::{Day, Rule};

/// Draws the random numbers of the tables' hashes, once for this process and all that it forks: then they
/// have their clients in the same order.
pub fn draw_seeds() {
    v4_set::seed();
    byte_set::shared_seed();
}

/// What the numbers mean where there is a choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// Which part of a line is its client.
    pub client: Rule,
}

/// What a client did on one day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Its requests.
    pub requests: u64,
    /// The length of their lines with LF, in bytes.
    pub bytes: u64,
    /// Bit h is set if it asked in the hour h; none for requests without a time stamp.
    pub hours: u32,
}

impl Usage {
    /// That of one request, by the length of its line with LF and its hour (0 to 23), if it has one.
    pub fn of_request(bytes: u64, hour: Option<u8>) -> Usage {
        Usage { requests: 1, bytes, hours: hour.map_or(0, |hour| 1 << hour) }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Usage) {
        self.requests += more.requests;
        self.bytes += more.bytes;
        self.hours |= more.hours;
    }
}

/// All that is known of some lines: how many of each kind, and per day what each client did.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Tally {
    /// The blank lines, which have no day.
    pub blank: Counts,
    /// The requests of each day. Those without a time stamp (malformed) are under `None`.
    pub days: BTreeMap<Option<Day>, PartTally>,
}

/// The requests of one day, or those without a time stamp.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct PartTally {
    /// How many there are.
    pub counts: Counts,
    /// The clients, each with the number, bytes and hours of its requests.
    pub clients: Clients,
}

/// Counts whole lines; the last one may lack its LF. A byte order mark is not skipped: only a log's very
/// start has one.
pub fn tally(bytes: &[u8], rules: Rules) -> Tally {
    let mut counter = Counter::new(rules);
    counter.feed(bytes);
    counter.finish_line();
    counter.into_tally()
}

impl Tally {
    /// Adds what another tally counted.
    pub fn merge(&mut self, other: &Tally) {
        self.blank += other.blank;
        for (day, tally) in &other.days {
            self.days.entry(*day).or_default().merge(tally);
        }
    }

    /// The numbers over all days. The clients of several days are united, so this takes time in proportion to
    /// them.
    pub fn totals(&self) -> Totals {
        let counts = self.blank + self.days.values().map(|part| part.counts).sum();
        let mut days: Vec<&Clients> = self.days.values().map(|part| &part.clients).collect();
        days.sort_by_key(|clients| clients.len());
        let clients = match days.pop() {
            Some(only) if days.is_empty() => only.distinct(),
            Some(largest) => {
                let mut union = largest.clone();
                days.into_iter().for_each(|clients| union.merge(clients));
                union.distinct()
            }
            None => Distinct::default(),
        };
        Totals { counts, clients }
    }
}

impl PartTally {
    /// Adds what another tally counted of the same day.
    pub fn merge(&mut self, other: &PartTally) {
        self.counts += other.counts;
        self.clients.merge(&other.clients);
    }

    /// The numbers of this day.
    pub fn totals(&self) -> Totals {
        Totals { counts: self.counts, clients: self.clients.distinct() }
    }
}
