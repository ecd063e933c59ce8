//! File systems: how much room they have, and names that are given only as long as they are free.

use std::fs;
use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// The room on a file system, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// What this user may still write.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// The room on the file system that a path is on.
///
/// # Errors
/// If there is no such path, or its file system does not tell.
pub fn room(path: &Path) -> io::Result<Room> {
    let about = statvfs(path)?;
    let unit = about.fragment_size();
    Ok(Room {
        free: unit.saturating_mul(about.blocks_available()),
        total: unit.saturating_mul(about.blocks()),
    })
}

/// Gives a file another name in its folder, if nothing has that name.
///
/// # Errors
/// `AlreadyExists` if something has it, whatever that is; else what the system says.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renamed(from, to) {
        // Not every file system can (NFS cannot). Two names of one file for a moment are as good: the new one
        // is given only if it is free.
        Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOSYS | nix::errno::Errno::EOPNOTSUPP) => {
            fs::hard_link(from, to)?;
            // It has its new name, whether or not the old one can be taken from it.
            let _ = fs::remove_file(from);
            Ok(())
        }
        done => Ok(done?),
    }
}

#[cfg(target_env = "gnu")]
fn renamed(from: &Path, to: &Path) -> nix::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)
}

#[cfg(not(target_env = "gnu"))]
fn renamed(_: &Path, _: &Path) -> nix::Result<()> {
    Err(nix::errno::Errno::ENOSYS)
}
