//! The numbers that are reported: of a log, of a day, of a range of days.

use super::counts::Counts;
use super::distinct::Distinct;

/// What adds up, and what does not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Lines and bytes.
    pub counts: Counts,
    /// Distinct clients.
    pub clients: Distinct,
}

impl Totals {
    /// How many words [`Totals::to_words`] returns.
    pub const WORDS: usize = Counts::WORDS + Distinct::WORDS;

    /// Returns the numbers as words of shared memory.
    pub fn to_words(&self) -> [u64; Totals::WORDS] {
        let (counts, clients) = (self.counts.to_words(), self.clients.to_words());
        std::array::from_fn(|at| counts.get(at).copied().unwrap_or_else(|| clients[at - Counts::WORDS]))
    }

    /// Returns the numbers that [`Totals::to_words`] wrote.
    pub fn from_words(words: &[u64; Totals::WORDS]) -> Totals {
        let (counts, clients) = words.split_at(Counts::WORDS);
        Totals {
            counts: Counts::from_words(counts.try_into().expect("the first words are the counts")),
            clients: Distinct::from_words(clients.try_into().expect("the other words are the clients")),
        }
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
