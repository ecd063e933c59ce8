//! The days that are apart: which of them are united in memory, and which the store writer is to count.
//!
//! A day that is quiet is counted by the store writer, from the store and from what is in memory: that takes
//! no memory that stays. To one that changes, its clients come back, if there is room. If there is none, a
//! day that never is quiet gets its room beyond the budget, but not while there is much to count: then most
//! days change all the time. Deliberately absent: the store writer itself, and what becomes of logs whose
//! clients cannot be had.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::ledger::Ledger;
use super::super::store_writer::Task;
use super::super::sums::{Apart, Moment, Sums};
use super::AGAIN_AFTER;
use crate::log::Day;
use crate::store::unite::{Wanted, WantedDay};
use crate::tally::Distinct;

/// How often it is seen to days that are apart.
const SEE_EVERY: Duration = Duration::from_millis(50);
/// A day that has not changed for so long is taken to be quiet.
const QUIET: Duration = Duration::from_secs(1);
/// Or for so long, while there is much to count; and so long a union beyond the budget stays in memory after
/// its day has changed.
const LONG_QUIET: Duration = Duration::from_secs(10);
/// For so long a day may be apart that is not quiet, if there is not more than this to be counted.
const PATIENCE: Duration = Duration::from_secs(3);
const BUSY_BYTES: u64 = 64 << 20;
/// So many unions are completed in memory at once; the others wait, and are counted by the store writer if
/// they are quiet by then.
const LACKING_MAX: usize = 4;
/// So many days may have unions beyond the budget: those that are live at once.
const BEYOND_MAX: usize = 4;
/// Days with so many clients are counted at once: if all are different, their unions take four bytes for
/// each, or the text.
const COUNTED_CLIENTS: u64 = 4 << 20;

/// The days that are apart.
#[derive(Debug)]
pub(super) struct ApartDays {
    days: BTreeMap<Option<Day>, Watched>,
    /// Since when there has not been so much to count that days go on changing.
    calm: Instant,
    /// Days whose unions have room beyond the budget.
    beyond: BTreeMap<Option<Day>, Watched>,
    /// When it was last seen to them.
    seen: Instant,
    /// Days that the store writer was asked to count, and when they had changed last.
    asked: BTreeMap<Option<Day>, Moment>,
    /// Could days not be counted because something stored cannot be read?
    unread: bool,
    /// None are to be counted before.
    ask_after: Instant,
}

/// A day that is apart.
#[derive(Clone, Copy, Debug)]
struct Watched {
    changed: Moment,
    /// Since when it has not changed.
    quiet: Instant,
    /// Since when it has been apart.
    apart: Instant,
}

impl Watched {
    fn follow(&mut self, changed: Moment, now: Instant) {
        if changed != self.changed {
            (self.changed, self.quiet) = (changed, now);
        }
    }
}

/// What was done about days that are apart, and what is to be done.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Was one united in memory?
    pub united: bool,
    /// Those that the store writer may count now.
    pub quiet: BTreeSet<Option<Day>>,
}

impl ApartDays {
    /// None that is known yet.
    pub fn new() -> ApartDays {
        let now = Instant::now();
        ApartDays {
            days: BTreeMap::new(),
            calm: now,
            beyond: BTreeMap::new(),
            seen: now,
            asked: BTreeMap::new(),
            unread: false,
            ask_after: now,
        }
    }

    /// Could days not be counted because something stored cannot be read?
    pub fn is_unread(&self) -> bool {
        self.unread
    }

    /// Sees to them. `pressed`: there is more in memory than there should be.
    pub fn see(&mut self, pressed: bool, ledger: &Ledger, sums: &mut Sums) -> Seen {
        let (now, mut seen) = (Instant::now(), Seen::default());
        if now - self.seen < SEE_EVERY {
            return seen;
        }
        self.seen = now;
        self.let_go(now, sums);
        let apart = sums.apart();
        if apart.is_empty() {
            self.days.clear();
            return seen;
        }
        let busy = is_busy(ledger);
        if pressed || busy {
            self.calm = now;
        }
        // While much is counted, a day that seems quiet is about to change, and the store writer has to
        // write.
        let rest = if busy { LONG_QUIET } else { QUIET };
        let before = std::mem::take(&mut self.days);
        for Apart { day, changed, clients } in apart {
            let mut watched =
                before.get(&day).copied().unwrap_or(Watched { changed, quiet: now, apart: now });
            watched.follow(changed, now);
            self.days.insert(day, watched);
            if self.asked.contains_key(&day) {
                continue;
            }
            if now - watched.quiet >= rest {
                if self.ask_after <= now {
                    seen.quiet.insert(day);
                }
            } else if sums.lacking_days() < LACKING_MAX && sums.unite_in_room(day, clients) {
                // Its clients are asked for with the others that unions lack.
                seen.united = true;
            } else if now - watched.apart.max(self.calm) >= PATIENCE && self.beyond.len() < BEYOND_MAX {
                sums.unite(day);
                sums.pin(day);
                seen.united = true;
                self.beyond.insert(day, watched);
            }
        }
        seen
    }

    /// Unions beyond the budget whose days are quiet leave the memory.
    fn let_go(&mut self, now: Instant, sums: &mut Sums) {
        self.beyond.retain(|day, watched| {
            watched.follow(sums.changed(*day), now);
            let stays = now - watched.quiet < LONG_QUIET;
            if !stays {
                sums.unpin(*day);
                sums.settle(*day);
            }
            stays
        });
    }

    /// What the store writer is to do so that the first of these days are counted, if there is anything to
    /// count. Nothing while it is at others.
    pub fn ask(
        &mut self,
        days: &mut BTreeSet<Option<Day>>,
        sums: &Sums,
        partial_of: impl Fn(u64) -> PathBuf,
    ) -> Option<Task> {
        if !self.asked.is_empty() {
            return None;
        }
        let (mut wanted, mut present, mut clients) = (BTreeMap::<u64, Wanted>::new(), Vec::new(), 0);
        while clients < COUNTED_CLIENTS
            && let Some(day) = days.pop_first()
        {
            let Some(parts) = sums.parts_of_apart(day) else { continue };
            self.asked.insert(day, sums.changed(day));
            for ((log, part), distinct, there) in parts {
                let more = distinct.all();
                clients += more;
                match there {
                    Some(there) => present.push((day, there)),
                    None => {
                        let wanted = wanted.entry(log).or_insert_with(|| Wanted {
                            log,
                            path: partial_of(log),
                            days: Vec::new(),
                            clients: 0,
                        });
                        wanted.days.push(WantedDay { day: part, reported: day, distinct });
                        wanted.clients += more;
                    }
                }
            }
        }
        (!self.asked.is_empty()).then(|| Task::Unite(wanted.into_values().collect(), present))
    }

    /// Takes what the store writer has counted. The days of logs that could not be read stay apart, and so
    /// they are counted again.
    pub fn take(&mut self, counted: &BTreeMap<Option<Day>, Distinct>, unread: &[u64], sums: &mut Sums) {
        self.unread = !unread.is_empty();
        if self.unread {
            self.ask_after = Instant::now() + AGAIN_AFTER;
        }
        let unread: BTreeSet<Option<Day>> = unread.iter().flat_map(|log| sums.days_of(*log)).collect();
        for (day, changed) in std::mem::take(&mut self.asked) {
            if let Some(distinct) = counted.get(&day).filter(|_| !unread.contains(&day)) {
                sums.know(day, changed, *distinct);
            }
        }
    }
}

/// Is so much to be counted that days will go on changing?
fn is_busy(ledger: &Ledger) -> bool {
    ledger.logs().map(|(_, log)| log.pending()).sum::<u64>() > BUSY_BYTES
}
