//! Ranges of days, the clients that asked most, and what needs the token: on the real binary, beside a plain
//! program.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc;
use serde_json::{Value, json};
use support::{Daemon, Folder, duckdb, signal, tallyd, wait_until};
use tallyd::log::{Day, Kind};
use tallyd::store::folder::{self, Host};
use tallyd::store::{Meta, State, encode};
use tallyd::tally::{Clients, Key, Usage};

const TOKEN: &str = "a-token-of-32-bytes-for-the-tests";
const BEARER: (&str, &str) = ("authorization", "Bearer a-token-of-32-bytes-for-the-tests");
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGSTOP: i32 = 19;

// ---- the plain program ----

/// A request as the test wrote it.
struct Asked {
    log: usize,
    /// The day it is reported under.
    day: Option<String>,
    hour: Option<usize>,
    client: Vec<u8>,
    bytes: u64,
}

/// Logs, as their bytes and as what is true of them.
#[derive(Default)]
struct Truth {
    logs: Vec<(String, Vec<u8>)>,
    asked: Vec<Asked>,
}

impl Truth {
    /// A log under a name, with the day in it. Its lines: client, and day of March and hour, or none.
    fn log(&mut self, name: &str, day_of_name: Option<&str>, lines: &[(String, Option<(u32, usize)>)]) {
        let mut bytes = Vec::new();
        for (number, (client, at)) in lines.iter().enumerate() {
            let before = bytes.len();
            let at_text = at.map_or("no stamp".to_owned(), |(day, hour)| {
                format!("[{day:02}/Mar/2021:{hour:02}:00:00 +0100]")
            });
            // Logs in one folder that begin alike would be copies.
            writeln!(bytes, "{client} - - {at_text} \"GET /{name}/{number}\"").unwrap();
            self.asked.push(Asked {
                log: self.logs.len(),
                day: at.map(|(day, _)| format!("2021-03-{day:02}")).or(day_of_name.map(str::to_owned)),
                hour: at.map(|(_, hour)| hour),
                client: client.as_bytes().to_vec(),
                bytes: (bytes.len() - before) as u64,
            });
        }
        self.logs.push((name.to_owned(), bytes));
    }

    /// The requests of these days.
    fn of(&self, from: Option<&str>, to: Option<&str>) -> Vec<&Asked> {
        let within = |day: &String| {
            from.is_none_or(|from| from <= day.as_str()) && to.is_none_or(|to| day.as_str() <= to)
        };
        self.asked.iter().filter(|asked| asked.day.as_ref().is_some_and(within)).collect()
    }

    /// What the range must be, without `as_of`.
    fn range(&self, from: Option<&str>, to: Option<&str>) -> Value {
        let of = self.of(from, to);
        let clients: BTreeSet<&[u8]> = of.iter().map(|asked| asked.client.as_slice()).collect();
        let kind = |wanted| clients.iter().filter(|client| kind(client) == wanted).count();
        let mut hours = [0; 24];
        of.iter().filter_map(|asked| asked.hour).for_each(|hour| hours[hour] += 1);
        json!({
            "from": from, "to": to, "requests": of.len(), "parsed": of.iter().filter(|asked| asked.hour.is_some()).count(),
            "malformed": of.iter().filter(|asked| asked.hour.is_none()).count(), "unique_ips": clients.len(), "ipv4": kind(Kind::Ipv4), "ipv6": kind(Kind::Ipv6),
            "other": kind(Kind::Other), "log_bytes": of.iter().map(|asked| asked.bytes).sum::<u64>(), "requests_by_hour": hours,
            "files": of.iter().map(|asked| asked.log).collect::<BTreeSet<_>>().len(), "complete": true, "unique_ips_at_least": false,
        })
    }

    /// The clients that asked most.
    fn top(&self, from: Option<&str>, to: Option<&str>, limit: usize) -> Value {
        let mut clients: BTreeMap<&[u8], (u64, BTreeSet<&String>)> = BTreeMap::new();
        for asked in self.of(from, to) {
            let client = clients.entry(&asked.client).or_default();
            client.0 += 1;
            client.1.extend(&asked.day);
        }
        let mut clients: Vec<_> = clients.into_iter().collect();
        clients.sort_by_key(|(client, (requests, _))| (std::cmp::Reverse(*requests), *client));
        let shown = |(client, (requests, days)): &(&[u8], (u64, BTreeSet<&String>))| json!({"client": String::from_utf8_lossy(client), "requests": requests, "days": days.len()});
        json!(clients.iter().take(limit).map(shown).collect::<Vec<_>>())
    }
}

fn kind(client: &[u8]) -> Kind {
    match std::str::from_utf8(client).ok().and_then(|text| text.parse().ok()) {
        Some(std::net::IpAddr::V4(_)) => Kind::Ipv4,
        Some(std::net::IpAddr::V6(_)) => Kind::Ipv6,
        None => Kind::Other,
    }
}

/// Lines of clients of all kinds, by numbers; each third number asks twice.
fn lines(numbers: std::ops::Range<u32>, at: Option<(u32, usize)>) -> Vec<(String, Option<(u32, usize)>)> {
    let client = |number: u32| match number % 5 {
        0 => format!("2001:db8::{number:x}"),
        1 => format!("host-{number}.example"),
        _ => std::net::Ipv4Addr::from(number.wrapping_mul(2_654_435_761)).to_string(),
    };
    numbers
        .flat_map(|number| {
            std::iter::repeat_n((client(number), at), if number.is_multiple_of(3) { 2 } else { 1 })
        })
        .collect()
}

/// Writes what another host has stored of these logs of a truth.
fn store(state: &Path, host: &str, truth: &Truth, log: usize, complete: bool) {
    let mut meta = Meta {
        log: log as u64 + 1,
        name: truth.logs[log].0.clone().into(),
        state: State::Final,
        complete,
        ..Meta::default()
    };
    let (mut sets, mut all): (BTreeMap<Option<Day>, Clients>, _) = (BTreeMap::new(), Clients::default());
    for asked in truth.asked.iter().filter(|asked| asked.log == log) {
        let day = asked.hour.and(asked.day.as_ref()).and_then(|day| Day::parse(day));
        let key = match std::str::from_utf8(&asked.client).unwrap().parse::<std::net::Ipv4Addr>() {
            Ok(address) => Key::V4(address.into()),
            Err(_) => Key::Bytes(&asked.client),
        };
        let usage = Usage { requests: 1, bytes: asked.bytes, hours: asked.hour.map_or(0, |hour| 1 << hour) };
        sets.entry(day).or_default().add(key, usage);
        all.add(key, usage);
        let totals = meta.days.entry(day).or_default();
        totals.counts.log_bytes += asked.bytes;
        match asked.hour {
            Some(hour) => {
                (totals.counts.parsed, totals.counts.hours[hour]) =
                    (totals.counts.parsed + 1, totals.counts.hours[hour] + 1)
            }
            None => totals.counts.malformed += 1,
        }
    }
    for (day, clients) in &sets {
        meta.days.get_mut(day).unwrap().clients = clients.distinct();
        meta.totals.counts += meta.days[day].counts;
    }
    meta.totals.clients = all.distinct();
    let days: Vec<_> = sets.iter().map(|(day, clients)| (*day, clients)).collect();
    let folder = folder::open_own(state, &Host::new(host).unwrap()).unwrap();
    folder::write(&folder, meta.log, &encode(&meta, &days).unwrap()).unwrap();
}

// ---- asking ----

fn query(path: &str, from: Option<&str>, to: Option<&str>) -> String {
    let bound = |name: &str, day: Option<&str>| day.map_or(String::new(), |day| format!("{name}={day}&"));
    format!("{path}?{}{}", bound("from", from), bound("to", to))
}

/// Asks until the answer is complete; without `as_of`, which must be a moment.
#[track_caller]
fn ask(daemon: &Daemon, path: &str) -> Value {
    wait_until(&format!("{path} is complete"), || {
        let mut answer = daemon.get(path);
        let as_of = answer.as_object_mut().unwrap().remove("as_of").unwrap();
        let as_of = as_of.as_str().unwrap();
        assert!(
            as_of.len() == 24
                && as_of.starts_with("20")
                && as_of.ends_with('Z')
                && as_of.as_bytes()[10] == b'T',
            "{as_of}"
        );
        (answer["complete"] == true).then_some(answer)
    })
}

/// Waits until all is counted that was there when the daemon started, and all of the rest that was found by
/// now.
fn wait_counted(daemon: &Daemon) {
    wait_until("all that was there is counted", || {
        daemon.ask("GET", "/readyz", &[]).filter(|(status, ..)| *status == 200)
    });
    wait_until("all is counted", || (daemon.get("/api/v1/status")["pending_bytes"] == 0).then_some(()));
}

/// A log of one line, which is counted. (Before it is found, nothing is pending either.)
fn write_line(daemon: &Daemon) {
    fs::write(daemon.log("20210322.log"), line("1.2.3.4", 22)).unwrap();
    wait_until("the line is counted", || (daemon.get("/api/v1/range")["requests"] == 1).then_some(()));
}

/// The status of an answer, and the code of the problem.
#[track_caller]
fn status(daemon: &Daemon, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let (status, _, body) = wait_until(path, || daemon.ask(method, path, headers));
    let problem: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
    (status, problem["code"].as_str().unwrap_or(&body).to_owned())
}

fn id_of(daemon: &Daemon, name: &str) -> String {
    daemon.file(name).unwrap_or_else(|| panic!("there is no {name}"))["id"].as_str().unwrap().to_owned()
}

/// Writes the logs of a truth below this folder.
fn write_logs(folder: &Path, truth: &Truth, logs: &[usize]) {
    for log in logs {
        let path = folder.join(&truth.logs[*log].0);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &truth.logs[*log].1).unwrap();
    }
}

/// A daemon with the token, over one folder with such logs.
fn with_token(logs: &[(&str, &str)]) -> Daemon {
    let folder = Folder::new();
    fs::create_dir(folder.join("logs")).unwrap();
    for (name, content) in logs {
        fs::write(folder.join("logs").join(name), content).unwrap();
    }
    let daemon = Daemon::start_in(folder, &[], &[("TALLYD_TOKEN", TOKEN)]);
    wait_counted(&daemon);
    daemon
}

fn line(client: &str, day: u32) -> String {
    format!("{client} - - [{day:02}/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12\n")
}

// ---- ranges ----

/// Two watched folders, one of whose logs goes over midnight and one has lines without a time stamp; and what
/// another host has stored.
fn several() -> Truth {
    let mut truth = Truth::default();
    let dated = |numbers, day, hour| lines(numbers, Some((day, hour)));
    truth.log(
        "web1/20210322.log",
        Some("2021-03-22"),
        &[dated(0..400, 22, 0), lines(390..420, None), dated(300..500, 22, 23), dated(400..450, 23, 0)]
            .concat(),
    );
    truth.log("web1/20210323.log", Some("2021-03-23"), &dated(440..900, 23, 12));
    truth.log("web2/20210322.log", Some("2021-03-22"), &dated(200..600, 22, 6));
    truth.log(
        "web2/access.log",
        None,
        &[dated(700..800, 24, 1), lines(5_000..5_100, None), dated(0..10, 27, 2)].concat(),
    );
    truth.log(
        "20210322.log",
        Some("2021-03-22"),
        &[dated(550..1_000, 22, 3), lines(6_000..6_010, None), dated(0..30, 24, 4)].concat(),
    );
    truth
}

const RANGES: [(Option<&str>, Option<&str>); 12] = [
    (None, None),
    (Some("2021-03-22"), Some("2021-03-22")),
    (Some("2021-03-22"), Some("2021-03-23")),
    (Some("2021-03-22"), Some("2021-03-24")),
    (Some("2021-03-23"), Some("2021-03-23")),
    (Some("2021-03-23"), Some("2021-03-26")),
    (Some("2021-03-23"), None),
    (None, Some("2021-03-23")),
    (Some("2021-03-25"), Some("2021-03-26")),
    (Some("0001-01-01"), Some("9999-12-31")),
    (Some("2022-01-01"), None),
    (None, Some("2021-03-21")),
];

fn start_several(truth: &Truth, options: &[&str]) -> Daemon {
    let folder = Folder::new();
    write_logs(folder.path(), truth, &[0, 1, 2, 3]);
    store(&folder.join("state"), "web-9", truth, 4, true);
    let daemon = Daemon::start_in(folder, &[&["--logs", "web1", "--logs", "web2"], options].concat(), &[]);
    wait_counted(&daemon);
    daemon
}

#[test]
fn a_range_is_the_exact_union_over_days_folders_and_hosts() {
    let truth = several();
    // With a cache and without.
    for options in [&[][..], &["--cache-mib", "0"]] {
        let daemon = start_several(&truth, options);
        for (from, to) in RANGES {
            // The second time from what is kept.
            for _ in 0..2 {
                assert_eq!(
                    ask(&daemon, &query("/api/v1/range", from, to)),
                    truth.range(from, to),
                    "{from:?} to {to:?}"
                );
                let top = ask(&daemon, &(query("/api/v1/top/clients", from, to) + "limit=1000"));
                assert_eq!(top["clients"], truth.top(from, to, 1000), "{from:?} to {to:?}");
            }
            if from.is_some() || to.is_some() {
                let words = [from.map(|day| ["--from", day]), to.map(|day| ["--to", day])];
                let output = tallyd()
                    .args(["report", "--json"])
                    .args(words.into_iter().flatten().flatten())
                    .current_dir(daemon.folder.path())
                    .output()
                    .unwrap();
                assert_eq!(
                    serde_json::from_slice::<Value>(&output.stdout).unwrap(),
                    truth.range(from, to),
                    "{from:?} to {to:?}"
                );
            }
        }
    }
}

#[test]
fn ranges_are_those_of_duckdb() {
    let truth = several();
    let daemon = start_several(&truth, &[]);
    let range = |from, to| ask(&daemon, &query("/api/v1/range", Some(from), Some(to)));
    let program = r#"
import duckdb, json, sys
rows = duckdb.connect().execute(f"""
    SELECT sum(requests)::BIGINT, count(DISTINCT key), sum(bytes)::BIGINT, count(DISTINCT key) FILTER (kind = 'ipv6')
    FROM read_parquet('{sys.argv[1]}', hive_partitioning=true)
    WHERE dimension = 'client' AND day BETWEEN '2021-03-23' AND '2021-03-27'""").fetchall()
print(json.dumps(rows[0]))
"#;
    // From the 23rd on, no log with a date in its name has lines without a time stamp.
    let range = range("2021-03-23", "2021-03-27");
    let Some(found) = duckdb(program, daemon.folder.join("state/partials/v1/**/*.parquet").to_str().unwrap())
    else {
        return;
    };
    assert_eq!(found, json!([range["requests"], range["unique_ips"], range["log_bytes"], range["ipv6"]]));
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let daemon = Daemon::start(&[]);
    for path in [
        "range?from=2021-03-23&to=2021-03-22",
        "range?from=2021-02-30",
        "range?to=undated",
        "range?from=",
        "range?day=2021-03-22",
        "range?from=2021-03-22&limit=1",
        "top/clients?from=2021-03-23&to=2021-03-22",
        "top/clients?limit=0",
        "top/clients?limit=10001",
        "top/clients?limit=x",
        "top/clients?x=1",
    ] {
        assert_eq!(
            status(&daemon, "GET", &format!("/api/v1/{path}"), &[]),
            (400, "bad-parameter".to_owned()),
            "{path}"
        );
    }
    for (method, path) in [
        ("POST", "/api/v1/range"),
        ("DELETE", "/api/v1/top/clients"),
        ("GET", "/api/v1/rescan"),
        ("POST", "/api/v1/files/0000000000000001"),
    ] {
        assert_eq!(
            status(&daemon, method, path, &[]),
            (405, "method-not-allowed".to_owned()),
            "{method} {path}"
        );
    }
    assert_eq!(ask(&daemon, "/api/v1/range"), Truth::default().range(None, None));
    assert_eq!(ask(&daemon, "/api/v1/top/clients")["clients"], json!([]));
}

#[test]
fn who_asks_after_counting_gets_it_all() {
    let daemon = Daemon::start(&[]);
    for number in 0..10 {
        let mut log = File::options().append(true).create(true).open(daemon.log("20210322.log")).unwrap();
        log.write_all(line(&format!("10.0.0.{number}"), 22).as_bytes()).unwrap();
        let day = || {
            daemon
                .ask("GET", "/api/v1/days/2021-03-22", &[])
                .is_some_and(|(_, _, body)| body.contains(&format!("\"requests\":{},", number + 1)))
        };
        wait_until("it is counted", || day().then_some(()));
        // On a slow disk the first answer may be an older one, but then it says so.
        let range = ask(&daemon, "/api/v1/range?from=2021-03-22&to=2021-03-22");
        assert_eq!((&range["requests"], &range["unique_ips"]), (&json!(number + 1), &json!(number + 1)));
    }
}

#[test]
fn what_is_not_counted_yet_makes_a_range_incomplete() {
    let folder = Folder::new();
    for part in ["logs", "faults"] {
        fs::create_dir(folder.join(part)).unwrap();
    }
    fs::write(folder.join("faults/pause"), b"").unwrap();
    fs::write(folder.join("logs/20210322.log"), line("1.2.3.4", 22)).unwrap();
    let daemon = Daemon::start_with_fault(folder, "pause", &[], &[]);
    let range = |day: &str| daemon.get(&format!("/api/v1/range?from={day}&to={day}"));
    for day in ["2021-03-22", "2021-03-30"] {
        let range = range(day);
        assert_eq!((&range["requests"], &range["complete"]), (&json!(0), &json!(false)), "{day}");
    }
    fs::remove_file(daemon.folder.join("faults/pause")).unwrap();
    wait_until("it is complete", || {
        (range("2021-03-22")["complete"] == true && range("2021-03-30")["complete"] == true).then_some(())
    });
    assert_eq!(range("2021-03-22")["requests"], 1);
}

#[test]
fn a_store_that_cannot_be_written_makes_ranges_incomplete_and_old() {
    let daemon = Daemon::start(&[]);
    write_line(&daemon);
    let before = ask(&daemon, "/api/v1/range");
    let partials = daemon.folder.join("state/partials/v1/host=local");
    let id = id_of(&daemon, "20210322.log");
    // A folder stands where the next partial is to be written.
    fs::create_dir(partials.join(format!(".{id}.tmp"))).unwrap();
    let mut log = File::options().append(true).open(daemon.log("20210322.log")).unwrap();
    log.write_all(line("1.2.3.5", 22).as_bytes()).unwrap();
    wait_until("the board is ahead", || {
        (daemon.get("/api/v1/days/2021-03-22")["requests"] == 2).then_some(())
    });
    let start = Instant::now();
    let behind = daemon.get("/api/v1/range");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!((&behind["requests"], &behind["complete"]), (&before["requests"], &json!(false)));
    fs::remove_dir(partials.join(format!(".{id}.tmp"))).unwrap();
    let after = ask(&daemon, "/api/v1/range");
    assert_eq!(after["requests"], 2);
    assert!(daemon.get("/api/v1/range")["as_of"].as_str().unwrap() > behind["as_of"].as_str().unwrap());
}

#[test]
fn what_other_hosts_store_is_seen_and_what_is_damaged_is_left_out() {
    let mut truth = Truth::default();
    truth.log("20210322.log", Some("2021-03-22"), &lines(0..100, Some((22, 1))));
    truth.log("20210323.log", Some("2021-03-23"), &lines(50..200, Some((23, 1))));
    let folder = Folder::new();
    write_logs(&folder.join("logs"), &truth, &[0]);
    let daemon = Daemon::start_in(folder, &[], &[]);
    wait_counted(&daemon);
    assert_eq!(ask(&daemon, "/api/v1/range")["unique_ips"], 100);
    let tag = || daemon.ask("GET", "/api/v1/range", &[]).unwrap().1["etag"].to_str().unwrap().to_owned();
    let before = tag();
    // It comes while the daemon runs.
    store(&daemon.folder.join("state"), "b", &truth, 1, true);
    wait_until("it is seen", || (daemon.get("/api/v1/range")["unique_ips"] == 200).then_some(()));
    assert_ne!(tag(), before);
    assert_eq!(ask(&daemon, "/api/v1/range"), truth.range(None, None));
    let path = folder::path(&folder::of(&daemon.folder.join("state"), &Host::new("b").unwrap()), 2);
    let mut bytes = fs::read(&path).unwrap();
    // Of the columns, only that of the clients is read for a union; the footer is whole.
    let rows = bytes.len().min(800);
    bytes[4..rows].iter_mut().for_each(|byte| *byte ^= 1);
    fs::write(&path, bytes).unwrap();
    let range = wait_until("it is left out", || {
        Some(daemon.get("/api/v1/range")).filter(|range| range["complete"] == false)
    });
    assert_eq!((&range["unique_ips"], &range["files"]), (&json!(100), &json!(1)));
}

#[test]
fn the_clients_that_asked_most_come_first_and_ties_by_their_bytes() {
    let mut content = String::new();
    for (client, day, times) in [
        ("10.0.0.9", 22, 3),
        ("10.0.0.10", 22, 2),
        ("10.0.0.10", 23, 1),
        ("b.example", 22, 3),
        ("2001:db8::1", 22, 3),
        ("z", 24, 4),
    ] {
        (0..times).for_each(|_| content += &line(client, day));
    }
    let mut bytes = content.into_bytes();
    bytes.extend_from_slice(b"\xff\x01 - - [22/Mar/2021:06:25:24 +0100] x\n".repeat(5).as_slice());
    let folder = Folder::new();
    fs::create_dir(folder.join("logs")).unwrap();
    fs::write(folder.join("logs/access.log"), bytes).unwrap();
    let daemon = Daemon::start_in(folder, &[], &[]);
    wait_counted(&daemon);
    let top = |query: &str| {
        let answer = ask(&daemon, &format!("/api/v1/top/clients?{query}"));
        let clients = answer["clients"].as_array().unwrap().iter();
        clients
            .map(|top| {
                (
                    top["client"].as_str().unwrap().to_owned(),
                    top["requests"].as_u64().unwrap(),
                    top["days"].as_u64().unwrap(),
                )
            })
            .collect::<Vec<_>>()
    };
    let all = [
        ("\\xff\u{1}", 5, 1),
        ("z", 4, 1),
        ("10.0.0.10", 3, 2),
        ("10.0.0.9", 3, 1),
        ("2001:db8::1", 3, 1),
        ("b.example", 3, 1),
    ];
    let all = all.map(|(client, requests, days)| (client.to_owned(), requests, days));
    assert_eq!(top(""), all);
    assert_eq!(top("limit=3"), all[..3]);
    assert_eq!(
        top("from=2021-03-23&to=2021-03-24"),
        [("z".to_owned(), 4, 1), ("10.0.0.10".to_owned(), 1, 1)]
    );
}

#[test]
fn answers_about_ranges_have_tags() {
    let daemon = Daemon::start(&[]);
    write_line(&daemon);
    for path in ["/api/v1/range", "/api/v1/top/clients"] {
        ask(&daemon, path);
        let (_, headers, _) = daemon.ask("GET", path, &[]).unwrap();
        let tag = headers["etag"].to_str().unwrap().to_owned();
        let (status, headers, body) = daemon.ask("GET", path, &[("if-none-match", &tag)]).unwrap();
        assert_eq!(
            (status, headers["etag"].to_str().unwrap(), body.as_str()),
            (304, tag.as_str(), ""),
            "{path}"
        );
        File::options()
            .append(true)
            .open(daemon.log("20210322.log"))
            .unwrap()
            .write_all(line("1.2.3.5", 22).as_bytes())
            .unwrap();
        wait_until("it is another answer", || {
            (daemon.ask("GET", path, &[("if-none-match", &tag)])?.0 == 200).then_some(())
        });
    }
}

// ---- what needs the token ----

#[test]
fn nobody_changes_anything_without_the_token() {
    let daemon = Daemon::start(&[]);
    for (method, path) in [("DELETE", "/api/v1/files/0000000000000001"), ("POST", "/api/v1/rescan")] {
        assert_eq!(status(&daemon, method, path, &[BEARER]), (403, "no-token-set".to_owned()));
    }
    let daemon = with_token(&[]);
    for (method, path) in [("DELETE", "/api/v1/files/0000000000000001"), ("POST", "/api/v1/rescan")] {
        for headers in [
            &[][..],
            &[("authorization", "Bearer wrong")],
            &[("authorization", TOKEN)],
            &[("authorization", "Basic a-token-of-32-bytes-for-the-tests")],
        ] {
            let (status, answered, _) = daemon.ask(method, path, headers).unwrap();
            assert_eq!(
                (status, answered["www-authenticate"].to_str().unwrap()),
                (401, "Bearer"),
                "{method} {headers:?}"
            );
        }
    }
    assert_eq!(status(&daemon, "POST", "/api/v1/rescan", &[BEARER]), (202, String::new()));
    assert_eq!(status(&daemon, "POST", "/api/v1/rescan?x=1", &[BEARER]).0, 400);
    // Reading needs none.
    assert_eq!(status(&daemon, "GET", "/api/v1/range", &[]).0, 200);
}

#[test]
fn a_token_comes_from_a_file_too_and_the_environment_wins() {
    let folder = Folder::new();
    fs::write(folder.join("token"), " \tAhm4oo7aiqu9Eiph \r\nsecond line\n").unwrap();
    let daemon = Daemon::start_in(folder, &["--token-file", "token"], &[]);
    assert_eq!(
        status(&daemon, "POST", "/api/v1/rescan", &[("authorization", "Bearer Ahm4oo7aiqu9Eiph")]).0,
        202
    );
    let daemon =
        Daemon::start_in(daemon.end(SIGTERM), &["--token-file", "token"], &[("TALLYD_TOKEN", TOKEN)]);
    assert_eq!(
        status(&daemon, "POST", "/api/v1/rescan", &[("authorization", "Bearer Ahm4oo7aiqu9Eiph")]).0,
        401
    );
    assert_eq!(status(&daemon, "POST", "/api/v1/rescan", &[BEARER]).0, 202);
    // The next api has it too.
    signal(daemon.pids("api")[0], SIGKILL);
    wait_until("there is another one", || (daemon.restarts("api") > 0).then_some(()));
    assert_eq!(status(&daemon, "POST", "/api/v1/rescan", &[BEARER]).0, 202);
    // The others have it nowhere: not where the environment was, nor in their own memory.
    for pid in [daemon.pids("worker"), daemon.pids("coordinator"), vec![daemon.pid()]].concat() {
        assert!(!holds(pid, TOKEN.as_bytes()), "process {pid} has the token in its memory");
    }
    assert!(holds(daemon.pids("api")[0], TOKEN.as_bytes()));
}

/// Does a process have these bytes in memory that it can write to?
fn holds(pid: i32, bytes: &[u8]) -> bool {
    use std::os::unix::fs::FileExt;
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines().filter(|map| map.contains(" rw-p ")).any(
        |map| {
            let (from, to) = map.split(' ').next().unwrap().split_once('-').unwrap();
            // No more than what is there: reserved memory of a thread's heap is large and empty.
            (number(from)..number(to)).step_by(1 << 20).any(|at| {
                let mut page = vec![0; ((number(to) - at).min(1 << 20)) as usize];
                let read = memory.read_at(&mut page, at).unwrap_or(0);
                memchr::memmem::find(&page[..read], bytes).is_some()
            })
        },
    )
}

#[test]
fn a_token_that_cannot_be_stops_the_daemon_with_the_remedy() {
    let check = |variables: &[(&str, &str)], words: &[&str]| {
        let folder = Folder::new();
        fs::create_dir(folder.join("logs")).unwrap();
        fs::write(folder.join("short"), "0123456789abcde\n").unwrap();
        fs::write(folder.join("empty"), "\n0123456789abcdef\n").unwrap();
        let command = ["serve", "--logs", "logs", "--listen", "127.0.0.1:0"];
        let output = tallyd()
            .args(command)
            .envs(variables.iter().copied())
            .current_dir(folder.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(words.iter().all(|word| stderr.contains(word)), "{words:?}: {stderr}");
        assert!(!stderr.contains("0123456789"), "{stderr}");
    };
    check(
        &[("TALLYD_TOKEN", "0123456789abcde")],
        &["TALLYD_TOKEN: a token of 15 bytes can be guessed; set a token of at least 16"],
    );
    check(&[("TALLYD_TOKEN_FILE", "short")], &["token_file short: a token of 15 bytes", "openssl rand"]);
    check(&[("TALLYD_TOKEN_FILE", "empty")], &["token_file empty: the token is empty"]);
    check(&[("TALLYD_TOKEN_FILE", "missing")], &["cannot read the token_file missing: No such file"]);
}

#[test]
fn a_log_that_is_taken_back_counts_nowhere_and_never_again() {
    let daemon = with_token(&[
        ("20210322.log", &(line("1.1.1.1", 22) + &line("2.2.2.2", 22))),
        ("access.log", &(line("2.2.2.2", 22) + &line("3.3.3.3", 23))),
    ]);
    assert_eq!(ask(&daemon, "/api/v1/range")["unique_ips"], 3);
    let id = id_of(&daemon, "20210322.log");
    assert_eq!(status(&daemon, "DELETE", "/api/v1/files/0000000000000001", &[BEARER]).0, 404);
    assert_eq!(status(&daemon, "DELETE", &format!("/api/v1/files/{id}"), &[BEARER]), (204, String::new()));
    let check = |daemon: &Daemon| {
        let file = daemon.file("20210322.log").unwrap();
        assert_eq!(
            (&file["state"], &file["reason"], &file["requests"]),
            (&json!("skipped"), &json!("the numbers of the log were deleted"), &json!(0))
        );
        assert_eq!(daemon.reported("20210322.log"), None);
        assert_eq!(daemon.get("/api/v1/days/2021-03-22")["requests"], 1);
        let range = daemon.get("/api/v1/range");
        assert_eq!(
            (&range["requests"], &range["unique_ips"], &range["files"]),
            (&json!(2), &json!(2), &json!(1))
        );
    };
    assert!(daemon.log("20210322.log").exists());
    check(&daemon);
    // Once more is the same; and it stays so when the log grows, and in the next lives.
    assert_eq!(status(&daemon, "DELETE", &format!("/api/v1/files/{id}"), &[BEARER]).0, 204);
    let mut daemon = daemon;
    for number in [SIGTERM, SIGKILL] {
        File::options()
            .append(true)
            .open(daemon.log("20210322.log"))
            .unwrap()
            .write_all(line("9.9.9.9", 22).as_bytes())
            .unwrap();
        assert_eq!(status(&daemon, "POST", "/api/v1/rescan", &[BEARER]).0, 202);
        wait_counted(&daemon);
        check(&daemon);
        daemon = Daemon::start_in(daemon.end(number), &[], &[("TALLYD_TOKEN", TOKEN)]);
        wait_counted(&daemon);
        check(&daemon);
    }
}

#[test]
fn a_log_that_is_gone_can_be_taken_back() {
    let daemon =
        with_token(&[("20210322.log", &line("1.1.1.1", 22)), ("20210323.log", &line("2.2.2.2", 23))]);
    fs::remove_file(daemon.log("20210322.log")).unwrap();
    wait_until("it is gone", || daemon.file("20210322.log").filter(|file| file["state"] == "gone"));
    assert_eq!(ask(&daemon, "/api/v1/range")["requests"], 2);
    assert_eq!(
        status(&daemon, "DELETE", &format!("/api/v1/files/{}", id_of(&daemon, "20210322.log")), &[BEARER]).0,
        204
    );
    assert_eq!((daemon.file("20210322.log"), &ask(&daemon, "/api/v1/range")["requests"]), (None, &json!(1)));
    let daemon = Daemon::start_in(daemon.end(SIGKILL), &[], &[]);
    wait_counted(&daemon);
    assert_eq!(ask(&daemon, "/api/v1/range")["requests"], 1);
}

#[test]
fn a_copy_of_a_log_that_was_taken_back_counts_nowhere_either() {
    let daemon = with_token(&[
        ("access.log", &(line("1.1.1.1", 22) + &line("2.2.2.2", 22))),
        ("copy.log", &line("1.1.1.1", 22)),
    ]);
    wait_until("the copy is one", || daemon.file("copy.log").filter(|file| file["state"] == "duplicate"));
    assert_eq!(
        status(&daemon, "DELETE", &format!("/api/v1/files/{}", id_of(&daemon, "access.log")), &[BEARER]).0,
        204
    );
    let is_void = |daemon: &Daemon| {
        let file = daemon.file("copy.log")?;
        let shown = (&file["state"], &file["reason"], &file["requests"], &file["duplicate_of"]);
        (shown == (&json!("skipped"), &json!("the numbers of the log were deleted"), &json!(0), &Value::Null))
            .then_some(())
    };
    wait_until("it is void", || is_void(&daemon));
    assert_eq!(daemon.reported("copy.log"), None);
    fs::remove_file(daemon.log("access.log")).unwrap();
    wait_until("the other is not listed any more", || daemon.file("access.log").is_none().then_some(()));
    assert_eq!(is_void(&daemon), Some(()));
    // It is a log of its own once it goes its own way.
    fs::write(daemon.log("copy.log"), line("1.1.1.1", 22) + &line("3.3.3.3", 22)).unwrap();
    daemon.wait_for("copy.log", support::Truth { total: 2, ip: 2 });
    assert_eq!(ask(&daemon, "/api/v1/range")["requests"], 2);
}

#[test]
fn a_duplicate_and_what_is_left_out_cannot_be_taken_back() {
    let daemon = with_token(&[
        ("access.log", &(line("1.1.1.1", 22) + &line("2.2.2.2", 22))),
        ("copy.log", &line("1.1.1.1", 22)),
        (".hidden", "x\n"),
    ]);
    fs::hard_link(daemon.log("access.log"), daemon.log("second.log")).unwrap();
    wait_until("both are duplicates", || {
        (daemon.file("copy.log")?["state"] == "duplicate"
            && daemon.file("second.log")?["state"] == "duplicate")
            .then_some(())
    });
    let first = id_of(&daemon, "access.log");
    for name in ["copy.log", "second.log"] {
        let id = id_of(&daemon, name);
        let (status, _, body) = daemon.ask("DELETE", &format!("/api/v1/files/{id}"), &[BEARER]).unwrap();
        assert!(status == 409 && body.contains(&first), "{name}: {status} {body}");
        assert_eq!(daemon.get(&format!("/api/v1/files/{id}"))["duplicate_of"], first);
    }
    assert_eq!(
        status(&daemon, "DELETE", &format!("/api/v1/files/{}", id_of(&daemon, ".hidden")), &[BEARER]),
        (409, "conflict".to_owned())
    );
    assert_eq!(ask(&daemon, "/api/v1/range")["requests"], 2);
}

/// Is there something in a socket of a process that it has not taken? (pidfd_getfd(2), as a debugger may.)
fn has_unread(pid: i32) -> bool {
    // SAFETY: the call takes numbers and gives a new descriptor, or -1.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32;
    assert!(process >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    let process = unsafe { OwnedFd::from_raw_fd(process) };
    let sockets =
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(|entry| entry.ok()).filter(|entry| {
            fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
        });
    sockets.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).any(|number| {
        // SAFETY: as above.
        let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) } as i32;
        assert!(copy >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: as above.
        let copy = unsafe { OwnedFd::from_raw_fd(copy) };
        let mut unread: libc::c_int = 0;
        // SAFETY: FIONREAD writes one int, and there is room for it.
        unsafe { libc::ioctl(copy.as_raw_fd(), libc::FIONREAD, &raw mut unread) };
        unread > 0
    })
}

#[test]
fn what_is_asked_of_a_coordinator_that_dies_the_next_one_does() {
    let daemon =
        with_token(&[("20210322.log", &line("1.1.1.1", 22)), ("20210323.log", &line("2.2.2.2", 23))]);
    let path = format!("/api/v1/files/{}", id_of(&daemon, "20210322.log"));
    let coordinator = daemon.pids("coordinator")[0];
    signal(coordinator, SIGSTOP);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let config = ureq::Agent::config_builder()
                .timeout_global(Some(Duration::from_secs(30)))
                .http_status_as_error(false)
                .proxy(None);
            let agent: ureq::Agent = config.build().into();
            agent
                .delete(daemon.url(&path))
                .header("authorization", BEARER.1)
                .call()
                .unwrap()
                .status()
                .as_u16()
        });
        wait_until("it lies in the socket", || has_unread(coordinator).then_some(()));
        signal(coordinator, SIGKILL);
        assert_eq!(asked.join().unwrap(), 204);
    });
    assert_eq!(ask(&daemon, "/api/v1/range")["requests"], 1);
}

#[test]
fn rescan_tries_again_what_was_given_up() {
    let folder = Folder::new();
    for part in ["logs", "faults"] {
        fs::create_dir(folder.join(part)).unwrap();
    }
    fs::write(folder.join("faults/crash"), b"").unwrap();
    fs::write(folder.join("logs/20210322.log"), line("1.2.3.4", 22).repeat(10)).unwrap();
    let daemon =
        Daemon::start_with_fault(folder, "crash", &[("TALLYD_FAULT_AT", "5"), ("TALLYD_TOKEN", TOKEN)], &[]);
    let range =
        wait_until("it is quarantined", || daemon.get("/api/v1/status")["quarantine"].get(0).cloned());
    let id = id_of(&daemon, "20210322.log");
    assert_eq!(daemon.get(&format!("/api/v1/files/{id}"))["quarantine"], json!([range]));
    assert_eq!(daemon.get("/api/v1/range")["complete"], false);
    fs::remove_file(daemon.folder.join("faults/crash")).unwrap();
    assert_eq!(status(&daemon, "POST", "/api/v1/rescan", &[BEARER]).0, 202);
    wait_until("all is counted", || (ask(&daemon, "/api/v1/range")["requests"] == 10).then_some(()));
    assert_eq!(daemon.get(&format!("/api/v1/files/{id}"))["quarantine"], json!([]));
}
