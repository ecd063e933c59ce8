//! Clients that are no IPv4 address, as the bytes that were logged, with their number of requests.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::v4_set::seed;
use crate::log::{CLIENT_BYTES_MAX, Kind, kind};

/// A map from byte strings of up to 1,024 bytes to counts above zero. The strings stand one after another in one arena.
#[derive(Debug, Default, Clone)]
pub(super) struct ByteSet {
    table: HashTable<Slot>,
    arena: Vec<u8>,
    /// How many are IPv6 addresses.
    ipv6: u64,
}

/// 16 bytes: where the string stands (its start in the upper 48 bits, its length in the lower 15), whether it is an IPv6 address, and its count.
#[derive(Debug, Clone)]
struct Slot {
    place: u64,
    count: u64,
}

const IPV6: u64 = 1 << 15;

impl Slot {
    fn bytes<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let start = (self.place >> 16) as usize;
        &arena[start..start + (self.place & (IPV6 - 1)) as usize]
    }
}

const _: () = assert!((CLIENT_BYTES_MAX as u64) < IPV6);

fn hash(bytes: &[u8]) -> u64 {
    FixedState::with_seed(seed()).hash_one(bytes)
}

impl ByteSet {
    /// Adds `count` requests of a client.
    pub(super) fn add(&mut self, client: &[u8], count: u64) {
        self.add_known(client, count, || client.contains(&b':') && kind(client) == Kind::Ipv6);
    }

    /// Likewise; whether it is an IPv6 address is asked only if it is new.
    pub(super) fn add_known(&mut self, client: &[u8], count: u64, is_ipv6: impl FnOnce() -> bool) {
        let arena = &mut self.arena;
        let found = self.table.entry(hash(client), |slot| slot.bytes(arena) == client, |slot| hash(slot.bytes(arena)));
        match found {
            Entry::Occupied(mut slot) => slot.get_mut().count += count,
            Entry::Vacant(slot) => {
                let ipv6 = if is_ipv6() { IPV6 } else { 0 };
                self.ipv6 += u64::from(ipv6 > 0);
                slot.insert(Slot { place: (arena.len() as u64) << 16 | ipv6 | client.len() as u64, count });
                arena.extend_from_slice(client);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many are IPv6 addresses.
    pub(super) fn ipv6(&self) -> u64 {
        self.ipv6
    }

    /// The clients whose hashes begin with the `bits` bits `start`, each with whether it is an IPv6 address.
    pub(super) fn iter_part(&self, start: u32, bits: u32) -> impl Iterator<Item = (&[u8], bool)> {
        let clients = self.table.iter().map(|slot| (slot.bytes(&self.arena), slot.place & IPV6 != 0));
        clients.filter(move |(client, _)| bits == 0 || hash(client) >> (64 - bits) == u64::from(start))
    }

    /// The clients in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.table.iter().map(|slot| (slot.bytes(&self.arena), slot.count))
    }
}
