//! The lock of a state folder: one daemon a folder, even if the folder is deleted or moved while the daemon
//! runs.
//!
//! flock(2) locks a file, not a name: a daemon whose lock file was deleted still holds its lock, and a second
//! daemon can lock a new file of that name. So whoever writes to the folder asks first whether the lock is
//! still the folder's lock.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::private;

/// How long a daemon waits for a predecessor that is dying.
const WAIT: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(50);

/// A lock on a state folder. Processes that share it hold it until the last of them ends.
#[derive(Debug)]
pub struct StateLock {
    folder: PathBuf,
    file: File,
    /// The daemon: the process that took the lock first.
    pid: u32,
}

/// Why a state folder cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum StateLockError {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another daemon has the lock. Its process id, as it wrote it.
    #[error("another tallyd (pid {0}) uses the state folder")]
    Taken(String),
}

impl StateLock {
    /// Locks a state folder, which is made if it is missing. Waits up to 3 seconds for another daemon that is
    /// ending.
    ///
    /// # Errors
    /// [`StateLockError`].
    pub fn take(folder: &Path) -> Result<StateLock, StateLockError> {
        StateLock::take_for(folder, std::process::id())
    }

    fn take_for(folder: &Path, pid: u32) -> Result<StateLock, StateLockError> {
        // A folder above the state folder may be used by others too.
        folder.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| private::make_folder(folder))?;
        let start = Instant::now();
        loop {
            let mut lock = StateLock { folder: folder.to_owned(), file: private::open(&name(folder))?, pid };
            match lock.file.try_lock() {
                // It may have been deleted between the two.
                Ok(()) if !lock.is_in_folder()? => {}
                Ok(()) => {
                    lock.note_pid()?;
                    return Ok(lock);
                }
                Err(TryLockError::WouldBlock) if start.elapsed() < WAIT => std::thread::sleep(STEP),
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = lock.file.read_to_string(&mut holder);
                    return Err(StateLockError::Taken(holder.trim().to_owned()));
                }
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }

    /// Makes sure that this is the lock of the folder: a folder that was deleted or replaced is made and
    /// locked again. Returns whether that was so.
    ///
    /// # Errors
    /// [`StateLockError`].
    pub fn renew(&mut self) -> Result<bool, StateLockError> {
        if self.is_in_folder()? {
            return Ok(false);
        }
        *self = StateLock::take_for(&self.folder, self.pid)?;
        Ok(true)
    }

    /// Returns another handle on the same lock.
    ///
    /// # Errors
    /// If the process has too many descriptors.
    pub fn share(&self) -> io::Result<StateLock> {
        Ok(StateLock { folder: self.folder.clone(), file: self.file.try_clone()?, pid: self.pid })
    }

    /// Is the locked file the one that has the lock's name?
    fn is_in_folder(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::metadata(name(&self.folder)) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// For the sentence on a lock that is taken only: who holds the lock is known by the lock.
    fn note_pid(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{}", self.pid)
    }
}

impl AsRawFd for StateLock {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

fn name(folder: &Path) -> PathBuf {
    folder.join("lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_knows_whether_its_folder_is_still_there() {
        let root = std::env::temp_dir().join(format!("tallyd-lock-{}", std::process::id()));
        let state = root.join("state");
        let mut lock = StateLock::take(&state).unwrap();
        let mut shared = lock.share().unwrap();
        assert!(!lock.renew().unwrap() && !shared.renew().unwrap());
        // Deleted: another handle has to lock the new file.
        fs::remove_dir_all(&state).unwrap();
        assert!(lock.renew().unwrap());
        assert!(
            matches!(shared.renew(), Err(StateLockError::Taken(pid)) if pid == std::process::id().to_string())
        );
        // Moved, and another folder of that name.
        fs::rename(&state, root.join("old")).unwrap();
        fs::create_dir(&state).unwrap();
        assert!(lock.renew().unwrap() && !lock.renew().unwrap());
        assert!(matches!(StateLock::take(&state), Err(StateLockError::Taken(_))));
        drop(lock);
        assert!(StateLock::take(&state).is_ok());
        fs::remove_dir_all(root).unwrap();
    }
}
