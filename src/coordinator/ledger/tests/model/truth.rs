//! What must be true of what is counted, whatever happened.

use super::*;

impl Model {
    /// What must be true at any time; what is in the days is noted, and what may have left them.
    pub fn note(&mut self) {
        self.world.follow();
        for Lost { event, sum } in std::mem::take(&mut self.world.lost) {
            let may_go = match event {
                // What is known with a hole only is tried again, and not kept until that is done.
                Event::Void(id) => self.holed.contains(&id),
                // A name with a date holds something else now.
                Event::Dropped(id) => self
                    .names
                    .get(&id)
                    .is_some_and(|name| day_of_name(name.as_bytes()).is_some() && self.is_taken(name)),
                _ => false,
            };
            // What it was is no more when it has been counted again, also where that came to a hole.
            if let Event::Recounted(id) = event
                && self.world.ledger.log(id).is_some_and(|log| !log.active().quarantine.is_empty())
            {
                self.holes.extend(&sum.lines);
            }
            if may_go && sum.counts {
                self.kept.retain(|line| !sum.lines.contains(line));
            }
        }
        // Of two that have parted, each counts whole. What begins with a hole is not known to begin like
        // another one; what is counted again may have parted further on; and of what the next look will make
        // sure of, nothing is said before.
        let is_whole =
            |id: &u64| self.world.ledger.log(*id).is_some_and(|log| log.active().quarantine.is_empty());
        let is_whole = |id: &u64| is_whole(id) && !self.world.ledger.log(*id).is_some_and(|log| log.guessed);
        let counting: Vec<(&u64, &Sum)> = self
            .world
            .sums
            .iter()
            .filter(|(id, sum)| sum.counts && !sum.lines.is_empty() && is_whole(id))
            .collect();
        for (id, sum) in &counting {
            let outer =
                counting.iter().find(|(other, outer)| other != id && sum.lines.is_subset(&outer.lines));
            assert!(outer.is_none(), "{id:x} is in the days twice: {:?} {outer:x?}", self.brief());
        }
        self.kept.extend(counting.into_iter().flat_map(|(_, sum)| &sum.lines));
        for (id, log) in self.world.ledger.logs() {
            let sum = self.world.sums.get(&id).cloned().unwrap_or_default();
            assert_eq!(sum.counts, log.counts(), "{id:x}");
            self.names.insert(id, String::from_utf8(log.name.clone()).unwrap());
            let is_whole = log.active().quarantine.is_empty() && !log.deleted;
            let is_beginning =
                |sum: &Sum, to: u64| sum.lines.iter().map(|(_, line)| *line).eq(0..to.div_ceil(LINE));
            assert!(!is_whole || is_beginning(&sum, log.count.content.to), "no beginning: {log:?} {sum:?}");
            assert_eq!(self.world.again.contains_key(&id), log.is_recounted());
            let again = self.world.again.get(&id).cloned().unwrap_or_default();
            let is_counted_again = is_whole && log.is_recounted();
            assert!(
                !is_counted_again || is_beginning(&again, log.active().content.to),
                "no beginning: {log:?} {again:?}"
            );
        }
        self.holed = self
            .world
            .ledger
            .logs()
            .filter(|(_, log)| !log.active().quarantine.is_empty())
            .map(|(id, _)| id)
            .collect();
        for (_, log) in self.world.ledger.logs().filter(|(_, log)| !log.active().quarantine.is_empty()) {
            let is_in = |at: u64| {
                log.active()
                    .quarantine
                    .iter()
                    .any(|(range, _)| log.format.is_some() || (range.from() < at + LINE && at < range.to()))
            };
            let file = self.world.disk.files.get(&log.file.1);
            self.holes.extend(
                file.into_iter()
                    .flat_map(|file| lines(&file.text))
                    .filter(|(_, number)| is_in(number * LINE)),
            );
        }
        let outermost = |id: u64| self.world.ledger.log(id).is_some_and(|log| log.prefix_of.is_none());
        assert!(
            self.world.ledger.logs().all(|(_, log)| log.prefix_of.is_none_or(outermost)),
            "a log is within one that is within another: {:?}",
            self.brief()
        );
        for (id, log) in self.world.ledger.logs() {
            if log.deleted
                || log.prefix_of.and_then(|root| self.world.ledger.log(root)).is_some_and(|root| root.deleted)
            {
                self.deleted.extend(self.world.sums.get(&id).into_iter().flat_map(|sum| &sum.lines));
            }
        }
        let unknown = self.world.sums.keys().find(|id| self.world.ledger.log(**id).is_none());
        assert!(unknown.is_none(), "numbers of {unknown:x?}, which is no log: {:?}", self.brief());
    }

    /// Does a name hold something, as far as the ledger knows?
    fn is_taken(&self, name: &str) -> bool {
        self.world.was_seen(name)
            || self.world.ledger.logs().any(|(_, log)| !log.is_gone() && log.name == name.as_bytes())
    }

    /// The logs in a few words each: for whoever looks for what went wrong.
    fn brief(&self) -> Vec<String> {
        let brief = |(id, log): (u64, &Log)| {
            let Log { name, file, prefix_of, identified_at, size, format, deleted, presence, .. } = log;
            let (content, count) = (&log.count.content, log.active());
            let name = String::from_utf8_lossy(name);
            let sum = self.world.sums.get(&id).map(|sum| {
                (sum.counts, sum.lines.len(), sum.lines.iter().map(|(pen, _)| *pen).collect::<BTreeSet<_>>())
            });
            let flags = [
                (log.is_gone(), "gone"),
                (*deleted, "deleted"),
                (matches!(presence, Presence::Missed { .. }), "missed"),
                (format.is_some(), "packed"),
                (count.plan.is_some(), "planned"),
                (!count.quarantine.is_empty(), "holes"),
            ];
            let flags: Vec<&str> = flags.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
            format!(
                "\n    {id:x} {name} in {} {flags:?}, to {} of {size}, identified at {identified_at:?}, prefix of {prefix_of:x?}, sum {sum:?}",
                file.1, content.to
            )
        };
        self.world.ledger.logs().map(brief).collect()
    }

    fn see_and_count(&mut self) {
        for _ in 0..4 {
            self.world.see();
            self.note();
            self.world.count_all();
            self.note();
        }
    }

    /// In the end, all that is there is counted, once, and what is gone is in the days still.
    pub fn settle(&mut self) {
        self.identify(|| "settle".to_owned());
        self.listed = None;
        let flights: Vec<u64> = self.world.flights.iter().map(|flight| flight.job.number).collect();
        flights.into_iter().for_each(|number| self.world.answer(number));
        self.see_and_count();
        let now = self.world.now;
        self.world.ledger.retry(now);
        self.world.now += FINAL_AFTER * 2;
        self.see_and_count();
        self.note();
        let counted: BTreeSet<Line> = self.world.counted().into_iter().collect();
        for (name, inode) in &self.world.disk.names {
            let file = &self.world.disk.files[inode];
            let logs: Vec<_> =
                self.world.ledger.logs().filter(|(_, log)| log.file.1 == *inode && !log.is_gone()).collect();
            let [(id, log)] = logs[..] else { panic!("{name} is in {:?}", self.brief()) };
            let root = log.prefix_of.and_then(|root| self.world.ledger.log(root));
            if log.deleted
                || root.is_some_and(|root| root.deleted)
                || !log.active().quarantine.is_empty()
                || root.is_some_and(|root| !root.active().quarantine.is_empty())
            {
                continue;
            }
            let lines = lines(&file.text);
            assert!(
                lines.is_empty()
                    || self.world.sums.values().any(|sum| sum.counts && lines.is_subset(&sum.lines)),
                "{name} is not counted: {id:x} {:?}",
                self.brief()
            );
            assert_eq!(
                (log.count.content.to, log.pending(), log.is_complete()),
                (file.text.len() as u64, 0, true),
                "{name}: {id:x} {log:x?}"
            );
        }
        // What is in the hole of one log may be in another one that counts within it.
        let may_go = |line: &Line| self.deleted.contains(line) || self.holes.contains(line);
        let lost: Vec<&Line> =
            self.kept.iter().filter(|line| !counted.contains(line) && !may_go(line)).collect();
        assert!(lost.is_empty(), "lost: {lost:?} {:?}", self.brief());
        assert!(!self.world.ledger.waits());
    }
}
