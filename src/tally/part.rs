//! What was counted, by day.

use std::collections::BTreeMap;

use super::clients::Clients;
use super::counts::Counts;
use super::distinct::Distinct;
use super::totals::Totals;
use crate::log::Day;

/// All that is known of some lines: how many of each kind, and per day what each client did.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Tally {
    /// The blank lines, which have no day.
    pub blank: Counts,
    /// The requests of each day. Those without a time stamp (malformed) are under `None`.
    pub days: BTreeMap<Option<Day>, PartTally>,
}

/// The requests of one day, or those without a time stamp.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct PartTally {
    /// How many there are.
    pub counts: Counts,
    /// The clients, each with the number, bytes and hours of its requests.
    pub clients: Clients,
}

impl Tally {
    /// Adds what another tally counted.
    pub fn merge(&mut self, other: &Tally) {
        self.blank += other.blank;
        for (day, tally) in &other.days {
            self.days.entry(*day).or_default().merge(tally);
        }
    }

    /// The numbers over all days. The clients of several days are united, so this takes time in proportion to
    /// them.
    pub fn totals(&self) -> Totals {
        let counts = self.blank + self.days.values().map(|part| part.counts).sum();
        let mut days: Vec<&Clients> = self.days.values().map(|part| &part.clients).collect();
        days.sort_by_key(|clients| clients.len());
        let clients = match days.pop() {
            Some(only) if days.is_empty() => only.distinct(),
            Some(largest) => {
                let mut union = largest.clone();
                days.into_iter().for_each(|clients| union.merge(clients));
                union.distinct()
            }
            None => Distinct::default(),
        };
        Totals { counts, clients }
    }
}

impl PartTally {
    /// Adds what another tally counted of the same day.
    pub fn merge(&mut self, other: &PartTally) {
        self.counts += other.counts;
        self.clients.merge(&other.clients);
    }

    /// The numbers of this day.
    pub fn totals(&self) -> Totals {
        Totals { counts: self.counts, clients: self.clients.distinct() }
    }
}
