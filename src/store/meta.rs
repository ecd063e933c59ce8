//! What a partial says of its log beside its rows.
//!
//! Plain words; their JSON form is in `json.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::removal::Removal;
use crate::log::Day;
use crate::range::Range;
use crate::sample::Sample;
use crate::tally::{Counts, Rules, Totals};

/// All that is known of a log but its clients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// The log's id.
    pub log: u64,
    /// The version of the program that wrote this.
    pub writer: String,
    /// By which rules it was counted.
    pub rules: Rules,
    /// Its name as reported.
    pub name: Vec<u8>,
    /// The absolute path of the watched folder it was found in.
    pub folder: Vec<u8>,
    /// What it is told again by.
    pub identity: Identity,
    /// How often it was begun anew.
    pub generation: u64,
    /// Up to where every line is counted or quarantined, in decoded bytes.
    pub counted_to: u64,
    /// What is quarantined, ascending.
    pub holes: Vec<Hole>,
    /// The blank lines, which have no day.
    pub blank: Counts,
    /// The numbers of each day, as the lines say; `None` is without a time stamp.
    pub days: BTreeMap<Option<Day>, Totals>,
    /// Those of them whose clients are removed, or about to be.
    pub removals: BTreeMap<Option<Day>, Removal>,
    /// The numbers of the whole log, its clients united over its days.
    pub totals: Totals,
    /// Requests came after clients of it were removed: it may have more than `totals` says.
    pub at_least: bool,
    /// What is going on with it.
    pub state: State,
    /// Is every line of it counted?
    pub complete: bool,
    /// Was an unfinished last line counted?
    pub unterminated: bool,
    /// Was it moved away from its name, by a rotation?
    pub rotated: bool,
    /// Why something of it is not counted: a code of the coordinator's. 0: nothing is missing.
    pub reason: u64,
    /// The id of the log that it is a duplicate of. 0: of none.
    pub duplicate_of: u64,
    /// Logs that count within this one, up to where: a partial of one of them that ends there or before is
    /// out of date.
    pub absorbed: BTreeMap<u64, u64>,
    /// The files (device and inode) that are to take its name and its place: once one has the name and is
    /// counted, this log's numbers are void.
    pub successors: BTreeSet<(u64, u64)>,
    /// When this was written: milliseconds since 1970.
    pub written_at: u64,
}

/// A range that is not counted, because it ended the workers that tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Where it is.
    pub range: Range,
    /// Why: a code of the coordinator's.
    pub reason: u64,
}

/// By what a log is told again after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Device and inode: a hint.
    pub file: (u64, u64),
    /// The size of the file.
    pub size: u64,
    /// When the file was last changed: since 1970.
    pub changed: Duration,
    /// 0: plain, else a code of the coordinator's.
    pub encoding: u64,
    /// The hashes of the sample windows of its decoded bytes, in their fixed order.
    pub blocks: Vec<u64>,
    /// The last bytes before `counted_to`: at most 1 KiB.
    pub anchor: Option<Sample>,
    /// Of a compressed file: samples of the file itself.
    pub raw: Vec<Sample>,
}

/// What is going on with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It is being counted.
    #[default]
    Counting,
    /// It is counted as far as it has been written, and may grow.
    Live,
    /// It is counted and does not grow any more.
    Final,
    /// Its file is gone; its numbers stay.
    Gone,
    /// It is the beginning of another log, or the whole, and counts within that.
    Duplicate,
    /// It was taken back: its numbers count nowhere.
    Deleted,
}

impl State {
    /// All of them.
    pub const ALL: [State; 6] =
        [State::Counting, State::Live, State::Final, State::Gone, State::Duplicate, State::Deleted];

    /// The state as a word.
    pub fn word(self) -> &'static str {
        match self {
            State::Counting => "counting",
            State::Live => "live",
            State::Final => "final",
            State::Gone => "gone",
            State::Duplicate => "duplicate",
            State::Deleted => "deleted",
        }
    }

    /// The state of a word.
    pub fn from_word(word: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.word() == word)
    }
}

impl Meta {
    /// What is counted: everything up to `counted_to` but the holes.
    pub fn done(&self) -> Vec<Range> {
        let mut done = Vec::new();
        let mut from = 0;
        for hole in self.holes.iter().map(|hole| hole.range).filter(|hole| hole.from() < self.counted_to) {
            done.extend(Range::new(from, hole.from()));
            from = from.max(hole.to());
        }
        done.extend(Range::new(from, self.counted_to));
        done
    }

    /// Are the clients of a day removed?
    pub fn is_removed(&self, day: Option<Day>) -> bool {
        self.removals.get(&day).is_some_and(|removal| removal.done)
    }

    /// The days that have clients in the rows, with their numbers.
    pub fn days_with_clients(&self) -> impl Iterator<Item = (Option<Day>, &Totals)> {
        self.days
            .iter()
            .filter(|(day, totals)| totals.clients.all() > 0 && !self.is_removed(**day))
            .map(|(day, totals)| (*day, totals))
    }

    /// Does it take part in days and ranges? A duplicate counts within another log, and what was taken back
    /// nowhere.
    pub fn counts(&self) -> bool {
        !matches!(self.state, State::Duplicate | State::Deleted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn done_is_all_but_the_holes() {
        let range = |from, to| Range::new(from, to).unwrap();
        let check = |counted_to, holes: &[(u64, u64)], done: &[(u64, u64)]| {
            let holes = holes.iter().map(|hole| Hole { range: range(hole.0, hole.1), reason: 1 }).collect();
            let want: Vec<Range> = done.iter().map(|done| range(done.0, done.1)).collect();
            assert_eq!(Meta { counted_to, holes, ..Meta::default() }.done(), want);
        };
        check(0, &[], &[]);
        check(100, &[], &[(0, 100)]);
        check(100, &[(0, 10)], &[(10, 100)]);
        check(100, &[(10, 20), (20, 30), (90, 100)], &[(0, 10), (30, 90)]);
        check(100, &[(10, 20), (200, 300)], &[(0, 10), (20, 100)]);
    }

    #[test]
    fn states_are_words() {
        for state in State::ALL {
            assert_eq!(State::from_word(state.word()), Some(state));
        }
        assert_eq!(State::from_word(""), None);
    }
}
