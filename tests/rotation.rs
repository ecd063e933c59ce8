//! What becomes of a log when it is rotated, copied, compressed, cut: each line counts once.
//!
//! Each case is a list of steps. It is run three times: with one daemon, with a daemon that is ended after
//! each step, and with one that is down during each step. It is ended by SIGTERM and by SIGKILL in turn.

mod support;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use nix::libc::{SIGKILL, SIGTERM};
use serde_json::Value;
use support::{Daemon, Folder, PATIENCE, Truth};
use tallyd::store::{State, folder, read_meta};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Running,
    EndedAfterEachStep,
    DownDuringEachStep,
}

/// A daemon to which something happens.
struct Scene<'a> {
    daemon: Option<Daemon>,
    options: &'a [&'a str],
    mode: Mode,
    ended: u32,
    /// How many requests the days had, if nothing was done since that was seen.
    requests: Option<u64>,
}

/// What must be true: the names that are reported, each with what is counted of it, and the contents that
/// count in the days.
struct Now<'a> {
    names: &'a [(&'a str, &'a [u8])],
    days: &'a [&'a [u8]],
}

impl Scene<'_> {
    fn end(&mut self) -> Folder {
        let number = if self.ended.is_multiple_of(2) { SIGTERM } else { SIGKILL };
        self.ended += 1;
        if number == SIGKILL
            && let Some(requests) = self.requests
        {
            // What vanishes before it is stored is nowhere then.
            self.wait_for_store(requests);
        }
        self.daemon.take().expect("it runs").end(number)
    }

    fn start(&mut self, folder: Folder) {
        self.daemon = Some(Daemon::start_in(folder, self.options, &[]));
    }

    /// Does something in the folder of logs, of which nothing vanishes, and waits for nothing.
    fn hasty_step(&mut self, act: impl Fn(&Path)) {
        self.requests = None;
        if self.mode == Mode::Running {
            return act(&self.daemon().logs());
        }
        let number = if self.ended.is_multiple_of(2) { SIGTERM } else { SIGKILL };
        self.ended += 1;
        if self.mode == Mode::EndedAfterEachStep {
            act(&self.daemon().logs());
        }
        let folder = self.daemon.take().expect("it runs").end(number);
        if self.mode == Mode::DownDuringEachStep {
            act(&folder.join("logs"));
        }
        self.start(folder);
    }

    /// Does something in the folder of logs. Then this must be so.
    fn step(&mut self, what: &str, act: impl FnOnce(&Path), now: Now<'_>) {
        if self.mode == Mode::DownDuringEachStep {
            let folder = self.end();
            act(&folder.join("logs"));
            self.start(folder);
        } else {
            act(&self.daemon().logs());
        }
        self.check(what, &now);
        if self.mode == Mode::EndedAfterEachStep {
            let folder = self.end();
            self.start(folder);
            self.check(&format!("{what}, and a daemon was started again"), &now);
        }
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("it runs")
    }

    fn check(&mut self, what: &str, now: &Now<'_>) {
        let start = Instant::now();
        let (requests, unique) =
            (now.days.iter().map(|bytes| count(&[bytes]).total).sum::<u64>(), count(now.days).ip);
        let mut names: Vec<(String, u64, u64)> = now
            .names
            .iter()
            .map(|(name, bytes)| (*name, count(&[bytes])))
            .map(|(name, truth)| (name.to_owned(), truth.total, truth.ip))
            .collect();
        names.sort();
        loop {
            let (report, days, status) = (
                self.daemon().get("/api/v1/report"),
                self.daemon().get("/api/v1/days"),
                self.daemon().get("/api/v1/status"),
            );
            let mut reported: Vec<(String, u64, u64)> = report
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, numbers)| {
                    (name.clone(), numbers["total"].as_u64().unwrap(), numbers["ip"].as_u64().unwrap())
                })
                .collect();
            reported.sort();
            let days = days["days"].as_array().unwrap().iter().filter(|day| day["requests"] != 0);
            let counted: Vec<(u64, u64, bool)> = days
                .map(|day| {
                    (
                        day["requests"].as_u64().unwrap(),
                        day["unique_ips"].as_u64().unwrap(),
                        day["complete"].as_bool().unwrap(),
                    )
                })
                .collect();
            let wanted = if requests == 0 { vec![] } else { vec![(requests, unique, true)] };
            if status["pending_bytes"] == 0 && reported == names && counted == wanted {
                self.requests = Some(requests);
                return;
            }
            let files = self.daemon().get("/api/v1/files");
            assert!(
                start.elapsed() < PATIENCE,
                "{:?}: {what}: reported: {reported:?}\n must be: {names:?}\n the days: {counted:?}\n must be: {wanted:?}\n {files:#}",
                self.mode
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn wait_for_store(&self, requests: u64) {
        let state = self.daemon().folder.join("state");
        support::wait_until("all is stored", || {
            let entries = folder::list(&state).ok()?;
            let metas = entries
                .iter()
                .filter_map(|entry| read_meta(File::open(&entry.path).ok()?).ok())
                .filter(|meta| meta.state != State::Deleted);
            (metas.map(|meta| meta.totals.counts.requests()).sum::<u64>() == requests).then_some(())
        });
    }

    /// The file of this name that is there.
    fn file(&self, name: &str) -> Value {
        let files = self.daemon().get("/api/v1/files");
        files["files"]
            .as_array()
            .unwrap()
            .iter()
            .find(|file| file["name"] == name && file["state"] != "gone")
            .unwrap_or_else(|| panic!("{name}: {files:#}"))
            .clone()
    }
}

/// Runs a case in each mode, at once: they wait most of the time.
fn in_each_mode(options: &[&str], case: impl Fn(&mut Scene<'_>) + Sync) {
    std::thread::scope(|scope| {
        for mode in [Mode::Running, Mode::EndedAfterEachStep, Mode::DownDuringEachStep] {
            let case = &case;
            scope.spawn(move || {
                let daemon = Daemon::start(options);
                case(&mut Scene { daemon: Some(daemon), options, mode, ended: 0, requests: Some(0) });
            });
        }
    });
}

/// The requests and clients of contents.
fn count(contents: &[&[u8]]) -> Truth {
    let lines = || contents.iter().flat_map(|bytes| bytes.split_inclusive(|byte| *byte == b'\n'));
    let clients: HashSet<&[u8]> =
        lines().map(|line| line.split(|byte| *byte == b' ').next().unwrap()).collect();
    Truth { total: lines().count() as u64, ip: clients.len() as u64 }
}

/// So many lines that only this seed has.
fn lines(seed: u32, count: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in 0..count {
        let client = line.wrapping_mul(2_654_435_761).wrapping_add(seed) % 700;
        writeln!(
            bytes,
            "10.1.{}.{} - - [22/Mar/2021:10:00:00 +0100] \"GET /{seed}/{line} HTTP/1.1\" 200 7",
            client / 256,
            client % 256
        )
        .unwrap();
    }
    bytes
}

fn append(path: &Path, bytes: &[u8]) {
    File::options().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn gz(from: &Path) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&fs::read(from).unwrap()).unwrap();
    fs::write(format!("{}.gz", from.display()), encoder.finish().unwrap()).unwrap();
    fs::remove_file(from).unwrap();
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A half line and what it lacks, cut behind the time stamp: so it is of that day, whether it counts as it is
/// or not.
fn halves(seed: u32) -> (Vec<u8>, Vec<u8>) {
    let line = lines(seed, 1);
    let (one, two) = line.split_at(line.len() - 12);
    (one.to_vec(), two.to_vec())
}

#[test]
fn a_log_is_renamed() {
    in_each_mode(&[], |scene| {
        let (one, two) = (lines(1, 3_000), lines(2, 2));
        scene.step(
            "a log",
            |logs| fs::write(logs.join("access.log"), &one).unwrap(),
            Now { names: &[("access.log", &one)], days: &[&one] },
        );
        let rotate = |logs: &Path| {
            fs::rename(logs.join("access.log"), logs.join("access.log.1")).unwrap();
            fs::write(logs.join("access.log"), &two).unwrap();
        };
        scene.step(
            "it is rotated",
            rotate,
            Now { names: &[("access.log", &two), ("access.log.1", &one)], days: &[&one, &two] },
        );
        let anything = |logs: &Path| fs::rename(logs.join("access.log.1"), logs.join("old stuff")).unwrap();
        scene.step(
            "it gets any name",
            anything,
            Now { names: &[("access.log", &two), ("old stuff", &one)], days: &[&one, &two] },
        );
    });
}

#[test]
fn a_hard_link_is_made_and_one_name_removed() {
    in_each_mode(&[], |scene| {
        let one = lines(1, 300);
        scene.step(
            "a log",
            |logs| fs::write(logs.join("access.log"), &one).unwrap(),
            Now { names: &[("access.log", &one)], days: &[&one] },
        );
        let link = |logs: &Path| fs::hard_link(logs.join("access.log"), logs.join("saved.log")).unwrap();
        scene.step(
            "a link",
            link,
            Now { names: &[("access.log", &one), ("saved.log", &one)], days: &[&one] },
        );
        let (first, second) = (scene.file("access.log"), scene.file("saved.log"));
        let (duplicate, other) =
            if first["state"] == "duplicate" { (first, second) } else { (second, first) };
        assert_eq!(
            (&duplicate["state"], &duplicate["duplicate_of"]),
            (&Value::from("duplicate"), &other["id"])
        );
        let more = lines(2, 5);
        let both = join(&[&one, &more]);
        scene.step(
            "it grows",
            |logs| append(&logs.join("saved.log"), &more),
            Now { names: &[("access.log", &both), ("saved.log", &both)], days: &[&both] },
        );
        scene.step(
            "one name goes",
            |logs| fs::remove_file(logs.join("access.log")).unwrap(),
            Now { names: &[("saved.log", &both)], days: &[&both] },
        );
    });
}

#[test]
fn a_log_is_rotated_twice_and_compressed() {
    for count in [1, 4, 3_000] {
        in_each_mode(&[], |scene| {
            let (one, two, three) = (lines(1, count), lines(2, 2), lines(3, 1));
            scene.step(
                "a log",
                |logs| fs::write(logs.join("log"), &one).unwrap(),
                Now { names: &[("log", &one)], days: &[&one] },
            );
            let rotate = |logs: &Path| {
                fs::rename(logs.join("log"), logs.join("log.1")).unwrap();
                fs::write(logs.join("log"), &two).unwrap();
            };
            scene.step(
                "it is rotated",
                rotate,
                Now { names: &[("log", &two), ("log.1", &one)], days: &[&one, &two] },
            );
            let again = |logs: &Path| {
                fs::rename(logs.join("log.1"), logs.join("log.2")).unwrap();
                gz(&logs.join("log.2"));
                fs::rename(logs.join("log"), logs.join("log.1")).unwrap();
                fs::write(logs.join("log"), &three).unwrap();
            };
            scene.step(
                "again",
                again,
                Now {
                    names: &[("log", &three), ("log.1", &two), ("log.2.gz", &one)],
                    days: &[&one, &two, &three],
                },
            );
        });
    }
}

#[test]
fn a_log_is_copied_and_truncated() {
    for count in [1, 3, 3_000] {
        in_each_mode(&[], |scene| {
            let (one, two) = (lines(1, count), lines(2, 2));
            let copytruncate = |logs: &Path| {
                fs::copy(logs.join("access.log"), logs.join("access.log.1")).unwrap();
                File::options().write(true).open(logs.join("access.log")).unwrap().set_len(0).unwrap();
            };
            scene.step(
                "a log",
                |logs| fs::write(logs.join("access.log"), &one).unwrap(),
                Now { names: &[("access.log", &one)], days: &[&one] },
            );
            scene.step(
                "copytruncate",
                copytruncate,
                Now { names: &[("access.log", b""), ("access.log.1", &one)], days: &[&one] },
            );
            let grow = |logs: &Path| append(&logs.join("access.log"), &two);
            scene.step(
                "it grows",
                grow,
                Now { names: &[("access.log", &two), ("access.log.1", &one)], days: &[&one, &two] },
            );
        });
    }
}

#[test]
fn a_copy_ended_before_what_was_counted() {
    for (count, copied) in [(2, 1), (10, 7), (3_000, 2_900)] {
        in_each_mode(&[], |scene| {
            let (one, two) = (lines(1, count), lines(2, 2));
            let short = lines(1, copied);
            let copytruncate = |logs: &Path| {
                fs::write(logs.join("access.log.1"), &short).unwrap();
                fs::write(logs.join("access.log"), &two).unwrap();
            };
            scene.step(
                "a log",
                |logs| fs::write(logs.join("access.log"), &one).unwrap(),
                Now { names: &[("access.log", &one)], days: &[&one] },
            );
            scene.step(
                "copytruncate",
                copytruncate,
                Now { names: &[("access.log", &two), ("access.log.1", &short)], days: &[&one, &two] },
            );
            let compress = |logs: &Path| gz(&logs.join("access.log.1"));
            scene.step(
                "it is compressed",
                compress,
                Now { names: &[("access.log", &two), ("access.log.1.gz", &short)], days: &[&one, &two] },
            );
        });
    }
}

#[test]
fn dated_names_are_compressed_later() {
    in_each_mode(&[], |scene| {
        let (one, two, three) = (lines(1, 300), lines(2, 200), lines(3, 1));
        scene.step(
            "a log",
            |logs| fs::write(logs.join("access.log"), &one).unwrap(),
            Now { names: &[("access.log", &one)], days: &[&one] },
        );
        let rotate = |logs: &Path| {
            fs::rename(logs.join("access.log"), logs.join("access.log-20210322")).unwrap();
            fs::write(logs.join("access.log"), &two).unwrap();
        };
        scene.step(
            "it is rotated",
            rotate,
            Now { names: &[("access.log", &two), ("access.log-20210322", &one)], days: &[&one, &two] },
        );
        let again = |logs: &Path| {
            fs::rename(logs.join("access.log"), logs.join("access.log-20210323")).unwrap();
            fs::write(logs.join("access.log"), &three).unwrap();
        };
        scene.step(
            "again",
            again,
            Now {
                names: &[
                    ("access.log", &three),
                    ("access.log-20210322", &one),
                    ("access.log-20210323", &two),
                ],
                days: &[&one, &two, &three],
            },
        );
        let compress = |logs: &Path| gz(&logs.join("access.log-20210322"));
        scene.step(
            "the older one is compressed",
            compress,
            Now {
                names: &[
                    ("access.log", &three),
                    ("access.log-20210322.gz", &one),
                    ("access.log-20210323", &two),
                ],
                days: &[&one, &two, &three],
            },
        );
    });
}

#[test]
fn two_names_are_swapped() {
    for (first, second) in [("a.log", "b.log"), ("20210321.log", "20210322.log")] {
        in_each_mode(&[], |scene| {
            let (one, two) = (lines(1, 300), lines(2, 200));
            let both = |logs: &Path| {
                fs::write(logs.join(first), &one).unwrap();
                fs::write(logs.join(second), &two).unwrap();
            };
            scene.step(
                "two logs",
                both,
                Now { names: &[(first, &one), (second, &two)], days: &[&one, &two] },
            );
            let swap = |logs: &Path| {
                fs::rename(logs.join(first), logs.join("third.tmp")).unwrap();
                fs::rename(logs.join(second), logs.join(first)).unwrap();
                fs::rename(logs.join("third.tmp"), logs.join(second)).unwrap();
            };
            scene.step("swapped", swap, Now { names: &[(first, &two), (second, &one)], days: &[&one, &two] });
        });
    }
}

#[test]
fn thirty_rotations_with_delaycompress() {
    in_each_mode(&[], |scene| {
        let contents: Vec<Vec<u8>> = (0..=30).map(|at| lines(at, 1 + at * 37 % 100)).collect();
        scene.step(
            "a log",
            |logs| fs::write(logs.join("log"), &contents[0]).unwrap(),
            Now { names: &[("log", &contents[0])], days: &[&contents[0]] },
        );
        for round in 1..=30 {
            let rotate = |logs: &Path| {
                for at in (2..round).rev() {
                    fs::rename(logs.join(format!("log.{at}.gz")), logs.join(format!("log.{}.gz", at + 1)))
                        .unwrap();
                }
                if round > 1 {
                    fs::rename(logs.join("log.1"), logs.join("log.2")).unwrap();
                    gz(&logs.join("log.2"));
                }
                fs::rename(logs.join("log"), logs.join("log.1")).unwrap();
                fs::write(logs.join("log"), &contents[round]).unwrap();
            };
            let name = |age: usize| match age {
                0 => "log".to_owned(),
                1 => "log.1".to_owned(),
                _ => format!("log.{age}.gz"),
            };
            let names: Vec<(String, &[u8])> =
                (0..=round).map(|at| (name(round - at), &contents[at][..])).collect();
            let names: Vec<(&str, &[u8])> =
                names.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
            let days: Vec<&[u8]> = contents[..=round].iter().map(|bytes| &bytes[..]).collect();
            if round % 5 == 0 {
                scene.step(&format!("rotation {round}"), rotate, Now { names: &names, days: &days });
            } else {
                scene.hasty_step(rotate);
            }
        }
    });
}

#[test]
fn two_logs_with_the_same_first_64_kib_are_two() {
    in_each_mode(&[], |scene| {
        let base = lines(1, 1_000);
        assert!(base.len() > 64 << 10);
        // What is kept of a log that is gone, or compressed, tells them apart where the next sample is.
        let (one, two, three) = (
            join(&[&base, &lines(2, 1_100)]),
            join(&[&base, &lines(3, 1_200)]),
            join(&[&base, &lines(4, 1_300)]),
        );
        let (a, b, c) = ("a.log", "b.log", "c.log");
        scene.step(
            "one",
            |logs| fs::write(logs.join(a), &one).unwrap(),
            Now { names: &[(a, &one)], days: &[&one] },
        );
        scene.step(
            "two",
            |logs| fs::write(logs.join(b), &two).unwrap(),
            Now { names: &[(a, &one), (b, &two)], days: &[&one, &two] },
        );
        let compress = |logs: &Path| {
            gz(&logs.join(a));
            gz(&logs.join(b));
        };
        scene.step(
            "compressed",
            compress,
            Now { names: &[("a.log.gz", &one), ("b.log.gz", &two)], days: &[&one, &two] },
        );
        let write = |logs: &Path| fs::write(logs.join(c), &three).unwrap();
        scene.step(
            "three",
            write,
            Now {
                names: &[("a.log.gz", &one), ("b.log.gz", &two), (c, &three)],
                days: &[&one, &two, &three],
            },
        );
    });
}

#[test]
fn a_new_log_in_the_inode_of_a_deleted_one_is_a_new_log() {
    in_each_mode(&[], |scene| {
        let (one, two) = (lines(1, 300), lines(2, 400));
        scene.step(
            "a log",
            |logs| fs::write(logs.join("a.log"), &one).unwrap(),
            Now { names: &[("a.log", &one)], days: &[&one] },
        );
        let reuse = |logs: &Path| {
            let inode = fs::metadata(logs.join("a.log")).unwrap().ino();
            fs::remove_file(logs.join("a.log")).unwrap();
            // Most file systems give the same number again.
            for at in 0..50 {
                let (new, aside) = (logs.join("b.log"), logs.join(format!("{at}.tmp")));
                fs::write(&new, &two).unwrap();
                if fs::metadata(&new).unwrap().ino() == inode || at == 49 {
                    break;
                }
                fs::rename(&new, &aside).unwrap();
            }
        };
        scene.step("another one in its place", reuse, Now { names: &[("b.log", &two)], days: &[&one, &two] });
    });
}

#[test]
fn a_log_truncated_and_regrown_past_its_old_size_is_noticed() {
    for (before, after) in [(1, 3), (300, 400), (3_000, 3_001)] {
        in_each_mode(&[], |scene| {
            let (one, two) = (lines(1, before), lines(2, after));
            let name = "access.log";
            scene.step(
                "a log",
                |logs| fs::write(logs.join(name), &one).unwrap(),
                Now { names: &[(name, &one)], days: &[&one] },
            );
            scene.step(
                "regrown",
                |logs| fs::write(logs.join(name), &two).unwrap(),
                Now { names: &[(name, &two)], days: &[&one, &two] },
            );
        });
    }
}

#[test]
fn new_content_under_a_dated_name_replaces_the_old() {
    for (before, after) in [(1, 3), (300, 400), (400, 300)] {
        in_each_mode(&[], |scene| {
            let (one, two, three) = (lines(1, before), lines(2, after), lines(3, 2));
            let name = "20210322.log";
            scene.step(
                "a log",
                |logs| fs::write(logs.join(name), &one).unwrap(),
                Now { names: &[(name, &one)], days: &[&one] },
            );
            scene.step(
                "rewritten",
                |logs| fs::write(logs.join(name), &two).unwrap(),
                Now { names: &[(name, &two)], days: &[&two] },
            );
            scene.step(
                "deleted",
                |logs| fs::remove_file(logs.join(name)).unwrap(),
                Now { names: &[], days: &[&two] },
            );
            let half = |logs: &Path| fs::write(logs.join(name), &three[..30]).unwrap();
            scene.step("half a line", half, Now { names: &[(name, b"")], days: &[&two] });
            scene.step(
                "a whole one",
                |logs| append(&logs.join(name), &three[30..]),
                Now { names: &[(name, &three)], days: &[&three] },
            );
        });
    }
}

#[test]
fn a_copy_counts_once_until_it_goes_its_own_way() {
    in_each_mode(&[], |scene| {
        let one = lines(1, 300);
        let (more, other) = (lines(2, 5), lines(3, 7));
        scene.step(
            "a log",
            |logs| fs::write(logs.join("a.log"), &one).unwrap(),
            Now { names: &[("a.log", &one)], days: &[&one] },
        );
        let copy = |logs: &Path| {
            fs::copy(logs.join("a.log"), logs.join("b.log")).unwrap();
        };
        scene.step("a copy", copy, Now { names: &[("a.log", &one), ("b.log", &one)], days: &[&one] });
        let (a, b) = (scene.file("a.log"), scene.file("b.log"));
        // After a restart, either may be the copy.
        let (duplicate, original) =
            if a["state"] == "duplicate" && scene.mode != Mode::Running { (&a, &b) } else { (&b, &a) };
        assert_eq!(
            (&duplicate["state"], &duplicate["duplicate_of"]),
            (&Value::from("duplicate"), &original["id"])
        );
        let (a, b) = (join(&[&one, &more]), join(&[&one, &other]));
        scene.step(
            "the first grows",
            |logs| append(&logs.join("a.log"), &more),
            Now { names: &[("a.log", &a), ("b.log", &one)], days: &[&a] },
        );
        scene.step(
            "the copy too",
            |logs| append(&logs.join("b.log"), &other),
            Now { names: &[("a.log", &a), ("b.log", &b)], days: &[&a, &b] },
        );
        for name in ["a.log", "b.log"] {
            assert_eq!(scene.file(name)["duplicate_of"], Value::Null, "{name}");
        }
    });
}

#[test]
fn copies_that_appear_at_one_look_count_once() {
    in_each_mode(&["--no-inotify"], |scene| {
        let one = lines(1, 3_000);
        let part = lines(1, 1_000);
        let both = |logs: &Path| {
            for name in ["a.log", "b.log"] {
                fs::write(logs.join(format!("{name}.tmp")), &one).unwrap();
            }
            fs::write(logs.join("c.log.tmp"), &part).unwrap();
            for name in ["a.log", "b.log", "c.log"] {
                fs::rename(logs.join(format!("{name}.tmp")), logs.join(name)).unwrap();
            }
        };
        scene.step(
            "three at once",
            both,
            Now { names: &[("a.log", &one), ("b.log", &one), ("c.log", &part)], days: &[&one] },
        );
    });
}

#[test]
fn a_copy_within_a_replaced_log_counts_within_the_next_one_that_has_it() {
    in_each_mode(&[], |scene| {
        let base = lines(1, 300);
        let (one, two) = (join(&[&base, &lines(2, 10)]), join(&[&base, &lines(3, 20)]));
        let (dated, other, copy) = ("20210322.log", "other.log", "copy.log");
        scene.step(
            "one",
            |logs| fs::write(logs.join(other), &one).unwrap(),
            Now { names: &[(other, &one)], days: &[&one] },
        );
        scene.step(
            "two",
            |logs| fs::write(logs.join(dated), &two).unwrap(),
            Now { names: &[(dated, &two), (other, &one)], days: &[&one, &two] },
        );
        let write = |logs: &Path| fs::write(logs.join(copy), &base).unwrap();
        scene.step(
            "what both begin with",
            write,
            Now { names: &[(copy, &base), (dated, &two), (other, &one)], days: &[&one, &two] },
        );
        let new = lines(4, 2);
        let rewrite = |logs: &Path| fs::write(logs.join(dated), &new).unwrap();
        scene.step(
            "one is replaced",
            rewrite,
            Now { names: &[(copy, &base), (dated, &new), (other, &one)], days: &[&one, &new] },
        );
        let again = |logs: &Path| fs::write(logs.join(other), b"").unwrap();
        scene.step(
            "the other is emptied",
            again,
            Now { names: &[(copy, &base), (dated, &new), (other, b"")], days: &[&one, &new] },
        );
    });
}

#[test]
fn an_emptied_log_is_nobodys_duplicate() {
    in_each_mode(&[], |scene| {
        let one = lines(1, 300);
        scene.step(
            "a log",
            |logs| fs::write(logs.join("a.log"), &one).unwrap(),
            Now { names: &[("a.log", &one)], days: &[&one] },
        );
        // Less than a line: nothing of it is counted.
        scene.step(
            "half a copy",
            |logs| fs::write(logs.join("b.log"), &one[..40]).unwrap(),
            Now { names: &[("a.log", &one), ("b.log", b"")], days: &[&one] },
        );
        scene.step(
            "emptied",
            |logs| fs::write(logs.join("b.log"), b"").unwrap(),
            Now { names: &[("a.log", &one), ("b.log", b"")], days: &[&one] },
        );
        support::wait_until("it is no duplicate", || {
            (scene.file("b.log")["state"] != "duplicate").then_some(())
        });
    });
}

#[test]
fn a_second_name_with_a_date_replaces_too() {
    in_each_mode(&[], |scene| {
        let (one, two) = (lines(1, 300), lines(2, 200));
        let (a, b) = ("20210322.log", "20210323.log");
        scene.step(
            "a log",
            |logs| fs::write(logs.join(a), &one).unwrap(),
            Now { names: &[(a, &one)], days: &[&one] },
        );
        let link = |logs: &Path| fs::hard_link(logs.join(a), logs.join(b)).unwrap();
        scene.step("a second name", link, Now { names: &[(a, &one), (b, &one)], days: &[&one] });
        scene.step(
            "rewritten",
            |logs| fs::write(logs.join(b), &two).unwrap(),
            Now { names: &[(a, &two), (b, &two)], days: &[&two] },
        );
    });
}

#[test]
fn the_same_content_in_two_folders_is_two_logs() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("web2")).unwrap();
    let one = lines(1, 300);
    let truth = count(&[&one]);
    let options = ["--logs", "web2"];
    let mut daemon = Daemon::start_in(folder, &options, &[]);
    fs::write(daemon.log("access.log"), &one).unwrap();
    fs::write(daemon.folder.join("web2/access.log"), &one).unwrap();
    for end in [None, Some(SIGTERM), Some(SIGKILL)] {
        if let Some(number) = end {
            daemon = Daemon::start_in(daemon.end(number), &options, &[]);
        }
        for name in ["logs/access.log", "web2/access.log"] {
            daemon.wait_for(name, truth);
        }
        let day = daemon.get("/api/v1/days/2021-03-22");
        assert_eq!(
            (&day["requests"], &day["unique_ips"]),
            (&Value::from(2 * truth.total), &Value::from(truth.ip)),
            "{day}"
        );
    }
    fs::rename(daemon.log("access.log"), daemon.folder.join("web2/moved.log")).unwrap();
    daemon.wait_for("web2/moved.log", truth);
    support::wait_until("the one that was moved is a duplicate, or the other one is", || {
        let day = daemon.get("/api/v1/days/2021-03-22");
        (daemon.reported("logs/access.log").is_none() && day["unique_ips"] == truth.ip).then_some(())
    });
}

#[test]
fn half_a_line_a_restart_the_other_half() {
    in_each_mode(&[], |scene| {
        let one = lines(1, 300);
        let (half, rest) = halves(2);
        let whole = join(&[&one, &half, &rest]);
        let name = "access.log";
        scene.step(
            "half a line",
            |logs| fs::write(logs.join(name), join(&[&one, &half])).unwrap(),
            Now { names: &[(name, &one)], days: &[&one] },
        );
        scene.step(
            "the other half",
            |logs| append(&logs.join(name), &rest),
            Now { names: &[(name, &whole)], days: &[&whole] },
        );
    });
}

#[test]
fn half_a_line_and_a_rotation() {
    in_each_mode(&[], |scene| {
        let (one, two) = (lines(1, 300), lines(3, 2));
        let half = join(&[&one, &halves(2).0]);
        let name = "access.log";
        scene.step(
            "half a line",
            |logs| fs::write(logs.join(name), &half).unwrap(),
            Now { names: &[(name, &one)], days: &[&one] },
        );
        let rotate = |logs: &Path| {
            fs::rename(logs.join(name), logs.join("access.log.1")).unwrap();
            fs::write(logs.join(name), &two).unwrap();
        };
        // The rotated log is quiet: its last line counts, and is no part of the first line of the new one.
        scene.step(
            "a rotation",
            rotate,
            Now { names: &[(name, &two), ("access.log.1", &half)], days: &[&half, &two] },
        );
    });
}

#[test]
fn a_last_line_without_a_line_feed_counts_when_the_log_is_final() {
    in_each_mode(&["--final-after-s", "1"], |scene| {
        let one = lines(1, 300);
        let (half, rest) = halves(2);
        let halfway = join(&[&one, &half]);
        let whole = join(&[&one, &half, &rest, &lines(3, 2)]);
        let name = "access.log";
        scene.step(
            "half a line",
            |logs| fs::write(logs.join(name), &halfway).unwrap(),
            Now { names: &[(name, &halfway)], days: &[&halfway] },
        );
        // It was counted, and is none: the log is counted again.
        scene.step(
            "it goes on",
            |logs| append(&logs.join(name), &whole[halfway.len()..]),
            Now { names: &[(name, &whole)], days: &[&whole] },
        );
    });
}

#[test]
fn a_half_line_that_is_lost_does_not_keep_its_day_open() {
    in_each_mode(&[], |scene| {
        let one = lines(1, 300);
        let name = "access.log";
        scene.step(
            "half a line",
            |logs| fs::write(logs.join(name), join(&[&one, &halves(2).0])).unwrap(),
            Now { names: &[(name, &one)], days: &[&one] },
        );
        scene.step(
            "deleted",
            |logs| fs::remove_file(logs.join(name)).unwrap(),
            Now { names: &[], days: &[&one] },
        );
    });
}

#[test]
fn a_log_of_which_half_a_line_was_counted_is_rewritten() {
    in_each_mode(&["--final-after-s", "1"], |scene| {
        let (one, two) = (join(&[&lines(1, 30), &halves(2).0]), lines(3, 100));
        let name = "access.log";
        scene.step(
            "half a line",
            |logs| fs::write(logs.join(name), &one).unwrap(),
            Now { names: &[(name, &one)], days: &[&one] },
        );
        scene.step(
            "rewritten, and longer",
            |logs| fs::write(logs.join(name), &two).unwrap(),
            Now { names: &[(name, &two)], days: &[&one, &two] },
        );
    });
}

#[test]
fn a_half_line_is_cut_off_and_the_log_goes_on() {
    in_each_mode(&[], |scene| {
        let (one, two) = (lines(1, 30), lines(2, 1));
        let name = "access.log";
        let (half, both) = (
            join(&[&one, &lines(3, 1), b"10.9.9.9 - - [22/Mar/2021:10:00:00 +0100] half"]),
            join(&[&one, &lines(3, 1), &two]),
        );
        let whole = join(&[&one, &lines(3, 1)]);
        scene.step(
            "half a line",
            |logs| fs::write(logs.join(name), join(&[&half, &[b'x'; 200]])).unwrap(),
            Now { names: &[(name, &whole)], days: &[&whole] },
        );
        let cut = |logs: &Path| {
            File::options().write(true).open(logs.join(name)).unwrap().set_len(whole.len() as u64).unwrap()
        };
        scene.step("cut off", cut, Now { names: &[(name, &whole)], days: &[&whole] });
        // Shorter than it was with the half line.
        scene.step(
            "it goes on",
            |logs| append(&logs.join(name), &two),
            Now { names: &[(name, &both)], days: &[&both] },
        );
    });
}

/// What stands between two samples of a log that is gone cannot be looked at any more; but who asked, and how
/// often, can.
#[test]
fn a_log_that_was_cut_in_place_and_went_its_own_way_counts_its_own_lines() {
    in_each_mode(&[], |scene| {
        let old = lines(1, 1_200);
        let cut = old[..old.len() * 7 / 10].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        let own = b"203.0.113.77 - - [22/Mar/2021:06:25:24 +0100] \"GET /own HTTP/1.1\" 200 5\n".repeat(3);
        let new = join(&[&old[..cut], &own]);
        let name = "access.log";
        scene.step(
            "counted",
            |logs| fs::write(logs.join(name), &old).unwrap(),
            Now { names: &[(name, &old)], days: &[&old] },
        );
        let act = |logs: &Path| {
            let file = File::options().write(true).open(logs.join(name)).unwrap();
            file.set_len(cut as u64).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &own, cut as u64).unwrap();
        };
        scene.step("cut and gone on", act, Now { names: &[(name, &new)], days: &[&old, &new] });
    });
}
