//! The store as others see it: partials on disk, read by DuckDB, and the commands `tallyd report` and `tallyd
//! store`.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use libc::SIGTERM;
use serde_json::{Value, json};
use support::{Daemon, Folder, Truth, duckdb, tallyd, wait_until};
use tallyd::log::Day;
use tallyd::period::{Period, today};
use tallyd::store::folder::{self, Host};
use tallyd::store::{Meta, Partial, State, encode, read_meta};
use tallyd::tally::{Clients, Key, Totals, Usage};

fn day(text: &str) -> Option<Day> {
    Day::parse(text)
}

/// The requests of one of the clients of this number.
fn requests_of(number: u32) -> u64 {
    1 + u64::from(number) % 5
}

/// The requests of so many numbers, each of which is a client of each kind.
fn requests(from: u32, count: u32) -> u64 {
    (from..from + count).map(|number| 3 * requests_of(number)).sum()
}

/// Writes the partial of a log: by day, which numbers are its clients, from the one on so many. All is asked
/// at six o'clock, in lines of 100 bytes.
fn store(state: &Path, host: &str, log: u64, name: &str, days: &[(Option<Day>, u32, u32)]) {
    let mut meta = Meta {
        log,
        name: name.into(),
        state: State::Final,
        complete: true,
        written_at: 1_616_394_324_000,
        ..Meta::default()
    };
    let (mut sets, mut all) = (Vec::new(), Clients::default());
    for (day, from, count) in days {
        let (mut clients, sum) = (Clients::default(), requests(*from, *count));
        for number in *from..from + count {
            let (ipv6, name) = (format!("2001:db8::{number:x}"), format!("host-{number}.example"));
            let requests = requests_of(number);
            for key in [
                Key::V4(number.wrapping_mul(0x9e37_79b1)),
                Key::Bytes(ipv6.as_bytes()),
                Key::Bytes(name.as_bytes()),
            ] {
                clients.add(
                    key,
                    Usage { requests, bytes: 100 * requests, hours: u32::from(day.is_some()) << 6 },
                );
            }
        }
        let mut totals = Totals::default();
        totals.counts.log_bytes = 100 * sum;
        if day.is_some() {
            (totals.counts.parsed, totals.counts.hours[6]) = (sum, sum);
        } else {
            totals.counts.malformed = sum;
        }
        totals.clients = clients.distinct();
        meta.totals.counts += totals.counts;
        meta.days.insert(*day, totals);
        all.merge(&clients);
        sets.push((*day, clients));
    }
    meta.totals.clients = all.distinct();
    let days: Vec<_> = sets.iter().map(|(day, clients)| (*day, clients)).collect();
    let folder = folder::open_own(state, &Host::new(host).unwrap()).unwrap();
    folder::write(&folder, log, &encode(&meta, &days).unwrap()).unwrap();
}

/// Four logs of two hosts: three days, one of them in two logs with some of the same clients; one log without
/// rows.
fn some(state: &Path) {
    store(state, "local", 1, "20210322.log", &[(None, 0, 10), (day("2021-03-22"), 100, 500)]);
    store(state, "local", 2, "20210323.log", &[(day("2021-03-22"), 500, 300), (day("2021-03-23"), 0, 50)]);
    store(state, "web-2", 0xfedc_ba98_7654_3210, "access.log", &[(day("1969-12-31"), 7, 1)]);
    store(state, "web-2", 4, "empty.log", &[]);
}

#[test]
fn duckdb_reads_what_is_stored() {
    let state = Folder::new();
    some(state.path());
    let program = r#"
import duckdb, json, sys
query = duckdb.connect().execute
table = f"read_parquet('{sys.argv[1]}', hive_partitioning=true)"
rows = lambda text: [[value if isinstance(value, int) or value is None else str(value) for value in row] for row in query(text).fetchall()]
print(json.dumps({
    "types": [row[:3] for row in rows(f"DESCRIBE SELECT * FROM {table}")],
    "days": rows(f"SELECT day, sum(requests), count(DISTINCT key) FROM {table} WHERE dimension = 'client' GROUP BY day ORDER BY day NULLS FIRST"),
    "hosts": rows(f"SELECT host, count(*) FROM {table} GROUP BY host ORDER BY host"),
    "kinds": rows(f"SELECT kind, count(*), sum(bytes), bit_or(hours) FROM {table} GROUP BY kind ORDER BY kind"),
    "one": rows(f"SELECT key::VARCHAR, kind FROM {table} WHERE day = DATE '1969-12-31' ORDER BY kind"),
    "rows": rows(f"SELECT day, kind, key::VARCHAR, requests, bytes, hours FROM {table} WHERE host = 'local' ORDER BY day NULLS FIRST, kind, key"),
    "json": [json.loads(row[0])["name"] for row in query(f"SELECT decode(value) FROM parquet_kv_metadata('{sys.argv[1]}') WHERE decode(key) = 'tallyd'").fetchall()],
}))
"#;
    let Some(found) = duckdb(program, state.join("partials/v1/**/*.parquet").to_str().unwrap()) else {
        return;
    };
    let types = [
        "day DATE YES",
        "dimension VARCHAR YES",
        "kind VARCHAR YES",
        "key BLOB YES",
        "requests BIGINT YES",
        "bytes BIGINT YES",
        "hours INTEGER YES",
        "host VARCHAR YES",
    ];
    let types: Vec<Vec<&str>> = types.iter().map(|line| line.split(' ').collect()).collect();
    assert_eq!(found["types"], json!(types));
    let days = json!([
        [null, requests(0, 10), 30],
        ["1969-12-31", requests(7, 1), 3],
        ["2021-03-22", requests(100, 500) + requests(500, 300), 700 * 3],
        ["2021-03-23", requests(0, 50), 150],
    ]);
    assert_eq!(found["days"], days);
    assert_eq!(found["hosts"], json!([["local", 3 * 860], ["web-2", 3]]));
    let ipv4 = std::net::Ipv4Addr::from(7u32.wrapping_mul(0x9e37_79b1)).to_string();
    assert_eq!(found["one"], json!([[ipv4, "ipv4"], ["2001:db8::7", "ipv6"], ["host-7.example", "other"]]));
    let mut names: Vec<&str> = found["json"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["20210322.log", "20210323.log", "access.log", "empty.log"]);
    // Row by row, what our own reader sees.
    let mut rows = BTreeMap::<_, Vec<Value>>::new();
    for log in [1, 2] {
        let path = folder::path(&folder::of(state.path(), &Host::new("local").unwrap()), log);
        let partial = Partial::open(fs::File::open(path).unwrap()).unwrap();
        for day in partial.days() {
            partial
                .rows(day, |kind, key, usage| {
                    let (key, kind) =
                        (String::from_utf8(key.to_vec()).unwrap(), format!("{kind:?}").to_lowercase());
                    let row = json!([
                        day.map(|day| day.to_string()),
                        kind,
                        key,
                        usage.requests,
                        usage.bytes,
                        usage.hours
                    ]);
                    rows.entry((day, kind, key)).or_default().push(row);
                })
                .unwrap();
        }
    }
    let rows: Vec<Value> = rows.into_values().flatten().collect();
    assert_eq!(found["rows"].as_array().unwrap().len(), rows.len());
    // Rows of a client that is in two logs may come in either order.
    let sorted = |rows: &[Value]| {
        let mut texts: Vec<String> = rows.iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    assert_eq!(sorted(found["rows"].as_array().unwrap()), sorted(&rows));
}

/// Runs `tallyd report --json` with these words.
#[track_caller]
fn report(words: &[&str], state: &Path) -> Value {
    let output = tallyd().args(["report", "--json"]).args(words).arg("--state").arg(state).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_range_is_reported_without_a_daemon() {
    let state = Folder::new();
    some(state.path());
    let (first, second) = (requests(0, 10) + requests(100, 500) + requests(500, 300), requests(0, 50));
    let mut hours = [0; 24];
    hours[6] = requests(100, 500) + requests(500, 300) + second;
    let want = json!({
        "from": "2021-03-22", "to": "2021-03-23", "requests": first + second, "parsed": hours[6], "malformed": requests(0, 10), "unique_ips": 2250, "ipv4": 750, "ipv6": 750,
        "other": 750, "log_bytes": 100 * (first + second), "requests_by_hour": hours, "files": 2, "complete": true, "unique_ips_at_least": false,
    });
    let range = report(&["--from", "2021-03-22", "--to", "2021-03-23"], state.path());
    assert_eq!(range, want);
    assert_eq!(
        range.as_object().unwrap().keys().collect::<Vec<_>>(),
        want.as_object().unwrap().keys().collect::<Vec<_>>()
    );
    let check = |words: &[&str], unique: u64, files: u64| {
        let range = report(words, state.path());
        assert_eq!((&range["unique_ips"], &range["files"]), (&json!(unique), &json!(files)), "{words:?}");
    };
    check(&[], 2250, 3);
    check(&["--from", "2021-03-23"], 150, 1);
    check(&["--to", "2021-03-21"], 3, 1);
    check(&["--from", "2021-03-22", "--to", "2021-03-22"], 2130, 2);
    check(&["--from", "2022-01-01"], 0, 0);
    check(&["--from", "2021-03", "--to", "2021-03"], 2250, 2);
    check(&["--to", "1969-12"], 3, 1);
    check(&["--from", "yesterday", "--to", "month"], 0, 0);
    // The days of words are those of the moment, which may be midnight in UTC.
    let last_week = |today| {
        Period::parse("7d", today).map(|days| json!([days.first.to_string(), days.last.to_string()])).unwrap()
    };
    let (before, range) = (today(), report(&["--from", "7d", "--to", "7d"], state.path()));
    assert!([before, today()].map(last_week).contains(&json!([range["from"], range["to"]])), "{range}");
    let output = tallyd().args(["report", "--state"]).arg(state.path()).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 5, "{table}");
    assert_eq!((lines[1][0], lines[1][2]), ("1969-12-31", "3"));
    assert_eq!((lines[2][0], lines[2][2]), ("2021-03-22", "2,130"));
    assert_eq!(lines[4][..2], ["all", "3"]);
    assert_eq!(lines[4][3], "2,250");
    for words in [["--from", "22.3.2021"], ["--from", "2021-02-30"], ["--to", "2021-13"], ["--to", "0d"]] {
        let output = tallyd().arg("report").args(words).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2)
                && said.contains("write days like 2021-03-22, 2021-03, today, yesterday, 7d or month"),
            "{said}"
        );
    }
    let backwards = tallyd()
        .args(["report", "--from", "2021-03-23", "--to", "2021-03-22", "--state"])
        .arg(state.path())
        .output()
        .unwrap();
    assert_eq!(backwards.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(backwards.stderr).unwrap(),
        "tallyd: --from 2021-03-23 is after --to 2021-03-22: give the earlier day as --from\n"
    );
}

#[test]
fn a_range_leaves_out_what_is_damaged_and_says_so() {
    let state = Folder::new();
    some(state.path());
    let path = folder::path(&folder::of(state.path(), &Host::new("local").unwrap()), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let output = tallyd()
        .args(["report", "--json", "--from", "2021-03-22", "--state"])
        .arg(state.path())
        .output()
        .unwrap();
    let range: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&range["unique_ips"], &range["files"], &range["complete"]),
        (&json!(350 * 3), &json!(1), &json!(false))
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("0000000000000001.parquet: damaged"));
}

/// Runs `tallyd store` with these words: its exit code, and what it printed on stdout and stderr.
fn run(words: &[&str], state: &Path) -> (i32, String, String) {
    let output = tallyd().arg("store").args(words).arg("--state").arg(state).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_is_stored_is_listed() {
    let state = Folder::new();
    some(state.path());
    let (code, table, errors) = run(&["ls"], state.path());
    assert_eq!((code, errors.as_str()), (0, ""));
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[1][..7], ["20210322.log", "local", "0000000000000001", "final", "2", "4,590", "1,530"]);
    assert_eq!(lines[1][8..], ["2021-03-22", "06:25:24"]);
    let (code, text, errors) = run(&["ls", "--json"], state.path());
    assert_eq!((code, errors.as_str()), (0, ""));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["partials"].as_array().unwrap().len(), 4);
    let other = json["partials"]
        .as_array()
        .unwrap()
        .iter()
        .find(|partial| partial["id"] == "fedcba9876543210")
        .unwrap();
    assert_eq!(
        (&other["host"], &other["name"], &other["state"]),
        (&json!("web-2"), &json!("access.log"), &json!("final"))
    );
    let names: Vec<&str> = json["partials"]
        .as_array()
        .unwrap()
        .iter()
        .map(|partial| partial["name"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
}

#[test]
fn what_is_damaged_is_said_and_what_is_newer_left_alone() {
    let state = Folder::new();
    some(state.path());
    assert_eq!(
        run(&["check"], state.path()),
        (0, "4 partials are as they were written, with 2,583 clients by day\n".to_owned(), String::new())
    );
    let path = |log| folder::path(&folder::of(state.path(), &Host::new("local").unwrap()), log);
    let mut bytes = fs::read(path(1)).unwrap();
    let version = bytes.windows(12).position(|text| text == b"{\"version\":1").unwrap() + 11;
    bytes[version] = b'9';
    fs::write(path(1), &bytes).unwrap();
    let (code, text, errors) = run(&["check"], state.path());
    assert_eq!((code, text.starts_with("3 partials")), (0, true));
    assert!(errors.contains("0000000000000001.parquet is skipped: written in version 9"), "{errors}");
    let mut bytes = fs::read(path(2)).unwrap();
    bytes[1_000] ^= 1;
    fs::write(path(2), &bytes).unwrap();
    let (code, text, errors) = run(&["check"], state.path());
    assert_eq!((code, text.starts_with("2 partials")), (1, true));
    assert!(
        errors.contains("0000000000000002.parquet: damaged: the checksum of a column is wrong"),
        "{errors}"
    );
    // The footer is whole: it is listed.
    assert_eq!(run(&["ls"], state.path()).0, 0);
    // Nothing is not a store that is well.
    fs::create_dir(state.join("other")).unwrap();
    for (folder, word) in [("none", "does not exist"), ("other", "is not a state folder of tallyd")] {
        for command in ["check", "ls"] {
            let (code, text, errors) = run(&[command], &state.join(folder));
            assert!(code == 1 && text.is_empty() && errors.contains(word), "{text}{errors}");
        }
    }
}

#[test]
fn partials_are_exported_whole() {
    let (state, to) = (Folder::new(), Folder::new());
    some(state.path());
    let to_path = to.join("a/b");
    let export = || run(&["export", to_path.to_str().unwrap()], state.path());
    assert_eq!(export(), (0, "4 partials copied, 0 were there already\n".to_owned(), String::new()));
    assert_eq!(export(), (0, "0 partials copied, 4 were there already\n".to_owned(), String::new()));
    let contents = |state: &Path| -> Vec<_> {
        folder::list(state)
            .unwrap()
            .into_iter()
            .map(|entry| (entry.host, entry.log, fs::read(entry.path).unwrap()))
            .collect()
    };
    assert_eq!(contents(state.path()), contents(&to_path));
    let there = folder::path(&folder::of(&to_path, &Host::new("local").unwrap()), 1);
    fs::write(&there, "something else").unwrap();
    let (code, text, errors) = export();
    assert_eq!((code, text.as_str()), (1, "0 partials copied, 3 were there already\n"));
    assert!(errors.contains("a different partial is already there and stays"), "{errors}");
    assert_eq!(fs::read(&there).unwrap(), b"something else");
    fs::write(&there, "").unwrap();
    assert_eq!(export().0, 0);
    assert_eq!(contents(state.path()), contents(&to_path));
}

/// What somebody puts back while the daemon runs is whole, but older than its numbers: it asked for the
/// clients again and again, and the log stood still.
#[test]
fn a_partial_that_somebody_put_back_is_set_aside_and_its_log_counted_again() {
    let line =
        |client: u32| format!("10.0.0.{client} - - [22/Mar/2021:12:00:00 +0000] \"GET / HTTP/1.1\" 200 1\n");
    let lines = |clients: std::ops::Range<u32>| clients.map(line).collect::<String>();
    let daemon = Daemon::start(&[]);
    let (log, state) = (daemon.log("access.log"), daemon.folder.join("state"));
    let append = |bytes: String| {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&log)
            .unwrap()
            .write_all(bytes.as_bytes())
            .unwrap()
    };
    let stored = |to: u64| {
        wait_until("it is stored", || {
            let [entry] = &folder::list(&state).unwrap()[..] else { return None };
            let is_whole = read_meta(fs::File::open(&entry.path).ok()?).ok()?.totals.counts.requests() == to;
            is_whole.then(|| entry.path.clone())
        })
    };
    append(lines(0..50));
    let path = stored(50);
    let older = fs::read(&path).unwrap();
    append(lines(50..100));
    stored(100);
    // After a start, clients are in the store only.
    let daemon = Daemon::start_in(daemon.end(SIGTERM), &[], &[]);
    fs::write(&path, older).unwrap();
    append(lines(100..120));
    daemon.wait_for("access.log", Truth { total: 120, ip: 120 });
    assert!(daemon.journal().contains("the clients do not match the numbers"), "{}", daemon.journal());
    assert!(path.with_extension("damaged").exists());
}
