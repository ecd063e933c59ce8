//! The files that are no logs by their first bytes: archives, programs, other compressions.
//!
//! A file is read again only if its size or its time of change has changed, so that an archive costs one
//! read. Deliberately absent: logs of which something was counted. Their content is compared with what was
//! counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::scan::{FileId, Found};
use crate::log::Foreign;

/// A watched folder and a file in it.
type Key = (usize, FileId);

/// The files that are no logs.
#[derive(Debug, Default)]
pub(super) struct Foreigners(BTreeMap<Key, Foreigner>);

/// A file that is no log.
#[derive(Debug)]
struct Foreigner {
    kind: Foreign,
    /// The size and the time of change when the file was read.
    version: (u64, Duration),
    /// Its names, with the path of each.
    names: Vec<(Vec<u8>, PathBuf)>,
}

impl Foreigners {
    /// Notes that the file with these names is no log.
    pub(super) fn insert(&mut self, names: &[&Found], kind: Foreign) {
        let Some(found) = names.first() else { return };
        let foreigner = Foreigner { kind, version: (found.size, found.changed), names: names_of(names) };
        self.0.insert((found.folder, found.file), foreigner);
    }

    /// Returns whether the file with these names is known to be no log, and has not changed since that was
    /// read.
    pub(super) fn knows(&mut self, names: &[&Found]) -> bool {
        let Some(found) = names.first() else { return false };
        let known = self
            .0
            .get_mut(&(found.folder, found.file))
            .filter(|known| known.version == (found.size, found.changed));
        known.map(|known| known.names = names_of(names)).is_some()
    }

    /// Keeps the files for which `keep` returns `true`.
    pub(super) fn retain(&mut self, keep: impl Fn(&Key) -> bool) {
        self.0.retain(|key, _| keep(key));
    }

    /// The file with this key is a log now.
    pub(super) fn remove(&mut self, key: Key) {
        self.0.remove(&key);
    }

    /// All names, with their paths and kinds.
    pub(super) fn names(&self) -> impl Iterator<Item = (&[u8], &Path, Foreign)> {
        self.0
            .values()
            .flat_map(|known| known.names.iter().map(|(name, path)| (&name[..], path.as_path(), known.kind)))
    }
}

fn names_of(names: &[&Found]) -> Vec<(Vec<u8>, PathBuf)> {
    names.iter().map(|found| (found.name.clone(), found.path.clone())).collect()
}
