//! The status pages: what each process is doing, and the supervisor's roster of who lives.
//!
//! Each page is a memory object of its own that one process writes, so a process that goes wild harms only
//! what is said of itself.

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use crate::sys::memory::{SharedMemory, SharedWords};

/// The words of a status page.
const BEAT: usize = 0;
const ACTIVITY: usize = 1;
const WORK: usize = 2;
const BYTES: usize = 3;
const LOG: usize = 4;
const PAGE_WORDS: usize = 8;

/// What a process is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// It does not live.
    Dead,
    /// It has begun and is not ready yet.
    Starting,
    /// It waits for work.
    Idle,
    /// It works.
    Working,
}

impl Activity {
    /// Their words, in their order.
    pub const NAMES: [&str; 4] = ["dead", "starting", "idle", "working"];

    /// In a word.
    pub fn name(self) -> &'static str {
        Activity::NAMES[self as usize]
    }
}

/// One process's status page.
#[derive(Debug)]
pub struct StatusPage(SharedWords);

impl StatusPage {
    /// Makes the memory of a page.
    ///
    /// # Errors
    /// If the system has no memory or descriptors for it.
    pub fn memory() -> io::Result<SharedMemory> {
        SharedMemory::new(c"tallyd-status", PAGE_WORDS)
    }

    /// Opens a page for the process it is about.
    ///
    /// # Errors
    /// If it cannot be mapped.
    pub fn write(memory: &SharedMemory) -> io::Result<StatusPage> {
        memory.map().map(StatusPage)
    }

    /// Opens a page for others.
    ///
    /// # Errors
    /// If it cannot be mapped.
    pub fn read(memory: &SharedMemory) -> io::Result<StatusPage> {
        memory.map_read_only().map(StatusPage)
    }

    // All accesses are relaxed: each word stands for itself, nothing is inferred from one about another. Who
    // beats is one thread of its process.

    /// Shows that the process is alive.
    pub fn beat(&self) {
        self.0[BEAT].store(self.0[BEAT].load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// A number that changes as long as the process is alive.
    pub fn beats(&self) -> u64 {
        self.0[BEAT].load(Relaxed)
    }

    /// Says what the process does now.
    pub fn set_activity(&self, activity: Activity) {
        self.0[ACTIVITY].store(activity as u64, Relaxed);
    }

    /// What the process does.
    pub fn activity(&self) -> Activity {
        match self.0[ACTIVITY].load(Relaxed) {
            1 => Activity::Starting,
            2 => Activity::Idle,
            3 => Activity::Working,
            _ => Activity::Dead,
        }
    }

    /// Adds a piece of work that is done: a job, an answer. The api answers from several threads at once, so
    /// that a load and a store would lose some.
    pub fn add_work(&self) {
        self.0[WORK].fetch_add(1, Relaxed);
    }

    /// How many pieces of work are done, over all lives.
    pub fn work(&self) -> u64 {
        self.0[WORK].load(Relaxed)
    }

    /// Says how far the current job is.
    pub fn set_progress(&self, log: u64, bytes: u64) {
        self.0[LOG].store(log, Relaxed);
        self.0[BYTES].store(bytes, Relaxed);
    }

    /// The current job's log, and how many of its bytes are done.
    pub fn progress(&self) -> (u64, u64) {
        (self.0[LOG].load(Relaxed), self.0[BYTES].load(Relaxed))
    }
}

/// The supervisor's page: which process plays which part, and how often it was started again.
#[derive(Debug)]
pub struct Roster(SharedWords);

/// One line of the roster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RosterEntry {
    /// The process, or `None` while there is none.
    pub pid: Option<i32>,
    /// How often it was started again.
    pub restarts: u64,
}

impl Roster {
    /// Makes the memory for the supervisor and so many children.
    ///
    /// # Errors
    /// If the system has no memory or descriptors for it.
    pub fn memory(children: usize) -> io::Result<SharedMemory> {
        SharedMemory::new(c"tallyd-roster", (children + 1) * 2)
    }

    /// Opens it for the supervisor.
    ///
    /// # Errors
    /// If it cannot be mapped.
    pub fn write(memory: &SharedMemory) -> io::Result<Roster> {
        memory.map().map(Roster)
    }

    /// Opens it for others.
    ///
    /// # Errors
    /// If it cannot be mapped.
    pub fn read(memory: &SharedMemory) -> io::Result<Roster> {
        memory.map_read_only().map(Roster)
    }

    /// Writes a line. Line 0 is the supervisor's.
    pub fn set(&self, line: usize, entry: RosterEntry) {
        self.0[line * 2].store(entry.pid.map_or(0, |pid| u64::from(pid.cast_unsigned())), Relaxed);
        self.0[line * 2 + 1].store(entry.restarts, Relaxed);
    }

    /// Reads a line.
    pub fn get(&self, line: usize) -> RosterEntry {
        let pid = self.0[line * 2].load(Relaxed);
        RosterEntry {
            pid: u32::try_from(pid).ok().filter(|pid| *pid > 0).map(u32::cast_signed),
            restarts: self.0[line * 2 + 1].load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each thread loaded and stored: of two at the same time, one was lost.
    #[test]
    fn the_work_of_several_threads_is_all_counted() {
        let memory = StatusPage::memory().unwrap();
        let (page, reader) = (StatusPage::write(&memory).unwrap(), StatusPage::read(&memory).unwrap());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100_000).for_each(|_| page.add_work()));
            }
        });
        assert_eq!(reader.work(), 400_000);
    }
}
