//! What an earlier life has left: its logs, and what was in flight when it died.

use std::collections::HashMap;

use super::super::content::Shown;
use super::super::inflight::Suspect;
use super::super::work::Work;
use super::{Ledger, Log};

impl Ledger {
    /// Takes over a log from the store. It is believed to be where it was after a look at it only.
    pub fn restore(&mut self, id: u64, log: Log) {
        if log.is_gone() && log.is_replaceable() {
            self.replaceable.insert(id);
        }
        if log.is_counted() {
            self.alike.insert(id, &log.count.content.blocks);
        }
        self.logs.insert(id, Log { compared: log.is_counted(), ..log });
        self.changed.insert(id);
    }

    /// All logs were taken over from the store. What counted within another log may still have been there, if
    /// the earlier life ended just then.
    pub fn restored(&mut self) {
        self.drop_replaced();
        let pairs = self
            .logs
            .iter()
            .flat_map(|(id, log)| log.absorbed_prefixes.iter().map(move |(inner, to)| (*inner, *to, *id)));
        let pairs: Vec<(u64, u64, u64)> = pairs.collect();
        for (inner, to, outer) in pairs {
            let (Some(one), Some(two)) = (self.logs.get(&inner), self.logs.get(&outer)) else { continue };
            // It may have gone its own way since, and its id may be another log's by now.
            if one.deleted
                || one.count.content.to > to.min(two.count.content.to)
                || one.count.content.begins(&two.count.content) == Shown::Other
            {
                continue;
            }
            self.restore_prefix_of(inner, outer);
        }
        // What could not be read from the store in an earlier life was counted again if it was there: of the
        // same content there may be two logs.
        let mut same: HashMap<_, Vec<u64>> = HashMap::new();
        for (id, log) in
            self.logs.iter().filter(|(_, log)| log.is_counted() && !log.deleted && log.prefix_of.is_none())
        {
            let anchor = log.count.content.anchor.map(|anchor| (anchor.at, anchor.length, anchor.hash));
            same.entry((log.folder.clone(), log.count.content.to, anchor, log.count.content.blocks.clone()))
                .or_default()
                .push(*id);
        }
        for mut ids in same.into_values().filter(|ids| ids.len() > 1) {
            ids.sort_by_key(|id| self.logs.get(id).is_some_and(|log| log.is_gone()));
            let first = ids[0];
            ids.into_iter().skip(1).for_each(|id| self.restore_prefix_of(id, first));
        }
    }

    /// Drops the logs that uploads had replaced when the earlier life ended: their partials may not have been deleted then.
    ///
    /// Once the upload has a successor of its own, nothing in the folder tells any more that it had replaced them.
    fn drop_replaced(&mut self) {
        let is_replaced = |old: &Log| {
            !old.deleted
                && self.logs.values().any(|new| new.is_counted() && !new.deleted && new.replaces(old))
        };
        let with_successors = self.logs.iter().filter(|(_, log)| !log.successors.is_empty());
        let replaced: Vec<u64> =
            with_successors.filter(|(_, old)| is_replaced(old)).map(|(id, _)| *id).collect();
        replaced.into_iter().for_each(|id| self.drop_log(id));
    }

    fn restore_prefix_of(&mut self, inner: u64, outer: u64) {
        self.set_prefix_of(inner, Some(outer));
        if self.logs.get(&inner).is_some_and(|log| log.is_gone()) {
            self.drop_log(inner);
        }
    }

    /// No log gets this id.
    pub fn reserve(&mut self, id: u64) {
        self.reserved.insert(id);
    }

    /// Ranges that were in flight when an earlier coordinator died. If all processes died with it, that
    /// counts against them as a kill; if it died `alone`, it died of something else, for it does not touch
    /// the bytes.
    pub fn suspect(&mut self, ranges: Vec<Suspect>, alone: bool) {
        let kills = |suspect: &Suspect| suspect.kills.saturating_add((suspect.flying && !alone).into());
        self.suspects =
            ranges.into_iter().map(|suspect| Suspect { kills: kills(&suspect), ..suspect }).collect();
    }

    /// What a successor must know: the ranges in flight, and those that wait and are known to be dangerous.
    pub fn suspects(&self) -> impl Iterator<Item = Suspect> {
        let suspect = |log: &Log, work: Work, flying| Suspect {
            file: log.file,
            range: work.range,
            strikes: work.strikes,
            kills: work.kills,
            flying,
        };
        // A compressed log takes long, so whoever kills the daemon hits it often: that says nothing of it.
        let flights = self.flights.values().filter_map(move |flight| {
            Some(suspect(self.logs.get(&flight.log)?, flight.work, !flight.stream))
        });
        let waiting = self
            .struck
            .iter()
            .filter_map(|id| self.logs.get(id))
            .filter_map(|log| Some((log, log.active().plan.as_ref()?)));
        flights.chain(waiting.flat_map(move |(log, plan)| {
            let struck = plan.todo.iter().filter(|work| work.strikes > 0 || work.kills > 0);
            struck.map(move |work| suspect(log, *work, false))
        }))
    }
}
