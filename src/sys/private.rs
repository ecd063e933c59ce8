//! Files and folders that only their owner may use: client addresses are in them.
//!
//! Deliberately absent: the process's umask. Uploads go to folders of others, which have rules of their own.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::process::uid;

const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// The bits of a mode that [`tighten`] clears: what group and others may do.
const OF_OTHERS: u32 = 0o077;

/// Makes a folder, and those above it that are missing.
///
/// # Errors
/// If it cannot be made.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Opens a file for reading and writing, and makes it if it is missing. Its content stays.
///
/// # Errors
/// If it cannot be opened or made.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}

/// Makes a file, or empties it, and opens it for writing.
///
/// # Errors
/// If it cannot be opened or made.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)
}

/// Takes the permissions of group and others away from a file or folder, and from all that is in the folder.
/// Links are not followed. Returns how many entries had such permissions.
///
/// Only the owner can do this, so what belongs to others stays as it is: on a volume whose root belongs to
/// root, say.
///
/// # Errors
/// The first one. The other entries are tightened all the same.
pub fn tighten(path: &Path) -> io::Result<u64> {
    let about = fs::symlink_metadata(path)?;
    let (mut tightened, mut first_error) = (0, None);
    if (about.is_file() || about.is_dir()) && about.uid() == uid() && about.mode() & OF_OTHERS != 0 {
        match fs::set_permissions(path, Permissions::from_mode(about.mode() & 0o7777 & !OF_OTHERS)) {
            Ok(()) => tightened += 1,
            Err(error) => first_error = Some(error),
        }
    }
    if about.is_dir() {
        for entry in fs::read_dir(path)? {
            match entry.and_then(|entry| tighten(&entry.path())) {
                Ok(more) => tightened += more,
                // Another process may remove what it wrote meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
    }
    first_error.map_or(Ok(tightened), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_tightened_with_all_that_is_in_it_and_links_are_not_followed() {
        let folder = std::env::temp_dir().join(format!("tallyd-private-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let (inner, outside) = (folder.join("state/partials"), folder.join("outside"));
        fs::create_dir_all(&inner).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        for file in [&inner.join("one"), &outside] {
            fs::write(file, "x").unwrap();
            fs::set_permissions(file, Permissions::from_mode(0o664)).unwrap();
        }
        fs::set_permissions(&inner, Permissions::from_mode(0o2775)).unwrap();
        fs::set_permissions(folder.join("state"), Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&outside, inner.join("link")).unwrap();
        assert_eq!(tighten(&folder.join("state")).unwrap(), 3);
        assert_eq!(
            [mode(&folder.join("state")), mode(&inner), mode(&inner.join("one")), mode(&outside)],
            [0o700, 0o2700, 0o600, 0o664]
        );
        assert_eq!(tighten(&folder.join("state")).unwrap(), 0);
        assert!(tighten(&folder.join("none")).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn new_files_and_folders_are_their_owners_alone() {
        let folder = std::env::temp_dir().join(format!("tallyd-private-new-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        make_folder(&folder.join("a/b")).unwrap();
        make_folder(&folder.join("a/b")).unwrap();
        open(&folder.join("a/one")).unwrap();
        create(&folder.join("a/two")).unwrap();
        for (path, want) in [("", 0o700), ("a", 0o700), ("a/b", 0o700), ("a/one", 0o600), ("a/two", 0o600)] {
            assert_eq!(fs::metadata(folder.join(path)).unwrap().mode() & 0o7777 & !0o2000, want, "{path}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
