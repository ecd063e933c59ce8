//! Keeps logs in the store, with a thread of its own: a disk that hangs stops no counting and no heartbeat.
//!
//! What is written is a snapshot: the numbers of one moment, shared with the sums and copied only if those go
//! on meanwhile. The thread does one task after another and reports on each. Deliberately absent: when a log
//! is written. The write queue decides that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tracing::{error, warn};

use crate::exit::Exit;
use crate::log::Day;
use crate::store::unite::{United, Wanted, unite_days, use_threads};
use crate::store::{Host, Meta, Partial, StoreError, again, encode, folder};
use crate::sys::socket::lifeline;
use crate::sys::state_lock::{StateLock, StateLockError};
use crate::tally::{Clients, Distinct};

/// So many threads unite what is stored.
const THREADS: usize = 2;

/// The clients of a log by day.
pub type DayClients = Vec<(Option<Day>, Arc<Clients>)>;

/// Clients by day as they were read from a partial.
pub type LoadedDays = Vec<(Option<Day>, Clients)>;

/// What the thread is to do.
#[derive(Debug)]
pub enum Task {
    /// Writes partials. Without clients: those that the log's partial has already.
    Write(Vec<(Meta, Option<DayClients>)>),
    /// Removes a log's partial.
    Remove(u64),
    /// Looks whether the folder of partials is there, and makes it if it is not.
    Look,
    /// Reads the clients of a log back from a partial: of one day, or of all.
    Load(PathBuf, u64, Option<Option<Day>>),
    /// Counts the clients that days of logs have together: of those that are stored, and of these.
    Unite(Vec<Wanted>, Vec<(Option<Day>, Arc<Clients>)>),
}

/// What the thread has done.
#[derive(Debug)]
pub enum Report {
    /// What came of the logs that were to be written.
    Wrote {
        /// For each of them: how long it took, and whether it went.
        logs: Vec<(u64, Duration, Result<(), StoreWriterError>)>,
        /// The folder was not there, and was made: nothing is stored of any other log.
        made: bool,
    },
    /// A partial was removed, or could not be.
    Removed(u64, io::Result<()>),
    /// The folder is there. `made`: it was not.
    Looked {
        /// See [`Report::Wrote`].
        made: bool,
    },
    /// The clients of a log.
    Loaded(u64, Option<Option<Day>>, Result<LoadedDays, StoreWriterError>),
    /// How many clients days have together, and of which logs they cannot be had.
    United(BTreeMap<Option<Day>, Distinct>, Vec<(u64, StoreWriterError)>),
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum StoreWriterError {
    /// The system could not do it. It may be able to later.
    #[error(transparent)]
    Failed(io::Error),
    /// The log's clients are in its partial only, and that cannot be used.
    #[error("{0}")]
    Lost(String),
}

/// The way to the thread.
#[derive(Debug)]
pub struct StoreWriter {
    tasks: Sender<Task>,
    reports: Receiver<Report>,
    wake: File,
    /// Tasks that were given and not reported on.
    open: usize,
    since: Instant,
}

impl StoreWriter {
    /// Starts the thread, for the partials of a host in a state folder.
    ///
    /// # Errors
    /// If the system has no thread or no descriptors for it.
    pub fn start(state: &Path, host: &Host, lock: StateLock) -> io::Result<StoreWriter> {
        let mut shelf =
            Shelf { state: state.to_owned(), host: host.clone(), folder: folder::of(state, host), lock };
        let (tasks, todo) = channel();
        let (done, reports) = channel();
        let (wake, waker) = lifeline()?;
        let mut waker = File::from(waker);
        // The coordinator needs its memory for other things than stacks.
        if let Err(error) = use_threads(THREADS) {
            warn!(%error, "cannot set the number of threads that count over the store");
        }
        std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            let _end = EndsAll;
            for task in todo {
                // Who is not there to hear it is dead, and so is this thread soon.
                if done.send(shelf.perform(task)).is_err() || waker.write_all(&[1]).is_err() {
                    return;
                }
            }
        })?;
        Ok(StoreWriter { tasks, reports, wake: wake.into(), open: 0, since: Instant::now() })
    }

    /// Becomes readable when there is a report.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Is there nothing that the thread has to do?
    pub fn is_idle(&self) -> bool {
        self.open == 0
    }

    /// For how long the thread has been at one task.
    pub fn at_it_for(&self) -> Duration {
        if self.open == 0 { Duration::ZERO } else { self.since.elapsed() }
    }

    /// Gives the thread a task.
    pub fn give(&mut self, task: Task) {
        if self.open == 0 {
            self.since = Instant::now();
        }
        if self.tasks.send(task).is_ok() {
            self.open += 1;
        }
    }

    /// What the thread has done since this was last asked.
    pub fn reports(&mut self) -> Vec<Report> {
        let reports: Vec<Report> = self.reports.try_iter().collect();
        // One byte for each: so many can be read without waiting, and the next is not missed.
        for _ in &reports {
            let _ = self.wake.read(&mut [0]);
            self.open -= 1;
            self.since = Instant::now();
        }
        reports
    }

    /// Waits for the next report, no longer than so long.
    pub fn wait(&mut self, patience: Duration) -> Option<Report> {
        let report = self.reports.recv_timeout(patience).ok()?;
        let _ = self.wake.read(&mut [0]);
        self.open -= 1;
        Some(report)
    }
}

/// If the thread panics, the process ends, and its successor has another one. Without it nothing would be
/// stored any more.
struct EndsAll;

impl Drop for EndsAll {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::exit(1);
        }
    }
}

/// Makes sure that no other daemon writes to the state folder, before this one does. Returns whether the
/// folder is a new one.
///
/// A folder that was deleted or moved is made and locked again. If another daemon has locked it meanwhile,
/// this daemon ends: the store would have each line twice.
///
/// # Errors
/// If the system cannot tell, or cannot make the folder.
pub fn keep_locked(lock: &mut StateLock) -> io::Result<bool> {
    lock.renew().map_err(|error| match error {
        StateLockError::Io(error) => error,
        StateLockError::Taken(_) => {
            error!("stopping: the state folder was deleted or moved while tallyd ran, and {error} now");
            std::process::exit(Exit::State as i32);
        }
    })
}

/// Where the partials are.
struct Shelf {
    state: PathBuf,
    host: Host,
    folder: PathBuf,
    lock: StateLock,
}

impl Shelf {
    fn perform(&mut self, task: Task) -> Report {
        match task {
            Task::Write(snapshots) => {
                // It may have been removed, or not have been there when the daemon started.
                let made = self.make();
                Report::Wrote { made: matches!(made, Ok(true)), logs: self.write(snapshots, made.map(drop)) }
            }
            Task::Remove(log) => Report::Removed(
                log,
                keep_locked(&mut self.lock).and_then(|_| folder::remove(&self.folder, log)),
            ),
            Task::Look => Report::Looked { made: self.make().unwrap_or(false) },
            Task::Load(path, log, day) => Report::Loaded(log, day, load(&path, day).map_err(unusable)),
            Task::Unite(wanted, present) => {
                let United { days, wrong } = unite_days(&wanted, &present);
                Report::United(
                    days,
                    wrong.into_iter().map(|(log, trouble)| (log, unusable(trouble))).collect(),
                )
            }
        }
    }

    /// Makes the folder if it is missing. Returns whether it was.
    fn make(&mut self) -> io::Result<bool> {
        let is_new = keep_locked(&mut self.lock)?;
        if self.folder.is_dir() { Ok(is_new) } else { folder::make(&self.state, &self.host).map(|_| true) }
    }

    fn write(
        &self,
        snapshots: Vec<(Meta, Option<DayClients>)>,
        made: io::Result<()>,
    ) -> Vec<(u64, Duration, Result<(), StoreWriterError>)> {
        let (mut files, mut reports) = (Vec::new(), Vec::new());
        for (meta, clients) in snapshots {
            let (log, start) = (meta.log, Instant::now());
            let encoded = clients
                .map_or_else(|| self.stored(&meta), Ok)
                .and_then(|clients| bytes_of(&meta, &clients).map_err(StoreWriterError::Failed));
            match encoded {
                Ok(bytes) => files.push((log, bytes, start.elapsed())),
                Err(error) => reports.push((log, start.elapsed(), Err(error))),
            }
        }
        let start = Instant::now();
        let all: Vec<(u64, &[u8])> = files.iter().map(|(log, bytes, _)| (*log, &bytes[..])).collect();
        let written = match made {
            Ok(()) => folder::write_all(&self.folder, &all),
            Err(error) => all.iter().map(|_| Err(again(&error))).collect(),
        };
        let each = start.elapsed() / u32::try_from(files.len().max(1)).unwrap_or(1);
        reports.extend(files.iter().zip(written).map(|((log, _, took), written)| {
            (*log, *took + each, written.map_err(StoreWriterError::Failed))
        }));
        reports
    }

    /// The clients that a log's partial has, but those that are to be removed.
    fn stored(&self, meta: &Meta) -> Result<DayClients, StoreWriterError> {
        let days = load(&folder::path(&self.folder, meta.log), None).map_err(unusable)?;
        Ok(days
            .into_iter()
            .filter(|(day, _)| !meta.is_removed(*day))
            .map(|(day, clients)| (day, Arc::new(clients)))
            .collect())
    }
}

fn bytes_of(meta: &Meta, clients: &[(Option<Day>, Arc<Clients>)]) -> io::Result<Vec<u8>> {
    let days: Vec<(Option<Day>, &Clients)> =
        clients.iter().map(|(day, clients)| (*day, &**clients)).collect();
    encode(meta, &days).map_err(io::Error::other)
}

fn load(path: &Path, day: Option<Option<Day>>) -> Result<LoadedDays, StoreError> {
    let partial = File::open(path).map_err(StoreError::from).and_then(Partial::open)?;
    let days: Vec<Option<Day>> =
        day.map_or_else(|| partial.meta().days.keys().copied().collect(), |day| vec![day]);
    days.into_iter().map(|day| partial.to_clients(day).map(|clients| (day, clients))).collect()
}

fn unusable(trouble: StoreError) -> StoreWriterError {
    match trouble {
        StoreError::Io(error) if error.kind() != io::ErrorKind::NotFound => StoreWriterError::Failed(error),
        trouble => StoreWriterError::Lost(trouble.to_string()),
    }
}
