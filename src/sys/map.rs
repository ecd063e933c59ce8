//! Reading files at an offset: through a mapping or with `pread`.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;

use memmap2::{Advice, Mmap, MmapOptions};

/// A part of a file, mapped read-only.
///
/// A doubt that stays, written down: the file belongs to others. If it is cut short while it is mapped, bytes beyond its new end
/// read as zeros up to the end of their page, and raise SIGBUS after it. So a mapping is used only where the process may die of it
/// (a worker, which loses one range), and what was read counts only after the file has been found to be as long as before.
#[derive(Debug)]
pub struct FileView(Mmap);

impl FileView {
    /// Maps `length` bytes of `file` from `offset`; it must have them.
    pub fn open(file: &File, offset: u64, length: usize) -> io::Result<FileView> {
        // SAFETY: the bytes are only read, as plain bytes of which every value is valid. That others may change them meanwhile is the
        // doubt above: no reference into the mapping outlives a count, no decision is taken twice on the same byte, and a
        // worker's tally is checked against the file before it is used.
        let map = unsafe { MmapOptions::new().offset(offset).len(length).map(file)? };
        // Only speed depends on it.
        let _ = map.advise(Advice::Sequential);
        Ok(FileView(map))
    }
}

impl Deref for FileView {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Reads from `offset` until `buffer` is full or the file ends; says how many bytes came.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
