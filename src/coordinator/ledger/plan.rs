//! What is to be counted of a log, in which order, and when a result's turn has come to be merged.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::work::{Work, set_apart};
use super::{Event, Ledger};
use crate::board::Reason;
use crate::range::{Checkpoint, Ending, LastLine, Range};
use crate::sample::{Sample, blocks_within};

/// A compressed log is taken up when it has not changed for so long, if nobody was seen to close it.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// A log that was renamed is final when it has not changed for so long: its writer has gone on to another
/// file.
pub(super) const ROTATED_AFTER: Duration = Duration::from_secs(1);

/// The bytes of a log that are being counted.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Tells it from every other plan.
    pub(super) serial: u64,
    pub(super) to: u64,
    pub(super) last: LastLine,
    pub(super) todo: VecDeque<Work>,
    /// Up to where everything is merged.
    pub(super) next: u64,
    /// What came back before its turn: a log's numbers are always those of a beginning of it.
    pub(super) waiting: BTreeMap<u64, Piece>,
}

/// A range that is through.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// Counted by this job.
    Counted(u64, Range, Box<Checkpoint>),
    /// Given up.
    Hole(Range, Reason),
}

impl Ledger {
    /// Time goes on.
    pub fn consider_all(&mut self, now: Duration) {
        self.waits = false;
        let ids: Vec<u64> = self.logs.keys().copied().collect();
        ids.into_iter().for_each(|id| self.consider(id, now));
    }

    /// Plans what there is to count of a log.
    pub(super) fn consider(&mut self, id: u64, now: Duration) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        // A time stamp of the future says nothing, one of the past may have been set by hand.
        let past = |moment: Duration| if moment <= now { moment } else { Duration::ZERO };
        let quiet = now - past(log.seen).max(past(log.changed));
        let is_final = log.format.is_some()
            || quiet >= self.policy.final_after
            || (log.rotated && quiet >= ROTATED_AFTER);
        if log.is_final != is_final {
            log.is_final = is_final;
            self.changed.insert(id);
        }
        // Of what is not known to be there still, nothing is counted.
        if log.deleted || !log.is_verified() {
            return;
        }
        if let Some(plan) = &log.active().plan {
            // It may have been put aside until now.
            if !plan.todo.is_empty() {
                self.turns.insert(id, log);
            }
            return;
        }
        self.count_again(id);
        let Some(log) = self.logs.get_mut(&id) else { return };
        // A line that is held back is looked at again when there is more of it, or when there will be no
        // more.
        let held = log.active().held_at.is_some_and(|size| log.size <= size) && !is_final;
        let unsettled = log.format.is_some() && !log.closed && quiet < SETTLED_AFTER;
        self.waits |= held || (unsettled && !log.active().caught_up);
        let whole = Range::new(0, log.size);
        let range = match log.format {
            Some(_) if log.active().caught_up || unsettled => None,
            Some(_) => whole,
            // First it must be told from the logs that there are.
            None if log.identified_at.is_none() => None,
            None => Range::new(log.active().content.to, log.size),
        };
        let Some(range) = range.filter(|_| !held) else {
            let is_done = log.pending() == 0 && log.active().held_at.is_none_or(|size| log.size <= size);
            log.active_mut().caught_up |= is_done;
            if log.uncounted() == 0 && log.unreadable.take().is_some() {
                // There is nothing left to read.
                self.changed.insert(id);
            }
            return;
        };
        let mut given_up = Vec::new();
        let is_stream = log.format.is_some();
        let cut = range.cut(if is_stream { range.len() } else { self.policy.range_bytes });
        let todo: VecDeque<Work> = cut
            .flat_map(|range| set_apart(range, is_stream, log.file, &mut self.suspects, &mut given_up))
            .collect();
        let struck = todo.iter().any(|work| work.strikes > 0 || work.kills > 0);
        self.plans += 1;
        let (serial, last) =
            (self.plans, if is_final || log.ends_as_before() { LastLine::Count } else { LastLine::Hold });
        log.active_mut().plan =
            Some(Plan { serial, to: range.to(), last, todo, next: range.from(), waiting: BTreeMap::new() });
        if struck {
            self.struck.insert(id);
        }
        if log.active().plan.as_ref().is_some_and(|plan| !plan.todo.is_empty()) {
            self.turns.insert(id, log);
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

    /// The job of a log whose numbers are to be merged now, if its turn has come.
    pub fn ready(&mut self, id: u64, now: Duration) -> Option<u64> {
        loop {
            let log = self.logs.get_mut(&id)?;
            let is_stream = log.format.is_some();
            let count = log.active_mut();
            let plan = count.plan.as_mut()?;
            let next = plan.next;
            match plan.waiting.get(&next)? {
                Piece::Counted(number, ..) => return Some(*number),
                Piece::Hole(range, reason) => {
                    let (range, reason) = (*range, *reason);
                    plan.waiting.remove(&next);
                    plan.next = range.to();
                    count.quarantine.push((range, reason));
                    if !is_stream {
                        count.content.grow(range.to(), blocks_within(range.to()), &[], None);
                    }
                    count.held_at = None;
                    self.changed.insert(id);
                    self.end_plan(id, now);
                }
            }
        }
    }

    /// The numbers of the job that was [`Ledger::ready`] have been added. `anchor`: what stands before the
    /// end of what is counted now.
    pub fn merged(&mut self, id: u64, anchor: Option<Sample>, now: Duration) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let is_stream = log.format.is_some();
        let count = log.active_mut();
        let Some(plan) = &mut count.plan else { return };
        let Some(Piece::Counted(_, range, checkpoint)) = plan.waiting.remove(&plan.next) else { return };
        let to = end_of(&checkpoint, range, is_stream);
        plan.next = range.to();
        if checkpoint.ending == Ending::Held {
            // What was counted behind a line that is not finished was written since, and is counted again
            // with its end.
            (plan.to, plan.next) = (to, to);
            plan.todo.clear();
        }
        count.content.grow(to, checkpoint.blocks.0, &checkpoint.blocks.1, anchor);
        count.unterminated |= checkpoint.ending == Ending::Unterminated;
        count.damage = checkpoint.damage;
        count.held_at = (checkpoint.ending == Ending::Held).then(|| checkpoint.tail.reach());
        log.unreadable = None;
        if log.end_recount() {
            self.events.push(Event::Recounted(id));
        }
        self.alike.insert(id, &log.count.content.blocks);
        if is_stream {
            if let Some((sample, known)) = log.probed.iter_mut().find(|(_, known)| !known) {
                (*sample, *known) = (checkpoint.probe.unwrap_or(Sample { hash: 0, ..*sample }), true);
            }
        } else {
            log.size = log.size.max(checkpoint.tail.reach());
        }
        self.changed.insert(id);
        self.end_plan(id, now);
    }

    /// Ends the plan if all of it is through.
    fn end_plan(&mut self, id: u64, now: Duration) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        if log.active().plan.as_ref().is_none_or(|plan| plan.next < plan.to) {
            return;
        }
        self.turns.remove(id);
        log.active_mut().plan = None;
        self.struck.remove(&id);
        log.identified_at = log.identified_at.or((log.count.content.to == 0).then_some(log.size));
        // What was written meanwhile is a tail like any other: else a log that grows all the time would never
        // have caught up.
        log.active_mut().caught_up = true;
        if log.end_recount() {
            self.alike.insert(id, &log.count.content.blocks);
            self.events.push(Event::Recounted(id));
        }
        self.consider(id, now);
    }
}

/// Up to where a log is counted when this result of a range is merged. If no line starts in it, the next one
/// is found from its end.
pub fn end_of(checkpoint: &Checkpoint, range: Range, is_stream: bool) -> u64 {
    if checkpoint.ending == Ending::Held || is_stream {
        checkpoint.end
    } else {
        checkpoint.end.max(range.to())
    }
}
