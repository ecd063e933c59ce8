//! Finds the logs that may begin like another one, by the blocks of their first 64 bytes.
//!
//! Of many thousand logs hardly any begin alike to the 64th byte; those that are shorter are few, most often.

use std::collections::{BTreeSet, HashMap};

use crate::sample::UNSEEN;

/// So many blocks are looked at.
const BLOCKS: usize = 4;

/// The first blocks of a log: all that it has (if these are fewer than [`BLOCKS`]), or so many of them.
type Key = (Whole, usize, u64);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Whole {
    Yes,
    No,
}

/// The logs by how they begin.
#[derive(Debug, Default)]
pub struct Alike {
    logs: HashMap<Key, BTreeSet<u64>>,
    keys: HashMap<u64, Vec<Key>>,
}

impl Alike {
    /// A log begins with these blocks.
    pub fn insert(&mut self, id: u64, blocks: &[u64]) {
        let blocks = seen(blocks);
        let mut keys: Vec<Key> = (1..=blocks.len()).map(|count| key(Whole::No, &blocks[..count])).collect();
        if blocks.len() < BLOCKS {
            keys.push(key(Whole::Yes, blocks));
        }
        if self.keys.get(&id) != Some(&keys) {
            self.remove(id);
            for key in &keys {
                self.logs.entry(*key).or_default().insert(id);
            }
            self.keys.insert(id, keys);
        }
    }

    /// A log is no more.
    pub fn remove(&mut self, id: u64) {
        for key in self.keys.remove(&id).unwrap_or_default() {
            if let Some(logs) = self.logs.get_mut(&key) {
                logs.remove(&id);
                if logs.is_empty() {
                    self.logs.remove(&key);
                }
            }
        }
    }

    /// The logs that may be the beginning of what begins with these blocks, or begin with it.
    pub fn of(&self, blocks: &[u64]) -> impl Iterator<Item = u64> {
        let blocks = seen(blocks);
        let shorter =
            (0..blocks.len().max(1)).map(|count| key(Whole::Yes, &blocks[..count.min(blocks.len())]));
        let longer = (!blocks.is_empty()).then(|| key(Whole::No, blocks));
        shorter.chain(longer).filter_map(|key| self.logs.get(&key)).flatten().copied()
    }
}

/// The first blocks, as far as they were seen.
fn seen(blocks: &[u64]) -> &[u64] {
    let count = blocks.iter().take(BLOCKS).take_while(|hash| **hash != UNSEEN).count();
    &blocks[..count]
}

fn key(whole: Whole, blocks: &[u64]) -> Key {
    let bytes: Vec<u8> = blocks.iter().flat_map(|hash| hash.to_le_bytes()).collect();
    (whole, blocks.len(), xxhash_rust::xxh3::xxh3_64(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_that_begin_alike_are_found() {
        let mut alike = Alike::default();
        let logs: [&[u64]; 7] =
            [&[], &[1], &[1, 2], &[1, 2, 3, 4], &[1, 2, 3, 4, 5, 6], &[1, 2, 3, 9], &[7, 8]];
        for (id, blocks) in logs.iter().enumerate() {
            alike.insert(id as u64, blocks);
        }
        let check = |alike: &Alike, blocks: &[u64], want: &[u64]| {
            assert_eq!(
                alike.of(blocks).collect::<BTreeSet<_>>(),
                want.iter().copied().collect(),
                "{blocks:?}"
            )
        };
        check(&alike, &[], &[0]);
        check(&alike, &[1], &[0, 1, 2, 3, 4, 5]);
        check(&alike, &[1, 2, 3], &[0, 1, 2, 3, 4, 5]);
        check(&alike, &[1, 2, 3, 4, 77], &[0, 1, 2, 3, 4]);
        check(&alike, &[7, 8, 9, 10], &[0, 6]);
        check(&alike, &[5], &[0]);
        // One grows, one goes.
        alike.insert(1, &[1, 2, 3, 4]);
        alike.remove(3);
        check(&alike, &[1, 2, 3, 4], &[0, 1, 2, 4]);
        check(&alike, &[1, 8, 8, 8], &[0]);
    }
}
