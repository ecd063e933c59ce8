//! What is known of a log's content, and when one content is the beginning of another.
//!
//! Pure but for one question, which a [`Probe`] answers: what stands in a file at a place. Deliberately
//! absent: names, and what follows from it that two logs share a beginning. The ledger decides that.

use std::io;
use std::path::PathBuf;

use super::scan::FileId;
use crate::decode::FileKind;
use crate::sample::{Sample, UNSEEN, block, blocks_within};

/// So many blocks behind the dense ones are looked at, evenly spread: a terabyte is not read through to know
/// a log again.
const SPREAD_MAX: usize = 64;
/// The blocks up to here are dense, and all looked at.
const DENSE: usize = 82;

/// The part of a log that has been counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// Up to where: of a compressed log, in decoded bytes.
    pub to: u64,
    /// The hashes of the blocks within that. [`UNSEEN`]: it was not counted.
    pub blocks: Vec<u64>,
    /// The last bytes before `to`, at most 1 KiB. None if there are none, or if they could not be counted.
    pub anchor: Option<Sample>,
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its path.
    pub path: PathBuf,
    /// Which file it must be.
    pub file: FileId,
}

/// Looks into files, and at what was counted.
pub trait Probe {
    /// May a log be the beginning of another one, by the numbers of both, and `by_clients`? It is asked where
    /// samples cannot tell.
    fn fits(&self, _inner: u64, _outer: u64, _by_clients: bool) -> bool {
        true
    }

    /// What stands in a file at an offset now, as its bytes are, or `None` if it ends before.
    fn sample(&mut self, place: &Place, at: u64, length: u32) -> io::Result<Option<Sample>>;
    /// The hashes of the blocks of the grid within the first bytes of a file: those of its first 4 KiB, or of
    /// all of it if it is shorter.
    fn start(&mut self, place: &Place, size: u64) -> io::Result<Vec<u64>>;
    /// Returns what a file is, by its first bytes and its name.
    fn kind(&mut self, place: &Place) -> io::Result<FileKind>;
}

/// What a comparison showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// It is the beginning.
    Same,
    /// It is not.
    Other,
    /// All that could be compared is the same, but not the last bytes.
    Likely,
}

impl Content {
    /// The content goes on up to `to`: with blocks from number `first` on.
    pub fn grow(&mut self, to: u64, first: usize, blocks: &[u64], anchor: Option<Sample>) {
        self.blocks.resize(first, UNSEEN);
        self.blocks.extend_from_slice(blocks);
        self.blocks.resize(blocks_within(to), UNSEEN);
        (self.to, self.anchor) = (to, anchor);
    }

    /// Is this the beginning of another content?
    pub fn begins(&self, other: &Content) -> Shown {
        let differ = |(one, two): (&u64, &u64)| one != two && *one != UNSEEN && *two != UNSEEN;
        if self.to > other.to || self.blocks.iter().zip(&other.blocks).any(differ) {
            return Shown::Other;
        }
        match (self.anchor, other.anchor) {
            (Some(one), Some(two)) if (one.at, one.length) == (two.at, two.length) => {
                if one.hash == two.hash { Shown::Same } else { Shown::Other }
            }
            _ => Shown::Likely,
        }
    }

    /// Was any block of both seen? If not, all that is known is that nothing speaks against it.
    pub fn shares_blocks(&self, other: &Content) -> bool {
        self.blocks.iter().zip(&other.blocks).any(|(one, two)| *one != UNSEEN && *two != UNSEEN)
    }

    /// May a file that starts with these blocks begin alike? Most that do not are told at once.
    pub fn may_start(&self, start: &[u64]) -> bool {
        self.blocks.iter().zip(start).all(|(one, two)| one == two || *one == UNSEEN)
    }

    /// Does a file of `size` bytes begin with this content? `closely`: all that is known of it is looked for,
    /// not only its two ends.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn begins_file(
        &self,
        place: &Place,
        size: u64,
        closely: bool,
        probe: &mut impl Probe,
    ) -> io::Result<bool> {
        let is_known = self.anchor.is_some() || self.blocks.iter().any(|hash| *hash != UNSEEN);
        if size < self.to || (closely && !is_known) {
            return Ok(false);
        }
        if let Some(anchor) = self.anchor
            && probe.sample(place, anchor.at, anchor.length)? != Some(anchor)
        {
            return Ok(false);
        }
        self.has_blocks_of(place, self.blocks.len().min(if closely { usize::MAX } else { 1 }), probe)
    }

    /// Is a file of `size` bytes, shorter than this content, its beginning? `own`: where this content is, if
    /// it can be looked at there.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn begins_with_file(
        &self,
        place: &Place,
        size: u64,
        own: Option<&Place>,
        probe: &mut impl Probe,
    ) -> io::Result<bool> {
        let count = blocks_within(size).min(self.blocks.len());
        if size > self.to || !self.has_blocks_of(place, count, probe)? {
            return Ok(false);
        }
        let length = size.min(crate::sample::SAMPLE_BYTES as u64);
        let (at, length) = (size - length, length as u32);
        let tail = own.and_then(|own| {
            let there = probe.sample(own, at, length).ok()??;
            // Its file may hold something else by now: then it is no witness.
            let anchor = self.anchor?;
            (probe.sample(own, anchor.at, anchor.length).ok()? == Some(anchor)).then_some(there)
        });
        Ok(match tail {
            Some(tail) => probe.sample(place, at, length)? == Some(tail),
            None => self.blocks[..count].iter().any(|hash| *hash != UNSEEN),
        })
    }

    /// Does the file have the first `count` blocks?
    fn has_blocks_of(&self, place: &Place, count: usize, probe: &mut impl Probe) -> io::Result<bool> {
        let spread = count.saturating_sub(DENSE).div_ceil(SPREAD_MAX).max(1);
        let numbers = (0..count.min(DENSE)).chain((DENSE..count).step_by(spread));
        for number in numbers {
            let ((at, length), hash) = (block(number), self.blocks[number]);
            if hash != UNSEEN && probe.sample(place, at, length)? != Some(Sample { at, length, hash }) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(bytes: &[u8]) -> Content {
        let to = bytes.len() as u64;
        let blocks = (0..blocks_within(to)).map(|number| {
            let (at, length) = block(number);
            Sample::of(at, &bytes[at as usize..][..length as usize]).hash
        });
        let start = bytes.len().saturating_sub(1024);
        Content {
            to,
            blocks: blocks.collect(),
            anchor: (to > 0).then(|| Sample::of(start as u64, &bytes[start..])),
        }
    }

    #[test]
    fn what_was_not_seen_is_like_nothing() {
        let hole = Content { to: 64, blocks: vec![UNSEEN; 4], anchor: None };
        assert!(
            !hole.shares_blocks(&content(&[7; 64])) && content(&[7; 64]).shares_blocks(&content(&[8; 64]))
        );
    }

    #[test]
    fn a_beginning_is_told_from_something_else() {
        let text: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8 ^ (at >> 8) as u8).collect();
        let mut other = text.clone();
        other[70_000] ^= 1; // within no block but that of its own anchor
        for (length, shown) in
            [(0, Shown::Likely), (10, Shown::Likely), (70_500, Shown::Likely), (200_000, Shown::Same)]
        {
            assert_eq!(content(&text[..length]).begins(&content(&text)), shown, "{length}");
        }
        assert_eq!(content(&text).begins(&content(&text[..100])), Shown::Other);
        assert_eq!(content(&other[..70_500]).begins(&content(&text[..70_500])), Shown::Other);
        other[5] ^= 1;
        assert_eq!(content(&other[..100]).begins(&content(&text)), Shown::Other);
        assert_eq!(content(&text[..10]).begins(&content(&other[..10])), Shown::Other);
    }
}
