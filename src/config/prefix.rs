//! How the names of several watched folders are told apart.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What stands in front of the names of each folder: nothing if there is one; its last part and a slash, or as many parts as tell it from the others.
pub fn prefixes(folders: &[PathBuf], recursive: bool) -> Vec<Vec<u8>> {
    if folders.len() == 1 {
        return vec![Vec::new()];
    }
    let absolute: Vec<PathBuf> = folders.iter().map(|folder| std::path::absolute(folder).unwrap_or_else(|_| folder.clone())).collect();
    let tail = |path: &Path, parts: usize| -> PathBuf { path.components().skip(path.components().count().saturating_sub(parts)).collect() };
    let alone = |path: &Path, parts: usize| absolute.iter().filter(|other| tail(other, parts) == tail(path, parts)).count() == 1;
    let named = |path: &Path, parts: usize| [tail(path, parts).as_os_str().as_bytes(), b"/"].concat();
    let shortest = |path: &PathBuf| named(path, (1..path.components().count()).find(|parts| alone(path, *parts)).unwrap_or(usize::MAX));
    let prefixes: Vec<Vec<u8>> = absolute.iter().map(shortest).collect();
    // `a/` and `a/b/` of two folders would give a file in a subfolder `b` of the first the name of one in the second.
    let hides = |at: usize| prefixes.iter().enumerate().any(|(other, prefix)| other != at && prefixes[at].starts_with(prefix));
    if recursive && (0..prefixes.len()).any(hides) {
        return absolute.iter().map(|path| named(path, usize::MAX)).collect();
    }
    prefixes
}
