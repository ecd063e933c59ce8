//! The sums, against sums that begin with the end.

use super::*;
use crate::job::{Job, encode};
use crate::range::{Checkpoint, Counted, Ending, Io, LastLine, Range};
use crate::sample::Sample;
use crate::tally::{Rules, Tally, tally};

const LOGS: [&[u8]; 3] = [
    b"1.1.1.1 - - [22/Mar/2021:06:25:24 +0100] x\n1.1.1.1 - - [23/Mar/2021:06:25:24 +0100] x\n\n",
    b"1.1.1.1 - - [22/Mar/2021:06:25:24 +0100] x\n2.2.2.2 - - [22/Mar/2021:07:25:24 +0100] x\nhost junk\n",
    b"host - - [23/Mar/2021:06:25:24 +0100] x\n2.2.2.2 junk\n",
];

fn day(number: u32) -> Option<Day> {
    Day::new(2021, 3, number)
}

fn add(sums: &mut Sums, log: u64, name_day: Option<Day>, bytes: &[u8]) {
    let range = Range::new(0, bytes.len() as u64).unwrap();
    let job = Job { number: 0, log, generation: 0, range, io: Io::Read, last: LastLine::Hold, stream: None };
    let head = Sample { at: 0, length: 1, hash: 0 };
    let tail = Sample { at: range.to() - 1, ..head };
    let checkpoint = Checkpoint {
        end: range.to(),
        ending: Ending::Whole,
        head,
        tail,
        blocks: (0, Vec::new()),
        probe: None,
        damage: None,
    };
    let result = encode(&job, &Counted { tally: tally(bytes, Rules::default()), checkpoint });
    sums.add(log, name_day, &ResultView::check(&result, &job).unwrap());
    sums.set_counts(log, true);
}

/// Sums that were never asked before.
fn fresh(logs: &[(u64, Option<Day>, &[u8])]) -> Sums {
    let mut sums = Sums::default();
    logs.iter().for_each(|(log, name_day, bytes)| add(&mut sums, *log, *name_day, bytes));
    sums
}

fn numbers(sums: &mut Sums) -> [Option<(Totals, u64)>; 4] {
    [None, day(22), day(23), day(24)].map(|day| sums.day(day).map(|day| (day.totals, day.files)))
}

#[test]
fn days_unite_the_clients_of_their_logs() {
    let mut sums = fresh(&[(1, None, LOGS[0]), (2, None, LOGS[1]), (3, None, LOGS[2])]);
    let DayNumbers { totals, files, .. } = sums.day(day(22)).unwrap();
    assert_eq!((totals.counts.requests(), totals.clients.all(), files), (3, 2, 2));
    let DayNumbers { totals, files, .. } = sums.day(None).unwrap();
    assert_eq!((totals.counts.malformed, totals.clients.other, totals.clients.ipv4, files), (2, 1, 1, 2));
    let mut everything = Tally::default();
    LOGS.iter().for_each(|log| everything.merge(&tally(log, Rules::default())));
    assert_eq!(sums.all(), Some(everything.totals()));
    assert_eq!(sums.log(1), tally(LOGS[0], Rules::default()).totals());
}

/// Whatever was asked in between, and in whatever order things came, the answers are those of sums that begin
/// with the end.
#[test]
fn growing_removing_and_renaming_give_what_counting_afresh_gives() {
    let mut sums = Sums::default();
    add(&mut sums, 1, None, LOGS[0]);
    numbers(&mut sums);
    add(&mut sums, 2, day(22), LOGS[1]);
    numbers(&mut sums);
    add(&mut sums, 1, None, LOGS[2]);
    numbers(&mut sums);
    add(&mut sums, 3, None, LOGS[2]);
    assert_eq!(
        numbers(&mut sums),
        numbers(&mut fresh(&[
            (2, day(22), LOGS[1]),
            (1, None, LOGS[0]),
            (1, None, LOGS[2]),
            (3, None, LOGS[2])
        ]))
    );
    sums.rename(1, day(24));
    sums.rename(2, None);
    assert_eq!(
        numbers(&mut sums),
        numbers(&mut fresh(&[
            (1, day(24), LOGS[0]),
            (1, day(24), LOGS[2]),
            (2, None, LOGS[1]),
            (3, None, LOGS[2])
        ]))
    );
    sums.remove(3);
    sums.remove(1);
    assert_eq!(numbers(&mut sums), numbers(&mut fresh(&[(2, None, LOGS[1])])));
    sums.remove(2);
    assert_eq!(numbers(&mut sums), numbers(&mut Sums::default()));
}

/// It was: a log that was asked for before anything of it was counted had all its clients twice in memory.
#[test]
fn a_log_of_one_day_has_its_clients_once() {
    let line = &LOGS[0][..LOGS[0].iter().position(|byte| *byte == b'\n').unwrap() + 1];
    let sums = fresh(&[(1, None, line)]);
    let once = sums.memory();
    let mut sums = Sums::default();
    assert_eq!(sums.log(1), Totals::default());
    sums.set_counts(1, true);
    assert_eq!(sums.log(1), Totals::default());
    add(&mut sums, 1, None, line);
    assert_eq!((sums.log(1).clients.all(), sums.memory()), (1, once));
}

/// Without room for unions, days are apart: less is said of them than is true, never more, and all of it once
/// they are united.
#[test]
fn days_without_room_are_apart_and_then_right() {
    let all: [(u64, Option<Day>, &[u8]); 3] = [(1, None, LOGS[0]), (2, day(22), LOGS[1]), (3, None, LOGS[2])];
    let mut sums = Sums::default();
    sums.set_room(0);
    for count in 1..=all.len() {
        let (log, name_day, bytes) = all[count - 1];
        add(&mut sums, log, name_day, bytes);
        let want = numbers(&mut fresh(&all[..count]));
        for (day, want) in [None, day(22), day(23), day(24)].into_iter().zip(want) {
            let got = sums.day(day).map(|day| (day.totals, day.files, day.whole));
            let least = |(got, _, _): (Totals, u64, bool)| got.clients.all() <= want.unwrap().0.clients.all();
            assert!(
                got.is_none_or(least)
                    && got.map(|(got, files, _)| (got.counts.requests(), files))
                        == want.map(|(want, files)| (want.counts.requests(), files))
            );
            assert!(got.is_none_or(|(got, files, whole)| !whole || want == Some((got, files))));
        }
        let apart = sums.apart();
        assert_eq!(apart.is_empty(), count == 1);
        // Half of them in memory, the others elsewhere.
        for (at, Apart { day, changed, clients }) in apart.into_iter().enumerate() {
            assert!(!sums.unite_in_room(day, clients));
            if (at + count) % 2 == 0 {
                sums.unite(day);
            } else {
                let distinct = fresh(&all[..count]).day(day).unwrap().totals.clients;
                sums.know(day, changed - 1, Distinct { ipv4: 99, ..distinct });
                assert!(!sums.day(day).unwrap().whole, "what has changed meanwhile is not what was counted");
                sums.know(day, changed, distinct);
            }
        }
        assert_eq!((numbers(&mut sums), sums.apart()), (want, vec![]));
        sums.united().into_iter().for_each(|day| {
            sums.shed(day);
        });
        assert_eq!((numbers(&mut sums), sums.united()), (want, vec![]));
    }
}

fn clients_of(bytes: &[u8]) -> Vec<(Option<Day>, Clients)> {
    tally(bytes, Rules::default()).days.into_iter().map(|(day, tally)| (day, tally.clients)).collect()
}

#[test]
fn a_log_fits_in_another_one_only_if_its_clients_are_there() {
    let mut sums = fresh(&[(1, None, LOGS[0]), (2, None, LOGS[1])]);
    add(&mut sums, 3, None, LOGS[0]);
    add(&mut sums, 3, None, LOGS[2]);
    let fits = |sums: &Sums| {
        [(1, 3), (3, 1), (2, 1), (1, 2), (2, 3)].map(|(inner, outer)| sums.fits(inner, outer, true))
    };
    assert_eq!(fits(&sums), [true, false, false, false, false]);
    // By requests, hours and bytes alone, what has as many clients of other names may fit.
    assert!(sums.fits(1, 3, false) && !sums.fits(3, 1, false));
    // The numbers alone tell much.
    sums.keep(3);
    sums.evict(3);
    assert_eq!(fits(&sums), [true, false, false, false, false]);
}

/// Clients may leave the memory and come back at any time: the numbers are the same.
#[test]
fn what_is_absent_is_in_the_numbers_all_the_same() {
    let all: [(u64, Option<Day>, &[u8]); 3] = [(1, None, LOGS[0]), (2, day(22), LOGS[1]), (3, None, LOGS[2])];
    let want = numbers(&mut fresh(&all));
    let mut sums = fresh(&all);
    numbers(&mut sums);
    for log in 1..=3 {
        sums.keep(log);
        assert!(sums.evict(log) > 0);
    }
    assert_eq!((numbers(&mut sums), sums.memory(), sums.wants().count()), (want, 0, 0));
    let kept: Vec<Kept> = (1..=3).map(|log| sums.keep(log)).collect();
    assert!(kept.iter().all(|kept| kept.clients.is_none()));
    // A new life, from what was stored.
    let mut sums = Sums::default();
    for (log, name_day, _) in all {
        sums.restore(log, name_day, &kept[log as usize - 1]);
        sums.set_counts(log, true);
    }
    assert_eq!(sums.log(1), fresh(&all).log(1));
    let DayNumbers { totals, whole, .. } = sums.day(day(22)).unwrap();
    assert_eq!((totals.counts.requests(), totals.clients.all(), whole), (4, 3, false));
    numbers(&mut sums);
    assert_eq!(
        sums.apart().iter().map(|apart| (apart.day, apart.clients)).collect::<Vec<_>>(),
        [(day(22), 4), (day(23), 2)]
    );
    sums.apart().iter().for_each(|apart| sums.unite(apart.day));
    for (log, part) in sums.wants().collect::<Vec<_>>() {
        let (_, clients) =
            clients_of(LOGS[log as usize - 1]).into_iter().find(|(day, _)| *day == part).unwrap();
        sums.fill((log, part), &clients).unwrap();
    }
    assert_eq!((numbers(&mut sums), sums.wants().count()), (want, 0));
    // It grows.
    assert!(sums.is_absent(1));
    sums.load(1, clients_of(LOGS[0])).unwrap();
    assert!(!sums.is_absent(1));
    add(&mut sums, 1, None, LOGS[2]);
    let more = [all[0], (1, None, LOGS[2]), all[1], all[2]];
    assert_eq!(numbers(&mut sums), numbers(&mut fresh(&more)));
    // It becomes another log's.
    sums.take_over(1, 2, day(24));
    assert_eq!(
        numbers(&mut sums),
        numbers(&mut fresh(&[(2, day(24), LOGS[0]), (2, day(24), LOGS[2]), all[2]]))
    );
    sums.set_counts(2, false);
    assert_eq!(numbers(&mut sums), numbers(&mut fresh(&[all[2]])));
}

/// A day that was apart, and whose clients had come back meanwhile, was united and not told of.
#[test]
fn a_day_that_is_united_is_told_again() {
    let mut sums = fresh(&[(1, None, LOGS[0]), (2, None, LOGS[1])]);
    sums.set_room(0);
    assert!(!sums.day(day(22)).unwrap().whole);
    sums.take_changed_days();
    sums.unite(day(22));
    assert!(sums.take_changed_days().contains(&day(22)));
    assert!(sums.day(day(22)).unwrap().whole);
}

/// A log that had just grown was evicted, for what was stored before was taken for all of it: those clients
/// were lost.
#[test]
fn a_log_is_not_evicted_before_what_came_last_was_given_away() {
    let mut sums = fresh(&[(1, None, LOGS[0])]);
    assert_eq!(sums.evict(1), 0);
    sums.keep(1);
    add(&mut sums, 1, None, LOGS[2]);
    assert_eq!(sums.evict(1), 0);
    assert!(!sums.is_absent(1));
    sums.keep(1);
    assert!(sums.evict(1) > 0 && sums.is_absent(1));
    // Another log's clients under its number are to be stored under that.
    let mut sums = fresh(&[(1, None, LOGS[0]), (2, None, LOGS[1])]);
    sums.keep(1);
    sums.keep(2);
    sums.take_over(1, 2, None);
    assert_eq!(sums.evict(2), 0);
}
