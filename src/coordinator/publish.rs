//! Shows on the board what ledger and sums know.
//!
//! A new coordinator finds its predecessor's rows. They stay, marked as not complete, until what they say has
//! been counted again: numbers that people have seen do not go back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use super::lag::{Behind, Lag};
use super::ledger::{Ledger, Log};
use super::sums::{DayNumbers, Sums};
use crate::board::{
    Board, Counters, DayRow, Header, LogRow, LogState, Quarantine, Reason, ShareRow, Skip, Unreadable,
};
use crate::log::Day;
use crate::sys::clock::monotonic_ms;
use crate::tally::Totals;

/// Writes the board.
#[derive(Debug)]
pub struct Publisher {
    board: Board,
    logs: Rows<u64>,
    days: Rows<Option<Day>>,
    shares: Rows<(u64, Option<Day>)>,
    /// Which shares of each log have a row.
    shown_shares: HashMap<u64, BTreeSet<Option<Day>>>,
    /// The days whose clients are not all there yet.
    open_days: BTreeSet<Option<Day>>,
    /// What each day's row says.
    shown_days: BTreeMap<Option<Day>, DayRow>,
    /// The second names of each log that have a row.
    shown_links: HashMap<u64, BTreeSet<Vec<u8>>>,
    /// What is left out and has a row, and why.
    shown_skipped: BTreeMap<Vec<u8>, Skip>,
    /// The logs that a predecessor showed, until it is known which of them are there.
    inherited_logs: Vec<u64>,
    /// The logs of a predecessor that have not been counted up to where they were: how far that was.
    behind: BTreeMap<u64, u64>,
    /// Was a row written since the header was?
    wrote: bool,
    /// Were there rows of a predecessor for days or shares that may have to go?
    inherited: bool,
    lag: Lag,
}

/// Which row is whose.
#[derive(Debug)]
struct Rows<K> {
    rows: HashMap<K, usize>,
    free: Vec<usize>,
    next: usize,
    room: usize,
    full: bool,
}

impl<K: Eq + Hash + Copy> Rows<K> {
    /// The rows that are used already, in their order.
    fn found(keys: impl Iterator<Item = Option<K>>, room: usize) -> Rows<K> {
        let mut rows = Rows { rows: HashMap::new(), free: Vec::new(), next: 0, room, full: false };
        for key in keys {
            match key {
                Some(key) => drop(rows.rows.insert(key, rows.next)),
                None => rows.free.push(rows.next),
            }
            rows.next += 1;
        }
        rows
    }

    /// The row of a key, a new one if need be, or `None` if there is no room.
    fn of(&mut self, key: K) -> Option<usize> {
        if let Some(row) = self.rows.get(&key) {
            return Some(*row);
        }
        let row = match self.free.pop() {
            Some(row) => row,
            None if self.next < self.room => {
                self.next += 1;
                self.next - 1
            }
            None => {
                self.full = true;
                return None;
            }
        };
        self.rows.insert(key, row);
        Some(row)
    }

    fn give_back(&mut self, key: K) -> Option<usize> {
        let row = self.rows.remove(&key)?;
        self.free.push(row);
        Some(row)
    }
}

impl Publisher {
    /// Takes over a board.
    pub fn new(board: Board) -> Publisher {
        let (logs, days, shares) = board.found();
        let size = board.size();
        let mut shown_shares: HashMap<u64, BTreeSet<Option<Day>>> = HashMap::new();
        for share in shares.iter().filter(|row| row.log != 0) {
            shown_shares.entry(share.log).or_default().insert(share.day);
        }
        let publisher = Publisher {
            logs: Rows::found(logs.iter().map(|row| (row.id != 0).then_some(row.id)), size.logs),
            days: Rows::found(days.iter().map(|row| row.used.then_some(row.day)), size.days),
            shares: Rows::found(
                shares.iter().map(|row| (row.log != 0).then_some((row.log, row.day))),
                size.shares,
            ),
            shown_days: days
                .iter()
                .filter(|row| row.used)
                .map(|row| (row.day, DayRow { complete: false, ..*row }))
                .collect(),
            shown_shares,
            open_days: BTreeSet::new(),
            shown_links: HashMap::new(),
            shown_skipped: BTreeMap::new(),
            inherited_logs: logs.iter().map(|row| row.id).filter(|id| *id != 0).collect(),
            behind: logs
                .iter()
                .filter(|row| row.id != 0 && row.state != LogState::Gone)
                .map(|row| (row.id, row.counted_to))
                .collect(),
            wrote: false,
            lag: Lag::default(),
            inherited: logs.iter().any(|row| row.id != 0),
            board,
        };
        for (at, row) in logs.iter().enumerate().filter(|(_, row)| row.id != 0) {
            publisher.board.set_log(at, &LogRow { complete: false, ..row.clone() });
        }
        for (day, row) in &publisher.shown_days {
            publisher.board.set_day(publisher.days.rows[day], row);
        }
        publisher.board.set_header(&Header::default(), true);
        publisher
    }

    /// Shows the logs that changed, and what `header` says beside that.
    ///
    /// `unreadable` has the logs that cannot be read.
    pub fn publish(
        &mut self,
        changed: &BTreeSet<u64>,
        ledger: &Ledger,
        sums: &mut Sums,
        unreadable: &HashMap<u64, Unreadable>,
        header: Header,
    ) {
        let scanned = header.scanned;
        // One walk: there may be many logs, and this is done many times a second.
        let (mut of_logs, mut quarantined_ranges) = (0, 0);
        for (_, log) in ledger.logs() {
            of_logs += log.pending();
            quarantined_ranges +=
                if log.deleted && log.is_gone() { 0 } else { log.active().quarantine.len() as u64 };
        }
        for id in changed {
            match ledger.log(*id).filter(|log| !(log.deleted && log.is_gone())) {
                Some(log) => {
                    // A copy of what was taken back counts nowhere either.
                    let is_void =
                        log.prefix_of.and_then(|outer| ledger.log(outer)).is_some_and(|outer| outer.deleted);
                    let group = unreadable.get(id).and_then(|why| why.group);
                    self.show_log(*id, log, is_void, group, sums);
                }
                None => self.hide_log(*id),
            }
        }
        if scanned {
            // What the predecessor knew and is not there any more is lost.
            for id in std::mem::take(&mut self.inherited_logs) {
                // A second name's row, or that of what is left out, is no log's, and may be shown again
                // already.
                if self.shows(id) {
                    self.behind.remove(&id);
                } else if ledger.log(id).is_none() {
                    self.hide_log(id);
                }
            }
        }
        // What is restored is shown before the folders are looked at, unless a predecessor showed more.
        let shows_days = self.behind.is_empty() && (scanned || !self.inherited);
        let unsettled = if shows_days { self.show_days(ledger, sums, header.troubled) } else { true };
        let full = self.logs.full || self.days.full || self.shares.full;
        let pending = if self.behind.is_empty() { of_logs.max(header.pending) } else { of_logs.max(1) };
        // What is pending of no log that is known is a log by itself.
        let of_none =
            Behind { log: 0, pending: if of_logs > 0 { 0 } else { pending }, known_to: 1, counted_to: 0 };
        let behind_since = self.lag.look(pending, ledger.logs().map(behind).chain([of_none]), monotonic_ms());
        let header = Header { pending, full, behind_since, quarantined_ranges, unsettled, ..header };
        self.board.set_header(&header, std::mem::take(&mut self.wrote));
    }

    /// Counts up what was done.
    pub fn add(&self, more: &Counters) {
        self.board.add(more);
    }

    /// Says when all folders were last looked at, in milliseconds since 1970.
    pub fn set_looked_at(&self, at: u64) {
        self.board.set_looked_at(at);
    }

    /// Says that everything that was found at the start was counted once.
    pub fn set_ready(&self) {
        self.board.set_ready();
    }

    /// Is that said already?
    pub fn is_ready(&self) -> bool {
        self.board.is_ready()
    }

    /// Is this the first time that everything is counted?
    pub fn announce(&self) -> bool {
        self.board.announce()
    }

    /// Is this the row of a second name, or of something that is left out?
    fn shows(&self, id: u64) -> bool {
        let mut links =
            self.shown_links.iter().flat_map(|(log, names)| names.iter().map(|name| row_id(name, *log)));
        links.any(|row| row == id) || self.shown_skipped.keys().any(|name| row_id(name, 0) == id)
    }

    fn show_log(&mut self, id: u64, log: &Log, is_void: bool, group: Option<u32>, sums: &mut Sums) {
        if let Some(before) = self.behind.get(&id) {
            // A log that is void, or that is shorter now, will not get there.
            if log.active().content.to < *before && log.pending() > 0 && log.active().generation == 0 {
                return;
            }
            self.behind.remove(&id);
        }
        let Some(row) = self.logs.of(id) else { return };
        self.wrote = true;
        let first = log.active().quarantine.first();
        let at_least = !is_void && sums.is_at_least(id);
        self.show_links(id, log, sums);
        let quarantine = Quarantine {
            bytes: log.active().quarantine.iter().map(|(range, _)| range.len()).sum(),
            from: first.map_or(0, |(range, _)| range.from()),
            to: first.map_or(0, |(range, _)| range.to()),
        };
        self.board.set_log(
            row,
            &LogRow {
                id,
                name: log.name.clone(),
                day: log.day,
                state: if is_void { LogState::Skipped } else { log.state() },
                complete: log.is_complete() && !at_least,
                at_least,
                size: log.size,
                counted_to: log.active().content.to,
                file: log.file,
                quarantine,
                reason: if is_void { Reason::Deleted } else { log.reason() },
                duplicate_of: log.prefix_of.filter(|_| !is_void).unwrap_or(0),
                group,
                totals: if is_void { Totals::default() } else { sums.log(id) },
            },
        );
        let shares = if is_void { Vec::new() } else { sums.shares(id) };
        let days: BTreeSet<Option<Day>> = shares.iter().map(|(day, _)| *day).collect();
        let old = self.shown_shares.insert(id, days.clone()).unwrap_or_default();
        self.hide_shares(id, old.difference(&days));
        for (day, totals) in shares {
            if let Some(row) = self.shares.of((id, day)) {
                self.board.set_share(row, &ShareRow { log: id, day, totals });
            }
        }
    }

    /// A second name of a log's file has a row of its own, with the same numbers.
    fn show_links(&mut self, id: u64, log: &Log, sums: &mut Sums) {
        let names: BTreeSet<Vec<u8>> = log.links.iter().cloned().collect();
        let old = std::mem::take(self.shown_links.entry(id).or_default());
        for name in old.difference(&names) {
            self.hide_row(row_id(name, id));
        }
        for name in &names {
            let link = row_id(name, id);
            let Some(row) = self.logs.of(link) else { continue };
            let (day, totals) = (crate::log::day_of_name(name), sums.log(id));
            let (size, counted_to, at_least) = (log.size, log.active().content.to, sums.is_at_least(id));
            let like = LogRow {
                id: link,
                name: name.clone(),
                day,
                state: LogState::Duplicate,
                duplicate_of: id,
                size,
                counted_to,
                at_least,
                ..LogRow::default()
            };
            let like = LogRow { complete: log.is_complete() && !at_least, ..like };
            self.board.set_log(row, &LogRow { file: log.file, totals, ..like });
        }
        if names.is_empty() {
            self.shown_links.remove(&id)
        } else {
            self.shown_links.insert(id, names)
        };
    }

    /// Shows what is left out of the folders, and why.
    pub fn show_skipped(&mut self, skipped: &BTreeMap<Vec<u8>, Skip>) {
        let old: Vec<Vec<u8>> =
            self.shown_skipped.keys().filter(|name| !skipped.contains_key(*name)).cloned().collect();
        for name in old {
            self.shown_skipped.remove(&name);
            self.hide_row(row_id(&name, 0));
        }
        for (name, skip) in skipped {
            if self.shown_skipped.insert(name.clone(), *skip) != Some(*skip) {
                let id = row_id(name, 0);
                let Some(row) = self.logs.of(id) else { continue };
                self.wrote = true;
                let state = LogState::Skipped;
                self.board.set_log(
                    row,
                    &LogRow {
                        id,
                        name: name.clone(),
                        state,
                        reason: Reason::Skipped(*skip),
                        complete: true,
                        ..LogRow::default()
                    },
                );
            }
        }
    }

    fn hide_row(&mut self, id: u64) {
        self.wrote = true;
        if let Some(row) = self.logs.give_back(id) {
            self.board.set_log(row, &LogRow::default());
        }
    }

    fn hide_log(&mut self, id: u64) {
        self.behind.remove(&id);
        self.wrote = true;
        for name in self.shown_links.remove(&id).unwrap_or_default() {
            self.hide_row(row_id(&name, id));
        }
        if let Some(row) = self.logs.give_back(id) {
            self.board.set_log(row, &LogRow::default());
        }
        let old = self.shown_shares.remove(&id).unwrap_or_default();
        self.hide_shares(id, &old);
    }

    fn hide_shares<'a>(&mut self, log: u64, days: impl IntoIterator<Item = &'a Option<Day>>) {
        for day in days {
            if let Some(row) = self.shares.give_back((log, *day)) {
                self.board.set_share(row, &ShareRow::default());
            }
        }
    }

    /// Shows the days that changed. Returns whether any day may still get lines, as it may from a folder that
    /// cannot be read.
    fn show_days(&mut self, ledger: &Ledger, sums: &mut Sums, unreadable_folders: u64) -> bool {
        let mut changed = sums.take_changed_days();
        self.wrote |= !changed.is_empty();
        if std::mem::take(&mut self.inherited) {
            changed.extend(self.shown_days.keys());
        }
        let mut unsettled = Unsettled::of(ledger, sums);
        unsettled.all |= unreadable_folders > 0;
        for day in changed {
            match sums.day(day) {
                Some(DayNumbers { totals, files, whole, at_least }) => {
                    if whole {
                        self.open_days.remove(&day)
                    } else {
                        self.open_days.insert(day)
                    };
                    self.show_day(DayRow {
                        used: true,
                        day,
                        files,
                        complete: whole && unsettled.settles(day),
                        at_least,
                        totals,
                    });
                }
                None => {
                    self.shown_days.remove(&day);
                    if let Some(row) = self.days.give_back(day) {
                        self.board.set_day(row, &DayRow::default());
                    }
                }
            }
        }
        let settled = |day| unsettled.settles(day) && !self.open_days.contains(&day);
        let turned: Vec<DayRow> =
            self.shown_days.values().filter(|row| row.complete != settled(row.day)).copied().collect();
        for row in turned {
            self.show_day(DayRow { complete: !row.complete, ..row });
        }
        unsettled.all
    }

    fn show_day(&mut self, day: DayRow) {
        self.wrote = true;
        if let Some(row) = self.days.of(day.day) {
            self.board.set_day(row, &day);
            self.shown_days.insert(day.day, day);
        }
    }
}

fn behind((id, log): (u64, &Log)) -> Behind {
    // Of a compressed log, what is counted is not measured in the bytes of its file.
    Behind {
        log: id,
        pending: log.pending(),
        known_to: log.size,
        counted_to: if log.format.is_some() { 0 } else { log.active().content.to },
    }
}

/// The number of a row that is no log's: of a second name of one, or of something that is left out.
fn row_id(name: &[u8], log: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(name, log ^ 0x6c69_6e6b) | 1
}

/// Which days may still get requests from bytes that are known.
struct Unsettled {
    /// True if any day may: a log that was never counted to its end, that cannot be read, or of which no day
    /// is known, may hold lines of any day.
    all: bool,
    days: BTreeSet<Option<Day>>,
}

impl Unsettled {
    fn of(ledger: &Ledger, sums: &Sums) -> Unsettled {
        let mut unsettled = Unsettled { all: false, days: BTreeSet::new() };
        for (id, log) in ledger.logs().filter(|(_, log)| !log.deleted && !log.is_complete()) {
            let is_new =
                !log.is_recounted() && (log.count.content.to == 0 || log.state() == LogState::Counting);
            // Not `pending()`: the bytes of a log that cannot be read are not pending, and their days are
            // unknown.
            unsettled.all |= (is_new || log.unreadable.is_some()) && !log.is_gone() && log.uncounted() > 0;
            let known: Vec<Option<Day>> = sums.days_of(id).into_iter().chain(log.day.map(Some)).collect();
            unsettled.all |= known.is_empty();
            unsettled.days.extend(known);
        }
        unsettled
    }

    fn settles(&self, day: Option<Day>) -> bool {
        !self.all && !self.days.contains(&day)
    }
}
