//! What is in the watched folders now.
//!
//! Only regular files are logs, and only under names that are meant to be: not hidden, not temporary, no link
//! out of the folder, and matched by the patterns; without a pattern that includes names, no error log.
//! Nothing but regular files is ever opened. Each skipped entry is kept with the reason. Deliberately absent:
//! what it means. The ledger decides that. Keeping it up to date is the watcher's.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::{Candidate, GlobSet};

pub use crate::board::Skip;
use crate::config::prefixes;
use crate::log::{is_error_log, is_hidden, is_temporary};

/// So many of the entries that are left out are kept one by one.
pub const SKIPPED_MAX: usize = 10_000;
/// Subfolders are looked into so deep: what is deeper is a loop of mounts, or not meant for us.
pub const DEPTH_MAX: usize = 32;

/// A file's device and inode.
pub type FileId = (u64, u64);

/// A file that may be a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Which watched folder it is in.
    pub folder: usize,
    /// Its name as it is reported, with the subfolders it is in; with several folders, the folder's name is
    /// in front.
    pub name: Vec<u8>,
    /// Where it is.
    pub path: PathBuf,
    /// Which file it is.
    pub file: FileId,
    /// Its size, in bytes.
    pub size: u64,
    /// When it was last changed, as the file system says: since 1970.
    pub changed: Duration,
    /// Has a writer closed it since it was last changed, or was it moved here, as far as is known?
    pub closed: bool,
}

/// An entry that is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// Its name as it would be reported.
    pub name: Vec<u8>,
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub reason: Skip,
}

/// The contents of the folders.
#[derive(Debug, Default)]
pub struct Contents {
    /// The files, by their names as they are reported.
    pub found: BTreeMap<Vec<u8>, Found>,
    /// What was left out, by name: no more than [`SKIPPED_MAX`].
    pub skipped: Vec<Skipped>,
    /// How many more were left out; between two looks at everything, about.
    pub skipped_more: u64,
    /// The folders that could not be read, or a part of them, with the reason. What is in such a folder and
    /// not in `found` is not gone: it is not known.
    pub troubled: Vec<(usize, io::Error)>,
}

impl Contents {
    /// Leaves an entry out; in its place among the others, if there is room. Says whether anything is other
    /// than before.
    pub fn skip(&mut self, name: Vec<u8>, path: PathBuf, reason: Skip) -> bool {
        let entry = Skipped { name, path, reason };
        match self.skipped.binary_search_by(|other| other.name.cmp(&entry.name)) {
            Ok(at) if self.skipped[at] == entry => return false,
            Ok(at) => self.skipped[at] = entry,
            Err(_) if self.skipped.len() >= SKIPPED_MAX => return false,
            Err(at) => self.skipped.insert(at, entry),
        }
        true
    }

    /// Adds what was found in another look; to be settled then.
    pub fn append(&mut self, other: &mut Contents) {
        self.found.append(&mut other.found);
        self.skipped.append(&mut other.skipped);
        self.skipped_more += other.skipped_more;
    }

    /// Puts what was left out in order, and keeps no more than its share.
    pub fn settle(&mut self) {
        self.skipped.sort_unstable_by(|one, two| one.name.cmp(&two.name));
        self.skipped_more += self.skipped.len().saturating_sub(SKIPPED_MAX) as u64;
        self.skipped.truncate(SKIPPED_MAX);
    }

    /// Forgets the entry of a name. Says whether there was one.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let skipped = self.skipped.binary_search_by(|other| other.name[..].cmp(name));
        if let Ok(at) = skipped {
            self.skipped.remove(at);
        }
        self.found.remove(name).is_some() || skipped.is_ok()
    }

    /// Takes out all whose names begin so: in the order of bytes, they stand together. Gives the files.
    pub fn take_under(&mut self, beginning: &[u8]) -> BTreeMap<Vec<u8>, Found> {
        let first = self.skipped.partition_point(|skipped| &skipped.name[..] < beginning);
        let count = self.skipped[first..].partition_point(|skipped| skipped.name.starts_with(beginning));
        self.skipped.drain(first..first + count);
        if !self.found.range(beginning.to_vec()..).next().is_some_and(|(name, _)| name.starts_with(beginning))
        {
            return BTreeMap::new();
        }
        let mut taken = self.found.split_off(beginning);
        if let Some(next) = taken.keys().find(|name| !name.starts_with(beginning)).cloned() {
            self.found.append(&mut taken.split_off(&next));
        }
        taken
    }
}

/// What is taken: the folders, and which of their entries.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The watched folders.
    pub folders: Vec<PathBuf>,
    /// Are subfolders looked into?
    pub recursive: bool,
    /// Of files, only those that one of these matches, by their names relative to the watched folder; without
    /// any, all but error logs.
    pub include: GlobSet,
    /// And none that one of these matches; folders that one matches are not looked into.
    pub exclude: GlobSet,
}

impl Scope {
    /// What stands in front of the names of each folder: nothing if there is one; its last part, or as many
    /// of them as tell it from the others.
    pub fn prefixes(&self) -> Vec<Vec<u8>> {
        prefixes(&self.folders, self.recursive)
    }

    /// What an entry is as far as its name and kind tell, if they do.
    fn at_sight(&self, relative: &[u8], kind: FileType) -> Option<Entry> {
        let name = relative.rsplit(|byte| *byte == b'/').next().unwrap_or(relative);
        let skip = if is_hidden(name) {
            Skip::Hidden
        } else if is_temporary(name) {
            Skip::Temporary
        } else if kind.is_dir() && !self.recursive {
            Skip::Folder
        } else if !self.takes(relative, kind) {
            Skip::Pattern
        } else if !kind.is_dir() && self.include.is_empty() && is_error_log(name) {
            Skip::ErrorLog
        } else if !kind.is_dir() {
            return None;
        } else if relative.iter().filter(|byte| **byte == b'/').count() >= DEPTH_MAX {
            Skip::TooDeep
        } else {
            return Some(Entry::Folder);
        };
        Some(Entry::Skip(skip))
    }

    fn takes(&self, relative: &[u8], kind: FileType) -> bool {
        let candidate = Candidate::from_bytes(relative);
        !self.exclude.is_match_candidate(&candidate)
            && (kind.is_dir() || self.include.is_empty() || self.include.is_match_candidate(&candidate))
    }
}

/// What an entry of a folder is.
#[derive(Debug)]
pub enum Entry {
    /// A file that may be a log, and whether it may have other names here.
    File(Found, bool),
    /// A folder to look into.
    Folder,
    /// Something to leave out.
    Skip(Skip),
    /// Nothing: it was there and is not any more.
    Gone,
}

/// A look into one watched folder.
#[derive(Debug)]
pub struct Look<'a> {
    scope: &'a Scope,
    prefix: &'a [u8],
    folder: usize,
    /// The folder without any links, once it is asked for.
    root: OnceCell<PathBuf>,
}

impl<'a> Look<'a> {
    /// A look into the folder of this number, whose names begin with `prefix`.
    pub fn new(scope: &'a Scope, prefix: &'a [u8], folder: usize) -> Look<'a> {
        Look { scope, prefix, folder, root: OnceCell::new() }
    }

    /// Where something in the folder is.
    pub fn path(&self, relative: &[u8]) -> PathBuf {
        let folder = &self.scope.folders[self.folder];
        // Joined with nothing, a path would get a slash at its end.
        if relative.is_empty() { folder.clone() } else { folder.join(OsStr::from_bytes(relative)) }
    }

    /// How something in the folder is reported.
    pub fn name(&self, relative: &[u8]) -> Vec<u8> {
        [self.prefix, relative].concat()
    }

    /// What one entry is.
    ///
    /// # Errors
    /// If that cannot be seen.
    pub fn entry(&self, relative: &[u8]) -> io::Result<Entry> {
        let path = self.path(relative);
        let about = match fs::symlink_metadata(&path) {
            Ok(about) => about,
            Err(error) if is_gone(&error) => return Ok(Entry::Gone),
            Err(error) => return Err(error),
        };
        Ok(self
            .scope
            .at_sight(relative, about.file_type())
            .unwrap_or_else(|| self.closely(relative, path, about)))
    }

    /// Looks at all entries of a subfolder (`sub/`) or the folder itself (empty), and of the subfolders in
    /// it. Before a folder is looked into, `before` is called.
    ///
    /// What is in a folder that cannot be read is not in the contents, and the first such error is given
    /// back.
    pub fn walk(
        &self,
        from: Vec<u8>,
        contents: &mut Contents,
        shared: &mut Vec<FileId>,
        mut before: impl FnMut(&Path, &[u8]),
    ) -> Option<io::Error> {
        let (mut left, mut trouble) = (vec![from], None);
        while let Some(relative) = left.pop() {
            let path = self.path(&relative);
            before(&path, &relative);
            let Err(error) = self.walk_one(&path, &relative, contents, shared, &mut left) else { continue };
            contents.settle();
            contents.take_under(&self.name(&relative));
            left.retain(|other| !other.starts_with(&relative));
            // A subfolder that is gone is gone; the watched folder is to be there.
            if relative.is_empty() || !is_gone(&error) {
                let error = if relative.is_empty() {
                    error
                } else {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                };
                trouble = trouble.or(Some(error));
            }
        }
        trouble
    }

    fn walk_one(
        &self,
        path: &Path,
        relative: &[u8],
        contents: &mut Contents,
        shared: &mut Vec<FileId>,
        left: &mut Vec<Vec<u8>>,
    ) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let relative = [relative, entry.file_name().as_bytes()].concat();
            let seen = entry.file_type().and_then(|kind| match self.scope.at_sight(&relative, kind) {
                Some(seen) => Ok(seen),
                None => Ok(self.closely(&relative, entry.path(), entry.metadata()?)),
            });
            match seen {
                Ok(Entry::File(found, is_shared)) => {
                    shared.extend(is_shared.then_some(found.file));
                    contents.found.insert(found.name.clone(), found);
                }
                Ok(Entry::Folder) => left.push([&relative[..], b"/"].concat()),
                // In order when all are there: the folder's order would move them a thousand times.
                Ok(Entry::Skip(reason)) if contents.skipped.len() < SKIPPED_MAX => {
                    contents.skipped.push(Skipped { name: self.name(&relative), path: entry.path(), reason });
                }
                Ok(Entry::Skip(_)) => contents.skipped_more += 1,
                Ok(Entry::Gone) => {}
                // What vanishes between two calls is not there.
                Err(error) if is_gone(&error) => {}
                // A folder that can be listed and not entered, say.
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What an entry is that may be a log.
    fn closely(&self, relative: &[u8], path: PathBuf, about: Metadata) -> Entry {
        let is_link = about.is_symlink();
        let about = match if is_link { self.target(&path) } else { Ok(about) } {
            Ok(about) if about.is_file() => about,
            Ok(_) => return Entry::Skip(Skip::NotRegular),
            Err(reason) => return Entry::Skip(reason),
        };
        let found = Found {
            folder: self.folder,
            name: self.name(relative),
            path,
            file: (about.dev(), about.ino()),
            size: about.len(),
            changed: Duration::new(
                about.mtime().max(0).cast_unsigned(),
                about.mtime_nsec().clamp(0, 999_999_999) as u32,
            ),
            closed: false,
        };
        Entry::File(found, is_link || about.nlink() > 1)
    }

    /// What a link leads to within the watched folder.
    fn target(&self, path: &Path) -> Result<Metadata, Skip> {
        let target = fs::canonicalize(path).map_err(|_| Skip::LinkNowhere)?;
        let root = match self.root.get() {
            Some(root) => root,
            None => {
                let root =
                    fs::canonicalize(&self.scope.folders[self.folder]).map_err(|_| Skip::LinkNowhere)?;
                self.root.get_or_init(|| root)
            }
        };
        if !target.starts_with(root) {
            return Err(Skip::LinkOut);
        }
        let about = fs::metadata(path).map_err(|_| Skip::LinkNowhere)?;
        if about.is_dir() { Err(Skip::LinkToFolder) } else { Ok(about) }
    }
}

/// Is there nothing of this name, or no folder where it should be?
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Opens a log that was found, if it is still the same file.
///
/// # Errors
/// If it cannot be opened; `NotFound` also if another file has its name.
pub fn open(path: &Path, file: FileId) -> io::Result<File> {
    // Without O_NONBLOCK, a pipe that took the name since would block us.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let about = opened.metadata()?;
    if (about.dev(), about.ino()) != file || !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "another file has its name now"));
    }
    Ok(opened)
}

#[cfg(test)]
mod tests;
