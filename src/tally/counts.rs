//! Numbers that add up.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// How many lines there are of each kind, and how long they are: of a range, a part, a day, a log. The sum
/// over parts is the number of the whole, so no number of distinct keys is in here.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Lines with nothing but white space.
    pub blank: u64,
    /// Requests with a time stamp.
    pub parsed: u64,
    /// Requests without a time stamp.
    pub malformed: u64,
    /// The length of all lines, LF included, in bytes.
    pub log_bytes: u64,
    /// Parsed requests by hour of the day.
    pub hours: [u64; 24],
}

impl Counts {
    /// How many words [`Counts::to_words`] returns.
    pub const WORDS: usize = 4 + 24;

    /// All lines that are not blank.
    pub fn requests(&self) -> u64 {
        self.parsed + self.malformed
    }

    /// All lines.
    pub fn lines(&self) -> u64 {
        self.requests() + self.blank
    }

    /// Returns whether each number is at most that of `other`, as it is for a part of a whole.
    pub fn is_within(&self, other: &Counts) -> bool {
        self.to_words().iter().zip(other.to_words()).all(|(part, whole)| *part <= whole)
    }

    /// Returns the numbers as words of shared memory.
    pub fn to_words(&self) -> [u64; Counts::WORDS] {
        let first = [self.blank, self.parsed, self.malformed, self.log_bytes];
        std::array::from_fn(|at| first.get(at).copied().unwrap_or_else(|| self.hours[at - 4]))
    }

    /// Returns the numbers that [`Counts::to_words`] wrote.
    pub fn from_words(words: &[u64; Counts::WORDS]) -> Counts {
        let [blank, parsed, malformed, log_bytes, hours @ ..] = *words;
        Counts { blank, parsed, malformed, log_bytes, hours }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.blank += more.blank;
        self.parsed += more.parsed;
        self.malformed += more.malformed;
        self.log_bytes += more.log_bytes;
        self.hours.iter_mut().zip(more.hours).for_each(|(hour, more)| *hour += more);
    }
}

impl Add for Counts {
    type Output = Counts;

    fn add(mut self, more: Counts) -> Counts {
        self += more;
        self
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(all: I) -> Counts {
        all.fold(Counts::default(), Counts::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_numbers() {
        let words: [u64; Counts::WORDS] = std::array::from_fn(|at| at as u64 + 1);
        assert_eq!(Counts::from_words(&words).to_words(), words);
    }

    #[test]
    fn every_number_adds_up() {
        let words: [u64; Counts::WORDS] = std::array::from_fn(|at| at as u64 + 1);
        let counts = Counts::from_words(&words);
        assert_eq!([counts, counts].into_iter().sum::<Counts>().to_words(), words.map(|word| 2 * word));
        assert!(counts.is_within(&(counts + counts)) && !(counts + counts).is_within(&counts));
    }
}
