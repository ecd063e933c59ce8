//! Facts about logs that are counted again, by other rules or because half a line went on: what they were is
//! not forgotten, and copies count.

use super::duplicates::restored;
use super::*;

/// Of these files, all was counted by other rules, and they were seen since.
fn old(files: &[(&str, u8, u64)]) -> World {
    let mut world = restored(&counted(files), |log| log.count.by_other_rules = true);
    world.see();
    world
}

#[test]
fn what_other_rules_counted_is_counted_again_if_it_is_there() {
    let mut before = counted(&[("a", 1, 64), ("b", 2, 64)]);
    before.remove("b");
    before.see_twice();
    let mut world = restored(&before, |log| log.count.by_other_rules = true);
    world.see();
    assert_eq!(ranges(&world.dispatch_all()), [(0, 64)]);
    // Until then its numbers are what they were.
    check_days(&world, &[(1, 4), (2, 4)]);
    assert!(world.ledger.logs().any(|(_, log)| log.is_gone() && log.count.by_other_rules));
}

#[test]
fn a_log_that_goes_before_it_is_counted_again_is_what_it_was() {
    // Nothing, something, or all of it was counted again.
    for jobs in 0..=3 {
        let mut world = old(&[("a", 1, 192)]);
        assert!(only(&world).is_recounted());
        let given = world.dispatch_all();
        assert_eq!(given.len(), 3);
        given.iter().take(jobs).for_each(|job| world.answer(job.number));
        assert_eq!(only(&world).is_recounted(), jobs < 3);
        world.remove("a");
        world.see_twice();
        given.iter().skip(jobs).for_each(|job| world.answer(job.number));
        check_days(&world, &[(1, 12)]);
        assert_eq!(
            (only(&world).is_gone(), only(&world).count.by_other_rules, only(&world).is_complete()),
            (true, jobs < 3, true)
        );
        // It comes back.
        world.create("b", of(1, 192));
        world.settle();
        check_days(&world, &[(1, 12)]);
        assert_eq!((only(&world).is_gone(), only(&world).count.by_other_rules), (false, false));
    }
}

#[test]
fn a_log_that_is_rewritten_before_it_is_counted_again_is_what_it_was() {
    for jobs in 0..3 {
        // Shorter, as long, longer.
        for size in [96, 192, 480] {
            let mut world = old(&[("a", 1, 192)]);
            let given = world.dispatch_all();
            given.iter().take(jobs).for_each(|job| world.answer(job.number));
            world.write("a", of(2, size));
            world.see();
            given.iter().skip(jobs).for_each(|job| world.answer(job.number));
            world.settle();
            check_days(&world, &[(1, 12), (2, size as usize / 16)]);
        }
    }
}

#[test]
fn a_log_that_moves_while_it_is_counted_again_counts_once() {
    for jobs in 0..3 {
        for packed in [false, true] {
            let mut world = old(&[("a", 1, 192)]);
            let given = world.dispatch_all();
            given.iter().take(jobs).for_each(|job| world.answer(job.number));
            if packed {
                world.pack("a.gz", of(1, 192), true);
            } else {
                world.create("b", of(1, 192));
            }
            world.remove("a");
            world.settle();
            check_days(&world, &[(1, 12)]);
            assert_eq!((only(&world).is_gone(), only(&world).count.by_other_rules), (false, false));
        }
    }
}

/// The copy is there when the log goes, and was told from nothing: of the log nothing was known just then.
#[test]
fn a_copy_that_comes_while_a_log_is_counted_again_counts_once() {
    for jobs in 0..3 {
        let mut world = old(&[("a", 1, 192)]);
        let given = world.dispatch_all();
        world.create("b", of(1, 192));
        world.see();
        given.iter().take(jobs).for_each(|job| world.answer(job.number));
        world.remove("a");
        world.see_twice();
        world.settle();
        check_days(&world, &[(1, 12)]);
    }
}

#[test]
fn a_log_that_is_taken_back_while_it_is_counted_again_does_not_come_back() {
    let mut world = old(&[("a", 1, 192)]);
    let id = log(&world, "a").0;
    assert!(world.ledger.delete(id) && !only(&world).is_recounted());
    world.follow();
    world.remove("a");
    world.see_twice();
    world.settle();
    check_days(&world, &[]);
}

/// Seed 3431 of the model: it counted within a log of which nothing was known any more.
#[test]
fn a_copy_counts_when_its_log_is_emptied_before_it_is_recounted() {
    let mut world = counted(&[("a", 1, 40)]);
    world.now += FINAL_AFTER;
    world.settle();
    world.pack("a.gz", of(1, 40), true);
    world.settle();
    assert!(log(&world, "a.gz").1.prefix_of.is_some());
    // What counted as its last line is none.
    world.write("a", of(1, 96));
    world.see();
    world.write("a", Vec::new());
    world.settle();
    check_days(&world, &[(1, 3)]);
    assert!(log(&world, "a.gz").1.counts());
}

/// Seed 3210 of the model: the copy was not looked for in a log whose file was gone when its first bytes
/// came.
#[test]
fn a_copy_is_known_in_a_log_that_is_counted_when_its_file_is_gone() {
    let mut world = World::new(64);
    world.create("a", of(1, 35));
    world.create("b", of(1, 35));
    world.see();
    let jobs = world.dispatch_all();
    let longer = log(&world, "b").0;
    world.write("b", of(1, 48));
    world.remove("b");
    world.see();
    let (of_longer, of_shorter): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.log == longer);
    of_shorter.iter().chain(&of_longer).for_each(|job| world.answer(job.number));
    check_days(&world, &[(1, 3)]);
    world.see_twice();
    check_days(&world, &[(1, 3)]);
}

/// Seed 210691 of the model of the daemon: a copy with a half line was told from the compressed log by
/// clients that were not counted yet.
#[test]
fn a_copy_stays_within_a_compressed_log_that_is_being_counted_again() {
    let mut before = World::new(64);
    before.pack("a.gz", of(1, 40), true);
    before.settle();
    let mut world = restored(&before, |log| log.count.by_other_rules = true);
    world.create("a", of(1, 40));
    world.see();
    world.disk.unlike = true;
    let copy = log(&world, "a").0;
    let (plain, packed): (Vec<Job>, Vec<Job>) =
        world.dispatch_all().into_iter().partition(|job| job.log == copy);
    plain.iter().for_each(|job| world.answer(job.number));
    assert!(!log(&world, "a").1.counts());
    world.disk.unlike = false;
    packed.iter().for_each(|job| world.answer(job.number));
    world.settle();
    check_days(&world, &[(1, 3)]);
    assert_eq!(states(&world), [("a".to_owned(), LogState::Duplicate), ("a.gz".to_owned(), LogState::Final)]);
}

/// Seed 230752 of the model of the daemon: the compressed log was told by clients that were not back yet.
#[test]
fn a_copy_is_told_from_a_log_that_is_what_it_was_once_its_clients_are_back() {
    let mut world = old(&[("a", 1, 160)]);
    world.pack("b.gz", of(1, 48), true);
    world.see();
    let packed = log(&world, "b.gz").0;
    let jobs = world.dispatch_all();
    world.write("a", of(1, 96));
    world.disk.unlike = true;
    jobs.iter().filter(|job| job.log == packed).for_each(|job| world.answer(job.number));
    world.see();
    world.disk.unlike = false;
    world.settle();
    check_days(&world, &[(1, 10)]);
    assert!(!log(&world, "b.gz").1.counts());
}

/// What came after the half line was counted behind it, as if it began with a line: the log was planned
/// before it was known to be there, and not counted again after that.
#[test]
fn a_log_that_is_not_known_to_be_there_is_not_counted_on() {
    let mut before = counted(&[("a", 1, 40)]);
    before.now += FINAL_AFTER;
    before.settle();
    check_days(&before, &[(1, 3)]);
    let mut world = restored(&before, |log| log.size = 96);
    world.disk.files.get_mut(&1).unwrap().text = of(1, 96);
    world.disk.files.get_mut(&1).unwrap().raw = of(1, 96);
    // Its folder cannot be read at first.
    world.see_view(&BTreeMap::new(), true, &[0]);
    assert!(world.dispatch_all().is_empty());
    world.settle();
    check_days(&world, &[(1, 6)]);
    assert!(only(&world).is_complete());
}

#[test]
fn a_log_that_grew_while_it_was_counted_again_is_not_complete_when_it_goes() {
    let mut world = old(&[("a", 1, 192)]);
    world.write("a", of(1, 256));
    world.see();
    world.remove("a");
    world.see_twice();
    check_days(&world, &[(1, 12)]);
    assert_eq!((only(&world).is_gone(), only(&world).is_complete()), (true, false));
}

/// What was counted before was replaced by nothing.
#[test]
fn a_compressed_log_that_cannot_be_counted_again_is_what_it_was() {
    let mut before = World::new(64);
    before.pack("a.gz", of(1, 160), true);
    before.settle();
    let mut world = restored(&before, |log| log.count.by_other_rules = true);
    world.see();
    while let Some(job) = world.dispatch() {
        world.end(job.number, |ledger, number| ledger.lost(number, Death::Signal(libc::SIGSEGV), None));
    }
    world.follow();
    check_days(&world, &[(1, 10)]);
    assert_eq!((only(&world).state(), only(&world).is_complete()), (LogState::Quarantined, false));
    // Somebody asks for it to be tried again.
    let now = world.now;
    world.ledger.retry(now);
    world.settle();
    check_days(&world, &[(1, 10)]);
    assert_eq!((only(&world).state(), only(&world).is_complete()), (LogState::Final, true));
}
