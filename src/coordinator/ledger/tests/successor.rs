//! What is uploaded in the place of a log.

use super::duplicates::{restored, restored_from};
use super::*;

/// A log under a name without a date, and a file that is to take its place.
fn promised(text: Vec<u8>) -> (World, u64) {
    let mut world = counted(&[("a", 1, 64)]);
    let (id, _) = log(&world, "a");
    let inode = world.create("b", text);
    // It is hidden until it has its name.
    world.disk.names.remove("b");
    assert!(world.ledger.replace_by(id, (1, inode)));
    (world, inode)
}

fn place(world: &mut World, inode: u64) {
    world.disk.names.insert("a".to_owned(), inode);
}

#[test]
fn an_upload_replaces_what_a_name_without_a_date_held() {
    // Other lines, fewer, a beginning, more of the same.
    for (text, days) in [(of(2, 96), (2, 6)), (of(2, 16), (2, 1)), (of(1, 32), (1, 2)), (of(1, 128), (1, 8))]
    {
        let (mut world, inode) = promised(text);
        world.settle();
        check_days(&world, &[(1, 4)]);
        place(&mut world, inode);
        world.see();
        world.settle();
        check_days(&world, &[days]);
        assert_eq!((only(&world).file.1, only(&world).successors.is_empty()), (inode, true));
    }
}

#[test]
fn an_upload_of_the_same_is_the_same_log() {
    let (mut world, inode) = promised(of(1, 64));
    let (id, _) = log(&world, "a");
    place(&mut world, inode);
    world.settle();
    assert_eq!((log(&world, "a").0, only(&world).successors.is_empty()), (id, true));
    check_days(&world, &[(1, 4)]);
    // It is not to be replaced by what comes later.
    world.write("a", of(2, 32));
    world.settle();
    check_days(&world, &[(1, 4), (2, 2)]);
}

#[test]
fn what_was_not_uploaded_in_its_place_replaces_no_log() {
    // Another file has the name; the upload is withdrawn; the log has another name by then.
    for way in 0..3 {
        let (mut world, inode) = promised(of(2, 32));
        match way {
            0 => drop(world.create("a", of(2, 32))),
            1 => {
                world.ledger.withdraw((1, inode));
                place(&mut world, inode);
            }
            _ => {
                world.rename("a", "a.1");
                world.see();
                world.remove("a.1");
                place(&mut world, inode);
            }
        }
        world.settle();
        world.see_twice();
        check_days(&world, &[(1, 4), (2, 2)]);
    }
}

/// The first has its name and is not counted yet when a second one is promised, and comes to nothing.
#[test]
fn an_upload_that_comes_to_nothing_undoes_no_other() {
    for seen in [false, true] {
        let (mut world, inode) = promised(of(2, 32));
        let (id, _) = log(&world, "a");
        place(&mut world, inode);
        if seen {
            world.see_twice();
        }
        world.ledger.replace_by(id, (1, 99));
        world.ledger.withdraw((1, 99));
        world.settle();
        check_days(&world, &[(2, 2)]);
    }
}

#[test]
fn an_upload_replaces_also_what_is_gone_and_what_is_promised_late() {
    for early in [true, false] {
        let mut world = counted(&[("a", 1, 64)]);
        let (id, _) = log(&world, "a");
        world.remove("a");
        world.see_twice();
        let inode = 77;
        if early {
            world.ledger.replace_by(id, (1, inode));
        }
        world.create_as(inode, "a", of(2, 32));
        world.settle();
        if !early {
            check_days(&world, &[(1, 4), (2, 2)]);
            world.ledger.replace_by(id, (1, inode));
            world.settle();
        }
        check_days(&world, &[(2, 2)]);
    }
}

/// Killed after the file got its name, and before anybody had seen it.
#[test]
fn a_successor_is_known_after_a_restart() {
    let (mut world, inode) = promised(of(2, 32));
    place(&mut world, inode);
    let mut next = restored(&world, |_| ());
    next.settle();
    check_days(&next, &[(2, 2)]);
}

/// A second upload has its name, and the partial of what the first one had replaced is not deleted yet: the file that
/// replaced it is no more.
#[test]
fn what_an_upload_had_replaced_stays_replaced_after_a_restart() {
    let (mut first, inode) = promised(of(2, 32));
    let (old, _) = log(&first, "a");
    let kept = restored(&first, |_| ());
    place(&mut first, inode);
    first.settle();
    let (id, _) = log(&first, "a");
    assert_ne!(id, old);
    let next = first.create("b", of(3, 48));
    first.disk.names.remove("b");
    assert!(first.ledger.replace_by(id, (1, next)));
    place(&mut first, next);
    let mut world = restored_from(&[&kept, &first], |_| ());
    world.settle();
    world.see_twice();
    check_days(&world, &[(3, 3)]);
}
