//! Which logs are the same content: under another name, in another file, compressed, as a copy that is whole
//! or not.
//!
//! A log whose whole content is the beginning of another log counts within that one. If the file of a log
//! goes and another file has its content, that is where the log is from then on. So the lines of a content
//! count once, whatever happens to its files.

use std::io;
use std::time::Duration;

use super::super::content::{Probe, Shown};
use super::{Count, Event, Ledger, Log, Presence};
use crate::sample::Sample;

/// So many logs that begin alike are looked at: more are no logs that differ, but lines of a few bytes.
const ALIKE_MAX: usize = 1_000;
/// So many of them are opened for it.
const LOOKS_MAX: usize = 100;

/// Does a log hold this at its place? `None`: that cannot be seen, for its file is gone, or holds something
/// else by now.
fn holds(log: &Log, sample: &Sample, probe: &mut impl Probe) -> Option<bool> {
    let (place, own) = (log.plain_place()?, log.count.content.anchor?);
    let mut is_there = |sample: &Sample| {
        probe.sample(&place, sample.at, sample.length).ok().map(|there| there == Some(*sample))
    };
    if is_there(&own)? { is_there(sample) } else { None }
}

/// Does a log's file have another name by now, perhaps? Then what cannot be seen of it now may be seen after
/// the next look at the folders.
fn may_be_seen(log: &Log) -> bool {
    !log.is_gone() && log.format.is_none() && log.count.content.anchor.is_some()
}

impl Ledger {
    /// Tells the logs of which nothing is counted yet from those that are known.
    pub(super) fn identify_all(&mut self, now: Duration, probe: &mut impl Probe) {
        let untold = |log: &Log| {
            !log.is_gone()
                && !log.is_counted()
                && !log.deleted
                && log.size > 0
                && (log.identified_at != Some(log.size) || log.format.is_some())
        };
        let ids: Vec<u64> = self.logs.iter().filter(|(_, log)| untold(log)).map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        for id in ids {
            match self.logs.get(&id).map(|log| log.format.is_some()) {
                Some(true) => self.recognise_compressed(id, now, probe),
                Some(false) => self.identify(id, now, probe),
                None => {}
            }
        }
    }

    /// May two logs be the same content? Only in one watched folder: what two hosts have alike is of two
    /// logs. A file that was moved takes its log along, and what was found in a folder that is not watched
    /// any more may be anywhere.
    fn may_be_duplicates(&self, one: &Log, other: &Log) -> bool {
        let moved =
            other.is_missing() && (other.file == one.file || !self.policy.folders.contains(&other.folder));
        one.folder == other.folder || moved
    }

    /// A compressed file of which nothing is counted may be a log that is known, moved: then it needs not be
    /// decoded.
    fn recognise_compressed(&mut self, id: u64, now: Duration, probe: &mut impl Probe) {
        let Some(log) = self.logs.get(&id) else { return };
        let place = log.place();
        let mut same =
            |raw: &Sample| probe.sample(&place, raw.at, raw.length).is_ok_and(|now| now == Some(*raw));
        let known = self.logs.iter().find(|(_, other)| {
            other.is_missing()
                && other.is_counted()
                && other.format == log.format
                && other.size == log.size
                && self.may_be_duplicates(log, other)
                && !other.raw.is_empty()
                && other.raw.iter().all(&mut same)
        });
        if let Some((known, _)) = known {
            self.inherit(*known, id, now);
        }
    }

    /// A plain file of which nothing is counted: is it a log that is known, or a copy of one?
    fn identify(&mut self, id: u64, now: Duration, probe: &mut impl Probe) {
        let Some(log) = self.logs.get(&id) else { return };
        let (place, size) = (log.place(), log.size);
        let start = probe.start(&place, size);
        let (known, kin, unknown) = match &start {
            Ok(start) => {
                // What is the beginning of another one is told by that one.
                let counts = |other: &u64| {
                    self.logs.get(other).is_some_and(|log| log.is_missing() || log.prefix_of.is_none())
                };
                let candidates = self.alike.of(start).filter(counts).take(ALIKE_MAX);
                let (mut known, mut kin, mut unknown) = (None, None, false);
                for other_id in candidates {
                    let Some(other) = self.logs.get(&other_id).filter(|other| {
                        other.count.content.may_start(start) && self.may_be_duplicates(log, other)
                    }) else {
                        continue;
                    };
                    let is_there = !other.is_missing();
                    let begins = match other.count.content.to <= size {
                        true => other.count.content.begins_file(&place, size, true, probe),
                        false => other.count.content.begins_with_file(
                            &place,
                            size,
                            other.plain_place().as_ref(),
                            probe,
                        ),
                    };
                    unknown |= begins.is_err();
                    if !begins.unwrap_or(false) {
                        continue;
                    }
                    let slot =
                        if !is_there && other.count.content.to <= size { &mut known } else { &mut kin };
                    let rank = (other.count.content.to, other.name == log.name, other.prefix_of.is_none());
                    if slot.is_none_or(|(_, before)| before < rank) {
                        *slot = Some((other_id, rank));
                    }
                }
                (known, kin, unknown)
            }
            // It has another name by now, which the next look will show.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.missing = true;
                return;
            }
            // It cannot be looked at: then it is what was there, if anything was.
            Err(_) => {
                let same = self.logs.iter().find(|(_, other)| {
                    other.is_missing()
                        && other.is_counted()
                        && other.file == log.file
                        && other.count.content.to <= size
                        && other.folder == log.folder
                });
                (same.map(|(id, other)| (*id, (other.count.content.to, true, true))), None, true)
            }
        };
        if let Some((known, _)) = known {
            return self.inherit(known, id, now);
        }
        let root = kin
            .and_then(|(kin, _)| self.logs.get(&kin).map(|log| log.prefix_of.unwrap_or(kin)))
            .filter(|root| *root != id);
        if let Err(error) = &start {
            self.note_unreadable(id, error.raw_os_error().unwrap_or(libc::EIO));
        } else if !unknown && let Some(log) = self.logs.get_mut(&id) {
            (log.identified_at, log.unreadable) = (Some(size), None);
        }
        self.set_prefix_of(id, root);
    }

    /// A compressed log was counted: is it a log that is known? Says whether its numbers stand; else it is
    /// decoded again, to look where they part.
    pub fn identify_stream(&mut self, id: u64, now: Duration, probe: &mut impl Probe) -> bool {
        let Some(log) = self
            .logs
            .get(&id)
            .filter(|log| log.format.is_some() && log.identified_at.is_none() && log.is_counted())
        else {
            return true;
        };
        let (mut held, mut parted, mut longer, mut wanted) = (Vec::new(), Vec::new(), Vec::new(), None);
        for other_id in self.alike.of(&log.count.content.blocks).filter(|other| *other != id) {
            let Some(other) = self
                .logs
                .get(&other_id)
                .filter(|other| other.is_counted() && self.may_be_duplicates(log, other))
            else {
                continue;
            };
            if other.count.content.to <= log.count.content.to {
                let shown = match (other.count.content.begins(&log.count.content), other.count.content.anchor)
                {
                    (Shown::Likely, Some(anchor)) => match log
                        .probed
                        .iter()
                        .find(|(sample, _)| (sample.at, sample.length) == (anchor.at, anchor.length))
                    {
                        Some((sample, _)) => *sample == anchor,
                        None => {
                            wanted = wanted.or(Some(anchor));
                            continue;
                        }
                    },
                    (Shown::Likely, None) => other.count.content.shares_blocks(&log.count.content),
                    (shown, _) => shown == Shown::Same,
                };
                if shown { held.push(other_id) } else { parted.push(other_id) }
            } else {
                longer.push(other_id);
            }
        }
        if let Some(wanted) = wanted {
            let probed = [log.probed.clone(), vec![(wanted, false)]].concat();
            self.void(id);
            if let Some(log) = self.logs.get_mut(&id) {
                log.probed = probed;
            }
            self.consider(id, now);
            return false;
        }
        let (mut outer, mut looks) = (None, LOOKS_MAX);
        for other_id in longer {
            if self.is_beginning(id, other_id, &mut looks, probe) {
                outer = self.logs.get(&other_id).map(|other| other.prefix_of.unwrap_or(other_id));
            }
        }
        let Some(log) = self.logs.get_mut(&id) else { return true };
        let to = log.count.content.to;
        log.identified_at = Some(log.size);
        self.changed.insert(id);
        // What is known to be the same says better than samples and clients whether it is the beginning of
        // something.
        let is_known = held.iter().any(|other| {
            self.logs
                .get(other)
                .is_some_and(|other| other.count.content.to == to && other.prefix_of.is_none())
        });
        if outer.is_some() && !is_known {
            self.set_prefix_of(id, outer);
            return true;
        }
        let (gone, there): (Vec<u64>, Vec<u64>) =
            held.into_iter().partition(|other| self.logs.get(other).is_some_and(|log| log.is_missing()));
        let longest = |ledger: &Ledger, ids: &[u64]| {
            ids.iter().copied().max_by_key(|other| {
                ledger.logs.get(other).map(|log| (log.count.content.to, log.prefix_of.is_none()))
            })
        };
        // The copy that is there counts on; else this file is where the log is now.
        let mut id = id;
        if let Some(same) = longest(self, &there)
            .filter(|same| self.logs.get(same).is_some_and(|log| log.count.content.to == to))
        {
            let root = self.logs.get(&same).and_then(|log| log.prefix_of).unwrap_or(same);
            self.set_prefix_of(id, Some(root));
        } else {
            if let Some(known) = longest(self, &gone) {
                self.take_over(known, id);
                id = known;
            }
            there.into_iter().for_each(|other| self.set_prefix_of(other, Some(id)));
            // What was taken for its beginning while it could not be looked into is not.
            for other in parted {
                if self.logs.get(&other).is_some_and(|log| log.prefix_of == Some(id)) {
                    self.set_prefix_of(other, None);
                    self.orphans.insert(other);
                }
            }
        }
        for other in gone.into_iter().filter(|other| *other != id) {
            self.set_prefix_of(other, Some(id));
            self.drop_log(other);
        }
        self.replace(id);
        true
    }

    /// Something of a log is counted for the first time. Copies that were found at the same look, of which
    /// none was counted then, are told here.
    fn compare_new(&mut self, id: u64, probe: &mut impl Probe) {
        let Some(log) = self
            .logs
            .get_mut(&id)
            .filter(|log| !log.compared && log.is_counted() && log.identified_at.is_some())
        else {
            return;
        };
        log.compared = true;
        // A compressed one was compared with all that there are.
        if log.format.is_none() {
            self.compare(id, true, probe);
        }
    }

    /// Logs that counted within one that is no more: do they count within another one?
    pub(super) fn place_orphans(&mut self, probe: &mut impl Probe) {
        while let Some(id) = self.orphans.pop_first() {
            self.compare(id, false, probe);
        }
    }

    /// Looks for the logs that have the same beginning as one that counts by itself. `first`: for the first
    /// time since something of it was counted.
    fn compare(&mut self, id: u64, first: bool, probe: &mut impl Probe) {
        let Some(log) = self.logs.get(&id) else { return };
        let counts = |other: &u64| {
            *other != id && self.logs.get(other).is_some_and(|other| other.counts() && other.is_counted())
        };
        let others: Vec<u64> =
            self.alike.of(&log.count.content.blocks).filter(counts).take(ALIKE_MAX).collect();
        let mut looks = LOOKS_MAX;
        for other_id in others {
            let (Some(log), Some(other)) = (self.logs.get(&id), self.logs.get(&other_id)) else { continue };
            // What is the beginning of another one is told by that one.
            if !log.counts() || !log.is_counted() {
                return;
            }
            if other.folder != log.folder || !other.counts() {
                continue;
            }
            let (inner, outer) =
                if log.count.content.to > other.count.content.to { (other_id, id) } else { (id, other_id) };
            // What this one is told from by samples only was compared with it when that could be done
            // exactly.
            if outer == id
                && !first
                && log.count.content.to != other.count.content.to
                && log.plain_place().is_none()
            {
                continue;
            }
            if self.is_beginning(inner, outer, &mut looks, probe) {
                self.set_prefix_of(inner, Some(outer));
                if self.logs.get(&inner).is_some_and(|log| log.is_gone()) {
                    self.drop_log(inner);
                }
            }
        }
    }

    /// Is what was counted of a log the beginning of what was counted of another one?
    fn is_beginning(
        &mut self,
        short_id: u64,
        long_id: u64,
        looks: &mut usize,
        probe: &mut impl Probe,
    ) -> bool {
        let (Some(short), Some(long)) = (self.logs.get(&short_id), self.logs.get(&long_id)) else {
            return false;
        };
        match (short.count.content.begins(&long.count.content), short.count.content.anchor) {
            (Shown::Likely, Some(anchor)) => {
                *looks = looks.saturating_sub(usize::from(long.plain_place().is_some()));
                if *looks == 0 {
                    return false;
                }
                // What other rules counted has other clients.
                let (held, by_clients) =
                    (holds(long, &anchor, probe), short.count.by_other_rules == long.count.by_other_rules);
                // While one is being counted again, half a line may be in its numbers.
                let (is_known, may_be_seen) =
                    (short.recount.is_none() && long.recount.is_none(), may_be_seen(long));
                let guess = || {
                    short.count.content.shares_blocks(&long.count.content)
                        && probe.fits(short_id, long_id, by_clients)
                };
                if held.is_none() && (may_be_seen || !is_known) {
                    // What is gone would be dropped, and then nothing could be made sure any more.
                    let is_beginning = !short.is_gone() && is_known && guess();
                    self.doubt(short_id);
                    return is_beginning;
                }
                held.unwrap_or_else(guess)
            }
            (shown, _) => shown == Shown::Same,
        }
    }

    /// A log was taken for the beginning of another one, or not, and that could not be seen.
    fn doubt(&mut self, id: u64) {
        if let Some(log) = self.logs.get_mut(&id) {
            log.guessed = true;
            self.changed.insert(id);
        }
    }

    /// Logs that were told while a file was not where it was known to be: are they what they were taken for?
    pub(super) fn recheck_guesses(&mut self, probe: &mut impl Probe) {
        let guessed: Vec<u64> = self.logs.iter().filter(|(_, log)| log.guessed).map(|(id, _)| *id).collect();
        for id in guessed {
            if let Some(log) = self.logs.get_mut(&id) {
                log.guessed = false;
                self.changed.insert(id);
            }
            match self.logs.get(&id).map(|log| log.prefix_of.is_some()) {
                Some(true) => self.reevaluate(id, probe),
                Some(false) => self.compare(id, false, probe),
                None => {}
            }
        }
    }

    /// A log was counted further: does it still count within another one, or others within it?
    pub fn reevaluate(&mut self, id: u64, probe: &mut impl Probe) {
        self.compare_new(id, probe);
        self.replace(id);
        self.place_orphans(probe);
        let own = self.logs.get(&id).and_then(|log| log.prefix_of).map(|outer| (id, outer));
        let pairs: Vec<(u64, u64)> =
            own.into_iter().chain(self.inner_of(id).into_iter().map(|inner| (inner, id))).collect();
        for (inner, outer) in pairs {
            let (Some(one), Some(two)) = (self.logs.get(&inner), self.logs.get(&outer)) else { continue };
            if one.prefix_of != Some(outer) || !one.is_counted() {
                continue;
            }
            // A copy that has become whole is where the log is, if that has no file any more.
            let is_gone = two.is_gone();
            let outgrown = one.count.content.to > two.count.content.to
                || (is_gone && one.count.content.to == two.count.content.to);
            let (short, long) = if outgrown { (two, one) } else { (one, two) };
            let (short_id, long_id) = if outgrown { (outer, inner) } else { (inner, outer) };
            let same = match (short.count.content.begins(&long.count.content), short.count.content.anchor) {
                (Shown::Likely, Some(anchor)) => {
                    // What other rules counted has other clients.
                    let (held, by_clients) = (
                        holds(long, &anchor, probe),
                        short.count.by_other_rules == long.count.by_other_rules,
                    );
                    // Until both are counted it stays as it is; and what is gone would be dropped, and then
                    // nothing could be made sure any more.
                    let stays = short.recount.is_some()
                        || long.recount.is_some()
                        || (may_be_seen(long) && outgrown && is_gone);
                    let is_unsure = held.is_none() && (stays || may_be_seen(long));
                    let same = match held {
                        None if stays => None,
                        None => Some(probe.fits(short_id, long_id, by_clients)),
                        held => held,
                    };
                    if is_unsure {
                        self.doubt(inner);
                    }
                    let Some(same) = same else { continue };
                    same
                }
                (shown, _) => shown != Shown::Other,
            };
            match (same, outgrown) {
                (true, false) => {}
                (true, true) => {
                    self.set_prefix_of(inner, None);
                    self.set_prefix_of(outer, Some(inner));
                    // There may be others that go on alike.
                    self.orphans.insert(inner);
                    if is_gone {
                        self.drop_log(outer);
                    }
                }
                (false, _) => {
                    self.set_prefix_of(inner, None);
                    // It may go the way of another one.
                    self.orphans.insert(inner);
                }
            }
        }
        self.place_orphans(probe);
    }

    /// The logs that count within a log.
    pub(super) fn inner_of(&self, id: u64) -> Vec<u64> {
        self.inner.get(&id).map_or(Vec::new(), |inner| inner.iter().copied().collect())
    }

    /// A log counts within another one, or by itself. Whoever counted within it goes along: there is one
    /// outermost log, and all others are within that.
    pub(super) fn set_prefix_of(&mut self, id: u64, outer: Option<u64>) {
        let outer = outer
            .map(|outer| self.logs.get(&outer).and_then(|log| log.prefix_of).unwrap_or(outer))
            .filter(|outer| *outer != id);
        let Some(log) = self.logs.get_mut(&id) else { return };
        let before = std::mem::replace(&mut log.prefix_of, outer);
        if before != outer {
            self.changed.insert(id);
            self.note_prefix_of(id, before, outer);
        }
        if outer.is_some() {
            self.inner_of(id).into_iter().for_each(|inner| self.set_prefix_of(inner, outer));
        }
    }

    /// A log counts within another one than before.
    fn note_prefix_of(&mut self, id: u64, before: Option<u64>, outer: Option<u64>) {
        if let Some(log) = before
            .filter(|_| outer != before && self.logs.contains_key(&id))
            .and_then(|before| self.logs.get_mut(&before))
        {
            log.absorbed_prefixes.remove(&id);
        }
        if let Some(before) = before
            && let Some(inner) = self.inner.get_mut(&before)
        {
            inner.remove(&id);
            if inner.is_empty() {
                self.inner.remove(&before);
            }
        }
        if let Some(outer) = outer {
            self.inner.entry(outer).or_default().insert(id);
            let to = self.logs.get(&id).map_or(0, |log| log.count.content.to);
            if let Some(outer) = self.logs.get_mut(&outer) {
                outer.absorbed_prefixes.insert(id, to);
            }
        }
    }

    /// A file that has the content of a log whose own is gone.
    pub(super) fn heir(&self, id: u64, probe: &mut impl Probe) -> Option<u64> {
        let log = self.logs.get(&id)?;
        let inner = self
            .inner
            .get(&id)?
            .iter()
            .filter_map(|inner| Some((*inner, self.logs.get(inner)?)))
            .filter(|(_, inner)| !inner.is_missing());
        let mut heirs = inner.filter(|(_, inner)| match inner.plain_place() {
            Some(place) => log.count.content.begins_file(&place, inner.size, true, probe).unwrap_or(false),
            None => inner.count.content.to == log.count.content.to,
        });
        heirs.next().map(|(heir, _)| heir)
    }

    /// A whole copy of a log that is gone may have been missing when that went, for it was just being
    /// renamed.
    pub(super) fn find_heirs(&mut self, now: Duration, probe: &mut impl Probe) {
        let gone = |id: &u64| {
            let outer = self.logs.get(id).filter(|outer| outer.is_gone())?;
            let is_whole = |inner: &u64| {
                self.logs
                    .get(inner)
                    .is_some_and(|inner| inner.format.is_some() || inner.size >= outer.count.content.to)
            };
            self.inner.get(id)?.iter().any(is_whole).then_some(*id)
        };
        let gone: Vec<u64> = self.inner.keys().filter_map(gone).collect();
        for id in gone {
            if let Some(heir) = self.heir(id, probe) {
                self.inherit(id, heir, now);
            }
        }
    }

    /// A log is in another log's file from now on: that has its content, and perhaps more, of which nothing
    /// counted.
    pub(super) fn inherit(&mut self, id: u64, heir: u64, now: Duration) {
        let Some(from) = self.take_file(id, heir) else { return };
        let Some(log) = self.logs.get_mut(&id) else { return };
        let is_void = log.format != from.format && log.recount.is_some();
        if log.format != from.format {
            // What was counted of it stands; only a plain file may have more.
            log.format = from.format;
            log.active_mut().caught_up = from.format.is_some();
        }
        if log.raw.is_empty() || from.is_counted() {
            log.raw = from.raw;
        }
        if log.format.is_none() {
            log.raw.clear();
        }
        log.presence = Presence::Here { verified: true };
        self.events.push(Event::Dropped(heir));
        if is_void {
            // What has been counted again by now was of another file.
            self.void(id);
        }
        self.consider(id, now);
    }

    /// What was counted as one log is another one's, whose file is gone.
    fn take_over(&mut self, id: u64, from: u64) {
        let Some(from_log) = self.take_file(id, from) else { return };
        let Some(log) = self.logs.get_mut(&id) else { return };
        self.alike.insert(id, &from_log.count.content.blocks);
        // It was counted by the rules of today.
        let generation = log.active().generation + 1;
        (log.count, log.recount) = (Count { generation, ..from_log.count }.taken_over(), None);
        (log.format, log.identified_at, log.is_final, log.raw) =
            (from_log.format, from_log.identified_at, true, from_log.raw);
        log.probed.clear();
        self.set_prefix_of(id, None);
        self.events.push(Event::Moved { from, to: id });
    }

    /// Takes a log off the list; another one is in its file then. Whoever counted within it counts within
    /// that one.
    fn take_file(&mut self, id: u64, from: u64) -> Option<Log> {
        let gone = self.logs.remove(&from)?;
        self.counting.remove(&from);
        self.turns.remove(from);
        self.note_prefix_of(from, gone.prefix_of, None);
        self.changed.extend([from, id]);
        if self.logs.get(&id)?.prefix_of == Some(from) {
            self.set_prefix_of(id, gone.prefix_of);
        }
        self.inner_of(from).into_iter().for_each(|other| self.set_prefix_of(other, Some(id)));
        self.alike.remove(from);
        self.replaceable.remove(&id);
        let log = self.logs.get_mut(&id)?;
        // What was planned or held back was of its own file.
        self.turns.remove(id);
        let count = log.active_mut();
        (count.plan, count.held_at) = (None, None);
        log.unreadable = None;
        log.rotated |= log.name != gone.name;
        log.guessed |= gone.guessed;
        log.absorbed_prefixes.extend(gone.absorbed_prefixes.iter().filter(|(inner, _)| **inner != id));
        log.absorbed_prefixes.insert(from, gone.count.content.to);
        (log.folder, log.name, log.path, log.file) =
            (gone.folder.clone(), gone.name.clone(), gone.path.clone(), gone.file);
        (log.day, log.links, log.size, log.changed, log.seen, log.closed) =
            (gone.day, gone.links.clone(), gone.size, gone.changed, gone.seen, gone.closed);
        (log.presence, log.identified_at) =
            (Presence::Here { verified: gone.is_verified() }, Some(gone.size));
        log.successors.clear();
        self.events.push(Event::Renamed(id));
        Some(gone)
    }

    /// A log is forgotten, with its numbers.
    pub(super) fn drop_log(&mut self, id: u64) {
        let Some(log) = self.logs.remove(&id) else { return };
        // The same look may find another log to which this id is given.
        self.counting.remove(&id);
        self.turns.remove(id);
        self.note_prefix_of(id, log.prefix_of, None);
        self.alike.remove(id);
        self.replaceable.remove(&id);
        self.changed.insert(id);
        self.events.push(Event::Dropped(id));
        // A copy that the latest look did not find is gone as well; if it only has another name, it will be
        // found as new.
        let missed: Vec<u64> = self
            .inner_of(id)
            .into_iter()
            .filter(|inner| {
                self.logs.get(inner).is_some_and(|log| matches!(log.presence, Presence::Missed { .. }))
            })
            .collect();
        missed.into_iter().for_each(|copy| self.drop_log(copy));
        self.release(id);
    }

    /// The logs that counted within one count by themselves, or within one of them.
    pub(super) fn release(&mut self, id: u64) {
        let mut orphans = self.inner_of(id);
        orphans
            .sort_by_key(|orphan| std::cmp::Reverse(self.logs.get(orphan).map(|log| log.count.content.to)));
        let mut roots: Vec<u64> = Vec::new();
        for orphan in orphans {
            let Some(content) = self.logs.get(&orphan).map(|log| &log.count.content) else { continue };
            let root = roots.iter().copied().find(|root| {
                self.logs.get(root).is_some_and(|log| content.begins(&log.count.content) != Shown::Other)
            });
            self.set_prefix_of(orphan, root);
            roots.extend(root.is_none().then_some(orphan));
        }
        self.orphans.extend(roots);
    }
}
