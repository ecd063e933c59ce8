//! Memory between processes: tables that stay shared, and results that are sealed once they are written.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use memmap2::{Advice, Mmap, MmapOptions, MmapRaw};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A memory object of fixed size that processes can map.
#[derive(Debug)]
pub struct SharedMemory {
    file: File,
    words: usize,
}

/// Words of shared memory, mapped into this process.
#[derive(Debug)]
pub struct SharedWords {
    map: MmapRaw,
    words: usize,
}

impl SharedMemory {
    /// Makes an object of so many words, all zero. Nobody can change its size any more.
    pub fn new(name: &std::ffi::CStr, words: usize) -> io::Result<SharedMemory> {
        let file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
        file.set_len(words as u64 * 8)?;
        fcntl(
            &file,
            FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL),
        )?;
        Ok(SharedMemory { file, words })
    }

    /// Maps it for writing. A child does not inherit the mapping: it can harm only what it maps itself.
    pub fn map(&self) -> io::Result<SharedWords> {
        SharedWords::own(MmapOptions::new().len(self.words * 8).map_raw(&self.file)?, self.words)
    }

    /// Maps it so that this process can only read it, not even after a change of protection: through a
    /// descriptor that was opened for reading.
    pub fn map_read_only(&self) -> io::Result<SharedWords> {
        let file = File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))?;
        SharedWords::own(MmapOptions::new().len(self.words * 8).map_raw_read_only(&file)?, self.words)
    }

    /// Its descriptor.
    pub fn as_raw_fd(&self) -> i32 {
        self.file.as_raw_fd()
    }
}

impl SharedWords {
    fn own(map: MmapRaw, words: usize) -> io::Result<SharedWords> {
        map.advise(Advice::DontFork)?;
        Ok(SharedWords { map, words })
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU64];

    /// The words. Storing into a read-only mapping ends the process with SIGSEGV, so only writers do.
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping holds `words` words, starts on a page, and lives as long as `self`. The object
        // behind it cannot shrink (sealed by `SharedMemory::new`). Every access by every process goes through
        // atomics of this type.
        unsafe { std::slice::from_raw_parts(self.map.as_mut_ptr().cast::<AtomicU64>(), self.words) }
    }
}

/// Bytes that nobody can change any more: a memory object that was sealed before it was mapped.
#[derive(Debug)]
pub struct Sealed(Mmap);

impl Sealed {
    /// Puts bytes into a new memory object and seals it.
    pub fn write(bytes: &[u8]) -> io::Result<OwnedFd> {
        let mut file =
            File::from(memfd_create(c"tallyd-result", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
        file.write_all(bytes)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(all_seals()))?;
        Ok(file.into())
    }

    /// Maps a memory object of 1 to `length_max` bytes that another process sealed.
    ///
    /// # Errors
    /// If it is no memory object, is not sealed against every change, is empty or too long.
    pub fn open(fd: OwnedFd, length_max: u64) -> io::Result<Sealed> {
        let seals = fcntl(fd.as_fd(), FcntlArg::F_GET_SEALS)?;
        if !SealFlag::from_bits_retain(seals).contains(all_seals()) {
            return Err(io::Error::other("the result is not sealed"));
        }
        let file = File::from(fd);
        let length = file.metadata()?.len();
        if length == 0 || length > length_max {
            return Err(io::Error::other("the result has no possible length"));
        }
        // SAFETY: the seals, checked above, keep the object from being written, shrunk or unsealed for as
        // long as it exists.
        Ok(Sealed(unsafe { Mmap::map(&file)? }))
    }
}

impl Deref for Sealed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

fn all_seals() -> SealFlag {
    SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL
}

/// So many slots of a few words each that are 0, ready to be written in any order.
///
/// A fresh page that is read first costs two faults, the second of which stops all other threads for a
/// moment; so a larger table gets all its pages at once, and large ones if the system has some to give.
pub fn zeroed_slots<const WORDS: usize>(count: usize) -> Vec<[u64; WORDS]> {
    const PAGE: usize = 4096;
    const LARGE_PAGE: usize = 2 << 20;
    let mut slots = vec![[0; WORDS]; count];
    let bytes = size_of_val(&*slots);
    if bytes >= 2 * LARGE_PAGE {
        advise(slots.as_flattened(), LARGE_PAGE, Advise::LargePages);
    }
    if bytes >= 32 * PAGE {
        advise(slots.as_flattened(), PAGE, Advise::AllAtOnce);
    } else {
        // Few: writing to each costs less than asking for all.
        slots
            .as_flattened_mut()
            .iter_mut()
            .step_by(PAGE / size_of::<u64>())
            .for_each(|word| *word = std::hint::black_box(0));
    }
    slots
}

/// Gives back to the system what the allocator holds free between what is in use.
pub fn give_back() {
    // SAFETY: it takes no pointer, and only pages go that nothing is in.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Advice that changes no byte.
enum Advise {
    LargePages,
    AllAtOnce,
}

/// Advises the system about the whole pages that lie within some words.
fn advise(words: &[u64], page: usize, advice: Advise) {
    let advice = match advice {
        Advise::LargePages => libc::MADV_HUGEPAGE,
        Advise::AllAtOnce => libc::MADV_POPULATE_WRITE,
    };
    let start = words.as_ptr().addr().next_multiple_of(page);
    let end = (words.as_ptr().addr() + size_of_val(words)) / page * page;
    if start < end {
        // SAFETY: the pages lie within memory that is ours, and neither of the two pieces of advice changes a
        // byte of it. Only speed depends on it, and an older kernel may not know it.
        let _ = unsafe { libc::madvise(std::ptr::without_provenance_mut(start), end - start, advice) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn shared_words_are_shared() {
        let memory = SharedMemory::new(c"test", 1000).unwrap();
        let (writer, reader) = (memory.map().unwrap(), memory.map_read_only().unwrap());
        writer[999].store(7, Relaxed);
        assert_eq!((reader.len(), reader[999].load(Relaxed)), (1000, 7));
        assert!(memory.file.set_len(8).is_err());
    }

    #[test]
    fn only_sealed_memory_is_opened() {
        let sealed = Sealed::write(b"abc").unwrap();
        assert!(File::from(sealed.try_clone().unwrap()).set_len(1).is_err());
        assert_eq!(&*Sealed::open(sealed.try_clone().unwrap(), 3).unwrap(), b"abc");
        assert!(Sealed::open(sealed, 2).is_err());
        assert!(Sealed::open(Sealed::write(b"").unwrap(), 2).is_err());
        assert!(Sealed::open(File::open("/proc/self/exe").unwrap().into(), 1 << 40).is_err());
        let unsealed = memfd_create(c"test", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        File::from(unsealed.try_clone().unwrap()).write_all(b"abc").unwrap();
        assert!(Sealed::open(unsealed, 3).is_err());
    }
}
