//! What is in the watched folders now.
//!
//! Only regular files are logs, and only under names that are meant to be: not hidden, not temporary, no link out of the folder. Nothing is opened that is no regular file.
//! Deliberately absent: what it means. The ledger decides that.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file's device and inode.
pub type FileId = (u64, u64);

/// A file that may be a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its name as it is reported: with several folders, the folder's name is in front.
    pub name: Vec<u8>,
    /// Where it is.
    pub path: PathBuf,
    /// Which file it is.
    pub file: FileId,
    /// Its size, in bytes.
    pub size: u64,
    /// When it was last changed, as the file system says: since 1970.
    pub changed: Duration,
}

/// The contents of the folders.
#[derive(Debug, Default)]
pub struct Contents {
    /// The files, by name.
    pub found: Vec<Found>,
    /// The folders that could not be read, with the reason. What was in them is not gone: it is not known.
    pub troubled: Vec<(PathBuf, io::Error)>,
    /// What was left out, with the reason.
    pub skipped: Vec<(PathBuf, &'static str)>,
}

/// Looks into each folder, not into subfolders.
pub fn scan(folders: &[PathBuf]) -> Contents {
    let mut contents = Contents::default();
    for (folder, prefix) in folders.iter().zip(prefixes(folders)) {
        if let Err(error) = scan_folder(folder, &prefix, &mut contents) {
            contents.troubled.push((folder.clone(), error));
        }
    }
    contents.found.sort_by(|one, two| one.name.cmp(&two.name));
    contents
}

/// What stands in front of the names of each folder: nothing if there is one; its last part, or as many of them as tell it from the others.
fn prefixes(folders: &[PathBuf]) -> Vec<Vec<u8>> {
    if folders.len() == 1 {
        return vec![Vec::new()];
    }
    let absolute: Vec<PathBuf> = folders.iter().map(|folder| std::path::absolute(folder).unwrap_or_else(|_| folder.clone())).collect();
    let tail = |path: &Path, parts: usize| -> PathBuf { path.components().skip(path.components().count().saturating_sub(parts)).collect() };
    let alone = |path: &Path, parts: usize| absolute.iter().filter(|other| tail(other, parts) == tail(path, parts)).count() == 1;
    let prefix = |path: &PathBuf| {
        let parts = (1..path.components().count()).find(|parts| alone(path, *parts)).unwrap_or(usize::MAX);
        [tail(path, parts).as_os_str().as_bytes(), b"/"].concat()
    };
    absolute.iter().map(prefix).collect()
}

fn scan_folder(folder: &Path, prefix: &[u8], contents: &mut Contents) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if let Some(reason) = passed_over(&name) {
            contents.skipped.push((path, reason));
            continue;
        }
        let about = match entry.metadata() {
            Ok(about) => about,
            // What vanishes between two calls is not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // A folder that can be listed and not entered, say.
            Err(error) => return Err(error),
        };
        match target(folder, &path, about) {
            Ok(about) => contents.found.push(Found {
                name: [prefix, name.as_bytes()].concat(),
                path,
                file: (about.dev(), about.ino()),
                size: about.len(),
                changed: Duration::new(about.mtime().max(0).cast_unsigned(), about.mtime_nsec().clamp(0, 999_999_999) as u32),
            }),
            Err(reason) => contents.skipped.push((path, reason)),
        }
    }
    Ok(())
}

fn passed_over(name: &OsStr) -> Option<&'static str> {
    let name = name.as_bytes();
    if name.starts_with(b".") {
        Some("hidden")
    } else if name.ends_with(b".tmp") || name.ends_with(b".part") || name.ends_with(b"~") {
        Some("a temporary name")
    } else {
        None
    }
}

/// The regular file that an entry is, or leads to within its folder.
fn target(folder: &Path, path: &Path, about: Metadata) -> Result<Metadata, &'static str> {
    let about = if about.is_symlink() {
        let inside = fs::canonicalize(path).and_then(|target| Ok(target.starts_with(fs::canonicalize(folder)?)));
        match inside {
            Ok(true) => fs::metadata(path).map_err(|_| "a link that leads nowhere")?,
            Ok(false) => return Err("a link out of the folder"),
            Err(_) => return Err("a link that leads nowhere"),
        }
    } else {
        about
    };
    if about.is_file() { Ok(about) } else { Err("not a regular file") }
}

/// Opens a log that was found, if it is still the same file.
pub fn open(path: &Path, file: FileId) -> io::Result<File> {
    // Without O_NONBLOCK, a pipe that took the name since would block us.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let about = opened.metadata()?;
    if (about.dev(), about.ino()) != file || !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "another file has its name now"));
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Two folders `logs` of different servers were both shown as `logs/`, and one hid the other's logs in the report.
    #[test]
    fn folders_of_one_name_are_told_apart() {
        let check = |folders: &[&str], want: &[&str]| {
            let folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
            let found: Vec<String> = prefixes(&folders).into_iter().map(|prefix| String::from_utf8(prefix).unwrap()).collect();
            assert_eq!(found, want, "{folders:?}");
        };
        check(&["/srv/a/logs"], &[""]);
        check(&["/srv/a", "/srv/b"], &["a/", "b/"]);
        check(&["/srv/a/logs", "/srv/b/logs", "/srv/c"], &["a/logs/", "b/logs/", "c/"]);
        check(&["/logs", "/srv/logs"], &["/logs/", "srv/logs/"]);
        check(&["/srv/a/.", "/srv/b/"], &["a/", "b/"]);
    }

    #[test]
    fn only_regular_files_are_logs() {
        let folder = std::env::temp_dir().join(format!("tallyd-scan-{}", std::process::id()));
        fs::create_dir_all(folder.join("sub.log")).unwrap();
        for name in ["b.log", "a.log", ".hidden.log", "x.log.tmp", "y.part", "z.log~"] {
            fs::write(folder.join(name), b"x").unwrap();
        }
        nix::unistd::mkfifo(&folder.join("pipe.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink("/etc/passwd", folder.join("out.log")).unwrap();
        symlink("nowhere", folder.join("dangling.log")).unwrap();
        symlink("a.log", folder.join("inside.log")).unwrap();
        let contents = scan(std::slice::from_ref(&folder));
        let missing = scan(&[folder.join("missing"), folder.clone()]);
        fs::remove_dir_all(&folder).unwrap();
        let names: Vec<&[u8]> = contents.found.iter().map(|found| &found.name[..]).collect();
        assert_eq!(names, [&b"a.log"[..], b"b.log", b"inside.log"]);
        assert_eq!(contents.found[0].file, contents.found[2].file);
        let mut reasons: Vec<_> = contents.skipped.iter().map(|(path, reason)| (path.file_name().unwrap().to_str().unwrap(), *reason)).collect();
        reasons.sort_unstable();
        let wants = [
            (".hidden.log", "hidden"),
            ("dangling.log", "a link that leads nowhere"),
            ("out.log", "a link out of the folder"),
            ("pipe.log", "not a regular file"),
            ("sub.log", "not a regular file"),
            ("x.log.tmp", "a temporary name"),
            ("y.part", "a temporary name"),
            ("z.log~", "a temporary name"),
        ];
        assert_eq!(reasons, wants);
        assert_eq!(missing.troubled.len(), 1);
        assert!(missing.found[0].name.ends_with(b"/a.log")); // with several folders, the folder's name is in front
    }
}
