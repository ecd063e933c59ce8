//! The files of the folder, and those that are gone, with what the daemon was seen to know of them.

use std::time::{Duration, Instant};

use crate::act::Way;

/// A file of the folder.
#[derive(Clone, Debug)]
pub struct Inode {
    pub bytes: Vec<u8>,
    pub packed: bool,
    /// What a half line at its end lacks.
    pub rest: Vec<u8>,
    /// Has it had another name, as the daemon sees it? `None`: who knows.
    pub rotated: Option<bool>,
    /// The name that it had when the daemon knew it last, if it has had others since.
    pub was: Option<String>,
    /// The daemon was seen to have counted it as it is, up to here.
    pub known: Option<usize>,
    /// And to have stored that.
    pub stored: bool,
    pub changed: Instant,
}

impl Inode {
    pub fn new(bytes: Vec<u8>, rest: Vec<u8>) -> Inode {
        Inode {
            bytes,
            packed: false,
            rest,
            rotated: Some(false),
            was: None,
            known: None,
            stored: false,
            changed: Instant::now(),
        }
    }

    pub fn know(&mut self, to: usize) {
        (self.known, self.was) = (Some(to), None);
    }

    pub fn whole_lines(&self) -> usize {
        self.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
    }

    /// May it still be seen to be a rotated log, whose half line counts?
    pub fn may_turn(&self, to: usize, way: &Way) -> bool {
        to < *self.counted(way).last().expect("there is one")
            && self.changed.elapsed() < Duration::from_secs(3)
    }

    /// Up to where it may be counted.
    pub fn counted(&self, way: &Way) -> Vec<usize> {
        let (lines, size) = (self.whole_lines(), self.bytes.len());
        match self.rotated {
            _ if lines == size || self.packed || way.final_soon => vec![size],
            Some(true) => vec![size],
            Some(false) => vec![lines],
            None => vec![lines, size],
        }
    }
}

/// What was counted and is in the folder no more.
#[derive(Clone, Debug)]
pub struct Gone {
    pub name: String,
    pub bytes: Vec<u8>,
    pub stored: bool,
}
