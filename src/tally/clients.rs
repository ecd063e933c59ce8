//! A set of clients with what each of them did. Exact: never an estimate.

use std::collections::HashMap;

use super::byte_set::{ByteSet, Short};
use super::distinct::Distinct;
use super::usage::Usage;
use super::v4_set::{V4Request, V4Set};

/// Distinct clients. An IPv4 address is held as a number, everything else as the bytes that were logged.
#[derive(Debug, Default, Clone)]
pub struct Clients {
    pub(super) v4: V4Set,
    pub(super) rest: ByteSet,
}

/// One client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key<'a> {
    /// An IPv4 address in its canonical spelling, as a number.
    V4(u32),
    /// Anything else, as logged. Never the canonical spelling of an IPv4 address: one client has one place.
    Bytes(&'a [u8]),
}

impl Clients {
    /// Adds what a client did: at least one request, and only hours that a day has.
    #[inline]
    pub fn add(&mut self, client: Key<'_>, usage: Usage) {
        match client {
            Key::V4(address) => self.v4.add(address, usage),
            Key::Bytes(bytes) => self.rest.add(bytes, usage),
        }
    }

    /// Adds some requests.
    pub(super) fn add_waiting(&mut self, v4: &[V4Request], short: &[Short]) {
        self.v4.add_each(v4);
        self.rest.add_each(short);
    }

    /// Makes room for so many more clients, IPv4 and others.
    ///
    /// Needed before the clients of another set are added in its order, which is the order of this one:
    /// tables that are still to grow would get them all at one end, and each would have to go past those
    /// before.
    pub fn reserve(&mut self, v4: usize, rest: usize) {
        self.v4.make_room(v4);
        self.rest.make_room(rest);
    }

    /// Adds what another set counted.
    pub fn merge(&mut self, other: &Clients) {
        self.reserve(other.v4.len(), other.rest.len());
        other.iter().for_each(|(client, usage)| self.add(client, usage));
    }

    /// All clients with what each did, in no particular order, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = (Key<'_>, Usage)> {
        let v4 = self.v4.iter().map(|(address, usage)| (Key::V4(address), usage));
        v4.chain(self.rest.iter().map(|(bytes, usage)| (Key::Bytes(bytes), usage)))
    }

    /// How much memory they take, in bytes.
    pub fn memory(&self) -> usize {
        self.v4.memory() + self.rest.memory()
    }

    /// How many distinct clients there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.rest.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are IPv4 addresses.
    pub fn ipv4(&self) -> u64 {
        self.v4.len() as u64
    }

    /// How many are IPv6 addresses.
    pub fn ipv6(&self) -> u64 {
        self.rest.ipv6()
    }

    /// How many are neither.
    pub fn other(&self) -> u64 {
        self.rest.len() as u64 - self.rest.ipv6()
    }

    /// How many there are of each kind.
    pub fn distinct(&self) -> Distinct {
        Distinct { ipv4: self.ipv4(), ipv6: self.ipv6(), other: self.other() }
    }
}

impl PartialEq for Clients {
    fn eq(&self, other: &Clients) -> bool {
        self.distinct() == other.distinct()
            && self.iter().collect::<HashMap<_, _>>() == other.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_apart() {
        let mut clients = Clients::default();
        for client in [
            Key::V4(1),
            Key::V4(1),
            Key::Bytes(b"::1"),
            Key::Bytes(b"0:0:0:0:0:0:0:1"),
            Key::Bytes(b"-"),
            Key::Bytes(b""),
        ] {
            clients.add(client, Usage::of_request(1, None));
        }
        assert_eq!((clients.len(), clients.ipv4(), clients.ipv6(), clients.other()), (5, 1, 2, 2));
    }

    #[test]
    fn merging_adds_usage_and_unites_clients() {
        let usage = |requests: u64, hour: u32| Usage { requests, bytes: requests * 100, hours: 1 << hour };

        let (mut one, mut two) = (Clients::default(), Clients::default());
        for number in 0..1_000 {
            one.add(Key::V4(number), usage(2, 5));
            two.add(Key::V4(number + 500), usage(3, 23));
            one.add(Key::Bytes(format!("host-{number}").as_bytes()), usage(1, 0));
            two.add(Key::Bytes(format!("host-{}", number % 10).as_bytes()), usage(1, 1));
        }
        let mut other_way = two.clone();
        other_way.merge(&one);
        one.merge(&two);
        assert_eq!(one.len(), 1_500 + 1_000);
        assert_eq!(one.iter().map(|(_, usage)| usage.requests).sum::<u64>(), 1_000 * (2 + 3 + 1 + 1));
        let of = |clients: &Clients, client| {
            clients.iter().find_map(|(key, usage)| (key == client).then_some(usage))
        };
        assert_eq!(of(&one, Key::V4(499)), Some(usage(2, 5)));
        assert_eq!(of(&one, Key::V4(500)), Some(Usage { requests: 5, bytes: 500, hours: 1 << 5 | 1 << 23 }));
        assert_eq!(
            of(&one, Key::Bytes(b"host-9")),
            Some(Usage { requests: 101, bytes: 10_100, hours: 0b11 })
        );
        assert_eq!(one, other_way);
        other_way.add(Key::V4(0), Usage { requests: 1, bytes: 0, hours: 0 });
        assert_ne!(one, other_way);
    }
}
