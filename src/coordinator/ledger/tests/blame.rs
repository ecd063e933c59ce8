//! Facts about ranges that end the workers that count them, and about logs that cannot be read.

use std::collections::BTreeSet;

use super::*;
use crate::coordinator::work::QUARANTINE_BYTES;

const BIG: u64 = 1 << 16;

/// Fails the range with the byte 0 until it is given up; says how often it was tried and how.
fn fail_until_given_up(fail: impl Fn(&mut Ledger, u64)) -> (World, Vec<(u64, Io)>) {
    let mut world = World::new(BIG);
    world.create("a", of(1, BIG));
    world.see();
    let mut tries = Vec::new();
    while only(&world).pending() > 0 {
        assert!(tries.len() < 1_000);
        match world.dispatch() {
            Some(job) if job.range.from() == 0 => {
                tries.push((job.range.len(), job.io));
                world.end(job.number, &fail);
            }
            Some(job) => world.answer(job.number),
            // It was put aside until the folder is looked at again.
            None => world.see(),
        }
    }
    (world, tries)
}

#[test]
fn a_range_that_kills_is_read_then_halved_then_given_up() {
    let (world, tries) =
        fail_until_given_up(|ledger, number| ledger.lost(number, Death::Signal(libc::SIGSEGV), None));
    let mut wants = vec![(BIG, Io::Auto), (BIG, Io::Read)];
    wants.extend((1..=4).map(|half| (BIG >> half, Io::Read)));
    assert_eq!(tries, wants);
    let log = only(&world);
    assert_eq!(
        log.active().quarantine,
        [(Range::new(0, QUARANTINE_BYTES).unwrap(), Reason::Signal(libc::SIGSEGV))]
    );
    assert_eq!(
        (log.count.content.to, log.pending(), log.is_complete(), log.state()),
        (BIG, 0, false, LogState::Quarantined)
    );
    // What stands in the hole was not seen.
    assert_eq!(log.count.content.blocks[..2], [crate::sample::UNSEEN; 2]);
    check_days(&world, &[(1, (BIG - QUARANTINE_BYTES) as usize / 16)]);
}

#[test]
fn blame_needs_a_reason() {
    let cases = [
        (Death::Signal(libc::SIGBUS), None, 6),
        (Death::Signal(libc::SIGABRT), None, 6),
        (Death::Signal(libc::SIGSYS), None, 6),
        (Death::Exit(101), None, 6),
        (Death::Signal(libc::SIGKILL), Some(Hang::Busy), 6),
        // From outside: five times as often before it is believed.
        (Death::Signal(libc::SIGKILL), None, 30),
    ];
    for (death, hung, tries) in cases {
        assert_eq!(
            fail_until_given_up(|ledger, number| ledger.lost(number, death, hung)).1.len(),
            tries,
            "{death} {hung:?}"
        );
    }
    assert_eq!(fail_until_given_up(|ledger, number| ledger.failed(number, libc::EIO)).1.len(), 6);
    assert_eq!(fail_until_given_up(Ledger::refused).1.len(), 30);
    // Never believed.
    for (death, hung) in [
        (Death::Signal(libc::SIGKILL), Some(Hang::Still)),
        (Death::Signal(libc::SIGTERM), None),
        (Death::Exit(0), None),
    ] {
        assert_eq!(crate::coordinator::work::blame(death, hung), Blame::Nobody);
    }
}

#[test]
fn a_compressed_log_that_kills_is_given_up_whole() {
    let mut world = World::new(BIG);
    world.pack("a.gz", of(1, 1_000), true);
    world.see();
    while let Some(job) = world.dispatch() {
        world.end(job.number, |ledger, number| ledger.lost(number, Death::Exit(101), None));
    }
    assert_eq!(
        (only(&world).active().quarantine.len(), only(&world).pending(), only(&world).state()),
        (1, 0, LogState::Quarantined)
    );
}

#[test]
fn kills_from_outside_are_forgotten_when_the_range_is_counted() {
    let mut world = World::new(64);
    world.create("a", Vec::new());
    for round in 1..=20 {
        world.write("a", of(1, 16 * round));
        world.see();
        for _ in 0..4 {
            let job = world.dispatch().unwrap();
            world.end(job.number, |ledger, number| ledger.lost(number, Death::Signal(libc::SIGKILL), None));
        }
        world.count_all();
    }
    assert_eq!((only(&world).count.content.to, only(&world).is_complete()), (320, true));
}

#[test]
fn what_is_no_line_start_is_not_counted_for_ever() {
    let mut world = with(&[("a", 1, 40)]);
    // The end of it, in the middle of a line, is given up.
    while let Some(job) = world.dispatch() {
        world.end(job.number, |ledger, number| ledger.lost(number, Death::Exit(101), None));
    }
    assert_eq!(only(&world).count.content.to, 40);
    world.write("a", of(1, 47));
    world.settle();
    assert_eq!((only(&world).count.content.to, world.dispatch()), (47, None));
    world.write("a", of(1, 64));
    world.settle();
    check_days(&world, &[(1, 1)]);
}

/// Nothing is known of it, so nothing is it.
#[test]
fn another_log_is_not_taken_for_one_that_could_not_be_counted() {
    let mut world = with(&[("a", 1, 64)]);
    while let Some(job) = world.dispatch() {
        world.end(job.number, |ledger, number| ledger.lost(number, Death::Exit(101), None));
    }
    assert_eq!(only(&world).state(), LogState::Quarantined);
    world.remove("a");
    world.see_twice();
    world.create("longer", of(2, 96));
    world.create("shorter", of(3, 32));
    world.pack("packed.gz", of(4, 48), true);
    world.settle();
    check_days(&world, &[(2, 6), (3, 2), (4, 3)]);
}

#[test]
fn what_was_given_up_is_tried_again_if_somebody_asks() {
    let (mut world, _) = fail_until_given_up(|ledger, number| ledger.lost(number, Death::Exit(101), None));
    let now = world.now;
    world.ledger.retry(now);
    world.follow();
    world.settle();
    assert!(only(&world).is_complete());
    check_days(&world, &[(1, BIG as usize / 16)]);
}

#[test]
fn a_log_that_cannot_be_opened_holds_nothing_up() {
    let mut world = with(&[("a", 1, 64), ("b", 2, 64)]);
    let jobs = world.dispatch_all();
    let id = jobs[0].log;
    world.end(jobs[0].number, |ledger, number| ledger.cannot_open(number, libc::EACCES));
    world.answer(jobs[1].number);
    let log = world.ledger.log(id).unwrap();
    assert_eq!(
        (log.pending(), log.is_complete(), log.unreadable, world.dispatch()),
        (0, false, Some(libc::EACCES), None)
    );
    // As long as nothing changes, nothing is said to have.
    world.ledger.take_changed();
    world.see();
    let job = world.ledger.next_job(false).unwrap().job;
    world.ledger.cannot_open(job.number, libc::EACCES);
    assert_eq!(world.ledger.take_changed(), BTreeSet::new());
    world.settle();
    assert!(world.ledger.logs().all(|(_, log)| log.is_complete()));
}

#[test]
fn a_log_that_is_emptied_has_nothing_that_cannot_be_read() {
    let mut world = with(&[("a", 1, 64)]);
    let job = world.dispatch().unwrap();
    world.end(job.number, |ledger, number| ledger.cannot_open(number, libc::EACCES));
    world.write("a", Vec::new());
    world.settle();
    assert_eq!((only(&world).unreadable, only(&world).is_complete()), (None, true));
}

#[test]
fn a_job_that_is_not_wanted_any_more_says_nothing_of_its_log() {
    let mut world = with(&[("a", 1, 64)]);
    let job = world.dispatch().unwrap();
    world.write("a", of(2, 32));
    world.see();
    world.ledger.cannot_open(job.number, libc::EACCES);
    assert_eq!((only(&world).unreadable, ranges(&world.dispatch_all())), (None, vec![(0, 32)]));
}

#[test]
fn a_plan_goes_on_when_its_log_could_not_be_opened() {
    let mut world = with(&[("a", 1, 128)]);
    let jobs = world.dispatch_all();
    world.answer(jobs[0].number);
    world.end(jobs[1].number, |ledger, number| ledger.cannot_open(number, libc::ENOENT));
    assert_eq!((world.dispatch(), only(&world).unreadable), (None, None));
    world.rename("a", "b");
    world.see();
    assert_eq!(ranges(&world.dispatch_all()), [(64, 128)]);
}

/// Each coordinator dies of the range with the byte 10,000, and takes everything but the note with it.
#[test]
fn a_range_that_takes_the_whole_daemon_down_is_narrowed_down_and_given_up() {
    let mut left = Vec::new();
    for death in 0.. {
        assert!(death < 60, "{left:?}");
        let mut world = World::new(BIG);
        world.ledger.suspect(left, false);
        world.create("a", of(1, 3 * BIG));
        world.see();
        let dies = loop {
            let Some(job) = world.dispatch() else { break false };
            if job.range.from() <= 10_000 && 10_000 < job.range.to() {
                break true;
            }
            world.answer(job.number);
        };
        if !dies {
            // Nothing is merged before a hole is passed over, and that is done when something else is
            // through.
            let log = only(&world);
            let [(range, _)] = log.active().quarantine[..] else { panic!("{log:?}") };
            assert!(
                range.from() <= 10_000 && 10_000 < range.to() && range.len() == QUARANTINE_BYTES,
                "{range:?}"
            );
            assert_eq!((log.count.content.to, log.pending(), log.is_complete()), (3 * BIG, 0, false));
            return;
        }
        left = world.ledger.suspects().collect();
    }
}

/// There is nothing else to do for the log, so no answer comes that would pass over the hole.
#[test]
fn a_short_log_that_took_the_daemon_down_often_enough_is_given_up_at_once() {
    let mut world = World::new(BIG);
    world.ledger.suspect(
        vec![Suspect {
            file: (1, 1),
            range: Range::new(0, 64).unwrap(),
            strikes: 1,
            kills: KILLS_MAX - 1,
            flying: true,
        }],
        false,
    );
    world.create("a", of(1, 64));
    world.see();
    assert_eq!(
        (world.dispatch(), only(&world).pending(), only(&world).state()),
        (None, 0, LogState::Quarantined)
    );
}

#[test]
fn a_death_that_is_not_repeated_is_forgotten() {
    let mut world = World::new(BIG);
    world.ledger.suspect(
        vec![Suspect {
            file: (1, 1),
            range: Range::new(0, BIG).unwrap(),
            strikes: 0,
            kills: 3,
            flying: true,
        }],
        false,
    );
    world.create("a", of(1, 2 * BIG));
    world.settle();
    assert!(world.ledger.suspects().next().is_none() && only(&world).is_complete());
}

/// The coordinator does not touch the bytes that are in flight: whoever kills it alone, and again and again,
/// says nothing of them.
#[test]
fn a_range_is_not_to_blame_for_the_death_of_the_coordinator_alone() {
    let mut left = Vec::new();
    for _ in 0..3 * KILLS_MAX {
        let mut world = World::new(BIG);
        world.ledger.suspect(left, true);
        world.create("a", of(1, 64));
        world.see();
        assert!(world.dispatch().is_some());
        left = world.ledger.suspects().collect();
    }
    assert!(matches!(left[..], [Suspect { strikes: 0, kills: 0, flying: true, .. }]), "{left:?}");
}

#[test]
fn a_compressed_log_is_not_to_blame_for_the_death_of_the_daemon() {
    let mut world = World::new(64);
    world.pack("a.gz", of(1, 1_000), true);
    world.see();
    world.dispatch().unwrap();
    assert!(world.ledger.suspects().all(|suspect| !suspect.flying));
}

#[test]
fn a_range_that_has_ended_a_worker_is_noted_while_it_waits() {
    let mut world = with(&[("a", 1, 128)]);
    let jobs = world.dispatch_all();
    world.answer(jobs[1].number);
    world.end(jobs[0].number, |ledger, number| ledger.lost(number, Death::Signal(libc::SIGSEGV), None));
    let noted: Vec<Suspect> = world.ledger.suspects().collect();
    assert_eq!(noted, [Suspect { file: (1, 1), range: jobs[0].range, strikes: 1, kills: 0, flying: false }]);
    world.count_all();
    assert_eq!(world.ledger.suspects().count(), 0);
}

/// The model's seed 140043: a compressed log in a file whose inode another log had, of which a range was in
/// flight at the end, was cut there, and a part of a stream is none.
#[test]
fn a_compressed_log_is_not_cut_by_what_was_suspected_of_another_one() {
    for (from, to, kills) in [(0, 16, 0), (4, 16, KILLS_MAX), (16, 20, 3)] {
        let mut world = World::new(64);
        world.ledger.suspect(
            vec![Suspect {
                file: (1, 1),
                range: Range::new(from, to).unwrap(),
                strikes: 0,
                kills,
                flying: true,
            }],
            false,
        );
        world.pack("a.gz", of(1, 160), true);
        world.see();
        let jobs = world.dispatch_all();
        assert_eq!(ranges(&jobs), [(0, world.disk.file("a.gz").raw.len() as u64)]);
        world.answer(jobs[0].number);
        world.settle();
        assert!(only(&world).is_complete());
    }
}

/// Of a compressed log that kills, there are no halves.
#[test]
fn a_compressed_log_that_took_the_daemon_down_again_and_again_is_given_up_as_a_whole() {
    let mut world = World::new(64);
    let size = 20 + 160 / 3;
    world.ledger.suspect(
        vec![Suspect {
            file: (1, 1),
            range: Range::new(0, size).unwrap(),
            strikes: 1,
            kills: KILLS_MAX,
            flying: true,
        }],
        false,
    );
    world.pack("a.gz", of(1, 160), true);
    world.see();
    assert!(world.dispatch().is_none());
    assert_eq!(
        only(&world).active().quarantine.iter().map(|(range, _)| *range).collect::<Vec<_>>(),
        [Range::new(0, size).unwrap()]
    );
}
