//! Which logs there are, which of their bytes have been counted, which must be.
//!
//! Pure: what is found, answered and lost goes in, jobs come out. No clock, no file, no socket, and no numbers of what was counted.
//! The invariant everything rests on: of one generation of a log, each byte is in exactly one of *counted up to*, *a range to do*, *a range in flight*, *a range done*,
//! *quarantined*, or *not planned yet*; and only an answer to the flight itself makes it done.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use super::scan::Found;
use crate::board::LogState;
use crate::job::{Hang, Job};
use crate::log::{Day, day_of_name};
use crate::range::{Io, LastLine, Range, Sample};
use crate::sys::process::Death;

/// A range that still ends every worker when it is no longer than this is given up.
const QUARANTINE_BYTES: u64 = 4096;
/// So many kills from outside in a row on one range are no chance any more.
const KILLS_MAX: u32 = 5;

/// Why a range is not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It ended each worker that tried, by this signal or exit code.
    Crash(Death),
    /// Each worker that tried hung.
    Hang,
    /// It cannot be read: the system's error number.
    Unreadable(i32),
    /// No worker gave a result that could be taken.
    Refused,
}

/// What a lost flight says of its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blame {
    /// Nothing: the worker died for another reason.
    Nobody,
    /// Perhaps something, if it happens again and again.
    Chance(Reason),
    /// Its own doing ended the worker.
    Range(Reason),
}

/// What has happened to a log's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// They are void: it is counted again from its start, or not at all.
    Void(u64),
    /// Its name has changed.
    Renamed(u64),
    /// It was written to and is as long as before: it may be another content.
    Doubt(u64),
}

/// A log.
#[derive(Debug)]
pub struct Log {
    /// Its name as reported.
    pub name: Vec<u8>,
    /// Where it is.
    pub path: PathBuf,
    /// Device and inode.
    pub file: (u64, u64),
    /// The day in its name.
    pub day: Option<Day>,
    /// Its size when it was last looked at.
    pub size: u64,
    /// When it was last changed.
    pub changed: Duration,
    /// A higher number is another content.
    pub generation: u64,
    /// Up to where every line is counted or quarantined.
    pub counted_to: u64,
    /// What could not be counted.
    pub quarantine: Vec<(Range, Reason)>,
    /// It cannot be opened: the system's error number.
    pub unreadable: Option<i32>,
    gone: bool,
    is_final: bool,
    /// Has it ever been counted up to its end?
    caught_up: bool,
    /// The size at which its last line was found to be unfinished.
    held_at: Option<u64>,
    /// Was an unfinished last line counted?
    unterminated: bool,
    /// The last bytes looked at before `counted_to`.
    anchor: Option<Sample>,
    plan: Option<Plan>,
}

/// The bytes of a log that are being counted.
#[derive(Debug)]
struct Plan {
    to: u64,
    last: LastLine,
    todo: VecDeque<Work>,
    /// Ranges to do and in flight.
    open: usize,
    open_bytes: u64,
    end: u64,
    held: bool,
    unterminated: bool,
    anchor: Option<Sample>,
}

/// A range to count, and what has befallen it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Work {
    range: Range,
    /// How often it ended a worker.
    strikes: u32,
    /// How often in a row its worker was killed from outside.
    kills: u32,
}

/// A job that a worker has.
#[derive(Debug)]
struct Flight {
    log: u64,
    generation: u64,
    work: Work,
}

/// A job to give out.
#[derive(Debug)]
pub struct Dispatch {
    /// The job.
    pub job: Job,
    /// The log's path.
    pub path: PathBuf,
    /// The file that must be there.
    pub file: (u64, u64),
    /// What must still stand in it, or it is another content.
    pub anchor: Option<Sample>,
}

/// What a result says of its range, beside the numbers.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// See [`crate::range::Counted::end`].
    pub end: u64,
    /// See [`crate::range::Counted::held`].
    pub held: bool,
    /// See [`crate::range::Counted::unterminated`].
    pub unterminated: bool,
    /// The last bytes that were looked at.
    pub tail: Sample,
}

/// Turns come in this order: tails of logs that were caught up, then the newest days, then the rest.
type Turn = (bool, Reverse<Option<Day>>, u64);

/// All logs.
#[derive(Debug)]
pub struct Ledger {
    range_bytes: u64,
    io: Io,
    final_after: Duration,
    logs: BTreeMap<u64, Log>,
    /// Ids that a name and a file had under an earlier coordinator.
    known: HashMap<(Vec<u8>, (u64, u64)), u64>,
    turns: BTreeSet<Turn>,
    flights: HashMap<u64, Flight>,
    jobs: u64,
    changed: BTreeSet<u64>,
    events: Vec<Event>,
}

impl Ledger {
    /// A ledger without logs. `known` are ids that names and files had before, to be given to them again.
    pub fn new(range_bytes: u64, io: Io, final_after: Duration, known: HashMap<(Vec<u8>, (u64, u64)), u64>) -> Ledger {
        let (logs, turns, flights) = (BTreeMap::new(), BTreeSet::new(), HashMap::new());
        Ledger { range_bytes, io, final_after, logs, known, turns, flights, jobs: 0, changed: BTreeSet::new(), events: Vec::new() }
    }

    /// A log by its id.
    pub fn log(&self, id: u64) -> Option<&Log> {
        self.logs.get(&id)
    }

    /// All logs by their ids.
    pub fn logs(&self) -> impl Iterator<Item = (u64, &Log)> {
        self.logs.iter().map(|(id, log)| (*id, log))
    }

    /// The logs of which something changed since this was last asked; those that are no more are among them.
    pub fn take_changed(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.changed)
    }

    /// What happened to numbers since this was last asked, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The folders were looked at: `found` is in them, at the time `now`. With `whole` false, a folder could not be read, so what was not found is not gone.
    pub fn see(&mut self, found: &[Found], whole: bool, now: Duration) {
        let places: HashMap<(u64, u64), u64> = self.logs.iter().filter(|(_, log)| !log.gone).map(|(id, log)| (log.file, *id)).collect();
        let names: HashSet<(&[u8], (u64, u64))> = found.iter().map(|found| (&found.name[..], found.file)).collect();
        let mut seen = HashSet::new();
        // First the files that are known, whatever their names are now. A second name of one of them says nothing new.
        for found in found {
            if let Some(&id) = places.get(&found.file)
                && let Some(log) = self.logs.get_mut(&id)
            {
                let renamed = log.name != found.name && !names.contains(&(&log.name[..], log.file));
                if seen.insert(id) || renamed {
                    self.see_again(id, found, renamed);
                }
            }
        }
        if whole {
            let gone: Vec<u64> = self.logs.iter().filter(|(id, log)| !log.gone && !seen.contains(id)).map(|(id, _)| *id).collect();
            gone.into_iter().for_each(|id| self.lose(id));
        }
        let mut new = HashSet::new();
        for found in found.iter().filter(|found| !places.contains_key(&found.file)) {
            if new.insert(found.file) {
                self.see_new(found);
            }
        }
        let ids: Vec<u64> = self.logs.keys().copied().collect();
        ids.into_iter().for_each(|id| self.consider(id, now));
    }

    fn see_again(&mut self, id: u64, found: &Found, renamed: bool) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        if renamed {
            let waiting = self.turns.remove(&turn(id, log));
            (log.name, log.path, log.day) = (found.name.clone(), found.path.clone(), day_of_name(&found.name));
            if waiting {
                self.turns.insert(turn(id, log));
            }
            self.events.push(Event::Renamed(id));
            self.changed.insert(id);
        }
        log.unreadable = None;
        if (log.size, log.changed) != (found.size, found.changed) {
            if log.size == found.size && log.anchor.is_some() {
                self.events.push(Event::Doubt(id));
            }
            (log.size, log.changed) = (found.size, found.changed);
            self.changed.insert(id);
        }
        let goes_on = log.unterminated && found.size > log.counted_to;
        if found.size < log.counted_to.max(log.plan.as_ref().map_or(0, |plan| plan.to)) || goes_on {
            self.void(id);
        }
    }

    /// A log is no longer in the folder. What was counted of it stays.
    fn lose(&mut self, id: u64) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        self.turns.remove(&turn(id, log));
        log.gone = true;
        log.plan = None;
        self.changed.insert(id);
    }

    fn see_new(&mut self, found: &Found) {
        let day = day_of_name(&found.name);
        // Under a name with a date, new content replaces what the name held before. Under a name without one, the old lines were counted and stay.
        let before: Vec<u64> = self.logs.iter().filter(|(_, log)| log.gone && log.name == found.name).map(|(id, _)| *id).collect();
        for id in before.into_iter().filter(|_| day.is_some()) {
            self.logs.remove(&id);
            self.changed.insert(id);
            self.events.push(Event::Void(id));
        }
        let id = self.known.remove(&(found.name.clone(), found.file)).unwrap_or_else(|| self.new_id(found));
        let log = Log {
            name: found.name.clone(),
            path: found.path.clone(),
            file: found.file,
            day,
            size: found.size,
            changed: found.changed,
            generation: 0,
            counted_to: 0,
            quarantine: Vec::new(),
            unreadable: None,
            gone: false,
            is_final: false,
            caught_up: false,
            held_at: None,
            unterminated: false,
            anchor: None,
            plan: None,
        };
        self.logs.insert(id, log);
        self.changed.insert(id);
    }

    fn new_id(&self, found: &Found) -> u64 {
        let mut bytes = found.name.clone();
        bytes.extend_from_slice(&found.file.0.to_le_bytes());
        bytes.extend_from_slice(&found.file.1.to_le_bytes());
        let taken = |id: &u64| *id == 0 || self.logs.contains_key(id) || self.known.values().any(|known| known == id);
        let mut id = xxhash_rust::xxh3::xxh3_64(&bytes);
        while taken(&id) {
            id = id.wrapping_add(1);
        }
        id
    }

    /// Plans what there is to count of a log.
    fn consider(&mut self, id: u64, now: Duration) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let is_final = now.saturating_sub(log.changed) >= self.final_after;
        if log.is_final != is_final {
            log.is_final = is_final;
            self.changed.insert(id);
        }
        if log.gone || log.plan.is_some() {
            return;
        }
        // A line that is held back is looked at again when there is more of it, or when there will be no more.
        let waits = log.held_at.is_some_and(|size| log.size <= size) && !is_final;
        match Range::new(log.counted_to, log.size) {
            Some(range) if !waits => {
                let todo: VecDeque<Work> = range.cut(self.range_bytes).map(|range| Work { range, strikes: 0, kills: 0 }).collect();
                log.plan = Some(Plan {
                    to: range.to(),
                    last: if is_final { LastLine::Count } else { LastLine::Hold },
                    open: todo.len(),
                    open_bytes: range.len(),
                    todo,
                    end: log.counted_to,
                    held: false,
                    unterminated: false,
                    anchor: log.anchor,
                });
                self.turns.insert(turn(id, log));
            }
            Some(_) => {}
            None => log.caught_up = true,
        }
    }

    /// The next job, if there is one.
    pub fn next_job(&mut self) -> Option<Dispatch> {
        let turn = *self.turns.first()?;
        let log = self.logs.get_mut(&turn.2)?;
        let plan = log.plan.as_mut()?;
        let work = plan.todo.pop_front()?;
        if plan.todo.is_empty() {
            self.turns.remove(&turn);
        }
        self.jobs += 1;
        let io = if work.strikes > 0 { Io::Read } else { self.io };
        let job = Job { number: self.jobs, log: turn.2, generation: log.generation, range: work.range, io, last: plan.last };
        self.flights.insert(self.jobs, Flight { log: turn.2, generation: log.generation, work });
        Some(Dispatch { job, path: log.path.clone(), file: log.file, anchor: log.anchor })
    }

    /// Is the job's log still the content it was given out for?
    pub fn is_current(&self, job: &Job) -> bool {
        self.logs.get(&job.log).is_some_and(|log| log.generation == job.generation && !log.gone)
    }

    /// A job was counted and its numbers taken.
    pub fn done(&mut self, number: u64, done: &Done, now: Duration) {
        let Some((id, work)) = self.land(number) else { return };
        self.close(id, work, Some(done), now);
    }

    /// A job's worker died.
    pub fn lost(&mut self, number: u64, death: Death, hung: Option<Hang>, now: Duration) {
        match blame(death, hung) {
            Blame::Nobody => self.again(number, |_| {}),
            Blame::Chance(reason) => self.kill(number, reason, now),
            Blame::Range(reason) => self.strike(number, reason, now),
        }
    }

    /// A job's result could not be taken.
    pub fn refused(&mut self, number: u64, now: Duration) {
        self.kill(number, Reason::Refused, now);
    }

    /// A job's bytes could not be read.
    pub fn failed(&mut self, number: u64, errno: i32, now: Duration) {
        self.strike(number, Reason::Unreadable(errno), now);
    }

    /// A job could not be given out after all.
    pub fn put_back(&mut self, number: u64) {
        self.again(number, |_| {});
    }

    /// A job's log cannot be opened. It is tried again when the folder is next looked at.
    pub fn cannot_open(&mut self, number: u64, errno: i32) {
        let Some(Flight { log: id, .. }) = self.flights.remove(&number) else { return };
        let Some(log) = self.logs.get_mut(&id) else { return };
        self.turns.remove(&turn(id, log));
        log.plan = None;
        log.unreadable = Some(errno);
        // Ranges of this plan that are in flight would be merged into a plan that no longer knows them.
        if log.generation_in_use(&self.flights, id) {
            self.void(id);
        }
        self.changed.insert(id);
    }

    /// A job's log is not what it was when it was counted.
    pub fn void_of(&mut self, number: u64) {
        if let Some((id, _)) = self.land(number) {
            self.void(id);
        }
    }

    /// A log's numbers are void: its content is another one. Its bytes are planned anew when the folder is next looked at.
    pub fn void(&mut self, id: u64) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        self.turns.remove(&turn(id, log));
        log.generation += 1;
        log.counted_to = 0;
        (log.plan, log.anchor, log.held_at) = (None, None, None);
        (log.unterminated, log.caught_up) = (false, false);
        log.quarantine.clear();
        self.changed.insert(id);
        self.events.push(Event::Void(id));
    }

    /// Takes a flight off the list: its log and work, if that is still what they were.
    fn land(&mut self, number: u64) -> Option<(u64, Work)> {
        let flight = self.flights.remove(&number)?;
        let log = self.logs.get(&flight.log)?;
        (log.generation == flight.generation && log.plan.is_some()).then_some((flight.log, flight.work))
    }

    fn again(&mut self, number: u64, note: impl Fn(&mut Work)) {
        let Some((id, mut work)) = self.land(number) else { return };
        note(&mut work);
        self.put(id, work);
    }

    fn put(&mut self, id: u64, work: Work) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        if let Some(plan) = &mut log.plan {
            plan.todo.push_front(work);
            self.turns.insert(turn(id, log));
        }
    }

    fn kill(&mut self, number: u64, reason: Reason, now: Duration) {
        match self.flights.get_mut(&number) {
            Some(flight) if flight.work.kills + 1 >= KILLS_MAX => {
                flight.work.kills = 0;
                self.strike(number, reason, now);
            }
            _ => self.again(number, |work| work.kills += 1),
        }
    }

    /// The first strike: again, read instead of mapped. The next: in halves. At last: quarantine.
    fn strike(&mut self, number: u64, reason: Reason, now: Duration) {
        let Some((id, mut work)) = self.land(number) else { return };
        work.strikes += 1;
        if work.strikes == 1 {
            return self.put(id, work);
        }
        match work.range.halves() {
            Some((one, two)) if work.range.len() > QUARANTINE_BYTES => {
                if let Some(plan) = self.logs.get_mut(&id).and_then(|log| log.plan.as_mut()) {
                    plan.open += 1;
                }
                for range in [two, one] {
                    self.put(id, Work { range, strikes: 1, kills: 0 });
                }
            }
            _ => {
                if let Some(log) = self.logs.get_mut(&id) {
                    log.quarantine.push((work.range, reason));
                }
                self.close(id, work, None, now);
            }
        }
    }

    /// A range is through, counted or given up. The last one of a plan ends it.
    fn close(&mut self, id: u64, work: Work, done: Option<&Done>, now: Duration) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let Some(plan) = &mut log.plan else { return };
        self.changed.insert(id);
        plan.open -= 1;
        plan.open_bytes -= work.range.len();
        match done {
            // A held line starts before everything that is not counted.
            Some(done) if done.held => (plan.held, plan.end) = (true, done.end),
            Some(done) if !plan.held => plan.end = plan.end.max(done.end),
            Some(_) => {}
            // Lines that start in a quarantined range are not counted; those that follow are found from its end.
            None if !plan.held => plan.end = plan.end.max(work.range.to()),
            None => {}
        }
        if let Some(done) = done {
            plan.unterminated |= done.unterminated;
            let reach = |sample: &Sample| sample.at + u64::from(sample.length);
            if plan.anchor.as_ref().is_none_or(|anchor| reach(anchor) < reach(&done.tail)) {
                plan.anchor = Some(done.tail);
            }
        }
        if plan.open > 0 {
            return;
        }
        let reach = plan.anchor.map_or(0, |anchor| anchor.at + u64::from(anchor.length)).max(plan.to);
        (log.counted_to, log.anchor, log.unterminated) = (plan.end, plan.anchor, plan.unterminated);
        log.held_at = plan.held.then_some(reach);
        log.size = log.size.max(reach);
        log.plan = None;
        log.caught_up |= log.pending() == 0;
        self.consider(id, now);
    }
}

impl Log {
    /// What it is to the daemon.
    pub fn state(&self) -> LogState {
        match self {
            Log { gone: true, .. } => LogState::Gone,
            Log { caught_up: false, .. } => LogState::Counting,
            Log { is_final: true, .. } => LogState::Final,
            _ => LogState::Live,
        }
    }

    /// Is all of it in the numbers?
    pub fn is_complete(&self) -> bool {
        self.caught_up && self.pending() == 0 && self.quarantine.is_empty() && self.unreadable.is_none()
    }

    /// Bytes that are known and not counted. A line that is held back is not among them, nor is what cannot be read.
    pub fn pending(&self) -> u64 {
        match &self.plan {
            _ if self.gone || self.unreadable.is_some() => 0,
            Some(plan) => plan.open_bytes + self.size.saturating_sub(plan.to),
            None => self.size.saturating_sub(self.held_at.unwrap_or(0).max(self.counted_to)),
        }
    }

    /// Does the file still hold what was last counted of it?
    pub fn holds(&self, file: &std::fs::File) -> std::io::Result<bool> {
        self.anchor.map_or(Ok(true), |anchor| anchor.holds(file))
    }

    fn generation_in_use(&self, flights: &HashMap<u64, Flight>, id: u64) -> bool {
        flights.values().any(|flight| flight.log == id && flight.generation == self.generation)
    }
}

fn turn(id: u64, log: &Log) -> Turn {
    (!log.caught_up, Reverse(log.day), id)
}

fn blame(death: Death, hung: Option<Hang>) -> Blame {
    match (hung, death) {
        (Some(Hang::Busy), _) => Blame::Range(Reason::Hang),
        // It was stopped, or waited for a disk.
        (Some(Hang::Still), _) => Blame::Nobody,
        (None, Death::Signal(libc::SIGSEGV | libc::SIGBUS | libc::SIGABRT | libc::SIGSYS | libc::SIGILL | libc::SIGFPE)) => Blame::Range(Reason::Crash(death)),
        // The exit code of a panic.
        (None, Death::Exit(101)) => Blame::Range(Reason::Crash(death)),
        // From outside, or for want of memory.
        (None, Death::Signal(libc::SIGKILL)) => Blame::Chance(Reason::Crash(death)),
        (None, _) => Blame::Nobody,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const FINAL_AFTER: Duration = Duration::from_secs(300);
    /// A time at which nothing that was changed at its own time is final yet.
    const NOW: Duration = Duration::from_secs(1_000_000);

    fn ledger() -> Ledger {
        Ledger::new(MIB, Io::Auto, FINAL_AFTER, HashMap::new())
    }

    fn found(name: &str, inode: u64, size: u64) -> Found {
        Found { name: name.into(), path: name.into(), file: (1, inode), size, changed: NOW }
    }

    fn tail(to: u64) -> Sample {
        Sample { at: to - 1, length: 1, hash: 0 }
    }

    /// Every line ends where its range does.
    fn whole(job: &Job) -> Done {
        Done { end: job.range.to(), held: false, unterminated: false, tail: tail(job.range.to()) }
    }

    fn jobs(ledger: &mut Ledger) -> Vec<Job> {
        std::iter::from_fn(|| ledger.next_job()).map(|dispatch| dispatch.job).collect()
    }

    fn count_all(ledger: &mut Ledger) {
        for job in jobs(ledger) {
            ledger.done(job.number, &whole(&job), NOW);
        }
    }

    fn only(ledger: &Ledger) -> &Log {
        let mut logs = ledger.logs();
        let (_, log) = logs.next().unwrap();
        assert!(logs.next().is_none());
        log
    }

    #[test]
    fn a_log_is_cut_into_ranges_and_counted_once() {
        let mut ledger = ledger();
        ledger.see(&[found("a", 1, 5 * MIB + 7)], true, NOW);
        assert_eq!(only(&ledger).pending(), 5 * MIB + 7);
        let jobs = jobs(&mut ledger);
        let ranges: Vec<_> = jobs.iter().map(|job| (job.range.from(), job.range.to())).collect();
        let wants: Vec<_> = (0..6).map(|at| (at * MIB, ((at + 1) * MIB).min(5 * MIB + 7))).collect();
        assert_eq!(ranges, wants);
        for job in &jobs {
            assert!(!only(&ledger).is_complete());
            ledger.done(job.number, &whole(job), NOW);
            ledger.done(job.number, &whole(job), NOW); // said twice, done once
        }
        assert_eq!((only(&ledger).counted_to, only(&ledger).pending(), only(&ledger).state()), (5 * MIB + 7, 0, LogState::Live));
        assert!(only(&ledger).is_complete());
        ledger.see(&[found("a", 1, 5 * MIB + 7)], true, NOW);
        assert!(ledger.next_job().is_none());
    }

    #[test]
    fn tails_come_first_then_the_newest_days() {
        let mut ledger = ledger();
        ledger.see(&[found("old.log", 1, 10)], true, NOW);
        count_all(&mut ledger);
        ledger.see(&[found("20210301.log", 2, 10), found("20210302.log", 3, 10), found("old.log", 1, 20), found("x.log", 4, 10)], true, NOW);
        let order: Vec<Vec<u8>> = jobs(&mut ledger).iter().map(|job| ledger.log(job.log).unwrap().name.clone()).collect();
        assert_eq!(order, [&b"old.log"[..], b"20210302.log", b"20210301.log", b"x.log"]);
    }

    #[test]
    fn a_half_line_waits_for_more_or_for_the_end() {
        let mut ledger = ledger();
        ledger.see(&[found("a", 1, 100)], true, NOW);
        let job = jobs(&mut ledger)[0];
        ledger.done(job.number, &Done { end: 60, held: true, unterminated: false, tail: tail(100) }, NOW);
        assert_eq!((only(&ledger).counted_to, only(&ledger).pending()), (60, 0));
        ledger.see(&[found("a", 1, 100)], true, NOW);
        assert!(ledger.next_job().is_none());
        // More of it: from its start.
        ledger.see(&[found("a", 1, 120)], true, NOW);
        let job = jobs(&mut ledger)[0];
        assert_eq!((job.range.from(), job.range.to(), job.last), (60, 120, LastLine::Hold));
        ledger.done(job.number, &Done { end: 60, held: true, unterminated: false, tail: tail(120) }, NOW);
        // No more of it for long: it counts.
        ledger.see(&[found("a", 1, 120)], true, NOW + FINAL_AFTER);
        let job = jobs(&mut ledger)[0];
        assert_eq!((job.range.from(), job.last), (60, LastLine::Count));
        ledger.done(job.number, &Done { end: 120, held: false, unterminated: true, tail: tail(120) }, NOW + FINAL_AFTER);
        assert_eq!((only(&ledger).counted_to, only(&ledger).state()), (120, LogState::Final));
        assert!(ledger.take_events().is_empty());
        // It goes on after all: half of it was counted as a line, so everything is counted again.
        ledger.see(&[found("a", 1, 130)], true, NOW + FINAL_AFTER);
        assert!(matches!(ledger.take_events()[..], [Event::Void(_)]));
        assert_eq!(jobs(&mut ledger)[0].range.from(), 0);
    }

    #[test]
    fn a_line_across_ranges_that_does_not_end_is_held_where_it_starts() {
        let mut ledger = ledger();
        ledger.see(&[found("a", 1, 3 * MIB)], true, NOW);
        let jobs = jobs(&mut ledger);
        // The last range holds no line start, the middle one holds the start of the unfinished line; they are answered in any order.
        ledger.done(jobs[2].number, &Done { end: 2 * MIB, held: false, unterminated: false, tail: tail(3 * MIB) }, NOW);
        ledger.done(jobs[1].number, &Done { end: MIB + 5, held: true, unterminated: false, tail: tail(3 * MIB) }, NOW);
        ledger.done(jobs[0].number, &whole(&jobs[0]), NOW);
        assert_eq!((only(&ledger).counted_to, only(&ledger).pending()), (MIB + 5, 0));
    }

    #[test]
    fn a_shorter_log_is_counted_again_and_old_answers_count_nothing() {
        let mut ledger = ledger();
        ledger.see(&[found("20210322.log", 1, 3 * MIB)], true, NOW);
        let old = jobs(&mut ledger);
        ledger.done(old[0].number, &whole(&old[0]), NOW);
        ledger.see(&[found("20210322.log", 1, 10)], true, NOW);
        assert!(matches!(ledger.take_events()[..], [Event::Void(_)]));
        assert!(!ledger.is_current(&old[1]));
        ledger.done(old[1].number, &whole(&old[1]), NOW);
        ledger.lost(old[2].number, Death::Signal(libc::SIGBUS), None, NOW);
        let new = jobs(&mut ledger);
        assert_eq!(new.iter().map(|job| (job.range.from(), job.range.to(), job.generation)).collect::<Vec<_>>(), [(0, 10, 1)]);
        ledger.done(new[0].number, &whole(&new[0]), NOW);
        assert_eq!(only(&ledger).counted_to, 10);
    }

    #[test]
    fn a_log_that_was_written_to_and_is_as_long_is_doubted() {
        let mut ledger = ledger();
        ledger.see(&[found("a", 1, 10)], true, NOW);
        count_all(&mut ledger);
        ledger.see(&[Found { changed: NOW + Duration::from_secs(1), ..found("a", 1, 10) }], true, NOW);
        assert!(matches!(ledger.take_events()[..], [Event::Doubt(_)]));
    }

    #[test]
    fn names_come_and_go() {
        let mut ledger = ledger();
        ledger.see(&[found("access.log", 1, 10), found("20210322.log", 2, 10)], true, NOW);
        count_all(&mut ledger);
        let ids: HashMap<Vec<u8>, u64> = ledger.logs().map(|(id, log)| (log.name.clone(), id)).collect();
        // Rotated: the name has new content, the old content a new name.
        ledger.see(&[found("access.log", 3, 5), found("access.log.1", 1, 10), found("20210322.log", 2, 10)], true, NOW);
        assert_eq!(ledger.take_events(), [Event::Renamed(ids[&b"access.log"[..]])]);
        assert_eq!(jobs(&mut ledger).len(), 1);
        // A second name of a file that is there says nothing.
        ledger.see(&[found("access.log", 3, 5), found("access.log.1", 1, 10), found("another", 1, 10), found("20210322.log", 2, 10)], true, NOW);
        assert_eq!((ledger.logs().count(), ledger.take_events()), (3, vec![]));
        // A folder that cannot be read loses nothing.
        ledger.see(&[], false, NOW);
        assert!(ledger.logs().all(|(_, log)| log.state() != LogState::Gone));
        // Gone, numbers kept; under a name with a date, new content replaces them.
        ledger.see(&[], true, NOW);
        assert!(ledger.logs().all(|(_, log)| log.state() == LogState::Gone && log.pending() == 0));
        ledger.see(&[found("access.log", 7, 10), found("20210322.log", 8, 10)], true, NOW);
        assert_eq!(ledger.take_events(), [Event::Void(ids[&b"20210322.log"[..]])]);
        assert_eq!(ledger.logs().count(), 4);
    }

    #[test]
    fn a_known_name_and_file_gets_its_id_again() {
        let known = HashMap::from([((b"a".to_vec(), (1, 1)), 42), ((b"b".to_vec(), (1, 9)), 43)]);
        let mut ledger = Ledger::new(MIB, Io::Auto, FINAL_AFTER, known);
        ledger.see(&[found("a", 1, 10), found("b", 2, 10)], true, NOW);
        let ids: Vec<u64> = ledger.logs().map(|(id, _)| id).collect();
        assert!(ids.contains(&42) && !ids.contains(&43));
    }

    /// Fails the range with the byte 0 until it is given up; says how often it was tried and how.
    fn fail_until_given_up(fail: impl Fn(&mut Ledger, &Job)) -> (Ledger, Vec<(u64, Io)>) {
        let mut ledger = ledger();
        ledger.see(&[found("a", 1, MIB)], true, NOW);
        let mut tries = Vec::new();
        while let Some(Dispatch { job, .. }) = ledger.next_job() {
            assert!(tries.len() < 1_000);
            if job.range.from() == 0 {
                tries.push((job.range.len(), job.io));
                fail(&mut ledger, &job);
            } else {
                ledger.done(job.number, &whole(&job), NOW);
            }
        }
        (ledger, tries)
    }

    #[test]
    fn a_range_that_kills_is_read_then_halved_then_given_up() {
        let crash = Death::Signal(libc::SIGSEGV);
        let (ledger, tries) = fail_until_given_up(|ledger, job| ledger.lost(job.number, crash, None, NOW));
        let mut wants = vec![(MIB, Io::Auto), (MIB, Io::Read)];
        wants.extend((1..=8).map(|half| (MIB >> half, Io::Read)));
        assert_eq!(tries, wants);
        let log = only(&ledger);
        assert_eq!(log.quarantine, [(Range::new(0, 4096).unwrap(), Reason::Crash(crash))]);
        assert_eq!((log.counted_to, log.pending(), log.is_complete()), (MIB, 0, false));
    }

    #[test]
    fn blame_needs_a_reason() {
        let cases = [
            (Death::Signal(libc::SIGBUS), None, 10),
            (Death::Signal(libc::SIGABRT), None, 10),
            (Death::Signal(libc::SIGSYS), None, 10),
            (Death::Exit(101), None, 10),
            (Death::Signal(libc::SIGKILL), Some(Hang::Busy), 10),
            // From outside: five times as often before it is believed.
            (Death::Signal(libc::SIGKILL), None, 50),
        ];
        for (death, hung, tries) in cases {
            assert_eq!(fail_until_given_up(|ledger, job| ledger.lost(job.number, death, hung, NOW)).1.len(), tries, "{death} {hung:?}");
        }
        assert_eq!(fail_until_given_up(|ledger, job| ledger.failed(job.number, libc::EIO, NOW)).1.len(), 10);
        assert_eq!(fail_until_given_up(|ledger, job| ledger.refused(job.number, NOW)).1.len(), 50);
        // Never believed.
        for (death, hung) in [(Death::Signal(libc::SIGKILL), Some(Hang::Still)), (Death::Signal(libc::SIGTERM), None), (Death::Exit(0), None)] {
            assert_eq!(blame(death, hung), Blame::Nobody);
        }
    }

    #[test]
    fn kills_from_outside_are_forgotten_when_the_range_is_counted() {
        let mut ledger = ledger();
        for round in 0..20 {
            ledger.see(&[found("a", 1, 10 * (round + 1))], true, NOW);
            for _ in 0..4 {
                let job = jobs(&mut ledger)[0];
                ledger.lost(job.number, Death::Signal(libc::SIGKILL), None, NOW);
            }
            count_all(&mut ledger);
        }
        assert_eq!((only(&ledger).counted_to, only(&ledger).is_complete()), (200, true));
    }

    #[test]
    fn a_log_that_cannot_be_opened_holds_nothing_up() {
        let mut ledger = ledger();
        ledger.see(&[found("a", 1, 10), found("b", 2, 10)], true, NOW);
        let jobs = jobs(&mut ledger);
        ledger.cannot_open(jobs[0].number, libc::EACCES);
        ledger.done(jobs[1].number, &whole(&jobs[1]), NOW);
        let log = ledger.log(jobs[0].log).unwrap();
        assert_eq!((log.pending(), log.is_complete(), log.unreadable), (0, false, Some(libc::EACCES)));
        ledger.see(&[found("a", 1, 10), found("b", 2, 10)], true, NOW);
        count_all(&mut ledger);
        assert!(ledger.logs().all(|(_, log)| log.is_complete()));
    }

    /// Random growth, truncation, renaming, deaths and answers in any order: of each generation of each log, no line is counted twice, and in the end none is missing.
    #[test]
    fn whatever_happens_each_line_counts_once() {
        for seed in 1..300 {
            let mut world = World::new(seed);
            for _ in 0..200 {
                world.step();
            }
            world.settle();
        }
    }

    /// Files of lines of 16 bytes but for the last, a ledger, and what was merged.
    struct World {
        seed: u64,
        random: u64,
        ledger: Ledger,
        files: Vec<Found>,
        inodes: u64,
        flying: Vec<Job>,
        /// By log: which lines were counted, by their starts.
        merged: HashMap<u64, BTreeSet<u64>>,
        now: Duration,
    }

    const LINE: u64 = 16;

    impl World {
        fn new(seed: u64) -> World {
            let ledger = Ledger::new(64, Io::Auto, FINAL_AFTER, HashMap::new());
            World { seed, random: seed * 2 + 1, ledger, files: Vec::new(), inodes: 0, flying: Vec::new(), merged: HashMap::new(), now: NOW }
        }

        fn below(&mut self, most: u64) -> u64 {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            self.random % most
        }

        fn step(&mut self) {
            let (at, amount) = (self.below(4) as usize, self.below(300));
            match self.below(12) {
                0 if self.files.len() < 4 => {
                    self.inodes += 1;
                    let name = format!("{}{:02}", ["a", "202103"][self.inodes as usize % 2], self.inodes);
                    self.files.push(Found { changed: self.now, ..found(&name, self.inodes, amount) });
                }
                1 | 2 if at < self.files.len() => {
                    self.files[at].size += amount;
                    self.files[at].changed = self.now;
                }
                3 if at < self.files.len() && amount < 40 => {
                    self.files[at].size = self.files[at].size.min(amount);
                    self.files[at].changed = self.now;
                }
                4 if at < self.files.len() => self.files[at].name.push(b'x'),
                5 if at < self.files.len() && amount < 30 => drop(self.files.remove(at)),
                6 => self.now += Duration::from_secs(amount),
                7 => self.see(),
                _ => self.work(),
            }
        }

        fn see(&mut self) {
            self.ledger.see(&self.files.clone(), true, self.now);
            self.follow();
        }

        fn follow(&mut self) {
            for event in self.ledger.take_events() {
                if let Event::Void(id) = event {
                    self.merged.remove(&id);
                }
            }
        }

        fn work(&mut self) {
            if self.flying.len() < 3 {
                self.flying.extend(self.ledger.next_job().map(|dispatch| dispatch.job));
            }
            if self.flying.is_empty() || self.below(2) == 0 {
                return;
            }
            let at = self.below(self.flying.len() as u64) as usize;
            let job = self.flying.swap_remove(at);
            let size = self.ledger.log(job.log).and_then(|log| self.files.iter().find(|found| found.file == log.file)).map(|found| found.size);
            match self.below(6) {
                0 => self.ledger.lost(job.number, Death::Signal(libc::SIGKILL), None, self.now),
                1 => self.ledger.put_back(job.number),
                _ => match size {
                    Some(size) if size >= job.range.to() && self.ledger.is_current(&job) => self.answer(&job, size),
                    _ => {
                        self.ledger.void_of(job.number);
                        self.follow();
                    }
                },
            }
        }

        /// Counts as `range::count` does: the lines that start in the range, each to its end.
        fn answer(&mut self, job: &Job, size: u64) {
            let starts = (job.range.from().div_ceil(LINE)..).map(|line| line * LINE).take_while(|start| *start < job.range.to());
            let mut end = job.range.from();
            let (mut held, mut unterminated, mut reach) = (false, false, job.range.to());
            let merged = self.merged.entry(job.log).or_default();
            for start in starts {
                end = start;
                if start + LINE > size && job.last == LastLine::Hold {
                    (held, reach) = (true, size);
                    break;
                }
                unterminated |= start + LINE > size;
                end = (start + LINE).min(size);
                reach = reach.max(end);
                assert!(merged.insert(start), "seed {}: the line at {start} is counted twice", self.seed);
            }
            self.ledger.done(job.number, &Done { end, held, unterminated, tail: tail(reach) }, self.now);
        }

        fn settle(&mut self) {
            // Long after the last change everything is final.
            self.now += FINAL_AFTER * 2;
            for _ in 0..2_000 {
                self.see();
                self.work();
            }
            for found in &self.files {
                let (id, log) = self.ledger.logs().find(|(_, log)| log.file == found.file && log.state() != LogState::Gone).unwrap();
                let lines = self.merged.get(&id).map_or(0, BTreeSet::len) as u64;
                assert_eq!(lines, found.size.div_ceil(LINE), "seed {}: {log:?}", self.seed);
                assert!(log.is_complete(), "seed {}: {log:?}", self.seed);
                assert_eq!((log.counted_to, log.pending()), (found.size, 0), "seed {}", self.seed);
            }
        }
    }
}
