//! Facts about logs of one content: copies, compressed logs, logs of an earlier life, logs that were taken
//! back.

use super::*;
use crate::coordinator::content::Place;

/// All that the store keeps of a log, as a coordinator that starts takes it over.
pub fn restored(world: &World, change: impl Fn(&mut Log)) -> World {
    restored_from(&[world], change)
}

/// Of a store that was written in several worlds.
pub fn restored_from(worlds: &[&World], change: impl Fn(&mut Log)) -> World {
    let mut next = World::new(64);
    for (world, (id, log)) in worlds.iter().flat_map(|world| world.ledger.logs().map(move |log| (world, log)))
    {
        let mut known = Log::counted(
            log.folder.clone(),
            log.name.clone(),
            log.file,
            log.format,
            log.size,
            log.changed,
            log.count.content.clone(),
        );
        if log.is_gone() {
            known.presence = Presence::Gone;
        }
        (known.deleted, known.raw, known.count.unterminated) =
            (log.deleted, log.raw.clone(), log.active().unterminated);
        if matches!(log.state(), LogState::Live | LogState::Final) {
            known = known.that_was_caught_up(log.state() == LogState::Final);
        }
        known.absorbed_prefixes.clone_from(&log.absorbed_prefixes);
        known.successors = log.successors.clone();
        change(&mut known);
        next.ledger.restore(id, known);
        next.sums.insert(id, Sum { lines: world.sums[&id].lines.clone(), counts: false });
    }
    next.ledger.restored();
    let world = worlds.last().expect("there is one");
    (next.now, next.inodes) = (world.now, world.inodes);
    next.disk = Disk { names: world.disk.names.clone(), files: world.disk.files.clone(), ..Disk::default() };
    next.follow();
    next
}

/// Something longer was written into its file, and nobody had looked into that before the end. What is gone
/// lacks nothing.
#[test]
fn a_log_that_was_rewritten_just_before_the_end_is_whole_when_it_is_gone() {
    let mut world = counted(&[("a", 1, 64)]);
    world.write("a", of(2, 160));
    world.see();
    let mut next = restored(&world, |_| ());
    next.settle();
    check_days(&next, &[(1, 4), (2, 10)]);
    assert!(next.ledger.logs().all(|(_, log)| log.is_complete()));
}

/// The model's seed 132422: what a dated name held before stayed, for its new content came by a copy whose
/// own file was rewritten, and the name was another one at the next look.
#[test]
fn a_log_that_inherits_a_dated_name_between_two_looks_replaces_what_the_name_held() {
    let mut world = counted(&[("20210322.log", 1, 64)]);
    world.write("20210322.log", of(2, 96));
    world.create("20210323.log", of(2, 96));
    world.see();
    // What is longer has grown, until it is opened: only then the log is gone. The copy is counted before the
    // next look.
    world.count_all();
    world.see();
    let copy = log(&world, "20210323.log").0;
    assert_eq!(log(&world, "20210322.log").1.prefix_of, Some(copy));
    world.write("20210323.log", of(3, 160));
    world.see();
    assert!(world.dispatch().is_none_or(|job| job.log != copy));
    world.rename("20210322.log", "20210324.log");
    world.settle();
    check_days(&world, &[(2, 6), (3, 10)]);
}

// Copies.

#[test]
fn a_copy_counts_within_its_original() {
    // As long; shorter, at the end of a line and within one.
    for bytes in [160, 64, 70] {
        let mut world = counted(&[("a", 1, 160)]);
        world.create("b", of(1, bytes));
        world.see();
        assert_eq!(log(&world, "b").1.state(), LogState::Duplicate);
        world.settle();
        // It has its own numbers all the same.
        assert_eq!(world.sums[&log(&world, "b").0].lines.len() as u64, bytes / 16);
        check_days(&world, &[(1, 10)]);
    }
}

/// The model's seed 110110: what begins like another log but ends otherwise stayed a duplicate of it, for the
/// other one was being renamed when the two were compared.
#[test]
fn a_log_that_was_told_while_its_like_was_renamed_is_told_again() {
    let mut world = with(&[("a", 1, 16_384)]);
    world.create("b", [of(1, 1_600), of(2, 32)].concat());
    world.see();
    let jobs = world.dispatch_all();
    world.rename("a", "c");
    jobs.into_iter().for_each(|job| world.answer(job.number));
    world.settle();
    assert_eq!((log(&world, "c").1.state(), log(&world, "b").1.state()), (LogState::Live, LogState::Live));
}

/// The model's seed 151311: a log was cut within its only line, went its own way, and was being renamed when
/// that was compared: what it held before was dropped.
#[test]
fn what_a_log_held_before_it_was_cut_stays_though_it_is_being_renamed() {
    let mut world = counted(&[("a", 1, 1_594)]);
    world.now += FINAL_AFTER;
    world.settle();
    // A look shows it cut, as the beginning of what was there; its last line is other than it was when it is
    // counted.
    world.write("a", of(1, 1_592));
    world.see();
    world.write("a", [of(1, 1_592), text(2, 1_592, 1_664)].concat());
    let jobs = world.dispatch_all();
    world.rename("a", "b");
    jobs.into_iter().for_each(|job| world.answer(job.number));
    world.settle();
    check_days(&world, &[(1, 200), (2, 4)]);
}

#[test]
fn what_has_more_than_its_original_is_the_original() {
    let mut world = counted(&[("a", 1, 96)]);
    world.create("b", of(1, 160));
    world.settle();
    assert_eq!(
        (log(&world, "a").1.state(), log(&world, "b").1.state()),
        (LogState::Duplicate, LogState::Live)
    );
    check_days(&world, &[(1, 10)]);
}

#[test]
fn copies_that_are_found_at_one_look_count_once() {
    let mut world = World::new(64);
    [("a", 96), ("b", 160), ("c", 160), ("d", 64)].into_iter().for_each(|(name, bytes)| {
        world.create(name, of(1, bytes));
    });
    world.see();
    // Whichever is counted first.
    for job in world.dispatch_all().into_iter().rev() {
        world.answer(job.number);
    }
    world.settle();
    check_days(&world, &[(1, 10)]);
}

#[test]
fn a_copy_that_goes_its_own_way_counts_whole() {
    let mut world = counted(&[("a", 1, 64)]);
    world.create("b", of(1, 64));
    world.settle();
    check_days(&world, &[(1, 4)]);
    world.write("b", [of(1, 64), text(2, 64, 128)].concat());
    world.write("a", of(1, 160));
    world.settle();
    check_days(&world, &[(1, 14), (2, 4)]);
}

#[test]
fn a_copy_takes_over_when_its_original_goes() {
    let mut world = counted(&[("access.log", 1, 128)]);
    let (id, _) = log(&world, "access.log");
    world.create("access.log.1", of(1, 128));
    world.settle();
    world.write("access.log", of(2, 32));
    world.settle();
    assert_eq!(log(&world, "access.log.1").0, id);
    check_days(&world, &[(1, 8), (2, 2)]);
}

/// The copy is being renamed when the original is found to hold something else.
#[test]
fn a_copy_that_is_missed_when_its_original_goes_takes_over() {
    let mut world = counted(&[("a", 1, 64)]);
    world.pack("b.gz", of(1, 64), true);
    world.settle();
    let copy = world.disk.names.remove("b.gz").unwrap();
    world.write("a", of(2, 96));
    world.see();
    world.count_all();
    world.disk.names.insert("c.gz".into(), copy);
    world.settle();
    assert_eq!(
        states(&world)
            .iter()
            .filter(|(_, state)| matches!(state, LogState::Gone | LogState::Duplicate))
            .count(),
        0,
        "{:?}",
        states(&world)
    );
    check_days(&world, &[(1, 4), (2, 6)]);
}

#[test]
fn a_copy_that_stopped_short_stays_within_what_is_gone() {
    let mut world = counted(&[("access.log", 1, 128)]);
    world.create("access.log.1", of(1, 64));
    world.write("access.log", Vec::new());
    world.settle();
    assert_eq!(log(&world, "access.log.1").1.state(), LogState::Duplicate);
    check_days(&world, &[(1, 8)]);
}

#[test]
fn a_copy_with_more_than_was_counted_goes_on_where_that_ended() {
    let mut world = counted(&[("access.log", 1, 64)]);
    world.create("access.log.1", of(1, 128));
    world.write("access.log", Vec::new());
    world.see();
    assert_eq!(ranges(&world.dispatch_all()), [(64, 128)]);
    assert_eq!(world.ledger.logs().count(), 2);
}

/// The original is counted again, so that nothing of it is known for a while.
#[test]
fn a_copy_that_outgrows_its_original_is_compared_with_the_others() {
    let mut world = counted(&[("a", 1, 105)]);
    world.now += FINAL_AFTER;
    world.settle();
    world.create("b", of(1, 96));
    world.see();
    let copy = world.dispatch().unwrap();
    // Half a line was counted, and goes on.
    world.write("a", of(1, 160));
    world.pack("c.gz", of(1, 160), true);
    world.see();
    let stream = std::iter::from_fn(|| world.dispatch()).find(|job| job.stream.is_some()).unwrap();
    world.answer(stream.number);
    world.answer(copy.number);
    // The compressed one is decoded once more, to look where the other one ended, which is what it was until
    // it has been counted again.
    check_days(&world, &[(1, 7)]);
    let flights: Vec<u64> = world.flights.iter().map(|flight| flight.job.number).collect();
    flights.into_iter().for_each(|number| world.answer(number));
    world.settle();
    check_days(&world, &[(1, 10)]);
}

/// It is counted again, so it is the copy of which something is counted that is known.
#[test]
fn a_log_that_takes_over_the_file_of_its_original_is_within_nothing() {
    let mut world = counted(&[("a", 1, 105)]);
    world.now += FINAL_AFTER;
    world.settle();
    for name in ["b", "c"] {
        world.create(name, of(1, 96));
    }
    world.settle();
    world.write("a", of(1, 160));
    world.remove("b");
    world.see();
    assert!(
        world
            .ledger
            .logs()
            .all(|(_, log)| log.prefix_of.is_none_or(|outer| world.ledger.log(outer).is_some()))
    );
    world.settle();
    check_days(&world, &[(1, 10)]);
}

/// The look that does not find the copy finds the original replaced.
#[test]
fn a_copy_that_went_with_its_replaced_original_does_not_stay() {
    let mut world = counted(&[("20210322.log", 1, 128)]);
    world.create("b", of(1, 64));
    world.settle();
    world.remove("b");
    world.see();
    world.write("20210322.log", of(2, 32));
    world.settle();
    check_days(&world, &[(2, 2)]);
    assert_eq!(world.ledger.logs().count(), 1);
}

/// By the name that it had last is decided what replaces it.
#[test]
fn a_log_that_went_before_its_copy_was_last_where_the_copy_was() {
    for (name, copy) in [("20210322.log", "b"), ("b", "20210322.log")] {
        let mut world = counted(&[(name, 1, 64)]);
        world.create(copy, of(1, 64));
        world.settle();
        world.remove(name);
        world.see();
        world.remove(copy);
        world.create(copy, of(2, 32));
        world.settle();
        world.create(name, of(3, 16));
        world.settle();
        let stays: &[(u8, usize)] = if copy == "b" { &[(1, 4), (2, 2), (3, 1)] } else { &[(2, 2), (3, 1)] };
        check_days(&world, stays);
    }
}

/// Killed when the longer one was stored, and the other not yet removed from the store.
#[test]
fn of_a_log_and_its_stored_beginning_one_counts() {
    for is_gone in [false, true] {
        let mut world = counted(&[("a", 1, 64)]);
        world.create("b", of(1, 32));
        world.settle();
        if is_gone {
            world.write("a", of(2, 32));
            world.settle();
        }
        let before = restored(&world, |_| ());
        world.write("b", of(1, 160));
        world.settle();
        let mut next = restored_from(&[&before, &world], |_| ());
        next.settle();
        check_days(&next, if is_gone { &[(1, 10), (2, 2)] } else { &[(1, 10)] });
    }
}

#[test]
fn what_counted_within_a_log_that_was_replaced_counts_by_itself() {
    let mut world = counted(&[("20210322.log", 1, 128)]);
    for name in ["b", "c"] {
        world.create(name, of(1, 64));
    }
    world.settle();
    check_days(&world, &[(1, 8)]);
    world.write("20210322.log", of(2, 32));
    world.settle();
    check_days(&world, &[(1, 4), (2, 2)]);
}

#[test]
fn an_empty_log_is_nobodys_duplicate() {
    let world = counted(&[("a", 1, 64), ("b", 2, 0)]);
    assert_eq!(log(&world, "b").1.state(), LogState::Live);
}

#[test]
fn what_cannot_be_looked_at_is_no_news() {
    let mut world = counted(&[("a", 1, 64)]);
    world.disk.blind = true;
    world.rename("a", "b");
    world.see();
    assert_eq!((only(&world).state(), &only(&world).name[..]), (LogState::Live, &b"b"[..]));
    world.create("c", of(1, 64));
    world.see();
    assert_eq!((log(&world, "c").1.reason(), world.dispatch()), (Reason::Unreadable(libc::EACCES), None));
    world.disk.blind = false;
    world.settle();
    check_days(&world, &[(1, 4)]);
}

// Compressed logs.

#[test]
fn a_compressed_log_is_taken_up_when_it_is_closed_or_settled() {
    for closed in [true, false] {
        let mut world = World::new(64);
        world.pack("a.gz", of(1, 64), closed);
        world.see();
        assert_eq!((world.dispatch().is_some(), world.ledger.waits()), (closed, !closed));
        world.now += SETTLED_AFTER;
        let now = world.now;
        world.ledger.consider_all(now);
        assert_eq!(world.dispatch().is_some(), !closed);
    }
}

#[test]
fn a_compressed_log_does_not_count_before_it_is_told_from_the_others() {
    let mut world = World::new(64);
    world.pack("a.gz", of(1, 100), true);
    world.see();
    assert!(!only(&world).counts());
    world.count_all();
    assert_eq!((only(&world).state(), only(&world).count.content.to), (LogState::Final, 100));
    check_days(&world, &[(1, 7)]);
}

#[test]
fn a_compressed_copy_of_a_log_that_is_there_is_a_duplicate() {
    for bytes in [128, 64] {
        let mut world = counted(&[("a", 1, 128)]);
        world.pack("a.gz", of(1, bytes), true);
        world.settle();
        assert_eq!(log(&world, "a.gz").1.state(), LogState::Duplicate);
        check_days(&world, &[(1, 8)]);
    }
}

#[test]
fn a_log_that_was_compressed_is_the_same_log() {
    let mut world = counted(&[("a.1", 1, 128)]);
    let (id, _) = log(&world, "a.1");
    world.remove("a.1");
    world.pack("a.2.gz", of(1, 128), true);
    world.settle();
    assert!(world.events.iter().any(|event| matches!(event, Event::Moved { to, .. } if *to == id)));
    assert_eq!((world.ledger.logs().count(), log(&world, "a.2.gz").0), (1, id));
    check_days(&world, &[(1, 8)]);
}

/// A part of it was counted, and a part of it was being counted.
#[test]
fn a_log_that_is_missed_and_compressed_while_it_is_counted_is_the_same_log() {
    let mut world = with(&[("a.1", 1, 256)]);
    let jobs = world.dispatch_all();
    world.answer(jobs[0].number);
    world.remove("a.1");
    world.pack("a.2.gz", of(1, 256), true);
    world.see();
    while let Some(job) = world.dispatch() {
        world.answer(job.number);
    }
    world.settle();
    jobs.iter().for_each(|job| world.answer(job.number));
    assert_eq!(world.ledger.logs().count(), 1);
    check_days(&world, &[(1, 16)]);
}

/// Only where the first one ended it can be told whether the other one has it for its beginning: that is
/// looked at when it is decoded once more. The half line that counted in the compressed file is not the whole
/// one.
#[test]
fn a_half_line_that_was_compressed_is_counted_again_with_its_end() {
    let mut world = counted(&[("a", 1, 64)]);
    world.remove("a");
    world.pack("a.gz", of(1, 72), true);
    world.settle();
    world.settle();
    world.remove("a.gz");
    world.create("b", of(1, 160));
    world.see();
    assert_eq!(ranges(&world.dispatch_all()), [(0, 64), (64, 128), (128, 160)]);
    assert_eq!(world.ledger.logs().count(), 1);
}

#[test]
fn a_compressed_log_is_decoded_again_to_look_where_another_one_ended() {
    for (end, want) in [(text(1, 256, 300), vec![(1, 19)]), (text(2, 256, 300), vec![(1, 17), (2, 3)])] {
        let mut world = counted(&[("a.1", 1, 272)]);
        world.remove("a.1");
        world.pack("a.2.gz", [of(1, 256), end].concat(), true);
        world.see();
        let decoded: Vec<Option<(u64, u32)>> = std::iter::from_fn(|| {
            let job = world.dispatch()?;
            world.answer(job.number);
            Some(job.stream.and_then(|stream| stream.probe))
        })
        .collect();
        assert_eq!(decoded, [None, Some((0, 272))]);
        world.settle();
        let mut days = days(&world);
        if want.len() > 1 {
            // The beginning that they share counts in both.
            *days.get_mut(&1).unwrap() -= 16;
        }
        assert_eq!(days, want.into_iter().collect());
    }
}

#[test]
fn a_compressed_log_that_was_moved_needs_not_be_decoded() {
    let mut world = World::new(64);
    world.pack("a.gz", of(1, 64), true);
    world.settle();
    let inode = world.disk.names["a.gz"];
    world.remove("a.gz");
    world.see_twice();
    // Under another inode.
    world.disk.files.insert(77, world.disk.files[&inode].clone());
    world.disk.names.insert("b.gz".to_owned(), 77);
    world.see();
    assert_eq!((world.dispatch(), log(&world, "b.gz").1.is_complete()), (None, true));
    check_days(&world, &[(1, 4)]);
}

#[test]
fn a_compressed_log_that_is_missed_is_not_its_own_copy() {
    let mut world = counted(&[("a.1", 1, 128)]);
    world.remove("a.1");
    world.pack("a.2.gz", of(1, 200), true);
    world.see();
    // It is decoded, and to be decoded again.
    let job = world.dispatch().unwrap();
    world.answer(job.number);
    let id = job.log;
    assert_eq!(world.ledger.log(id).map(|log| log.count.content.to), Some(0));
    let inode = world.disk.names.remove("a.2.gz").unwrap();
    world.see();
    assert!(world.ledger.log(id).is_some());
    world.disk.names.insert("a.2.gz".to_owned(), inode);
    world.settle();
    check_days(&world, &[(1, 13)]);
}

#[test]
fn a_log_within_one_that_turns_out_to_be_within_another_is_within_that() {
    let mut world = counted(&[("b", 1, 128)]);
    // Nothing of it is counted when it is taken for the beginning of the other one.
    world.create("c", of(1, 96));
    world.see();
    assert!(log(&world, "c").1.prefix_of.is_some());
    world.pack("b.gz", of(1, 256), true);
    world.see();
    let jobs = world.dispatch_all();
    let (stream, plain): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.stream.is_some());
    world.answer(stream[0].number);
    world.count_all();
    assert_eq!(log(&world, "c").1.prefix_of, Some(log(&world, "b.gz").0));
    plain.iter().for_each(|job| world.answer(job.number));
    world.write("c", of(1, 256));
    world.settle();
    check_days(&world, &[(1, 16)]);
}

#[test]
fn what_a_compressed_log_becomes_is_told_anew() {
    let mut world = World::new(64);
    world.pack("a", of(1, 64), false);
    world.see();
    world.write("a", of(2, 64));
    world.settle();
    assert_eq!(only(&world).format, None);
    check_days(&world, &[(2, 4)]);
}

// Earlier lives.

#[test]
fn a_log_of_an_earlier_life_is_known_again() {
    let before = counted(&[("a", 1, 64)]);
    // In its file; in another file; in another file with another name.
    for (inode, name) in [(1, "a"), (7, "a"), (7, "b")] {
        let mut world = restored(&before, |_| ());
        world.remove("a");
        world.create_as(inode, name, of(1, 96));
        world.see();
        assert_eq!(ranges(&world.dispatch_all()), [(64, 96)], "{inode} {name}");
        assert_eq!(only(&world).name, name.as_bytes());
    }
}

#[test]
fn a_log_that_is_not_what_it_was_in_an_earlier_life_is_another_one() {
    for inode in [1, 7] {
        let mut world = restored(&counted(&[("a", 1, 64)]), |_| ());
        world.create_as(inode, "a", of(2, 64));
        world.settle();
        check_days(&world, &[(1, 4), (2, 4)]);
    }
}

#[test]
fn a_log_of_an_earlier_life_is_believed_after_a_look_only() {
    let mut world = restored(&counted(&[("a", 1, 64)]), |_| ());
    // As long, and changed when it was changed.
    let changed = world.disk.file("a").changed;
    world.write("a", of(2, 64));
    world.disk.files.get_mut(&1).unwrap().changed = changed;
    world.settle();
    check_days(&world, &[(1, 4), (2, 4)]);
}

/// Seed 222293 of the model of the daemon: the copy was missed when the log was found to be gone, and so the
/// log kept the name under which something new came.
#[test]
fn a_copy_that_was_missed_when_its_log_went_is_where_that_was_last() {
    let mut world = counted(&[("20210322.log", 1, 64)]);
    world.pack("20210322.log.gz", of(1, 64), true);
    world.settle();
    assert!(!log(&world, "20210322.log.gz").1.counts());
    world.remove("20210322.log");
    world.see();
    world.remove("20210322.log.gz");
    world.see_twice();
    assert_eq!(states(&world), [("20210322.log.gz".to_owned(), LogState::Gone)]);
    world.create("20210322.log", of(2, 32));
    world.settle();
    check_days(&world, &[(1, 4), (2, 2)]);
}

#[test]
fn what_cannot_be_read_from_the_store_is_counted_again_or_lost() {
    let mut world = counted(&[("a", 1, 64), ("b", 2, 64)]);
    world.remove("b");
    world.see_twice();
    let (ids, now): (Vec<u64>, _) = (world.ledger.logs().map(|(id, _)| id).collect(), world.now);
    ids.into_iter().for_each(|id| world.ledger.forget(id, now));
    world.follow();
    check_days(&world, &[]);
    world.settle();
    check_days(&world, &[(1, 4)]);
}

// Taken back.

#[test]
fn what_was_taken_back_stays_out() {
    let mut world = counted(&[("a", 1, 64)]);
    let (id, _) = log(&world, "a");
    assert!(world.ledger.delete(id) && !world.ledger.delete(id + 1));
    world.settle();
    // It grows, leaves and comes back under another name.
    world.write("a", of(1, 128));
    world.settle();
    world.remove("a");
    world.see_twice();
    world.create("b", of(1, 128));
    world.settle();
    assert_eq!((log(&world, "b").1.reason(), log(&world, "b").1.pending()), (Reason::Deleted, 0));
    check_days(&world, &[]);
    let mut next = restored(&world, |_| ());
    next.settle();
    check_days(&next, &[]);
}

#[test]
fn a_copy_of_what_was_taken_back_stays_out() {
    let mut world = counted(&[("a", 1, 64), ("b", 1, 64)]);
    let root = log(&world, "a").1.prefix_of.unwrap_or(log(&world, "a").0);
    world.ledger.delete(root);
    world.create("c", of(1, 64));
    world.settle();
    check_days(&world, &[]);
    ["a", "b"].into_iter().for_each(|name| world.remove(name));
    world.see_twice();
    world.settle();
    check_days(&world, &[]);
}

#[test]
fn a_log_is_where_its_bytes_can_be_looked_at() {
    let world = counted(&[("a", 1, 64)]);
    assert_eq!(only(&world).place(), Place { path: "a".into(), file: (1, 1) });
}
