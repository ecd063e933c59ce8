//! What the store must hold, once all is settled.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, Instant};

use tallyd::store::{State, folder, read_meta};

use crate::inode::Inode;
use crate::numbers::Numbers;
use crate::run::{Outcome, Run};
use crate::said::patience;

impl Run {
    /// Waits until the store holds what is known. All must be settled.
    pub fn wait_for_store(&mut self) -> Outcome {
        let counted = |inode: &Inode| inode.bytes[..inode.known.expect("all is settled")].to_vec();
        let mut contents: Vec<(bool, Vec<u8>)> = self
            .inodes
            .values()
            .map(|inode| (false, counted(inode)))
            .filter(|(_, bytes)| !bytes.is_empty())
            .collect();
        // Of what has several names, any may be the stored one.
        let mut names: BTreeMap<(u64, u64), Vec<&String>> = BTreeMap::new();
        for (name, id) in &self.names {
            let bytes = counted(&self.inodes[id]);
            names.entry((bytes.len() as u64, Numbers::of(&bytes).total())).or_default().push(name);
        }
        contents.sort();
        contents.dedup();
        contents.extend(self.gone.iter().map(|gone| (true, gone.bytes.clone())));
        let within = |bytes: &Vec<u8>| {
            contents.iter().any(|(_, other)| other.len() > bytes.len() && other.starts_with(bytes))
                || self.gone.iter().any(|gone| gone.bytes == *bytes)
        };
        let mut wanted: Vec<(bool, u64, u64)> = contents
            .iter()
            .filter(|(gone, bytes)| *gone || !within(bytes))
            .map(|(gone, bytes)| (*gone, bytes.len() as u64, Numbers::of(bytes).total()))
            .collect();
        wanted.sort_unstable();
        let state = self.daemon.as_ref().expect("it runs").folder.join("state");
        let start = Instant::now();
        loop {
            let entries = folder::list(&state).unwrap_or_default();
            let metas = entries.iter().filter_map(|entry| read_meta(File::open(&entry.path).ok()?).ok());
            let stored: Vec<_> = metas.filter(|meta| meta.state != State::Deleted).collect();
            let mut found: Vec<(bool, u64, u64)> = stored
                .iter()
                .map(|meta| (meta.state == State::Gone, meta.counted_to, meta.totals.counts.requests()))
                .collect();
            found.sort_unstable();
            let stale = stored.iter().find(|meta| {
                let known = names.get(&(meta.counted_to, meta.totals.counts.requests()));
                meta.state != State::Gone
                    && known.is_some_and(|names| !names.iter().any(|name| name.as_bytes() == meta.name))
            });
            if found == wanted && stale.is_none() {
                break;
            }
            if start.elapsed() > patience() {
                return Err(format!(
                    "the store must hold (gone, counted_to, requests) {wanted:?} and holds {found:?}, {stale:?}"
                ));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        self.inodes.values_mut().for_each(|inode| inode.stored = true);
        self.gone.iter_mut().for_each(|gone| gone.stored = true);
        self.replaced.clear();
        self.unsafe_to_kill = false;
        self.say("  (all is stored)".into());
        Ok(())
    }
}
