//! Answers from a snapshot of the store: the numbers of days, and the clients with the most requests.
//!
//! Decoded days are kept within a budget; the least recently used days are dropped first. A range whose days
//! do not fit is computed batch by batch: nothing is kept, and the memory is that of its distinct clients,
//! twice, and of one batch. Where that may be too much, the range is computed stripe by stripe. A stripe
//! holds some of the clients with all of their rows, so the results of the stripes add up. All days are
//! decoded once for each stripe.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::list::Snapshot;
use super::shortage::is_shortage;
use crate::log::Day;
use crate::store::span::{self, Numbers, Share, Span};
use crate::store::unite::{self, Part, Top, Union};
use crate::store::{Partial, State, StoreError};
use crate::tally::Distinct;

/// The maximum bytes of decoded days in memory while a range that does not fit into the cache is computed.
const BATCH_BYTES: usize = 64 << 20;
/// The maximum number of growing logs that are opened before the first one is decoded, so that partials that
/// are replaced meanwhile can still be read.
pub(super) const OPEN_MAX: usize = 64;
/// The maximum number of clients of a question.
pub(super) const TOP_MAX: usize = 10_000;
/// Most questions are for fewer clients than this. More of their answers are kept.
pub(super) const TOP_SHORT: usize = 1_000;

/// A question about days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Question {
    Numbers,
    /// The first [`TOP_SHORT`] clients.
    Top,
    /// The first [`TOP_MAX`] clients.
    LongTop,
}

impl Question {
    /// The maximum number of clients in the answer.
    fn clients(self) -> Option<usize> {
        match self {
            Question::Numbers => None,
            Question::Top => Some(TOP_SHORT),
            Question::LongTop => Some(TOP_MAX),
        }
    }

    /// The maximum number of answers that are kept.
    pub(super) fn kept(self) -> usize {
        if self == Question::LongTop { 16 } else { 256 }
    }
}

/// The answer. `top` is empty for numbers; for clients, `numbers` has `at_least` only.
#[derive(Debug, Default)]
pub(in crate::api) struct Outcome {
    pub(in crate::api) numbers: Numbers,
    pub(in crate::api) top: Vec<Top>,
    /// True if all logs could be decoded.
    pub(super) whole: bool,
    /// The number of an outcome that lacks a log, which no other outcome of the snapshot has; 0 if none is
    /// missing.
    pub(super) number: u64,
}

/// Decoded days.
#[derive(Debug)]
pub(super) struct Parts {
    budget: usize,
    /// The memory in bytes that an answer may use beside the budget.
    question: usize,
    kept: Mutex<Kept>,
}

/// The number of a file, a day of it, and whether the requests are decoded.
type Key = (u64, Option<Day>, bool);

#[derive(Debug, Default)]
struct Kept {
    parts: HashMap<Key, (u64, Arc<Part>)>,
    /// The keys by the time of their last use.
    order: BTreeMap<u64, Key>,
    bytes: usize,
    clock: u64,
    /// The version of the latest snapshot.
    version: u64,
}

impl Kept {
    /// Drops the days of files that a newer snapshot does not have: no question needs them again.
    fn follow(&mut self, snapshot: &Snapshot) {
        if snapshot.version <= self.version {
            return;
        }
        self.version = snapshot.version;
        let there: HashSet<u64> = snapshot.files.iter().map(|file| file.number).collect();
        for (_, (used, part)) in self.parts.extract_if(|(number, ..), _| !there.contains(number)) {
            self.order.remove(&used);
            self.bytes -= part.bytes_used();
        }
    }

    fn get(&mut self, key: Key) -> Option<Arc<Part>> {
        let (used, part) = self.parts.get_mut(&key)?;
        self.clock += 1;
        self.order.remove(used);
        *used = self.clock;
        self.order.insert(self.clock, key);
        Some(Arc::clone(part))
    }

    fn put(&mut self, key: Key, part: &Arc<Part>, budget: usize) {
        let bytes = part.bytes_used();
        if bytes > budget || self.parts.contains_key(&key) {
            return;
        }
        while self.bytes + bytes > budget
            && let Some((_, oldest)) = self.order.pop_first()
        {
            if let Some((_, part)) = self.parts.remove(&oldest) {
                self.bytes -= part.bytes_used();
            }
        }
        self.clock += 1;
        self.bytes += bytes;
        self.order.insert(self.clock, key);
        self.parts.insert(key, (self.clock, Arc::clone(part)));
    }
}

impl Parts {
    pub(super) fn new(budget: usize, question: usize) -> Parts {
        Parts { budget, question, kept: Mutex::default() }
    }

    /// Computes the answer to a question.
    ///
    /// # Errors
    /// If the store has changed since the snapshot, or the operating system has too few resources to read it.
    pub(super) fn answer(
        &self,
        snapshot: &Snapshot,
        span: Span,
        question: Question,
    ) -> Result<Outcome, UnionError> {
        let mut left_out = HashSet::new();
        loop {
            let mut shares = span::shares(&snapshot.logs, span);
            shares.retain(|share| !left_out.contains(&share.log));
            match self.of_shares(snapshot, &shares, question) {
                Ok(outcome) => return Ok(Outcome { whole: left_out.is_empty(), ..outcome }),
                Err(PartError::UnionError(undone)) => return Err(undone),
                // As in `tallyd report`, a log that cannot be decoded is left out as a whole.
                Err(PartError::Damaged(log)) => drop(left_out.insert(log)),
            }
        }
    }

    fn of_shares(
        &self,
        snapshot: &Snapshot,
        shares: &[Share],
        question: Question,
    ) -> Result<Outcome, PartError> {
        let sum = span::sum(&snapshot.logs, shares);
        let clients = question.clients();
        let with_requests = clients.is_some();
        if shares.is_empty() || (!sum.wants_union() && !with_requests) {
            return Ok(Outcome { numbers: sum.numbers, ..Outcome::default() });
        }
        let there: Vec<Share> =
            shares.iter().filter(|share| !share.is_removed(&snapshot.logs)).copied().collect();
        // Deleted clients cannot be among the clients with the most requests.
        let numbers = Numbers { at_least: there.len() < shares.len(), ..Numbers::default() };
        let shares = &there[..];
        let source = Source::open(snapshot, shares, with_requests)?;
        let bytes: usize = shares.iter().map(|share| source.bytes(share)).sum();
        if bytes <= self.budget.max(self.batch_bytes()) {
            let parts = self.decode(&source, shares, true)?;
            let parts: Vec<(Option<Day>, &Part)> =
                shares.iter().map(|share| share.reported).zip(parts.iter().map(Arc::as_ref)).collect();
            if let Some(clients) = clients {
                return Ok(Outcome { numbers, top: unite::top(&parts, clients), ..Outcome::default() });
            }
            let union = unite::unite(&parts.iter().map(|(_, part)| *part).collect::<Vec<_>>());
            return Ok(Outcome { numbers: sum.with(union), ..Outcome::default() });
        }
        // As if all clients were distinct.
        let of_union = shares.iter().map(|share| source.bytes_united(share)).sum::<usize>() * 2;
        if of_union > self.question.saturating_sub(self.batch_bytes()) {
            let (distinct, top) =
                self.of_stripes(&source, shares, bytes.div_ceil(self.batch_bytes()), clients)?;
            let numbers = if with_requests { numbers } else { sum.with(distinct) };
            return Ok(Outcome { numbers, top, ..Outcome::default() });
        }
        let mut union = Union::default();
        for batch in self.batches(&source, shares) {
            let parts = self.decode(&source, batch, false)?;
            union.fold(
                &batch
                    .iter()
                    .map(|share| share.reported)
                    .zip(parts.iter().map(Arc::as_ref))
                    .collect::<Vec<_>>(),
                with_requests,
            );
        }
        if let Some(clients) = clients {
            return Ok(Outcome { numbers, top: union.top(clients), ..Outcome::default() });
        }
        Ok(Outcome { numbers: sum.with(union.distinct()), ..Outcome::default() })
    }

    /// Computes stripe by stripe the number of clients, or the clients with the most requests.
    fn of_stripes(
        &self,
        source: &Source<'_>,
        shares: &[Share],
        count: usize,
        clients: Option<usize>,
    ) -> Result<(Distinct, Vec<Top>), PartError> {
        let (mut distinct, mut tops) = (Distinct::default(), Vec::new());
        for number in 0..count {
            let mut parts: Vec<(Option<Day>, Part)> = Vec::new();
            for batch in self.batches(source, shares) {
                let decoded = self.decode(source, batch, false)?;
                parts.extend(
                    batch
                        .iter()
                        .zip(&decoded)
                        .map(|(share, part)| (share.reported, part.stripe(number, count))),
                );
            }
            let parts: Vec<(Option<Day>, &Part)> = parts.iter().map(|(day, part)| (*day, part)).collect();
            match clients {
                Some(clients) => tops = unite::first(tops, unite::top(&parts, clients), clients),
                None => {
                    let parts: Vec<&Part> = parts.iter().map(|(_, part)| *part).collect();
                    distinct = distinct.plus_disjoint(unite::unite(&parts));
                }
            }
        }
        Ok((distinct, tops))
    }

    /// The maximum bytes of decoded days in memory while a range that does not fit into the cache is
    /// computed.
    fn batch_bytes(&self) -> usize {
        (self.question / 2).clamp(1, BATCH_BYTES)
    }

    /// Splits shares into batches that are decoded at once: each has one share at least, and as many as fit.
    fn batches<'a>(&self, source: &Source<'_>, shares: &'a [Share]) -> Vec<&'a [Share]> {
        let (mut batches, mut left) = (Vec::new(), shares);
        while !left.is_empty() {
            let mut bytes = 0;
            let fits = |share: &&Share| {
                bytes += source.bytes(share);
                bytes <= self.batch_bytes()
            };
            let fit = left.iter().take_while(fits).count();
            let (batch, rest) = left.split_at(fit.max(1));
            batches.push(batch);
            left = rest;
        }
        batches
    }

    /// The parts of these shares, from the cache or decoded by all cores.
    fn decode(&self, source: &Source<'_>, shares: &[Share], keep: bool) -> Result<Vec<Arc<Part>>, PartError> {
        let mut parts: Vec<Option<Arc<Part>>> = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.follow(source.snapshot);
            shares.iter().map(|share| source.keys(share).into_iter().find_map(|key| kept.get(key))).collect()
        };
        let mut missing: Vec<usize> = (0..shares.len()).filter(|at| parts[*at].is_none()).collect();
        missing.sort_by_key(|at| shares[*at].log);
        let of_logs: Vec<&[usize]> =
            missing.chunk_by(|one, two| shares[*one].log == shares[*two].log).collect();
        let decoded: Vec<(usize, Result<Part, PartError>)> =
            of_logs.into_par_iter().flat_map(|places| source.decode(shares, places)).collect();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wrong = None;
        for (at, part) in decoded {
            match part {
                Ok(part) => {
                    let part = Arc::new(part);
                    if keep {
                        kept.put(source.key(&shares[at], source.with_requests), &part, self.budget);
                    }
                    parts[at] = Some(part);
                }
                // A damaged log is found again once the rest can be read.
                Err(this) if !matches!(wrong, Some(PartError::UnionError(_))) => wrong = Some(this),
                Err(_) => {}
            }
        }
        wrong.map_or_else(|| Ok(parts.into_iter().flatten().collect()), Err)
    }
}

/// The reason why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnionError {
    /// The store has changed since the snapshot.
    Replaced,
    /// The operating system has no file descriptors or no memory left, which is no property of a log.
    Exhausted,
}

/// The reason why a day cannot be decoded.
#[derive(Debug)]
enum PartError {
    UnionError(UnionError),
    /// The log at this position is damaged.
    Damaged(usize),
}

impl PartError {
    /// The reason for an error on opening or reading the partial of a log.
    fn of(log: usize, error: &io::Error) -> PartError {
        match error.kind() {
            _ if is_shortage(error) => PartError::UnionError(UnionError::Exhausted),
            io::ErrorKind::NotFound => PartError::UnionError(UnionError::Replaced),
            _ => PartError::Damaged(log),
        }
    }
}

/// The files that days are decoded from.
struct Source<'a> {
    snapshot: &'a Snapshot,
    with_requests: bool,
    /// The open files of logs that may be replaced at any time, by their position.
    open: HashMap<usize, File>,
}

impl<'a> Source<'a> {
    fn open(snapshot: &'a Snapshot, shares: &[Share], with_requests: bool) -> Result<Source<'a>, PartError> {
        let mut source = Source { snapshot, with_requests, open: HashMap::new() };
        for share in shares {
            let grows = matches!(snapshot.logs[share.log].meta.state, State::Live | State::Counting);
            if grows && source.open.len() < OPEN_MAX && !source.open.contains_key(&share.log) {
                match source.file(share.log) {
                    Ok(file) => drop(source.open.insert(share.log, file)),
                    // Opening in advance is only a precaution, and decoding needs descriptors too.
                    Err(PartError::UnionError(UnionError::Exhausted)) => {
                        source.open.clear();
                        break;
                    }
                    Err(wrong) => return Err(wrong),
                }
            }
        }
        Ok(source)
    }

    fn key(&self, share: &Share, with_requests: bool) -> Key {
        (self.snapshot.files[share.log].number, share.day, with_requests)
    }

    /// The keys that a part may be kept under: a part with requests also answers questions without.
    fn keys(&self, share: &Share) -> Vec<Key> {
        let with = self.key(share, true);
        if self.with_requests { vec![with] } else { vec![self.key(share, false), with] }
    }

    /// The approximate memory of a part in bytes.
    fn bytes(&self, share: &Share) -> usize {
        let totals = self.snapshot.logs[share.log].meta.days.get(&share.day).copied().unwrap_or_default();
        let requests = if self.with_requests { 8 * totals.clients.all() } else { 0 };
        size_of::<Part>()
            + (4 * totals.clients.ipv4 + 32 * (totals.clients.ipv6 + totals.clients.other) + requests)
                as usize
    }

    /// The approximate memory of the clients of a part in a union, in bytes.
    fn bytes_united(&self, share: &Share) -> usize {
        let totals = self.snapshot.logs[share.log].meta.days.get(&share.day).copied().unwrap_or_default();
        self.bytes(share) + if self.with_requests { 8 * totals.clients.all() as usize } else { 0 }
    }

    /// Decodes days of one log: the shares at these positions, at least one.
    fn decode(&self, shares: &[Share], places: &[usize]) -> Vec<(usize, Result<Part, PartError>)> {
        let log = shares[places[0]].log;
        let wrong = |trouble: StoreError| match trouble {
            StoreError::Io(error) if is_shortage(&error) => PartError::UnionError(UnionError::Exhausted),
            _ => PartError::Damaged(log),
        };
        let file = match self.open.get(&log) {
            Some(file) => file.try_clone().map_err(|error| PartError::of(log, &error)),
            None => self.file(log),
        };
        let decode = |partial: &Partial, at: usize| {
            let day = shares[at].day;
            if self.with_requests {
                Part::decode_with_requests(partial, day)
            } else {
                Part::decode(partial, day)
            }
        };
        match file.and_then(|file| Partial::open(file).map_err(wrong)) {
            Ok(partial) => places.par_iter().map(|at| (*at, decode(&partial, *at).map_err(wrong))).collect(),
            Err(wrong) => vec![(places[0], Err(wrong))],
        }
    }

    /// The partial of a log, if the file is still that of the snapshot.
    fn file(&self, log: usize) -> Result<File, PartError> {
        let (stored, mark) = (&self.snapshot.logs[log], &self.snapshot.files[log]);
        let open = || -> io::Result<Option<File>> {
            let file = File::open(&stored.path)?;
            Ok(mark.is(&file)?.then_some(file))
        };
        match open() {
            Ok(Some(file)) => Ok(file),
            Ok(None) => Err(PartError::UnionError(UnionError::Replaced)),
            Err(error) => Err(PartError::of(log, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process without descriptors left whole logs out of its answers.
    #[test]
    fn a_shortage_is_no_damage() {
        let wrong = |errno| PartError::of(7, &io::Error::from_raw_os_error(errno));
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            assert!(matches!(wrong(errno), PartError::UnionError(UnionError::Exhausted)), "{errno}");
        }
        assert!(matches!(wrong(libc::ENOENT), PartError::UnionError(UnionError::Replaced)));
        assert!(matches!(wrong(libc::EIO), PartError::Damaged(7)));
    }
}
