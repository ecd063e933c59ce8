//! The coordinator: what is in the folder, what must be counted, what has been counted.
//!
//! One loop, and a thread beside it that writes the store. It believes no worker: a result is merged once, after it has been checked and the log found to be still the
//! bytes that were counted. It may die at any instruction: its successor goes on from the store, and the board keeps the numbers meanwhile.
//! Deliberately absent: counting, HTTP.

mod content;
mod inflight;
mod keeper;
mod lag;
mod ledger;
mod notify;
mod peek;
mod publish;
mod restore;
mod saves;
mod scan;
mod storing;
mod sums;
mod watch;
mod work;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, error, info, warn};

use crate::board::{Activity, Board, Counters, Header, LogState, StatusPage, Watching};
use crate::heritage::{Heritage, Role};
use crate::job::{Answer, Job, MESSAGE_BYTES, News, RESULT_BYTES_MAX, Refused, Request, ResultView};
use crate::journal;
use crate::log::shown_to_people;
use crate::sample::{SAMPLE_BYTES, Sample};
use crate::show::{Row, table};
use crate::sys::memory::Sealed;
use crate::sys::process::Death;
use crate::sys::signal::{Notice, Notices};
use crate::sys::socket::{Channel, Received, wait};

use inflight::Inflight;
use ledger::{Done, Event, Ledger, Log, Policy, View, end_of};
use peek::{Eyes, Peek, all_hold};
use publish::Publisher;
use scan::Scope;
use storing::Storing;
use sums::Sums;
use watch::Watcher;

/// How long the loop waits at most, and so how often it shows that it lives.
const BEAT: Duration = Duration::from_millis(500);
/// The board is written no more often than this while results keep coming.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// After a log was found to be another one, or missing, the folders are looked at again so soon.
const SCAN_SOON: Duration = Duration::from_millis(20);
/// So often the folders are looked at while one of them cannot be read.
const TROUBLED_EVERY: Duration = Duration::from_secs(1);
/// The ledger is told of changes at least so often.
const SEE_EVERY_MAX: Duration = Duration::from_millis(100);
/// How often time alone may make a log due for something.
const TICK: Duration = Duration::from_millis(200);

/// Runs the coordinator until it is told to stop or the supervisor is gone. `alone`: its predecessor died, and the supervisor did not. Says its exit code.
pub fn run(heritage: &Heritage, supervisor: &Channel, alone: bool) -> i32 {
    let own = Some(supervisor.as_fd().as_raw_fd());
    match heritage.enter(Role::Coordinator, own).and_then(|page| Coordinator::new(heritage, supervisor, page, alone)?.run()) {
        Ok(()) => 0,
        Err(error) => {
            error!(%error, "the coordinator cannot go on");
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
    peek: Peek,
    ledger: Ledger,
    sums: Sums,
    storing: Storing,
    publisher: Publisher,
    inflight: Inflight,
    hands: Vec<Option<Hand>>,
    /// Results that wait for their turn to be merged, or for the clients of their logs.
    results: HashMap<u64, Counted>,
    next_scan: Instant,
    next_see: Instant,
    next_tick: Instant,
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
    /// The logs of which it was said that they cannot be read.
    unreadable: HashSet<u64>,
}

/// What was counted for a job, of the file that was open then.
struct Counted {
    job: Job,
    file: File,
    result: Sealed,
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

/// A worker's life.
struct Hand {
    /// `None`: nothing more is given to it or taken from it. It sees the end of its socket, ends, and is reaped.
    channel: Option<Channel>,
    /// What it counts, and the file.
    flight: Option<(Job, File)>,
}

impl<'a> Coordinator<'a> {
    fn new(heritage: &'a Heritage, supervisor: &'a Channel, page: StatusPage, alone: bool) -> io::Result<Coordinator<'a>> {
        let settings = &heritage.settings;
        let publisher = Publisher::new(Board::open(&heritage.board, heritage.board_size)?);
        let (inflight, left) = Inflight::open(&settings.state);
        let absolute = |folder: &PathBuf| std::fs::canonicalize(folder).or_else(|_| std::path::absolute(folder)).unwrap_or_else(|_| folder.clone());
        let mut ledger = Ledger::new(Policy {
            folders: settings.logs.iter().map(|folder| absolute(folder).as_os_str().as_bytes().to_vec()).collect(),
            range_bytes: settings.range_bytes,
            io: settings.io,
            final_after: settings.final_after,
            streams_max: settings.workers.saturating_sub(1).max(1),
        });
        ledger.suspect(left, alone);
        let mut sums = Sums::default();
        let storing = Storing::open(settings, &mut ledger, &mut sums, || page.beat())?;
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
            peek: Peek::default(),
            ledger,
            sums,
            storing,
            publisher,
            inflight,
            hands: (0..settings.workers).map(|_| None).collect(),
            results: HashMap::new(),
            next_scan: now,
            next_see: now,
            next_tick: now,
            unseen: false,
            scanned: false,
            stale: true,
            published: now,
            skipped: HashMap::new(),
            troubled: BTreeSet::new(),
            watching: Watching::Starting,
            counted: Counters::default(),
            unreadable: HashSet::new(),
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
            self.hear_keeper();
            self.publish();
            self.dispatch();
            self.storing.save(&mut self.ledger, &mut self.sums);
            let busy = self.hands.iter().flatten().any(|hand| hand.flight.is_some());
            self.page.set_activity(if busy { Activity::Working } else { Activity::Idle });
            self.inflight.note(self.ledger.suspects());
            match self.wait()? {
                Next::GoOn => {}
                Next::Stop => {
                    self.inflight.forget();
                    self.storing.finish(&mut self.ledger, &mut self.sums);
                    return Ok(());
                }
                Next::Orphaned => return Ok(()),
            }
            if !self.read_news()? {
                return Ok(());
            }
            self.read_requests()?;
            for worker in 0..self.hands.len() {
                self.read_answers(worker);
            }
        }
    }

    /// Waits until there is something to do. Says what.
    fn wait(&self) -> io::Result<Next> {
        let mut fds = vec![self.heritage.lifeline.as_fd(), self.notices.as_fd(), self.supervisor.as_fd(), self.storing.fd(), self.heritage.requests.1.as_fd()];
        fds.extend(self.watcher.fd());
        fds.extend(self.hands.iter().flatten().filter_map(|hand| hand.channel.as_ref()).map(AsFd::as_fd));
        let now = Instant::now();
        let publish = if self.stale { PUBLISH_EVERY.saturating_sub(now - self.published) } else { BEAT };
        let see = if self.unseen { self.next_see.saturating_duration_since(now) } else { BEAT };
        let tick = if self.ledger.waits() { self.next_tick.saturating_duration_since(now) } else { BEAT };
        let save = self.storing.next_due().map_or(BEAT, |due| due.saturating_duration_since(now));
        let timeout = self.next_scan.saturating_duration_since(now).min(publish).min(see).min(tick).min(save).min(BEAT);
        let ready = wait(&fds, timeout)?;
        let mut notices = std::iter::from_fn(|| self.notices.next());
        Ok(if notices.any(|notice| notice == Notice::Stop) {
            Next::Stop
        } else if ready[0] {
            Next::Orphaned
        } else {
            Next::GoOn
        })
    }

    // What the supervisor says.

    /// Takes what has come. Says whether the supervisor is still there.
    fn read_news(&mut self) -> io::Result<bool> {
        let mut message = [0; MESSAGE_BYTES];
        loop {
            match self.supervisor.receive(&mut message)? {
                Received::Nothing => return Ok(true),
                Received::Closed => return Ok(false),
                Received::Message(length, file) => match (News::from_bytes(&message[..length]), file) {
                    (Some(News::Born { worker }), Some(fd)) if worker < self.hands.len() => {
                        self.hands[worker] = Some(Hand { channel: Some(Channel::from_fd(fd)), flight: None });
                    }
                    (Some(News::Reaped { worker, death, hung }), None) if worker < self.hands.len() => {
                        // Before the last words are lost: what it had finished counts.
                        self.read_answers(worker);
                        if let Some((job, file)) = self.hands[worker].take().and_then(|hand| hand.flight) {
                            self.bury(&job, &file, death, hung);
                        }
                    }
                    _ => warn!("the supervisor said something that cannot be"),
                },
            }
        }
    }

    /// A worker died with a job.
    fn bury(&mut self, job: &Job, file: &File, death: Death, hung: Option<crate::job::Hang>) {
        info!(log = self.name(job.log), from = job.range.from(), to = job.range.to(), %death, "a worker died of or with a range; it is handed out again");
        let shorter = file.metadata().is_ok_and(|about| about.len() < job.range.to());
        if shorter && job.stream.is_none() {
            // It was truncated under the mapping: not the range's doing.
            self.lose_content(job);
        } else {
            self.ledger.lost(job.number, death, hung);
            self.drain(job.log);
        }
        self.stale = true;
    }

    // What the api asks for.

    fn read_requests(&mut self) -> io::Result<()> {
        let mut message = [0; MESSAGE_BYTES];
        while let Received::Message(length, _) = self.heritage.requests.1.receive(&mut message)? {
            match Request::from_bytes(&message[..length]) {
                Some(Request::Delete { log }) => {
                    info!(log = self.name(log), "a log is taken back");
                    self.ledger.delete(log);
                }
                Some(Request::Rescan) => {
                    self.ledger.retry(now());
                    self.next_scan = Instant::now();
                }
                Some(Request::Look) => self.next_scan = Instant::now(),
                Some(Request::Replace { log, file }) => {
                    info!(log = self.name(log), "a log is to be replaced by an upload");
                    self.ledger.replace_by(log, file);
                }
                Some(Request::Withdraw { file }) => self.ledger.withdraw(file),
                None => warn!("the api asked for something that cannot be"),
            }
            self.follow_events();
            self.stale = true;
        }
        Ok(())
    }

    // What the workers say.

    fn read_answers(&mut self, worker: usize) {
        let mut message = [0; MESSAGE_BYTES];
        while let Some(hand) = self.hands[worker].as_mut()
            && let Some(channel) = &hand.channel
        {
            match channel.receive(&mut message) {
                Ok(Received::Nothing) => return,
                Ok(Received::Message(length, result)) => {
                    let answer = Answer::from_bytes(&message[..length]);
                    match (answer, hand.flight.take()) {
                        (Some(answer), Some((job, file))) if answer.job() == job.number => {
                            // The worker need not wait while its result is merged.
                            self.dispatch();
                            self.take(answer, &job, file, result);
                        }
                        (_, flight) => {
                            warn!(worker, "a worker gave an answer that cannot be; it is let go");
                            *hand = Hand { channel: None, flight };
                        }
                    }
                }
                Ok(Received::Closed) => hand.channel = None,
                Err(error) => {
                    warn!(worker, %error, "cannot hear a worker; it is let go");
                    hand.channel = None;
                }
            }
        }
    }

    fn take(&mut self, answer: Answer, job: &Job, file: File, result: Option<OwnedFd>) {
        self.stale = true;
        match answer {
            Answer::Shorter { .. } => self.lose_content(job),
            Answer::Failed { errno, .. } => {
                warn!(log = self.name(job.log), from = job.range.from(), error = %io::Error::from_raw_os_error(errno), "cannot read a range");
                self.ledger.failed(job.number, errno);
                self.drain(job.log);
            }
            Answer::Counted { .. } => match self.accept(job, file, result) {
                Ok(()) => self.page.add_work(),
                Err(error) => {
                    warn!(log = self.name(job.log), from = job.range.from(), to = job.range.to(), %error, "a range is handed out again");
                    self.ledger.refused(job.number);
                    self.drain(job.log);
                }
            },
        }
    }

    /// Takes a result, if it can be taken. It is merged when its turn has come.
    fn accept(&mut self, job: &Job, file: File, result: Option<OwnedFd>) -> Result<(), NotMerged> {
        let result = Sealed::open(result.ok_or(NotMerged::Missing)?, RESULT_BYTES_MAX)?;
        let view = ResultView::check(&result, job)?;
        if !self.ledger.wants(job.number, job.log) {
            self.ledger.put_back(job.number);
            return Ok(());
        }
        self.ledger.done(job.number, done_of(&view));
        // Most often its turn is now.
        if self.ledger.ready(job.log, now()) == Some(job.number) && !self.sums.is_absent(job.log) {
            self.merge(job, &file, &view);
        } else {
            self.results.insert(job.number, Counted { job: *job, file, result });
        }
        self.drain(job.log);
        Ok(())
    }

    /// Merges the results of a log whose turn has come.
    fn drain(&mut self, log: u64) {
        while let Some(number) = self.ledger.ready(log, now()) {
            if self.sums.is_absent(log) {
                return self.storing.load(log, None);
            }
            let Some(Counted { job, file, result }) = self.results.remove(&number) else { break };
            match ResultView::check(&result, &job) {
                Ok(view) => self.merge(&job, &file, &view),
                // It was checked before, and nobody can have changed it.
                Err(error) => warn!(%error, "a result is not what it was"),
            }
        }
        self.results.retain(|number, counted| self.ledger.wants(*number, counted.job.log));
    }

    /// Merges a result, once, if the log is still what was counted.
    fn merge(&mut self, job: &Job, file: &File, view: &ResultView<'_>) {
        let Some(log) = self.ledger.log(job.log) else { return };
        let (name_day, ends) = (log.day, log.ends());
        let stands = || -> io::Result<bool> {
            let about = file.metadata()?;
            Ok(match job.stream {
                Some(_) => about.len() == log.size && changed(&about) == log.changed,
                None => about.len() >= view.tail.reach() && view.head.holds(file)? && view.tail.holds(file)?,
            } && all_hold(&ends, file)?)
        };
        // What cannot be looked at is not known to hold.
        if !stands().unwrap_or(false) {
            return self.lose_content(job);
        }
        let done = done_of(view);
        let to = end_of(&done, job.range, job.stream.is_some());
        // As long as there can be one: so two logs of one content have the same.
        let length = to.min(SAMPLE_BYTES as u64);
        let anchor = match view.tail {
            tail if (tail.at, tail.reach()) == (to - length, to) => Some(tail),
            _ => Sample::take(file, to - length, length as u32).ok().flatten(),
        }
        .filter(|anchor| anchor.length > 0);
        self.sums.add(job.log, name_day, view);
        self.count(view);
        self.ledger.merged(job.log, anchor, now());
        // Before it is shown: its lines may have been counted in another log.
        self.ledger.tell_stream(job.log, now(), &mut Eyes { peek: &mut self.peek, sums: &self.sums });
        self.ledger.kin(job.log, &mut Eyes { peek: &mut self.peek, sums: &self.sums });
        self.follow_events();
        debug!(log = self.name(job.log), from = job.range.from(), to = job.range.to(), "counted");
    }

    fn count(&mut self, view: &ResultView<'_>) {
        let counted = &mut self.counted;
        counted.parsed += view.days.iter().flat_map(|day| day.hours).sum::<u64>();
        counted.malformed += view.days.iter().map(|day| day.malformed).sum::<u64>();
        counted.blank += view.blank;
        counted.bytes += view.blank_bytes + view.days.iter().map(|day| day.bytes).sum::<u64>();
        counted.ranges += 1;
    }

    /// A job's log has other content than was counted.
    fn lose_content(&mut self, job: &Job) {
        self.ledger.put_back(job.number);
        if self.ledger.log(job.log).is_some_and(|log| !log.gone && log.generation == job.generation) {
            info!(log = self.name(job.log), "what was counted of the log is not in its file any more: it was truncated or rewritten");
            self.ledger.lose_content(job.log, now(), &mut Eyes { peek: &mut self.peek, sums: &self.sums });
            self.follow_events();
        }
        self.scan_soon();
    }

    // What is to be done.

    fn dispatch(&mut self) {
        let tails_only = self.storing.is_pressed();
        for worker in 0..self.hands.len() {
            while let Some(hand) = self.hands[worker].as_mut().filter(|hand| hand.flight.is_none())
                && let Some(channel) = &hand.channel
            {
                let Some(next) = self.ledger.next_job(tails_only) else { return };
                let opened = scan::open(&next.path, next.file).and_then(|file| {
                    let same = all_hold(&next.samples, &file)?;
                    let raw = if next.job.stream.is_some() { peek::raw_samples(&file, next.job.range.to())? } else { Vec::new() };
                    Ok((file, same, raw))
                });
                self.inflight.note(self.ledger.suspects());
                match opened {
                    Ok((file, true, raw)) => match channel.send(&next.job.to_bytes(), Some(file.as_fd())) {
                        Ok(()) => {
                            self.ledger.opened(&next.job, raw);
                            hand.flight = Some((next.job, file));
                        }
                        Err(_) => {
                            // It is dead, or it ends now that its socket does; its death will be told.
                            hand.channel = None;
                            self.ledger.put_back(next.job.number);
                        }
                    },
                    Ok((_, false, _)) => self.lose_content(&next.job),
                    Err(error) => {
                        // Renamed or removed since the last look, most often.
                        if error.kind() == io::ErrorKind::NotFound {
                            self.scan_soon();
                        }
                        self.ledger.cannot_open(next.job.number, error.raw_os_error().unwrap_or(libc::ENOENT));
                    }
                }
                self.stale = true;
            }
        }
    }

    /// Looks at the folders: at what events have named, or at everything.
    fn look(&mut self) {
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

    fn see(&mut self, full: bool) {
        self.unseen = false;
        let contents = self.watcher.contents();
        let troubled: Vec<usize> = contents.troubled.iter().map(|(folder, _)| *folder).collect();
        self.ledger.see(View { found: &contents.found, full, troubled: &troubled }, now(), &mut Eyes { peek: &mut self.peek, sums: &self.sums });
        self.peek.forget();
        self.scanned |= full && troubled.is_empty();
        self.note();
        self.follow_events();
        if self.ledger.is_missing_any() {
            self.scan_soon();
        }
        self.stale = true;
    }

    fn scan_soon(&mut self) {
        self.next_scan = self.next_scan.min(Instant::now() + SCAN_SOON);
    }

    /// Says once what is left out, which folders cannot be read, and how changes are found.
    fn note(&mut self) {
        let contents = self.watcher.contents();
        let skipped: HashMap<PathBuf, scan::Skip> = contents.skipped.iter().map(|skipped| (skipped.path.clone(), skipped.reason)).collect();
        for (path, reason) in skipped.iter().filter(|(path, reason)| self.skipped.get(*path) != Some(*reason) && **reason != scan::Skip::Hidden) {
            info!(path = shown_to_people(path.as_os_str().as_encoded_bytes()), %reason, "left out");
        }
        self.skipped = skipped;
        self.publisher.show_skipped(&contents.skipped.iter().map(|skipped| (skipped.name.clone(), skipped.reason)).collect());
        let folder = |at: &usize| self.heritage.settings.logs.get(*at).map_or(String::new(), |folder| folder.display().to_string());
        for (at, error) in contents.troubled.iter().filter(|(at, _)| !self.troubled.contains(at)) {
            warn!(folder = folder(at), %error, uid = crate::sys::process::uid(), "cannot read a watched folder; its numbers stay as they are");
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
                    warn!(why, "the system does not say what changes; the folders are looked at now and then");
                }
                Watching::Unable
            }
        };
        self.watching = watching;
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
                    info!(log = self.name(id), "what was counted of the log is void: it was taken back, or it is counted again");
                }
                Event::Dropped(id) => self.sums.remove(id),
                Event::Moved { from, to } => self.sums.take_over(from, to, day(to)),
                Event::Renamed(id) => self.sums.rename(id, day(id)),
                Event::Counts(id, counts) => self.sums.set_counts(id, counts),
            }
        }
    }

    /// Unions that the store's numbers do not tell are made before anything is shown.
    fn restore_unions(&mut self) {
        self.follow_events();
        let outcomes = self.storing.restore_unions(&mut self.sums, || self.page.beat());
        self.follow_outcomes(outcomes);
    }

    /// What the keeper has done.
    fn hear_keeper(&mut self) {
        let outcomes = self.storing.hear(&mut self.sums);
        self.follow_outcomes(outcomes);
        self.stale |= self.storing.take_changed();
    }

    fn follow_outcomes(&mut self, outcomes: Vec<(u64, storing::Outcome)>) {
        for (log, outcome) in outcomes {
            match outcome {
                storing::Outcome::Loaded => self.drain(log),
                storing::Outcome::Damaged => self.ledger.forget(log, now()),
            }
            self.follow_events();
            self.stale = true;
        }
    }

    fn publish(&mut self) {
        self.follow_events();
        let idle = !self.hands.iter().flatten().any(|hand| hand.flight.is_some());
        if self.stale && (idle || self.published.elapsed() >= PUBLISH_EVERY) {
            let changed = self.ledger.take_changed();
            self.complain(&changed);
            self.storing.note(&changed, &self.ledger);
            // A file that holds something else than before is looked at soon: what is in it is not known.
            let pending = u64::from(self.ledger.is_missing_any());
            let header = self.storing.header(Header {
                pending,
                scanned: self.scanned,
                troubled: self.troubled.len() as u64,
                watching: self.watching,
                skipped_more: self.watcher.contents().skipped_more,
                ..Header::default()
            });
            for more in [std::mem::take(&mut self.counted), self.storing.take_done()] {
                self.publisher.add(&more);
            }
            self.publisher.publish(&changed, &self.ledger, &mut self.sums, header);
            self.storing.want(&self.sums);
            (self.stale, self.published) = (false, Instant::now());
            self.note_ready();
            self.announce();
        }
    }

    /// Says once of each log that it cannot be read.
    fn complain(&mut self, changed: &BTreeSet<u64>) {
        for id in changed {
            match self.ledger.log(*id).and_then(|log| log.unreadable) {
                Some(errno) if self.unreadable.insert(*id) => {
                    let (error, uid) = (io::Error::from_raw_os_error(errno), crate::sys::process::uid());
                    warn!(log = self.name(*id), %error, uid, "cannot read a log; it is tried again at each look at the folders, and not in the numbers until then");
                }
                Some(_) => {}
                None => drop(self.unreadable.remove(id)),
            }
        }
    }

    /// Once everything there is has been counted, a table for who sits at the terminal.
    fn announce(&mut self) {
        let all_counted = self.scanned && self.ledger.logs().all(|(_, log)| log.pending() == 0);
        if all_counted && io::stderr().is_terminal() && self.publisher.announce() {
            let mut logs: Vec<(u64, &Log)> = self.ledger.logs().filter(|(_, log)| !log.gone && !log.deleted).collect();
            logs.sort_by(|one, two| one.1.name.cmp(&two.1.name));
            let rows: Vec<Row> = logs.into_iter().map(|(id, log)| Row { name: log.name.clone(), totals: self.sums.log(id) }).collect();
            journal::say(&table(&rows, self.sums.all().as_ref()));
        }
    }

    /// Once everything that was found at the start has been counted, the api may say so. Of what cannot be read, nothing is waited for.
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

/// Why a result was not merged.
#[derive(Debug, thiserror::Error)]
enum NotMerged {
    #[error("no result came with the answer")]
    Missing,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// What a result says beside its numbers.
fn done_of(view: &ResultView<'_>) -> Done {
    let ResultView { end, held, unterminated, tail, probe, damage, .. } = *view;
    Done { end, held, unterminated, tail, blocks: view.blocks.clone(), probe, damage }
}

/// When a file was last changed, as the scan says it.
fn changed(about: &std::fs::Metadata) -> Duration {
    Duration::new(about.mtime().max(0).cast_unsigned(), about.mtime_nsec().clamp(0, 999_999_999) as u32)
}

/// The time of the wall clock since 1970, to be compared with that of files.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
