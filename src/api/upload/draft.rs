//! An incomplete upload: a hidden file in the watched folder, which tallyd does not count.
//!
//! The process that makes a draft deletes it. A process that is killed leaves the draft behind, and the next
//! api deletes it. A draft is locked while its process lives, so that no other daemon on the same folder
//! deletes it.

use std::collections::btree_map::Entry;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Bytes;
use tokio::sync::mpsc::Receiver;
use tracing::{info, warn};

use super::target::Target;
use crate::api::nouns::changes::ask;
use crate::api::problem::{Problem, UNKNOWN_CODING};
use crate::api::state::Sources;
use crate::decode::FileKind;
use crate::job::Request;
use crate::show::thousands;
use crate::sys::disk::{Room, rename_new, room};

const BEFORE: &str = ".tallyd-upload-";
const AFTER: &str = ".tmp";
/// The number of hexadecimal digits between [`BEFORE`] and [`AFTER`].
const DIGITS: usize = 16;
/// The number of bytes after which the free space is checked again.
const LOOK_EVERY: u64 = 4 << 20;

/// A piece of the body.
pub(super) enum Part {
    /// More bytes.
    Bytes(Bytes),
    /// The end of the body.
    End,
}

/// A file that will become a log.
pub(super) struct Draft {
    sources: Arc<Sources>,
    target: Target,
    path: PathBuf,
    file: File,
    /// The device and inode of the log.
    pub(super) id: (u64, u64),
    /// The length in bytes.
    pub(super) length: u64,
    /// The first bytes, as many as [`Foreign`] needs.
    head: Vec<u8>,
    /// True once the coordinator knows that the draft is to replace a log.
    promised: bool,
    /// True once the draft has its name.
    placed: bool,
}

impl Draft {
    /// Begins a draft. `length` is the final length in bytes, if that is known.
    ///
    /// # Errors
    /// If another upload of this name is in progress, the disk is full, or the folder is not writable.
    pub(super) fn begin(
        sources: Arc<Sources>,
        target: Target,
        length: Option<u64>,
    ) -> Result<Draft, Problem> {
        check_room(&target.folder, length.unwrap_or(0))?;
        match sources.uploads.under_way().entry(target.name.clone()) {
            Entry::Occupied(_) => {
                return Err(Problem::conflict(
                    "another upload of this name is in progress; try again when that upload is done",
                ));
            }
            Entry::Vacant(entry) => drop(entry.insert(None)),
        }
        let created = create(&target.folder).and_then(|(path, file)| {
            Ok((file.metadata().map(|about| (about.dev(), about.ino()))?, path, file))
        });
        let mut under_way = sources.uploads.under_way();
        match created {
            Ok((id, path, file)) => {
                under_way.insert(target.name.clone(), Some(path.clone()));
                drop(under_way);
                Ok(Draft {
                    sources,
                    target,
                    path,
                    file,
                    id,
                    length: 0,
                    head: Vec::new(),
                    promised: false,
                    placed: false,
                })
            }
            Err(error) => {
                under_way.remove(&target.name);
                Err(refused(&error, &target.folder))
            }
        }
    }

    /// Writes the body until all of it is on the disk.
    ///
    /// # Errors
    /// If the connection ends before the body does, or the disk is full.
    pub(super) fn write(mut self, mut parts: Receiver<Part>) -> Result<Draft, Problem> {
        let mut looked = 0;
        while let Some(part) = parts.blocking_recv() {
            let written = match part {
                Part::Bytes(bytes) => {
                    self.length += bytes.len() as u64;
                    self.head.extend(bytes.iter().take(FileKind::HEAD_BYTES - self.head.len()));
                    if self.length - looked >= LOOK_EVERY {
                        looked = self.length;
                        check_room(&self.target.folder, 0)?;
                    }
                    self.file.write_all(&bytes)
                }
                Part::End => {
                    if let FileKind::Foreign(kind) = FileKind::of(&self.target.name, &self.head) {
                        let detail = format!(
                            "the body is no log ({}), so tallyd stored nothing; send plain text, or a log in gz, zst, bz2 or xz",
                            kind.name()
                        );
                        return Err(Problem::new(&UNKNOWN_CODING, detail));
                    }
                    return self
                        .file
                        .sync_all()
                        .map_err(|error| refused(&error, &self.target.folder))
                        .map(|()| self);
                }
            };
            written.map_err(|error| refused(&error, &self.target.folder))?;
        }
        Err(Problem::incomplete())
    }

    /// Announces that the draft replaces a log: the coordinator deletes the numbers of that log once the
    /// draft has its name.
    pub(super) fn promise(&mut self, log: u64) -> Result<(), Problem> {
        self.promised = true;
        if !self.placed {
            self.sources.uploads.under_way().insert(self.target.name.clone(), None);
        }
        ask(&self.sources, Request::Replace { log, file: self.id })
    }

    /// Gives the draft its name. Returns whether a log had the name before.
    ///
    /// # Errors
    /// If a log of this name must not be replaced, or the operating system refuses.
    pub(super) fn place(&mut self, replace: bool) -> Result<bool, Problem> {
        let Target { folder, path, .. } = &self.target;
        let existed = replace && is_taken(path)?;
        let placed = if replace { fs::rename(&self.path, path) } else { rename_new(&self.path, path) };
        match placed {
            Ok(()) => self.placed = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken()),
            Err(error) => return Err(refused(&error, folder)),
        }
        // The draft has its name even if the sync fails, so a failure goes to the journal.
        if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
            warn!(folder = %folder.display(), %error, "cannot sync a folder; a loss of power may lose the upload");
        }
        Ok(existed)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let uploads = &self.sources.uploads;
        // Withdrawn before the inode can be another file's. If the coordinator is gone, the next api process
        // withdraws it.
        let withdrawn = || {
            !self.promised
                || (!uploads.ending.load(Relaxed)
                    && ask(&self.sources, Request::Withdraw { file: self.id }).is_ok())
        };
        if !self.placed
            && withdrawn()
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!(path = %self.path.display(), %error, "cannot remove an unfinished upload");
        }
        uploads.under_way().remove(&self.target.name);
    }
}

/// True if there is a file of this name that an upload may replace.
///
/// # Errors
/// If there is something that an upload must not replace.
pub(super) fn is_taken(path: &Path) -> Result<bool, Problem> {
    match fs::symlink_metadata(path) {
        // A link itself is replaced; its target is not changed.
        Ok(about) if about.is_file() || about.is_symlink() => Ok(true),
        Ok(_) => Err(Problem::conflict(
            "this name is taken by something that is not a regular file; use another name",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(refused(&error, path.parent().unwrap_or(path))),
    }
}

pub(super) fn taken() -> Problem {
    Problem::conflict("a log of this name exists; use another name, or replace the log with ?replace=true")
}

/// Deletes the drafts of api processes that were killed.
pub(super) fn clear(sources: &Sources) {
    for folder in &sources.uploads.settings().logs {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries
            .flatten()
            .filter(|entry| entry.file_name().to_str().is_some_and(is_draft))
            .map(|entry| entry.path())
        {
            let is_file = fs::symlink_metadata(&path).is_ok_and(|about| about.is_file());
            let Ok(file) =
                OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path)
            else {
                continue;
            };
            // The process of the draft lives: another daemon, or this one.
            if !is_file || file.try_lock().is_err() {
                continue;
            }
            let withdrawn = file.metadata().map_err(|_| ()).and_then(|about| {
                ask(sources, Request::Withdraw { file: (about.dev(), about.ino()) }).map_err(drop)
            });
            if withdrawn.is_err() {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => info!(path = %path.display(), "removed an unfinished upload"),
                Err(error) => warn!(path = %path.display(), %error, "cannot remove an unfinished upload"),
            }
        }
    }
}

/// Makes a new file that is this process's. Others than its group may not read it: client addresses are in
/// it.
fn create(folder: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let number = RandomState::new().build_hasher().finish();
        let path = folder.join(format!("{BEFORE}{number:0DIGITS$x}{AFTER}"));
        match OpenOptions::new().write(true).create_new(true).mode(0o640).open(&path) {
            // Who clears up may have been quicker; then it is removed.
            Ok(file) => match file.try_lock() {
                Ok(()) if file.metadata()?.nlink() == 0 => {}
                Ok(()) => return Ok((path, file)),
                Err(fs::TryLockError::WouldBlock) => {}
                // A file system without locks: a process that clears up cannot lock the file either, and
                // leaves it.
                Err(fs::TryLockError::Error(_)) => return Ok((path, file)),
            },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_draft(name: &str) -> bool {
    let digits = name.strip_prefix(BEFORE).and_then(|name| name.strip_suffix(AFTER));
    digits.is_some_and(|digits| {
        digits.len() == DIGITS && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Refuses an upload of this many bytes if the disk would have too little free space left.
fn check_room(folder: &Path, bytes: u64) -> Result<(), Problem> {
    let room = room(folder).map_err(|error| refused(&error, folder))?;
    if room.free.saturating_sub(bytes) >= floor(room) {
        return Ok(());
    }
    Err(Problem::full(format!(
        "the file system of {} has {} MiB free, and {} MiB must stay free; free some space, or upload less",
        folder.display(),
        thousands(room.free >> 20),
        thousands(floor(room) >> 20)
    )))
}

/// The bytes that must stay free: 64 MiB and a hundredth of the file system.
fn floor(room: Room) -> u64 {
    (64 << 20) + room.total / 100
}

/// The error of the operating system with a remedy.
pub(super) fn refused(error: &io::Error, folder: &Path) -> Problem {
    let (folder, uid) = (folder.display(), crate::sys::process::uid());
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Problem::not_writable(format!(
                "tallyd cannot write to {folder}: {error}; let uid {uid} write there, or copy the log there by other means"
            ))
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Problem::full(format!("{folder}: {error}; free some space, or upload less"))
        }
        io::ErrorKind::NotFound => {
            Problem::not_ready(format!("{folder}: {error}; mount or create the folder again"))
        }
        _ => Problem::disk(format!("{folder}: {error}; tallyd stored nothing. Check the disk")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_drafts_are_drafts() {
        assert!(is_draft(".tallyd-upload-0123456789abcdef.tmp"));
        for name in [
            ".tallyd-upload-0123456789abcde.tmp",
            ".tallyd-upload-0123456789ABCDEF.tmp",
            ".tallyd-upload-0123456789abcdef",
            "tallyd-upload-0123456789abcdef.tmp",
            ".tallyd-upload-.tmp",
            ".tallyd-upload-0123456789abcdef.tmp.tmp",
            "access.log",
        ] {
            assert!(!is_draft(name), "{name}");
        }
    }

    #[test]
    fn a_hundredth_and_64_mib_stay_free() {
        assert_eq!(floor(Room { free: 0, total: 100 << 30 }), (64 << 20) + (1 << 30));
    }
}
