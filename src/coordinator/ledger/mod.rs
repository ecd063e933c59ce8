//! Which logs there are, which of their bytes have been counted, which must be.
//!
//! Pure: what is found, answered and lost goes in, jobs come out. No clock, no socket, no numbers of what was
//! counted; what must be looked up in a file is asked of a [`Probe`]. Two invariants carry everything. What
//! is counted of a log is always a *beginning* of it: results that come before their turn wait. And of the
//! bytes that a plan covers, each is in exactly one of *merged*, *a range to do*, *in flight* or *waiting*;
//! only an answer to the flight itself moves it on.
//!
//! `restored` takes over what an earlier life has left, `see` what the folders hold, `foreign` which of that
//! are no logs; `duplicates` decides which logs are the same content, `successor` which one takes another's place;
//! `plan` has what is to be counted, `turns` the order of that, `flight` what workers are counting.

mod alike;
mod duplicates;
mod flight;
mod foreign;
mod log;
mod plan;
mod restored;
mod see;
mod successor;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use super::inflight::Suspect;
use crate::log::Foreign;
use crate::range::Io;

use alike::Alike;
pub use flight::Dispatch;
use flight::Flight;
use foreign::Foreigners;
pub use log::{Count, Log, Presence};
pub use plan::end_of;
pub use see::View;
use turns::Turns;

/// What has happened to a log's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// They are void: it was taken back, or is tried anew and nothing is known of it meanwhile.
    Void(u64),
    /// They are void, and the log is no more.
    Dropped(u64),
    /// It is counted again from its start: until that is done, they are what they were.
    Again(u64),
    /// It has been counted again: they are what was counted since.
    Recounted(u64),
    /// It will not be counted again: they stay what they were.
    Recalled(u64),
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

/// All logs.
#[derive(Debug)]
pub struct Ledger {
    policy: Policy,
    logs: BTreeMap<u64, Log>,
    /// Ids that no log may get: in the store they belong to what cannot be read.
    reserved: BTreeSet<u64>,
    turns: Turns,
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
    /// The files that are no logs by their first bytes.
    foreigners: Foreigners,
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
            turns: Turns::default(),
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
            foreigners: Foreigners::default(),
            missing: false,
            waits: false,
        }
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

    /// The names of the files that are no logs by their first bytes, with their paths and kinds.
    pub fn foreigners(&self) -> impl Iterator<Item = (&[u8], &Path, Foreign)> {
        self.foreigners.names()
    }

    /// Is a log missing that may be found at another look?
    pub fn is_missing_any(&self) -> bool {
        self.missing
    }

    /// Is there a log that will be due for something though nothing happens to it?
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Whoever runs tallyd wants what was given up to be tried again.
    pub fn retry(&mut self, now: Duration) {
        let ids: Vec<u64> = self
            .logs
            .iter()
            .filter(|(_, log)| {
                !log.is_gone()
                    && !log.deleted
                    && (!log.active().quarantine.is_empty() || log.active().damage.is_some())
            })
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.logs.get_mut(&id).into_iter().for_each(Log::begin_recount);
            self.void(id);
            self.consider(id, now);
        }
    }

    /// Takes a log back: its numbers are void for good. Says whether there is such a log.
    pub fn delete(&mut self, id: u64) -> bool {
        let Some(log) = self.logs.get_mut(&id) else { return false };
        self.turns.remove(id);
        log.abandon_recount();
        log.deleted = true;
        log.active_mut().plan = None;
        self.changed.insert(id);
        self.changed.extend(self.inner_of(id));
        self.events.push(Event::Void(id));
        true
    }

    /// What is stored of a log cannot be read: it is counted again if it is there, else it is lost.
    pub fn forget(&mut self, id: u64, now: Duration) {
        match self.logs.get(&id).map(|log| log.is_gone()) {
            Some(true) => self.drop_log(id),
            Some(false) => {
                self.logs.get_mut(&id).into_iter().for_each(Log::drop_recount);
                self.void(id);
                self.consider(id, now);
            }
            None => {}
        }
    }

    /// If a log is to be counted again, that begins.
    fn count_again(&mut self, id: u64) {
        if let Some(log) = self.logs.get_mut(&id).filter(|log| log.is_to_be_recounted()) {
            log.begin_recount();
            self.void(id);
        }
    }

    /// A log's numbers are void, or, if it is being counted again, what was counted of it since that began.
    /// Its bytes are planned anew.
    fn void(&mut self, id: u64) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        self.turns.remove(id);
        log.active_mut().begin_anew();
        log.unreadable = None;
        self.changed.insert(id);
        if log.recount.is_some() {
            return self.events.push(Event::Again(id));
        }
        self.events.push(Event::Void(id));
        // Nothing is known of it any more: what counted within it counts by itself, until it is met again.
        log.compared = false;
        if log.format.is_some() {
            log.identified_at = None;
        }
        self.alike.remove(id);
        self.release(id);
    }
}

#[cfg(test)]
mod tests;
