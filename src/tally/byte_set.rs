//! Clients that are no IPv4 address, as the bytes that were logged, with what each did: an open-addressing
//! table beside one arena of bytes.
//!
//! Like the table of IPv4 clients it is ordered by hash, and who chooses the clients cannot choose the
//! collisions: the hash has a random seed.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use super::slots::{is_too_small, slots_for, stretch};
use super::usage::Usage;
use super::v4_set::seed;
use crate::log::{CLIENT_BYTES_MAX, is_ipv6};
use crate::sys::memory::zeroed_slots;

const MANY: usize = 128 * 1024;
/// For how many slots, and then texts, the processor is made to wait at once.
const AHEAD: usize = 32;
/// The longest text of a [`Short`] client.
pub(super) const SHORT_BYTES: usize = 46;

/// The random numbers that the hash multiplies with. Those that the library has by default are known to
/// everybody: who writes one of them into his name takes the rest of it out of the hash.
pub(super) fn shared_seed() -> &'static SharedSeed {
    static SEED: OnceLock<SharedSeed> = OnceLock::new();
    SEED.get_or_init(|| SharedSeed::from_u64(RandomState::new().build_hasher().finish()))
}

/// A map from byte strings of up to 1,024 bytes to what these clients did.
#[derive(Debug, Default, Clone)]
pub(super) struct ByteSet {
    /// The length is 0 or a power of two. Each is a [`Place`].
    slots: Vec<[u64; 1]>,
    /// The entries one after another, each a [`Head`] and its string: what is compared and what is added to
    /// share a cache line.
    arena: Vec<u8>,
    len: usize,
    /// How many are IPv6 addresses.
    ipv6: u64,
}

/// From the upper bits down: where the entry starts, plus one (40 bits), the lowest 8 bits of its hash,
/// whether it is an IPv6 address, the length of its string (15 bits). 0: the slot is empty.
#[derive(Debug, Default, Clone, Copy)]
struct Place(u64);

const _: () = assert!(CLIENT_BYTES_MAX < 1 << 15);
const IPV6: u64 = 1 << 15;
/// What a client did: requests (u64), bytes (u64), hours (u32), little-endian.
type Head = [u8; 20];

fn head(usage: Usage) -> Head {
    let mut head = [0; size_of::<Head>()];
    head[..8].copy_from_slice(&usage.requests.to_le_bytes());
    head[8..16].copy_from_slice(&usage.bytes.to_le_bytes());
    head[16..].copy_from_slice(&usage.hours.to_le_bytes());
    head
}

fn usage(head: &Head) -> Usage {
    let word = |at: usize| u64::from_le_bytes(*head[at..].first_chunk().expect("there are 8 bytes more"));
    Usage {
        requests: word(0),
        bytes: word(8),
        hours: u32::from_le_bytes(*head.last_chunk().expect("4 is less than 20")),
    }
}

impl Place {
    fn new(start: usize, hash: u64, is_ipv6: bool, length: usize) -> Place {
        assert!(start < (1 << 40) - 1, "a terabyte of clients is more than there is memory");
        debug_assert!(length <= CLIENT_BYTES_MAX);
        Place((start as u64 + 1) << 24 | (hash & 0xff) << 16 | if is_ipv6 { IPV6 } else { 0 } | length as u64)
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn start(self) -> usize {
        (self.0 >> 24) as usize - 1
    }

    fn is_ipv6(self) -> bool {
        self.0 & IPV6 != 0
    }

    fn bytes(self, arena: &[u8]) -> &[u8] {
        &arena[self.start() + size_of::<Head>()..][..(self.0 & (IPV6 - 1)) as usize]
    }

    fn usage(self, arena: &[u8]) -> Usage {
        arena[self.start()..].first_chunk().map_or(Usage::default(), usage)
    }

    /// May it be a string of this hash and length? Most others are told from it without a look at the arena.
    fn may_be(self, hash: u64, length: usize) -> bool {
        self.0 & (0xff_0000 | (IPV6 - 1)) == (hash & 0xff) << 16 | length as u64
    }
}

/// A request of a short client that waits to be added, with the client's hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Short {
    hash: u64,
    /// The length of the line.
    bytes: u32,
    hour: u8,
    length: u8,
    text: [u8; SHORT_BYTES],
}

impl Short {
    /// A request in an hour, with a line of so many bytes. Its client stands at the start of `text`; `length`
    /// is at most [`SHORT_BYTES`].
    #[inline]
    pub(super) fn new(text: &[u8; SHORT_BYTES], length: usize, bytes: u32, hour: u8) -> Short {
        Short { hash: ByteSet::hash(&text[..length]), bytes, hour, length: length as u8, text: *text }
    }

    fn client(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }
}

impl ByteSet {
    #[inline(always)]
    pub(super) fn hash(bytes: &[u8]) -> u64 {
        // The length too, for words that overlap do not tell it.
        let mut hasher = FoldHasher::with_seed(seed().wrapping_add(bytes.len() as u64), shared_seed());
        // Nearly all that is longer than 16 bytes: words that may overlap, which the hasher takes without a
        // call and a loop.
        if (17..=48).contains(&bytes.len()) {
            let word =
                |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("there are 8 bytes more"));
            let last = bytes.len() - 16;
            hasher.write_u64(word(0));
            hasher.write_u64(word(8));
            if last > 16 {
                hasher.write_u64(word(16));
                hasher.write_u64(word(24));
            }
            hasher.write_u64(word(last));
            hasher.write_u64(word(last + 8));
        } else {
            hasher.write(bytes);
        }
        hasher.finish()
    }

    /// Adds what a client did.
    pub(super) fn add(&mut self, client: &[u8], usage: Usage) {
        self.make_room(1);
        self.add_hashed(client, ByteSet::hash(client), usage);
    }

    /// Adds some requests.
    pub(super) fn add_each(&mut self, requests: &[Short]) {
        self.make_room(requests.len());
        for requests in requests.chunks(AHEAD) {
            // First only look, deciding nothing: so the processor can wait for all these slots at once, and
            // then for their entries.
            let mut starts = [0; AHEAD];
            for (start, request) in starts.iter_mut().zip(requests) {
                *start = (self.slots[self.home(request.hash)][0] >> 24) as usize;
            }
            // An entry lies across two cache lines often.
            let byte = |at: usize| self.arena.get(at).copied().unwrap_or(0);
            let looks = starts.iter().fold(0, |looks, start| looks ^ byte(*start) ^ byte(start + 47));
            std::hint::black_box(looks);
            for request in requests {
                self.add_hashed(
                    request.client(),
                    request.hash,
                    Usage::of_request(request.bytes.into(), Some(request.hour)),
                );
            }
        }
    }

    #[inline]
    fn add_hashed(&mut self, client: &[u8], hash: u64, more: Usage) {
        let at = self.find(client, hash);
        let place = Place(self.slots[at][0]);
        if place.is_empty() {
            let is_ipv6 = is_ipv6(client);
            self.slots[at] = [Place::new(self.arena.len(), hash, is_ipv6, client.len()).0];
            self.arena.extend_from_slice(&head(more));
            self.arena.extend_from_slice(client);
            self.len += 1;
            self.ipv6 += u64::from(is_ipv6);
        } else if let Some(entry) = self.arena[place.start()..].first_chunk_mut() {
            let mut sum = usage(entry);
            sum += more;
            *entry = head(sum);
        }
    }

    pub(super) fn memory(&self) -> usize {
        size_of_val(&self.slots[..]) + self.arena.capacity()
    }

    /// How many clients there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many are IPv6 addresses.
    pub(super) fn ipv6(&self) -> u64 {
        self.ipv6
    }

    /// All clients whose hashes begin with the `bits` bits `start`, and some others: those that stand among
    /// them. Each with whether it is an IPv6 address.
    pub(super) fn iter_part(&self, start: u32, bits: u32) -> impl Iterator<Item = (&[u8], bool)> {
        let places = stretch(&self.slots, start, bits).map(|[place]| Place(place));
        places.map(|place| (place.bytes(&self.arena), place.is_ipv6()))
    }

    /// The clients in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], Usage)> {
        self.used().map(|place| (place.bytes(&self.arena), place.usage(&self.arena)))
    }

    /// Makes room for so many more clients, if there is none.
    pub(super) fn make_room(&mut self, more: usize) {
        if is_too_small(self.slots.len(), self.len + more) {
            let slots = slots_for(self.len + more);
            // To move a text it must be fetched and hashed again, so a large table grows fourfold.
            self.resize(if self.len >= MANY { slots * 2 } else { slots });
        }
    }

    fn used(&self) -> impl Iterator<Item = Place> {
        self.slots.iter().map(|[place]| Place(*place)).filter(|place| !place.is_empty())
    }

    /// The slot where the search for a hash begins: told by its upper bits.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        (hash >> (64 - self.slots.len().trailing_zeros())) as usize
    }

    /// The slot of a client, or the empty one where it belongs. There is always an empty slot.
    #[inline]
    fn find(&self, client: &[u8], hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        loop {
            let place = Place(self.slots[at][0]);
            if place.is_empty()
                || (place.may_be(hash, client.len()) && same(place.bytes(&self.arena), client))
            {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, zeroed_slots(slots));
        let mask = slots - 1;
        for old in old.chunks(AHEAD) {
            // As above: first only look.
            let looks = old.iter().fold(0, |looks, [place]| {
                looks ^ self.arena.get((place >> 24) as usize).copied().unwrap_or(0)
            });
            std::hint::black_box(looks);
            for place in old.iter().map(|[place]| Place(*place)).filter(|place| !place.is_empty()) {
                let mut at = self.home(ByteSet::hash(place.bytes(&self.arena)));
                while self.slots[at] != [0] {
                    at = (at + 1) & mask;
                }
                self.slots[at] = [place.0];
            }
        }
    }
}

/// Are two strings of one length the same? Short ones are compared without a call, by words that may overlap.
#[inline(always)]
fn same(one: &[u8], two: &[u8]) -> bool {
    #[inline(always)]
    fn differ<const N: usize>(one: &[u8], two: &[u8], at: usize) -> bool {
        one[at..].first_chunk::<N>() != two[at..].first_chunk::<N>()
    }
    match one.len() {
        length if length != two.len() => false,
        length @ 1..=3 => (0..length).all(|at| one[at] == two[at]),
        length @ 4..=7 => !(differ::<4>(one, two, 0) | differ::<4>(one, two, length - 4)),
        length @ 8..=16 => !(differ::<8>(one, two, 0) | differ::<8>(one, two, length - 8)),
        length @ 17..=32 => !(differ::<16>(one, two, 0) | differ::<16>(one, two, length - 16)),
        length @ 33..=48 => {
            !(differ::<16>(one, two, 0) | differ::<16>(one, two, 16) | differ::<16>(one, two, length - 16))
        }
        _ => one == two,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn counts_like_a_map() {
        let (mut set, mut map) = (ByteSet::default(), HashMap::new());
        let mut waiting = Vec::new();
        let mut random = 1u32;
        for step in 0..100_000u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let client = match random >> 30 {
                0 => format!("2001:db8::{:x}", (random >> 8) % 3_000),
                1 => "x".repeat((random >> 8) as usize % 1_025),
                2 => String::new(),
                _ => format!("host-{}", (random >> 8) % 3_000),
            };
            let (bytes, hour) = (random >> 12, (random >> 5) as u8 % 24);
            *map.entry(client.clone().into_bytes()).or_insert(Usage::default()) +=
                Usage::of_request(bytes.into(), Some(hour));
            let mut text = [b' '; SHORT_BYTES];
            match text.get_mut(..client.len()) {
                Some(start) if step % 3 > 0 => {
                    start.copy_from_slice(client.as_bytes());
                    waiting.push(Short::new(&text, client.len(), bytes, hour));
                }
                _ => set.add(client.as_bytes(), Usage::of_request(bytes.into(), Some(hour))),
            }
            if waiting.len() == step as usize % 100 {
                set.add_each(&waiting);
                waiting.clear();
            }
        }
        set.add_each(&waiting);
        assert_eq!(set.len(), map.len());
        assert_eq!(set.ipv6() as usize, map.keys().filter(|client| client.starts_with(b"2001")).count());
        assert_eq!(
            set.iter().map(|(client, usage)| (client.to_vec(), usage)).collect::<HashMap<_, _>>(),
            map
        );
        for client in map.into_keys() {
            assert!(
                set.iter_part((ByteSet::hash(&client) >> 61) as u32, 3).any(|(found, _)| found == client)
            );
        }
    }
}
