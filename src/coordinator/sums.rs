//! All that has been counted, per log and per day, with the clients.
//!
//! A log's numbers are the sum of its results, each added once. A day's numbers are the sum over its parts (the days of logs), and its clients their union.
//! A union is made when two parts first meet, follows every result from then on, and is made anew when a log is taken out.
//! Deliberately absent: files, jobs, the board.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::job::{DayView, ResultView};
use crate::log::Day;
use crate::tally::{Clients, DayTally, Totals};

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
    blank: u64,
    blank_bytes: u64,
    /// By the day that the lines say. `None`: requests without a time stamp.
    parts: BTreeMap<Option<Day>, DayTally>,
    /// The clients of all parts, once it was asked for and there are several.
    union: Option<Clients>,
}

#[derive(Debug, Default)]
struct DaySum {
    parts: BTreeSet<(u64, Option<Day>)>,
    /// Likewise.
    union: Option<Clients>,
}

impl Sums {
    /// Adds a result of a log whose name says `name_day`.
    pub fn add(&mut self, log: u64, name_day: Option<Day>, result: &ResultView<'_>) {
        let sum = self.logs.entry(log).or_insert_with(|| LogSum { name_day, ..LogSum::default() });
        sum.blank += result.blank;
        sum.blank_bytes += result.blank_bytes;
        for view in &result.days {
            add_view(sum.parts.entry(view.day).or_default(), view);
            if let Some(union) = &mut sum.union {
                add_clients(union, view);
            }
            let key = view.day.or(sum.name_day);
            let day = self.days.entry(key).or_default();
            day.parts.insert((log, view.day));
            if let Some(union) = &mut day.union {
                add_clients(union, view);
            }
            self.changed_days.insert(key);
        }
    }

    /// Takes a log out again, with all it added.
    pub fn remove(&mut self, log: u64) {
        let Some(sum) = self.logs.remove(&log) else { return };
        for part in sum.parts.keys() {
            self.take_part(log, *part, part.or(sum.name_day));
        }
    }

    /// A log has another name: its requests without a time stamp belong to another day.
    pub fn rename(&mut self, log: u64, name_day: Option<Day>) {
        let Some(sum) = self.logs.get_mut(&log) else { return };
        let before = std::mem::replace(&mut sum.name_day, name_day);
        if before != name_day && sum.parts.contains_key(&None) {
            self.take_part(log, None, before);
            let day = self.days.entry(name_day).or_default();
            day.parts.insert((log, None));
            day.union = None;
            self.changed_days.insert(name_day);
        }
    }

    fn take_part(&mut self, log: u64, part: Option<Day>, key: Option<Day>) {
        self.changed_days.insert(key);
        if let Some(day) = self.days.get_mut(&key) {
            day.parts.remove(&(log, part));
            day.union = None;
            if day.parts.is_empty() {
                self.days.remove(&key);
            }
        }
    }

    /// The numbers of a log.
    pub fn log(&mut self, log: u64) -> Totals {
        let Some(sum) = self.logs.get_mut(&log) else { return Totals::default() };
        let totals = sum_up(&sum.parts.values().collect::<Vec<_>>(), &mut sum.union);
        Totals { blank: sum.blank, bytes: totals.bytes + sum.blank_bytes, ..totals }
    }

    /// The numbers of a log by the day that its lines say.
    pub fn shares(&self, log: u64) -> Vec<(Option<Day>, Totals)> {
        self.logs.get(&log).map_or(Vec::new(), |sum| sum.parts.iter().map(|(day, part)| (*day, part.totals())).collect())
    }

    /// The days a log's requests are reported under.
    pub fn days_of(&self, log: u64) -> Vec<Option<Day>> {
        self.logs.get(&log).map_or(Vec::new(), |sum| sum.parts.keys().map(|day| day.or(sum.name_day)).collect())
    }

    /// The numbers of a day and how many logs have lines of it, or `None` if none has.
    pub fn day(&mut self, day: Option<Day>) -> Option<(Totals, u64)> {
        let DaySum { parts, union } = self.days.get_mut(&day)?;
        let tallies: Vec<&DayTally> = parts.iter().filter_map(|(log, part)| self.logs.get(log)?.parts.get(part)).collect();
        let logs: BTreeSet<u64> = parts.iter().map(|(log, _)| *log).collect();
        Some((sum_up(&tallies, union), logs.len() as u64))
    }

    /// The days that changed since this was last asked.
    pub fn take_changed_days(&mut self) -> BTreeSet<Option<Day>> {
        std::mem::take(&mut self.changed_days)
    }

    /// The numbers over all logs; the clients are united, which takes its time.
    pub fn all(&self) -> Totals {
        let parts: Vec<&DayTally> = self.logs.values().flat_map(|log| log.parts.values()).collect();
        let totals = sum_up(&parts, &mut None);
        let blank = self.logs.values().map(|log| log.blank).sum();
        Totals { blank, bytes: totals.bytes + self.logs.values().map(|log| log.blank_bytes).sum::<u64>(), ..totals }
    }
}

fn add_view(part: &mut DayTally, view: &DayView<'_>) {
    part.bytes += view.bytes;
    part.malformed += view.malformed;
    for (hour, more) in part.hours.iter_mut().zip(view.hours) {
        *hour += more;
    }
    add_clients(&mut part.clients, view);
}

fn add_clients(clients: &mut Clients, view: &DayView<'_>) {
    clients.reserve(view.v4_clients(), view.rest_clients());
    view.clients().for_each(|(client, usage)| clients.add(client, usage));
}

/// The sum of some parts. The union of their clients is made if there is need for it and it is not there.
fn sum_up(parts: &[&DayTally], union: &mut Option<Clients>) -> Totals {
    let mut totals = parts.iter().fold(Totals::default(), |sum, part| sum.plus(&part.totals()));
    if let [part] = parts {
        totals.set_clients(&part.clients);
    } else {
        let united = union.get_or_insert_with(|| {
            let mut largest_first = parts.to_vec();
            largest_first.sort_by_key(|part| std::cmp::Reverse(part.clients.len()));
            let mut parts = largest_first.into_iter();
            let mut union = parts.next().map_or_else(Clients::default, |part| part.clients.clone());
            parts.for_each(|part| union.merge(&part.clients));
            union
        });
        totals.set_clients(united);
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Job, encode};
    use crate::range::{Counted, Io, LastLine, Range, Sample};
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
        let job = Job { number: 0, log, generation: 0, range, io: Io::Read, last: LastLine::Hold };
        let head = Sample { at: 0, length: 1, hash: 0 };
        let tail = Sample { at: range.to() - 1, ..head };
        let counted = Counted { tally: tally(bytes, Rules::default()), end: range.to(), held: false, unterminated: false, head, tail };
        let result = encode(&job, &counted);
        sums.add(log, name_day, &ResultView::check(&result, &job).unwrap());
    }

    /// Sums that were never asked before.
    fn fresh(logs: &[(u64, Option<Day>, &[u8])]) -> Sums {
        let mut sums = Sums::default();
        logs.iter().for_each(|(log, name_day, bytes)| add(&mut sums, *log, *name_day, bytes));
        sums
    }

    fn numbers(sums: &mut Sums) -> [Option<(Totals, u64)>; 4] {
        [None, day(22), day(23), day(24)].map(|day| sums.day(day))
    }

    #[test]
    fn days_unite_the_clients_of_their_logs() {
        let mut sums = fresh(&[(1, None, LOGS[0]), (2, None, LOGS[1]), (3, None, LOGS[2])]);
        let (totals, files) = sums.day(day(22)).unwrap();
        assert_eq!((totals.requests(), totals.unique_clients(), files), (3, 2, 2));
        let (totals, files) = sums.day(None).unwrap();
        assert_eq!((totals.malformed, totals.other, totals.ipv4, files), (2, 1, 1, 2));
        let mut everything = Tally::default();
        LOGS.iter().for_each(|log| everything.merge(&tally(log, Rules::default())));
        assert_eq!(sums.all(), everything.totals());
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
}
