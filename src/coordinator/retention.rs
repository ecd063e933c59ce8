//! Removes the clients of days that are older than is wanted, from the store and from memory. The numbers of
//! the days stay.
//!
//! What a day's logs have together is noted in all their partials, and only when that is stored, the first of
//! them loses its clients: so the number of its distinct clients is known afterwards, wherever the daemon
//! ends in between. Deliberately absent: the logs themselves. Whoever wants the addresses gone removes those
//! too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tracing::info;

use super::ledger::Ledger;
use super::persist::Persist;
use super::sums::{PartKey, Sums};
use crate::board::LogState;
use crate::log::Day;
use crate::store::{day_of, later};

/// How often it is looked which days are too old, at most.
const EVERY: Duration = Duration::from_secs(1);
/// After a look, there is rest for so many times as long.
const REST: u32 = 50;

/// What is kept, and for how long.
#[derive(Debug)]
pub struct Retention {
    /// For so many days; `None`: for ever.
    days: Option<u32>,
    next: Instant,
    /// The latest union that was noted.
    union: u64,
    /// When unions of days were noted, until their clients are removed.
    noted: BTreeMap<Option<Day>, Instant>,
}

/// What is to be done about a day that is too old.
enum Todo {
    /// Nothing now: a log of it may grow, or what is noted is not stored yet.
    Wait,
    /// Note what its logs have together.
    Note,
    /// Remove the clients of these parts.
    Remove(Vec<PartKey>),
}

/// What is looked at.
struct View<'a> {
    ledger: &'a Ledger,
    sums: &'a Sums,
    persist: &'a Persist,
    noted: &'a BTreeMap<Option<Day>, Instant>,
    /// The first day that is kept.
    first: Day,
}

impl Retention {
    /// Keeps clients for so many whole days after their own; `None`: for ever.
    pub fn new(days: Option<u32>) -> Retention {
        Retention { days, next: Instant::now(), union: 0, noted: BTreeMap::new() }
    }

    /// Removes what is too old at the time `now`, since 1970, if all that is in the folders has been counted
    /// once: what was not may have lines of any day. Says whether there was anything.
    pub fn apply(&mut self, now: Duration, ledger: &Ledger, sums: &mut Sums, persist: &mut Persist) -> bool {
        let start = Instant::now();
        let Some(days) = self.days.filter(|_| self.next <= start) else { return false };
        let Some(first) =
            day_of(now.as_millis() as u64).and_then(|today| later(today, -i32::try_from(days).ok()?))
        else {
            return false;
        };
        self.next = start + EVERY;
        if ledger.logs().any(|(_, log)| log.state() == LogState::Counting && log.unreadable.is_none()) {
            return false;
        }
        let (mut notes, mut removals) = (Vec::new(), Vec::new());
        let view = View { ledger, sums, persist, noted: &self.noted, first };
        for (day, parts) in view.sums.days_with_clients(|day| day.is_none_or(|day| day < first)) {
            match view.todo(day, parts) {
                Todo::Wait => {}
                Todo::Note => notes.push((day, parts.clone())),
                Todo::Remove(parts) => removals.extend(parts),
            }
        }
        self.union = self.union.max(now.as_nanos() as u64);
        for (day, parts) in notes {
            self.union += 1;
            if sums.note_union(day, self.union) {
                self.noted.insert(day, Instant::now());
                parts.iter().for_each(|(log, _)| persist.touch(*log));
            }
        }
        for part in &removals {
            sums.remove_clients(*part);
            persist.touch(part.0);
        }
        self.noted.retain(|day, _| sums.is_noted(*day) && sums.has_clients(*day));
        if !removals.is_empty() {
            info!(parts = removals.len(), before = %first, "deleted the clients of days that are older than retention_days; the numbers of these days stay");
        }
        self.next = Instant::now() + EVERY.max(start.elapsed() * REST);
        !removals.is_empty()
    }
}

impl View<'_> {
    fn todo(&self, day: Option<Day>, parts: &BTreeSet<PartKey>) -> Todo {
        let (own, foreign): (Vec<PartKey>, Vec<PartKey>) =
            parts.iter().partition(|(log, _)| !self.persist.is_foreign(*log));
        let mut due: Vec<PartKey> = own.into_iter().filter(|key| !self.sums.is_removed(*key)).collect();
        if day.is_none() {
            // What has no date is as old as its log.
            due.retain(|(log, _)| self.is_old(*log));
        }
        if !due.iter().all(|(log, _)| self.is_at_rest(*log)) {
            return Todo::Wait;
        }
        // Where some are removed already, or another host's daemon decides, or logs come and go all the time,
        // the union will not be known whatever is noted.
        let can_be_known = day.is_some() && foreign.is_empty() && due.len() == parts.len();
        match () {
            () if parts.len() == 1 || !can_be_known => Todo::Remove(due),
            () if !self.sums.is_noted(day) => Todo::Note,
            () => match self.noted.get(&day) {
                Some(then) if !due.iter().all(|(log, _)| self.persist.is_written_since(*log, *then)) => {
                    Todo::Wait
                }
                // It is stored: it was noted in an earlier life, or has been written since.
                _ => Todo::Remove(due),
            },
        }
    }

    /// Will a log get no more lines of old days, as far as is known? It is final, or has come to days that
    /// are kept: there it may grow all the time.
    fn is_at_rest(&self, log: u64) -> bool {
        let latest = || self.sums.days_of(log).into_iter().flatten().max();
        self.ledger.log(log).is_some_and(|log| {
            log.is_gone()
                || (log.is_final() && log.pending() == 0)
                || latest().is_some_and(|day| day >= self.first)
        })
    }

    fn is_old(&self, log: u64) -> bool {
        let changed = self.ledger.log(log).and_then(|log| day_of(log.changed.as_millis() as u64));
        changed.is_some_and(|day| day < self.first)
    }
}
