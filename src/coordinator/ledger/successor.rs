//! Files that take a log's place: whatever a name with a date holds next, and under other names what was
//! uploaded for that.

use super::super::scan::FileId;
use super::{Ledger, Log};

impl Ledger {
    /// A file is to take a log's name and its place: once it has the name and is counted, the log's numbers
    /// are void. Says whether there is such a log.
    pub fn replace_by(&mut self, id: u64, file: FileId) -> bool {
        let Some(log) = self.logs.get_mut(&id).filter(|log| !log.deleted) else { return false };
        log.successors.insert(file);
        self.changed.insert(id);
        if log.is_gone() {
            // The file may be there by now.
            self.replaceable.insert(id);
            self.replace_all();
        }
        true
    }

    /// A file is to take no log's place after all.
    pub fn withdraw(&mut self, file: FileId) {
        for (id, log) in &mut self.logs {
            if log.successors.remove(&file) {
                self.changed.insert(*id);
                if !log.is_replaceable() {
                    self.replaceable.remove(id);
                }
            }
        }
    }

    /// See [`Ledger::replace`].
    pub(super) fn replace_all(&mut self) {
        if !self.replaceable.is_empty() {
            let ids: Vec<u64> = self.logs.keys().copied().collect();
            ids.into_iter().for_each(|id| self.replace(id));
        }
    }

    /// Under a name with a date, new content replaces what the name held before, once there is a whole line
    /// of it. Under a name without one, the old lines were counted and stay, unless the new content was
    /// uploaded to replace them.
    pub(super) fn replace(&mut self, id: u64) {
        let Some(log) = self
            .logs
            .get(&id)
            .filter(|log| log.is_counted() && !log.is_gone() && !self.replaceable.is_empty())
        else {
            return;
        };
        let is_meant = |other: &Log| (other.day.is_some() && log.has_name_of(other)) || log.replaces(other);
        let before = |id: &u64| self.logs.get(id).is_some_and(is_meant);
        let replaced: Vec<u64> = self.replaceable.iter().copied().filter(before).collect();
        replaced.into_iter().for_each(|id| self.drop_log(id));
    }
}
