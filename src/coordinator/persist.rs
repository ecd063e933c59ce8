//! The store as the coordinator's loop sees it: what is taken over, what is written when, which clients are
//! in memory.

mod apart;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use super::ledger::{Ledger, Log};
use super::restore::{Before, Restored, kept_of, meta_of, restore, set_aside};
use super::store_writer::{DayClients, LoadedDays, Report, StoreWriter, StoreWriterError, Task, keep_locked};
use super::sums::{PartKey, Sums};
use super::write_queue::{Todo, WriteQueue};
use crate::board::{Counters, Header};
use crate::config::Settings;
use crate::log::{Day, day_of_name};
use crate::store::{Host, Meta, StoreError, folder, read_meta};
use crate::sys::clock::monotonic_ms;
use crate::sys::memory::give_back;
use crate::sys::state_lock::StateLock;
use crate::tally::{Distinct, Rules};
use apart::{ApartDays, Seen};

/// A write that takes longer is said to hang.
const HANGS_AFTER: Duration = Duration::from_secs(5);
/// What could not be read is tried again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often the memory is measured.
const MEASURE_EVERY: Duration = Duration::from_millis(50);
/// When the daemon stops, so much time is taken to write what is not written.
const FINISH: Duration = Duration::from_millis(1_000);
/// How often it is looked which log waits longest: there may be many.
const OLDEST_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked whether the store is there at all.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// So many bytes of clients are written at once.
const BATCH_BYTES: usize = 16 << 20;
/// So many parts are loaded at once.
const LOADS_MAX: usize = 8;
/// A client in a union takes so many bytes, about, with those who are on their way into it.
const UNITED_CLIENT_BYTES: usize = 48;
/// This part of the budget is for unions in any case.
const UNIONS_SHARE: usize = 8;

/// The store, its writer, and the memory budget.
#[derive(Debug)]
pub struct Persist {
    folder: PathBuf,
    rules: Rules,
    budget: usize,
    writer: StoreWriter,
    queue: WriteQueue,
    /// Partials of other hosts, by the number their logs have here.
    foreign: HashMap<u64, PathBuf>,
    /// How the logs were counted that were counted otherwise than it is done now.
    before: HashMap<u64, Before>,
    loading: HashSet<(u64, Option<Option<Day>>)>,
    /// Those of them that the system could not read, and when they are tried again. `None`: just now.
    unread: HashMap<(u64, Option<Option<Day>>), Option<Instant>>,
    /// Counted up with each write.
    generation: u64,
    stored_at: u64,
    error: i32,
    complained: bool,
    changed: bool,
    pressed: bool,
    measured: Instant,
    apart: ApartDays,
    looked: Instant,
    /// One moment by the clock of this process and by that of all.
    anchor: (Instant, u64),
    /// When it was last looked which log waits longest, and since when it did.
    oldest: Option<(Instant, u64)>,
    /// What was written since this was last asked.
    done: Counters,
}

/// What came of a log whose clients were wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// They are there.
    Loaded,
    /// They cannot be read.
    Damaged,
}

impl Persist {
    /// Takes over what is stored, and starts the store writer.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub fn open(
        settings: &Settings,
        mut lock: StateLock,
        ledger: &mut Ledger,
        sums: &mut Sums,
        beat: impl Fn(),
    ) -> io::Result<Persist> {
        let host =
            Host::new(&settings.host).ok_or_else(|| io::Error::other("the setting host is no plain word"))?;
        if let Err(error) = keep_locked(&mut lock).and_then(|_| folder::open_own(&settings.state, &host)) {
            warn!(%error, "cannot use the store; tallyd tries again with each write");
        }
        let mut queue = WriteQueue::default();
        let Restored { foreign, before } = restore(settings, &host, ledger, sums, &mut queue, beat);
        Ok(Persist {
            rules: settings.rules(),
            budget: settings.memory_budget as usize,
            writer: StoreWriter::start(&settings.state, &host, lock)?,
            folder: folder::of(&settings.state, &host),
            queue,
            foreign,
            before,
            loading: HashSet::new(),
            unread: HashMap::new(),
            // Not 0, and not what a predecessor had: whoever reads the store must look again.
            generation: milliseconds(),
            stored_at: 0,
            error: 0,
            complained: false,
            changed: true,
            pressed: false,
            apart: ApartDays::new(),
            measured: Instant::now(),
            looked: Instant::now(),
            anchor: (Instant::now(), monotonic_ms()),
            oldest: None,
            done: Counters::default(),
        })
    }

    /// Becomes readable when the store writer has done something.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.writer.fd()
    }

    /// When something is due to be written.
    pub fn next_due(&self) -> Option<Instant> {
        if self.writer.is_idle() { self.queue.next_due() } else { None }
    }

    /// Is there more in memory than there should be, and will writing help?
    pub fn is_pressed(&self) -> bool {
        self.pressed && !self.queue.is_failing()
    }

    fn is_failing(&self) -> bool {
        self.queue.is_failing() || !self.unread.is_empty() || self.apart.is_unread()
    }

    /// Has a log been written since then, with all that was known of it then?
    pub fn is_written_since(&self, log: u64, then: Instant) -> bool {
        self.queue.is_written_since(log, then)
    }

    /// Is a log known from another host's partial only?
    pub fn is_foreign(&self, log: u64) -> bool {
        self.foreign.contains_key(&log)
    }

    /// What is to be stored of a log changed, though the log did not.
    pub fn touch(&mut self, log: u64) {
        self.queue.touch(log, Instant::now());
    }

    /// Did what the header says of the store change since this was last asked?
    pub fn take_changed(&mut self) -> bool {
        let hangs = self.writer.at_it_for() > HANGS_AFTER;
        if hangs != (self.error == libc::ETIMEDOUT) {
            self.error = if hangs { libc::ETIMEDOUT } else { 0 };
            self.changed = true;
        }
        std::mem::take(&mut self.changed)
    }

    /// Some logs have changed.
    pub fn note(&mut self, changed: &BTreeSet<u64>, ledger: &Ledger) {
        let now = Instant::now();
        changed.iter().for_each(|id| self.queue.note(*id, ledger.log(*id), now));
    }

    /// A header, with what is to be said of the store.
    pub fn header(&mut self, header: Header) -> Header {
        Header {
            state_error: self.error,
            unstored: self.queue.behind(),
            unstored_since: self.unstored_since(),
            stored: self.generation,
            stored_at: self.stored_at,
            ..header
        }
    }

    /// Since when the log that waits longest has been due to be written, by the clock of all; 0 if none
    /// waits.
    fn unstored_since(&mut self) -> u64 {
        let now = Instant::now();
        if self.queue.behind() == 0 {
            self.oldest = None;
        } else if self.oldest.is_none_or(|(looked, _)| now - looked >= OLDEST_EVERY) {
            let (then, ms) = self.anchor;
            // From one anchor, so that the same moment is the same number each time.
            let by_all = |moment: Instant| match moment.checked_duration_since(then) {
                Some(after) => ms + after.as_millis() as u64,
                None => ms.saturating_sub((then - moment).as_millis() as u64),
            };
            self.oldest = Some((now, self.queue.waiting_since().map_or(0, by_all)));
        }
        self.oldest.map_or(0, |(_, since)| since)
    }

    /// What was written since this was last asked.
    pub fn take_done(&mut self) -> Counters {
        std::mem::take(&mut self.done)
    }

    /// Asks for the clients of an absent log: of one day, or all.
    pub fn load(&mut self, log: u64, day: Option<Option<Day>>) {
        if self.loading.insert((log, day)) {
            self.give_load(log, day);
        }
    }

    fn give_load(&mut self, log: u64, day: Option<Option<Day>>) {
        self.writer.give(Task::Load(partial_of(log, &self.folder, &self.foreign), log, day));
    }

    fn load_again(&mut self, sums: &Sums) {
        let now = Instant::now();
        // Of a log that was counted again, or is no more, nothing is wanted.
        for key in self.unread.extract_if(|(log, _), _| !sums.is_absent(*log)).map(|(key, _)| key) {
            self.loading.remove(&key);
        }
        let due: Vec<_> = self
            .unread
            .iter()
            .filter(|(_, due)| due.is_some_and(|due| due <= now))
            .map(|(key, _)| *key)
            .collect();
        for (log, day) in due {
            self.unread.insert((log, day), None);
            self.give_load(log, day);
        }
    }

    /// Sees to what unions lack.
    fn want(&mut self, ledger: &Ledger, sums: &mut Sums) {
        let Seen { united, mut quiet } = self.apart.see(self.pressed, ledger, sums);
        self.changed |= united;
        self.count_apart(&mut quiet, sums);
        // What is loaded waits in memory until it is taken: so not all at once.
        let free = LOADS_MAX.saturating_sub(self.loading.len() - self.unread.len());
        let wants = |(log, day): &PartKey| {
            !self.loading.contains(&(*log, None)) && !self.loading.contains(&(*log, Some(*day)))
        };
        let wants: Vec<PartKey> = sums.wants().filter(wants).take(free).collect();
        wants.into_iter().for_each(|(log, day)| self.load(log, Some(day)));
    }

    /// Has the store writer count the first of these days, which are apart. Says whether there was anything
    /// to count.
    fn count_apart(&mut self, days: &mut BTreeSet<Option<Day>>, sums: &Sums) -> bool {
        let task = self.apart.ask(days, sums, |log| partial_of(log, &self.folder, &self.foreign));
        let asked = task.is_some();
        task.into_iter().for_each(|task| self.writer.give(task));
        asked
    }

    /// Makes the unions that the stored numbers do not tell. Says which logs are damaged: they are in no
    /// union, and in no sum any more.
    pub fn restore_unions(&mut self, sums: &mut Sums, beat: impl Fn()) -> Vec<u64> {
        let mut left = sums.take_changed_days();
        let (all, mut damaged) = (left.clone(), Vec::new());
        while self.count_apart(&mut left, sums) {
            while !self.writer.is_idle() {
                beat();
                if let Some(Report::United(days, wrong)) = self.writer.wait(Duration::from_millis(500)) {
                    damaged.extend(self.take_unions(&days, wrong, sums));
                    // Those that a damaged log was taken out of.
                    left.extend(sums.take_changed_days());
                }
            }
        }
        all.into_iter().for_each(|day| sums.touch(day));
        damaged
    }

    /// Takes what the store writer has counted of days that are apart. Says which logs are damaged.
    fn take_unions(
        &mut self,
        days: &BTreeMap<Option<Day>, Distinct>,
        wrong: Vec<(u64, StoreWriterError)>,
        sums: &mut Sums,
    ) -> Vec<u64> {
        let (mut unread, mut damaged) = (Vec::new(), Vec::new());
        for (log, error) in wrong {
            match error {
                StoreWriterError::Failed(error) => {
                    unread.push(log);
                    self.note_error(Some(error));
                }
                StoreWriterError::Lost(why) => {
                    if self.lose(log, &why, sums) {
                        sums.remove(log);
                        damaged.push(log);
                    }
                }
            }
        }
        let was_unread = self.apart.is_unread();
        self.apart.take(days, &unread, sums);
        if was_unread && !self.apart.is_unread() {
            self.note_error(None);
        }
        self.changed = true;
        damaged
    }

    /// Takes what the store writer has done. Says of which logs the clients are there now, or cannot be had.
    pub fn hear(&mut self, sums: &mut Sums) -> Vec<(u64, Outcome)> {
        let reports = self.writer.reports();
        reports.into_iter().flat_map(|report| self.take(report, sums)).collect()
    }

    fn take(&mut self, report: Report, sums: &mut Sums) -> Vec<(u64, Outcome)> {
        let now = Instant::now();
        match report {
            Report::Wrote { logs, made } => {
                if made {
                    self.lost_all(|id| logs.iter().any(|(log, _, written)| *log == id && written.is_ok()));
                }
                let mut outcomes = Vec::new();
                for (log, took, written) in logs {
                    self.queue.done(log, took, written.is_ok(), now);
                    self.count(written.is_ok());
                    match written {
                        Ok(()) => self.note_error(None),
                        Err(StoreWriterError::Failed(error)) => self.note_error(Some(error)),
                        Err(StoreWriterError::Lost(why)) => {
                            self.put_aside(log, &why);
                            outcomes.push((log, Outcome::Damaged));
                        }
                    }
                }
                outcomes
            }
            Report::Removed(log, removed) => {
                self.queue.done(log, Duration::ZERO, removed.is_ok(), now);
                self.count(removed.is_ok());
                self.note_error(removed.err());
                Vec::new()
            }
            Report::Looked { made } => {
                if made {
                    self.lost_all(|_| false);
                }
                Vec::new()
            }
            Report::United(days, wrong) => {
                self.take_unions(&days, wrong, sums).into_iter().map(|log| (log, Outcome::Damaged)).collect()
            }
            Report::Loaded(log, day, loaded) => {
                self.take_clients(log, day, loaded, sums).into_iter().map(|outcome| (log, outcome)).collect()
            }
        }
    }

    fn take_clients(
        &mut self,
        log: u64,
        day: Option<Option<Day>>,
        loaded: Result<LoadedDays, StoreWriterError>,
        sums: &mut Sums,
    ) -> Option<Outcome> {
        if let Err(StoreWriterError::Failed(error)) = loaded {
            // What is in it is not known to be wrong.
            if self.unread.insert((log, day), Some(Instant::now() + AGAIN_AFTER)).is_none() {
                warn!(folder = %self.folder.display(), %error, "cannot read the partial of a log; tallyd tries again");
            }
            self.complained = true;
            self.note_error(Some(error));
            return None;
        }
        self.loading.remove(&(log, day));
        self.unread.remove(&(log, day));
        let taken = |days: LoadedDays, sums: &mut Sums| match day {
            None => sums.load(log, days),
            // Of the union that they are for, nothing but a day's row changes.
            Some(_) => days.into_iter().try_for_each(|(day, clients)| sums.fill((log, day), &clients)),
        };
        let loaded = loaded
            .map_err(|error| error.to_string())
            .and_then(|days| taken(days, sums).map_err(|error| error.to_string()));
        Some(match loaded {
            Ok(()) => Outcome::Loaded,
            Err(why) if self.lose(log, &why, sums) => Outcome::Damaged,
            Err(_) => Outcome::Loaded,
        })
    }

    /// The clients of a log cannot be had any more. Says whether that is so: another host's log may have been
    /// stored anew by now, and then it is what is stored.
    fn lose(&mut self, log: u64, why: &str, sums: &mut Sums) -> bool {
        let Some(path) = self.foreign.get(&log) else {
            self.put_aside(log, why);
            return true;
        };
        match File::open(path).map_err(StoreError::from).and_then(read_meta) {
            Ok(meta) if meta.counts() && !sums.is_as(log, &kept_of(&meta)) => {
                info!(path = %path.display(), "another host has replaced a partial; its new numbers count now");
                sums.remove(log);
                sums.restore(log, day_of_name(&meta.name), &kept_of(&meta));
                sums.set_counts(log, true);
                false
            }
            _ => {
                warn!(path = %path.display(), why, "cannot use a partial of another host");
                self.foreign.remove(&log);
                sums.remove(log);
                true
            }
        }
    }

    /// Sets a log's partial aside, if there is one: it was a copy for a while, and those are not stored; or
    /// the folder is gone.
    fn put_aside(&self, log: u64, why: &str) {
        let path = folder::path(&self.folder, log);
        if path.exists() {
            set_aside(&path, why);
        }
    }

    fn lost_all(&mut self, kept: impl Fn(u64) -> bool) {
        warn!(folder = %self.folder.display(), "the store was missing; all partials are written again");
        (self.changed, self.generation) = (true, self.generation + 1);
        self.queue.lost_all(kept, Instant::now());
    }

    fn count(&mut self, well: bool) {
        *if well { &mut self.done.writes } else { &mut self.done.write_failures } += 1;
    }

    fn note_error(&mut self, error: Option<io::Error>) {
        (self.changed, self.generation) = (true, self.generation + 1);
        match error {
            Some(error) => {
                self.error = error.raw_os_error().unwrap_or(libc::EIO);
                if !std::mem::replace(&mut self.complained, true) {
                    warn!(folder = %self.folder.display(), %error, "cannot write the store; counting continues, and tallyd tries again");
                }
            }
            None if !self.is_failing() => {
                self.error = 0;
                if std::mem::take(&mut self.complained) {
                    info!("the store can be used again");
                }
                if self.queue.behind() == 0 {
                    self.stored_at = milliseconds();
                }
            }
            None => {}
        }
    }

    /// Writes what is due, and lets go of clients that are stored if there are too many in memory.
    pub fn save(&mut self, ledger: &mut Ledger, sums: &mut Sums) {
        if self.writer.is_idle() {
            self.give_due(ledger, sums, false);
        }
        self.load_again(sums);
        self.want(ledger, sums);
        if self.complained && !self.is_failing() {
            // What could not be written is not to be written any more, or what could not be read was read.
            self.note_error(None);
        }
        if self.writer.is_idle() && self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            self.writer.give(Task::Look);
        }
        if self.measured.elapsed() < MEASURE_EVERY {
            return;
        }
        self.measured = Instant::now();
        let mut memory = sums.memory();
        self.pressed = memory > self.budget;
        if self.pressed {
            self.evict(memory, ledger, sums);
            let before = std::mem::replace(&mut memory, sums.memory());
            if memory < before {
                give_back();
            }
            self.pressed = memory > self.budget && self.queue.is_writing();
        }
        // Small unions have room even where logs fill the budget.
        let room = self
            .budget
            .saturating_sub(memory)
            .max((self.budget / UNIONS_SHARE).saturating_sub(sums.unions_memory()));
        sums.set_room(((room / UNITED_CLIENT_BYTES) as u64).saturating_sub(sums.lacking()));
    }

    fn give_due(&mut self, ledger: &Ledger, sums: &mut Sums, all: bool) {
        let mut snapshots: Vec<(Meta, Option<DayClients>)> = Vec::new();
        for (id, todo) in self.queue.take_due(Instant::now(), all, BATCH_BYTES, |id| sums.weight_of(id)) {
            match (todo, ledger.log(id)) {
                (Todo::Write, Some(log)) => {
                    let (log, kept) = (&*log.known(), sums.keep(id));
                    let clients = if log.deleted { Some(Vec::new()) } else { kept.clients.clone() };
                    // Until a log is counted again, its numbers are those of the old way, whatever else
                    // changes of it.
                    let before = if log.count.by_other_rules {
                        self.before.get(&id).cloned()
                    } else {
                        self.before.remove(&id).and(None)
                    };
                    let by = before.unwrap_or_else(|| Before::now(self.rules));
                    let mut meta = meta_of(id, log, &kept, by, milliseconds());
                    meta.absorbed.retain(|inner, _| self.queue.may_be_stored(*inner));
                    snapshots.push((meta, clients));
                }
                _ => self.writer.give(Task::Remove(id)),
            }
        }
        if !snapshots.is_empty() {
            self.writer.give(Task::Write(snapshots));
        }
    }

    /// The least recently grown go first.
    fn evict(&mut self, mut memory: usize, ledger: &Ledger, sums: &mut Sums) {
        // What a log was that is being counted again does not change meanwhile.
        let is_quiet = |(_, log): &(u64, &Log)| log.is_gone() || log.pending() == 0 || log.is_recounted();
        let mut logs: Vec<(Instant, u64)> = ledger
            .logs()
            .filter(is_quiet)
            .filter(|(id, _)| self.queue.is_stored(*id) && !sums.is_absent(*id))
            .filter_map(|(id, _)| Some((self.queue.grown(id)?, id)))
            .collect();
        logs.sort_unstable();
        for (_, id) in logs {
            if memory <= self.budget / 4 * 3 {
                return;
            }
            memory = memory.saturating_sub(sums.evict(id));
        }
        let mut unions = sums.unions_memory();
        for day in sums.united() {
            if memory <= self.budget / 4 * 3 || unions <= self.budget / UNIONS_SHARE {
                return;
            }
            let free = sums.shed(day);
            (memory, unions) = (memory.saturating_sub(free), unions.saturating_sub(free));
        }
    }

    /// The daemon stops: writes what can be written in a moment.
    pub fn finish(&mut self, ledger: &mut Ledger, sums: &mut Sums) {
        let end = Instant::now() + FINISH;
        let changed = ledger.take_changed();
        self.note(&changed, ledger);
        loop {
            if self.writer.is_idle() {
                self.give_due(ledger, sums, true);
            }
            let left = end.saturating_duration_since(Instant::now());
            if self.writer.is_idle() || left.is_zero() {
                return;
            }
            if let Some(report) = self.writer.wait(left) {
                self.take(report, sums);
            }
        }
    }
}

/// Where what is stored of a log is: it may be another host's.
fn partial_of(log: u64, own: &Path, foreign: &HashMap<u64, PathBuf>) -> PathBuf {
    foreign.get(&log).cloned().unwrap_or_else(|| folder::path(own, log))
}

fn milliseconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64)
}
