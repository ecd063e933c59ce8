//! What the board says, as metrics: days, files, what is behind, what was done, what is not as it should be.

use std::fmt;

use super::page::{BYTES, NONE, Page, SECONDS};
use crate::api::token::Keys;
use crate::api::trouble::{self, OfLogs};
use crate::api::wire::day_name;
use crate::board::{BoardReader, Busy, Counters, DayRow, Header, LogState};
use crate::sys::clock::monotonic_ms;

/// So many days are shown: the latest.
const DAYS: usize = 31;

/// The numbers of one moment.
pub(super) struct Numbers {
    header: Header,
    counters: Counters,
    looked_at: u64,
    /// By the clock of the header's moments.
    now_ms: u64,
    /// The latest days, ascending; what has no date comes first.
    days: Vec<DayRow>,
    /// Over all days.
    parsed: u64,
    malformed: u64,
    files: [u64; LogState::ALL.len()],
    unreadable: u64,
    doubtful: u64,
    quarantined_files: u64,
    quarantined_bytes: u64,
    /// What may be wrong, and whether it is.
    degraded: Vec<(&'static str, bool)>,
}

impl Numbers {
    /// Reads the board.
    pub(super) fn take(board: &BoardReader, keys: &Keys) -> Result<Numbers, Busy> {
        // The header first, as in every answer.
        let header = board.header();
        let mut days = board.days()?;
        let sum = |number: fn(&DayRow) -> u64| days.iter().map(number).sum();
        let mut numbers = Numbers {
            header,
            counters: board.counters(),
            looked_at: board.looked_at(),
            now_ms: monotonic_ms(),
            parsed: sum(|day| day.totals.parsed),
            malformed: sum(|day| day.totals.malformed),
            days: Vec::new(),
            files: [0; LogState::ALL.len()],
            unreadable: 0,
            doubtful: 0,
            quarantined_files: 0,
            quarantined_bytes: 0,
            degraded: Vec::new(),
        };
        let undated = days.iter().take_while(|day| day.day.is_none()).count();
        days.drain(undated..days.len().saturating_sub(DAYS).max(undated));
        numbers.days = days;
        for log in board.briefs() {
            let log = log?;
            numbers.files[log.state as usize] += 1;
            numbers.quarantined_files += u64::from(log.quarantined_bytes > 0);
            numbers.quarantined_bytes += log.quarantined_bytes;
            numbers.unreadable += u64::from(log.is_unreadable());
            numbers.doubtful += u64::from(log.is_doubtful());
        }
        numbers.files[LogState::Skipped as usize] += header.skipped_more;
        // Only whether there is a sentence is shown.
        let sentence = |logs: u64| (logs > 0).then(String::new);
        let logs = OfLogs { unreadable: sentence(numbers.unreadable), doubtful: sentence(numbers.doubtful) };
        numbers.degraded = trouble::all(&header, logs, keys).into_iter().map(|(reason, sentence)| (reason, sentence.is_some())).collect();
        Ok(numbers)
    }

    pub(super) fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.write_days(page)?;
        self.write_files(page)?;
        self.write_work(page)?;
        self.write_store(page)?;
        page.gauge(
            "degraded",
            None,
            "1 if something is not as it should be: the sentences under degraded of /api/v1/status tell more.",
            self.degraded.iter().map(|(reason, is)| ([("reason", *reason)], u64::from(*is))),
        )
    }

    fn write_days(&self, page: &mut Page<'_>) -> fmt::Result {
        let by_day = |number: fn(&DayRow) -> u64| self.days.iter().map(move |row| ([("day", day_name(row.day))], number(row)));
        page.gauge(
            "day_requests",
            None,
            "Requests of a day over all logs. The latest 31 days that have any, and those without a date.",
            by_day(|row| row.totals.requests()),
        )?;
        page.gauge("day_malformed_requests", None, "Requests of a day that have no time stamp.", by_day(|row| row.totals.malformed))?;
        page.gauge(
            "day_unique_clients",
            None,
            "Distinct clients of a day over all logs, exactly. They cannot be added up over days.",
            by_day(|row| row.totals.unique_clients()),
        )?;
        page.gauge("day_log", BYTES, "The length of a day's lines over all logs.", by_day(|row| row.totals.bytes))?;
        page.gauge("day_complete", None, "1 if all that is known is in the numbers of the day.", by_day(|row| u64::from(row.complete)))?;
        let kinds = [("parsed", self.parsed), ("malformed", self.malformed)];
        page.gauge(
            "known_requests",
            None,
            "Requests of all days, with a time stamp (parsed) and without (malformed).",
            kinds.map(|(kind, value)| ([("kind", kind)], value)),
        )
    }

    fn write_files(&self, page: &mut Page<'_>) -> fmt::Result {
        let files = LogState::ALL.iter().map(|state| ([("state", state.name())], self.files[*state as usize]));
        page.gauge("files", None, "Logs by state, those that are gone and entries that are left out among them.", files)?;
        page.gauge("quarantined_files", None, "Logs of which some could not be counted.", [(NONE, self.quarantined_files)])?;
        page.gauge("quarantined_ranges", None, "Ranges of logs that could not be counted.", [(NONE, self.header.quarantined_ranges)])?;
        page.gauge("quarantined", BYTES, "The length of what could not be counted.", [(NONE, self.quarantined_bytes)])
    }

    fn write_work(&self, page: &mut Page<'_>) -> fmt::Result {
        let Header { scanned, pending, behind_since, .. } = self.header;
        page.gauge("scanned", None, "1 once the coordinator has looked at all folders.", [(NONE, u64::from(scanned))])?;
        // Before that, nobody knows.
        page.gauge(
            "pending",
            BYTES,
            "Bytes of logs that are known and not counted and shown yet. Missing until the folders were looked at.",
            scanned.then_some((NONE, pending)),
        )?;
        let lag = scanned.then(|| self.seconds_since(if pending > 0 { behind_since } else { 0 }));
        page.gauge(
            "lag",
            SECONDS,
            "For how long pending bytes have been known, at least; 0 if there are none. Missing like pending_bytes.",
            lag.map(|lag| (NONE, lag)),
        )?;
        let looked_at = (self.looked_at > 0).then_some((NONE, self.looked_at as f64 / 1e3));
        page.gauge("last_scan_timestamp", SECONDS, "When all folders were last looked at, since 1970.", looked_at)?;
        let Counters { parsed, malformed, blank, bytes, ranges, .. } = self.counters;
        let kinds = [("parsed", parsed), ("malformed", malformed), ("blank", blank)];
        page.counter(
            "lines",
            None,
            "Lines that were counted since the daemon started; lines that are counted again, once more.",
            kinds.map(|(kind, value)| ([("kind", kind)], value)),
        )?;
        page.counter("counted_log", BYTES, "The length of these lines.", [(NONE, bytes)])?;
        page.counter("counted_ranges", None, "The ranges in which they were counted.", [(NONE, ranges)])
    }

    fn write_store(&self, page: &mut Page<'_>) -> fmt::Result {
        let Header { unstored, unstored_since, stored_at, .. } = self.header;
        page.gauge("unstored_files", None, "Logs that the store does not have as they are yet.", [(NONE, unstored)])?;
        page.gauge(
            "unstored",
            SECONDS,
            "For how long the one that waits longest has been due to be written; 0 if none is.",
            [(NONE, self.seconds_since(if unstored > 0 { unstored_since } else { 0 }))],
        )?;
        let stored_at = (stored_at > 0).then_some((NONE, stored_at as f64 / 1e3));
        page.gauge("stored_timestamp", SECONDS, "When a write last made the store as new as the board, since 1970. Missing until one does.", stored_at)?;
        page.counter("state_writes", None, "Partials that were written or removed, since the daemon started.", [(NONE, self.counters.writes)])?;
        page.counter(
            "state_write_failures",
            None,
            "Partials that could not be written or removed, since the daemon started.",
            [(NONE, self.counters.write_failures)],
        )
    }

    /// How long ago a moment of the header was; 0 for none.
    fn seconds_since(&self, moment: u64) -> f64 {
        if moment == 0 { 0.0 } else { self.now_ms.saturating_sub(moment) as f64 / 1e3 }
    }
}
