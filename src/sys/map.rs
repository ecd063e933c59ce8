//! Reading files at an offset: through a mapping or with `pread`.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::atomic::{Ordering::SeqCst, compiler_fence};

use memmap2::{Advice, Mmap, MmapOptions};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// A part of a file, mapped read-only. A thread has one at a time, and keeps it.
///
/// A doubt that stays, written down: the file belongs to others. If it is cut short while it is mapped, bytes
/// beyond its new end read as zeros up to the end of their page, and raise SIGBUS after it. So a mapping is
/// used only where the process may die of it (a worker, which loses one range) or behind a [`shield`], and
/// what was read counts only after the file has been found to be as long as before and to hold the same
/// bytes.
#[derive(Debug)]
pub struct FileView(Mmap, PhantomData<*const ()>);

thread_local! {
    /// The addresses of this thread's view, and whether something of it was found to be cut off.
    static VIEW: Cell<(usize, usize, bool)> = const { Cell::new((0, 0, false)) };
}

impl FileView {
    /// Maps `length` bytes of `file` from `offset`; it must have them.
    pub fn open(file: &File, offset: u64, length: usize) -> io::Result<FileView> {
        // SAFETY: the bytes are only read, as plain bytes of which every value is valid. That others may
        // change them meanwhile is the doubt above: no reference into the mapping outlives a count, no
        // decision is taken twice on the same byte, and a worker's tally is checked against the file before
        // it is used.
        let map = unsafe { MmapOptions::new().offset(offset).len(length).map(file)? };
        // Only speed depends on it.
        let _ = map.advise(Advice::Sequential);
        debug_assert_eq!(VIEW.get().0, 0, "a thread has one view at a time");
        VIEW.set((map.as_ptr().addr(), map.as_ptr().addr() + map.len(), false));
        // A handler may look before the next read of the view.
        compiler_fence(SeqCst);
        Ok(FileView(map, PhantomData))
    }

    /// Was the file found cut short, and zeros read instead, by the [`shield`]?
    pub fn is_cut(&self) -> bool {
        // A handler may have written after the last read of the view.
        compiler_fence(SeqCst);
        VIEW.get().2
    }
}

impl Drop for FileView {
    fn drop(&mut self) {
        VIEW.set((0, 0, false));
    }
}

/// From now on, a file that is cut short under a view does not end this process: what is missing reads as
/// zeros, and [`FileView::is_cut`] tells.
///
/// For a program that reads files of others in one process and must not die of them. (libwayland-server does
/// the same for buffers of its clients: `wl_shm_buffer_begin_access`.)
///
/// # Errors
/// If the system does not take the signal handler.
pub fn shield() -> io::Result<()> {
    extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel passes a valid `siginfo_t` to a handler with SA_SIGINFO, and SIGBUS fills in the
        // address.
        let address = unsafe { (*info).si_addr() }.addr();
        // A constant-initialized thread-local without a destructor is a plain load at a fixed offset: allowed
        // within a signal handler.
        let (from, to, _) = VIEW.get();
        let page = address & !(PAGE - 1);
        if from <= address && address < to {
            // SAFETY: the pages from the address on to the end of the view belong to this thread's own
            // mapping, which nothing else can use. They are replaced by pages of zeros, readable like those
            // before. mmap is a bare system call: allowed within a signal handler.
            let zeros = unsafe {
                libc::mmap(
                    ptr::without_provenance_mut(page),
                    to - page,
                    libc::PROT_READ,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                    -1,
                    0,
                )
            };
            if zeros != libc::MAP_FAILED {
                return VIEW.set((from, to, true));
            }
        }
        // Not a view's: the same access again ends the process, as it would have.
        // SAFETY: signal(2) is allowed within a signal handler.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    }
    let handler = SigHandler::SigAction(on_bus_error);
    let action = SigAction::new(handler, SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK, SigSet::empty());
    // SAFETY: the handler above does nothing but what is allowed in one.
    unsafe { sigaction(Signal::SIGBUS, &action) }?;
    Ok(())
}

const PAGE: usize = 4096;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_under_a_shield_reads_as_zeros() {
        let path = std::env::temp_dir().join(format!("tallyd-map-{}", std::process::id()));
        std::fs::write(&path, vec![b'x'; 5 * PAGE]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        shield().unwrap();
        for offset in [0, 100] {
            file.set_len(5 * PAGE as u64).unwrap();
            file.write_all_at(&[b'x'; 5 * PAGE], 0).unwrap();
            let view = FileView::open(&file, offset, 5 * PAGE - offset as usize).unwrap();
            assert_eq!((view[0], view[view.len() - 1], view.is_cut()), (b'x', b'x', false));
            file.set_len(10 + offset).unwrap();
            assert_eq!(view.iter().filter(|byte| **byte == b'x').count(), 10);
            assert!(view.is_cut());
            drop(view);
            assert!(!FileView::open(&file, 0, 10).unwrap().is_cut());
        }
    }
}
