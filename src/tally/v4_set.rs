//! IPv4 clients with their number of requests: an open-addressing table of 8-byte slots.
//!
//! The address and its count share a slot, so a hit touches one cache line. A count that outgrows its 32 bits goes to a small map
//! beside the table. Slots are found by a multiplication with a random odd number: who chooses the clients cannot choose the collisions.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

use super::slots::{is_too_small, slots_for, stretch};
use crate::sys::memory::zeroed_words;

/// For how many slots the processor is made to wait at once.
const AHEAD: usize = 32;

/// The random odd multiplier of this process and of all that it forks.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| RandomState::new().build_hasher().finish() | 1)
}

/// A map from IPv4 addresses, as numbers, to counts above zero.
#[derive(Debug, Default, Clone)]
pub(super) struct V4Set {
    /// `address << 32 | count`; 0 is an empty slot, since no count is 0. The length is 0 or a power of two.
    slots: Vec<u64>,
    len: usize,
    /// The slot of an address is told by so many upper bits of its hash.
    shift: u32,
    /// For counts of 2^32 and more: how many times 2^31 has been taken out of the slot.
    carried: HashMap<u32, u64>,
}

const CARRY: u64 = 1 << 31;

impl V4Set {
    /// Adds `count` requests of a client. `count` is above 0.
    #[inline]
    pub(super) fn add(&mut self, address: u32, count: u64) {
        self.make_room(1);
        let at = self.find(address);
        let slot = &mut self.slots[at];
        if *slot == 0 {
            self.len += 1;
        }
        let sum = (*slot & u64::from(u32::MAX)) + count;
        if sum <= u64::from(u32::MAX) {
            *slot = u64::from(address) << 32 | sum;
        } else {
            // Half of the range stays in the slot, so that the next carry is far away.
            let carries = sum / CARRY - 1;
            *slot = u64::from(address) << 32 | (sum - carries * CARRY);
            *self.carried.entry(address).or_default() += carries;
        }
    }

    /// Adds one request of each of some clients.
    pub(super) fn add_each(&mut self, addresses: &[u32]) {
        // Room for all at once, so that the loop need not look.
        self.make_room(addresses.len());
        for addresses in addresses.chunks(AHEAD) {
            // First only look, deciding nothing: so the processor can wait for all these slots at once.
            let looks = addresses.iter().fold(0, |looks, address| looks ^ self.slots[self.home(*address)]);
            std::hint::black_box(looks);
            for &address in addresses {
                let at = self.find(address);
                let slot = &mut self.slots[at];
                if *slot == 0 {
                    *slot = u64::from(address) << 32 | 1;
                    self.len += 1;
                } else if *slot as u32 != u32::MAX {
                    *slot += 1;
                } else {
                    self.add(address, 1);
                }
            }
        }
    }

    /// Makes room for so many more clients, if there is none.
    #[inline]
    pub(super) fn make_room(&mut self, more: usize) {
        if is_too_small(self.slots.len(), self.len + more) {
            self.resize(slots_for(self.len + more));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The clients in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u64)> {
        self.slots.iter().filter(|&&slot| slot != 0).map(|slot| {
            let address = (slot >> 32) as u32;
            let carried = if self.carried.is_empty() { 0 } else { self.carried.get(&address).map_or(0, |carries| carries * CARRY) };
            (address, (slot & u64::from(u32::MAX)) + carried)
        })
    }

    /// The clients whose hashes begin with the `bits` bits `start`, with their hashes: they stand together, but for those that found their slots taken.
    pub(super) fn iter_part(&self, start: u32, bits: u32) -> impl Iterator<Item = (u32, u64)> {
        let addresses = stretch(&self.slots, start, bits).map(|slot| (slot >> 32) as u32);
        addresses.map(|address| (address, V4Set::hash(address))).filter(move |(_, hash)| hash.checked_shr(64 - bits).unwrap_or(0) == u64::from(start))
    }

    /// Every bit of the address reaches the upper bits of its hash, and only those count.
    #[inline]
    pub(super) fn hash(address: u32) -> u64 {
        u64::from(address).wrapping_mul(seed())
    }

    /// The slot of an address, or the empty one where it belongs. There is always an empty slot.
    #[inline]
    fn find(&self, address: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.home(address);
        loop {
            let slot = self.slots[at];
            if slot == 0 || (slot >> 32) as u32 == address {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    /// The slot where the search for an address begins.
    #[inline]
    fn home(&self, address: u32) -> usize {
        (V4Set::hash(address) >> self.shift) as usize
    }

    fn resize(&mut self, slots: usize) {
        self.shift = 64 - slots.trailing_zeros();
        let old = std::mem::replace(&mut self.slots, zeroed_words(slots));
        for slot in old.into_iter().filter(|&slot| slot != 0) {
            let at = self.find((slot >> 32) as u32);
            self.slots[at] = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_like_a_map() {
        let (mut set, mut map) = (V4Set::default(), HashMap::new());
        let mut address: u32 = 0; // 0.0.0.0 is a client too
        for step in 0..100_000u32 {
            set.add(address, 1);
            *map.entry(address).or_insert(0u64) += 1;
            address = address.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % 5_000 * (step % 3);
        }
        assert_eq!(set.len(), map.len());
        assert_eq!(set.iter().collect::<HashMap<_, _>>(), map);
    }

    #[test]
    fn counts_past_32_bits() {
        let mut set = V4Set::default();
        let mut want = 0;
        for count in [u64::from(u32::MAX), 1, CARRY, u64::from(u32::MAX) + 7, 1 << 40, 1] {
            set.add(7, count);
            want += count;
            assert_eq!(set.iter().collect::<Vec<_>>(), [(7, want)]);
        }
    }
}
