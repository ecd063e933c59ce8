//! When the folders are scanned, and what the journal says about what is in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::ledger::View;
use super::probe::LogProbe;
use super::{Coordinator, now};
use crate::board::{Skip, Watching};
use crate::log::shown_to_people;

/// After a log was found to be another one, or missing, the folders are looked at again so soon.
const SCAN_SOON: Duration = Duration::from_millis(20);
/// So often the folders are looked at while one of them cannot be read.
const TROUBLED_EVERY: Duration = Duration::from_secs(1);
/// The ledger is told of changes at least so often.
const SEE_EVERY_MAX: Duration = Duration::from_millis(100);
/// How often time alone may make a log due for something.
const TICK: Duration = Duration::from_millis(200);

impl Coordinator<'_> {
    /// Looks at the folders: at what events have named, or at everything.
    pub(super) fn look(&mut self) {
        let notice = self.watcher.read_events();
        self.unseen |= notice.changed;
        let start = Instant::now();
        let full = notice.overflow || self.next_scan <= start;
        if full {
            self.watcher.scan();
            self.publisher.set_looked_at(now().as_millis() as u64);
            self.next_scan = Instant::now() + self.heritage.settings.scan_every;
        }
        if !self.watcher.contents().troubled.is_empty() {
            // A folder that is away may be back any moment, and nothing tells.
            self.next_scan = self.next_scan.min(Instant::now() + TROUBLED_EVERY);
        }
        if full || (self.unseen && self.next_see <= start) {
            self.see(full);
            // To take in what is in the folders costs time for each log: it gets a part of the time only.
            self.next_see = Instant::now() + (start.elapsed() * 4).min(SEE_EVERY_MAX);
        } else if self.ledger.waits() && self.next_tick <= start {
            self.ledger.consider_all(now());
            self.next_tick = start + TICK;
            self.stale = true;
        }
    }

    pub(super) fn see(&mut self, full: bool) {
        self.unseen = false;
        let contents = self.watcher.contents();
        let troubled: Vec<usize> = contents.troubled.iter().map(|(folder, _)| *folder).collect();
        self.ledger.see(
            View { found: &contents.found, full, troubled: &troubled },
            now(),
            &mut LogProbe { probe: &mut self.probe, sums: &self.sums },
        );
        self.probe.forget();
        self.scanned |= full && troubled.is_empty();
        self.note();
        self.follow_events();
        if self.ledger.is_missing_any() {
            self.scan_soon();
        }
        self.stale = true;
    }

    pub(super) fn scan_soon(&mut self) {
        self.next_scan = self.next_scan.min(Instant::now() + SCAN_SOON);
    }

    /// Shows what is skipped, and writes to the journal what is new: skipped entries, folders that cannot be
    /// read, and how changes are found.
    pub(super) fn note(&mut self) {
        let contents = self.watcher.contents();
        let mut shown: BTreeMap<Vec<u8>, Skip> =
            contents.skipped.iter().map(|skipped| (skipped.name.clone(), skipped.reason)).collect();
        let mut skipped: HashMap<PathBuf, Skip> =
            contents.skipped.iter().map(|skipped| (skipped.path.clone(), skipped.reason)).collect();
        for (name, path, kind) in self.ledger.foreigners() {
            shown.insert(name.to_vec(), Skip::Foreign(kind));
            skipped.insert(path.to_owned(), Skip::Foreign(kind));
        }
        for (path, reason) in skipped.iter().filter(|(path, reason)| self.skipped.get(*path) != Some(*reason))
        {
            // Of hidden files there are many that nobody takes for logs; error logs have a line of their own.
            if !matches!(reason, Skip::Hidden | Skip::ErrorLog) {
                info!(path = shown_to_people(path.as_os_str().as_encoded_bytes()), %reason, "skipped");
            }
        }
        self.skipped = skipped;
        let mut error_logs = shown.iter().filter(|(_, reason)| **reason == Skip::ErrorLog);
        if !self.said_error_logs
            && let Some((first, _)) = error_logs.next()
        {
            self.said_error_logs = true;
            let (first, logs) = (shown_to_people(first), 1 + error_logs.count());
            info!(
                logs,
                first, "skipped error logs, known by their names; to count them too, set --include '*'"
            );
        }
        self.publisher.show_skipped(&shown);
        let folder = |at: &usize| {
            self.heritage.settings.logs.get(*at).map_or(String::new(), |folder| folder.display().to_string())
        };
        for (at, error) in contents.troubled.iter().filter(|(at, _)| !self.troubled.contains(at)) {
            warn!(folder = folder(at), %error, uid = crate::sys::process::uid(), "cannot read a watched folder; the numbers of its logs stay as they are");
        }
        let troubled: BTreeSet<usize> = contents.troubled.iter().map(|(at, _)| *at).collect();
        for at in self.troubled.difference(&troubled) {
            info!(folder = folder(at), "a watched folder can be read again");
        }
        self.troubled = troubled;
        let watching = match self.watcher.is_notified() {
            Ok(()) => Watching::Notified,
            Err(_) if !self.heritage.settings.inotify => Watching::Unwanted,
            Err(why) => {
                if self.watching != Watching::Unable {
                    warn!(
                        why,
                        "the operating system reports no changes in the folders; tallyd finds changes at each scan"
                    );
                }
                Watching::Unable
            }
        };
        self.watching = watching;
    }
}
