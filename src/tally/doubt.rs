//! Signs in a log's numbers that tallyd does not understand its format.
//!
//! Pure. The numbers stay as they are: they are right for what tallyd reads as client and as time stamp.
//! Deliberately absent: what the clients are. Host names (Apache's `HostnameLookups On`) raise a doubt too,
//! since the numbers tell them from nothing else; that setting is off in Apache's own configuration, and the
//! sentence names the case.

use std::fmt;

use super::totals::Totals;

/// A log with fewer requests raises no doubt: of a few lines, most may be odd by chance.
const REQUESTS_MIN: u64 = 10;

/// Why the numbers of a log are doubtful. Percentages are rounded down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// So many percent of the distinct clients are no addresses.
    Clients(u64),
    /// So many percent of the requests have no time stamp.
    Stamps(u64),
}

impl Doubt {
    /// Returns what is doubtful about these numbers: most clients before most time stamps.
    pub fn of(totals: &Totals) -> Option<Doubt> {
        let (requests, clients) = (totals.counts.requests(), totals.clients.all());
        let most =
            |part: u64, all: u64| (part > all / 2 && requests >= REQUESTS_MIN).then(|| percent(part, all));
        most(totals.clients.other, clients)
            .map(Doubt::Clients)
            .or_else(|| most(totals.counts.malformed, requests).map(Doubt::Stamps))
    }

    /// The doubt as a sentence about the log `name`.
    pub fn about(self, name: &str) -> String {
        match self {
            Doubt::Clients(percent) => format!(
                "{percent} % of the clients of {name} are not IP addresses: tallyd reads the client from the first field of each line, and counts host \
                 names as they are"
            ),
            Doubt::Stamps(percent) => format!(
                "{percent} % of the lines of {name} have no time stamp: tallyd reads [22/Mar/2021:10:00:00 +0100]; these lines count on the day of \
                 the log's name, or as undated"
            ),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.about("this log"))
    }
}

/// `part` in percent of `all`, which is not 0.
fn percent(part: u64, all: u64) -> u64 {
    (u128::from(part) * 100 / u128::from(all.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{Counts, Distinct};

    /// Checks requests with and without a time stamp, and clients that are IPv4, IPv6 and no addresses.
    fn check((parsed, malformed): (u64, u64), (ipv4, ipv6, other): (u64, u64, u64), want: Option<Doubt>) {
        let counts = Counts { parsed, malformed, ..Counts::default() };
        let totals = Totals { counts, clients: Distinct { ipv4, ipv6, other } };
        assert_eq!(Doubt::of(&totals), want, "{totals:?}");
    }

    #[test]
    fn more_than_half_of_the_clients_or_of_the_requests_raise_a_doubt() {
        check((0, 0), (0, 0, 0), None);
        check((100, 0), (50, 0, 0), None);
        check((100, 0), (50, 0, 50), None);
        check((100, 0), (50, 0, 51), Some(Doubt::Clients(50)));
        check((100, 0), (1, 1, 98), Some(Doubt::Clients(98)));
        check((100, 100), (50, 0, 0), None);
        check((3, 97), (50, 0, 0), Some(Doubt::Stamps(97)));
        check((0, 100), (0, 0, 9), Some(Doubt::Clients(100)));
        check((u64::MAX / 4, u64::MAX / 2), (50, 0, 0), Some(Doubt::Stamps(66)));
    }

    #[test]
    fn a_few_lines_raise_no_doubt() {
        check((0, 9), (0, 0, 9), None);
        check((0, 10), (0, 0, 10), Some(Doubt::Clients(100)));
    }

    #[test]
    fn a_doubt_is_a_sentence_about_a_log() {
        assert!(Doubt::Clients(98).about("pod.log").starts_with(
            "98 % of the clients of pod.log are not IP addresses: tallyd reads the client from"
        ));
        assert!(
            Doubt::Stamps(97)
                .to_string()
                .starts_with("97 % of the lines of this log have no time stamp: tallyd reads [22/Mar/2021")
        );
    }
}
