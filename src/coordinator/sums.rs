//! All that has been counted, per log and per day, with the clients.
//!
//! A log's numbers are the sum of its results, each added once. A day's numbers are the sum over its parts (the days of logs), and its clients their union.
//! A union is made when two parts first meet, follows every result from then on, and is made anew when a part is taken out.
//! The clients of a log may be *absent*: they are in the store, and only their numbers here, until the log grows or a union needs them.
//! Deliberately absent: files, jobs, the board.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::job::{DayView, ResultView};
use crate::log::Day;
use crate::tally::union::Sizes;
use crate::tally::{Clients, Totals};

/// A day of a log, as its lines say; `None`: requests without a time stamp.
pub type PartKey = (u64, Option<Day>);

/// The sums over all logs.
#[derive(Debug, Default)]
pub struct Sums {
    logs: HashMap<u64, LogSum>,
    /// By the day that is reported. `None`: requests without a time stamp in logs without a date in their names.
    days: BTreeMap<Option<Day>, DaySum>,
    changed_days: BTreeSet<Option<Day>>,
}

#[derive(Debug, Default)]
struct LogSum {
    name_day: Option<Day>,
    /// Are its parts in the days?
    counts: bool,
    blank: u64,
    blank_bytes: u64,
    /// By the day that the lines say.
    parts: BTreeMap<Option<Day>, Box<Part>>,
    union: Union,
}

/// A log's share in a day. (Boxed, for it is large, and half of a tree's nodes are empty.)
#[derive(Debug, Default, Clone)]
struct Part {
    totals: Totals,
    /// `None`: they are absent.
    clients: Option<Arc<Clients>>,
}

/// The clients of several parts, once there was need for them.
#[derive(Debug, Default)]
struct Union {
    clients: Option<Clients>,
    /// How many there are, if that is known.
    sizes: Option<Sizes>,
}

#[derive(Debug, Default)]
struct DaySum {
    parts: BTreeSet<PartKey>,
    union: Union,
    /// The parts that the union lacks still.
    lacks: BTreeSet<PartKey>,
}

/// The numbers of a day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DayNumbers {
    /// The numbers. While not all clients are there, those of some are left out.
    pub totals: Totals,
    /// How many logs have lines of it.
    pub files: u64,
    /// Are all clients in it?
    pub whole: bool,
}

/// What is stored of a log: its clients by day, and its numbers.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The numbers over all its days.
    pub totals: Totals,
    /// The length of its blank lines.
    pub blank_bytes: u64,
    /// The numbers of each day.
    pub days: BTreeMap<Option<Day>, Totals>,
    /// The clients of each day; `None`: they are in the store already.
    pub clients: Option<Vec<(Option<Day>, Arc<Clients>)>>,
}

impl Sums {
    /// Adds a result of a log whose name says `name_day`. Its clients must not be absent.
    pub fn add(&mut self, log: u64, name_day: Option<Day>, result: &ResultView<'_>) {
        let sum = self.logs.entry(log).or_default();
        if sum.parts.is_empty() {
            sum.name_day = name_day;
        }
        sum.blank += result.blank;
        sum.blank_bytes += result.blank_bytes;
        sum.union.sizes = None;
        for view in &result.days {
            sum.parts.entry(view.day).or_insert_with(|| Box::new(Part { clients: Some(Arc::default()), ..Part::default() })).add(view);
            if let Some(union) = &mut sum.union.clients {
                add_clients(union, view);
            }
            if !sum.counts {
                continue;
            }
            let key = view.day.or(sum.name_day);
            let day = self.days.entry(key).or_default();
            day.union.sizes = None;
            day.parts.insert((log, view.day));
            if let Some(union) = &mut day.union.clients {
                add_clients(union, view);
            }
            self.changed_days.insert(key);
        }
    }

    /// Takes over the numbers of a log, its clients being absent.
    pub fn restore(&mut self, log: u64, name_day: Option<Day>, kept: &Kept) {
        let parts = kept.days.iter().map(|(day, totals)| (*day, Box::new(Part { totals: *totals, clients: None }))).collect();
        let union = Union { clients: None, sizes: Some(kept.totals.sizes()) };
        self.logs.insert(log, LogSum { name_day, counts: false, blank: kept.totals.blank, blank_bytes: kept.blank_bytes, parts, union });
    }

    /// Takes a log out again, with all it added.
    pub fn remove(&mut self, log: u64) {
        self.set_counts(log, false);
        self.logs.remove(&log);
    }

    /// What was counted as one log is another one's, and replaces what that one had.
    pub fn take_over(&mut self, from: u64, to: u64, name_day: Option<Day>) {
        let counts = self.logs.get(&to).is_some_and(|sum| sum.counts);
        self.set_counts(from, false);
        self.remove(to);
        if let Some(sum) = self.logs.remove(&from) {
            self.logs.insert(to, LogSum { name_day, ..sum });
            self.set_counts(to, counts);
        }
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
        let clients = self.logs.get(&key.0).and_then(|sum| sum.parts.get(&key.1)).and_then(|part| part.clients.clone());
        let sum = self.days.entry(day).or_default();
        sum.parts.insert(key);
        sum.union.sizes = None;
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
            sum.parts.remove(&key);
            (sum.union, sum.lacks) = (Union::default(), BTreeSet::new());
            if sum.parts.is_empty() {
                self.days.remove(&day);
            }
        }
    }

    /// The numbers of a log.
    pub fn log(&mut self, log: u64) -> Totals {
        self.logs.get_mut(&log).map_or(Totals::default(), LogSum::totals)
    }

    /// The numbers of a log by the day that its lines say.
    pub fn shares(&self, log: u64) -> Vec<(Option<Day>, Totals)> {
        self.logs.get(&log).map_or(Vec::new(), |sum| sum.parts.iter().map(|(day, part)| (*day, part.totals)).collect())
    }

    /// The days a log's requests are reported under.
    pub fn days_of(&self, log: u64) -> Vec<Option<Day>> {
        self.logs.get(&log).map_or(Vec::new(), |sum| sum.parts.keys().map(|day| day.or(sum.name_day)).collect())
    }

    /// The numbers of a day, or `None` if no log has lines of it.
    pub fn day(&mut self, day: Option<Day>) -> Option<DayNumbers> {
        let DaySum { parts, union, lacks } = self.days.get_mut(&day)?;
        let files = parts.iter().map(|(log, _)| *log).collect::<BTreeSet<_>>().len() as u64;
        let found: Vec<(PartKey, &Part)> = parts.iter().filter_map(|key| Some((*key, &**self.logs.get(&key.0)?.parts.get(&key.1)?))).collect();
        let mut totals = found.iter().fold(Totals::default(), |sum, (_, part)| sum.plus(&part.totals));
        if let [(_, part)] = found[..] {
            totals.set_sizes(part.totals.sizes());
            return Some(DayNumbers { totals, files, whole: true });
        }
        let sizes = match union.sizes {
            Some(sizes) => sizes,
            None => {
                let clients = union.clients.get_or_insert_with(|| {
                    lacks.extend(found.iter().filter(|(_, part)| part.clients.is_none()).map(|(key, _)| *key));
                    unite(found.iter().filter_map(|(_, part)| part.clients.as_deref()))
                });
                if lacks.is_empty() {
                    union.sizes = Some(clients.sizes());
                }
                clients.sizes()
            }
        };
        totals.set_sizes(sizes);
        Some(DayNumbers { totals, files, whole: lacks.is_empty() })
    }

    /// The absent parts that unions need.
    pub fn wants(&self) -> Vec<PartKey> {
        self.days.values().flat_map(|day| day.lacks.iter().copied()).collect()
    }

    /// The clients of an absent part that a union needs.
    pub fn fill(&mut self, key: PartKey, clients: &Clients) {
        let Some(day) = self.logs.get(&key.0).map(|sum| key.1.or(sum.name_day)) else { return };
        if let Some(sum) = self.days.get_mut(&day).filter(|sum| sum.lacks.contains(&key))
            && let Some(union) = &mut sum.union.clients
        {
            union.merge(clients);
            sum.lacks.remove(&key);
            self.changed_days.insert(day);
        }
    }

    /// The parts of a day, all absent, of which it is not known how many clients they have together; with how many each has. None if it is known, or there is none.
    pub fn unknown(&self, day: Option<Day>) -> Vec<(PartKey, u64)> {
        let Some(sum) = self.days.get(&day).filter(|sum| sum.parts.len() > 1 && sum.union.sizes.is_none() && sum.union.clients.is_none()) else {
            return Vec::new();
        };
        let part = |key: &PartKey| self.logs.get(&key.0).and_then(|sum| sum.parts.get(&key.1)).filter(|part| part.clients.is_none());
        sum.parts.iter().map(|key| Some((*key, part(key)?.totals.unique_clients()))).collect::<Option<_>>().unwrap_or_default()
    }

    /// How many clients these have together.
    pub fn know(&mut self, day: Option<Day>, sizes: Sizes) {
        if let Some(sum) = self.days.get_mut(&day) {
            sum.union.sizes = Some(sizes);
        }
    }

    /// A day's union leaves the memory if all its parts are in the store.
    pub fn settle(&mut self, day: Option<Day>) {
        let Some(sum) = self.days.get_mut(&day) else { return };
        let absent = |key: &PartKey| self.logs.get(&key.0).and_then(|sum| sum.parts.get(&key.1)).is_none_or(|part| part.clients.is_none());
        // A union that lacks something is about to get it.
        if sum.lacks.is_empty() && sum.parts.iter().all(absent) {
            let clients = sum.union.clients.take();
            sum.union.sizes = sum.union.sizes.or(clients.map(|clients| clients.sizes()));
        }
    }

    /// A day is to be shown again.
    pub fn touch(&mut self, day: Option<Day>) {
        self.changed_days.insert(day);
    }

    /// Are the clients of a log in the store only?
    pub fn is_absent(&self, log: u64) -> bool {
        self.logs.get(&log).is_some_and(|sum| sum.parts.values().any(|part| part.clients.is_none()))
    }

    /// The clients of an absent log are back.
    pub fn load(&mut self, log: u64, days: Vec<(Option<Day>, Clients)>) {
        for (day, clients) in days {
            // The log may have become another content since they were asked for: then they are not its clients.
            let absent = |part: &Box<Part>| part.clients.is_none() && part.totals.sizes() == clients.sizes();
            if !self.logs.get(&log).and_then(|sum| sum.parts.get(&day)).is_some_and(absent) {
                continue;
            }
            self.fill((log, day), &clients);
            // What was counted anew meanwhile is right, and what was stored of it is not.
            if let Some(part) = self.logs.get_mut(&log).and_then(|sum| sum.parts.get_mut(&day)).filter(|part| part.clients.is_none()) {
                part.clients = Some(Arc::new(clients));
            }
        }
    }

    /// The clients of a log are in the store, and leave the memory.
    pub fn evict(&mut self, log: u64) {
        let Some(sum) = self.logs.get_mut(&log) else { return };
        sum.totals();
        sum.union.clients = None;
        sum.parts.values_mut().for_each(|part| part.clients = None);
        self.days_of(log).into_iter().for_each(|day| self.settle(day));
    }

    /// What is to be stored of a log.
    pub fn keep(&mut self, log: u64) -> Kept {
        let Some(sum) = self.logs.get_mut(&log) else {
            return Kept { totals: Totals::default(), blank_bytes: 0, days: BTreeMap::new(), clients: Some(Vec::new()) };
        };
        let totals = sum.totals();
        let days = sum.parts.iter().map(|(day, part)| (*day, part.totals)).collect();
        let clients = sum.parts.iter().map(|(day, part)| Some((*day, Arc::clone(part.clients.as_ref()?)))).collect();
        Kept { totals, blank_bytes: sum.blank_bytes, days, clients }
    }

    /// How much memory the clients of a log take, in bytes.
    pub fn memory_of(&self, log: u64) -> usize {
        self.logs.get(&log).map_or(0, LogSum::memory)
    }

    /// How much memory the clients of a log take when they are there, in bytes; of those that are absent, about.
    pub fn weight_of(&self, log: u64) -> usize {
        const ABSENT_BYTES: u64 = 16;
        let weight = |part: &Box<Part>| part.clients.as_deref().map_or((part.totals.unique_clients() * ABSENT_BYTES) as usize, Clients::memory);
        self.logs.get(&log).map_or(0, |sum| sum.parts.values().map(weight).sum())
    }

    /// How much memory all clients take, in bytes.
    pub fn memory(&self) -> usize {
        self.logs.values().map(LogSum::memory).chain(self.days.values().map(|day| day.union.memory())).sum()
    }

    /// May a log be the beginning of another one, by what was counted of both? Then each of its days has no more of anything than the other's, and no client
    /// that the other lacks. (Of absent clients only the numbers are compared.)
    pub fn fits(&self, inner: u64, outer: u64) -> bool {
        let (Some(inner), Some(outer)) = (self.logs.get(&inner), self.logs.get(&outer)) else { return true };
        inner.blank <= outer.blank
            && inner.parts.iter().all(|(day, part)| {
                let Some(other) = outer.parts.get(day) else { return false };
                let (one, two) = (&part.totals, &other.totals);
                let hours = one.hours.iter().zip(two.hours).all(|(one, two)| *one <= two);
                let sizes = one.ipv4 <= two.ipv4 && one.ipv6 <= two.ipv6 && one.other <= two.other;
                let clients = match (&part.clients, &other.clients) {
                    (Some(clients), Some(others)) => unite([&**clients, &**others].into_iter()).len() == others.len(),
                    _ => true,
                };
                hours && sizes && one.malformed <= two.malformed && one.bytes <= two.bytes && clients
            })
    }

    /// The days that changed since this was last asked.
    pub fn take_changed_days(&mut self) -> BTreeSet<Option<Day>> {
        std::mem::take(&mut self.changed_days)
    }

    /// The numbers over all logs that count; the clients are united, which takes its time. `None` if some are absent.
    pub fn all(&self) -> Option<Totals> {
        let logs: Vec<&LogSum> = self.logs.values().filter(|log| log.counts).collect();
        let parts: Vec<&Part> = logs.iter().flat_map(|log| log.parts.values().map(|part| &**part)).collect();
        let clients: Vec<&Clients> = parts.iter().map(|part| part.clients.as_deref()).collect::<Option<_>>()?;
        let mut totals = parts.iter().fold(Totals::default(), |sum, part| sum.plus(&part.totals));
        totals.set_sizes(unite(clients.into_iter()).sizes());
        let (blank, blank_bytes) = logs.iter().fold((0, 0), |(blank, bytes), log| (blank + log.blank, bytes + log.blank_bytes));
        Some(Totals { blank, bytes: totals.bytes + blank_bytes, ..totals })
    }
}

impl LogSum {
    fn totals(&mut self) -> Totals {
        let mut totals = self.parts.values().fold(Totals::default(), |sum, part| sum.plus(&part.totals));
        let sizes = match (self.parts.values().next(), self.union.sizes) {
            (Some(part), _) if self.parts.len() == 1 => part.totals.sizes(),
            (_, Some(sizes)) => sizes,
            _ => {
                let parts = &self.parts;
                let union = self.union.clients.get_or_insert_with(|| unite(parts.values().filter_map(|part| part.clients.as_deref())));
                *self.union.sizes.insert(union.sizes())
            }
        };
        totals.set_sizes(sizes);
        Totals { blank: self.blank, bytes: totals.bytes + self.blank_bytes, ..totals }
    }

    fn memory(&self) -> usize {
        self.parts.values().filter_map(|part| part.clients.as_deref()).map(Clients::memory).sum::<usize>() + self.union.memory()
    }
}

impl Union {
    fn memory(&self) -> usize {
        self.clients.as_ref().map_or(0, Clients::memory)
    }
}

impl Part {
    fn add(&mut self, view: &DayView<'_>) {
        let clients = Arc::make_mut(self.clients.get_or_insert_default());
        add_clients(clients, view);
        self.totals.bytes += view.bytes;
        self.totals.malformed += view.malformed;
        self.totals.parsed += view.parsed();
        for (hour, more) in self.totals.hours.iter_mut().zip(view.hours) {
            *hour += more;
        }
        self.totals.set_sizes(clients.sizes());
    }
}

fn add_clients(clients: &mut Clients, view: &DayView<'_>) {
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
mod tests {
    use super::*;
    use crate::job::{Job, encode};
    use crate::range::{Counted, Io, LastLine, Range};
    use crate::sample::Sample;
    use crate::tally::{Rules, Tally, tally};

    const LOGS: [&[u8]; 3] = [
        b"1.1.1.1 - - [22/Mar/2021:06:25:24 +0100] x\n1.1.1.1 - - [23/Mar/2021:06:25:24 +0100] x\n\n",
        b"1.1.1.1 - - [22/Mar/2021:06:25:24 +0100] x\n2.2.2.2 - - [22/Mar/2021:07:25:24 +0100] x\nhost junk\n",
        b"host - - [23/Mar/2021:06:25:24 +0100] x\n2.2.2.2 junk\n",
    ];

    fn day(number: u32) -> Option<Day> {
        Day::new(2021, 3, number)
    }

    fn add(sums: &mut Sums, log: u64, name_day: Option<Day>, bytes: &[u8]) {
        let range = Range::new(0, bytes.len() as u64).unwrap();
        let job = Job { number: 0, log, generation: 0, range, io: Io::Read, last: LastLine::Hold, stream: None };
        let head = Sample { at: 0, length: 1, hash: 0 };
        let tail = Sample { at: range.to() - 1, ..head };
        let counted = Counted {
            tally: tally(bytes, Rules::default()),
            end: range.to(),
            held: false,
            unterminated: false,
            head,
            tail,
            blocks: (0, Vec::new()),
            probe: None,
        };
        let result = encode(&job, &counted, None);
        sums.add(log, name_day, &ResultView::check(&result, &job).unwrap());
        sums.set_counts(log, true);
    }

    /// Sums that were never asked before.
    fn fresh(logs: &[(u64, Option<Day>, &[u8])]) -> Sums {
        let mut sums = Sums::default();
        logs.iter().for_each(|(log, name_day, bytes)| add(&mut sums, *log, *name_day, bytes));
        sums
    }

    fn numbers(sums: &mut Sums) -> [Option<(Totals, u64)>; 4] {
        [None, day(22), day(23), day(24)].map(|day| sums.day(day).map(|day| (day.totals, day.files)))
    }

    #[test]
    fn days_unite_the_clients_of_their_logs() {
        let mut sums = fresh(&[(1, None, LOGS[0]), (2, None, LOGS[1]), (3, None, LOGS[2])]);
        let DayNumbers { totals, files, .. } = sums.day(day(22)).unwrap();
        assert_eq!((totals.requests(), totals.unique_clients(), files), (3, 2, 2));
        let DayNumbers { totals, files, .. } = sums.day(None).unwrap();
        assert_eq!((totals.malformed, totals.other, totals.ipv4, files), (2, 1, 1, 2));
        let mut everything = Tally::default();
        LOGS.iter().for_each(|log| everything.merge(&tally(log, Rules::default())));
        assert_eq!(sums.all(), Some(everything.totals()));
        assert_eq!(sums.log(1), tally(LOGS[0], Rules::default()).totals());
    }

    /// Whatever was asked in between, and in whatever order things came, the answers are those of sums that begin with the end.
    #[test]
    fn growing_removing_and_renaming_give_what_counting_afresh_gives() {
        let mut sums = Sums::default();
        add(&mut sums, 1, None, LOGS[0]);
        numbers(&mut sums);
        add(&mut sums, 2, day(22), LOGS[1]);
        numbers(&mut sums);
        add(&mut sums, 1, None, LOGS[2]);
        numbers(&mut sums);
        add(&mut sums, 3, None, LOGS[2]);
        assert_eq!(numbers(&mut sums), numbers(&mut fresh(&[(2, day(22), LOGS[1]), (1, None, LOGS[0]), (1, None, LOGS[2]), (3, None, LOGS[2])])));
        sums.rename(1, day(24));
        sums.rename(2, None);
        assert_eq!(numbers(&mut sums), numbers(&mut fresh(&[(1, day(24), LOGS[0]), (1, day(24), LOGS[2]), (2, None, LOGS[1]), (3, None, LOGS[2])])));
        sums.remove(3);
        sums.remove(1);
        assert_eq!(numbers(&mut sums), numbers(&mut fresh(&[(2, None, LOGS[1])])));
        sums.remove(2);
        assert_eq!(numbers(&mut sums), numbers(&mut Sums::default()));
    }

    fn clients_of(bytes: &[u8]) -> Vec<(Option<Day>, Clients)> {
        tally(bytes, Rules::default()).days.into_iter().map(|(day, tally)| (day, tally.clients)).collect()
    }

    #[test]
    fn a_log_fits_in_another_one_only_if_its_clients_are_there() {
        let mut sums = fresh(&[(1, None, LOGS[0]), (2, None, LOGS[1])]);
        add(&mut sums, 3, None, LOGS[0]);
        add(&mut sums, 3, None, LOGS[2]);
        let fits = |sums: &Sums| [(1, 3), (3, 1), (2, 1), (1, 2), (2, 3)].map(|(inner, outer)| sums.fits(inner, outer));
        assert_eq!(fits(&sums), [true, false, false, false, false]);
        // The numbers alone tell much.
        sums.evict(3);
        assert_eq!(fits(&sums), [true, false, false, false, false]);
    }

    /// Clients may leave the memory and come back at any time: the numbers are the same.
    #[test]
    fn what_is_absent_is_in_the_numbers_all_the_same() {
        let all: [(u64, Option<Day>, &[u8]); 3] = [(1, None, LOGS[0]), (2, day(22), LOGS[1]), (3, None, LOGS[2])];
        let want = numbers(&mut fresh(&all));
        let mut sums = fresh(&all);
        numbers(&mut sums);
        (1..=3).for_each(|log| sums.evict(log));
        assert_eq!((numbers(&mut sums), sums.memory(), sums.wants()), (want, 0, vec![]));
        let kept: Vec<Kept> = (1..=3).map(|log| sums.keep(log)).collect();
        assert!(kept.iter().all(|kept| kept.clients.is_none()));
        // A new life, from what was stored.
        let mut sums = Sums::default();
        for (log, name_day, _) in all {
            sums.restore(log, name_day, &kept[log as usize - 1]);
            sums.set_counts(log, true);
        }
        assert_eq!(sums.log(1), fresh(&all).log(1));
        let DayNumbers { totals, whole, .. } = sums.day(day(22)).unwrap();
        assert_eq!((totals.requests(), totals.unique_clients(), whole), (4, 0, false));
        numbers(&mut sums);
        for (log, part) in sums.wants() {
            let (_, clients) = clients_of(LOGS[log as usize - 1]).into_iter().find(|(day, _)| *day == part).unwrap();
            sums.fill((log, part), &clients);
        }
        assert_eq!((numbers(&mut sums), sums.wants()), (want, vec![]));
        // It grows.
        assert!(sums.is_absent(1));
        sums.load(1, clients_of(LOGS[0]));
        assert!(!sums.is_absent(1));
        add(&mut sums, 1, None, LOGS[2]);
        let more = [all[0], (1, None, LOGS[2]), all[1], all[2]];
        assert_eq!(numbers(&mut sums), numbers(&mut fresh(&more)));
        // It becomes another log's.
        sums.take_over(1, 2, day(24));
        assert_eq!(numbers(&mut sums), numbers(&mut fresh(&[(2, day(24), LOGS[0]), (2, day(24), LOGS[2]), all[2]])));
        sums.set_counts(2, false);
        assert_eq!(numbers(&mut sums), numbers(&mut fresh(&[all[2]])));
    }
}
