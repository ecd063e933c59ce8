//! The store as others see it: partials on disk, read by DuckDB, and the commands `tallyd store ls`, `check` and `export`.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{Folder, tallyd};
use tallyd::log::Day;
use tallyd::store::folder::{self, Host};
use tallyd::store::{Meta, Partial, State, encode};
use tallyd::tally::{Clients, Key, Totals, Usage};

/// Where `tests/run` puts it.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python");

fn day(text: &str) -> Option<Day> {
    Day::parse(text)
}

fn add(clients: &mut Clients, key: Key<'_>, requests: u64) {
    clients.add(key, Usage { requests, ..Usage::default() });
}

/// So many clients of each kind from a number on, each with a few requests; and these requests.
fn clients(from: u32, count: u32) -> (Clients, u64) {
    let (mut clients, mut sum) = (Clients::default(), 0);
    for number in from..from + count {
        let (ipv6, name) = (format!("2001:db8::{number:x}"), format!("host-{number}.example"));
        for key in [Key::V4(number.wrapping_mul(0x9e37_79b1)), Key::Bytes(ipv6.as_bytes()), Key::Bytes(name.as_bytes())] {
            let requests = 1 + u64::from(number) % 5;
            add(&mut clients, key, requests);
            sum += requests;
        }
    }
    (clients, sum)
}

/// Writes the partial of a log that has these clients.
fn store(state: &Path, host: &str, log: u64, name: &str, days: &[(Option<Day>, (Clients, u64))]) {
    let mut meta = Meta { log, name: name.into(), state: State::Final, complete: true, written_at: 1_616_394_324_000, ..Meta::default() };
    let mut all = Clients::default();
    for (day, (clients, requests)) in days {
        let mut totals = Totals::default();
        if day.is_some() {
            (totals.parsed, totals.hours[6]) = (*requests, *requests);
        } else {
            totals.malformed = *requests;
        }
        totals.set_clients(clients);
        meta.totals = meta.totals.plus(&totals);
        meta.days.insert(*day, totals);
        all.merge(clients);
    }
    meta.totals.set_clients(&all);
    let days: Vec<_> = days.iter().map(|(day, (clients, _))| (*day, clients)).collect();
    let folder = folder::open_own(state, &Host::new(host).unwrap()).unwrap();
    folder::write(&folder, log, &encode(&meta, &days).unwrap()).unwrap();
}

/// Four logs of two hosts: three days, one of them in two logs with some of the same clients; one log without rows.
fn some(state: &Path) {
    store(state, "local", 1, "20210322.log", &[(None, clients(0, 10)), (day("2021-03-22"), clients(100, 500))]);
    store(state, "local", 2, "20210323.log", &[(day("2021-03-22"), clients(500, 300)), (day("2021-03-23"), clients(0, 50))]);
    store(state, "web-2", 0xfedc_ba98_7654_3210, "access.log", &[(day("1969-12-31"), clients(7, 1))]);
    store(state, "web-2", 4, "empty.log", &[]);
}

/// What a program in Python prints as JSON, or nothing if DuckDB is not there.
fn duckdb(program: &str, glob: &str) -> Option<Value> {
    let there = Command::new(PYTHON).args(["-c", "import duckdb"]).output();
    match there {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            eprintln!("SKIPPED: {PYTHON} has no DuckDB; tests/run installs it. It says: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Err(error) => {
            eprintln!("SKIPPED: DuckDB is looked for in target/venv, where tests/run installs it; {PYTHON}: {error}");
            return None;
        }
    }
    let output = Command::new(PYTHON).args(["-c", program, glob]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
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
    let Some(found) = duckdb(program, state.join("partials/v1/**/*.parquet").to_str().unwrap()) else { return };
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
    let requests = |from, count| clients(from, count).1;
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
                    let (key, kind) = (String::from_utf8(key.to_vec()).unwrap(), format!("{kind:?}").to_lowercase());
                    let row = json!([day.map(|day| day.to_string()), kind, key, usage.requests, usage.bytes, usage.hours]);
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
    let last = &json["partials"][3];
    assert_eq!(
        (&last["id"], &last["host"], &last["name"], &last["state"]),
        (&json!("fedcba9876543210"), &json!("web-2"), &json!("access.log"), &json!("final"))
    );
}

#[test]
fn what_is_damaged_is_said_and_what_is_newer_left_alone() {
    let state = Folder::new();
    some(state.path());
    assert_eq!(run(&["check"], state.path()), (0, "4 partials are as they were written, with 2,583 clients by day\n".to_owned(), String::new()));
    let path = |log| folder::path(&folder::of(state.path(), &Host::new("local").unwrap()), log);
    let mut bytes = fs::read(path(1)).unwrap();
    let version = bytes.windows(12).position(|text| text == b"{\"version\":1").unwrap() + 11;
    bytes[version] = b'2';
    fs::write(path(1), &bytes).unwrap();
    let (code, text, errors) = run(&["check"], state.path());
    assert_eq!((code, text.starts_with("3 partials")), (0, true));
    assert!(errors.contains("0000000000000001.parquet is left alone: it is of version 2"), "{errors}");
    let mut bytes = fs::read(path(2)).unwrap();
    bytes[1_000] ^= 1;
    fs::write(path(2), &bytes).unwrap();
    let (code, text, errors) = run(&["check"], state.path());
    assert_eq!((code, text.starts_with("2 partials")), (1, true));
    assert!(errors.contains("0000000000000002.parquet: it is damaged: a column is not as it was written"), "{errors}");
    // The footer is whole: it is listed.
    assert_eq!(run(&["ls"], state.path()).0, 0);
    let (code, _, errors) = run(&["check"], &state.join("none"));
    assert!(code == 1 && errors.contains("there is no folder"), "{errors}");
}

#[test]
fn partials_are_exported_whole() {
    let (state, to) = (Folder::new(), Folder::new());
    some(state.path());
    let to_path = to.join("a/b");
    let export = || run(&["export", to_path.to_str().unwrap()], state.path());
    assert_eq!(export(), (0, "4 partials copied, 0 were there already\n".to_owned(), String::new()));
    assert_eq!(export(), (0, "0 partials copied, 4 were there already\n".to_owned(), String::new()));
    let contents =
        |state: &Path| -> Vec<_> { folder::list(state).unwrap().into_iter().map(|entry| (entry.host, entry.log, fs::read(entry.path).unwrap())).collect() };
    assert_eq!(contents(state.path()), contents(&to_path));
    let there = folder::path(&folder::of(&to_path, &Host::new("local").unwrap()), 1);
    fs::write(&there, "something else").unwrap();
    let (code, text, errors) = export();
    assert_eq!((code, text.as_str()), (1, "0 partials copied, 3 were there already\n"));
    assert!(errors.contains("another one is there, which is kept"), "{errors}");
    assert_eq!(fs::read(&there).unwrap(), b"something else");
    fs::write(&there, "").unwrap();
    assert_eq!(export().0, 0);
    assert_eq!(contents(state.path()), contents(&to_path));
}
