//! Changes of files, each on the disk and in what is known.

use std::fs::{self, File};
use std::io::Write;

use crate::act::NAMES;
use crate::inode::{Gone, Inode};
use crate::run::Run;

impl Run {
    /// What a file held is destroyed: it is gone, if nothing that is there has it.
    pub fn destroy(&mut self, name: &str) {
        let id = self.names[name];
        let inode = &self.inodes[&id];
        let bytes = inode.bytes[..inode.known.expect("it was known")].to_vec();
        let stored = inode.stored;
        self.past.push(bytes.clone());
        // A half line that is held back elsewhere is part of what is there.
        let there = self
            .inodes
            .iter()
            .any(|(other, inode)| *other != id && inode.known.is_some() && inode.bytes.starts_with(&bytes));
        if !bytes.is_empty() && !there && !self.gone.iter().any(|gone| gone.bytes.starts_with(&bytes)) {
            self.gone.push(Gone { name: name.to_owned(), bytes, stored });
        } else if !bytes.is_empty() {
            self.must_see = true;
        }
    }

    pub fn unlink(&mut self, name: &str) {
        let id = self.names.remove(name).unwrap();
        if self.names_of(id).is_empty() {
            self.inodes.remove(&id);
        }
    }

    /// The file of a name is removed, or another one is put over it. `false`: it must not be now.
    pub fn remove(&mut self, name: &str) -> Result<bool, String> {
        let id = self.names[name];
        if self.names_of(id).len() > 1 {
            if !self.may_move(name)? {
                return Ok(false);
            }
            self.linked.insert(id);
            self.changed(id);
            self.inodes.get_mut(&id).unwrap().rotated = None;
        } else {
            if !self.may_destroy(name)? {
                return Ok(false);
            }
            self.destroy(name);
        }
        self.unlink(name);
        Ok(true)
    }

    /// Renames. What was there must have been removed.
    pub fn rename(&mut self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
        let id = self.names.remove(from).unwrap();
        self.names.insert(to.to_owned(), id);
        let alone = self.names_of(id).len() == 1 && !self.linked.contains(&id);
        let inode = self.inodes.get_mut(&id).unwrap();
        // A log is rotated if it was known under its old name.
        let is_back = inode.was.get_or_insert(from.to_owned()) == to;
        inode.rotated = if is_back || inode.bytes.is_empty() {
            // Perhaps the other name was not seen.
            None
        } else if inode.rotated == Some(true) || (inode.known.is_some() && alone && inode.rotated.is_some()) {
            Some(true)
        } else {
            None
        };
        if inode.bytes.len() != inode.whole_lines() && !self.way.final_soon {
            // Whether its half line counts depends on whether its new name is seen before the next.
            inode.rotated = inode.rotated.filter(|_| inode.known.is_some());
        }
        self.changed(id);
    }

    pub fn write(&mut self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn append(&mut self, name: &str, bytes: &[u8]) {
        File::options().append(true).open(self.path(name)).unwrap().write_all(bytes).unwrap();
        let id = self.names[name];
        self.inodes.get_mut(&id).unwrap().bytes.extend_from_slice(bytes);
        self.changed(id);
    }

    /// Writes something new into the file that a name has, in place.
    pub fn refill(&mut self, name: &str, bytes: Vec<u8>, rest: Vec<u8>) {
        self.write(name, &bytes);
        let id = self.names[name];
        let inode = self.inodes.get_mut(&id).unwrap();
        // It is a new log in an old file.
        let rotated = if self.linked.contains(&id) { None } else { Some(false) };
        *inode = Inode { rotated, ..Inode::new(bytes, rest) };
        self.rewritten.insert(id);
    }

    /// The name that a log of this name can get: what compresses it stays in it.
    pub fn new_name(&self, from: &str, to: usize) -> String {
        let packed = self.inodes[&self.names[from]].packed;
        let extension = from.rsplit_once('.').map_or("", |(_, extension)| extension);
        if packed { format!("{}.{extension}", NAMES[to]) } else { NAMES[to].to_owned() }
    }

    /// A plain file whose content is in another file now goes.
    pub fn drop_name(&mut self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
        let id = self.names[name];
        if self.names_of(id).len() > 1 {
            self.linked.insert(id);
            self.inodes.get_mut(&id).unwrap().rotated = None;
            self.changed(id);
        } else if let Some(inode) = self.inodes.get(&id)
            && let Some(known) = inode.known
        {
            // Until the other file is known, it is where this was.
            let (bytes, stored) = (inode.bytes[..known].to_vec(), inode.stored);
            if known > 0 {
                self.gone.push(Gone { name: name.to_owned(), bytes, stored });
            }
        }
        self.unlink(name);
    }
}
