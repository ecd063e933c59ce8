//! Facts about the ledger, and a model that does to it whatever can happen.

mod blame;
mod duplicates;
mod foreign;
mod model;
mod old;
mod successor;
mod world;

use std::collections::BTreeMap;

use super::super::inflight::Suspect;
use super::super::scan::FileId;
use super::super::work::{Blame, KILLS_MAX};
use super::flight::{Dispatch, WAITING_MAX};
use super::plan::{ROTATED_AFTER, SETTLED_AFTER};
use super::*;
use crate::board::LogState;
use crate::board::Reason;
use crate::job::{Hang, Job};
use crate::range::{LastLine, Range};
use crate::sample::Sample;
use crate::sys::process::Death;
use world::*;

/// A text of so many bytes; another pen, another text.
fn of(pen: u8, bytes: u64) -> Vec<u8> {
    text(pen, 0, bytes)
}

/// A world with these files, of which nothing is counted.
fn with(files: &[(&str, u8, u64)]) -> World {
    let mut world = World::new(64);
    for (name, pen, bytes) in files {
        world.create(name, of(*pen, *bytes));
    }
    world.see();
    world
}

/// A world with these files, all counted.
fn counted(files: &[(&str, u8, u64)]) -> World {
    let mut world = with(files);
    world.settle();
    world.events.clear();
    world
}

fn ranges(jobs: &[Job]) -> Vec<(u64, u64)> {
    jobs.iter().map(|job| (job.range.from(), job.range.to())).collect()
}

/// The only log.
fn only(world: &World) -> &Log {
    let logs: Vec<_> = world.ledger.logs().collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs[0].1
}

fn log<'a>(world: &'a World, name: &str) -> (u64, &'a Log) {
    world.ledger.logs().find(|(_, log)| log.name == name.as_bytes() && !log.is_gone()).unwrap()
}

/// The logs by name, and what they are.
fn states(world: &World) -> Vec<(String, LogState)> {
    let mut states: Vec<_> = world
        .ledger
        .logs()
        .map(|(_, log)| (String::from_utf8(log.name.clone()).unwrap(), log.state()))
        .collect();
    states.sort_by(|one, two| one.0.cmp(&two.0));
    states
}

/// Of each text that is in the days, the pen and how many lines.
fn days(world: &World) -> BTreeMap<u8, usize> {
    let mut days = BTreeMap::new();
    world.counted().into_iter().for_each(|(pen, _)| *days.entry(pen).or_default() += 1);
    days
}

fn check_days(world: &World, want: &[(u8, usize)]) {
    assert_eq!(days(world), want.iter().copied().collect(), "{:?}", states(world));
}

// What is counted, and when.

#[test]
fn a_log_is_cut_into_ranges_and_counted_once() {
    let mut world = with(&[("a", 1, 330)]);
    assert_eq!(only(&world).pending(), 330);
    let jobs = world.dispatch_all();
    assert_eq!(ranges(&jobs), [(0, 64), (64, 128), (128, 192), (192, 256), (256, 320), (320, 330)]);
    // Counted in any order, merged in that of the bytes.
    for (number, to) in [(5, 0), (1, 0), (0, 128), (3, 128), (2, 256), (4, 320)] {
        assert!(!only(&world).is_complete());
        world.answer(jobs[number].number);
        assert_eq!(only(&world).count.content.to, to);
        world.answer(jobs[number].number);
    }
    // The half line at its end waits.
    assert_eq!(
        (only(&world).pending(), only(&world).state(), only(&world).is_complete()),
        (0, LogState::Live, true)
    );
    check_days(&world, &[(1, 20)]);
    world.see();
    assert!(world.dispatch().is_none());
}

#[test]
fn so_many_results_wait_for_their_turn() {
    let mut world = with(&[("a", 1, 64 * 40)]);
    let first = world.dispatch().unwrap();
    let mut others = 0;
    while let Some(job) = world.dispatch() {
        world.answer(job.number);
        others += 1;
    }
    assert_eq!(others, WAITING_MAX);
    world.answer(first.number);
    world.count_all();
    check_days(&world, &[(1, 160)]);
}

#[test]
fn tails_come_first_then_the_newest_days() {
    let mut world = counted(&[("old.log", 1, 64)]);
    for (name, pen) in [("20210301.log", 2), ("20210302.log", 3), ("x.log", 4)] {
        world.create(name, of(pen, 32));
    }
    world.write("old.log", of(1, 96));
    world.see();
    let order: Vec<String> = world
        .dispatch_all()
        .iter()
        .map(|job| String::from_utf8(world.ledger.log(job.log).unwrap().name.clone()).unwrap())
        .collect();
    assert_eq!(order, ["old.log", "20210302.log", "20210301.log", "x.log"]);
}

#[test]
fn when_memory_is_short_only_tails_are_counted() {
    let mut world = counted(&[("old.log", 1, 64)]);
    world.create("new.log", of(2, 64));
    world.write("old.log", of(1, 96));
    world.see();
    assert_eq!(world.ledger.next_job(true).unwrap().job.log, log(&world, "old.log").0);
    assert!(world.ledger.next_job(true).is_none() && world.ledger.next_job(false).is_some());
}

/// It was never seen without anything to count, was let through now and then as a log that is behind, and
/// stayed so for ever.
#[test]
fn a_log_that_grows_while_it_is_counted_first_has_caught_up() {
    let mut world = with(&[("a.log", 1, 64)]);
    let job = world.dispatch().unwrap();
    world.write("a.log", of(1, 80));
    world.see();
    world.answer(job.number);
    assert_eq!(only(&world).state(), LogState::Live);
    assert!(!only(&world).is_complete());
    assert_eq!(world.ledger.next_job(true).map(|next| next.job.range), Range::new(64, 80));
}

#[test]
fn compressed_logs_leave_a_worker_for_tails() {
    let mut world = World::new(64);
    for pen in 1..=4 {
        world.pack(&format!("{pen}.gz"), of(pen, 64), true);
    }
    world.see();
    let jobs = world.dispatch_all();
    assert_eq!(jobs.len(), 2);
    world.answer(jobs[0].number);
    assert_eq!(world.dispatch_all().len(), 1);
    world.count_all();
    world.answer(jobs[1].number);
    world.settle();
    assert_eq!(world.flights.len(), 1);
}

#[test]
fn a_half_line_waits_for_more_or_for_the_end() {
    let mut world = counted(&[("a", 1, 100)]);
    assert_eq!((only(&world).count.content.to, only(&world).pending()), (96, 0));
    world.see();
    assert!(world.dispatch().is_none() && world.ledger.waits());
    // More of it: from its start.
    world.write("a", of(1, 105));
    world.see();
    let jobs = world.dispatch_all();
    assert_eq!((ranges(&jobs), jobs[0].last), (vec![(96, 105)], LastLine::Hold));
    world.answer(jobs[0].number);
    // No more of it for long: it counts.
    world.now += FINAL_AFTER;
    world.see();
    let jobs = world.dispatch_all();
    assert_eq!((ranges(&jobs), jobs[0].last), (vec![(96, 105)], LastLine::Count));
    world.answer(jobs[0].number);
    assert_eq!((only(&world).state(), world.ledger.waits()), (LogState::Final, false));
    check_days(&world, &[(1, 7)]);
    assert!(!world.events.iter().any(|event| matches!(event, Event::Again(_))));
    // It goes on after all: half of it was counted as a line, so everything is counted again.
    world.write("a", of(1, 130));
    world.see();
    assert!(world.events.iter().any(|event| matches!(event, Event::Again(_))));
    world.count_all();
    check_days(&world, &[(1, 8)]);
}

#[test]
fn a_log_that_was_renamed_is_final_soon() {
    let mut world = counted(&[("access.log", 1, 100)]);
    world.rename("access.log", "access.log.1");
    world.now += ROTATED_AFTER;
    world.settle();
    check_days(&world, &[(1, 7)]);
}

/// What was counted behind a line that is not finished is counted again with its end.
#[test]
fn a_line_across_ranges_that_does_not_end_is_held_where_it_starts() {
    let mut world = World::new(8);
    world.create("a", of(1, 32));
    world.see();
    let jobs = world.dispatch_all();
    assert_eq!(jobs.len(), 4);
    // The file ends within the second line when the third range is counted, and goes on before the others
    // are.
    world.write("a", of(1, 30));
    world.answer(jobs[2].number);
    assert_eq!(ranges(&world.dispatch_all()), []);
    world.write("a", of(1, 32));
    [3, 0, 1].into_iter().for_each(|at| world.answer(jobs[at].number));
    world.settle();
    check_days(&world, &[(1, 2)]);
}

#[test]
fn a_last_line_that_grew_before_it_was_merged_is_recounted() {
    let mut world = with(&[("a", 1, 100)]);
    world.now += FINAL_AFTER;
    world.see();
    let jobs = world.dispatch_all();
    world.answer(jobs[1].number);
    world.write("a", of(1, 105));
    world.see();
    world.answer(jobs[0].number);
    world.settle();
    check_days(&world, &[(1, 6)]);
}

// What a name held before.

#[test]
fn a_log_that_is_shorter_than_what_was_counted_is_another_one() {
    let mut world = counted(&[("access.log", 1, 160), ("20210322.log", 2, 160)]);
    world.write("access.log", of(3, 32));
    // What is there has no whole line yet.
    world.write("20210322.log", of(4, 10));
    world.settle();
    check_days(&world, &[(1, 10), (2, 10), (3, 2)]);
    world.write("20210322.log", of(4, 32));
    world.settle();
    check_days(&world, &[(1, 10), (3, 2), (4, 2)]);
    let gone = ("access.log".to_owned(), LogState::Gone);
    assert_eq!(
        states(&world),
        [("20210322.log".to_owned(), LogState::Live), gone, ("access.log".to_owned(), LogState::Live)]
    );
}

#[test]
fn old_answers_of_a_log_that_was_truncated_count_nothing() {
    let mut world = with(&[("a", 1, 192)]);
    let old = world.dispatch_all();
    world.answer(old[0].number);
    world.write("a", of(2, 32));
    world.see();
    assert!(!world.ledger.wants(old[1].number, old[1].log));
    world.answer(old[1].number);
    world.end(old[2].number, |ledger, number| ledger.lost(number, Death::Signal(libc::SIGBUS), None));
    world.settle();
    check_days(&world, &[(1, 4), (2, 2)]);
}

#[test]
fn a_log_that_was_written_to_and_is_as_long_is_doubted() {
    for (pen, want) in [(1, vec![(1, 4)]), (2, vec![(1, 4), (2, 4)])] {
        let mut world = counted(&[("a", 1, 64)]);
        world.write("a", of(pen, 64));
        world.settle();
        check_days(&world, &want);
    }
}

#[test]
fn a_log_that_was_emptied_and_is_longer_by_now_is_told_when_it_is_opened() {
    let mut world = counted(&[("a", 1, 64)]);
    world.write("a", of(2, 192));
    world.settle();
    check_days(&world, &[(1, 4), (2, 12)]);
}

#[test]
fn a_log_that_changes_while_it_is_counted_is_found_out() {
    let mut world = counted(&[("a", 1, 64)]);
    world.write("a", of(1, 128));
    world.see();
    let job = world.dispatch().unwrap();
    world.write("a", of(2, 128));
    world.answer(job.number);
    world.settle();
    check_days(&world, &[(1, 4), (2, 8)]);
}

#[test]
fn missed_once_is_not_gone() {
    let mut world = counted(&[("a", 1, 64)]);
    world.remove("a");
    // A file that is renamed while the folder is read is under neither name.
    world.see();
    assert_eq!((only(&world).state(), world.ledger.is_missing_any()), (LogState::Live, true));
    // Nor is it if not everything was looked at.
    let found = BTreeMap::new();
    world.see_view(&found, false, &[]);
    assert_eq!(only(&world).state(), LogState::Live);
    world.see();
    assert_eq!((only(&world).state(), only(&world).pending()), (LogState::Gone, 0));
    check_days(&world, &[(1, 4)]);
}

#[test]
fn a_folder_that_cannot_be_read_loses_nothing() {
    let mut world = counted(&[("a", 1, 64)]);
    (0..3).for_each(|_| world.see_view(&BTreeMap::new(), true, &[0]));
    assert_eq!(only(&world).state(), LogState::Live);
}

#[test]
fn a_log_that_went_before_it_was_counted_is_not_complete() {
    let mut world = counted(&[("a", 1, 64)]);
    world.write("a", of(1, 128));
    world.see();
    world.remove("a");
    world.see_twice();
    assert_eq!(
        (only(&world).state(), only(&world).is_complete(), only(&world).pending()),
        (LogState::Gone, false, 0)
    );
}

#[test]
fn a_log_of_which_nothing_was_counted_goes_without_a_trace() {
    let mut world = with(&[("a", 1, 64)]);
    world.remove("a");
    world.see_twice();
    assert_eq!(states(&world), []);
}

#[test]
fn a_second_name_is_the_same_log() {
    let mut world = counted(&[("a", 1, 64)]);
    let inode = world.disk.names["a"];
    world.disk.names.insert("b".to_owned(), inode);
    world.settle();
    assert_eq!((only(&world).links.clone(), &only(&world).name[..]), (vec![b"b".to_vec()], &b"a"[..]));
    // The first name goes.
    world.remove("a");
    world.settle();
    assert_eq!((only(&world).links.len(), &only(&world).name[..]), (0, &b"b"[..]));
    check_days(&world, &[(1, 4)]);
}

#[test]
fn a_second_name_with_a_date_replaces_what_that_name_held() {
    let mut world = counted(&[("20210322.log", 1, 64), ("a", 2, 64)]);
    let inode = world.disk.names["a"];
    world.disk.names.insert("20210322.log".to_owned(), inode);
    world.settle();
    check_days(&world, &[(2, 4)]);
}

#[test]
fn an_inode_that_is_used_again_is_another_log() {
    for bytes in [32, 64, 128] {
        for away in [false, true] {
            let mut world = counted(&[("access.log.1", 1, 64)]);
            let inode = world.disk.names["access.log.1"];
            world.remove("access.log.1");
            if away {
                world.see_twice();
            }
            world.create_as(inode, "access.log", of(2, bytes));
            world.settle();
            assert_eq!(
                states(&world),
                [("access.log".to_owned(), LogState::Live), ("access.log.1".to_owned(), LogState::Gone)]
            );
            check_days(&world, &[(1, 4), (2, bytes as usize / 16)]);
        }
    }
}

// Renames.

#[test]
fn a_log_is_known_under_another_name() {
    let mut world = counted(&[("access.log", 1, 64)]);
    let (id, _) = log(&world, "access.log");
    world.rename("access.log", "access.log.1");
    world.create("access.log", of(2, 32));
    world.settle();
    assert_eq!((log(&world, "access.log.1").0, log(&world, "access.log.1").1.rotated), (id, true));
    check_days(&world, &[(1, 4), (2, 2)]);
}

#[test]
fn a_chain_of_renames_is_no_news() {
    let mut world = counted(&[("a", 1, 64), ("a.1", 2, 64), ("a.2", 3, 64)]);
    let ids = ["a", "a.1", "a.2"].map(|name| log(&world, name).0);
    [("a.2", "a.3"), ("a.1", "a.2"), ("a", "a.1")].into_iter().for_each(|(from, to)| world.rename(from, to));
    world.see();
    assert!(world.dispatch().is_none());
    assert_eq!(["a.1", "a.2", "a.3"].map(|name| log(&world, name).0), ids);
    check_days(&world, &[(1, 4), (2, 4), (3, 4)]);
}

#[test]
fn two_logs_may_swap_their_names() {
    let mut world = counted(&[("20210322.log", 1, 64), ("20210323.log", 2, 96)]);
    world.rename("20210322.log", "x");
    world.rename("20210323.log", "20210322.log");
    world.rename("x", "20210323.log");
    world.see();
    assert!(world.dispatch().is_none());
    check_days(&world, &[(1, 4), (2, 6)]);
}

#[test]
fn a_log_that_takes_a_dated_name_replaces_what_the_name_held() {
    let mut world = counted(&[("20210322.log", 1, 64), ("new", 2, 64)]);
    world.rename("new", "20210322.log");
    world.settle();
    assert_eq!(only(&world).state(), LogState::Live);
    check_days(&world, &[(2, 4)]);
}

#[test]
fn a_log_that_was_away_goes_on_where_it_was() {
    for name in ["a", "20210323.log"] {
        let mut world = counted(&[("a", 1, 64)]);
        let inode = world.disk.names["a"];
        world.remove("a");
        world.see_twice();
        assert_eq!(only(&world).state(), LogState::Gone);
        world.create_as(inode, name, of(1, 96));
        world.see();
        assert_eq!(ranges(&world.dispatch_all()), [(64, 96)]);
        assert_eq!(only(&world).name, name.as_bytes());
    }
}

/// A log of which nothing is counted goes, and the same look finds another one under its first name and its
/// inode.
#[test]
fn an_id_that_is_used_again_counts() {
    let mut world = with(&[("c", 1, 64)]);
    let (id, _) = log(&world, "c");
    world.rename("c", "d");
    world.see();
    let inode = world.disk.names["d"];
    world.remove("d");
    world.see();
    world.create_as(inode + 1, "e", of(3, 32));
    world.create_as(inode, "c", of(2, 64));
    world.disk.names.remove("c");
    world.see();
    world.disk.names.insert("c".to_owned(), inode);
    world.settle();
    assert_eq!(log(&world, "c").0, id);
    check_days(&world, &[(2, 4), (3, 2)]);
}

#[test]
fn reserved_ids_are_nobodys() {
    let id = log(&with(&[("a", 1, 64)]), "a").0;
    let mut world = World::new(64);
    world.ledger.reserve(id);
    world.create("a", of(1, 64));
    world.see();
    assert_ne!(log(&world, "a").0, id);
}
