//! Facts about the ledger, and a model that does to it whatever can happen.

use super::*;
use crate::coordinator::work::QUARANTINE_BYTES;

const MIB: u64 = 1 << 20;
const FINAL_AFTER: Duration = Duration::from_secs(300);
/// A time at which nothing that was changed at its own time is final yet.
const NOW: Duration = Duration::from_secs(1_000_000);

fn ledger() -> Ledger {
    Ledger::new(MIB, Io::Auto, FINAL_AFTER, HashMap::new())
}

fn found(name: &str, inode: u64, size: u64) -> Found {
    Found { name: name.into(), path: name.into(), file: (1, inode), size, changed: NOW }
}

fn tail(to: u64) -> Sample {
    Sample { at: to - 1, length: 1, hash: 0 }
}

/// Every line ends where its range does.
fn whole(job: &Job) -> Done {
    Done { end: job.range.to(), held: false, unterminated: false, tail: tail(job.range.to()) }
}

fn jobs(ledger: &mut Ledger) -> Vec<Job> {
    std::iter::from_fn(|| ledger.next_job()).map(|dispatch| dispatch.job).collect()
}

fn count_all(ledger: &mut Ledger) {
    for job in jobs(ledger) {
        ledger.done(job.number, &whole(&job), NOW);
    }
}

fn only(ledger: &Ledger) -> &Log {
    let mut logs = ledger.logs();
    let (_, log) = logs.next().unwrap();
    assert!(logs.next().is_none());
    log
}

#[test]
fn a_log_is_cut_into_ranges_and_counted_once() {
    let mut ledger = ledger();
    ledger.see(&[found("a", 1, 5 * MIB + 7)], true, NOW);
    assert_eq!(only(&ledger).pending(), 5 * MIB + 7);
    let jobs = jobs(&mut ledger);
    let ranges: Vec<_> = jobs.iter().map(|job| (job.range.from(), job.range.to())).collect();
    let wants: Vec<_> = (0..6).map(|at| (at * MIB, ((at + 1) * MIB).min(5 * MIB + 7))).collect();
    assert_eq!(ranges, wants);
    for job in &jobs {
        assert!(!only(&ledger).is_complete());
        ledger.done(job.number, &whole(job), NOW);
        ledger.done(job.number, &whole(job), NOW); // said twice, done once
    }
    assert_eq!((only(&ledger).counted_to, only(&ledger).pending(), only(&ledger).state()), (5 * MIB + 7, 0, LogState::Live));
    assert!(only(&ledger).is_complete());
    ledger.see(&[found("a", 1, 5 * MIB + 7)], true, NOW);
    assert!(ledger.next_job().is_none());
}

#[test]
fn tails_come_first_then_the_newest_days() {
    let mut ledger = ledger();
    ledger.see(&[found("old.log", 1, 10)], true, NOW);
    count_all(&mut ledger);
    ledger.see(&[found("20210301.log", 2, 10), found("20210302.log", 3, 10), found("old.log", 1, 20), found("x.log", 4, 10)], true, NOW);
    let order: Vec<Vec<u8>> = jobs(&mut ledger).iter().map(|job| ledger.log(job.log).unwrap().name.clone()).collect();
    assert_eq!(order, [&b"old.log"[..], b"20210302.log", b"20210301.log", b"x.log"]);
}

#[test]
fn a_half_line_waits_for_more_or_for_the_end() {
    let mut ledger = ledger();
    ledger.see(&[found("a", 1, 100)], true, NOW);
    let job = jobs(&mut ledger)[0];
    ledger.done(job.number, &Done { end: 60, held: true, unterminated: false, tail: tail(100) }, NOW);
    assert_eq!((only(&ledger).counted_to, only(&ledger).pending()), (60, 0));
    ledger.see(&[found("a", 1, 100)], true, NOW);
    assert!(ledger.next_job().is_none());
    // More of it: from its start.
    ledger.see(&[found("a", 1, 120)], true, NOW);
    let job = jobs(&mut ledger)[0];
    assert_eq!((job.range.from(), job.range.to(), job.last), (60, 120, LastLine::Hold));
    ledger.done(job.number, &Done { end: 60, held: true, unterminated: false, tail: tail(120) }, NOW);
    // No more of it for long: it counts.
    ledger.see(&[found("a", 1, 120)], true, NOW + FINAL_AFTER);
    let job = jobs(&mut ledger)[0];
    assert_eq!((job.range.from(), job.last), (60, LastLine::Count));
    ledger.done(job.number, &Done { end: 120, held: false, unterminated: true, tail: tail(120) }, NOW + FINAL_AFTER);
    assert_eq!((only(&ledger).counted_to, only(&ledger).state()), (120, LogState::Final));
    assert!(ledger.take_events().is_empty());
    // It goes on after all: half of it was counted as a line, so everything is counted again.
    ledger.see(&[found("a", 1, 130)], true, NOW + FINAL_AFTER);
    assert!(matches!(ledger.take_events()[..], [Event::Void(_)]));
    assert_eq!(jobs(&mut ledger)[0].range.from(), 0);
}

#[test]
fn a_line_across_ranges_that_does_not_end_is_held_where_it_starts() {
    let mut ledger = ledger();
    ledger.see(&[found("a", 1, 3 * MIB)], true, NOW);
    let jobs = jobs(&mut ledger);
    // The last range holds no line start, the middle one holds the start of the unfinished line; they are answered in any order.
    ledger.done(jobs[2].number, &Done { end: 2 * MIB, held: false, unterminated: false, tail: tail(3 * MIB) }, NOW);
    ledger.done(jobs[1].number, &Done { end: MIB + 5, held: true, unterminated: false, tail: tail(3 * MIB) }, NOW);
    ledger.done(jobs[0].number, &whole(&jobs[0]), NOW);
    assert_eq!((only(&ledger).counted_to, only(&ledger).pending()), (MIB + 5, 0));
}

#[test]
fn a_shorter_log_is_counted_again_and_old_answers_count_nothing() {
    let mut ledger = ledger();
    ledger.see(&[found("20210322.log", 1, 3 * MIB)], true, NOW);
    let old = jobs(&mut ledger);
    ledger.done(old[0].number, &whole(&old[0]), NOW);
    ledger.see(&[found("20210322.log", 1, 10)], true, NOW);
    assert!(matches!(ledger.take_events()[..], [Event::Void(_)]));
    assert!(!ledger.is_current(&old[1]));
    ledger.done(old[1].number, &whole(&old[1]), NOW);
    ledger.lost(old[2].number, Death::Signal(libc::SIGBUS), None, NOW);
    let new = jobs(&mut ledger);
    assert_eq!(new.iter().map(|job| (job.range.from(), job.range.to(), job.generation)).collect::<Vec<_>>(), [(0, 10, 1)]);
    ledger.done(new[0].number, &whole(&new[0]), NOW);
    assert_eq!(only(&ledger).counted_to, 10);
}

#[test]
fn a_log_that_was_written_to_and_is_as_long_is_doubted() {
    let mut ledger = ledger();
    ledger.see(&[found("a", 1, 10)], true, NOW);
    count_all(&mut ledger);
    ledger.see(&[Found { changed: NOW + Duration::from_secs(1), ..found("a", 1, 10) }], true, NOW);
    assert!(matches!(ledger.take_events()[..], [Event::Doubt(_)]));
}

#[test]
fn names_come_and_go() {
    let mut ledger = ledger();
    ledger.see(&[found("access.log", 1, 10), found("20210322.log", 2, 10)], true, NOW);
    count_all(&mut ledger);
    let ids: HashMap<Vec<u8>, u64> = ledger.logs().map(|(id, log)| (log.name.clone(), id)).collect();
    // Rotated: the name has new content, the old content a new name.
    ledger.see(&[found("access.log", 3, 5), found("access.log.1", 1, 10), found("20210322.log", 2, 10)], true, NOW);
    assert_eq!(ledger.take_events(), [Event::Renamed(ids[&b"access.log"[..]])]);
    assert_eq!(jobs(&mut ledger).len(), 1);
    // A second name of a file that is there says nothing.
    ledger.see(&[found("access.log", 3, 5), found("access.log.1", 1, 10), found("another", 1, 10), found("20210322.log", 2, 10)], true, NOW);
    assert_eq!((ledger.logs().count(), ledger.take_events()), (3, vec![]));
    // A folder that cannot be read loses nothing.
    ledger.see(&[], false, NOW);
    assert!(ledger.logs().all(|(_, log)| log.state() != LogState::Gone));
    // Gone, numbers kept; under a name with a date, new content replaces them.
    ledger.see(&[], true, NOW);
    assert!(ledger.logs().all(|(_, log)| log.state() == LogState::Gone && log.pending() == 0));
    ledger.see(&[found("access.log", 7, 10), found("20210322.log", 8, 10)], true, NOW);
    assert_eq!(ledger.take_events(), [Event::Void(ids[&b"20210322.log"[..]])]);
    assert_eq!(ledger.logs().count(), 4);
}

#[test]
fn a_known_name_and_file_gets_its_id_again() {
    let known = HashMap::from([((b"a".to_vec(), (1, 1)), 42), ((b"b".to_vec(), (1, 9)), 43)]);
    let mut ledger = Ledger::new(MIB, Io::Auto, FINAL_AFTER, known);
    ledger.see(&[found("a", 1, 10), found("b", 2, 10)], true, NOW);
    let ids: Vec<u64> = ledger.logs().map(|(id, _)| id).collect();
    assert!(ids.contains(&42) && !ids.contains(&43));
}

/// Fails the range with the byte 0 until it is given up; says how often it was tried and how.
fn fail_until_given_up(fail: impl Fn(&mut Ledger, &Job)) -> (Ledger, Vec<(u64, Io)>) {
    let mut ledger = ledger();
    ledger.see(&[found("a", 1, MIB)], true, NOW);
    let mut tries = Vec::new();
    while let Some(Dispatch { job, .. }) = ledger.next_job() {
        assert!(tries.len() < 1_000);
        if job.range.from() == 0 {
            tries.push((job.range.len(), job.io));
            fail(&mut ledger, &job);
        } else {
            ledger.done(job.number, &whole(&job), NOW);
        }
    }
    (ledger, tries)
}

#[test]
fn a_range_that_kills_is_read_then_halved_then_given_up() {
    let crash = Death::Signal(libc::SIGSEGV);
    let (ledger, tries) = fail_until_given_up(|ledger, job| ledger.lost(job.number, crash, None, NOW));
    let mut wants = vec![(MIB, Io::Auto), (MIB, Io::Read)];
    wants.extend((1..=8).map(|half| (MIB >> half, Io::Read)));
    assert_eq!(tries, wants);
    let log = only(&ledger);
    assert_eq!(log.quarantine, [(Range::new(0, 4096).unwrap(), Reason::Crash(crash))]);
    assert_eq!((log.counted_to, log.pending(), log.is_complete()), (MIB, 0, false));
}

#[test]
fn blame_needs_a_reason() {
    let cases = [
        (Death::Signal(libc::SIGBUS), None, 10),
        (Death::Signal(libc::SIGABRT), None, 10),
        (Death::Signal(libc::SIGSYS), None, 10),
        (Death::Exit(101), None, 10),
        (Death::Signal(libc::SIGKILL), Some(Hang::Busy), 10),
        // From outside: five times as often before it is believed.
        (Death::Signal(libc::SIGKILL), None, 50),
    ];
    for (death, hung, tries) in cases {
        assert_eq!(fail_until_given_up(|ledger, job| ledger.lost(job.number, death, hung, NOW)).1.len(), tries, "{death} {hung:?}");
    }
    assert_eq!(fail_until_given_up(|ledger, job| ledger.failed(job.number, libc::EIO, NOW)).1.len(), 10);
    assert_eq!(fail_until_given_up(|ledger, job| ledger.refused(job.number, NOW)).1.len(), 50);
    // Never believed.
    for (death, hung) in [(Death::Signal(libc::SIGKILL), Some(Hang::Still)), (Death::Signal(libc::SIGTERM), None), (Death::Exit(0), None)] {
        assert_eq!(blame(death, hung), Blame::Nobody);
    }
}

#[test]
fn kills_from_outside_are_forgotten_when_the_range_is_counted() {
    let mut ledger = ledger();
    for round in 0..20 {
        ledger.see(&[found("a", 1, 10 * (round + 1))], true, NOW);
        for _ in 0..4 {
            let job = jobs(&mut ledger)[0];
            ledger.lost(job.number, Death::Signal(libc::SIGKILL), None, NOW);
        }
        count_all(&mut ledger);
    }
    assert_eq!((only(&ledger).counted_to, only(&ledger).is_complete()), (200, true));
}

#[test]
fn a_log_that_cannot_be_opened_holds_nothing_up() {
    let mut ledger = ledger();
    ledger.see(&[found("a", 1, 10), found("b", 2, 10)], true, NOW);
    let jobs = jobs(&mut ledger);
    ledger.cannot_open(jobs[0].number, libc::EACCES);
    ledger.done(jobs[1].number, &whole(&jobs[1]), NOW);
    let log = ledger.log(jobs[0].log).unwrap();
    assert_eq!((log.pending(), log.is_complete(), log.unreadable), (0, false, Some(libc::EACCES)));
    ledger.see(&[found("a", 1, 10), found("b", 2, 10)], true, NOW);
    count_all(&mut ledger);
    assert!(ledger.logs().all(|(_, log)| log.is_complete()));
}

/// Each coordinator dies of the range with the byte 100,000, and takes everything but the note with it.
#[test]
fn a_range_that_takes_the_whole_daemon_down_is_narrowed_down_and_given_up() {
    let mut left = Vec::new();
    for death in 0.. {
        assert!(death < 60, "{left:?}");
        let mut ledger = ledger();
        ledger.suspect(left);
        ledger.see(&[found("a", 1, 3 * MIB)], true, NOW);
        let dies = loop {
            let Some(Dispatch { job, .. }) = ledger.next_job() else { break false };
            if job.range.from() <= 100_000 && 100_000 < job.range.to() {
                break true;
            }
            ledger.done(job.number, &whole(&job), NOW);
        };
        if !dies {
            let log = only(&ledger);
            let [(range, _)] = log.quarantine[..] else { panic!("{log:?}") };
            assert!(range.from() <= 100_000 && 100_000 < range.to() && range.len() == QUARANTINE_BYTES, "{range:?}");
            assert_eq!((log.counted_to, log.pending(), log.is_complete()), (3 * MIB, 0, false));
            return;
        }
        left = ledger.flights().collect();
    }
}

#[test]
fn a_death_that_is_not_repeated_is_forgotten() {
    let mut ledger = ledger();
    ledger.suspect(vec![Suspect { file: (1, 1), range: Range::new(0, MIB).unwrap(), strikes: 0, kills: 3 }]);
    ledger.see(&[found("a", 1, 2 * MIB)], true, NOW);
    count_all(&mut ledger);
    assert!(ledger.flights().next().is_none());
    assert!(only(&ledger).is_complete());
}

/// Random growth, truncation, renaming, deaths and answers in any order: of each generation of each log, no line is counted twice, and in the end none is missing.
#[test]
fn whatever_happens_each_line_counts_once() {
    for seed in 1..300 {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.step();
        }
        world.settle();
    }
}

/// Files of lines of 16 bytes but for the last, a ledger, and what was merged.
struct World {
    seed: u64,
    random: u64,
    ledger: Ledger,
    files: Vec<Found>,
    inodes: u64,
    flying: Vec<Job>,
    /// By log: which lines were counted, by their starts.
    merged: HashMap<u64, BTreeSet<u64>>,
    now: Duration,
}

const LINE: u64 = 16;

impl World {
    fn new(seed: u64) -> World {
        let ledger = Ledger::new(64, Io::Auto, FINAL_AFTER, HashMap::new());
        World { seed, random: seed * 2 + 1, ledger, files: Vec::new(), inodes: 0, flying: Vec::new(), merged: HashMap::new(), now: NOW }
    }

    fn below(&mut self, most: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % most
    }

    fn step(&mut self) {
        let (at, amount) = (self.below(4) as usize, self.below(300));
        match self.below(12) {
            0 if self.files.len() < 4 => {
                self.inodes += 1;
                let name = format!("{}{:02}", ["a", "202103"][self.inodes as usize % 2], self.inodes);
                self.files.push(Found { changed: self.now, ..found(&name, self.inodes, amount) });
            }
            1 | 2 if at < self.files.len() => {
                self.files[at].size += amount;
                self.files[at].changed = self.now;
            }
            3 if at < self.files.len() && amount < 40 => {
                self.files[at].size = self.files[at].size.min(amount);
                self.files[at].changed = self.now;
            }
            4 if at < self.files.len() => self.files[at].name.push(b'x'),
            5 if at < self.files.len() && amount < 30 => drop(self.files.remove(at)),
            6 => self.now += Duration::from_secs(amount),
            7 => self.see(),
            _ => self.work(),
        }
    }

    fn see(&mut self) {
        self.ledger.see(&self.files.clone(), true, self.now);
        self.follow();
    }

    fn follow(&mut self) {
        for event in self.ledger.take_events() {
            if let Event::Void(id) = event {
                self.merged.remove(&id);
            }
        }
    }

    fn work(&mut self) {
        if self.flying.len() < 3 {
            self.flying.extend(self.ledger.next_job().map(|dispatch| dispatch.job));
        }
        if self.flying.is_empty() || self.below(2) == 0 {
            return;
        }
        let at = self.below(self.flying.len() as u64) as usize;
        let job = self.flying.swap_remove(at);
        let size = self.ledger.log(job.log).and_then(|log| self.files.iter().find(|found| found.file == log.file)).map(|found| found.size);
        match self.below(6) {
            0 => self.ledger.lost(job.number, Death::Signal(libc::SIGKILL), None, self.now),
            1 => self.ledger.put_back(job.number),
            _ => match size {
                Some(size) if size >= job.range.to() && self.ledger.is_current(&job) => self.answer(&job, size),
                _ => {
                    self.ledger.void_of(job.number);
                    self.follow();
                }
            },
        }
    }

    /// Counts as `range::count` does: the lines that start in the range, each to its end.
    fn answer(&mut self, job: &Job, size: u64) {
        let starts = (job.range.from().div_ceil(LINE)..).map(|line| line * LINE).take_while(|start| *start < job.range.to());
        let mut end = job.range.from();
        let (mut held, mut unterminated, mut reach) = (false, false, job.range.to());
        let merged = self.merged.entry(job.log).or_default();
        for start in starts {
            end = start;
            if start + LINE > size && job.last == LastLine::Hold {
                (held, reach) = (true, size);
                break;
            }
            unterminated |= start + LINE > size;
            end = (start + LINE).min(size);
            reach = reach.max(end);
            assert!(merged.insert(start), "seed {}: the line at {start} is counted twice", self.seed);
        }
        self.ledger.done(job.number, &Done { end, held, unterminated, tail: tail(reach) }, self.now);
    }

    fn settle(&mut self) {
        // Long after the last change everything is final.
        self.now += FINAL_AFTER * 2;
        for _ in 0..2_000 {
            self.see();
            self.work();
        }
        for found in &self.files {
            let (id, log) = self.ledger.logs().find(|(_, log)| log.file == found.file && log.state() != LogState::Gone).unwrap();
            let lines = self.merged.get(&id).map_or(0, BTreeSet::len) as u64;
            assert_eq!(lines, found.size.div_ceil(LINE), "seed {}: {log:?}", self.seed);
            assert!(log.is_complete(), "seed {}: {log:?}", self.seed);
            assert_eq!((log.counted_to, log.pending()), (found.size, 0), "seed {}", self.seed);
        }
    }
}
