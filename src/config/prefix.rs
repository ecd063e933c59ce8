//! Prefixes that distinguish the logs of several watched folders.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Returns the prefix of the names in each folder: empty for a single folder, else as many last parts of its
/// path as make it unique, and a slash.
pub fn prefixes(folders: &[PathBuf], recursive: bool) -> Vec<Vec<u8>> {
    if folders.len() == 1 {
        return vec![Vec::new()];
    }
    let absolute: Vec<PathBuf> =
        folders.iter().map(|folder| std::path::absolute(folder).unwrap_or_else(|_| folder.clone())).collect();
    let tail = |path: &Path, parts: usize| -> PathBuf {
        path.components().skip(path.components().count().saturating_sub(parts)).collect()
    };
    let alone = |path: &Path, parts: usize| {
        absolute.iter().filter(|other| tail(other, parts) == tail(path, parts)).count() == 1
    };
    let named = |path: &Path, parts: usize| [tail(path, parts).as_os_str().as_bytes(), b"/"].concat();
    let shortest = |path: &PathBuf| {
        named(path, (1..path.components().count()).find(|parts| alone(path, *parts)).unwrap_or(usize::MAX))
    };
    let prefixes: Vec<Vec<u8>> = absolute.iter().map(shortest).collect();
    // `a/` and `a/b/` of two folders would give a file in a subfolder `b` of the first the name of one in the
    // second.
    let hides = |at: usize| {
        prefixes.iter().enumerate().any(|(other, prefix)| other != at && prefixes[at].starts_with(prefix))
    };
    if recursive && (0..prefixes.len()).any(hides) {
        return absolute.iter().map(|path| named(path, usize::MAX)).collect();
    }
    prefixes
}
