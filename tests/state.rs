//! What the daemon knows outlives it, and whatever is done to what it stores, no number is wrong: it starts, says what it found, and counts again what it can.

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc::{SIGKILL, SIGTERM};
use serde_json::Value;
use support::{Daemon, Folder, Truth, block, lives, signal, tallyd, wait_until};
use tallyd::tally::{Rules, tally};

const DAY: &str = "/api/v1/days/2021-03-22";

// What is true, and what is shown.

/// What is true of these bytes, the lines of one log or of several.
fn truth(bytes: &[u8]) -> Truth {
    let totals = tally(bytes, Rules::default()).totals();
    Truth { total: totals.requests(), ip: totals.unique_clients() }
}

/// Is nothing on its way: are all logs counted and stored, and is nothing wrong?
fn is_settled(daemon: &Daemon) -> bool {
    let status = daemon.get("/api/v1/status");
    status["pending_bytes"] == 0 && status["unstored_files"] == 0 && status["degraded"].as_array().is_some_and(Vec::is_empty)
}

#[track_caller]
fn settle(daemon: &Daemon) {
    wait_until("all is counted and stored", || is_settled(daemon).then_some(()));
}

fn degraded_state(daemon: &Daemon) -> Option<String> {
    let status = daemon.get("/api/v1/status");
    let entries = status["degraded"].as_array().unwrap().iter().filter_map(Value::as_str);
    entries.filter(|entry| entry.starts_with("state: ")).map(str::to_owned).next()
}

/// The numbers of the day, if it is complete.
fn day_of(daemon: &Daemon) -> Option<Truth> {
    let (status, _, body) = daemon.ask("GET", DAY, &[])?;
    let day: Value = serde_json::from_str(&body).ok()?;
    if status == 404 {
        return Some(Truth::default());
    }
    (day["complete"] == true).then(|| Truth { total: day["requests"].as_u64().unwrap(), ip: day["unique_ips"].as_u64().unwrap() })
}

#[track_caller]
fn wait_for_day(daemon: &Daemon, truth: Truth) {
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
fn file_numbers(daemon: &Daemon, name: &str) -> Option<(Truth, String)> {
    let file = daemon.file(name)?;
    Some((Truth { total: file["total"].as_u64()?, ip: file["ip"].as_u64()? }, file["state"].as_str()?.to_owned()))
}

// Folders.

fn partials(folder: &Path) -> PathBuf {
    folder.join("state/partials/v1/host=local")
}

/// The files in the folder of partials, with their contents.
fn stored(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(partials(folder)).map(|entries| entries.map(|entry| entry.unwrap().path()).collect()).unwrap_or_else(|_| Vec::new());
    let mut files: Vec<_> = entries.into_iter().filter(|path| path.extension().is_some_and(|suffix| suffix == "parquet")).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The partial of the log with this name.
fn partial_of(folder: &Path, name: &str) -> PathBuf {
    let text = format!("\"name\":\"{name}\"");
    let is_it = |(_, bytes): &(PathBuf, Vec<u8>)| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    stored(folder).into_iter().find(is_it).unwrap_or_else(|| panic!("{name} is not stored")).0
}

/// Makes the state folder what it was.
fn put_back(folder: &Path, files: &[(PathBuf, Vec<u8>)]) {
    let _ = fs::remove_dir_all(folder.join("state"));
    fs::create_dir_all(partials(folder)).unwrap();
    files.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
}

fn append(path: &Path, bytes: &[u8]) {
    File::options().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// Ends all processes at once, and waits until they are gone.
fn kill_all(daemon: Daemon) -> Folder {
    let children = daemon.children();
    signal(daemon.pid(), SIGKILL);
    children.iter().for_each(|pid| signal(*pid, SIGKILL));
    let folder = daemon.end(SIGKILL);
    wait_until("all are gone", || (!children.iter().any(|pid| lives(*pid))).then_some(()));
    folder
}

/// A daemon whose workers finish nothing until the file `faults/pause` is removed.
fn start_paused(folder: Folder, options: &[&str]) -> Daemon {
    fs::create_dir_all(folder.join("faults")).unwrap();
    fs::write(folder.join("faults/pause"), b"").unwrap();
    Daemon::start_with_fault(folder, "pause", &[], options)
}

struct Random(u64);

impl Random {
    /// From the clock, or from `TALLYD_TEST_SEED`. It is printed.
    fn new() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("TALLYD_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
        eprintln!("TALLYD_TEST_SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

// Restarts.

/// Logs grow and are rotated while the daemon ends and comes back, by a request or by force.
#[test]
fn restarts_at_any_moment_lose_and_double_nothing() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("logs")).unwrap();
    let (logs, done) = (folder.join("logs"), AtomicBool::new(false));
    let mut random = Random::new();
    let mut written: Vec<(String, Vec<u8>)> = Vec::new();
    let folder = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut one, mut two, mut rotated) = (Vec::new(), Vec::new(), Vec::new());
            for piece in 0.. {
                let (bytes, _) = block(3_000, 3_000, 1 + 2 * piece);
                append(&logs.join("20210322.log"), &bytes);
                one.extend_from_slice(&bytes);
                let (bytes, _) = block(2_000, 3_000, 100_001 + 2 * piece);
                // In uneven writes, so that there are half lines to be seen.
                let (start, rest) = bytes.split_at(bytes.len() / 3);
                append(&logs.join("access.log"), start);
                std::thread::sleep(Duration::from_millis(20)); // the rate of writing, not a wait
                append(&logs.join("access.log"), rest);
                two.extend_from_slice(&bytes);
                if piece % 40 == 39 {
                    // The numbered names move up, as logrotate has it.
                    for number in (1..=rotated.len()).rev() {
                        fs::rename(logs.join(format!("access.log.{number}")), logs.join(format!("access.log.{}", number + 1))).unwrap();
                    }
                    fs::rename(logs.join("access.log"), logs.join("access.log.1")).unwrap();
                    rotated.insert(0, std::mem::take(&mut two));
                }
                if done.load(Ordering::Relaxed) && !two.is_empty() {
                    break;
                }
            }
            let mut written = vec![("20210322.log".to_owned(), one), ("access.log".to_owned(), two)];
            written.extend(rotated.into_iter().enumerate().map(|(at, bytes)| (format!("access.log.{}", at + 1), bytes)));
            written
        });
        let mut folder = folder;
        for life in 0..12 {
            let daemon = Daemon::start_in(folder, &["--range-mib", "1"], &[]);
            std::thread::sleep(Duration::from_millis(random.below(700) as u64)); // the moment of the end
            folder = if life % 2 == 0 { kill_all(daemon) } else { daemon.end(SIGTERM) };
        }
        done.store(true, Ordering::Relaxed);
        written = writer.join().unwrap();
        folder
    });
    let daemon = Daemon::start_in(folder, &[], &[]);
    for (name, bytes) in &written {
        daemon.wait_for(name, truth(bytes));
    }
    wait_for_day(&daemon, truth(&written.iter().flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>()));
}

/// Logs by their names, with what is in them.
type Logs = Vec<(&'static str, Vec<u8>)>;

/// Three logs that are there and one that is gone: they share a day. Gives the folder of the stopped daemon, the bytes by name, and those of the one that is gone.
fn some_state() -> (Folder, Logs, Vec<u8>) {
    let daemon = Daemon::start(&[]);
    let logs = vec![("20210322.log", block(2_000, 900, 3).0), ("access.log", block(1_500, 900, 5).0), ("other.log", block(700, 300, 7).0)];
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

fn all_of(logs: &[(&str, Vec<u8>)], gone: Option<&[u8]>) -> Vec<u8> {
    logs.iter().flat_map(|(_, bytes)| bytes.iter().copied()).chain(gone.unwrap_or_default().iter().copied()).collect()
}

#[track_caller]
fn settle_with(daemon: &Daemon, logs: &[(&str, Vec<u8>)], gone: Option<&[u8]>) {
    for (name, bytes) in logs {
        daemon.wait_for(name, truth(bytes));
    }
    wait_for_day(daemon, truth(&all_of(logs, gone)));
    settle(daemon);
}

#[test]
fn what_was_known_is_shown_before_a_byte_is_read() {
    let (folder, mut logs, gone) = some_state();
    let known = truth(&all_of(&logs, Some(&gone)));
    let more = block(500, 400, 11).0;
    append(&folder.join("logs/access.log"), &more);
    let daemon = start_paused(folder, &[]);
    wait_until("the old numbers are shown", || {
        let report = daemon.get("/api/v1/report");
        // Nothing but the old numbers is ever shown.
        for (name, bytes) in &logs {
            let truth = truth(bytes);
            assert!(report.get(name).is_none_or(|entry| entry["total"] == truth.total && entry["ip"] == truth.ip), "{report}");
        }
        assert!(report.get("gone.log").is_none());
        (report.as_object().unwrap().len() == 3).then_some(())
    });
    let days = daemon.get("/api/v1/days");
    assert_eq!((days["days"][0]["requests"].as_u64(), days["days"][0]["unique_ips"].as_u64()), (Some(known.total), Some(known.ip)), "{days}");
    wait_until("a worker is in the middle of what is new", || {
        let status = daemon.get("/api/v1/status");
        status["processes"].as_array().unwrap().iter().find(|process| process["state"] == "working").map(|_| ())
    });
    assert_eq!(daemon.reported("access.log").unwrap().0, truth(&logs[1].1).total);
    fs::remove_file(daemon.folder.join("faults/pause")).unwrap();
    logs[1].1.extend_from_slice(&more);
    settle_with(&daemon, &logs, Some(&gone));
}

#[test]
fn logs_that_are_gone_keep_their_numbers() {
    let (mut folder, logs, gone) = some_state();
    for end in [SIGTERM, SIGKILL, SIGTERM] {
        let daemon = Daemon::start_in(folder, &[], &[]);
        settle_with(&daemon, &logs, Some(&gone));
        assert_eq!(file_numbers(&daemon, "gone.log"), Some((truth(&gone), "gone".to_owned())));
        assert_eq!(daemon.reported("gone.log"), None);
        folder = daemon.end(end);
    }
    // One more goes while nobody looks.
    fs::remove_file(folder.join("logs/other.log")).unwrap();
    for end in [SIGTERM, SIGKILL] {
        let daemon = Daemon::start_in(folder, &[], &[]);
        wait_until("it is gone", || file_numbers(&daemon, "other.log").filter(|(_, state)| state == "gone"));
        settle_with(&daemon, &logs[..2], Some(&all_of(&logs[2..], Some(&gone))));
        assert_eq!(file_numbers(&daemon, "other.log"), Some((truth(&logs[2].1), "gone".to_owned())));
        folder = daemon.end(end);
    }
}

/// The ranges that were counted, as the journal tells from this byte on.
fn counted(daemon: &Daemon, from: usize) -> Vec<(u64, u64)> {
    let number = |line: &str, name: &str| {
        let rest = line.split(name).nth(1)?;
        rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    let journal = daemon.journal();
    let text = journal.get(from..).unwrap_or_default().lines().filter(|line| line.contains("counted") && line.contains("from=") && line.contains("to="));
    text.filter_map(|line| Some((number(line, "from=")?, number(line, "to=")?))).collect()
}

#[test]
fn counting_goes_on_where_it_ended() {
    let options = ["--log-level", "debug", "--range-mib", "1"];
    let daemon = Daemon::start(&options);
    let (mut bytes, _) = block(30_000, 5_000, 3);
    fs::write(daemon.log("access.log"), &bytes).unwrap();
    daemon.wait_for("access.log", truth(&bytes));
    settle(&daemon);
    assert_eq!(counted(&daemon, 0).iter().map(|(from, to)| to - from).sum::<u64>(), bytes.len() as u64);
    let mut folder = daemon.end(SIGTERM);
    for (round, end) in [SIGTERM, SIGKILL, SIGKILL].into_iter().enumerate() {
        let (said, before) = (fs::read(folder.join("journal")).unwrap().len(), bytes.len() as u64);
        let daemon = Daemon::start_in(folder, &options, &[]);
        daemon.wait_for("access.log", truth(&bytes));
        assert_eq!(counted(&daemon, said), [], "what had not changed was counted again");
        let (more, _) = block(1_000, 5_000, 5 + 2 * round as u64);
        append(&daemon.log("access.log"), &more);
        bytes.extend_from_slice(&more);
        daemon.wait_for("access.log", truth(&bytes));
        assert_eq!(counted(&daemon, said).first().map(|(from, _)| *from), Some(before));
        settle(&daemon);
        folder = if end == SIGKILL { kill_all(daemon) } else { daemon.end(end) };
        // It grows while nobody looks, too.
        let (said, before) = (fs::read(folder.join("journal")).unwrap().len(), bytes.len() as u64);
        let (more, _) = block(1_000, 5_000, 105 + 2 * round as u64);
        append(&folder.join("logs/access.log"), &more);
        bytes.extend_from_slice(&more);
        let daemon = Daemon::start_in(folder, &options, &[]);
        daemon.wait_for("access.log", truth(&bytes));
        assert_eq!(counted(&daemon, said), [(before, bytes.len() as u64)]);
        settle(&daemon);
        folder = daemon.end(SIGTERM);
    }
}

#[test]
fn one_daemon_per_state_folder() {
    let daemon = Daemon::start(&[]);
    let second = tallyd()
        .args(["serve", "--logs", "logs", "--state", "state", "--listen", "127.0.0.1:0"])
        .current_dir(daemon.folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!((second.status.code(), second.stdout.as_slice()), (Some(4), &b""[..]), "{said}");
    assert!(said.contains(&format!("another tallyd (pid {}) uses the state folder", daemon.pid())), "{said}");
    // The first one did not notice.
    let (bytes, numbers) = block(100, 10, 3);
    fs::write(daemon.log("access.log"), bytes).unwrap();
    daemon.wait_for("access.log", numbers);
}

#[test]
fn other_rules_count_again_what_is_there() {
    let line = |client: &str, second: u32| format!("{client} - - [22/Mar/2021:06:25:{second:02} +0100] \"GET / HTTP/1.1\" 200 5\n");
    // By the first field two clients, by what is before the dashes three.
    let text = |name: &str| line(&format!("{name} a"), 1) + &line(&format!("{name} b"), 2) + &line("other", 3);
    let daemon = Daemon::start(&[]);
    fs::write(daemon.log("there.log"), text("x")).unwrap();
    fs::write(daemon.log("gone.log"), text("y")).unwrap();
    let (few, many) = (Truth { total: 3, ip: 2 }, Truth { total: 3, ip: 3 });
    daemon.wait_for("there.log", few);
    daemon.wait_for("gone.log", few);
    settle(&daemon);
    let mut folder = daemon.end(SIGTERM);
    fs::rename(folder.join("logs/gone.log"), folder.join("gone.log")).unwrap();
    // More than one restart: what was counted by the old rule is known to be so.
    for end in [SIGKILL, SIGTERM] {
        let daemon = Daemon::start_in(folder, &["--client-rule", "before-dashes"], &[]);
        daemon.wait_for("there.log", many);
        settle(&daemon);
        assert_eq!(file_numbers(&daemon, "gone.log"), Some((few, "gone".to_owned())));
        folder = if end == SIGKILL { kill_all(daemon) } else { daemon.end(end) };
    }
    // It comes back: it is counted by the new rule.
    fs::rename(folder.join("gone.log"), folder.join("logs/gone.log")).unwrap();
    let daemon = Daemon::start_in(folder, &["--client-rule", "before-dashes"], &[]);
    daemon.wait_for("gone.log", many);
    daemon.wait_for("there.log", many);
    wait_for_day(&daemon, Truth { total: 6, ip: 5 });
}

// Damage.

/// Starts on what is there, and looks that nothing is wrong: the logs that are there are right, the one that is gone is whole or not there.
#[track_caller]
fn starts_right(folder: Folder, logs: &[(&str, Vec<u8>)], gone: &[u8], what: &str) -> Folder {
    eprintln!("{what}");
    let daemon = Daemon::start_in(folder, &[], &[]);
    for (name, bytes) in logs {
        daemon.wait_for(name, truth(bytes));
    }
    let (with, without) = (truth(&all_of(logs, Some(gone))), truth(&all_of(logs, None)));
    // What is damaged may show when it is needed only.
    let day = wait_until("the day is complete and right", || day_of(&daemon).filter(|day| [with, without].contains(day) && is_settled(&daemon)));
    let file = file_numbers(&daemon, "gone.log");
    assert_eq!(file, if day == with { Some((truth(gone), "gone".to_owned())) } else { None }, "{what}");
    if file.is_none() {
        let kept =
            fs::read_dir(partials(daemon.folder.path())).unwrap().any(|entry| entry.unwrap().path().extension().is_some_and(|suffix| suffix == "damaged"));
        assert!(kept && daemon.journal().contains("it is set aside"), "{what}");
    }
    kill_all(daemon)
}

#[test]
fn a_damaged_state_is_never_wrong() {
    let (mut folder, logs, gone) = some_state();
    let files = stored(folder.path());
    assert_eq!(files.len(), 4);
    let mut random = Random::new();
    for _ in 0..40 {
        let (path, bytes) = &files[random.below(files.len())];
        let (at, bit) = (random.below(bytes.len()), random.below(8));
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << bit;
        put_back(folder.path(), &files);
        fs::write(path, damaged).unwrap();
        folder = starts_right(folder, &logs, &gone, &format!("bit {bit} of byte {at} of {}", path.display()));
    }
    for _ in 0..12 {
        let (path, bytes) = &files[random.below(files.len())];
        let length = random.below(bytes.len());
        put_back(folder.path(), &files);
        fs::write(path, &bytes[..length]).unwrap();
        folder = starts_right(folder, &logs, &gone, &format!("{} cut to {length}", path.display()));
    }
    for (path, bytes) in &files {
        put_back(folder.path(), &files);
        fs::write(path, vec![0; bytes.len()]).unwrap();
        folder = starts_right(folder, &logs, &gone, "filled with NULs");
        put_back(folder.path(), &files);
        fs::write(path, b"").unwrap();
        folder = starts_right(folder, &logs, &gone, "empty");
    }
    // Each is another one's: whole, but not what its name says.
    put_back(folder.path(), &files);
    for at in 0..files.len() {
        fs::write(&files[at].0, &files[(at + 1) % files.len()].1).unwrap();
    }
    starts_right(folder, &logs, &gone, "swapped");
}

/// The footer is whole, so the numbers are shown; that the clients are damaged shows when the log has another name, or is gone.
#[test]
fn a_log_whose_stored_clients_are_damaged_is_counted_again_when_they_are_needed() {
    let daemon = Daemon::start(&[]);
    let (bytes, numbers) = block(3_000, 2_000, 3);
    fs::write(daemon.log("access.log"), &bytes).unwrap();
    daemon.wait_for("access.log", numbers);
    settle(&daemon);
    let mut folder = daemon.end(SIGTERM);
    let files = stored(folder.path());
    for to in [Some("access.log.1"), None] {
        put_back(folder.path(), &files);
        let mut damaged = files[0].1.clone();
        damaged[200] ^= 4;
        fs::write(&files[0].0, damaged).unwrap();
        let daemon = match to {
            Some(to) => {
                fs::rename(folder.join("logs/access.log"), folder.join("logs").join(to)).unwrap();
                let daemon = Daemon::start_in(folder, &[], &[]);
                // Until it is written under its new name, what is stored is believed.
                wait_until("the damage is found", || daemon.journal().contains("it is set aside").then_some(()));
                daemon.wait_for(to, numbers);
                wait_for_day(&daemon, numbers);
                daemon
            }
            None => {
                fs::remove_file(folder.join("logs/access.log.1")).unwrap();
                let daemon = Daemon::start_in(folder, &[], &[]);
                // What cannot be kept is not there.
                wait_for_day(&daemon, Truth::default());
                assert_eq!(file_numbers(&daemon, "access.log"), None);
                daemon
            }
        };
        settle(&daemon);
        assert!(daemon.journal().contains("it is set aside") && files[0].0.with_extension("damaged").exists());
        folder = kill_all(daemon);
    }
}

#[test]
fn a_state_that_is_not_what_it_was_stops_nobody() {
    let (mut folder, logs, gone) = some_state();
    let files = stored(folder.path());
    let state = folder.join("state");
    // Without the partials, or with a file where a folder is to be.
    for (path, there) in
        [("", true), ("partials", false), ("partials", true), ("partials/v1", true), ("partials/v1/host=local", false), ("partials/v1/host=local", true)]
    {
        put_back(folder.path(), &files);
        if path.is_empty() {
            fs::remove_dir_all(&state).unwrap();
        } else {
            fs::remove_dir_all(state.join(path)).unwrap();
            if there {
                fs::write(state.join(path), "a file").unwrap();
            }
        }
        eprintln!("state/{path} {there}");
        let daemon = Daemon::start_in(folder, &[], &[]);
        for (name, bytes) in &logs {
            daemon.wait_for(name, truth(bytes));
        }
        wait_for_day(&daemon, truth(&all_of(&logs, None)));
        if there && !path.is_empty() {
            wait_until("it is said", || degraded_state(&daemon));
            assert!(daemon.journal().contains("cannot use the store") || daemon.journal().contains("cannot write the store"));
            fs::remove_file(state.join(path)).unwrap();
        }
        settle(&daemon);
        assert_eq!(stored(daemon.folder.path()).len(), logs.len());
        folder = kill_all(daemon);
    }
    // Things that are not the daemon's.
    put_back(folder.path(), &files);
    let own = partials(folder.path());
    for name in ["x", "x.parquet", "00000000000000FF.parquet", "0000000000000001.tmp", ".0000000000000002.tmp", ".x.tmp", "0000000000000003.damaged"] {
        fs::write(own.join(name), "junk").unwrap();
    }
    fs::write(own.join("0000000000000004.parquet"), "junk").unwrap();
    fs::create_dir(own.join("0000000000000005.parquet")).unwrap();
    nix::unistd::mkfifo(&own.join("0000000000000006.parquet"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("0000000000000007.parquet", own.join("0000000000000007.parquet")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", own.join("0000000000000008.parquet")).unwrap();
    fs::create_dir_all(state.join("partials/v1/host=other")).unwrap();
    fs::write(state.join("partials/v1/host=other/0000000000000001.parquet"), "junk").unwrap();
    fs::create_dir_all(state.join("partials/v1/host=")).unwrap();
    fs::create_dir_all(state.join("partials/v2/host=local")).unwrap();
    for (path, bytes) in &files {
        fs::write(path.with_file_name(format!(".{}", path.with_extension("tmp").file_name().unwrap().display())), &bytes[..bytes.len() / 2]).unwrap();
    }
    let daemon = Daemon::start_in(folder, &[], &[]);
    settle_with(&daemon, &logs, Some(&gone));
    assert!(daemon.journal().contains("0000000000000004.parquet"));
    assert_eq!(fs::read(own.join("x.parquet")).unwrap(), b"junk");
    assert!(!own.join(".0000000000000002.tmp").exists());
    folder = kill_all(daemon);
    // What is noted beside the partials.
    for garbage in [&b"\0\xff\n"[..], b"", b"tallyd 99.0.0 inflight: device inode from to strikes kills\n1 2 3 4 5 6\n", &[b'7'; 100_000]] {
        put_back(folder.path(), &files);
        fs::write(state.join("inflight"), garbage).unwrap();
        fs::write(state.join("lock"), garbage).unwrap();
        folder = starts_right(folder, &logs, &gone, "garbage in inflight and lock");
    }
    put_back(folder.path(), &files);
    fs::create_dir(state.join("inflight")).unwrap();
    starts_right(folder, &logs, &gone, "a folder in place of inflight");
}

#[test]
fn what_a_newer_version_wrote_is_left_as_it_is() {
    let (folder, logs, gone) = some_state();
    let newer: Vec<(PathBuf, Vec<u8>)> = ["access.log", "gone.log"]
        .into_iter()
        .map(|name| {
            let path = partial_of(folder.path(), name);
            let mut bytes = fs::read(&path).unwrap();
            let at = bytes.windows(12).position(|text| text == b"{\"version\":1").unwrap() + 11;
            bytes[at] = b'9';
            fs::write(&path, &bytes).unwrap();
            (path, bytes)
        })
        .collect();
    let mut folder = folder;
    for end in [SIGTERM, SIGKILL] {
        let daemon = Daemon::start_in(folder, &[], &[]);
        settle_with(&daemon, &logs, None);
        for (path, bytes) in &newer {
            assert_eq!(fs::read(path).unwrap(), *bytes);
            assert!(daemon.journal().contains(path.file_name().unwrap().to_str().unwrap()) && daemon.journal().contains("a newer tallyd wrote this"));
        }
        assert_eq!(file_numbers(&daemon, "gone.log"), None);
        let id = daemon.file("access.log").unwrap()["id"].clone();
        assert!(!newer[0].0.display().to_string().contains(id.as_str().unwrap()), "{id}");
        folder = daemon.end(end);
    }
    // It comes back.
    assert_eq!(stored(folder.path()).len(), 5);
    fs::write(folder.join("logs/gone.log"), &gone).unwrap();
    let daemon = Daemon::start_in(folder, &[], &[]);
    settle_with(&daemon, &logs, Some(&gone));
    assert_eq!(fs::read(&newer[1].0).unwrap(), newer[1].1);
    // It can be read again: now there are two of each log.
    let folder = daemon.end(SIGTERM);
    for (path, bytes) in newer {
        let at = bytes.windows(12).position(|text| text == b"{\"version\":9").unwrap() + 11;
        fs::write(&path, [&bytes[..at], b"1", &bytes[at + 1..]].concat()).unwrap();
    }
    let daemon = Daemon::start_in(folder, &[], &[]);
    settle_with(&daemon, &logs, Some(&gone));
}

/// Each start wrote all logs again that were final, and until that was done, ranges were behind.
#[test]
fn a_start_writes_nothing_that_is_stored_already() {
    let options = ["--final-after-s", "1"];
    let mut daemon = Daemon::start(&options);
    for (name, number) in [("20210322.log", 1), ("access.log", 3), ("access.log.1", 5)] {
        fs::write(daemon.log(name), block(100, 50, number).0).unwrap();
    }
    let all_final = |daemon: &Daemon| {
        let files = daemon.get("/api/v1/files");
        let files = files["files"].as_array().unwrap();
        (files.len() == 3 && files.iter().all(|file| file["state"] == "final") && is_settled(daemon)).then_some(())
    };
    wait_until("all are final and stored", || all_final(&daemon));
    let inodes =
        |folder: &Path| -> Vec<(PathBuf, u64)> { stored(folder).into_iter().map(|(path, _)| (path.clone(), fs::metadata(path).unwrap().ino())).collect() };
    let before = inodes(daemon.folder.path());
    for number in [SIGTERM, SIGKILL] {
        daemon = Daemon::start_in(daemon.end(number), &options, &[]);
        wait_until("all are final and stored", || all_final(&daemon));
        // Nothing is on its way either.
        assert_eq!(daemon.get("/api/v1/range?from=2021-03-22&to=2021-03-22")["complete"], true);
        assert_eq!(inodes(daemon.folder.path()), before);
    }
}

/// A folder in its place is opened, and cannot be read.
#[test]
fn a_stored_log_that_cannot_be_read_for_a_while_is_not_set_aside() {
    let (mut folder, mut logs, mut gone) = some_state();
    for name in ["access.log", "gone.log"] {
        let daemon = Daemon::start_in(folder, &[], &[]);
        settle_with(&daemon, &logs, Some(&gone));
        let path = partial_of(daemon.folder.path(), name);
        let away = path.with_extension("away");
        fs::rename(&path, &away).unwrap();
        fs::create_dir(&path).unwrap();
        // The one that grows is wanted, or the others that a union is made of when one has new content, and what it had is gone.
        let (_, bytes) = logs.iter_mut().find(|(log, _)| *log == "access.log").unwrap();
        let more = block(50, 40, 77).0;
        if name == "access.log" {
            bytes.extend_from_slice(&more);
        } else {
            gone.extend(std::mem::replace(bytes, more));
        }
        fs::write(daemon.log("access.log"), &*bytes).unwrap();
        wait_until("it is said", || degraded_state(&daemon));
        wait_until("it is in the journal", || daemon.journal().contains("cannot read what is stored of a log").then_some(()));
        assert!(!daemon.journal().contains("it is set aside"));
        fs::remove_dir(&path).unwrap();
        fs::rename(&away, &path).unwrap();
        settle_with(&daemon, &logs, Some(&gone));
        assert!(daemon.journal().contains("the store can be used again"));
        folder = kill_all(daemon);
    }
}

// Disks.

/// Something is mounted here until this is dropped.
struct Mount(PathBuf);

impl Mount {
    /// Mounts, if that is permitted. Else says that it is not.
    fn new(words: &[&str], at: &Path) -> Option<Mount> {
        fs::create_dir_all(at).unwrap();
        let why = match Command::new("mount").args(words).arg(at).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => return Some(Mount(at.to_owned())),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        eprintln!("SKIPPED: this test must mount, which is not possible here: {why}");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        if let Some(folder) = self.0.ancestors().find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tallyd-test-"))) {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// After trouble with the store: it holds everything, so it is there at once in the next life.
#[track_caller]
fn is_really_stored(daemon: Daemon, logs: &[(&str, Vec<u8>)]) {
    settle(&daemon);
    assert!(daemon.journal().contains("the store can be used again"));
    let all = truth(&all_of(logs, None));
    let daemon = start_paused(kill_all(daemon), &[]);
    wait_until("it is known", || day_of(&daemon).filter(|day| *day == all));
    for (name, bytes) in logs {
        let truth = truth(bytes);
        assert_eq!(daemon.reported(name), Some((truth.total, truth.ip)));
    }
}

#[test]
fn a_full_disk_stops_no_counting() {
    let folder = Folder::new();
    let Some(_mount) = Mount::new(&["-t", "tmpfs", "-o", "size=2m", "tallyd-test"], &folder.join("state")) else { return };
    let daemon = Daemon::start_in(folder, &[], &[]);
    let mut logs = vec![("access.log", block(5_000, 5_000, 3).0)];
    fs::write(daemon.log("access.log"), &logs[0].1).unwrap();
    settle_with(&daemon, &logs, None);
    let filler = daemon.folder.join("state/filler");
    let mut file = File::create(&filler).unwrap();
    for length in [65_536, 4_096, 1] {
        while file.write_all(&vec![1; length]).is_ok() {}
    }
    let before = stored(daemon.folder.path());
    for round in 0..3 {
        let (more, _) = block(2_000, 20_000, 11 + 2 * round);
        append(&daemon.log("access.log"), &more);
        logs[0].1.extend_from_slice(&more);
        daemon.wait_for("access.log", truth(&logs[0].1));
        wait_for_day(&daemon, truth(&logs[0].1));
        wait_until("it is said", || degraded_state(&daemon).filter(|entry| entry.contains("No space left")));
    }
    logs.push(("other.log", block(500, 400, 21).0));
    fs::write(daemon.log("other.log"), &logs[1].1).unwrap();
    daemon.wait_for("other.log", truth(&logs[1].1));
    // What was there is whole still.
    assert_eq!(stored(daemon.folder.path()), before);
    assert!(daemon.get("/api/v1/status")["unstored_files"].as_u64() > Some(0));
    drop(file);
    fs::remove_file(filler).unwrap();
    is_really_stored(daemon, &logs);
}

#[test]
fn a_store_that_becomes_read_only_stops_no_counting() {
    let daemon = Daemon::start(&[]);
    let mut logs = vec![("access.log", block(5_000, 5_000, 3).0), ("other.log", block(500, 400, 21).0)];
    logs.iter().for_each(|(name, bytes)| fs::write(daemon.log(name), bytes).unwrap());
    settle_with(&daemon, &logs, None);
    let own = partials(daemon.folder.path());
    let Some(mount) = Mount::new(&["--bind", own.to_str().unwrap()], &own) else { return };
    let remounted = Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&own).status().unwrap();
    assert!(remounted.success());
    let (more, _) = block(2_000, 20_000, 11);
    append(&daemon.log("access.log"), &more);
    logs[0].1.extend_from_slice(&more);
    daemon.wait_for("access.log", truth(&logs[0].1));
    wait_until("it is said", || degraded_state(&daemon).filter(|entry| entry.contains("Read-only")));
    wait_for_day(&daemon, truth(&all_of(&logs, None)));
    // As it was, and nothing of the folder is removed with it.
    let unmounted = Command::new("umount").arg("-l").arg(&own).status().unwrap();
    assert!(unmounted.success());
    std::mem::forget(mount);
    is_really_stored(daemon, &logs);
}

#[test]
fn a_state_folder_that_is_removed_is_written_again() {
    let (folder, mut logs, gone) = some_state();
    // One has its clients in the store only, and one is new.
    let daemon = Daemon::start_in(folder, &[], &[]);
    settle_with(&daemon, &logs, Some(&gone));
    logs.push(("new.log", block(500, 400, 31).0));
    fs::write(daemon.log("new.log"), &logs[3].1).unwrap();
    settle_with(&daemon, &logs, Some(&gone));
    for part in ["state", "state/partials", "state/partials/v1/host=local"] {
        fs::remove_dir_all(daemon.folder.join(part)).unwrap();
        // Nothing changes, and still it is found.
        wait_until("all that is there is stored again", || (stored(daemon.folder.path()).len() >= logs.len() && is_settled(&daemon)).then_some(()));
        for (name, bytes) in &logs {
            daemon.wait_for(name, truth(bytes));
        }
    }
    // A log grows in that moment.
    fs::remove_dir_all(daemon.folder.join("state")).unwrap();
    let (more, _) = block(300, 20_000, 33);
    append(&daemon.log("access.log"), &more);
    logs[1].1.extend_from_slice(&more);
    daemon.wait_for("access.log", truth(&logs[1].1));
    wait_until("all that is there is stored again", || (stored(daemon.folder.path()).len() >= logs.len() && is_settled(&daemon)).then_some(()));
    let daemon = start_paused(kill_all(daemon), &[]);
    wait_until("it is known", || (daemon.get("/api/v1/report").as_object().unwrap().len() == logs.len()).then_some(()));
    for (name, bytes) in &logs {
        let truth = truth(bytes);
        assert_eq!(daemon.reported(name), Some((truth.total, truth.ip)));
    }
    let day = wait_until("the day is complete", || day_of(&daemon));
    assert!([truth(&all_of(&logs, None)), truth(&all_of(&logs, Some(&gone)))].contains(&day));
}

/// A process that watches another one, until this is dropped.
struct Strace(Child);

impl Strace {
    /// Attaches strace to a process, if it is there and that is permitted. Else says that it is not.
    fn attach(pid: i32, words: &[&str], output: &Path) -> Option<Strace> {
        let spawned =
            Command::new("strace").args(["-f", "-y", "-s", "256", "-p", &pid.to_string(), "-o"]).arg(output).args(words).stderr(Stdio::piped()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                eprintln!("SKIPPED: this test needs strace: {error}");
                return None;
            }
        };
        let mut said = String::new();
        let mut stderr = child.stderr.take().unwrap();
        let mut byte = [0];
        while stderr.read(&mut byte).unwrap_or(0) > 0 {
            said.push(byte[0].into());
            if said.contains("attached") {
                return Some(Strace(child));
            }
        }
        let _ = child.wait();
        eprintln!("SKIPPED: strace cannot attach here: {said}");
        None
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Asked, it lets go of what it watches.
        signal(self.0.id().cast_signed(), SIGTERM);
        let _ = self.0.wait();
    }
}

#[test]
fn a_sync_that_fails_is_not_tried_again_on_the_same_file() {
    let daemon = Daemon::start(&[]);
    let mut logs = vec![("access.log", block(5_000, 5_000, 3).0)];
    fs::write(daemon.log("access.log"), &logs[0].1).unwrap();
    settle_with(&daemon, &logs, None);
    let output = daemon.folder.join("strace");
    let words = ["-e", "trace=fsync,openat,unlink", "-e", "inject=fsync:error=EIO:when=1..3"];
    let Some(strace) = Strace::attach(daemon.pids("coordinator")[0], &words, &output) else { return };
    let (more, _) = block(500, 20_000, 11);
    append(&daemon.log("access.log"), &more);
    logs[0].1.extend_from_slice(&more);
    daemon.wait_for("access.log", truth(&logs[0].1));
    wait_until("it is said", || degraded_state(&daemon).filter(|entry| entry.contains("Input/output error")));
    settle(&daemon);
    drop(strace);
    // For each file that is synced, an opening that makes it comes first, and after a failure a new one.
    let trace = fs::read_to_string(output).unwrap();
    let (mut failed, mut fresh) = (0, false);
    for line in trace.lines().filter(|line| line.contains(".tmp")) {
        if line.contains("openat(") {
            assert!(line.contains("O_CREAT"), "{line}");
            fresh = true;
        } else if line.contains("fsync(") {
            assert!(fresh, "it is synced again:\n{trace}");
            (failed, fresh) = (failed + usize::from(line.contains("EIO")), false);
        } else if line.contains("unlink(") {
            fresh = false;
        }
    }
    assert_eq!(failed, 3, "{trace}");
    is_really_stored(daemon, &logs);
}
