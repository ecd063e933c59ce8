//! What the daemon knows outlives it: it goes on where it ended, and what was known is shown before a byte is
//! read.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};
use support::state::{
    Random, all_of, append, file_numbers, is_settled, kill_all, partial_of, settle, settle_with, some_state,
    start_paused, stored, truth, wait_for_day,
};
use support::{Daemon, Folder, Truth, block, signal, tallyd, wait_until};

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
                        fs::rename(
                            logs.join(format!("access.log.{number}")),
                            logs.join(format!("access.log.{}", number + 1)),
                        )
                        .unwrap();
                    }
                    fs::rename(logs.join("access.log"), logs.join("access.log.1")).unwrap();
                    rotated.insert(0, std::mem::take(&mut two));
                }
                if done.load(Ordering::Relaxed) && !two.is_empty() {
                    break;
                }
            }
            let mut written = vec![("20210322.log".to_owned(), one), ("access.log".to_owned(), two)];
            written.extend(
                rotated.into_iter().enumerate().map(|(at, bytes)| (format!("access.log.{}", at + 1), bytes)),
            );
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
            assert!(
                report.get(name).is_none_or(|entry| entry["total"] == truth.total && entry["ip"] == truth.ip),
                "{report}"
            );
        }
        assert!(report.get("gone.log").is_none());
        (report.as_object().unwrap().len() == 3).then_some(())
    });
    let days = daemon.get("/api/v1/days");
    assert_eq!(
        (days["days"][0]["requests"].as_u64(), days["days"][0]["unique_ips"].as_u64()),
        (Some(known.total), Some(known.ip)),
        "{days}"
    );
    wait_until("a worker is in the middle of what is new", || {
        let status = daemon.get("/api/v1/status");
        status["processes"]
            .as_array()
            .unwrap()
            .iter()
            .find(|process| process["state"] == "working")
            .map(|_| ())
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
    let text = journal
        .get(from..)
        .unwrap_or_default()
        .lines()
        .filter(|line| line.contains("counted") && line.contains("from=") && line.contains("to="));
    text.filter_map(|line| Some((number(line, "from=")?, number(line, "to=")?))).collect()
}

#[test]
fn counting_goes_on_where_it_ended() {
    let options = ["--log-level", "debug", "--range-mib", "1"];
    let daemon = Daemon::start(&options);
    let (mut bytes, _) = block(30_000, 5_000, 3);
    // It comes whole: what is seen while it is written may end within a line, which is read again.
    fs::write(daemon.log(".new"), &bytes).unwrap();
    fs::rename(daemon.log(".new"), daemon.log("access.log")).unwrap();
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
fn a_daemon_whose_state_folder_another_one_has_taken_ends() {
    let (mut bytes, numbers) = block(500, 40, 3);
    let mut first = Daemon::start(&[]);
    fs::write(first.log("access.log"), &bytes).unwrap();
    first.wait_for("access.log", numbers);
    settle(&first);
    // Somebody deletes the state and starts another daemon, while the first one is too busy to notice.
    let folder = Folder::new();
    for part in ["logs", "state"] {
        symlink(first.folder.join(part), folder.join(part)).unwrap();
    }
    let coordinator = first.pids("coordinator")[0];
    signal(coordinator, SIGSTOP);
    fs::remove_dir_all(first.folder.join("state")).unwrap();
    fs::create_dir(first.folder.join("state")).unwrap();
    let second = Daemon::start_in(folder, &[], &[]);
    let (more, _) = block(300, 200, 4);
    append(&first.log("access.log"), &more);
    bytes.extend_from_slice(&more);
    signal(coordinator, SIGCONT);
    let (status, _) = first.stop(&[]);
    let said = first.journal();
    assert_eq!(status.code(), Some(4), "{said}");
    let sentence = format!(
        "the state folder was deleted or moved while tallyd ran, and another tallyd (pid {}) uses the state folder now",
        second.pid()
    );
    assert!(said.contains(&sentence), "{said}");
    // Each line is stored once.
    second.wait_for("access.log", truth(&bytes));
    settle(&second);
    let second = start_paused(second.end(SIGTERM), &[]);
    wait_for_day(&second, truth(&bytes));
    assert_eq!(stored(second.folder.path()).len(), 1);
}

#[test]
fn other_rules_count_again_what_is_there() {
    let line = |client: &str, second: u32| {
        format!("{client} - - [22/Mar/2021:06:25:{second:02} +0100] \"GET / HTTP/1.1\" 200 5\n")
    };
    // By the first field two clients, by what is before the dashes three.
    let text =
        |name: &str| line(&format!("{name} a"), 1) + &line(&format!("{name} b"), 2) + &line("other", 3);
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

/// The day has what the log had before, and is not complete.
fn still_has(daemon: &Daemon, truth: Truth, state: &str) {
    let day = daemon.get("/api/v1/days/2021-03-22");
    assert_eq!(
        (&day["requests"], &day["unique_ips"], &day["complete"]),
        (&truth.total.into(), &truth.ip.into(), &false.into())
    );
    assert_eq!(file_numbers(daemon, "access.log"), Some((truth, state.to_owned())));
}

/// Until it has been counted again, it is what it was, in the answers and in the store: so its numbers are
/// there when the log is not.
#[test]
fn a_log_that_goes_before_it_is_counted_by_other_rules_keeps_its_numbers() {
    let (bytes, numbers) = block(2_000, 900, 3);
    for ends in [false, true] {
        let daemon = Daemon::start(&[]);
        fs::write(daemon.log("access.log"), &bytes).unwrap();
        fs::write(daemon.log("20210322.log"), &bytes[..bytes.len() / 2]).unwrap();
        daemon.wait_for("access.log", numbers);
        settle(&daemon);
        let rules = ["--client-rule", "before-dashes"];
        let daemon = start_paused(daemon.end(SIGTERM), &rules);
        wait_until("it is being counted again", || {
            (daemon.file("access.log")?["state"] == "counting").then_some(())
        });
        still_has(&daemon, numbers, "counting");
        let daemon = if ends {
            let folder = kill_all(daemon);
            fs::remove_file(folder.join("logs/access.log")).unwrap();
            Daemon::start_in(folder, &rules, &[])
        } else {
            fs::remove_file(daemon.log("access.log")).unwrap();
            fs::remove_file(daemon.folder.join("faults/pause")).unwrap();
            daemon
        };
        wait_until("it is gone, with its numbers", || {
            file_numbers(&daemon, "access.log").filter(|now| *now == (numbers, "gone".to_owned()))
        });
        wait_for_day(&daemon, numbers);
        settle(&daemon);
        // And so they are known to the next one.
        let daemon = Daemon::start_in(daemon.end(SIGTERM), &rules, &[]);
        wait_for_day(&daemon, numbers);
        assert_eq!(file_numbers(&daemon, "access.log"), Some((numbers, "gone".to_owned())));
    }
}

/// It is told from what is gone by samples, requests and bytes: their clients are others by the other rule.
#[test]
fn the_beginning_of_a_log_that_other_rules_counted_counts_within_it() {
    let line = |number: usize| {
        format!(
            "10.0.0.{} - user{number} [22/Mar/2021:06:25:00 +0100] \"GET /{number} HTTP/1.1\" 200 5\n",
            number % 200
        )
    };
    let bytes: Vec<String> = (0..3_000).map(line).collect();
    let daemon = Daemon::start(&[]);
    fs::write(daemon.log("whole.log"), bytes.concat()).unwrap();
    fs::write(daemon.log("part.log"), bytes[..1_000].concat()).unwrap();
    daemon.wait_for("whole.log", Truth { total: 3_000, ip: 200 });
    settle(&daemon);
    let folder = daemon.end(SIGTERM);
    fs::remove_file(folder.join("logs/whole.log")).unwrap();
    let daemon = Daemon::start_in(folder, &["--client-rule", "before-dashes"], &[]);
    wait_until("the part counts within the whole", || {
        (daemon.file("part.log")?["state"] == "duplicate").then_some(())
    });
    settle(&daemon);
    assert_eq!(daemon.file("part.log").unwrap()["state"], "duplicate");
    wait_for_day(&daemon, Truth { total: 3_000, ip: 200 });
}

/// They were compared byte by byte while both were there, and once more by samples when the one that is there
/// had been counted by the other rule: its lines were gone.
#[test]
fn a_log_that_parted_from_one_that_is_gone_counts_by_itself_by_other_rules_too() {
    let line = |number: usize| {
        format!("10.0.0.{} - - [22/Mar/2021:06:25:00 +0100] \"GET /{number} HTTP/1.1\" 200 5\n", number % 200)
    };
    let whole: Vec<String> = (0..60_000).map(line).collect();
    // It parts between two samples.
    let parted = [whole[..12_000].concat(), line(5)].concat();
    let daemon = Daemon::start(&[]);
    fs::write(daemon.log("whole.log"), whole.concat()).unwrap();
    fs::write(daemon.log("parted.log"), parted).unwrap();
    let both = Truth { total: 72_001, ip: 200 };
    wait_for_day(&daemon, both);
    fs::remove_file(daemon.log("whole.log")).unwrap();
    wait_until("it is gone", || (daemon.file("whole.log")?["state"] == "gone").then_some(()));
    settle(&daemon);
    let mut daemon = daemon;
    for rule in ["before-dashes", "first-field"] {
        daemon = Daemon::start_in(daemon.end(SIGTERM), &["--client-rule", rule], &[]);
        daemon.wait_for("parted.log", Truth { total: 12_001, ip: 200 });
        settle(&daemon);
        wait_for_day(&daemon, both);
    }
}

/// Half a line counted as the last one, and goes on: what was known of the log was removed from the store
/// before it had been counted again.
#[test]
fn a_log_whose_half_line_goes_on_keeps_its_numbers_until_it_is_counted_again() {
    let (bytes, numbers) = block(2_000, 900, 3);
    let (end, options) = (bytes.len() / 2, ["--final-after-s", "1"]);
    assert!(bytes[end - 1] != b'\n');
    let half = truth(&bytes[..end]);
    for ends in [false, true] {
        let daemon = Daemon::start(&options);
        fs::write(daemon.log("access.log"), &bytes[..end]).unwrap();
        daemon.wait_for("access.log", half);
        settle(&daemon);
        let folder = daemon.end(SIGTERM);
        append(&folder.join("logs/access.log"), &bytes[end..]);
        let mut daemon = start_paused(folder, &options);
        wait_until("it is being counted again", || {
            (daemon.file("access.log")?["state"] == "counting").then_some(())
        });
        still_has(&daemon, half, "counting");
        if ends {
            // A daemon that is killed before knows nothing of the other half.
            let partial = partial_of(daemon.folder.path(), "access.log");
            wait_until("the store has that lines are missing", || {
                let meta = tallyd::store::read_meta(fs::File::open(&partial).ok()?).ok()?;
                (!meta.complete).then_some(())
            });
            let folder = kill_all(daemon);
            fs::rename(folder.join("logs/access.log"), folder.join("access.log")).unwrap();
            daemon = Daemon::start_in(folder, &options, &[]);
        } else {
            fs::rename(daemon.log("access.log"), daemon.folder.join("access.log")).unwrap();
        }
        wait_until("it is gone", || (daemon.file("access.log")?["state"] == "gone").then_some(()));
        // What came after the half line was not counted.
        still_has(&daemon, half, "gone");
        fs::remove_file(daemon.folder.join("faults/pause")).ok();
        fs::rename(daemon.folder.join("access.log"), daemon.log("access.log")).unwrap();
        daemon.wait_for("access.log", numbers);
        wait_for_day(&daemon, numbers);
    }
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
            assert!(
                daemon.journal().contains(path.file_name().unwrap().to_str().unwrap())
                    && daemon.journal().contains("a newer tallyd wrote this")
            );
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
        (files.len() == 3 && files.iter().all(|file| file["state"] == "final") && is_settled(daemon))
            .then_some(())
    };
    wait_until("all are final and stored", || all_final(&daemon));
    let inodes = |folder: &Path| -> Vec<(PathBuf, u64)> {
        stored(folder)
            .into_iter()
            .map(|(path, _)| (path.clone(), fs::metadata(path).unwrap().ino()))
            .collect()
    };
    let before = inodes(daemon.folder.path());
    for number in [SIGTERM, SIGKILL] {
        daemon = Daemon::start_in(daemon.end(number), &options, &[]);
        wait_until("all are final and stored", || all_final(&daemon));
        // Nothing is on its way either.
        assert_eq!(daemon.get("/api/v1/range?from=2021-03-22&to=2021-03-22")["complete"], true);
        assert_eq!(inodes(daemon.folder.path()), before);
    }
}

/// Whoever changes `host` alone counts all twice, and is told.
#[test]
fn logs_that_are_stored_under_another_host_are_spoken_of() {
    let says = |daemon: &Daemon| daemon.journal().contains("are stored under another host");
    let daemon = Daemon::start(&[]);
    fs::write(
        daemon.log("access.log"),
        "1.2.3.4 - - [22/Mar/2021:12:00:00 +0000] \"GET / HTTP/1.1\" 200 1\n",
    )
    .unwrap();
    daemon.wait_for("access.log", Truth { total: 1, ip: 1 });
    let daemon = Daemon::start_in(daemon.end(SIGTERM), &[], &[]);
    assert!(!says(&daemon));
    let daemon = Daemon::start_in(daemon.end(SIGTERM), &["--host", "web1"], &[]);
    daemon.wait_for("access.log", Truth { total: 1, ip: 1 });
    assert!(says(&daemon), "{}", daemon.journal());
    assert_eq!(daemon.get("/api/v1/days/2021-03-22")["requests"], 2);
    let state = daemon.folder.join("state/partials/v1");
    let folder = daemon.end(SIGTERM);
    fs::remove_dir_all(state.join("host=web1")).unwrap();
    fs::rename(state.join("host=local"), state.join("host=web1")).unwrap();
    fs::remove_file(folder.join("journal")).unwrap();
    let daemon = Daemon::start_in(folder, &["--host", "web1"], &[]);
    daemon.wait_for("access.log", Truth { total: 1, ip: 1 });
    assert_eq!((daemon.get("/api/v1/days/2021-03-22")["requests"].as_u64(), says(&daemon)), (Some(1), false));
}
