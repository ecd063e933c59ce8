//! What the board says of a day, and of the share that a log has in a day, and how that is written in words.

use crate::log::Day;
use crate::tally::Totals;

pub(super) const DAY_WORDS: usize = 4 + Totals::WORDS;
pub(super) const SHARE_WORDS: usize = 4 + Totals::WORDS;

/// A row about a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DayRow {
    /// Is the row used? Rows are never moved.
    pub used: bool,
    /// The day; `None` stands for requests without any date.
    pub day: Option<Day>,
    /// How many logs have lines of this day.
    pub files: u64,
    /// Is all of it in the numbers?
    pub complete: bool,
    /// Clients of it were removed: there may be more than its numbers say.
    pub at_least: bool,
    /// Its numbers; its clients are united over the logs.
    pub totals: Totals,
}

impl DayRow {
    /// As the words of a row.
    pub(super) fn to_words(self) -> [u64; DAY_WORDS] {
        let mut data = [0; DAY_WORDS];
        data[..4].copy_from_slice(&[
            u64::from(self.used),
            self.day.map_or(0, |day| day.number().into()),
            self.files,
            flags(self.complete, self.at_least),
        ]);
        data[4..].copy_from_slice(&self.totals.to_words());
        data
    }

    /// The row of these words.
    pub(super) fn from_words(data: &[u64; DAY_WORDS]) -> DayRow {
        let [used, day, files, flags, ..] = *data;
        let (complete, at_least) = of_flags(flags);
        DayRow { used: used != 0, day: day_of(day), files, complete, at_least, totals: totals_of(&data[4..]) }
    }
}

/// A row about the share that a log has in a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShareRow {
    /// The log's number; 0 in a row that is not used.
    pub log: u64,
    /// The day as its lines say; `None`: they have no time stamp.
    pub day: Option<Day>,
    /// Its numbers.
    pub totals: Totals,
}

impl ShareRow {
    /// As the words of a row.
    pub(super) fn to_words(self) -> [u64; SHARE_WORDS] {
        let mut data = [0; SHARE_WORDS];
        data[..2].copy_from_slice(&[self.log, self.day.map_or(0, |day| day.number().into())]);
        data[4..].copy_from_slice(&self.totals.to_words());
        data
    }

    /// The row of these words.
    pub(super) fn from_words(data: &[u64; SHARE_WORDS]) -> ShareRow {
        ShareRow { log: data[0], day: day_of(data[1]), totals: totals_of(&data[4..]) }
    }
}

/// What is said of the numbers of a row: are they complete, and are its clients only so many at least?
pub(super) fn flags(complete: bool, at_least: bool) -> u64 {
    u64::from(complete) | u64::from(at_least) << 1
}

/// What [`flags`] says.
pub(super) fn of_flags(word: u64) -> (bool, bool) {
    (word & 1 != 0, word & 2 != 0)
}

/// The day of a word; none of one that is no day's.
pub(super) fn day_of(word: u64) -> Option<Day> {
    u32::try_from(word).ok().and_then(Day::from_number)
}

/// The numbers at the beginning of some words.
pub(super) fn totals_of(words: &[u64]) -> Totals {
    words.first_chunk().map_or(Totals::default(), Totals::from_words)
}
