//! The numbers of the board as metrics: days, logs, pending bytes, work, and problems.

use std::fmt;

use super::page::{BYTES, NONE, Page, SECONDS};
use crate::api::conditions::{self, OfLogs};
use crate::api::http::token::Keys;
use crate::api::wire::day_name;
use crate::board::{BoardReader, BusyError, Counters, DayRow, Header, LogState};
use crate::sys::clock::monotonic_ms;

/// The number of days that are shown, which are the latest.
const DAYS: usize = 31;

/// The numbers of one moment.
pub(super) struct Numbers {
    header: Header,
    counters: Counters,
    looked_at: u64,
    /// The current time of the same clock as the times in the header.
    now_ms: u64,
    /// The latest days in ascending order; undated requests come first.
    days: Vec<DayRow>,
    /// The requests of all days.
    parsed: u64,
    malformed: u64,
    files: [u64; LogState::ALL.len()],
    unreadable: u64,
    doubtful: u64,
    quarantined_files: u64,
    quarantined_bytes: u64,
    /// The word of each problem, and whether the problem exists.
    degraded: Vec<(&'static str, bool)>,
}

impl Numbers {
    /// Reads the board.
    pub(super) fn take(board: &BoardReader, keys: &Keys) -> Result<Numbers, BusyError> {
        // The header first, as in every answer.
        let header = board.header();
        let mut days = board.days()?;
        let sum = |number: fn(&DayRow) -> u64| days.iter().map(number).sum();
        let mut numbers = Numbers {
            header,
            counters: board.counters(),
            looked_at: board.looked_at(),
            now_ms: monotonic_ms(),
            parsed: sum(|day| day.totals.counts.parsed),
            malformed: sum(|day| day.totals.counts.malformed),
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
        numbers.degraded = conditions::all(&header, logs, keys)
            .into_iter()
            .map(|(reason, sentence)| (reason, sentence.is_some()))
            .collect();
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
            "1 while the problem of this reason exists. The field degraded of /api/v1/status describes each problem and its remedy.",
            self.degraded.iter().map(|(reason, is)| ([("reason", *reason)], u64::from(*is))),
        )
    }

    fn write_days(&self, page: &mut Page<'_>) -> fmt::Result {
        let by_day = |number: fn(&DayRow) -> u64| {
            self.days.iter().map(move |row| ([("day", day_name(row.day))], number(row)))
        };
        page.gauge(
            "day_requests",
            None,
            "Requests of the day over all logs. Shown are the latest 31 days that have requests, and undated requests.",
            by_day(|row| row.totals.counts.requests()),
        )?;
        page.gauge(
            "day_malformed_requests",
            None,
            "Requests of the day without a time stamp, over all logs.",
            by_day(|row| row.totals.counts.malformed),
        )?;
        page.gauge(
            "day_unique_clients",
            None,
            "Exact number of distinct clients of the day over all logs. The sum over several days is not a number of distinct clients.",
            by_day(|row| row.totals.clients.all()),
        )?;
        page.gauge(
            "day_log",
            BYTES,
            "Length in bytes of the lines of the day over all logs. This is not network traffic.",
            by_day(|row| row.totals.counts.log_bytes),
        )?;
        page.gauge(
            "day_complete",
            None,
            "1 if all known requests of the day are in its numbers.",
            by_day(|row| u64::from(row.complete)),
        )?;
        let kinds = [("parsed", self.parsed), ("malformed", self.malformed)];
        page.gauge(
            "known_requests",
            None,
            "Requests of all days, with a time stamp (parsed) and without one (malformed).",
            kinds.map(|(kind, value)| ([("kind", kind)], value)),
        )
    }

    fn write_files(&self, page: &mut Page<'_>) -> fmt::Result {
        let files =
            LogState::ALL.iter().map(|state| ([("state", state.name())], self.files[*state as usize]));
        page.gauge(
            "files",
            None,
            "Logs by state, including logs that are gone and entries that tallyd skips.",
            files,
        )?;
        page.gauge(
            "quarantined_files",
            None,
            "Logs with ranges that could not be counted.",
            [(NONE, self.quarantined_files)],
        )?;
        page.gauge(
            "quarantined_ranges",
            None,
            "Ranges of logs that could not be counted.",
            [(NONE, self.header.quarantined_ranges)],
        )?;
        page.gauge(
            "quarantined",
            BYTES,
            "Length in bytes of the ranges that could not be counted.",
            [(NONE, self.quarantined_bytes)],
        )
    }

    fn write_work(&self, page: &mut Page<'_>) -> fmt::Result {
        let Header { scanned, pending, behind_since, .. } = self.header;
        page.gauge(
            "scanned",
            None,
            "1 once the coordinator has scanned all folders.",
            [(NONE, u64::from(scanned))],
        )?;
        // Before the first scan, the number is not known.
        page.gauge(
            "pending",
            BYTES,
            "Bytes in the logs that are not counted and shown yet. Missing until the first scan is complete.",
            scanned.then_some((NONE, pending)),
        )?;
        let lag = scanned.then(|| self.seconds_since(if pending > 0 { behind_since } else { 0 }));
        page.gauge(
            "lag",
            SECONDS,
            "Minimum age of the oldest pending bytes in seconds; 0 without pending bytes. Missing until the first scan is complete.",
            lag.map(|lag| (NONE, lag)),
        )?;
        let looked_at = (self.looked_at > 0).then_some((NONE, self.looked_at as f64 / 1e3));
        page.gauge(
            "last_scan_timestamp",
            SECONDS,
            "Time of the last scan of all folders, in seconds since 1970.",
            looked_at,
        )?;
        let Counters { lines, ranges, .. } = self.counters;
        let kinds = [("parsed", lines.parsed), ("malformed", lines.malformed), ("blank", lines.blank)];
        page.counter(
            "lines",
            None,
            "Lines counted since the daemon started. Lines that are counted again are included each time.",
            kinds.map(|(kind, value)| ([("kind", kind)], value)),
        )?;
        page.counter(
            "counted_log",
            BYTES,
            "Length in bytes of the lines counted since the daemon started.",
            [(NONE, lines.log_bytes)],
        )?;
        page.counter("counted_ranges", None, "Ranges counted since the daemon started.", [(NONE, ranges)])
    }

    fn write_store(&self, page: &mut Page<'_>) -> fmt::Result {
        let Header { unstored, unstored_since, stored_at, .. } = self.header;
        page.gauge(
            "unstored_files",
            None,
            "Logs whose current numbers are not in the store yet.",
            [(NONE, unstored)],
        )?;
        page.gauge(
            "unstored",
            SECONDS,
            "Time in seconds for which the write of the log that waits longest has been due; 0 if no write is due.",
            [(NONE, self.seconds_since(if unstored > 0 { unstored_since } else { 0 }))],
        )?;
        let stored_at = (stored_at > 0).then_some((NONE, stored_at as f64 / 1e3));
        page.gauge(
            "stored_timestamp",
            SECONDS,
            "Time at which the store last became as new as the shown numbers, in seconds since 1970. Missing until then.",
            stored_at,
        )?;
        page.counter(
            "state_writes",
            None,
            "Partials written or deleted since the daemon started.",
            [(NONE, self.counters.writes)],
        )?;
        page.counter(
            "state_write_failures",
            None,
            "Failed attempts to write or delete a partial since the daemon started.",
            [(NONE, self.counters.write_failures)],
        )
    }

    /// The age of a time in the header in seconds; 0 for none.
    fn seconds_since(&self, moment: u64) -> f64 {
        if moment == 0 { 0.0 } else { self.now_ms.saturating_sub(moment) as f64 / 1e3 }
    }
}
