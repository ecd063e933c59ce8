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

/// Looks at a folder that could be read, where every file holds what was counted of it.
fn see(ledger: &mut Ledger, found: &[Found], now: Duration) {
    ledger.see(found, true, now, |_, _| true);
}

/// Likewise, often enough that what is not there is gone.
fn see_twice(ledger: &mut Ledger, found: &[Found], now: Duration) {
    see(ledger, found, now);
    see(ledger, found, now);
}

fn done(ledger: &mut Ledger, job: &Job, done: Done) {
    let _ = ledger.done(job.number, &done, NOW);
}

fn names(ledger: &Ledger, state: LogState) -> Vec<String> {
    ledger.logs().filter(|(_, log)| log.state() == state).map(|(_, log)| String::from_utf8(log.name.clone()).unwrap()).collect()
}

/// Every line ends where its range does.
fn whole(job: &Job) -> Done {
    Done { end: job.range.to(), held: false, unterminated: false, head: tail(job.range.from() + 1), tail: tail(job.range.to()) }
}

fn jobs(ledger: &mut Ledger) -> Vec<Job> {
    std::iter::from_fn(|| ledger.next_job()).map(|dispatch| dispatch.job).collect()
}

fn count_all(ledger: &mut Ledger) {
    for job in jobs(ledger) {
        let _ = ledger.done(job.number, &whole(&job), NOW);
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
    see(&mut ledger, &[found("a", 1, 5 * MIB + 7)], NOW);
    assert_eq!(only(&ledger).pending(), 5 * MIB + 7);
    let jobs = jobs(&mut ledger);
    let ranges: Vec<_> = jobs.iter().map(|job| (job.range.from(), job.range.to())).collect();
    let wants: Vec<_> = (0..6).map(|at| (at * MIB, ((at + 1) * MIB).min(5 * MIB + 7))).collect();
    assert_eq!(ranges, wants);
    for job in &jobs {
        assert!(!only(&ledger).is_complete());
        done(&mut ledger, job, whole(job));
        done(&mut ledger, job, whole(job)); // said twice, done once
    }
    assert_eq!((only(&ledger).counted_to, only(&ledger).pending(), only(&ledger).state()), (5 * MIB + 7, 0, LogState::Live));
    assert!(only(&ledger).is_complete());
    see(&mut ledger, &[found("a", 1, 5 * MIB + 7)], NOW);
    assert!(ledger.next_job().is_none());
}

#[test]
fn tails_come_first_then_the_newest_days() {
    let mut ledger = ledger();
    see(&mut ledger, &[found("old.log", 1, 10)], NOW);
    count_all(&mut ledger);
    see(&mut ledger, &[found("20210301.log", 2, 10), found("20210302.log", 3, 10), found("old.log", 1, 20), found("x.log", 4, 10)], NOW);
    let order: Vec<Vec<u8>> = jobs(&mut ledger).iter().map(|job| ledger.log(job.log).unwrap().name.clone()).collect();
    assert_eq!(order, [&b"old.log"[..], b"20210302.log", b"20210301.log", b"x.log"]);
}

#[test]
fn a_half_line_waits_for_more_or_for_the_end() {
    let mut ledger = ledger();
    see(&mut ledger, &[found("a", 1, 100)], NOW);
    let job = jobs(&mut ledger)[0];
    done(&mut ledger, &job, Done { end: 60, held: true, unterminated: false, head: tail(1), tail: tail(100) });
    assert_eq!((only(&ledger).counted_to, only(&ledger).pending()), (60, 0));
    see(&mut ledger, &[found("a", 1, 100)], NOW);
    assert!(ledger.next_job().is_none());
    // More of it: from its start.
    see(&mut ledger, &[found("a", 1, 120)], NOW);
    let job = jobs(&mut ledger)[0];
    assert_eq!((job.range.from(), job.range.to(), job.last), (60, 120, LastLine::Hold));
    done(&mut ledger, &job, Done { end: 60, held: true, unterminated: false, head: tail(1), tail: tail(120) });
    // No more of it for long: it counts.
    see(&mut ledger, &[found("a", 1, 120)], NOW + FINAL_AFTER);
    let job = jobs(&mut ledger)[0];
    assert_eq!((job.range.from(), job.last), (60, LastLine::Count));
    let _ = ledger.done(job.number, &Done { end: 120, held: false, unterminated: true, head: tail(1), tail: tail(120) }, NOW + FINAL_AFTER);
    assert_eq!((only(&ledger).counted_to, only(&ledger).state()), (120, LogState::Final));
    assert!(ledger.take_events().is_empty());
    // It goes on after all: half of it was counted as a line, so everything is counted again.
    see(&mut ledger, &[found("a", 1, 130)], NOW + FINAL_AFTER);
    assert!(matches!(ledger.take_events()[..], [Event::Void(_)]));
    assert_eq!(jobs(&mut ledger)[0].range.from(), 0);
}

#[test]
fn a_line_across_ranges_that_does_not_end_is_held_where_it_starts() {
    let mut ledger = ledger();
    see(&mut ledger, &[found("a", 1, 3 * MIB)], NOW);
    let jobs = jobs(&mut ledger);
    // The last range holds no line start, the middle one holds the start of the unfinished line; they are answered in any order.
    done(&mut ledger, &jobs[2], Done { end: 2 * MIB, held: false, unterminated: false, head: tail(1), tail: tail(3 * MIB) });
    done(&mut ledger, &jobs[1], Done { end: MIB + 5, held: true, unterminated: false, head: tail(1), tail: tail(3 * MIB) });
    done(&mut ledger, &jobs[0], whole(&jobs[0]));
    assert_eq!((only(&ledger).counted_to, only(&ledger).pending()), (MIB + 5, 0));
}

#[test]
fn a_shorter_log_is_counted_again_and_old_answers_count_nothing() {
    let mut ledger = ledger();
    see(&mut ledger, &[found("20210322.log", 1, 3 * MIB)], NOW);
    let old = jobs(&mut ledger);
    done(&mut ledger, &old[0], whole(&old[0]));
    see(&mut ledger, &[found("20210322.log", 1, 10)], NOW);
    assert!(matches!(ledger.take_events()[..], [Event::Void(_)]));
    assert!(!ledger.is_current(&old[1]));
    done(&mut ledger, &old[1], whole(&old[1]));
    ledger.lost(old[2].number, Death::Signal(libc::SIGBUS), None, NOW);
    let new = jobs(&mut ledger);
    assert_eq!(new.iter().map(|job| (job.range.from(), job.range.to(), job.generation)).collect::<Vec<_>>(), [(0, 10, 1)]);
    done(&mut ledger, &new[0], whole(&new[0]));
    assert_eq!(only(&ledger).counted_to, 10);
}

#[test]
fn a_log_that_was_written_to_and_is_as_long_is_doubted() {
    for same in [true, false] {
        let mut ledger = ledger();
        see(&mut ledger, &[found("a", 1, 10)], NOW);
        count_all(&mut ledger);
        ledger.see(&[Found { changed: NOW + Duration::from_secs(1), ..found("a", 1, 10) }], true, NOW, |_, _| same);
        assert_eq!((ledger.take_events().len(), ledger.next_job().is_some()), if same { (0, false) } else { (1, true) });
    }
}

#[test]
fn names_come_and_go() {
    let mut ledger = ledger();
    see(&mut ledger, &[found("access.log", 1, 10), found("20210322.log", 2, 10)], NOW);
    count_all(&mut ledger);
    let ids: HashMap<Vec<u8>, u64> = ledger.logs().map(|(id, log)| (log.name.clone(), id)).collect();
    // Rotated: the name has new content, the old content a new name.
    see(&mut ledger, &[found("access.log", 3, 5), found("access.log.1", 1, 10), found("20210322.log", 2, 10)], NOW);
    assert_eq!(ledger.take_events(), [Event::Renamed(ids[&b"access.log"[..]])]);
    assert_eq!(jobs(&mut ledger).len(), 1);
    // A second name of a file that is there says nothing.
    see(&mut ledger, &[found("access.log", 3, 5), found("access.log.1", 1, 10), found("another", 1, 10), found("20210322.log", 2, 10)], NOW);
    assert_eq!((ledger.logs().count(), ledger.take_events()), (3, vec![]));
    // A folder that cannot be read loses nothing.
    ledger.see(&[], false, NOW, |_, _| true);
    assert!(ledger.logs().all(|(_, log)| log.state() != LogState::Gone));
    // Missed once it is not gone yet: a rename while the folder was read looks like that.
    see(&mut ledger, &[], NOW);
    assert!(ledger.logs().all(|(_, log)| log.state() != LogState::Gone));
    // Gone, numbers kept; under a name with a date, new content replaces them.
    see(&mut ledger, &[], NOW);
    assert!(ledger.logs().all(|(_, log)| log.state() == LogState::Gone && log.pending() == 0));
    see(&mut ledger, &[found("access.log", 7, 10), found("20210322.log", 8, 10)], NOW);
    assert_eq!(ledger.take_events(), [Event::Void(ids[&b"20210322.log"[..]])]);
    assert_eq!(ledger.logs().count(), 4);
}

#[test]
fn a_known_name_and_file_gets_its_id_again() {
    let known = HashMap::from([((b"a".to_vec(), (1, 1)), 42), ((b"b".to_vec(), (1, 9)), 43)]);
    let mut ledger = Ledger::new(MIB, Io::Auto, FINAL_AFTER, known);
    see(&mut ledger, &[found("a", 1, 10), found("b", 2, 10)], NOW);
    let ids: Vec<u64> = ledger.logs().map(|(id, _)| id).collect();
    assert!(ids.contains(&42) && !ids.contains(&43));
}

#[test]
fn a_log_that_was_away_goes_on_where_it_was() {
    let mut ledger = ledger();
    see(&mut ledger, &[found("a", 1, 10), found("20210322.log", 2, 10)], NOW);
    count_all(&mut ledger);
    see_twice(&mut ledger, &[], NOW);
    assert_eq!(names(&ledger, LogState::Gone).len(), 2);
    // Under another name too.
    see(&mut ledger, &[found("a", 1, 15), found("20210323.log", 2, 10)], NOW);
    assert!(matches!(ledger.take_events()[..], [Event::Renamed(_)]));
    let jobs = jobs(&mut ledger);
    assert_eq!(jobs.iter().map(|job| (job.range.from(), job.range.to())).collect::<Vec<_>>(), [(10, 15)]);
    assert_eq!(ledger.logs().count(), 2);
}

#[test]
fn an_inode_that_is_used_again_is_another_log() {
    // What comes is shorter, or as long and other bytes; under a new name, or back under the old one.
    for (size, holds) in [(5, true), (10, false), (20, false)] {
        for away in [false, true] {
            let mut ledger = ledger();
            see(&mut ledger, &[found("access.log.1", 1, 10)], NOW);
            count_all(&mut ledger);
            if away {
                see_twice(&mut ledger, &[], NOW);
            }
            ledger.see(&[found("access.log", 1, size)], true, NOW, |_, _| holds);
            // The old lines were counted and stay.
            assert_eq!(ledger.take_events(), []);
            assert_eq!((names(&ledger, LogState::Gone), names(&ledger, LogState::Counting)), (vec!["access.log.1".to_owned()], vec!["access.log".to_owned()]));
            assert_eq!(jobs(&mut ledger).iter().map(|job| (job.range.from(), job.range.to())).collect::<Vec<_>>(), [(0, size)]);
        }
    }
}

/// The other name was taken for the log that was gone, so that the file was two logs.
#[test]
fn a_file_that_is_another_log_is_one_under_two_names() {
    let mut ledger = ledger();
    see(&mut ledger, &[found("a", 1, 3 * MIB)], NOW);
    jobs(&mut ledger);
    see(&mut ledger, &[found("b", 1, 10), found("c", 1, 10)], NOW);
    assert_eq!(ledger.logs().filter(|(_, log)| log.state() != LogState::Gone).count(), 1);
}

#[test]
fn a_log_that_takes_a_dated_name_replaces_what_the_name_held() {
    let mut ledger = ledger();
    see(&mut ledger, &[found("20210322.log", 1, 10), found("new", 2, 10)], NOW);
    count_all(&mut ledger);
    see(&mut ledger, &[found("20210322.log", 2, 10)], NOW);
    assert!(matches!(ledger.take_events()[..], [Event::Renamed(_), Event::Void(_)]));
    assert_eq!((only(&ledger).file, only(&ledger).is_complete()), ((1, 2), true));
}

#[test]
fn a_plan_goes_on_when_its_log_could_not_be_opened() {
    let mut ledger = ledger();
    see(&mut ledger, &[found("a", 1, 2 * MIB)], NOW);
    let jobs = jobs(&mut ledger);
    done(&mut ledger, &jobs[0], whole(&jobs[0]));
    ledger.cannot_open(jobs[1].number, libc::ENOENT);
    assert!(ledger.next_job().is_none());
    see(&mut ledger, &[found("b", 1, 2 * MIB)], NOW);
    let job = ledger.next_job().unwrap().job;
    assert_eq!((job.range, ledger.next_job().is_none()), (jobs[1].range, true));
    done(&mut ledger, &job, whole(&job));
    assert!(only(&ledger).is_complete());
}

#[test]
fn what_is_no_line_start_is_not_counted_for_ever() {
    let mut ledger = ledger();
    see(&mut ledger, &[found("a", 1, 4_000)], NOW);
    // The end of it, in the middle of a line, is given up.
    while let Some(Dispatch { job, .. }) = ledger.next_job() {
        ledger.lost(job.number, Death::Exit(101), None, NOW);
    }
    assert_eq!(only(&ledger).counted_to, 4_000);
    see(&mut ledger, &[found("a", 1, 4_010)], NOW);
    let job = jobs(&mut ledger)[0];
    done(&mut ledger, &job, Done { end: 4_000, ..whole(&job) });
    assert_eq!((only(&ledger).counted_to, ledger.next_job().is_none()), (4_010, true));
}

#[test]
fn a_last_line_that_grew_before_it_was_merged_is_counted_again() {
    let mut ledger = ledger();
    let long_after = NOW + FINAL_AFTER * 2;
    see(&mut ledger, &[found("a", 1, 2 * MIB)], long_after);
    let jobs = jobs(&mut ledger);
    done(&mut ledger, &jobs[1], Done { unterminated: true, ..whole(&jobs[1]) });
    see(&mut ledger, &[found("a", 1, 2 * MIB + 5)], long_after);
    assert_eq!(ledger.take_events(), []);
    done(&mut ledger, &jobs[0], whole(&jobs[0]));
    assert!(matches!(ledger.take_events()[..], [Event::Void(_)]));
}

#[test]
fn ranges_that_were_counted_apart_must_stand_together() {
    let mut ledger = ledger();
    see(&mut ledger, &[found("a", 1, 2 * MIB)], NOW);
    let both = jobs(&mut ledger);
    assert_eq!(ledger.done(both[0].number, &whole(&both[0]), NOW), []);
    assert_eq!(ledger.done(both[1].number, &whole(&both[1]), NOW), [tail(1), tail(MIB), tail(MIB + 1), tail(2 * MIB)]);
    see(&mut ledger, &[found("a", 1, 2 * MIB + 9)], NOW);
    let next = ledger.next_job().unwrap();
    assert_eq!(next.samples, [tail(1), tail(2 * MIB)]);
}

#[test]
fn a_log_that_went_before_it_was_counted_is_not_complete() {
    let mut ledger = ledger();
    see(&mut ledger, &[found("a", 1, 10)], NOW);
    count_all(&mut ledger);
    see(&mut ledger, &[found("a", 1, 20)], NOW);
    see_twice(&mut ledger, &[], NOW);
    assert_eq!((only(&ledger).state(), only(&ledger).is_complete(), only(&ledger).pending()), (LogState::Gone, false, 0));
}

/// Fails the range with the byte 0 until it is given up; says how often it was tried and how.
fn fail_until_given_up(fail: impl Fn(&mut Ledger, &Job)) -> (Ledger, Vec<(u64, Io)>) {
    let mut ledger = ledger();
    see(&mut ledger, &[found("a", 1, MIB)], NOW);
    let mut tries = Vec::new();
    while only(&ledger).pending() > 0 {
        assert!(tries.len() < 1_000);
        let Some(Dispatch { job, .. }) = ledger.next_job() else {
            // It was put aside until the folder is looked at again.
            see(&mut ledger, &[found("a", 1, MIB)], NOW);
            continue;
        };
        if job.range.from() == 0 {
            tries.push((job.range.len(), job.io));
            fail(&mut ledger, &job);
        } else {
            let _ = ledger.done(job.number, &whole(&job), NOW);
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
        see(&mut ledger, &[found("a", 1, 10 * (round + 1))], NOW);
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
    see(&mut ledger, &[found("a", 1, 10), found("b", 2, 10)], NOW);
    let jobs = jobs(&mut ledger);
    ledger.cannot_open(jobs[0].number, libc::EACCES);
    done(&mut ledger, &jobs[1], whole(&jobs[1]));
    let log = ledger.log(jobs[0].log).unwrap();
    assert_eq!((log.pending(), log.is_complete(), log.unreadable), (0, false, Some(libc::EACCES)));
    // As long as nothing changes, nothing is said to have.
    ledger.take_changed();
    see(&mut ledger, &[found("a", 1, 10), found("b", 2, 10)], NOW);
    let job = self::jobs(&mut ledger)[0];
    ledger.cannot_open(job.number, libc::EACCES);
    assert_eq!(ledger.take_changed(), BTreeSet::new());
    see(&mut ledger, &[found("a", 1, 10), found("b", 2, 10)], NOW);
    let job = self::jobs(&mut ledger)[0];
    ledger.opened(&job);
    done(&mut ledger, &job, whole(&job));
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
        see(&mut ledger, &[found("a", 1, 3 * MIB)], NOW);
        let dies = loop {
            let Some(Dispatch { job, .. }) = ledger.next_job() else { break false };
            if job.range.from() <= 100_000 && 100_000 < job.range.to() {
                break true;
            }
            let _ = ledger.done(job.number, &whole(&job), NOW);
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
    see(&mut ledger, &[found("a", 1, 2 * MIB)], NOW);
    count_all(&mut ledger);
    assert!(ledger.flights().next().is_none());
    assert!(only(&ledger).is_complete());
}

/// Random growth, truncation, rewriting, renaming, leaving and coming back, inodes used again, deaths and answers in any order: no line is counted twice, and
/// in the end none of those that are there is missing.
#[test]
fn whatever_happens_each_line_counts_once() {
    for seed in 1..500 {
        let mut world = World::new(seed);
        for _ in 0..300 {
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
    files: Vec<File>,
    /// Moved out of the folder.
    away: Vec<File>,
    /// Removed, but a worker may have them open still; so nobody else gets their inodes.
    removed: Vec<File>,
    files_made: u64,
    contents: u64,
    flying: Vec<Job>,
    /// By log: which lines of which content were counted, by their starts.
    merged: HashMap<u64, BTreeSet<(u64, u64)>>,
    now: Duration,
}

/// A file. Another content is other bytes from the first to the last.
#[derive(Clone)]
struct File {
    found: Found,
    content: u64,
}

const LINE: u64 = 16;

impl World {
    fn new(seed: u64) -> World {
        World {
            seed,
            random: seed * 2 + 1,
            ledger: Ledger::new(64, Io::Auto, FINAL_AFTER, HashMap::new()),
            files: Vec::new(),
            away: Vec::new(),
            removed: Vec::new(),
            files_made: 0,
            contents: 0,
            flying: Vec::new(),
            merged: HashMap::new(),
            now: NOW,
        }
    }

    fn below(&mut self, most: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % most
    }

    fn step(&mut self) {
        let (at, amount) = (self.below(4) as usize, self.below(300));
        // No two changes of a file bear the same time.
        self.now += Duration::from_millis(1);
        match self.below(20) {
            0 | 1 if self.files.len() < 4 => {
                self.files_made += 1;
                let is_open = |file: &File| self.flying.iter().any(|job| self.ledger.log(job.log).is_some_and(|log| log.file == file.found.file));
                let free = self.removed.iter().position(|file| !is_open(file));
                let inode = free.map_or(self.files_made, |at| self.removed.remove(at).found.file.1);
                // Every other name says a day.
                let name = format!("{}{:02}", ["a", "202103"][self.files_made as usize % 2], self.files_made % 28 + 1);
                if self.files.iter().all(|file| file.found.name != name.as_bytes()) {
                    self.contents += 1;
                    self.files.push(File { found: Found { changed: self.now, ..found(&name, inode, amount) }, content: self.contents });
                }
            }
            2..5 if at < self.files.len() => {
                self.files[at].found.size += amount;
                self.files[at].found.changed = self.now;
            }
            // Emptied or rewritten: shorter, as long, longer.
            5 if at < self.files.len() && amount < 100 => {
                self.contents += 1;
                let file = &mut self.files[at];
                file.content = self.contents;
                file.found.size = [amount, file.found.size, file.found.size + amount][amount as usize % 3];
                file.found.changed = self.now;
            }
            6 if at < self.files.len() => self.files[at].found.name.push(b'x'),
            7 if at < self.files.len() && amount < 100 => {
                let file = self.files.remove(at);
                self.removed.push(file);
            }
            8 if at < self.files.len() && amount < 100 => {
                let file = self.files.remove(at);
                self.away.push(file);
            }
            9 | 10 if self.files.len() < 4 => self.files.extend(self.away.pop()),
            11 => self.now += Duration::from_secs(amount),
            // A second name of a file, for one look.
            12 if at < self.files.len() && amount < 100 => {
                let mut link = self.files[at].clone();
                link.found.name.extend_from_slice(b"-link");
                link.found.path = "link".into();
                self.files.push(link);
                self.see(true);
                self.files.pop();
            }
            12 => self.see(true),
            13 => self.see(amount < 250),
            _ => self.work(),
        }
    }

    fn see(&mut self, whole: bool) {
        let found: Vec<Found> = self.files.iter().map(|file| file.found.clone()).collect();
        let contents: HashMap<FileId, u64> = self.files.iter().map(|file| (file.found.file, file.content)).collect();
        let holds = |log: &Log, found: &Found| log.samples().all(|sample| sample.hash == contents[&found.file] && sample.reach() <= found.size);
        self.ledger.see(&found, whole, self.now, holds);
        self.follow();
    }

    fn follow(&mut self) {
        for event in self.ledger.take_events() {
            if let Event::Void(id) = event {
                self.merged.remove(&id);
            }
        }
    }

    /// A file that a worker has open, wherever it is now.
    fn opened(&self, file: FileId) -> Option<&File> {
        self.files.iter().chain(&self.away).chain(&self.removed).find(|open| open.found.file == file)
    }

    fn hold(&self, samples: &[Sample], file: FileId) -> bool {
        self.opened(file).is_some_and(|file| samples.iter().all(|sample| sample.hash == file.content && sample.reach() <= file.found.size))
    }

    fn dispatch(&mut self) {
        let Some(Dispatch { job, file, samples, .. }) = self.ledger.next_job() else { return };
        let is_there = |open: &File| open.found.file == file && self.ledger.log(job.log).is_some_and(|log| log.name == open.found.name);
        let is_there = self.files.iter().any(is_there);
        match self.below(30) {
            0 => self.ledger.cannot_open(job.number, libc::EACCES),
            1 => self.ledger.put_back(job.number),
            _ if !is_there => self.ledger.cannot_open(job.number, libc::ENOENT),
            _ if !self.hold(&samples, file) => {
                self.ledger.void_of(&job);
                self.follow();
            }
            _ => {
                self.ledger.opened(&job);
                self.flying.push(job);
            }
        }
    }

    fn work(&mut self) {
        if self.flying.len() < 3 {
            self.dispatch();
        }
        if self.flying.is_empty() || self.below(2) == 0 {
            return;
        }
        let at = self.below(self.flying.len() as u64) as usize;
        let job = self.flying.swap_remove(at);
        let file = self.ledger.log(job.log).and_then(|log| self.opened(log.file)).cloned();
        match self.below(9) {
            0 => self.ledger.lost(job.number, Death::Signal(libc::SIGKILL), None, self.now),
            1 => self.ledger.put_back(job.number),
            2 => self.ledger.refused(job.number, self.now),
            3 => self.ledger.failed(job.number, libc::ENOMEM, self.now),
            _ => match file {
                _ if !self.ledger.is_current(&job) => self.ledger.put_back(job.number),
                Some(file) if file.found.size >= job.range.to() => self.answer(&job, &file),
                _ => {
                    self.ledger.void_of(&job);
                    self.follow();
                }
            },
        }
    }

    /// Counts as `range::count` does: the lines that start in the range, each to its end.
    fn answer(&mut self, job: &Job, File { found, content }: &File) {
        let size = found.size;
        let starts = (job.range.from().div_ceil(LINE)..).map(|line| line * LINE).take_while(|start| *start < job.range.to());
        let mut end = job.range.from();
        let (mut held, mut unterminated, mut reach) = (false, false, job.range.to());
        for start in starts {
            end = start;
            if start + LINE > size && job.last == LastLine::Hold {
                (held, reach) = (true, size);
                break;
            }
            unterminated |= start + LINE > size;
            end = (start + LINE).min(size);
            reach = reach.max(end);
            let twice = self.merged.values().any(|lines| lines.contains(&(*content, start)));
            assert!(!twice, "seed {}: the line at {start} of {found:?} is counted twice", self.seed);
            self.merged.entry(job.log).or_default().insert((*content, start));
        }
        let head = Sample { hash: *content, ..tail(job.range.from() + 1) };
        let tail = Sample { hash: *content, ..tail(reach) };
        let together = self.ledger.done(job.number, &Done { end, held, unterminated, head, tail }, self.now);
        self.follow();
        if !self.hold(&together, found.file) {
            self.ledger.void_of(job);
            self.follow();
        }
    }

    fn settle(&mut self) {
        // Long after the last change everything is final.
        self.now += FINAL_AFTER * 2;
        for _ in 0..2_000 {
            self.see(true);
            self.work();
        }
        for File { found, content } in &self.files {
            let (id, log) = self.ledger.logs().find(|(_, log)| log.file == found.file && log.state() != LogState::Gone).unwrap();
            // Killed ten times in a row on one short range, which is rare.
            if !log.quarantine.is_empty() {
                continue;
            }
            let lines = self.merged.get(&id).map_or(0, |lines| lines.iter().filter(|(of, _)| of == content).count()) as u64;
            let all = self.merged.get(&id).map_or(0, BTreeSet::len) as u64;
            assert_eq!((lines, all), (found.size.div_ceil(LINE), lines), "seed {}: {log:?}", self.seed);
            assert!(log.is_complete(), "seed {}: {log:?}", self.seed);
            assert_eq!((log.counted_to, log.pending()), (found.size, 0), "seed {}", self.seed);
        }
    }
}
