//! What the folders hold is taken in: files that are known, that have other names now, that hold something
//! else, that are new, that are gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::time::Duration;

use super::super::content::{Place, Probe};
use super::super::scan::{FileId, Found};
use super::{Event, Ledger, Log, Presence};
use crate::decode::FileKind;
use crate::log::day_of_name;
use crate::sample::Sample;

/// A look at the folders.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What is in them, by name.
    pub found: &'a BTreeMap<Vec<u8>, Found>,
    /// Was everything looked at just now? Else what is missing may only have been renamed meanwhile.
    pub full: bool,
    /// The folders that could not be read: nothing of them is gone.
    pub troubled: &'a [usize],
}

/// The names of one file in one folder.
type Names<'a> = BTreeMap<(usize, FileId), Vec<&'a Found>>;

impl Ledger {
    /// The folders were looked at, at the time `now`.
    pub fn see(&mut self, view: View<'_>, now: Duration, probe: &mut impl Probe) {
        let mut names: Names<'_> = BTreeMap::new();
        view.found
            .values()
            .for_each(|found| names.entry((found.folder, found.file)).or_default().push(found));
        self.missing = false;
        let (mut owned, mut lost) = (HashMap::new(), Vec::new());
        let taken: HashSet<(usize, &[u8])> =
            view.found.values().map(|found| (found.folder, &found.name[..])).collect();
        let folders: HashMap<Vec<u8>, usize> =
            self.policy.folders.iter().enumerate().map(|(at, folder)| (folder.clone(), at)).collect();
        let present: Vec<u64> =
            self.logs.iter().filter(|(_, log)| !log.is_gone()).map(|(id, _)| *id).collect();
        for id in present {
            let Some(log) = self.logs.get(&id) else { continue };
            let key = folders.get(&log.folder).map(|folder| (*folder, log.file));
            match key.and_then(|key| Some((key, names.get(&key)?))) {
                Some((key, found)) => {
                    let main = found.iter().find(|found| found.name == log.name).unwrap_or(&found[0]);
                    match self.is_still(log, main, probe) {
                        Ok(true) => {
                            // What could not be read from the store in an earlier life was counted again
                            // then: now two logs are in one file.
                            match owned.insert(key, id) {
                                Some(twin) if self.is_longer(twin, id) => {
                                    owned.insert(key, twin);
                                    self.drop_log(id);
                                }
                                twin => {
                                    twin.into_iter().for_each(|twin| self.drop_log(twin));
                                    self.see_again(id, main, found, now, probe);
                                }
                            }
                        }
                        Ok(false) => {
                            self.forget_size(id);
                            lost.push(id);
                        }
                        // It has another name by now, which the next look will show.
                        Err(_) => {
                            owned.insert(key, id);
                            self.missing = true;
                        }
                    }
                }
                // Of a folder that cannot be read, nothing is known.
                None if key.is_some_and(|(folder, _)| view.troubled.contains(&folder)) => {}
                None => {
                    let is_taken = key.is_some_and(|(folder, _)| taken.contains(&(folder, &log.name[..])));
                    let Some(log) = self.logs.get_mut(&id) else { continue };
                    // A file that is renamed while the folder is read may be in it under neither name, so one
                    // look is not enough.
                    if is_taken || (view.full && log.is_missing()) {
                        lost.push(id);
                    } else {
                        log.presence = Presence::Missed { verified: log.is_verified() };
                        self.missing = true;
                    }
                }
            }
        }
        // Copies first: one that goes now, while its original was missed before, was where that was last.
        lost.sort_by_key(|id| self.logs.get(id).is_some_and(|log| log.prefix_of.is_none()));
        lost.into_iter().for_each(|id| self.lose(id, now, probe));
        let new: Vec<_> = names.iter().filter(|(key, _)| !owned.contains_key(key)).collect();
        new.into_iter().for_each(|(_, found)| self.see_new(found, now, probe));
        self.foreigners.retain(|key| names.contains_key(key) || view.troubled.contains(&key.0));
        self.find_heirs(now, probe);
        self.identify_all(now, probe);
        self.replace_all();
        self.place_orphans(probe);
        self.recheck_guesses(probe);
        self.consider_all(now);
    }

    /// Is more known of one log than of another one?
    fn is_longer(&self, one: u64, two: u64) -> bool {
        let to = |id| self.logs.get(&id).map(|log| log.count.content.to);
        to(one) >= to(two)
    }

    /// Does a file that is where a log was still hold what was counted of it?
    ///
    /// # Errors
    /// If the file is not where it was found.
    fn is_still(&self, log: &Log, found: &Found, probe: &mut impl Probe) -> io::Result<bool> {
        let unchanged = (log.size, log.changed) == (found.size, found.changed);
        if !log.is_counted() || (unchanged && log.name == found.name && log.is_verified()) {
            return Ok(true);
        }
        let place = Place { path: found.path.clone(), file: found.file };
        // What cannot be looked at now is looked at before more of it is counted.
        let unless_moved =
            |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Err(error) } else { Ok(true) };
        if log.format.is_some() {
            let mut holds = |raw: &Sample| {
                probe.sample(&place, raw.at, raw.length).map(|now| now == Some(*raw)).or_else(unless_moved)
            };
            return Ok(log.size == found.size
                && log.raw.iter().try_fold(true, |all, raw| Ok::<_, io::Error>(all && holds(raw)?))?);
        }
        // So is what grew; but if a half line was counted, nothing more is: it would be counted again.
        let grew = log.name == found.name
            && found.size > log.size
            && log.is_verified()
            && !log.active().unterminated;
        Ok(found.size >= log.count.content.to
            && (grew
                || log.count.content.begins_file(&place, found.size, false, probe).or_else(unless_moved)?))
    }

    /// A log is there, perhaps under another name.
    fn see_again(&mut self, id: u64, found: &Found, names: &[&Found], now: Duration, probe: &mut impl Probe) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let links: Vec<Vec<u8>> =
            names.iter().filter(|link| link.name != found.name).map(|link| link.name.clone()).collect();
        let is_here = log.presence == Presence::Here { verified: true };
        if log.links != links || !is_here || log.closed != found.closed {
            self.changed.insert(id);
        }
        (log.links, log.presence) = (links, Presence::Here { verified: true });
        self.rename(id, found);
        let Some(log) = self.logs.get_mut(&id) else { return };
        log.closed = found.closed;
        let is_unchanged = (log.size, log.changed) == (found.size, found.changed);
        // A log that could not be read so far may be of any kind.
        if is_unchanged && (log.is_counted() || log.unreadable.is_none()) {
            return;
        }
        // What is written anew may become anything.
        let kind = if log.is_counted() { Ok(FileKind::Log(log.format)) } else { probe.kind(&log.place()) };
        let format = match kind {
            // It has another name by now, which the next look will show.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.missing = true;
                return;
            }
            Err(_) => log.format,
            Ok(FileKind::Log(format)) => format,
            Ok(FileKind::Foreign(kind)) => {
                self.foreigners.insert(names, kind);
                self.drop_log(id);
                return;
            }
        };
        if is_unchanged && format == log.format {
            return;
        }
        if log.size >= found.size {
            // Whatever stands behind what was counted may be other than it was.
            log.active_mut().held_at = None;
        }
        (log.size, log.changed, log.seen) = (found.size, found.changed, now);
        self.changed.insert(id);
        if !log.is_counted() {
            if log.format.is_some() || format.is_some() {
                self.turns.remove(id);
                log.identified_at = None;
                let count = log.active_mut();
                (count.plan, count.caught_up, count.held_at) = (None, false, None);
                count.quarantine.clear();
            }
            log.format = format;
        }
        if log.active().plan.as_ref().is_some_and(|plan| plan.to > log.size) {
            self.turns.remove(id);
            log.active_mut().plan = None;
        }
        if log.size == 0 {
            // An empty log is nobody's duplicate.
            self.set_prefix_of(id, None);
        }
    }

    fn rename(&mut self, id: u64, found: &Found) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        log.path.clone_from(&found.path);
        if log.name != found.name {
            let waiting = self.turns.remove(id);
            (log.name, log.day) = (found.name.clone(), day_of_name(&found.name));
            log.successors.clear();
            // What is written into an empty file under its new name was not rotated.
            log.rotated |= log.size > 0;
            if waiting {
                self.turns.insert(id, log);
            }
            self.events.push(Event::Renamed(id));
            self.changed.insert(id);
        }
    }

    /// A log's file holds something else: its size may be that of what it holds now.
    fn forget_size(&mut self, id: u64) {
        if let Some(log) = self.logs.get_mut(&id).filter(|log| log.format.is_none()) {
            log.size = log.count.content.to;
        }
    }

    /// A log's file is gone, or holds something else. If another file has the same content, that is its file
    /// now; else what was counted of it stays.
    pub(super) fn lose(&mut self, id: u64, now: Duration, probe: &mut impl Probe) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        self.turns.remove(id);
        if log.active().held_at == Some(log.size) {
            // The half line behind that will never be a line.
            log.size = log.count.content.to;
        }
        (log.presence, log.unreadable) = (Presence::Gone, None);
        let count = log.active_mut();
        (count.plan, count.held_at) = (None, None);
        log.links.clear();
        self.changed.insert(id);
        if !log.is_counted() || log.prefix_of.is_some() {
            self.outlive(id);
            return self.drop_log(id);
        }
        if log.is_replaceable() {
            self.replaceable.insert(id);
        }
        match self.heir(id, probe) {
            Some(heir) => self.inherit(id, heir, now),
            None => self.recall(id),
        }
    }

    /// If a log that is gone was being counted again, it is what it was.
    fn recall(&mut self, id: u64) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        if log.abandon_recount() {
            if log.active_mut().held_at.take() == Some(log.size) {
                log.size = log.count.content.to;
            }
            self.events.push(Event::Recalled(id));
            // What was told from it meanwhile is told once more.
            self.missing = true;
        }
    }

    /// A copy goes after the log that it is a copy of, which was missed before, or gone: where the copy was,
    /// there the log was last.
    fn outlive(&mut self, id: u64) {
        let Some(copy) = self.logs.get(&id) else { return };
        let (to, name, path, file) = (copy.count.content.to, copy.name.clone(), copy.path.clone(), copy.file);
        let Some(outer) = copy.prefix_of else { return };
        let Some(log) = self
            .logs
            .get_mut(&outer)
            .filter(|log| log.is_missing() && log.count.content.to == to && log.name != name)
        else {
            return;
        };
        (log.day, log.name, log.path, log.file) = (day_of_name(&name), name, path, file);
        log.successors.clear();
        self.changed.insert(outer);
        self.events.push(Event::Renamed(outer));
    }

    /// A job's log is not what it was when it was counted: its file holds something else.
    pub fn lose_content(&mut self, id: u64, now: Duration, probe: &mut impl Probe) {
        self.forget_size(id);
        self.lose(id, now, probe);
        // It may be in another file now, whose name held something else before.
        self.replace(id);
        self.missing = true;
    }

    fn see_new(&mut self, names: &[&Found], now: Duration, probe: &mut impl Probe) {
        let Some(found) = names.first() else { return };
        if self.foreigners.knows(names) {
            return;
        }
        let place = Place { path: found.path.clone(), file: found.file };
        let format = match probe.kind(&place) {
            // It has another name by now, which the next look will show.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.missing = true;
                return;
            }
            Err(_) => None,
            Ok(FileKind::Log(format)) => format,
            Ok(FileKind::Foreign(kind)) => return self.foreigners.insert(names, kind),
        };
        self.foreigners.remove((found.folder, found.file));
        let id = self.new_id(found);
        let folder = self.policy.folders.get(found.folder).cloned().unwrap_or_default();
        let log = Log {
            path: found.path.clone(),
            links: names.iter().skip(1).map(|link| link.name.clone()).collect(),
            // What was not seen to change has been as it is since it was changed.
            seen: found.changed.min(now),
            closed: found.closed,
            ..Log::new(folder, found.name.clone(), found.file, format, found.size, found.changed)
        };
        self.logs.insert(id, log);
        self.changed.insert(id);
    }

    fn new_id(&self, found: &Found) -> u64 {
        let mut bytes = found.name.clone();
        bytes.extend_from_slice(&found.file.0.to_le_bytes());
        bytes.extend_from_slice(&found.file.1.to_le_bytes());
        let mut id = xxhash_rust::xxh3::xxh3_64(&bytes);
        while id == 0 || self.logs.contains_key(&id) || self.reserved.contains(&id) {
            id = id.wrapping_add(1);
        }
        id
    }
}
