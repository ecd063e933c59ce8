//! Logs whose numbers are known, what a daemon says of them, and what it has stored.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::libc::{SIGKILL, SIGTERM};
use serde_json::Value;
use tallyd::tally::{Rules, tally};

use super::{Daemon, Folder, Truth, block, lives, signal, wait_until};

const DAY: &str = "/api/v1/days/2021-03-22";

// What is true, and what is shown.

/// What is true of these bytes, the lines of one log or of several.
pub fn truth(bytes: &[u8]) -> Truth {
    let totals = tally(bytes, Rules::default()).totals();
    Truth { total: totals.counts.requests(), ip: totals.clients.all() }
}

/// Is nothing on its way: are all logs counted and stored, and is nothing wrong?
pub fn is_settled(daemon: &Daemon) -> bool {
    let status = daemon.get("/api/v1/status");
    status["pending_bytes"] == 0
        && status["unstored_files"] == 0
        && status["degraded"].as_array().is_some_and(Vec::is_empty)
}

#[track_caller]
pub fn settle(daemon: &Daemon) {
    wait_until("all is counted and stored", || is_settled(daemon).then_some(()));
}

/// The numbers of the day, if it is complete.
pub fn day_of(daemon: &Daemon) -> Option<Truth> {
    let (status, _, body) = daemon.ask("GET", DAY, &[])?;
    let day: Value = serde_json::from_str(&body).ok()?;
    if status == 404 {
        return Some(Truth::default());
    }
    (day["complete"] == true)
        .then(|| Truth { total: day["requests"].as_u64().unwrap(), ip: day["unique_ips"].as_u64().unwrap() })
}

#[track_caller]
pub fn wait_for_day(daemon: &Daemon, truth: Truth) {
    let mut seen = None;
    wait_until("the day is complete and right", || {
        let day = day_of(daemon);
        if day != seen {
            seen = day;
            eprintln!("the day is {day:?} of {truth:?}");
        }
        (day == Some(truth)).then_some(())
    });
}

/// The numbers of a log that may be gone.
pub fn file_numbers(daemon: &Daemon, name: &str) -> Option<(Truth, String)> {
    let file = daemon.file(name)?;
    Some((
        Truth { total: file["total"].as_u64()?, ip: file["ip"].as_u64()? },
        file["state"].as_str()?.to_owned(),
    ))
}

// Folders.

pub fn partials(folder: &Path) -> PathBuf {
    folder.join("state/partials/v1/host=local")
}

/// The files in the folder of partials, with their contents.
pub fn stored(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(partials(folder))
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_else(|_| Vec::new());
    let mut files: Vec<_> = entries
        .into_iter()
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "parquet"))
        .collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The partial of the log with this name.
pub fn partial_of(folder: &Path, name: &str) -> PathBuf {
    let text = format!("\"name\":\"{name}\"");
    let is_it =
        |(_, bytes): &(PathBuf, Vec<u8>)| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    stored(folder).into_iter().find(is_it).unwrap_or_else(|| panic!("{name} is not stored")).0
}

pub fn append(path: &Path, bytes: &[u8]) {
    File::options().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// Ends all processes at once, and waits until they are gone.
pub fn kill_all(daemon: Daemon) -> Folder {
    let children = daemon.children();
    signal(daemon.pid(), SIGKILL);
    children.iter().for_each(|pid| signal(*pid, SIGKILL));
    let folder = daemon.end(SIGKILL);
    wait_until("all are gone", || (!children.iter().any(|pid| lives(*pid))).then_some(()));
    folder
}

/// A daemon whose workers finish nothing until the file `faults/pause` is removed.
pub fn start_paused(folder: Folder, options: &[&str]) -> Daemon {
    fs::create_dir_all(folder.join("faults")).unwrap();
    fs::write(folder.join("faults/pause"), b"").unwrap();
    Daemon::start_with_fault(folder, "pause", &[], options)
}

// A state.

/// Logs by their names, with what is in them.
pub type Logs = Vec<(&'static str, Vec<u8>)>;

/// Three logs that are there and one that is gone: they share a day. Gives the folder of the stopped daemon,
/// the bytes by name, and those of the one that is gone.
pub fn some_state() -> (Folder, Logs, Vec<u8>) {
    let daemon = Daemon::start(&[]);
    let logs = vec![
        ("20210322.log", block(2_000, 900, 3).0),
        ("access.log", block(1_500, 900, 5).0),
        ("other.log", block(700, 300, 7).0),
    ];
    let gone = block(1_000, 900, 9).0;
    for (name, bytes) in &logs {
        fs::write(daemon.log(name), bytes).unwrap();
    }
    fs::write(daemon.log("gone.log"), &gone).unwrap();
    settle_with(&daemon, &logs, Some(&gone));
    fs::remove_file(daemon.log("gone.log")).unwrap();
    wait_until("it is gone", || file_numbers(&daemon, "gone.log").filter(|(_, state)| state == "gone"));
    settle(&daemon);
    (daemon.end(SIGTERM), logs, gone)
}

pub fn all_of(logs: &[(&str, Vec<u8>)], gone: Option<&[u8]>) -> Vec<u8> {
    logs.iter()
        .flat_map(|(_, bytes)| bytes.iter().copied())
        .chain(gone.unwrap_or_default().iter().copied())
        .collect()
}

#[track_caller]
pub fn settle_with(daemon: &Daemon, logs: &[(&str, Vec<u8>)], gone: Option<&[u8]>) {
    for (name, bytes) in logs {
        daemon.wait_for(name, truth(bytes));
    }
    wait_for_day(daemon, truth(&all_of(logs, gone)));
    settle(daemon);
}

pub struct Random(u64);

impl Random {
    /// From the clock, or from `TALLYD_TEST_SEED`. It is printed.
    pub fn new() -> Random {
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("TALLYD_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
        eprintln!("TALLYD_TEST_SEED={seed}");
        Random(seed)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}
