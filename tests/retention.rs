//! `retention_days`: clients leave the store, numbers stay.

mod support;

use std::fs;
use std::io::Write;
use std::process::Command;
use std::time::SystemTime;

use libc::{SIGKILL, SIGTERM};
use serde_json::{Value, json};
use support::{Daemon, Folder, tallyd, wait_until};
use tallyd::log::Day;
use tallyd::store::{Partial, State, day_of, folder, later};

const KEEPS: [&str; 4] = ["--retention-days", "30", "--final-after-s", "1"];

/// The day so many days ago.
fn ago(days: i32) -> Day {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    later(day_of(now.as_millis() as u64).unwrap(), -days).unwrap()
}

/// Requests of clients, one from each, on a day.
fn lines(day: Day, clients: std::ops::Range<u32>) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = day.number();
    let (year, month, day) = (number / 10_000, MONTHS[number as usize / 100 % 100 - 1], number % 100);
    let line = |client: u32| {
        format!(
            "10.0.{}.{} - - [{day:02}/{month}/{year}:12:00:00 +0000] \"GET / HTTP/1.1\" 200 1\n",
            client / 250,
            client % 250
        )
    };
    clients.map(line).collect()
}

/// The days of each partial that have clients, by the name of the log.
fn days_with_clients(folder: &Folder) -> Vec<(String, Vec<Day>)> {
    let entries = folder::list(&folder.join("state")).unwrap();
    let open = |entry: &folder::Entry| Partial::open(fs::File::open(&entry.path).ok()?).ok();
    let partials = entries.iter().filter_map(open).filter(|partial| partial.meta().state != State::Deleted);
    let mut days: Vec<(String, Vec<Day>)> = partials
        .map(|partial| {
            let mut days: Vec<Day> = partial.days().flatten().collect();
            days.retain(|day| {
                let mut rows = 0;
                partial.rows(Some(*day), |_, _, _| rows += 1).unwrap();
                rows > 0
            });
            (String::from_utf8(partial.meta().name.clone()).unwrap(), days)
        })
        .collect();
    days.sort();
    days
}

/// Waits until the partials have clients of these days only.
fn wait_for_clients(folder: &Folder, want: &[(&str, &[Day])]) {
    let want: Vec<(String, Vec<Day>)> =
        want.iter().map(|(name, days)| ((*name).to_owned(), days.to_vec())).collect();
    support::wait_until_or(
        || format!("these have clients: {want:?}; now {:?}", days_with_clients(folder)),
        || (days_with_clients(folder) == want).then_some(()),
    );
    let check = tallyd().args(["store", "check"]).current_dir(folder.path()).output().unwrap();
    assert!(check.status.success(), "{check:?}");
}

/// A range as the daemon and as `tallyd report` say it: `(requests, unique, at least, complete)`.
fn range(daemon: &Daemon, from: Day, to: Day) -> Value {
    let pick = |answer: &Value| {
        json!(["requests", "unique_ips", "unique_ips_at_least", "complete"].map(|key| answer[key].clone()))
    };
    let answer = pick(&daemon.get(&format!("/api/v1/range?from={from}&to={to}")));
    let report = Command::new(support::program())
        .args(["report", "--json", "--state", "state", "--from", &from.to_string(), "--to", &to.to_string()])
        .current_dir(daemon.folder.path())
        .output()
        .unwrap();
    assert_eq!(pick(&serde_json::from_slice(&report.stdout).unwrap()), answer);
    answer
}

fn day(daemon: &Daemon, day: Day) -> Value {
    let answer = daemon.get(&format!("/api/v1/days/{day}"));
    json!(["requests", "unique_ips", "unique_ips_at_least", "complete"].map(|key| answer[key].clone()))
}

#[test]
fn old_clients_leave_the_store_and_the_numbers_stay() {
    let folder = Folder::new();
    let (old, edge, new) = (ago(31), ago(30), ago(1));
    fs::create_dir(folder.join("logs")).unwrap();
    // Two logs share a day; one has days on both sides of what is kept.
    fs::write(folder.join("logs/a.log"), lines(old, 0..100)).unwrap();
    fs::write(folder.join("logs/b.log"), lines(old, 50..170) + &lines(edge, 0..30) + &lines(new, 20..70))
        .unwrap();
    let daemon = Daemon::start_in(folder, &KEEPS[2..], &[]);
    let all: &[(&str, &[Day])] = &[("a.log", &[old]), ("b.log", &[old, edge, new])];
    let kept: &[(&str, &[Day])] = &[("a.log", &[]), ("b.log", &[edge, new])];
    wait_for_clients(&daemon.folder, all);
    let (report, days) = (daemon.get("/api/v1/report"), daemon.get("/api/v1/days"));
    assert_eq!(range(&daemon, old, new), json!([300, 170, false, true]));
    let daemon = Daemon::start_in(daemon.end(SIGTERM), &KEEPS, &[]);
    let check = |daemon: &Daemon| {
        wait_for_clients(&daemon.folder, kept);
        assert_eq!(
            (daemon.get("/api/v1/report"), daemon.get("/api/v1/days")),
            (report.clone(), days.clone())
        );
        assert_eq!(
            (day(daemon, old), range(daemon, old, old)),
            (json!([220, 170, false, true]), json!([220, 170, false, true]))
        );
        assert_eq!(range(daemon, edge, new), json!([80, 70, false, true]));
        // What the old day has in common with others cannot be told any more.
        assert_eq!(range(daemon, old, new), json!([300, 170, true, false]));
        let top = daemon.get(&format!("/api/v1/top/clients?from={old}&to={new}&limit=1"));
        assert_eq!((&top["clients"][0]["requests"], &top["complete"]), (&json!(2), &json!(false)));
    };
    check(&daemon);
    // Nor does a start bring them back, after any end; nor one that keeps them for ever.
    let daemon = Daemon::start_in(daemon.end(SIGKILL), &KEEPS, &[]);
    check(&daemon);
    check(&Daemon::start_in(daemon.end(SIGTERM), &[], &[]));
}

#[test]
fn a_log_of_which_clients_were_removed_grows_on() {
    let daemon = Daemon::start(&KEEPS);
    let (old, new) = (ago(40), ago(0));
    fs::write(daemon.log("access.log"), lines(old, 0..100) + &lines(new, 50..60)).unwrap();
    wait_for_clients(&daemon.folder, &[("access.log", &[new])]);
    let append = |daemon: &Daemon, lines: &str| {
        fs::OpenOptions::new()
            .append(true)
            .open(daemon.log("access.log"))
            .unwrap()
            .write_all(lines.as_bytes())
            .unwrap()
    };
    let file = |daemon: &Daemon| {
        let file = daemon.file("access.log").unwrap();
        json!(["total", "ip", "unique_ips_at_least", "complete"].map(|key| file[key].clone()))
    };
    assert_eq!(file(&daemon), json!([110, 100, false, true]));
    append(&daemon, &lines(new, 55..200));
    wait_until("the day has the new lines", || {
        (day(&daemon, new) == json!([155, 150, false, true])).then_some(())
    });
    // Of those that come now, nobody knows which of them were there on the old day.
    assert_eq!(file(&daemon), json!([255, 150, true, false]));
    assert_eq!(day(&daemon, old), json!([100, 100, false, true]));
    // And late ones are counted; how many are new clients cannot be told.
    append(&daemon, &lines(old, 90..110));
    wait_until("the old day has the late lines", || {
        (day(&daemon, old) == json!([120, 100, true, false])).then_some(())
    });
    let daemon = Daemon::start_in(daemon.end(SIGKILL), &KEEPS, &[]);
    daemon.wait_for("access.log", support::Truth { total: 275, ip: 150 });
    assert_eq!(
        (day(&daemon, old), day(&daemon, new)),
        (json!([120, 100, true, false]), json!([155, 150, false, true]))
    );
    assert_eq!(file(&daemon), json!([275, 150, true, false]));
}

#[test]
fn what_comes_to_a_day_later_and_what_is_taken_back_makes_its_clients_a_least_number() {
    let daemon = Daemon::start_in(Folder::new(), &KEEPS, &[("TALLYD_TOKEN", "a-token-of-16-bytes")]);
    let old = ago(100);
    fs::write(daemon.log("a.log"), lines(old, 0..100)).unwrap();
    fs::write(daemon.log("b.log"), lines(old, 50..150)).unwrap();
    wait_for_clients(&daemon.folder, &[("a.log", &[]), ("b.log", &[])]);
    assert_eq!(day(&daemon, old), json!([200, 150, false, true]));
    fs::write(daemon.log("c.log"), lines(old, 140..160)).unwrap();
    wait_until("the third log is in the day", || {
        (day(&daemon, old) == json!([220, 150, true, false])).then_some(())
    });
    wait_for_clients(&daemon.folder, &[("a.log", &[]), ("b.log", &[]), ("c.log", &[])]);
    assert_eq!(range(&daemon, old, old), json!([220, 150, true, false]));
    let id = daemon.file("c.log").unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        daemon
            .ask("DELETE", &format!("/api/v1/files/{id}"), &[("authorization", "Bearer a-token-of-16-bytes")])
            .unwrap()
            .0,
        204
    );
    // What the two had together was noted.
    wait_until("the third log is taken back", || {
        (day(&daemon, old) == json!([200, 150, false, true])).then_some(())
    });
}

/// A log that is compressed after its clients were removed is the same log, and is decoded with all its
/// clients.
#[test]
fn a_log_that_is_compressed_later_is_the_one_whose_clients_were_removed() {
    let daemon = Daemon::start(&KEEPS);
    let old = ago(100);
    fs::write(daemon.log("a.log"), lines(old, 0..100)).unwrap();
    fs::write(daemon.log("b.log"), lines(old, 50..150)).unwrap();
    wait_for_clients(&daemon.folder, &[("a.log", &[]), ("b.log", &[])]);
    let gzip = Command::new("gzip").arg(daemon.log("a.log")).status().unwrap();
    assert!(gzip.success());
    daemon.wait_for("a.log.gz", support::Truth { total: 100, ip: 100 });
    wait_for_clients(&daemon.folder, &[("a.log.gz", &[]), ("b.log", &[])]);
    assert_eq!(day(&daemon, old), json!([200, 150, false, true]));
}

/// Wherever the daemon ends while it removes the clients of a day of many logs, it is known afterwards how
/// many the day had.
#[test]
fn an_end_while_clients_are_removed_forgets_no_number() {
    let old = ago(100);
    for removed in [0, 1, 7, 19, 20] {
        let folder = Folder::new();
        fs::create_dir(folder.join("logs")).unwrap();
        for log in 0..20 {
            fs::write(folder.join(&format!("logs/{log}.log")), lines(old, log * 10..log * 10 + 50)).unwrap();
        }
        let daemon = Daemon::start_in(folder, &KEEPS, &[]);
        let without =
            |folder: &Folder| days_with_clients(folder).iter().filter(|(_, days)| days.is_empty()).count();
        wait_until("all is stored", || (days_with_clients(&daemon.folder).len() == 20).then_some(()));
        wait_until("clients are removed", || (without(&daemon.folder) >= removed).then_some(()));
        let daemon = Daemon::start_in(daemon.end(SIGKILL), &KEEPS, &[]);
        assert_eq!(day(&daemon, old), json!([1000, 240, false, true]));
        wait_until("all clients are removed", || (without(&daemon.folder) == 20).then_some(()));
        assert_eq!(
            (day(&daemon, old), range(&daemon, old, old)),
            (json!([1000, 240, false, true]), json!([1000, 240, false, true]))
        );
    }
}

/// Each day of the same logs waited until these were stored without the clients of the day before: 10,000
/// logs of 20 days were written forty times.
#[test]
fn old_clients_of_all_days_leave_together() {
    let folder = Folder::new();
    fs::create_dir(folder.join("logs")).unwrap();
    let all: Vec<Day> = (50..56).map(ago).collect();
    for log in 0..4 {
        let lines: String = all.iter().map(|day| lines(*day, log * 10..log * 10 + 50)).collect();
        fs::write(folder.join(&format!("logs/{log}.log")), lines).unwrap();
    }
    let daemon = Daemon::start_in(folder, &KEEPS, &[]);
    wait_for_clients(&daemon.folder, &[("0.log", &[]), ("1.log", &[]), ("2.log", &[]), ("3.log", &[])]);
    assert!(all.iter().all(|old| day(&daemon, *old) == json!([200, 80, false, true])));
    assert!(daemon.journal().contains("parts=24"), "{}", daemon.journal());
}

/// A backup of a log that is gone, and got late lines of a removed day, was taken for another log: it has
/// more clients of that day than are known.
#[test]
fn a_beginning_of_a_log_with_late_lines_counts_within_it() {
    let daemon = Daemon::start(&KEEPS);
    let (old, new) = (ago(50), ago(1));
    let log = |bytes: &[u8]| {
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(daemon.log("site.log"))
            .unwrap()
            .write_all(bytes)
            .unwrap()
    };
    let (first, late, rest) =
        (lines(old, 0..100) + &lines(new, 0..300), lines(old, 100..150), lines(new, 300..800));
    log(first.as_bytes());
    wait_for_clients(&daemon.folder, &[("site.log", &[new])]);
    log(late.as_bytes());
    wait_until("the late lines are counted", || (day(&daemon, old)[0] == 150).then_some(()));
    log(rest.as_bytes());
    wait_until("all is counted", || (day(&daemon, new)[0] == 800).then_some(()));
    fs::remove_file(daemon.log("site.log")).unwrap();
    wait_until("it is gone", || (daemon.file("site.log").unwrap()["state"] == "gone").then_some(()));
    fs::write(daemon.log("restored.log"), first + &late + &lines(new, 300..500)).unwrap();
    daemon.wait_for("restored.log", support::Truth { total: 650, ip: 500 });
    assert_eq!(daemon.file("restored.log").unwrap()["state"], "duplicate");
    assert_eq!(
        (day(&daemon, old)[0].clone(), day(&daemon, new)),
        (json!(150), json!([800, 800, false, true]))
    );
}

/// What comes to an old day while nobody looks is counted before anything of that day is removed.
#[test]
fn nothing_is_removed_before_all_there_is_was_counted() {
    let old = ago(50);
    let daemon = Daemon::start(&KEEPS[2..]);
    fs::write(daemon.log("a.log"), lines(old, 0..100)).unwrap();
    wait_for_clients(&daemon.folder, &[("a.log", &[old])]);
    let folder = daemon.end(SIGTERM);
    fs::write(folder.join("logs/b.log"), lines(old, 50..150)).unwrap();
    // A time stamp of the future does not keep a log from coming to rest.
    let future = SystemTime::now() + std::time::Duration::from_secs(400_000_000);
    fs::File::options().append(true).open(folder.join("logs/b.log")).unwrap().set_modified(future).unwrap();
    let daemon = Daemon::start_in(folder, &KEEPS, &[]);
    wait_for_clients(&daemon.folder, &[("a.log", &[]), ("b.log", &[])]);
    assert_eq!(day(&daemon, old), json!([200, 150, false, true]));
}

/// A log that never rests loses its old clients too.
#[test]
fn a_log_that_grows_all_the_time_loses_its_old_clients() {
    let daemon = Daemon::start(&KEEPS);
    let (old, new) = (ago(50), ago(0));
    let write = |name: &str, bytes: String| {
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(daemon.log(name))
            .unwrap()
            .write_all(bytes.as_bytes())
            .unwrap()
    };
    write("a.log", lines(old, 0..100));
    write("b.log", lines(old, 50..150));
    let mut written = 0;
    wait_until("the old clients are removed", || {
        ["a.log", "b.log"]
            .into_iter()
            .for_each(|name| write(name, lines(new, written % 200..written % 200 + 1)));
        written += 1;
        let want: Vec<(String, Vec<Day>)> =
            ["a.log", "b.log"].map(|name| (name.to_owned(), vec![new])).to_vec();
        (days_with_clients(&daemon.folder) == want).then_some(())
    });
    // Until then the old day is not complete either: they may be of any day.
    wait_until("all new lines are counted", || (day(&daemon, new)[0] == 2 * written).then_some(()));
    wait_until("the old day is complete", || {
        (day(&daemon, old) == json!([200, 150, false, true])).then_some(())
    });
}

/// Another host's daemon removes clients too, and its partial is copied here anew: its numbers stay.
#[test]
fn what_another_host_removes_leaves_its_numbers_here() {
    let old = ago(50);
    let other = Daemon::start(&["--host", "b", "--final-after-s", "1"]);
    fs::write(other.log("b.log"), lines(old, 0..100)).unwrap();
    wait_for_clients(&other.folder, &[("b.log", &[old])]);
    let theirs = |folder: &Folder| {
        folder::list(&folder.join("state"))
            .unwrap()
            .into_iter()
            .find(|entry| entry.host.to_string() == "b")
            .unwrap()
            .path
    };
    let folder = Folder::new();
    let here = folder.join("state/partials/v1/host=b").join(theirs(&other.folder).file_name().unwrap());
    fs::create_dir_all(here.parent().unwrap()).unwrap();
    fs::copy(theirs(&other.folder), &here).unwrap();
    fs::create_dir(folder.join("logs")).unwrap();
    fs::write(folder.join("logs/a.log"), lines(old, 50..150)).unwrap();
    let daemon = Daemon::start_in(folder, &[], &[]);
    wait_until("both are in the day", || (day(&daemon, old) == json!([200, 150, false, true])).then_some(()));
    // After a start, clients are in the store only.
    let daemon = Daemon::start_in(daemon.end(SIGTERM), &[], &[]);
    assert_eq!(day(&daemon, old), json!([200, 150, false, true]));
    let other = Daemon::start_in(
        other.end(SIGTERM),
        &["--host", "b", "--final-after-s", "1", "--retention-days", "30"],
        &[],
    );
    wait_for_clients(&other.folder, &[("b.log", &[])]);
    fs::copy(theirs(&other.folder), here.with_extension("new")).unwrap();
    fs::rename(here.with_extension("new"), &here).unwrap();
    fs::OpenOptions::new()
        .append(true)
        .open(daemon.log("a.log"))
        .unwrap()
        .write_all(lines(old, 150..151).as_bytes())
        .unwrap();
    wait_until("the new line is there, and so is the other host", || {
        (day(&daemon, old) == json!([201, 101, true, false])).then_some(())
    });
}
