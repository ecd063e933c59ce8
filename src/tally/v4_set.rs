//! IPv4 clients with what each did: an open-addressing table of 16-byte slots.
//!
//! All of a client is in one slot, so a hit touches one cache line. What outgrows its bits there goes to a
//! small map beside the table. Slots are found by a multiplication with a random odd number: who chooses the
//! clients cannot choose the collisions.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

use super::slots::{is_too_small, slots_for, stretch};
use super::usage::Usage;
use crate::sys::memory::zeroed_slots;

/// For how many slots the processor is made to wait at once.
const AHEAD: usize = 32;

/// The random odd multiplier of this process and of all that it forks.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| RandomState::new().build_hasher().finish() | 1)
}

/// A map from IPv4 addresses, as numbers, to what these clients did.
#[derive(Debug, Default, Clone)]
pub(super) struct V4Set {
    /// The length is 0 or a power of two.
    slots: Vec<Slot>,
    len: usize,
    /// The slot of an address is told by so many upper bits of its hash.
    shift: u32,
    /// What has been taken out of the slots, for clients of 2^32 requests or 2^40 bytes and more.
    carried: HashMap<u32, Usage>,
}

/// `address << 32 | requests` and `bytes << 24 | hours`; all 0 is an empty slot, since no client has no
/// requests.
type Slot = [u64; 2];

const REQUESTS_MAX: u64 = u32::MAX as u64;
const BYTES_MAX: u64 = (1 << (64 - HOUR_BITS)) - 1;
const HOUR_BITS: u32 = 24;
const HOURS: u64 = (1 << HOUR_BITS) - 1;

fn slot(address: u32, usage: Usage) -> Slot {
    debug_assert!(
        usage.requests > 0
            && usage.requests <= REQUESTS_MAX
            && usage.bytes <= BYTES_MAX
            && u64::from(usage.hours) <= HOURS
    );
    [u64::from(address) << 32 | usage.requests, usage.bytes << HOUR_BITS | u64::from(usage.hours)]
}

fn address(slot: Slot) -> u32 {
    (slot[0] >> 32) as u32
}

fn usage(slot: Slot) -> Usage {
    Usage { requests: slot[0] & REQUESTS_MAX, bytes: slot[1] >> HOUR_BITS, hours: (slot[1] & HOURS) as u32 }
}

/// A request that waits to be added.
#[derive(Debug, Clone, Copy)]
pub(super) struct V4Request {
    address: u32,
    /// The length of the line.
    bytes: u32,
    hour: u8,
}

impl V4Request {
    /// A request in an hour, with a line of so many bytes.
    #[inline]
    pub(super) fn new(address: u32, bytes: u32, hour: u8) -> V4Request {
        V4Request { address, bytes, hour }
    }
}

impl V4Set {
    /// Adds what a client did: at least one request.
    #[inline]
    pub(super) fn add(&mut self, address: u32, more: Usage) {
        self.make_room(1);
        let at = self.find(address);
        let mut sum = usage(self.slots[at]);
        self.len += usize::from(sum.requests == 0);
        sum += more;
        if sum.requests > REQUESTS_MAX || sum.bytes > BYTES_MAX {
            sum = self.carry(address, sum);
        }
        self.slots[at] = slot(address, sum);
    }

    /// Puts beside the table what a slot has no room for; says what stays.
    #[cold]
    fn carry(&mut self, address: u32, sum: Usage) -> Usage {
        // Half of the range, so that the next carry is far away.
        let stays = Usage {
            requests: sum.requests.min(REQUESTS_MAX / 2),
            bytes: sum.bytes.min(BYTES_MAX / 2),
            hours: sum.hours,
        };
        *self.carried.entry(address).or_default() +=
            Usage { requests: sum.requests - stays.requests, bytes: sum.bytes - stays.bytes, hours: 0 };
        stays
    }

    /// Adds some requests.
    pub(super) fn add_each(&mut self, requests: &[V4Request]) {
        // Room for all at once, so that the loop need not look.
        self.make_room(requests.len());
        for requests in requests.chunks(AHEAD) {
            // First only look, deciding nothing: so the processor can wait for all these slots at once.
            let looks =
                requests.iter().fold(0, |looks, request| looks ^ self.slots[self.home(request.address)][0]);
            std::hint::black_box(looks);
            for &V4Request { address, bytes, hour } in requests {
                let at = self.find(address);
                let slot = &mut self.slots[at];
                let (usage, too_many) = slot[1].overflowing_add(u64::from(bytes) << HOUR_BITS);
                if too_many | (slot[0] as u32 == u32::MAX) {
                    self.add(address, Usage::of_request(bytes.into(), Some(hour)));
                    continue;
                }
                self.len += usize::from(slot[0] == 0);
                *slot = [(u64::from(address) << 32 | slot[0]) + 1, usage | 1 << hour];
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

    pub(super) fn memory(&self) -> usize {
        size_of_val(&self.slots[..])
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The clients in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Usage)> {
        self.slots.iter().filter(|slot| slot[0] != 0).map(|slot| {
            let (address, mut usage) = (address(*slot), usage(*slot));
            if !self.carried.is_empty()
                && let Some(carried) = self.carried.get(&address)
            {
                usage += *carried;
            }
            (address, usage)
        })
    }

    /// The clients whose hashes begin with the `bits` bits `start`, with their hashes: they stand together,
    /// but for those that found their slots taken.
    pub(super) fn iter_part(&self, start: u32, bits: u32) -> impl Iterator<Item = (u32, u64)> {
        let addresses = stretch(&self.slots, start, bits).map(address);
        addresses
            .map(|address| (address, V4Set::hash(address)))
            .filter(move |(_, hash)| hash.checked_shr(64 - bits).unwrap_or(0) == u64::from(start))
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
            if slot[0] == 0 || self::address(slot) == address {
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
        let old = std::mem::replace(&mut self.slots, zeroed_slots(slots));
        for slot in old.into_iter().filter(|slot| slot[0] != 0) {
            let at = self.find(address(slot));
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
        let mut waiting = Vec::new();
        let mut address: u32 = 0; // 0.0.0.0 is a client too
        for step in 0..100_000u32 {
            let (bytes, hour) = (step * 40_000, (step % 24) as u8);
            let usage = Usage::of_request(bytes.into(), Some(hour));
            *map.entry(address).or_insert(Usage::default()) += usage;
            if step % 7 == 0 {
                set.add(address, usage);
            } else {
                waiting.push(V4Request::new(address, bytes, hour));
            }
            if waiting.len() == step as usize % 500 {
                set.add_each(&waiting);
                waiting.clear();
            }
            address = address.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % 5_000 * (step % 3);
        }
        set.add_each(&waiting);
        assert_eq!(set.len(), map.len());
        assert!(!set.carried.is_empty());
        assert_eq!(set.iter().collect::<HashMap<_, _>>(), map);
    }

    /// Adds each of these to one client, by both ways if they are requests, and looks after each.
    #[track_caller]
    fn check_sums(added: &[(u64, u64)]) {
        let mut set = V4Set::default();
        let mut want = Usage::default();
        for (at, (requests, bytes)) in added.iter().enumerate() {
            let hour = at as u8 % 24;
            let more = Usage { requests: *requests, bytes: *bytes, hours: 1 << hour };
            want += more;
            match u32::try_from(*bytes) {
                Ok(bytes) if *requests == 1 => set.add_each(&[V4Request::new(7, bytes, hour)]),
                _ => set.add(7, more),
            }
            assert_eq!(set.iter().collect::<Vec<_>>(), [(7, want)]);
        }
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn counts_past_32_bits() {
        const MAX: u64 = REQUESTS_MAX;
        check_sums(&[(MAX, 1), (1, 1), (1, 1), (1 << 31, 0), (MAX + 7, 7), (1 << 40, 1 << 20), (1, 3)]);
        check_sums(&[(MAX - 1, 0), (1, 0), (1, 0), (1, 0)]);
        check_sums(&[(1 << 50, 5), (1, 5)]);
    }

    #[test]
    fn counts_bytes_past_40_bits() {
        const MAX: u64 = BYTES_MAX;
        check_sums(&[
            (2, MAX),
            (1, 1),
            (1, 0),
            (1, u32::MAX.into()),
            (3, MAX / 2),
            (1, 200),
            (5, MAX + 7),
            (1, 1),
        ]);
        check_sums(&[(2, MAX - 1), (1, 1), (1, 1), (1, 1)]);
        check_sums(&[(1, 1 << 50), (1, 1 << 60), (1, 5)]);
        // Both at once.
        check_sums(&[(REQUESTS_MAX, MAX), (1, 1), (REQUESTS_MAX, MAX), (1, u32::MAX.into())]);
    }
}
