//! Samples: short stretches of a log's bytes, kept as hashes, by which its content is told again.
//!
//! A log is its content, not its name. While it is counted, the *blocks* of a fixed grid are hashed: dense at
//! its start, where small logs differ, and one KiB in 64 further on, which costs almost nothing. With them,
//! and with the last KiB that was counted (the *anchor*), one log can be shown to be the beginning of another
//! at any size, and under any name, file or compression. Deliberately absent: the bytes themselves. No log
//! line can be had back from a hash.

use std::fs::File;
use std::io;

use xxhash_rust::xxh3::xxh3_64;

use crate::sys::map::read_at;

/// The longest sample, in bytes.
pub const SAMPLE_BYTES: usize = 1024;

/// Up to here the blocks leave nothing out.
pub const START_BYTES: u64 = 4096;

/// The grid, in stretches of equal steps: blocks of `length` bytes at `from`, `from + step`, and so on up to
/// the next stretch.
const GRID: [Stretch; 4] = [
    Stretch { first: 0, from: 0, step: 16, length: 16 },
    Stretch { first: 4, from: 64, step: 64, length: 64 },
    Stretch { first: 67, from: 4 << 10, step: 4 << 10, length: 256 },
    Stretch { first: 82, from: 64 << 10, step: 64 << 10, length: SAMPLE_BYTES as u64 },
];

struct Stretch {
    /// The number of its first block.
    first: u64,
    from: u64,
    step: u64,
    length: u64,
}

/// Bytes of a log as they were when they were counted, to be told again: where they stand, and their hash
/// (XXH3, 64 bits).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// The offset of the first byte.
    pub at: u64,
    /// How many bytes: at most 1 KiB.
    pub length: u32,
    /// Their hash.
    pub hash: u64,
}

impl Sample {
    /// The sample of `bytes`, which stand at the offset `at`; at most 1 KiB.
    pub fn of(at: u64, bytes: &[u8]) -> Sample {
        Sample { at, length: u32::try_from(bytes.len()).expect("a sample is short"), hash: hash(bytes) }
    }

    /// The offset behind the last byte.
    pub fn reach(&self) -> u64 {
        self.at + u64::from(self.length)
    }

    /// What stands in a file at a place now, or `None` if the file ends before.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn take(file: &File, at: u64, length: u32) -> io::Result<Option<Sample>> {
        let mut buffer = [0; SAMPLE_BYTES];
        let Some(buffer) = buffer.get_mut(..length as usize) else { return Ok(None) };
        let whole = read_at(file, buffer, at)? == buffer.len();
        Ok(whole.then(|| Sample::of(at, buffer)))
    }

    /// Does the file hold the same bytes still?
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn holds(&self, file: &File) -> io::Result<bool> {
        Ok(Sample::take(file, self.at, self.length)?.is_some_and(|now| now == *self))
    }
}

/// Where a block of the grid stands: offset and length, in bytes.
pub fn block(number: usize) -> (u64, u32) {
    let number = number as u64;
    let stretch =
        GRID.iter().rev().find(|stretch| stretch.first <= number).expect("the first stretch begins at 0");
    (stretch.from + (number - stretch.first) * stretch.step, stretch.length as u32)
}

/// How many blocks lie within the first `bytes` bytes. They are the first ones of the grid.
pub fn blocks_within(bytes: u64) -> usize {
    let Some(at) = GRID.iter().rposition(|stretch| stretch.from + stretch.length <= bytes) else { return 0 };
    let stretch = &GRID[at];
    let count = stretch.first + (bytes - stretch.from - stretch.length) / stretch.step + 1;
    GRID.get(at + 1).map_or(count, |next| count.min(next.first)) as usize
}

/// A block that was not seen, because it could not be counted.
pub const UNSEEN: u64 = 0;

fn hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Hashes the blocks of the grid in bytes that come one after another.
#[derive(Debug)]
pub struct Sampler {
    /// The next block.
    next: usize,
    /// The start of it, if it has begun.
    begun: Vec<u8>,
    at: u64,
    first: usize,
    hashes: Vec<u64>,
}

impl Sampler {
    /// A sampler of the blocks that end behind `from`. What comes first stands at the offset `from`, less the
    /// bytes in front that [`Sampler::wanted_from`] asks for.
    pub fn new(from: u64) -> Sampler {
        let first = blocks_within(from);
        Sampler { next: first, begun: Vec::new(), at: from.min(block(first).0), first, hashes: Vec::new() }
    }

    /// The offset of the first byte that is wanted.
    pub fn wanted_from(&self) -> u64 {
        self.at
    }

    /// Takes the next bytes, which stand at the offset `at`. What was taken before is passed over.
    pub fn take(&mut self, at: u64, bytes: &[u8]) {
        let Some(mut bytes) =
            self.at.checked_sub(at).and_then(|known| bytes.get(usize::try_from(known).ok()?..))
        else {
            return;
        };
        let mut at = self.at;
        let end = at + bytes.len() as u64;
        self.at = end;
        loop {
            let (start, length) = block(self.next);
            let stop = start + u64::from(length);
            if start >= end {
                return;
            }
            let skipped = start.saturating_sub(at) as usize;
            let part = &bytes[skipped..bytes.len().min((stop - at) as usize)];
            if stop > end {
                self.begun.extend_from_slice(part);
                return;
            }
            self.hashes.push(if self.begun.is_empty() {
                hash(part)
            } else {
                self.begun.extend_from_slice(part);
                hash(&self.begun)
            });
            self.begun.clear();
            self.next += 1;
            bytes = &bytes[(stop - at) as usize..];
            at = stop;
        }
    }

    /// The number of the first block, and the hashes of it and those behind it.
    pub fn into_blocks(self) -> (usize, Vec<u64>) {
        (self.first, self.hashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_has_no_gap_and_no_overlap_in_its_numbers() {
        let mut before = (0, 0);
        for number in 0..300 {
            let (at, length) = block(number);
            assert!(number == 0 || at >= before.0 + u64::from(before.1), "{number}");
            assert_eq!(
                (blocks_within(at + u64::from(length) - 1), blocks_within(at + u64::from(length))),
                (number, number + 1)
            );
            before = (at, length);
        }
        assert_eq!(
            (block(3), block(4), block(66), block(67), block(81), block(82)),
            ((48, 16), (64, 64), (4032, 64), (4096, 256), (61_440, 256), (65_536, 1024))
        );
        assert_eq!((blocks_within(0), blocks_within(15), blocks_within(4096)), (0, 0, 67));
    }

    /// However the bytes come in pieces, and wherever they begin, the blocks are the same.
    #[test]
    fn pieces_give_the_same_blocks() {
        let bytes: Vec<u8> = (0..400_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let whole: Vec<u64> = (0..blocks_within(bytes.len() as u64))
            .map(|number| {
                let (at, length) = block(number);
                hash(&bytes[at as usize..][..length as usize])
            })
            .collect();
        for from in [0, 1, 15, 16, 70, 4095, 4200, 65_535, 66_000, 131_072, 140_000] {
            for step in [1, 7, 1000, 65_536, 400_000] {
                let mut sampler = Sampler::new(from);
                let start = sampler.wanted_from().min(from.saturating_sub(1));
                let mut at = start;
                for piece in bytes[start as usize..].chunks(step) {
                    sampler.take(at, piece);
                    at += piece.len() as u64;
                }
                let (first, hashes) = sampler.into_blocks();
                assert_eq!(first, blocks_within(from));
                assert_eq!(hashes, whole[first..], "from {from} in steps of {step}");
            }
        }
    }
}
