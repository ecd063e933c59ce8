//! How many distinct clients several sets have together.
//!
//! The union itself is not made: it is counted part by part. Each part holds the clients whose hashes begin
//! alike, so it is in the same stretch of every table, fits the processor's cache, and can be counted at the
//! same time as the others.

use super::byte_set::ByteSet;
use super::clients::Clients;
use super::distinct::Distinct;
use super::v4_set::V4Set;

/// A part of all clients that there can be.
#[derive(Clone, Copy, Debug)]
pub struct Part(Which);

#[derive(Clone, Copy, Debug)]
enum Which {
    /// The IPv4 clients whose hashes begin with these bits.
    V4 { start: u32, bits: u32 },
    /// Likewise the others.
    Bytes { start: u32, bits: u32 },
}

/// So many clients are counted in one part: their table stays in the second cache, and need not be asked of
/// the system and given back each time.
const V4_PART: usize = 8 * 1024;
/// Likewise: a text takes more room in its table.
const BYTES_PART: usize = 4 * 1024;
/// For how many texts the processor is made to wait at once.
const AHEAD: usize = 32;

/// The parts to count for these sets. Together they are all clients.
pub fn parts(sets: &[&Clients]) -> impl Iterator<Item = Part> {
    let bits = |clients: usize, part: usize| (clients / part).next_power_of_two().trailing_zeros();
    let v4_bits = bits(sets.iter().map(|set| set.v4.len()).sum(), V4_PART);
    let bytes_bits = bits(sets.iter().map(|set| set.rest.len()).sum(), BYTES_PART);
    let v4 = (0..1 << v4_bits).map(move |start| Part(Which::V4 { start, bits: v4_bits }));
    v4.chain((0..1 << bytes_bits).map(move |start| Part(Which::Bytes { start, bits: bytes_bits })))
}

/// The number of distinct clients of the sets that are in the part.
pub fn count(sets: &[&Clients], part: Part) -> Distinct {
    let mut sizes = Distinct::default();
    match part.0 {
        Which::V4 { start, bits } => {
            let mut union = AddressSet::with_room(sets.iter().map(|set| set.v4.len() >> bits).sum(), bits);
            for set in sets {
                set.v4.iter_part(start, bits).for_each(|(address, hash)| union.add(address, hash));
            }
            sizes.ipv4 = union.len as u64;
        }
        Which::Bytes { start, bits } => {
            let mut union = TextSet::with_room(sets.iter().map(|set| set.rest.len()).sum::<usize>() >> bits);
            let belongs = |hash: u64| hash.checked_shr(64 - bits).unwrap_or(0) == u64::from(start);
            for set in sets {
                let mut some = Vec::with_capacity(AHEAD);
                for text in set.rest.iter_part(start, bits) {
                    some.push(text);
                    if some.len() == AHEAD {
                        union.add_each(&some, belongs);
                        some.clear();
                    }
                }
                union.add_each(&some, belongs);
            }
            (sizes.ipv6, sizes.other) = (union.ipv6, union.other);
        }
    }
    sizes
}

/// Addresses whose hashes begin with the same bits. (The table of [`V4Set`] goes by just these bits.)
struct AddressSet {
    /// 0 is an empty slot. The length is a power of two.
    slots: Vec<u32>,
    /// So it is known by this whether 0.0.0.0 is there.
    zero: bool,
    len: usize,
    bits: u32,
}

impl AddressSet {
    /// An empty set. It grows if there come more addresses than were expected.
    fn with_room(addresses: usize, bits: u32) -> AddressSet {
        AddressSet { slots: vec![0; (addresses * 2).next_power_of_two().max(64)], zero: false, len: 0, bits }
    }

    fn add(&mut self, address: u32, hash: u64) {
        if address == 0 {
            self.len += usize::from(!std::mem::replace(&mut self.zero, true));
            return;
        }
        if self.len * 4 >= self.slots.len() * 3 {
            let slots = vec![0; self.slots.len() * 2];
            for address in
                std::mem::replace(&mut self.slots, slots).into_iter().filter(|address| *address != 0)
            {
                let at = self.find(address, V4Set::hash(address));
                self.slots[at] = address;
            }
        }
        let at = self.find(address, hash);
        self.len += usize::from(self.slots[at] == 0);
        self.slots[at] = address;
    }

    fn find(&self, address: u32, hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = ((hash << self.bits) >> (64 - self.slots.len().trailing_zeros())) as usize;
        while self.slots[at] != 0 && self.slots[at] != address {
            at = (at + 1) & mask;
        }
        at
    }
}

/// Texts that stand in other sets: they are not copied.
struct TextSet<'a> {
    /// The lower half of the hash, and the text: the upper one is much alike for all of a part. The length is
    /// a power of two.
    slots: Vec<Option<(u32, &'a [u8])>>,
    ipv6: u64,
    other: u64,
}

impl<'a> TextSet<'a> {
    /// An empty set. It grows if there come more texts than were expected.
    fn with_room(texts: usize) -> TextSet<'a> {
        TextSet { slots: vec![None; (texts * 2).next_power_of_two().max(64)], ipv6: 0, other: 0 }
    }

    /// Adds those texts whose hashes belong. First only looks, deciding nothing, so that the processor can
    /// wait for all these texts at once, and then for those they are compared with.
    fn add_each(&mut self, texts: &[(&'a [u8], bool)], belongs: impl Fn(u64) -> bool) {
        let first = |text: &[u8]| text.first().copied().unwrap_or(0);
        std::hint::black_box(texts.iter().fold(0, |looks, (text, _)| looks ^ first(text)));
        let mut hashes = [0; AHEAD];
        for (hash, (text, _)) in hashes.iter_mut().zip(texts) {
            *hash = ByteSet::hash(text);
        }
        let mask = self.slots.len() - 1;
        std::hint::black_box(hashes.iter().fold(0, |looks, hash| {
            looks ^ self.slots[*hash as usize & mask].map_or(0, |(_, text)| first(text))
        }));
        for (hash, (text, is_ipv6)) in hashes.into_iter().zip(texts).filter(|(hash, _)| belongs(*hash)) {
            self.add(text, hash as u32, *is_ipv6);
        }
    }

    fn add(&mut self, text: &'a [u8], hash: u32, is_ipv6: bool) {
        if (self.ipv6 + self.other) as usize * 4 >= self.slots.len() * 3 {
            let slots = vec![None; self.slots.len() * 2];
            for (hash, text) in std::mem::replace(&mut self.slots, slots).into_iter().flatten() {
                let at = self.find(hash, text);
                self.slots[at] = Some((hash, text));
            }
        }
        let at = self.find(hash, text);
        if self.slots[at].is_none() {
            self.slots[at] = Some((hash, text));
            *if is_ipv6 { &mut self.ipv6 } else { &mut self.other } += 1;
        }
    }

    fn find(&self, hash: u32, text: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].is_some_and(|(other, there)| other != hash || there != text) {
            at = (at + 1) & mask;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::tally::{Key, Usage};

    /// Sets of these many clients of each sort, drawn from a few more, and how many they have together.
    fn check(v4: &[usize], bytes: &[usize]) {
        let mut random = 7u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        let (mut addresses, mut texts) = (HashSet::new(), HashSet::new());
        let mut sets = Vec::new();
        for (v4, bytes) in v4.iter().zip(bytes) {
            let mut set = Clients::default();
            for _ in 0..*v4 {
                let address = (next(v4 * 2) as u32).wrapping_mul(0x9e37_79b1);
                addresses.insert(address);
                set.add(Key::V4(address), Usage::of_request(1, None));
            }
            for _ in 0..*bytes {
                let text = if next(2) == 0 {
                    format!("2001:db8::{:x}", next(0x8000))
                } else {
                    format!("host-{}", next(bytes * 2))
                };
                set.add(Key::Bytes(text.as_bytes()), Usage::of_request(1, None));
                texts.insert(text);
            }
            sets.push(set);
        }
        let sets: Vec<&Clients> = sets.iter().collect();
        let sizes =
            parts(&sets).map(|part| count(&sets, part)).fold(Distinct::default(), Distinct::plus_disjoint);
        let ipv6 = texts.iter().filter(|text| text.starts_with('2')).count() as u64;
        assert_eq!(sizes, Distinct { ipv4: addresses.len() as u64, ipv6, other: texts.len() as u64 - ipv6 });
        if let [set] = sets[..] {
            assert_eq!(sizes, Distinct { ipv4: set.ipv4(), ipv6: set.ipv6(), other: set.other() });
        }
    }

    #[test]
    fn parts_are_all_clients_once() {
        check(&[], &[]);
        check(&[0, 1], &[1, 0]);
        check(&[100], &[100]);
        check(&[100, 10_000, 3, 200_000], &[5, 100, 3_000, 1]);
        check(&[300_000], &[700_000]);
        check(&[600_000, 500_000], &[400_000, 300_000]);
    }

    #[test]
    fn addresses_with_few_bits_are_found_in_every_table() {
        for bits in 0..16 {
            for clients in [1u32, 2, 10, 3_000] {
                let mut set = V4Set::default();
                (0..clients).for_each(|address| set.add(address, Usage::of_request(1, None)));
                let found: Vec<u32> = (0..1 << bits)
                    .flat_map(|start| set.iter_part(start, bits))
                    .map(|(address, _)| address)
                    .collect();
                let distinct: HashSet<u32> = found.iter().copied().collect();
                assert_eq!(
                    (found.len(), distinct.len()),
                    (clients as usize, clients as usize),
                    "{bits} bits, {clients} clients"
                );
            }
        }
    }
}
