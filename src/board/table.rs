//! The tables of the board: logs, days, and the share that each log has in each day.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::counters::Counters;
use super::reason::Reason;
use super::row::{publish, read, row_words};
use crate::log::Day;
use crate::sys::memory::{SharedMemory, SharedWords};
use crate::tally::Totals;

/// The longest name of a log that a row holds, in bytes: a folder's and a file's.
pub const NAME_BYTES_MAX: usize = 512;

const HEADER_WORDS: usize = 32;
const GENERATION: usize = 0;
const SCANNED: usize = 1;
const PENDING: usize = 2;
const FULL: usize = 3;
const LOGS_USED: usize = 4;
const DAYS_USED: usize = 5;
const SHARES_USED: usize = 6;
const ANNOUNCED: usize = 7;
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
const LOOKED_AT: usize = 18;
const COUNTERS: usize = 19;
const READY: usize = 26;
const _: () = assert!(COUNTERS + Counters::WORDS == READY && READY < HEADER_WORDS);

const LOG_NUMBERS: usize = 14;
const LOG_WORDS: usize = LOG_NUMBERS + Totals::WORDS + NAME_BYTES_MAX / 8;
const DAY_WORDS: usize = 4 + Totals::WORDS;
const SHARE_WORDS: usize = 4 + Totals::WORDS;

/// How many rows a board has. Fixed for its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BoardSize {
    /// Rows for logs.
    pub logs: usize,
    /// Rows for days.
    pub days: usize,
    /// Rows for the share of a log in a day.
    pub shares: usize,
}

impl BoardSize {
    /// The size for so many logs.
    pub fn for_logs(logs: usize) -> BoardSize {
        BoardSize { logs, days: 16_384, shares: logs * 2 + 16_384 }
    }

    fn words(self) -> usize {
        HEADER_WORDS + self.logs * row_words(LOG_WORDS) + self.days * row_words(DAY_WORDS) + self.shares * row_words(SHARE_WORDS)
    }
}

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
    pub const ALL: [LogState; 7] =
        [LogState::Counting, LogState::Live, LogState::Final, LogState::Gone, LogState::Duplicate, LogState::Quarantined, LogState::Skipped];

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
    /// Its numbers.
    pub totals: Totals,
}

impl LogRow {
    /// What is short of it.
    pub fn brief(&self) -> LogBrief {
        LogBrief { state: self.state, quarantined_bytes: self.quarantine.bytes, reason: self.reason }
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
}

impl LogBrief {
    /// Nothing of the log can be read now. Waiting for it would be waiting for somebody to do something.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.reason, Reason::Unreadable(_)) && self.quarantined_bytes == 0
    }
}

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
    /// Its numbers; its clients are united over the logs.
    pub totals: Totals,
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
    /// Since when bytes that are pending have been known, at least: [monotonic](crate::sys::clock) milliseconds. 0: nothing is pending.
    pub behind_since: u64,
    /// Since when a log that is not in the store as it is here has been due to be written: likewise. 0: none is.
    pub unstored_since: u64,
    /// How many ranges could not be counted, over all logs.
    pub quarantined_ranges: u64,
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

/// The row changed each time it was looked at. This is not expected to be seen.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the numbers change too fast to be read; ask again")]
pub struct Busy;

/// The board as its only writer sees it.
#[derive(Debug)]
pub struct Board(View);

/// The board as everybody else sees it.
#[derive(Debug)]
pub struct BoardReader(View);

#[derive(Debug)]
struct View {
    words: SharedWords,
    size: BoardSize,
}

impl Board {
    /// Makes the memory of a board.
    ///
    /// # Errors
    /// If the system has no memory or descriptors for it.
    pub fn memory(size: BoardSize) -> io::Result<SharedMemory> {
        SharedMemory::new(c"tallyd-board", size.words())
    }

    /// Opens the board for its writer. There must be no other one alive.
    ///
    /// # Errors
    /// If it cannot be mapped.
    pub fn open(memory: &SharedMemory, size: BoardSize) -> io::Result<Board> {
        Ok(Board(View { words: memory.map()?, size }))
    }

    /// What the rows say now: a predecessor wrote it.
    pub fn found(&self) -> (Vec<LogRow>, Vec<DayRow>, Vec<ShareRow>) {
        let View { size, .. } = self.0;
        let logs = (0..self.0.logs_used()).map(|at| self.0.log(at).unwrap_or_default());
        let days = (0..size.days.min(self.0.header(DAYS_USED) as usize)).map(|at| self.0.day(at).unwrap_or_default());
        let shares = (0..size.shares.min(self.0.header(SHARES_USED) as usize)).map(|at| self.0.share(at).unwrap_or_default());
        (logs.collect(), days.collect(), shares.collect())
    }

    /// How many rows there are.
    pub fn size(&self) -> BoardSize {
        self.0.size
    }

    /// Shows a log in its row.
    pub fn set_log(&self, at: usize, log: &LogRow) {
        let mut data = [0; LOG_WORDS];
        let name = &log.name[..log.name.len().min(NAME_BYTES_MAX)];
        let day = log.day.map_or(0, |day| day.number().into());
        let first = [log.id, day, log.state as u64, u64::from(log.complete), log.size, log.counted_to, log.file.0, log.file.1];
        data[..8].copy_from_slice(&first);
        let Quarantine { bytes, from, to } = log.quarantine;
        data[8..LOG_NUMBERS].copy_from_slice(&[bytes, from, to, log.reason.to_word(), name.len() as u64, log.duplicate_of]);
        data[LOG_NUMBERS..LOG_NUMBERS + Totals::WORDS].copy_from_slice(&log.totals.to_words());
        for (word, bytes) in data[LOG_NUMBERS + Totals::WORDS..].iter_mut().zip(name.chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(eight);
        }
        publish(self.0.log_row(at), &data);
        self.0.use_up_to(LOGS_USED, at);
    }

    /// Shows a day in its row.
    pub fn set_day(&self, at: usize, day: &DayRow) {
        let mut data = [0; DAY_WORDS];
        data[..4].copy_from_slice(&[u64::from(day.used), day.day.map_or(0, |day| day.number().into()), day.files, u64::from(day.complete)]);
        data[4..].copy_from_slice(&day.totals.to_words());
        publish(self.0.day_row(at), &data);
        self.0.use_up_to(DAYS_USED, at);
    }

    /// Shows a share in its row.
    pub fn set_share(&self, at: usize, share: &ShareRow) {
        let mut data = [0; SHARE_WORDS];
        data[..2].copy_from_slice(&[share.log, share.day.map_or(0, |day| day.number().into())]);
        data[4..].copy_from_slice(&share.totals.to_words());
        publish(self.0.share_row(at), &data);
        self.0.use_up_to(SHARES_USED, at);
    }

    /// Shows what is true of all logs, after the rows it speaks of. The generation is counted up if rows or header changed; the one given is not looked at.
    pub fn set_header(&self, header: &Header, rows_changed: bool) {
        let words = &self.0.words;
        let shown = self.0.summary();
        if !rows_changed && (Header { generation: shown.generation, ..*header }) == shown {
            return;
        }
        words[SCANNED].store(u64::from(header.scanned), Relaxed);
        words[FULL].store(u64::from(header.full), Relaxed);
        words[TROUBLED].store(header.troubled, Relaxed);
        words[WATCHING].store(header.watching as u64, Relaxed);
        words[STATE_ERROR].store(header.state_error.cast_unsigned().into(), Relaxed);
        words[UNSTORED].store(header.unstored, Relaxed);
        words[STORED].store(header.stored, Relaxed);
        words[STORED_AT].store(header.stored_at, Relaxed);
        words[SKIPPED_MORE].store(header.skipped_more, Relaxed);
        words[BEHIND_SINCE].store(header.behind_since, Relaxed);
        words[UNSTORED_SINCE].store(header.unstored_since, Relaxed);
        words[QUARANTINED_RANGES].store(header.quarantined_ranges, Relaxed);
        // Release: who sees nothing pending sees the rows of what was.
        words[PENDING].store(header.pending, Release);
        words[GENERATION].store(words[GENERATION].load(Relaxed).wrapping_add(1), Release);
    }

    /// Counts up what was done. Nothing else changes: the generation stays as it is.
    pub fn add(&self, more: &Counters) {
        // Relaxed: each number stands for itself, and there is one writer.
        for (word, more) in self.0.words[COUNTERS..].iter().zip(more.to_words()) {
            word.store(word.load(Relaxed).wrapping_add(more), Relaxed);
        }
    }

    /// Says when all watched folders were last looked at, in milliseconds since 1970. The generation stays as it is.
    pub fn set_looked_at(&self, at: u64) {
        self.0.words[LOOKED_AT].store(at, Relaxed);
    }

    /// Says that everything that was found at the start was counted once. It stays said, whoever dies. The generation stays as it is.
    pub fn set_ready(&self) {
        // Release: who sees it sees the rows that were written before.
        self.0.words[READY].store(1, Release);
    }

    /// Was everything that was found at the start counted once?
    pub fn is_ready(&self) -> bool {
        self.0.header(READY) != 0
    }

    /// Is this the first time this is asked of this board?
    pub fn announce(&self) -> bool {
        let first = self.0.header(ANNOUNCED) == 0;
        self.0.words[ANNOUNCED].store(1, Relaxed);
        first
    }
}

impl BoardReader {
    /// Opens the board for reading.
    ///
    /// # Errors
    /// If it cannot be mapped.
    pub fn open(memory: &SharedMemory, size: BoardSize) -> io::Result<BoardReader> {
        Ok(BoardReader(View { words: memory.map_read_only()?, size }))
    }

    /// What is true of all logs.
    pub fn header(&self) -> Header {
        self.0.summary()
    }

    /// What was done since the daemon started.
    pub fn counters(&self) -> Counters {
        Counters::from_words(std::array::from_fn(|at| self.0.words[COUNTERS + at].load(Relaxed)))
    }

    /// When all watched folders were last looked at, in milliseconds since 1970; 0: not yet.
    pub fn looked_at(&self) -> u64 {
        self.0.words[LOOKED_AT].load(Relaxed)
    }

    /// Was everything that was found at the start counted once?
    pub fn is_ready(&self) -> bool {
        self.0.header(READY) != 0
    }

    /// The log of this number, if there is one.
    ///
    /// # Errors
    /// If its row changes each time it is looked at.
    pub fn log(&self, id: u64) -> Result<Option<LogRow>, Busy> {
        for at in 0..self.0.logs_used() {
            let [found]: [u64; 1] = steady(self.0.log_row(at))?;
            if found == id && id != 0 {
                // The row may be another log's by now.
                return Ok(Some(self.0.log(at)?).filter(|row| row.id == id));
            }
        }
        Ok(None)
    }

    /// Of all logs what is short, in the order of their rows. Takes no memory, and a tenth of the time. Each may be an error: that its row changes each time it is looked at.
    pub fn briefs(&self) -> impl Iterator<Item = Result<LogBrief, Busy>> {
        (0..self.0.logs_used()).filter_map(|at| self.0.brief(at).transpose())
    }

    /// All logs, in the order of their rows.
    ///
    /// # Errors
    /// If a row changes each time it is looked at.
    pub fn logs(&self) -> Result<Vec<LogRow>, Busy> {
        (0..self.0.logs_used()).map(|at| self.0.log(at)).filter(|row| row.as_ref().map_or(true, |row| row.id != 0)).collect()
    }

    /// All days, ascending; the one without a date first.
    ///
    /// # Errors
    /// If a row changes each time it is looked at.
    pub fn days(&self) -> Result<Vec<DayRow>, Busy> {
        let used = self.0.size.days.min(self.0.header(DAYS_USED) as usize);
        let days = (0..used).map(|at| self.0.day(at)).filter(|row| row.as_ref().map_or(true, |row| row.used));
        let mut days = days.collect::<Result<Vec<_>, Busy>>()?;
        days.sort_by_key(|row| row.day);
        Ok(days)
    }

    /// The days of one log, ascending.
    ///
    /// # Errors
    /// If a row changes each time it is looked at.
    pub fn shares(&self, log: u64) -> Result<Vec<ShareRow>, Busy> {
        let mut shares = self.all_shares().filter(|row| row.as_ref().map_or(true, |row| row.log == log)).collect::<Result<Vec<_>, Busy>>()?;
        shares.sort_by_key(|row| row.day);
        Ok(shares)
    }

    /// The days of all logs, in the order of their rows. Some rows may not be used. Each may be an error: that its row changes each time it is looked at.
    pub fn all_shares(&self) -> impl Iterator<Item = Result<ShareRow, Busy>> {
        let used = self.0.size.shares.min(self.0.header(SHARES_USED) as usize);
        (0..used).map(|at| self.0.share(at))
    }
}

impl View {
    fn header(&self, word: usize) -> u64 {
        self.words[word].load(Acquire)
    }

    fn logs_used(&self) -> usize {
        self.size.logs.min(self.header(LOGS_USED) as usize)
    }

    fn summary(&self) -> Header {
        // The generation first: who sees an old one with new numbers asks once more, not once too few.
        let generation = self.header(GENERATION);
        let pending = self.header(PENDING);
        let watching = [Watching::Starting, Watching::Notified, Watching::Unwanted, Watching::Unable];
        Header {
            generation,
            scanned: self.header(SCANNED) != 0,
            pending,
            full: self.header(FULL) != 0,
            troubled: self.header(TROUBLED),
            watching: watching.get(self.header(WATCHING) as usize).copied().unwrap_or_default(),
            state_error: (self.header(STATE_ERROR) as u32).cast_signed(),
            unstored: self.header(UNSTORED),
            stored: self.header(STORED),
            stored_at: self.header(STORED_AT),
            skipped_more: self.header(SKIPPED_MORE),
            behind_since: self.header(BEHIND_SINCE),
            unstored_since: self.header(UNSTORED_SINCE),
            quarantined_ranges: self.header(QUARANTINED_RANGES),
        }
    }

    fn use_up_to(&self, word: usize, at: usize) {
        if self.words[word].load(Relaxed) <= at as u64 {
            self.words[word].store(at as u64 + 1, Release);
        }
    }

    fn log_row(&self, at: usize) -> &[AtomicU64] {
        self.row(HEADER_WORDS, at, row_words(LOG_WORDS))
    }

    fn day_row(&self, at: usize) -> &[AtomicU64] {
        self.row(HEADER_WORDS + self.size.logs * row_words(LOG_WORDS), at, row_words(DAY_WORDS))
    }

    fn share_row(&self, at: usize) -> &[AtomicU64] {
        let start = HEADER_WORDS + self.size.logs * row_words(LOG_WORDS) + self.size.days * row_words(DAY_WORDS);
        self.row(start, at, row_words(SHARE_WORDS))
    }

    fn row(&self, start: usize, at: usize, words: usize) -> &[AtomicU64] {
        &self.words[start + at * words..][..words]
    }

    fn log(&self, at: usize) -> Result<LogRow, Busy> {
        let data: [u64; LOG_WORDS] = steady(self.log_row(at))?;
        let [id, day, state, complete, size, counted_to, device, inode, bytes, from, to, reason, name_length, duplicate_of, ..] = data;
        let name = data[LOG_NUMBERS + Totals::WORDS..].iter().flat_map(|word| word.to_le_bytes());
        Ok(LogRow {
            id,
            name: name.take(name_length as usize).collect(),
            day: day_of(day),
            state: LogState::from_word(state),
            complete: complete != 0,
            size,
            counted_to,
            file: (device, inode),
            quarantine: Quarantine { bytes, from, to },
            reason: Reason::from_word(reason),
            duplicate_of,
            totals: totals_of(&data[LOG_NUMBERS..]),
        })
    }

    /// Copies no more of the row than is told: its first words.
    fn brief(&self, at: usize) -> Result<Option<LogBrief>, Busy> {
        let [id, _, state, _, _, _, _, _, quarantined_bytes, _, _, reason]: [u64; 12] = steady(self.log_row(at))?;
        Ok((id != 0).then(|| LogBrief { state: LogState::from_word(state), quarantined_bytes, reason: Reason::from_word(reason) }))
    }

    fn day(&self, at: usize) -> Result<DayRow, Busy> {
        let data: [u64; DAY_WORDS] = steady(self.day_row(at))?;
        let [used, day, files, complete, ..] = data;
        Ok(DayRow { used: used != 0, day: day_of(day), files, complete: complete != 0, totals: totals_of(&data[4..]) })
    }

    fn share(&self, at: usize) -> Result<ShareRow, Busy> {
        let data: [u64; SHARE_WORDS] = steady(self.share_row(at))?;
        Ok(ShareRow { log: data[0], day: day_of(data[1]), totals: totals_of(&data[4..]) })
    }
}

fn steady<const N: usize>(row: &[AtomicU64]) -> Result<[u64; N], Busy> {
    let mut data = [0; N];
    // A row is written a few times a second, and a copy takes less than a microsecond.
    for _ in 0..1_000 {
        if read(row, &mut data) {
            return Ok(data);
        }
        std::hint::spin_loop();
    }
    Err(Busy)
}

fn day_of(word: u64) -> Option<Day> {
    u32::try_from(word).ok().and_then(Day::from_number)
}

fn totals_of(words: &[u64]) -> Totals {
    words.first_chunk().map_or(Totals::default(), Totals::from_words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back() {
        let size = BoardSize { logs: 4, days: 3, shares: 5 };
        let memory = Board::memory(size).unwrap();
        let (board, reader) = (Board::open(&memory, size).unwrap(), BoardReader::open(&memory, size).unwrap());
        assert_eq!(reader.header(), Header::default());
        let totals = Totals { parsed: 7, hours: [3; 24], ipv6: 9, ..Totals::default() };
        let day = Day::new(2021, 3, 22);
        let log = LogRow {
            id: 9,
            name: b"a\xff.log".to_vec(),
            day,
            state: LogState::Final,
            complete: true,
            size: 1 << 40,
            counted_to: 5,
            file: (8, u64::MAX),
            quarantine: Quarantine { bytes: 4096, from: 1, to: 2 },
            reason: Reason::Unreadable(13),
            duplicate_of: 8,
            totals,
        };
        for name in [&b"a\xff.log"[..], b"", &[b'x'; NAME_BYTES_MAX]] {
            let log = LogRow { name: name.to_vec(), ..log.clone() };
            board.set_log(2, &log);
            let brief = LogBrief { state: log.state, quarantined_bytes: 4096, reason: log.reason };
            assert_eq!((reader.log(9).unwrap(), reader.log(8).unwrap(), reader.log(0).unwrap()), (Some(log.clone()), None, None));
            assert_eq!(log.brief(), brief);
            assert_eq!((reader.logs().unwrap(), reader.briefs().collect::<Result<Vec<_>, _>>().unwrap()), (vec![log], vec![brief]));
        }
        let one = DayRow { used: true, day, files: 3, complete: true, totals };
        let undated = DayRow { day: None, ..one };
        board.set_day(0, &one);
        board.set_day(2, &undated);
        assert_eq!(reader.days().unwrap(), [undated, one]);
        let share = ShareRow { log: 9, day, totals };
        board.set_share(4, &share);
        assert_eq!((reader.shares(9).unwrap(), reader.shares(8).unwrap()), (vec![share], vec![]));
        let header = Header {
            generation: 0,
            scanned: true,
            pending: 6,
            full: true,
            troubled: 2,
            watching: Watching::Unable,
            state_error: 28,
            unstored: 3,
            stored: 4,
            stored_at: 5,
            skipped_more: 7,
            behind_since: 8,
            unstored_since: 9,
            quarantined_ranges: 10,
        };
        for _ in 0..2 {
            board.set_header(&header, false);
        }
        assert_eq!(reader.header(), Header { generation: 1, ..header });
        let counters = Counters { parsed: 1, malformed: 2, blank: 3, bytes: 4, ranges: 5, writes: 6, write_failures: 7 };
        for times in 1..3 {
            board.add(&counters);
            assert_eq!(reader.counters(), Counters::from_words(counters.to_words().map(|number| number * times)));
        }
        board.set_looked_at(8);
        assert_eq!((reader.looked_at(), reader.header()), (8, Header { generation: 1, ..header }));
        assert!(board.announce());
        assert!(!board.announce());
        assert!(!reader.is_ready());
        board.set_ready();
        board.set_header(&Header::default(), true);
        assert!(reader.is_ready() && board.is_ready());
    }
}
