//! Ranges of days: exact unions of clients, from the store.
//!
//! A repeated question is answered from memory while the store is the same; simultaneous equal questions are
//! computed once. The threads of rayon compute, not those that serve: at most two questions at a time, or one
//! where memory is scarce. Some more wait, and the rest is refused. Deliberately absent: HTTP.

mod list;
mod parts;
mod shortage;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::board::{BoardReader, BusyError, Header, LogState};
use crate::log::Day;
use crate::store::span::{self, Span};
use crate::store::{Host, utc};

use list::{Known, List};
use parts::{OPEN_MAX, Outcome, Parts, Question, TOP_MAX, TOP_SHORT, UnionError};

/// The maximum time that an answer of the API waits for the store to be as new as the board.
pub(super) const STORE_WAIT: Duration = Duration::from_millis(1_500);
const STORE_POLL: Duration = Duration::from_millis(20);
/// The maximum number of questions that are computed at the same time.
const AT_ONCE: usize = 2;
/// With less memory in bytes for each question, only one is computed at a time.
const QUESTION_MIN: u64 = 16 << 20;
/// The maximum number of waiting questions. A client that is gone keeps its place until there is an answer to
/// send.
const WAITING_MAX: usize = 64;
/// The time after which an answer that lacks a log is computed again.
const WRONG_FOR: Duration = Duration::from_secs(1);
/// The maximum number of attempts while the store changes.
const TRIES: usize = 8;

/// The days of a question, both inclusive; without a bound, from the first or to the last dated day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Days {
    pub(super) from: Option<Day>,
    pub(super) to: Option<Day>,
}

impl Days {
    /// True if the day is one of these. Undated requests are only if there are no bounds.
    pub(super) fn have(self, day: Option<Day>) -> bool {
        match day {
            Some(day) => self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day <= to),
            None => self.from.is_none() && self.to.is_none(),
        }
    }
}

/// The reason why there is no answer at the moment.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum UnavailableError {
    #[error(transparent)]
    Busy(#[from] BusyError),
    /// The maximum number of questions waits.
    #[error("too many requests wait for a range; try again")]
    Crowded,
    /// The operating system has no file descriptors or no memory left.
    #[error("the operating system has no file descriptors or no memory left to read the store; try again")]
    Exhausted,
}

/// The maximum number of file descriptors that answers use: for partials that are opened in advance, and for
/// each thread that decodes or reads a footer.
pub(super) fn descriptors() -> usize {
    AT_ONCE * OPEN_MAX + 2 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// An answer and its time.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) outcome: Arc<Outcome>,
    /// True if all known requests of these days are in the answer.
    pub(super) complete: bool,
    /// The time of the numbers, in RFC 3339.
    pub(super) as_of: String,
    /// Answers with other numbers have other tags.
    pub(super) tag: String,
}

/// The answers.
#[derive(Debug)]
pub(super) struct Ranges {
    list: Mutex<List>,
    parts: Parts,
    kept: Mutex<HashMap<(Question, Days), (u64, Slot)>>,
    permits: Arc<Semaphore>,
    /// The places of the questions that wait for a permit.
    places: Semaphore,
    /// The number of outcomes so far that lack a log.
    partial: AtomicU64,
    started: u64,
}

/// The last answer to a question. The task that computes the answer holds the lock.
type Slot = Arc<tokio::sync::Mutex<Option<Last>>>;

#[derive(Debug)]
struct Last {
    version: u64,
    outcome: Arc<Outcome>,
    at: Instant,
}

impl Last {
    fn serves(&self, known: &Known) -> bool {
        self.version == known.snapshot.version && (self.outcome.whole || self.at.elapsed() < WRONG_FOR)
    }
}

impl Ranges {
    /// Answers from this state folder. Keeps at most `budget` bytes of decoded days; an answer takes about
    /// `question` bytes beside them.
    pub(super) fn new(state: &Path, own: Host, budget: u64, question: u64, started: u64) -> Ranges {
        let list = Mutex::new(List::new(state, own, milliseconds()));
        let at_once = if question < QUESTION_MIN { 1 } else { AT_ONCE };
        let [budget, question] = [budget, question].map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let parts = Parts::new(budget, question);
        let (permits, places) = (Arc::new(Semaphore::new(at_once)), Semaphore::new(WAITING_MAX));
        Ranges { list, parts, kept: Mutex::default(), permits, places, partial: AtomicU64::new(0), started }
    }

    /// The numbers of a range of days. The answer waits up to `wait` for the store to be as new as the board.
    pub(super) async fn numbers(
        self: &Arc<Ranges>,
        board: &Arc<BoardReader>,
        days: Days,
        wait: Duration,
    ) -> Result<Answer, UnavailableError> {
        self.answer(board, days, Question::Numbers, wait).await
    }

    /// The clients with the most requests: at least `clients` of them, up to [`Ranges::TOP_MAX`].
    pub(super) async fn top(
        self: &Arc<Ranges>,
        board: &Arc<BoardReader>,
        days: Days,
        clients: usize,
    ) -> Result<Answer, UnavailableError> {
        self.answer(
            board,
            days,
            if clients > TOP_SHORT { Question::LongTop } else { Question::Top },
            STORE_WAIT,
        )
        .await
    }

    /// The maximum number of clients of a question.
    pub(super) const TOP_MAX: usize = TOP_MAX;

    async fn answer(
        self: &Arc<Ranges>,
        board: &Arc<BoardReader>,
        days: Days,
        question: Question,
        wait: Duration,
    ) -> Result<Answer, UnavailableError> {
        let mut known = self.known(board, wait).await?;
        let slot = self.slot(days, question);
        // A client that leaves while it waits here has started no work. Work that has started goes on without
        // its clients.
        let mut last = slot.lock_owned().await;
        for _ in 0..TRIES {
            if let Some(kept) = last.as_ref().filter(|kept| kept.serves(&known)) {
                return Ok(self.of(board, days, &known, &kept.outcome)?);
            }
            let permit = self.permit().await?;
            let (ranges, snapshot) = (Arc::clone(self), Arc::clone(&known.snapshot));
            let span = Span::Days(days.from, days.to);
            let worked = tokio::task::spawn_blocking(move || {
                let outcome = ranges.parts.answer(&snapshot, span, question);
                drop(permit);
                ranges.keep(last, snapshot.version, outcome)
            });
            let (back, outcome) = worked.await.map_err(|_| BusyError)?;
            match outcome {
                Ok(outcome) => return Ok(self.of(board, days, &known, &outcome)?),
                Err(UnionError::Exhausted) => return Err(UnavailableError::Exhausted),
                Err(UnionError::Replaced) => {
                    last = back;
                    tokio::time::sleep(STORE_POLL).await;
                    known = self.look(board, true).await?;
                }
            }
        }
        Err(BusyError.into())
    }

    /// Waits until another question can be computed, if there is a free place.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, UnavailableError> {
        let _place = self.places.try_acquire().map_err(|_| UnavailableError::Crowded)?;
        Arc::clone(&self.permits).acquire_owned().await.map_err(|_| BusyError.into())
    }

    /// The store once it is as new as the board, or the current store if that takes long.
    async fn known(
        self: &Arc<Ranges>,
        board: &Arc<BoardReader>,
        wait: Duration,
    ) -> Result<Known, UnavailableError> {
        let start = Instant::now();
        loop {
            let is_late = start.elapsed() >= wait;
            if is_late || board.header().unstored == 0 {
                let known = self.look(board, false).await?;
                if known.settled || is_late {
                    return Ok(known);
                }
            }
            tokio::time::sleep(STORE_POLL).await;
        }
    }

    async fn look(
        self: &Arc<Ranges>,
        board: &Arc<BoardReader>,
        again: bool,
    ) -> Result<Known, UnavailableError> {
        let (ranges, board) = (Arc::clone(self), Arc::clone(board));
        let look = move || ranges.list.lock().unwrap_or_else(PoisonError::into_inner).look(&board, again);
        tokio::task::spawn_blocking(look)
            .await
            .map_err(|_| BusyError)?
            .map_err(|_| UnavailableError::Exhausted)
    }

    /// The slot of the last answer to a question.
    fn slot(&self, days: Days, question: Question) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = kept.values().map(|(used, _)| *used).max().unwrap_or(0) + 1;
        let alike = || kept.iter().filter(|((asked, _), _)| *asked == question);
        if alike().count() >= question.kept() {
            // A slot that somebody waits for stays.
            let oldest = alike()
                .filter(|(_, (_, slot))| Arc::strong_count(slot) == 1)
                .min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(question, _)| *question) {
                kept.remove(&oldest);
            }
        }
        let (used, slot) = kept.entry((question, days)).or_default();
        *used = clock;
        Arc::clone(slot)
    }

    /// An outcome with the completeness and the time that the board adds.
    fn of(
        &self,
        board: &BoardReader,
        days: Days,
        known: &Known,
        outcome: &Arc<Outcome>,
    ) -> Result<Answer, BusyError> {
        let Known { snapshot, header, settled } = known;
        let span = Span::Days(days.from, days.to);
        let logs = &snapshot.logs;
        let stored =
            outcome.whole && snapshot.readable && *settled && header.scanned && span::is_complete(logs, span);
        let complete = stored
            && !outcome.numbers.at_least
            && !header.unsettled
            && is_counted(board, span, header.pending)?;
        let written = || logs.iter().map(|log| log.meta.written_at).max().unwrap_or(self.started);
        let as_of = match header.stored_at {
            _ if *settled => milliseconds(),
            0 => written(),
            stored_at => stored_at,
        };
        let tag = tag(self.started, header, snapshot.version, outcome, complete);
        Ok(Answer { outcome: Arc::clone(outcome), complete, as_of: rfc3339(as_of), tag })
    }

    /// Keeps an answer for the next request. Returns the slot for another attempt if there is no answer.
    fn keep(
        &self,
        mut last: OwnedMutexGuard<Option<Last>>,
        version: u64,
        outcome: Result<Outcome, UnionError>,
    ) -> (OwnedMutexGuard<Option<Last>>, Result<Arc<Outcome>, UnionError>) {
        let number =
            |outcome: &Outcome| if outcome.whole { 0 } else { self.partial.fetch_add(1, Relaxed) + 1 };
        let outcome = outcome.map(|outcome| Arc::new(Outcome { number: number(&outcome), ..outcome }));
        if let Ok(outcome) = &outcome {
            *last = Some(Last { version, outcome: Arc::clone(outcome), at: Instant::now() });
        }
        (last, outcome)
    }
}

/// Identifies the numbers of an answer. Answers from one snapshot are equal if none lacks a log.
fn tag(started: u64, header: &Header, version: u64, outcome: &Outcome, complete: bool) -> String {
    format!(
        "{started:x}-{:x}-{:x}-{version:x}-{:x}-{}",
        header.generation,
        header.stored,
        outcome.number,
        u8::from(complete)
    )
}

/// True if the board shows these days as counted. A log that was never counted to its end may have requests
/// of any day.
fn is_counted(board: &BoardReader, span: Span, pending: u64) -> Result<bool, BusyError> {
    if pending > 0 && board.logs()?.iter().any(|log| log.state == LogState::Counting && !log.complete) {
        return Ok(false);
    }
    Ok(board.days()?.iter().filter(|row| span.has(row.day)).all(|row| row.complete))
}

fn rfc3339(milliseconds: u64) -> String {
    utc(milliseconds).replace(' ', "T") + &format!(".{:03}Z", milliseconds % 1_000)
}

fn milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Board, BoardSize};

    /// The answer that had left a log out for a moment and the right one a second later had one tag.
    #[test]
    fn an_answer_from_which_something_is_missing_has_a_tag_of_its_own() {
        let ranges = Ranges::new(Path::new("/nowhere"), Host::new("x").unwrap(), 0, u64::MAX, 1);
        let tag_of = |whole| {
            let slot = Slot::default();
            let last = slot.try_lock_owned().unwrap();
            let (_, outcome) = ranges.keep(last, 5, Ok(Outcome { whole, ..Outcome::default() }));
            tag(1, &Header::default(), 5, &outcome.unwrap(), false)
        };
        let (one, two, right) = (tag_of(false), tag_of(false), tag_of(true));
        assert!(one != right && two != right && one != two, "{one} {two} {right}");
        assert_eq!(right, tag_of(true));
    }

    /// Whoever asked for another range waited too, though he may have been gone.
    #[tokio::test]
    async fn no_more_questions_wait_than_have_a_place() {
        let size = BoardSize { logs: 1, days: 1, shares: 1 };
        let memory = Board::memory(size).unwrap();
        let board = Arc::new(BoardReader::open(&memory, size).unwrap());
        let ranges = Arc::new(Ranges::new(Path::new("/nowhere"), Host::new("x").unwrap(), 0, u64::MAX, 1));
        let ask = |number: usize| {
            let (ranges, board) = (Arc::clone(&ranges), Arc::clone(&board));
            let days = Days { from: Day::from_number(20_000_101 + number as u32 * 10_000), to: None };
            tokio::spawn(async move { ranges.numbers(&board, days, STORE_WAIT).await })
        };
        let all = Arc::clone(&ranges.permits).acquire_many_owned(AT_ONCE as u32).await.unwrap();
        let waiting: Vec<_> = (0..WAITING_MAX).map(ask).collect();
        while ranges.places.available_permits() > 0 {
            tokio::time::sleep(STORE_POLL).await;
        }
        assert!(matches!(ask(WAITING_MAX).await.unwrap(), Err(UnavailableError::Crowded)));
        drop(all);
        for answer in waiting {
            assert!(answer.await.unwrap().is_ok());
        }
        assert!(ask(WAITING_MAX).await.unwrap().is_ok());
    }
}
