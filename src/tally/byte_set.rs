//! Clients that are no IPv4 address, as the bytes that were logged, with their number of requests.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::v4_set::seed;
use crate::log::CLIENT_BYTES_MAX;

/// A map from byte strings of up to 1,024 bytes to counts above zero. The strings stand one after another in one arena.
#[derive(Debug, Default, Clone)]
pub(super) struct ByteSet {
    table: HashTable<Slot>,
    arena: Vec<u8>,
}

/// 16 bytes: where the string stands (its start in the upper 48 bits, its length in the lower 16), and its count.
#[derive(Debug, Clone)]
struct Slot {
    place: u64,
    count: u64,
}

impl Slot {
    fn bytes<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let start = (self.place >> 16) as usize;
        &arena[start..start + (self.place & 0xffff) as usize]
    }
}

const _: () = assert!(CLIENT_BYTES_MAX <= 0xffff);

fn hash(bytes: &[u8]) -> u64 {
    FixedState::with_seed(seed()).hash_one(bytes)
}

impl ByteSet {
    /// Adds `count` requests of a client; says whether it is new.
    pub(super) fn add(&mut self, client: &[u8], count: u64) -> bool {
        let arena = &mut self.arena;
        let found = self.table.entry(hash(client), |slot| slot.bytes(arena) == client, |slot| hash(slot.bytes(arena)));
        match found {
            Entry::Occupied(mut slot) => {
                slot.get_mut().count += count;
                false
            }
            Entry::Vacant(slot) => {
                slot.insert(Slot { place: (arena.len() as u64) << 16 | client.len() as u64, count });
                arena.extend_from_slice(client);
                true
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The clients whose hashes begin with the `bits` bits `start`.
    pub(super) fn iter_part(&self, start: u32, bits: u32) -> impl Iterator<Item = &[u8]> {
        self.iter().map(|(client, _)| client).filter(move |client| hash(client).checked_shr(64 - bits).unwrap_or(0) == u64::from(start))
    }

    /// The clients in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.table.iter().map(|slot| (slot.bytes(&self.arena), slot.count))
    }
}
