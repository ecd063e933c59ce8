//! Rows: the clients of a day in their order, and the hash of rows that does not depend on how they are
//! encoded.

use xxhash_rust::xxh3::Xxh3Default;

use super::{date, order};
use crate::log::{Day, Kind, is_ipv6};
use crate::tally::{Clients, Key, Usage};

/// The one dimension that there is.
pub(super) const DIMENSION: &str = "client";

/// The kind as a word of the column `kind`.
pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Ipv4 => "ipv4",
        Kind::Ipv6 => "ipv6",
        Kind::Other => "other",
    }
}

/// The clients of a day in the order of rows: by kind, then by the bytes of the key.
pub(super) fn sorted(clients: &Clients, mut take: impl FnMut(Kind, &[u8], Usage)) {
    let mut v4 = Vec::with_capacity(usize::try_from(clients.ipv4()).unwrap_or(0));
    let mut rest = Vec::with_capacity(clients.len() - v4.capacity());
    for (key, usage) in clients.iter() {
        match key {
            Key::V4(address) => v4.push((order::rank(address), usage)),
            Key::Bytes(bytes) => rest.push((!is_ipv6(bytes), bytes, usage)),
        }
    }
    v4.sort_unstable_by_key(|(rank, _)| *rank);
    rest.sort_unstable_by(|one, two| (one.0, one.1).cmp(&(two.0, two.1)));
    let mut text = Vec::with_capacity(16);
    for (rank, usage) in v4 {
        text.clear();
        order::push_text(order::address(rank), &mut text);
        take(Kind::Ipv4, &text, usage);
    }
    for (other, bytes, usage) in rest {
        take(if other { Kind::Other } else { Kind::Ipv6 }, bytes, usage);
    }
}

/// The hash of rows, as the module `store` defines it.
#[derive(Default)]
pub(super) struct DataHash {
    hash: Xxh3Default,
    waiting: Vec<u8>,
}

impl DataHash {
    const WAITING_MAX: usize = 1 << 14;

    pub(super) fn add(&mut self, day: Option<Day>, kind: Kind, key: &[u8], usage: Usage) {
        let kind = word(kind);
        let waiting = &mut self.waiting;
        waiting.extend_from_slice(&day.map_or(i32::MIN, date::since_1970).to_le_bytes());
        for word in [DIMENSION, kind] {
            waiting.push(word.len() as u8);
            waiting.extend_from_slice(word.as_bytes());
        }
        // A client has at most 1,024 bytes.
        waiting.extend_from_slice(&(key.len() as u16).to_le_bytes());
        waiting.extend_from_slice(key);
        waiting.extend_from_slice(&usage.requests.to_le_bytes());
        waiting.extend_from_slice(&usage.bytes.to_le_bytes());
        waiting.extend_from_slice(&usage.hours.to_le_bytes());
        if waiting.len() >= DataHash::WAITING_MAX {
            self.hash.update(waiting);
            waiting.clear();
        }
    }

    pub(super) fn finish(mut self) -> u64 {
        self.hash.update(&self.waiting);
        self.hash.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_by_kind_and_key() {
        let mut clients = Clients::default();
        for key in [
            "z",
            "10.0.0.1",
            "::2",
            "9.0.0.1",
            "-",
            "::1",
            "2001:db8::1",
            "1.0.0.10",
            "1.0.0.1",
            "01.0.0.1",
            "",
        ] {
            let key = match crate::log::leading_ipv4(key.as_bytes()) {
                Some((address, length)) if length == key.len() => Key::V4(address),
                _ => Key::Bytes(key.as_bytes()),
            };
            clients.add(key, Usage { requests: 1, ..Usage::default() });
        }
        let mut rows = Vec::new();
        sorted(&clients, |kind, key, _| {
            rows.push(format!("{} {}", word(kind), str::from_utf8(key).unwrap()))
        });
        let want = [
            "ipv4 1.0.0.1",
            "ipv4 1.0.0.10",
            "ipv4 10.0.0.1",
            "ipv4 9.0.0.1",
            "ipv6 2001:db8::1",
            "ipv6 ::1",
            "ipv6 ::2",
            "other ",
            "other -",
            "other 01.0.0.1",
            "other z",
        ];
        assert_eq!(rows, want);
        assert!(rows.is_sorted());
    }
}
