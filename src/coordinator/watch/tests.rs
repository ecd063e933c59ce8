use super::super::scan::Skip;
use super::*;
use crate::sys::socket::wait;
use globset::{Glob, GlobSet};
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// A folder of a test, with what is seen of it.
struct Case {
    folder: PathBuf,
    watcher: Watcher,
}

impl Case {
    fn new(name: &str) -> Case {
        Case::with(name, false, true, usize::MAX)
    }

    fn with(name: &str, recursive: bool, use_inotify: bool, watches_max: usize) -> Case {
        let folder = std::env::temp_dir().join(format!("tallyd-watch-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("logs")).unwrap();
        let exclude = GlobSet::new([Glob::new("**/*.no").unwrap()]).unwrap();
        let scope =
            Scope { folders: vec![folder.join("logs")], recursive, include: GlobSet::empty(), exclude };
        let mut watcher = Watcher::with_limit(scope, use_inotify, watches_max);
        watcher.scan();
        Case { folder, watcher }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(name))
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    fn seen(&self) -> Vec<(String, u64)> {
        self.watcher
            .contents()
            .found
            .iter()
            .map(|(name, found)| (String::from_utf8_lossy(name).into_owned(), found.size))
            .collect()
    }

    fn found(&self, name: &str) -> Option<&Found> {
        self.watcher.contents().found.get(name.as_bytes())
    }

    /// Reads events until this is so.
    #[track_caller]
    fn until(&mut self, what: &str, holds: impl Fn(&Case) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < LIMIT, "{what}: {:?} {:?}", self.seen(), self.watcher.contents());
            wait(&[self.watcher.fd().unwrap()], Duration::from_millis(100)).unwrap();
            assert!(!self.watcher.read_events().overflow);
        }
        self.check_truth();
    }

    /// A full look finds nothing else than what is known.
    #[track_caller]
    fn check_truth(&self) {
        let mut other = Watcher::new(self.watcher.scope.clone(), false);
        other.scan();
        let plain = |contents: &Contents| -> Vec<Found> {
            contents.found.values().map(|found| Found { closed: false, ..found.clone() }).collect()
        };
        let (known, true_now) = (plain(self.watcher.contents()), plain(other.contents()));
        assert_eq!(known.len(), true_now.len());
        for (known, true_now) in known.iter().zip(&true_now) {
            assert_eq!(known, true_now);
        }
        assert_eq!(self.watcher.contents().skipped, other.contents().skipped);
        assert_eq!(self.watcher.contents().troubled.len(), other.contents().troubled.len());
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn events_tell_what_happens_to_a_log() {
    let mut case = Case::new("life");
    assert_eq!(case.watcher.is_notified(), Ok(()));
    assert_eq!(case.watcher.read_events(), Notice::default());
    let mut writer = fs::File::create(case.path("a.log")).unwrap();
    writer.write_all(b"one").unwrap();
    case.until("written", |case| case.seen() == [("a.log".to_owned(), 3)]);
    assert!(!case.found("a.log").unwrap().closed);
    drop(writer);
    case.until("closed", |case| case.found("a.log").unwrap().closed);
    case.watcher.scan();
    assert!(case.found("a.log").unwrap().closed);
    let mut writer = OpenOptions::new().append(true).open(case.path("a.log")).unwrap();
    writer.write_all(b"two").unwrap();
    case.until("grown", |case| case.found("a.log").unwrap().size == 6);
    assert!(!case.found("a.log").unwrap().closed);
    let file = case.found("a.log").unwrap().file;
    fs::rename(case.path("a.log"), case.path("a.log.1")).unwrap();
    case.until("renamed", |case| case.seen() == [("a.log.1".to_owned(), 6)]);
    assert_eq!(case.found("a.log.1").unwrap().file, file);
    // Held open under its new name.
    writer.write_all(b"!").unwrap();
    case.until("grown under its new name", |case| case.found("a.log.1").unwrap().size == 7);
    writer.set_len(1).unwrap();
    case.until("truncated", |case| case.found("a.log.1").unwrap().size == 1);
    writer.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(5)).unwrap();
    case.until("touched", |case| case.found("a.log.1").unwrap().changed == Duration::from_secs(5));
    drop(writer);
    fs::rename(case.path("a.log.1"), case.path("a.log.tmp")).unwrap();
    case.until("left out", |case| {
        case.seen().is_empty() && case.watcher.contents().skipped[0].reason == Skip::Temporary
    });
    fs::remove_file(case.path("a.log.tmp")).unwrap();
    case.until("removed", |case| case.watcher.contents().skipped.is_empty());
    case.write("b.no", "x");
    fs::create_dir(case.path("sub")).unwrap();
    case.until("left out", |case| case.watcher.contents().skipped.len() == 2);
    assert_eq!(
        case.watcher.contents().skipped.iter().map(|skipped| skipped.reason).collect::<Vec<_>>(),
        [Skip::Pattern, Skip::Folder]
    );
}

#[test]
fn a_moved_file_is_closed_and_one_that_grew_unseen_is_not() {
    let mut case = Case::new("moved");
    fs::write(case.folder.join("new.gz"), b"x").unwrap();
    fs::rename(case.folder.join("new.gz"), case.path("new.gz")).unwrap();
    case.until("moved", |case| case.found("new.gz").is_some_and(|found| found.closed));
    fs::hard_link(case.path("new.gz"), case.folder.join("outside")).unwrap();
    OpenOptions::new().append(true).open(case.folder.join("outside")).unwrap().write_all(b"more").unwrap();
    case.watcher.scan();
    assert_eq!(case.found("new.gz").map(|found| (found.size, found.closed)), Some((5, false)));
    // What was there before anybody looked: nobody knows.
    let other = Case::with("moved-unseen", false, true, usize::MAX);
    other.write("old.gz", "x");
    let mut watcher = Watcher::new(other.watcher.scope.clone(), true);
    watcher.scan();
    assert!(!watcher.contents().found[&b"old.gz"[..]].closed);
}

/// The size of a log under its other name stood still, and seemed truncated beside the one that grew.
#[test]
fn all_names_of_a_file_grow_together() {
    let mut case = Case::new("names");
    case.write("a.log", "one");
    case.until("written", |case| case.seen().len() == 1);
    fs::hard_link(case.path("a.log"), case.path("hard.log")).unwrap();
    symlink("a.log", case.path("soft.log")).unwrap();
    case.until("linked", |case| case.seen().len() == 3);
    for (name, size) in [("hard.log", 6), ("a.log", 9), ("soft.log", 12)] {
        case.write(name, "two");
        case.until(name, |case| case.seen().iter().all(|(_, found)| *found == size));
    }
    fs::remove_file(case.path("a.log")).unwrap();
    case.until("dangling", |case| {
        case.seen() == [("hard.log".to_owned(), 12)]
            && case.watcher.contents().skipped[0].reason == Skip::LinkNowhere
    });
}

#[test]
fn subfolders_are_watched_as_they_come_and_go() {
    let mut case = Case::with("recursive", true, true, usize::MAX);
    fs::create_dir_all(case.path("one/two/three")).unwrap();
    case.write("one/two/three/a.log", "x");
    case.until("made", |case| case.seen() == [("one/two/three/a.log".to_owned(), 1)]);
    case.write("one/two/three/a.log", "y");
    case.until("grown", |case| case.seen() == [("one/two/three/a.log".to_owned(), 2)]);
    fs::create_dir(case.path("one/.hidden")).unwrap();
    fs::create_dir(case.folder.join("outside")).unwrap();
    fs::write(case.folder.join("outside/b.log"), b"x").unwrap();
    fs::rename(case.folder.join("outside"), case.path("one/in")).unwrap();
    case.until("moved in", |case| case.found("one/in/b.log").is_some());
    fs::rename(case.path("one"), case.path("won")).unwrap();
    case.until("renamed", |case| {
        case.found("one/in/b.log").is_none() && case.found("won/two/three/a.log").is_some()
    });
    case.write("won/in/b.log", "more");
    case.until("grown where it is now", |case| case.found("won/in/b.log").unwrap().size == 5);
    fs::rename(case.path("won/in"), case.folder.join("out")).unwrap();
    case.until("moved out", |case| case.found("won/in/b.log").is_none());
    fs::write(case.folder.join("out/c.log"), b"x").unwrap();
    fs::remove_dir_all(case.path("won")).unwrap();
    fs::write(case.path("won"), b"a file now").unwrap();
    case.until("another kind", |case| case.seen() == [("won".to_owned(), 10)]);
    assert_eq!(case.watcher.is_notified(), Ok(()));
}

#[test]
fn a_folder_that_is_removed_and_made_again_is_watched_again() {
    let mut case = Case::new("again");
    case.write("a.log", "x");
    case.until("written", |case| case.seen().len() == 1);
    fs::rename(case.path(""), case.folder.join("aside")).unwrap();
    // What happens to a log of a folder that is not there says nothing of the log.
    fs::remove_file(case.folder.join("aside/a.log")).unwrap();
    case.until("moved away", |case| case.watcher.contents().troubled.len() == 1);
    assert!(case.seen().is_empty() && case.watcher.is_notified().unwrap_err().contains("cannot be read"));
    fs::create_dir(case.path("")).unwrap();
    case.write("b.log", "x");
    case.watcher.scan();
    assert_eq!((case.seen(), case.watcher.is_notified()), (vec![("b.log".to_owned(), 1)], Ok(())));
    assert!(case.watcher.contents().troubled.is_empty());
    fs::remove_dir_all(case.path("")).unwrap();
    case.until("removed", |case| case.watcher.contents().troubled.len() == 1);
    fs::write(case.folder.join("logs"), b"a file in its place").unwrap();
    case.watcher.scan();
    assert_eq!(case.watcher.contents().troubled.len(), 1);
    fs::remove_file(case.folder.join("logs")).unwrap();
    fs::create_dir(case.path("")).unwrap();
    case.watcher.scan();
    case.write("c.log", "xy");
    case.until("written", |case| case.seen() == [("c.log".to_owned(), 2)]);
}

#[test]
fn an_empty_folder_on_another_file_system_was_unmounted() {
    let mut case = Case::new("unmounted");
    let elsewhere = Path::new("/dev/shm");
    if fs::metadata(elsewhere).map(|about| about.dev()).ok()
        == fs::metadata(&case.folder).map(|about| about.dev()).ok()
        || !elsewhere.is_dir()
    {
        return;
    }
    let elsewhere = elsewhere.join(case.folder.file_name().unwrap());
    fs::create_dir(&elsewhere).unwrap();
    case.write("a.log", "x");
    case.watcher.scan();
    fs::rename(case.path(""), case.folder.join("aside")).unwrap();
    symlink(&elsewhere, case.folder.join("logs")).unwrap();
    case.watcher.scan();
    let trouble =
        case.watcher.contents().troubled.first().map(|(folder, error)| (*folder, error.to_string()));
    fs::write(elsewhere.join("b.log"), b"x").unwrap();
    case.watcher.scan();
    let (seen, untroubled) = (case.seen(), case.watcher.contents().troubled.is_empty());
    fs::remove_dir_all(&elsewhere).unwrap();
    assert!(trouble.unwrap().1.contains("another file system"));
    assert_eq!((seen, untroubled), (vec![("b.log".to_owned(), 1)], true));
    // On one file system, it is just empty.
    fs::remove_file(case.folder.join("logs")).unwrap();
    fs::rename(case.folder.join("aside"), case.path("")).unwrap();
    case.watcher.scan();
    fs::remove_file(case.path("a.log")).unwrap();
    case.watcher.scan();
    assert!(case.watcher.contents().troubled.is_empty() && case.seen().is_empty());
}

#[test]
fn at_the_limit_of_watches_looking_goes_on() {
    let mut case = Case::with("limit", true, true, 1);
    assert_eq!(case.watcher.is_notified(), Ok(()));
    fs::create_dir(case.path("sub")).unwrap();
    case.until("the limit is told", |case| case.watcher.is_notified().is_err());
    assert!(case.watcher.is_notified().unwrap_err().contains("fs.inotify.max_user_watches"));
    case.write("a.log", "x");
    case.until("what is watched is told", |case| case.found("a.log").is_some());
    case.write("sub/a.log", "x");
    case.watcher.scan();
    assert_eq!(case.seen().len(), 2);
    fs::remove_dir_all(case.path("sub")).unwrap();
    case.watcher.scan();
    assert_eq!(case.watcher.is_notified(), Ok(()));
    let mut none = Case::with("limit-0", true, true, 0);
    none.write("a.log", "x");
    none.watcher.scan();
    assert_eq!(none.seen().len(), 1);
    assert!(none.watcher.is_notified().is_err());
}

#[test]
fn without_inotify_looking_goes_on() {
    let mut case = Case::with("without", false, false, usize::MAX);
    assert!(case.watcher.fd().is_none() && case.watcher.is_notified().unwrap_err().contains("switched off"));
    case.write("a.log", "x");
    assert_eq!(case.watcher.read_events(), Notice::default());
    case.watcher.scan();
    assert_eq!(case.seen().len(), 1);
}

#[test]
fn lost_events_are_told() {
    let mut case = Case::new("overflow");
    let most: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    let mut writers = ["a.log", "b.log"].map(|name| fs::File::create(case.path(name)).unwrap());
    // Equal events that follow each other are one.
    for at in 0..most + 10 {
        writers[at % 2].write_all(b"x").unwrap();
    }
    case.write("c.log", "the event of this one is lost");
    let (start, mut overflow) = (Instant::now(), false);
    while !overflow {
        assert!(start.elapsed() < LIMIT);
        overflow = case.watcher.read_events().overflow;
    }
    assert!(case.found("c.log").is_none());
    case.watcher.scan();
    assert_eq!(case.seen().len(), 3);
    drop(writers);
    case.until("events come again", |case| case.found("a.log").unwrap().closed);
}

#[test]
fn names_are_bytes() {
    let mut case = Case::new("bytes");
    let longest = [b'\xff'; 255];
    for name in [&b"new\nline.log"[..], b"\xff\xfe.log", &longest] {
        fs::write(case.path("").join(OsStr::from_bytes(name)), b"x").unwrap();
    }
    case.until("found", |case| case.watcher.contents().found.len() == 3);
    assert!(case.watcher.contents().found.contains_key(&longest[..]));
}

/// 20,000 logs are there, and 5,000 more come as fast as they can be made.
#[test]
fn many_logs_are_watched() {
    let mut case = Case::new("many");
    for at in 0..20_000 {
        fs::write(case.path(&format!("{at:05}.log")), b"x").unwrap();
    }
    for _ in 0..3 {
        let start = Instant::now();
        case.watcher.scan();
        println!("a look at 20,000 logs: {:?}", start.elapsed());
    }
    assert_eq!(case.watcher.contents().found.len(), 20_000);
    while wait(&[case.watcher.fd().unwrap()], Duration::ZERO).unwrap()[0] {
        case.watcher.read_events();
    }
    let (mut spent, mut calls, mut longest) = (Duration::ZERO, 0, Duration::ZERO);
    for at in 20_000..25_000 {
        case.write(&format!("{at:05}.log"), "x");
        if at % 100 == 99 {
            let start = Instant::now();
            assert!(!case.watcher.read_events().overflow);
            (spent, calls, longest) = (spent + start.elapsed(), calls + 1, longest.max(start.elapsed()));
        }
    }
    println!("5,000 new logs: {spent:?} in {calls} calls, {longest:?} for the longest");
    for at in 0..5_000 {
        case.write(&format!("{at:05}.log"), "y");
    }
    let start = Instant::now();
    case.until("all are there", |case| {
        case.watcher.contents().found.values().filter(|found| found.size == 2 && found.closed).count()
            == 5_000
    });
    assert_eq!(case.watcher.contents().found.len(), 25_000);
    println!("5,000 changed logs at once, checked by a look: {:?}", start.elapsed());
}
