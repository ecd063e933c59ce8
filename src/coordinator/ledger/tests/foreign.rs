//! Files that are no logs by their first bytes.

use super::*;
use crate::coordinator::scan::Found;

/// What a zip archive begins with.
fn archive() -> Vec<u8> {
    b"PK\x03\x04 a line\n".to_vec()
}

fn names(world: &World) -> Vec<(String, &'static str)> {
    world
        .ledger
        .foreigners()
        .map(|(name, _, kind)| (String::from_utf8_lossy(name).into_owned(), kind.name()))
        .collect()
}

fn logs(world: &World) -> usize {
    world.ledger.logs().count()
}

#[test]
fn an_archive_is_no_log_under_any_name() {
    let mut world = World::new(64);
    world.create("a", archive());
    world.see();
    assert_eq!((names(&world), logs(&world)), (vec![("a".to_owned(), "a zip archive")], 0));
    world.rename("a", "b");
    world.see();
    assert_eq!((names(&world), logs(&world)), (vec![("b".to_owned(), "a zip archive")], 0));
    world.remove("b");
    world.see();
    assert_eq!((names(&world), logs(&world)), (vec![], 0));
}

#[test]
fn a_log_in_the_file_of_an_archive_is_counted() {
    let mut world = World::new(64);
    world.create("a", archive());
    world.see();
    world.write("a", of(1, 160));
    world.settle();
    assert_eq!((names(&world), only(&world).count.content.to), (vec![], 160));
}

#[test]
fn a_log_of_which_nothing_is_counted_may_become_an_archive() {
    let mut world = with(&[("a", 1, 0)]);
    assert_eq!(logs(&world), 1);
    world.write("a", archive());
    world.see();
    assert_eq!((names(&world).len(), logs(&world)), (1, 0));
    // Every scan after that says the same.
    world.see_twice();
    assert_eq!((names(&world).len(), logs(&world)), (1, 0));
}

#[test]
fn what_was_counted_stays_when_an_archive_takes_its_place() {
    let mut world = counted(&[("a", 1, 160)]);
    world.write("a", archive());
    world.see_twice();
    world.settle();
    assert_eq!((names(&world).len(), only(&world).is_gone(), only(&world).count.content.to), (1, true, 160));
}

#[test]
fn an_archive_in_a_folder_that_cannot_be_read_is_not_forgotten() {
    let mut world = World::new(64);
    world.create("a", archive());
    world.see();
    let nothing: BTreeMap<Vec<u8>, Found> = BTreeMap::new();
    world.see_view(&nothing, true, &[0]);
    assert_eq!(names(&world).len(), 1);
    world.see_view(&nothing, true, &[]);
    assert_eq!(names(&world).len(), 0);
}
