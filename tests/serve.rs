//! The daemon as its users meet it: settings, folders, the API, growing logs.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Output;
use std::time::{Duration, SystemTime};

use serde_json::json;
use support::{Daemon, Folder, Truth, block, tallyd, wait_until};

const LINE: &str = "1.2.3.4 - - [22/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12\n";

fn append(daemon: &Daemon, name: &str, bytes: &[u8]) {
    File::options().append(true).create(true).open(daemon.log(name)).unwrap().write_all(bytes).unwrap();
}

fn truth(total: u64, ip: u64) -> Truth {
    Truth { total, ip }
}

/// Runs `tallyd serve` where it cannot start.
fn refused(folder: &Folder, options: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let Output { status, stderr, stdout } = tallyd()
        .arg("serve")
        .args(options)
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(stdout, b"");
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

fn check_refused(options: &[&str], code: i32, words: &[&str]) {
    let folder = Folder::new();
    fs::create_dir(folder.join("logs")).unwrap();
    fs::write(folder.join("file"), b"").unwrap();
    fs::write(folder.join("bad.toml"), "logs = [\"logs\"]\nworker = 3\n").unwrap();
    let (got, stderr) = refused(&folder, options, &[]);
    assert_eq!(got, code, "{options:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{options:?}: {stderr:?} does not say {word:?}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn what_cannot_be_started_says_why_in_a_sentence() {
    check_refused(&["--workers", "0"], 2, &["--workers", "0 is not within 1 to 256"]);
    check_refused(&["--workers", "many"], 2, &["--workers", "many"]);
    check_refused(&["--frobnicate"], 2, &["--frobnicate"]);
    check_refused(&["--config", "missing.toml"], 2, &["missing.toml", "No such file"]);
    check_refused(&["--config", "bad.toml"], 2, &["bad.toml:2", "worker", "workers"]);
    check_refused(&["--listen", "0.0.0.0:0"], 2, &["--insecure-no-auth", "TALLYD_READ_TOKEN", "0.0.0.0:0"]);
    check_refused(&["--logs", "nowhere"], 3, &["nowhere", "--logs"]);
    check_refused(&["--logs", "file"], 3, &["file"]);
    check_refused(&["--logs", "logs", "--state", "file"], 4, &["state folder file", "--state"]);
    check_refused(
        &["--logs", "logs", "--listen", "203.0.113.7:1", "--insecure-no-auth"],
        5,
        &["203.0.113.7:1", "--listen"],
    );
}

#[test]
fn a_mistyped_command_is_refused_with_the_nearest_one() {
    let folder = Folder::new();
    fs::write(folder.join("access.log"), LINE).unwrap();
    for (words, said) in [
        (&["conut", "files"][..], "`conut` is neither a command nor a folder: did you mean `tallyd count`?"),
        (&["staus"], "`staus` is neither a command nor a folder: did you mean `tallyd status`?"),
        (&["hlep"], "did you mean `tallyd help`?"),
        (&["frobnicate"], "`frobnicate` is neither a command nor a folder; `tallyd help` lists the commands"),
        (&["--recursive", "status"], "put the command first: `tallyd status`"),
        (
            &["access.log"],
            "access.log is a file, not a folder: `tallyd count access.log` counts a file once, `tallyd serve --logs DIR`",
        ),
        (&["serve", "access.log"], "access.log is a file, not a folder"),
        (&["--log-format", "json"], "`--log-format` is now called `--journal-format`"),
        (&["serve", "--log-format=json"], "`--log-format` is now called `--journal-format`"),
    ] {
        let output = tallyd().args(words).current_dir(folder.path()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.as_slice(), stderr.lines().count()),
            (Some(2), &b""[..], 1),
            "{words:?}: {stderr}"
        );
        assert!(stderr.starts_with("tallyd: ") && stderr.contains(said), "{words:?}: {stderr}");
    }
    // A path, or a word after `serve`, is a folder.
    for words in [&["./conut"][..], &["serve", "conut"]] {
        let output = tallyd().args(words).current_dir(folder.path()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(3) && stderr.contains("cannot watch the log folder"),
            "{words:?}: {stderr}"
        );
    }
}

#[test]
fn an_old_name_of_a_setting_is_refused_with_the_new_one() {
    let folder = Folder::new();
    fs::write(folder.join("old.toml"), "workers = 2\nlog_format = \"json\"\n").unwrap();
    let (code, stderr) = refused(&folder, &["--config", "old.toml"], &[]);
    assert_eq!(
        (code, stderr.as_str()),
        (2, "tallyd: old.toml:2: `log_format` is now called `journal_format`: use the new name\n")
    );
    let (code, stderr) = refused(&folder, &[], &[("TALLYD_LOG_FORMAT", "json")]);
    assert_eq!(
        (code, stderr.as_str()),
        (2, "tallyd: `TALLYD_LOG_FORMAT` is now called `TALLYD_JOURNAL_FORMAT`: use the new name\n")
    );
}

#[test]
fn a_variable_that_is_no_setting_is_mentioned() {
    let daemon = Daemon::start_in(Folder::new(), &[], &[("TALLYD_WORKER", "3"), ("TALLYD_FROBNICATE", "1")]);
    let journal = daemon.journal();
    assert!(
        journal.contains("TALLYD_WORKER is not a setting and has no effect; did you mean TALLYD_WORKERS?"),
        "{journal}"
    );
    assert!(
        journal.contains(
            "TALLYD_FROBNICATE is not a setting and has no effect; `tallyd serve --help` lists the settings"
        ),
        "{journal}"
    );
}

/// A folder with these subfolders, each with a log of one line.
fn folder_with(names: &[&str]) -> Folder {
    let folder = Folder::new();
    for name in names {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("a.log"), LINE.replace("1.2.3.4", name)).unwrap();
    }
    folder
}

#[test]
fn a_folder_on_the_command_line_is_watched() {
    let daemon = Daemon::start_with_words(folder_with(&["web"]), &["web"], &[]);
    daemon.wait_for("a.log", truth(1, 1));
    let folder = daemon.end(libc::SIGTERM);
    fs::write(folder.join("tallyd.toml"), "logs = \"files\"\n").unwrap();
    // Folders of the command line add up, and replace those of the environment and of the file.
    for part in ["web2", "web3"] {
        fs::create_dir(folder.join(part)).unwrap();
        fs::write(folder.join(part).join("b.log"), LINE.replace("1.2.3.4", part)).unwrap();
    }
    let words = ["serve", "--config", "tallyd.toml", "--logs", "web3", "web", "web2"];
    let daemon = Daemon::start_with_words(folder, &words, &[("TALLYD_LOGS", "nowhere")]);
    for name in ["web/a.log", "web2/b.log", "web3/b.log"] {
        daemon.wait_for(name, truth(1, 1));
    }
    assert_eq!(daemon.get("/api/v1/files")["files"].as_array().unwrap().len(), 3);
}

#[test]
fn a_folder_in_the_file_may_be_a_single_text() {
    let folder = folder_with(&["web"]);
    fs::write(folder.join("web/b.log"), LINE).unwrap();
    fs::write(
        folder.join("tallyd.toml"),
        "logs = \"web\"\ninclude = \"a*\"\nallowed_hosts = \"stats.example.org\"\n",
    )
    .unwrap();
    let daemon = Daemon::start_with_words(folder, &["--config", "tallyd.toml"], &[]);
    daemon.wait_for("a.log", truth(1, 1));
    assert_eq!(daemon.reported("b.log"), None);
    assert_eq!(
        daemon.ask("GET", "/healthz", &[("host", "stats.example.org")]).map(|(status, ..)| status),
        Some(200)
    );
}

#[test]
fn without_a_folder_files_is_watched() {
    let daemon = Daemon::start_with_words(folder_with(&["files"]), &[], &[]);
    daemon.wait_for("a.log", truth(1, 1));
}

#[test]
fn a_bad_variable_is_refused_too() {
    let folder = Folder::new();
    let (code, stderr) = refused(&folder, &[], &[("TALLYD_WORKERS", "many")]);
    assert_eq!(code, 2);
    assert!(stderr.contains("many"), "{stderr}");
}

#[test]
fn a_busy_port_and_a_busy_state_folder_are_named() {
    let daemon = Daemon::start(&[]);
    let address = daemon.url("").strip_prefix("http://").unwrap().to_owned();
    let (code, stderr) =
        refused(&daemon.folder, &["--logs", "logs", "--state", "other", "--listen", &address], &[]);
    assert_eq!(code, 5);
    assert!(stderr.contains(&address) && stderr.contains("another program listens there"), "{stderr}");
    let (code, stderr) =
        refused(&daemon.folder, &["--logs", "logs", "--state", "state", "--listen", "127.0.0.1:0"], &[]);
    assert_eq!(code, 4);
    assert!(stderr.contains(&format!("another tallyd (pid {})", daemon.pid())), "{stderr}");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = Folder::new();
    fs::write(folder.join("tallyd.toml"), "workers = 5\njournal_format = \"json\"\nlog_level = \"debug\"\n")
        .unwrap();
    let daemon = Daemon::start_in(
        folder,
        &["--config", "tallyd.toml"],
        &[("TALLYD_WORKERS", "3"), ("TALLYD_LOG_LEVEL", "info")],
    );
    assert_eq!(daemon.pids("worker").len(), 2);
    let journal = daemon.journal();
    let first: serde_json::Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["role"], &first["level"], first["pid"].as_i64()),
        (&json!("supervisor"), &json!("info"), Some(daemon.pid().into()))
    );
    assert!(!journal.contains("\"debug\""), "{journal}");
}

#[test]
fn the_first_report_of_the_samples() {
    let folder = Folder::new();
    fs::create_dir(folder.join("logs")).unwrap();
    for name in ["20210322.log", "20210323.log", "access-2021-03-24.log"] {
        fs::copy(
            concat!(env!("CARGO_MANIFEST_DIR"), "/files/").to_owned() + name,
            folder.join("logs").join(name),
        )
        .unwrap();
    }
    let daemon = Daemon::start_in(folder, &[], &[]);
    daemon.wait_for("access-2021-03-24.log", truth(250, 40));
    let report = json!({"20210322.log": {"total": 401, "ip": 61}, "20210323.log": {"total": 301, "ip": 48}, "access-2021-03-24.log": {"total": 250, "ip": 40}});
    assert_eq!(daemon.get("/api/v1/report"), report);
    let days = daemon.get("/api/v1/days");
    let days: Vec<_> = days["days"]
        .as_array()
        .unwrap()
        .iter()
        .map(|day| (day["day"].as_str().unwrap(), day["requests"].as_u64().unwrap()))
        .collect();
    assert_eq!(days, [("2021-03-22", 401), ("2021-03-23", 301), ("2021-03-24", 200), ("2021-03-25", 50)]);
    let file = daemon.file("access-2021-03-24.log").unwrap();
    let whole = daemon.get(&format!("/api/v1/files/{}", file["id"].as_str().unwrap()));
    assert_eq!(
        whole["days"]
            .as_array()
            .unwrap()
            .iter()
            .map(|day| day["requests"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [200, 50]
    );
    assert_eq!(whole["quarantine"], json!([]));
    for (name, value) in file.as_object().unwrap() {
        assert_eq!(&whole[name], value, "{name}");
    }
}

#[test]
fn the_processes_are_there_under_their_names() {
    let daemon = Daemon::start(&[]);
    let title = |pid: i32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .unwrap()
            .split(|byte| *byte == 0)
            .next()
            .map(|title| String::from_utf8_lossy(title).into_owned())
    };
    let daemon_is = format!("logs on {}", daemon.url("").trim_start_matches("http://"));
    assert_eq!(title(daemon.pid()), Some(format!("tallyd: supervisor {daemon_is}")));
    assert_eq!(title(daemon.pids("coordinator")[0]), Some(format!("tallyd: coordinator {daemon_is}")));
    assert_eq!(title(daemon.pids("api")[0]), Some(format!("tallyd: api {daemon_is}")));
    let workers = daemon.pids("worker");
    assert_eq!(
        [title(workers[0]), title(workers[1])].map(Option::unwrap),
        [0, 1].map(|number| format!("tallyd: worker {number} {daemon_is}"))
    );
    let threads = |pid: i32| fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    assert_eq!(threads(daemon.pid()), 1);
    let status = daemon.get("/api/v1/status");
    let processes = status["processes"].as_array().unwrap();
    let roles: Vec<_> = processes.iter().map(|process| process["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["supervisor", "coordinator", "api", "worker", "worker"]);
    for process in processes {
        assert!(
            process["pid"].is_i64() && process["state"].is_string() && process["restarts"] == 0,
            "{process}"
        );
    }
}

#[test]
fn a_growing_log_is_counted_on_and_half_a_line_waits() {
    let daemon = Daemon::start(&[]);
    append(&daemon, "access.log", LINE.as_bytes());
    daemon.wait_for("access.log", truth(1, 1));
    append(&daemon, "access.log", b"5.6.7.8 - - [22/Mar/2021:06:25:24 +0100] half");
    append(&daemon, "other.log", LINE.as_bytes());
    daemon.wait_for("other.log", truth(1, 1));
    daemon.wait_for("access.log", truth(1, 1)); // and nothing is pending
    append(&daemon, "access.log", format!(" of it\n{LINE}").as_bytes());
    daemon.wait_for("access.log", truth(3, 2));
    assert_eq!(daemon.file("access.log").unwrap()["state"], "live");
}

#[test]
fn half_a_line_counts_when_its_log_is_final() {
    let daemon = Daemon::start(&["--final-after-s", "5"]);
    fs::write(daemon.log("access.log"), format!("{LINE}half a line")).unwrap();
    daemon.wait_for("access.log", truth(1, 1));
    let old = SystemTime::now() - Duration::from_secs(60);
    File::options().write(true).open(daemon.log("access.log")).unwrap().set_modified(old).unwrap();
    daemon.wait_for("access.log", truth(2, 2));
    assert_eq!(daemon.file("access.log").unwrap()["state"], "final");
    // It goes on after all: the half line was a whole one once, so the log is counted afresh.
    append(&daemon, "access.log", b" that goes on\n");
    daemon.wait_for("access.log", truth(2, 2));
    append(&daemon, "access.log", LINE.as_bytes());
    daemon.wait_for("access.log", truth(3, 2));
}

#[test]
fn a_log_that_is_truncated_or_rewritten_is_counted_afresh() {
    let daemon = Daemon::start(&[]);
    fs::write(daemon.log("20210322.log"), LINE.repeat(1000)).unwrap();
    daemon.wait_for("20210322.log", truth(1000, 1));
    fs::write(daemon.log("20210322.log"), LINE.repeat(3)).unwrap();
    daemon.wait_for("20210322.log", truth(3, 1));
    // As long as before, and longer, with other lines: seen by what stands before the end.
    let other = LINE.replace("1.2.3.4", "9.8.7.6");
    fs::write(daemon.log("20210322.log"), format!("{LINE}{other}{other}")).unwrap();
    daemon.wait_for("20210322.log", truth(3, 2));
    fs::write(daemon.log("20210322.log"), LINE.repeat(40)).unwrap();
    daemon.wait_for("20210322.log", truth(40, 1));
}

#[test]
fn names_change_and_logs_go() {
    let daemon = Daemon::start(&[]);
    fs::write(daemon.log("access.log"), format!("{LINE}junk\n")).unwrap();
    daemon.wait_for("access.log", truth(2, 2));
    assert_eq!(daemon.get("/api/v1/days/undated")["requests"], 1);
    // Under its new name its malformed lines belong to the day of that name.
    fs::rename(daemon.log("access.log"), daemon.log("access.log-20210401")).unwrap();
    daemon.wait_for("access.log-20210401", truth(2, 2));
    assert_eq!(daemon.get("/api/v1/days/2021-04-01")["requests"], 1);
    assert_eq!(daemon.ask("GET", "/api/v1/days/undated", &[]).unwrap().0, 404);
    assert_eq!(daemon.reported("access.log"), None);
    // A log that is gone is in its days still, but not in the report.
    fs::remove_file(daemon.log("access.log-20210401")).unwrap();
    wait_until("it is gone", || daemon.reported("access.log-20210401").is_none().then_some(()));
    assert_eq!(daemon.file("access.log-20210401").unwrap()["state"], "gone");
    assert_eq!(daemon.get("/api/v1/days/2021-03-22")["requests"], 1);
    // Another log under a name with a date takes its place.
    fs::write(daemon.log("access.log-20210401"), LINE.repeat(5)).unwrap();
    daemon.wait_for("access.log-20210401", truth(5, 1));
    assert_eq!(daemon.get("/api/v1/days/2021-03-22")["requests"], 5);
}

#[test]
fn days_unite_the_clients_of_their_logs() {
    let daemon = Daemon::start(&[]);
    let (bytes, one) = block(5_000, 500, 1);
    fs::write(daemon.log("a.log"), &bytes).unwrap();
    daemon.wait_for("a.log", one);
    // A second web server with the same visitors. (With the very same lines it would be a copy.)
    let other = [b"::1 - - [22/Mar/2021:06:25:24 +0100] x\n", &bytes[..]].concat();
    fs::write(daemon.log("b.log"), other).unwrap();
    daemon.wait_for("b.log", truth(one.total + 1, one.ip + 1));
    let day = daemon.get("/api/v1/days/2021-03-22");
    assert_eq!(
        (day["requests"].as_u64(), day["unique_ips"].as_u64(), day["ipv6"].as_u64()),
        (Some(one.total * 2 + 1), Some(one.ip + 1), Some(1))
    );
    assert_eq!((day["files"].as_u64(), day["complete"].as_bool()), (Some(2), Some(true)));
}

#[test]
fn what_is_no_log_is_left_out() {
    let daemon = Daemon::start(&[]);
    for name in [".hidden.log", "x.log.tmp", "upload.part", "20210322.log~"] {
        fs::write(daemon.log(name), LINE).unwrap();
    }
    fs::create_dir(daemon.log("folder.log")).unwrap();
    nix::unistd::mkfifo(&daemon.log("pipe.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", daemon.log("link.log")).unwrap();
    fs::write(daemon.log("packed.log"), b"\x1f\x8b\x08\0\0\0\0\0\0\0").unwrap();
    append(&daemon, "20210322.log", LINE.as_bytes());
    daemon.wait_for("20210322.log", truth(1, 1));
    // A compressed log that holds nothing is a log, and damaged.
    wait_until("the gz file is looked at", || {
        daemon.file("packed.log").filter(|file| file["reason"].is_string())
    });
    assert_eq!(
        daemon.get("/api/v1/report"),
        json!({"20210322.log": {"total": 1, "ip": 1}, "packed.log": {"total": 0, "ip": 0}})
    );
    let left_out = |name: &str| daemon.file(name).map(|file| (file["state"].clone(), file["reason"].clone()));
    for (name, reason) in [
        ("pipe.log", "not a regular file"),
        ("link.log", "a link to a file outside the watched folder"),
        (".hidden.log", "a hidden file"),
        ("x.log.tmp", "a temporary name"),
    ] {
        assert_eq!(left_out(name), Some((json!("skipped"), json!(format!("skipped: {reason}")))), "{name}");
    }
    assert_eq!(daemon.get("/api/v1/status")["skipped"], 7);
}

#[test]
fn names_of_any_bytes_are_shown_and_nothing_raw_is_said() {
    let daemon = Daemon::start(&["--log-level", "debug"]);
    let name = std::ffi::OsStr::from_bytes(b"a\xff\x1b[2J\"\n<b>.log");
    fs::write(daemon.logs().join(name), LINE).unwrap();
    daemon.wait_for("a\\xff\u{1b}[2J\"\n<b>.log", truth(1, 1));
    wait_until("the journal names it", || daemon.journal().contains("<b>.log").then_some(()));
    assert!(!daemon.journal().contains('\u{1b}'));
}

/// Though the folders are looked at rarely, one that is away is looked for soon.
#[test]
fn a_folder_that_cannot_be_read_for_a_while_loses_nothing() {
    let daemon = Daemon::start(&["--scan-every-ms", "600000"]);
    append(&daemon, "20210322.log", LINE.as_bytes());
    daemon.wait_for("20210322.log", truth(1, 1));
    fs::rename(daemon.logs(), daemon.folder.join("away")).unwrap();
    let degraded = wait_until("status says so", || daemon.get("/api/v1/status")["degraded"].get(0).cloned());
    assert!(degraded.as_str().unwrap().contains("cannot read"), "{degraded}");
    assert_eq!(daemon.reported("20210322.log"), Some((1, 1)));
    fs::rename(daemon.folder.join("away"), daemon.logs()).unwrap();
    append(&daemon, "20210322.log", LINE.as_bytes());
    daemon.wait_for("20210322.log", truth(2, 1));
    assert_eq!(daemon.get("/api/v1/status")["degraded"], json!([]));
}

#[test]
fn more_logs_than_rows_is_said_and_days_stay_right() {
    let daemon = Daemon::start(&["--board-logs", "2"]);
    for name in ["a.log", "b.log", "c.log"] {
        fs::write(daemon.log(name), LINE.replace('\n', &format!(" {name}\n"))).unwrap();
    }
    wait_until("all are counted", || {
        daemon
            .ask("GET", "/api/v1/days/2021-03-22", &[])
            .filter(|(_, _, body)| body.contains("\"requests\":3,"))
    });
    assert_eq!(daemon.get("/api/v1/files")["files"].as_array().unwrap().len(), 2);
    assert!(daemon.get("/api/v1/status")["degraded"][0].as_str().unwrap().contains("board_logs"));
}

#[test]
fn the_other_rule() {
    let daemon = Daemon::start(&["--client-rule", "before-dashes"]);
    append(&daemon, "a.log", b"1.2.3.4 - frank [22/Mar/2021:06:25:24 +0100] one\n1.2.3.4 - frank [22/Mar/2021:06:25:24 +0100] two\n");
    daemon.wait_for("a.log", truth(2, 2));
}

#[test]
fn several_folders_put_their_names_in_front() {
    let folder = Folder::new();
    for name in ["web1", "web2"] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("20210322.log"), LINE).unwrap();
    }
    let daemon = Daemon::start_in(folder, &["--logs", "web1", "--logs", "web2"], &[]);
    daemon.wait_for("web1/20210322.log", truth(1, 1));
    daemon.wait_for("web2/20210322.log", truth(1, 1));
    assert_eq!(daemon.get("/api/v1/days/2021-03-22")["requests"], 2);
}

// The API's manners.

#[test]
fn every_answer_has_its_headers() {
    let daemon = Daemon::start(&[]);
    for (method, path, want) in [
        ("GET", "/api/v1/report", 200),
        ("HEAD", "/api/v1/report", 200),
        ("GET", "/healthz", 200),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/files/0000000000000000", 404),
        ("GET", "/api/v1/days/2021-03-22", 404),
        ("GET", "/api/v1/days/2021-02-30", 400),
        ("GET", "/api/v1/days?from=2021-03-23&to=2021-03-22", 400),
        ("GET", "/api/v1/days?from=yesterday&to=today", 200),
        ("GET", "/api/v1/days?from=2021-03&to=2021-03", 200),
        ("GET", "/api/v1/days?from=2021-13", 400),
        ("GET", "/api/v1/days?from=tomorrow", 400),
        ("GET", "/api/v1/days?day=2021-03-22", 400),
        ("GET", "/api/v1/report?x=1", 400),
        ("GET", "/api/v1/status?x", 400),
        ("GET", "/api/v1/files?limit=0", 400),
        ("GET", "/api/v1/files?limit=x", 400),
        ("GET", "/api/v1/files?cursor=x", 400),
        ("GET", "/api/v1/files?day=x", 400),
        ("POST", "/api/v1/report", 405),
        ("DELETE", "/healthz", 405),
    ] {
        let (status, headers, body) = daemon.ask(method, path, &[]).unwrap();
        assert_eq!(status, want, "{method} {path}: {body}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{method} {path}");
        if want >= 400 {
            assert_eq!(headers["content-type"], "application/problem+json", "{method} {path}");
            let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(problem["status"], want, "{problem}");
            assert!(
                ["code", "title", "detail"]
                    .iter()
                    .all(|field| problem[*field].as_str().is_some_and(|text| !text.is_empty())),
                "{problem}"
            );
        }
        if want == 405 {
            assert!(headers["allow"].to_str().unwrap().contains("GET"), "{method} {path}");
        }
    }
}

#[test]
fn an_answer_has_a_tag_that_changes_with_the_numbers() {
    let daemon = Daemon::start(&[]);
    append(&daemon, "a.log", LINE.as_bytes());
    daemon.wait_for("a.log", truth(1, 1));
    for path in ["/api/v1/report", "/api/v1/files", "/api/v1/days", "/api/v1/days/2021-03-22"] {
        // What is counted is stored a moment later, which is a change too.
        wait_until("nothing changes any more", || {
            let (_, headers, _) = daemon.ask("GET", path, &[]).unwrap();
            let tag = headers["etag"].to_str().unwrap().to_owned();
            let (status, headers, body) = daemon.ask("GET", path, &[("if-none-match", &tag)]).unwrap();
            assert_eq!(
                (status == 304, body.is_empty()),
                (headers["etag"].to_str().unwrap() == tag, status == 304),
                "{path}"
            );
            (status == 304).then_some(())
        });
    }
    let (_, headers, _) = daemon.ask("GET", "/api/v1/report", &[]).unwrap();
    let tag = headers["etag"].to_str().unwrap().to_owned();
    append(&daemon, "a.log", LINE.as_bytes());
    daemon.wait_for("a.log", truth(2, 1));
    assert_eq!(daemon.ask("GET", "/api/v1/report", &[("if-none-match", &tag)]).unwrap().0, 200);
}

#[test]
fn files_come_in_pages_and_by_day() {
    let daemon = Daemon::start(&[]);
    for number in 1..=5 {
        fs::write(daemon.log(&format!("{number}.log")), LINE.replace("22/Mar", &format!("2{number}/Mar")))
            .unwrap();
    }
    wait_until("all are counted", || {
        (daemon.get("/api/v1/days")["days"].as_array().unwrap().len() == 5).then_some(())
    });
    let mut names = Vec::new();
    let mut path = "/api/v1/files?limit=2".to_owned();
    loop {
        let page = daemon.get(&path);
        names.extend(
            page["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/files?limit=2&cursor={next}");
    }
    assert_eq!(names, ["1.log", "2.log", "3.log", "4.log", "5.log"]);
    let of_day = daemon.get("/api/v1/files?day=2021-03-23");
    assert_eq!(
        (of_day["files"][0]["name"].as_str(), of_day["files"].as_array().unwrap().len()),
        (Some("3.log"), 1)
    );
    let range = daemon.get("/api/v1/days?from=2021-03-22&to=2021-03-23");
    assert_eq!(
        range["days"].as_array().unwrap().iter().map(|day| day["day"].as_str().unwrap()).collect::<Vec<_>>(),
        ["2021-03-22", "2021-03-23"]
    );
}

#[test]
fn ready_means_counted_once() {
    let folder = Folder::new();
    for part in ["logs", "faults"] {
        fs::create_dir(folder.join(part)).unwrap();
    }
    fs::write(folder.join("faults/pause"), b"").unwrap();
    fs::write(folder.join("logs/20210322.log"), LINE).unwrap();
    let daemon = Daemon::start_with_fault(folder, "pause", &[], &[]);
    assert_eq!(daemon.ask("GET", "/readyz", &[]).unwrap().0, 503);
    assert_eq!(daemon.ask("GET", "/healthz", &[]).unwrap().0, 200);
    fs::remove_file(daemon.folder.join("faults/pause")).unwrap();
    wait_until("it is ready", || (daemon.ask("GET", "/readyz", &[]).unwrap().0 == 200).then_some(()));
    assert_eq!(daemon.reported("20210322.log"), Some((1, 1)));
}

/// The api had forgotten it, and looked at the logs that were there now.
#[test]
fn ready_stays_when_processes_die_while_a_new_log_is_counted() {
    let daemon = Daemon::start_with_fault(Folder::new(), "pause", &[], &[]);
    append(&daemon, "a.log", LINE.as_bytes());
    daemon.wait_for("a.log", truth(1, 1));
    wait_until("it is ready", || (daemon.ask("GET", "/readyz", &[])?.0 == 200).then_some(()));
    fs::write(daemon.folder.join("faults/pause"), b"").unwrap();
    // There at once: an empty one would be counted to its end.
    fs::write(daemon.folder.join("b.log"), LINE.replace("1.2.3.4", "5.6.7.8").repeat(3)).unwrap();
    fs::rename(daemon.folder.join("b.log"), daemon.log("b.log")).unwrap();
    let is_counting = || daemon.file("b.log").filter(|file| file["state"] == "counting").map(drop);
    wait_until("a new log is being counted", is_counting);
    for role in ["api", "coordinator"] {
        support::signal(daemon.pids(role)[0], libc::SIGKILL);
        wait_until("it is there again", || {
            (daemon.restarts(role) == 1 && daemon.get("/api/v1/status")["pending_bytes"].as_u64() > Some(0))
                .then_some(())
        });
        wait_until("a new log is still being counted", is_counting);
        let (status, _, body) = wait_until("an answer", || daemon.ask("GET", "/readyz", &[]));
        assert_eq!((status, body.as_str()), (200, "ready\n"), "after the death of the {role}");
    }
}

#[test]
fn status_and_healthcheck_ask_the_running_daemon() {
    let daemon = Daemon::start(&[]);
    append(&daemon, "a.log", LINE.as_bytes());
    daemon.wait_for("a.log", truth(1, 1));
    let address = daemon.url("").strip_prefix("http://").unwrap().to_owned();
    let run = |words: &[&str]| tallyd().args(words).args(["--listen", &address]).output().unwrap();
    let page = String::from_utf8(run(&["status"]).stdout).unwrap();
    assert!(
        page.contains("everything is counted") && page.contains("worker 1") && page.contains(", 1 log, "),
        "{page}"
    );
    let status: serde_json::Value = serde_json::from_slice(&run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["pending_bytes"], 0);
    assert!(run(&["healthcheck"]).status.success());
    let nobody = tallyd().args(["healthcheck", "--listen", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8(nobody.stderr).unwrap().contains("no answer from a tallyd at 127.0.0.1:1"));
}

#[test]
fn a_client_that_sends_no_head_is_let_go() {
    use std::io::Read;
    let daemon = Daemon::start(&[]);
    let address = daemon.url("").strip_prefix("http://").unwrap().to_owned();
    let mut silent = std::net::TcpStream::connect(address).unwrap();
    silent.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = Vec::new();
    silent.read_to_end(&mut answer).unwrap(); // ends, where a server without a timeout for heads would wait for ever
}

// Bugs, each by its name.

/// A file got the inode of a gz file that was removed, and was taken for compressed for ever.
#[test]
fn a_log_on_the_inode_of_a_removed_gz_file_is_counted() {
    let daemon = Daemon::start(&[]);
    // Whether the file system gives the inode again is its own choice: a rewrite in place is sure to keep it.
    let gz = daemon.log("old.log");
    fs::write(&gz, b"\x1f\x8b\x08\0\0\0\0\0\0\x03").unwrap();
    wait_until("it was looked at", || daemon.file("old.log").filter(|file| file["reason"].is_string()));
    fs::write(&gz, b"1.1.1.1 - - [22/Mar/2021:06:25:24 +0100] x\n").unwrap();
    fs::rename(&gz, daemon.log("new.log")).unwrap();
    daemon.wait_for("new.log", truth(1, 1));
}

/// A log that was moved out of the folder and back was counted as another one, and its lines twice.
#[test]
fn a_log_that_was_away_counts_once() {
    let daemon = Daemon::start(&[]);
    append(&daemon, "access.log", b"1.1.1.1 - - [22/Mar/2021:06:25:24 +0100] x\n");
    daemon.wait_for("access.log", truth(1, 1));
    let away = daemon.folder.join("away.log");
    fs::rename(daemon.log("access.log"), &away).unwrap();
    wait_until("it is gone", || daemon.file("access.log").filter(|file| file["state"] == "gone"));
    fs::rename(&away, daemon.log("access.log")).unwrap();
    append(&daemon, "access.log", b"2.2.2.2 - - [22/Mar/2021:06:25:24 +0100] x\n");
    daemon.wait_for("access.log", truth(2, 2));
    assert_eq!(daemon.get("/api/v1/days/2021-03-22")["requests"], 2);
    assert_eq!(daemon.get("/api/v1/files")["files"].as_array().unwrap().len(), 1);
}

/// A log that was rewritten was judged by its last KiB alone.
#[test]
fn a_log_that_is_rewritten_with_the_same_end_is_another_one() {
    let daemon = Daemon::start(&[]);
    let end = b"7.7.7.7 - - [22/Mar/2021:06:25:24 +0100] health\n".repeat(40);
    let log = |first: &[u8]| [&first.repeat(100)[..], &end].concat();
    fs::write(daemon.log("access.log"), log(b"1.2.3.4 - - [22/Mar/2021:06:25:24 +0100] x\n")).unwrap();
    daemon.wait_for("access.log", truth(140, 2));
    fs::write(daemon.log("access.log"), log(b"9.9.9.9 - - [23/Mar/2021:06:25:24 +0100] y\n")).unwrap();
    wait_until("it is counted", || {
        (daemon.get("/api/v1/days")["days"].as_array().unwrap().len() == 2).then_some(())
    });
    // A stream is rotated or emptied: what was counted of it was there, and stays.
    assert_eq!(daemon.get("/api/v1/days/2021-03-22")["requests"], 180);
    daemon.wait_for("access.log", truth(140, 2));
    // A day's log is the log of that day: what comes replaces what was there.
    fs::write(daemon.log("20210401.log"), log(b"1.2.3.4 - - [01/Apr/2021:06:25:24 +0100] x\n")).unwrap();
    daemon.wait_for("20210401.log", truth(140, 2));
    fs::write(daemon.log("20210401.log"), log(b"9.9.9.9 - - [02/Apr/2021:06:25:24 +0100] y\n")).unwrap();
    wait_until("it is replaced", || {
        (daemon
            .ask("GET", "/api/v1/days/2021-04-02", &[])
            .is_some_and(|(_, _, body)| body.contains("\"requests\":100,")))
        .then_some(())
    });
    assert!(!daemon.get("/api/v1/days").to_string().contains("2021-04-01"));
}

/// A folder that could be listed but not entered seemed empty, and its logs were counted again afterwards.
#[test]
fn a_folder_that_cannot_be_entered_for_a_while_loses_nothing() {
    let daemon = Daemon::start_as_nobody();
    append(&daemon, "access.log", b"1.1.1.1 - - [22/Mar/2021:06:25:24 +0100] x\n");
    daemon.wait_for("access.log", truth(1, 1));
    let allow = |mode| {
        fs::set_permissions(daemon.logs(), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap()
    };
    allow(0o444);
    wait_until("it is said", || (daemon.get("/api/v1/status")["degraded"][0].is_string()).then_some(()));
    assert_eq!(daemon.reported("access.log"), Some((1, 1)));
    allow(0o755);
    wait_until("it is over", || (daemon.get("/api/v1/status")["degraded"][0].is_null()).then_some(()));
    assert_eq!(daemon.get("/api/v1/days/2021-03-22")["requests"], 1);
}

#[test]
fn a_log_that_cannot_be_read_is_named_in_the_journal() {
    let daemon = Daemon::start_as_nobody();
    let allow = |mode| {
        fs::set_permissions(daemon.log("access.log"), std::os::unix::fs::PermissionsExt::from_mode(mode))
            .unwrap()
    };
    fs::write(daemon.log(".access.log"), "1.1.1.1 - - [22/Mar/2021:06:25:24 +0100] x\n").unwrap();
    fs::set_permissions(daemon.log(".access.log"), std::os::unix::fs::PermissionsExt::from_mode(0o000))
        .unwrap();
    fs::rename(daemon.log(".access.log"), daemon.log("access.log")).unwrap();
    if nix::unistd::geteuid().is_root() {
        let words = [
            "cannot read 1 log in /",
            "/logs (Permission denied; tallyd runs as ",
            "uid 65532",
            "setfacl -m u:65532:r LOG",
        ];
        wait_until("it is said", || words.iter().all(|word| daemon.journal().contains(word)).then_some(()));
    }
    wait_until("it is said", || daemon.get("/api/v1/status")["degraded"][0].is_string().then_some(()));
    allow(0o644);
    daemon.wait_for("access.log", truth(1, 1));
    assert_eq!(daemon.get("/api/v1/status")["degraded"], json!([]));
}

/// With many logs and days, one question for the logs of a day kept the api busy until it was taken for hung.
#[test]
fn the_logs_of_a_day_are_found_among_many() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("logs")).unwrap();
    let days: String =
        (1..=28).map(|day| format!("1.1.1.1 - - [{day:02}/Mar/2021:06:25:24 +0100] x\n")).collect();
    for number in 0..4_000 {
        fs::write(folder.join(&format!("logs/{number}.log")), &days).unwrap();
    }
    let daemon = Daemon::start_in(folder, &[], &[]);
    wait_until("all is counted", || (daemon.get("/api/v1/status")["pending_bytes"] == 0).then_some(()));
    let files = daemon.get("/api/v1/files?day=2021-03-22&limit=10000");
    assert_eq!(files["files"].as_array().unwrap().len(), 4_000);
    assert_eq!((daemon.restarts("api"), daemon.restarts("coordinator")), (0, 0));
}

/// Each new log was compared with every other one, so that the coordinator was taken for hung, again and
/// again.
#[test]
fn twenty_thousand_logs_are_counted() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("logs")).unwrap();
    for number in 0..20_000 {
        // Each has a line of its own; the very same line in all would be copies of one log.
        fs::write(
            folder.join(&format!("logs/{number}.log")),
            format!("10.0.{}.{} - - [22/Mar/2021:06:25:24 +0100] x\n", number / 256, number % 256),
        )
        .unwrap();
    }
    let daemon = Daemon::start_in(folder, &[], &[]);
    let requests = || {
        let (status, _, body) = daemon.ask("GET", "/api/v1/days/2021-03-22", &[])?;
        if status == 200 {
            serde_json::from_str::<serde_json::Value>(&body).unwrap()["requests"].as_u64()
        } else {
            None
        }
    };
    // However busy the machine is, it goes on.
    for thousand in 1..=20 {
        wait_until("a thousand more are counted", || requests().filter(|count| *count >= thousand * 1_000));
    }
    wait_until("all is counted", || (daemon.get("/api/v1/status")["pending_bytes"] == 0).then_some(()));
    assert_eq!(requests(), Some(20_000));
    assert_eq!(daemon.restarts("coordinator"), 0);
}
