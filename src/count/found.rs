//! Which files are counted: the named ones, and those of named folders whose names the patterns accept.
//!
//! A file in a folder that is known to be no access log is skipped with a reason. A named file is never
//! skipped: it is counted or an error. Deliberately absent: subfolders and hidden files of folders.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::sentence::{STDIN, cannot_read, shown};
use crate::config::Globs;
use crate::log::is_error_log;

/// How many skipped files a note names; it counts the others.
const NAMED_MAX: usize = 5;

/// Which files of a folder are counted.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    /// Only files whose names match; empty: all but error logs.
    pub include: Globs,
    /// Not files whose names match.
    pub exclude: Globs,
}

/// A path to count.
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) origin: Origin,
}

/// Why a path is to be counted.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// The command line names the path.
    Named,
    /// The command line names the folder that contains the file.
    Folder,
}

/// What is to be reported on stderr.
#[derive(Default)]
pub(super) struct Report {
    /// Files in folders that are not counted, with the reason.
    skipped: Vec<(PathBuf, &'static str)>,
    /// What could not be counted, in a sentence each.
    pub(super) errors: Vec<String>,
}

const ERROR_LOG: &str = "an error log";

impl Report {
    pub(super) fn skip(&mut self, path: PathBuf, reason: &'static str) {
        self.skipped.push((path, reason));
    }

    /// The note on what was skipped, if anything was.
    pub(super) fn notes(&self) -> Vec<String> {
        let count = self.skipped.len();
        if count == 0 {
            return Vec::new();
        }
        let named: Vec<String> = self
            .skipped
            .iter()
            .take(NAMED_MAX)
            .map(|(path, reason)| format!("{} ({reason})", shown(path)))
            .collect();
        let files = if count == 1 { "file" } else { "files" };
        let more = if count > NAMED_MAX { format!(" and {} more", count - NAMED_MAX) } else { String::new() };
        let has_error_log = self.skipped.iter().any(|(_, reason)| *reason == ERROR_LOG);
        let remedy = if has_error_log { "; to count error logs, name them or give --include" } else { "" };
        vec![format!("skipped {count} {files}: {}{more}{remedy}", named.join(", "))]
    }
}

/// Lists the paths to count. A folder becomes its visible regular files that the patterns accept, by name.
pub(super) fn list(paths: &[PathBuf], patterns: &Patterns, report: &mut Report) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for path in paths {
        if path.as_os_str() == STDIN || !path.is_dir() {
            candidates.push(Candidate { path: path.clone(), origin: Origin::Named });
            continue;
        }
        match files_of(path) {
            Ok(files) => {
                let accepted = files.into_iter().filter(|path| accepts(patterns, path, report));
                candidates.extend(accepted.map(|path| Candidate { path, origin: Origin::Folder }));
            }
            Err(error) => report.errors.push(cannot_read(path, &error.into())),
        }
    }
    candidates
}

/// The visible regular files in a folder, by name.
fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let visible = entries.iter().filter(|entry| !entry.file_name().as_bytes().starts_with(b"."));
    let mut files: Vec<_> = visible.map(fs::DirEntry::path).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// Returns whether a file of a folder is to be counted, by its name. Reports an error log that is skipped.
fn accepts(patterns: &Patterns, path: &Path, report: &mut Report) -> bool {
    let Patterns { include, exclude } = patterns;
    let name = path.file_name().unwrap_or_default();
    if exclude.match_name(name) {
        return false;
    }
    if include.is_empty() && is_error_log(name.as_bytes()) {
        report.skip(path.to_owned(), ERROR_LOG);
        return false;
    }
    include.is_empty() || include.match_name(name)
}
