//! The jobs that workers have: what is given out next, and what is done when one does not come back.

use std::path::PathBuf;

use super::super::scan::FileId;
use super::super::work::{Blame, KILLS_MAX, Struck, Work, blame};
use super::Ledger;
use super::plan::Piece;
use super::turns::Turn;
use crate::board::Reason;
use crate::job::{Hang, Job, Stream};
use crate::range::{Checkpoint, Io, Probe};
use crate::sample::Sample;
use crate::sys::process::Death;

/// So many ranges of one log may be counted before their turn to be merged.
pub(super) const WAITING_MAX: usize = 16;

/// A job that a worker has.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) log: u64,
    pub(super) plan: u64,
    pub(super) work: Work,
    pub(super) stream: bool,
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

impl Ledger {
    /// The next job, if there is one. `tails_only`: of the logs that were counted up to their ends before.
    pub fn next_job(&mut self, tails_only: bool) -> Option<Dispatch> {
        self.next_of(|is_tail| is_tail || !tails_only)
    }

    /// The next job of the other logs, if there is one.
    pub fn next_behind(&mut self) -> Option<Dispatch> {
        self.next_of(|is_tail| !is_tail)
    }

    fn next_of(&mut self, wanted: impl Fn(bool) -> bool) -> Option<Dispatch> {
        let streams = self.flights.values().filter(|flight| flight.stream).count();
        let may = |turn: &&Turn| {
            self.logs.get(&turn.2).is_some_and(|log| {
                let has_work = log
                    .active()
                    .plan
                    .as_ref()
                    .is_some_and(|plan| !plan.todo.is_empty() && plan.waiting.len() < WAITING_MAX);
                has_work && wanted(!turn.0) && (log.format.is_none() || streams < self.policy.streams_max)
            })
        };
        let id = self.turns.iter().find(may)?.2;
        let log = self.logs.get_mut(&id)?;
        let samples = log.ends();
        let stream = log.format.map(|format| Stream {
            format,
            probe: log.probed.iter().find(|(_, known)| !known).map(|(sample, _)| probe_of(sample)),
        });
        let generation = log.active().generation;
        let plan = log.active_mut().plan.as_mut()?;
        let work = plan.todo.pop_front()?;
        if plan.todo.is_empty() {
            self.turns.remove(id);
        }
        self.jobs += 1;
        let io = if work.strikes > 0 { Io::Read } else { self.policy.io };
        let job =
            Job { number: self.jobs, log: id, generation, range: work.range, io, last: plan.last, stream };
        self.flights.insert(self.jobs, Flight { log: id, plan: plan.serial, work, stream: stream.is_some() });
        Some(Dispatch { job, path: log.path.clone(), file: log.file, samples })
    }

    /// A job was given to a worker: its log could be opened. Of a compressed log, `raw` are samples of the
    /// file itself.
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
    pub fn done(&mut self, number: u64, checkpoint: Checkpoint) {
        if let Some((id, work)) = self.land(number)
            && let Some(plan) = self.logs.get_mut(&id).and_then(|log| log.active_mut().plan.as_mut())
        {
            plan.waiting.insert(work.range.from(), Piece::Counted(number, work.range, Box::new(checkpoint)));
        }
    }

    /// The log of a flight, if that is still counted as it was when the job was given out.
    fn flying(&self, number: u64) -> Option<u64> {
        let flight = self.flights.get(&number)?;
        let plan = self.logs.get(&flight.log)?.active().plan.as_ref()?;
        (plan.serial == flight.plan).then_some(flight.log)
    }

    /// Is a job's result still wanted, now or later?
    pub fn wants(&self, number: u64, log: u64) -> bool {
        let plan = self.logs.get(&log).and_then(|log| log.active().plan.as_ref());
        self.flying(number).is_some()
            || plan.is_some_and(|plan| {
                plan.waiting.values().any(|piece| matches!(piece, Piece::Counted(job, ..) if *job == number))
            })
    }

    /// Takes a flight off the list: its log and work, if that is still what they were.
    fn land(&mut self, number: u64) -> Option<(u64, Work)> {
        let flight = self.flights.remove(&number)?;
        let plan = self.logs.get(&flight.log)?.active().plan.as_ref()?;
        (plan.serial == flight.plan).then_some((flight.log, flight.work))
    }

    /// A job's worker died.
    pub fn lost(&mut self, number: u64, death: Death, hung: Option<Hang>) {
        match blame(death, hung) {
            Blame::Nobody => self.try_again(number, |_| {}),
            Blame::Chance(reason) => self.kill(number, reason),
            Blame::Range(reason) => self.strike(number, reason),
        }
    }

    /// A job's result could not be taken.
    pub fn refused(&mut self, number: u64) {
        self.kill(number, Reason::Refused);
    }

    /// A job's bytes could not be read. What is left of its log is put aside until the folder is next looked
    /// at.
    pub fn failed(&mut self, number: u64, errno: i32) {
        let Some(id) = self.flying(number) else { return self.put_back(number) };
        // Of all errors, this one is the range's own.
        if errno == libc::EIO {
            self.strike(number, Reason::Unreadable(errno));
        } else {
            self.put_back(number);
            self.note_unreadable(id, errno);
        }
        self.turns.remove(id);
    }

    /// A job could not be given out after all.
    pub fn put_back(&mut self, number: u64) {
        self.try_again(number, |_| {});
    }

    /// A job's log cannot be opened. What is left of it is put aside until the folder is next looked at.
    pub fn cannot_open(&mut self, number: u64, errno: i32) {
        let Some(id) = self.flying(number) else { return self.put_back(number) };
        self.put_back(number);
        // Renamed or removed since it was found, most often: the next look will tell.
        if errno != libc::ENOENT {
            self.note_unreadable(id, errno);
        }
        self.turns.remove(id);
    }

    pub(super) fn note_unreadable(&mut self, id: u64, errno: i32) {
        if let Some(log) = self.logs.get_mut(&id).filter(|log| !log.is_gone())
            && log.unreadable.replace(errno) != Some(errno)
        {
            self.changed.insert(id);
        }
    }

    fn try_again(&mut self, number: u64, note: impl Fn(&mut Work)) {
        let Some((id, mut work)) = self.land(number) else { return };
        note(&mut work);
        if work.kills > 0 {
            self.struck.insert(id);
        }
        self.put(id, work);
    }

    fn put(&mut self, id: u64, work: Work) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        if let Some(plan) = &mut log.active_mut().plan {
            // In the order of the bytes: who waits for this one must not wait for one behind it.
            let at = plan
                .todo
                .iter()
                .position(|other| other.range.from() > work.range.from())
                .unwrap_or(plan.todo.len());
            plan.todo.insert(at, work);
            self.turns.insert(id, log);
        }
    }

    fn kill(&mut self, number: u64, reason: Reason) {
        match self.flights.get_mut(&number) {
            Some(flight) if flight.work.kills + 1 >= KILLS_MAX => {
                flight.work.kills = 0;
                self.strike(number, reason);
            }
            _ => self.try_again(number, |work| work.kills += 1),
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

    pub(super) fn give_up(&mut self, id: u64, work: Work, reason: Reason) {
        if let Some(plan) = self.logs.get_mut(&id).and_then(|log| log.active_mut().plan.as_mut()) {
            plan.waiting.insert(work.range.from(), Piece::Hole(work.range, reason));
        }
    }
}

fn probe_of(sample: &Sample) -> Probe {
    (sample.at, sample.length)
}
