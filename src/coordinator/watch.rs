//! Keeps up to date what is in the watched folders.
//!
//! A full look is the truth; between two of them, the names that events name are looked at again. So without
//! events (a network's file system, limits that are reached) nothing is missed, it is only found later.
//! Deliberately absent: clocks. When to look at everything again is the loop's affair.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use super::notify::{Named, Notify, Place, is_remote};
use super::scan::{Contents, Entry, FileId, Found, Look, Scope};

/// What events have brought.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Notice {
    /// The contents are other than before.
    pub changed: bool,
    /// Events were lost: only a full look tells what happened.
    pub overflow: bool,
}

/// Watches the folders.
pub struct Watcher {
    scope: Scope,
    /// What stands in front of the names of each folder.
    prefixes: Vec<Vec<u8>>,
    /// What was seen of each folder when it could last be read.
    homes: Vec<Home>,
    contents: Contents,
    /// The names of files that may have several: links. What happens to one of them is not told of the
    /// others.
    shared: HashMap<FileId, BTreeSet<Place>>,
    wanted: bool,
    watches_max: usize,
    notify: Option<Notify>,
    /// Why there are not events of everything.
    unnotified: Option<String>,
}

#[derive(Clone, Copy, Default)]
struct Home {
    device: Option<u64>,
    /// Was there a log in it?
    held: bool,
}

impl Watcher {
    /// Nothing has been looked at yet.
    pub fn new(scope: Scope, use_inotify: bool) -> Watcher {
        Watcher::with_limit(scope, use_inotify, usize::MAX)
    }

    /// With a limit of watches that is lower than the machine's.
    fn with_limit(scope: Scope, wanted: bool, watches_max: usize) -> Watcher {
        let (prefixes, homes) = (scope.prefixes(), vec![Home::default(); scope.folders.len()]);
        let unnotified = Some("the folders have not been scanned yet".to_owned());
        let (contents, shared) = (Contents::default(), HashMap::new());
        Watcher { scope, prefixes, homes, contents, shared, wanted, watches_max, notify: None, unnotified }
    }

    /// What can be read from when events have come. Other after a look at everything, maybe.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.notify.as_ref().map(AsFd::as_fd)
    }

    /// Do events come of all folders? If not, why.
    pub fn is_notified(&self) -> Result<(), &str> {
        self.unnotified.as_deref().map_or(Ok(()), Err)
    }

    /// What is in the folders, as far as is known.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Looks at everything, and watches what is not watched yet.
    pub fn scan(&mut self) {
        self.unnotified = None;
        if !self.wanted {
            self.unnotified = Some("inotify is switched off".to_owned());
        } else if self.notify.is_none() {
            match Notify::open(self.watches_max) {
                Ok(notify) => self.notify = Some(notify),
                Err(error) => {
                    self.unnotified = Some(cannot("inotify cannot be used", "max_user_instances", &error))
                }
            }
        }
        if let Some(notify) = &mut self.notify {
            notify.begin_round();
        }
        let old = std::mem::take(&mut self.contents);
        self.shared.clear();
        for folder in 0..self.scope.folders.len() {
            let (mut contents, trouble) = self.walk(folder, Vec::new());
            let trouble = self.check_home(folder, &contents, trouble);
            if let Some(error) = trouble {
                self.not_notified(|| format!("a watched folder cannot be read: {error}"));
                self.contents.troubled.push((folder, error));
            }
            self.contents.append(&mut contents);
        }
        carry_closed(&old.found, &mut self.contents.found);
        self.contents.settle();
        if let Some(notify) = &mut self.notify {
            notify.end_round();
        }
    }

    /// Takes what events have come, and looks at the names that they name. Does not wait, and leaves what is
    /// too much at once for the next call.
    pub fn read_events(&mut self) -> Notice {
        let Some(notify) = &mut self.notify else { return Notice::default() };
        let named = match notify.read() {
            Ok(named) => named,
            Err(error) => {
                self.notify = None;
                self.unnotified = Some(cannot("inotify has failed", "max_user_watches", &error));
                return Notice { changed: false, overflow: true };
            }
        };
        let Named { mut names, mut anew, overflow } = named;
        let others: Vec<Place> =
            names.keys().filter_map(|place| self.others(place)).flatten().cloned().collect();
        for place in others {
            names.entry(place).or_default();
        }
        let mut changed = false;
        let mut gone_from = BTreeSet::new();
        for (place, closed) in names {
            let folder = place.folder;
            let troubled = self.contents.troubled.iter().any(|(other, _)| *other == folder);
            match self.look_again(place, closed) {
                Ok(seen) => {
                    changed |= seen.other;
                    gone_from.extend((seen.gone && !troubled).then_some(folder));
                    // A trouble came or went, of more than this name.
                    anew |= seen.troubled.is_some_and(|now| now != troubled);
                }
                Err(_) => anew |= !troubled,
            }
        }
        // Is what is gone gone, or is its folder?
        anew |= gone_from.into_iter().any(|folder| !self.is_home(folder));
        if anew {
            self.scan();
        }
        Notice { changed: changed || anew, overflow }
    }

    /// The other names of the file that was last seen under a name.
    fn others(&self, place: &Place) -> Option<&BTreeSet<Place>> {
        let name = [&self.prefixes[place.folder][..], &place.relative].concat();
        self.shared.get(&self.contents.found.get(&name)?.file)
    }

    /// Looks at what a name is now. `closed`: has a writer closed it, if that is known?
    fn look_again(&mut self, place: Place, closed: Option<bool>) -> io::Result<Seen> {
        let look = Look::new(&self.scope, &self.prefixes[place.folder], place.folder);
        let name = look.name(&place.relative);
        let entry = look.entry(&place.relative)?;
        let path = look.path(&place.relative);
        let inside = Place { folder: place.folder, relative: [&place.relative[..], b"/"].concat() };
        // What was in a subfolder goes with it, or is looked at again.
        let (mut was_inside, mut other) = (BTreeMap::new(), false);
        if self.scope.recursive {
            if let Some(notify) = &mut self.notify {
                notify.forget_under(&inside);
            }
            was_inside = self.contents.take_under(&[&name[..], b"/"].concat());
            other = !was_inside.is_empty();
        }
        let gone = matches!(entry, Entry::Gone);
        let mut troubled = None;
        match entry {
            Entry::File(found, is_shared) => {
                let old = self.contents.found.get(&name);
                let found = Found {
                    closed: closed.unwrap_or_else(|| old.is_some_and(|old| old.closed && same(old, &found))),
                    ..found
                };
                let is_other = old != Some(&found);
                if is_shared {
                    self.share(found.file, place);
                }
                if is_other {
                    self.contents.remove(&name);
                    self.contents.found.insert(name, found);
                    other = true;
                }
            }
            Entry::Skip(reason) => {
                other |= self.contents.found.remove(&name).is_some();
                other |= self.contents.skip(name, path, reason);
            }
            Entry::Gone => other |= self.contents.remove(&name),
            Entry::Folder => {
                other |= self.contents.remove(&name);
                let (mut contents, trouble) = self.walk(inside.folder, inside.relative);
                troubled = Some(trouble.is_some());
                other |= !contents.found.is_empty() || !contents.skipped.is_empty();
                carry_closed(&was_inside, &mut contents.found);
                self.contents.append(&mut contents);
                self.contents.settle();
            }
        }
        Ok(Seen { other, gone, troubled })
    }

    /// A file may have several names, of which this is one.
    fn share(&mut self, file: FileId, place: Place) {
        let Watcher { shared, contents, prefixes, .. } = self;
        let places = shared.entry(file).or_insert_with(|| {
            // When it got its second name, nobody told of the first.
            let names = contents.found.values().filter(|found| found.file == file);
            names
                .map(|found| Place {
                    folder: found.folder,
                    relative: found.name[prefixes[found.folder].len()..].to_vec(),
                })
                .collect()
        });
        places.insert(place);
    }

    /// Looks at all that is in a folder, and watches it.
    fn walk(&mut self, folder: usize, from: Vec<u8>) -> (Contents, Option<io::Error>) {
        let Watcher { scope, prefixes, notify, .. } = self;
        let look = Look::new(scope, &prefixes[folder], folder);
        let (mut contents, mut shared, mut failed) = (Contents::default(), Vec::new(), None);
        let trouble = look.walk(from, &mut contents, &mut shared, |path, relative| {
            let Some(notify) = notify else { return };
            if let Err(error) = notify.watch(path, Place { folder, relative: relative.to_vec() }) {
                failed.get_or_insert_with(|| {
                    cannot(&format!("{} cannot be watched", path.display()), "max_user_watches", &error)
                });
            } else if relative.is_empty() && is_remote(path) {
                failed.get_or_insert_with(|| {
                    format!(
                        "{} is on a file system that does not report what other machines write",
                        path.display()
                    )
                });
            }
        });
        let shared: BTreeSet<FileId> = shared.into_iter().collect();
        for found in contents.found.values().filter(|found| shared.contains(&found.file)) {
            let place = Place { folder, relative: found.name[prefixes[folder].len()..].to_vec() };
            self.shared.entry(found.file).or_default().insert(place);
        }
        // What is not there cannot be watched either.
        if let Some(failed) = failed.filter(|_| trouble.is_none()) {
            self.not_notified(|| failed);
        }
        (contents, trouble)
    }

    /// A folder that is suddenly empty, and another one, is troubled: what was mounted there is not gone.
    /// Gives what trouble there is.
    fn check_home(
        &mut self,
        folder: usize,
        contents: &Contents,
        trouble: Option<io::Error>,
    ) -> Option<io::Error> {
        let (home, empty) = (&mut self.homes[folder], contents.found.is_empty());
        if trouble.is_some() && empty {
            return trouble;
        }
        let device = match fs::metadata(&self.scope.folders[folder]) {
            Ok(about) => about.dev(),
            Err(error) => return Some(error),
        };
        if empty && home.held && home.device != Some(device) {
            let why = "the folder has no log and is on another file system than before: mount its file system again";
            return Some(io::Error::new(io::ErrorKind::NotFound, why));
        }
        *home = Home { device: Some(device), held: !empty };
        trouble
    }

    /// Is the folder there, and where it was?
    fn is_home(&self, folder: usize) -> bool {
        fs::metadata(&self.scope.folders[folder])
            .is_ok_and(|about| self.homes[folder].device.is_none_or(|device| device == about.dev()))
    }

    /// The first reason is kept.
    fn not_notified(&mut self, why: impl FnOnce() -> String) {
        self.unnotified.get_or_insert_with(why);
    }
}

/// What a look at a name has shown.
struct Seen {
    /// The contents are other than before.
    other: bool,
    /// There is nothing of this name.
    gone: bool,
    /// Of a folder: is there something in it that cannot be read?
    troubled: Option<bool>,
}

/// Is it the same file, of the same size?
fn same(one: &Found, two: &Found) -> bool {
    (one.file, one.size) == (two.file, two.size)
}

/// What was closed and has not changed since is closed still.
fn carry_closed(old: &BTreeMap<Vec<u8>, Found>, found: &mut BTreeMap<Vec<u8>, Found>) {
    for (name, found) in found {
        found.closed =
            old.get(name).is_some_and(|old| old.closed && same(old, found) && old.changed == found.changed);
    }
}

/// What failed, and which limit to raise if it was one.
fn cannot(what: &str, limit: &str, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EMFILE) => {
            format!("{what}: the limit is reached; raise fs.inotify.{limit}")
        }
        _ => format!("{what}: {error}"),
    }
}

#[cfg(test)]
mod tests;
