//! What the processes may not do any more: on the real binary, whose debug build tries it when asked to (see
//! `src/worker/fault.rs`, `src/api/fault.rs`).

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::json;
use support::{Daemon, Folder, block, tallyd, wait_until};

const TOKEN: &str = "a-token-of-32-bytes-for-the-tests";
const WAYS: [&str; 9] = ["open", "write", "list", "connect", "bind", "exec", "fork", "ptrace", "kill"];

/// A daemon whose workers try to get out before each job, with only this wall if one is named; and somebody
/// to connect to.
fn escaping(way: &str, wall: &str) -> (Daemon, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let variables = [
        ("TALLYD_TOKEN", TOKEN),
        ("TALLYD_FAULT_ESCAPE", way),
        ("TALLYD_FAULT_WALL", wall),
        ("TALLYD_FAULT_ADDRESS", &address),
    ];
    let daemon = Daemon::start_with_fault(Folder::new(), "escape", &variables, &["--sandbox", "auto"]);
    fs::write(daemon.folder.join("faults/escape"), b"").unwrap();
    (daemon, listener)
}

/// Does this system have what the tests are about?
fn has_walls() -> bool {
    let sandbox = Daemon::start(&[]).get("/api/v1/status")["sandbox"].clone();
    let whole = sandbox == json!({"setting": "auto", "landlock": true, "seccomp": true});
    if !whole {
        eprintln!("this system does not give what shuts processes in, so that is not tested: {sandbox}");
    }
    whole
}

#[test]
fn what_a_worker_tries_ends_it() {
    if !has_walls() {
        return;
    }
    for way in WAYS {
        let (daemon, _listener) = escaping(way, "");
        let (bytes, truth) = block(10, 5, 1);
        fs::write(daemon.log("20210322.log"), &bytes).unwrap();
        let quarantine = wait_until("the log is given up", || {
            daemon.get("/api/v1/status")["quarantine"].as_array().filter(|ranges| !ranges.is_empty()).cloned()
        });
        assert!(quarantine[0]["reason"].as_str().unwrap().contains("SIGSYS"), "{way}: {quarantine:?}");
        let journal = daemon.journal();
        assert!(!journal.contains("escape") && journal.contains("SIGSYS"), "{way}: {journal}");
        // Who does not try is not stopped.
        fs::remove_file(daemon.folder.join("faults/escape")).unwrap();
        daemon.ask("POST", "/api/v1/rescan", &[("authorization", &format!("Bearer {TOKEN}"))]).unwrap();
        daemon.wait_for("20210322.log", truth);
    }
}

/// What comes of a way out if there is only this wall.
#[track_caller]
fn tried(way: &str, wall: &str) -> String {
    let (daemon, _listener) = escaping(way, wall);
    let (bytes, truth) = block(10, 5, 1);
    fs::write(daemon.log("20210322.log"), &bytes).unwrap();
    daemon.wait_for("20210322.log", truth);
    daemon.journal().lines().find(|line| line.contains("escape")).unwrap().to_owned()
}

#[test]
fn files_signals_and_connections_are_refused_by_landlock_alone() {
    if !has_walls() {
        return;
    }
    for way in WAYS {
        let said = tried(way, "landlock");
        assert!(
            said.contains("a worker could not escape")
                && (said.contains("Permission denied") || said.contains("not permitted")),
            "{way}: {said}"
        );
    }
}

/// Without walls, these are ways out: so the other tests can fail.
#[test]
fn without_walls_a_worker_escapes() {
    for way in ["open", "list", "connect", "bind", "fork", "kill"] {
        let said = tried(way, "none");
        assert!(said.contains("a worker escaped"), "{way}: {said}");
    }
}

#[test]
fn the_api_reads_no_log_connects_nowhere_and_starts_nothing() {
    if !has_walls() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (setting, token) in [("auto", false), ("auto", true), ("off", false)] {
        let folder = Folder::new();
        fs::create_dir_all(folder.join("logs")).unwrap();
        let (bytes, truth) = block(10, 5, 1);
        let log = folder.join("logs/20210322.log");
        fs::write(&log, &bytes).unwrap();
        let mut variables = vec![
            ("TALLYD_FAULT_LOG", log.to_str().unwrap().to_owned()),
            ("TALLYD_FAULT_ADDRESS", address.clone()),
        ];
        variables.extend(token.then(|| ("TALLYD_TOKEN", TOKEN.to_owned())));
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let daemon = Daemon::start_with_fault(folder, "escape-api", &variables, &["--sandbox", setting]);
        daemon.wait_for("20210322.log", truth);
        fs::write(daemon.folder.join("faults/escape-api"), b"").unwrap();
        if setting == "off" {
            // It becomes another program, and another api takes its place.
            let _ = daemon.ask("GET", "/api/v1/report", &[]);
            fs::remove_file(daemon.folder.join("faults/escape-api")).unwrap();
            wait_until("there is another api", || (daemon.restarts("api") > 0).then_some(()));
            continue;
        }
        assert_eq!(daemon.reported("20210322.log"), Some((truth.total, truth.ip)));
        let journal = daemon.journal();
        for (by, refused) in [("read", true), ("write", !token), ("connect", true), ("exec", true)] {
            let line = journal
                .lines()
                .find(|line| {
                    line.contains("escape") && line.split(' ').any(|word| word == format!("by={by}"))
                })
                .unwrap();
            assert_eq!(line.contains("could not escape"), refused, "{line}");
        }
        assert_eq!(daemon.restarts("api"), 0);
    }
}

/// Rights are for a folder, not for its name: the api read nothing of a state folder that was made again.
#[test]
fn the_api_reads_a_state_folder_that_was_made_again() {
    let daemon = Daemon::start(&[]);
    let (bytes, truth) = block(10, 5, 1);
    fs::write(daemon.log("20210322.log"), &bytes).unwrap();
    let range = || {
        daemon.ask("GET", "/api/v1/range", &[]).filter(|(status, ..)| *status == 200).map(|(.., body)| body)
    };
    let right = || range().filter(|body| body.contains(&format!("\"requests\":{},", truth.total)));
    wait_until("the range is right", right);
    fs::rename(daemon.folder.join("state"), daemon.folder.join("old")).unwrap();
    fs::create_dir(daemon.folder.join("state")).unwrap();
    let (more, both) = block(20, 9, 2);
    fs::write(daemon.log("20210323.log"), &more).unwrap();
    wait_until("the range has both logs", || {
        range().filter(|body| body.contains(&format!("\"requests\":{},", truth.total + both.total)))
    });
}

#[test]
fn workers_have_limits_whatever_the_sandbox() {
    for setting in ["auto", "off"] {
        let daemon = Daemon::start(&["--sandbox", setting]);
        let worker = wait_until("there is a worker", || daemon.pids("worker").first().copied());
        let limit = |name: &str| {
            let limits = fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
            let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
            line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
        };
        wait_until("its limits are set", || (limit("Max core file size") == "0 0").then_some(()));
        assert_eq!(
            (limit("Max open files"), limit("Max file size")),
            ("64 64".to_owned(), format!("{} {}", 1 << 30, 1 << 30))
        );
        assert!(!limit("Max address space").contains("unlimited"));
        wait_until("it goes first", || {
            (fs::read_to_string(format!("/proc/{worker}/oom_score_adj")).unwrap().trim() == "500")
                .then_some(())
        });
        let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        if setting == "off" {
            assert!(status.contains("NoNewPrivs:\t0") && status.contains("Seccomp:\t0"), "{status}");
        }
    }
}

#[test]
fn what_is_required_and_not_there_is_refused() {
    if !has_walls() {
        return;
    }
    // A system without Landlock, like an old kernel or a strict container.
    let without =
        [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_restrict_self].map(|call| (call, Vec::new()));
    let filter = SeccompFilter::new(
        BTreeMap::from(without),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let filter: BpfProgram = filter.unwrap().try_into().unwrap();
    let folder = Folder::new();
    fs::create_dir(folder.join("logs")).unwrap();
    let start = |setting: &str| {
        let filter = filter.clone();
        let mut command = tallyd();
        command
            .args([
                "serve",
                "--logs",
                "logs",
                "--state",
                "state",
                "--listen",
                "127.0.0.1:0",
                "--sandbox",
                setting,
            ])
            .current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: the filter is made; to install it takes two system calls.
        unsafe { command.pre_exec(move || apply_filter(&filter).map_err(std::io::Error::other)) };
        command.spawn().unwrap()
    };
    let refused = start("require").wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("sandbox: require, but this system does not provide Landlock; let the kernel")
            && said.contains("or set --sandbox auto"),
        "{said}"
    );
    let mut daemon = start("auto");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(daemon.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert!(line.starts_with("tallyd listening on "), "{line}");
    support::signal(daemon.id().cast_signed(), libc::SIGTERM);
    let said = daemon.wait_with_output().unwrap();
    assert!(
        String::from_utf8_lossy(&said.stderr)
            .contains("this system does not provide Landlock: the sandbox of the processes is seccomp")
    );
}
