//! One row: two buffers and a generation, one writer at a time, any number of readers.
//!
//! The writer fills the buffer that is not shown, then shows it by raising the generation. A reader copies
//! the buffer shown and accepts the copy only if the generation is the same after it. A writer that dies at
//! any instruction leaves the shown buffer whole, and its successor goes on from the generation it finds. (A
//! seqlock would not do: a writer killed in the middle leaves it odd for ever.)
//!
//! Layout, in words: the generation, then the buffer of even generations, then that of odd ones. Generation 0
//! shows zeros. Generic over the words so that loom can run every interleaving of the same code
//! (`tests/board.rs`).

use std::sync::atomic::{AtomicU64, Ordering};

/// A word that several threads of execution may touch.
pub trait Word {
    /// Reads it.
    fn load(&self, order: Ordering) -> u64;
    /// Writes it.
    fn store(&self, value: u64, order: Ordering);
    /// Orders the accesses before it against those after it.
    fn fence(order: Ordering);
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value, order);
    }

    #[inline]
    fn fence(order: Ordering) {
        std::sync::atomic::fence(order);
    }
}

/// How many words a row of so many data words takes.
pub const fn row_words(data: usize) -> usize {
    1 + 2 * data
}

/// Shows `data` in the row. Only one writer may do so at a time.
pub fn publish<W: Word>(row: &[W], data: &[u64]) {
    let (generation, buffers) = row.split_first().expect("a row has a generation");
    // Relaxed: only this writer, or a dead predecessor, ever stored it.
    let next = generation.load(Ordering::Relaxed).wrapping_add(1);
    // Without it, a word of this data could be seen before the generation that hid the buffer it goes to: a
    // reader of that older data would find its generation unchanged, and accept a mixture.
    W::fence(Ordering::Release);
    for (word, value) in buffer(buffers, next).iter().zip(data) {
        word.store(*value, Ordering::Relaxed);
    }
    // Release: who sees this generation sees the words stored before.
    generation.store(next, Ordering::Release);
}

/// Copies what the row shows into `data`. Says whether that worked: not if the writer changed the row
/// meanwhile.
#[must_use]
pub fn read<W: Word>(row: &[W], data: &mut [u64]) -> bool {
    let (generation, buffers) = row.split_first().expect("a row has a generation");
    // Acquire: the words stored before this generation was are seen below.
    let before = generation.load(Ordering::Acquire);
    for (value, word) in data.iter_mut().zip(buffer(buffers, before)) {
        *value = word.load(Ordering::Relaxed);
    }
    // Without it, the second look at the generation could be taken before the words were copied, and miss
    // that they changed.
    W::fence(Ordering::Acquire);
    generation.load(Ordering::Relaxed) == before
}

fn buffer<W>(buffers: &[W], generation: u64) -> &[W] {
    let (even, odd) = buffers.split_at(buffers.len() / 2);
    if generation.is_multiple_of(2) { even } else { odd }
}
