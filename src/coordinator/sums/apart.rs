//! The unions of days, where there is not room for all: which days are apart, what their unions lack, which
//! of these leave the memory.

use std::sync::Arc;

use super::{Moment, PartKey, Sums, unite};
use crate::log::Day;
use crate::tally::{Clients, Distinct};

/// So many clients may still be united. Without limit if nobody sets one.
#[derive(Debug)]
pub(super) struct Room(u64);

impl Default for Room {
    fn default() -> Room {
        Room(u64::MAX)
    }
}

impl Room {
    /// Takes room for so many clients, if there is.
    pub(super) fn take(&mut self, clients: u64) -> bool {
        let left = self.0.checked_sub(clients);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

/// What is stored are not the clients that the numbers speak of: somebody else wrote it.
#[derive(Debug, thiserror::Error)]
#[error("the clients do not match the numbers")]
pub struct ChangedPartsError;

/// A part of a day that is apart: how many clients it has, and these unless they are absent.
pub type PartOfApart = (PartKey, Distinct, Option<Arc<Clients>>);

/// A day that is apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apart {
    /// The day.
    pub day: Option<Day>,
    /// When it last changed.
    pub changed: Moment,
    /// How many clients it has, each counted in each log.
    pub clients: u64,
}

impl Sums {
    /// The days that are apart.
    pub fn apart(&mut self) -> Vec<Apart> {
        let (days, logs) = (&self.days, &self.logs);
        let look = |day: &Option<Day>| {
            let sum = days.get(day).filter(|sum| {
                sum.parts.len() > 1 && sum.union.distinct.is_none() && sum.union.clients.is_none()
            })?;
            let parts = sum.parts.iter().filter_map(|(log, part)| logs.get(log)?.parts.get(part));
            if parts.clone().any(|part| part.is_removed()) {
                return None;
            }
            Some(Apart {
                day: *day,
                changed: sum.changed,
                clients: parts.map(|part| part.totals.clients.all()).sum(),
            })
        };
        let apart: Vec<Apart> = self.apart.iter().filter_map(look).collect();
        self.apart = apart.iter().map(|apart| apart.day).collect();
        apart
    }

    /// From now on, no more than so many clients are united without being asked for.
    pub fn set_room(&mut self, clients: u64) {
        self.room = Room(clients);
    }

    /// Makes the union of a day that is apart, if there is room for so many clients.
    pub fn unite_in_room(&mut self, day: Option<Day>, clients: u64) -> bool {
        let fits = self.room.take(clients);
        if fits {
            self.unite(day);
        }
        fits
    }

    /// Makes the union of a day that is apart, from what is there; it lacks the absent parts until they are
    /// [filled in](Sums::fill).
    pub fn unite(&mut self, day: Option<Day>) {
        let Some(sum) = self.days.get_mut(&day) else { return };
        let parts =
            || sum.parts.iter().filter_map(|key| Some((*key, self.logs.get(&key.0)?.parts.get(&key.1)?)));
        sum.lacks = parts().filter(|(_, part)| part.clients.is_none()).map(|(key, _)| key).collect();
        sum.union.clients = Some(unite(parts().filter_map(|(_, part)| part.clients.as_deref())));
        // If it lacks nothing, that is all there is to it, and it can be told.
        self.changed_days.insert(day);
    }

    /// The union of a day stays in memory, beside every budget, until it is [let go](Sums::unpin).
    pub fn pin(&mut self, day: Option<Day>) {
        self.pinned.insert(day);
    }

    /// The union of a day is like others again.
    pub fn unpin(&mut self, day: Option<Day>) {
        self.pinned.remove(&day);
    }

    /// When a day last changed.
    pub fn changed(&self, day: Option<Day>) -> Moment {
        self.days.get(&day).map_or(0, |sum| sum.changed)
    }

    /// The days that have unions in memory and are not pinned, those first that did not change for longest.
    pub fn united(&self) -> Vec<Option<Day>> {
        let mut days: Vec<(Moment, Option<Day>)> = self
            .unpinned()
            .filter(|(_, sum)| sum.union.clients.is_some())
            .map(|(day, sum)| (sum.changed, *day))
            .collect();
        days.sort_unstable();
        days.into_iter().map(|(_, day)| day).collect()
    }

    /// The union of a day leaves the memory, unless it is about to get what it lacks. Says how many bytes
    /// that makes free.
    pub fn shed(&mut self, day: Option<Day>) -> usize {
        let pinned = self.pinned.contains(&day);
        let Some(sum) = self.days.get_mut(&day).filter(|sum| sum.lacks.is_empty() && !pinned) else {
            return 0;
        };
        let clients = sum.union.clients.take();
        sum.union.least = clients.as_ref().map_or(sum.union.least, Clients::distinct);
        clients.map_or(0, |clients| clients.memory())
    }

    /// The absent parts that unions need.
    pub fn wants(&self) -> impl Iterator<Item = PartKey> {
        self.days.values().flat_map(|day| day.lacks.iter().copied())
    }

    /// How many unions lack something.
    pub fn lacking_days(&self) -> usize {
        self.days.values().filter(|day| !day.lacks.is_empty()).count()
    }

    /// How many clients are in parts that unions lack.
    pub fn lacking(&self) -> u64 {
        let part = |(log, day): PartKey| Some(self.logs.get(&log)?.parts.get(&day)?.totals.clients.all());
        self.wants().filter_map(part).sum()
    }

    /// The clients of an absent part, which a union may need.
    ///
    /// # Errors
    /// If they are not that part's.
    pub fn fill(&mut self, key: PartKey, clients: &Clients) -> Result<(), ChangedPartsError> {
        let Some(day) = self.logs.get(&key.0).map(|sum| key.1.or(sum.name_day)) else { return Ok(()) };
        let Some(part) = self.part(key).filter(|part| part.is_absent()) else { return Ok(()) };
        let requests = clients.iter().fold(0u64, |sum, (_, usage)| sum.saturating_add(usage.requests));
        if (part.totals.clients, part.totals.counts.requests()) != (clients.distinct(), requests) {
            return Err(ChangedPartsError);
        }
        if let Some(sum) = self.days.get_mut(&day).filter(|sum| sum.lacks.contains(&key))
            && let Some(union) = &mut sum.union.clients
        {
            union.merge(clients);
            sum.lacks.remove(&key);
            self.changed_days.insert(day);
        }
        Ok(())
    }

    /// The parts of a day that is apart, with how many clients each has, and these unless they are absent.
    pub fn parts_of_apart(&self, day: Option<Day>) -> Option<Vec<PartOfApart>> {
        let sum = self.days.get(&day).filter(|sum| {
            sum.parts.len() > 1 && sum.union.distinct.is_none() && sum.union.clients.is_none()
        })?;
        let part = |key: &PartKey| {
            self.logs.get(&key.0).and_then(|sum| sum.parts.get(&key.1)).filter(|part| !part.is_removed())
        };
        sum.parts
            .iter()
            .map(|key| part(key).map(|part| (*key, part.totals.clients, part.clients.clone())))
            .collect()
    }

    /// How many clients a day had when it changed last, if it was then.
    pub fn know(&mut self, day: Option<Day>, changed: Moment, distinct: Distinct) {
        if let Some(sum) = self.days.get_mut(&day).filter(|sum| sum.changed == changed) {
            sum.union.distinct = Some(distinct);
            self.changed_days.insert(day);
        }
    }

    /// A day's union leaves the memory if all its parts are in the store.
    pub fn settle(&mut self, day: Option<Day>) {
        if self.pinned.contains(&day) {
            return;
        }
        let Some(sum) = self.days.get_mut(&day) else { return };
        let absent = |key: &PartKey| {
            self.logs
                .get(&key.0)
                .and_then(|sum| sum.parts.get(&key.1))
                .is_none_or(|part| part.clients.is_none())
        };
        // A union that lacks something is about to get it.
        if sum.lacks.is_empty() && sum.parts.iter().all(absent) {
            let clients = sum.union.clients.take();
            sum.union.distinct = sum.union.distinct.or(clients.map(|clients| clients.distinct()));
        }
    }
}
