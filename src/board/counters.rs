//! What the coordinator has done, counted up for as long as the daemon runs: the counters outlive the
//! coordinator, as the board does.
//!
//! Deliberately absent: what is known now. That is in the rows and the header, and may become less.

use crate::tally::Counts;

/// Numbers that only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Lines that workers have counted. Lines that are counted again are included each time.
    pub lines: Counts,
    /// Ranges that workers have counted.
    pub ranges: u64,
    /// Partials written or deleted.
    pub writes: u64,
    /// Failed attempts to write or delete a partial.
    pub write_failures: u64,
}

impl Counters {
    /// How many words [`Counters::to_words`] returns.
    pub(super) const WORDS: usize = Counts::WORDS + 3;

    pub(super) fn to_words(self) -> [u64; Counters::WORDS] {
        let (lines, more) = (self.lines.to_words(), [self.ranges, self.writes, self.write_failures]);
        std::array::from_fn(|at| lines.get(at).copied().unwrap_or_else(|| more[at - Counts::WORDS]))
    }

    pub(super) fn from_words(words: [u64; Counters::WORDS]) -> Counters {
        let (lines, more) = words.split_first_chunk().expect("the counts come first");
        let [ranges, writes, write_failures] = *more.first_chunk().expect("three words are left");
        Counters { lines: Counts::from_words(lines), ranges, writes, write_failures }
    }
}
