//! The list of all partials in the store with their numbers. A partial is read again only when its file was
//! replaced.
//!
//! The board shows changes of the own host's partials; the folders of other hosts are listed periodically.
//! The samples that identify a log are not kept: only the coordinator needs them.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::shortage::is_shortage;
use crate::board::{BoardReader, Header};
use crate::store::span::Stored;
use crate::store::{Entry, Host, Identity, StoreError, folder, read_meta};

/// How often the partials of other hosts are listed.
const OTHERS_EVERY: Duration = Duration::from_secs(10);
/// The maximum number of attempts while the store changes.
const TRIES: usize = 4;

/// All partials at one time.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// The number of this snapshot, which no other one has.
    pub(super) version: u64,
    pub(super) logs: Vec<Stored>,
    /// The file of each log, in the same order.
    pub(super) files: Vec<Mark>,
    /// True if all partials could be read.
    pub(super) readable: bool,
}

/// The snapshot and the header of the board at the same time.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) header: Header,
    /// True if nothing was left to be stored when the snapshot was taken.
    pub(super) settled: bool,
}

/// Identifies the file of a partial. Each `number` is used once, so a replaced partial has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) number: u64,
    about: (u64, u64, (i64, i64), (i64, i64)),
}

impl Mark {
    /// True if this is the same file, unchanged.
    pub(super) fn is(&self, file: &File) -> io::Result<bool> {
        Ok(about(&file.metadata()?) == self.about)
    }
}

fn about(about: &Metadata) -> (u64, u64, (i64, i64), (i64, i64)) {
    (about.ino(), about.size(), (about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec()))
}

#[derive(Debug)]
pub(super) struct List {
    state: PathBuf,
    own: Host,
    snapshot: Arc<Snapshot>,
    /// The board's number of the store that the snapshot shows.
    stored: u64,
    /// True if nothing was being stored while the snapshot was taken.
    settled: bool,
    others: Vec<Entry>,
    others_readable: bool,
    others_at: Option<Instant>,
    next: u64,
}

impl List {
    /// The list of this state folder. The numbers of snapshots and files begin at `first`.
    pub(super) fn new(state: &Path, own: Host, first: u64) -> List {
        let snapshot = Arc::new(Snapshot { version: first, readable: true, ..Snapshot::default() });
        let (state, others) = (state.to_owned(), Vec::new());
        List {
            state,
            own,
            snapshot,
            stored: 0,
            settled: false,
            others,
            others_readable: true,
            others_at: None,
            next: first + 1,
        }
    }

    /// The current store. Reads the partials that changed; with `again`, lists the folders even if the board
    /// shows no change.
    ///
    /// # Errors
    /// Only if the operating system has no file descriptors or no memory left. The snapshot lacks other
    /// partials that cannot be read, and is not `readable` then.
    pub(super) fn look(&mut self, board: &BoardReader, mut again: bool) -> io::Result<Known> {
        for _ in 0..TRIES {
            let before = board.header();
            let is_due = self.others_at.is_none_or(|at| at.elapsed() >= OTHERS_EVERY);
            if again || is_due || before.stored != self.stored || (before.unstored == 0 && !self.settled) {
                self.read(is_due)?;
                let after = board.header();
                // The coordinator raises `unstored` before it writes a log, and `stored` after that. So
                // nothing was written in between if both are unchanged.
                self.settled = (before.unstored, after.unstored) == (0, 0) && before.stored == after.stored;
                self.stored = before.stored;
                again = before.stored != after.stored;
            }
            if !again {
                let settled = self.settled && before.unstored == 0;
                return Ok(Known { snapshot: Arc::clone(&self.snapshot), header: before, settled });
            }
        }
        Ok(Known { snapshot: Arc::clone(&self.snapshot), header: board.header(), settled: false })
    }

    /// Lists the folders, and reads new and replaced partials.
    fn read(&mut self, with_others: bool) -> io::Result<()> {
        if with_others {
            (self.others, self.others_readable) = what_is_readable(self.list_others())?;
            self.others_at = Some(Instant::now());
        }
        let (own, own_readable) = what_is_readable(folder::list_of(&self.state, &self.own))?;
        let old = &self.snapshot;
        let places: HashMap<&Path, usize> =
            old.logs.iter().enumerate().map(|(at, log)| (log.path.as_path(), at)).collect();
        let entries: Vec<&Entry> = own.iter().chain(&self.others).collect();
        let first = self.next;
        let read = |(at, entry): (usize, &Entry)| {
            let there = about(&entry.path.metadata()?);
            if let Some(place) =
                places.get(entry.path.as_path()).filter(|place| old.files[**place].about == there)
            {
                return Ok((old.logs[*place].clone(), old.files[*place]));
            }
            let file = File::open(&entry.path)?;
            let mark = Mark { number: first + at as u64, about: about(&file.metadata()?) };
            let mut meta = read_meta(file)?;
            meta.identity = Identity::default();
            Ok((Stored { path: entry.path.clone(), meta }, mark))
        };
        let all: Vec<Result<(Stored, Mark), StoreError>> =
            entries.into_iter().enumerate().collect::<Vec<_>>().into_par_iter().map(read).collect();
        self.next += all.len() as u64 + 1;
        let mut next = Snapshot {
            version: self.next - 1,
            readable: own_readable && self.others_readable,
            ..Snapshot::default()
        };
        for one in all {
            match one {
                Ok((log, mark)) => {
                    next.logs.push(log);
                    next.files.push(mark);
                }
                // The partial was deleted after the folder was listed.
                Err(StoreError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(StoreError::Io(error)) if is_shortage(&error) => return Err(error),
                Err(_) => next.readable = false,
            }
        }
        if (&next.files, next.readable) != (&self.snapshot.files, self.snapshot.readable) {
            self.snapshot = Arc::new(next);
        }
        Ok(())
    }

    fn list_others(&self) -> io::Result<Vec<Entry>> {
        let mut others = Vec::new();
        for host in folder::hosts(&self.state)?.iter().filter(|host| **host != self.own) {
            others.append(&mut folder::list_of(&self.state, host)?);
        }
        Ok(others)
    }
}

/// The entries of folders, and whether these could be listed. A shortage is an error: it is no property of
/// the folders.
fn what_is_readable(listed: io::Result<Vec<Entry>>) -> io::Result<(Vec<Entry>, bool)> {
    match listed {
        Ok(entries) => Ok((entries, true)),
        Err(error) if is_shortage(&error) => Err(error),
        Err(_) => Ok((Vec::new(), false)),
    }
}
