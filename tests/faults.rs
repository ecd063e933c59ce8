//! Whatever happens to the processes or to the logs under them, each line counts once.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::libc::{SIGKILL, SIGSTOP, SIGTERM};
use support::{Daemon, Folder, Truth, block, lives, signal, wait_until, wait_until_or};

/// Writes 8 logs of 40 MB each into the watched folder, a piece at a time, while `harm` is done to the daemon
/// so many times. Then the numbers must be right.
fn counts_right_while(harm: impl Fn(&Daemon) + Sync, times: usize) {
    let daemon = Daemon::start(&[]);
    let (piece, truth) = block(60_000, 20_000, 1);
    let repeats = 40_000_000 / piece.len() + 1;
    let truth = Truth { total: truth.total * repeats as u64 + 1, ip: truth.ip + 1 };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..times {
                harm(&daemon);
                std::thread::sleep(Duration::from_millis(100)); // the rate of the harm, not a wait for anything
            }
        });
        for log in 1..=8 {
            let mut file = File::create(daemon.log(&format!("2021030{log}.log"))).unwrap();
            // Each log begins with a line of its own: else they would be copies of one.
            writeln!(file, "10.0.0.{log} - - [22/Mar/2021:00:00:00 +0100] first").unwrap();
            for _ in 0..repeats {
                // In uneven writes, so that there are half lines to be seen, and no faster than the harm.
                let (one, two) = piece.split_at(piece.len() / 3);
                file.write_all(one).unwrap();
                std::thread::sleep(Duration::from_millis(100) * times as u32 / (8 * repeats as u32)); // the rate of writing, not a wait
                file.write_all(two).unwrap();
            }
        }
    });
    for log in 1..=8 {
        daemon.wait_for(&format!("2021030{log}.log"), truth);
    }
    // The harm was done.
    assert!(
        ["worker", "coordinator", "api"].iter().map(|role| daemon.restarts(role)).sum::<u64>()
            >= times as u64 / 2
    );
    let days = daemon.get("/api/v1/days");
    let day = wait_until("the day is complete", || {
        Some(daemon.get("/api/v1/days/2021-03-22")).filter(|day| day["complete"] == true)
    });
    assert_eq!(
        (day["requests"].as_u64(), day["unique_ips"].as_u64(), day["files"].as_u64()),
        (Some(truth.total * 8), Some(truth.ip + 7), Some(8)),
        "{days}"
    );
    assert_eq!(daemon.get("/api/v1/status")["quarantine"], serde_json::json!([]));
}

fn kill_one(daemon: &Daemon, role: &str) {
    if let Some(pid) = daemon.pids(role).first() {
        signal(*pid, SIGKILL);
    }
}

#[test]
fn workers_are_killed_every_100_ms() {
    counts_right_while(|daemon| daemon.pids("worker").into_iter().for_each(|pid| signal(pid, SIGKILL)), 40);
}

#[test]
fn the_coordinator_is_killed_20_times() {
    counts_right_while(|daemon| kill_one(daemon, "coordinator"), 20);
}

#[test]
fn the_api_is_killed_20_times() {
    counts_right_while(|daemon| kill_one(daemon, "api"), 20);
}

/// With a store, a new coordinator has the numbers before it looks at a log; what is not stored yet is on the
/// board still.
#[test]
fn the_numbers_stay_when_the_coordinator_dies() {
    let daemon = Daemon::start(&["--range-mib", "1"]);
    let (bytes, truth) = block(60_000, 1_000, 3);
    fs::write(daemon.log("20210322.log"), &bytes).unwrap();
    daemon.wait_for("20210322.log", truth);
    let id = daemon.file("20210322.log").unwrap()["id"].clone();
    for death in 1..=5 {
        daemon.pids("coordinator").into_iter().for_each(|pid| signal(pid, SIGKILL));
        wait_until("there is a new coordinator, and it has looked at the folder", || {
            assert_eq!(daemon.reported("20210322.log"), Some((truth.total, truth.ip)));
            assert_eq!(daemon.get("/api/v1/days/2021-03-22")["requests"], truth.total);
            (daemon.restarts("coordinator") == death && daemon.get("/api/v1/status")["pending_bytes"] == 0)
                .then_some(())
        });
        wait_until("the log is complete", || {
            daemon.file("20210322.log").filter(|file| file["complete"] == true)
        });
        assert_eq!(daemon.file("20210322.log").unwrap()["id"], id);
    }
}

#[test]
fn a_stopped_worker_is_killed_and_its_job_done_by_another() {
    let daemon = Daemon::start_with_fault(Folder::new(), "pause", &[], &[]);
    fs::write(daemon.folder.join("faults/pause"), b"").unwrap();
    let (bytes, truth) = block(100_000, 1_000, 3);
    fs::write(daemon.log("20210322.log"), &bytes).unwrap();
    let busy = wait_until("a worker counts", || {
        let status = daemon.get("/api/v1/status");
        let processes = status["processes"].as_array().unwrap();
        processes
            .iter()
            .find(|process| process["role"] == "worker" && process["state"] == "working")
            .and_then(|process| process["pid"].as_i64())
    });
    let busy = busy as i32;
    signal(busy, SIGSTOP);
    let start = Instant::now();
    fs::remove_file(daemon.folder.join("faults/pause")).unwrap();
    wait_until("the stopped worker is gone", || (!lives(busy)).then_some(()));
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "it took {:?} to find a stopped worker",
        start.elapsed()
    );
    daemon.wait_for("20210322.log", truth);
    wait_until("it was started again", || (daemon.restarts("worker") == 1).then_some(()));
}

/// A worker has counted the first piece of a mapped range when the log is cut short. `length` of what is
/// kept, then it grows again to hold `more`.
fn truncated_under_the_mapping(length: u64, more: &[u8]) {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("logs")).unwrap();
    fs::create_dir_all(folder.join("faults")).unwrap();
    fs::write(folder.join("faults/pause"), b"").unwrap();
    let (bytes, _) = block(200_000, 1_000, 5);
    fs::write(folder.join("logs/20210322.log"), &bytes).unwrap();
    let daemon = Daemon::start_with_fault(folder, "pause", &[], &["--io", "mmap"]);
    wait_until("a worker is in the middle", || {
        let status = daemon.get("/api/v1/status");
        status["processes"]
            .as_array()
            .unwrap()
            .iter()
            .find(|process| process["range_bytes_done"].as_u64() > Some(0))
            .map(|_| ())
    });
    let log = File::options().write(true).open(daemon.log("20210322.log")).unwrap();
    log.set_len(length).unwrap();
    log.write_all_at(more, length).unwrap();
    let mut now = bytes[..length as usize].to_vec();
    now.extend_from_slice(more);
    // What stands behind the last LF is half a line and does not count.
    let whole = now.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let totals = tallyd::tally::tally(&now[..whole], tallyd::tally::Rules::default()).totals();
    fs::remove_file(daemon.folder.join("faults/pause")).unwrap();
    daemon.wait_for("20210322.log", Truth { total: totals.counts.requests(), ip: totals.clients.all() });
    let file = daemon.file("20210322.log").unwrap();
    assert_eq!(
        (file["complete"].as_bool(), file["malformed"].as_u64()),
        (Some(true), Some(totals.counts.malformed)),
        "{file}"
    );
    assert_eq!(daemon.get("/api/v1/status")["quarantine"], serde_json::json!([]));
}

#[test]
fn a_log_is_emptied_under_the_mapping() {
    truncated_under_the_mapping(0, b"");
}

#[test]
fn a_log_is_cut_to_an_odd_size_under_the_mapping() {
    truncated_under_the_mapping(7_654_321, b"");
}

#[test]
fn a_log_is_cut_and_grows_again_under_the_mapping() {
    truncated_under_the_mapping(3_000_001, b"\n1.2.3.4 - - [22/Mar/2021:23:00:00 +0100] x\n");
}

#[test]
fn damaged_results_are_refused_and_the_range_is_counted_again() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("faults")).unwrap();
    fs::write(folder.join("faults/damage"), b"").unwrap();
    let daemon = Daemon::start_with_fault(folder, "damage", &[], &[]);
    let (bytes, truth) = block(50_000, 1_000, 9);
    fs::write(daemon.log("20210322.log"), &bytes).unwrap();
    wait_until("a result was refused", || daemon.journal().contains("the result is not valid").then_some(()));
    // Nothing of it was taken.
    assert_eq!(daemon.reported("20210322.log").map(|(total, _)| total), Some(0));
    fs::remove_file(daemon.folder.join("faults/damage")).unwrap();
    daemon.wait_for("20210322.log", truth);
}

#[test]
fn a_range_that_ends_every_worker_is_quarantined_and_all_else_counts() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("faults")).unwrap();
    fs::create_dir_all(folder.join("logs")).unwrap();
    fs::write(folder.join("faults/crash"), b"").unwrap();
    let (bytes, truth) = block(100_000, 1_000, 11);
    fs::write(folder.join("logs/20210322.log"), &bytes).unwrap();
    let (small, small_truth) = block(10, 10, 11);
    fs::write(folder.join("logs/20210323.log"), &small).unwrap();
    let daemon = Daemon::start_with_fault(folder, "crash", &[("TALLYD_FAULT_AT", "5000000")], &[]);
    let range =
        wait_until("the range is quarantined", || daemon.get("/api/v1/status")["quarantine"].get(0).cloned());
    assert_eq!(range["name"], "20210322.log");
    let (from, to) = (range["from"].as_u64().unwrap(), range["to"].as_u64().unwrap());
    assert!(from <= 5_000_000 && 5_000_000 < to && to - from <= 4096, "{range}");
    assert!(range["reason"].as_str().unwrap().contains("SIGABRT"), "{range}");
    wait_until("all else is counted", || (daemon.get("/api/v1/status")["pending_bytes"] == 0).then_some(()));
    // Exactly the lines that start in the range are missing, and everything that misses them says so.
    let is_start = |at: usize| at == 0 || bytes[at - 1] == b'\n';
    let missing = (from as usize..to as usize).filter(|at| is_start(*at)).count() as u64;
    assert_eq!(daemon.reported("20210322.log").unwrap().0, truth.total - missing);
    assert_eq!(daemon.file("20210322.log").unwrap()["complete"], false);
    assert_eq!(daemon.get("/api/v1/days/2021-03-22")["complete"], false);
    assert_eq!(daemon.reported("20210323.log"), Some((small_truth.total, small_truth.ip)));
    assert_eq!(daemon.file("20210323.log").unwrap()["complete"], true);
}

#[test]
fn no_child_outlives_a_killed_supervisor() {
    let mut daemon = Daemon::start(&[]);
    let children = daemon.children();
    assert_eq!(children.len(), 4);
    let (_, _) = daemon.stop(&[SIGKILL]);
    let start = Instant::now();
    wait_until("all children are gone", || (!children.iter().any(|pid| lives(*pid))).then_some(()));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn sigterm_ends_everything_in_the_middle_of_a_scan() {
    for signals in [&[SIGTERM][..], &[SIGTERM, SIGTERM], &[nix::libc::SIGINT]] {
        let folder = Folder::new();
        fs::create_dir_all(folder.join("faults")).unwrap();
        fs::write(folder.join("faults/pause"), b"").unwrap();
        let mut daemon = Daemon::start_with_fault(folder, "pause", &[], &[]);
        fs::write(daemon.log("20210322.log"), block(50_000, 1_000, 3).0).unwrap();
        wait_until("the scan has begun", || {
            (daemon.get("/api/v1/status")["pending_bytes"].as_u64() > Some(0)).then_some(())
        });
        let children = daemon.children();
        let (status, took) = daemon.stop(signals);
        assert_eq!(status.code(), Some(0), "{signals:?}");
        assert!(took < Duration::from_secs(2), "{signals:?} took {took:?}");
        assert!(!children.iter().any(|pid| lives(*pid)), "{signals:?}");
    }
}

#[test]
fn sigterm_ends_stopped_children_too() {
    let mut daemon = Daemon::start(&[]);
    let children = daemon.children();
    children.iter().for_each(|pid| signal(*pid, SIGSTOP));
    let (status, took) = daemon.stop(&[SIGTERM]);
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(!children.iter().any(|pid| lives(*pid)));
}

/// The journal goes to a pipe that nobody reads, or whose reader is gone: everything goes on, and ends when
/// it is told to.
#[test]
fn a_stderr_that_takes_nothing_stops_nobody() {
    for reader_leaves in [false, true] {
        let (read, write) = nix::unistd::pipe().unwrap();
        let read = if reader_leaves { None } else { Some(read) };
        let mut daemon =
            Daemon::start_with_journal(Folder::new(), write.into(), &["--log-level", "debug"], &[]);
        // Much to say: more than a pipe holds.
        for number in 0..1_000 {
            fs::write(daemon.log(&format!("{number}.tmp")), b"").unwrap();
        }
        wait_until("a worker has died and come back", || {
            daemon.pids("worker").into_iter().for_each(|pid| signal(pid, SIGKILL));
            (daemon.restarts("worker") > 2).then_some(())
        });
        let (bytes, truth) = block(1_000, 100, 3);
        fs::write(daemon.log("20210322.log"), &bytes).unwrap();
        daemon.wait_for("20210322.log", truth);
        let (status, took) = daemon.stop(&[SIGTERM]);
        assert_eq!(status.code(), Some(0));
        assert!(took < Duration::from_secs(2), "{took:?}");
        drop(read);
    }
}

#[test]
fn a_worker_holds_nothing_but_what_it_was_given() {
    let daemon = Daemon::start(&[]);
    fs::write(daemon.log("20210322.log"), block(20_000, 1_000, 3).0).unwrap();
    wait_until("it is counted", || {
        (daemon.reported("20210322.log").is_some_and(|(total, _)| total == 20_000)).then_some(())
    });
    let held = |worker: i32| {
        let mut held: Vec<String> = fs::read_dir(format!("/proc/{worker}/fd"))
            .unwrap()
            .filter_map(|entry| entry.ok())
            .filter(|entry| entry.file_name().to_string_lossy().parse::<i32>().is_ok_and(|fd| fd > 2))
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            // Of pipes and sockets, the number behind the kind says nothing; of others, the kind stands
            // behind.
            .map(|target| {
                if target.starts_with("anon_inode:") {
                    target
                } else {
                    target.split(':').next().unwrap_or_default().to_owned()
                }
            })
            .collect();
        held.sort();
        held
    };
    for worker in daemon.pids("worker") {
        // The result of the last job is given away and then closed.
        wait_until_or(
            || format!("worker {worker} holds nothing else than {:?}", held(worker)),
            || (held(worker) == ["anon_inode:[signalfd]", "pipe", "socket"]).then_some(()),
        );
    }
}

#[test]
fn only_one_writes_the_board() {
    let daemon = Daemon::start(&[]);
    let maps = |pid: i32| fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let rights = |pid: i32| {
        maps(pid)
            .lines()
            .filter(|line| line.contains("tallyd-board"))
            .map(|line| line.split(' ').nth(1).unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(rights(daemon.pids("coordinator")[0]), ["rw-s"]);
    assert_eq!(rights(daemon.pids("api")[0]), ["r--s"]);
    for pid in daemon.pids("worker").into_iter().chain([daemon.pid()]) {
        assert_eq!(rights(pid), Vec::<String>::new());
    }
}

/// A folder with a log of which the range with the byte 5,000,000 is poison, another one, and what they hold.
fn poisoned(fault: &str) -> (Folder, Vec<u8>, Truth, Truth) {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("faults")).unwrap();
    fs::create_dir_all(folder.join("logs")).unwrap();
    fs::write(folder.join("faults").join(fault), b"").unwrap();
    let (bytes, truth) = block(100_000, 1_000, 11);
    fs::write(folder.join("logs/20210322.log"), &bytes).unwrap();
    let (small, small_truth) = block(10, 10, 12);
    fs::write(folder.join("logs/20210323.log"), &small).unwrap();
    (folder, bytes, truth, small_truth)
}

/// The quarantined range, once it is small and everything else is counted; and how many lines start in it.
fn quarantined(daemon: &Daemon, bytes: &[u8]) -> (serde_json::Value, u64) {
    let range =
        wait_until("the range is quarantined", || daemon.get("/api/v1/status")["quarantine"].get(0).cloned());
    wait_until("all else is counted", || (daemon.get("/api/v1/status")["pending_bytes"] == 0).then_some(()));
    let (from, to) = (range["from"].as_u64().unwrap() as usize, range["to"].as_u64().unwrap() as usize);
    assert!(from <= 5_000_000 && 5_000_000 < to && to - from <= 4096, "{range}");
    (range, (from..to).filter(|at| *at == 0 || bytes[at - 1] == b'\n').count() as u64)
}

#[test]
fn a_range_that_eats_memory_ends_its_worker_only() {
    let (folder, bytes, truth, small_truth) = poisoned("eat");
    let daemon = Daemon::start_with_fault(
        folder,
        "eat",
        &[("TALLYD_FAULT_AT", "5000000")],
        &["--worker-memory-mib", "128"],
    );
    let (range, missing) = quarantined(&daemon, &bytes);
    assert!(range["reason"].as_str().unwrap().contains("SIGABRT"), "{range}");
    assert_eq!(daemon.reported("20210322.log").unwrap().0, truth.total - missing);
    assert_eq!(daemon.reported("20210323.log"), Some((small_truth.total, small_truth.ip)));
    assert_eq!(daemon.restarts("coordinator"), 0);
}

/// A small log, so that it is not cut into halves: each time it takes ten seconds until the hang is found.
#[test]
fn a_range_that_spins_is_found_out_and_quarantined() {
    let (folder, _, _, _) = poisoned("spin");
    let ((bytes, _), (short, short_truth)) = (block(10, 10, 13), block(3, 3, 14));
    assert!(bytes.len() > 600 && short.len() < 600);
    fs::write(folder.join("logs/20210322.log"), &bytes).unwrap();
    fs::write(folder.join("logs/20210323.log"), &short).unwrap();
    let daemon = Daemon::start_with_fault(folder, "spin", &[("TALLYD_FAULT_AT", "600")], &[]);
    let range =
        wait_until("the range is quarantined", || daemon.get("/api/v1/status")["quarantine"].get(0).cloned());
    assert_eq!((&range["from"], &range["to"]), (&0.into(), &bytes.len().into()));
    assert!(range["reason"].as_str().unwrap().contains("hung"), "{range}");
    assert_eq!(daemon.reported("20210322.log").unwrap().0, 0);
    assert_eq!(daemon.reported("20210323.log"), Some((short_truth.total, short_truth.ip)));
}

#[test]
fn a_quarantine_outlives_restarts_and_ends_when_it_is_asked_for() {
    let (folder, bytes, truth, _) = poisoned("crash");
    let token = "Eephaim2oSei8xoo6aLahngoo4Quuz7i";
    let variables = [("TALLYD_FAULT_AT", "5000000"), ("TALLYD_TOKEN", token)];
    let mut daemon = Daemon::start_with_fault(folder, "crash", &variables, &[]);
    let (range, missing) = quarantined(&daemon, &bytes);
    for number in [SIGTERM, SIGKILL] {
        wait_until("it is stored", || (daemon.get("/api/v1/status")["unstored_files"] == 0).then_some(()));
        let folder = daemon.end(number);
        daemon = Daemon::start_with_fault(folder, "crash", &variables, &[]);
        let status = wait_until("the folder was looked at", || {
            Some(daemon.get("/api/v1/status")).filter(|status| status["pending_bytes"] == 0)
        });
        assert_eq!(status["quarantine"][0]["from"], range["from"]);
        assert_eq!(daemon.file("20210322.log").unwrap()["state"], "quarantined");
        assert_eq!(daemon.reported("20210322.log").unwrap().0, truth.total - missing);
        // It was not tried again.
        assert_eq!(daemon.restarts("worker"), 0);
    }
    fs::remove_file(daemon.folder.join("faults/crash")).unwrap();
    let bearer = format!("Bearer {token}");
    assert_eq!(daemon.ask("POST", "/api/v1/rescan", &[("Authorization", &bearer)]).unwrap().0, 202);
    wait_until("it is counted", || daemon.file("20210322.log").filter(|file| file["complete"] == true));
    assert_eq!(daemon.reported("20210322.log"), Some((truth.total, truth.ip)));
}

/// Each time that a worker has died of it, everything is killed: what is known of the range is in the note of
/// what is in flight, and in the store.
#[test]
fn a_quarantine_is_found_though_the_whole_daemon_dies_each_time() {
    let (mut folder, bytes, truth, _) = poisoned("crash");
    for death in 0.. {
        assert!(death < 100, "it is not found");
        let daemon = Daemon::start_with_fault(folder, "crash", &[("TALLYD_FAULT_AT", "5000000")], &[]);
        let found = wait_until("a worker has died, or nothing is left to count", || {
            let done = daemon.get("/api/v1/status")["pending_bytes"] == 0;
            (done || daemon.restarts("worker") > 0).then_some(done)
        });
        if found {
            let (_, missing) = quarantined(&daemon, &bytes);
            assert_eq!(daemon.reported("20210322.log").unwrap().0, truth.total - missing);
            return;
        }
        folder = daemon.end(SIGKILL);
    }
}
