//! The real logrotate rotates a log that a server writes: each line counts once, in every mode that README.md
//! names.
//!
//! One round: the server appends lines, logrotate runs, the server appends lines to the file that it still
//! holds open, then reopens its log. Four rounds with `rotate 2`, so that the oldest rotated logs are
//! removed.

mod support;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use support::{Daemon, Truth, wait_until_or};

const ROUNDS: u32 = 4;

/// What the server does with the log that logrotate moves away.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    /// Writes on into the moved log for a while, and then opens a new one (nginx, Apache: until the signal
    /// arrives).
    ReopensLater,
    /// Has nothing to write between the move and the new log.
    ReopensAtOnce,
    /// Never reopens (`copytruncate`).
    Appends,
}

/// `count` requests of clients that no other `seed` has all of.
fn lines(seed: u32, count: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in 0..count {
        let client = line.wrapping_mul(7).wrapping_add(seed * 40) % 900;
        let (high, low) = (client / 256, client % 256);
        writeln!(
            bytes,
            "10.2.{high}.{low} - - [22/Mar/2021:10:00:00 +0100] \"GET /{seed}/{line} HTTP/1.1\" 200 7"
        )
        .unwrap();
    }
    bytes
}

fn open(path: &Path) -> File {
    File::options().append(true).create(true).open(path).unwrap()
}

/// Appends lines to the log, and to the record of all lines.
fn put(log: &mut File, written: &mut Vec<u8>, seed: u32, count: u32) {
    let bytes = lines(seed, count);
    log.write_all(&bytes).unwrap();
    written.extend(bytes);
}

/// Waits until the daemon reports these lines, all of them, each once.
#[track_caller]
fn check(daemon: &Daemon, mode: &str, written: &[u8]) {
    let each = || written.split_inclusive(|byte| *byte == b'\n');
    let clients: HashSet<&[u8]> =
        each().map(|line| line.split(|byte| *byte == b' ').next().unwrap()).collect();
    let truth = Truth { total: each().count() as u64, ip: clients.len() as u64 };
    let seen = std::cell::RefCell::new(serde_json::Value::Null);
    wait_until_or(
        || {
            format!(
                "{mode}: {truth:?} over the range; it has {:#}\n{:#}",
                seen.borrow(),
                daemon.get("/api/v1/files")
            )
        },
        || {
            let range = daemon.get("/api/v1/range");
            *seen.borrow_mut() = range.clone();
            let right = range["requests"] == truth.total
                && range["unique_ips"] == truth.ip
                && range["complete"] == true;
            (right && daemon.get("/api/v1/status")["pending_bytes"] == 0).then_some(())
        },
    );
}

/// Rotates with these directives, and holds the numbers against the lines.
fn rotates(mode: &str, directives: &str, server: Server) {
    if Command::new("logrotate").arg("--version").output().is_err() {
        eprintln!("SKIPPED: logrotate is not installed here");
        return;
    }
    let daemon = Daemon::start(&[]);
    let path = daemon.log("access.log");
    fs::create_dir(daemon.folder.join("old")).unwrap();
    let (conf, state) = (daemon.folder.join("logrotate.conf"), daemon.folder.join("logrotate.state"));
    // `maxage`, `minsize` and so on are absent: `--force` rotates each time.
    fs::write(&conf, format!("{} {{\n rotate 2\n missingok\n{directives}\n}}\n", path.display())).unwrap();
    let (mut log, mut written) = (open(&path), Vec::new());
    for round in 0..ROUNDS {
        put(&mut log, &mut written, 3 * round, 500);
        check(&daemon, mode, &written);
        let output =
            Command::new("logrotate").arg("--force").arg("--state").arg(&state).arg(&conf).output().unwrap();
        assert!(output.status.success(), "{mode}: {}", String::from_utf8_lossy(&output.stderr));
        if server == Server::ReopensLater {
            put(&mut log, &mut written, 3 * round + 1, 60);
        }
        if server != Server::Appends {
            log = open(&path);
        }
        put(&mut log, &mut written, 3 * round + 2, 40);
        check(&daemon, mode, &written);
    }
    let moved = |folder: &Path| {
        fs::read_dir(folder)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name() != "access.log")
            .count()
    };
    let kept = moved(&daemon.logs()) + moved(&daemon.folder.join("old"));
    assert_eq!(kept, 2, "{mode}: logrotate keeps two rotated logs");
}

#[test]
fn logrotate_create() {
    rotates("create", "create", Server::ReopensLater);
}

#[test]
fn logrotate_create_compress() {
    // Without `delaycompress`, logrotate compresses at once: a server must not write on into the moved log.
    rotates("create, compress", "create\n compress", Server::ReopensAtOnce);
}

#[test]
fn logrotate_create_delaycompress() {
    rotates("create, compress, delaycompress", "create\n compress\n delaycompress", Server::ReopensLater);
}

#[test]
fn logrotate_dateext() {
    rotates("dateext", "create\n dateext\n dateformat -%Y%m%d-%s", Server::ReopensLater);
}

#[test]
fn logrotate_dateext_compress() {
    rotates(
        "dateext, compress",
        "create\n dateext\n dateformat -%Y%m%d-%s\n compress\n delaycompress",
        Server::ReopensLater,
    );
}

#[test]
fn logrotate_copytruncate() {
    rotates("copytruncate", "copytruncate", Server::Appends);
}

#[test]
fn logrotate_copytruncate_compress() {
    rotates("copytruncate, compress", "copytruncate\n compress", Server::Appends);
}

#[test]
fn logrotate_copytruncate_dateext() {
    rotates(
        "copytruncate, dateext",
        "copytruncate\n dateext\n dateformat -%Y%m%d-%s\n compress\n delaycompress",
        Server::Appends,
    );
}

#[test]
fn logrotate_olddir() {
    rotates("olddir", "create\n olddir ../old", Server::ReopensAtOnce);
}

#[test]
fn logrotate_olddir_compress() {
    rotates("olddir, compress", "create\n olddir ../old\n compress\n delaycompress", Server::ReopensAtOnce);
}
