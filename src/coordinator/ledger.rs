//! Which logs there are, which of their bytes have been counted, which must be.
//!
//! Pure: what is found, answered and lost goes in, jobs come out. No clock, no file, no socket, and no numbers of what was counted.
//! The invariant everything rests on: of one generation of a log, each byte is in exactly one of *counted up to*, *a range to do*, *a range in flight*, *a range done*,
//! *quarantined*, or *not planned yet*; and only an answer to the flight itself makes it done.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use super::inflight::Suspect;
use super::scan::{FileId, Found};
use super::work::{Blame, KILLS_MAX, Reason, Struck, Work, blame, set_apart};
use crate::board::LogState;
use crate::job::{Hang, Job};
use crate::log::{Day, day_of_name};
use crate::range::{Io, LastLine, Range, Sample};
use crate::sys::process::Death;

/// What has happened to a log's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// They are void: it is counted again from its start, or not at all.
    Void(u64),
    /// Its name has changed.
    Renamed(u64),
}

/// A log.
#[derive(Debug)]
pub struct Log {
    /// Its name as reported.
    pub name: Vec<u8>,
    /// Where it is.
    pub path: PathBuf,
    /// Device and inode.
    pub file: FileId,
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
    /// The latest look at the folders did not find it.
    missed: bool,
    is_final: bool,
    /// Has it ever been counted up to its end?
    caught_up: bool,
    /// The size at which its last line was found to be unfinished.
    held_at: Option<u64>,
    /// Was an unfinished last line counted?
    unterminated: bool,
    /// The first bytes that were counted of it.
    first: Option<Sample>,
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
    /// The ends of the ranges that are done, as they were counted.
    samples: Vec<Sample>,
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
    pub file: FileId,
    /// What must still stand in it, or it is another content.
    pub samples: Vec<Sample>,
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
    /// The first bytes that were looked at.
    pub head: Sample,
    /// The last bytes that were looked at.
    pub tail: Sample,
}

/// Turns come in this order: tails of logs that were caught up, then the newest days, then the rest.
type Turn = (bool, Reverse<Option<Day>>, u64);

/// The ids that names and files had under an earlier coordinator.
pub type KnownIds = HashMap<(Vec<u8>, FileId), u64>;

/// All logs.
#[derive(Debug)]
pub struct Ledger {
    range_bytes: u64,
    io: Io,
    final_after: Duration,
    logs: BTreeMap<u64, Log>,
    /// To be given to the same names and files again.
    known: KnownIds,
    /// The ids that are taken by them.
    reserved: HashSet<u64>,
    turns: BTreeSet<Turn>,
    flights: HashMap<u64, Flight>,
    /// Ranges that were in flight when an earlier coordinator died.
    suspects: Vec<Suspect>,
    jobs: u64,
    changed: BTreeSet<u64>,
    events: Vec<Event>,
}

impl Ledger {
    /// A ledger without logs. `known` are ids that names and files had before, to be given to them again.
    pub fn new(range_bytes: u64, io: Io, final_after: Duration, known: KnownIds) -> Ledger {
        let (logs, turns, flights, suspects) = (BTreeMap::new(), BTreeSet::new(), HashMap::new(), Vec::new());
        let reserved = known.values().copied().collect();
        Ledger { range_bytes, io, final_after, logs, known, reserved, turns, flights, suspects, jobs: 0, changed: BTreeSet::new(), events: Vec::new() }
    }

    /// Ranges that were in flight when an earlier coordinator died: that death counts against them as a kill.
    pub fn suspect(&mut self, ranges: Vec<Suspect>) {
        self.suspects = ranges.into_iter().map(|suspect| Suspect { kills: suspect.kills.saturating_add(1), ..suspect }).collect();
    }

    /// The ranges in flight.
    pub fn flights(&self) -> impl Iterator<Item = Suspect> {
        self.flights.values().filter_map(|flight| {
            let Work { range, strikes, kills } = flight.work;
            Some(Suspect { file: self.logs.get(&flight.log)?.file, range, strikes, kills })
        })
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
    ///
    /// `holds` tells whether a file still has what was counted of a log. It is asked only if that is in doubt: the name is another one, the log was gone, or it
    /// was written to and is as long as before.
    pub fn see(&mut self, found: &[Found], whole: bool, now: Duration, holds: impl Fn(&Log, &Found) -> bool) {
        let names: HashSet<(&[u8], FileId)> = found.iter().map(|found| (&found.name[..], found.file)).collect();
        let mut seen = HashSet::new();
        let mut unknown: Vec<&Found> = Vec::new();
        // First the files that are known, whatever their names are now. A second name of one of them says nothing new.
        let mut present: HashMap<FileId, u64> = self.logs.iter().filter(|(_, log)| !log.gone).map(|(id, log)| (log.file, *id)).collect();
        for found in found {
            match present.get(&found.file).and_then(|id| Some((*id, self.logs.get(id)?))) {
                None => unknown.push(found),
                Some((id, log)) if log.name != found.name && !names.contains(&(&log.name[..], log.file)) => {
                    // Renamed, or removed and its inode given to another file.
                    if !seen.contains(&id) {
                        if log.can_be(found) && holds(log, found) {
                            seen.insert(id);
                            self.see_again(id, found, &holds);
                        } else {
                            // Another name of the file does not bring it back.
                            present.remove(&found.file);
                            self.lose_to_another(id);
                            unknown.push(found);
                        }
                    }
                }
                Some((id, log)) if log.name == found.name => {
                    seen.insert(id);
                    self.see_again(id, found, &holds);
                }
                Some(_) => {}
            }
        }
        if whole {
            let taken: HashSet<&[u8]> = found.iter().map(|found| &found.name[..]).collect();
            let missing: Vec<u64> = self.logs.iter().filter(|(id, log)| !log.gone && !seen.contains(id)).map(|(id, _)| *id).collect();
            for id in missing {
                let Some(log) = self.logs.get_mut(&id) else { continue };
                // A file that is renamed while the folder is read may be in it under neither name, so one look is not enough.
                if log.missed || taken.contains(&log.name[..]) { self.lose(id) } else { log.missed = true }
            }
        }
        self.see_unknown(&unknown, holds);
        self.replace();
        let ids: Vec<u64> = self.logs.keys().copied().collect();
        ids.into_iter().for_each(|id| self.consider(id, now));
    }

    /// A log is there, perhaps under another name.
    fn see_again(&mut self, id: u64, found: &Found, holds: impl Fn(&Log, &Found) -> bool) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        log.missed = false;
        if std::mem::take(&mut log.gone) {
            self.changed.insert(id);
        }
        if log.name != found.name {
            let waiting = self.turns.remove(&turn(id, log));
            (log.name, log.path, log.day) = (found.name.clone(), found.path.clone(), day_of_name(&found.name));
            if waiting {
                self.turns.insert(turn(id, log));
            }
            self.events.push(Event::Renamed(id));
            self.changed.insert(id);
        }
        let mut rewritten = false;
        if (log.size, log.changed) != (found.size, found.changed) {
            rewritten = !log.can_be(found) || (log.size == found.size && !holds(log, found));
            (log.size, log.changed) = (found.size, found.changed);
            self.changed.insert(id);
        }
        let goes_on = log.unterminated && found.size > log.counted_to;
        if rewritten || goes_on {
            self.void(id);
        }
    }

    /// A log is no longer in the folder. What was counted of it stays.
    fn lose(&mut self, id: u64) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        self.turns.remove(&turn(id, log));
        (log.gone, log.missed, log.unreadable) = (true, false, None);
        self.changed.insert(id);
    }

    /// A log is gone, and another content is in its file. If some of what is being counted was counted already, nobody knows of which of the two it is.
    fn lose_to_another(&mut self, id: u64) {
        self.lose(id);
        let Some(log) = self.logs.get_mut(&id) else { return };
        match log.plan.take() {
            Some(plan) if !plan.samples.is_empty() => self.void(id),
            // What is in flight is not taken any more.
            Some(_) => {
                log.generation += 1;
                log.quarantine.retain(|(range, _)| range.to() <= log.counted_to);
            }
            None => {}
        }
    }

    /// Files that are no log that is there: a log that was gone and is back, or a new one.
    fn see_unknown(&mut self, unknown: &[&Found], holds: impl Fn(&Log, &Found) -> bool) {
        let mut gone: HashMap<FileId, Vec<u64>> = HashMap::new();
        if !unknown.is_empty() {
            self.logs.iter().filter(|(_, log)| log.gone).for_each(|(id, log)| gone.entry(log.file).or_default().push(*id));
        }
        let mut files = HashSet::new();
        for found in unknown.iter().filter(|found| files.insert(found.file)) {
            let before = gone.get(&found.file).map_or(&[][..], Vec::as_slice);
            let (same, other): (Vec<u64>, Vec<u64>) = before.iter().partition(|id| self.logs.get(id).is_some_and(|log| log.can_be(found) && holds(log, found)));
            other.into_iter().for_each(|id| self.lose_to_another(id));
            // Of which nothing was counted may be any log.
            match same.into_iter().max_by_key(|id| self.logs.get(id).map(|log| (log.counted_to, log.plan.as_ref().map(|plan| plan.samples.len())))) {
                Some(id) => self.see_again(id, found, &holds),
                None => self.see_new(found),
            }
        }
    }

    fn see_new(&mut self, found: &Found) {
        let id = self.known.remove(&(found.name.clone(), found.file)).unwrap_or_else(|| self.new_id(found));
        let log = Log {
            name: found.name.clone(),
            path: found.path.clone(),
            file: found.file,
            day: day_of_name(&found.name),
            size: found.size,
            changed: found.changed,
            generation: 0,
            counted_to: 0,
            quarantine: Vec::new(),
            unreadable: None,
            gone: false,
            missed: false,
            is_final: false,
            caught_up: false,
            held_at: None,
            unterminated: false,
            first: None,
            anchor: None,
            plan: None,
        };
        self.logs.insert(id, log);
        self.changed.insert(id);
    }

    /// Under a name with a date, new content replaces what the name held before. Under a name without one, the old lines were counted and stay.
    fn replace(&mut self) {
        let dated = |gone: bool| self.logs.iter().filter(move |(_, log)| log.gone == gone && log.day.is_some());
        let gone: Vec<u64> = dated(true).map(|(id, _)| *id).collect();
        if gone.is_empty() {
            return;
        }
        let present: HashSet<&[u8]> = dated(false).map(|(_, log)| &log.name[..]).collect();
        let replaced: Vec<u64> = gone.into_iter().filter(|id| self.logs.get(id).is_some_and(|log| present.contains(&log.name[..]))).collect();
        for id in &replaced {
            self.logs.remove(id);
            self.changed.insert(*id);
            self.events.push(Event::Void(*id));
        }
        // An answer must not meet another log that gets the id.
        self.flights.retain(|_, flight| !replaced.contains(&flight.log));
    }

    fn new_id(&self, found: &Found) -> u64 {
        let mut bytes = found.name.clone();
        bytes.extend_from_slice(&found.file.0.to_le_bytes());
        bytes.extend_from_slice(&found.file.1.to_le_bytes());
        let mut id = xxhash_rust::xxh3::xxh3_64(&bytes);
        while id == 0 || self.logs.contains_key(&id) || self.reserved.contains(&id) {
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
        if log.gone {
            return;
        }
        if let Some(plan) = &log.plan {
            // It may have been put aside until now.
            if !plan.todo.is_empty() {
                self.turns.insert(turn(id, log));
            }
            return;
        }
        // A line that is held back is looked at again when there is more of it, or when there will be no more.
        let waits = log.held_at.is_some_and(|size| log.size <= size) && !is_final;
        match Range::new(log.counted_to, log.size) {
            Some(range) if !waits => {
                let mut given_up = Vec::new();
                let cut = range.cut(self.range_bytes);
                let todo: VecDeque<Work> = cut.flat_map(|range| set_apart(range, log.file, &mut self.suspects, &mut given_up)).collect();
                log.plan = Some(Plan {
                    to: range.to(),
                    last: if is_final { LastLine::Count } else { LastLine::Hold },
                    open: todo.len() + given_up.len(),
                    open_bytes: range.len(),
                    todo,
                    end: log.counted_to,
                    held: false,
                    unterminated: false,
                    samples: Vec::new(),
                });
                if log.plan.as_ref().is_some_and(|plan| !plan.todo.is_empty()) {
                    self.turns.insert(turn(id, log));
                }
                for work in given_up {
                    self.give_up(id, work, Reason::Crash(Death::Signal(libc::SIGKILL)), now);
                }
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
        let plan = log.plan.as_ref()?;
        Some(Dispatch { job, path: log.path.clone(), file: log.file, samples: log.samples().chain(plan.samples.last()).copied().collect() })
    }

    /// Is the job's log still the content it was given out for?
    pub fn is_current(&self, job: &Job) -> bool {
        self.flights.contains_key(&job.number) && self.logs.get(&job.log).is_some_and(|log| log.generation == job.generation && log.plan.is_some())
    }

    /// A job was given to a worker: its log could be opened.
    pub fn opened(&mut self, job: &Job) {
        if self.logs.get_mut(&job.log).is_some_and(|log| log.unreadable.take().is_some()) {
            self.changed.insert(job.log);
        }
    }

    /// A job was counted and its numbers taken. When that ends a plan of several, says what all must stand in the log at once: else it was rewritten
    /// between two of them, and the numbers are of no content that there ever was.
    #[must_use]
    pub fn done(&mut self, number: u64, done: &Done, now: Duration) -> Vec<Sample> {
        let Some((id, work)) = self.land(number) else { return Vec::new() };
        self.close(id, work, Some(done), now)
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

    /// A job's bytes could not be read. What is left of its log is put aside until the folder is next looked at.
    pub fn failed(&mut self, number: u64, errno: i32, now: Duration) {
        let Some(id) = self.flights.get(&number).map(|flight| flight.log) else { return };
        // Of all errors, this one is the range's own.
        if errno == libc::EIO {
            self.strike(number, Reason::Unreadable(errno), now);
        } else {
            self.put_back(number);
            self.note_unreadable(id, errno);
        }
        self.put_aside(id);
    }

    /// A job could not be given out after all.
    pub fn put_back(&mut self, number: u64) {
        self.again(number, |_| {});
    }

    /// A job's log cannot be opened. What is left of it is put aside until the folder is next looked at.
    pub fn cannot_open(&mut self, number: u64, errno: i32) {
        let Some(id) = self.flights.get(&number).map(|flight| flight.log) else { return };
        self.put_back(number);
        // Renamed or removed since it was found, most often: the next look will tell.
        if errno != libc::ENOENT {
            self.note_unreadable(id, errno);
        }
        self.put_aside(id);
    }

    fn note_unreadable(&mut self, id: u64, errno: i32) {
        // With nothing left to read, it was the word of an old job.
        if let Some(log) = self.logs.get_mut(&id).filter(|log| !log.gone && log.plan.is_some())
            && log.unreadable.replace(errno) != Some(errno)
        {
            self.changed.insert(id);
        }
    }

    fn put_aside(&mut self, id: u64) {
        if let Some(log) = self.logs.get(&id) {
            self.turns.remove(&turn(id, log));
        }
    }

    /// A job's log is not what it was when it was counted.
    pub fn void_of(&mut self, job: &Job) {
        self.flights.remove(&job.number);
        if self.logs.get(&job.log).is_some_and(|log| log.generation == job.generation) {
            self.void(job.log);
        }
    }

    /// A log's numbers are void: its content is another one. Its bytes are planned anew when the folder is next looked at.
    fn void(&mut self, id: u64) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        self.turns.remove(&turn(id, log));
        log.generation += 1;
        log.counted_to = 0;
        (log.plan, log.first, log.anchor, log.held_at) = (None, None, None, None);
        (log.unterminated, log.caught_up, log.unreadable) = (false, false, None);
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
            if !log.gone {
                self.turns.insert(turn(id, log));
            }
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

    fn strike(&mut self, number: u64, reason: Reason, now: Duration) {
        let Some((id, work)) = self.land(number) else { return };
        match work.struck() {
            Struck::Again(work) => self.put(id, work),
            Struck::Halves(one, two) => {
                if let Some(plan) = self.logs.get_mut(&id).and_then(|log| log.plan.as_mut()) {
                    plan.open += 1;
                }
                self.put(id, two);
                self.put(id, one);
            }
            Struck::GivenUp => self.give_up(id, work, reason, now),
        }
    }

    fn give_up(&mut self, id: u64, work: Work, reason: Reason, now: Duration) {
        if let Some(log) = self.logs.get_mut(&id) {
            log.quarantine.push((work.range, reason));
        }
        // No samples of a range that was not counted.
        let _ = self.close(id, work, None, now);
    }

    /// A range is through, counted or given up. The last one of a plan ends it: see [`Ledger::done`].
    fn close(&mut self, id: u64, work: Work, done: Option<&Done>, now: Duration) -> Vec<Sample> {
        let Some(log) = self.logs.get_mut(&id) else { return Vec::new() };
        let Some(plan) = &mut log.plan else { return Vec::new() };
        self.changed.insert(id);
        plan.open -= 1;
        plan.open_bytes -= work.range.len();
        if let Some(done) = done {
            if done.held {
                // A held line starts before everything that is not counted.
                (plan.held, plan.end) = (true, done.end);
            } else if !plan.held {
                plan.end = plan.end.max(done.end);
            }
            plan.unterminated |= done.unterminated;
            plan.samples.extend([done.head, done.tail]);
        }
        if plan.open > 0 {
            return Vec::new();
        }
        let Some(plan) = log.plan.take() else { return Vec::new() };
        // If no line starts at the end of the plan, the next one is found from there; so is the first one behind a quarantined range.
        log.counted_to = if plan.held { plan.end } else { plan.end.max(plan.to) };
        let together = if plan.samples.len() > 2 || log.anchor.is_some() { log.samples().chain(&plan.samples).copied().collect() } else { Vec::new() };
        log.first = log.first.or(plan.samples.iter().find(|sample| sample.at == 0).copied());
        log.anchor = plan.samples.iter().chain(&log.anchor).max_by_key(|sample| sample.reach()).copied();
        (log.unterminated, log.unreadable) = (plan.unterminated, None);
        let reach = log.anchor.map_or(0, |anchor| anchor.reach()).max(plan.to);
        log.held_at = plan.held.then_some(reach);
        let goes_on = plan.unterminated && log.size > log.counted_to;
        log.size = log.size.max(reach);
        log.caught_up |= log.uncounted() == 0;
        if goes_on {
            // Half a line was counted as the last one, and is none.
            self.void(id);
        }
        self.consider(id, now);
        together
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
        self.caught_up && self.uncounted() == 0 && self.quarantine.is_empty() && self.unreadable.is_none()
    }

    /// Bytes that are known and not counted. A line that is held back is not among them, nor is what cannot be read.
    pub fn pending(&self) -> u64 {
        if self.gone || self.unreadable.is_some() { 0 } else { self.uncounted() }
    }

    fn uncounted(&self) -> u64 {
        match &self.plan {
            Some(plan) => plan.open_bytes + self.size.saturating_sub(plan.to),
            None => self.size.saturating_sub(self.held_at.unwrap_or(0).max(self.counted_to)),
        }
    }

    /// What was last counted of it, and what was counted first: as long as both stand in a file, it is this log.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.first.iter().chain(&self.anchor)
    }

    /// Is a file long enough to be this log?
    fn can_be(&self, found: &Found) -> bool {
        found.size >= self.counted_to.max(self.plan.as_ref().map_or(0, |plan| plan.to))
    }
}

fn turn(id: u64, log: &Log) -> Turn {
    (!log.caught_up, Reverse(log.day), id)
}

#[cfg(test)]
mod tests;
