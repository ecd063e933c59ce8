//! The numbers that are reported: of a log, of a day, of a range of days.

use super::Clients;
use super::union::Sizes;

/// Plain numbers, no clients. In requests or lines, but for `bytes`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Lines with nothing but white space.
    pub blank: u64,
    /// Requests with a time stamp.
    pub parsed: u64,
    /// Requests without one.
    pub malformed: u64,
    /// The length of all lines with LF, in bytes.
    pub bytes: u64,
    /// Distinct clients that are IPv4 addresses.
    pub ipv4: u64,
    /// Distinct clients that are IPv6 addresses.
    pub ipv6: u64,
    /// Distinct clients that are neither.
    pub other: u64,
    /// Parsed requests by hour of the day.
    pub hours: [u64; 24],
}

impl Totals {
    /// How many numbers there are.
    pub const WORDS: usize = 7 + 24;

    /// All lines that are not blank.
    pub fn requests(&self) -> u64 {
        self.parsed + self.malformed
    }

    /// All lines.
    pub fn lines(&self) -> u64 {
        self.requests() + self.blank
    }

    /// Distinct clients, exactly.
    pub fn unique_clients(&self) -> u64 {
        self.ipv4 + self.ipv6 + self.other
    }

    /// Takes the numbers of distinct clients from a set of them.
    pub fn set_clients(&mut self, clients: &Clients) {
        self.set_sizes(clients.sizes());
    }

    /// Likewise, from what was counted of a union.
    pub fn set_sizes(&mut self, sizes: Sizes) {
        (self.ipv4, self.ipv6, self.other) = (sizes.ipv4, sizes.ipv6, sizes.other);
    }

    /// The numbers of distinct clients.
    pub fn sizes(&self) -> Sizes {
        Sizes { ipv4: self.ipv4, ipv6: self.ipv6, other: self.other }
    }

    /// The sum, with the numbers of distinct clients left at zero: a union is no sum.
    pub fn plus(&self, more: &Totals) -> Totals {
        Totals {
            blank: self.blank + more.blank,
            parsed: self.parsed + more.parsed,
            malformed: self.malformed + more.malformed,
            bytes: self.bytes + more.bytes,
            hours: std::array::from_fn(|hour| self.hours[hour] + more.hours[hour]),
            ..Totals::default()
        }
    }

    /// The numbers as words of shared memory.
    pub fn to_words(&self) -> [u64; Totals::WORDS] {
        let first = [self.blank, self.parsed, self.malformed, self.bytes, self.ipv4, self.ipv6, self.other];
        std::array::from_fn(|at| if at < 7 { first[at] } else { self.hours[at - 7] })
    }

    /// The numbers that [`Totals::to_words`] wrote.
    pub fn from_words(words: &[u64; Totals::WORDS]) -> Totals {
        let [blank, parsed, malformed, bytes, ipv4, ipv6, other, ..] = *words;
        let hours = std::array::from_fn(|hour| words[7 + hour]);
        Totals { blank, parsed, malformed, bytes, ipv4, ipv6, other, hours }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_numbers() {
        let words: [u64; Totals::WORDS] = std::array::from_fn(|at| at as u64 + 1);
        assert_eq!(Totals::from_words(&words).to_words(), words);
    }
}
