//! What must not be done now, because nobody could say what becomes of it; and what can be done about that.

use tallyd::sample::{block, blocks_within};

use crate::act::is_dated;
use crate::run::Run;

impl Run {
    /// May what this file holds be destroyed, so that it is known what was counted of it? If need be, the
    /// daemon counts it first. `false`: it cannot now.
    pub fn may_destroy(&mut self, name: &str) -> Result<bool, String> {
        let id = self.names[name];
        self.may_move(name)?;
        if self.daemon.is_none() {
            let inode = &self.inodes[&id];
            return Ok(inode.known.is_some()
                && !self.is_within(id, &inode.bytes)
                && (!self.killed || inode.stored)
                && !self.linked.contains(&id)
                && !self.copies.contains(&id)
                && self.may_move(name)?);
        }
        if self.inodes[&id].known.is_none() || self.linked.contains(&id) {
            self.catch_up(id)?;
        }
        // Does it count within something that is being replaced, or by itself already?
        let bytes = &self.inodes[&id].bytes;
        let outer = self.gone.iter().filter(|gone| is_dated(&gone.name) && gone.bytes.starts_with(bytes));
        let new: Vec<u64> = outer
            .filter_map(|gone| self.names.get(&gone.name).copied())
            .filter(|new| self.inodes[new].known.is_none())
            .collect();
        for new in new {
            self.catch_up(new)?;
        }
        if std::mem::take(&mut self.must_see) || self.copies.contains(&id) {
            self.settle()?;
        }
        Ok(true)
    }

    /// A name that held something else before must be seen to hold something new before it is gone again.
    pub fn may_move(&mut self, name: &str) -> Result<bool, String> {
        let id = self.names[name];
        let names = self.names_of(id);
        if self.inodes[&id].known.is_none()
            && is_dated(name)
            && self.gone.iter().any(|gone| names.contains(&gone.name))
        {
            if self.daemon.is_none() {
                return Ok(false);
            }
            self.catch_up(id)?;
        }
        if self.replaced.contains(name) {
            if self.daemon.is_none() && self.killed {
                // What the store still knows under this name was replaced, and nobody could tell.
                return Ok(false);
            }
            self.unsafe_to_kill = true;
        }
        Ok(true)
    }

    /// The names of one file have dates, or none has: else it is not said whether new content in it replaces
    /// the old.
    pub fn may_be_called(&self, from: &str, to: &str) -> bool {
        is_dated(from) == is_dated(to) || self.names_of(self.names[from]).len() == 1
    }

    /// Is it not said what becomes of what a file holds, once it holds something else? So it is if the file
    /// has several names with dates, for one of them may get something new and the others not; or if a half
    /// line that counts in it is held back in another one that has the same bytes.
    pub fn is_open(&self, name: &str) -> bool {
        let id = self.names[name];
        if is_dated(name) && self.names_of(id).len() > 1 {
            return true;
        }
        let bytes = &self.inodes[&id].bytes;
        let Some(known) = self.inodes[&id].known.filter(|known| *known > self.inodes[&id].whole_lines())
        else {
            return false;
        };
        let others = self.inodes.iter().filter(|(other, _)| **other != id).map(|(_, inode)| inode);
        others
            .filter(|other| other.bytes.starts_with(&bytes[..known]))
            .any(|other| other.known.is_none_or(|to| to < known))
    }

    /// Does something else begin with this?
    pub fn is_within(&self, id: u64, bytes: &[u8]) -> bool {
        let others = self.inodes.iter().filter(|(other, _)| **other != id).map(|(_, inode)| &inode.bytes);
        others.chain(self.gone.iter().map(|gone| &gone.bytes)).any(|other| other.starts_with(bytes))
    }

    /// By the samples that are taken of it, can what a file holds not be told from something that has parted
    /// from it? Once both are in no plain file, nobody could.
    pub fn looks_like_another(&self, id: u64) -> bool {
        let own = &self.inodes[&id].bytes;
        let others = self.inodes.iter().filter(|(other, _)| **other != id).map(|(_, inode)| &inode.bytes);
        let mut others =
            others.chain(&self.past).chain(&self.bases).chain(self.gone.iter().map(|gone| &gone.bytes));
        let seems = |one: &[u8], other: &[u8]| !other.starts_with(one) && may_begin(one, other);
        others.any(|other| seems(own, other) || seems(other, own))
    }

    /// By what is kept of a content that is in no plain file, not all others can be told from it. Contents
    /// that have parted go on until they can be.
    pub fn part(&mut self) {
        let ids: Vec<u64> =
            self.inodes.iter().filter(|(_, inode)| !inode.packed).map(|(id, _)| *id).collect();
        for id in ids {
            loop {
                let inode = &self.inodes[&id];
                let own = &inode.bytes[..inode.whole_lines()];
                let others = self
                    .inodes
                    .iter()
                    .filter(|(other, inode)| **other != id && inode.packed)
                    .map(|(_, inode)| &inode.bytes);
                let mut others = others.chain(&self.past).chain(self.gone.iter().map(|gone| &gone.bytes));
                if !others.any(|other| {
                    (!other.starts_with(own) || !other.starts_with(&inode.bytes)) && may_begin(own, other)
                }) {
                    break;
                }
                let name = self.names_of(id)[0].clone();
                let mut bytes = std::mem::take(&mut self.inodes.get_mut(&id).unwrap().rest);
                bytes.extend(self.lines(10));
                self.say(format!(
                    "  append {} bytes to {name}, by which it can be told from others",
                    bytes.len()
                ));
                self.append(&name, &bytes);
            }
        }
    }

    /// Where to cut: anywhere, but in no line before its time stamp has ended; and before the end of the last
    /// sample, by which the whole can be told from what goes on otherwise.
    pub fn safe_cut(&self, bytes: &[u8], keep: Option<u16>) -> usize {
        let Some(keep) = keep else { return bytes.len() };
        let sampled = blocks_within(bytes.len() as u64)
            .checked_sub(1)
            .map_or(0, |last| block(last).0 + u64::from(block(last).1)) as usize;
        let cut = (bytes.len() * usize::from(keep) / 1000).min(sampled.saturating_sub(1));
        let start = bytes[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if bytes[start..cut].contains(&b']') { cut } else { start }
    }
}

/// Do the samples that are taken of it fail to show that it is no beginning of the other?
fn may_begin(one: &[u8], other: &[u8]) -> bool {
    let blocks = (0..blocks_within(one.len() as u64)).map(block);
    one.len() <= other.len()
        && blocks
            .map(|(at, length)| at as usize..at as usize + length as usize)
            .all(|range| one[range.clone()] == other[range])
}
