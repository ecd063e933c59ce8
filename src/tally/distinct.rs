//! Numbers of distinct clients, which do not add up.

/// How many distinct clients there are, by kind.
///
/// There is no `Add` on purpose: two days with one client each may have one client together. Such a number
/// comes from a union of sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Distinct {
    /// Clients that are IPv4 addresses.
    pub ipv4: u64,
    /// Clients that are IPv6 addresses.
    pub ipv6: u64,
    /// All other clients, such as host names.
    pub other: u64,
}

impl Distinct {
    /// How many words [`Distinct::to_words`] returns.
    pub const WORDS: usize = 3;

    /// How many there are of all kinds. The kinds share no client.
    pub fn all(self) -> u64 {
        self.ipv4 + self.ipv6 + self.other
    }

    /// Returns of each kind the larger number: the least that a union of both can have.
    pub fn max(self, other: Distinct) -> Distinct {
        Distinct {
            ipv4: self.ipv4.max(other.ipv4),
            ipv6: self.ipv6.max(other.ipv6),
            other: self.other.max(other.other),
        }
    }

    /// Returns whether each number is at most that of `other`, as it is for a part of a whole.
    pub fn is_within(self, other: Distinct) -> bool {
        self.max(other) == other
    }

    /// Returns the sum, for sets that share no client, such as the slices of a hash space.
    pub fn plus_disjoint(self, other: Distinct) -> Distinct {
        Distinct {
            ipv4: self.ipv4 + other.ipv4,
            ipv6: self.ipv6 + other.ipv6,
            other: self.other + other.other,
        }
    }

    /// Returns the numbers as words of shared memory.
    pub fn to_words(self) -> [u64; Distinct::WORDS] {
        [self.ipv4, self.ipv6, self.other]
    }

    /// Returns the numbers that [`Distinct::to_words`] wrote.
    pub fn from_words([ipv4, ipv6, other]: [u64; Distinct::WORDS]) -> Distinct {
        Distinct { ipv4, ipv6, other }
    }
}
