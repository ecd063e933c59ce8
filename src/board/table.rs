//! The tables of the board: logs, days, and the share that each log has in each day.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::counters::Counters;
use super::day::{DAY_WORDS, DayRow, SHARE_WORDS, ShareRow};
use super::header::{
    ANNOUNCED, COUNTERS, DAYS_USED, GENERATION, HEADER_WORDS, Header, LOGS_USED, LOOKED_AT, READY,
    SHARES_USED,
};
use super::log::{LOG_WORDS, LogBrief, LogRow};
use super::row::{publish, read, row_words};
use crate::sys::memory::{SharedMemory, SharedWords};

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
        HEADER_WORDS
            + self.logs * row_words(LOG_WORDS)
            + self.days * row_words(DAY_WORDS)
            + self.shares * row_words(SHARE_WORDS)
    }
}

/// The row changed each time it was looked at. This is not expected to be seen.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the numbers change too fast to be read; try again")]
pub struct BusyError;

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
        let days = (0..size.days.min(self.0.header(DAYS_USED) as usize))
            .map(|at| self.0.day(at).unwrap_or_default());
        let shares = (0..size.shares.min(self.0.header(SHARES_USED) as usize))
            .map(|at| self.0.share(at).unwrap_or_default());
        (logs.collect(), days.collect(), shares.collect())
    }

    /// How many rows there are.
    pub fn size(&self) -> BoardSize {
        self.0.size
    }

    /// Shows a log in its row.
    pub fn set_log(&self, at: usize, log: &LogRow) {
        publish(self.0.log_row(at), &log.to_words());
        self.0.use_up_to(LOGS_USED, at);
    }

    /// Shows a day in its row.
    pub fn set_day(&self, at: usize, day: &DayRow) {
        publish(self.0.day_row(at), &day.to_words());
        self.0.use_up_to(DAYS_USED, at);
    }

    /// Shows a share in its row.
    pub fn set_share(&self, at: usize, share: &ShareRow) {
        publish(self.0.share_row(at), &share.to_words());
        self.0.use_up_to(SHARES_USED, at);
    }

    /// Shows what is true of all logs, after the rows it speaks of. The generation is counted up if rows or
    /// header changed; the one given is not looked at.
    pub fn set_header(&self, header: &Header, rows_changed: bool) {
        let words = &self.0.words;
        let shown = self.0.summary();
        if !rows_changed && (Header { generation: shown.generation, ..*header }) == shown {
            return;
        }
        header.write(words);
        words[GENERATION].store(words[GENERATION].load(Relaxed).wrapping_add(1), Release);
    }

    /// Counts up what was done. Nothing else changes: the generation stays as it is.
    pub fn add(&self, more: &Counters) {
        // Relaxed: each number stands for itself, and there is one writer.
        for (word, more) in self.0.words[COUNTERS..].iter().zip(more.to_words()) {
            word.store(word.load(Relaxed).wrapping_add(more), Relaxed);
        }
    }

    /// Says when all watched folders were last looked at, in milliseconds since 1970. The generation stays as
    /// it is.
    pub fn set_looked_at(&self, at: u64) {
        self.0.words[LOOKED_AT].store(at, Relaxed);
    }

    /// Says that everything that was found at the start was counted once. It stays said, whoever dies. The
    /// generation stays as it is.
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
    pub fn log(&self, id: u64) -> Result<Option<LogRow>, BusyError> {
        for at in 0..self.0.logs_used() {
            let [found]: [u64; 1] = steady(self.0.log_row(at))?;
            if found == id && id != 0 {
                let row = self.0.log(at)?;
                // The row may be another log's by now, and this one's further on.
                if row.id == id {
                    return Ok(Some(row));
                }
            }
        }
        Ok(None)
    }

    /// Of all logs what is short, in the order of their rows. Takes no memory, and a tenth of the time. Each
    /// may be an error: that its row changes each time it is looked at.
    pub fn briefs(&self) -> impl Iterator<Item = Result<LogBrief, BusyError>> {
        (0..self.0.logs_used()).filter_map(|at| self.0.brief(at).transpose())
    }

    /// All logs, in the order of their rows.
    ///
    /// # Errors
    /// If a row changes each time it is looked at.
    pub fn logs(&self) -> Result<Vec<LogRow>, BusyError> {
        (0..self.0.logs_used())
            .map(|at| self.0.log(at))
            .filter(|row| row.as_ref().map_or(true, |row| row.id != 0))
            .collect()
    }

    /// All days, ascending; the one without a date first.
    ///
    /// # Errors
    /// If a row changes each time it is looked at.
    pub fn days(&self) -> Result<Vec<DayRow>, BusyError> {
        let used = self.0.size.days.min(self.0.header(DAYS_USED) as usize);
        let days = (0..used).map(|at| self.0.day(at)).filter(|row| row.as_ref().map_or(true, |row| row.used));
        let mut days = days.collect::<Result<Vec<_>, BusyError>>()?;
        days.sort_by_key(|row| row.day);
        Ok(days)
    }

    /// The days of one log, ascending.
    ///
    /// # Errors
    /// If a row changes each time it is looked at.
    pub fn shares(&self, log: u64) -> Result<Vec<ShareRow>, BusyError> {
        let mut shares = self
            .all_shares()
            .filter(|row| row.as_ref().map_or(true, |row| row.log == log))
            .collect::<Result<Vec<_>, BusyError>>()?;
        shares.sort_by_key(|row| row.day);
        Ok(shares)
    }

    /// The days of all logs, in the order of their rows. Some rows may not be used. Each may be an error:
    /// that its row changes each time it is looked at.
    pub fn all_shares(&self) -> impl Iterator<Item = Result<ShareRow, BusyError>> {
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
        Header::read(&self.words)
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
        let start =
            HEADER_WORDS + self.size.logs * row_words(LOG_WORDS) + self.size.days * row_words(DAY_WORDS);
        self.row(start, at, row_words(SHARE_WORDS))
    }

    fn row(&self, start: usize, at: usize, words: usize) -> &[AtomicU64] {
        &self.words[start + at * words..][..words]
    }

    fn log(&self, at: usize) -> Result<LogRow, BusyError> {
        Ok(LogRow::from_words(&steady(self.log_row(at))?))
    }

    /// Copies no more of the row than is told: its first words.
    fn brief(&self, at: usize) -> Result<Option<LogBrief>, BusyError> {
        Ok(LogBrief::from_words(&steady(self.log_row(at))?))
    }

    fn day(&self, at: usize) -> Result<DayRow, BusyError> {
        Ok(DayRow::from_words(&steady(self.day_row(at))?))
    }

    fn share(&self, at: usize) -> Result<ShareRow, BusyError> {
        Ok(ShareRow::from_words(&steady(self.share_row(at))?))
    }
}

fn steady<const N: usize>(row: &[AtomicU64]) -> Result<[u64; N], BusyError> {
    let mut data = [0; N];
    // A row is written a few times a second, and a copy takes less than a microsecond.
    for _ in 0..1_000 {
        if read(row, &mut data) {
            return Ok(data);
        }
        std::hint::spin_loop();
    }
    Err(BusyError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{LogState, NAME_BYTES_MAX, Quarantine, Reason, Watching};
    use crate::log::Day;
    use crate::tally::{Counts, Distinct, Totals};

    #[test]
    fn rows_read_back() {
        let size = BoardSize { logs: 4, days: 3, shares: 5 };
        let memory = Board::memory(size).unwrap();
        let (board, reader) =
            (Board::open(&memory, size).unwrap(), BoardReader::open(&memory, size).unwrap());
        assert_eq!(reader.header(), Header::default());
        let totals = Totals {
            counts: Counts { parsed: 7, hours: [3; 24], ..Counts::default() },
            clients: Distinct { ipv6: 9, ..Distinct::default() },
        };
        let day = Day::new(2021, 3, 22);
        let log = LogRow {
            id: 9,
            name: b"a\xff.log".to_vec(),
            day,
            state: LogState::Final,
            complete: true,
            at_least: false,
            size: 1 << 40,
            counted_to: 5,
            file: (8, u64::MAX),
            quarantine: Quarantine { bytes: 4096, from: 1, to: 2 },
            reason: Reason::Unreadable(13),
            duplicate_of: 8,
            group: Some(4),
            totals,
        };
        for name in [&b"a\xff.log"[..], b"", &[b'x'; NAME_BYTES_MAX]] {
            let log = LogRow { name: name.to_vec(), ..log.clone() };
            board.set_log(2, &log);
            let brief =
                LogBrief { state: log.state, quarantined_bytes: 4096, reason: log.reason, has_doubt: false };
            assert_eq!(
                (reader.log(9).unwrap(), reader.log(8).unwrap(), reader.log(0).unwrap()),
                (Some(log.clone()), None, None)
            );
            assert_eq!(log.brief(), brief);
            assert_eq!(
                (reader.logs().unwrap(), reader.briefs().collect::<Result<Vec<_>, _>>().unwrap()),
                (vec![log], vec![brief])
            );
        }
        let totals_of_doubt = Totals {
            counts: Counts { malformed: 10, ..Counts::default() },
            clients: Distinct { other: 1, ..Distinct::default() },
        };
        let doubtful = LogRow { totals: totals_of_doubt, group: None, ..log };
        board.set_log(2, &doubtful);
        assert_eq!(reader.log(9).unwrap(), Some(doubtful.clone()));
        let briefs: Vec<LogBrief> = reader.briefs().collect::<Result<_, _>>().unwrap();
        assert!(briefs == [doubtful.brief()] && briefs[0].is_doubtful());
        let one = DayRow { used: true, day, files: 3, complete: true, at_least: false, totals };
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
            unsettled: true,
        };
        for _ in 0..2 {
            board.set_header(&header, false);
        }
        assert_eq!(reader.header(), Header { generation: 1, ..header });
        let counters = Counters::from_words(std::array::from_fn(|at| at as u64 + 1));
        for times in 1..3 {
            board.add(&counters);
            assert_eq!(
                reader.counters(),
                Counters::from_words(counters.to_words().map(|number| number * times))
            );
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
