//! A union that grows, for more parts than are to be in memory at once.
//!
//! It holds each client once: 4 bytes for an IPv4 client, its text and 8 bytes for another one, and 16 bytes
//! more if requests are summed up. While parts are folded into it, it is there twice. So a range of any
//! length takes memory for its distinct clients and for one batch of parts, and not for all clients of all
//! days.

use std::cmp::Reverse;

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::{MAP, MAP_WORTH, Part, Texts, Top, stretches};
use crate::log::{Day, Kind};
use crate::store::order;
use crate::tally::Distinct;

/// The distinct clients of all parts that were folded into it.
#[derive(Debug, Default)]
pub struct Union {
    /// The clients, and the sums of their requests.
    part: Part,
    /// Of each client in the same order: its days. Empty if requests are not asked for.
    days: Vec<Days>,
}

/// On how many days a client asked, and on which one last: yyyymmdd, or 0.
#[derive(Debug, Clone, Copy, Default)]
struct Days {
    count: u32,
    last: u32,
}

/// What a row has beside its client.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    requests: u64,
    days: Days,
}

impl Sum {
    /// A row of a part.
    fn of(day: Option<Day>, requests: u64) -> Sum {
        let last = day.map_or(0, Day::number);
        Sum { requests, days: Days { count: u32::from(last > 0), last } }
    }

    /// Adds a later row of the same client.
    fn add(&mut self, later: Sum) {
        self.requests = self.requests.saturating_add(later.requests);
        if later.days.last > 0 {
            let same = later.days.last == self.days.last;
            self.days = Days { count: self.days.count + u32::from(!same), last: later.days.last };
        }
    }
}

impl Union {
    /// Adds the clients of parts, each with the day it is reported under. With requests, all parts must have
    /// been decoded with these, and no day may come before one that was folded earlier.
    pub fn fold(&mut self, parts: &[(Option<Day>, &Part)], with_requests: bool) {
        let mut parts = parts.to_vec();
        parts.sort_by_key(|(day, _)| *day);
        let mut next = Union::default();
        let v4: Vec<(Vec<u32>, Vec<Sum>)> =
            (0..256u32).into_par_iter().map(|first| self.fold_v4(&parts, first, with_requests)).collect();
        next.part.v4.reserve_exact(v4.iter().map(|(clients, _)| clients.len()).sum());
        for (clients, sums) in v4 {
            next.part.v4.extend_from_slice(&clients);
            next.take(&sums);
        }
        for kind in [Kind::Ipv6, Kind::Other] {
            let all: Vec<&Part> =
                [&self.part].into_iter().chain(parts.iter().map(|(_, part)| *part)).collect();
            let bounds = stretches(&all, kind);
            let pieces: Vec<(Texts, Vec<Sum>)> = bounds
                .par_iter()
                .map(|bounds| {
                    let own = self.part.texts(kind);
                    let mut rows: Vec<(&[u8], Sum)> =
                        bounds.of(own).map(|at| (own.get(at), self.sum(kind, at))).collect();
                    for (day, part) in &parts {
                        let texts = part.texts(kind);
                        rows.extend(
                            bounds
                                .of(texts)
                                .map(|at| (texts.get(at), Sum::of(*day, part.requests(kind, at)))),
                        );
                    }
                    let mut texts = Texts::default();
                    let (clients, sums) = summed(rows);
                    clients.into_iter().for_each(|client| texts.add(client));
                    (texts, if with_requests { sums } else { Vec::new() })
                })
                .collect();
            for (texts, sums) in pieces {
                let place = if kind == Kind::Ipv6 { &mut next.part.ipv6 } else { &mut next.part.other };
                (0..texts.ends.len()).for_each(|at| place.add(texts.get(at)));
                next.take(&sums);
            }
        }
        *self = next;
    }

    /// How many clients there are, by kind.
    pub fn distinct(&self) -> Distinct {
        self.part.distinct()
    }

    /// The clients with the most requests, as [`super::top`] says.
    pub fn top(&self, limit: usize) -> Vec<Top> {
        let mut best: Vec<(Reverse<u64>, Vec<u8>, u32)> = Vec::new();
        for (kind, count) in [
            (Kind::Ipv4, self.part.v4.len()),
            (Kind::Ipv6, self.part.ipv6.ends.len()),
            (Kind::Other, self.part.other.ends.len()),
        ] {
            // Within a kind, clients stand in the order of their bytes.
            let mut places: Vec<(Reverse<u64>, usize)> = Vec::new();
            for at in 0..count {
                places.push((Reverse(self.part.requests(kind, at)), at));
                if places.len() >= limit.saturating_mul(2).max(4_096) {
                    places.select_nth_unstable(limit);
                    places.truncate(limit);
                }
            }
            places.sort_unstable();
            places.truncate(limit);
            best.extend(
                places
                    .into_iter()
                    .map(|(requests, at)| (requests, self.text(kind, at), self.sum(kind, at).days.count)),
            );
        }
        best.sort_unstable();
        best.truncate(limit);
        best.into_iter()
            .map(|(Reverse(requests), client, days)| Top { client, requests, days: days.into() })
            .collect()
    }

    /// The clients whose first octet has this place, with those of the parts.
    fn fold_v4(
        &self,
        parts: &[(Option<Day>, &Part)],
        first: u32,
        with_requests: bool,
    ) -> (Vec<u32>, Vec<Sum>) {
        let (own_start, own) = self.part.stretch(first);
        if with_requests {
            let mut rows: Vec<(u32, Sum)> = own
                .iter()
                .enumerate()
                .map(|(at, rank)| (*rank, self.sum(Kind::Ipv4, own_start + at)))
                .collect();
            for (day, part) in parts {
                let (start, stretch) = part.stretch(first);
                rows.extend(
                    stretch
                        .iter()
                        .enumerate()
                        .map(|(at, rank)| (*rank, Sum::of(*day, part.requests(Kind::Ipv4, start + at)))),
                );
            }
            return summed(rows);
        }
        let mut all: Vec<&[u32]> = parts.iter().map(|(_, part)| part.stretch(first).1).collect();
        all.push(own);
        let total: usize = all.iter().map(|stretch| stretch.len()).sum();
        if total < MAP_WORTH {
            let mut ranks = all.concat();
            ranks.sort_unstable();
            ranks.dedup();
            return (ranks, Vec::new());
        }
        MAP.with_borrow_mut(|map| {
            map.resize(1 << 18, 0);
            for rank in all.into_iter().flatten() {
                map[(rank >> 6 & 0x3_ffff) as usize] |= 1 << (rank & 63);
            }
            let mut ranks = Vec::with_capacity(map.iter().map(|word| word.count_ones() as usize).sum());
            for (at, word) in map.iter_mut().enumerate() {
                while *word != 0 {
                    ranks.push(first << 24 | (at as u32) << 6 | word.trailing_zeros());
                    *word &= *word - 1;
                }
            }
            (ranks, Vec::new())
        })
    }

    fn take(&mut self, sums: &[Sum]) {
        self.part.requests.extend(sums.iter().map(|sum| sum.requests));
        self.days.extend(sums.iter().map(|sum| sum.days));
    }

    fn sum(&self, kind: Kind, at: usize) -> Sum {
        let place = self.part.place(kind, at);
        Sum {
            requests: self.part.requests(kind, at),
            days: self.days.get(place).copied().unwrap_or_default(),
        }
    }

    fn text(&self, kind: Kind, at: usize) -> Vec<u8> {
        if kind != Kind::Ipv4 {
            return self.part.texts(kind).get(at).to_vec();
        }
        let mut text = Vec::with_capacity(16);
        order::push_text(order::address(self.part.v4[at]), &mut text);
        text
    }
}

/// The clients of these rows, ascending, and what their rows add up to. Rows come in runs that are sorted by
/// client.
fn summed<K: Ord + Copy>(mut rows: Vec<(K, Sum)>) -> (Vec<K>, Vec<Sum>) {
    rows.sort_by_key(|(client, _)| *client);
    let (mut clients, mut sums): (Vec<K>, Vec<Sum>) = (Vec::new(), Vec::new());
    for (client, sum) in rows {
        match sums.last_mut().filter(|_| clients.last() == Some(&client)) {
            Some(all) => all.add(sum),
            None => {
                clients.push(client);
                sums.push(sum);
            }
        }
    }
    (clients, sums)
}
