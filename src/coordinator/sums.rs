//! All that has been counted, per log and per day, with the clients.
//!
//! A log's numbers are the sum of its results, each added once. A day's numbers are the sum over its parts
//! (the days of logs), and its clients their union. A union is made when two parts first meet, follows every
//! result from then on, and is made anew when a part is taken out. The clients of a log may be *absent*: they
//! are in the store, and only their numbers here, until the log grows or a union needs them. A day whose
//! parts are not united, because some are absent or there is no room, is *apart*: of how many clients it has,
//! only a least number is known, until somebody sees to it. Clients that are *removed* are nowhere any more:
//! of these parts the numbers stay, and of their days what was noted of the union before. Deliberately
//! absent: files, jobs, the board.

mod apart;
mod removed;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::job::{PartView, ResultView};
use crate::log::Day;
use crate::store::removal::{Remembered, Removal, remembered};
use crate::tally::{Clients, Counts, Distinct, Totals};

use apart::Room;
pub use apart::{Apart, ChangedPartsError};

/// A day of a log, as its lines say; `None`: requests without a time stamp.
pub type PartKey = (u64, Option<Day>);

/// The sums over all logs.
#[derive(Debug, Default)]
pub struct Sums {
    logs: HashMap<u64, LogSum>,
    /// What has been counted of the logs that are being counted again. It is in no day.
    again: HashMap<u64, LogSum>,
    /// By the day that is reported. `None`: requests without a time stamp in logs without a date in their
    /// names.
    days: BTreeMap<Option<Day>, DaySum>,
    changed_days: BTreeSet<Option<Day>>,
    /// Days that were found apart.
    apart: BTreeSet<Option<Day>>,
    /// Counted up with each change of a day.
    moment: Moment,
    /// How many clients may be united.
    room: Room,
    /// Days whose unions stay in memory, beside every budget.
    pinned: BTreeSet<Option<Day>>,
}

/// When a day changed: a later change has a higher number.
pub type Moment = u64;

#[derive(Debug, Default)]
struct LogSum {
    name_day: Option<Day>,
    /// Are its parts in the days?
    counts: bool,
    /// Does it have clients that were never given away to be stored?
    fresh: bool,
    blank: Counts,
    /// By the day that the lines say.
    parts: BTreeMap<Option<Day>, Box<Part>>,
    union: Union,
    /// When clients were removed, it had so many.
    floor: Distinct,
    /// It got more since: there may be more than is known.
    at_least: bool,
}

/// A log's share in a day. (Boxed, for it is large, and half of a tree's nodes are empty.)
#[derive(Debug, Default, Clone)]
struct Part {
    totals: Totals,
    /// `None`: they are absent, or removed.
    clients: Option<Arc<Clients>>,
    removal: Option<Removal>,
}

/// The clients of several parts, once there was need for them.
#[derive(Debug, Default)]
struct Union {
    clients: Option<Clients>,
    /// How many there are, if that is known.
    distinct: Option<Distinct>,
    /// There are at least so many.
    least: Distinct,
}

#[derive(Debug, Default)]
struct DaySum {
    parts: BTreeSet<PartKey>,
    union: Union,
    /// The parts that the union lacks still.
    lacks: BTreeSet<PartKey>,
    changed: Moment,
}

/// The numbers of a day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DayNumbers {
    /// The numbers. While not all clients are there, there are at least so many.
    pub totals: Totals,
    /// How many logs have lines of it.
    pub files: u64,
    /// Are all clients in it?
    pub whole: bool,
    /// It is not whole, and never will be: clients were removed.
    pub at_least: bool,
}

/// What is stored of a log: its clients by day, and its numbers.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// The numbers over all its days.
    pub totals: Totals,
    /// The blank lines: they are in `totals` and in no day.
    pub blank: Counts,
    /// Requests came after clients were removed: there may be more clients.
    pub at_least: bool,
    /// The numbers of each day.
    pub days: BTreeMap<Option<Day>, Totals>,
    /// The days whose clients are removed, or about to be.
    pub removals: BTreeMap<Option<Day>, Removal>,
    /// The clients of each other day; `None`: they are in the store already.
    pub clients: Option<Vec<(Option<Day>, Arc<Clients>)>>,
}

impl Sums {
    /// Adds a result of a log whose name says `name_day`. It must be [able to take it](Sums::can_add).
    pub fn add(&mut self, log: u64, name_day: Option<Day>, result: &ResultView<'_>) {
        let sum = self.again.get_mut(&log).unwrap_or_else(|| self.logs.entry(log).or_default());
        if sum.parts.is_empty() {
            sum.name_day = name_day;
        }
        sum.fresh = true;
        sum.at_least |= sum.floor != Distinct::default();
        sum.blank += result.blank;
        sum.union.distinct = None;
        for view in &result.days {
            sum.parts
                .entry(view.day)
                .or_insert_with(|| Box::new(Part { clients: Some(Arc::default()), ..Part::default() }))
                .add(view);
            if let Some(union) = &mut sum.union.clients {
                add_clients(union, view);
            }
            if !sum.counts {
                continue;
            }
            let key = view.day.or(sum.name_day);
            let day = self.days.entry(key).or_default();
            self.moment += 1;
            day.changed = self.moment;
            day.union.distinct = None;
            day.parts.insert((log, view.day));
            if let Some(union) = &mut day.union.clients {
                add_clients(union, view);
            }
            self.changed_days.insert(key);
        }
    }

    /// Takes over the numbers of a log, its clients being absent.
    pub fn restore(&mut self, log: u64, name_day: Option<Day>, kept: &Kept) {
        let part = |(day, totals): (&Option<Day>, &Totals)| {
            (
                *day,
                Box::new(Part { totals: *totals, clients: None, removal: kept.removals.get(day).copied() }),
            )
        };
        let distinct = kept.totals.clients;
        let union = Union { distinct: Some(distinct), ..Union::default() };
        let floor =
            if kept.removals.values().any(|removal| removal.done) { distinct } else { Distinct::default() };
        let (parts, at_least) = (kept.days.iter().map(part).collect(), kept.at_least);
        self.logs.insert(
            log,
            LogSum {
                name_day,
                counts: false,
                fresh: false,
                blank: kept.blank,
                parts,
                union,
                floor,
                at_least,
            },
        );
    }

    /// Is what is known of a log what is stored of it?
    pub fn is_as(&self, log: u64, kept: &Kept) -> bool {
        let known = |sum: &LogSum| {
            let days = sum.parts.iter().map(|(day, part)| (day, part.totals, part.removal));
            days.eq(kept.days.iter().map(|(day, totals)| (day, *totals, kept.removals.get(day).copied())))
        };
        self.logs.get(&log).is_some_and(known)
    }

    /// Can a result of a log be added? Not while its clients are absent.
    pub fn can_add(&self, log: u64) -> bool {
        self.again.contains_key(&log) || !self.is_absent(log)
    }

    /// Takes a log out again, with all it added.
    pub fn remove(&mut self, log: u64) {
        self.set_counts(log, false);
        self.logs.remove(&log);
        self.again.remove(&log);
    }

    /// A log is counted again from its start. Its numbers stay what they are until that
    /// [ends](Sums::end_again).
    pub fn begin_again(&mut self, log: u64) {
        self.again.insert(log, LogSum::default());
    }

    /// A log has been counted again: its numbers are what was counted since.
    pub fn end_again(&mut self, log: u64) {
        if let Some(sum) = self.again.remove(&log) {
            let name_day = self.logs.get(&log).and_then(|sum| sum.name_day);
            self.replace(log, LogSum { name_day, ..sum });
        }
    }

    /// A log will not be counted again: its numbers stay what they are.
    pub fn leave_again(&mut self, log: u64) {
        self.again.remove(&log);
    }

    /// What was counted as one log is another one's, and replaces what that one had.
    pub fn take_over(&mut self, from: u64, to: u64, name_day: Option<Day>) {
        self.set_counts(from, false);
        self.again.remove(&from);
        self.again.remove(&to);
        let sum = self.logs.remove(&from).unwrap_or_default();
        self.replace(to, LogSum { name_day, ..sum });
    }

    /// A log has other numbers than before, of the same content. Whether they count stays as it is.
    fn replace(&mut self, log: u64, mut sum: LogSum) {
        let counts = self.logs.get(&log).is_some_and(|before| before.counts);
        self.set_counts(log, false);
        if let Some(before) = self.logs.remove(&log) {
            sum.remove_as(&before);
        }
        // What is stored is not that.
        self.logs.insert(log, LogSum { fresh: true, ..sum });
        self.set_counts(log, counts);
    }

    /// Does a log count in the days?
    pub fn set_counts(&mut self, log: u64, counts: bool) {
        let sum = self.logs.entry(log).or_default();
        if std::mem::replace(&mut sum.counts, counts) == counts {
            return;
        }
        let parts: Vec<Option<Day>> = sum.parts.keys().copied().collect();
        let name_day = sum.name_day;
        for part in parts {
            let day = part.or(name_day);
            if counts { self.put_part((log, part), day) } else { self.take_part((log, part), day) }
        }
    }

    /// A log has another name: its requests without a time stamp belong to another day.
    pub fn rename(&mut self, log: u64, name_day: Option<Day>) {
        let sum = self.logs.entry(log).or_default();
        let before = std::mem::replace(&mut sum.name_day, name_day);
        if before != name_day && sum.counts && sum.parts.contains_key(&None) {
            self.take_part((log, None), before);
            self.put_part((log, None), name_day);
        }
    }

    fn put_part(&mut self, key: PartKey, day: Option<Day>) {
        self.changed_days.insert(day);
        let (clients, is_removed) =
            self.part(key).map_or((None, false), |part| (part.clients.clone(), part.is_removed()));
        let sum = self.days.entry(day).or_default();
        self.moment += 1;
        sum.changed = self.moment;
        sum.parts.insert(key);
        sum.union.distinct = None;
        if is_removed {
            (sum.union, sum.lacks) = (Union::default(), BTreeSet::new());
        }
        if let Some(union) = &mut sum.union.clients {
            match clients {
                Some(clients) => union.merge(&clients),
                None => drop(sum.lacks.insert(key)),
            }
        }
    }

    fn take_part(&mut self, key: PartKey, day: Option<Day>) {
        self.changed_days.insert(day);
        if let Some(sum) = self.days.get_mut(&day) {
            self.moment += 1;
            sum.changed = self.moment;
            sum.parts.remove(&key);
            (sum.union, sum.lacks) = (Union::default(), BTreeSet::new());
            if sum.parts.is_empty() {
                self.days.remove(&day);
            }
        }
    }

    fn part(&self, (log, day): PartKey) -> Option<&Part> {
        self.logs.get(&log)?.parts.get(&day).map(|part| &**part)
    }

    /// The numbers of a log.
    pub fn log(&mut self, log: u64) -> Totals {
        self.logs.get_mut(&log).map_or(Totals::default(), LogSum::totals)
    }

    /// The numbers of a log by the day that its lines say.
    pub fn shares(&self, log: u64) -> Vec<(Option<Day>, Totals)> {
        self.logs
            .get(&log)
            .map_or(Vec::new(), |sum| sum.parts.iter().map(|(day, part)| (*day, part.totals)).collect())
    }

    /// The days a log's requests are reported under.
    pub fn days_of(&self, log: u64) -> Vec<Option<Day>> {
        self.logs
            .get(&log)
            .map_or(Vec::new(), |sum| sum.parts.keys().map(|day| day.or(sum.name_day)).collect())
    }

    /// The numbers of a day, or `None` if no log has lines of it.
    pub fn day(&mut self, day: Option<Day>) -> Option<DayNumbers> {
        let DaySum { parts, union, lacks, .. } = self.days.get_mut(&day)?;
        let files = parts.iter().map(|(log, _)| *log).collect::<BTreeSet<_>>().len() as u64;
        let found: Vec<&Part> =
            parts.iter().filter_map(|(log, part)| Some(&**self.logs.get(log)?.parts.get(part)?)).collect();
        let counts = found.iter().map(|part| part.totals.counts).sum();
        let mut totals = Totals { counts, ..Totals::default() };
        if found.iter().any(|part| part.is_removed()) {
            let of_parts: Vec<_> = found.iter().map(|part| (part.totals.clients, part.removal)).collect();
            let remembered = remembered(&of_parts);
            totals.clients = remembered.map_or(Distinct::default(), Remembered::distinct);
            let whole = matches!(remembered, Some(Remembered::Exactly(_)));
            return Some(DayNumbers { totals, files, whole, at_least: !whole });
        }
        if let [part] = found[..] {
            totals.clients = part.totals.clients;
            return Some(DayNumbers { totals, files, whole: true, at_least: false });
        }
        if union.distinct.is_none() {
            if union.clients.is_none() {
                let clients: Option<Vec<&Clients>> =
                    found.iter().map(|part| part.clients.as_deref()).collect();
                match clients.filter(|clients| {
                    self.room.take(clients.iter().map(|clients| clients.len() as u64).sum())
                }) {
                    Some(clients) => union.clients = Some(unite(clients.into_iter())),
                    None => drop(self.apart.insert(day)),
                }
            }
            if let Some(clients) = &union.clients {
                union.least = clients.distinct();
                union.distinct = lacks.is_empty().then_some(union.least);
            }
        }
        let least = || found.iter().fold(union.least, |least, part| least.max(part.totals.clients));
        totals.clients = union.distinct.unwrap_or_else(least);
        Some(DayNumbers { totals, files, whole: union.distinct.is_some(), at_least: false })
    }

    /// A day is to be shown again.
    pub fn touch(&mut self, day: Option<Day>) {
        self.changed_days.insert(day);
    }

    /// Are the clients of a log in the store only?
    pub fn is_absent(&self, log: u64) -> bool {
        self.logs.get(&log).is_some_and(|sum| sum.parts.values().any(|part| part.is_absent()))
    }

    /// The clients of an absent log are back. What was counted anew meanwhile is right, whatever is stored of
    /// it.
    ///
    /// # Errors
    /// If they are not all that it has, or not the log's.
    pub fn load(&mut self, log: u64, days: Vec<(Option<Day>, Clients)>) -> Result<(), ChangedPartsError> {
        for (day, clients) in days {
            self.fill((log, day), &clients)?;
            if let Some(part) = self
                .logs
                .get_mut(&log)
                .and_then(|sum| sum.parts.get_mut(&day))
                .filter(|part| part.is_absent())
            {
                part.clients = Some(Arc::new(clients));
            }
        }
        if self.is_absent(log) { Err(ChangedPartsError) } else { Ok(()) }
    }

    /// The clients of a log are in the store, and leave the memory, unless some came since they were given
    /// away to be stored. Says how many bytes that makes free.
    pub fn evict(&mut self, log: u64) -> usize {
        let Some(sum) = self.logs.get_mut(&log).filter(|sum| !sum.fresh) else { return 0 };
        let free = sum.memory();
        sum.totals();
        sum.union.clients = None;
        sum.parts.values_mut().for_each(|part| part.clients = None);
        self.days_of(log).into_iter().for_each(|day| self.settle(day));
        free
    }

    /// What is to be stored of a log.
    pub fn keep(&mut self, log: u64) -> Kept {
        let Some(sum) = self.logs.get_mut(&log) else {
            return Kept { clients: Some(Vec::new()), ..Kept::default() };
        };
        sum.fresh = false;
        let totals = sum.totals();
        let days = sum.parts.iter().map(|(day, part)| (*day, part.totals)).collect();
        let removals = sum.parts.iter().filter_map(|(day, part)| Some((*day, part.removal?))).collect();
        let kept = sum.parts.iter().filter(|(_, part)| !part.is_removed());
        let clients = kept.map(|(day, part)| Some((*day, Arc::clone(part.clients.as_ref()?)))).collect();
        Kept { totals, at_least: sum.at_least, blank: sum.blank, days, removals, clients }
    }

    /// How much memory the clients of a log take when they are there, in bytes; of those that are absent,
    /// about.
    pub fn weight_of(&self, log: u64) -> usize {
        const ABSENT_BYTES: u64 = 16;
        let weight = |part: &Part| {
            part.clients
                .as_deref()
                .map_or((part.totals.clients.all() * ABSENT_BYTES) as usize, Clients::memory)
        };
        self.logs.get(&log).map_or(0, |sum| sum.parts.values().map(|part| weight(part)).sum())
    }

    /// How much memory all clients take, in bytes, but for pinned unions.
    pub fn memory(&self) -> usize {
        self.logs.values().chain(self.again.values()).map(LogSum::memory).sum::<usize>()
            + self.unions_memory()
    }

    /// How much of it is that of the unions of days.
    pub fn unions_memory(&self) -> usize {
        self.unpinned().map(|(_, day)| day.union.memory()).sum()
    }

    fn unpinned(&self) -> impl Iterator<Item = (&Option<Day>, &DaySum)> {
        self.days.iter().filter(|(day, _)| !self.pinned.contains(*day))
    }

    /// May a log be the beginning of another one, by what was counted of both? Then each of its days has no
    /// more of anything than the other's, and no client that the other lacks. (Of absent clients only the
    /// numbers are compared; of those that were counted by different rules, not `by_clients`, nothing.)
    pub fn fits(&self, inner: u64, outer: u64, by_clients: bool) -> bool {
        let (Some(inner), Some(outer)) = (self.logs.get(&inner), self.logs.get(&outer)) else { return true };
        inner.blank.is_within(&outer.blank)
            && inner.parts.iter().all(|(day, part)| {
                let Some(other) = outer.parts.get(day) else { return false };
                let (one, two) = (&part.totals, &other.totals);
                // Of a part that got requests after its clients were removed, nobody knows how many there
                // are.
                let distinct = !by_clients || other.is_late() || one.clients.is_within(two.clients);
                let clients = match (&part.clients, &other.clients) {
                    (Some(clients), Some(others)) if by_clients => {
                        unite([&**clients, &**others].into_iter()).len() == others.len()
                    }
                    _ => true,
                };
                one.counts.is_within(&two.counts) && distinct && clients
            })
    }

    /// The days that changed since this was last asked.
    pub fn take_changed_days(&mut self) -> BTreeSet<Option<Day>> {
        std::mem::take(&mut self.changed_days)
    }

    /// The numbers over all logs that count; the clients are united, which takes its time. `None` if some are
    /// absent.
    pub fn all(&self) -> Option<Totals> {
        let logs: Vec<&LogSum> = self.logs.values().filter(|log| log.counts).collect();
        let parts: Vec<&Part> = logs.iter().flat_map(|log| log.parts.values().map(|part| &**part)).collect();
        let clients: Vec<&Clients> =
            parts.iter().map(|part| part.clients.as_deref()).collect::<Option<_>>()?;
        let of_parts: Counts = parts.iter().map(|part| part.totals.counts).sum();
        let counts = of_parts + logs.iter().map(|log| log.blank).sum();
        Some(Totals { counts, clients: unite(clients.into_iter()).distinct() })
    }
}

impl LogSum {
    fn totals(&mut self) -> Totals {
        let counts = self.blank + self.parts.values().map(|part| part.totals.counts).sum();
        let parts = &self.parts;
        let floor = self.floor;
        let clients = match self.union.distinct {
            // One part is its own union, and stays so until there are two.
            _ if parts.len() < 2 => {
                parts.values().next().map_or(Distinct::default(), |part| part.totals.clients)
            }
            Some(distinct) => distinct,
            None => {
                let union = self
                    .union
                    .clients
                    .get_or_insert_with(|| unite(parts.values().filter_map(|part| part.clients.as_deref())));
                // Of what was removed, there were so many; of each part by itself too.
                let removed = parts
                    .values()
                    .filter(|part| part.is_removed())
                    .map(|part| part.totals.clients)
                    .fold(floor, Distinct::max);
                *self.union.distinct.insert(union.distinct().max(removed))
            }
        };
        Totals { counts, clients }
    }

    fn memory(&self) -> usize {
        self.parts.values().filter_map(|part| part.clients.as_deref()).map(Clients::memory).sum::<usize>()
            + self.union.memory()
    }
}

impl Union {
    fn memory(&self) -> usize {
        self.clients.as_ref().map_or(0, Clients::memory)
    }
}

impl Part {
    fn is_removed(&self) -> bool {
        self.removal.is_some_and(|removal| removal.done)
    }

    fn is_late(&self) -> bool {
        self.removal.is_some_and(|removal| removal.late)
    }

    fn is_absent(&self) -> bool {
        self.clients.is_none() && !self.is_removed()
    }

    fn add(&mut self, view: &PartView<'_>) {
        let clients = if self.is_removed() {
            self.removal = self.removal.map(|removal| Removal { late: true, ..removal });
            let mut clients = Clients::default();
            add_clients(&mut clients, view);
            self.totals.clients.max(clients.distinct())
        } else {
            // What it was united with is another set now.
            self.removal = None;
            let clients = Arc::make_mut(self.clients.get_or_insert_default());
            add_clients(clients, view);
            clients.distinct()
        };
        self.totals.counts += view.counts;
        self.totals.clients = clients;
    }
}

fn add_clients(clients: &mut Clients, view: &PartView<'_>) {
    clients.reserve(view.v4_clients(), view.rest_clients());
    view.clients().for_each(|(client, usage)| clients.add(client, usage));
}

/// All clients of some sets.
fn unite<'a>(sets: impl Iterator<Item = &'a Clients>) -> Clients {
    let mut largest_first: Vec<&Clients> = sets.collect();
    largest_first.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let mut sets = largest_first.into_iter();
    let mut union = sets.next().cloned().unwrap_or_default();
    sets.for_each(|set| union.merge(set));
    union
}

#[cfg(test)]
mod tests;
