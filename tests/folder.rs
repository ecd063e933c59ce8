//! What lies in the watched folders, and what the processes say about it: error logs, archives, doubtful and
//! unreadable logs, permissions, signals, titles.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::libc::{SIGTERM, SIGUSR1, SIGUSR2};
use serde_json::{Value, json};
use support::{Daemon, Folder, Truth, block, lives, signal, tallyd, wait_until};

const LINE: &str = "1.2.3.4 - - [22/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12\n";
const ONE: Truth = Truth { total: 1, ip: 1 };

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// A file that is in the watched folder as a whole, and with these permissions, from the moment it is there.
fn place(daemon: &Daemon, name: &str, bytes: &[u8], mode: u32) {
    let draft = daemon.folder.join("draft");
    fs::write(&draft, bytes).unwrap();
    allow(&draft, mode);
    fs::rename(draft, daemon.log(name)).unwrap();
}

/// The state and the reason of a file, once it is shown.
fn shown(daemon: &Daemon, name: &str) -> (String, Option<String>) {
    let file = wait_until("the file is shown", || daemon.file(name));
    (file["state"].as_str().unwrap().to_owned(), file["reason"].as_str().map(str::to_owned))
}

fn skipped(reason: &str) -> (String, Option<String>) {
    ("skipped".to_owned(), Some(format!("skipped: {reason}")))
}

fn degraded(daemon: &Daemon) -> Vec<String> {
    let status = daemon.get("/api/v1/status");
    status["degraded"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sentence| sentence.as_str().unwrap().to_owned())
        .collect()
}

fn lines_with<'a>(journal: &'a str, word: &str) -> Vec<&'a str> {
    journal.lines().filter(|line| line.contains(word)).collect()
}

/// Lines of a log in another format than tallyd reads: the time stamp comes first.
fn pod_lines(count: u64) -> String {
    (0..count)
        .map(|number| format!("2021-03-22T10:00:{:02}.{number:03}Z stdout F 1.2.3.4 GET /\n", number % 60))
        .collect()
}

/// Lines with addresses, and with time stamps in another form.
fn iso_lines(count: u64) -> String {
    (0..count).map(|number| format!("1.2.3.{} - - [2021-03-22 10:00:00] \"GET /\"\n", number % 7)).collect()
}

const ERROR_LOG: &str = "its name is that of an error log; --include '*' counts it";

#[test]
fn error_logs_are_skipped_unless_a_pattern_includes_them() {
    let daemon = Daemon::start(&["--recursive"]);
    fs::create_dir(daemon.log("sub")).unwrap();
    for name in ["error.log", "site_error.log.1", "sub/ssl_error_log-20210322", "errors.log", "access.log"] {
        // Other lines in each, or they would be copies of one log.
        fs::write(daemon.log(name), LINE.replace("GET /", &format!("GET /{name}"))).unwrap();
    }
    for name in ["errors.log", "access.log"] {
        daemon.wait_for(name, ONE);
    }
    for name in ["error.log", "site_error.log.1", "sub/ssl_error_log-20210322"] {
        assert_eq!(shown(&daemon, name), skipped(ERROR_LOG), "{name}");
        assert_eq!(daemon.reported(name), None);
    }
    fs::write(daemon.log("late.error.log"), LINE).unwrap();
    assert_eq!(shown(&daemon, "late.error.log"), skipped(ERROR_LOG));
    // All are named by one line.
    let journal = daemon.journal();
    assert_eq!(lines_with(&journal, "skipped error logs").len(), 1, "{journal}");
    assert!(!journal.contains("late.error.log") && journal.contains("set --include '*'"), "{journal}");
    let daemon = Daemon::start_in(daemon.end(SIGTERM), &["--recursive", "--include", "error*"], &[]);
    daemon.wait_for("error.log", ONE);
    assert_eq!(
        shown(&daemon, "site_error.log.1"),
        skipped("the patterns of --include and --exclude do not match its name")
    );
}

#[test]
fn the_journal_says_what_is_watched() {
    let watching = |daemon: &Daemon| {
        lines_with(&daemon.journal(), "watching logs=")
            .last()
            .map(|line| line.split("watching ").nth(1).unwrap().to_owned())
    };
    let daemon = Daemon::start(&[]);
    assert_eq!(
        watching(&daemon).unwrap(),
        "logs=logs recursive=false include=all except error logs exclude=none"
    );
    let daemon = Daemon::start_in(
        daemon.end(SIGTERM),
        &["--recursive", "--include", "access*", "--include", "*.log", "--exclude", "old*"],
        &[],
    );
    assert_eq!(watching(&daemon).unwrap(), "logs=logs recursive=true include=access*, *.log exclude=old*");
}

#[test]
fn archives_and_programs_are_skipped_and_a_log_in_their_place_is_counted() {
    let daemon = Daemon::start(&["--include", "*"]);
    let mut tar = vec![b'a'; 100];
    tar.resize(257, 0);
    tar.extend(b"ustar\x0000");
    tar.resize(1024, 0);
    let brotli: Vec<u8> = (0..200u8).map(|byte| byte.wrapping_mul(37)).collect();
    let files: [(&str, &[u8], &str); 6] = [
        ("old.zip", b"PK\x03\x04\x14\0\0\0\n1.2.3.4\n", "a zip archive"),
        ("logs.tar", &tar, "a tar archive"),
        ("access.log.lz4", b"\x04\x22\x4d\x18rest\n", "compressed by lz4"),
        ("access.log.7.br", &brotli, "compressed by brotli"),
        ("tool", b"\x7fELF\x02\x01\x01\0\n", "a program (ELF)"),
        ("day.parquet", b"PAR1\x15\x04\x15\n", "a Parquet file"),
    ];
    for (name, bytes, _) in files {
        fs::write(daemon.log(name), bytes).unwrap();
    }
    fs::write(daemon.log("www.example.com.br"), LINE).unwrap();
    daemon.wait_for("www.example.com.br", ONE);
    for (name, _, kind) in files {
        assert_eq!(shown(&daemon, name), skipped(kind), "{name}");
        wait_until("the journal has it", || {
            daemon.journal().contains(&format!("skipped path=logs/{name} reason={kind}")).then_some(())
        });
    }
    assert_eq!(daemon.get("/api/v1/report"), json!({"www.example.com.br": {"total": 1, "ip": 1}}));
    assert_eq!((daemon.get("/api/v1/status")["skipped"].clone(), degraded(&daemon)), (json!(6), vec![]));
    // In the same file, and as another file; with other lines, or one would be a copy of the other.
    fs::write(daemon.log("old.zip"), LINE.replace("GET /", "GET /zip").repeat(2)).unwrap();
    place(&daemon, "tool", LINE.replace("GET /", "GET /tool").repeat(3).as_bytes(), 0o644);
    daemon.wait_for("old.zip", Truth { total: 2, ip: 1 });
    daemon.wait_for("tool", Truth { total: 3, ip: 1 });
    fs::rename(daemon.log("logs.tar"), daemon.log("moved.tar")).unwrap();
    assert_eq!(shown(&daemon, "moved.tar"), skipped("a tar archive"));
    fs::remove_file(daemon.log("moved.tar")).unwrap();
    wait_until("removed archives are not shown", || {
        (daemon.file("moved.tar").is_none() && daemon.file("logs.tar").is_none()).then_some(())
    });
    // An archive that takes the place of a counted log: what was counted stays, and nothing more is.
    fs::write(daemon.log("old.zip"), b"PK\x03\x04\n1.2.3.4 x\n1.2.3.4 y\n1.2.3.4 z\n").unwrap();
    wait_until("the archive is skipped", || {
        let files = daemon.get("/api/v1/files")["files"].as_array().unwrap().clone();
        let of: Vec<(Value, Value)> = files
            .iter()
            .filter(|file| file["name"] == "old.zip")
            .map(|file| (file["state"].clone(), file["requests"].clone()))
            .collect();
        (of.contains(&(json!("gone"), json!(2))) && of.contains(&(json!("skipped"), json!(0)))).then_some(())
    });
}

#[test]
fn an_archive_is_refused_as_an_upload() {
    let token = "5b0c7e1d9a3f48268c47e2f6b1d05a93";
    let daemon = Daemon::start_in(Folder::new(), &[], &[("TALLYD_TOKEN", token)]);
    let put = |name: &str, body: &[u8]| {
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        let agent: ureq::Agent = config.build().into();
        let request = agent
            .put(daemon.url(&format!("/api/v1/files/{name}")))
            .header("Authorization", format!("Bearer {token}"));
        let mut answer = request.send(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    let (status, body) = put("x.log", b"PK\x03\x04rest");
    assert!(status == 415 && body.contains("a zip archive"), "{status} {body}");
    let (status, body) = put("error.log", LINE.as_bytes());
    assert!(status == 400 && body.contains("--include '*'"), "{status} {body}");
    assert_eq!(fs::read_dir(daemon.logs()).unwrap().count(), 0);
    assert_eq!(put("x.log", LINE.as_bytes()).0, 201);
    daemon.wait_for("x.log", ONE);
    // Client addresses are in it.
    assert_eq!(mode(&daemon.log("x.log")), 0o640);
}

#[test]
fn a_log_whose_format_is_not_understood_is_marked_and_keeps_its_numbers() {
    let daemon = Daemon::start(&[]);
    let (bytes, all) = block(100, 20, 1);
    fs::write(daemon.log("access.log"), &bytes).unwrap();
    daemon.wait_for("access.log", all);
    fs::write(daemon.log("short.log"), pod_lines(9)).unwrap();
    daemon.wait_for("short.log", Truth { total: 9, ip: 9 });
    assert_eq!(
        (degraded(&daemon), shown(&daemon, "short.log").1, shown(&daemon, "access.log").1),
        (vec![], None, None)
    );
    fs::write(daemon.log("pod.log"), pod_lines(50)).unwrap();
    daemon.wait_for("pod.log", Truth { total: 50, ip: 50 });
    let reason = shown(&daemon, "pod.log").1.unwrap();
    assert!(reason.starts_with("100 % of the clients of this log are not IP addresses: tallyd reads the client from the first field of each line"), "{reason}");
    let sentences = degraded(&daemon);
    assert!(
        sentences.len() == 1
            && sentences[0].starts_with("doubt: 100 % of the clients of pod.log are not IP addresses: "),
        "{sentences:?}"
    );
    fs::write(daemon.log("20210322.log"), iso_lines(40) + LINE).unwrap();
    daemon.wait_for("20210322.log", Truth { total: 41, ip: 7 });
    let reason = shown(&daemon, "20210322.log").1.unwrap();
    assert!(
        reason.starts_with(
            "97 % of the lines of this log have no time stamp: tallyd reads [22/Mar/2021:10:00:00 +0100]"
        ),
        "{reason}"
    );
    let sentences = degraded(&daemon);
    assert!(
        sentences.len() == 1 && sentences[0].starts_with("doubt: the numbers of 2 logs are doubtful, "),
        "{sentences:?}"
    );
    assert!(
        sentences[0].contains(": 20210322.log, pod.log; ")
            || sentences[0].contains(": pod.log, 20210322.log; "),
        "{sentences:?}"
    );
    let (_, _, metrics) = daemon.ask("GET", "/metrics", &[]).unwrap();
    assert!(metrics.contains("tallyd_degraded{reason=\"doubt\"} 1"), "{metrics}");
    // Numbers and completeness stay as they are.
    let file = daemon.file("pod.log").unwrap();
    assert_eq!(
        (&file["complete"], &file["malformed"], &file["other"]),
        (&json!(true), &json!(50), &json!(50))
    );
    fs::remove_file(daemon.log("pod.log")).unwrap();
    fs::remove_file(daemon.log("20210322.log")).unwrap();
    wait_until("nothing is doubtful any more", || degraded(&daemon).is_empty().then_some(()));
}

#[test]
fn count_marks_a_log_whose_format_is_not_understood() {
    let folder = Folder::new();
    fs::write(folder.join("access.log"), block(100, 20, 1).0).unwrap();
    fs::write(folder.join("pod.log"), pod_lines(50)).unwrap();
    let count = |options: &[&str]| {
        let output = tallyd()
            .arg("count")
            .args(options)
            .args(["access.log", "pod.log"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success());
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (table, notes) = count(&[]);
    assert!(table.contains("\npod.log(?)  ") && table.contains("\naccess.log  "), "{table}");
    assert!(
        notes.starts_with("(?) 100 % of the clients of pod.log are not IP addresses: ")
            && notes.lines().count() == 1,
        "{notes}"
    );
    // What programs read has no marks.
    for format in ["--json", "--csv"] {
        let (text, notes) = count(&[format]);
        assert!(!text.contains("(?)") && notes.is_empty(), "{text} {notes}");
    }
}

#[test]
fn the_remedy_for_unreadable_logs_is_said_once_and_not_once_a_log() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can give files to another group");
        return;
    }
    let daemon = Daemon::start_as_nobody();
    // They come into the folder together.
    let drafts = daemon.folder.join("drafts");
    fs::create_dir(&drafts).unwrap();
    for number in 0..3 {
        let path = drafts.join(format!("{number}.log"));
        fs::write(&path, LINE.replace("GET /", &format!("GET /{number}"))).unwrap();
        std::os::unix::fs::chown(&path, Some(0), Some(4)).unwrap();
        allow(&path, 0o640);
    }
    for number in 0..3 {
        fs::rename(drafts.join(format!("{number}.log")), daemon.log(&format!("{number}.log"))).unwrap();
    }
    let sentence = wait_until("all three are counted in the sentence", || {
        degraded(&daemon).into_iter().find(|sentence| sentence.contains("3 logs"))
    });
    let words =
        ["unreadable: cannot read 3 logs in logs (Permission denied; tallyd runs as ", "uid 65532", "group"];
    assert!(words.iter().all(|word| sentence.contains(word)), "{sentence}");
    assert!(sentence.contains("gid 4") || sentence.contains("usermod -aG"), "{sentence}");
    for number in 0..3 {
        assert_eq!(
            shown(&daemon, &format!("{number}.log")).1.unwrap(),
            "tallyd cannot read the log: Permission denied (os error 13)"
        );
    }
    // A fourth one with the same reason is nothing new; one that no group may read is.
    place(&daemon, "3.log", LINE.as_bytes(), 0o000);
    wait_until("the other reason is there", || {
        degraded(&daemon).into_iter().find(|sentence| sentence.contains("setfacl"))
    });
    let journal = daemon.journal();
    assert_eq!(lines_with(&journal, "cannot read").len(), 2, "{journal}");
    assert_eq!(lines_with(&journal, "let uid 65532 read it").len(), 1, "{journal}");
    for number in 0..4 {
        allow(&daemon.log(&format!("{number}.log")), 0o644);
    }
    wait_until("nothing is wrong any more", || degraded(&daemon).is_empty().then_some(()));
    daemon.wait_for("2.log", ONE);
}

/// A compressed log that could not be read at first was taken for a plain one, and its compressed bytes were
/// counted as lines.
#[test]
fn a_compressed_log_or_an_archive_that_becomes_readable_is_what_it_is() {
    let daemon = Daemon::start_as_nobody();
    let packed = {
        use std::io::Write;
        let mut child = std::process::Command::new("gzip")
            .arg("-c")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(LINE.repeat(5).as_bytes()).unwrap();
        child.wait_with_output().unwrap().stdout
    };
    place(&daemon, "a.log.gz", &packed, 0o000);
    place(&daemon, "b.log", b"PK\x03\x04\n1.2.3.4 x\n", 0o000);
    if nix::unistd::geteuid().is_root() {
        wait_until("both cannot be read", || {
            degraded(&daemon).into_iter().find(|sentence| sentence.contains("2 logs"))
        });
    }
    // Whose file it is changes; its size and its time do not.
    for name in ["a.log.gz", "b.log"] {
        allow(&daemon.log(name), 0o644);
    }
    daemon.wait_for("a.log.gz", Truth { total: 5, ip: 1 });
    wait_until("the archive is skipped", || {
        (shown(&daemon, "b.log") == skipped("a zip archive")).then_some(())
    });
    assert_eq!(daemon.reported("b.log"), None);
    assert_eq!(degraded(&daemon), [""; 0]);
}

/// All files and folders in a folder, with itself.
fn tree(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_owned()];
    if fs::symlink_metadata(path).unwrap().is_dir() {
        all.extend(fs::read_dir(path).unwrap().flat_map(|entry| tree(&entry.unwrap().path())));
    }
    all
}

fn private(path: &Path) -> bool {
    mode(path) == if path.is_dir() { 0o700 } else { 0o600 }
}

#[test]
fn the_state_is_its_users_alone_and_an_older_one_is_tightened() {
    let daemon = Daemon::start(&[]);
    allow(&daemon.logs(), 0o755);
    fs::write(daemon.log("access.log"), LINE).unwrap();
    daemon.wait_for("access.log", ONE);
    let state = daemon.folder.join("state");
    wait_until("the log is stored", || (daemon.get("/api/v1/status")["unstored_files"] == 0).then_some(()));
    let all = tree(&state);
    assert!(
        all.iter().any(|path| path.extension().is_some_and(|end| end == "parquet")) && all.len() >= 7,
        "{all:?}"
    );
    assert!(all.iter().all(|path| private(path)), "{:?}", all.iter().find(|path| !private(path)));
    let folder = daemon.end(SIGTERM);
    let state = folder.join("state");
    let _ = fs::write(state.join("inflight"), "");
    for path in tree(&state) {
        allow(&path, if path.is_dir() { 0o755 } else { 0o644 });
    }
    let daemon = Daemon::start_in(folder, &[], &[]);
    daemon.wait_for("access.log", ONE);
    let state = daemon.folder.join("state");
    assert!(
        tree(&state).iter().all(|path| private(path)),
        "{:?}",
        tree(&state).iter().find(|path| !private(path))
    );
    assert_eq!(lines_with(&daemon.journal(), "other users could read the state").len(), 1);
    // The logs are others' to protect.
    assert_eq!((mode(&daemon.logs()), mode(&daemon.log("access.log")) & 0o044 != 0), (0o755, true));
}

#[test]
fn a_state_folder_that_others_use_too_keeps_its_own_permissions() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("state/partials")).unwrap();
    fs::write(folder.join("state/other"), "").unwrap();
    for (path, mode) in [("state", 0o755), ("state/other", 0o644), ("state/partials", 0o755)] {
        allow(&folder.join(path), mode);
    }
    let daemon = Daemon::start_in(folder, &[], &[]);
    let modes =
        ["state", "state/other", "state/partials", "state/lock"].map(|path| mode(&daemon.folder.join(path)));
    assert_eq!(modes, [0o755, 0o644, 0o700, 0o600]);
    assert!(daemon.journal().contains("the state folder has other files too"), "{}", daemon.journal());
}

#[test]
fn usr1_and_usr2_are_ignored_with_a_line_in_the_journal() {
    let daemon = Daemon::start(&[]);
    fs::write(daemon.log("access.log"), LINE).unwrap();
    daemon.wait_for("access.log", ONE);
    let pids: Vec<i32> = [daemon.pid()].into_iter().chain(daemon.children()).collect();
    assert_eq!(pids.len(), 5);
    for pid in &pids {
        for (number, name) in [(SIGUSR1, "SIGUSR1"), (SIGUSR2, "SIGUSR2")] {
            signal(*pid, number);
            let said = format!(
                "[{pid}]: ignored a signal; send SIGHUP to the supervisor to reload the settings, SIGTERM to stop signal={name}"
            );
            wait_until("the journal has the signal", || daemon.journal().contains(&said).then_some(()));
        }
    }
    assert!(pids.iter().all(|pid| lives(*pid)) && daemon.children() == pids[1..]);
    fs::write(daemon.log("more.log"), LINE.repeat(2)).unwrap();
    daemon.wait_for("more.log", Truth { total: 2, ip: 1 });
}

#[test]
fn ps_shows_which_daemon_a_process_is_of() {
    let daemon = Daemon::start(&[]);
    let address = daemon.url("").trim_start_matches("http://").to_owned();
    let title = |pid: i32| {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        String::from_utf8(bytes.split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap()
    };
    let comm = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim_end().to_owned();
    for (pid, role, short) in [
        (daemon.pid(), "supervisor", "tallyd:supervis"),
        (daemon.pids("coordinator")[0], "coordinator", "tallyd:coordina"),
        (daemon.pids("api")[0], "api", "tallyd:api"),
        (daemon.pids("worker")[1], "worker 1", "tallyd:worker 1"),
    ] {
        assert_eq!((title(pid), comm(pid)), (format!("tallyd: {role} logs on {address}"), short.to_owned()));
    }
}
