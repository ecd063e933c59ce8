//! Which logs must be written to the store, and when.
//!
//! A log is written when it has been counted, and while it grows at most every second and at most a twentieth
//! of the time. After an error everything that failed is tried again, less and less often. Pure. Deliberately
//! absent: what is written, and who writes it.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::ledger::{Count, Log};

/// A log that grows is written no more often than this.
const EVERY: Duration = Duration::from_secs(1);
/// After a write, there is rest for so many times as long.
const REST: u32 = 20;
/// The longest wait after errors.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many logs are written at once, so that the folder is synced once for all of them.
pub const BATCH: usize = 64;

/// A number that changes when what is stored of a log does.
pub type Mark = u64;

/// What is known of the stored state of all logs.
#[derive(Debug, Default)]
pub struct WriteQueue {
    logs: HashMap<u64, Save>,
    /// The logs that are to be written, by when.
    waiting: BTreeSet<(Instant, u64)>,
    /// How many are being written.
    writing: usize,
    /// The logs whose latest write failed.
    failing: BTreeSet<u64>,
}

#[derive(Debug)]
struct Save {
    /// What the log is now; `None`: it is not to be in the store.
    wanted: Option<Mark>,
    /// What the store has, if it has anything.
    stored: Option<Mark>,
    /// What is being written.
    writing: Option<Option<Mark>>,
    due: Instant,
    not_before: Instant,
    failures: u32,
    /// When it last changed.
    grown: Instant,
    /// When its latest write was begun, and its latest that went well.
    begun: Instant,
    held: Option<Instant>,
}

/// What is to be done with a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Todo {
    /// Write it.
    Write,
    /// Remove what is stored of it.
    Remove,
}

impl WriteQueue {
    /// A log was found in the store.
    pub fn found(&mut self, id: u64, mark: Option<Mark>, now: Instant) {
        self.logs.insert(
            id,
            Save {
                wanted: mark,
                stored: Some(mark.unwrap_or(0)),
                writing: None,
                due: now,
                not_before: now,
                failures: 0,
                grown: now,
                begun: now,
                held: None,
            },
        );
    }

    /// A log may have changed, or be no more.
    pub fn note(&mut self, id: u64, log: Option<&Log>, now: Instant) {
        let known = log.map(Log::known);
        let wanted = known.as_deref().filter(|log| is_kept(log)).map(mark);
        if wanted.is_none() && !self.logs.contains_key(&id) {
            return;
        }
        let fresh = Save {
            wanted: None,
            stored: None,
            writing: None,
            due: now,
            not_before: now,
            failures: 0,
            grown: now,
            begun: now,
            held: None,
        };
        let save = self.logs.entry(id).or_insert(fresh);
        if save.wanted != wanted {
            self.waiting.remove(&(save.when(), id));
            let counts_on = log.is_some_and(|log| log.pending() > 0);
            if !save.is_dirty() {
                // A log that is being counted for the first time will be different in a moment.
                save.due = if save.stored.is_none() && counts_on { now + EVERY } else { now };
            } else if !counts_on && save.stored.is_none() {
                save.due = save.due.min(now);
            }
            (save.wanted, save.grown) = (wanted, now);
        }
        self.settle(id);
    }

    /// What is to be stored of a log changed, though the log did not.
    pub fn touch(&mut self, id: u64, now: Instant) {
        /// No log's mark.
        const OTHER: Mark = 0;
        let Some(save) = self.logs.get_mut(&id) else { return };
        if let Some(Some(mark)) = &mut save.writing {
            *mark = OTHER;
        } else if !save.is_dirty() && save.wanted.is_some() {
            (save.stored, save.due) = (Some(OTHER), now);
            self.settle(id);
        }
    }

    /// What is due now, the longest due first, as long as it has not more than `bytes_max` bytes. It is being
    /// done from now on.
    pub fn take_due(
        &mut self,
        now: Instant,
        all: bool,
        bytes_max: usize,
        bytes: impl Fn(u64) -> usize,
    ) -> Vec<(u64, Todo)> {
        let (mut todo, mut sum) = (Vec::new(), 0);
        while let Some((when, id)) = self.waiting.first().copied()
            && (all || when <= now)
            && todo.len() < BATCH
            && sum <= bytes_max
        {
            self.waiting.pop_first();
            let Some(save) = self.logs.get_mut(&id) else { continue };
            (save.writing, save.begun) = (Some(save.wanted), now);
            self.writing += 1;
            sum += bytes(id);
            todo.push((id, if save.wanted.is_some() { Todo::Write } else { Todo::Remove }));
        }
        todo
    }

    /// It was done, or could not be.
    pub fn done(&mut self, id: u64, took: Duration, well: bool, now: Instant) {
        let Some(save) = self.logs.get_mut(&id) else { return };
        let Some(written) = save.writing.take() else { return };
        self.writing -= 1;
        if well {
            (save.stored, save.failures, save.due, save.held) = (written, 0, now, Some(save.begun));
            save.not_before = now + EVERY.max(took * REST);
            self.failing.remove(&id);
        } else {
            save.failures = save.failures.saturating_add(1);
            save.not_before = now + PATIENCE.min(Duration::from_millis(250) * (1 << save.failures.min(5)));
            self.failing.insert(id);
        }
        self.settle(id);
    }

    /// Nothing is in the store any more, but what `kept` says was written just now. Everything is to be
    /// written again.
    pub fn lost_all(&mut self, kept: impl Fn(u64) -> bool, now: Instant) {
        let ids: Vec<u64> = self
            .logs
            .iter()
            .filter(|(id, save)| save.stored.is_some() && save.writing.is_none() && !kept(**id))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let Some(save) = self.logs.get_mut(&id) else { continue };
            self.waiting.remove(&(save.when(), id));
            (save.stored, save.due) = (None, now);
            self.settle(id);
        }
    }

    /// Puts a log where it belongs: among those that are to be written, or among those that are forgotten.
    fn settle(&mut self, id: u64) {
        let Some(save) = self.logs.get(&id) else { return };
        if save.is_forgotten() {
            self.logs.remove(&id);
            self.failing.remove(&id);
        } else if save.is_dirty() && save.writing.is_none() {
            self.waiting.insert((save.when(), id));
        }
    }

    /// When the next log is due. `None`: all that is known is stored or being written.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(when, _)| *when)
    }

    /// How many logs are not in the store as they are.
    pub fn behind(&self) -> u64 {
        (self.waiting.len() + self.writing) as u64
    }

    /// Is something to be written, or being written?
    pub fn is_writing(&self) -> bool {
        !self.waiting.is_empty() || self.writing > 0
    }

    /// Since when the log that waits longest has been due to be written. A write that failed ends no waiting.
    pub fn waiting_since(&self) -> Option<Instant> {
        if self.behind() == 0 {
            return None;
        }
        self.logs.values().filter(|save| save.is_dirty() || save.writing.is_some()).map(|save| save.due).min()
    }

    /// Could the latest write of any log not be done?
    pub fn is_failing(&self) -> bool {
        !self.failing.is_empty()
    }

    /// May anything of a log be in the store?
    pub fn may_be_stored(&self, id: u64) -> bool {
        self.logs.get(&id).is_some_and(|save| save.stored.is_some() || save.writing.is_some())
    }

    /// Is a log in the store as it is?
    pub fn is_stored(&self, id: u64) -> bool {
        self.logs
            .get(&id)
            .is_some_and(|save| save.stored.is_some() && !save.is_dirty() && save.writing.is_none())
    }

    /// Has a log been written since then, with all that was known of it then?
    pub fn is_written_since(&self, id: u64, then: Instant) -> bool {
        self.logs.get(&id).and_then(|save| save.held).is_some_and(|held| held >= then)
    }

    /// When a log last changed.
    pub fn grown(&self, id: u64) -> Option<Instant> {
        self.logs.get(&id).map(|save| save.grown)
    }
}

impl Save {
    fn is_dirty(&self) -> bool {
        self.wanted != self.stored
    }

    fn is_forgotten(&self) -> bool {
        self.wanted.is_none() && self.stored.is_none() && self.writing.is_none()
    }

    fn when(&self) -> Instant {
        self.due.max(self.not_before)
    }
}

/// Is a log in the store? One that counts, or that was taken back; a copy is counted again from its file.
fn is_kept(log: &Log) -> bool {
    log.deleted || (log.counts() && (log.count.content.to > 0 || !log.active().quarantine.is_empty()))
}

/// See [`Mark`].
pub fn mark(log: &Log) -> Mark {
    let Log { folder, name, file, deleted, rotated, raw, successors, guessed, .. } = log;
    let Count { generation, content, quarantine, damage, unterminated, .. } = &log.count;
    let gone = log.is_gone();
    let text = format!(
        "{folder:?} {name:?} {file:?} {gone} {generation} {} {quarantine:?} {damage:?} {deleted} {unterminated} {rotated} {raw:?} {successors:?} {guessed} {} {:?}",
        content.to,
        log.is_complete(),
        log.state()
    );
    xxhash_rust::xxh3::xxh3_64(text.as_bytes()) | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(queue: &mut WriteQueue, now: Instant, all: bool) -> Vec<(u64, Todo)> {
        queue.take_due(now, all, 0, |_| 0)
    }

    fn save(now: Instant) -> WriteQueue {
        let mut queue = WriteQueue::default();
        queue.logs.insert(
            1,
            Save {
                wanted: Some(5),
                stored: None,
                writing: None,
                due: now,
                not_before: now,
                failures: 0,
                grown: now,
                begun: now,
                held: None,
            },
        );
        queue.settle(1);
        queue
    }

    #[test]
    fn a_log_that_grows_is_written_a_twentieth_of_the_time() {
        let now = Instant::now();
        let mut queue = save(now);
        assert_eq!(take(&mut queue, now, false), [(1, Todo::Write)]);
        assert_eq!((take(&mut queue, now, true), queue.is_stored(1), queue.behind()), (vec![], false, 1));
        queue.done(1, Duration::from_millis(100), true, now);
        assert!(queue.is_stored(1) && queue.next_due().is_none());
        // It grew while it was written.
        queue.logs.get_mut(&1).unwrap().wanted = Some(7);
        queue.settle(1);
        assert_eq!(take(&mut queue, now + Duration::from_millis(1_999), false), []);
        assert_eq!(take(&mut queue, now + Duration::from_millis(2_000), false), [(1, Todo::Write)]);
    }

    #[test]
    fn what_failed_is_tried_again() {
        let now = Instant::now();
        let mut queue = save(now);
        take(&mut queue, now, false);
        queue.done(1, Duration::ZERO, false, now);
        assert!(queue.is_failing() && !queue.is_stored(1));
        assert_eq!(queue.waiting_since(), Some(now));
        let due = queue.next_due().unwrap();
        assert!(due > now && due <= now + PATIENCE);
        assert_eq!(take(&mut queue, due, false), [(1, Todo::Write)]);
        assert_eq!(queue.waiting_since(), Some(now));
        queue.done(1, Duration::ZERO, true, due);
        assert!(!queue.is_failing() && queue.waiting_since().is_none());
        // It is no more.
        queue.note(1, None, due);
        assert_eq!(take(&mut queue, due + EVERY, false), [(1, Todo::Remove)]);
        queue.done(1, Duration::ZERO, true, due);
        assert!(queue.logs.is_empty());
    }

    #[test]
    fn what_is_not_in_the_store_any_more_is_written_again() {
        let now = Instant::now();
        let mut queue = WriteQueue::default();
        for (id, mark) in [(1, Some(5)), (2, Some(6)), (3, None)] {
            queue.found(id, mark, now);
        }
        queue.lost_all(|id| id == 2, now);
        assert_eq!((queue.is_stored(1), queue.is_stored(2), queue.behind()), (false, true, 1));
        assert_eq!(take(&mut queue, now, false), [(1, Todo::Write)]);
        // What is not wanted need not be removed.
        assert!(!queue.logs.contains_key(&3));
    }
}
