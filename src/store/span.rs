//! Which days of which logs a question is about, and the numbers that are sums.
//!
//! A log's requests without a time stamp are reported under the day in its name; those of a log without one
//! are *undated*, and in no range with a first or last day.

use std::path::PathBuf;

use super::meta::{Meta, State};
use super::removal::{Remembered, remembered};
use crate::log::{Day, day_of_name};
use crate::tally::{Distinct, Totals};

/// A partial, and what it says beside its rows.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub meta: Meta,
}

/// Days that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Everything, dated or not.
    All,
    /// What has no day.
    Undated,
    /// From the one to the other, both inclusive; without one, from the first or to the last there is.
    Days(Option<Day>, Option<Day>),
}

/// A day of a log that takes part in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The place of the log among those given.
    pub log: usize,
    /// The day as the lines say.
    pub day: Option<Day>,
    /// The day it is reported under.
    pub reported: Option<Day>,
}

/// The numbers over some days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// The sums; the clients united.
    pub totals: Totals,
    /// How many logs have lines of these days.
    pub files: u64,
    /// Clients of some of these days were removed: there may be more than these.
    pub at_least: bool,
}

/// What shares add up to.
#[derive(Debug, Clone, Copy)]
pub struct Sum {
    /// The numbers. If a union is needed, the clients are not in them yet.
    pub numbers: Numbers,
    /// Is no union needed?
    known: bool,
    /// What is remembered of clients that were removed: there are at least so many.
    least: Distinct,
}

impl Sum {
    /// Must clients be united?
    pub fn wants_union(&self) -> bool {
        !self.known
    }

    /// The numbers, with the union of all clients that are not removed.
    pub fn with(mut self, union: Distinct) -> Numbers {
        self.numbers.totals.clients = union.max(self.least);
        self.numbers
    }
}

impl Share {
    /// Are its clients removed?
    pub fn is_removed(&self, logs: &[Stored]) -> bool {
        logs.get(self.log).is_some_and(|stored| stored.meta.is_removed(self.day))
    }
}

impl Span {
    /// Is a reported day among them?
    pub fn has(self, day: Option<Day>) -> bool {
        match (self, day) {
            (Span::All, _) | (Span::Undated, None) => true,
            (Span::Days(from, to), Some(day)) => {
                from.is_none_or(|from| from <= day) && to.is_none_or(|to| day <= to)
            }
            (Span::Undated, Some(_)) | (Span::Days(..), None) => false,
        }
    }
}

/// The days of logs that take part: by reported day, those without one first, and by log.
pub fn shares(logs: &[Stored], span: Span) -> Vec<Share> {
    let mut shares = Vec::new();
    for (log, Stored { meta, .. }) in logs.iter().enumerate().filter(|(_, stored)| stored.meta.counts()) {
        let name_day = day_of_name(&meta.name);
        let all = meta.days.iter().filter(|(_, totals)| totals.counts.requests() > 0).map(|(day, _)| Share {
            log,
            day: *day,
            reported: day.or(name_day),
        });
        shares.extend(all.filter(|share| span.has(share.reported)));
    }
    shares.sort_by_key(|share| (share.reported, share.log, share.day));
    shares
}

/// What these shares, in their order, add up to. No union is needed if it is one share, or all there is of
/// one log, or a day whose clients are removed.
pub fn sum(logs: &[Stored], shares: &[Share]) -> Sum {
    let totals = |share: &Share| {
        logs.get(share.log).and_then(|stored| stored.meta.days.get(&share.day)).copied().unwrap_or_default()
    };
    let mut files: Vec<usize> = shares.iter().map(|share| share.log).collect();
    files.sort_unstable();
    files.dedup();
    let counts = shares.iter().map(|share| totals(share).counts).sum();
    let meta = |log: usize| logs.get(log).map(|stored| &stored.meta);
    let removal = |share: &Share| meta(share.log).and_then(|meta| meta.removals.get(&share.day)).copied();
    let of_day = |shares: &[Share]| {
        remembered(&shares.iter().map(|share| (totals(share).clients, removal(share))).collect::<Vec<_>>())
    };
    let of_days: Vec<Option<Remembered>> = match shares.iter().any(|share| share.is_removed(logs)) {
        true => shares.chunk_by(|one, two| one.reported == two.reported).map(of_day).collect(),
        false => Vec::new(),
    };
    let least = of_days.iter().flatten().map(|day| day.distinct()).fold(Distinct::default(), Distinct::max);
    let (known, at_least) = match (shares, &files[..], &of_days[..]) {
        ([], ..) => (Some(Distinct::default()), false),
        // One day, or several parts of one.
        (.., [Some(Remembered::Exactly(distinct))]) => (Some(*distinct), false),
        ([share], ..) => (Some(totals(share).clients), !of_days.is_empty()),
        (_, [log], _) => match meta(*log).filter(|meta| meta.days.len() == shares.len()) {
            Some(meta) => (Some(meta.totals.clients), meta.at_least),
            None => (None, !of_days.is_empty()),
        },
        _ => (None, !of_days.is_empty()),
    };
    let totals = Totals { counts, clients: known.unwrap_or_default() };
    let numbers = Numbers { totals, files: files.len() as u64, at_least };
    Sum { numbers, known: known.is_some(), least }
}

/// Returns whether every log that may hold lines of these days is complete. An incomplete log that was never
/// counted to its end, or of which no day is known, may hold lines of any day; another one, of its own days.
pub fn is_complete(logs: &[Stored], span: Span) -> bool {
    logs.iter().map(|stored| &stored.meta).filter(|meta| meta.counts() && !meta.complete).all(|meta| {
        let name_day = day_of_name(&meta.name);
        let mut own = meta.days.keys().map(|day| day.or(name_day)).chain(name_day.map(Some)).peekable();
        meta.state != State::Counting && own.peek().is_some() && !own.any(|day| span.has(day))
    })
}
