//! The logs of which something waits to be given out, in the order in which that is done: tails first, then
//! the newest days.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::Log;
use crate::log::Day;

/// A log's place: `false` if it is a tail, its day, its id.
pub(super) type Turn = (bool, Reverse<Option<Day>>, u64);

/// A log has one place at most, whatever became of its name and of itself since it got that.
#[derive(Debug, Default)]
pub(super) struct Turns {
    order: BTreeSet<Turn>,
    places: HashMap<u64, Turn>,
}

impl Turns {
    /// A log waits, in the place that is its own now.
    pub fn insert(&mut self, id: u64, log: &Log) {
        self.remove(id);
        let turn = (!log.active().caught_up || log.format.is_some(), Reverse(log.day), id);
        self.order.insert(turn);
        self.places.insert(id, turn);
    }

    /// A log does not wait any more. Says whether it did.
    pub fn remove(&mut self, id: u64) -> bool {
        self.places.remove(&id).is_some_and(|turn| self.order.remove(&turn))
    }

    /// Whose turn it is, and whose after that.
    pub fn iter(&self) -> impl Iterator<Item = &Turn> {
        self.order.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::content::Content;
    use super::*;

    /// Seed 10199 of the ledger's model: under its old day it waited on, was given out, could not be opened,
    /// and was given out again, for ever.
    #[test]
    fn a_log_that_has_another_day_waits_in_one_place() {
        let log = |name: &[u8]| {
            Log::counted(Vec::new(), name.to_vec(), (1, 1), None, 10, Duration::ZERO, Content::default())
        };
        let mut turns = Turns::default();
        turns.insert(1, &log(b"20210322.log"));
        turns.insert(2, &log(b"20210323.log"));
        turns.insert(1, &log(b"20210324.log"));
        assert_eq!(turns.iter().map(|turn| turn.2).collect::<Vec<_>>(), [1, 2]);
        assert!(turns.remove(1) && !turns.remove(1));
        assert_eq!(turns.iter().map(|turn| turn.2).collect::<Vec<_>>(), [2]);
    }
}
