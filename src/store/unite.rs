//! Exact unions over many days and logs, from what is stored.
//!
//! A *part* is the clients of one day of one log, decoded: sorted, so that parts are united stretch by
//! stretch, by all cores, without a table of hashes. IPv4 clients are numbers (their ranks, which are sorted
//! as rows are) and are counted by first octet, in a map of 2^24 bits that stays in the second cache; texts
//! are merged in stretches of some thousands. Parts are what a caller keeps, to answer the next question
//! without decoding. Where all parts of a range would be too much memory, a [`Union`] takes them batch by
//! batch.
//!
//! Rayon is at home here: this is used by the commands, by the api process and by the coordinator's store
//! writer, and of the daemon only the supervisor forks.

mod days;
mod fold;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::fs::File;
use std::io;
use std::ops::Range;

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use xxhash_rust::xxh3::xxh3_64;

use super::error::StoreError;
use super::order;
use super::partial::Partial;
use super::partial::{DayRows, Group};
use super::span::{Share, Stored};
use crate::log::{Day, Kind, kind, leading_ipv4};
use crate::tally::{Clients, Distinct, Key};

pub use days::{United, Wanted, WantedDay, unite_days};
pub use fold::Union;

/// So many addresses of a stretch are worth the map of bits; fewer are sorted.
const MAP_WORTH: usize = 8 << 10;
/// A stretch of texts has about so many.
const TEXTS: usize = 8 << 10;

/// Does all this with so many threads, from now on.
///
/// # Errors
/// If the system has no threads to give, or there are some already.
pub fn use_threads(count: usize) -> io::Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(count).build_global().map_err(io::Error::other)
}

thread_local! {
    /// The map of bits: one for each address of a first octet. All are 0 between two uses.
    static MAP: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The clients of one day of one log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Their ranks, ascending.
    v4: Vec<u32>,
    ipv6: Texts,
    other: Texts,
    /// The requests of each, IPv4 first, then IPv6; empty if they were not asked for.
    requests: Vec<u64>,
}

/// Texts, ascending.
#[derive(Debug, Default, PartialEq, Eq)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// A client among those that asked most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Top {
    /// As logged.
    pub client: Vec<u8>,
    /// Its requests.
    pub requests: u64,
    /// On how many days it asked. Requests without a day are on none.
    pub days: u64,
}

impl Part {
    /// Decodes the clients of a day. Its row groups are decoded by all cores.
    ///
    /// # Errors
    /// If they are not as they were written, or cannot be read.
    pub fn decode(partial: &Partial, day: Option<Day>) -> Result<Part, StoreError> {
        Part::of(partial, day, false)
    }

    /// Likewise, with the requests of each, for [`top`].
    ///
    /// # Errors
    /// Likewise.
    pub fn decode_with_requests(partial: &Partial, day: Option<Day>) -> Result<Part, StoreError> {
        Part::of(partial, day, true)
    }

    /// The clients of a set, without their requests.
    pub fn of_clients(clients: &Clients) -> Part {
        let (mut part, mut ipv6, mut other) = (Part::default(), Vec::new(), Vec::new());
        for (client, _) in clients.iter() {
            match client {
                Key::V4(address) => part.v4.push(order::rank(address)),
                Key::Bytes(text) if kind(text) == Kind::Ipv6 => ipv6.push(text),
                Key::Bytes(text) => other.push(text),
            }
        }
        part.v4.sort_unstable();
        for (mut sorted, texts) in [(ipv6, &mut part.ipv6), (other, &mut part.other)] {
            sorted.sort_unstable();
            sorted.into_iter().for_each(|text| texts.add(text));
        }
        part
    }

    fn of(partial: &Partial, day: Option<Day>, with_requests: bool) -> Result<Part, StoreError> {
        let Some(rows) = partial.rows_of(day) else { return Ok(Part::default()) };
        let groups: Vec<&Group> = partial.groups_of(rows).collect();
        let pieces: Vec<Part> = groups
            .par_iter()
            .map(|group| Part::of_group(partial, group, rows, with_requests))
            .collect::<Result<_, _>>()?;
        let several = pieces.len() > 1;
        let mut part = pieces
            .into_iter()
            .try_fold(Part::default(), Part::followed_by)
            .ok_or(StoreError::Damaged("the rows are out of order"))?;
        if several {
            part.shrink();
        }
        Ok(part)
    }

    fn of_group(
        partial: &Partial,
        group: &Group,
        day: &DayRows,
        with_requests: bool,
    ) -> Result<Part, StoreError> {
        let mut part = Part::default();
        part.v4.reserve_exact(day.ends[0].saturating_sub(group.from).min(group.rows as u64) as usize);
        partial.keys_of(group, day, |row, _, key| match day.kind(row) {
            Kind::Ipv4 => {
                let (address, _) = leading_ipv4(key).filter(|(_, length)| *length == key.len())?;
                let rank = order::rank(address);
                let right = part.v4.last().is_none_or(|last| *last < rank);
                part.v4.push(rank);
                right.then_some(())
            }
            Kind::Ipv6 => part.ipv6.push(key),
            Kind::Other => part.other.push(key),
        })?;
        if with_requests {
            part.requests = partial.requests_of(group, day)?;
        }
        Ok(part)
    }

    /// Adds the clients of the next row group of the same day, all of which stand behind these.
    fn followed_by(mut self, next: Part) -> Option<Part> {
        if self == Part::default() {
            return Some(next);
        }
        let right = next.v4.first().is_none_or(|first| self.v4.last().is_none_or(|last| last < first));
        self.v4.extend_from_slice(&next.v4);
        self.ipv6.append(&next.ipv6)?;
        self.other.append(&next.other)?;
        self.requests.extend_from_slice(&next.requests);
        right.then_some(self)
    }

    /// How many clients there are, by kind.
    pub fn distinct(&self) -> Distinct {
        Distinct {
            ipv4: self.v4.len() as u64,
            ipv6: self.ipv6.ends.len() as u64,
            other: self.other.ends.len() as u64,
        }
    }

    /// Gives back the memory that grew for more.
    fn shrink(&mut self) {
        self.v4.shrink_to_fit();
        self.requests.shrink_to_fit();
        for texts in [&mut self.ipv6, &mut self.other] {
            texts.bytes.shrink_to_fit();
            texts.ends.shrink_to_fit();
        }
    }

    /// The memory it takes, in bytes.
    pub fn bytes_used(&self) -> usize {
        let texts = |texts: &Texts| texts.bytes.capacity() + texts.ends.capacity() * size_of::<usize>();
        size_of::<Part>()
            + self.v4.capacity() * size_of::<u32>()
            + texts(&self.ipv6)
            + texts(&self.other)
            + self.requests.capacity() * size_of::<u64>()
    }

    /// The clients that fall into one of so many stripes: in each part, a client falls into the same.
    pub fn stripe(&self, number: usize, count: usize) -> Part {
        let is_in = |hash: u64| hash % count as u64 == number as u64;
        let mut part = Part::default();
        let mut keep = |kind, at| {
            if !self.requests.is_empty() {
                part.requests.push(self.requests(kind, at));
            }
        };
        for (at, rank) in self.v4.iter().enumerate().filter(|(_, rank)| is_in(xxh3_64(&rank.to_ne_bytes()))) {
            keep(Kind::Ipv4, at);
            part.v4.push(*rank);
        }
        for (kind, texts) in [(Kind::Ipv6, &mut part.ipv6), (Kind::Other, &mut part.other)] {
            let own = self.texts(kind);
            for at in (0..own.ends.len()).filter(|at| is_in(xxh3_64(own.get(*at)))) {
                keep(kind, at);
                texts.add(own.get(at));
            }
        }
        part.shrink();
        part
    }

    /// The place of a client among all, by its place among those of its kind.
    fn place(&self, kind: Kind, at: usize) -> usize {
        match kind {
            Kind::Ipv4 => at,
            Kind::Ipv6 => self.v4.len() + at,
            Kind::Other => self.v4.len() + self.ipv6.ends.len() + at,
        }
    }

    /// The requests of a client, by its place among those of its kind.
    fn requests(&self, kind: Kind, at: usize) -> u64 {
        self.requests.get(self.place(kind, at)).copied().unwrap_or(0)
    }

    /// The addresses with this place of the first octet, and where they start.
    fn stretch(&self, first: u32) -> (usize, &[u32]) {
        let start = self.v4.partition_point(|rank| rank >> 24 < first);
        let rest = &self.v4[start..];
        (start, &rest[..rest.partition_point(|rank| rank >> 24 == first)])
    }

    fn texts(&self, kind: Kind) -> &Texts {
        if kind == Kind::Ipv6 { &self.ipv6 } else { &self.other }
    }
}

impl Texts {
    /// Adds a text, if it stands behind all others.
    fn push(&mut self, text: &[u8]) -> Option<()> {
        let last = self.ends.len().checked_sub(1).map(|last| self.get(last));
        let right = last.is_none_or(|last| last < text);
        self.add(text);
        right.then_some(())
    }

    /// Adds a text that stands behind all others.
    fn add(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    fn append(&mut self, next: &Texts) -> Option<()> {
        (0..next.ends.len()).try_for_each(|at| self.push(next.get(at)))
    }

    fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    /// The first place whose text is not before this one.
    fn place(&self, text: &[u8]) -> usize {
        let (mut from, mut to) = (0, self.ends.len());
        while from < to {
            let middle = from + (to - from) / 2;
            if self.get(middle) < text { from = middle + 1 } else { to = middle }
        }
        from
    }
}

/// Decodes days of logs by all cores, in their order: each log is opened once. With the requests of each
/// client, for [`top`], or without.
///
/// # Errors
/// Each for itself; [`StoreError::Replaced`] if the partial is not the one that was spoken of.
pub fn decode(logs: &[Stored], shares: &[Share], with_requests: bool) -> Vec<Result<Part, StoreError>> {
    let open = |log: usize| {
        let stored = logs.get(log).ok_or(StoreError::Replaced)?;
        let partial = Partial::open(File::open(&stored.path)?)?;
        if *partial.meta() == stored.meta { Ok(partial) } else { Err(StoreError::Replaced) }
    };
    let mut places: Vec<usize> = (0..shares.len()).collect();
    places.sort_by_key(|at| shares[*at].log);
    let of_logs: Vec<&[usize]> = places.chunk_by(|one, two| shares[*one].log == shares[*two].log).collect();
    let decoded = of_logs.into_par_iter().flat_map(|places| {
        let partial = open(shares[places[0]].log);
        let decode = |at: &usize| {
            (
                *at,
                partial
                    .as_ref()
                    .map_err(StoreError::again)
                    .and_then(|partial| Part::of(partial, shares[*at].day, with_requests)),
            )
        };
        places.par_iter().map(decode).collect::<Vec<_>>()
    });
    let mut decoded: Vec<(usize, Result<Part, StoreError>)> = decoded.collect();
    decoded.sort_by_key(|(at, _)| *at);
    decoded.into_iter().map(|(_, part)| part).collect()
}

/// How many distinct clients these parts have together, by kind.
pub fn unite(parts: &[&Part]) -> Distinct {
    if let [part] = parts {
        return part.distinct();
    }
    let total: usize = parts.iter().map(|part| part.v4.len()).sum();
    let ipv4 = if total < parts.len() * 256 {
        // To look for stretches would take longer than to sort.
        count_distinct(parts.iter().flat_map(|part| &part.v4).copied().collect())
    } else {
        (0..256u32).into_par_iter().map(|first| count_stretch(parts, first)).sum()
    };
    let count = |kind| {
        let stretches = stretches(parts, kind);
        let count = |bounds: &Bounds| {
            let mut texts: Vec<&[u8]> = parts
                .iter()
                .flat_map(|part| bounds.of(part.texts(kind)).map(|at| part.texts(kind).get(at)))
                .collect();
            // Runs that are sorted, one behind the other: this merges them.
            texts.sort();
            texts.dedup();
            texts.len() as u64
        };
        stretches.par_iter().map(count).sum()
    };
    Distinct { ipv4, ipv6: count(Kind::Ipv6), other: count(Kind::Other) }
}

/// How many distinct addresses have this place of the first octet.
fn count_stretch(parts: &[&Part], first: u32) -> u64 {
    let stretches: Vec<&[u32]> =
        parts.iter().map(|part| part.stretch(first).1).filter(|stretch| !stretch.is_empty()).collect();
    let total: usize = stretches.iter().map(|stretch| stretch.len()).sum();
    if stretches.len() < 2 {
        return total as u64;
    }
    if total < MAP_WORTH {
        return count_distinct(stretches.concat());
    }
    MAP.with_borrow_mut(|map| {
        map.resize(1 << 18, 0);
        let mut count = 0;
        for rank in stretches.iter().copied().flatten() {
            let (word, bit) = (&mut map[(rank >> 6 & 0x3_ffff) as usize], rank & 63);
            count += !*word >> bit & 1;
            *word |= 1 << bit;
        }
        map.fill(0);
        count
    })
}

fn count_distinct(mut all: Vec<u32>) -> u64 {
    all.par_sort_unstable();
    all.dedup();
    all.len() as u64
}

/// A stretch of texts: from the one to before the other.
struct Bounds {
    from: Option<Vec<u8>>,
    to: Option<Vec<u8>>,
}

impl Bounds {
    /// The places of texts that are in the stretch.
    fn of(&self, texts: &Texts) -> Range<usize> {
        let from = self.from.as_ref().map_or(0, |from| texts.place(from));
        let to = self.to.as_ref().map_or(texts.ends.len(), |to| texts.place(to));
        from..to
    }
}

/// Cuts all texts that there can be into stretches, about as many as it takes for these parts.
fn stretches(parts: &[&Part], kind: Kind) -> Vec<Bounds> {
    let all = parts.iter().map(|part| part.texts(kind));
    let total: usize = all.clone().map(|texts| texts.ends.len()).sum();
    let Some(largest) = all.max_by_key(|texts| texts.ends.len()).filter(|texts| !texts.ends.is_empty())
    else {
        return Vec::new();
    };
    let count = (total / TEXTS).clamp(1, largest.ends.len());
    let bound =
        |at: usize| (at > 0 && at < count).then(|| largest.get(at * largest.ends.len() / count).to_vec());
    (0..count).map(|at| Bounds { from: bound(at), to: bound(at + 1) }).collect()
}

/// The clients with the most requests, over parts that were decoded with these, each with the day it is
/// reported under: most requests first, then by the bytes of the client.
pub fn top(parts: &[(Option<Day>, &Part)], limit: usize) -> Vec<Top> {
    let mut parts = parts.to_vec();
    // What is merged in this order has the days of a client ascending.
    parts.sort_by_key(|(day, _)| *day);
    let first_of = |one, two| first(one, two, limit);
    // Of each stretch, nearly all clients may be among its first: only the first of all are kept.
    let mut tops = (0..256u32)
        .into_par_iter()
        .map(|octet| {
            let mut rows = Vec::new();
            for (day, part) in &parts {
                let (start, stretch) = part.stretch(octet);
                rows.extend(
                    stretch
                        .iter()
                        .enumerate()
                        .map(|(at, rank)| (*rank, *day, part.requests(Kind::Ipv4, start + at))),
                );
            }
            most(rows, limit, |rank| {
                let mut text = Vec::with_capacity(16);
                order::push_text(order::address(rank), &mut text);
                text
            })
        })
        .reduce(Vec::new, first_of);
    let all: Vec<&Part> = parts.iter().map(|(_, part)| *part).collect();
    for kind in [Kind::Ipv6, Kind::Other] {
        let of_kind = stretches(&all, kind).into_par_iter().map(|bounds| {
            let mut rows = Vec::new();
            for (day, part) in &parts {
                let texts = part.texts(kind);
                rows.extend(bounds.of(texts).map(|at| (texts.get(at), *day, part.requests(kind, at))));
            }
            most(rows, limit, <[u8]>::to_vec)
        });
        tops = first_of(tops, of_kind.reduce(Vec::new, first_of));
    }
    tops
}

/// The first of both, in the order of [`top`]. Either is in that order.
pub fn first(mut one: Vec<Top>, mut two: Vec<Top>, limit: usize) -> Vec<Top> {
    one.append(&mut two);
    // Two runs that are sorted: this merges them.
    one.sort_by(|one, two| (Reverse(one.requests), &one.client).cmp(&(Reverse(two.requests), &two.client)));
    one.truncate(limit);
    one
}

/// The clients with the most requests among rows that all have their client's other rows with them. Rows come
/// in runs that are sorted by client, and by day between them.
fn most<K: Ord + Copy>(
    mut rows: Vec<(K, Option<Day>, u64)>,
    limit: usize,
    text: impl Fn(K) -> Vec<u8>,
) -> Vec<Top> {
    rows.sort_by_key(|(client, ..)| *client);
    let mut sums: Vec<(Reverse<u64>, K, u64)> = Vec::new();
    for rows in rows.chunk_by(|one, two| one.0 == two.0) {
        let requests = rows.iter().fold(0u64, |sum, (.., requests)| sum.saturating_add(*requests));
        let days = rows.chunk_by(|one, two| one.1 == two.1).filter(|rows| rows[0].1.is_some()).count();
        sums.push((Reverse(requests), rows[0].0, days as u64));
        // Now and then, those that cannot be among the first are forgotten.
        if sums.len() >= limit.saturating_mul(2).max(4_096) {
            sums.select_nth_unstable(limit);
            sums.truncate(limit);
        }
    }
    sums.sort_unstable();
    sums.truncate(limit);
    sums.into_iter()
        .map(|(Reverse(requests), client, days)| Top { client: text(client), requests, days })
        .collect()
}
