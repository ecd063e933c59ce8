//! The folder of partials: where they are, and how one is replaced so that there is always a whole one.
//!
//! Written under another name, synced, renamed, and the folder synced. A sync that failed is not tried again
//! on the same file: the system may have dropped what it could not write, and would say yes the second time.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::sys::private::{create, make_folder};

/// Below the state folder.
const PARTIALS: &str = "partials/v1";
const HOST: &str = "host=";
const SUFFIX: &str = ".parquet";

/// The name under which a daemon keeps its partials: a plain word, 1 to 64 of `A-Z a-z 0-9 . _ -`, the first
/// no dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(String);

impl Host {
    /// The host of this name, if it is a plain word.
    pub fn new(name: &str) -> Option<Host> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let right = (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain);
        right.then(|| Host(name.to_owned()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A partial that is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Whose it is.
    pub host: Host,
    /// The log's id.
    pub log: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// The folder of a host's partials.
pub fn of(state: &Path, host: &Host) -> PathBuf {
    state.join(PARTIALS).join(format!("{HOST}{host}"))
}

/// The partial of a log in a host's folder.
pub fn path(folder: &Path, log: u64) -> PathBuf {
    folder.join(format!("{log:016x}{SUFFIX}"))
}

/// The folder of this daemon's own partials: made if it is missing, and cleared of what was being written
/// when an earlier one ended. There must be no other daemon on this state folder.
///
/// # Errors
/// If it cannot be made or read.
pub fn open_own(state: &Path, host: &Host) -> io::Result<PathBuf> {
    let folder = make(state, host)?;
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(".tmp")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(folder)
}

/// The folder of a host's partials, made if it is missing.
///
/// # Errors
/// If it cannot be made.
pub fn make(state: &Path, host: &Host) -> io::Result<PathBuf> {
    let folder = of(state, host);
    make_folder(&folder)?;
    // It is to be there after a loss of power, and so are the two above it and the state folder.
    folder.ancestors().skip(1).take(3).try_for_each(sync)?;
    Ok(folder)
}

/// Replaces the partial of a log.
///
/// # Errors
/// If it was not written: what was there before is there still. Or if the folder could not be synced: the new
/// one is there, but may not be after a loss of power.
pub fn write(folder: &Path, log: u64, bytes: &[u8]) -> io::Result<()> {
    write_all(folder, &[(log, bytes)]).pop().unwrap_or(Ok(()))
}

/// Replaces the partials of several logs, and syncs the folder once. Says of each whether it went, as
/// [`write()`] does.
pub fn write_all(folder: &Path, partials: &[(u64, &[u8])]) -> Vec<io::Result<()>> {
    let mut results: Vec<io::Result<()>> =
        partials.iter().map(|(log, bytes)| replace(folder, *log, bytes)).collect();
    if results.iter().any(Result::is_ok)
        && let Err(error) = sync(folder)
    {
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            *result = Err(io::Error::new(error.kind(), error.to_string()));
        }
    }
    results
}

/// Takes a log's partial away, if it is there.
///
/// # Errors
/// If it cannot be removed, or the folder not be synced.
pub fn remove(folder: &Path, log: u64) -> io::Result<()> {
    match fs::remove_file(path(folder, log)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync(folder),
    }
}

/// All partials of all hosts, sorted by host and id. A state folder that is not there has none.
///
/// # Errors
/// If a folder cannot be read.
pub fn list(state: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for host in hosts(state)? {
        entries.append(&mut list_of(state, &host)?);
    }
    Ok(entries)
}

/// The hosts that have a folder of partials, sorted.
///
/// # Errors
/// If the folder of them cannot be read.
pub fn hosts(state: &Path) -> io::Result<Vec<Host>> {
    let mut hosts: Vec<Host> = names(&state.join(PARTIALS))?
        .iter()
        .filter_map(|name| name.strip_prefix(HOST).and_then(Host::new))
        .collect();
    hosts.retain(|host| of(state, host).is_dir());
    hosts.sort();
    Ok(hosts)
}

/// The partials of a host, sorted by id. One without a folder has none.
///
/// # Errors
/// If the folder cannot be read.
pub fn list_of(state: &Path, host: &Host) -> io::Result<Vec<Entry>> {
    let folder = of(state, host);
    let ids =
        names(&folder)?.into_iter().filter_map(|name| Some((name.strip_suffix(SUFFIX).and_then(id)?, name)));
    let mut entries: Vec<Entry> =
        ids.map(|(log, name)| Entry { host: host.clone(), log, path: folder.join(name) }).collect();
    // What is no file is no partial: to open a pipe would be to wait for whoever writes it.
    entries.retain(|entry| entry.path.is_file());
    entries.sort();
    Ok(entries)
}

/// Writes a partial in the place of the one that is there, without syncing the folder.
fn replace(folder: &Path, log: u64, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!(".{log:016x}.tmp"));
    let write = || {
        let mut file = create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path(folder, log))
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Makes the names in a folder last.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The names in a folder that are texts. One that is not there has none.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries
            .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The id that 16 lower-case hexadecimal digits write.
fn id(text: &str) -> Option<u64> {
    let right = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    right.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's own.
    fn state(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tallyd-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn host(name: &str) -> Host {
        Host::new(name).unwrap()
    }

    #[test]
    fn hosts_are_plain_words() {
        for name in ["local", "a", "web-1.example_2", &"x".repeat(64)] {
            assert_eq!(host(name).to_string(), name);
        }
        for name in ["", ".", "..", ".x", "a/b", "a b", "ä", "a=b", "a\n", &"x".repeat(65)] {
            assert_eq!(Host::new(name), None, "{name}");
        }
    }

    #[test]
    fn partials_are_replaced_listed_and_removed() {
        let state = state("replaced");
        assert_eq!(list(&state).unwrap(), []);
        let (own, other) = (open_own(&state, &host("local")).unwrap(), open_own(&state, &host("a")).unwrap());
        assert!(write_all(&own, &[(2, b"two"), (1, b"one")]).iter().all(Result::is_ok));
        write(&other, u64::MAX, b"other").unwrap();
        write(&own, 2, b"two again").unwrap();
        for name in ["x.parquet", "00000000000000FF.parquet", "0000000000000003.tmp", ".0000000000000004.tmp"]
        {
            fs::write(own.join(name), "no partial").unwrap();
        }
        fs::create_dir_all(state.join("partials/v1/nohost/x")).unwrap();
        fs::write(state.join("partials/v1/host=file"), "").unwrap();
        fs::create_dir(own.join("0000000000000005.parquet")).unwrap();
        nix::unistd::mkfifo(&own.join("0000000000000006.parquet"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let found: Vec<_> = list(&state)
            .unwrap()
            .into_iter()
            .map(|entry| (entry.host.to_string(), entry.log, fs::read(entry.path).unwrap()))
            .collect();
        let want = [("a", u64::MAX, &b"other"[..]), ("local", 1, b"one"), ("local", 2, b"two again")];
        assert_eq!(found, want.map(|(host, log, bytes)| (host.to_owned(), log, bytes.to_vec())));
        remove(&own, 2).unwrap();
        remove(&own, 2).unwrap();
        assert_eq!(list(&state).unwrap().len(), 2);
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn what_was_being_written_is_cleared_away_at_the_own_host_only() {
        let state = state("cleared");
        let (own, other) = (open_own(&state, &host("local")).unwrap(), open_own(&state, &host("a")).unwrap());
        for folder in [&own, &other] {
            fs::write(folder.join(".0000000000000001.tmp"), "half").unwrap();
        }
        open_own(&state, &host("local")).unwrap();
        assert_eq!((names(&own).unwrap().len(), names(&other).unwrap().len()), (0, 1));
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let state = state("fails");
        let own = open_own(&state, &host("local")).unwrap();
        write(&own, 1, b"one").unwrap();
        // A folder stands where the temporary file is to be; and there is no folder at all.
        fs::create_dir(own.join(".0000000000000001.tmp")).unwrap();
        let results = write_all(&own, &[(1, b"new"), (2, b"two")]);
        assert!(results[0].is_err() && results[1].is_ok());
        assert_eq!(fs::read(path(&own, 1)).unwrap(), b"one");
        assert!(write(&own.join("none"), 1, b"one").is_err());
        fs::remove_dir_all(state).unwrap();
    }
}
