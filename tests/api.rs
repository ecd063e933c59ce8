//! The API as programs meet it: lists, forms, packing, errors, and that its document tells the truth.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, Folder, Truth, signal, wait_until};

/// A line of a day of March 2021.
fn line(day: u32, client: &str) -> String {
    format!("{client} - - [{day:02}/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12\n")
}

/// A daemon over these logs, which has counted and stored them.
fn over(logs: &[(&str, String)]) -> Daemon {
    let folder = Folder::new();
    fs::create_dir(folder.join("logs")).unwrap();
    for (name, content) in logs {
        fs::write(folder.join("logs").join(name), content).unwrap();
    }
    let daemon = Daemon::start_in(folder, &[], &[]);
    settle(&daemon);
    daemon
}

/// Waits until nothing is going to change any more.
fn settle(daemon: &Daemon) {
    wait_until("all is counted and stored", || {
        let status = daemon.get("/api/v1/status");
        (status["pending_bytes"] == 0
            && status["unstored_files"] == 0
            && daemon.ask("GET", "/readyz", &[])?.0 == 200)
            .then_some(())
    });
}

/// Five logs that differ in all they are sorted by.
fn five() -> Daemon {
    over(&[
        ("a.log", line(21, "1.1.1.1").repeat(5)),
        ("b.log", line(22, "1.1.1.1") + &line(22, "2.2.2.2") + &line(23, "3.3.3.3")),
        ("c-20210324.log", line(24, "4.4.4.4").repeat(2) + "junk\n"),
        ("d-20210301.log", line(1, "5.5.5.5")),
        ("e.log", line(25, "1.1.1.1").repeat(4) + &line(25, "2.2.2.2") + &line(25, "3.3.3.3")),
    ])
}

fn names(answer: &Value) -> Vec<&str> {
    answer["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect()
}

fn ask(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> (u16, BTreeMap<String, String>, String) {
    let (status, headers, body) = wait_until(path, || daemon.ask("GET", path, headers));
    (
        status,
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect(),
        body,
    )
}

/// The problem that this path is answered by.
fn problem(daemon: &Daemon, path: &str) -> Value {
    let (status, headers, body) = ask(daemon, path, &[]);
    assert_eq!(
        (status, headers["content-type"].as_str()),
        (400, "application/problem+json"),
        "{path}: {body}"
    );
    serde_json::from_str(&body).unwrap()
}

// Lists.

#[test]
fn files_are_sorted_by_what_is_asked_for() {
    let daemon = five();
    for (sort, order) in [
        ("name", ["a.log", "b.log", "c-20210324.log", "d-20210301.log", "e.log"]),
        ("-name", ["e.log", "d-20210301.log", "c-20210324.log", "b.log", "a.log"]),
        // b and c have three each: by name.
        ("requests", ["d-20210301.log", "b.log", "c-20210324.log", "a.log", "e.log"]),
        ("-requests", ["e.log", "a.log", "b.log", "c-20210324.log", "d-20210301.log"]),
        ("day", ["d-20210301.log", "c-20210324.log", "a.log", "b.log", "e.log"]),
        ("-day", ["c-20210324.log", "d-20210301.log", "a.log", "b.log", "e.log"]),
        ("unique_ips", ["a.log", "d-20210301.log", "c-20210324.log", "b.log", "e.log"]),
        ("-log_bytes", ["e.log", "a.log", "b.log", "c-20210324.log", "d-20210301.log"]),
        ("size", ["d-20210301.log", "c-20210324.log", "b.log", "a.log", "e.log"]),
        ("-counted_to", ["e.log", "a.log", "b.log", "c-20210324.log", "d-20210301.log"]),
    ] {
        assert_eq!(names(&daemon.get(&format!("/api/v1/files?sort={sort}"))), order, "{sort}");
        // Page by page, it is the same list.
        let (mut paged, mut path) = (Vec::new(), format!("/api/v1/files?limit=2&sort={sort}"));
        loop {
            let page = daemon.get(&path);
            paged.extend(names(&page).iter().map(|name| (*name).to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/api/v1/files?limit=2&sort={sort}&cursor={next}");
        }
        assert_eq!(paged, order, "{sort}");
    }
    // Where the word is the state's.
    fs::remove_file(daemon.log("a.log")).unwrap();
    wait_until("it is gone", || daemon.file("a.log").filter(|file| file["state"] == "gone"));
    assert_eq!(names(&daemon.get("/api/v1/files?sort=-state"))[0], "a.log");
    assert_eq!(names(&daemon.get("/api/v1/files?state=gone")), ["a.log"]);
    assert_eq!(
        names(&daemon.get("/api/v1/files?state=live")).len()
            + names(&daemon.get("/api/v1/files?state=final")).len(),
        4
    );
}

#[test]
fn a_cursor_holds_when_its_file_goes_and_numbers_change() {
    let daemon = five();
    let first = daemon.get("/api/v1/files?sort=-requests&limit=2");
    assert_eq!(names(&first), ["e.log", "a.log"]);
    let next = first["next"].as_str().unwrap().to_owned();
    // The file that the cursor is of is taken back and goes; one that was told grows.
    fs::remove_file(daemon.log("a.log")).unwrap();
    fs::write(daemon.log("e.log"), line(25, "9.9.9.9").repeat(40)).unwrap();
    daemon.wait_for("e.log", Truth { total: 40, ip: 1 });
    wait_until("a.log is gone", || daemon.file("a.log").filter(|file| file["state"] == "gone"));
    let second = daemon.get(&format!("/api/v1/files?sort=-requests&limit=2&cursor={next}&state=live"));
    let told: Vec<&str> = names(&second);
    assert!(told.starts_with(&["b.log", "c-20210324.log"]), "{told:?}");
    for cursor in ["x", "00", "../..", ""] {
        assert_eq!(problem(&daemon, &format!("/api/v1/files?cursor={cursor}"))["parameter"], "cursor");
    }
    let other = problem(&daemon, &format!("/api/v1/files?sort=name&cursor={next}"));
    assert!(other["detail"].as_str().unwrap().contains("another sort"), "{other}");
}

#[test]
fn files_are_found_by_day_days_and_name() {
    let daemon = five();
    for (query, want) in [
        ("day=2021-03-23", &["b.log"][..]),
        // What has no stamp is of the day in the name.
        ("day=2021-03-24", &["c-20210324.log"]),
        ("day=undated", &[]),
        ("from=2021-03-23", &["b.log", "c-20210324.log", "e.log"]),
        ("to=2021-03-21", &["a.log", "d-20210301.log"]),
        ("from=2021-03-22&to=2021-03-22", &["b.log"]),
        ("from=2021-03-22&to=2021-03-24&day=2021-03-25", &[]),
        ("from=7d", &[]),
        ("to=today", &["a.log", "b.log", "c-20210324.log", "d-20210301.log", "e.log"]),
        ("name=?.log", &["a.log", "b.log", "e.log"]),
        ("name=*2021*", &["c-20210324.log", "d-20210301.log"]),
        ("name=%7Ba,e%7D.log", &["a.log", "e.log"]),
        ("name=*.LOG", &[]),
        ("name=*2021*&sort=-name", &["d-20210301.log", "c-20210324.log"]),
    ] {
        assert_eq!(names(&daemon.get(&format!("/api/v1/files?{query}"))), want, "{query}");
    }
}

#[test]
fn days_come_in_pages_and_in_both_orders() {
    let daemon = five();
    fs::write(daemon.log("f.log"), "no stamp\n").unwrap();
    daemon.wait_for("f.log", Truth { total: 1, ip: 1 });
    let days = |path: &str| -> (Vec<String>, Option<String>) {
        let answer = daemon.get(path);
        let days =
            answer["days"].as_array().unwrap().iter().map(|day| day["day"].as_str().unwrap().to_owned());
        (days.collect(), answer["next"].as_str().map(str::to_owned))
    };
    let all = ["2021-03-01", "2021-03-21", "2021-03-22", "2021-03-23", "2021-03-24", "2021-03-25", "undated"];
    assert_eq!(days("/api/v1/days"), (all.map(str::to_owned).to_vec(), None));
    let (latest, next) = days("/api/v1/days?sort=-day&limit=3");
    assert_eq!(latest, ["2021-03-25", "2021-03-24", "2021-03-23"]);
    let (rest, next) = days(&format!("/api/v1/days?sort=-day&limit=9&cursor={}", next.unwrap()));
    assert_eq!((rest.join(" "), next), ("2021-03-22 2021-03-21 2021-03-01 undated".to_owned(), None));
    assert_eq!(days("/api/v1/days?from=2021-03-24&to=today").0, ["2021-03-24", "2021-03-25"]);
    assert_eq!(daemon.get("/api/v1/range?from=2021-03-01&to=month")["requests"], 18);
    assert_eq!(
        daemon.get("/api/v1/top/clients?limit=10000")["clients"][0],
        json!({"client": "1.1.1.1", "requests": 10, "days": 3})
    );
    // Words are days of the machine's clock, in UTC: nothing of this log is of them.
    assert_eq!(daemon.get("/api/v1/range?from=yesterday&to=7d")["requests"], 0);
    assert_eq!(daemon.ask("GET", "/api/v1/days/today", &[]).unwrap().0, 404);
}

// Errors.

#[test]
fn what_is_wrong_with_a_request_is_named() {
    let daemon = Daemon::start(&[]);
    for (path, parameter, words) in [
        ("/api/v1/files?limit=0", "limit", "1 to 10000"),
        ("/api/v1/files?limit=10001", "limit", "1 to 10000"),
        ("/api/v1/top/clients?limit=10001", "limit", "1 to 10000"),
        ("/api/v1/files?limit=1&limit=1", "limit", "twice"),
        ("/api/v1/files?sort=-names", "sort", "-name"),
        ("/api/v1/files?state=dead", "state", "quarantined"),
        ("/api/v1/files?name=%5B", "name", "pattern"),
        (&format!("/api/v1/files?name={}", "x".repeat(257)), "name", "256 bytes"),
        ("/api/v1/files/%ff", "id", "UTF-8"),
        ("/api/v1/days/%ff", "day", "UTF-8"),
        ("/api/v1/files?day=7d", "day", "2021-03-22"),
        ("/api/v1/files?format=xml", "format", "ndjson"),
        ("/api/v1/report?format=ndjson", "format", "csv"),
        ("/api/v1/range?from=0d", "from", "7d"),
        ("/api/v1/range?to=tomorrow", "to", "today"),
        ("/api/v1/range?from=today&to=yesterday", "from", "after"),
        (
            "/api/v1/days?limits=1",
            "limits",
            "the parameters of this path are from, to, sort, limit, cursor, format",
        ),
        ("/api/v1/days/2021-02-30", "day", "2021-03-22"),
        ("/api/v1/status?x", "x", "has no parameters"),
        ("/openapi.json?x=1", "x", "has no parameters"),
    ] {
        let problem = problem(&daemon, path);
        assert_eq!(
            (&problem["code"], &problem["parameter"]),
            (&json!("bad-parameter"), &json!(parameter)),
            "{path}: {problem}"
        );
        assert!(problem["detail"].as_str().unwrap().contains(words), "{path}: {problem}");
    }
}

/// The type was about:blank, which leads nowhere.
#[test]
fn the_type_of_a_problem_is_a_link_to_its_description() {
    let daemon = Daemon::start(&[]);
    let (_, _, page) = ask(&daemon, "/docs", &[]);
    let document = daemon.get("/openapi.json");
    for code in document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap()
    {
        assert!(page.contains(&format!("id={code}")), "{code} has no anchor in /docs");
    }
    for (method, path, code) in [
        ("GET", "/api/v1/files?limit=0", "bad-parameter"),
        ("GET", "/api/v1/files/0000000000000000", "not-found"),
        ("DELETE", "/api/v1/files/0000000000000000", "no-token-set"),
        ("DELETE", "/docs", "method-not-allowed"),
    ] {
        let (_, _, body) = daemon.ask(method, path, &[]).unwrap();
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&problem["code"], &problem["type"]),
            (&json!(code), &json!(format!("/docs#{code}"))),
            "{method} {path}"
        );
    }
}

/// `bytes` was taken for traffic, and is `log_bytes` now.
#[test]
fn sorting_by_the_old_name_of_log_bytes_is_refused_with_the_new_name() {
    let daemon = five();
    for (old, new) in [("bytes", "log_bytes"), ("-bytes", "-log_bytes")] {
        let problem = problem(&daemon, &format!("/api/v1/files?sort={old}"));
        assert_eq!(
            (&problem["code"], &problem["parameter"]),
            (&json!("bad-parameter"), &json!("sort")),
            "{problem}"
        );
        assert!(problem["detail"].as_str().unwrap().contains(&format!("now named {new:?}")), "{problem}");
        assert_eq!(names(&daemon.get(&format!("/api/v1/files?sort={new}"))).len(), 5);
    }
}

// Days without requests.

/// Such a day was 404, so that a chart of a month had holes.
#[test]
fn a_day_without_requests_is_zeros_between_the_counted_days_and_not_found_outside() {
    let daemon = five();
    let zeros = daemon.get("/api/v1/days/2021-03-10");
    let busy = daemon.get("/api/v1/days/2021-03-22");
    assert!(zeros.as_object().unwrap().keys().eq(busy.as_object().unwrap().keys()), "{zeros}");
    for (field, value) in zeros.as_object().unwrap() {
        match field.as_str() {
            "day" => assert_eq!(value, "2021-03-10"),
            "complete" => assert_eq!(value, true),
            "unique_ips_at_least" => assert_eq!(value, false),
            "requests_by_hour" => assert_eq!(value, &json!(vec![0; 24])),
            _ => assert_eq!(value, 0, "{field}"),
        }
    }
    // The list has the days with requests only.
    assert_eq!(daemon.get("/api/v1/days?from=2021-03-02&to=2021-03-20")["days"], json!([]));
    for day in ["2021-02-28", "2021-03-26", "today", "undated"] {
        let (status, _, body) = ask(&daemon, &format!("/api/v1/days/{day}"), &[]);
        assert_eq!(status, 404, "{day}: {body}");
        assert_eq!(body.contains("2021-03-01 to 2021-03-25"), day != "undated", "{day}: {body}");
    }
    let empty = Daemon::start(&[]);
    let (status, _, body) = ask(&empty, "/api/v1/days/2021-03-22", &[]);
    assert!(status == 404 && body.contains("no requests with a day yet"), "{status}: {body}");
}

#[test]
fn a_day_without_requests_is_incomplete_while_a_log_that_may_have_some_is_not_counted() {
    let folder = Folder::new();
    for part in ["logs", "faults"] {
        fs::create_dir(folder.join(part)).unwrap();
    }
    fs::write(folder.join("logs/a.log"), line(21, "1.1.1.1") + &line(25, "1.1.1.1")).unwrap();
    let daemon = Daemon::start_with_fault(folder, "pause", &[], &[]);
    daemon.wait_for("a.log", Truth { total: 2, ip: 1 });
    let complete = || daemon.get("/api/v1/days/2021-03-23")["complete"] == true;
    wait_until("the day is complete", || complete().then_some(()));
    fs::write(daemon.folder.join("faults/pause"), b"").unwrap();
    // There at once: an empty log would be counted to its end.
    fs::write(daemon.folder.join("b.log"), line(23, "2.2.2.2")).unwrap();
    fs::rename(daemon.folder.join("b.log"), daemon.log("b.log")).unwrap();
    wait_until("the day is incomplete", || (!complete()).then_some(()));
    fs::remove_file(daemon.folder.join("faults/pause")).unwrap();
    wait_until("the day is complete again", || complete().then_some(()));
    assert_eq!(daemon.get("/api/v1/days/2021-03-23")["requests"], 1);
}

// Logs that cannot be read.

/// Puts a log into the folder that only root can read, from the first moment.
fn put_unreadable(daemon: &Daemon, name: &str, content: &str) {
    let apart = daemon.folder.join(name);
    fs::write(&apart, content).unwrap();
    fs::set_permissions(&apart, fs::Permissions::from_mode(0o000)).unwrap();
    fs::rename(&apart, daemon.log(name)).unwrap();
}

/// Lets tallyd read a log or a folder, or not.
fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A range said that it was complete although a log that nobody could read may have had requests of its days.
#[test]
fn an_undated_log_that_cannot_be_read_makes_ranges_and_days_incomplete() {
    let daemon = Daemon::start_as_nobody();
    fs::write(daemon.log("20210322.log"), line(22, "1.1.1.1") + &line(25, "1.1.1.1")).unwrap();
    daemon.wait_for("20210322.log", Truth { total: 2, ip: 1 });
    settle(&daemon);
    let paths = [
        "/api/v1/range",
        "/api/v1/range?from=2021-03-22&to=2021-03-22",
        // No log is known to have requests of these days.
        "/api/v1/range?from=2021-03-23&to=2021-03-24",
        "/api/v1/range?from=2022-01-01",
        "/api/v1/top/clients",
        "/api/v1/days/2021-03-22",
        "/api/v1/days/2021-03-24",
    ];
    let all_are =
        |complete: bool| paths.iter().all(|path| daemon.get(path)["complete"] == complete).then_some(());
    wait_until("all is complete", || all_are(true));
    put_unreadable(&daemon, "access.log", &line(24, "2.2.2.2"));
    wait_until("nothing is complete", || all_are(false));
    assert_eq!(daemon.file("access.log").unwrap()["complete"], false);
    // Also after the coordinator has restarted.
    signal(daemon.pids("coordinator")[0], libc::SIGKILL);
    wait_until("the coordinator is there again", || (daemon.restarts("coordinator") == 1).then_some(()));
    wait_until("the log is found again", || {
        daemon.file("access.log").filter(|file| file["reason"].is_string())
    });
    assert_eq!(all_are(false), Some(()));
    permit(&daemon.log("access.log"), 0o644);
    daemon.wait_for("access.log", Truth { total: 1, ip: 1 });
    wait_until("all is complete again", || all_are(true));
    assert_eq!(daemon.get("/api/v1/range?from=2021-03-23&to=2021-03-24")["requests"], 1);
    // A log that grew since it was counted may have any day in the rest.
    permit(&daemon.log("access.log"), 0o000);
    let mut log = fs::File::options().append(true).open(daemon.log("access.log"));
    if let Ok(log) = &mut log {
        log.write_all(line(25, "3.3.3.3").as_bytes()).unwrap();
        wait_until("nothing is complete once more", || all_are(false));
    }
    fs::remove_file(daemon.log("access.log")).unwrap();
    wait_until("the log is gone", || daemon.file("access.log").filter(|file| file["state"] == "gone"));
}

/// The page said that a folder was missing, and a range said that it was complete.
#[test]
fn a_folder_that_cannot_be_read_makes_ranges_and_days_incomplete() {
    let daemon = Daemon::start_as_nobody();
    fs::write(daemon.log("20210322.log"), line(22, "1.1.1.1")).unwrap();
    daemon.wait_for("20210322.log", Truth { total: 1, ip: 1 });
    let paths = [
        "/api/v1/range",
        "/api/v1/range?from=2021-03-22&to=2021-03-22",
        "/api/v1/top/clients",
        "/api/v1/days/2021-03-22",
    ];
    let all_are =
        |complete: bool| paths.iter().all(|path| daemon.get(path)["complete"] == complete).then_some(());
    wait_until("all is complete", || all_are(true));
    permit(&daemon.logs(), 0o000);
    wait_until("nothing is complete", || all_are(false));
    assert_eq!(daemon.get("/api/v1/range")["requests"], 1);
    permit(&daemon.logs(), 0o755);
    wait_until("all is complete again", || all_are(true));
}

/// Nobody knows which days the lines behind the damage have. Such a log made no day incomplete.
#[test]
fn a_damaged_log_of_which_no_day_is_known_makes_ranges_and_days_incomplete() {
    let daemon = over(&[("20210322.log", line(22, "1.1.1.1"))]);
    let paths = ["/api/v1/range", "/api/v1/range?from=2021-03-22&to=2021-03-22", "/api/v1/days/2021-03-22"];
    let all_are =
        |complete: bool| paths.iter().all(|path| daemon.get(path)["complete"] == complete).then_some(());
    wait_until("all is complete", || all_are(true));
    fs::write(daemon.log("access.log"), b"\x1f\x8b\x08\0\0\0\0\0\0\0").unwrap();
    wait_until("the damage is found", || daemon.file("access.log").filter(|file| file["reason"].is_string()));
    wait_until("nothing is complete", || all_are(false));
    fs::remove_file(daemon.log("access.log")).unwrap();
    wait_until("all is complete again", || all_are(true));
}

/// It said `ready` although tallyd could count nothing.
#[test]
fn tallyd_is_not_ready_while_no_log_can_be_read_and_says_why() {
    let daemon = Daemon::start_as_nobody();
    let ready = || daemon.ask("GET", "/readyz", &[]).map(|(status, _, body)| (status, body));
    let wait_ready =
        |what: &str| wait_until(what, || ready().filter(|answer| *answer == (200, "ready\n".to_owned())));
    // Without logs in a folder that can be read, there is nothing to wait for.
    wait_ready("an empty folder is ready");
    put_unreadable(&daemon, "access.log", &line(22, "1.1.1.1"));
    let (_, body) = wait_until("one log that cannot be read is not ready", || {
        ready().filter(|(status, _)| *status == 503)
    });
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&problem["code"], &problem["type"]), (&json!("not-ready"), &json!("/docs#not-ready")));
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        ["cannot read 1 log in logs", "uid 65532", "let uid 65532 read it"]
            .iter()
            .all(|words| detail.contains(words))
            || !is_root(),
        "{detail}"
    );
    put_unreadable(&daemon, "error-free.log", &line(22, "1.1.1.1"));
    wait_until("two are counted", || {
        ready().filter(|(status, body)| *status == 503 && body.contains("cannot read 2 logs in logs"))
    });
    permit(&daemon.log("access.log"), 0o644);
    wait_ready("one log that can be read is ready");
    permit(&daemon.logs(), 0o000);
    let (_, body) = wait_until("a folder that cannot be read is not ready", || {
        ready().filter(|(status, _)| *status == 503)
    });
    assert!(
        body.contains("cannot read the watched folder") && body.contains("usermod -aG adm tallyd"),
        "{body}"
    );
    permit(&daemon.logs(), 0o755);
    wait_ready("the folder can be read again");
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn health_has_the_names_that_monitoring_systems_use() {
    let folder = Folder::new();
    for part in ["logs", "faults"] {
        fs::create_dir(folder.join(part)).unwrap();
    }
    fs::write(folder.join("faults/pause"), b"").unwrap();
    fs::write(folder.join("logs/a.log"), line(22, "1.1.1.1")).unwrap();
    let token = "8d1f0a6be37c42959f6e4b2ad07c15e3";
    let daemon = Daemon::start_with_fault(folder, "pause", &[("TALLYD_READ_TOKEN", token)], &[]);
    let answers = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| daemon.ask("GET", path, &[]).map(|(status, _, body)| (status, body)))
            .collect::<Vec<_>>()
    };
    let (live, ready) = (["/healthz", "/health", "/livez", "/-/healthy"], ["/readyz", "/ready", "/-/ready"]);
    assert_eq!(answers(&live), vec![Some((200, "alive\n".to_owned())); 4]);
    assert!(answers(&ready).iter().all(|answer| {
        answer.as_ref().is_some_and(|(status, body)| *status == 503 && body.contains("bytes are left"))
    }));
    fs::remove_file(daemon.folder.join("faults/pause")).unwrap();
    wait_until("all are ready", || {
        (answers(&ready) == vec![Some((200, "ready\n".to_owned())); 3]).then_some(())
    });
    for path in live.iter().chain(&ready) {
        assert_eq!(daemon.ask("HEAD", path, &[]).unwrap().0, 200, "{path}");
        assert_eq!(daemon.ask("POST", path, &[]).unwrap().0, 405, "{path}");
    }
    // Neither longer paths nor other ones are open.
    for path in ["/health/", "/-/", "/-/healthy/x", "/-/metrics", "/readyz2"] {
        assert!([401, 404].contains(&daemon.ask("GET", path, &[]).unwrap().0), "{path}");
    }
}

/// A release build has no faults to ask for.
#[test]
fn a_handler_that_panics_is_an_answer_with_an_id_in_the_log() {
    let daemon = Daemon::start_with_fault(Folder::new(), "panic", &[], &[]);
    let pid = daemon.pids("api");
    fs::write(daemon.folder.join("faults/panic"), b"").unwrap();
    let (status, headers, body) = ask(&daemon, "/api/v1/report", &[]);
    if std::env::var_os("TALLYD_BIN").is_some() && status == 200 {
        eprintln!("SKIPPED: the program in TALLYD_BIN has no faults");
        return;
    }
    assert_eq!((status, headers["content-type"].as_str()), (500, "application/problem+json"), "{body}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    let id = problem["id"].as_str().unwrap();
    assert!(problem["code"] == "internal" && problem["detail"].as_str().unwrap().contains(id), "{problem}");
    wait_until("the log has the id", || daemon.journal().contains(id).then_some(()));
    assert!(daemon.journal().contains("a test asked for it"));
    // The process lives, and goes on.
    fs::remove_file(daemon.folder.join("faults/panic")).unwrap();
    assert_eq!(daemon.get("/api/v1/report"), json!({}));
    assert_eq!(daemon.pids("api"), pid);
}

#[test]
fn head_is_answered_wherever_get_is() {
    let daemon = five();
    let document = daemon.get("/openapi.json");
    let id = daemon.get("/api/v1/files")["files"][0]["id"].as_str().unwrap().to_owned();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", &id).replace("{day}", "2021-03-22");
        let (status, headers, body) = daemon.ask("HEAD", &path, &[]).unwrap();
        if operations.get("get").is_some() {
            assert_eq!((status, body.as_str()), (200, ""), "{path}");
        } else {
            assert_eq!(status, 405, "{path}");
        }
        assert!(headers.contains_key("x-content-type-options"), "{path}");
        let (status, headers, _) = daemon.ask("PATCH", &path, &[]).unwrap();
        let allow = headers["allow"].to_str().unwrap();
        let allowed =
            operations.as_object().unwrap().keys().all(|method| allow.contains(&method.to_uppercase()));
        assert!(status == 405 && allowed, "{path}: {status} {allow}");
    }
}

// Forms.

/// The rows of a CSV text without quoted cells.
fn rows(csv: &str) -> Vec<Vec<&str>> {
    csv.strip_suffix("\r\n").unwrap().split("\r\n").map(|row| row.split(',').collect()).collect()
}

#[test]
fn lists_are_csv_and_json_lines_too() {
    let daemon = five();
    for (path, list) in
        [("/api/v1/files", "files"), ("/api/v1/days", "days"), ("/api/v1/top/clients", "clients")]
    {
        let (_, _, body) = ask(&daemon, path, &[]);
        let all: Value = serde_json::from_str(&body).unwrap();
        let objects = all[list].as_array().unwrap();
        let (status, headers, csv) = ask(&daemon, path, &[("accept", "text/csv")]);
        assert_eq!((status, headers["content-type"].split(';').next()), (200, Some("text/csv")), "{path}");
        assert_eq!(headers["vary"], "accept, accept-encoding");
        assert_eq!(ask(&daemon, &format!("{path}?format=csv"), &[("accept", "application/json")]).2, csv);
        let rows = rows(&csv);
        assert_eq!(rows.len(), objects.len() + 1);
        // The header line has the names of the JSON in its order.
        let at = |name: &str| body.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name}"));
        let plain: Vec<usize> = rows[0]
            .iter()
            .filter(|name| !name.starts_with("requests_by_hour_"))
            .map(|name| at(name))
            .collect();
        assert!(plain.is_sorted(), "{path}: {:?}", rows[0]);
        for (object, row) in objects.iter().zip(&rows[1..]) {
            let mut cells: BTreeMap<&str, &str> = rows[0].iter().copied().zip(row.iter().copied()).collect();
            assert_eq!(cells.len(), row.len());
            for (name, value) in object.as_object().unwrap() {
                match value {
                    Value::Array(values) => {
                        for (at, value) in values.iter().enumerate() {
                            assert_eq!(
                                cells.remove(format!("{name}_{at:02}").as_str()),
                                Some(value.to_string().as_str()),
                                "{path} {name}"
                            );
                        }
                    }
                    Value::Null => assert_eq!(cells.remove(name.as_str()), Some(""), "{path} {name}"),
                    Value::String(text) => {
                        assert_eq!(cells.remove(name.as_str()), Some(text.as_str()), "{path} {name}")
                    }
                    value => assert_eq!(
                        cells.remove(name.as_str()),
                        Some(value.to_string().as_str()),
                        "{path} {name}"
                    ),
                }
            }
            assert!(cells.is_empty(), "{path}: {cells:?}");
        }
        let (_, headers, lines) = ask(&daemon, path, &[("accept", "application/x-ndjson")]);
        assert_eq!(headers["content-type"], "application/x-ndjson");
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(&lines, objects, "{path}");
    }
    let (_, _, report) = ask(&daemon, "/api/v1/report?format=csv", &[]);
    assert_eq!(
        report,
        "name,total,ip\r\na.log,5,1\r\nb.log,3,3\r\nc-20210324.log,3,2\r\nd-20210301.log,1,1\r\ne.log,6,3\r\n"
    );
    let (_, _, range) = ask(&daemon, "/api/v1/range?from=2021-03-22&to=2021-03-23&format=csv", &[]);
    let rows = rows(&range);
    assert_eq!(
        (rows.len(), &rows[0][..4], &rows[1][..4]),
        (2, &["from", "to", "requests", "parsed"][..], &["2021-03-22", "2021-03-23", "3", "3"][..])
    );
    // Where no other page has its place in the body, the header has it.
    let (_, headers, _) = ask(&daemon, "/api/v1/files?format=csv&limit=3", &[]);
    let link = headers["link"].strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    let (_, headers, rest) = ask(&daemon, &format!("/api/v1/files{link}"), &[]);
    assert_eq!((self::rows(&rest).len(), headers.get("link")), (3, None));
}

#[test]
fn a_cell_is_no_formula() {
    let daemon = over(&[
        ("=1+1,\"x\".log", "=cmd|' /C calc'!A0 - - [22/Mar/2021:06:25:24 +0100] x\n".to_owned()),
        ("-5.log", line(22, "+1.2.3.4")),
    ]);
    let (_, _, files) = ask(&daemon, "/api/v1/files?format=csv", &[]);
    assert!(files.contains(",'-5.log,") && files.contains(",\"'=1+1,\"\"x\"\".log\","), "{files}");
    let (_, _, clients) = ask(&daemon, "/api/v1/top/clients?format=csv", &[]);
    assert!(
        clients.contains("\r\n'=cmd|',1,1\r\n") && clients.contains("\r\n'+1.2.3.4,1,1\r\n"),
        "{clients}"
    );
    assert!(!files.starts_with('\u{feff}') && files.starts_with("id,name,"));
}

/// Asks without letting the client unpack anything.
fn raw(daemon: &Daemon, path: &str, coding: &str) -> (BTreeMap<String, String>, Vec<u8>) {
    let config =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).proxy(None).build();
    let agent: ureq::Agent = config.into();
    let mut answer = agent.get(daemon.url(path)).header("accept-encoding", coding).call().unwrap();
    let mut body = Vec::new();
    answer.body_mut().as_reader().read_to_end(&mut body).unwrap();
    (
        answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        body,
    )
}

#[test]
fn large_answers_are_packed_and_tags_tell_forms_apart() {
    let daemon = five();
    for path in ["/api/v1/files", "/api/v1/days", "/api/v1/files?format=csv", "/openapi.json", "/docs"] {
        let (headers, plain) = raw(&daemon, path, "identity");
        assert!(
            !headers.contains_key("content-encoding")
                && plain.len() > 1024
                && headers["vary"] == "accept, accept-encoding",
            "{path}: {headers:?}"
        );
        let (gzip, body) = raw(&daemon, path, "gzip");
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(
            (gzip["content-encoding"].as_str(), gzip["content-length"].parse(), unpacked == plain),
            ("gzip", Ok(body.len()), true),
            "{path}"
        );
        let (zstd, body) = raw(&daemon, path, "gzip, zstd");
        assert_eq!(
            (zstd["content-encoding"].as_str(), zstd::decode_all(&body[..]).unwrap() == plain),
            ("zstd", true),
            "{path}"
        );
        assert!(body.len() < plain.len() / 2, "{path}: {} of {}", body.len(), plain.len());
        let (_, head, _) = daemon.ask("HEAD", path, &[("accept-encoding", "gzip")]).unwrap();
        assert_eq!(
            (head["content-encoding"].to_str().unwrap(), head["content-length"].to_str().unwrap()),
            ("gzip", gzip["content-length"].as_str()),
            "{path}"
        );
        assert_eq!(head.get_all("vary").iter().count(), 1, "{path}: {head:?}");
        // Whoever has it in one packing has it in the other.
        assert_eq!(
            ask(&daemon, path, &[("if-none-match", &gzip["etag"]), ("accept-encoding", "zstd")]).0,
            304,
            "{path}"
        );
    }
    let (small, _) = raw(&daemon, "/api/v1/report", "gzip");
    assert!(!small.contains_key("content-encoding"), "{small:?}");
    // Another form is another answer.
    let tags: Vec<String> = ["json", "csv", "ndjson"]
        .map(|format| ask(&daemon, &format!("/api/v1/days?format={format}"), &[]).1["etag"].clone())
        .into();
    assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), 3, "{tags:?}");
    for (own, tag) in tags.iter().enumerate() {
        for (other, accept) in
            ["application/json", "text/csv", "application/x-ndjson"].into_iter().enumerate()
        {
            let (status, headers, _) =
                ask(&daemon, "/api/v1/days", &[("accept", accept), ("if-none-match", tag)]);
            assert_eq!(
                (status == 304, headers["vary"].as_str()),
                (own == other, "accept, accept-encoding"),
                "{tag} {accept}"
            );
        }
    }
}

// The document.

/// A component of the document as a schema on its own, which lets no other fields pass.
fn strict(document: &Value, schema: &Value) -> Value {
    let mut components = document["components"].clone();
    for component in components["schemas"].as_object_mut().unwrap().values_mut() {
        if component.get("properties").is_some() {
            component["additionalProperties"] = json!(false);
        }
    }
    json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "components": components, "allOf": [schema] })
}

#[track_caller]
fn check_valid(document: &Value, schema: &Value, value: &Value, what: &str) {
    let validator = jsonschema::validator_for(&strict(document, schema)).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {}\n{value}", errors.join("\n"));
}

/// Asks for everything in every form, and holds each answer against what the document says of it.
#[test]
fn every_answer_is_as_the_document_says() {
    let daemon = five();
    fs::write(daemon.log("copy.log"), line(21, "1.1.1.1").repeat(5)).unwrap();
    fs::write(daemon.log("damaged.log"), b"\x1f\x8b\x08\0\0\0\0\0\0\0").unwrap();
    fs::write(daemon.log(".hidden"), b"").unwrap();
    wait_until("the damage is found", || {
        daemon.file("damaged.log").filter(|file| file["reason"].is_string())
    });
    wait_until("the copy is found", || {
        daemon.file("copy.log").filter(|file| file["duplicate_of"].is_string() || file["state"] == "live")
    });
    let document = daemon.get("/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    let ids: Vec<String> = daemon.get("/api/v1/files")["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["id"].as_str().unwrap().to_owned())
        .collect();
    let mut checked = 0;
    let mut check = |method: &str, path: &str, operation: &Value, headers: &[(&str, &str)]| {
        let (status, headers, body) = wait_until(path, || daemon.ask(method, path, headers));
        let response = &operation["responses"][status.to_string()];
        assert!(response.is_object(), "{method} {path}: {status} is not described");
        if let Some(media) =
            headers.get("content-type").map(|media| media.to_str().unwrap().split(';').next().unwrap())
        {
            let content = &response["content"][media];
            assert!(content.is_object(), "{method} {path}: {status} {media} is not described");
            if ["application/json", "application/problem+json"].contains(&media) {
                let value = serde_json::from_str(&body).unwrap();
                check_valid(&document, &content["schema"], &value, &format!("{method} {path}"));
            }
        } else {
            assert!(response.get("content").is_none() && body.is_empty(), "{method} {path}: {status} {body}");
        }
        checked += 1;
        headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned())
    };
    for (template, operations) in document["paths"].as_object().unwrap() {
        let paths: Vec<String> = if template.contains("{id}") {
            ids.iter()
                .map(|id| template.replace("{id}", id))
                .chain([template.replace("{id}", "0000000000000000")])
                .collect()
        } else {
            ["2021-03-22", "2021-02-30", "undated", "today"]
                .iter()
                .map(|day| template.replace("{day}", day))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect()
        };
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase();
            for path in paths.iter().filter(|_| !template.ends_with("/events")) {
                let tag = check(&method, path, operation, &[]);
                check(&method, &format!("{path}?unknown=1"), operation, &[]);
                if let Some(tag) = tag {
                    check(&method, path, operation, &[("if-none-match", &tag)]);
                }
                for parameter in operation["parameters"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|parameter| parameter["in"] == "query")
                {
                    let name = parameter["name"].as_str().unwrap();
                    for value in parameter["schema"]["enum"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .chain(["1", "today", "x", ""])
                    {
                        check(&method, &format!("{path}?{name}={value}"), operation, &[]);
                    }
                }
            }
        }
    }
    assert!(checked > 100, "{checked}");
}

/// The document allowed fewer days than are read.
#[test]
fn a_number_of_days_is_read_if_the_document_allows_it() {
    let daemon = Daemon::start(&[]);
    let document = daemon.get("/openapi.json");
    let parameters = document["paths"]["/api/v1/days"]["get"]["parameters"].as_array().unwrap();
    let from = parameters.iter().find(|parameter| parameter["name"] == "from").unwrap();
    let validator = jsonschema::validator_for(&from["schema"]).unwrap();
    for days in [
        0, 1, 9, 10, 999, 9_999, 10_000, 29_999, 30_000, 35_999, 36_000, 36_499, 36_500, 36_501, 36_600,
        37_000, 99_999, 100_000,
    ] {
        let value = format!("{days}d");
        let (status, _, _) = ask(&daemon, &format!("/api/v1/days?from={value}"), &[]);
        assert_eq!(status == 200, validator.is_valid(&json!(value)), "{value}: {status}");
    }
}

/// The examples of the document are real answers to the samples. What differs from run to run is not
/// compared.
#[test]
fn the_examples_are_what_is_answered() {
    let samples: Vec<(&str, String)> = ["20210322.log", "20210323.log", "access-2021-03-24.log"]
        .map(|name| {
            (name, fs::read_to_string(format!("{}/files/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap())
        })
        .into();
    let daemon = over(&samples);
    let id = daemon.file("20210322.log").unwrap()["id"].as_str().unwrap().to_owned();
    let document = daemon.get("/openapi.json");
    let mut compared = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (media, content) in
            operations["get"]["responses"]["200"]["content"].as_object().into_iter().flatten()
        {
            for example in content["examples"].as_object().into_iter().flat_map(|examples| examples.values())
            {
                let asked = example["summary"].as_str().unwrap().strip_prefix("GET ").unwrap();
                let asked = if path.ends_with("{id}") { path.replace("{id}", &id) } else { asked.to_owned() };
                let (status, _, body) = ask(&daemon, &asked, &[("accept", media)]);
                assert_eq!(status, 200, "{asked}: {body}");
                match example["value"].as_str() {
                    Some(text) => assert_eq!(text, body, "{asked}"),
                    None => {
                        let (mut documented, mut real) =
                            (example["value"].clone(), serde_json::from_str(&body).unwrap());
                        check_valid(&document, &content["schema"], &documented, &asked);
                        for value in [&mut documented, &mut real] {
                            forget(value);
                        }
                        assert_eq!(documented, real, "{asked}");
                    }
                }
                compared.insert(path.as_str());
            }
        }
    }
    let with_json = document["paths"].as_object().unwrap().iter().filter(|(_, operations)| {
        !operations["get"]["responses"]["200"]["content"]["application/json"].is_null()
    });
    let want: BTreeSet<&str> =
        with_json.map(|(path, _)| path.as_str()).filter(|path| *path != "/openapi.json").collect();
    assert!(compared.is_superset(&want), "{:?} have no example", want.difference(&compared));
}

/// Takes out of an answer what differs from run to run.
fn forget(value: &mut Value) {
    match value {
        Value::Object(members) => {
            // What shuts processes in and what memory there is depends on the system.
            for name in ["id", "pid", "as_of", "uptime_seconds", "version", "landlock", "seccomp", "memory"] {
                members.remove(name);
            }
            // A cursor holds an id.
            if let Some(next) = members.get_mut("next").filter(|next| next.is_string()) {
                *next = json!("a cursor");
            }
            if members.contains_key("role") {
                members.retain(|name, _| ["role", "number"].contains(&name.as_str()));
            }
            members.values_mut().for_each(forget);
        }
        Value::Array(values) => values.iter_mut().for_each(forget),
        _ => {}
    }
}

#[test]
fn the_docs_are_a_page_that_needs_nothing_else() {
    let daemon = Daemon::start(&[]);
    let (status, headers, page) = ask(&daemon, "/docs", &[]);
    assert_eq!((status, headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    assert!(headers["content-security-policy"].contains("default-src 'none'"));
    for path in daemon.get("/openapi.json")["paths"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
    }
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
}

#[test]
fn each_range_in_quarantine_is_told() {
    // Two poisoned lines, far apart, each of which ends whoever counts it.
    let folder = Folder::new();
    for part in ["logs", "faults"] {
        fs::create_dir(folder.join(part)).unwrap();
    }
    fs::write(folder.join("faults/crash"), b"").unwrap();
    let content: String =
        (0..20_000).map(|at| line(22, &format!("10.0.{}.{}", at / 250, at % 250))).collect();
    assert!(content.len() > 1_100_000);
    fs::write(folder.join("logs/a.log"), content).unwrap();
    let daemon = Daemon::start_with_fault(folder, "crash", &[("TALLYD_FAULT_AT", "100000,1000000")], &[]);
    let poisons = [100_000, 1_000_000];
    // The store has all ranges a moment after the board has the first one.
    wait_until("both ranges are told", || {
        let status = daemon.get("/api/v1/status")["quarantine"].get(0).cloned()?;
        let file = daemon.get(&format!("/api/v1/files/{}", status["file"].as_str().unwrap()));
        let ranges: Vec<[u64; 3]> = file["quarantine"]
            .as_array()
            .unwrap()
            .iter()
            .map(|range| ["from", "to", "bytes"].map(|name| range[name].as_u64().unwrap()))
            .collect();
        // Until then, there is the first range, with the bytes of all.
        let [from, to, bytes] = *ranges.first()?;
        assert!(ranges.len() <= 2 && from < to && (ranges.len() == 2 || bytes >= to - from), "{file}");
        assert_eq!(
            ranges.len() == 2,
            poisons.iter().all(|poison| ranges
                .iter()
                .any(|[from, to, bytes]| from <= poison && poison < to && *bytes == to - from)),
            "{file}"
        );
        (ranges.len() == 2).then_some(())
    });
}
