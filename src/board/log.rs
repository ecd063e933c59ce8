//! What the board says of a log, and how that is written in words.

use super::day::{day_of, flags, of_flags, totals_of};
use super::reason::Reason;
use super::unreadable::Unreadable;
use crate::log::Day;
use crate::tally::{Doubt, Totals};

/// The longest name of a log that a row holds, in bytes: a folder's and a file's.
pub const NAME_BYTES_MAX: usize = 512;

const LOG_NUMBERS: usize = 15;
/// The bit of the flags of a row that says whether its numbers are doubtful.
const DOUBTFUL: u64 = 1 << 2;
/// The word of a row that stands for no group. Group ids have 32 bits.
const NO_GROUP: u64 = u64::MAX;
pub(super) const LOG_WORDS: usize = LOG_NUMBERS + Totals::WORDS + NAME_BYTES_MAX / 8;

/// What a log is to the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogState {
    /// Its bytes are being counted for the first time.
    #[default]
    Counting,
    /// It is counted to its end and may grow.
    Live,
    /// It is counted to its end and has not changed for long.
    Final,
    /// It is no longer in the folder; its numbers stay.
    Gone,
    /// It is the beginning of another log, or all of it, and counts within that.
    Duplicate,
    /// Some of it ended every worker that counted it, or cannot be read.
    Quarantined,
    /// It is left out.
    Skipped,
}

impl LogState {
    /// All states, each at its number.
    pub const ALL: [LogState; 7] = [
        LogState::Counting,
        LogState::Live,
        LogState::Final,
        LogState::Gone,
        LogState::Duplicate,
        LogState::Quarantined,
        LogState::Skipped,
    ];

    /// Their words, in the same order.
    pub const NAMES: [&str; 7] = ["counting", "live", "final", "gone", "duplicate", "quarantined", "skipped"];

    /// In a word.
    pub fn name(self) -> &'static str {
        LogState::NAMES[self as usize]
    }

    /// Is it that of a log that is in a folder now?
    pub fn is_present(self) -> bool {
        !matches!(self, LogState::Gone | LogState::Skipped)
    }

    fn from_word(word: u64) -> LogState {
        LogState::ALL.get(word as usize).copied().unwrap_or_default()
    }
}

/// What of a log could not be counted: ranges that ended every worker that tried, or that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quarantine {
    /// How many bytes, in all ranges.
    pub bytes: u64,
    /// Where the first range starts.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
}

/// A row about a log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogRow {
    /// Its number; never 0 in a row that is used.
    pub id: u64,
    /// Its name, as bytes.
    pub name: Vec<u8>,
    /// The day in its name.
    pub day: Option<Day>,
    /// What it is to the daemon.
    pub state: LogState,
    /// Is all of it in the numbers?
    pub complete: bool,
    /// Clients of it were removed: there may be more than its numbers say.
    pub at_least: bool,
    /// The file's size, in bytes.
    pub size: u64,
    /// Up to where its lines are counted without a gap.
    pub counted_to: u64,
    /// The device and inode it was last seen at.
    pub file: (u64, u64),
    /// What of it could not be counted.
    pub quarantine: Quarantine,
    /// Why something of it is not counted.
    pub reason: Reason,
    /// The log that it counts within, or 0.
    pub duplicate_of: u64,
    /// Of a log that cannot be read: the group that may read it.
    pub group: Option<u32>,
    /// Its numbers.
    pub totals: Totals,
}

impl LogRow {
    /// As the words of a row.
    pub(super) fn to_words(&self) -> [u64; LOG_WORDS] {
        let mut data = [0; LOG_WORDS];
        let name = &self.name[..self.name.len().min(NAME_BYTES_MAX)];
        let day = self.day.map_or(0, |day| day.number().into());
        let flags = flags(self.complete, self.at_least) | if self.doubt().is_some() { DOUBTFUL } else { 0 };
        let first =
            [self.id, day, self.state as u64, flags, self.size, self.counted_to, self.file.0, self.file.1];
        data[..8].copy_from_slice(&first);
        let Quarantine { bytes, from, to } = self.quarantine;
        let group = self.group.map_or(NO_GROUP, u64::from);
        data[8..LOG_NUMBERS].copy_from_slice(&[
            bytes,
            from,
            to,
            self.reason.to_word(),
            name.len() as u64,
            self.duplicate_of,
            group,
        ]);
        data[LOG_NUMBERS..LOG_NUMBERS + Totals::WORDS].copy_from_slice(&self.totals.to_words());
        for (word, bytes) in data[LOG_NUMBERS + Totals::WORDS..].iter_mut().zip(name.chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(eight);
        }
        data
    }

    /// The row of these words.
    pub(super) fn from_words(data: &[u64; LOG_WORDS]) -> LogRow {
        let [
            id,
            day,
            state,
            flags,
            size,
            counted_to,
            device,
            inode,
            bytes,
            from,
            to,
            reason,
            name_length,
            duplicate_of,
            group,
            ..,
        ] = *data;
        let name = data[LOG_NUMBERS + Totals::WORDS..].iter().flat_map(|word| word.to_le_bytes());
        let (complete, at_least) = of_flags(flags);
        LogRow {
            id,
            name: name.take(name_length as usize).collect(),
            day: day_of(day),
            state: LogState::from_word(state),
            complete,
            at_least,
            size,
            counted_to,
            file: (device, inode),
            quarantine: Quarantine { bytes, from, to },
            reason: Reason::from_word(reason),
            duplicate_of,
            group: u32::try_from(group).ok(),
            totals: totals_of(&data[LOG_NUMBERS..]),
        }
    }

    /// True if some lines of the log are not in its numbers. A log is incomplete, but lacks no lines, if only
    /// clients were deleted.
    pub fn lacks_lines(&self) -> bool {
        let lacks_only_clients = self.at_least && self.reason == Reason::Nothing;
        !self.complete && !lacks_only_clients
    }

    /// What is short of it.
    pub fn brief(&self) -> LogBrief {
        LogBrief {
            state: self.state,
            quarantined_bytes: self.quarantine.bytes,
            reason: self.reason,
            has_doubt: self.doubt().is_some(),
        }
    }

    /// Why the numbers of the log are doubtful.
    pub fn doubt(&self) -> Option<Doubt> {
        Doubt::of(&self.totals)
    }

    /// Why the log cannot be read, if that is so.
    pub fn unreadable(&self) -> Option<Unreadable> {
        match self.reason {
            Reason::Unreadable(errno) if self.brief().is_unreadable() => {
                Some(Unreadable { errno, group: self.group })
            }
            _ => None,
        }
    }
}

/// What a row says of a log beside its name and its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogBrief {
    /// What it is to the daemon.
    pub state: LogState,
    /// How many of its bytes could not be counted.
    pub quarantined_bytes: u64,
    /// Why something of it is not counted.
    pub reason: Reason,
    /// Its numbers are doubtful: see [`LogRow::doubt`].
    pub has_doubt: bool,
}

impl LogBrief {
    /// What the first words of a row say; nothing if it is not used.
    pub(super) fn from_words(
        [id, _, state, flags, _, _, _, _, quarantined_bytes, _, _, reason]: &[u64; 12],
    ) -> Option<LogBrief> {
        (*id != 0).then(|| LogBrief {
            state: LogState::from_word(*state),
            quarantined_bytes: *quarantined_bytes,
            reason: Reason::from_word(*reason),
            has_doubt: flags & DOUBTFUL != 0,
        })
    }

    /// Returns whether somebody has to look into the doubt about the log: it is in a folder now, and counts
    /// by itself.
    pub fn is_doubtful(&self) -> bool {
        self.has_doubt && self.state.is_present() && self.state != LogState::Duplicate
    }

    /// Nothing of the log can be read now. Waiting for it would be waiting for somebody to do something.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.reason, Reason::Unreadable(_)) && self.quarantined_bytes == 0
    }
}
