//! The coordinator: what is in the folder, what must be counted, what has been counted.
//!
//! One thread, one loop. It believes no worker: a result is merged once, after it has been checked and the log found to be still the bytes
//! that were counted. It may die at any instruction: its successor counts again, and the board keeps the numbers meanwhile.
//! Deliberately absent: counting, HTTP.

mod inflight;
mod notify;
mod publish;
#[allow(dead_code)]
mod scan;
mod sums;
#[allow(dead_code)]
mod watch;
mod work;

/// The ledger as it is knows files by what was told of them before there were events.
#[path = "."]
mod before {
    pub mod ledger;

    use super::{inflight, work};

    pub mod scan {
        use std::path::PathBuf;
        use std::time::Duration;

        pub use super::super::scan::FileId;

        /// A file that may be a log.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Found {
            /// Its name as it is reported.
            pub name: Vec<u8>,
            /// Where it is.
            pub path: PathBuf,
            /// Which file it is.
            pub file: FileId,
            /// Its size, in bytes.
            pub size: u64,
            /// When it was last changed: since 1970.
            pub changed: Duration,
        }
    }
}
use before::ledger;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, error, info, warn};

use crate::board::{Activity, Board, StatusPage};
use crate::heritage::{Heritage, Role};
use crate::job::{Answer, Job, MESSAGE_BYTES, News, RESULT_BYTES_MAX, Refused, ResultView};
use crate::journal;
use crate::log::shown_to_people;
use crate::range::Sample;
use crate::show::{Row, table};
use crate::sys::memory::Sealed;
use crate::sys::process::Death;
use crate::sys::signal::{Notice, Notices};
use crate::sys::socket::{Channel, Received, wait};

use inflight::Inflight;
use ledger::{Done, Event, Ledger, Log};
use publish::Publisher;
use scan::{FileId, Scope, Skip};
use sums::Sums;
use watch::Watcher;

/// How long the loop waits at most, and so how often it shows that it lives.
const BEAT: Duration = Duration::from_millis(500);
/// The board is written no more often than this while results keep coming.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// The ledger is shown what events brought no more often than this: it looks at all files each time.
const SEE_EVERY: Duration = Duration::from_millis(50);
/// After a log was found to be another one, the folders are looked at again so soon.
const SCAN_SOON: Duration = Duration::from_millis(20);

/// Runs the coordinator until it is told to stop or the supervisor is gone. Says its exit code.
pub fn run(heritage: &Heritage, supervisor: &Channel) -> i32 {
    let own = Some(supervisor.as_fd().as_raw_fd());
    match heritage.enter(Role::Coordinator, own).and_then(|page| Coordinator::new(heritage, supervisor, page)?.run()) {
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
    ledger: Ledger,
    sums: Sums,
    publisher: Publisher,
    inflight: Inflight,
    hands: Vec<Option<Hand>>,
    watcher: Watcher,
    next_scan: Instant,
    /// Has the watcher anything new that the ledger does not know?
    unseen: bool,
    saw: Instant,
    scanned: bool,
    /// Is there something that the board does not show?
    stale: bool,
    published: Instant,
    /// What compresses each file: looked at once, as long as it has the name and does not get shorter.
    compressed: HashMap<FileId, Looked>,
    skipped: HashMap<PathBuf, Skip>,
    troubled: Vec<PathBuf>,
    /// The logs of which it was said that they cannot be opened.
    unopened: HashSet<u64>,
}

/// A file that was looked at, and what compresses it.
struct Looked {
    name: Vec<u8>,
    size: u64,
    compressed: Option<&'static str>,
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
    fn new(heritage: &'a Heritage, supervisor: &'a Channel, page: StatusPage) -> io::Result<Coordinator<'a>> {
        let settings = &heritage.settings;
        let (publisher, known) = Publisher::new(Board::open(&heritage.board, heritage.board_size)?);
        let (inflight, left) = Inflight::open(&settings.state);
        let mut ledger = Ledger::new(settings.range_bytes, settings.io, settings.final_after, known);
        ledger.suspect(left);
        let scope = Scope {
            folders: settings.logs.clone(),
            recursive: settings.recursive,
            include: settings.include.set().clone(),
            exclude: settings.exclude.set().clone(),
        };
        let now = Instant::now();
        Ok(Coordinator {
            heritage,
            supervisor,
            notices: Notices::take_stop()?,
            page,
            ledger,
            sums: Sums::default(),
            publisher,
            inflight,
            hands: (0..settings.workers).map(|_| None).collect(),
            watcher: Watcher::new(scope, settings.inotify),
            next_scan: now,
            unseen: false,
            saw: now,
            scanned: false,
            stale: true,
            published: now,
            compressed: HashMap::new(),
            skipped: HashMap::new(),
            troubled: Vec::new(),
            unopened: HashSet::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            self.page.beat();
            if self.next_scan <= Instant::now() {
                self.watcher.scan();
                self.see();
                // Counted from the end: a look that takes longer than that must leave time for work.
                self.next_scan = Instant::now() + self.heritage.settings.scan_every;
            } else if self.unseen && self.saw.elapsed() >= SEE_EVERY {
                self.see();
                // A new log is shown before anything of it is counted.
                self.publish();
            }
            self.dispatch();
            self.publish();
            let busy = self.hands.iter().flatten().any(|hand| hand.flight.is_some());
            self.page.set_activity(if busy { Activity::Working } else { Activity::Idle });
            self.inflight.note(self.ledger.flights());
            match self.wait()? {
                Next::GoOn => {}
                Next::Stop => {
                    self.inflight.forget();
                    return Ok(());
                }
                Next::Orphaned => return Ok(()),
            }
            let notice = self.watcher.read_events();
            self.unseen |= notice.changed;
            if notice.overflow {
                self.scan_soon();
            }
            if !self.read_news()? {
                return Ok(());
            }
            for worker in 0..self.hands.len() {
                self.read_answers(worker);
            }
        }
    }

    /// Waits until there is something to do. Says what.
    fn wait(&self) -> io::Result<Next> {
        let mut fds = vec![self.heritage.lifeline.as_fd(), self.notices.as_fd(), self.supervisor.as_fd()];
        fds.extend(self.watcher.fd());
        fds.extend(self.hands.iter().flatten().filter_map(|hand| hand.channel.as_ref()).map(AsFd::as_fd));
        let now = Instant::now();
        let publish = if self.stale { PUBLISH_EVERY.saturating_sub(now - self.published) } else { BEAT };
        let see = if self.unseen { SEE_EVERY.saturating_sub(now - self.saw) } else { BEAT };
        let timeout = self.next_scan.saturating_duration_since(now).min(publish).min(see).min(BEAT);
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
        if shorter {
            // It was truncated under the mapping: not the range's doing.
            self.void(job);
        } else {
            self.ledger.lost(job.number, death, hung, now());
        }
        self.stale = true;
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
                            self.take(answer, &job, &file, result);
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

    fn take(&mut self, answer: Answer, job: &Job, file: &File, result: Option<OwnedFd>) {
        self.stale = true;
        match answer {
            Answer::Shorter { .. } => self.void(job),
            Answer::Failed { errno, .. } => {
                warn!(log = self.name(job.log), from = job.range.from(), error = %io::Error::from_raw_os_error(errno), "cannot read a range");
                self.ledger.failed(job.number, errno, now());
            }
            Answer::Counted { .. } => match self.merge(job, file, result) {
                Ok(true) => self.page.add_work(),
                Ok(false) => self.void(job),
                Err(error) => {
                    warn!(log = self.name(job.log), from = job.range.from(), to = job.range.to(), %error, "a range is handed out again");
                    self.ledger.refused(job.number, now());
                }
            },
        }
    }

    /// Merges a result, once, if it can be taken. Says whether the log is still what was counted.
    fn merge(&mut self, job: &Job, file: &File, result: Option<OwnedFd>) -> Result<bool, NotMerged> {
        let result = Sealed::open(result.ok_or(NotMerged::Missing)?, RESULT_BYTES_MAX)?;
        let view = ResultView::check(&result, job)?;
        if !self.ledger.is_current(job) {
            self.ledger.put_back(job.number);
            return Ok(true);
        }
        if file.metadata()?.len() < view.tail.reach() || !view.head.holds(file)? || !view.tail.holds(file)? {
            return Ok(false);
        }
        let name_day = self.ledger.log(job.log).and_then(|log| log.day);
        self.sums.add(job.log, name_day, &view);
        let done = Done { end: view.end, held: view.held, unterminated: view.unterminated, head: view.head, tail: view.tail };
        let together = self.ledger.done(job.number, &done, now());
        // At once: what is counted of a log that was found void must not be taken out with what was void.
        self.follow_events();
        debug!(log = self.name(job.log), from = job.range.from(), to = job.range.to(), "counted");
        // What cannot be looked at is not known to hold.
        Ok(all_hold(&together, file).unwrap_or(false))
    }

    /// A job's log has other content than was counted.
    fn void(&mut self, job: &Job) {
        self.ledger.void_of(job);
        self.follow_events();
        self.scan_soon();
    }

    // What is to be done.

    fn dispatch(&mut self) {
        for worker in 0..self.hands.len() {
            while let Some(hand) = self.hands[worker].as_mut().filter(|hand| hand.flight.is_none())
                && let Some(channel) = &hand.channel
            {
                let Some(next) = self.ledger.next_job() else { return };
                let opened = scan::open(&next.path, next.file).and_then(|file| {
                    let same = all_hold(&next.samples, &file)?;
                    Ok((file, same))
                });
                self.inflight.note(self.ledger.flights());
                match opened {
                    Ok((file, true)) => match channel.send(&next.job.to_bytes(), Some(file.as_fd())) {
                        Ok(()) => {
                            self.unopened.remove(&next.job.log);
                            self.ledger.opened(&next.job);
                            hand.flight = Some((next.job, file));
                        }
                        Err(_) => {
                            // It is dead, or it ends now that its socket does; its death will be told.
                            hand.channel = None;
                            self.ledger.put_back(next.job.number);
                        }
                    },
                    Ok((_, false)) => self.void(&next.job),
                    Err(error) => {
                        // Renamed or removed since the last look, most often.
                        if error.kind() != io::ErrorKind::NotFound && self.unopened.insert(next.job.log) {
                            warn!(log = self.name(next.job.log), %error, uid = crate::sys::process::uid(), "cannot open a log; it is tried again");
                        }
                        self.ledger.cannot_open(next.job.number, error.raw_os_error().unwrap_or(libc::ENOENT));
                    }
                }
                self.stale = true;
            }
        }
    }

    fn see(&mut self) {
        self.unseen = false;
        let contents = self.watcher.contents();
        let found: Vec<scan::Found> = contents.found.values().cloned().collect();
        let skipped = contents.skipped.iter().map(|skipped| (skipped.path.clone(), skipped.reason)).collect();
        let troubled: Vec<_> = contents.troubled.iter().map(|(folder, error)| (self.heritage.settings.logs[*folder].clone(), error.to_string())).collect();
        let present: HashSet<FileId> = found.iter().map(|found| found.file).collect();
        self.compressed.retain(|file, _| present.contains(file));
        let found: Vec<_> = found.into_iter().filter(|found| self.is_log(found)).collect();
        let found: Vec<_> =
            found.into_iter().map(|scan::Found { name, path, file, size, changed, .. }| before::scan::Found { name, path, file, size, changed }).collect();
        self.note(skipped, &troubled);
        self.ledger.see(&found, troubled.is_empty(), now(), |log, found| {
            // What cannot be looked at now is looked at before more of it is counted.
            let samples: Vec<Sample> = log.samples().copied().collect();
            scan::open(&found.path, found.file).and_then(|file| all_hold(&samples, &file)).unwrap_or(true)
        });
        self.scanned |= troubled.is_empty();
        self.follow_events();
        (self.stale, self.saw) = (true, Instant::now());
    }

    fn scan_soon(&mut self) {
        self.next_scan = self.next_scan.min(Instant::now() + SCAN_SOON);
    }

    /// Compressed logs are left out: their bytes are no lines.
    fn is_log(&mut self, found: &scan::Found) -> bool {
        // The inode of a file that is gone may be another file's.
        if let Some(looked) = self.compressed.get_mut(&found.file)
            && looked.name == found.name
            && looked.size <= found.size
        {
            looked.size = found.size;
            return looked.compressed.is_none();
        }
        // What is shorter may become anything.
        if found.size < 6 {
            return true;
        }
        let Ok(compressed) = scan::open(&found.path, found.file).and_then(|file| crate::range::compression(&file)) else { return true };
        if let Some(format) = compressed {
            warn!(log = shown_to_people(&found.name), format, "compressed logs are not counted by this version; left out");
        }
        self.compressed.insert(found.file, Looked { name: found.name.clone(), size: found.size, compressed });
        compressed.is_none()
    }

    /// Says once what is left out and which folders cannot be read.
    fn note(&mut self, skipped: HashMap<PathBuf, Skip>, trouble: &[(PathBuf, String)]) {
        for (path, reason) in skipped.iter().filter(|(path, reason)| self.skipped.get(*path) != Some(*reason) && **reason != Skip::Hidden) {
            info!(path = shown_to_people(path.as_os_str().as_encoded_bytes()), %reason, "left out");
        }
        self.skipped = skipped;
        let troubled: Vec<PathBuf> = trouble.iter().map(|(folder, _)| folder.clone()).collect();
        for (folder, error) in trouble.iter().filter(|(folder, _)| !self.troubled.contains(folder)) {
            warn!(?folder, %error, uid = crate::sys::process::uid(), "cannot read a watched folder; its numbers stay as they are");
        }
        for folder in self.troubled.iter().filter(|folder| !troubled.contains(folder)) {
            info!(?folder, "a watched folder can be read again");
        }
        self.troubled = troubled;
    }

    fn follow_events(&mut self) {
        for event in self.ledger.take_events() {
            match event {
                Event::Void(id) => {
                    self.sums.remove(id);
                    if self.ledger.log(id).is_some() {
                        info!(
                            log = self.name(id),
                            "what was counted of the log is void: it was truncated or rewritten, or a last line went on; it is counted again"
                        );
                    }
                }
                Event::Renamed(id) => self.sums.rename(id, self.ledger.log(id).and_then(|log| log.day)),
            }
        }
    }

    fn publish(&mut self) {
        self.follow_events();
        let idle = !self.hands.iter().flatten().any(|hand| hand.flight.is_some());
        if self.stale && (idle || self.published.elapsed() >= PUBLISH_EVERY) {
            self.publisher.publish(&mut self.ledger, &mut self.sums, self.scanned, self.troubled.len() as u64);
            (self.stale, self.published) = (false, Instant::now());
            self.announce();
        }
    }

    /// Once everything there is has been counted, a table for who sits at the terminal.
    fn announce(&mut self) {
        let all_counted = self.scanned && self.ledger.logs().all(|(_, log)| log.pending() == 0);
        if all_counted && io::stderr().is_terminal() && self.publisher.announce() {
            let mut logs: Vec<(u64, &Log)> = self.ledger.logs().collect();
            logs.sort_by(|one, two| one.1.name.cmp(&two.1.name));
            let rows: Vec<Row> = logs.into_iter().map(|(id, log)| Row { name: log.name.clone(), totals: self.sums.log(id) }).collect();
            journal::say(&table(&rows, &self.sums.all()));
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

/// Does the file hold all of these bytes still?
fn all_hold(samples: &[Sample], file: &File) -> io::Result<bool> {
    for sample in samples {
        if !sample.holds(file)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The time of the wall clock since 1970, to be compared with that of files.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
