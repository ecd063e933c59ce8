//! Which logs there are, which of their bytes have been counted, which must be.
//!
//! Pure: what is found, answered and lost goes in, jobs come out. No clock, no socket, no numbers of what was counted; what must be looked up in a file is asked of
//! a [`Look`].
//! Two invariants carry everything. What is counted of a log is always a *beginning* of it: results that come before their turn wait. And of the bytes that a plan
//! covers, each is in exactly one of *merged*, *a range to do*, *in flight* or *waiting*; only an answer to the flight itself moves it on.
//!
//! `see` takes in what the folders hold; `kin` decides which logs are the same content; here is what is to be counted.

mod alike;
mod kin;
mod log;
mod see;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use super::content::Shown;
use super::inflight::Suspect;
use super::scan::FileId;
use super::work::{Blame, KILLS_MAX, Struck, Work, blame, set_apart};
use crate::board::Reason;
use crate::decode::Damage;
use crate::job::{Hang, Job, Stream};
use crate::log::Day;
use crate::range::{Io, LastLine, Probe, Range};
use crate::sample::{Sample, blocks_within};
use crate::sys::process::Death;

use alike::Alike;
pub use log::Log;
use log::{Piece, Plan};
pub use see::View;

/// So many ranges of one log may be counted before their turn to be merged.
const WAITING_MAX: usize = 16;
/// A compressed log is taken up when it has not changed for so long, if nobody was seen to close it.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// A log that was renamed is final when it has not changed for so long: its writer has gone on to another file.
const ROTATED_AFTER: Duration = Duration::from_secs(1);

/// What has happened to a log's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// They are void: it is counted again from its start.
    Void(u64),
    /// They are void, and the log is no more.
    Dropped(u64),
    /// What was counted as one log is another one's, and replaces what that one had.
    Moved {
        /// The log that is no more.
        from: u64,
        /// The log whose numbers they are.
        to: u64,
    },
    /// Its name has changed.
    Renamed(u64),
    /// Whether its lines count in the days.
    Counts(u64, bool),
}

/// A job that a worker has.
#[derive(Debug)]
struct Flight {
    log: u64,
    plan: u64,
    work: Work,
    stream: bool,
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
#[derive(Clone, Debug)]
pub struct Done {
    /// See [`crate::range::Counted::end`].
    pub end: u64,
    /// See [`crate::range::Counted::held`].
    pub held: bool,
    /// See [`crate::range::Counted::unterminated`].
    pub unterminated: bool,
    /// The last bytes that were looked at.
    pub tail: Sample,
    /// See [`crate::range::Counted::blocks`].
    pub blocks: (usize, Vec<u64>),
    /// See [`crate::range::Counted::probe`].
    pub probe: Option<Sample>,
    /// Why a compressed log ended before its end.
    pub damage: Option<Damage>,
}

/// How the ledger plans.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The watched folders, as absolute paths.
    pub folders: Vec<Vec<u8>>,
    /// How many bytes are counted in one job.
    pub range_bytes: u64,
    /// How they are looked at.
    pub io: Io,
    /// A log that has not changed for so long is final.
    pub final_after: Duration,
    /// So many compressed logs are counted at once, so that a worker is left for tails.
    pub streams_max: usize,
}

/// Turns come in this order: tails of logs that were caught up, then the newest days, then the rest.
type Turn = (bool, Reverse<Option<Day>>, u64);

/// All logs.
#[derive(Debug)]
pub struct Ledger {
    policy: Policy,
    logs: BTreeMap<u64, Log>,
    /// Ids that no log may get: in the store they belong to what cannot be read.
    reserved: BTreeSet<u64>,
    turns: BTreeSet<Turn>,
    flights: HashMap<u64, Flight>,
    /// The logs of which a range has ended a worker, as far as they are being counted.
    struck: BTreeSet<u64>,
    /// Ranges that were in flight when an earlier coordinator died.
    suspects: Vec<Suspect>,
    jobs: u64,
    plans: u64,
    changed: BTreeSet<u64>,
    events: Vec<Event>,
    /// Of which logs it was last said that they count in the days.
    counting: BTreeSet<u64>,
    /// The logs that are the beginnings of others, by those.
    inner: BTreeMap<u64, BTreeSet<u64>>,
    /// Logs that counted within one that is no more, and by themselves since.
    orphans: BTreeSet<u64>,
    /// The logs of which something is counted.
    alike: Alike,
    /// The logs that are gone, and are replaced by what their names hold once that is counted.
    replaceable: BTreeSet<u64>,
    /// Is a log missing that may be found at another look?
    missing: bool,
    /// Is there a log that will be due for something though nothing happens to it?
    waits: bool,
}

impl Ledger {
    /// A ledger without logs.
    pub fn new(policy: Policy) -> Ledger {
        Ledger {
            policy,
            logs: BTreeMap::new(),
            reserved: BTreeSet::new(),
            turns: BTreeSet::new(),
            flights: HashMap::new(),
            struck: BTreeSet::new(),
            suspects: Vec::new(),
            jobs: 0,
            plans: 0,
            changed: BTreeSet::new(),
            events: Vec::new(),
            counting: BTreeSet::new(),
            inner: BTreeMap::new(),
            orphans: BTreeSet::new(),
            alike: Alike::default(),
            replaceable: BTreeSet::new(),
            missing: false,
            waits: false,
        }
    }

    /// Takes over a log from the store. It is believed to be where it was after a look at it only.
    pub fn restore(&mut self, id: u64, log: Log) {
        if log.gone && log.is_replaceable() {
            self.replaceable.insert(id);
        }
        if log.is_counted() {
            self.alike.insert(id, &log.content.blocks);
        }
        self.logs.insert(id, Log { doubted: true, met: log.is_counted(), ..log });
        self.changed.insert(id);
    }

    /// All logs were taken over from the store. What counted within another log may still have been there, if the earlier life ended just then.
    pub fn restored(&mut self) {
        let pairs = self.logs.iter().flat_map(|(id, log)| log.absorbed.iter().map(move |(inner, to)| (*inner, *to, *id)));
        let pairs: Vec<(u64, u64, u64)> = pairs.collect();
        for (inner, to, outer) in pairs {
            let (Some(one), Some(two)) = (self.logs.get(&inner), self.logs.get(&outer)) else { continue };
            // It may have gone its own way since, and its id may be another log's by now.
            if one.deleted || one.content.to > to.min(two.content.to) || one.content.begins(&two.content) == Shown::Other {
                continue;
            }
            self.restore_within(inner, outer);
        }
        // What could not be read from the store in an earlier life was counted again if it was there: of the same content there may be two logs.
        let mut same: HashMap<_, Vec<u64>> = HashMap::new();
        for (id, log) in self.logs.iter().filter(|(_, log)| log.is_counted() && !log.deleted && log.within.is_none()) {
            let anchor = log.content.anchor.map(|anchor| (anchor.at, anchor.length, anchor.hash));
            same.entry((log.folder.clone(), log.content.to, anchor, log.content.blocks.clone())).or_default().push(*id);
        }
        for mut ids in same.into_values().filter(|ids| ids.len() > 1) {
            ids.sort_by_key(|id| self.logs.get(id).is_some_and(|log| log.gone));
            let first = ids[0];
            ids.into_iter().skip(1).for_each(|id| self.restore_within(id, first));
        }
    }

    fn restore_within(&mut self, inner: u64, outer: u64) {
        self.set_within(inner, Some(outer));
        if self.logs.get(&inner).is_some_and(|log| log.gone) {
            self.drop_log(inner);
        }
    }

    /// No log gets this id.
    pub fn reserve(&mut self, id: u64) {
        self.reserved.insert(id);
    }

    /// Ranges that were in flight when an earlier coordinator died. If all processes died with it, that counts against them as a kill; if it died `alone`, it
    /// died of something else, for it does not touch the bytes.
    pub fn suspect(&mut self, ranges: Vec<Suspect>, alone: bool) {
        let kills = |suspect: &Suspect| suspect.kills.saturating_add((suspect.flying && !alone).into());
        self.suspects = ranges.into_iter().map(|suspect| Suspect { kills: kills(&suspect), ..suspect }).collect();
    }

    /// What a successor must know: the ranges in flight, and those that wait and are known to be dangerous.
    pub fn suspects(&self) -> impl Iterator<Item = Suspect> {
        let suspect = |log: &Log, work: Work, flying| Suspect { file: log.file, range: work.range, strikes: work.strikes, kills: work.kills, flying };
        // A compressed log takes long, so whoever kills the daemon hits it often: that says nothing of it.
        let flights = self.flights.values().filter_map(move |flight| Some(suspect(self.logs.get(&flight.log)?, flight.work, !flight.stream)));
        let waiting = self.struck.iter().filter_map(|id| self.logs.get(id)).filter_map(|log| Some((log, log.plan.as_ref()?)));
        flights.chain(waiting.flat_map(move |(log, plan)| {
            let struck = plan.todo.iter().filter(|work| work.strikes > 0 || work.kills > 0);
            struck.map(move |work| suspect(log, *work, false))
        }))
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
        let mut events = std::mem::take(&mut self.events);
        for id in &self.changed {
            let counts = self.logs.get(id).is_some_and(Log::counts);
            let turned = if counts { self.counting.insert(*id) } else { self.counting.remove(id) };
            if turned && self.logs.contains_key(id) {
                events.push(Event::Counts(*id, counts));
            }
        }
        events
    }

    /// Is a log missing that may be found at another look?
    pub fn is_missing_any(&self) -> bool {
        self.missing
    }

    /// Is there a log that will be due for something though nothing happens to it?
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Time goes on.
    pub fn consider_all(&mut self, now: Duration) {
        self.waits = false;
        let ids: Vec<u64> = self.logs.keys().copied().collect();
        ids.into_iter().for_each(|id| self.consider(id, now));
    }

    /// Plans what there is to count of a log.
    fn consider(&mut self, id: u64, now: Duration) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        // A time stamp of the future says nothing, one of the past may have been set by hand.
        let quiet = now.saturating_sub(log.seen.max(log.changed.min(now)));
        let is_final = log.format.is_some() || quiet >= self.policy.final_after || (log.rotated && quiet >= ROTATED_AFTER);
        if log.is_final != is_final {
            log.is_final = is_final;
            self.changed.insert(id);
        }
        if log.gone || log.deleted {
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
        let held = log.held_at.is_some_and(|size| log.size <= size) && !is_final;
        let unsettled = log.format.is_some() && !log.closed && quiet < SETTLED_AFTER;
        self.waits |= held || (unsettled && !log.caught_up);
        let whole = Range::new(0, log.size);
        let range = match log.format {
            Some(_) if log.caught_up || unsettled => None,
            Some(_) => whole,
            // First it must be told from the logs that there are.
            None if log.told.is_none() => None,
            None => Range::new(log.content.to, log.size),
        };
        let Some(range) = range.filter(|_| !held) else {
            log.caught_up |= log.pending() == 0 && log.held_at.is_none_or(|size| log.size <= size);
            if log.uncounted() == 0 && log.unreadable.take().is_some() {
                // There is nothing left to read.
                self.changed.insert(id);
            }
            return;
        };
        let mut given_up = Vec::new();
        let cut = range.cut(if log.format.is_some() { range.len() } else { self.policy.range_bytes });
        let todo: VecDeque<Work> = cut.flat_map(|range| set_apart(range, log.file, &mut self.suspects, &mut given_up)).collect();
        let struck = todo.iter().any(|work| work.strikes > 0 || work.kills > 0);
        self.plans += 1;
        let (serial, last) = (self.plans, if is_final { LastLine::Count } else { LastLine::Hold });
        log.plan = Some(Plan { serial, to: range.to(), last, todo, next: range.from(), waiting: BTreeMap::new() });
        if struck {
            self.struck.insert(id);
        }
        if log.plan.as_ref().is_some_and(|plan| !plan.todo.is_empty()) {
            self.turns.insert(turn(id, log));
        }
        if given_up.is_empty() {
            return;
        }
        for work in given_up {
            self.give_up(id, work, Reason::Signal(libc::SIGKILL));
        }
        // If nothing else is to be done of it, no answer will come that passes over them.
        self.ready(id, now);
    }

    /// The next job, if there is one. `tails_only`: of the logs that were counted up to their ends before.
    pub fn next_job(&mut self, tails_only: bool) -> Option<Dispatch> {
        let streams = self.flights.values().filter(|flight| flight.stream).count();
        let may = |turn: &&Turn| {
            self.logs.get(&turn.2).is_some_and(|log| {
                let waiting = log.plan.as_ref().map_or(0, |plan| plan.waiting.len());
                !(tails_only && turn.0) && waiting < WAITING_MAX && (log.format.is_none() || streams < self.policy.streams_max)
            })
        };
        let turn = *self.turns.iter().find(may)?;
        let log = self.logs.get_mut(&turn.2)?;
        let samples = log.ends();
        let plan = log.plan.as_mut()?;
        let work = plan.todo.pop_front()?;
        if plan.todo.is_empty() {
            self.turns.remove(&turn);
        }
        self.jobs += 1;
        let io = if work.strikes > 0 { Io::Read } else { self.policy.io };
        let stream = log.format.map(|format| Stream { format, probe: log.probed.iter().find(|(_, known)| !known).map(|(sample, _)| probe_of(sample)) });
        let job = Job { number: self.jobs, log: turn.2, generation: log.generation, range: work.range, io, last: plan.last, stream };
        self.flights.insert(self.jobs, Flight { log: turn.2, plan: plan.serial, work, stream: stream.is_some() });
        Some(Dispatch { job, path: log.path.clone(), file: log.file, samples })
    }

    /// A job was given to a worker: its log could be opened. Of a compressed log, `raw` are samples of the file itself.
    pub fn opened(&mut self, job: &Job, raw: Vec<Sample>) {
        let Some(log) = self.logs.get_mut(&job.log) else { return };
        if job.stream.is_some() {
            log.raw = raw;
        }
        if log.unreadable.take().is_some() {
            self.changed.insert(job.log);
        }
    }

    /// A job was counted. Its numbers are wanted when its turn comes: see [`Ledger::ready`].
    pub fn done(&mut self, number: u64, done: Done) {
        if let Some((id, work)) = self.land(number)
            && let Some(plan) = self.logs.get_mut(&id).and_then(|log| log.plan.as_mut())
        {
            plan.waiting.insert(work.range.from(), Piece::Counted(number, work.range, Box::new(done)));
        }
    }

    /// The log of a flight, if that is still counted as it was when the job was given out.
    fn flying(&self, number: u64) -> Option<u64> {
        let flight = self.flights.get(&number)?;
        let plan = self.logs.get(&flight.log)?.plan.as_ref()?;
        (plan.serial == flight.plan).then_some(flight.log)
    }

    /// Is a job's result still wanted, now or later?
    pub fn wants(&self, number: u64, log: u64) -> bool {
        let plan = self.logs.get(&log).and_then(|log| log.plan.as_ref());
        self.flying(number).is_some() || plan.is_some_and(|plan| plan.waiting.values().any(|piece| matches!(piece, Piece::Counted(job, ..) if *job == number)))
    }

    /// The job of a log whose numbers are to be merged now, if its turn has come.
    pub fn ready(&mut self, id: u64, now: Duration) -> Option<u64> {
        loop {
            let log = self.logs.get_mut(&id)?;
            let plan = log.plan.as_mut()?;
            let next = plan.next;
            match plan.waiting.get(&next)? {
                Piece::Counted(number, ..) => return Some(*number),
                Piece::Hole(range, reason) => {
                    let (range, reason) = (*range, *reason);
                    plan.waiting.remove(&next);
                    log.quarantine.push((range, reason));
                    if log.format.is_none() {
                        log.content.grow(range.to(), blocks_within(range.to()), &[], None);
                    }
                    log.held_at = None;
                    plan.next = range.to();
                    self.changed.insert(id);
                    self.end_plan(id, now);
                }
            }
        }
    }

    /// The numbers of the job that was [`Ledger::ready`] have been added. `anchor`: what stands before the end of what is counted now.
    pub fn merged(&mut self, id: u64, anchor: Option<Sample>, now: Duration) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let Some(plan) = &mut log.plan else { return };
        let Some(Piece::Counted(_, range, done)) = plan.waiting.remove(&plan.next) else { return };
        let to = end_of(&done, range, log.format.is_some());
        log.content.grow(to, done.blocks.0, &done.blocks.1, anchor);
        self.alike.insert(id, &log.content.blocks);
        (log.unterminated, log.unreadable, log.damage) = (log.unterminated | done.unterminated, None, done.damage);
        log.held_at = done.held.then(|| done.tail.reach());
        plan.next = range.to();
        if done.held {
            // What was counted behind a line that is not finished was written since, and is counted again with its end.
            (plan.to, plan.next) = (to, to);
            plan.todo.clear();
        }
        if log.format.is_some() {
            if let Some((sample, known)) = log.probed.iter_mut().find(|(_, known)| !known) {
                (*sample, *known) = (done.probe.unwrap_or(Sample { hash: 0, ..*sample }), true);
            }
        } else {
            log.size = log.size.max(done.tail.reach());
        }
        self.changed.insert(id);
        self.end_plan(id, now);
    }

    /// Ends the plan if all of it is through.
    fn end_plan(&mut self, id: u64, now: Duration) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        if log.plan.as_ref().is_none_or(|plan| plan.next < plan.to) {
            return;
        }
        self.turns.remove(&turn(id, log));
        log.plan = None;
        self.struck.remove(&id);
        log.caught_up |= log.format.is_some() || log.pending() == 0;
        log.told = log.told.or((log.content.to == 0).then_some(log.size));
        if log.format.is_none() && log.unterminated && log.size > log.content.to {
            // Half a line was counted as the last one, and is none.
            self.void(id);
        }
        self.consider(id, now);
    }

    /// A job's worker died.
    pub fn lost(&mut self, number: u64, death: Death, hung: Option<Hang>) {
        match blame(death, hung) {
            Blame::Nobody => self.again(number, |_| {}),
            Blame::Chance(reason) => self.kill(number, reason),
            Blame::Range(reason) => self.strike(number, reason),
        }
    }

    /// A job's result could not be taken.
    pub fn refused(&mut self, number: u64) {
        self.kill(number, Reason::Refused);
    }

    /// A job's bytes could not be read. What is left of its log is put aside until the folder is next looked at.
    pub fn failed(&mut self, number: u64, errno: i32) {
        let Some(id) = self.flying(number) else { return self.put_back(number) };
        // Of all errors, this one is the range's own.
        if errno == libc::EIO {
            self.strike(number, Reason::Unreadable(errno));
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
        let Some(id) = self.flying(number) else { return self.put_back(number) };
        self.put_back(number);
        // Renamed or removed since it was found, most often: the next look will tell.
        if errno != libc::ENOENT {
            self.note_unreadable(id, errno);
        }
        self.put_aside(id);
    }

    pub(super) fn note_unreadable(&mut self, id: u64, errno: i32) {
        if let Some(log) = self.logs.get_mut(&id).filter(|log| !log.gone)
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

    /// Whoever runs tallyd wants what was given up to be tried again.
    pub fn retry(&mut self, now: Duration) {
        let ids: Vec<u64> = self.logs.iter().filter(|(_, log)| !log.gone && (!log.quarantine.is_empty() || log.damage.is_some())).map(|(id, _)| *id).collect();
        for id in ids {
            self.void(id);
            self.consider(id, now);
        }
    }

    /// Takes a log back: its numbers are void for good. Says whether there is such a log.
    pub fn delete(&mut self, id: u64) -> bool {
        let Some(log) = self.logs.get_mut(&id) else { return false };
        self.turns.remove(&turn(id, log));
        (log.deleted, log.plan) = (true, None);
        self.changed.insert(id);
        self.changed.extend(self.inner_of(id));
        self.events.push(Event::Void(id));
        true
    }

    /// A file is to take a log's name and its place: once it has the name and is counted, the log's numbers are void. Says whether there is such a log.
    pub fn replace_by(&mut self, id: u64, file: FileId) -> bool {
        let Some(log) = self.logs.get_mut(&id).filter(|log| !log.deleted) else { return false };
        log.successors.insert(file);
        self.changed.insert(id);
        if log.gone {
            // The file may be there by now.
            self.replaceable.insert(id);
            self.replace_all();
        }
        true
    }

    /// A file is to take no log's place after all.
    pub fn withdraw(&mut self, file: FileId) {
        for (id, log) in &mut self.logs {
            if log.successors.remove(&file) {
                self.changed.insert(*id);
                if !log.is_replaceable() {
                    self.replaceable.remove(id);
                }
            }
        }
    }

    /// What is stored of a log cannot be read: it is counted again if it is there, else it is lost.
    pub fn forget(&mut self, id: u64, now: Duration) {
        match self.logs.get(&id).map(|log| log.gone) {
            Some(true) => self.drop_log(id),
            Some(false) => {
                self.void(id);
                self.consider(id, now);
            }
            None => {}
        }
    }

    /// A log's numbers are void. Its bytes are planned anew.
    fn void(&mut self, id: u64) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        self.turns.remove(&turn(id, log));
        log.generation += 1;
        (log.content, log.plan, log.held_at, log.damage) = (Default::default(), None, None, None);
        (log.unterminated, log.caught_up, log.unreadable) = (false, false, None);
        log.quarantine.clear();
        log.met = false;
        self.alike.remove(id);
        if log.format.is_some() {
            log.told = None;
        }
        self.changed.insert(id);
        self.events.push(Event::Void(id));
    }

    /// Takes a flight off the list: its log and work, if that is still what they were.
    fn land(&mut self, number: u64) -> Option<(u64, Work)> {
        let flight = self.flights.remove(&number)?;
        let plan = self.logs.get(&flight.log)?.plan.as_ref()?;
        (plan.serial == flight.plan).then_some((flight.log, flight.work))
    }

    fn again(&mut self, number: u64, note: impl Fn(&mut Work)) {
        let Some((id, mut work)) = self.land(number) else { return };
        note(&mut work);
        if work.kills > 0 {
            self.struck.insert(id);
        }
        self.put(id, work);
    }

    fn put(&mut self, id: u64, work: Work) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        if let Some(plan) = &mut log.plan {
            // In the order of the bytes: who waits for this one must not wait for one behind it.
            let at = plan.todo.iter().position(|other| other.range.from() > work.range.from()).unwrap_or(plan.todo.len());
            plan.todo.insert(at, work);
            self.turns.insert(turn(id, log));
        }
    }

    fn kill(&mut self, number: u64, reason: Reason) {
        match self.flights.get_mut(&number) {
            Some(flight) if flight.work.kills + 1 >= KILLS_MAX => {
                flight.work.kills = 0;
                self.strike(number, reason);
            }
            _ => self.again(number, |work| work.kills += 1),
        }
    }

    fn strike(&mut self, number: u64, reason: Reason) {
        let stream = self.flights.get(&number).is_some_and(|flight| flight.stream);
        let Some((id, work)) = self.land(number) else { return };
        self.struck.insert(id);
        match work.struck() {
            Struck::Again(work) => self.put(id, work),
            Struck::Halves(one, two) if !stream => {
                self.put(id, two);
                self.put(id, one);
            }
            _ => self.give_up(id, work, reason),
        }
    }

    fn give_up(&mut self, id: u64, work: Work, reason: Reason) {
        if let Some(plan) = self.logs.get_mut(&id).and_then(|log| log.plan.as_mut()) {
            plan.waiting.insert(work.range.from(), Piece::Hole(work.range, reason));
        }
    }
}

fn turn(id: u64, log: &Log) -> Turn {
    (!log.caught_up || log.format.is_some(), Reverse(log.day), id)
}

fn probe_of(sample: &Sample) -> Probe {
    (sample.at, sample.length)
}

/// Up to where a log is counted when this result of a range is merged. If no line starts in it, the next one is found from its end.
pub fn end_of(done: &Done, range: Range, is_stream: bool) -> u64 {
    if done.held || is_stream { done.end } else { done.end.max(range.to()) }
}

#[cfg(test)]
mod tests;
