//! What the coordinator has done, counted up for as long as the daemon runs: the counters outlive the
//! coordinator, as the board does.
//!
//! Deliberately absent: what is known now. That is in the rows and the header, and may become less.

/// Numbers that only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Lines with a time stamp that workers have counted. What is counted anew is in it once more.
    pub parsed: u64,
    /// Likewise, lines without one.
    pub malformed: u64,
    /// Likewise, lines with nothing but white space.
    pub blank: u64,
    /// The length of all these lines with LF, in bytes.
    pub bytes: u64,
    /// The ranges that they were counted in.
    pub ranges: u64,
    /// Partials that were written or removed.
    pub writes: u64,
    /// Partials that could not be.
    pub write_failures: u64,
}

impl Counters {
    /// How many numbers there are.
    pub(super) const WORDS: usize = 7;

    pub(super) fn to_words(self) -> [u64; Counters::WORDS] {
        let Counters { parsed, malformed, blank, bytes, ranges, writes, write_failures } = self;
        [parsed, malformed, blank, bytes, ranges, writes, write_failures]
    }

    pub(super) fn from_words(words: [u64; Counters::WORDS]) -> Counters {
        let [parsed, malformed, blank, bytes, ranges, writes, write_failures] = words;
        Counters { parsed, malformed, blank, bytes, ranges, writes, write_failures }
    }
}
