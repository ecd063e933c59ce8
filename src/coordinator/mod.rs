//! The coordinator: what is in the folder, what must be counted, what has been counted.
//!
//! One loop, and a thread beside it that writes the store. It believes no worker: a result is merged once,
//! after it has been checked and the log found to be still the bytes that were counted. It may die at any
//! instruction: its successor goes on from the store, and the board keeps the numbers meanwhile. Deliberately
//! absent: counting, HTTP.

mod content;
mod inflight;
mod lag;
mod ledger;
mod notify;
mod persist;
mod probe;
mod publish;
mod restore;
mod results;
mod retention;
mod scan;
mod scan_loop;
mod store_writer;
mod sums;
mod watch;
mod work;
mod workers;
mod write_queue;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info, warn};

use crate::board::{Activity, Board, Counters, Header, LogState, StatusPage, Unreadable, Watching};
use crate::heritage::{Heritage, Role};
use crate::job::{MESSAGE_BYTES, Request};
use crate::journal;
use crate::log::shown_to_people;
use crate::show::{Row, doubts, table};
use crate::sys::signal::{Notice, Notices};
use crate::sys::socket::{Channel, Received, wait};

use inflight::Inflight;
use ledger::{Event, Ledger, Log, Policy};
use persist::Persist;
use probe::FileProbe;
use publish::Publisher;
use results::Counted;
use retention::Retention;
use scan::Scope;
use sums::Sums;
use watch::Watcher;
use workers::Worker;

/// How long the loop waits at most, and so how often it shows that it lives.
const BEAT: Duration = Duration::from_millis(500);
/// The board is written no more often than this while results keep coming.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// Runs the coordinator until it is told to stop or the supervisor is gone. `alone`: its predecessor died,
/// and the supervisor did not. Says its exit code.
pub fn run(heritage: &Heritage, supervisor: &Channel, alone: bool) -> i32 {
    let own = Some(supervisor.as_fd().as_raw_fd());
    let entered = heritage
        .enter(Role::Coordinator, own)
        .and_then(|page| heritage.walls.keep_from_programs().map(|()| page));
    match entered.and_then(|page| Coordinator::new(heritage, supervisor, page, alone)?.run()) {
        Ok(()) => 0,
        Err(error) => {
            error!(%error, "the coordinator failed");
            1
        }
    }
}

struct Coordinator<'a> {
    heritage: &'a Heritage,
    supervisor: &'a Channel,
    notices: Notices,
    page: StatusPage,
    watcher: Watcher,
    probe: FileProbe,
    ledger: Ledger,
    sums: Sums,
    persist: Persist,
    retention: Retention,
    publisher: Publisher,
    inflight: Inflight,
    workers: Vec<Option<Worker>>,
    /// Results that wait for their turn to be merged, or for the clients of their logs.
    results: HashMap<u64, Counted>,
    next_scan: Instant,
    next_see: Instant,
    next_tick: Instant,
    /// When a log that is behind was counted last while memory was short.
    let_through: Instant,
    /// Has something changed that the ledger does not know?
    unseen: bool,
    scanned: bool,
    /// Is there something that the board does not show?
    stale: bool,
    published: Instant,
    skipped: HashMap<PathBuf, scan::Skip>,
    troubled: BTreeSet<usize>,
    watching: Watching,
    /// What was counted and the board does not count yet.
    counted: Counters,
    /// The logs that cannot be read, and why.
    unreadable: HashMap<u64, Unreadable>,
    /// The folders and reasons that the journal has for logs that cannot be read now.
    complaints: BTreeSet<(Vec<u8>, Unreadable)>,
    /// The journal says that error logs are skipped.
    said_error_logs: bool,
}

/// What a wait ends with.
enum Next {
    /// There may be something to do.
    GoOn,
    /// The supervisor asks to end.
    Stop,
    /// The supervisor is gone.
    Orphaned,
}

impl<'a> Coordinator<'a> {
    fn new(
        heritage: &'a Heritage,
        supervisor: &'a Channel,
        page: StatusPage,
        alone: bool,
    ) -> io::Result<Coordinator<'a>> {
        let settings = &heritage.settings;
        let publisher = Publisher::new(Board::open(&heritage.board, heritage.board_size)?);
        let (inflight, left) = Inflight::open(&settings.state);
        let absolute = |folder: &PathBuf| {
            std::fs::canonicalize(folder)
                .or_else(|_| std::path::absolute(folder))
                .unwrap_or_else(|_| folder.clone())
        };
        let mut ledger = Ledger::new(Policy {
            folders: settings
                .logs
                .iter()
                .map(|folder| absolute(folder).as_os_str().as_bytes().to_vec())
                .collect(),
            range_bytes: settings.range_bytes,
            io: settings.io,
            final_after: settings.final_after,
            streams_max: settings.workers.saturating_sub(1).max(1),
        });
        ledger.suspect(left, alone);
        let mut sums = Sums::default();
        let persist =
            Persist::open(settings, heritage.lock.share()?, &mut ledger, &mut sums, || page.beat())?;
        let scope = Scope {
            folders: settings.logs.clone(),
            recursive: settings.recursive,
            include: settings.include.set().clone(),
            exclude: settings.exclude.set().clone(),
        };
        let now = Instant::now();
        let mut coordinator = Coordinator {
            heritage,
            supervisor,
            notices: Notices::take_stop()?,
            page,
            watcher: Watcher::new(scope, settings.inotify),
            probe: FileProbe::default(),
            ledger,
            sums,
            persist,
            retention: Retention::new(settings.retention_days),
            publisher,
            inflight,
            workers: (0..settings.workers).map(|_| None).collect(),
            results: HashMap::new(),
            next_scan: now,
            next_see: now,
            next_tick: now,
            let_through: now,
            unseen: false,
            scanned: false,
            stale: true,
            published: now,
            skipped: HashMap::new(),
            troubled: BTreeSet::new(),
            watching: Watching::Starting,
            counted: Counters::default(),
            unreadable: HashMap::new(),
            complaints: BTreeSet::new(),
            said_error_logs: false,
        };
        // What was known is shown before the first byte of a log is read.
        coordinator.restore_unions();
        coordinator.publish();
        coordinator.page.set_activity(Activity::Idle);
        Ok(coordinator)
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            self.page.beat();
            self.look();
            self.hear_writer();
            self.publish();
            self.dispatch();
            if self.scanned {
                self.stale |= self.retention.apply(now(), &self.ledger, &mut self.sums, &mut self.persist);
            }
            self.persist.save(&mut self.ledger, &mut self.sums);
            let busy = self.workers.iter().flatten().any(|worker| worker.flight.is_some());
            self.page.set_activity(if busy { Activity::Working } else { Activity::Idle });
            self.inflight.note(self.ledger.suspects());
            match self.wait()? {
                Next::GoOn => {}
                Next::Stop => {
                    self.inflight.forget();
                    self.persist.finish(&mut self.ledger, &mut self.sums);
                    return Ok(());
                }
                Next::Orphaned => return Ok(()),
            }
            if !self.read_news()? {
                return Ok(());
            }
            self.read_requests()?;
            for worker in 0..self.workers.len() {
                self.read_answers(worker);
            }
        }
    }

    /// Waits until there is something to do. Says what.
    fn wait(&self) -> io::Result<Next> {
        let mut fds = vec![
            self.heritage.lifeline.as_fd(),
            self.notices.as_fd(),
            self.supervisor.as_fd(),
            self.persist.fd(),
            self.heritage.requests.1.as_fd(),
        ];
        fds.extend(self.watcher.fd());
        fds.extend(
            self.workers.iter().flatten().filter_map(|worker| worker.channel.as_ref()).map(AsFd::as_fd),
        );
        let now = Instant::now();
        let publish = if self.stale { PUBLISH_EVERY.saturating_sub(now - self.published) } else { BEAT };
        let see = if self.unseen { self.next_see.saturating_duration_since(now) } else { BEAT };
        let tick = if self.ledger.waits() { self.next_tick.saturating_duration_since(now) } else { BEAT };
        let save = self.persist.next_due().map_or(BEAT, |due| due.saturating_duration_since(now));
        let timeout =
            self.next_scan.saturating_duration_since(now).min(publish).min(see).min(tick).min(save).min(BEAT);
        let ready = wait(&fds, timeout)?;
        let notices: Vec<Notice> = std::iter::from_fn(|| self.notices.next()).collect();
        for notice in &notices {
            if let Notice::Ignored(signal) = notice {
                journal::note_ignored(signal);
            }
        }
        Ok(if notices.contains(&Notice::Stop) {
            Next::Stop
        } else if ready[0] {
            Next::Orphaned
        } else {
            Next::GoOn
        })
    }

    fn read_requests(&mut self) -> io::Result<()> {
        let mut message = [0; MESSAGE_BYTES];
        while let Received::Message(length, _) = self.heritage.requests.1.receive(&mut message)? {
            match Request::from_bytes(&message[..length]) {
                Some(Request::Delete { log }) => {
                    info!(log = self.name(log), "deleting a log");
                    self.ledger.delete(log);
                }
                Some(Request::Rescan) => {
                    self.ledger.retry(now());
                    self.next_scan = Instant::now();
                }
                Some(Request::Look) => self.next_scan = Instant::now(),
                Some(Request::Replace { log, file }) => {
                    info!(log = self.name(log), "an upload replaces a log");
                    self.ledger.replace_by(log, file);
                }
                Some(Request::Withdraw { file }) => self.ledger.withdraw(file),
                None => warn!("ignored a request of the api that is not valid"),
            }
            self.follow_events();
            self.stale = true;
        }
        Ok(())
    }

    fn follow_events(&mut self) {
        for event in self.ledger.take_events() {
            self.stale = true;
            let day = |id: u64| self.ledger.log(id).and_then(|log| log.day);
            match event {
                Event::Void(id) => {
                    let counts = self.ledger.log(id).is_some_and(Log::counts);
                    self.sums.remove(id);
                    self.sums.rename(id, day(id));
                    self.sums.set_counts(id, counts);
                    info!(
                        log = self.name(id),
                        "dropped the numbers of a log: it was deleted, or is counted from its start"
                    );
                }
                Event::Dropped(id) => self.sums.remove(id),
                Event::Again(id) => {
                    self.sums.begin_again(id);
                    info!(log = self.name(id), "counting a log again; its numbers stay until that is done");
                }
                Event::Recounted(id) => self.sums.end_again(id),
                Event::Recalled(id) => self.sums.leave_again(id),
                Event::Moved { from, to } => self.sums.take_over(from, to, day(to)),
                Event::Renamed(id) => self.sums.rename(id, day(id)),
                Event::Counts(id, counts) => self.sums.set_counts(id, counts),
            }
        }
    }

    /// Unions that the store's numbers do not tell are made before anything is shown.
    fn restore_unions(&mut self) {
        self.follow_events();
        for damaged in self.persist.restore_unions(&mut self.sums, || self.page.beat()) {
            self.ledger.forget(damaged, now());
        }
        self.follow_events();
    }

    /// What the store writer has done.
    fn hear_writer(&mut self) {
        let outcomes = self.persist.hear(&mut self.sums);
        self.follow_outcomes(outcomes);
        self.stale |= self.persist.take_changed();
    }

    fn follow_outcomes(&mut self, outcomes: Vec<(u64, persist::Outcome)>) {
        self.stale |= !outcomes.is_empty();
        for (log, outcome) in outcomes {
            match outcome {
                persist::Outcome::Loaded => self.drain(log),
                persist::Outcome::Damaged => self.ledger.forget(log, now()),
            }
        }
        // Once for all: at the start there are as many as logs.
        self.follow_events();
    }

    fn publish(&mut self) {
        self.follow_events();
        let idle = !self.workers.iter().flatten().any(|worker| worker.flight.is_some());
        if self.stale && (idle || self.published.elapsed() >= PUBLISH_EVERY) {
            let changed = self.ledger.take_changed();
            self.complain(&changed);
            self.persist.note(&changed, &self.ledger);
            // A file that holds something else than before is looked at soon: what is in it is not known.
            let pending = u64::from(self.ledger.is_missing_any());
            let header = self.persist.header(Header {
                pending,
                scanned: self.scanned,
                troubled: self.troubled.len() as u64,
                watching: self.watching,
                skipped_more: self.watcher.contents().skipped_more,
                ..Header::default()
            });
            for more in [std::mem::take(&mut self.counted), self.persist.take_done()] {
                self.publisher.add(&more);
            }
            self.publisher.publish(&changed, &self.ledger, &mut self.sums, &self.unreadable, header);
            (self.stale, self.published) = (false, Instant::now());
            self.note_ready();
            self.announce();
        }
    }

    /// Writes to the journal which logs cannot be read, and the remedy: once for each folder and reason.
    fn complain(&mut self, changed: &BTreeSet<u64>) {
        let mut is_other = false;
        for id in changed {
            let log = self.ledger.log(*id);
            is_other |= match log.and_then(|log| Some((log, log.unreadable?))) {
                Some((_, errno)) if self.unreadable.get(id).is_some_and(|known| known.errno == errno) => {
                    false
                }
                Some((log, errno)) => {
                    self.unreadable.insert(*id, Unreadable::of(errno, &log.path));
                    true
                }
                None => self.unreadable.remove(id).is_some(),
            };
        }
        if !is_other {
            return;
        }
        let mut counts: BTreeMap<(Vec<u8>, Unreadable), u64> = BTreeMap::new();
        for (id, why) in &self.unreadable {
            let folder = self.ledger.log(*id).map_or(Vec::new(), |log| log.folder.clone());
            *counts.entry((folder, *why)).or_default() += 1;
        }
        for ((folder, why), count) in
            counts.iter().filter(|(complaint, _)| !self.complaints.contains(complaint))
        {
            let sentence = why.sentence(
                *count,
                &shown_to_people(folder),
                crate::sys::process::uid(),
                &self.heritage.accounts,
            );
            warn!("{sentence}");
        }
        self.complaints = counts.into_keys().collect();
    }

    /// Once everything there is has been counted, a table for who sits at the terminal.
    fn announce(&mut self) {
        let all_counted = self.scanned && self.ledger.logs().all(|(_, log)| log.pending() == 0);
        if all_counted && io::stderr().is_terminal() && self.publisher.announce() {
            let mut logs: Vec<(u64, &Log)> =
                self.ledger.logs().filter(|(_, log)| !log.is_gone() && !log.deleted).collect();
            logs.sort_by(|one, two| one.1.name.cmp(&two.1.name));
            let rows: Vec<Row> = logs
                .into_iter()
                .map(|(id, log)| Row { name: log.name.clone(), totals: self.sums.log(id) })
                .collect();
            journal::say(&(table(&rows, self.sums.all().as_ref()) + &doubts(&rows)));
        }
    }

    /// Once everything that was found at the start has been counted, the api may say so. Of what cannot be
    /// read, nothing is waited for.
    fn note_ready(&self) {
        let waits = |log: &Log| log.state() == LogState::Counting && log.unreadable.is_none();
        if self.scanned && !self.publisher.is_ready() && !self.ledger.logs().any(|(_, log)| waits(log)) {
            self.publisher.set_ready();
        }
    }

    fn name(&self, log: u64) -> String {
        self.ledger.log(log).map_or(String::new(), |log| shown_to_people(&log.name))
    }
}

/// The time of the wall clock since 1970, to be compared with that of files.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
