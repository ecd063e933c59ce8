//! The header of the board: what it says of all logs at once.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::counters::Counters;

pub(super) const HEADER_WORDS: usize = 64;
pub(super) const GENERATION: usize = 0;
const SCANNED: usize = 1;
const PENDING: usize = 2;
const FULL: usize = 3;
pub(super) const LOGS_USED: usize = 4;
pub(super) const DAYS_USED: usize = 5;
pub(super) const SHARES_USED: usize = 6;
pub(super) const ANNOUNCED: usize = 7;
const TROUBLED: usize = 8;
const WATCHING: usize = 9;
const STATE_ERROR: usize = 10;
const UNSTORED: usize = 11;
const STORED: usize = 12;
const STORED_AT: usize = 13;
const SKIPPED_MORE: usize = 14;
const BEHIND_SINCE: usize = 15;
const UNSTORED_SINCE: usize = 16;
const QUARANTINED_RANGES: usize = 17;
pub(super) const LOOKED_AT: usize = 18;
pub(super) const READY: usize = 19;
const UNSETTLED: usize = 20;
pub(super) const COUNTERS: usize = 21;
const _: () = assert!(COUNTERS + Counters::WORDS <= HEADER_WORDS);

/// What the board says of all logs at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// Changes whenever a row does.
    pub generation: u64,
    /// Has every folder been looked at?
    pub scanned: bool,
    /// Bytes that are known and not counted and published yet.
    pub pending: u64,
    /// Is there more than the board has rows for?
    pub full: bool,
    /// How many watched folders cannot be read.
    pub troubled: u64,
    /// How changes in the folders are found.
    pub watching: Watching,
    /// Why nothing can be stored: the system's error number, or 0. A disk that does not answer is ETIMEDOUT.
    pub state_error: i32,
    /// How many logs are not in the store as they are here.
    pub unstored: u64,
    /// Changes whenever the store does.
    pub stored: u64,
    /// When the store was last as the board was: milliseconds since 1970.
    pub stored_at: u64,
    /// How many entries are left out and not listed.
    pub skipped_more: u64,
    /// Since when bytes that are pending have been known, at least: [monotonic](crate::sys::clock)
    /// milliseconds. 0: nothing is pending.
    pub behind_since: u64,
    /// Since when a log that is not in the store as it is here has been due to be written: likewise. 0: none
    /// is.
    pub unstored_since: u64,
    /// How many ranges could not be counted, over all logs.
    pub quarantined_ranges: u64,
    /// True while any day may lack lines: of a log that was never counted to its end, or that cannot be read.
    /// The coordinator clears this flag once no such log is left.
    pub unsettled: bool,
}

impl Header {
    /// The header that is in the words.
    pub(super) fn read(words: &[AtomicU64]) -> Header {
        let word = |word: usize| words[word].load(Acquire);
        // The generation first: who sees an old one with new numbers asks once more, not once too few.
        let generation = word(GENERATION);
        let pending = word(PENDING);
        let watching = [Watching::Starting, Watching::Notified, Watching::Unwanted, Watching::Unable];
        Header {
            generation,
            scanned: word(SCANNED) != 0,
            pending,
            full: word(FULL) != 0,
            troubled: word(TROUBLED),
            watching: watching.get(word(WATCHING) as usize).copied().unwrap_or_default(),
            state_error: (word(STATE_ERROR) as u32).cast_signed(),
            unstored: word(UNSTORED),
            stored: word(STORED),
            stored_at: word(STORED_AT),
            skipped_more: word(SKIPPED_MORE),
            behind_since: word(BEHIND_SINCE),
            unstored_since: word(UNSTORED_SINCE),
            quarantined_ranges: word(QUARANTINED_RANGES),
            unsettled: word(UNSETTLED) != 0,
        }
    }

    /// Puts all of it into the words but the generation, which is to be raised after that.
    pub(super) fn write(&self, words: &[AtomicU64]) {
        words[SCANNED].store(u64::from(self.scanned), Relaxed);
        words[FULL].store(u64::from(self.full), Relaxed);
        words[TROUBLED].store(self.troubled, Relaxed);
        words[WATCHING].store(self.watching as u64, Relaxed);
        words[STATE_ERROR].store(self.state_error.cast_unsigned().into(), Relaxed);
        words[UNSTORED].store(self.unstored, Relaxed);
        words[STORED].store(self.stored, Relaxed);
        words[STORED_AT].store(self.stored_at, Relaxed);
        words[SKIPPED_MORE].store(self.skipped_more, Relaxed);
        words[BEHIND_SINCE].store(self.behind_since, Relaxed);
        words[UNSTORED_SINCE].store(self.unstored_since, Relaxed);
        words[QUARANTINED_RANGES].store(self.quarantined_ranges, Relaxed);
        // Release: a reader that sees no day unsettled sees the rows of the days.
        words[UNSETTLED].store(u64::from(self.unsettled), Release);
        // Release: who sees nothing pending sees the rows of what was.
        words[PENDING].store(self.pending, Release);
    }
}

/// How changes in the folders are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Watching {
    /// It is not known yet.
    #[default]
    Starting,
    /// The system says what changes.
    Notified,
    /// The settings do not want it to.
    Unwanted,
    /// It cannot: limits are reached, or the file system does not tell.
    Unable,
}
