//! Whatever is done to what the daemon stores, and to the disk, no number is wrong: it starts, says what it
//! found, and counts again what it can.

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::libc::SIGTERM;
use serde_json::Value;
use support::state::{
    Random, all_of, append, day_of, file_numbers, is_settled, kill_all, partial_of, partials, settle,
    settle_with, some_state, start_paused, stored, truth, wait_for_day,
};
use support::{Daemon, Folder, Truth, block, signal, wait_until};

fn degraded_state(daemon: &Daemon) -> Option<String> {
    let status = daemon.get("/api/v1/status");
    let entries = status["degraded"].as_array().unwrap().iter().filter_map(Value::as_str);
    entries.filter(|entry| entry.starts_with("state: ")).map(str::to_owned).next()
}

/// Makes the state folder what it was.
fn put_back(folder: &Path, files: &[(PathBuf, Vec<u8>)]) {
    let _ = fs::remove_dir_all(folder.join("state"));
    fs::create_dir_all(partials(folder)).unwrap();
    files.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
}

// What is stored.

/// Starts on what is there, and looks that nothing is wrong: the logs that are there are right, the one that
/// is gone is whole or not there.
#[track_caller]
fn starts_right(folder: Folder, logs: &[(&str, Vec<u8>)], gone: &[u8], what: &str) -> Folder {
    eprintln!("{what}");
    let daemon = Daemon::start_in(folder, &[], &[]);
    for (name, bytes) in logs {
        daemon.wait_for(name, truth(bytes));
    }
    let (with, without) = (truth(&all_of(logs, Some(gone))), truth(&all_of(logs, None)));
    // What is damaged may show when it is needed only.
    let day = wait_until("the day is complete and right", || {
        day_of(&daemon).filter(|day| [with, without].contains(day) && is_settled(&daemon))
    });
    let file = file_numbers(&daemon, "gone.log");
    assert_eq!(file, if day == with { Some((truth(gone), "gone".to_owned())) } else { None }, "{what}");
    if file.is_none() {
        let kept = fs::read_dir(partials(daemon.folder.path()))
            .unwrap()
            .any(|entry| entry.unwrap().path().extension().is_some_and(|suffix| suffix == "damaged"));
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

/// The footer is whole, so the numbers are shown; that the clients are damaged shows when the log has another
/// name, or is gone.
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
                wait_until("the damage is found", || {
                    daemon.journal().contains("it is set aside").then_some(())
                });
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
        assert!(
            daemon.journal().contains("it is set aside") && files[0].0.with_extension("damaged").exists()
        );
        folder = kill_all(daemon);
    }
}

#[test]
fn a_state_that_is_not_what_it_was_stops_nobody() {
    let (mut folder, logs, gone) = some_state();
    let files = stored(folder.path());
    let state = folder.join("state");
    // Without the partials, or with a file where a folder is to be.
    for (path, there) in [
        ("", true),
        ("partials", false),
        ("partials", true),
        ("partials/v1", true),
        ("partials/v1/host=local", false),
        ("partials/v1/host=local", true),
    ] {
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
            assert!(
                daemon.journal().contains("cannot use the store")
                    || daemon.journal().contains("cannot write the store")
            );
            fs::remove_file(state.join(path)).unwrap();
        }
        settle(&daemon);
        assert_eq!(stored(daemon.folder.path()).len(), logs.len());
        folder = kill_all(daemon);
    }
    // Things that are not the daemon's.
    put_back(folder.path(), &files);
    let own = partials(folder.path());
    for name in [
        "x",
        "x.parquet",
        "00000000000000FF.parquet",
        "0000000000000001.tmp",
        ".0000000000000002.tmp",
        ".x.tmp",
        "0000000000000003.damaged",
    ] {
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
        fs::write(
            path.with_file_name(format!(".{}", path.with_extension("tmp").file_name().unwrap().display())),
            &bytes[..bytes.len() / 2],
        )
        .unwrap();
    }
    let daemon = Daemon::start_in(folder, &[], &[]);
    settle_with(&daemon, &logs, Some(&gone));
    assert!(daemon.journal().contains("0000000000000004.parquet"));
    assert_eq!(fs::read(own.join("x.parquet")).unwrap(), b"junk");
    assert!(!own.join(".0000000000000002.tmp").exists());
    folder = kill_all(daemon);
    // What is noted beside the partials.
    for garbage in [
        &b"\0\xff\n"[..],
        b"",
        b"tallyd 99.0.0 inflight: device inode from to strikes kills\n1 2 3 4 5 6\n",
        &[b'7'; 100_000],
    ] {
        put_back(folder.path(), &files);
        fs::write(state.join("inflight"), garbage).unwrap();
        fs::write(state.join("lock"), garbage).unwrap();
        folder = starts_right(folder, &logs, &gone, "garbage in inflight and lock");
    }
    put_back(folder.path(), &files);
    fs::create_dir(state.join("inflight")).unwrap();
    starts_right(folder, &logs, &gone, "a folder in place of inflight");
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
        // The one that grows is wanted, or the others that a union is made of when one has new content, and
        // what it had is gone.
        let (_, bytes) = logs.iter_mut().find(|(log, _)| *log == "access.log").unwrap();
        let more = block(50, 40, 77).0;
        if name == "access.log" {
            bytes.extend_from_slice(&more);
        } else {
            gone.extend(std::mem::replace(bytes, more));
        }
        fs::write(daemon.log("access.log"), &*bytes).unwrap();
        wait_until("it is said", || degraded_state(&daemon));
        wait_until("it is in the journal", || {
            daemon.journal().contains("cannot read the partial of a log").then_some(())
        });
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
        if let Some(folder) = self.0.ancestors().find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tallyd-test-"))
        }) {
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
    let Some(_mount) = Mount::new(&["-t", "tmpfs", "-o", "size=2m", "tallyd-test"], &folder.join("state"))
    else {
        return;
    };
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
        wait_until("all that is there is stored again", || {
            (stored(daemon.folder.path()).len() >= logs.len() && is_settled(&daemon)).then_some(())
        });
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
    wait_until("all that is there is stored again", || {
        (stored(daemon.folder.path()).len() >= logs.len() && is_settled(&daemon)).then_some(())
    });
    let daemon = start_paused(kill_all(daemon), &[]);
    wait_until("it is known", || {
        (daemon.get("/api/v1/report").as_object().unwrap().len() == logs.len()).then_some(())
    });
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
        let spawned = Command::new("strace")
            .args(["-f", "-y", "-s", "256", "-p", &pid.to_string(), "-o"])
            .arg(output)
            .args(words)
            .stderr(Stdio::piped())
            .spawn();
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
