//! A row of the board under loom: every order in which its readers and writers can run, and every stale word
//! the memory model lets them see.
//!
//! The code under test is `src/board/row.rs` itself, over words of the model. That the model can find a fault
//! is a fact like any other: with one of its four orderings left out, the same code must be found wrong. With
//! one reader, all executions are looked at. Two readers have too many of them: there, those with a few
//! preemptions are. What loom does not model is a store that is seen before a load that precedes it in the
//! program.

use std::cell::Cell;
use std::panic::catch_unwind;
use std::sync::atomic::Ordering;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, fence};
use loom::thread;
use tallyd::board::row::{Word, publish, read, row_words};

/// Two words are enough to tell a mixture; each more multiplies the executions.
const DATA: usize = 2;

/// How often a running thread is stopped for another in a model with two readers. Each more takes four times
/// as long.
const PREEMPTIONS: usize = 4;

/// An ordering of the row's code that a model can leave out.
type LeftOut = u8;
const NOTHING: LeftOut = 0;
const RELEASE_FENCE: LeftOut = 1;
const RELEASE_STORE: LeftOut = 2;
const ACQUIRE_LOAD: LeftOut = 3;
const ACQUIRE_FENCE: LeftOut = 4;

/// A word of the model, with one of the orderings left out.
struct Modelled<const LEFT_OUT: LeftOut>(AtomicU64);

impl<const LEFT_OUT: LeftOut> Word for Modelled<LEFT_OUT> {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(if LEFT_OUT == ACQUIRE_LOAD { Ordering::Relaxed } else { order })
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, if LEFT_OUT == RELEASE_STORE { Ordering::Relaxed } else { order });
    }

    fn fence(order: Ordering) {
        match (LEFT_OUT, order) {
            (RELEASE_FENCE, Ordering::Release) | (ACQUIRE_FENCE, Ordering::Acquire) => {}
            _ => fence(order),
        }
    }
}

/// A word as a writer sees it that dies: of its stores, only so many happen. (Its loads leave no trace.)
struct Dying<'a> {
    word: &'a Modelled<NOTHING>,
    stores_left: &'a Cell<usize>,
}

impl Word for Dying<'_> {
    fn load(&self, order: Ordering) -> u64 {
        self.word.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        if let Some(left) = self.stores_left.get().checked_sub(1) {
            self.stores_left.set(left);
            self.word.store(value, order);
        }
    }

    fn fence(order: Ordering) {
        Modelled::<NOTHING>::fence(order);
    }
}

type Row<const LEFT_OUT: LeftOut> = Arc<Vec<Modelled<LEFT_OUT>>>;

fn new_row<const LEFT_OUT: LeftOut>() -> Row<LEFT_OUT> {
    Arc::new((0..row_words(DATA)).map(|_| Modelled(AtomicU64::new(0))).collect())
}

/// Reads so many times: each copy accepted is whole, and none is older than the one before. `never` is not
/// shown at all.
fn reader<const LEFT_OUT: LeftOut>(
    row: &Row<LEFT_OUT>,
    times: usize,
    never: Option<u64>,
) -> thread::JoinHandle<()> {
    let row = row.clone();
    thread::spawn(move || {
        let mut latest = 0;
        for _ in 0..times {
            let mut data = [u64::MAX; DATA];
            if read(&row, &mut data) {
                assert!(data.iter().all(|word| *word == data[0]), "half of a row: {data:?}");
                assert!(data[0] >= latest, "back from {latest} to {}", data[0]);
                assert_ne!(Some(data[0]), never, "a row that was never shown");
                latest = data[0];
            }
        }
    })
}

/// A writer that shows 1, 2, …; `readers` readers that read so many times each.
fn model<const LEFT_OUT: LeftOut>(publishes: u64, readers: usize, times: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = (readers > 1).then_some(PREEMPTIONS);
    builder.check(move || {
        let row = new_row::<LEFT_OUT>();
        let readers: Vec<_> = (0..readers).map(|_| reader(&row, times, None)).collect();
        for value in 1..=publishes {
            publish(&row, &[value; DATA]);
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        // With no writer about, a read succeeds and gives the latest.
        let mut data = [u64::MAX; DATA];
        assert!(read(&row, &mut data) && data == [publishes; DATA], "the latest row is not shown: {data:?}");
    });
}

/// A writer that shows 1 and dies after so many stores of 2; its successor, which learns of the death, shows
/// 3.
fn model_of_death(stores: usize, times: usize) {
    loom::model(move || {
        let row = new_row::<NOTHING>();
        let reader = reader(&row, times, (stores <= DATA).then_some(2));
        let first = row.clone();
        let first = thread::spawn(move || {
            publish(&first, &[1; DATA]);
            let stores_left = Cell::new(stores);
            let row: Vec<Dying> =
                first.iter().map(|word| Dying { word, stores_left: &stores_left }).collect();
            publish(&row, &[2; DATA]);
            assert_eq!(stores_left.get(), 0, "it was to die within this row");
        });
        first.join().unwrap();
        publish(&row, &[3; DATA]);
        reader.join().unwrap();
        let mut data = [u64::MAX; DATA];
        assert!(read(&row, &mut data) && data == [3; DATA], "the successor's row is not shown: {data:?}");
    });
}

/// Does the model see half of a row with this ordering left out?
fn check_found<const LEFT_OUT: LeftOut>() {
    let panic = catch_unwind(|| model::<LEFT_OUT>(2, 1, 1)).expect_err("no execution was found wrong");
    let sentence = panic.downcast_ref::<String>().expect("the model's own sentence");
    assert!(sentence.starts_with("half of a row"), "{sentence}");
}

#[test]
fn a_reader_sees_whole_rows_in_order() {
    model::<NOTHING>(2, 1, 2);
}

#[test]
fn a_reader_sees_whole_rows_while_a_buffer_is_used_again() {
    model::<NOTHING>(3, 1, 2);
}

#[test]
fn two_readers_see_whole_rows() {
    model::<NOTHING>(2, 2, 1);
}

#[test]
fn a_writer_may_die_after_any_store() {
    (0..=DATA + 1).for_each(|stores| model_of_death(stores, 2));
}

#[test]
fn the_release_fence_is_needed() {
    check_found::<RELEASE_FENCE>();
}

#[test]
fn the_release_of_the_generation_is_needed() {
    check_found::<RELEASE_STORE>();
}

#[test]
fn the_acquire_of_the_generation_is_needed() {
    check_found::<ACQUIRE_LOAD>();
}

#[test]
fn the_acquire_fence_is_needed() {
    check_found::<ACQUIRE_FENCE>();
}
