//! Clients that are removed: of a day of a log, its numbers stay, and what was noted of its union before.

use std::collections::BTreeSet;

use super::{DayNumbers, LogSum, Part, PartKey, Sums, Union};
use crate::log::Day;
use crate::store::removal::{DayUnion, Removal};

impl Sums {
    /// May a log have more clients than its numbers say, because some were removed?
    pub fn is_at_least(&self, log: u64) -> bool {
        self.logs.get(&log).is_some_and(|sum| sum.at_least)
    }

    /// The days among those wanted that have clients which are not removed, with all their parts.
    pub fn days_with_clients(
        &self,
        wanted: impl Fn(Option<Day>) -> bool,
    ) -> impl Iterator<Item = (Option<Day>, &BTreeSet<PartKey>)> {
        let days = self.days.iter().filter(move |(day, _)| wanted(**day));
        days.filter(|(_, sum)| sum.parts.iter().any(|key| !self.is_removed(*key)))
            .map(|(day, sum)| (*day, &sum.parts))
    }

    /// Has a day clients that are not removed?
    pub fn has_clients(&self, day: Option<Day>) -> bool {
        self.days.get(&day).is_some_and(|sum| sum.parts.iter().any(|key| !self.is_removed(*key)))
    }

    /// Are the clients of a day of a log removed?
    pub fn is_removed(&self, (log, day): PartKey) -> bool {
        self.part((log, day)).is_some_and(Part::is_removed)
    }

    /// Notes in all parts of a day how many clients they have together, so that it is known when these are
    /// removed. Says whether it is known now.
    pub fn note_union(&mut self, day: Option<Day>, id: u64) -> bool {
        let Some(DayNumbers { totals, whole: true, .. }) = self.day(day) else { return false };
        let parts = self.days.get(&day).map_or(BTreeSet::new(), |sum| sum.parts.clone());
        let union = Some(DayUnion { id, parts: parts.len() as u64, distinct: totals.clients });
        for (log, part) in parts {
            if let Some(part) = self.logs.get_mut(&log).and_then(|sum| sum.parts.get_mut(&part)) {
                part.removal = Some(Removal { union, ..Removal::default() });
            }
        }
        true
    }

    /// Is it noted in all parts of a day how many clients they have together?
    pub fn is_noted(&self, day: Option<Day>) -> bool {
        let Some(sum) = self.days.get(&day) else { return false };
        let mut unions = sum.parts.iter().map(|key| self.part(*key)?.removal?.union);
        let first = unions.next().flatten().filter(|union| union.parts == sum.parts.len() as u64);
        first.is_some() && unions.all(|union| union == first)
    }

    /// Removes the clients of a day of a log. Its numbers stay.
    pub fn remove_clients(&mut self, (log, part): PartKey) {
        let Some(sum) = self.logs.get_mut(&log) else { return };
        sum.floor = sum.totals().clients;
        sum.union.clients = None;
        let day = part.or(sum.name_day);
        if let Some(part) = sum.parts.get_mut(&part) {
            part.clients = None;
            part.removal = Some(Removal { done: true, ..part.removal.unwrap_or_default() });
        }
        if let Some(sum) = self.days.get_mut(&day) {
            (sum.union, sum.lacks) = (Union::default(), BTreeSet::new());
            self.changed_days.insert(day);
        }
    }
}

impl LogSum {
    /// It is the content that another sum was of, counted again: clients that were removed there are removed
    /// here.
    pub(super) fn remove_as(&mut self, before: &LogSum) {
        let distinct = self.totals().clients;
        for (day, part) in &mut self.parts {
            if let Some(before) = before
                .parts
                .get(day)
                .filter(|before| before.removal.is_some() && before.totals == part.totals)
            {
                part.removal = before.removal;
            }
            if part.is_removed() {
                (part.clients, self.floor, self.union.clients) = (None, distinct, None);
            }
        }
    }
}
