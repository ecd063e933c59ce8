//! Answers from a snapshot of the store: numbers over days, and the clients that asked most.
//!
//! Decoded days are kept within a budget, the least recently used go first. A range whose days do not fit is answered batch by batch, keeps nothing, and takes memory for its
//! distinct clients, twice, and for one batch. Where that may be more than there is, it is answered stripe by stripe: each holds some of the clients, and all their rows, so that
//! what is true of the stripes adds up. All is decoded once for each stripe.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::list::Snapshot;
use crate::log::Day;
use crate::store::span::{self, Numbers, Share, Span};
use crate::store::unite::{self, Part, Top, Union};
use crate::store::{Partial, State, Trouble};
use crate::tally::union::Sizes;

/// The most bytes of decoded days that are in memory at once when a range does not fit into the cache.
const BATCH_BYTES: usize = 64 << 20;
/// So many growing logs are opened before the first is decoded, so that what is replaced meanwhile is still at hand.
pub(super) const OPEN_MAX: usize = 64;
/// The most clients that are asked for at once.
pub(super) const TOP_MAX: usize = 10_000;
/// Most ask for fewer, and their answers are kept in greater number.
pub(super) const TOP_SHORT: usize = 1_000;

/// What is asked about days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Question {
    Numbers,
    /// The first [`TOP_SHORT`] clients.
    Top,
    /// The first [`TOP_MAX`] clients.
    LongTop,
}

impl Question {
    /// How many clients are told.
    fn clients(self) -> Option<usize> {
        match self {
            Question::Numbers => None,
            Question::Top => Some(TOP_SHORT),
            Question::LongTop => Some(TOP_MAX),
        }
    }

    /// How many answers are kept.
    pub(super) fn kept(self) -> usize {
        if self == Question::LongTop { 16 } else { 256 }
    }
}

/// The answer. Of numbers, `top` is empty; of tops, the numbers are but for `at_least`.
#[derive(Debug, Default)]
pub(in crate::api) struct Outcome {
    pub(in crate::api) numbers: Numbers,
    pub(in crate::api) top: Vec<Top>,
    /// Could all be decoded?
    pub(super) whole: bool,
    /// Tells one from which something is missing from any other one of the same snapshot; 0: nothing is.
    pub(super) number: u64,
}

/// Decoded days.
#[derive(Debug)]
pub(super) struct Parts {
    budget: usize,
    /// How much memory an answer may take beside that.
    question: usize,
    kept: Mutex<Kept>,
}

/// Which day of which file. With requests, or without.
type Key = (u64, Option<Day>, bool);

#[derive(Debug, Default)]
struct Kept {
    parts: HashMap<Key, (u64, Arc<Part>)>,
    /// By when they were used last.
    order: BTreeMap<u64, Key>,
    bytes: usize,
    clock: u64,
    /// The latest snapshot that was asked about.
    version: u64,
}

impl Kept {
    /// Forgets the days of files that a newer snapshot has not: nobody asks for them again.
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

    /// Answers.
    ///
    /// # Errors
    /// If the store is not what the snapshot says any more, or the system does not let it be read now.
    pub(super) fn answer(&self, snapshot: &Snapshot, span: Span, question: Question) -> Result<Outcome, Undone> {
        let mut left_out = HashSet::new();
        loop {
            let mut shares = span::shares(&snapshot.logs, span);
            shares.retain(|share| !left_out.contains(&share.log));
            match self.of_shares(snapshot, &shares, question) {
                Ok(outcome) => return Ok(Outcome { whole: left_out.is_empty(), ..outcome }),
                Err(Wrong::Undone(undone)) => return Err(undone),
                // As `tallyd report`: a log that cannot be decoded is left out as a whole.
                Err(Wrong::Damaged(log)) => drop(left_out.insert(log)),
            }
        }
    }

    fn of_shares(&self, snapshot: &Snapshot, shares: &[Share], question: Question) -> Result<Outcome, Wrong> {
        let sum = span::sum(&snapshot.logs, shares);
        let clients = question.clients();
        let with_requests = clients.is_some();
        if shares.is_empty() || (!sum.wants_union() && !with_requests) {
            return Ok(Outcome { numbers: sum.numbers, ..Outcome::default() });
        }
        let there: Vec<Share> = shares.iter().filter(|share| !share.is_removed(&snapshot.logs)).copied().collect();
        // Of the clients that asked most, those that were removed cannot be told.
        let numbers = Numbers { at_least: there.len() < shares.len(), ..Numbers::default() };
        let shares = &there[..];
        let source = Source::open(snapshot, shares, with_requests)?;
        let bytes: usize = shares.iter().map(|share| source.bytes(share)).sum();
        if bytes <= self.budget.max(self.batch_bytes()) {
            let parts = self.decode(&source, shares, true)?;
            let parts: Vec<(Option<Day>, &Part)> = shares.iter().map(|share| share.reported).zip(parts.iter().map(Arc::as_ref)).collect();
            if let Some(clients) = clients {
                return Ok(Outcome { numbers, top: unite::top(&parts, clients), ..Outcome::default() });
            }
            let union = unite::unite(&parts.iter().map(|(_, part)| *part).collect::<Vec<_>>());
            return Ok(Outcome { numbers: sum.with(union), ..Outcome::default() });
        }
        // As if all clients were distinct.
        let of_union = shares.iter().map(|share| source.bytes_united(share)).sum::<usize>() * 2;
        if of_union > self.question.saturating_sub(self.batch_bytes()) {
            let (sizes, top) = self.of_stripes(&source, shares, bytes.div_ceil(self.batch_bytes()), clients)?;
            let numbers = if with_requests { numbers } else { sum.with(sizes) };
            return Ok(Outcome { numbers, top, ..Outcome::default() });
        }
        let mut union = Union::default();
        for batch in self.batches(&source, shares) {
            let parts = self.decode(&source, batch, false)?;
            union.fold(&batch.iter().map(|share| share.reported).zip(parts.iter().map(Arc::as_ref)).collect::<Vec<_>>(), with_requests);
        }
        if let Some(clients) = clients {
            return Ok(Outcome { numbers, top: union.top(clients), ..Outcome::default() });
        }
        Ok(Outcome { numbers: sum.with(union.sizes()), ..Outcome::default() })
    }

    /// An answer stripe by stripe: how many clients there are, or which of them asked most.
    fn of_stripes(&self, source: &Source<'_>, shares: &[Share], count: usize, clients: Option<usize>) -> Result<(Sizes, Vec<Top>), Wrong> {
        let (mut sizes, mut tops) = (Sizes::default(), Vec::new());
        for number in 0..count {
            let mut parts: Vec<(Option<Day>, Part)> = Vec::new();
            for batch in self.batches(source, shares) {
                let decoded = self.decode(source, batch, false)?;
                parts.extend(batch.iter().zip(&decoded).map(|(share, part)| (share.reported, part.stripe(number, count))));
            }
            let parts: Vec<(Option<Day>, &Part)> = parts.iter().map(|(day, part)| (*day, part)).collect();
            match clients {
                Some(clients) => tops = unite::first(tops, unite::top(&parts, clients), clients),
                None => sizes = sizes + unite::unite(&parts.iter().map(|(_, part)| *part).collect::<Vec<_>>()),
            }
        }
        Ok((sizes, tops))
    }

    /// So many bytes of decoded days are in memory at once when a range does not fit into the cache.
    fn batch_bytes(&self) -> usize {
        (self.question / 2).clamp(1, BATCH_BYTES)
    }

    /// Shares that are decoded at once: one at least, and as many as fit.
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

    /// The parts of these shares, from what is kept or decoded by all cores.
    fn decode(&self, source: &Source<'_>, shares: &[Share], keep: bool) -> Result<Vec<Arc<Part>>, Wrong> {
        let mut parts: Vec<Option<Arc<Part>>> = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.follow(source.snapshot);
            shares.iter().map(|share| source.keys(share).into_iter().find_map(|key| kept.get(key))).collect()
        };
        let mut missing: Vec<usize> = (0..shares.len()).filter(|at| parts[*at].is_none()).collect();
        missing.sort_by_key(|at| shares[*at].log);
        let of_logs: Vec<&[usize]> = missing.chunk_by(|one, two| shares[*one].log == shares[*two].log).collect();
        let decoded: Vec<(usize, Result<Part, Wrong>)> = of_logs.into_par_iter().flat_map(|places| source.decode(shares, places)).collect();
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
                // What is damaged is found again once the rest can be read.
                Err(this) if !matches!(wrong, Some(Wrong::Undone(_))) => wrong = Some(this),
                Err(_) => {}
            }
        }
        wrong.map_or_else(|| Ok(parts.into_iter().flatten().collect()), Err)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undone {
    /// The store is not what the snapshot says any more.
    Replaced,
    /// The system has no descriptors or no memory to give. That says nothing of any log.
    Exhausted,
}

/// Why a day cannot be decoded.
#[derive(Debug)]
enum Wrong {
    Undone(Undone),
    /// The log of this place.
    Damaged(usize),
}

impl Wrong {
    /// A log's file could not be opened or read.
    fn of(log: usize, error: &io::Error) -> Wrong {
        match error.kind() {
            _ if is_shortage(error) => Wrong::Undone(Undone::Exhausted),
            io::ErrorKind::NotFound => Wrong::Undone(Undone::Replaced),
            _ => Wrong::Damaged(log),
        }
    }
}

/// Does the system say that it has no descriptors or no memory to give, whatever file it is asked for?
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// Where days are decoded from.
struct Source<'a> {
    snapshot: &'a Snapshot,
    with_requests: bool,
    /// Logs that may be replaced at any moment, by their place.
    open: HashMap<usize, File>,
}

impl<'a> Source<'a> {
    fn open(snapshot: &'a Snapshot, shares: &[Share], with_requests: bool) -> Result<Source<'a>, Wrong> {
        let mut source = Source { snapshot, with_requests, open: HashMap::new() };
        for share in shares {
            let grows = matches!(snapshot.logs[share.log].meta.state, State::Live | State::Counting);
            if grows && source.open.len() < OPEN_MAX && !source.open.contains_key(&share.log) {
                match source.file(share.log) {
                    Ok(file) => drop(source.open.insert(share.log, file)),
                    // It is only a precaution, and to decode takes descriptors too.
                    Err(Wrong::Undone(Undone::Exhausted)) => {
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

    /// Under what a part may be kept: one with requests serves where none are asked for.
    fn keys(&self, share: &Share) -> Vec<Key> {
        let with = self.key(share, true);
        if self.with_requests { vec![with] } else { vec![self.key(share, false), with] }
    }

    /// About how much memory a part takes.
    fn bytes(&self, share: &Share) -> usize {
        let totals = self.snapshot.logs[share.log].meta.days.get(&share.day).copied().unwrap_or_default();
        let requests = if self.with_requests { 8 * totals.unique_clients() } else { 0 };
        size_of::<Part>() + (4 * totals.ipv4 + 32 * (totals.ipv6 + totals.other) + requests) as usize
    }

    /// About how much memory the clients of a part take in a union.
    fn bytes_united(&self, share: &Share) -> usize {
        let totals = self.snapshot.logs[share.log].meta.days.get(&share.day).copied().unwrap_or_default();
        self.bytes(share) + if self.with_requests { 8 * totals.unique_clients() as usize } else { 0 }
    }

    /// Decodes days of one log: those shares that have these places, at least one.
    fn decode(&self, shares: &[Share], places: &[usize]) -> Vec<(usize, Result<Part, Wrong>)> {
        let log = shares[places[0]].log;
        let wrong = |trouble: Trouble| match trouble {
            Trouble::Io(error) if is_shortage(&error) => Wrong::Undone(Undone::Exhausted),
            _ => Wrong::Damaged(log),
        };
        let file = match self.open.get(&log) {
            Some(file) => file.try_clone().map_err(|error| Wrong::of(log, &error)),
            None => self.file(log),
        };
        let decode = |partial: &Partial, at: usize| {
            let day = shares[at].day;
            if self.with_requests { Part::decode_with_requests(partial, day) } else { Part::decode(partial, day) }
        };
        match file.and_then(|file| Partial::open(file).map_err(wrong)) {
            Ok(partial) => places.par_iter().map(|at| (*at, decode(&partial, *at).map_err(wrong))).collect(),
            Err(wrong) => vec![(places[0], Err(wrong))],
        }
    }

    /// A log's partial, if it is still that of the snapshot.
    fn file(&self, log: usize) -> Result<File, Wrong> {
        let (stored, mark) = (&self.snapshot.logs[log], &self.snapshot.files[log]);
        let open = || -> io::Result<Option<File>> {
            let file = File::open(&stored.path)?;
            Ok(mark.is(&file)?.then_some(file))
        };
        match open() {
            Ok(Some(file)) => Ok(file),
            Ok(None) => Err(Wrong::Undone(Undone::Replaced)),
            Err(error) => Err(Wrong::of(log, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process without descriptors left whole logs out of its answers.
    #[test]
    fn a_shortage_is_no_damage() {
        let wrong = |errno| Wrong::of(7, &io::Error::from_raw_os_error(errno));
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            assert!(matches!(wrong(errno), Wrong::Undone(Undone::Exhausted)), "{errno}");
        }
        assert!(matches!(wrong(libc::ENOENT), Wrong::Undone(Undone::Replaced)));
        assert!(matches!(wrong(libc::EIO), Wrong::Damaged(7)));
    }
}
